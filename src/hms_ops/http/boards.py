"""`/v1/dashboards`: dashboards of one's own, YAML files listed, read, and edited as text.

A GET looks whether files have changed, so a file edited on the host is there at the next look. A PUT is checked whole:
400 with every problem and its line, 412 when somebody else has saved meanwhile (send the ETag of the text that was
edited as If-Match), 409 where no folder can be written to. Saving is audited.
"""

import re
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.boards.folder import TEXT_BYTES_MAX, Changed, Kept
from hms_ops.errors import ConfigError
from hms_ops.http.answer import Json, Problem
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import read_body
from hms_ops.http.site import Site, site_of

PLACE: Final = re.compile(r"[^\n]*?:([0-9]+): ")


async def dashboards(request: Request) -> Response:
    """All of them by name, those with a mistake too."""
    site = site_of(request)
    return await site.reads.run(lambda: Json(listed(site)))


def listed(site: Site) -> dict[str, Any]:
    found = site.boards.all()
    return {
        "dashboards": [summary(kept) for kept in found],
        "editable": site.boards.is_editable,
        "left_out": site.boards.left_out,
    }


def summary(kept: Kept) -> dict[str, Any]:
    return {
        "name": kept.name,
        "title": kept.board.title if kept.board else kept.name,
        "panels": len(kept.board.panels) if kept.board else 0,
        "source": kept.path.name,
        "error": kept.error or None,
    }


async def dashboard(request: Request) -> Response:
    """One with its panels and its text."""
    site, name = site_of(request), request.path_params["name"]
    return await site.reads.run(lambda: answer(found(site, name)))


def found(site: Site, name: str) -> Kept:
    try:
        return site.boards.one(name)
    except KeyError:
        raise Problem(
            404, "no-dashboard", f"there is no dashboard {name[:100]!r}; GET /v1/dashboards lists them"
        ) from None


def answer(kept: Kept) -> Response:
    shown = kept.board.document() if kept.board else {"title": kept.name, "columns": 1, "panels": []}
    document = {"name": kept.name, **shown, "text": kept.text, "etag": kept.etag, "error": kept.error or None}
    return Json(document, headers={"ETag": f'"{kept.etag}"'})


async def save(request: Request) -> Response:
    """Save a text; the dashboard as it is then."""
    site, name = site_of(request), request.path_params["name"]
    body = await read_body(request, TEXT_BYTES_MAX, site.bodies)
    site.bodies.give_back(len(body))
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "dashboard", f"the text is not UTF-8 (byte {error.start})") from None
    etag = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"') or None
    return await site.writes.run(lambda: saved(site, name, text, etag, client_of(request)))


def saved(site: Site, name: str, text: str, etag: str | None, client: str) -> Response:
    try:
        kept = site.boards.put(name, text, etag)
    except ConfigError as error:
        raise Problem(400, "dashboard", str(error), problems=[placed(line) for line in error.problems]) from None
    except Changed:
        raise Problem(412, "changed", "the dashboard was saved by somebody else meanwhile; load it again") from None
    except OSError as error:
        raise Problem(409, "not-writable", f"the dashboard cannot be saved here: {error.strerror or error}") from None
    site.engine.paging.note("dashboard-save", client, name, client)
    return answer(kept)


def placed(problem: str) -> dict[str, Any]:
    """`name:line: message` in its parts."""
    match = PLACE.match(problem)
    return {"line": int(match[1]) if match else 1, "message": problem[match.end() :] if match else problem}


ROUTES: Final = (
    Route("/v1/dashboards", dashboards),
    Route("/v1/dashboards/{name}", dashboard),
    Route("/v1/dashboards/{name}", save, methods=["PUT"]),
)

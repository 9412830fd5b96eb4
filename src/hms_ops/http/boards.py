"""`/v1/dashboards`: dashboards of one's own, YAML files listed, read, and edited as text.

A GET looks whether files have changed, so a file edited on the host is there at the next look. A PUT is checked whole:
400 with every problem and its line, 412 when somebody else has saved meanwhile (send the `etag` of the document that
was edited as If-Match), 409 where no folder can be written to. Saving is audited.
"""

import re
from typing import Annotated, Any, Final, Literal, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.boards.board import COLUMNS_MAX
from hms_ops.boards.folder import TEXT_BYTES_MAX, Changed, Kept
from hms_ops.errors import ConfigError
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import read_body
from hms_ops.http.site import Site, site_of
from hms_ops.reader import TEXT

EXAMPLE: Final = "title: Wall\npanels:\n  - {title: Write latency, metric: db.write_ms, unit: ms}\n"
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
    return Json(document)


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


class BoardInfo(TypedDict):
    """A dashboard in the list."""

    name: Annotated[str, Meta(description="its file's name, without .yaml")]
    title: Annotated[str, Meta(description="what stands above it")]
    panels: Annotated[int, Meta(description="how many it has", ge=0)]
    source: Annotated[str, Meta(description="its file")]
    error: Annotated[str | None, Meta(description="why the file cannot be read as it is now; what it was is shown")]


class BoardList(TypedDict):
    """The dashboards of one's own."""

    dashboards: Annotated[list[BoardInfo], Meta(description="by name")]
    editable: Annotated[bool, Meta(description="whether a folder can be written to")]
    left_out: Annotated[int, Meta(description="files beyond the bound", ge=0)]


class PanelDocument(TypedDict):
    """One panel."""

    kind: Annotated[
        Literal["chart", "number", "light", "table", "alerts", "text"], Meta(description="how it shows what it shows")
    ]
    title: Annotated[str, Meta(description="what stands above it, or empty")]
    exprs: Annotated[list[str], Meta(description="expressions of the alert language")]
    metric: Annotated[str | None, Meta(description="the metric that is shown live")]
    unit: Annotated[str, Meta(description="of its figures, or empty")]
    range: Annotated[float, Meta(description="seconds that are shown")]
    width: Annotated[int, Meta(description="columns that it takes", ge=1, le=COLUMNS_MAX)]
    good_below: Annotated[float | None, Meta(description="a figure below is good")]
    good_above: Annotated[float | None, Meta(description="a figure above is good")]
    alert: Annotated[str | None, Meta(description="the rule that a light shows")]
    text: Annotated[str, Meta(description="of a text panel")]


class BoardDocument(TypedDict):
    """One dashboard, as it is shown and as its text."""

    name: Annotated[str, Meta(description="its file's name, without .yaml")]
    title: Annotated[str, Meta(description="what stands above it")]
    columns: Annotated[int, Meta(description="panels beside each other", ge=1, le=COLUMNS_MAX)]
    panels: Annotated[list[PanelDocument], Meta(description="in their order")]
    text: Annotated[str, Meta(description="the YAML file")]
    etag: Annotated[str, Meta(description="tells this text from others; send it as If-Match to save")]
    error: Annotated[str | None, Meta(description="why the file cannot be read as it is now")]


PATH: Final = {"name": TEXT.about("Its file's name, without .yaml.", example="refund-rush")}
UNKNOWN: Final = Refusal(404, "no-dashboard", "there is none of that name")
DOCS: Final[Docs] = {
    dashboards: Endpoint("Dashboards", "List the dashboards of one's own", BoardList),
    dashboard: Endpoint("Dashboards", "One dashboard: panels and text", BoardDocument, path=PATH, refusals=(UNKNOWN,)),
    save: Endpoint(
        "Dashboards",
        "Save a dashboard's text",
        BoardDocument,
        path=PATH,
        headers={"If-Match": TEXT.about("The `etag` of what was edited; none for a new one.", example="*")},
        body=Media("application/yaml", "the dashboard as YAML: docs/dashboard.md", EXAMPLE),
        refusals=(
            Refusal(400, "dashboard", "the text holds mistakes; `problems` has the line of each"),
            Refusal(409, "not-writable", "no folder can be written to"),
            Refusal(412, "changed", "it was saved by somebody else meanwhile"),
            Refusal(413, "body-too-large", f"the text has more than {TEXT_BYTES_MAX:,} bytes"),
        ),
        more="Without `If-Match` only a new dashboard is saved; `*` saves over whatever is there.",
    ),
}

ROUTES: Final = (
    Route("/v1/dashboards", dashboards),
    Route("/v1/dashboards/{name}", dashboard),
    Route("/v1/dashboards/{name}", save, methods=["PUT"]),
)

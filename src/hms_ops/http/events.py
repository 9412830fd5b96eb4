"""`/v1/events`: what happened, from the journal; and events that others report, such as HMS-ESQ's violations."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hms_ops.events import read_events, shown
from hms_ops.http.answer import Json, Problem
from hms_ops.http.parameters import Reader, read_body, read_parameters, read_unix_seconds, whole_number
from hms_ops.http.site import site_of

if TYPE_CHECKING:
    from hms_ops.engine import Engine

LISTED_MAX: Final = 10_000
LISTED: Final = 100
BODY_BYTES_MAX: Final = 1024 * 1024
TOLD_MAX: Final = 20  # problems in an answer

READERS: Final[dict[str, Reader]] = {"limit": whole_number(1, LISTED_MAX), "kind": str, "since": read_unix_seconds}


async def events(request: Request) -> Response:
    """The newest events, oldest first: alerts, anomalies, notifications, decisions, actions, and those reported."""
    site = site_of(request)
    wanted = read_parameters(request, READERS)
    return await site.reads.run(lambda: Json(listed(site.engine, wanted)))


def listed(engine: "Engine", wanted: dict[str, Any]) -> dict[str, Any]:
    kinds = tuple(filter(None, wanted.get("kind", "").split(",")))
    found = engine.events(wanted.get("limit", LISTED), kinds or None, wanted.get("since"))
    return {"events": shown(found)}


async def report(request: Request) -> Response:
    """Take one event or a list; 400 only if none could be read."""
    site = site_of(request)
    body = await read_body(request, BODY_BYTES_MAX, site.bodies)
    site.bodies.give_back(len(body))
    try:
        found, problems = read_events(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "json", f"the body is not JSON: {error}") from None
    except ValueError as error:
        raise Problem(400, "event", str(error)) from None
    if not found:
        why = problems[0] if problems else "the list is empty"
        raise Problem(400, "event", why, problems=problems[:TOLD_MAX])
    source = request.client.host if request.client is not None else ""
    await site.writes.run(lambda: site.engine.report(found, source))
    return Json({"accepted": len(found), "rejected": len(problems), "problems": problems[:TOLD_MAX]})

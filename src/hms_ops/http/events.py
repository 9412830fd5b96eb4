"""`/v1/events`: what happened, from the journal; and events that others report, such as HMS-ESQ's violations."""

from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hms_ops.events import EVENT_READERS, read_events, shown
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.parameters import read_body, read_parameters, read_unix_seconds, whole_number
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader

if TYPE_CHECKING:
    from hms_ops.engine import Engine

LISTED_MAX: Final = 10_000
LISTED: Final = 100
BODY_BYTES_MAX: Final = 1024 * 1024
TOLD_MAX: Final = 20  # problems in an answer

READERS: Final[dict[str, Reader[Any]]] = {
    "limit": whole_number(1, LISTED_MAX).about("How many at most, the newest.", default=LISTED),
    "kind": TEXT.about("Which kinds, parted by commas.", default="", example="notification,decision"),
    "since": read_unix_seconds.about("Only what happened since.", default=None),
}


class EventDocument(TypedDict):
    """What happened, and when; the other members are its kind's, as docs/events.md lists them."""

    time: float
    kind: str


class EventsAnswer(TypedDict):
    """Oldest first."""

    events: list[EventDocument]


class EventsTaken(TypedDict):
    """problems: what is wrong with those that were rejected, the first 20."""

    accepted: int
    rejected: int
    problems: list[str]


async def events(request: Request) -> Response:
    """The newest events, oldest first: alerts, anomalies, notifications, decisions, actions, and those reported."""
    site = site_of(request)
    wanted = read_parameters(request, READERS)
    return await site.reads.run(lambda: Json(listed(site.engine, wanted)))


def listed(engine: "Engine", wanted: dict[str, Any]) -> dict[str, Any]:
    kinds = tuple(filter(None, wanted["kind"].split(",")))
    found = engine.events(wanted["limit"], kinds or None, wanted["since"])
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


DOCS: Final[Docs] = {
    events: Endpoint(
        "Events",
        "The newest events",
        EventsAnswer,
        parameters=READERS,
        more="Kinds: alert, anomaly, notification, decision, action, audit, event, start, stop, reload and others.",
        query="?kind=notification,decision&limit=50",
    ),
    report: Endpoint(
        "Events",
        "Report an event, or a list of them",
        EventsTaken,
        body=Body(EVENT_READERS, ("event",)),
        refusals=(Refusal(400, "event", "None could be read; `problems` says why."),),
        more="Counted at once as the counter EVENT_count, which rules read like any metric.",
        sent='{"event": "esq.violation", "tags": {"agency": "irs"}, "severity": "high"}',
    ),
}

"""What people do about an alert that fires, over HTTP: acknowledge it, take that back, ask why they were told, or not.

Changes go through the worker for writes and are on disk when they are answered.
"""

from typing import Any, Final, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.http.alerts import ALERT_NAME, BAD_KEYS, Acknowledged
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import read_parameters
from hms_ops.http.saying import ACK_READERS, UNACK_READERS, asked, now_of, read_tag_text, until_of
from hms_ops.http.site import site_of
from hms_ops.http.why import Drawn, PartDocument, why_document
from hms_ops.reader import Reader

EXPLAIN_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "tags": read_tag_text.about("Of the instances that have these tags.", default=None, example="agency=irs")
}


class AckAnswer(TypedDict):
    """How many alerts are acknowledged by it; `until` in Unix seconds, null for as long as they fire."""

    name: str
    alerts: int
    who: str
    until: float | None


class UnackAnswer(TypedDict):
    """How many alerts fire under the name, all of them without acknowledgement now."""

    name: str
    alerts: int
    who: str


class Decision(TypedDict):
    """Why somebody was told of an alert, or was not. tags: null where many alerts were decided at once."""

    time: float
    name: str
    tags: dict[str, str] | None
    state: str
    episode: int
    decision: str
    reason: str
    receiver: str
    alerts: int


class Instance(TypedDict):
    """An instance that is pending or firing, and how it stands with people."""

    tags: dict[str, str]
    state: str
    acknowledged: NotRequired[Acknowledged | None]
    silenced_by: NotRequired[str]
    held_by: NotRequired[str]
    told_at: NotRequired[float | None]
    next_escalation: NotRequired[Any]


class ExplainAnswer(TypedDict):
    """The instances now, the decisions about them that are remembered, newest last, and what the rule sees: its words,
    the parts of its condition with their numbers, and what of it can be drawn."""

    name: str
    alerts: list[Instance]
    decisions: list[Decision]
    words: list[str]
    parts: list[PartDocument]
    drawn: Drawn | None


async def acknowledge(request: Request) -> Response:
    """How many alerts are acknowledged by it; 404 when none fires under the name with these tags."""
    site = site_of(request)
    name, given = await asked(request, site, ACK_READERS)
    until = until_of(given, now_of(site.engine))
    count = await site.writes.run(
        lambda: site.engine.acknowledge(
            name,
            tags=given.get("tags"),
            who=given["who"],
            comment=given.get("comment", ""),
            until=until,
            source=client_of(request),
        )
    )
    return Json({"name": name, "alerts": some(count, name), "who": given["who"], "until": until})


async def unacknowledge(request: Request) -> Response:
    """Take the acknowledgement back: the alerts are told and escalated again."""
    site = site_of(request)
    name, given = await asked(request, site, UNACK_READERS)
    count = await site.writes.run(
        lambda: site.engine.unacknowledge(name, tags=given.get("tags"), who=given["who"], source=client_of(request))
    )
    return Json({"name": name, "alerts": some(count, name), "who": given["who"]})


def some(count: int, name: str) -> int:
    if not count:
        raise Problem(404, "not-firing", f"no alert {name!r} with these tags fires; GET /v1/alerts lists what does")
    return count


async def explain(request: Request) -> Response:
    """The decisions about an alert that are remembered, newest last, how it stands now, and what its rule sees."""
    tags = read_parameters(request, EXPLAIN_PARAMETERS)["tags"]
    site, name = site_of(request), request.path_params["name"]

    def explained() -> Response:
        engine = site.engine
        standings = engine.alert_standings()
        wanted = (tags or {}).items()
        live = [one for one in engine.alerts() if one.name == name and wanted <= one.tags.items()]
        found = [{"tags": dict(one.tags), "state": one.state, **standings.get(one.key, {})} for one in live]
        decisions = engine.explain_alert(name, tags)
        return Json({"name": name, "alerts": found, "decisions": decisions, **why_document(engine, name, tags)})

    return await site.reads.run(explained)


NOT_FIRING: Final = Refusal(404, "not-firing", "No alert of this name with these tags fires.")
DOCS: Final[Docs] = {
    acknowledge: Endpoint(
        "Alerts",
        "Acknowledge an alert",
        AckAnswer,
        path=ALERT_NAME,
        body=Body(ACK_READERS),
        refusals=(BAD_KEYS, NOT_FIRING),
        more="Escalation and repeats stop until it ends, or until the time given.",
        sent='{"who": "ann", "comment": "looking into it"}',
    ),
    unacknowledge: Endpoint(
        "Alerts",
        "Take an acknowledgement back",
        UnackAnswer,
        path=ALERT_NAME,
        body=Body(UNACK_READERS),
        refusals=(BAD_KEYS, NOT_FIRING),
        more="The alerts are told and escalated again.",
    ),
    explain: Endpoint(
        "Alerts",
        "Why people were told of an alert, or not",
        ExplainAnswer,
        path=ALERT_NAME,
        parameters=EXPLAIN_PARAMETERS,
        query="?tags=agency=irs",
    ),
}

"""Silences, over HTTP: of one alert, or of any that match; made, listed, ended.

Changes go through the worker for writes and are on disk when they are answered.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.dispatch.matching import Matchers, read_match
from hms_ops.alert.dispatch.silence import SILENCE_SECONDS_MAX, Silence, SilenceRefused, of_alert
from hms_ops.alert.keys import KeyProblem
from hms_ops.http.alerts import ALERT_NAME, BAD_KEYS
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.operations import client_of, who_of
from hms_ops.http.parameters import invalid, one_of, read_document, read_parameters
from hms_ops.http.saying import SILENCE_READERS, UNACK_READERS, WHO, asked, checked, now_of, until_of
from hms_ops.http.site import Site, site_of
from hms_ops.reader import TEXT, Reader

ANY_SILENCE_READERS: Final = {key: read for key, read in SILENCE_READERS.items() if key != "tags"}
SILENCES_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "state": one_of("pending", "active", "ended").about("Only those in this state.", default=None)
}
WHO_PARAMETERS: Final[dict[str, Reader[Any]]] = {"who": WHO}


class SilenceDocument(TypedDict):
    """Alerts that match are told to nobody for a while. Times are Unix seconds."""

    id: str
    state: Literal["pending", "active", "ended"]
    match: str
    starts: float
    ends: float
    who: str
    comment: str
    created: float
    ended_by: str


class SilencesAnswer(TypedDict):
    """Active and coming ones first, then those that ended lately."""

    silences: list[SilenceDocument]


class AlertSilencesEnded(TypedDict):
    """The ids of the silences that were ended."""

    name: str
    ended: list[str]


class SilencesEnded(TypedDict):
    """The ids of the silences that were ended."""

    ended: list[str]


async def silence(request: Request) -> Response:
    """201 and the silence of one alert, or of those of its instances that have the tags and match."""
    site = site_of(request)
    name, given = await asked(request, site, SILENCE_READERS)
    wanted = Matchers(
        read_match({"alertname": name, **given.get("tags", {})}).matches + given.get("match", Matchers()).matches
    )
    return await silenced(request, site, wanted, given)


async def silence_any(request: Request) -> Response:
    """201 and the silence of all alerts that match."""
    site = site_of(request)
    given = checked(await read_document(request, site.bodies), ANY_SILENCE_READERS, "silence", ("match",))
    given["who"] = who_of(request, given)
    return await silenced(request, site, given["match"], given)


async def silenced(request: Request, site: Site, wanted: Matchers, given: Mapping[str, Any]) -> Response:
    now = now_of(site.engine)
    until = until_of(given, now)
    if until is None:
        raise invalid("silence", [KeyProblem("for", "say how long: for, as in 2h, or until, in Unix seconds")])
    if not 0 < until - now <= SILENCE_SECONDS_MAX:
        why = f"a silence lasts up to {SILENCE_SECONDS_MAX / 86_400:.0f} days from now"
        raise invalid("silence", [KeyProblem("for" if "for" in given else "until", why)])
    try:
        made = await site.writes.run(
            lambda: site.engine.silence(
                wanted.text,
                seconds=until - now,
                who=given["who"],
                comment=given.get("comment", ""),
                source=client_of(request),
            )
        )
    except SilenceRefused as error:
        raise Problem(409, "silences-full", str(error)) from None
    return Json(silence_document(made, now_of(site.engine)), 201)  # it begins later than it was asked for


async def unsilence(request: Request) -> Response:
    """The ids of the silences of this alert that are ended by it; 404 when there is none."""
    site = site_of(request)
    name, given = await asked(request, site, UNACK_READERS)

    def end() -> list[str]:
        found = of_alert(site.engine.silences(), name, given.get("tags") or None, now_of(site.engine))
        return [one.id for one in found if site.engine.end_silence(one.id, given["who"], client_of(request))]

    ended = await site.writes.run(end)
    if not ended:
        why = f"no silence names the alert {name!r}; GET /v1/silences lists them, DELETE /v1/silences/ID ends one"
        raise Problem(404, "no-silence", why)
    return Json({"name": name, "ended": ended})


async def silences(request: Request) -> Response:
    """Active and coming ones first, then those that ended lately; `state` chooses."""
    wanted = read_parameters(request, SILENCES_PARAMETERS)["state"]
    site = site_of(request)

    def listed() -> Response:
        now = now_of(site.engine)
        found = [silence_document(one, now) for one in site.engine.silences()]
        return Json({"silences": [one for one in found if wanted in (None, one["state"])]})

    return await site.reads.run(listed)


async def end_silence(request: Request) -> Response:
    given = read_parameters(request, WHO_PARAMETERS)
    site, key, who = site_of(request), request.path_params["id"], who_of(request, given)
    if not await site.writes.run(lambda: site.engine.end_silence(key, who, client_of(request))):
        raise Problem(404, "no-silence", f"no silence {key[:50]!r} lasts; GET /v1/silences lists them")
    return Json({"ended": [key]})


def silence_document(one: Silence, now: float) -> SilenceDocument:
    return {
        "id": one.id,
        "state": one.state(now),
        "match": one.matchers.text,
        "starts": one.starts,
        "ends": one.ends,
        "who": one.who,
        "comment": one.comment,
        "created": one.created,
        "ended_by": one.ended_by,
    }


NO_SILENCE: Final = Refusal(404, "no-silence", "There is no such silence.")
NO_END: Final = Refusal(400, "silence", "Keys are wrong, or it has no end within the time a silence may last.")
FULL: Final = Refusal(409, "silences-full", "There are as many silences as there may be.")
DOCS: Final[Docs] = {
    silence: Endpoint(
        "Alerts",
        "Silence an alert",
        SilenceDocument,
        201,
        path=ALERT_NAME,
        body=Body(SILENCE_READERS),
        refusals=(BAD_KEYS, NO_END, FULL),
        more="Of one of `for` and `until` the length is taken. A silence mutes; it acknowledges nothing.",
        sent='{"for": "2h", "who": "ann", "comment": "planned work"}',
    ),
    unsilence: Endpoint(
        "Alerts",
        "End the silences of an alert",
        AlertSilencesEnded,
        path=ALERT_NAME,
        body=Body(UNACK_READERS),
        refusals=(BAD_KEYS, NO_SILENCE),
        more="Those that name this alert. One that matches it among others is ended by its id.",
    ),
    silences: Endpoint("Alerts", "The silences there are", SilencesAnswer, parameters=SILENCES_PARAMETERS),
    silence_any: Endpoint(
        "Alerts",
        "Silence all alerts that match",
        SilenceDocument,
        201,
        body=Body(ANY_SILENCE_READERS, ("match",)),
        refusals=(NO_END, FULL),
        sent='{"match": "agency=irs, severity=ticket", "for": "1d", "who": "ann"}',
    ),
    end_silence: Endpoint(
        "Alerts",
        "End a silence",
        SilencesEnded,
        path={"id": TEXT.about("The silence's id.", example="f2b4c2a99d36")},
        parameters=WHO_PARAMETERS,
        refusals=(NO_SILENCE,),
    ),
}

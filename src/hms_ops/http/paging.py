"""What people do about alerts, over HTTP: acknowledge, silence, ask why, send a dead letter again, try a receiver.

    POST   /v1/alerts/{name}/ack         {tags?, who?, comment?, for | until?}    which alerts: 404 when none fires
    POST   /v1/alerts/{name}/unack       {tags?, who?}
    POST   /v1/alerts/{name}/silence     {tags?, match?, who?, comment?, for | until}
    POST   /v1/alerts/{name}/unsilence   {tags?, who?}                            ends the silences that name the alert
    GET    /v1/alerts/{name}/explain     ?tags=agency=irs,region=east             why people were told, or not
    GET    /v1/silences                  ?state=active
    POST   /v1/silences                  {match, who?, comment?, for | until}     of any alerts
    DELETE /v1/silences/{id}             ?who=
    GET    /v1/dead-letters              POST /v1/dead-letters/{id}/resend {who?}
    POST   /v1/notifications/test        {receiver, who?}

`for` is a duration or seconds, `until` Unix seconds, one of both. `who` is the address that asks where it is not given;
the audit log has that address anyway. Changes go through the worker for writes and are on disk when they are answered;
a test of a receiver may take as long as the receiver, so it goes through the worker for operations.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.dispatch.matching import Matchers, parse_matchers, read_match
from hms_ops.alert.dispatch.silence import SILENCE_SECONDS_MAX, Silence, SilenceRefused, of_alert
from hms_ops.alert.keys import DURATION, NOT_BLANK, KeyProblem, read_duration, read_keys, read_name, read_text
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.receivers import parse_target
from hms_ops.clock import SECOND_NS
from hms_ops.errors import ExpressionError
from hms_ops.http.alerts import invalid, read_tags
from hms_ops.http.answer import Json, Problem
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import UNIX_SECONDS_END, one_of, read_document, read_parameters
from hms_ops.http.site import Site, site_of
from hms_ops.http.why import why_document
from hms_ops.reader import Reader, takes

if TYPE_CHECKING:
    from hms_ops.engine import Engine

WHO_CHARS_MAX: Final = 200
COMMENT_CHARS_MAX: Final = 1000
TEXT_CHARS_MAX: Final = 8000


# ---- acknowledgements


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


# ---- silences


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
    given.setdefault("who", client_of(request))
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
    return Json(silence_document(made, now), 201)


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
    site, key, who = site_of(request), request.path_params["id"], given.get("who", client_of(request))
    if not await site.writes.run(lambda: site.engine.end_silence(key, who, client_of(request))):
        raise Problem(404, "no-silence", f"no silence {key[:50]!r} lasts; GET /v1/silences lists them")
    return Json({"ended": [key]})


def silence_document(one: Silence, now: float) -> dict[str, Any]:
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


# ---- why


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


# ---- notifications


async def dead_letters(request: Request) -> Response:
    """Notifications that will not arrive, oldest first."""
    site = site_of(request)
    return await site.reads.run(lambda: Json({"dead_letters": site.engine.dead_letters()}))


async def resend(request: Request) -> Response:
    """202: the dead letter is on its way again."""
    site, key = site_of(request), request.path_params["id"]
    given = checked(await read_document(request, site.bodies), RESEND_READERS, "resend")
    who = given.get("who", client_of(request))
    if not await site.writes.run(lambda: site.engine.resend(key, who, client_of(request))):
        why = f"no dead letter {key[:50]!r} can be sent again; GET /v1/dead-letters lists them"
        raise Problem(404, "no-dead-letter", why)
    return Json({"id": key, "state": "waiting"}, 202)


async def test_notify(request: Request) -> Response:
    """What the receiver answered to a test notification: delivered, retry or dead, and the detail."""
    site = site_of(request)
    given = checked(await read_document(request, site.bodies), TEST_READERS, "test", ("receiver",))
    who = given.get("who", client_of(request))
    try:
        told = await site.operations.run(lambda: site.engine.test_notify(given["receiver"], who, client_of(request)))
    except ValueError as error:
        raise Problem(400, "receiver", str(error)) from None
    outcome, _, detail = told.partition(": ")
    return Json({"receiver": parse_target(given["receiver"]).shown, "outcome": outcome, "detail": detail})


# ---- bodies


async def asked(request: Request, site: Site, readers: Mapping[str, Reader[Any]]) -> tuple[str, dict[str, Any]]:
    """The alert of the path and what the body says; `who` is there, whoever asks."""
    given = await read_document(request, site.bodies)
    values = checked({"name": request.path_params["name"], **given}, {**readers, "name": read_name}, "request")
    values.setdefault("who", client_of(request))
    return values.pop("name"), values


def checked(
    given: Mapping[str, Any], readers: Mapping[str, Reader[Any]], what: str, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a body; Problem with all that is wrong, each under its key."""
    values, problems = read_keys(given, readers, required)
    if "for" in values and "until" in values:
        problems.append(KeyProblem("until", "`for` and `until` say the same; give one of them"))
    if problems:
        raise invalid(what, problems)
    return values


def until_of(given: Mapping[str, Any], now: float) -> float | None:
    """Unix seconds of `for` or `until`; None where neither is given."""
    until: float | None = now + given["for"] if "for" in given else given.get("until")
    return until


def now_of(engine: "Engine") -> float:
    return engine.clock.now_ns() / SECOND_NS


@takes(
    oneOf=[
        {"type": "string", "pattern": DURATION},
        {"type": "number", "exclusiveMinimum": 0, "maximum": SILENCE_SECONDS_MAX},
    ]
)
def read_span(value: Any) -> float:
    """A duration such as 2h, or seconds; longer than nothing."""
    is_seconds = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = float(value) if is_seconds else read_duration(value)
    if not 0 < seconds <= SILENCE_SECONDS_MAX:
        raise ValueError(f"expected a duration of up to {duration_text(SILENCE_SECONDS_MAX)}, found {value!r}")
    return seconds


@takes(type="number", exclusiveMinimum=0, exclusiveMaximum=UNIX_SECONDS_END)
def read_until(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < UNIX_SECONDS_END:
        raise ValueError(f"expected Unix seconds, as in 1700000000, found {value!r}")
    return float(value)


@takes(type="string", pattern=NOT_BLANK)
def read_who(value: Any) -> str:
    return read_text(value)[:WHO_CHARS_MAX]


@takes(type="string")
def read_comment(value: Any) -> str:
    return value if value == "" else read_text(value)[:COMMENT_CHARS_MAX]


@takes(type="string", maxLength=TEXT_CHARS_MAX)
def read_tag_text(text: str) -> dict[str, str]:
    """`agency=irs,region=east` of a query string, as tags."""
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"longer than {TEXT_CHARS_MAX:,} characters")
    try:
        matches = parse_matchers(text).matches
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    if any(match.op != "=" for match in matches):
        raise ValueError("tags are told by = alone, as in agency=irs")
    return {match.tag: match.values[0] for match in matches}


@takes(
    oneOf=[
        {"type": "string", "pattern": NOT_BLANK},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "minProperties": 1},
    ]
)
def read_matchers(value: Any) -> Matchers:
    return read_match(value)


WHO: Final = read_who.about("Who does it; the asking address, if it is not given.", example="ann")
UNACK_READERS: Final[dict[str, Reader[Any]]] = {
    "tags": read_tags.about("Only the instances that have these tags.", example={"agency": "irs"}),
    "who": WHO,
}
ACK_READERS: Final[dict[str, Reader[Any]]] = UNACK_READERS | {
    "comment": read_comment.about("Why, for people.", example="looking into it"),
    "for": read_span.about("How long: a duration or seconds.", example="2h"),
    "until": read_until.about("Until when, Unix seconds; not together with `for`."),
}
SILENCE_READERS: Final[dict[str, Reader[Any]]] = ACK_READERS | {
    "match": read_matchers.about("Which alerts, by their tags.", example='agency=~"irs|ssa"')
}
ANY_SILENCE_READERS: Final = {key: read for key, read in SILENCE_READERS.items() if key != "tags"}
RESEND_READERS: Final[dict[str, Reader[Any]]] = {"who": WHO}
TEST_READERS: Final[dict[str, Reader[Any]]] = {
    "receiver": read_text.about("The receiver's URL.", example="sms:+1-555-0100"),
    "who": WHO,
}
SILENCES_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "state": one_of("pending", "active", "ended").about("Only those in this state.", default=None)
}
WHO_PARAMETERS: Final[dict[str, Reader[Any]]] = {"who": WHO}
EXPLAIN_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "tags": read_tag_text.about("Of the instances that have these tags.", default=None, example="agency=irs")
}

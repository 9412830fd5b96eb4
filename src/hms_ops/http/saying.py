"""What people say when they do something about alerts: who they are, why, which alerts, for how long.

`for` is a duration or seconds, `until` Unix seconds, one of both. `who` is the address that asks where it is not given;
the audit log has that address anyway. Read by paging.py, silences.py and notifications.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from hms_ops.alert.dispatch.matching import Matchers, parse_matchers, read_match
from hms_ops.alert.dispatch.silence import SILENCE_SECONDS_MAX
from hms_ops.alert.keys import (
    DURATION,
    NOT_BLANK,
    KeyProblem,
    read_keys,
    read_name,
    read_seconds,
    read_tags,
    read_text,
)
from hms_ops.alert.language.tokens import duration_text
from hms_ops.clock import SECOND_NS
from hms_ops.errors import ExpressionError
from hms_ops.http.operations import who_of
from hms_ops.http.parameters import UNIX_SECONDS_END, invalid, read_document
from hms_ops.http.site import Site
from hms_ops.reader import Reader, takes

if TYPE_CHECKING:
    from hms_ops.engine import Engine

WHO_CHARS_MAX: Final = 200
COMMENT_CHARS_MAX: Final = 1000
TEXT_CHARS_MAX: Final = 8000


async def asked(request: Request, site: Site, readers: Mapping[str, Reader[Any]]) -> tuple[str, dict[str, Any]]:
    """The alert of the path and what the body says; `who` is there, whoever asks."""
    given = await read_document(request, site.bodies)
    values = checked({"name": request.path_params["name"], **given}, {**readers, "name": read_name}, "request")
    values["who"] = who_of(request, values)
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
    title="a duration, or seconds",
    oneOf=[
        {"type": "string", "pattern": DURATION},
        {"type": "number", "exclusiveMinimum": 0, "maximum": SILENCE_SECONDS_MAX},
    ],
)
def read_span(value: Any) -> float:
    """A duration such as 2h, or seconds; longer than nothing."""
    seconds = read_seconds(value)
    if not 0 < seconds <= SILENCE_SECONDS_MAX:
        raise ValueError(f"expected a duration of up to {duration_text(SILENCE_SECONDS_MAX)}, found {value!r}")
    return seconds


@takes(title="Unix seconds", type="number", exclusiveMinimum=0, exclusiveMaximum=UNIX_SECONDS_END)
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


@takes(type="string", maxLength=TEXT_CHARS_MAX, pattern=r"^\s*$|=")
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
    title="matchers: text, a list of them, or tags",
    oneOf=[
        {"type": "string", "pattern": NOT_BLANK},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "minProperties": 1},
    ],
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

"""`POST /v1/alerts/{name}/fire`: an alert of one's own, without a rule."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.keys import DURATION, KeyProblem, cut, read_keys, read_name, read_seconds, read_tags
from hms_ops.alert.language.tokens import duration_text
from hms_ops.http.alerts import ALERT_NAME, bad_keys
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.parameters import invalid, read_document
from hms_ops.http.site import site_of
from hms_ops.reader import Reader, takes

REASON_CHARS_MAX: Final = 1000
TTL_SECONDS_MAX: Final = 86_400.0
VALUE_MAX: Final = 1e150  # as for samples: sums and squares stay finite


class Fired(TypedDict):
    """The alert fires."""

    name: str
    state: Literal["firing"]


async def fire(request: Request) -> Response:
    """`engine.alert_now`: an alert of one's own, resolved after its ttl without a repeat."""
    site = site_of(request)
    given = await read_document(request, site.bodies)
    name, arguments = fire_arguments(request.path_params["name"], given)
    try:
        await site.writes.run(lambda: site.engine.alert_now(name, **arguments))
    except ValueError as error:
        raise Problem(409, "rule-exists", str(error)) from None
    return Json({"name": name, "state": "firing"}, 202)


def fire_arguments(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and arguments of `alert_now`; Problem with all that is wrong, each under its key."""
    values, problems = read_keys({"name": name, **given}, FIRE_READERS)
    if "name" in given:
        problems.append(KeyProblem("name", "the name stands in the path; remove the key 'name'"))
    if problems:
        raise invalid("alert", problems)
    return values.pop("name"), values


@takes(type="number", minimum=-VALUE_MAX, maximum=VALUE_MAX)
def read_value(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= VALUE_MAX:
        raise ValueError(f"expected a number of at most {VALUE_MAX:g}, found {value!r}")
    return float(value)


@takes(
    title="a duration, or seconds",
    oneOf=[
        {"type": "string", "pattern": DURATION},
        {"type": "number", "minimum": 1, "maximum": TTL_SECONDS_MAX},
    ],
)
def read_ttl(value: Any) -> float:
    """A duration such as 5m, or seconds."""
    seconds = read_seconds(value)
    if not 1 <= seconds <= TTL_SECONDS_MAX:
        raise ValueError(f"expected a duration from 1s to {duration_text(TTL_SECONDS_MAX)}, found {value!r}")
    return seconds


FIRE_READERS: Final[dict[str, Reader[Any]]] = {
    "name": read_name,
    "value": read_value.about("What it is about, as a number.", example=480),
    "tags": read_tags.about("An alert of its own for each set of tags.", example={"agency": "irs"}),
    "ttl": read_ttl.about("It resolves so long after the last repeat.", example="5m"),
    "severity": read_name.about("A word for routes and receivers.", example="page"),
    "reason": cut(REASON_CHARS_MAX).about("Why it fires, for people."),
}


DOCS: Final[Docs] = {
    fire: Endpoint(
        "Alerts",
        "Fire an alert of your own, without a rule",
        Fired,
        202,
        path=ALERT_NAME,
        body=Body({key: read for key, read in FIRE_READERS.items() if key != "name"}),
        refusals=(
            bad_keys("alert"),
            Refusal(409, "rule-exists", "A rule has this name, and fires it by itself."),
        ),
        sent='{"value": 480, "tags": {"agency": "irs"}, "reason": "queue stuck"}',
    ),
}

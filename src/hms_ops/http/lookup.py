"""What can be asked: the ledger, a query, the series there are, the last rejects, and whether all is well."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops import kinds
from hms_ops.alert.selection import parse_selection
from hms_ops.asked import POINTS_MAX
from hms_ops.csvtext import csv_text
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.parameters import one_of, read_parameters, read_step, read_unix_seconds, whole_number
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader
from hms_ops.series import SeriesInfo

if TYPE_CHECKING:
    from hms_ops.engine import Engine

SERIES_LISTED: Final = 1000
SERIES_LISTED_MAX: Final = 10_000
QUERY_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "expr": TEXT.about("An expression of the alert language.", example="avg(finance.api_ms)", required=True),
    "start": read_unix_seconds.about("Where the range begins; without it the answer is the value now."),
    "end": read_unix_seconds.about("Where the range ends, itself not in it; now, if it is not given."),
    "step": read_step.about("The distance of points; made a multiple of what is kept of the range.", example="1m"),
    "points": whole_number(1, POINTS_MAX).about("At most so many points; the engine chooses the step.", example=300),
    "format": one_of("json", "csv").about("How to answer.", default="json"),
    "source": one_of("local", "remote").about("Where to look; else here, then at the remote for what is older."),
}
SERIES_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "match": TEXT.about("A selector; not together with prefix.", example='finance.api_ms{agency="irs"}'),
    "prefix": TEXT.about("What the metric's name begins with.", default=""),
    "limit": whole_number(1, SERIES_LISTED_MAX).about("How many at most.", default=SERIES_LISTED),
}


class Health(TypedDict):
    """problems: what needs a look, one line each; told to whom may read."""

    status: Literal["ok", "degraded", "unhealthy"]
    problems: NotRequired[list[str]]


class Readiness(TypedDict):
    """Whether it receives, and its kernels are warm."""

    status: Literal["ready", "starting"]


class InputLedger(TypedDict):
    """The books of one input: arrived = received + kernel_drops, received = accepted + all of rejected, values =
    samples + all of bad."""

    arrived: int
    kernel_drops: int
    received: int
    accepted: int
    rejected: dict[str, int]
    values: int
    samples: int
    bad: dict[str, int]


class Ledger(InputLedger):
    """Every datagram and value accounted for, in all and by input."""

    inputs: dict[str, InputLedger]


class QuerySeries(TypedDict):
    """One group: its points are [Unix seconds, value or null]; a point at t covers [t, t + step), and where a window is
    written that which ends at t + step."""

    metric: str
    tags: dict[str, str]
    points: list[tuple[float, float | None]]


class QueryAnswer(TypedDict):
    """step: in seconds. grain: what windows' begins are rounded down to, in seconds, where any is written. remote: why
    the part before local history is missing."""

    expr: str
    step: int
    grain: NotRequired[int]
    series: list[QuerySeries]
    remote: NotRequired[str]


class SeriesDocument(TypedDict):
    """A series, with its metric's unit and help, "" where nobody has given any."""

    metric: str
    tags: dict[str, str]
    kind: str
    unit: str
    help: str


class SeriesAnswer(TypedDict):
    """is_complete: false where `limit` cut the list."""

    series: list[SeriesDocument]
    is_complete: bool


class RejectDocument(TypedDict):
    """A datagram, line or element that was turned away: when, where it came in, why, from whom, and how it began."""

    time: float
    input: str
    reason: str
    source: str
    text: str


class RejectsAnswer(TypedDict):
    """The last 100, newest first."""

    rejects: list[RejectDocument]


def csv_answer(answer: dict[str, Any]) -> Response:
    return Response(csv_text(answer), media_type="text/csv")


ANSWERS: Final[dict[str, Callable[[dict[str, Any]], Response]]] = {"json": Json, "csv": csv_answer}


async def health(request: Request) -> Response:
    """503 when something stands still that only a restart mends; 200 otherwise, `degraded` with what needs a look."""
    engine = site_of(request).engine
    stalls, problems = engine.stalls(), engine.health()
    document: dict[str, Any] = {"status": "unhealthy" if stalls else "degraded" if problems else "ok"}
    if request.scope["is_trusted"]:
        document["problems"] = problems
    return Json(document, 503 if stalls else 200)


async def readiness(request: Request) -> Response:
    """200 when it receives and its kernels are warm, 503 before."""
    is_ready = site_of(request).engine.is_ready
    return Json({"status": "ready" if is_ready else "starting"}, 200 if is_ready else 503)


async def ledger(request: Request) -> Response:
    return Json(site_of(request).engine.ledger())


async def query(request: Request) -> Response:
    """The contract's answer, of now or of a span of time; as JSON or as CSV."""
    given = read_parameters(request, QUERY_PARAMETERS)
    site, answer = site_of(request), ANSWERS[given.pop("format")]
    try:
        return await site.reads.run(lambda: answer(site.engine.query(**given)), request)
    except ValueError as error:
        raise Problem(400, "query", str(error)) from None


async def series(request: Request) -> Response:
    """Series of `match`, or whose name begins with `prefix`; `is_complete` is false where `limit` cut the list."""
    given = read_parameters(request, SERIES_PARAMETERS)
    site, limit = site_of(request), given["limit"]
    if given["prefix"] and "match" in given:
        raise Problem(400, "parameter", "give either match or prefix")

    def look() -> Response:
        if "match" in given:
            found = list(islice(site.engine.operations.series(parse_selection(given["match"])), limit + 1))
        else:
            found = site.engine.series_list(given["prefix"], limit + 1)
        return Json({"series": series_documents(site.engine, found[:limit]), "is_complete": len(found) <= limit})

    return await site.reads.run(look, request)


def series_documents(engine: "Engine", found: Sequence[SeriesInfo]) -> list[SeriesDocument]:
    """Each series with its metric's unit, given or of its kind, and help; "" where nothing is known."""
    about = {name: engine.operations.description(name) for name in {info.name for info in found}}
    return [
        {
            "metric": info.name,
            "tags": info.tags,
            "kind": kinds.NAMES[info.kind],
            "unit": engine.described_unit(info.name) or "",
            "help": about[info.name]["help"],
        }
        for info in found
    ]


async def rejects(request: Request) -> Response:
    """The last 100 datagrams, lines and elements that were turned away, newest first."""
    site = site_of(request)
    found = await site.reads.run(site.engine.rejects)
    return Json({"rejects": [reject_document(reject) for reject in found]})


def reject_document(reject: dict[str, Any]) -> dict[str, Any]:
    """Nanoseconds become seconds: they are past what a double, and so JavaScript, can hold."""
    return {"time": reject["time_ns"] / 1e9, **{key: reject[key] for key in ("input", "reason", "source", "text")}}


UNKNOWN_METRIC: Final = Refusal(404, "unknown-metric", "Nobody has sent this metric; `nearest` has names like it.")
BAD_EXPRESSION: Final = Refusal(400, "expression", "It cannot be read or evaluated; `line` and `column` say where.")
DOCS: Final[Docs] = {
    health: Endpoint(
        "Engine",
        "Is it well?",
        Health,
        also={503: "Something stands still that only a restart mends."},
        more="Degraded is 200: a restart would mend nothing.",
    ),
    readiness: Endpoint("Engine", "Does it receive?", Readiness, also={503: "Not yet."}),
    ledger: Endpoint("Engine", "Every datagram and value accounted for", Ledger),
    query: Endpoint(
        "Values",
        "An expression, now or over a range",
        (QueryAnswer, Media("text/csv", "a row for each point", "time,metric,value\n1700000000,finance.api_ms,212\n")),
        parameters=QUERY_PARAMETERS,
        refusals=(
            BAD_EXPRESSION,
            UNKNOWN_METRIC,
            Refusal(400, "query", "The range or the step cannot be, or the answer would be too large."),
            Refusal(502, "remote", "The remote was asked for and does not answer."),
        ),
        more="Without start and end the value now. With points the engine chooses the step: the smallest that is kept "
        "of the range and makes at most so many points. A written window ends with each step.",
        query="?expr=avg(finance.api_ms)&start=1700000000&points=300",
    ),
    series: Endpoint(
        "Look-ups",
        "Series with their tags",
        SeriesAnswer,
        parameters=SERIES_PARAMETERS,
        refusals=(BAD_EXPRESSION,),
        query="?prefix=finance.",
    ),
    rejects: Endpoint("Engine", "What was turned away last", RejectsAnswer),
}

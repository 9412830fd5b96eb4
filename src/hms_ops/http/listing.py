"""Look-ups for screens: metrics with their units, a metric's tags with their values, and what makes series many.

    GET /v1/metrics       ?prefix=&limit=     by name; `is_complete` is false where `limit` cut the list
    GET /v1/tags          ?metric=            404 for a metric that nobody has sent
    GET /v1/cardinality   ?limit=             metrics with most series, tags with most values

What is counted and how is census.py's. All of it is a worker's call.
"""

from typing import Any, Final, TypedDict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.census import Cardinality, Metric, Tag
from hms_ops.http.answer import Json
from hms_ops.http.endpoint import Docs, Endpoint
from hms_ops.http.lookup import UNKNOWN_METRIC
from hms_ops.http.parameters import read_parameters, whole_number
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader

METRICS_LISTED: Final = 1_000
METRICS_LISTED_MAX: Final = 20_000
LARGEST_LISTED: Final = 20
LARGEST_LISTED_MAX: Final = 1_000
METRICS_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "prefix": TEXT.about("What the name begins with.", default="", example="finance."),
    "limit": whole_number(1, METRICS_LISTED_MAX).about("How many at most.", default=METRICS_LISTED),
}
TAGS_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "metric": TEXT.about("The metric's name.", example="finance.api_ms", required=True)
}
CARDINALITY_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "limit": whole_number(1, LARGEST_LISTED_MAX).about("How many of each list at most.", default=LARGEST_LISTED)
}


class MetricsAnswer(TypedDict):
    """By name; is_complete: false where `limit` cut the list."""

    metrics: list[Metric]
    is_complete: bool


class TagsAnswer(TypedDict):
    """The tags of a metric, by name."""

    metric: str
    tags: list[Tag]


async def metrics(request: Request) -> Response:
    """Metrics that memory or disk knows, with kind, unit, help, how many series each has, and its last second."""
    given = read_parameters(request, METRICS_PARAMETERS)
    site = site_of(request)

    def look() -> Response:
        found, is_complete = site.engine.census.metrics(given["prefix"], given["limit"])
        return Json({"metrics": found, "is_complete": is_complete})

    return await site.reads.run(look, request)


async def tags(request: Request) -> Response:
    """The tags of a metric, each with its first values and how many there are."""
    metric = read_parameters(request, TAGS_PARAMETERS)["metric"]
    site = site_of(request)
    return await site.reads.run(lambda: Json({"metric": metric, "tags": site.engine.census.tags(metric)}), request)


async def cardinality(request: Request) -> Response:
    """How many series there are against the limit, and which metrics and tags make them many."""
    limit = read_parameters(request, CARDINALITY_PARAMETERS)["limit"]
    site = site_of(request)
    return await site.reads.run(lambda: Json(site.engine.census.cardinality(limit)), request)


DOCS: Final[Docs] = {
    metrics: Endpoint(
        "Look-ups",
        "Metrics with kind, unit, and their last second",
        MetricsAnswer,
        parameters=METRICS_PARAMETERS,
        query="?prefix=finance.",
    ),
    tags: Endpoint(
        "Look-ups",
        "The tags of a metric with their values",
        TagsAnswer,
        parameters=TAGS_PARAMETERS,
        refusals=(UNKNOWN_METRIC,),
        query="?metric=finance.api_ms",
    ),
    cardinality: Endpoint(
        "Look-ups", "Which metrics and tags make series many", Cardinality, parameters=CARDINALITY_PARAMETERS
    ),
}
ROUTES: Final = (
    Route("/v1/metrics", metrics),
    Route("/v1/tags", tags),
    Route("/v1/cardinality", cardinality),
)

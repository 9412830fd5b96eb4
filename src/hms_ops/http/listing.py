"""Look-ups for screens: metrics with their units, a metric's tags with their values, and what makes series many.

    GET /v1/metrics       ?prefix=&limit=     by name; `is_complete` is false where `limit` cut the list
    GET /v1/tags          ?metric=            404 for a metric that nobody has sent
    GET /v1/cardinality   ?limit=             metrics with most series, tags with most values

What is counted and how is census.py's. All of it is a worker's call.
"""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.http.answer import Json, Problem
from hms_ops.http.parameters import Reader, read_parameters, whole_number
from hms_ops.http.site import site_of

METRICS_LISTED: Final = 1_000
METRICS_LISTED_MAX: Final = 20_000
LARGEST_LISTED: Final = 20
LARGEST_LISTED_MAX: Final = 1_000
METRICS_PARAMETERS: Final[dict[str, Reader]] = {"prefix": str, "limit": whole_number(1, METRICS_LISTED_MAX)}
TAGS_PARAMETERS: Final[dict[str, Reader]] = {"metric": str}
CARDINALITY_PARAMETERS: Final[dict[str, Reader]] = {"limit": whole_number(1, LARGEST_LISTED_MAX)}


async def metrics(request: Request) -> Response:
    """Metrics that memory or disk knows, with kind, unit, help, how many series each has, and its last second."""
    given: dict[str, Any] = {"prefix": "", "limit": METRICS_LISTED, **read_parameters(request, METRICS_PARAMETERS)}
    site = site_of(request)

    def look() -> Response:
        found, is_complete = site.engine.census.metrics(given["prefix"], given["limit"])
        return Json({"metrics": found, "is_complete": is_complete})

    return await site.reads.run(look)


async def tags(request: Request) -> Response:
    """The tags of a metric, each with its first values and how many there are."""
    metric = read_parameters(request, TAGS_PARAMETERS).get("metric", "")
    if not metric:
        raise Problem(400, "parameter", "the parameter 'metric' is missing; as in ?metric=finance.api_ms")
    site = site_of(request)
    return await site.reads.run(lambda: Json({"metric": metric, "tags": site.engine.census.tags(metric)}))


async def cardinality(request: Request) -> Response:
    """How many series there are against the limit, and which metrics and tags make them many."""
    limit = read_parameters(request, CARDINALITY_PARAMETERS).get("limit", LARGEST_LISTED)
    site = site_of(request)
    return await site.reads.run(lambda: Json(site.engine.census.cardinality(limit)))


ROUTES: Final = (
    Route("/v1/metrics", metrics),
    Route("/v1/tags", tags),
    Route("/v1/cardinality", cardinality),
)

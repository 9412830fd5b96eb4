"""`/api/v1`: the part of the Prometheus query API that Grafana's data source calls."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

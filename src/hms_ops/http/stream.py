"""`GET /v1/stream`: server-sent events of cells, alerts, anomalies and actions, as they happen."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

"""`/v1/dashboards`: dashboards of one's own, YAML files read, checked, edited and reloaded."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

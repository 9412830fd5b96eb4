"""Look-ups for screens: metrics with their units, tags with their values, and what explodes."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

"""`/v1/session`: who asks, and the cookie a browser gets for a token."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

"""`GET /openapi.json` and `GET /docs`: what the API is, from the tables and types that validate it."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

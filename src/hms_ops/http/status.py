"""The public status page, its data, badges and the widget: no login, cacheable, nothing private."""

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()

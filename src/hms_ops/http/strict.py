"""Paths that take no parameters refuse any: a `limit` that nobody reads must not look as if it held.

Of the API's own paths only. Pages keep their state in the address, and browsers report to where they were told.
"""

import copy
from typing import Final
from urllib.parse import parse_qsl

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hms_ops.http.answer import Problem
from hms_ops.http.endpoint import Docs, Endpoint

API: Final = "/v1/"
LENIENT: Final = ("/v1/csp-reports",)


class Bare:
    """A route's application without parameters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if given:
            raise Problem(400, "parameter", f"unknown parameter {given[0][0][:100]!r}; this path takes none")
        await self._app(scope, receive, send)


def is_bare(path: str, endpoint: Endpoint) -> bool:
    """Whether it refuses every parameter."""
    return path.startswith(API) and path not in LENIENT and not endpoint.parameters


def strict(route: Route, docs: Docs) -> Route:
    """The route, refusing what it does not read; a copy, for routes are shared by all servers of a process."""
    endpoint = docs.get(route.endpoint)
    if endpoint is None or not is_bare(route.path, endpoint):
        return route
    guarded = copy.copy(route)
    guarded.app = Bare(route.app)
    return guarded

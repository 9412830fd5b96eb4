"""What each request needs: one table of methods and paths, held in front of every handler. ALLOWS says what each scope
is for.

A path here is a route's own text, as in `Route("/v1/alerts/{name:path}/ack", …)`, never a request's: what is checked
belongs to the handler that will run, however the request spells its path. A `*` at the end stands for any rest. The
first line that fits holds; a route without one needs admin, so a forgotten line locks and does not open.
`protected` is applied by `routes.application` to each route.
"""

import copy
from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hms_ops.http.answer import Problem
from hms_ops.http.caller import Caller, caller_in

PUBLIC: Final = "public"
ADMIN: Final = "admin"
ALLOWS: Final = {
    PUBLIC: "Anybody who reaches the engine: pages, probes, the log-in, the status page.",
    "ingest": "Send samples and events, fire alerts by hand.",
    "read": "Everything that only looks.",
    "silence": "What people do about alerts: acknowledge, silence.",
    ADMIN: "The rest, and all of the above.",
}

# Methods, path, scope. HEAD is GET.
TABLE: Final[tuple[tuple[str, str, str], ...]] = (
    ("GET", "/", PUBLIC),
    ("GET", "/assets/*", PUBLIC),
    ("GET", "/healthz", PUBLIC),
    ("GET", "/readyz", PUBLIC),
    ("GET", "/openapi.json", PUBLIC),
    ("GET", "/docs", PUBLIC),
    ("GET", "/docs/*", PUBLIC),
    ("GET POST DELETE", "/v1/session", PUBLIC),
    ("POST", "/v1/csp-reports", PUBLIC),
    ("GET", "/status*", PUBLIC),
    ("GET", "/badge/*", PUBLIC),
    ("GET", "/hms-status.js", PUBLIC),
    ("POST", "/v1/ingest", "ingest"),
    ("POST", "/v1/events", "ingest"),
    ("POST", "/v1/alerts/{name:path}/fire", "ingest"),
    ("POST", "/v1/alerts/{name:path}/ack", "silence"),
    ("POST", "/v1/alerts/{name:path}/unack", "silence"),
    ("POST", "/v1/alerts/{name:path}/silence", "silence"),
    ("POST", "/v1/alerts/{name:path}/unsilence", "silence"),
    ("POST", "/v1/silences", "silence"),
    ("DELETE", "/v1/silences/{id}", "silence"),
    ("GET", "/metrics", "read"),
    ("GET", "/v1/*", "read"),
    ("GET", "/api/v1/*", "read"),
    # Grafana asks by POST, since expressions may be longer than a URL.
    ("POST", "/api/v1/query", "read"),
    ("POST", "/api/v1/query_range", "read"),
    ("POST", "/api/v1/query_exemplars", "read"),
    ("POST", "/api/v1/series", "read"),
    ("POST", "/api/v1/labels", "read"),
    ("POST", "/api/v1/format_query", "read"),
)


def needed(method: str, path: str) -> str:
    """The scope that a method of a route needs; path: the route's own."""
    asked = "GET" if method == "HEAD" else method
    return next((scope for methods, known, scope in TABLE if asked in methods.split() and fits(path, known)), ADMIN)


def fits(path: str, known: str) -> bool:
    return path.startswith(known[:-1]) if known.endswith("*") else path == known


def scope_refusal(caller: Caller, scope: str) -> Problem | None:
    """Why the caller may not, None when it may."""
    if scope == PUBLIC or scope in caller.scopes:
        return None
    if not caller.is_somebody:
        return caller.problem()
    who = f"the token {caller.name}" if caller.name else "the token"
    has = ", ".join(sorted(caller.scopes))
    challenge = f'Bearer realm="hms-ops", error="insufficient_scope", scope="{scope}"'
    return Problem(
        403, "scope", f"this needs the scope {scope}; {who} has {has}", {"WWW-Authenticate": challenge}, needed=scope
    )


class Scoped:
    """A route's own application behind the scope that each of its methods needs. Without a guard in front, which says
    who asks, nobody does."""

    def __init__(self, app: ASGIApp, path: str, methods: Iterable[str]) -> None:
        self._app = app
        self._needs = {method: needed(method, path) for method in methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = scope_refusal(caller_in(scope), self._needs.get(scope["method"], ADMIN))
        if problem is not None:
            raise problem
        await self._app(scope, receive, send)


def protected(route: BaseRoute) -> Route:
    """The route with its scopes held; a copy, for routes are shared by all servers of a process."""
    if type(route) is not Route or not route.methods:
        raise TypeError(f"{route!r} is no Route with methods, so nobody could say what it needs")
    guarded = copy.copy(route)
    guarded.app = Scoped(route.app, route.path, route.methods)
    return guarded

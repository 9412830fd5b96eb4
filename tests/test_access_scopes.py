"""Which scope each route needs, held for every route there is; and that nothing reaches a handler without it."""

import asyncio
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from tests.serving import Serving, server_of, serving

from hms_ops.http.access import Access
from hms_ops.http.answer import Problem
from hms_ops.http.caller import NOBODY, OPEN, Caller
from hms_ops.http.entrance import Entrance
from hms_ops.http.guard import Guard
from hms_ops.http.routes import ROUTES
from hms_ops.http.scopes import ADMIN, PUBLIC, TABLE, fits, needed, protected, scope_refusal
from hms_ops.http.token import EVERYTHING, SCOPES, Token, digest_of, plain_token

# What needs admin since the table has no line for it. A new route that changes something stands here or there.
ADMINS = {
    ("DELETE", "/v1/series"),
    ("POST", "/v1/describe"),
    ("POST", "/v1/import"),
    ("POST", "/v1/backup"),
    ("POST", "/v1/actions/stop"),
    ("POST", "/v1/actions/resume"),
    ("POST", "/v1/alerts"),
    ("DELETE", "/v1/alerts/{name:path}"),
    ("POST", "/v1/dead-letters/{id}/resend"),
    ("POST", "/v1/notifications/test"),
    ("PUT", "/v1/dashboards/{name}"),
    ("DELETE", "/v1/dashboards/{name}"),
    ("POST", "/v1/dashboards/check"),
}
PUBLICS = ("/", "/assets/", "/healthz", "/readyz", "/openapi.json", "/docs", "/v1/session", "/v1/csp-reports")
PUBLICS_LATER = ("/status", "/badge/", "/hms-status.js")


def methods() -> Iterator[tuple[str, str]]:
    """(method, the route's own path) of every route."""
    for route in ROUTES:
        assert isinstance(route, Route), route
        yield from ((method, route.path) for method in sorted(route.methods or ()))


ALL = sorted(set(methods()))


@pytest.mark.parametrize(("method", "path"), ALL)
def test_every_route_has_a_line_or_is_known_to_need_admin(method: str, path: str) -> None:
    is_listed = any(("GET" if method == "HEAD" else method) in m.split() and fits(path, p) for m, p, _ in TABLE)
    assert is_listed or (method, path) in ADMINS, f"{method} {path}: give it a line in scopes.TABLE, or name it here"


@pytest.mark.parametrize(("methods", "known"), [(methods, known) for methods, known, _ in TABLE])
def test_every_line_is_of_a_route(methods: str, known: str) -> None:
    for asked in methods.split():
        assert any(method == asked and fits(path, known) for method, path in ALL), f"nothing takes {asked} {known}"


@pytest.mark.parametrize(("method", "path"), ALL)
def test_no_route_is_public_but_those_that_are_meant(method: str, path: str) -> None:
    is_meant = path == "/" or path.startswith(PUBLICS[1:] + PUBLICS_LATER)
    assert (needed(method, path) == PUBLIC) == is_meant


@pytest.mark.parametrize(("method", "path"), ALL)
def test_what_changes_something_never_needs_read_alone(method: str, path: str) -> None:
    if method not in ("GET", "HEAD") and not path.startswith("/api/v1/"):
        assert needed(method, path) != "read"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/ingest", "ingest"),
        ("POST", "/v1/events", "ingest"),
        ("GET", "/v1/events", "read"),
        ("HEAD", "/v1/ledger", "read"),
        ("GET", "/api/v1/query", "read"),
        ("POST", "/api/v1/query_range", "read"),
        ("POST", "/api/v1/admin/tsdb/delete_series", ADMIN),
        ("GET", "/metrics", "read"),
        ("GET", "/metrics2", ADMIN),
        ("GET", "/v12/ledger", ADMIN),
        ("GET", "/v1x", ADMIN),
        ("GET", "/api/v1x", ADMIN),
        ("GET", "/docsx", ADMIN),
        ("GET", "/assetsx", ADMIN),
        ("POST", "/v1/alerts/{name:path}/ack", "silence"),
        ("POST", "/v1/alerts", ADMIN),
        ("DELETE", "/v1/silences/{id}", "silence"),
        ("GET", "/v1/session", PUBLIC),
        ("PUT", "/v1/session", ADMIN),
        ("GET", "/nobody/knows", ADMIN),
        ("BREW", "/", ADMIN),
        ("get", "/v1/ledger", ADMIN),
        ("", "/", ADMIN),
    ],
)
def test_the_table(method: str, path: str, scope: str) -> None:
    assert needed(method, path) == scope


@pytest.mark.parametrize(("held", "wanted"), list(product([*SCOPES, None], [*SCOPES, PUBLIC])))
def test_a_scope_lets_in_where_it_is_needed_and_admin_everywhere(held: str | None, wanted: str) -> None:
    scopes = EVERYTHING if held == "admin" else frozenset(filter(None, [held]))
    caller = Caller("ann", scopes, "token") if held else NOBODY
    problem = scope_refusal(caller, wanted)
    assert (problem is None) == (wanted in ("public", held) or held == "admin")
    if problem is not None:
        assert (problem.status, problem.kind) == ((403, "scope") if held else (401, "token"))
        assert held is None or (problem.members["needed"] == wanted and wanted in problem.detail)


def test_each_refusal_is_a_problem_of_its_own() -> None:
    """One exception raised by many requests would gather all their tracebacks."""
    assert scope_refusal(NOBODY, "read") is not scope_refusal(NOBODY, "read")


def test_what_is_no_plain_route_is_not_served() -> None:
    with pytest.raises(TypeError, match="no Route"):
        protected(Mount("/x", routes=[]))


def test_routes_are_shared_and_not_wrapped_twice() -> None:
    app = ROUTES[0].app
    protected(ROUTES[0])
    assert ROUTES[0].app is app


# ---- nothing reaches a handler without its scope

TOKENS = {scope: f"token-of-{scope}-0123456789" for scope in SCOPES}
KNOWN = tuple(
    Token(digest_of(text), scope, EVERYTHING if scope == "admin" else frozenset([scope]))
    for scope, text in TOKENS.items()
)
OVER = Token(digest_of("expired-token-0123456789"), "old", EVERYTHING, expires=10.0)
NOW = 1_000.0


async def reach(request: Request) -> Response:
    request.app.state.reached.append((request.method, request.scope["route"].path))
    return Response(b"")


async def answered(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


def application(tokens: tuple[Token, ...]) -> tuple[Guard, list[Any], Entrance]:
    """All routes there are, each with a handler that says that it was reached."""
    made = [
        protected(Route(route.path, reach, methods=sorted(route.methods or ())))
        for route in ROUTES
        if isinstance(route, Route)
    ]

    app = Starlette(routes=made, exception_handlers={Problem: answered})
    app.state.reached = []
    entrance = Entrance(Access(tokens=tokens), lambda: NOW)
    return Guard(app, entrance, {"token": 0, "origin": 0, "host": 0, "head-too-large": 0}), app.state.reached, entrance


def ask(guard: Guard, method: str, path: str, headers: list[tuple[bytes, bytes]], scheme: str = "http") -> int:
    """The status of the answer; the path is not quoted, as after uvicorn."""
    sent: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": scheme,
        "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8126), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return int(sent[0]["status"])


def concrete(path: str) -> str:
    """A path that the route takes."""
    for part, text in (("{name:path}", "finance.a/b"), ("{path:path}", "x.js"), ("{name}", "wall"), ("{id}", "1")):
        path = path.replace(part, text)
    return path.replace("{tag}", "agency").replace("{name}", "x")


HOSTILE = [
    *((b"authorization", f"Bearer {text}".encode()) for text in [*TOKENS.values(), "expired-token-0123456789"]),
    *((b"authorization", word) for word in (b"", b"Bearer", b"Bearer ", b"Basic YTpi")),
    (b"authorization", b"bearer\t" + TOKENS["read"].encode()),
    *((b"cookie", word) for word in (b"", b"hms-ops-session=", b"hms-ops-session=x", b"__Host-hms-ops-session=x; a=b")),
    (b"cookie", b"hms-ops-session=" + TOKENS["admin"].encode()),
    *((b"origin", word) for word in (b"null", b"http://localhost", b"http://evil.example")),
    *((b"sec-fetch-site", word) for word in (b"cross-site", b"same-origin")),
    (b"x-forwarded-for", b"127.0.0.1"),
    (b"x-http-method-override", b"GET"),
    (b"x-original-url", b"/healthz"),
]
ODD = st.tuples(st.sampled_from([b"authorization", b"cookie", b"origin"]), st.binary(max_size=40))
HEADS = st.lists(st.sampled_from(HOSTILE) | ODD, max_size=4)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "TRACE", "", "GET "])
TRICKS = [
    *("//v1/ledger", "/v1//ledger", "/v1/ledger/", "/V1/ledger", "/v1/ledger\n", "/v1/ledger\0", "*", ""),
    *("/healthz/../v1/ledger", "/assets/../v1/ledger", "/status/../v1/alerts", "/v1/session/x"),
    *("/v1/alerts/x/ack/fire", "/v1/alerts/fire", "/v1/alerts//fire", "/v1/alerts/x/fire/ack"),
]
PATHS = st.one_of(
    st.sampled_from([path for _, path in ALL]).map(concrete),
    st.sampled_from(TRICKS),
    st.text(max_size=20).map(lambda text: "/" + text),
)


def allowed(headers: list[tuple[bytes, bytes]]) -> frozenset[str]:
    """What these headers may at most: the obvious twin of the guard."""
    given_ = [value for name, value in headers if name == b"authorization"]
    if len(given_) != 1 or not given_[0].lower().startswith(b"bearer "):
        return frozenset([PUBLIC])
    held = {text.encode(): scope for scope, text in TOKENS.items()}.get(given_[0][7:].strip())
    return frozenset([PUBLIC, *([held] if held else []), *(SCOPES if held == "admin" else ())])


@settings(max_examples=600, deadline=None)
@given(method=METHODS, path=PATHS, headers=HEADS, scheme=st.sampled_from(["http", "https"]))
def test_no_combination_reaches_a_handler_without_its_scope(
    method: str, path: str, headers: list[tuple[bytes, bytes]], scheme: str
) -> None:
    guard, reached, _ = application((*KNOWN, OVER))
    ask(guard, method, path, [(b"host", b"localhost"), *headers], scheme)
    assert all(needed(*one) in allowed(headers) for one in reached)


@pytest.mark.parametrize(("method", "path"), ALL)
def test_each_route_is_reached_with_its_scope_and_with_no_other(method: str, path: str) -> None:
    guard, reached, _ = application((*KNOWN, OVER))
    wanted = needed(method, path)
    for scope in (*SCOPES, "nobody", "expired"):
        text = TOKENS.get(scope, "expired-token-0123456789" if scope == "expired" else "unknown")
        headers = [
            (b"host", b"localhost"),
            *([] if scope == "nobody" else [(b"authorization", b"Bearer " + text.encode())]),
        ]
        reached.clear()
        status = ask(guard, method, concrete(path), headers)
        is_allowed = wanted in (PUBLIC, scope) or scope == "admin"
        assert reached == ([(method, path)] if is_allowed else [])
        assert status == (200 if is_allowed else 403 if scope in SCOPES else 401)


def test_without_a_guard_in_front_nobody_is_let_in() -> None:
    app = Starlette(routes=[protected(Route("/v1/ledger", reach))], exception_handlers={Problem: answered})
    app.state.reached = []
    assert ask(app, "GET", "/v1/ledger", [(b"host", b"localhost")]) == 401  # type: ignore[arg-type]
    assert app.state.reached == []


def test_without_tokens_everybody_may_do_everything() -> None:
    guard, reached, _ = application(())
    for method, path in ALL:
        assert ask(guard, method, concrete(path), [(b"host", b"localhost")]) == 200, (method, path)
    assert len(reached) == len(ALL)
    assert scope_refusal(OPEN, ADMIN) is None


# ---- over HTTP


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def test_a_scope_that_is_missing_is_said_and_counted(site: Serving) -> None:
    with server_of(site.engine, tokens=KNOWN) as (server, url):
        answer = site.client.post(f"{url}/v1/backup", json={"directory": "/x"}, headers=bearer("read"))
        document = answer.json()
        assert (answer.status_code, document["type"], document["needed"]) == (403, "urn:hms-ops:problem:scope", "admin")
        assert document["detail"] == "this needs the scope admin; the token read has read"
        assert 'error="insufficient_scope", scope="admin"' in answer.headers["www-authenticate"]
        assert server.tally["scope"] == 1
        assert site.client.get(f"{url}/v1/ledger", headers=bearer("read")).status_code == 200
        assert site.client.get(f"{url}/v1/ledger", headers=bearer("ingest")).status_code == 403
        assert site.client.post(f"{url}/v1/ingest", content=b"a:1|c", headers=bearer("ingest")).status_code == 200
        assert site.client.post(f"{url}/v1/ingest", content=b"a:1|c", headers=bearer("admin")).status_code == 200


def test_only_who_may_read_is_told_what_is_wrong(site: Serving) -> None:
    with server_of(site.engine, tokens=KNOWN) as (_, url):
        told = {
            scope: "problems" in site.client.get(f"{url}/healthz", headers=bearer(scope)).json() for scope in SCOPES
        }
        assert told == {"ingest": False, "read": True, "silence": False, "admin": True}
        assert "problems" not in site.client.get(f"{url}/healthz").json()


def test_a_body_is_not_read_of_whom_may_not_send_it(site: Serving) -> None:
    with server_of(site.engine, tokens=(plain_token("only-one-token-here"),)) as (server, url):
        before = site.engine.ledger()
        assert site.client.post(f"{url}/v1/ingest", content=b"evil:1|c\n" * 100_000).status_code == 401
        assert site.engine.ledger() == before
        assert server.site.bodies.held_bytes == 0


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}

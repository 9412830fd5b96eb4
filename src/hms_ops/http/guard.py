"""Who may talk to the engine: the outermost layer, before any route is looked up.

A page in a browser on this host can reach loopback too, by a name of its own that resolves to 127.0.0.1 (DNS
rebinding) or by a form that posts across origins. So `Host` must name this machine, and `Origin`, which browsers add
to whatever a page sends elsewhere, must be `Host` itself. What a browser sends with a session's cookie and changes
something must carry that `Origin`: a page cannot leave it out, and cannot forge it. Pages of sibling hosts have the
cookie sent as well: they may link to us and show what is public, as strangers see it, and read nothing else.

`refusal` is pure: headers in, problem or None out. `Guard` applies it, counts what it turned away under the problem's
kind, says in the scope who asks ("caller"; what that one may is held in front of each handler, by scopes.py), and adds
the headers that keep answers out of other pages and caches.
Source: RFC 9110 section 7.2 (Host), RFC 6454 (Origin), RFC 6797 (HSTS), W3C Fetch Metadata.
"""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hms_ops.http.access import Access
from hms_ops.http.answer import Problem
from hms_ops.http.caller import NOBODY
from hms_ops.http.entrance import Entrance
from hms_ops.http.scopes import PUBLIC, TABLE, fits
from hms_ops.quantity import is_address, is_loopback

HEAD_BYTES_MAX: Final = 16 * 1024
HOST: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([^\s:/@\[\]]{1,255}))(?::[0-9]{1,5})?\Z")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS", "TRACE")
# Public, and made to be shown in pages of others: these may read them, since they could fetch them themselves.
EMBEDDED: Final = ("/status", "/badge/", "/hms-status.js")

# Public, and about nobody: of /v1 that is only the log-in, which tells who is logged in.
FOR_ALL: Final = tuple(path for methods, path, scope in TABLE if scope == PUBLIC and not path.startswith("/v1/"))

ANSWER_HEADERS: Final = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
# A year, as OMB M-15-13 asks. Never for loopback: it would hold for every port of the developer's own host.
HSTS: Final = {b"strict-transport-security": b"max-age=31536000"}

PREFLIGHT_SECONDS: Final = 600
FOREIGN_PAGE: Final = "the request comes from a page of another origin"
NO_ORIGIN: Final = "a browser's session changes things only with an Origin header; programs send a bearer token"


def refusal(
    access: Access, headers: Headers, method: str = "GET", path: str = "", is_tls: bool = False
) -> Problem | None:
    """Why the request is turned away, whoever asks; None when it is not."""
    is_embedded = method in SAFE_METHODS and path.startswith(EMBEDDED)
    return (
        head_refusal(headers)
        or host_refusal(access, headers)
        or (None if is_embedded else page_refusal(access, headers, method, is_tls))
    )


def head_refusal(headers: Headers) -> Problem | None:
    size = sum(len(name) + len(value) + 4 for name, value in headers.raw)
    if size <= HEAD_BYTES_MAX:
        return None
    return Problem(431, "head-too-large", f"the headers have {size:,} bytes, {HEAD_BYTES_MAX:,} are allowed")


def host_refusal(access: Access, headers: Headers) -> Problem | None:
    hosts = headers.getlist("host")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if is_ours(access, host):
        return None
    shown = host.encode("ascii", "replace").decode()[:100]
    return Problem(403, "host", f"Host {shown!r} is not this engine's address; ask for it by the address it listens on")


def page_refusal(access: Access, headers: Headers, method: str, is_tls: bool) -> Problem | None:
    """One Origin, ours or one that may ask, where there is one; and no word of the browser that another page is behind
    a change."""
    origins, host = headers.getlist("origin"), headers["host"].lower()
    # https without TLS of ours: where a proxy of ours takes it off.
    ours = (f"https://{host}",) if is_tls else (f"http://{host}", f"https://{host}")
    if len(origins) == 1 and origins[0].lower() in access.origins:
        return None
    if origins and (len(origins) > 1 or origins[0].lower() not in ours):
        return Problem(403, "origin", FOREIGN_PAGE)
    sites = headers.getlist("sec-fetch-site")
    if method not in SAFE_METHODS and any(site not in ("same-origin", "none") for site in sites):
        return Problem(403, "origin", FOREIGN_PAGE)
    return None


def session_refusal(headers: Headers, method: str) -> Problem | None:
    """What a request with a session's cookie needs besides: browsers send that cookie by themselves."""
    if method in SAFE_METHODS:
        is_read = is_of_others(headers) and not is_opened(headers)
        return Problem(403, "origin", FOREIGN_PAGE) if is_read else None
    if not headers.getlist("origin") or any(site != "same-origin" for site in headers.getlist("sec-fetch-site")):
        return Problem(403, "origin", NO_ORIGIN)
    return None


def is_of_others(headers: Headers) -> bool:
    """Whether a page of another origin is behind the request, by the word of the browser."""
    return any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site"))


def is_opened(headers: Headers) -> bool:
    """Whether somebody follows a link: the answer becomes a page of its own, which the page with the link cannot
    read."""
    return headers.getlist("sec-fetch-mode") == ["navigate"] and headers.getlist("sec-fetch-dest") == ["document"]


def is_for_all(method: str, path: str) -> bool:
    """Whether strangers are answered here, and nothing else is meant than what they see."""
    return method in SAFE_METHODS and any(fits(path, known) for known in FOR_ALL)


def is_ours(access: Access, host: str) -> bool:
    """Whether a Host header, in lower case, names this engine; the port is not looked at, tunnels change it."""
    match = HOST.match(host)
    if match is None:
        return False
    name = match[1] or match[2]
    return is_loopback(name) or name in access.hosts or (access.with_addresses and is_address(name))


class Guard:
    """The ASGI layer around the routes. tally: reason → count, written on the event loop's thread only."""

    def __init__(self, app: ASGIApp, entrance: Entrance, tally: MutableMapping[str, int]) -> None:
        self._app = app
        self._entrance = entrance
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, method, is_tls = Headers(scope=scope), scope["method"], scope["scheme"] == "https"
        access = self._entrance.access
        problem = refusal(access, headers, method, scope["path"], is_tls)
        if problem is None:
            caller = self._entrance.identify(headers, is_tls)
            if caller.by == "cookie" and is_for_all(method, scope["path"]) and is_of_others(headers):
                # A badge in a page of a sibling host: shown as to strangers, though the browser sends the cookie there.
                caller = NOBODY if not is_opened(headers) else caller
            problem = session_refusal(headers, method) if caller.by == "cookie" else None
            scope["caller"] = caller
            scope["entrance"] = self._entrance
            # May be told what is wrong with the engine: a token that only brings samples in may not.
            scope["is_trusted"] = "read" in caller.scopes
        app: Any = self._app
        if problem is not None:
            self._tally[problem.kind] += 1
            app = problem.response()
        await app(
            scope, receive, guarded(send, ANSWER_HEADERS | HSTS if is_tls and is_named(headers) else ANSWER_HEADERS)
        )


def is_named(headers: Headers) -> bool:
    """Whether the engine is asked for by a name that is not loopback's; for addresses browsers keep nothing."""
    match = HOST.match(headers.get("host", "").lower())
    return match is not None and match[2] is not None and not is_address(match[2]) and not is_loopback(match[2])


def guarded(send: Send, headers: Mapping[bytes, bytes]) -> Send:
    """`send` that adds headers where an answer does not set them itself."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [item for item in headers.items() if item[0] not in names]
        await send(message)

    return send_guarded


def shared_with(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application for pages of these origins too: they may send a token and read the answer, never a cookie."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID"),
        expose_headers=("ETag", "Retry-After"),
        max_age=PREFLIGHT_SECONDS,
    )

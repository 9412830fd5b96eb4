"""Who may talk to the engine: the outermost layer, before any route is looked up.

A page in a browser on this host can reach loopback too, by a name of its own that resolves to 127.0.0.1 (DNS
rebinding) or by a form that posts across origins. So `Host` must name this machine, and `Origin`, which browsers add
to whatever a page sends elsewhere, must be `Host` itself. An address that others can reach needs tokens besides.

`refusal` is pure: headers in, problem or None out. `Guard` applies it, counts what it turned away under the problem's
kind, and adds the headers that keep answers out of other pages and caches.
Source: RFC 9110 section 7.2 (Host), RFC 6454 (Origin), RFC 6750 (Bearer).
"""

import re
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hms_ops.errors import StartError
from hms_ops.http.answer import Problem
from hms_ops.quantity import is_address, is_loopback, reachable_text

HEAD_BYTES_MAX: Final = 16 * 1024
HOST: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([^\s:/@\[\]]{1,255}))(?::[0-9]{1,5})?\Z")
TOKEN: Final = re.compile(r"[!-~]{1,4096}\Z")

# What load balancers and kubelets ask; they tell nothing but one word to those without a token.
PROBES: Final = ("/healthz", "/readyz")

ANSWER_HEADERS: Final = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


@dataclass(frozen=True, slots=True)
class Access:
    """hosts: names and addresses of ours, lower case, loopback ones need not be listed. with_addresses: any literal
    IP address may stand in Host (only a name can be rebound). tokens: () asks for none."""

    hosts: frozenset[str] = frozenset()
    with_addresses: bool = False
    tokens: tuple[bytes, ...] = ()


def access_of(host: str, bound_host: str, machine_name: str, tokens: Iterable[str]) -> Access:
    """The access for a bound address; StartError when it can be reached from elsewhere and no token is asked for.

    host: as configured. bound_host: the address it resolved to.
    """
    secrets = tuple(tokens)
    if not all(TOKEN.match(token) for token in secrets):
        raise StartError("http_tokens holds a token that is empty or not plain ASCII without blanks; generate others")
    if is_loopback(bound_host):
        return Access(frozenset({host.lower()}), tokens=encoded(secrets))
    if not secrets:
        raise StartError(reachable_text(host))
    return Access(frozenset({host.lower(), machine_name.lower()}), with_addresses=True, tokens=encoded(secrets))


def encoded(tokens: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(token.encode() for token in tokens)


def refusal(access: Access, path: str, headers: Headers) -> Problem | None:
    """Why the request is turned away, None when it is not."""
    return (
        head_refusal(headers)
        or host_refusal(access, headers)
        or (None if path in PROBES else token_refusal(access, headers))
    )


def head_refusal(headers: Headers) -> Problem | None:
    size = sum(len(name) + len(value) + 4 for name, value in headers.raw)
    if size <= HEAD_BYTES_MAX:
        return None
    return Problem(431, "head-too-large", f"the headers have {size:,} bytes, {HEAD_BYTES_MAX:,} are allowed")


def host_refusal(access: Access, headers: Headers) -> Problem | None:
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if not is_ours(access, host):
        shown = host.encode("ascii", "replace").decode()[:100]
        return Problem(
            403, "host", f"Host {shown!r} is not this engine's address; ask for it by the address it listens on"
        )
    # One Origin, ours; https where a proxy of ours takes TLS off.
    if origins and (len(origins) > 1 or origins[0].lower() not in (f"http://{host}", f"https://{host}")):
        return Problem(403, "origin", "the request comes from a page of another origin")
    return None


def is_ours(access: Access, host: str) -> bool:
    """Whether a Host header, in lower case, names this engine; the port is not looked at, tunnels change it."""
    match = HOST.match(host)
    if match is None:
        return False
    name = match[1] or match[2]
    return is_loopback(name) or name in access.hosts or (access.with_addresses and is_address(name))


def token_refusal(access: Access, headers: Headers) -> Problem | None:
    if not access.tokens or has_token(access.tokens, headers):
        return None
    return Problem(
        401, "token", "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": 'Bearer realm="hms-ops"'}
    )


def has_token(tokens: tuple[bytes, ...], headers: Headers) -> bool:
    given = headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    # All of them are compared, so that the time says nothing about which one was near.
    matches = [compare_digest(token.strip().encode("latin-1"), known) for known in tokens]
    return scheme.lower() == "bearer" and any(matches)


class Guard:
    """The ASGI layer around the routes. tally: reason → count, written on the event loop's thread only."""

    def __init__(self, app: ASGIApp, access: Access, tally: MutableMapping[str, int]) -> None:
        self._app = app
        self._access = access
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        problem = refusal(self._access, scope["path"], headers)
        app: Any = self._app
        if problem is not None:
            self._tally[problem.kind] += 1
            app = problem.response()
        scope["is_trusted"] = not self._access.tokens or has_token(self._access.tokens, headers)
        await app(scope, receive, guarded(send))


def guarded(send: Send) -> Send:
    """`send` that adds ANSWER_HEADERS where an answer does not set them itself."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [item for item in ANSWER_HEADERS.items() if item[0] not in names]
        await send(message)

    return send_guarded

"""Who asks: told by the bearer token or the session cookie of a request, and what they may do.

The guard puts a `Caller` into the request's scope under "caller"; `scopes.py` looks whether it may, handlers read its
name. Nothing here raises: who cannot be told is `NOBODY` with the problem to answer where something is asked for that
wants a scope. Public paths are answered to nobody as well.
"""

from dataclasses import dataclass, field
from typing import Final, cast

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from hms_ops.http.answer import Problem
from hms_ops.http.token import EVERYTHING, Token, expiry_text

COOKIE: Final = "hms-ops-session"
# A browser takes a cookie of this name only from the host itself, over TLS, for all paths: RFC 6265bis, 4.1.3.2.
COOKIE_SECURE: Final = "__Host-hms-ops-session"

NEEDED: Final = "a token is needed: Authorization: Bearer TOKEN, or a session (POST /v1/session)"
UNKNOWN: Final = "this token is not one of the engine's; ask its operator for one"
SEVERAL: Final = "several Authorization headers; send one: Authorization: Bearer TOKEN"
ENDED: Final = "the session has ended; log in again"


@dataclass(frozen=True, slots=True)
class Caller:
    """name: the token's, "" where there is none. by: how it is known: "open" (no token is asked for), "token", "cookie"
    or "" for nobody. expires: Unix seconds. kind, detail: of nobody, the problem that it is. digest: of the token;
    key: of the session's id."""

    name: str = ""
    scopes: frozenset[str] = frozenset()
    by: str = ""
    expires: float | None = None
    kind: str = ""
    detail: str = ""
    digest: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def is_somebody(self) -> bool:
        return bool(self.by)

    def problem(self) -> Problem:
        """What nobody is answered where a scope is needed."""
        error = "" if self.kind == "token" and self.detail == NEEDED else ', error="invalid_token"'
        return Problem(401, self.kind, self.detail, {"WWW-Authenticate": f'Bearer realm="hms-ops"{error}'})


OPEN: Final = Caller(scopes=EVERYTHING, by="open")
NOBODY: Final = Caller(kind="token", detail=NEEDED)


def caller_by(token: Token | None, now: float) -> Caller:
    """The caller with this token; what only its owner can know, that it has expired, only its owner is told."""
    if token is None:
        return Caller(kind="token", detail=UNKNOWN)
    if token.is_over(now):
        return Caller(kind="token-expired", detail=f"{token.said} has expired: {expiry_text(token.expires)}")
    return Caller(token.name, token.scopes, "token", token.expires, digest=token.digest)


def ended() -> Caller:
    """The owner of a cookie whose session there is not, or no longer."""
    return Caller(kind="session-ended", detail=ENDED)


def caller_in(scope: Scope) -> Caller:
    return cast(Caller, scope.get("caller", NOBODY))


def caller_of(request: Request) -> Caller:
    return caller_in(request.scope)


def bearer_of(headers: Headers) -> str | None:
    """The token of the one Authorization header, None where there is no such header or it is of another scheme: a
    proxy may ask for a password of its own. "" where there is nothing behind the word."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def session_id_of(headers: Headers, is_tls: bool) -> str | None:
    """The session's id in the cookies; "" where there are several, since one of them is somebody else's.

    Under TLS only the cookie counts that nobody but this host can set. Without TLS of ours a proxy may have taken it
    off, so that one is looked for first.
    """
    pairs = [pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
    for name in (COOKIE_SECURE,) if is_tls else (COOKIE_SECURE, COOKIE):
        found = [value for key, _, value in pairs if key == name]
        if found:
            return found[0] if len(found) == 1 else ""
    return None

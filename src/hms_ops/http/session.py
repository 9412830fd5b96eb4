"""`/v1/session`: who asks, and the cookie a browser gets for a token.

    GET     {"user": name or null, "scopes", "needs_login", "expires": unix or null, "version", "host",
            "status_page"}; for anybody
    POST    {"token"}  the same with a Set-Cookie; 401 for a token that is none, 429 after too many of those
    DELETE  ends the session; the same, for nobody

The cookie holds a random id, never the token: HttpOnly, SameSite=Strict, for all paths of this host, until the session
ends. Under TLS, of ours or of a proxy that browsers reach by https, it is Secure and named `__Host-…`.
Strangers are told neither version nor host ("").
"""

import platform
from typing import Annotated, Any, Final, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import hms_ops
from hms_ops.http.answer import Json, Problem
from hms_ops.http.caller import COOKIE, COOKIE_SECURE, NOBODY, Caller, caller_of, session_id_of
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.entrance import Entrance
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import read_document
from hms_ops.http.site import Site, site_of
from hms_ops.http.token import SCOPES
from hms_ops.reader import takes

NO_TOKEN: Final = 'the body is no {"token": TEXT}'


TOKEN_CHARS_MAX: Final = 4096


class SessionDocument(TypedDict):
    """Who asks, and what they may do."""

    user: Annotated[str | None, msgspec.Meta(description="the token's name; null where it has none, or nobody asks")]
    scopes: Annotated[list[str], msgspec.Meta(description="of ingest, read, silence, admin; [] for nobody")]
    needs_login: Annotated[bool, msgspec.Meta(description="whether a token is needed and none was sent")]
    expires: Annotated[float | None, msgspec.Meta(description="when session or token ends, Unix seconds")]
    status_page: Annotated[bool, msgspec.Meta(description="whether there is a public status page")]
    version: Annotated[str, msgspec.Meta(description='the engine\'s; "" for nobody')]
    host: Annotated[str, msgspec.Meta(description='the engine\'s host; "" for nobody')]


async def look(request: Request) -> Response:
    return Json(document(request, caller_of(request)), headers={"Cache-Control": "no-store"})


def document(request: Request, caller: Caller) -> SessionDocument:
    is_known = caller.is_somebody
    return {
        "user": caller.name or None,
        "scopes": [scope for scope in SCOPES if scope in caller.scopes],
        "needs_login": not is_known,
        "expires": caller.expires,
        "status_page": bool(site_of(request).engine.config.status.services),
        "version": hms_ops.__version__ if is_known else "",
        "host": platform.node() if is_known else "",
    }


async def log_in(request: Request) -> Response:
    site, entrance = site_of(request), entrance_of(request)
    text = token_in(await read_document(request, site.bodies))
    if not entrance.access.tokens:  # nobody needs to
        return Json(document(request, caller_of(request)))
    address = request.client.host if request.client is not None else ""
    check_rate(entrance, address)
    caller = entrance.by_token(text)
    if not caller.is_somebody:
        entrance.attempts.failed(address, entrance.now())
        await note_failure(request, site, entrance)
        raise caller.problem()
    await site.writes.run(lambda: note(site, "log-in", caller, request))
    return begun(request, entrance, caller)


@takes(type="string", minLength=1, maxLength=TOKEN_CHARS_MAX)
def read_token(value: Any) -> str:
    # What was sent is not quoted: it may be a token with a blank too many.
    if not isinstance(value, str) or not 0 < len(value) <= TOKEN_CHARS_MAX:
        raise ValueError(NO_TOKEN)
    return value.strip()


def token_in(given: dict[str, Any]) -> str:
    if given.keys() != {"token"}:
        raise Problem(400, "session", NO_TOKEN)
    try:
        return read_token(given["token"])
    except ValueError as error:
        raise Problem(400, "session", str(error)) from None


def check_rate(entrance: Entrance, address: str) -> None:
    wait_seconds = entrance.attempts.wait_seconds(address, entrance.now())
    if wait_seconds:
        after = {"Retry-After": str(int(wait_seconds) + 1)}
        raise Problem(429, "log-ins", "too many log-ins failed; wait and try again", after)


def begun(request: Request, entrance: Entrance, caller: Caller) -> Response:
    """The answer with the cookie of a new session; the one this browser had before is ended."""
    old = session_id_of(request.headers, is_tls(request))
    if old:
        entrance.sessions.end(old)
    now = entrance.now()
    id, ends = entrance.sessions.begin(caller.digest, caller.expires, now)
    entrance.counts["log_ins"] += 1
    response = Json(document(request, Caller(caller.name, caller.scopes, "cookie", ends)))
    set_cookie(request, response, id, max(1, int(ends - now)))
    return response


async def log_out(request: Request) -> Response:
    site, entrance, caller = site_of(request), entrance_of(request), caller_of(request)
    id = session_id_of(request.headers, is_tls(request))
    if id and caller.by == "cookie":
        entrance.sessions.end(id)
        entrance.counts["log_outs"] += 1
        await site.writes.run(lambda: note(site, "log-out", caller, request))
    response = Json(document(request, caller if caller.by == "open" else NOBODY))
    set_cookie(request, response, "", 0)
    return response


def set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    # A proxy may have taken TLS off: the browser says so in the Origin it sends.
    is_secure = is_tls(request) or request.headers.get("origin", "").lower().startswith("https://")
    name = COOKIE_SECURE if is_secure else COOKIE
    response.set_cookie(name, value, max_age=seconds, path="/", secure=is_secure, httponly=True, samesite="strict")


def is_tls(request: Request) -> bool:
    return bool(request.scope["scheme"] == "https")


def entrance_of(request: Request) -> Entrance:
    entrance: Entrance = request.scope["entrance"]
    return entrance


def note(site: Site, what: str, caller: Caller, request: Request, outcome: str = "ok", **detail: Any) -> None:
    source = client_of(request)
    site.engine.paging.note(what, caller.name or source, "session", source, outcome, **detail)


async def note_failure(request: Request, site: Site, entrance: Entrance) -> None:
    """An entry of the audit log for failures, a few a minute however many there are."""
    entrance.counts["log_ins_failed"] += 1
    site.tally["log-in-failed"] += 1
    failed = entrance.attempts.to_tell(entrance.now())
    if failed:
        caller = caller_of(request)
        await site.writes.run(lambda: note(site, "log-in", caller, request, "refused", failed=failed))


ROUTES: Final = (
    Route("/v1/session", look),
    Route("/v1/session", log_in, methods=["POST"]),
    Route("/v1/session", log_out, methods=["DELETE"]),
)

ABOUT_LOG_IN: Final = (
    "The cookie is HttpOnly and SameSite=Strict and holds a random id, never the token. It lasts 12 hours at most, and "
    "until the engine is restarted. What it changes must be sent with an Origin of this engine."
)
DOCS: Final[Docs] = {
    look: Endpoint("Session", "Who asks, and what they may do", SessionDocument),
    log_in: Endpoint(
        "Session",
        "A session for a token",
        SessionDocument,
        body=Body({"token": read_token.about("A bearer token of the engine.", example="hmsops_…")}, ("token",)),
        refusals=(
            Refusal(400, "session", "the body is none"),
            Refusal(401, "token", "the engine has no such token"),
            Refusal(401, "token-expired", "the token has expired"),
            Refusal(429, "log-ins", "too many log-ins failed, from this address or all; Retry-After says how long"),
        ),
        more=ABOUT_LOG_IN,
    ),
    log_out: Endpoint("Session", "End the session", SessionDocument),
}

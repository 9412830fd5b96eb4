"""Where callers are told apart: the tokens that hold now, sessions, failed log-ins; one for each server.

The guard asks `identify` for each request, `session.py` logs in and out, the server puts new tokens in at a reload and
asks for `problems` and `counters`. Threads: the event loop's; `access` is replaced whole, so a reload may come from
any, and the counts may be read from any.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from hms_ops.http.access import Access
from hms_ops.http.attempts import Attempts
from hms_ops.http.caller import NOBODY, OPEN, SEVERAL, Caller, bearer_of, caller_by, caller_in, ended, session_id_of
from hms_ops.http.sessions import Session, Sessions, key_of
from hms_ops.http.token import Token, ending_text, find_token

DAY_SECONDS: Final = 86_400.0

log = logging.getLogger("hms_ops.http.access")


class Entrance:
    """now: Unix seconds of the engine's clock."""

    def __init__(self, access: Access, now: Callable[[], float]) -> None:
        self.access = access
        self.now = now
        self.sessions = Sessions()
        self.attempts = Attempts()
        self.counts: Counter[str] = Counter(log_ins=0, log_ins_failed=0, log_outs=0)
        self._told_day: dict[bytes, int] = {}

    def identify(self, headers: Headers, is_tls: bool) -> Caller:
        """Who asks. A bearer token goes before a cookie, which browsers send whether it is meant or not."""
        if not self.access.tokens:
            return OPEN
        if len(headers.getlist("authorization")) > 1:
            return Caller(kind="token", detail=SEVERAL)
        bearer = bearer_of(headers)
        if bearer is not None:
            return self.by_token(bearer)
        id = session_id_of(headers, is_tls)
        return NOBODY if id is None else self.by_session(id)

    def by_token(self, text: str) -> Caller:
        token, now = find_token(self.access.tokens, text), self.now()
        if token is not None and (token.is_ending(now) or token.is_over(now)):
            self._tell(token, now)
        return caller_by(token, now)

    def by_session(self, id: str) -> Caller:
        now = self.now()
        session = self.sessions.find(id, now)
        token = self._token_of(session)
        if session is None or token is None or token.is_over(now):
            return ended()
        return Caller(token.name, token.scopes, "cookie", session.ends, digest=token.digest, key=key_of(id))

    def is_still(self, caller: Caller) -> bool:
        """Whether a caller would be let in now as it was: a stream that lasts asks now and then."""
        if caller.by == "open" or not self.access.tokens:
            return caller.by == "open" and not self.access.tokens
        is_over = caller.expires is not None and self.now() >= caller.expires
        is_out = caller.by == "cookie" and not self.sessions.has(caller.key)
        held = [token.scopes for token in self.access.tokens if token.digest == caller.digest]
        return not is_over and not is_out and held == [caller.scopes]

    def _token_of(self, session: Session | None) -> Token | None:
        """The token as it is now. Digests of the engine's own are compared: there is nothing to guess."""
        if session is None:
            return None
        return next((token for token in self.access.tokens if token.digest == session.token_digest), None)

    def _tell(self, token: Token, now: float) -> None:
        """Log, once a day, that a token in use ends soon or has ended; there are TOKENS_MAX of them."""
        day = int(now // DAY_SECONDS)
        if self._told_day.get(token.digest) != day:
            self._told_day[token.digest] = day
            log.warning("%s", ending_text(token, now))

    def problems(self) -> list[str]:
        """Tokens that have ended or end within two weeks, and an open address without TLS."""
        now = self.now()
        found = [ending_text(token, now) for token in self.access.tokens if token.is_over(now) or token.is_ending(now)]
        return found + ([self.access.insecure] if self.access.insecure else [])

    def counters(self) -> dict[str, int]:
        now = self.now()
        return {
            "tokens": len(self.access.tokens),
            "tokens_ending": sum(token.is_ending(now) for token in self.access.tokens),
            "tokens_expired": sum(token.is_over(now) for token in self.access.tokens),
            "sessions": len(self.sessions),
            "sessions_evicted": self.sessions.evicted,
            **self.counts,
        }


def may_still(scope: Scope) -> bool:
    """Whether who asked would still be let in: for answers that last."""
    entrance: Entrance = scope["entrance"]
    return entrance.is_still(caller_in(scope))

"""Browsers' sessions in memory: a random id in a cookie stands for a token, which the browser then no longer holds.

Kept are the SHA-256 of the id, the digest of the token and when it ends: whoever reads the engine's memory or a core
dump finds nothing to log in with. A session lasts as long as its token does (one that is taken out of engine.yaml ends
its sessions at the reload), SESSION_SECONDS at most, and ends with the engine: people log in again after a restart.

Bounds: SESSIONS_MAX, and of one token SESSIONS_TOKEN_MAX, so that its holder cannot push others out; the oldest goes
and is counted. Threads: the event loop's only.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

SESSIONS_MAX: Final = 1024
SESSIONS_TOKEN_MAX: Final = 128
SESSION_SECONDS: Final = 12 * 3600.0
ID_BYTES: Final = 32
ID_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Session:
    """Which token, and until when, in Unix seconds."""

    token_digest: bytes
    ends: float


class Sessions:
    """All sessions of one server, oldest first. `evicted`: how many went before their time."""

    def __init__(self, sessions_max: int = SESSIONS_MAX, token_max: int = SESSIONS_TOKEN_MAX) -> None:
        self.evicted = 0
        self._max = sessions_max
        self._token_max = token_max
        self._known: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, token_digest: bytes, expires: float | None, now: float) -> tuple[str, float]:
        """The id of a new session, and when it ends."""
        self._drop_ended(now)
        own = [key for key, session in self._known.items() if session.token_digest == token_digest]
        if len(own) >= self._token_max:
            self._evict(own[0])
        if len(self._known) >= self._max:
            self._evict(next(iter(self._known)))
        id = secrets.token_urlsafe(ID_BYTES)
        ends = min(now + SESSION_SECONDS, expires if expires is not None else now + SESSION_SECONDS)
        self._known[key_of(id)] = Session(token_digest, ends)
        return id, ends

    def find(self, id: str, now: float) -> Session | None:
        session = self._known.get(key_of(id)) if 0 < len(id) <= ID_CHARS_MAX else None
        return session if session is not None and now < session.ends else None

    def has(self, key: bytes) -> bool:
        """Whether the session of that key goes on; its end by time is the asker's to look at."""
        return key in self._known

    def end(self, id: str) -> None:
        self._known.pop(key_of(id), None)

    def _drop_ended(self, now: float) -> None:
        for key in [key for key, session in self._known.items() if now >= session.ends]:
            del self._known[key]

    def _evict(self, key: bytes) -> None:
        del self._known[key]
        self.evicted += 1


def key_of(id: str) -> bytes:
    return sha256(id.encode("utf-8", "replace")).digest()

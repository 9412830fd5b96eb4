"""Makes the status from a running engine: rules, alerts, history and journal in, page, data and badges out.

They are made whole, hashed and packed once in a few seconds, whoever asks: a crowd costs a copy of bytes each.
Threads: `make` on the HTTP server's public worker; the rest on its event loop.
"""

import gzip
import hashlib
import math
from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.errors import UnknownMetricError
from hms_ops.statuspage.badge import badge_text
from hms_ops.statuspage.page import page_text
from hms_ops.statuspage.settings import ALL
from hms_ops.statuspage.standing import WORDS, Standing, Status, document, state_of, watching
from hms_ops.statuspage.uptime import DAY, Day, incidents_of, past_days, today

if TYPE_CHECKING:
    from hms_ops.engine import Engine

TODAY_KEPT_SECONDS: Final = 60  # history is read again so often
PAST_KEPT_SECONDS: Final = 3_600
EVENTS_READ: Final = 5_000
INCIDENT_SECONDS: Final = 14 * 86_400
PACKING_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Rendered:
    """Bytes as they are answered, plain and gzipped, and what tells them from others."""

    content: bytes
    packed: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Made:
    """All that is answered of one status. badges: by service, and ALL."""

    page: Rendered
    data: Rendered
    badges: Mapping[str, Rendered]


def rendered(content: bytes) -> Rendered:
    return Rendered(content, gzip.compress(content, PACKING_LEVEL, mtime=0), hashlib.sha256(content).hexdigest()[:20])


def made_of(status: Status) -> Made:
    named = [(one.service.name, one.label, one.state) for one in status.standings]
    badges = {
        name: rendered(badge_text(label, WORDS[state], state).encode())
        for name, label, state in ((ALL, status.page.title, status.state), *named)
    }
    return Made(rendered(page_text(status).encode()), rendered(msgspec.json.encode(document(status))), badges)


class StatusMaker:
    """The status of one engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.last: Made | None = None
        self.making: Future[Made] | None = None  # the event loop's
        self._made_ns = 0
        self._days: Mapping[str, list[Day]] = {}
        self._days_ns = 0
        self._past: Mapping[str, list[Day]] = {}
        self._past_ns = 0
        self._past_day = -1

    def age_seconds(self) -> float:
        """Of the last one made; endless where there is none."""
        return (steady_ns() - self._made_ns) / SECOND_NS if self.last is not None else math.inf

    def make(self) -> Made:
        """How the services stand now."""
        now_ns = steady_ns()
        if not self._days or now_ns - self._days_ns >= TODAY_KEPT_SECONDS * SECOND_NS:
            self._days, self._days_ns = self._read_days(now_ns), now_ns
        self.last, self._made_ns = made_of(self._stand()), now_ns
        return self.last

    def _read_days(self, now_ns: int) -> dict[str, list[Day]]:
        """Service → its last days, from history. Slow is not out, unless nothing else is watched."""
        now = int(self._engine.clock.now_ns() // SECOND_NS)
        watched = {service.name: service.outage or service.degraded for service in self._engine.config.status.services}
        is_old = now_ns - self._past_ns >= PAST_KEPT_SECONDS * SECOND_NS or now // DAY != self._past_day
        if is_old:  # days that are over change no more, but for what is imported
            self._past = {name: past_days(rules, now, self._read) for name, rules in watched.items()}
            self._past_ns, self._past_day = now_ns, now // DAY
        return {name: [*self._past[name], today(rules, now, self._read)] for name, rules in watched.items()}

    def _read(self, rule: str, start: int, end: int, step: str) -> Any:
        try:
            return self._engine.history(rule, start, end, step)
        except UnknownMetricError:
            return None

    def _stand(self) -> Status:
        engine = self._engine
        page, now = engine.config.status, engine.clock.now_ns() / SECOND_NS
        firing = {alert.name for alert in engine.alerts() if alert.state == "firing"}
        known = {rule.name for rule in engine.rules()} | {rule.name for rule in engine.duty.anomaly_rules()}
        standings = [
            Standing(service, state_of(service, known, firing, engine.is_ready), self._days[service.name])
            for service in page.services
        ]
        events = engine.events(EVENTS_READ, ("alert",), now - INCIDENT_SECONDS)
        return Status(page, standings, incidents_of(events, watching(page.services)), now)

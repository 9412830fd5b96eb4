"""Makes the status from a running engine: rules, alerts, history and journal in, `Status` out, kept for some seconds.

Threads: `make` on one at a time (the HTTP server's reading worker); `fresh` on any.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.errors import UnknownMetricError
from hms_ops.statuspage.standing import Standing, Status, state_of, watching
from hms_ops.statuspage.uptime import Day, days_of, incidents_of

if TYPE_CHECKING:
    from hms_ops.engine import Engine

KEPT_SECONDS: Final = 5
DAYS_KEPT_SECONDS: Final = 60  # history is read again so often
EVENTS_READ: Final = 5_000
INCIDENT_SECONDS: Final = 14 * 86_400


class StatusMaker:
    """The status of one engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._status: Status | None = None
        self._made_ns = 0
        self._days: Mapping[str, list[Day]] = {}
        self._days_ns = 0

    def fresh(self) -> Status | None:
        """The last one made, unless it is too old."""
        is_fresh = self._status is not None and steady_ns() - self._made_ns < KEPT_SECONDS * SECOND_NS
        return self._status if is_fresh else None

    def make(self) -> Status:
        """How the services stand now."""
        status, now_ns = self.fresh(), steady_ns()
        if status is not None:
            return status
        if not self._days or now_ns - self._days_ns >= DAYS_KEPT_SECONDS * SECOND_NS:
            self._days, self._days_ns = self._read_days(), now_ns
        self._status = self._stand()
        self._made_ns = now_ns
        return self._status

    def _read_days(self) -> dict[str, list[Day]]:
        """Service → its last days, from history. Slow is not out, unless nothing else is watched."""
        now = int(self._engine.clock.now_ns() // SECOND_NS)
        services = self._engine.config.status.services
        return {service.name: days_of(service.outage or service.degraded, now, self._read) for service in services}

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

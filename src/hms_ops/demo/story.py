"""The eight events of the refund rush: their order, and what of the engine tells each.

Events reach the demo from several threads: the engine's, the gateway's, the action service's, and its own look at the
sealed seconds. Each is told once and in the story's order: one that comes before its turn waits for those before it,
and `t` never goes back. Pure: nothing here reads a clock, prints or waits.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

EVENTS: Final = ("breach", "pending", "firing", "page_delivered", "anomaly", "action", "recovered", "resolved")

# As demo.yaml has them.
METRIC: Final = "db.write_ms"
ALERT: Final = "db.write_slow"
ANOMALY: Final = "db.anomaly"
SLO: Final = "finance.api_latency"
BREACH_MS: Final = 200.0
RECOVERED_MS: Final = 150.0


class Event(NamedTuple):
    """One event of the story. t: seconds since the engine was ready. facts: JSON values, what belongs to the event."""

    name: str
    t: float
    facts: Mapping[str, Any]


class Story:
    """What was told so far, and what waits for its turn."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self._waiting: dict[str, Event] = {}

    def offer(self, event: Event) -> list[Event]:
        """The events that may be told now, in order; [] when this one has to wait, or was told before."""
        if event.name not in self.missing():
            return []
        self._waiting.setdefault(event.name, event)
        begin = len(self.told)
        while (turn := self._turn()) in self._waiting:
            waited = self._waiting.pop(turn)
            self.told.append(waited._replace(t=max(waited.t, self.told[-1].t if self.told else 0.0)))
        return self.told[begin:]

    def has_told(self, name: str) -> bool:
        return name in EVENTS[: len(self.told)]

    def missing(self) -> tuple[str, ...]:
        return EVENTS[len(self.told) :]

    def _turn(self) -> str:
        return next(iter(self.missing()), "")


def event_of(report: Mapping[str, Any], t: float) -> Event | None:
    """The event that a report of `engine.watch` is, or None: other rules alert too, and not all of it is news."""
    match report:
        case {"kind": "alert", "name": name, "state": "pending" | "firing" | "resolved" as state} if name == ALERT:
            return Event(state, t, {"alert": name, "value": rounded(report.get("value"))})
        case {"kind": "anomaly", "name": name, "state": "started"} if name == ANOMALY:
            facts = {"anomaly": name, "metric": report.get("metric")}
            return Event("anomaly", t, facts | {key: rounded(report.get(key)) for key in ("value", "baseline")})
    return None


def second_event(mean_ms: float, is_healing: bool, t: float) -> Event | None:
    """The event that a sealed second with this mean of METRIC is: over the limit, or calm once the action ran."""
    facts = {"metric": METRIC, "value": rounded(mean_ms)}
    if is_healing:
        return Event("recovered", t, facts) if mean_ms < RECOVERED_MS else None
    return Event("breach", t, facts) if mean_ms > BREACH_MS else None


def rounded(value: Any) -> float | None:
    """To a tenth, None for NaN and what is no number: JSON has no NaN."""
    return round(float(value), 1) if isinstance(value, int | float) and value == value else None

"""Alerts that no rule watches: `alert_now` fires them, and they end when it is not repeated for their ttl.

Anomalies and callers of `engine.alert_now` make them; the book holds the lock, gives room and asks for what has ended.
Ended ones are remembered for `REMEMBERED_SECONDS`, so that no episode is numbered twice.
Records go to disk when one fires or ends, and at most every `KEPT_SECONDS` when it is repeated: a detector repeats an
anomaly each second.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.notification import Alert
from hms_ops.alert.states.instance import NULL, Facts, Key, id_of, make_alert
from hms_ops.alert.states.placing import REMEMBERED_SECONDS
from hms_ops.alert.states.restart import AWAY_SECONDS_MAX, BLINK_SECONDS, Kept, record_of, resume
from hms_ops.alert.states.state import AlertState, Timing, step
from hms_ops.change import Change

KEPT_SECONDS: Final = 10  # how long a repeat may wait for the disk

NO_TIMING: Final = Timing()


@dataclass(slots=True)
class Unruled:
    """One of them, firing or remembered."""

    state: AlertState
    value: float
    facts: Facts
    ttl_seconds: int
    expires: int
    reason: str = ""
    stale: str = ""
    ended: int = 0
    kept_at: int = 0  # the second its record was made for the last time

    def alert(self, key: Key, reason: str = "") -> Alert:
        return make_alert(
            key,
            self.facts,
            "firing",
            self.value,
            self.state.since,
            self.state.episode,
            reason or self.stale or self.reason,
        )


class UnruledAlerts:
    """All of them. Not thread-safe: the book's lock is held."""

    def __init__(self) -> None:
        self.live: dict[Key, Unruled] = {}
        self.firing_counts: Counter[str] = Counter()
        self._ended: dict[Key, Unruled] = {}  # sorted by `ended`
        self._changed: dict[Key, None] = {}
        self._repeated: dict[Key, None] = {}

    def repeat(self, key: Key, value: float, facts: Facts, expires: int) -> bool:
        """True when it fires already, and so goes on."""
        known = self.live.get(key)
        if known is None:
            return False
        known.value, known.facts, known.expires = value, facts, expires
        self._repeated[key] = None
        return True

    def fire(
        self, key: Key, value: float, facts: Facts, ttl_seconds: int, now: int, reason: str, episode: int
    ) -> Alert:
        """A new one. episode: the latest of this key that others know of."""
        known = self._ended.pop(key, None)
        before = AlertState(episode=max(episode, known.state.episode if known else 0))
        state, _ = step(before, 1.0, NULL, NO_TIMING, now)
        self.live[key] = fired = Unruled(state, value, facts, ttl_seconds, now + ttl_seconds, reason)
        self.firing_counts[key[0]] += 1
        self._changed[key] = None
        return fired.alert(key, reason)

    def end(self, key: Key, now: int, reason: str) -> list[Alert]:
        """The event of its end; [] when it is not there."""
        known = self.live.pop(key, None)
        if known is None:
            return []
        since, episode = known.state.since, known.state.episode
        known.state, known.ended = AlertState(episode=episode), now
        self._ended[key] = known
        self._changed[key] = None
        self._repeated.pop(key, None)
        self.firing_counts[key[0]] -= 1
        if not self.firing_counts[key[0]]:
            del self.firing_counts[key[0]]  # names come from callers: only what fires takes room
        return [make_alert(key, known.facts, "resolved", known.value, since, episode, reason, now)]

    def expire(self, now: int) -> list[Alert]:
        """The events of those that were not repeated in time."""
        over = [(key, known.ttl_seconds) for key, known in self.live.items() if known.expires <= now]
        return [event for key, ttl in over for event in self.end(key, now, f"not repeated for {ttl} s")]

    def forget(self, now: int, remembered_max: int) -> None:
        while self._ended:
            key, known = next(iter(self._ended.items()))
            if now - known.ended < REMEMBERED_SECONDS and len(self._ended) <= remembered_max:
                return
            del self._ended[key]
            self._changed[key] = None

    def hand_over(self, names: Container[str], now: int) -> tuple[list[Alert], list[tuple[Key, AlertState, int]]]:
        """Rules have taken these names: the events of what ends by it, and the (key, state, ended) to be remembered."""
        taken = [key for key in self.live if key[0] in names]
        events = [event for key in taken for event in self.end(key, now, "a rule has taken this name")]
        left = [key for key in self._ended if key[0] in names]
        for key in left:
            self._changed.pop(key, None)
        return events, [(key, known.state, known.ended) for key in left for known in [self._ended.pop(key)]]

    def move_clocks(self, seconds: int) -> None:
        for key, known in [*self.live.items(), *self._ended.items()]:
            state = known.state
            if state.is_firing:
                state = state._replace(clock_start=state.clock_start + seconds, stepped=state.stepped + seconds)
            known.state, known.expires, known.ended = state, known.expires + seconds, known.ended + seconds
            known.kept_at += seconds
            self._changed[key] = None

    def alerts(self) -> Iterator[Alert]:
        return (known.alert(key) for key, known in self.live.items())

    @property
    def remembered_count(self) -> int:
        return len(self._ended)

    def remembered(self) -> set[str]:
        """The names of those that have ended not long ago."""
        return {name for name, _ in self._ended}

    # ---- disk

    def changes(self, now: int) -> list[Change]:
        """Records that differ from those on disk, in so far as they are due."""
        due = [key for key in self._repeated if now - self.live[key].kept_at >= KEPT_SECONDS]
        keys = dict.fromkeys([*self._changed, *due])
        self._changed.clear()
        for key in keys:
            self._repeated.pop(key, None)
        return [Change("instances", id_of(key), self._record(key, now)) for key in keys]

    def _record(self, key: Key, now: int) -> dict[str, Any] | None:
        known = self.live.get(key) or self._ended.get(key)
        if known is None:
            return None
        known.kept_at = now
        more = {
            "ttl": known.ttl_seconds,
            "expires": known.expires,
            "reason": known.reason,
            "annotations": known.facts.annotations,
            "stale": known.stale,
            "ended": known.ended,
        }
        return record_of(key, known.state, known.value, known.facts, more)

    def restore(self, kept: Iterable[Kept], alive: int, now: int) -> None:
        """Take them from their records."""
        for one in sorted(kept, key=lambda one: one.ended):
            self._restore(one, alive, now)

    def _restore(self, kept: Kept, alive: int, now: int) -> None:
        """Nobody could repeat it while the engine was away, so its ttl did not run."""
        state, stale = resume(kept, NO_TIMING, alive, now)
        known = Unruled(kept.state, kept.value, kept.facts, kept.ttl_seconds, kept.expires, kept.reason, kept.stale)
        if state is None or not state.is_firing:
            known.ended = kept.ended
            self._ended[kept.key] = known
            return
        away = now - alive
        if away > AWAY_SECONDS_MAX:
            known.expires = now + kept.ttl_seconds
        elif away < 0 or away >= BLINK_SECONDS:
            known.expires += away
        known.state, known.stale, known.kept_at = state, stale, now
        self.live[kept.key] = known
        self.firing_counts[kept.key[0]] += 1
        self._changed[kept.key] = None


def facts_from(
    severity: str,
    notify: tuple[str, ...],
    policy: str,
    rule_tags: Mapping[str, str] | None,
    annotations: Mapping[str, str] | None,
) -> Facts:
    return Facts(severity, "", tuple(notify), policy, dict(rule_tags or {}), dict(annotations or {}))

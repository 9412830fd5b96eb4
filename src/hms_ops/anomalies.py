"""Anomaly rules on duty: their detector, the episodes it finds, and the alerts these are.

    tick ──judge(end)──► detector ─► started │ held │ ended ──► fire / end ──► book (alert_now, repeated while it lasts)
                                                  └──► held ──► actions

An episode that lasts is an alert that is repeated each second; it ends with the detector's word, with its series, or
when its rule is changed. Nobody is told of an anomaly's end but the log.
Threads: the tick's and those that load rules, under the lock of duty.py. The detector is imported with the kernels,
so `warm` comes before the first `judge`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.rule import AnomalyRule
from hms_ops.errors import ConfigError

if TYPE_CHECKING:
    from hms_ops.anomaly.moving_mean import AnomalyEvent, Detector

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly that lasts: the rule, the tags of its series, the value that started it."""

    rule: AnomalyRule
    tags: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Desk:
    """What happens to an episode: `fire(episode, second, reason)` at its start and each second it lasts,
    `end(episode, reason)`, `held(episode)` once it is held."""

    fire: Callable[[Episode, int, str], None]
    end: Callable[[Episode, str], None]
    held: Callable[[Episode], None]
    emit: Emit


class Anomalies:
    """The anomaly rules of one engine."""

    def __init__(self, store: Store, desk: Desk) -> None:
        self._store = store
        self._desk = desk
        self._rules: tuple[AnomalyRule, ...] = ()
        self._detector: Detector | None = None
        self._deferred = 0  # by detectors before this one
        self._bound_at = -1  # the store's count of changes when the detector was bound
        self._episodes: dict[tuple[str, int], Episode] = {}  # by rule and slot

    def detector_of(self, rules: tuple[AnomalyRule, ...]) -> "Detector | None":
        """A detector for these rules, None when the one there is has the same. ConfigError for one out of range."""
        from hms_ops.anomaly.moving_mean import Detector

        if self._detector is not None and rules == self._rules:
            return None
        return Detector(*map(detector_rule, rules))

    def watch(self, rules: tuple[AnomalyRule, ...], detector: "Detector | None") -> None:
        """Take a detector for these rules, None when it has one; a new one knows nothing of the past, so open episodes
        of rules that changed end."""
        if detector is None:
            return
        for key, episode in list(self._episodes.items()):
            self._end(key, episode, "the anomaly rules were changed")
        self._rules = rules
        if self._detector is not None:
            self._deferred += self._detector.deferred
        self._detector = detector
        self._bound_at = -1

    def judge(self, end: int) -> None:
        """Look at the seconds before `end`."""
        if self._detector is None or not self._rules:
            return
        self._bind()
        by_name = {rule.name: rule for rule in self._rules}
        for event in self._detector.judge(self._store.cols, end, self._store.first_second):
            self._on_event(by_name[event.rule], event, end)
        for episode in self._episodes.values():
            self._desk.fire(episode, end, "")

    def move_clock(self, seconds: int) -> None:
        if self._detector is not None:
            self._detector.move_clock(seconds)

    def counters(self) -> dict[str, int]:
        """Episodes now; series whose judgement was put off, since the start."""
        deferred = self._deferred + (self._detector.deferred if self._detector is not None else 0)
        return {"episodes": len(self._episodes), "deferred": deferred}

    def _bind(self) -> None:
        """Follow the series that came and went."""
        assert self._detector is not None
        changes = self._store.changes_count
        if changes == self._bound_at:
            return
        self._bound_at = changes
        members = [self._members(rule.metric) for rule in self._rules]
        self._detector.bind(*members)
        alive = {rule.name: slots for rule, slots in zip(self._rules, members, strict=True)}
        for key, episode in list(self._episodes.items()):
            if not is_among(key[1], alive[key[0]]):
                self._end(key, episode, "the series is gone")

    def _members(self, metric: str) -> NDArray[np.int32]:
        slots: NDArray[np.int32] = self._store.all_slots() if metric == "*" else self._store.slots(metric)
        return slots

    def _on_event(self, rule: AnomalyRule, event: "AnomalyEvent", end: int) -> None:
        key = (rule.name, event.slot)
        episode = self._episodes.get(key) or Episode(rule, self._tags(rule, event.slot), event.value)
        facts = {"metric": rule.metric, "tags": episode.tags, "value": event.value, "baseline": event.baseline}
        self._desk.emit({"kind": "anomaly", "name": rule.name, "state": event.state, "second": event.second, **facts})
        if event.state == "started":
            self._episodes[key] = episode
            self._desk.fire(episode, end, f"above {rule.factor:g} times its mean of {event.baseline:.6g}")
        elif event.state == "held":
            self._desk.held(episode)
        else:
            self._end(key, episode, "back to normal")

    def _tags(self, rule: AnomalyRule, slot: int) -> dict[str, str]:
        info = self._store.series(slot)
        return dict(info.tags) if rule.metric != "*" else {"metric": info.name, **info.tags}

    def _end(self, key: tuple[str, int], episode: Episode, reason: str) -> None:
        self._episodes.pop(key, None)
        self._desk.end(episode, reason)


def detector_rule(rule: AnomalyRule) -> Any:
    """What the detector takes of a rule; ConfigError for one out of range."""
    from hms_ops.anomaly.moving_mean import MovingMeanRule

    try:
        return MovingMeanRule(
            name=rule.name,
            metric=rule.metric,
            factor=rule.factor,
            window_seconds=int(rule.window_seconds),
            on="max" if rule.on == "max" else "mean",
            min_share=rule.min_share,
            min_samples=rule.min_samples,
            min_difference=rule.min_difference,
        )
    except ValueError as error:
        raise ConfigError(f"{rule.source}: {error}") from None


def is_among(slot: int, slots: NDArray[np.int32]) -> bool:
    """Whether ascending `slots` holds it; there may be a million."""
    at = int(np.searchsorted(slots, np.int32(slot)))  # of their type: numpy would convert them all for another
    return at < len(slots) and int(slots[at]) == slot

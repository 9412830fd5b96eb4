"""Anomaly rules on duty: their detector, the episodes it finds, and the alerts these are.

    tick ──judge(end)──► detector ─► started │ held │ ended ──► fire / end ──► book (alert_now, repeated while it lasts)
                                 ▲                │  └──► held ──► actions
         records of before ─► Waiting             └──► changes ─► keeper (table "anomalies": anomaly/episode.py)

An episode that lasts is an alert that is repeated each second; it ends with the detector's word, with its series, or
when its rule looks for something else. Whatever started is told to have ended, with the reason; people are told of no
anomaly's end, the log is.

After a restart an episode goes on where it was as soon as its series is there: with the baseline that was frozen, and
neither started nor held once more; actions it may not have reached are offered it again, and refuse it where they ran.
Until then its alert is repeated as that of a silent series. One that cannot go on ends with the reason (anomaly/
waiting.py). A reload is the same without the restart. What the store's columns hold from before this run is part of all
baselines (`reloaded`).

Threads: the tick's and those that load rules, under the lock of duty.py. The detector is imported with the kernels,
so `warm` comes before the first `judge`.
Limits: series × rules in memory; on disk as many records as a table has (storage/alerting.py), what is beyond is
counted there and not known after a restart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.rule import AnomalyRule
from hms_ops.anomaly.episode import EVERY, Episode, Kept, episode_of
from hms_ops.anomaly.waiting import TABLE, Waiting, put
from hms_ops.change import Change
from hms_ops.errors import ConfigError
from hms_ops.reloaded import NOTHING

if TYPE_CHECKING:
    from hms_ops.anomaly.moving_mean import AnomalyEvent, Detector

Emit = Callable[[dict[str, Any]], None]


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
        self.reloaded = NOTHING  # what was put back into the store's columns; the owner sets it
        self._store = store
        self._desk = desk
        self._rules: tuple[AnomalyRule, ...] = ()
        self._by_name: dict[str, AnomalyRule] = {}
        self._detector: Detector | None = None
        self._deferred = 0  # by detectors before this one
        self._bound_at = -1  # the store's count of changes when the detector was bound
        self._episodes: dict[tuple[str, int], Episode] = {}  # by rule and slot
        self._waiting = Waiting()  # of before, not in the detector yet
        self._changes: dict[str, Change] = {}  # of records, by key

    def detector_of(self, rules: tuple[AnomalyRule, ...]) -> "Detector | None":
        """A detector for these rules, None when the one there is has the same. ConfigError for one out of range."""
        from hms_ops.anomaly.moving_mean import Detector

        if self._detector is not None and rules == self._rules:
            return None
        return Detector(*map(detector_rule, rules))

    def watch(self, rules: tuple[AnomalyRule, ...], detector: "Detector | None", now: int) -> None:
        """Take a detector for these rules, None when it has one. Open episodes go on in it, but for those of rules that
        are gone or look for something else: they end at once."""
        if detector is None:
            return
        before, self._detector = self._detector, detector
        self._rules, self._by_name = rules, {rule.name: rule for rule in rules}
        self._bound_at = -1
        if before is None:
            return  # a start: the first `judge` sees to what waits
        self._deferred += before.deferred
        for (name, slot), episode in self._episodes.items():
            self._waiting.take(Kept(episode, before.standing(name, slot)))
        self._episodes.clear()
        self._bind(now)

    def judge(self, end: int) -> None:
        """Look at the seconds before `end`."""
        if self._detector is None:
            return
        self._bind(end)
        first = self._store.first_second
        for event in self._detector.judge(self._store.cols, end, first, self.reloaded.known_from(first)):
            self._on_event(self._by_name[event.rule], event, end)
        for episode in (*self._episodes.values(), *self._waiting):
            self._desk.fire(episode, end, "")

    def move_clock(self, seconds: int) -> None:
        """The wall clock was set: episodes go on as long as they would have."""
        if self._detector is not None:
            self._detector.move_clock(seconds)
        self._waiting.move_clock(seconds)
        self.keep_all()

    def counters(self) -> dict[str, int]:
        """Episodes now, and of them waiting for their series since a restart. Since the start: series whose judgement
        was put off (deferred), episodes of before that went on (resumed) or could not (cut_off), damaged records."""
        deferred = self._deferred + (self._detector.deferred if self._detector is not None else 0)
        waiting = self._waiting
        return {
            "episodes": len(self._episodes) + len(waiting),
            "waiting": len(waiting),
            "deferred": deferred,
            "resumed": waiting.resumed,
            "cut_off": waiting.cut_off,
            "damaged": waiting.damaged,
        }

    # ---- disk

    def changes(self) -> list[Change]:
        """The records that differ from those on disk since the last call."""
        changes = list(self._changes.values())
        self._changes.clear()
        return changes

    def keep_all(self) -> None:
        """Make all records anew, to the second: at a stop, and when the clock was set."""
        for (name, slot), episode in self._episodes.items():
            self._keep(name, slot, episode)
        self._take_down(self._waiting.changes())

    def restore(self, records: Mapping[str, Mapping[str, Any]], alive_second: int, now_second: int) -> None:
        """Take up what the table has, before the first tick. The seconds as in `Book.restore`."""
        self._take_down(self._waiting.restore(records, alive_second, now_second))

    def metrics_waiting(self) -> set[str]:
        """Whose series it would be good to have back before the first tick."""
        return self._waiting.metrics()

    def _keep(self, name: str, slot: int, episode: Episode) -> None:
        assert self._detector is not None
        self._changes[episode.key] = put(Kept(episode, self._detector.standing(name, slot)))

    def _take_down(self, changes: list[Change]) -> None:
        self._changes.update((change.key, change) for change in changes)

    # ---- series come and go

    def _bind(self, end: int) -> None:
        """Follow the series that came and went."""
        assert self._detector is not None
        changes = self._store.changes_count
        if changes == self._bound_at and not self._waiting.is_over(end):
            return
        self._bound_at = changes
        members = [self._members(rule.metric) for rule in self._rules]
        self._detector.bind(*members)
        alive = {rule.name: slots for rule, slots in zip(self._rules, members, strict=True)}
        for key, episode in list(self._episodes.items()):
            if not is_among(key[1], alive[key[0]]):
                del self._episodes[key]
                self._end(episode, "the series is gone", end)
        for episode, reason in self._waiting.go_on(self._by_name, self._resume, end):
            self._end(episode, reason, end)

    def _members(self, metric: str) -> NDArray[np.int32]:
        slots: NDArray[np.int32] = self._store.all_slots() if metric == EVERY else self._store.slots(metric)
        return slots

    def _resume(self, kept: Kept, is_unsure: bool) -> bool:
        """Whether the series is there, and its episode goes on; is_unsure: whether actions know that it is held."""
        assert self._detector is not None
        episode = kept.episode
        slot = self._store.slot(episode.metric, episode.series_tags)
        if slot < 0 or not self._detector.resume(episode.rule.name, slot, kept.standing):
            return False
        self._episodes[episode.rule.name, slot] = episode
        if is_unsure:
            self._desk.held(episode)
        return True

    # ---- what becomes of an episode

    def _on_event(self, rule: AnomalyRule, event: "AnomalyEvent", end: int) -> None:
        key = (rule.name, event.slot)
        episode = self._episodes.get(key) or self._new_episode(rule, event)
        if event.state == "ended":
            self._episodes.pop(key, None)
            self._end(episode, "back to normal", end, event)
            return
        self._tell(episode, event.state, event.second, event.value, event.baseline)
        if event.state == "started":
            self._episodes[key] = episode
            self._desk.fire(episode, end, f"above {rule.factor:g} times its mean of {event.baseline:.6g}")
        else:
            self._desk.held(episode)
        self._keep(rule.name, event.slot, episode)

    def _new_episode(self, rule: AnomalyRule, event: "AnomalyEvent") -> Episode:
        info = self._store.series(event.slot)
        return episode_of(rule, info.name, dict(info.tags), event.value, event.baseline)

    def _end(self, episode: Episode, reason: str, end: int, event: "AnomalyEvent | None" = None) -> None:
        """It is in no table any more; without the detector's word the value told is the one that started it."""
        value, baseline = (event.value, event.baseline) if event is not None else (episode.value, episode.baseline)
        self._changes[episode.key] = Change(TABLE, episode.key, None)
        self._tell(episode, "ended", end - 1, value, baseline, reason=reason)
        self._desk.end(episode, reason)

    def _tell(self, episode: Episode, state: str, second: int, value: float, baseline: float, **more: str) -> None:
        facts = {"metric": episode.rule.metric, "tags": episode.tags, "value": value, "baseline": baseline}
        self._desk.emit(
            {"kind": "anomaly", "name": episode.rule.name, "state": state, "second": second, **facts, **more}
        )


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

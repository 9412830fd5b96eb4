"""The instances of rules: stepped all at once by one kernel, fitted to new rules, taken up again after a restart.

A tick is one call of `kernels/states.py` over the arrays that `placing.py` lays out; it tells the events and marks what
has changed, and Alerts and records (`records.py`) are made for those alone.

Not thread-safe: the book's lock is held. The kernel is imported at the first tick, not before (`warm`).
Limits: `instances_max` live ones; what does not fit is not followed, which each tick counts in `refused`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.instance import Facts, Key, facts_of, make_alert, timing_of, word_of
from hms_ops.alert.states.places import At
from hms_ops.alert.states.placing import Placing
from hms_ops.alert.states.records import Records
from hms_ops.alert.states.restart import BLINK_SECONDS, Kept, resume
from hms_ops.alert.states.state import NODATA_POLICIES, AlertState, Event, Timing
from hms_ops.change import Unmade
from hms_ops.garbage import uncollected
from hms_ops.kernels.phases import (
    CHANGED,
    EPISODE,
    FIRING,
    PENDING,
    RECOVERING,
    RESTORED,
    STALE,
    STILL,
    TIMINGS,
    TOLD_EVENT,
    TOLD_PLACE,
    TOLD_SINCE,
)

UNSEEN_SECONDS: Final = 600  # how long after a restart a series that has not come back yet resolves nothing

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_EVENTS: Final[tuple[Event, ...]] = ("pending", "pending", "firing", "resolved")  # by number; 0 is none
_ALL_WHOLE: Final = np.zeros(0, np.bool_)


class Instances:
    """All instances of the rules there are."""

    def __init__(self, rules: Iterable[Rule], instances_max: int) -> None:
        self.instances_max = instances_max
        self.live_count = 0
        self.refused = 0
        self.firing_counts: Counter[str] = Counter()
        self.rules: dict[str, Rule] = {}
        self._placing = Placing(instances_max)
        self._records = Records()
        self._last_second: int | None = None
        self._has_judged_rarely = False
        self._unseen_until = 0
        self._counts = np.zeros(3, np.int64)  # the kernel's answer
        self._kernel: Callable[..., None] | None = None
        self._take_rules(rules)

    def warm(self) -> None:
        """Import, and so compile, the kernel."""
        from hms_ops.kernels.states import step_states

        self._kernel = step_states

    # ---- the tick

    def advance(
        self,
        keys: Sequence[Key],
        condition: Floats,
        recover: Floats,
        value: Floats,
        now: int,
        failed: Collection[str],
        whole: Bools | None,
        room: int,
    ) -> list[Alert]:
        """Step all instances to the second `now`, see Book.advance. room: how many may live."""
        lengths = {len(keys), len(condition), len(recover), len(value), len(keys) if whole is None else len(whole)}
        if len(lengths) > 1:
            raise ValueError(f"keys, condition, recover, value and whole are of one length, found {sorted(lengths)}")
        self._placing.follow(keys, self._rows)
        self._placing.places.value[: len(keys)] = value
        told = self._step(condition, recover, whole, now, self._judged(now, failed), room)
        self._last_second = now
        events = self._alerts_of(told, now)
        self._placing.forget(now, self._rows)
        return events

    def _judged(self, now: int, failed: Collection[str]) -> Bools:
        """Of each rule whether it is judged at `now`: EVERY, and what could not be evaluated."""
        last = now - 1 if self._last_second is None else self._last_second
        is_judged: Bools = now // self._every != last // self._every
        self._has_judged_rarely = bool((is_judged & (self._every > 1)).any())
        if failed:
            is_judged &= np.array([name not in failed for name in self.rules], np.bool_)
        return is_judged

    def _step(
        self, condition: Floats, recover: Floats, whole: Bools | None, now: int, is_judged: Bools, room: int
    ) -> int:
        """Call the kernel; returns how many events it told."""
        if self._kernel is None:
            self.warm()
        assert self._kernel is not None
        places = self._placing.places
        self._kernel(
            np.ascontiguousarray(condition, np.float64),
            np.ascontiguousarray(recover, np.float64),
            _ALL_WHOLE if whole is None else np.ascontiguousarray(whole, np.bool_),
            places.rule,
            self._timings,
            is_judged,
            whole is not None and now < self._unseen_until,
            room,
            now,
            places.phase,
            places.marks,
            places.clocks,
            places.told,
            self._counts,
        )
        told, self.live_count, refused = self._counts.tolist()
        self.refused += refused
        return int(told)

    def _alerts_of(self, told: int, now: int) -> list[Alert]:
        places, events = self._placing.places, self._placing.places.told[:, :told]
        at = events[TOLD_PLACE]
        columns = (at, events[TOLD_EVENT], events[TOLD_SINCE])
        facts = (places.value[at], places.clocks[EPISODE, at], places.rule[at])
        rows = zip(*(column.tolist() for column in (*columns, *facts)), strict=True)
        alerts = []
        with uncollected(told):
            for place, event, since, value, episode, rule in rows:
                key, word = self._placing.key(place), _EVENTS[event]
                if word != "pending":
                    self._count_firing(key[0], 1 if word == "firing" else -1)
                until = now if word == "resolved" else 0
                alerts.append(make_alert(key, self._facts[rule], word, value, since, episode, "", until))
        return alerts

    # ---- rules

    def replace_rules(self, rules: Iterable[Rule], now: int) -> list[Alert]:
        """Take new rules; returns the events of instances that end by it."""
        before = self.rules
        self._take_rules(rules)
        events: list[Alert] = []
        for place in self._placing.places.live().tolist():
            events += self._adapt(place, before[self._placing.key(place)[0]], now)
        self._placing.lay_out((), self._rows)
        return events

    def _take_rules(self, rules: Iterable[Rule]) -> None:
        self.rules = {rule.name: rule for rule in rules}
        timings = [timing_of(rule) for rule in self.rules.values()]
        self._rows = {name: row for row, name in enumerate(self.rules)}
        self._facts = [facts_of(rule) for rule in self.rules.values()]
        self._every = np.array([timing.every_seconds for timing in timings], np.int64)
        self._timings = np.array([row_of(timing) for timing in timings], np.float64).reshape(-1, TIMINGS)
        self._records.take_rules(list(self.rules.values()), self._facts)

    def _adapt(self, place: int, before: Rule, now: int) -> list[Alert]:
        """Fit a live instance to its rule as it is now."""
        rule = self.rules.get(before.name)
        if rule is None:
            return self._end(place, facts_of(before), now, "the rule was removed")
        if not rule.looks_for_same(before):
            return self._end(place, facts_of(before), now, "the rule was edited")
        if rule != before:
            self._placing.places.marks[place] |= CHANGED
        return self._lengthen(place, rule, before.for_seconds, facts_of(before), now)

    def _lengthen(self, place: int, rule: Rule, before_seconds: float, facts: Facts, now: int) -> list[Alert]:
        """With a longer `for`, what has not been true that long is pending again."""
        state = self._placing.places.state(place)
        is_younger = now - state.since < rule.for_seconds  # what fires has a clock no more
        if state.phase != "firing" or rule.for_seconds <= before_seconds or not is_younger:
            return []
        told = self._told_end(place, state, facts, now, "the rule was edited: `for` is longer now")
        pending = state._replace(phase="pending", clock_start=state.since, stepped=now)
        self._placing.places.put(place, pending)
        self._count_firing(rule.name, -1)
        return [told]

    def _end(self, place: int, facts: Facts, now: int, reason: str) -> list[Alert]:
        state = self._placing.places.state(place)
        self._placing.places.end(place, now)
        self.live_count -= 1
        if not state.is_firing:
            return []
        self._count_firing(self._placing.key(place)[0], -1)
        return [self._told_end(place, state, facts, now, reason)]

    def _told_end(self, place: int, state: AlertState, facts: Facts, now: int, reason: str) -> Alert:
        key, value = self._placing.key(place), float(self._placing.places.value[place])
        return make_alert(key, facts, "resolved", value, state.since, state.episode, reason, now)

    def _count_firing(self, name: str, change: int) -> None:
        self.firing_counts[name] += change
        if not self.firing_counts[name]:
            del self.firing_counts[name]

    # ---- what others read

    def alerts(self) -> Iterator[Alert]:
        """What is pending or firing now."""
        return self._faces(self._placing.places.live())

    def find(self, key: Key) -> Alert | None:
        """The alert of this very instance if it fires or recovers."""
        place = self._firing_place(key)
        return None if place is None else next(self._faces(np.array([place], np.intp)))

    def is_firing(self, key: Key) -> bool:
        """Whether this very instance fires or recovers."""
        return self._firing_place(key) is not None

    def _faces(self, at: At) -> Iterator[Alert]:
        for row in self._placing.places.rows(at):
            key = self._placing.key(row.place)
            reason = self._records.why_stale(key, row.marks)
            facts, state = self._facts[row.rule], row.state
            yield make_alert(key, facts, word_of(state), row.value, state.since, state.episode, reason)

    def _firing_place(self, key: Key) -> int | None:
        if key[0] not in self.firing_counts:
            return None
        phase, rule = self._placing.places.phase, self._placing.places.rule
        mine = ((phase == FIRING) | (phase == RECOVERING)) & (rule == self._rows[key[0]])
        return next((place for place in np.flatnonzero(mine).tolist() if self._placing.key(place) == key), None)

    def remembered(self) -> list[Key]:
        """Those that have ended not long ago."""
        return [self._placing.key(place) for place in self._placing.places.remembered().tolist()]

    def needs_mark(self) -> bool:
        """Whether a restart must know that this very second was lived through: a clock ran, or a rule with EVERY was
        judged, which it must not be again."""
        phase = self._placing.places.phase
        return self._has_judged_rarely or bool(((phase == PENDING) | (phase == RECOVERING)).any())

    def changes(self) -> Unmade:
        """The records that differ from those on disk."""
        return self._records.changes(self._placing.places, self._placing.key, self._placing.gone)

    # ---- from elsewhere

    def move_clocks(self, seconds: int) -> None:
        self._placing.move_clocks(seconds)
        self._unseen_until += seconds
        if self._last_second is not None:
            self._last_second += seconds

    def remember(self, ended: Sequence[tuple[Key, AlertState, int]]) -> None:
        """Take (key, state, second it ended at) of instances of which only the episode's number matters."""
        if ended:
            self._placing.remember(ended, self._rows)

    def take(self, key: Key) -> int:
        """The latest episode of an instance without a rule, which somebody else remembers from now on."""
        return self._placing.take(key)

    def restore(self, kept: Sequence[Kept], alive: int, now: int) -> list[Alert]:
        """Take instances from their records; returns the events of those whose rules are gone or look for another."""
        self._last_second = alive if alive <= now else None
        self._unseen_until = now + UNSEEN_SECONDS
        events: list[Alert] = []
        for place, one in zip(self._placing.append([one.key for one in kept], self._rows), kept, strict=True):
            self._placing.places.put(place, one.state, 0)
            self._placing.places.value[place] = one.value
            if one.state.phase == "inactive":
                self._placing.remember_end(place, one.ended)
                continue
            self.live_count += 1
            if one.state.is_firing:
                self._count_firing(one.key[0], 1)
            events += self._readmit(place, one, alive, now)
        return events

    def _readmit(self, place: int, kept: Kept, alive: int, now: int) -> list[Alert]:
        """Let a live instance go on under its rule of today."""
        rule = self.rules.get(kept.key[0])
        if rule is None:
            return self._end(place, kept.facts, now, "the rule was removed")
        if self._records.look(self._rows[rule.name]) != kept.looks:
            return self._end(place, kept.facts, now, "the rule was edited")
        state, stale = resume(kept, timing_of(rule), alive, now)
        if state is None:
            return self._end(place, kept.facts, now, "")
        if stale:
            self._records.stale[kept.key] = stale
        was_away = not 0 <= now - alive < BLINK_SECONDS
        marks = RESTORED | (STALE if stale else 0) | (CHANGED if was_away else STILL if kept.is_still else 0)
        self._placing.places.put(place, state, marks)
        return self._lengthen(place, rule, kept.for_seconds, kept.facts, now)


def row_of(timing: Timing) -> list[float]:
    nodata = NODATA_POLICIES.index(timing.nodata)
    return [timing.for_seconds, timing.keep_seconds, float(nodata), float(timing.has_recover)]

"""Finds seconds far above the series' own recent mean: the founding document's rule, with guards against floods.

The rule set hands `Detector` the slots of the series that each rule watches (`bind`); the tick calls `judge` once after
sealing and rollup, and gives the events to the alerts. One call of the kernel judges all rules and all series.

A second is **anomalous** when all of these hold; what is judged is the second's mean, or its largest value (`on: max`):
- the value is above `factor` times the baseline, and at least `min_difference` above it
- the baseline, the mean of the `window_seconds` before the second, is positive and of at least `min_samples` samples;
  the judged second is never part of it, what was put back of the time before a restart is
A second without samples is no judgement: nothing changes.

An **episode** starts with the first anomalous second (one event, however long it lasts), is **held** once 3 of the last
5 judged seconds were anomalous (what an action waits for; one event), and ends after 5 normal ones (one event). Its
baseline stands still, so that a slow disaster does not become the new normal, for 10 minutes at most. `standing` tells
where a series stands in its episode and `resume` puts it back there: a restart, a reload (hms_ops.anomaly.episode).

`on: max` on a busy series meets a lone outlier every second: healthy latencies are skewed. `min_share` holds it back:
the share of the last 5 judged seconds that must exceed before an episode starts. 0.2, the default, is one of five: any
single value, as the founding document has it; 0.6 waits for three. (A share of the *samples* cannot be known: a second
keeps its count, sum and maximum, not its values.)

Threads: one at a time, the tick's; `bind` from the same. Errors: a rule out of range is a ValueError quoting it. Limit:
`EVENTS_MAX` events a second; members beyond keep their state, are judged again a second later, and counted in
`deferred`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hms_ops.anomaly.episode import Standing
from hms_ops.kernels.score import (
    ENDED,
    EPISODE,
    HAS_HELD,
    HELD,
    JUDGED_SECONDS,
    MEMORY,
    SCRATCH,
    STARTED,
    moving_mean_score,
)
from hms_ops.kernels.window import MAX, SUM, cover
from hms_ops.tiers import WINDOW_SECONDS_MAX

EVENTS_MAX: Final = 10_000  # events listed each second

State = Literal["started", "held", "ended"]
_STATES: Final[tuple[tuple[int, State], ...]] = ((STARTED, "started"), (HELD, "held"), (ENDED, "ended"))


@dataclass(frozen=True, slots=True)
class MovingMeanRule:
    """One anomaly rule: `metric` is anomalous above `factor` times its moving mean."""

    name: str
    metric: str
    factor: float = 2.0
    window_seconds: int = 600
    on: Literal["mean", "max"] = "mean"
    min_share: float = 0.2  # on: max only; of the last 5 judged seconds
    min_samples: float = 10.0  # in the baseline, weighted
    min_difference: float = 0.0  # in the metric's unit

    def __post_init__(self) -> None:
        checks = (
            ("factor", self.factor, self.factor > 0, "above 0"),
            ("window_seconds", self.window_seconds, 1 <= self.window_seconds <= WINDOW_SECONDS_MAX, "1 to 3600"),
            ("on", self.on, self.on in ("mean", "max"), "mean or max"),
            ("min_share", self.min_share, 0 < self.min_share <= 1, "above 0, up to 1"),
            ("min_samples", self.min_samples, self.min_samples >= 1, "1 or more"),
            ("min_difference", self.min_difference, self.min_difference >= 0, "0 or more"),
        )
        for what, value, is_right, allowed in checks:
            if not is_right:
                raise ValueError(f"anomaly rule {self.name!r}: {what} {value!r} is not {allowed}")


@dataclass(frozen=True, slots=True)
class AnomalyEvent:
    """What became of an episode of one series in one second."""

    rule: str
    slot: int
    state: State
    value: float  # what was judged
    baseline: float  # what it was held to; frozen since the episode started, 10 minutes at most
    second: int


class Detector:
    """All moving-mean rules and the state of every series they watch."""

    def __init__(self, *rules: MovingMeanRule) -> None:
        self.rules = rules
        self.deferred = 0  # events that had to wait for another second
        self._number = {rule.name: number for number, rule in enumerate(rules)}
        self._field = np.array([SUM if rule.on == "mean" else MAX for rule in rules], np.int64)
        self._start_seconds = np.array([_start_seconds(rule) for rule in rules], np.int64)
        self._factor = np.array([rule.factor for rule in rules], np.float64)
        self._min_samples = np.array([rule.min_samples for rule in rules], np.float64)
        self._min_difference = np.array([rule.min_difference for rule in rules], np.float64)
        self._scratch = np.empty(SCRATCH)
        self._event_member = np.empty(EVENTS_MAX, np.int64)
        self._event_state = np.empty(EVENTS_MAX, np.uint8)
        self._event_value = np.empty(EVENTS_MAX)
        self._event_baseline = np.empty(EVENTS_MAX)
        self._member = np.empty(0, np.int32)
        self._offset = np.zeros(len(rules) + 1, np.int64)
        self._history = np.empty(0, np.uint8)
        self._frozen = np.empty(0)
        self._since = np.empty(0, np.int64)

    def bind(self, *members: NDArray[np.int32]) -> None:
        """Watch these series: one array of slots, ascending, for each rule in turn.

        A series that stays keeps its state; one that leaves is forgotten without an event, its episode with it.
        """
        if len(members) != len(self.rules):
            raise ValueError(f"{len(members)} arrays of members for {len(self.rules)} rules")
        offset = np.cumsum([0, *map(len, members)], dtype=np.int64)
        member = np.concatenate([np.empty(0, np.int32), *members]).astype(np.int32)
        history, frozen = np.zeros(len(member), np.uint8), np.zeros(len(member))
        since = np.zeros(len(member), np.int64)
        for r, slots in enumerate(members):
            before = self._member[self._offset[r] : self._offset[r + 1]]
            _, new, old = np.intersect1d(slots, before, assume_unique=True, return_indices=True)
            new, old = new + offset[r], old + self._offset[r]
            history[new], frozen[new], since[new] = self._history[old], self._frozen[old], self._since[old]
        self._member, self._offset = member, offset
        self._history, self._frozen, self._since = history, frozen, since

    def move_clock(self, seconds: int) -> None:
        """The wall clock was set: episodes go on as long as they would have."""
        self._since[self._since != 0] += seconds

    def standing(self, rule: str, slot: int) -> Standing:
        """Where a member whose episode is on stands in it. KeyError for what is no member."""
        m = self._place(rule, slot)
        if m < 0:
            raise KeyError(f"series {slot} is no member of the anomaly rule {rule!r}")
        history = int(self._history[m])
        return Standing(history & MEMORY, bool(history & HAS_HELD), float(self._frozen[m]), int(self._since[m]))

    def resume(self, rule: str, slot: int, standing: Standing) -> bool:
        """Go on with an episode of before; False when the series is no member."""
        m = self._place(rule, slot)
        if m < 0:
            return False
        self._history[m] = standing.judged & MEMORY | EPISODE | (HAS_HELD if standing.is_held else 0)
        self._frozen[m], self._since[m] = standing.baseline, standing.since
        return True

    def _place(self, rule: str, slot: int) -> int:
        """Where a series stands among the members of the rule, -1 if it does not."""
        first, stop = self._offset[self._number[rule] : self._number[rule] + 2].tolist()
        m = first + int(np.searchsorted(self._member[first:stop], np.int32(slot)))
        return m if m < stop and int(self._member[m]) == slot else -1

    def judge(
        self, cols: NDArray[np.float64], end: int, first_second: int, known_second: int | None = None
    ) -> list[AnomalyEvent]:
        """Judge second `end - 1`, the one sealed last; the store's columns must be rolled up already.

        known_second: from where on steps of before `first_second` were put back, as in `kernels.window.cover`."""
        if not self.rules:
            return []
        rows = [_baseline_rows(rule.window_seconds, end - 1, first_second, known_second) for rule in self.rules]
        events = moving_mean_score(
            cols,
            end - 1,
            np.concatenate([tiers for tiers, _ in rows]),
            np.concatenate([slots for _, slots in rows]),
            np.cumsum([0, *(len(tiers) for tiers, _ in rows)], dtype=np.int64),
            self._member,
            self._offset,
            self._field,
            self._start_seconds,
            self._factor,
            self._min_samples,
            self._min_difference,
            self._history,
            self._frozen,
            self._since,
            self._scratch,
            self._event_member,
            self._event_state,
            self._event_value,
            self._event_baseline,
        )
        self.deferred += max(0, events - EVENTS_MAX)
        return self._list(min(events, EVENTS_MAX), end - 1)

    def _list(self, events: int, second: int) -> list[AnomalyEvent]:
        member = self._event_member[:events]
        rule = np.searchsorted(self._offset, member, side="right") - 1
        columns: Sequence[NDArray[np.generic]] = (
            rule,
            self._member[member],
            self._event_state[:events],
            self._event_value[:events],
            self._event_baseline[:events],
        )
        return [
            AnomalyEvent(self.rules[r].name, slot, state, value, baseline, second)
            for r, slot, bits, value, baseline in zip(*(column.tolist() for column in columns), strict=True)
            for bit, state in _STATES
            if bits & bit
        ]


def _start_seconds(rule: MovingMeanRule) -> int:
    return 1 if rule.on == "mean" else math.ceil(rule.min_share * JUDGED_SECONDS - 1e-9)


def _baseline_rows(
    window_seconds: int, second: int, first_second: int, known_second: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The steps of the window that ends before `second`.

    A minute before the second that was sealed last is one second more than the 60 stored: it is read from 10-s steps.
    """
    span = window_seconds + 1 if window_seconds == 60 else window_seconds
    tiers, slots, _ = cover(second - span, second, first_second, known_second)
    return tiers, slots

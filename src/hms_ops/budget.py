"""What was good and what there was in all over a long sliding window, by group: the error budget of one SLO.

    step      │ 0 h │ 1 h │ … │ 720 h │      float64[2, steps, room]: good and total, a ring of steps of time
    group     [ a, b, … ]                    a group's place is kept while it has events in the window

A window ends now and begins at or before `now − window`, rounded down to a step of a minute (up to a day) or an hour.
Nothing is subtracted from a running sum: steps that closed are added up anew when one closes, the open one beside them.

`objectives.py` feeds it second by second, and once with the rows of history. Threads: its owner's lock.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.source import GroupKey

DAY_SECONDS: Final = 86_400
MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3600
ROOM: Final = 4  # groups at first; doubled when it is full

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Budget:
    """Good and total of the groups of one SLO. step_seconds: how exactly the window's begin is kept."""

    def __init__(self, window_seconds: float) -> None:
        self.step_seconds = MINUTE_SECONDS if window_seconds <= DAY_SECONDS else HOUR_SECONDS
        self.steps = int(-(-window_seconds // self.step_seconds)) + 1
        self.is_filled = False  # what history knows is in it
        self.keys: list[GroupKey] = []
        self._places: dict[GroupKey, int] = {}
        self._sums = np.zeros((2, self.steps, ROOM))
        self._closed = np.zeros((2, ROOM))
        self._newest = 0  # number of the step that is open

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, key: GroupKey) -> int:
        """The group's place, made if it is new."""
        found = self._places.setdefault(key, len(self.keys))
        if found == len(self.keys):
            self.keys.append(key)
            if found == self._sums.shape[2]:
                self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)], axis=2)
                self._closed = np.concatenate([self._closed, np.zeros_like(self._closed)], axis=1)
        return found

    def knows(self, key: GroupKey) -> bool:
        return key in self._places

    def move_on(self, second: int) -> bool:
        """Time has come to this second; True when a step has closed, and groups without events were let go."""
        step = second // self.step_seconds
        if step <= self._newest:
            return False
        gone = min(step - self._newest, self.steps)
        self._sums[:, np.arange(step - gone + 1, step + 1) % self.steps] = 0.0
        self._newest = step
        self._let_go()
        self._add_up()
        return True

    def begin_anew(self, second: int) -> None:
        """The clock was set: what is of a time that has not come yet is forgotten."""
        ahead = self._newest - second // self.step_seconds
        if ahead > 0:
            self._newest -= ahead
            at = np.arange(self._newest + 1, self._newest + 1 + min(ahead, self.steps - 1))
            self._sums[:, at % self.steps] = 0.0
            self._add_up()

    def add(self, place: int, second: int, good: float, total: float) -> None:
        """Counts of one group in one second; before the window, or ahead of time, they are left out."""
        step = second // self.step_seconds
        if self._newest - self.steps < step <= self._newest:
            self._sums[0, step % self.steps, place] += good
            self._sums[1, step % self.steps, place] += total
            if step != self._newest:
                self._closed[0, place] += good
                self._closed[1, place] += total

    def fill(self, is_total: bool, places: Integers, seconds: Integers, sums: Floats) -> None:
        """The same of one of the two for many groups, each in a second, from history."""
        step = seconds // self.step_seconds
        is_in = (step > self._newest - self.steps) & (step <= self._newest)
        np.add.at(self._sums[int(is_total)], (step[is_in] % self.steps, places[is_in]), sums[is_in])
        self._add_up()

    def forget_from(self, second: int) -> None:
        """Take out what is of this second's step and of those behind it."""
        first = max(second // self.step_seconds, self._newest - self.steps + 1)
        self._sums[:, np.arange(first, self._newest + 1) % self.steps] = 0.0
        self._add_up()

    def sums(self) -> Floats:
        """float64[2, groups]: good and total over the window."""
        return (self._closed + self._sums[:, self._newest % self.steps])[:, : len(self.keys)]

    def start(self) -> int:
        """The second at which the window begins."""
        return (self._newest - self.steps + 1) * self.step_seconds

    def _add_up(self) -> None:
        is_open = np.arange(self.steps) == self._newest % self.steps
        self._closed = self._sums.sum(axis=1, where=~is_open[None, :, None])

    def _let_go(self) -> None:
        """Forget the groups that have no events left in the window."""
        stays = np.flatnonzero(self._sums[1].any(axis=0)[: len(self.keys)])
        if len(stays) == len(self.keys):
            return
        self.keys = [self.keys[place] for place in stays.tolist()]
        self._places = {key: place for place, key in enumerate(self.keys)}
        kept = np.zeros_like(self._sums)
        kept[:, :, : len(stays)] = self._sums[:, :, stays]
        self._sums = kept


def left(sums: Floats, allowed: float) -> Floats:
    """The share of the error budget that is left: 1 while nothing has failed, below 0 when it is overspent."""
    good, total = sums
    shares: Floats = 1.0 - (total - good) / (np.where(total > 0, total, np.inf) * allowed)
    return shares


def burn_rate(good: float, total: float, allowed: float) -> float | None:
    """How many times faster than allowed; None without events."""
    return (total - good) / total / allowed if total > 0 else None

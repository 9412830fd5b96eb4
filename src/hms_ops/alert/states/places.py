"""The flat arrays of alert instances, one place for each: what `kernels/states.py` steps and `placing.py` lays out.

phase uint8, marks uint8 and clocks int64[5] as in kernels/phases.py; rule int32, the row of its rule or -1; value
float64, for people; told int64[3, places], room for the events of a tick. 86 bytes a place.
Only `instances.py` and `placing.py` write, and the kernel on their behalf.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.states.state import PHASES, AlertState
from hms_ops.kernels.phases import (
    CHANGED,
    CLOCK_START,
    CLOCKS,
    ENDED,
    EPISODE,
    INACTIVE,
    RESTORED,
    SINCE,
    STALE,
    STEPPED,
    STILL,
    TOLD,
)

At = NDArray[np.intp]
_NUMBERS: Final = {phase: number for number, phase in enumerate(PHASES)}


class Row(NamedTuple):
    """One place as plain values. ended: the second it ended at, of one that is inactive."""

    place: int
    state: AlertState
    value: float
    marks: int
    ended: int
    rule: int


class Taken(NamedTuple):
    """Some places as they were at one moment: arrays of their own, see above."""

    at: At
    phase: NDArray[np.uint8]
    value: NDArray[np.float64]
    marks: NDArray[np.uint8]
    rule: NDArray[np.int32]
    clocks: NDArray[np.int64]

    def rows(self) -> Iterator[Row]:
        columns = [column.tolist() for column in (self.at, self.phase, self.value, self.marks, self.rule, *self.clocks)]
        for place, phase, value, marks, rule, since, clock_start, stepped, episode, ended in zip(*columns, strict=True):
            yield Row(place, AlertState(PHASES[phase], since, clock_start, stepped, episode), value, marks, ended, rule)


class Places:
    """So many places, all inactive and of no rule."""

    def __init__(self, count: int) -> None:
        self.phase = np.zeros(count, np.uint8)
        self.marks = np.zeros(count, np.uint8)
        self.clocks = np.zeros((CLOCKS, count), np.int64)
        self.rule = np.full(count, -1, np.int32)
        self.value = np.full(count, np.nan)
        self.told = np.zeros((TOLD, count), np.int64)

    def __len__(self) -> int:
        return len(self.phase)

    def live(self) -> At:
        """Those that are pending, firing or recovering, ascending."""
        return np.flatnonzero(self.phase != INACTIVE)

    def remembered(self) -> At:
        """Those that have ended and whose episode's number is still known, ascending."""
        return np.flatnonzero((self.phase == INACTIVE) & (self.clocks[EPISODE] != 0))

    def changed(self) -> At:
        return np.flatnonzero(self.marks & CHANGED)

    def copy(self, taken: At, into: "Places", at: At) -> None:
        """Put the instances of the places `taken` into the places `at` of another; their rule's row stays behind."""
        into.phase[at] = self.phase[taken]
        into.marks[at] = self.marks[taken]
        into.clocks[:, at] = self.clocks[:, taken]
        into.value[at] = self.value[taken]

    def state(self, place: int) -> AlertState:
        since, clock_start, stepped, episode, _ = self.clocks[:, place].tolist()
        return AlertState(PHASES[self.phase[place]], since, clock_start, stepped, episode)

    def rows(self, at: At) -> Iterator[Row]:
        """Those places in plain values, all read at once."""
        return self.taken(at).rows()

    def taken(self, at: At) -> "Taken":
        """Those places as they are now."""
        return Taken(at, self.phase[at], self.value[at], self.marks[at], self.rule[at], self.clocks[:, at])

    def put(self, place: int, state: AlertState, marks: int = CHANGED) -> None:
        """Set the state; marks are added, and the clock is taken to run."""
        self.phase[place] = _NUMBERS[state.phase]
        clocks = self.clocks
        clocks[SINCE, place], clocks[CLOCK_START, place] = state.since, state.clock_start
        clocks[STEPPED, place], clocks[EPISODE, place] = state.stepped, state.episode
        kept = ~STILL if state.phase != "inactive" else ~(STILL | STALE | RESTORED)
        self.marks[place] = (int(self.marks[place]) & kept) | marks

    def end(self, place: int, now_second: int) -> None:
        self.put(place, AlertState(episode=int(self.clocks[EPISODE, place])))
        self.clocks[ENDED, place] = now_second

    def move_clocks(self, seconds: int) -> None:
        """Every clock shows what it showed before the wall clock was set."""
        for row in (CLOCK_START, STEPPED):
            self.clocks[row, self.live()] += seconds
        self.clocks[ENDED, self.remembered()] += seconds
        self.marks[self.live()] |= CHANGED
        self.marks[self.remembered()] |= CHANGED

"""The rows of a query side by side: slots of equal length, where each one's sample stands, and which of them a window
has.

    slot        [10:00:00, 10:00:10)  [10:00:10, 10:00:20)  [10:00:20, now)
    its stamp              10:00:09.999          10:00:19.999     the last sealed millisecond
    a window    (t − d, t] has the slots whose stamps are in it: those from `low` up to `high`

Stamps are remote write's (remote/encode.py), so that a server that was sent these rows has the same samples in the
same windows. Arrays are int64, times in milliseconds. Pure, but for `slots_between`, which asks how far time has come.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops.past import Past

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slots:
    """`count` rows of `seconds` from the Unix second `first` on. stamps: int64[count], ascending. covered:
    float64[count], the seconds of each that are known: less in the open one, and in the one where history begins.
    complete: how many there are before the open one."""

    first: int
    seconds: int
    stamps: Integers
    covered: Floats
    complete: int

    @property
    def count(self) -> int:
        return len(self.stamps)

    @property
    def end(self) -> int:
        return self.first + self.count * self.seconds


class Windows(NamedTuple):
    """The slots of each time's window: low, high, int64[times]; ends: int64[times], where it ends; ms: its length;
    asked_ms: the length that was asked for, where that is less than a row's."""

    low: Integers
    high: Integers
    ends: Integers
    ms: int
    asked_ms: int


def slots_between(begin_ms: int, end_ms: int, seconds: int, past: Past) -> Slots:
    """All slots whose stamps may be in (begin, end], none before history or behind the last sealed second."""
    sealed_end, known = int(past.store.sealed_second) + 1, past.first_second
    first = max(begin_ms // 1000, known) // seconds * seconds
    last = min(-(-end_ms // 1000) + 1, sealed_end)
    starts = first + seconds * np.arange(max(0, -(-(last - first) // seconds)))
    covered = np.minimum(starts + seconds, sealed_end) - np.maximum(starts, known)
    stamps = np.minimum(starts + seconds, sealed_end) * 1000 - 1
    complete = int((starts + seconds <= sealed_end).sum())
    return Slots(first, seconds, stamps, np.maximum(covered, 0).astype(float), complete)


def windows(slots: Slots, ends: Integers, ms: int) -> Windows:
    """(t − ms, t] of each t in `ends`."""
    low, high = (np.searchsorted(slots.stamps, at, "right") for at in (ends - ms, ends))
    return Windows(low, high, ends, ms, ms)


def without_open(slots: Slots, of: Windows) -> Windows:
    """The same windows without the open row, but where there is no other: what adds up by rows would have one too
    many, as long as the last one goes on."""
    closed = np.minimum(of.high, slots.complete)
    return of._replace(high=np.where(closed > of.low, closed, of.high))

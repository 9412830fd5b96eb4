"""How many samples of a second were good, and how many there were: of all SLOs at once.

The series of all SLOs are laid out side by side, so that a second is one native call for each column that is read,
however many SLOs there are; the layout is made anew when series come or go. Late samples, which the store lists, are
judged here once more, by the same comparison as natively (`_goal.pxd`).

Fed by `objectives.py`. Data: rows are plain tuples, one for each group that has samples in the second. Threads: the
tick's. Errors: none; a second that the store does not keep is its caller's mistake (ValueError).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.slo import Goal
from hms_ops.alert.source import GroupKey, Source
from hms_ops.goals import Goals

COUNT: Final = 0
SUM: Final = 1

Floats = NDArray[np.float64]
Late = tuple[NDArray[np.uint32], NDArray[np.int64], Floats, Floats]
Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Part(Generic[Owner]):
    """The series of one selector, and whose they are. goal: which samples are good; None where the values themselves
    are added up (a counter's), times `good` and `total`."""

    owner: Owner
    source: Source
    goal: Goal | None
    good: float = 0.0
    total: float = 1.0


class Row(NamedTuple, Generic[Owner]):
    """What to add for one group of an owner in one second."""

    owner: Owner
    key: GroupKey
    second: int
    good: float
    total: float


class Layout(Generic[Owner]):
    """The groups of several parts side by side. members: int32[k] slots, group by group; offset: int64[groups + 1];
    parts, keys: of each group; begins: of each part its first group."""

    def __init__(self, parts: Sequence[Part[Owner]]) -> None:
        sources = [part.source for part in parts]
        base = np.cumsum([0, *(len(source.member) for source in sources)])
        offsets = [source.offset[:-1] + begin for source, begin in zip(sources, base[:-1], strict=True)]
        self.members = np.concatenate([np.zeros(0, np.int32), *(source.member for source in sources)])
        self.offset = np.concatenate([*offsets, base[-1:]]).astype(np.int64)
        self.parts = [part for part in parts for _ in part.source.keys]
        self.keys = [key for source in sources for key in source.keys]
        self.begins = np.cumsum([0, *(len(source.keys) for source in sources)]).tolist()

    def sums(self, store: Store, column: int, second: int, begin: int = 0, end: int | None = None) -> Floats:
        """float64[end − begin]: one column of a second, summed over each of the groups from `begin` on."""
        last = len(self.keys) if end is None else end
        return store.sums_of_second(column, second, self.members, self.offset[begin : last + 1])


class Counts(Generic[Owner]):
    """The counts of all parts there are."""

    def __init__(self, store: Store, goals: Goals) -> None:
        self._store = store
        self._goals = goals
        self.replace([])

    def replace(self, parts: Iterable[Part[Owner]]) -> None:
        """These parts, with the series their sources have now."""
        found = list(parts)
        judged = [
            (self._goals.column(part.source.key.metric, part.goal), part) for part in found if part.goal is not None
        ]
        judged.sort(key=lambda pair: pair[0])
        self._all = found
        self._judged = Layout([part for _, part in judged])
        self._added = Layout([part for part in found if part.goal is None])
        columns = [column for column, _ in judged]
        self._ranges = [
            (
                column,
                self._judged.begins[columns.index(column)],
                self._judged.begins[columns.index(column) + columns.count(column)],
            )
            for column in sorted(set(columns))
        ]

    def of_second(self, second: int) -> list[Row[Owner]]:
        """A row for each group that has samples in a sealed second, of parts that are counted since before it."""
        return [*self._of_judged(second), *self._of_added(second)]

    def _of_judged(self, second: int) -> list[Row[Owner]]:
        laid = self._judged
        if not laid.keys:
            return []
        total = laid.sums(self._store, COUNT, second)
        there = np.flatnonzero(total).tolist()
        if not there:
            return []
        good = np.zeros(len(total))
        for column, begin, end in self._ranges:
            good[begin:end] = laid.sums(self._store, column, second, begin, end)
        return [
            Row(laid.parts[group].owner, laid.keys[group], second, float(good[group]), float(total[group]))
            for group in there
            if self._is_counted(laid.parts[group], second)
        ]

    def _of_added(self, second: int) -> list[Row[Owner]]:
        laid = self._added
        if not laid.keys:
            return []
        sums = laid.sums(self._store, SUM, second)
        return [
            row_of(laid.parts[group], laid.keys[group], second, float(sums[group]))
            for group in np.flatnonzero(sums).tolist()
            if self._is_counted(laid.parts[group], second)
        ]

    def _is_counted(self, part: Part[Owner], second: int) -> bool:
        return second >= self._goals.since(part.source.key.metric, part.goal)

    def of_late(self, late: Late) -> list[Row[Owner]]:
        """What late samples come to, whatever their second."""
        return [row for part in self._all for row in late_rows(part, late)] if len(late[0]) else []


def row_of(part: Part[Owner], key: GroupKey, second: int, amount: float) -> Row[Owner]:
    return Row(part.owner, key, second, amount * part.good, amount * part.total)


def late_rows(part: Part[Owner], late: Late) -> list[Row[Owner]]:
    """Those of the late samples (slot, second, value, weight) that are of this part's series."""
    source = part.source
    order = np.argsort(source.member)
    slots = source.member[order]
    rows = []
    for slot, second, value, weight in zip(*(column.tolist() for column in late), strict=True):
        at = int(np.searchsorted(slots, np.int32(slot)))
        if at == len(slots) or slots[at] != slot:
            continue
        key = source.keys[int(np.searchsorted(source.offset, order[at], "right")) - 1]
        if part.goal is not None:
            rows.append(Row(part.owner, key, second, weight * is_good(part.goal, value), weight))
        else:
            rows.append(row_of(part, key, second, value * weight))
    return rows


def is_good(goal: Goal, value: float) -> bool:
    return (goal.low <= value <= goal.high) != goal.is_outside

"""Merging rows of fine steps into rows of coarser ones, and rows of several series into one: pure numpy.

Used by history.py for what is on disk, and by the engine for the steps it still holds in memory; both through `fold`,
so that the splice of the two is the same merge. A row is a column of float64[6, k] in FIELDS' order; it stands at
steps[k] (Unix seconds, the start of its step) and belongs to groups[k] (any int: a series' position, or 0 for a pool).

Counts and sums add, min and max are those of all, m2 by Chan's merge (Chan, Golub, LeVeque 1979), `last` is that of the
latest step and, within one step, of the row that comes last: the later write. Rows have count > 0; merging is
associative, up to the rounding of float64 sums, so it may be done in chunks.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.clock import SECOND_NS

FIELDS: Final = ("count", "sum", "m2", "min", "max", "last")
COUNT, SUM, M2, MIN, MAX, LAST = range(len(FIELDS))

ROW: Final = np.dtype(
    [("time", np.int64), ("count", float), ("sum", float), ("min", float), ("max", float), ("last", float)]
)
"""What a query answers: `time` in ns, the start of the step. Steps without samples have no row."""

Rows = NDArray[Any]
Integers = NDArray[np.int64]
Columns = NDArray[np.float64]
Part = tuple[Integers, Integers, Columns]
"""Rows: step starts int64[k], what they belong to int64[k], columns float64[6, k]."""


def fold(steps: Integers, groups: Integers, columns: Columns) -> tuple[Integers, Integers, Columns]:
    """One row for each (step, group), ascending; inputs are unchanged, and returned themselves when nothing merges.

    steps int64[k], groups int64[k], columns float64[6, k] with count > 0. O(k), O(k log k) when not in order.
    """
    if not _is_sorted(steps, groups):
        order = np.lexsort((groups, steps))  # stable: within a step the later write stays last
        steps, groups, columns = steps[order], groups[order], columns[:, order]
    is_first = np.ones(len(steps), bool)
    np.not_equal(steps[1:], steps[:-1], out=is_first[1:])
    is_first[1:] |= groups[1:] != groups[:-1]
    if is_first.all():
        return steps, groups, columns
    first = np.flatnonzero(is_first)
    return steps[first], groups[first], _merge(columns, first)


def join(parts: list[tuple[Integers, Integers, Columns]]) -> tuple[Integers, Integers, Columns]:
    """The parts one after another, in the order they were written; none of them gives no rows. One part that has all
    rows is returned itself: a page of a day is 35 MB."""
    found = [part for part in parts if len(part[0])]
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((len(FIELDS), 0))
    if len(found) == 1:
        return found[0]
    steps, groups, columns = zip(*found, strict=True)
    return np.concatenate(steps), np.concatenate(groups), np.concatenate(columns, axis=1)


def as_rows(steps: Integers, columns: Columns) -> Rows:
    """The structured array (dtype ROW) of folded rows of one group."""
    rows = np.empty(len(steps), ROW)
    rows["time"] = steps * SECOND_NS
    for name in ("count", "sum", "min", "max", "last"):
        rows[name] = columns[FIELDS.index(name)]
    return rows


def _is_sorted(steps: Integers, groups: Integers) -> bool:
    later = steps[1:] > steps[:-1]
    return bool((later | ((steps[1:] == steps[:-1]) & (groups[1:] >= groups[:-1]))).all())


def _merge(columns: Columns, first: NDArray[np.intp]) -> Columns:
    """float64[6, g]: the rows from each index of `first` up to the next, merged; first[0] is 0."""
    rows = np.diff(first, append=columns.shape[1])
    merged = np.empty((len(FIELDS), len(first)))
    np.add.reduceat(columns[COUNT], first, out=merged[COUNT])
    np.add.reduceat(columns[SUM], first, out=merged[SUM])
    np.minimum.reduceat(columns[MIN], first, out=merged[MIN])
    np.maximum.reduceat(columns[MAX], first, out=merged[MAX])
    merged[LAST] = columns[LAST, first + rows - 1]
    mean = merged[SUM] / merged[COUNT]
    away = columns[SUM] / columns[COUNT] - mean.repeat(rows)
    merged[M2] = np.add.reduceat(columns[M2] + columns[COUNT] * away * away, first)
    return merged

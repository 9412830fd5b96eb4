"""History in the steps of a query: the rows of many series folded to the statistics of each group in each step.

Read by query.py. Rows come from past.py a chunk at a time, are pooled by group and step (storage/merge.py) and
end as what the rule program reads: float64[groups, steps, 8], COUNT SUM M2 MIN MAX LAST DELTA SEEN (kernels/window.py).
Two of them are history's own, since it keeps no single seconds: a counter's LAST is the mean second of the step, and a
gauge's DELTA counts from the last row before the step, at most BASE_SECONDS before, or the row before.

Limits: ROWS_MAX rows read and VALUES_MAX statistics kept for one selector, else ValueError. Threads: any.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.source import GroupKey
from hms_ops.past import Past, row_seconds_of
from hms_ops.roster import Known
from hms_ops.storage import merge

VALUES_MAX: Final = 1_100_000  # of one answer: 100 series of 11,000 points
ROWS_MAX: Final = 100_000_000  # read for one selector: some twenty seconds
BASE_SECONDS: Final = 300

LAST, DELTA, SEEN = 5, 6, 7

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of an answer: `count` from `start` on. covered: int64[count], the seconds `rate` divides by."""

    start: int
    step: int
    count: int
    covered: Integers

    @property
    def end(self) -> int:
        return self.start + self.count * self.step


@dataclass(frozen=True, slots=True)
class Chosen:
    """The series of a selector. group: int64[len(series)], indexes into keys; kind: -1 for a metric nobody knows."""

    series: list[Known]
    group: Integers
    keys: list[GroupKey]
    kind: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a selector's groups have. cells, groups: int64[k], (step, group) ascending; columns: float64[7, k], those of
    merge and DELTA; alive: int64[j], groups with a series in memory."""

    cells: Integers
    groups: Integers
    columns: Floats
    alive: Integers

    def present(self) -> Integers:
        """The groups that have samples in these steps or may be silent in them; not those that are long gone."""
        return np.union1d(self.groups, self.alive)


def read_steps(chosen: Chosen, grid: Grid, past: Past, with_delta: bool) -> Found:
    """The rows of a selector's series, pooled by group and step."""
    alive = np.array([one.slot >= 0 for one in chosen.series], bool)
    parts: list[tuple[Integers, Integers, Floats]] = []
    rows = values = 0
    lead_seconds = _base_seconds(grid) if with_delta else 0
    for at, part in past.chunks(chosen.series, grid.start, grid.end, grid.step, lead_seconds):
        parts.append(_pooled(part, chosen, grid, at, with_delta))
        rows, values = rows + len(part[0]), values + len(parts[-1][0])
        if rows > ROWS_MAX or values > VALUES_MAX:
            what = f"reads more than {ROWS_MAX} rows" if rows > ROWS_MAX else f"has more than {VALUES_MAX} points"
            raise ValueError(f"the query {what}: choose fewer series, a longer step or a shorter range")
    cells, groups, columns = zip(*parts, strict=True)
    live = np.unique(chosen.group[alive])
    return Found(np.concatenate(cells), np.concatenate(groups), np.concatenate(columns, axis=1), live)


def step_stats(chosen: Chosen, found: Found, kept: Integers, grid: Grid, store: Store) -> Floats:
    """float64[len(kept), steps, 8] of the groups `kept` (ascending indexes), NaN where a step has no samples."""
    stats = np.full((len(kept), grid.count, 8), np.nan)
    stats[:, :, merge.COUNT] = 0.0
    place = np.full(len(chosen.keys), -1)
    place[kept] = np.arange(len(kept))
    stats[place[found.groups], found.cells, : DELTA + 1] = found.columns.T
    stats[:, :, SEEN] = _seen(stats[:, :, merge.COUNT] > 0, chosen, place, grid, store)
    if chosen.kind == kinds.COUNTER:
        _fill_counters(stats, grid)
    return stats


def _pooled(part: Any, chosen: Chosen, grid: Grid, at: int, with_delta: bool) -> tuple[Integers, Integers, Floats]:
    """One chunk; rows before its start `at` serve DELTA only."""
    steps, places, columns = (rows[..., part[0] >= at] for rows in part)
    cells, groups, folded = merge.fold((steps - grid.start) // grid.step, chosen.group[places], columns)
    changed = np.zeros(len(cells))
    if with_delta:
        where, changes = _changes(part, chosen, grid, at)
        np.add.at(changed, np.searchsorted(cells * len(chosen.keys) + groups, where), changes)
    return cells, groups, np.concatenate([folded, changed[None]])


def _base_seconds(grid: Grid) -> int:
    """How long before a step the row may begin whose last value a gauge's change counts from."""
    return max(BASE_SECONDS, row_seconds_of(grid.step))


def _changes(part: Any, chosen: Chosen, grid: Grid, at: int) -> tuple[Integers, Floats]:
    """(cell × groups + group, change) of each series in each step: its last value less the one before the step, or else
    less the first there is in it."""
    if not len(part[0]):
        return np.empty(0, np.int64), np.empty(0)
    order = np.lexsort((part[0], part[1]))
    steps, places, last = part[0][order], part[1][order], part[2][merge.LAST][order]
    cells = (steps - grid.start) // grid.step
    is_first = np.ones(len(steps), bool)
    is_first[1:] = (cells[1:] != cells[:-1]) | (places[1:] != places[:-1])
    first = np.flatnonzero(is_first)
    final = np.append(first[1:], len(steps)) - 1
    before = np.maximum(first - 1, 0)
    oldest = grid.start + cells[first] * grid.step - _base_seconds(grid)
    has_base = (first > 0) & (places[before] == places[first]) & (steps[before] >= oldest)
    change = last[final] - last[np.where(has_base, before, first)]
    inside = steps[first] >= at
    where = cells[first] * len(chosen.keys) + chosen.group[places[first]]
    return where[inside], change[inside]


def _seen(has_rows: NDArray[np.bool_], chosen: Chosen, place: Integers, grid: Grid, store: Store) -> NDArray[np.bool_]:
    """The steps in which a group was there, though it may have been silent."""
    first, last = presence(has_rows, chosen, place, grid.start, store)
    numbers = np.arange(grid.count)
    return (numbers >= first[:, None]) & (numbers <= last[:, None])


def presence(
    has_rows: NDArray[np.bool_], chosen: Chosen, place: Integers, start: int, store: Store
) -> tuple[Integers, Integers]:
    """(first, last) of the slices of time from `start` on, bool[groups, slices], that each group is there in: from its
    first sample to its last; to the end while one of its series is alive, and from the start if that one has been
    silent since before. place: int64[keys], where each group stands."""
    count = has_rows.shape[1]
    first = np.where(has_rows.any(axis=1), has_rows.argmax(axis=1), count)
    last = np.where(has_rows.any(axis=1), count - 1 - has_rows[:, ::-1].argmax(axis=1), -1)
    for one, group in zip(chosen.series, place[chosen.group].tolist(), strict=True):
        newest = int(store.last_second[one.slot]) if one.slot >= 0 else 0
        if newest:
            last[group] = count - 1
        if 0 < newest < start:
            first[group] = 0
    return first, last


def _fill_counters(stats: Floats, grid: Grid) -> None:
    """A silent counter's sum is 0, and so is its `last`, the sum of a second."""
    silent = stats[:, :, merge.COUNT] == 0
    stats[:, :, merge.SUM][silent] = 0.0
    stats[:, :, LAST] = stats[:, :, merge.SUM] / np.where(grid.covered > 0, grid.covered, np.nan)

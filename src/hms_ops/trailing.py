"""Written windows over a range: the statistics of each group over the window that ends with each step.

    rows ──cut at every window's begin and end──► cells[group, cell] ──runs of cells──► stats[group, step, 8]

    step            t0        t1        t2        t3          window of three steps, and the one after it
                    |────────────────────────────|
                              |────────────────────────────|
    cells           |    0    |    1    |    2    |    3    |

Read by query.py in the place of steps.py where a window is written, so that a chart shows what a rule compares. A run
of cells is put together of blocks of 1, 2, 4, … cells, each of which is made of two of the blocks before: log2(cells)
merges for all windows at once, however long they are, in the order of time, and no sum is ever subtracted from.

A window begins at a multiple of its `grain`: that of rules (a second up to a minute's window, 10 s up to ten minutes',
then a minute, an hour from 60 h on), or the rows that are kept so far back, if these are longer. Rows are of the
coarsest tier that all borders are multiples of. A gauge's LAST is its newest value up to LAST_SECONDS old, as it is to
a rule (of longer windows than an hour: in the window); a counter's the mean second of the window's last row. DELTA is
made of series: the last value of each less the one before the window, see `_changes`.

Limits: ROWS_MAX rows read, CELLS_MAX cells kept, ROWS_MAX changes for one selector, else ValueError. Threads: any.
Not here: percentiles over windows (trailing_figures.py), windows of rules (kernels/window.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.plan import LAST_SECONDS
from hms_ops.alert.view import HISTORY_STEP_SHARE
from hms_ops.backlog import STEP_SECONDS
from hms_ops.kernels.window import window_step
from hms_ops.past import Past, row_seconds_of
from hms_ops.steps import (
    BASE_SECONDS,
    DELTA,
    LAST,
    ROWS_MAX,
    SEEN,
    VALUES_MAX,
    Chosen,
    Floats,
    Grid,
    Integers,
    presence,
)
from hms_ops.storage import merge
from hms_ops.storage.tier import TIERS
from hms_ops.tiers import WINDOW_SECONDS_MAX

CELLS_MAX: Final = 3 * VALUES_MAX  # with samples, of one selector: a step, and where its window begins and its LAST's
CELLS_AT_ONCE: Final = 200_000  # put together at once: some 40 MB
CHANGES_AT_ONCE: Final = 500_000

_LEAST: Final = 1e-300  # less than any weight: what stands in for 0 where nothing is divided
_EMPTY: Final = np.array([0.0, 0.0, 0.0, np.inf, -np.inf, np.nan])  # merge.FIELDS of no sample


Cellwise: TypeAlias = NDArray[Any]  # […, cells]


@dataclass(frozen=True, slots=True)
class Trail:
    """The windows of one length, one for each step. begins, ends: int64[steps], Unix seconds; covered: the seconds of
    each that `rate` divides by; row: of how many seconds the rows are that are read."""

    seconds: int
    grain: int
    row: int
    begins: Integers
    ends: Integers
    covered: Integers

    def edges(self) -> Integers:
        """Where cells begin and end, ascending."""
        return np.union1d(self.begins, self.ends)


class Cells(NamedTuple):
    """What a selector's groups have between the edges. cells, groups: int64[k], (cell, group) ascending; columns:
    float64[6, k]; alive: groups with a series in memory; changes: float64[keys, steps] of gauges, or None."""

    cells: Integers
    groups: Integers
    columns: Floats
    alive: Integers
    changes: Floats | None

    def present(self) -> Integers:
        return np.union1d(self.groups, self.alive)


class Ends(NamedTuple):
    """The first and the last row of each series in each cell, by series and time: key = place × width + cell + 1."""

    keys: Integers
    first: Floats
    last: Floats
    last_step: Integers


# ---- which windows


def trail_of(seconds: int, grid: Grid, kept: int, first_second: int) -> Trail:
    """kept: of how many seconds the rows are that are kept of all of them; the grid's step is a multiple of it."""
    grain = max(grain_of(seconds), kept)
    row = 1
    if grid.step >= STEP_SECONDS:
        fits = (tier.step_seconds for tier in reversed(TIERS))
        row = next(r for r in fits if grid.step % r == 0 and (seconds % r == 0 or grain % r == 0))
    return _trail(seconds, grain, row, grid, first_second)


def grain_of(seconds: int) -> int:
    """What rules round the begin of a window of this length to."""
    if seconds <= WINDOW_SECONDS_MAX:
        return window_step(seconds)
    return max(tier.step_seconds for tier in TIERS if tier.step_seconds * HISTORY_STEP_SHARE <= seconds)


def _trail(seconds: int, grain: int, row: int, grid: Grid, first_second: int) -> Trail:
    ends = grid.start + grid.step * np.arange(1, grid.count + 1)
    begins = ends - seconds
    begins -= begins % grain
    return Trail(seconds, grain, row, begins, ends, np.maximum(ends - np.maximum(begins, first_second), 0))


def _trail_of_last(trail: Trail, kind: int, grid: Grid, first_second: int) -> Trail | None:
    """The windows in which LAST is looked for, where they are others than those written."""
    if kind == kinds.COUNTER:
        return _trail(trail.row, trail.row, trail.row, grid, first_second)
    if kind == kinds.GAUGE and trail.seconds <= WINDOW_SECONDS_MAX:
        return _trail(max(LAST_SECONDS, trail.row), trail.row, trail.row, grid, first_second)
    return None


# ---- rows


def read_trail(chosen: Chosen, trail: Trail, past: Past, with_delta: bool = False) -> Cells:
    """The rows of a selector's series, pooled by group between the edges of the windows. with_delta: of gauges what
    they changed by as well."""
    edges = trail.edges()
    lead_seconds = max(BASE_SECONDS, row_seconds_of(trail.row)) if with_delta else 0
    parts: list[merge.Part] = []
    ends: list[Ends] = []
    rows = kept = 0
    for at, part in past.chunks(chosen.series, int(edges[0]), int(edges[-1]), trail.row, lead_seconds):
        inside = _since(part, at)
        parts.append(merge.fold(np.searchsorted(edges, inside[0], "right") - 1, chosen.group[inside[1]], inside[2]))
        if with_delta:  # the rows that a later chunk leads with are in the chunk before
            ends.append(_ends_of(part if at == edges[0] else inside, edges))
        rows, kept = rows + len(part[0]), kept + len(parts[-1][0])
        if rows > ROWS_MAX or kept > CELLS_MAX:
            what = f"reads more than {ROWS_MAX} rows" if rows > ROWS_MAX else f"has more than {CELLS_MAX} cells"
            raise ValueError(
                f"the query {what} for its windows of {trail.seconds} s: choose fewer series, a longer step or a "
                "shorter range"
            )
    cells, groups, columns = merge.fold(*merge.join(parts))  # a cell may be in two chunks
    alive = np.unique(chosen.group[[one.slot >= 0 for one in chosen.series]])
    changes = _changes(_joined(ends), chosen, trail, edges) if with_delta else None
    return Cells(cells, groups, columns, alive, changes)


def _since(part: merge.Part, at: int) -> merge.Part:
    is_in = part[0] >= at
    return part[0][is_in], part[1][is_in], part[2][:, is_in]


def trailing_stats(
    chosen: Chosen, found: Cells, kept: Integers, trail: Trail, grid: Grid, past: Past, with_last: bool = False
) -> Floats:
    """float64[len(kept), steps, 8] of the groups `kept` (ascending indexes), as steps.step_stats has them."""
    edges = trail.edges()
    low, high = np.searchsorted(edges, trail.begins), np.searchsorted(edges, trail.ends)
    stats = np.full((len(kept), len(low), 8), np.nan)
    at_once = max(1, CELLS_AT_ONCE // max(1, len(edges)))
    for first in range(0, len(kept), at_once):
        some = kept[first : first + at_once]
        stats[first : first + at_once, :, : LAST + 1] = _windows(_dense(found, some, len(edges) - 1), low, high)
    if found.changes is not None:
        stats[:, :, DELTA] = found.changes[kept]
    stats[:, :, SEEN] = _seen(chosen, found, kept, low, high, int(edges[0]), past.store)
    if chosen.kind == kinds.COUNTER:
        stats[:, :, LAST] = stats[:, :, merge.SUM] / np.where(trail.covered > 0, trail.covered, np.nan)
    other = _trail_of_last(trail, chosen.kind, grid, past.first_second) if with_last else None
    if other is not None:
        again = trailing_stats(chosen, read_trail(chosen, other, past), kept, other, grid, past)
        stats[:, :, LAST] = again[:, :, LAST]
    return stats


def _dense(found: Cells, kept: Integers, cells: int) -> Floats:
    """float64[6, len(kept), cells] of some groups, ascending; count 0 where there are no samples."""
    place = np.searchsorted(kept, found.groups)
    is_kept = kept[np.minimum(place, len(kept) - 1)] == found.groups
    dense = np.empty((len(_EMPTY), len(kept), cells))
    dense[:] = _EMPTY[:, None, None]
    dense[:, place[is_kept], found.cells[is_kept]] = found.columns[:, is_kept]
    return dense


def _seen(
    chosen: Chosen, found: Cells, kept: Integers, low: Integers, high: Integers, start: int, store: Store
) -> NDArray[np.bool_]:
    """As in steps.py: a window is one that the group was there in, or was silent in."""
    place = np.full(len(chosen.keys), -1)
    place[kept] = np.arange(len(kept))
    has_rows = np.zeros((len(kept), int(high[-1])), bool)
    has_rows[place[found.groups], found.cells] = True
    first, last = presence(has_rows, chosen, place, start, store)
    return (first[:, None] < high) & (last[:, None] >= low)


# ---- runs of cells


def _windows(cells: Floats, low: Integers, high: Integers) -> Floats:
    """float64[groups, windows, 6]: the cells low[k] to high[k] of float64[6, groups, cells], merged. MIN, MAX and LAST
    are NaN where there are no samples."""
    lengths = high - low
    found = np.empty((len(_EMPTY), cells.shape[1], len(low)))
    found[:] = _EMPTY[:, None, None]
    for takes, at, level in blocks(lengths, low, cells, merged_cells):
        found[..., takes] = merged_cells(found[..., takes], level[..., at])
    found[merge.MIN : merge.LAST, found[merge.COUNT] == 0] = np.nan
    return np.moveaxis(found, 0, -1)


def blocks(
    lengths: Integers, low: Integers, level: Cellwise, merged: Callable[[Any, Any], Cellwise]
) -> Iterator[tuple[Integers, Integers, Any]]:
    """Every run of lengths[k] cells from low[k] on as blocks of 2^n neighbours, the first ones first: (which runs have
    one, where each of these begins, the blocks by where they begin). level: […, cells], the blocks of one."""
    at, size, longest = low.copy(), 1, int(np.max(lengths, initial=0))
    while size <= longest:
        takes = np.flatnonzero(lengths & size)
        yield takes, at[takes], level
        at[takes] += size
        if size * 2 <= longest:
            level = merged(level[..., :-size], level[..., size:])
        size *= 2


def merged_cells(earlier: Floats, later: Floats) -> Floats:
    """float64[6, …] of both, by Chan's merge; either may be empty."""
    found = np.empty_like(earlier)
    count, more = earlier[merge.COUNT], later[merge.COUNT]
    np.add(count, more, out=found[merge.COUNT])
    np.add(earlier[merge.SUM], later[merge.SUM], out=found[merge.SUM])
    np.minimum(earlier[merge.MIN], later[merge.MIN], out=found[merge.MIN])
    np.maximum(earlier[merge.MAX], later[merge.MAX], out=found[merge.MAX])
    found[merge.LAST] = np.where(more > 0, later[merge.LAST], earlier[merge.LAST])
    apart = later[merge.SUM] / np.maximum(more, _LEAST) - earlier[merge.SUM] / np.maximum(count, _LEAST)
    weight = count * more / np.maximum(found[merge.COUNT], _LEAST)
    found[merge.M2] = earlier[merge.M2] + later[merge.M2] + weight * apart * apart
    return found


# ---- what gauges changed by


def _ends_of(part: merge.Part, edges: Integers) -> Ends:
    """The first and the last row of each series in each cell; what lies before the first edge is a cell too."""
    order = np.lexsort((part[0], part[1]))
    steps, places, last = part[0][order], part[1][order], part[2][merge.LAST][order]
    keys = places * (len(edges) + 1) + np.searchsorted(edges, steps, "right")
    is_first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    first = np.flatnonzero(is_first)
    final = np.append(first[1:], len(keys))[: len(first)] - 1
    return Ends(keys[first], last[first], last[final], steps[final])


def _joined(parts: list[Ends]) -> Ends:
    """By series and time. Of a cell that two chunks have, the earlier one's stands first."""
    keys, first, last, steps = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")
    return Ends(keys[order], first[order], last[order], steps[order])


def _changes(ends: Ends, chosen: Chosen, trail: Trail, edges: Integers) -> Floats:
    """float64[keys, steps], NaN for a group that has none. Of each series its last value in the window less the last
    one before it, at most BASE_SECONDS (or a row) before, or else less the first one inside; 0 if it is silent in the
    window, none if it has been for LAST_SECONDS."""
    width, count = len(edges) + 1, len(trail.ends)
    low, high = np.searchsorted(edges, trail.begins) + 1, np.searchsorted(edges, trail.ends) + 1
    members = np.unique(ends.keys // width)
    if len(members) * count > ROWS_MAX:
        raise ValueError(
            f"changes of {len(members)} gauges over {count} windows, {ROWS_MAX} are allowed in all: choose fewer "
            "series or a longer step"
        )
    total, known = np.zeros((len(chosen.keys), count)), np.zeros((len(chosen.keys), count))
    at_once = max(1, CHANGES_AT_ONCE // max(1, count))
    for first in range(0, len(members), at_once):
        some = members[first : first + at_once]
        change = _changes_of(ends, some[:, None] * width, low, high, trail)
        np.add.at(total, chosen.group[some], np.nan_to_num(change))
        np.add.at(known, chosen.group[some], ~np.isnan(change))
    return np.where(known > 0, total, np.nan)


def _changes_of(ends: Ends, own: Integers, low: Integers, high: Integers, trail: Trail) -> Floats:
    """float64[series, steps]. own: int64[series, 1], where the keys of each begin."""
    held_seconds = max(LAST_SECONDS if trail.seconds <= WINDOW_SECONDS_MAX else trail.seconds, trail.row)
    newest = np.searchsorted(ends.keys, own + high) - 1
    before = np.searchsorted(ends.keys, own + low) - 1
    is_held = (ends.keys[newest] >= own) & (ends.last_step[newest] + trail.row > trail.ends - held_seconds)
    oldest = trail.begins - max(BASE_SECONDS, trail.row)
    has_base = (before >= 0) & (ends.keys[before] >= own) & (ends.last_step[before] >= oldest)
    inside = ends.first[np.minimum(before + 1, len(ends.keys) - 1)]
    base = np.where(has_base, ends.last[before], inside)
    change = np.where(newest > before, ends.last[newest] - base, 0.0)
    return np.where(is_held & (newest >= 0), change, np.nan)

"""Views of what memory has: the steps of a window, the plan run on each, and their fold, at every tick.

    columns ─rows of the window─► float64[rows, 6, series] ─pooled by step and group─► stats[group, step, 8]
                                                        └─► the view's own program in each step ─► fold ─► values

A `Stepped` stands where a rule's reading has its source: `keys` are the groups it has values of, those of the series
there are. The statistics are those that rules read (kernels/window.py), with two differences that history has as well
(hms_ops.steps): a counter's LAST is the mean second of a step, and a gauge's DELTA counts from the last step before it
in the window, in the first step from its first row.

A step nobody knows (before the engine's time, or in a hole) is NULL. Steps at the window's end may be shorter.
Threads: the tick's; a query makes its own. Cost: 0.1 ms a view and 20 to 40 ns a row and series; `cells` is what a tick
reads.
Not here: what needs history (hms_ops.longview), folds (view.py).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.layout import BoundRule
from hms_ops.alert.plan import Plan
from hms_ops.alert.source import GroupKey, Source, Store, regrouped
from hms_ops.alert.view import Floats, View, fold_steps, sum_groups
from hms_ops.kernels import opcodes as op
from hms_ops.kernels.program import run_programs
from hms_ops.kernels.window import COUNT, DELTA, LAST, M2, MAX, MIN, SEEN, SUM, finest_tier, window_step
from hms_ops.reloaded import Reloaded
from hms_ops.tiers import SLOTS, TIER_SECONDS

_LEAST: Final = 1e-300  # less than any weight: what stands in for 0 where nothing is divided
_FIELDS: Final = np.arange(LAST + 1)
VIEW_CELLS: Final = 5_000  # what a view costs besides its rows takes as long as so many of them

Integers = NDArray[np.int64]


class Rows(NamedTuple):
    """The stored rows of a window, oldest first: tiers, slots, and where each of the steps [begin, stop) has its
    first; `begins` and `stops` are Unix seconds."""

    tiers: Integers
    slots: Integers
    first: Integers
    begins: Integers
    stops: Integers


def rows_of(view: View, end: int, first_second: int) -> Rows:
    """The rows of a view's steps. A window begins at a step of the tier it is read from, and ends at one that is still
    stored; what is older than that is left out at the end rather than counted twice."""
    last = end - view.offset_seconds
    step = view.memory_step()
    start = last - view.window_seconds
    rounding = (
        step if view.fold else max(window_step(view.window_seconds), TIER_SECONDS[_tier(start, end, first_second)])
    )
    begin = start - start % rounding
    last -= last % TIER_SECONDS[_tier(last - 1, end, first_second)] if view.offset_seconds else 0
    begins = np.arange(begin, last, step) if view.fold else np.array([begin])[: last > begin]
    tiers: list[int] = []
    slots: list[int] = []
    first: list[int] = []
    stops: list[int] = []
    for at in begins.tolist():
        stop = min(at + step, last) if view.fold else last
        first.append(len(tiers))  # of a step that is not stored any more there are none
        while at < stop and (tier := _largest(at, stop, _tier(at, end, first_second))) >= 0:
            tiers.append(tier)
            slots.append(at // TIER_SECONDS[tier] % SLOTS)
            at += TIER_SECONDS[tier]
        stops.append(at)
    has_rows = np.diff(first, append=len(tiers)) > 0
    stored, ends, places = (np.array(one, np.int64) for one in (tiers, stops, first))
    return Rows(stored, np.array(slots, np.int64), places[has_rows], begins[has_rows], ends[has_rows])


def _tier(second: int, end: int, first_second: int) -> int:
    """The finest tier that has a second."""
    tier = finest_tier(second, end)
    return max(tier, 1) if second < first_second else tier


def _largest(at: int, stop: int, finest: int) -> int:
    """The coarsest tier with a step at `at` that ends by `stop`; -1 for none that is stored."""
    for tier in range(len(TIER_SECONDS) - 1, max(finest, 0) - 1, -1):
        if at % TIER_SECONDS[tier] == 0 and at + TIER_SECONDS[tier] <= stop:
            return tier
    return -1


class Stepped:
    """A view bound to the series there are."""

    def __init__(self, view: View, sources: list[Source]) -> None:
        self.view = view
        self.sources = sources
        self.rule = BoundRule("", view.plan, [*sources])
        self.keys: list[GroupKey] = []
        self.member = np.zeros(0, np.int32)
        self.kind = kinds.UNKNOWN
        self._is_absent = view.is_absent
        self._rows = max(len(rows_of(view, end, 0).tiers) for end in (86_400, 86_401, 86_459))
        self.join()

    @property
    def sizes(self) -> Integers:
        """No group has members that the windows' kernel would read."""
        return np.zeros(len(self.keys), np.int64)

    @property
    def problem(self) -> str:
        """Why it cannot be evaluated on its metrics' kinds, or ""."""
        for source in self.sources:
            if source.kind == kinds.SET:
                return f"{source.key.metric} is a set; its members are counted over plain windows of the last hour only"
        return self.rule.problem

    @property
    def cells(self) -> int:
        """What a tick reads for it: rows of series, and VIEW_CELLS for being there at all."""
        return self.rule.pairs * self._rows + VIEW_CELLS

    def join(self) -> bool:
        """Find the groups; True when they are others than before."""
        self.rule.join()
        found = [key for _, key in self.rule.instances]
        if self.view.sums_series:
            found, self._places = regrouped(self.view.group_by, found)
        if found == self.keys:
            return False
        self.keys = found
        return True

    def is_whole(self, end: int, first_second: int, reloaded: Reloaded) -> bool:
        last = end - self.view.offset_seconds
        return reloaded.is_whole(last - self.view.window_seconds, last, first_second)

    def values(self, store: Store, end: int, reloaded: Reloaded) -> Floats:
        """float64[len(keys)], NaN for NULL."""
        rows = rows_of(self.view, end, store.first_second)
        has_rows = len(rows.tiers) > 0
        if not has_rows and self._is_absent:
            return np.ones(len(self.keys))
        steps = self._steps(store, rows, reloaded) if has_rows else np.empty((len(self.rule.instances), 0))
        found = fold_steps(self.view, steps, self.view.memory_step())
        return sum_groups(found, self._places, len(self.keys)) if self.view.sums_series else found

    def _steps(self, store: Store, rows: Rows, reloaded: Reloaded) -> Floats:
        """float64[instances, steps]: the plan's value in each step."""
        covered = rows.stops - rows.begins
        unknown = np.array(
            [
                reloaded.unknown_seconds(begin, stop, store.first_second)
                for begin, stop in zip(rows.begins.tolist(), rows.stops.tolist(), strict=True)
            ]
        )
        covered = covered - unknown
        stats = [pooled_steps(store, source, rows, covered) for source in self.sources]
        source_kinds = [source.kind for source in self.sources]
        values = run_on_steps(self.view.plan, self.rule.groups, stats, source_kinds, covered, len(self.rule.instances))
        if not self._is_absent:
            values[:, covered <= 0] = np.nan
        return values


def pooled_steps(store: Store, source: Source, rows: Rows, covered: Integers) -> Floats:
    """float64[groups, steps, 8] of a source, as the rule program reads it."""
    members, offset = source.member, source.offset[:-1]
    groups, steps = len(source.keys), len(rows.first)
    stats = np.full((groups, steps, 8), np.nan)
    stats[:, :, [COUNT, SUM, M2]] = 0.0
    stats[:, :, SEEN] = 0.0
    if len(members):
        tiers, slots = rows.tiers[:, None, None], rows.slots[:, None, None]
        cells = store.cols[tiers, _FIELDS[:, None], slots, members]  # float64[rows, 6, members]
        np.copyto(cells, 0.0, where=~(cells[:, COUNT : COUNT + 1] > 0))
        _pool(stats, cells, rows.first, offset)
        seen = np.add.reduceat((store.last_second[members] > 0).astype(np.float64), offset)
        stats[:, :, SEEN] = seen[:, None]
        if source.kind in (kinds.GAUGE, kinds.UNKNOWN):
            stats[:, :, DELTA] = _deltas(cells, rows.first, offset).T
    if source.kind == kinds.COUNTER:
        stats[:, :, LAST] = stats[:, :, SUM] / np.where(covered > 0, covered, np.nan)
    return stats


def _pool(stats: Floats, cells: Floats, first: Integers, offset: Integers) -> None:
    """COUNT to LAST of each group in each step. M2 about the pooled mean, so offsets of 1e9 cost nothing."""
    count, seen = cells[:, COUNT], cells[:, COUNT] > 0
    counts, sums = _added(count, first, offset), _added(cells[:, SUM], first, offset)
    mean = sums / np.maximum(counts, _LEAST)
    apart = cells[:, SUM] / np.maximum(count, _LEAST) - _spread(mean, first, offset, count.shape)
    m2 = _added(cells[:, M2] + count * apart * apart, first, offset)
    is_there = counts > 0
    low = _folded(np.minimum, np.where(seen, cells[:, MIN], np.inf), first, offset)
    high = _folded(np.maximum, np.where(seen, cells[:, MAX], -np.inf), first, offset)
    stats[:, :, COUNT], stats[:, :, SUM], stats[:, :, M2] = counts.T, sums.T, m2.T
    stats[:, :, MIN] = np.where(is_there, low, np.nan).T
    stats[:, :, MAX] = np.where(is_there, high, np.nan).T
    places = np.where(seen, np.arange(seen.size).reshape(seen.shape), -1)  # the latest row, of these the last series
    newest = _folded(np.maximum, places, first, offset).astype(np.int64)
    stats[:, :, LAST] = np.where(is_there, cells[:, LAST].reshape(-1)[np.maximum(newest, 0)], np.nan).T


def _folded(of: np.ufunc, values: Floats, first: Integers, offset: Integers) -> Floats:
    """[steps, groups] of [rows, members]."""
    folded: Floats = of.reduceat(of.reduceat(values, first, axis=0), offset, axis=1)
    return folded


def _added(values: Floats, first: Integers, offset: Integers) -> Floats:
    return _folded(np.add, values, first, offset)


def _spread(values: Floats, first: Integers, offset: Integers, shape: tuple[int, ...]) -> Floats:
    """[rows, members] of [steps, groups]: each cell has that of its step and group."""
    rows, members = shape
    step = np.searchsorted(first, np.arange(rows), side="right") - 1
    group = np.searchsorted(offset, np.arange(members), side="right") - 1
    return values[step[:, None], group[None, :]]


def _deltas(cells: Floats, first: Integers, offset: Integers) -> Floats:
    """[steps, groups]: what gauges changed by, NaN where none of a group has a sample."""
    rows = np.arange(len(cells))[:, None]
    seen = cells[:, COUNT] > 0
    newest = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)  # row, or -1 before the first
    ends = np.append(first[1:], len(cells)) - 1
    last, before = newest[ends], np.vstack([np.full(cells.shape[2], -1), newest[first[1:] - 1]])
    oldest = np.minimum.reduceat(np.where(seen, rows, len(cells)), first, axis=0)
    is_there = oldest < len(cells)
    base = np.where(before >= 0, before, np.minimum(oldest, len(cells) - 1))
    member = np.arange(cells.shape[2])[None, :]
    change = np.where(is_there, cells[np.maximum(last, 0), LAST, member] - cells[base, LAST, member], 0.0)
    total = np.add.reduceat(change, offset, axis=1)
    count = np.add.reduceat(is_there.astype(np.int64), offset, axis=1)
    return np.where(count > 0, total, np.nan)


def run_on_steps(
    plan: Plan,
    groups: Sequence[NDArray[np.int32]],
    stats: Sequence[Floats],
    source_kinds: Sequence[int],
    covered: Integers,
    instances: int,
) -> Floats:
    """float64[instances, steps]: a plan's value in each step. groups: of each reading int32[instances], -1 for none;
    stats: of each reading float64[groups, steps, 8]."""
    steps = len(covered)
    counts = [len(one) for one in stats]
    base = np.cumsum([0, *counts]) * steps
    references = [
        np.where(group[:, None] < 0, -1, first + group[:, None] * steps + np.arange(steps)).reshape(-1)
        for group, first in zip(groups, base[:-1].tolist(), strict=True)
    ]
    is_load = (plan.code >= op.LOADS.start) & (plan.code < op.LOADS.stop)
    starts = np.arange(max(1, len(stats))) * instances * steps
    values = np.full(instances * steps, np.nan)
    unused = np.empty(0)
    run_programs(
        np.concatenate([np.empty((0, 8)), *(one.reshape(-1, 8) for one in stats)]),
        covered,
        np.tile(np.arange(steps), sum(counts)),
        np.repeat(source_kinds, np.array(counts, np.int64) * steps).astype(np.int8),
        unused,
        np.concatenate([np.empty(0, np.int32), *references]).astype(np.int32),
        plan.code,
        np.where(is_load, starts[np.where(is_load, plan.operand, 0)], 0).astype(np.int32),
        plan.constant,
        np.array([0, len(plan.code)], np.int32),
        np.array([0, len(values)], np.int32),
        np.empty(op.STACK_MAX),
        values,
        unused,
        unused,
    )
    return values.reshape(instances, steps)

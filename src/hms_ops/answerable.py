"""The statistics of every reading of a plan, by group and step or window, and the program run on them.

    readings ──steps.py, trailing.py──► columns ──figures.py, trailing_figures.py──► stats by part ──program──► values

Read by query.py, which chose the series and the steps. A part is what several readings may share: a selector over one
length of window (or over each step), or a figure of it, or a fold (folded.py).

Limits: SERIES_MAX, STATS_MAX, VALUES_MAX, and those of the modules above, else ValueError. Threads: any.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.figure import Figure
from hms_ops.alert.plan import BY_STEP, Plan, Reading, SourceKey
from hms_ops.alert.source import GroupKey
from hms_ops.alert.view import View
from hms_ops.figures import figure_stats
from hms_ops.folded import Folded
from hms_ops.kernels import opcodes as op
from hms_ops.kernels.program import run_programs
from hms_ops.past import Past
from hms_ops.steps import LAST, VALUES_MAX, Chosen, Floats, Found, Grid, Integers, read_steps, step_stats
from hms_ops.trailing import Cells, Trail, read_trail, trailing_stats
from hms_ops.trailing_figures import trailing_figures

SERIES_MAX: Final = 1_000
STATS_MAX: Final = 8 * VALUES_MAX  # statistics in all, of 64 bytes: each selector of an expression, and each figure

# What a reading reads over its window, or BY_STEP; or the view that it is.
Part: TypeAlias = tuple[SourceKey, int, Figure | None] | View


@dataclass(frozen=True, slots=True)
class Answerable:
    """What a program runs on: the instances, the groups that each part has, its statistics of these, and by window the
    seconds that each covers."""

    keys: list[GroupKey]
    own: dict[Part, list[GroupKey]]
    stats: dict[Part, Floats]
    covered: dict[int, Integers]


def part_of(reading: Reading) -> Part:
    return (reading.source, reading.window_seconds, reading.figure) if reading.view is None else reading.view


def read_parts(
    plan: Plan,
    chosen: dict[SourceKey, Chosen],
    grid: Grid,
    past: Past,
    trails: dict[int, Trail],
    folds: dict[View, Folded],
) -> Answerable:
    """Rows and sketches of all selectors, and what was folded. Groups that are long gone are in none of them."""
    found = _found(plan, chosen, grid, past, trails)
    kept = {key: _present(one.values()) if plan.group_by else np.zeros(1, np.int64) for key, one in found.items()}
    groups = {key: [chosen[key].keys[n] for n in numbers.tolist()] for key, numbers in kept.items()}
    keys: list[GroupKey] = [()]
    if plan.group_by:
        of_folds = (own for own, _ in folds.values())
        keys = sorted({key for own in (*groups.values(), *of_folds) for key in own})
    parts = list(dict.fromkeys((one.source, one.window_seconds, one.figure) for one in _plain(plan)))
    columns = dict.fromkeys((key, window) for key, window, _ in parts)
    _check_size(len(keys), len(columns) + len(folds) + sum(figure is not None for _, _, figure in parts), grid)
    stats: dict[Part, Floats] = {view: _figured(values) for view, (_, values) in folds.items()}
    for key, window in columns:
        loads = _loads(_plain(plan), key, window)
        of_window = _columns(chosen[key], found[key][window], kept[key], loads, grid, past, trails.get(window))
        figures = [figure for source, seconds, figure in parts if (source, seconds) == (key, window) and figure]
        stats[key, window, None] = of_window
        if figures:
            made = _figures(figures, chosen[key], kept[key], of_window, grid, past, trails.get(window))
            stats |= {(key, window, figure): one for figure, one in zip(figures, made, strict=True)}
    own = {part: folds[part][0] if isinstance(part, View) else groups[part[0]] for part in stats}
    return Answerable(keys, own, stats, {BY_STEP: grid.covered, **{n: one.covered for n, one in trails.items()}})


def _plain(plan: Plan) -> list[Reading]:
    return [reading for reading in plan.readings if reading.view is None]


def _figured(values: Floats) -> Floats:
    """float64[groups, steps, 8] with these as LAST, where the program finds what is no statistic of columns."""
    stats = np.full((*values.shape, 8), np.nan)
    stats[:, :, LAST] = values
    return stats


def _found(
    plan: Plan, chosen: dict[SourceKey, Chosen], grid: Grid, past: Past, trails: dict[int, Trail]
) -> dict[SourceKey, dict[int, Found | Cells]]:
    made: dict[SourceKey, dict[int, Found | Cells]] = {}
    cells = 0
    for key, one in chosen.items():
        made[key] = _rows(_plain(plan), key, one, grid, past, trails)
        cells += sum(len(found.cells) for found in made[key].values())
        if cells > STATS_MAX:
            raise ValueError(
                f"more than {STATS_MAX} steps with samples are read, which is as many as are allowed in all: ask for a "
                "longer step, or less in one expression"
            )
    return made


def _rows(
    readings: Sequence[Reading], source: SourceKey, chosen: Chosen, grid: Grid, past: Past, trails: dict[int, Trail]
) -> dict[int, Found | Cells]:
    """What a selector has in the steps, and in each of its windows."""
    made: dict[int, Found | Cells] = {}
    for window in {reading.window_seconds for reading in readings if reading.source == source}:
        is_changing = chosen.kind in (kinds.GAUGE, kinds.UNKNOWN)
        with_delta = is_changing and not {op.LOAD_DELTA, op.LOAD_RATE}.isdisjoint(_loads(readings, source, window))
        trail = trails.get(window)
        made[window] = (
            read_steps(chosen, grid, past, with_delta) if trail is None else read_trail(chosen, trail, past, with_delta)
        )
    return made


def _loads(readings: Sequence[Reading], source: SourceKey, window: int) -> set[int]:
    """What is asked of a selector's columns over a window."""
    of = (one.loads for one in readings if (one.source, one.window_seconds) == (source, window))
    return {load for loads in of for load in loads}


def _present(found: Iterable[Found | Cells]) -> Integers:
    return np.unique(np.concatenate([one.present() for one in found]))


def _columns(
    chosen: Chosen, found: Found | Cells, kept: Integers, loads: set[int], grid: Grid, past: Past, trail: Trail | None
) -> Floats:
    """float64[len(kept), steps, 8] of the steps, or of a window."""
    if isinstance(found, Found):
        return step_stats(chosen, found, kept, grid, past.store)
    assert trail is not None
    return trailing_stats(chosen, found, kept, trail, grid, past, with_last=op.LOAD_LAST in loads)


def _figures(
    figures: Sequence[Figure],
    chosen: Chosen,
    kept: Integers,
    stats: Floats,
    grid: Grid,
    past: Past,
    trail: Trail | None,
) -> list[Floats]:
    if trail is None:
        return figure_stats(figures, chosen, kept, stats, grid, past)
    return trailing_figures(figures, chosen, kept, stats, trail, past)


def _check_size(series: int, parts: int, grid: Grid) -> None:
    if series > SERIES_MAX:
        raise ValueError(f"the answer has {series} series, {SERIES_MAX} are allowed: choose by tags, or group by fewer")
    if series * grid.count > VALUES_MAX:
        raise ValueError(
            f"{series} series of {grid.count} points, {VALUES_MAX} points are allowed in all: ask for a longer step"
        )
    if parts * series * grid.count > STATS_MAX:
        raise ValueError(
            f"{parts} readings of {series} series of {grid.count} points, {STATS_MAX} statistics are allowed in all: "
            "ask for a longer step, or less in one expression"
        )


# ---- the program


def run_parts(plan: Plan, found: Answerable, chosen: dict[SourceKey, Chosen], grid: Grid) -> Floats:
    """float64[len(keys), steps]: the rules' program, run on each step of each instance as if it were an instance."""
    groups = [found.own[part] for part in found.stats]
    base = np.cumsum([0, *map(len, groups)])
    numbers = np.arange(len(found.stats)) * grid.count
    places = {
        part: _places(found.keys, own, first, grid.count)
        for part, own, first in zip(found.stats, groups, base[:-1].tolist(), strict=True)
    }
    part_kinds = [
        kinds.UNKNOWN if isinstance(part, View) else max(chosen[part[0]].kind, kinds.UNKNOWN) for part in found.stats
    ]
    windows = [BY_STEP if isinstance(part, View) else part[1] for part in found.stats]
    reading_starts = np.arange(max(1, len(plan.readings))) * len(found.keys) * grid.count
    references = [places[part_of(reading)] for reading in plan.readings]
    values = np.full(len(found.keys) * grid.count, np.nan)
    unused = np.empty(0)
    run_programs(
        np.concatenate([np.empty((0, 8)), *(one.reshape(-1, 8) for one in found.stats.values())]),
        np.concatenate([np.empty(0, np.int64), *(found.covered[window] for window in windows)]),
        np.repeat(numbers, np.diff(base) * grid.count) + np.tile(np.arange(grid.count), base[-1]),
        np.repeat(part_kinds, np.diff(base) * grid.count).astype(np.int8),
        unused,
        np.concatenate([np.empty(0, np.int32), *references]),
        plan.code,
        reading_starts[plan.operand].astype(np.int32),
        plan.constant,
        np.array([0, len(plan.code)], np.int32),
        np.array([0, len(values)], np.int32),
        np.empty(op.STACK_MAX),
        values,
        unused,
        unused,
    )
    return values.reshape(len(found.keys), grid.count)


def _places(keys: list[GroupKey], own: list[GroupKey], base: int, count: int) -> NDArray[np.int32]:
    """Where the statistics of each step of each instance stand; -1 for an instance that a selector has no group of."""
    number = {key: base + n for n, key in enumerate(own)}
    groups = np.array([number.get(key, -1) for key in keys], np.int64)
    places = np.where(groups[:, None] < 0, -1, groups[:, None] * count + np.arange(count))
    return places.astype(np.int32).reshape(-1)

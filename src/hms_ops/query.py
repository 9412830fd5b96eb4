"""Expressions over history: what `/v1/query`, `engine.query` and the command line ask.

    expr ──parse──► plan ──► series of each selector, grouped ──past──► rows ──fold──► stats[group, step] ──┐
                                                                  └──► sketches ──merge──► figures ─────────┤
                                             [[t, value], …] of each group ◄── the rules' own program ◄─────┘

A point at t is the expression over [t, t + step): an aggregate without a window covers just that step, and nothing is
carried in from before (steps.py); one with a window covers the window that ends with the step (trailing.py), as a rule
would have seen it then. The statistics are those that rules read, so kinds, NULLs and conditions mean the same here and
there; docs/queries.md says what they come to. The newest step, while it is not over, has the value now where every
aggregate has a window, and no point where an amount of a whole step would be told too soon (AMOUNTS).

Data: t is Unix seconds, a multiple of step; NaN is NULL. stats is float64[groups, steps, 8], see steps.py.
Errors: ExpressionError for what cannot be evaluated, UnknownMetricError when neither memory nor disk knows a metric,
ValueError for a range or step that cannot be, or is over a limit (POINTS_MAX, SERIES_MAX, and those of steps.py).
Threads: any.
Not here: the value now (alert/evaluate.py), where rows come from (past.py), percentiles and shares (figures.py).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds, retained
from hms_ops._ring import Store
from hms_ops.alert.evaluate import nearest_metrics, query_now
from hms_ops.alert.figure import Figure
from hms_ops.alert.language.desugar import Objectives, none_known
from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.language.tags import accepts
from hms_ops.alert.language.tokens import error_at
from hms_ops.alert.language.tree import Query
from hms_ops.alert.layout import kind_problem
from hms_ops.alert.plan import BY_STEP, Plan, Reading, SourceKey, UnitLookup, compile_query, no_units
from hms_ops.alert.source import GroupKey, group_key
from hms_ops.backlog import STEP_SECONDS
from hms_ops.errors import UnknownMetricError
from hms_ops.figures import figure_stats
from hms_ops.kernels import opcodes as op
from hms_ops.kernels.program import run_programs
from hms_ops.past import Past
from hms_ops.steps import VALUES_MAX, Chosen, Floats, Found, Grid, Integers, read_steps, step_stats
from hms_ops.trailing import Cells, Trail, read_trail, trail_of, trailing_stats
from hms_ops.trailing_figures import trailing_figures

POINTS_MAX: Final = 11_000  # of one series
SERIES_MAX: Final = 1_000
STATS_MAX: Final = 8 * VALUES_MAX  # statistics in all, of 64 bytes: each selector of an expression, and each figure
DEFAULT_POINTS: Final = 1_000
# Steps that a chart's points may have, each a multiple of one that is kept; beyond a day, whole days.
STEPS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
SECOND_MAX: Final = 1 << 36  # far above any Unix second, far below one in milliseconds

Points = list[tuple[int, float]]
# What grows with the seconds of a step that have passed, or is not true before all have.
AMOUNTS: Final = {op.LOAD_SUM, op.LOAD_INCREASE, op.LOAD_COUNT, op.LOAD_DELTA, op.LOAD_ABSENT}
Part: TypeAlias = tuple[SourceKey, int, Figure | None]  # what a reading reads over its window, or BY_STEP


@dataclass(frozen=True, slots=True)
class Answerable:
    """What a program runs on: the instances, each selector's own groups, the statistics of these by part, and by window
    the seconds that each covers."""

    keys: list[GroupKey]
    own: dict[SourceKey, list[GroupKey]]
    stats: dict[Part, Floats]
    covered: dict[int, Integers]


def answer(
    expr: str,
    past: Past,
    store: Store,
    start: float | None = None,
    end: float | None = None,
    step: float | None = None,
    *,
    points: int | None = None,
    unit: UnitLookup = no_units,
    objective: Objectives = none_known,
) -> dict[str, Any]:
    """`expr` over [start, end) by `step`, as /v1/query answers it; without start and end its value now.

    Unix seconds; end defaults to now, step to the smallest multiple of 10 s that makes at most DEFAULT_POINTS points.
    With `points` instead of a step it is the smallest of STEPS that is kept of the range and makes at most so many.
    A step is made a multiple of what is kept of the range: `step` in the answer says which it is. Where a window is
    written, `grain` in the answer says what its begin is rounded down to.
    The value now is one point of step 1, at the last sealed second.
    """
    query = parse_query(expr)
    if start is None and end is None:
        if step is not None or points is not None:
            raise ValueError("step and points need a start: without one, a query answers the value now")
        second = int(store.sealed_second)
        series = [(tags, [(second, value)]) for tags, value in _now(query, past, store, unit, objective)]
        return _shaped(expr, 1, _metric_of(query, unit, objective), series, None)
    if start is None:
        raise ValueError("end needs a start")
    if step is not None and points is not None:
        raise ValueError("step and points say the same; give one of them")
    first, last = _range(start, end, store)
    plan = compile_query(query, unit, objective, by_step=True)
    if points is not None:
        seconds = step_of_points(first, last, points, _finest(plan, first, past))
    elif step is not None:
        seconds = _kept_step(_whole_step(step), plan, first, past)
    else:
        seconds = _default_step(first, last, _kept(plan, first, past))
    found = query_range(query, past, store, first, last, seconds, unit, objective)
    trails = _trails(plan, _grid(first, last, seconds, past), past)
    grain = max((one.grain for one in trails.values()), default=None)
    return _shaped(expr, seconds, _metric_of(query, unit, objective), found, grain)


def query_range(
    query: Query,
    past: Past,
    store: Store,
    start: int,
    end: int,
    step: int,
    unit: UnitLookup = no_units,
    objective: Objectives = none_known,
) -> list[tuple[dict[str, str], Points]]:
    """(tags, [(t, value), …]) of each group, in the order of their tags; a condition's value is 1.0, 0.0 or NaN.

    A step is there when any group has a value in it, NaN stands for those that have none. What is not sealed yet is
    not there. The bounds are Unix seconds; start is rounded down to a step.
    """
    plan = compile_query(query, unit, objective, by_step=True)
    step = _kept_step(step, plan, start, past)
    chosen = _choose_all(plan, past)
    grid = _grid(start, end, step, past)
    if not grid.count:
        return []
    found = _read(plan, chosen, grid, past, _trails(plan, grid, past))
    keys, values = found.keys, _run(plan, found, chosen, grid)
    if grid.end > (sealed_end := int(store.sealed_second) + 1):
        newest = _open_step(plan, lambda: _now(query, past, store, unit, objective, sealed_end), keys)
        values[:, -1] = values[:, -1] if newest is None else newest
    is_there = ~np.isnan(values)
    steps = np.flatnonzero(is_there.any(axis=0))
    times = (grid.start + steps * grid.step).tolist()
    rows = np.flatnonzero(is_there.any(axis=1)).tolist()
    return [(dict(keys[row]), list(zip(times, values[row, steps].tolist(), strict=True))) for row in rows]


def values_of(plan: Plan, past: Past, grid: Grid) -> tuple[list[GroupKey], Floats]:
    """(the groups, float64[groups, steps]) of a plan by step without windows; the grid's steps are multiples of the
    rows that are kept. ExpressionError and ValueError as above; a metric nobody knows has no groups."""
    chosen = {reading.source: _choose(reading.source, past) for reading in plan.readings}
    _check_kinds(plan, chosen)
    found = _read(plan, chosen, grid, past, {})
    return found.keys, _run(plan, found, chosen, grid)


# ---- the range


def _range(start: float, end: float | None, store: Store) -> tuple[int, int]:
    """Whole seconds, the end no later than what is sealed."""
    sealed_end = int(store.sealed_second) + 1
    last = sealed_end if end is None else end
    for name, second in (("start", start), ("end", last)):
        if not 0 <= second < SECOND_MAX:
            raise ValueError(f"{name} is {second:g}; it must be Unix time in seconds")
    if end is not None and start >= end:
        raise ValueError(f"the range from {start:.0f} to {end:.0f} is empty")
    return math.floor(start), min(math.ceil(last), sealed_end)


def _whole_step(step: float) -> int:
    if not 1 <= step < SECOND_MAX or step != int(step):
        raise ValueError(f"step is {step:g} s; it must be whole seconds, from 1")
    return int(step)


def _reach(plan: Plan) -> int:
    """How far before its step the longest window may begin."""
    return max((reading.window_seconds for reading in plan.readings), default=0)


def _kept(plan: Plan, start: int, past: Past, reach_seconds: int | None = None) -> int:
    """The shortest step, from 10 s, in which all that is asked for is kept of a range and of the windows before it; or
    of those that reach so far."""
    start = max(start - (_reach(plan) if reach_seconds is None else reach_seconds), 0)
    has_figures = any(reading.figure is not None for reading in plan.readings)
    return past.finest_sketch_step(start) if has_figures else past.finest_step(start)


def _finest(plan: Plan, start: int, past: Past) -> int:
    """The same, from a second: single seconds are kept for a minute, but no percentiles of them."""
    has_figures = any(reading.figure is not None for reading in plan.readings)
    is_recent = start - _reach(plan) >= retained.first_second(past.store)
    return 1 if not has_figures and is_recent else _kept(plan, start, past)


def _kept_step(step: int, plan: Plan, start: int, past: Past) -> int:
    """The step, made a multiple of what is kept of the range: what is older is kept by minute, then by hour."""
    if step < STEP_SECONDS and not _reach(plan) and not any(reading.figure for reading in plan.readings):
        return step  # checked_start says how far back there are seconds
    if step < STEP_SECONDS and _finest(plan, start, past) == 1:
        return step
    kept = _kept(plan, start, past)
    return step if step > STEP_SECONDS and step % STEP_SECONDS else -(-step // kept) * kept


def _default_step(start: int, end: int, unit: int) -> int:
    step = unit * max(1, -(-(end - start) // (unit * DEFAULT_POINTS)))
    while _step_count(start, end, step) > DEFAULT_POINTS:  # one more, for the start is rounded down
        step += unit
    return step


def step_of_points(start: int, end: int, points: int, kept: int) -> int:
    """The smallest of STEPS, or of whole days, that is a multiple of what is kept and makes at most so many points."""
    if not 1 <= points <= POINTS_MAX:
        raise ValueError(f"points is {points}; it must be 1 to {POINTS_MAX}")
    for step in STEPS:
        if step % kept == 0 and _step_count(start, end, step) <= points:
            return step
    step = STEPS[-1]
    while _step_count(start, end, step) > points:
        step += STEPS[-1] * max(1, (end - start) // (STEPS[-1] * points) - step // STEPS[-1])
    return step


def _step_count(start: int, end: int, step: int) -> int:
    return max(0, -(-(end - (start - start % step)) // step))


def _grid(start: int, end: int, step: int, past: Past) -> Grid:
    start = past.checked_start(start, step)
    sealed_end = int(past.store.sealed_second) + 1
    count = _step_count(start, min(end, sealed_end), step)
    if count > POINTS_MAX:
        raise ValueError(
            f"{count} points of {step} s, {POINTS_MAX} are allowed: ask for a longer step or a shorter range"
        )
    starts = start + step * np.arange(count)
    covered = np.minimum(starts + step, sealed_end) - np.maximum(starts, past.first_second)
    return Grid(start, step, count, np.maximum(covered, 0))


def _trails(plan: Plan, grid: Grid, past: Past) -> dict[int, Trail]:
    """The windows that are written, by their length."""
    made: dict[int, Trail] = {}
    for seconds in sorted({reading.window_seconds for reading in plan.readings} - {BY_STEP}):
        kept = 1 if grid.step < STEP_SECONDS else _kept(plan, grid.start, past, seconds)
        made[seconds] = trail_of(seconds, grid, kept, past.first_second)
    return made


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


# ---- the series


def _choose_all(plan: Plan, past: Past) -> dict[SourceKey, Chosen]:
    """The series of each selector. UnknownMetricError, and ExpressionError for a kind that has no such aggregate."""
    chosen: dict[SourceKey, Chosen] = {}
    for reading in plan.readings:
        one = chosen.get(reading.source) or _choose(reading.source, past)
        chosen[reading.source] = one
        if one.kind < 0 and reading.is_required:
            _check_known(reading.source.metric, past)
    _check_kinds(plan, chosen)
    return chosen


def _check_kinds(plan: Plan, chosen: dict[SourceKey, Chosen]) -> None:
    for reading in plan.readings:
        kind = max(chosen[reading.source].kind, kinds.UNKNOWN)
        problem = kind_problem(reading, kind)
        if kind == kinds.SET and not problem:
            problem = f"{reading.source.metric} is a set; its members are not kept in history: ask for its value now"
        if problem:
            raise error_at(plan.text, reading.at, problem)


def _choose(key: SourceKey, past: Past) -> Chosen:
    known = past.known(key.metric)
    test = accepts(key.matchers, key.where)
    series = [one for one in known if test is None or test(one.info.tags)]
    numbers: dict[GroupKey, int] = {} if key.group_by else {(): 0}
    group = [numbers.setdefault(group_key(key.group_by, one.info.tags), len(numbers)) for one in series]
    return Chosen(series, np.array(group, np.int64), list(numbers), max((one.info.kind for one in known), default=-1))


def _check_known(metric: str, past: Past) -> None:
    names = past.metrics()
    if metric not in names:
        raise UnknownMetricError(metric, nearest_metrics(metric, names))


def _read(plan: Plan, chosen: dict[SourceKey, Chosen], grid: Grid, past: Past, trails: dict[int, Trail]) -> Answerable:
    """Rows and sketches of all selectors. Groups that are long gone are in none of them."""
    found = {key: _rows(plan.readings, key, one, grid, past, trails) for key, one in chosen.items()}
    kept = {key: _present(one.values()) if plan.group_by else np.zeros(1, np.int64) for key, one in found.items()}
    own = {key: [chosen[key].keys[n] for n in groups.tolist()] for key, groups in kept.items()}
    keys: list[GroupKey] = sorted({key for groups in own.values() for key in groups}) if plan.group_by else [()]
    parts = list(dict.fromkeys((one.source, one.window_seconds, one.figure) for one in plan.readings))
    columns = dict.fromkeys((key, window) for key, window, _ in parts)
    _check_size(len(keys), len(columns) + sum(figure is not None for _, _, figure in parts), grid)
    stats: dict[Part, Floats] = {}
    for key, window in columns:
        loads = _loads(plan.readings, key, window)
        of_window = _columns(chosen[key], found[key][window], kept[key], loads, grid, past, trails.get(window))
        figures = [figure for source, seconds, figure in parts if (source, seconds) == (key, window) and figure]
        stats[key, window, None] = of_window
        if figures:
            made = _figures(figures, chosen[key], kept[key], of_window, grid, past, trails.get(window))
            stats |= {(key, window, figure): one for figure, one in zip(figures, made, strict=True)}
    return Answerable(keys, own, stats, {BY_STEP: grid.covered, **{n: one.covered for n, one in trails.items()}})


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


# ---- the program


def _run(plan: Plan, found: Answerable, chosen: dict[SourceKey, Chosen], grid: Grid) -> Floats:
    """float64[len(keys), steps]: the rules' program, run on each step of each instance as if it were an instance."""
    groups = [found.own[source] for source, _, _ in found.stats]
    base = np.cumsum([0, *map(len, groups)])
    numbers = np.arange(len(found.stats)) * grid.count
    places = {
        part: _places(found.keys, own, first, grid.count)
        for part, own, first in zip(found.stats, groups, base[:-1].tolist(), strict=True)
    }
    part_kinds = [max(chosen[source].kind, kinds.UNKNOWN) for source, _, _ in found.stats]
    reading_starts = np.arange(max(1, len(plan.readings))) * len(found.keys) * grid.count
    references = [places[reading.source, reading.window_seconds, reading.figure] for reading in plan.readings]
    values = np.full(len(found.keys) * grid.count, np.nan)
    unused = np.empty(0)
    run_programs(
        np.concatenate([np.empty((0, 8)), *(one.reshape(-1, 8) for one in found.stats.values())]),
        np.concatenate([np.empty(0, np.int64), *(found.covered[window] for _, window, _ in found.stats)]),
        np.repeat(numbers, np.diff(base) * grid.count) + np.tile(np.arange(grid.count), base[-1]),
        np.repeat(part_kinds, np.diff(base) * grid.count).astype(np.int8),
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


# ---- the step that is not over


def _open_step(
    plan: Plan, now: Callable[[], Sequence[tuple[dict[str, str], float]]], keys: list[GroupKey]
) -> Floats | None:
    """float64[len(keys)]: the values now, where only windows are asked for; NULL where a step would be told too soon,
    or is mixed with windows. None: as it is."""
    windows = {reading.window_seconds for reading in plan.readings}
    nothing = np.full(len(keys), np.nan)
    if BY_STEP not in windows and windows:
        known = {tuple(sorted(tags.items())): value for tags, value in now()}
        return np.array([known.get(key, np.nan) for key in keys], np.float64)
    if windows != {BY_STEP}:
        return nothing if windows else None
    return None if AMOUNTS.isdisjoint(load for one in plan.readings for load in one.loads) else nothing


# ---- the answer


def _now(
    query: Query, past: Past, store: Store, unit: UnitLookup, objective: Objectives, end: int | None = None
) -> list[tuple[dict[str, str], float]]:
    """The values before second `end`, or now; none when a metric is known from before and has not been seen in this
    run."""
    from hms_ops.longview import Recent  # which reads by this module

    end = int(store.sealed_second) + 1 if end is None else end
    recall = Recent(past, end)
    try:
        found = query_now(query, store, unit, end, past.reloaded, recall, objective)
        return sorted(found, key=lambda one: sorted(one[0].items()))
    except UnknownMetricError as error:
        _check_known(error.name, past)
        return []


def _metric_of(query: Query, unit: UnitLookup, objective: Objectives) -> str:
    """The metric, if the expression has just one, else the expression."""
    metrics = {reading.source.metric for reading in compile_query(query, unit, objective).readings}
    return metrics.pop() if len(metrics) == 1 else query.text


def _shaped(
    expr: str, step: int, metric: str, series: Sequence[tuple[dict[str, str], Points]], grain: int | None
) -> dict[str, Any]:
    return {
        "expr": expr,
        "step": step,
        **({} if grain is None else {"grain": grain}),
        "series": [
            {"metric": metric, "tags": tags, "points": [[t, None if math.isnan(v) else v] for t, v in points]}
            for tags, points in series
        ],
    }

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
ValueError for a range or step that cannot be, or is over a limit (those of asked.py, answerable.py, steps.py).
Threads: any.
Not here: which steps (asked.py), the statistics and the program (answerable.py), the value now (alert/evaluate.py),
where rows come from (past.py).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.evaluate import nearest_metrics, query_now
from hms_ops.alert.language.desugar import Objectives, none_known
from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.language.tags import accepts
from hms_ops.alert.language.tokens import error_at
from hms_ops.alert.language.tree import Query
from hms_ops.alert.layout import kind_problem
from hms_ops.alert.plan import BY_STEP, Plan, SourceKey, UnitLookup, compile_query, no_units
from hms_ops.alert.source import GroupKey, group_key
from hms_ops.answerable import read_parts, run_parts
from hms_ops.asked import (
    default_step,
    finest,
    folds_of,
    grain_of,
    grid_of,
    kept_of,
    kept_step,
    range_of,
    step_of_points,
    trails_of,
    whole_step,
)
from hms_ops.errors import UnknownMetricError
from hms_ops.kernels import opcodes as op
from hms_ops.past import Past
from hms_ops.steps import Chosen, Floats, Grid

Points = list[tuple[int, float]]
# What grows with the seconds of a step that have passed, or is not true before all have.
AMOUNTS: Final = {op.LOAD_SUM, op.LOAD_INCREASE, op.LOAD_COUNT, op.LOAD_DELTA, op.LOAD_ABSENT}


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
    first, last = range_of(start, end, store)
    plan = compile_query(query, unit, objective, by_step=True)
    if points is not None:
        seconds = step_of_points(first, last, points, finest(plan, first, past))
    elif step is not None:
        seconds = kept_step(whole_step(step), plan, first, past)
    else:
        seconds = default_step(first, last, kept_of(plan, first, past))
    found = query_range(query, past, store, first, last, seconds, unit, objective)
    grain = grain_of(plan, grid_of(first, last, seconds, past), past)
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
    step = kept_step(step, plan, start, past)
    chosen = _choose_all(plan, past)
    grid = grid_of(start, end, step, past)
    if not grid.count:
        return []
    folds = folds_of(plan, grid, past, values_of)
    found = read_parts(plan, chosen, grid, past, trails_of(plan, grid, past), folds)
    keys, values = found.keys, run_parts(plan, found, chosen, grid)
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
    found = read_parts(plan, chosen, grid, past, {}, {})
    return found.keys, run_parts(plan, found, chosen, grid)


# ---- the series


def _choose_all(plan: Plan, past: Past) -> dict[SourceKey, Chosen]:
    """The series of each selector. UnknownMetricError, and ExpressionError for a kind that has no such aggregate."""
    chosen: dict[SourceKey, Chosen] = {}
    for reading in plan.readings:
        if reading.view is not None:
            _choose_all(reading.view.plan, past)
            continue
        one = chosen.get(reading.source) or _choose(reading.source, past)
        chosen[reading.source] = one
        if one.kind < 0 and reading.is_required:
            _check_known(reading.source.metric, past)
    _check_kinds(plan, chosen)
    return chosen


def _check_kinds(plan: Plan, chosen: dict[SourceKey, Chosen]) -> None:
    for reading in plan.readings:
        if reading.view is not None:
            continue
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


# ---- the step that is not over


def _open_step(
    plan: Plan, now: Callable[[], Sequence[tuple[dict[str, str], float]]], keys: list[GroupKey]
) -> Floats | None:
    """float64[len(keys)]: the values now, where only windows are asked for; NULL where a step would be told too soon,
    or is mixed with windows. None: as it is."""
    windows = {one.window_seconds if one.view is None else one.view.window_seconds for one in plan.readings}
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

"""What is asked of a range: its bounds, the step it is answered in, and the windows that end with each step.

Read by query.py. A step is a multiple of the rows that are kept of all that has to be read, which begins a window
before the range: what is older is kept by minute, then by hour (past.py). With `points` it is the smallest of STEPS.

Errors: ValueError for a range or step that cannot be, or is over POINTS_MAX. Threads: any.
"""

import math
from typing import Final

import numpy as np

from hms_ops import retained
from hms_ops._ring import Store
from hms_ops.alert.plan import BY_STEP, Plan
from hms_ops.alert.view import View
from hms_ops.backlog import STEP_SECONDS
from hms_ops.folded import Evaluate, Folded, fold_range, fold_step
from hms_ops.past import Past
from hms_ops.steps import Grid
from hms_ops.trailing import Trail, trail_of

POINTS_MAX: Final = 11_000  # of one series
DEFAULT_POINTS: Final = 1_000
# Steps that a chart's points may have, each a multiple of one that is kept; beyond a day, whole days.
STEPS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
SECOND_MAX: Final = 1 << 36  # far above any Unix second, far below one in milliseconds


def range_of(start: float, end: float | None, store: Store) -> tuple[int, int]:
    """Whole seconds, the end no later than what is sealed."""
    sealed_end = int(store.sealed_second) + 1
    last = sealed_end if end is None else end
    for name, second in (("start", start), ("end", last)):
        if not 0 <= second < SECOND_MAX:
            raise ValueError(f"{name} is {second:g}; it must be Unix time in seconds")
    if end is not None and start >= end:
        raise ValueError(f"the range from {start:.0f} to {end:.0f} is empty")
    return math.floor(start), min(math.ceil(last), sealed_end)


def whole_step(step: float) -> int:
    if not 1 <= step < SECOND_MAX or step != int(step):
        raise ValueError(f"step is {step:g} s; it must be whole seconds, from 1")
    return int(step)


def _reach(plan: Plan) -> int:
    """How far before its step the longest window may begin."""
    views = (one.view.window_seconds for one in plan.readings if one.view is not None)
    return max([0, *(one.window_seconds for one in plan.readings), *views])


def rows_of(plan: Plan, start: int, past: Past, reach_seconds: int) -> int:
    """How long the rows are, from 10 s, in which all that is asked for is kept of what windows reach back to."""
    has_figures = any(reading.figure is not None for reading in plan.readings)
    begin = max(start - reach_seconds, 0)
    return past.finest_sketch_step(begin) if has_figures else past.finest_step(begin)


def kept_of(plan: Plan, start: int, past: Past) -> int:
    """The shortest step, from 10 s, of a range: one of whole rows, and of whole steps of what is folded."""
    kept = rows_of(plan, start, past, _reach(plan))
    return math.lcm(kept, *(fold_step(one.view, kept) for one in plan.readings if one.view is not None))


def finest(plan: Plan, start: int, past: Past) -> int:
    """The same, from a second: single seconds are kept for a minute, but no percentiles of them."""
    has_figures = any(reading.figure is not None for reading in plan.readings)
    is_recent = start - _reach(plan) >= retained.first_second(past.store)
    has_views = any(reading.view is not None for reading in plan.readings)
    return 1 if not has_figures and not has_views and is_recent else kept_of(plan, start, past)


def kept_step(step: int, plan: Plan, start: int, past: Past) -> int:
    """The step, made a multiple of what is kept of the range: what is older is kept by minute, then by hour."""
    if step < STEP_SECONDS and not _reach(plan) and not any(reading.figure for reading in plan.readings):
        return step  # checked_start says how far back there are seconds
    if step < STEP_SECONDS and finest(plan, start, past) == 1:
        return step
    kept = kept_of(plan, start, past)
    return step if step > STEP_SECONDS and step % STEP_SECONDS else -(-step // kept) * kept


def default_step(start: int, end: int, unit: int) -> int:
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


def grid_of(start: int, end: int, step: int, past: Past) -> Grid:
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


def trails_of(plan: Plan, grid: Grid, past: Past) -> dict[int, Trail]:
    """The windows that are written, by their length."""
    made: dict[int, Trail] = {}
    for seconds in sorted({reading.window_seconds for reading in plan.readings} - {BY_STEP}):
        kept = 1 if grid.step < STEP_SECONDS else rows_of(plan, grid.start, past, seconds)
        made[seconds] = trail_of(seconds, grid, kept, past.first_second)
    return made


def folds_of(plan: Plan, grid: Grid, past: Past, evaluate: Evaluate) -> dict[View, Folded]:
    """What is folded over windows, in each step."""
    kept = rows_of(plan, grid.start, past, _reach(plan))
    views = dict.fromkeys(reading.view for reading in plan.readings if reading.view is not None)
    return {view: fold_range(view, grid, kept, past, evaluate) for view in views}


def grain_of(plan: Plan, grid: Grid, past: Past) -> int | None:
    """The longest of what windows' begins are rounded down to and of the steps that are folded; None without any."""
    kept = rows_of(plan, grid.start, past, _reach(plan))
    steps = [fold_step(reading.view, kept) for reading in plan.readings if reading.view is not None]
    return max([trail.grain for trail in trails_of(plan, grid, past).values()] + steps, default=None)

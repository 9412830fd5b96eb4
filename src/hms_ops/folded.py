"""Folds of steps over a range: `zscore(x, 10m)`, `avg(a / b, 1h)` over the window that ends with each step.

    the view's own plan, by step ──► values[group, fine step] ──windows side by side──► fold ──► values[group, step]

Read by query.py. A view (alert/view.py) is a plan and a fold; here the plan is evaluated once over the range and the
window before it, in steps of the fold, as rules have them (10 s up to ten minutes' windows, then a minute, longer ones
beyond six hours; none shorter than the rows that are kept), and every window is folded by itself.

Limits: those of any query on the fine steps, and FOLDED_MAX of them in all windows together, else ValueError.
Threads: any.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from hms_ops.alert.plan import Plan
from hms_ops.alert.source import GroupKey, regrouped
from hms_ops.alert.view import HISTORY_STEP_SHARE, STEPS_MAX, View, fold_steps
from hms_ops.backlog import STEP_SECONDS
from hms_ops.past import Past
from hms_ops.steps import ROWS_MAX, Floats, Grid
from hms_ops.storage.tier import TIERS
from hms_ops.tiers import WINDOW_SECONDS_MAX

FOLDED_MAX: Final = ROWS_MAX
FOLDED_AT_ONCE: Final = 1_000_000

Evaluate: TypeAlias = Callable[[Plan, Past, Grid], tuple[list[GroupKey], Floats]]
Folded: TypeAlias = tuple[list[GroupKey], Floats]  # groups, and float64[groups, steps]


def fold_step(view: View, kept: int) -> int:
    """How long the steps are that a window is folded of."""
    if view.window_seconds <= WINDOW_SECONDS_MAX:
        return max(view.memory_step(), kept, STEP_SECONDS)
    fits = [tier.step_seconds for tier in TIERS if tier.step_seconds * HISTORY_STEP_SHARE <= view.window_seconds]
    row = max(kept, *fits)
    return row * max(1, -(-view.window_seconds // (STEPS_MAX * row)))


def fold_range(view: View, grid: Grid, kept: int, past: Past, evaluate: Evaluate) -> Folded:
    """A view in each step of a grid, whose steps are multiples of the fold's."""
    step = fold_step(view, kept)
    width = -(-view.window_seconds // step)
    fine = _grid(grid.start + grid.step - width * step, grid.end, step, past)
    keys, values = evaluate(view.plan, past, fine)
    if len(keys) * grid.count * width > FOLDED_MAX:
        raise ValueError(
            f"{len(keys)} series of {grid.count} windows of {width} steps, {FOLDED_MAX} steps are allowed in all: ask "
            "for a longer step, or for fewer series"
        )
    values[:, fine.covered <= 0] = np.nan
    found = _folds(view, values, width, grid.step // step, step)
    if not view.sums_series:
        return keys, found
    wanted, places = regrouped(view.group_by, keys)
    total, known = np.zeros((2, len(wanted), grid.count))
    np.add.at(total, places, np.nan_to_num(found))
    np.add.at(known, places, ~np.isnan(found))
    return wanted, np.where(known > 0, total, np.nan)


def _grid(start: int, end: int, step: int, past: Past) -> Grid:
    starts = np.arange(start, end, step)
    sealed_end = int(past.store.sealed_second) + 1
    covered = np.minimum(starts + step, sealed_end) - np.maximum(starts, past.first_second)
    return Grid(start, step, len(starts), np.maximum(covered, 0))


def _folds(view: View, values: Floats, width: int, stride: int, step: int) -> Floats:
    """float64[groups, windows] of float64[groups, fine steps]: each window of `width` fine steps, `stride` apart."""
    windows = np.lib.stride_tricks.sliding_window_view(values, width, axis=1)[:, ::stride]
    groups, count, _ = windows.shape
    made = np.empty((groups, count))
    at_once = max(1, FOLDED_AT_ONCE // max(1, groups * width))
    for first in range(0, count, at_once):
        some = windows[:, first : first + at_once]
        made[:, first : first + at_once] = fold_steps(view, some.reshape(-1, width), step).reshape(groups, -1)
    return made

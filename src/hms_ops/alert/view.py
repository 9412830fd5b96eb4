"""Views: readings that are no plain window of memory, as plain values, and how the steps of one become a number.

    avg(x, 5m) OFFSET 10m      one step, [t − 15m, t − 10m): the plan of avg(x), over that step
    avg(a / b, 5m)             the plan of a / b in each step of the window, then `avg` of the steps
    first ewma zscore changes  the same, of the plan of `last` or `avg` in each step
    increase(x, 6h)            one step of six hours, which only history has

A view has the plan of what stands inside, compiled as if it were a query by step: aggregates in there cover a step and
no more. Rules with equal views share one. Steps are 1 s in windows to a minute, 10 s to ten minutes, else a minute;
in history up to STEPS_MAX of them. `stepped.py` evaluates what memory has, at every tick; hms_ops.longview the rest,
now and then. What comes out is put as LAST into a group of its own, as figures are.

Folding: NULL steps are passed over; a fold of nothing is NULL.
Not here: which text becomes which view (plan.py).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.language.tree import Absent, Arith, Condition, Tags

if TYPE_CHECKING:
    from hms_ops.alert.plan import Plan

MEMORY_SECONDS_MAX: Final = 3660  # how far back steps in memory reach, whatever the second
HISTORY_STEP_SHARE: Final = 60  # rows of history are at most such a part of a window
STEPS_MAX: Final = 360  # of a fold over history
_STEP_SECONDS: Final = ((60, 1), (600, 10))  # windows up to so long are made of steps of so many seconds
_MINUTE: Final = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """node, where, group_by: what is evaluated in each step, as `plan`. fold: how the steps become a number, "" when
    there is one step only; parameter: a quantile's rank, a share's threshold, an ewma's half life in seconds (0: its
    span is the window). sums_series: the plan is per series, and each group the sum of its series. is_long: only
    history has it."""

    node: Arith | Condition
    where: Tags | None
    group_by: tuple[str, ...]
    fold: str
    window_seconds: int
    offset_seconds: int
    parameter: float = 0.0
    sums_series: bool = False
    is_long: bool = False
    plan: "Plan" = field(compare=False, repr=False, kw_only=True)

    @property
    def reach_seconds(self) -> int:
        return self.window_seconds + self.offset_seconds

    @property
    def is_absent(self) -> bool:
        """Whether it is an ABSENT, which is never NULL: nothing known is nothing seen."""
        return isinstance(self.node, Absent)

    def memory_step(self) -> int:
        """How long a step is, in seconds, in memory."""
        if not self.fold:
            return self.window_seconds
        return next((step for longest, step in _STEP_SECONDS if self.reach_seconds <= longest), _MINUTE)

    def period_seconds(self) -> int:
        """How often history is read for it."""
        return max(10, self.window_seconds // STEPS_MAX)


def fold_steps(view: View, values: Floats, step_seconds: float) -> Floats:
    """float64[groups]: the view's fold of float64[groups, steps], oldest first."""
    if not view.fold:
        return values[:, -1] if values.shape[1] else np.full(len(values), np.nan)
    is_known = ~np.isnan(values)
    counts = is_known.sum(axis=1)
    found = np.full(len(values), np.nan)
    some = counts > 0
    if view.fold == "count":
        return np.asarray(counts, np.float64)
    if some.any():
        found[some] = _FOLDS[view.fold](values[some], is_known[some], view, step_seconds)
    return np.where(np.isfinite(found), found, np.nan)


def sum_groups(values: Floats, places: NDArray[np.int64], groups: int) -> Floats:
    """float64[groups]: the sums of what is known of float64[series], whose groups are at int64[series]."""
    total = np.bincount(places, np.nan_to_num(values), groups)
    known = np.bincount(places, ~np.isnan(values), groups)
    return np.where(known > 0, total, np.nan)


def _mean(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = np.where(is_known, values, 0.0).sum(axis=1) / is_known.sum(axis=1)
    return found


def _sum(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = np.where(is_known, values, 0.0).sum(axis=1)
    return found


def _min(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = np.where(is_known, values, np.inf).min(axis=1)
    return found


def _max(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = np.where(is_known, values, -np.inf).max(axis=1)
    return found


def _stddev(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    apart = np.where(is_known, values - _mean(values, is_known, view, step)[:, None], 0.0)
    found: Floats = np.sqrt((apart * apart).sum(axis=1) / is_known.sum(axis=1))
    return found


def _first(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = values[np.arange(len(values)), is_known.argmax(axis=1)]
    return found


def _last(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = values[np.arange(len(values)), _newest(is_known)]
    return found


def _newest(is_known: NDArray[np.bool_]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = is_known.shape[1] - 1 - is_known[:, ::-1].argmax(axis=1)
    return found


def _delta(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = _last(values, is_known, view, step) - _first(values, is_known, view, step)
    return found


def _rate(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    """What it changed by in a second, from the first step to the last one that has a value; NULL with one only."""
    seconds = (_newest(is_known) - is_known.argmax(axis=1)) * step
    found: Floats = _delta(values, is_known, view, step) / np.where(seconds > 0, seconds, np.nan)
    return found


def _changes(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    """How often a step's value is another than that of the one before that has any."""
    steps = np.arange(values.shape[1])
    newest = np.maximum.accumulate(np.where(is_known, steps, -1), axis=1)[:, :-1]
    before = np.take_along_axis(values, np.maximum(newest, 0), axis=1)
    found: Floats = (is_known[:, 1:] & (newest >= 0) & (values[:, 1:] != before)).sum(axis=1).astype(np.float64)
    return found


def _ewma(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    """Each step weighs (1 − a) times the one after it, NULL or not; a = 2 / (steps + 1), or a half after each half
    life. The weights are scaled to 1 over those that have a value."""
    steps = values.shape[1]
    keeps = 0.5 ** (step / view.parameter) if view.parameter else 1 - 2 / (steps + 1)
    weights = keeps ** np.arange(steps - 1, -1, -1.0) * is_known
    found: Floats = (weights * np.where(is_known, values, 0.0)).sum(axis=1) / weights.sum(axis=1)
    return found


def _zscore(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    """How many standard deviations the newest step that has a value is above the mean of those before it. NULL where
    these are fewer than two, or all the same."""
    rows, newest = np.arange(len(values)), _newest(is_known)
    before = is_known.copy()
    before[rows, newest] = False
    enough = before.sum(axis=1) >= 2
    scores = np.full(len(values), np.nan)
    if enough.any():
        rest, here = values[enough], before[enough]
        spread = _stddev(rest, here, view, step)
        mean = _mean(rest, here, view, step)
        now = values[rows, newest][enough]
        scores[enough] = (now - mean) / np.where(spread > _SAME * np.abs(mean), spread, np.nan)
    found: Floats = scores
    return found


_SAME: Final = 1e-12  # a deviation of such a part of the mean is rounding


def _quantile(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = np.asarray(np.nanquantile(values, view.parameter, axis=1), np.float64)
    return found


def _share_gt(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = (is_known & (values > view.parameter)).sum(axis=1) / is_known.sum(axis=1)
    return found


def _share_le(values: Floats, is_known: NDArray[np.bool_], view: View, step: float) -> Floats:
    found: Floats = 1.0 - _share_gt(values, is_known, view, step)
    return found


_FOLDS: Final = {
    "avg": _mean,
    "moving_mean": _mean,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "stddev": _stddev,
    "first": _first,
    "last": _last,
    "delta": _delta,
    "rate": _rate,
    "changes": _changes,
    "ewma": _ewma,
    "zscore": _zscore,
    "quantile": _quantile,
    "share_gt": _share_gt,
    "share_le": _share_le,
}
FOLDS: Final = ("count", *_FOLDS)

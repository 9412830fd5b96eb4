"""Functions over windows: each reads the samples of (t − d, t] of every series, at every time at once.

A table of `(samples, windows) → (values, there)`, both [series, times]. A window is a range of slots (slots.py), so
sums and extremes are taken by ufunc.reduceat over slices: each window by itself, never by subtracting from a running
sum. What needs all samples of a window side by side (deviations, quantiles) gathers them, a few times at once.

Data: values float64[series, slots], NaN for no sample. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from hms_ops.prometheus.query.instant import Truths
from hms_ops.prometheus.query.slots import Floats, Windows

GATHERED_MAX: Final = 2_000_000  # numbers side by side at once

Found = tuple[Floats, Truths]
Over = Callable[[Floats, Windows], Found]


def reduced(ufunc: Any, values: Any, of: Windows, empty: float) -> Floats:
    """float[series, times]: a ufunc over the slots of each window; `empty` where there are none."""
    padded = np.concatenate([values, np.full((len(values), 1), empty)], axis=1)
    borders = np.stack([of.low, of.high], axis=1).reshape(-1)
    found: Floats = ufunc.reduceat(padded, borders, axis=1)[:, ::2]
    found[:, of.low >= of.high] = empty
    return found


def counted(values: Floats, of: Windows) -> Floats:
    """How many samples each window has."""
    return reduced(np.add, (~np.isnan(values)).astype(float), of, 0.0)


def sum_over_time(values: Floats, of: Windows) -> Found:
    return reduced(np.add, np.nan_to_num(values, nan=0.0), of, 0.0), counted(values, of) > 0


def count_over_time(values: Floats, of: Windows) -> Found:
    count = counted(values, of)
    return count, count > 0


def avg_over_time(values: Floats, of: Windows) -> Found:
    count = counted(values, of)
    total = reduced(np.add, np.nan_to_num(values, nan=0.0), of, 0.0)
    return total / np.where(count > 0, count, np.nan), count > 0


def min_over_time(values: Floats, of: Windows) -> Found:
    return reduced(np.fmin, values, of, np.nan), counted(values, of) > 0


def max_over_time(values: Floats, of: Windows) -> Found:
    return reduced(np.fmax, values, of, np.nan), counted(values, of) > 0


def present_over_time(values: Floats, of: Windows) -> Found:
    there = counted(values, of) > 0
    return there.astype(float), there


def last_over_time(values: Floats, of: Windows) -> Found:
    """The newest sample of each window."""
    place = newest_slot(values)[:, of.high]
    there = place >= of.low
    return np.where(there, np.take_along_axis(_padded(values), np.maximum(place, 0), axis=1), np.nan), there


def newest_slot(values: Floats) -> Any:
    """int64[series, slots + 1]: before each border, the last slot with a sample; -1 for none."""
    numbers = np.where(np.isnan(values), -1, np.arange(values.shape[1]))
    return np.concatenate([np.full((len(values), 1), -1), np.maximum.accumulate(numbers, axis=1)], axis=1)


def oldest_slot(values: Floats) -> Any:
    """int64[series, slots + 1]: from each slot on, the first with a sample; the number of slots for none."""
    count = values.shape[1]
    numbers = np.where(np.isnan(values), count, np.arange(count))
    ahead = np.minimum.accumulate(numbers[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([ahead, np.full((len(values), 1), count)], axis=1)


def _padded(values: Floats) -> Floats:
    return np.concatenate([values, np.full((len(values), 1), np.nan)], axis=1)


# ---- what looks at all samples of a window together


def gathered(values: Floats, of: Windows, fold: Callable[[Floats, slice], Floats]) -> Floats:
    """float64[series, times]: fold(samples float64[series, some times, width], which times) → [series, those times]."""
    width = int(np.max(of.high - of.low, initial=0))
    made = np.full((len(values), len(of.low)), np.nan)
    if not width or not len(values):
        return made
    padded, size = _padded(values), max(1, GATHERED_MAX // (width * len(values)))
    for first in range(0, len(of.low), size):
        some = slice(first, first + size)
        place = of.low[some, None] + np.arange(width)
        place = np.where(place < of.high[some, None], place, values.shape[1])
        made[:, some] = fold(padded[:, place], some)
    return made


def stdvar_over_time(values: Floats, of: Windows) -> Found:
    """Around the mean of the window itself, so that a large offset costs no digits."""

    def fold(samples: Floats, some: slice) -> Floats:
        has = ~np.isnan(samples)
        count = np.maximum(has.sum(axis=2), 1)
        mean = np.where(has, samples, 0.0).sum(axis=2) / count
        away = np.where(has, samples - mean[:, :, None], 0.0)
        found: Floats = (away * away).sum(axis=2) / count
        return found

    there = counted(values, of) > 0
    return np.where(there, gathered(values, of, fold), np.nan), there


def stddev_over_time(values: Floats, of: Windows) -> Found:
    found, there = stdvar_over_time(values, of)
    return np.sqrt(found), there


def quantile_over_time(ranks: Floats, values: Floats, of: Windows) -> Found:
    """ranks: float64[times]; between two samples a straight line, as PromQL has it."""
    there = counted(values, of) > 0
    found = gathered(values, of, lambda samples, some: quantiles(ranks[some], np.sort(samples, axis=2)))
    return np.where(there, found, np.nan), there


def quantiles(ranks: Floats, ordered: Floats) -> Floats:
    """float64[series, times] of samples float64[series, times, width], ascending, NaN last; ±Inf for ranks outside 0
    to 1."""
    count = (~np.isnan(ordered)).sum(axis=2)
    place = np.clip(ranks, 0.0, 1.0) * np.maximum(count - 1, 0)
    low = np.nan_to_num(np.floor(place)).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = (np.take_along_axis(ordered, at[:, :, None], axis=2)[:, :, 0] for at in (low, high))
    part = place - np.floor(place)
    found = below * (1 - part) + above * part
    return np.where(np.isnan(ranks), np.nan, np.where(ranks < 0, -np.inf, np.where(ranks > 1, np.inf, found)))


OVER_TIME: Final[Mapping[str, Over]] = {
    "sum_over_time": sum_over_time,
    "count_over_time": count_over_time,
    "avg_over_time": avg_over_time,
    "min_over_time": min_over_time,
    "max_over_time": max_over_time,
    "last_over_time": last_over_time,
    "present_over_time": present_over_time,
    "stddev_over_time": stddev_over_time,
    "stdvar_over_time": stdvar_over_time,
}

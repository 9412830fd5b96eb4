"""rate, increase, irate and delta, of two sorts of series.

What adds up (counters, `_sum`, `_count`, `_bucket`): a sample is what came in its row, not a running total. So

    increase(x[d])   the sum of the rows of (t − d, t]; its part for d, where they are more seconds than that
    rate(x[d])       the same by the seconds that these rows cover
    irate(x[d])      the newest row by its seconds

and nothing is extrapolated, a counter that begins anew needs no correction, and a series that is silent, but was seen,
counts 0. All else is a gauge, and may be somebody's running total: it gets Prometheus' own `extrapolatedRate`, resets
and the way to the window's borders included.

Data: values float64[series, slots], NaN for no sample. Pure. Source: prometheus/promql/functions.go.
"""

from typing import Any, Final

import numpy as np

from hms_ops.prometheus.query.reader import Samples
from hms_ops.prometheus.query.slots import Floats, Windows
from hms_ops.prometheus.query.windows import Found, newest_slot, oldest_slot, reduced

BORDER: Final = 1.1  # of the mean distance of samples: how far a border may be off for a series to reach to it


def added(function: str, samples: Samples, of: Windows) -> Found:
    """rate, increase and irate of what adds up."""
    there = (samples.since[:, None] < of.high) & (samples.until[:, None] >= of.low) & (of.low < of.high)
    filled, covered = np.nan_to_num(samples.values, nan=0.0), samples.slots.covered
    if function == "irate":
        newest = np.maximum(of.high - 1, 0)[None]
        return _by(_at(filled, newest.repeat(len(filled), axis=0)), _at(covered[None], newest)), there
    total = reduced(np.add, filled, of, 0.0)
    seconds = reduced(np.add, covered[None], of, 0.0)[0]
    if function == "rate":
        return _by(total, seconds), there
    return total * np.minimum(1.0, of.asked_ms / 1000 / np.where(seconds > 0, seconds, np.nan)), there


def _by(total: Floats, seconds: Floats) -> Floats:
    return total / np.where(seconds > 0, seconds, np.nan)


def extrapolated(function: str, samples: Samples, of: Windows) -> Found:
    """rate, increase and delta of a gauge's samples, as Prometheus has them: two samples at least."""
    values = samples.values
    first, last = oldest_slot(values)[:, of.low], newest_slot(values)[:, of.high]
    there = last > first
    first, last = np.where(there, first, 0), np.where(there, last, 0)
    change = _at(values, last) - _at(values, first)
    if function != "delta":
        drops = _drops(values)
        change = change + reduced(np.add, drops, of, 0.0) - _at(drops, first)
    share = _share(function != "delta", samples, of, (first, last), change)
    if function == "rate":
        share = share / (of.ms / 1000)
    return np.where(there, change * share, np.nan), there


def instantaneous(samples: Samples, of: Windows) -> Found:
    """irate of a gauge's samples: the last two of the window."""
    values, newest = samples.values, newest_slot(samples.values)
    last = newest[:, of.high]
    before = np.take_along_axis(newest, np.maximum(last, 0), axis=1)
    there = (before >= of.low) & (last > before)
    first, last = np.where(there, before, 0), np.where(there, last, 0)
    one, other = _at(values, first), _at(values, last)
    seconds = (samples.slots.stamps[last] - samples.slots.stamps[first]) / 1000 if len(samples.slots.stamps) else one
    return np.where(there, (other - np.where(other < one, 0.0, one)) / np.where(there, seconds, 1.0), np.nan), there


def _share(is_counter: bool, samples: Samples, of: Windows, at: tuple[Any, Any], change: Floats) -> Floats:
    """How much longer than from the first to the last sample of the window the change is taken to have gone on."""
    stamps, (first, last) = samples.slots.stamps, at
    if not len(stamps):
        return change
    count = reduced(np.add, (~np.isnan(samples.values)).astype(float), of, 0.0)
    sampled = (stamps[last] - stamps[first]) / 1000
    mean = sampled / np.maximum(count - 1, 1)
    to_start = (stamps[first] - (of.ends - of.ms)) / 1000
    to_end = (of.ends - stamps[last]) / 1000
    if is_counter:
        start = _at(samples.values, first)
        to_zero = sampled * start / np.where(change > 0, change, np.nan)
        to_start = np.where((change > 0) & (start >= 0) & (to_zero < to_start), to_zero, to_start)
    reach = mean * BORDER
    longer = sampled + np.where(to_start < reach, to_start, mean / 2) + np.where(to_end < reach, to_end, mean / 2)
    found: Floats = longer / np.where(sampled > 0, sampled, np.nan)
    return found


def _drops(values: Floats) -> Floats:
    """What a counter had before each sample that is less than the one before."""
    before = newest_slot(values)[:, :-1]
    earlier = np.where(before >= 0, np.take_along_axis(values, np.maximum(before, 0), axis=1), np.nan)
    return np.where(values < earlier, earlier, 0.0)


def _at(values: Floats, place: Any) -> Floats:
    if not values.shape[1]:
        return np.full(place.shape, np.nan)
    found: Floats = np.take_along_axis(values, place, axis=1)
    return found

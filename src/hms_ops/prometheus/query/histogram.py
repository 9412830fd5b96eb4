"""histogram_quantile: a percentile read off cumulative buckets, `le` by `le`, interpolated as Prometheus does it.

Pure. Source: prometheus/promql/quantile.go, classic histograms.
"""

import numpy as np

from hms_ops.prometheus.query.instant import Instant, Key, Truths, key_of
from hms_ops.prometheus.query.slots import Floats
from hms_ops.prometheus.selection import NAME
from hms_ops.remote.labels import LE


def histogram_quantile(ranks: Floats, found: Instant) -> Instant:
    """ranks: float64[times]. One element for each set of labels but `le`; NaN without a bucket +Inf."""
    groups: dict[Key, list[tuple[float, int]]] = {}
    for row, labels in enumerate(found.labels):
        bound = bound_of(labels.get(LE, ""))
        if not np.isnan(bound):
            groups.setdefault(key_of(labels, (NAME, LE)), []).append((bound, row))
    values = np.full((len(groups), found.values.shape[1]), np.nan)
    there = np.zeros(values.shape, bool)
    for n, buckets in enumerate(groups.values()):
        buckets.sort()
        rows = [row for _, row in buckets]
        there[n] = found.there[rows].any(axis=0)
        bounds = np.array([bound for bound, _ in buckets])
        values[n] = _quantile(ranks, bounds, found.values[rows], found.there[rows])
    return Instant([dict(key) for key in groups], values, there)


def bound_of(text: str) -> float:
    """The number of an `le`; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def _quantile(ranks: Floats, bounds: Floats, counts: Floats, there: Truths) -> Floats:
    """float64[times] of counts float64[buckets, times] up to each bound."""
    if len(bounds) < 2 or bounds[-1] != np.inf:
        return np.full(len(ranks), np.nan)
    counts = np.maximum.accumulate(np.where(there, counts, 0.0), axis=0)
    total = counts[-1]
    rank = ranks * total
    bucket = np.minimum((counts[:-1] < rank).sum(axis=0), len(bounds) - 1)
    is_last = bucket == len(bounds) - 1
    at = np.arange(len(ranks))
    below = np.where(bucket > 0, counts[bucket - 1, at], 0.0)
    start = np.where(bucket > 0, bounds[bucket - 1], 0.0)
    end = np.where(is_last, bounds[-2], bounds[bucket])
    inside = counts[bucket, at] - below
    value = start + (end - start) * (rank - below) / np.where(inside > 0, inside, np.nan)
    value = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], value)
    value = np.where(is_last, bounds[-2], value)
    value = np.where((total == 0) | np.isnan(ranks), np.nan, value)
    return np.where(ranks < 0, -np.inf, np.where(ranks > 1, np.inf, value))

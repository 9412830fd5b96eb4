"""PromQL's functions over windows, one sample after the other: the twin of hms_ops.prometheus.query.windows and rates.

A series is a list of (stamp in ms, value), a window is (end − ms, end]. None is no element.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

Samples = Sequence[tuple[int, float]]


def inside(samples: Samples, end: int, ms: int) -> list[tuple[int, float]]:
    return [(stamp, value) for stamp, value in samples if end - ms < stamp <= end]


def over_time(name: str, samples: Samples, end: int, ms: int) -> float | None:
    values = [value for _, value in inside(samples, end, ms)]
    return FOLDS[name](values) if values else None


FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum_over_time": math.fsum,
    "count_over_time": len,
    "avg_over_time": lambda values: math.fsum(values) / len(values),
    "min_over_time": min,
    "max_over_time": max,
    "last_over_time": lambda values: values[-1],
    "present_over_time": lambda values: 1.0,
    "stddev_over_time": statistics.pstdev,
    "stdvar_over_time": statistics.pvariance,
}


def quantile(rank: float, values: Sequence[float]) -> float:
    """prometheus/promql/quantile.go."""
    if math.isnan(rank):
        return math.nan
    if not 0 <= rank <= 1:
        return math.copysign(math.inf, rank - 0.5)
    ordered = sorted(values)
    place = rank * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (place - low)) + ordered[high] * (place - low)


def extrapolated(name: str, samples: Samples, end: int, ms: int) -> float | None:
    """prometheus/promql/functions.go, extrapolatedRate."""
    found = inside(samples, end, ms)
    if len(found) < 2:
        return None
    change = found[-1][1] - found[0][1]
    if name != "delta":
        change += sum(one for (_, one), (_, other) in pairwise(found) if other < one)
    to_start, to_end = (found[0][0] - (end - ms)) / 1000, (end - found[-1][0]) / 1000
    sampled = (found[-1][0] - found[0][0]) / 1000
    mean = sampled / (len(found) - 1)
    if name != "delta" and change > 0 and found[0][1] >= 0:
        to_start = min(to_start, sampled * found[0][1] / change)
    reach = mean * 1.1
    longer = sampled + (to_start if to_start < reach else mean / 2) + (to_end if to_end < reach else mean / 2)
    change *= longer / sampled
    return change / (ms / 1000) if name == "rate" else change


def instantaneous(samples: Samples, end: int, ms: int) -> float | None:
    """prometheus/promql/functions.go, instantValue."""
    found = inside(samples, end, ms)
    if len(found) < 2:
        return None
    (first, one), (last, other) = found[-2:]
    return (other if other < one else other - one) / ((last - first) / 1000)

"""The twin of kernels.window and kernels.rollup, working from raw samples, and the columns a store would show for them.

`Samples` maps a series slot to float64[n, 3]: second, value, weight, ordered by arrival. The twin never looks at stored
steps, except for two things the design makes visible: where a window starts, and which samples a gauge's DELTA can see.
"""

import numpy as np
from numpy.typing import NDArray

Samples = dict[int, NDArray[np.float64]]

STEPS = (1, 10, 60)
STORED = (60, 61, 61)  # valid rows of each tier
GARBAGE = (np.nan, 1e300, -1e300, np.inf)  # what fields hold where COUNT is 0


def window_start(seconds: int, end: int, first_second: int) -> int:
    step = 1 if seconds <= 60 else 10 if seconds <= 600 else 60
    return max((end - seconds) // step * step, first_second)


def aggregate(samples: NDArray[np.float64]) -> list[float]:
    """COUNT, SUM, M2, MIN, MAX, LAST of float64[n, 3], by their definitions."""
    value, weight = samples[:, 1], samples[:, 2]
    if len(samples) == 0:
        return [0.0, 0.0, 0.0, np.nan, np.nan, np.nan]
    mean = np.average(value, weights=weight)
    m2 = float(np.sum(weight * (value - mean) ** 2))
    return [weight.sum(), (weight * value).sum(), m2, value.min(), value.max(), value[-1]]


def between(samples: NDArray[np.float64], start: int, end: int) -> NDArray[np.float64]:
    return samples[(samples[:, 0] >= start) & (samples[:, 0] < end)]


def columns(samples: Samples, capacity: int, end: int) -> tuple[NDArray[np.float64], ...]:
    """(cols, last_value, last_second) as the store shows them after second end - 1 was sealed."""
    cols = np.resize(np.array(GARBAGE), (3, 6, 64, capacity))
    cols[:, 0] = 0.0
    last_value, last_second = np.zeros(capacity), np.zeros(capacity, np.int64)
    for slot, all_samples in samples.items():
        known = all_samples[all_samples[:, 0] < end]
        if len(known):
            newest = np.flatnonzero(known[:, 0] == known[:, 0].max())[-1]
            last_second[slot], last_value[slot] = known[newest, 0], known[newest, 1]
        for tier, (step, stored) in enumerate(zip(STEPS, STORED, strict=True)):
            closed = end // step
            for index in range(closed - stored, closed):
                inside = between(known, index * step, (index + 1) * step)
                if len(inside):
                    cols[tier, :, index % 64, slot] = aggregate(inside)
    return cols, last_value, last_second


def stats(samples: Samples, members: list[int], kind: str, start: int, end: int) -> list[float]:
    """The eight statistics of one group of series over [start, end)."""
    known = {m: between(samples.get(m, np.empty((0, 3))), 0, end) for m in members}
    seen = [m for m in members if len(known[m])]
    inside = [between(known[m], start, end) for m in seen]
    pooled = np.concatenate([*inside, np.empty((0, 3))])
    count, total, m2, low, high, _ = aggregate(pooled)
    delta = _delta([known[m] for m in seen], start, end) if kind == "gauge" else np.nan
    return [count, total, m2, low, high, _last([known[m] for m in seen], kind, start, end), delta, len(seen)]


def _last(known: list[NDArray[np.float64]], kind: str, start: int, end: int) -> float:
    if kind == "counter":
        return sum(aggregate(between(one, end - 1, end))[1] for one in known) if known else np.nan
    oldest = end - 300 if kind == "gauge" else start
    fresh = [one[-1] for one in known if one[-1, 0] >= oldest]
    return max(fresh, key=lambda sample: sample[0])[1] if fresh else np.nan


def _delta(known: list[NDArray[np.float64]], start: int, end: int) -> float:
    """Σ (last - base), base being the last value before the window if a stored step can show it."""
    fresh = [one for one in known if one[-1, 0] >= end - 300]
    changes = [0.0 if one[-1, 0] < start else one[-1, 1] - _base(one, start, end) for one in fresh]
    return sum(changes) if changes else np.nan


def _base(one: NDArray[np.float64], start: int, end: int) -> float:
    """Walk back step by step; a step's last is the value before the window only if no sample of it is in the window."""
    at = start
    while at > start - 300 and (step := _stored_step(at - 1, end)):
        begin = (at - 1) // step * step
        before, after = between(one, begin, at), between(one, at, begin + step)
        if len(before) and not len(after):
            return float(before[-1, 1])
        if len(before):
            break
        at = begin
    return next(float(inside[-1, 1]) for span in steps(start, end) if len(inside := between(one, *span)))


def _stored_step(second: int, end: int) -> int:
    return next((n for n, stored in zip(STEPS, STORED, strict=True) if second >= (end // n - stored) * n), 0)


def steps(start: int, end: int) -> list[tuple[int, int]]:
    """The steps a window is read from, oldest first; where the engine started inside a stored step, from its start."""
    spans = []
    at = start - start % _stored_step(start, end)
    while at < end:
        step = next(n for n in (60, 10, 1) if at % n == 0 and at + n <= end)
        spans.append((at, at + step))
        at += step
    return spans

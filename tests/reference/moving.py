"""The twins of kernels.moving: each row's window looked at anew, with exactly rounded sums."""

import math

import numpy as np
from numpy.typing import NDArray


def move_mean(a: NDArray[np.float64], window: int, min_count: int) -> NDArray[np.float64]:
    out = np.full(a.shape, np.nan)
    for t, s in np.ndindex(*a.shape):
        seen = [x for x in a[max(0, t + 1 - window) : t + 1, s] if not math.isnan(x)]
        if len(seen) >= min_count:
            out[t, s] = sum(seen) / len(seen) if any(map(math.isinf, seen)) else math.fsum(seen) / len(seen)
    return out


def move_ewma(a: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    out = np.full(a.shape, np.nan)
    for t, s in np.ndindex(*a.shape):
        seen = [k for k in range(t + 1) if not math.isnan(a[k, s])]
        weights = [(1 - alpha) ** (seen[-1] - k) for k in seen]
        if seen:
            out[t, s] = np.dot(weights, a[seen, s]) / sum(weights)
    return out

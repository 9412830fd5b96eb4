"""Rows as a fleet makes them: 35 % constant or sparse, 25 % slow, 20 % integers, 15 % gauges, 5 % latencies.

The series of one sort stand side by side, as ids do that were given in the order of names. `samples` a step: ten, so
that sum, min, max and last differ, or one. Values are what clients send: decimals, rounded once, and summed as doubles.

    constant  26 %  a size, a limit, a version: the same always
    sparse     9 %  an error counter: in one step of twenty, a few events
    slow      25 %  a disk or a heap in percent, two decimals: a step of 0.01 up or down in every fifth sample
    integers  20 %  a queue, connections, requests a second: wandering around a level, noise of its square root
    gauges    15 %  CPU in percent, two decimals: around a level, with noise of 3 to 30 % of it, as long as a minute
    latencies  5 %  milliseconds with three decimals: lognormal, sigma 0.6
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Columns = NDArray[np.float64]

SHARES: Final = {"constant": 0.26, "sparse": 0.09, "slow": 0.25, "integers": 0.20, "gauges": 0.15, "latencies": 0.05}
MEMORY: Final = 0.85
"""How much of a wandering level's distance is left after a step."""


class Fleet:
    """Steps of `series` series one after another; the same for the same seed."""

    def __init__(self, series: int, samples: int = 10, seed: int = 1, only: str | None = None) -> None:
        self.samples = samples
        self._random = np.random.default_rng(seed)
        shares = SHARES if only is None else {only: 1.0}
        ends = np.round(np.cumsum(list(shares.values())) * series).astype(int)
        self._parts = dict(zip(shares, np.split(np.arange(series), ends[:-1]), strict=True))
        self._level = {sort: self._first_levels(sort, len(part)) for sort, part in self._parts.items()}
        self._away = {sort: np.zeros(len(part)) for sort, part in self._parts.items()}
        self._noise = self._random.uniform(0.03, 0.3, series)
        self.series = series

    def step(self) -> Columns:
        """float64[6, series]: count, sum, m2, min, max, last; COUNT 0 where nothing came."""
        columns = np.zeros((6, self.series))
        for sort, part in self._parts.items():
            if len(part):
                columns[:, part] = rows_of(getattr(self, f"_{sort}")(len(part), self._level[sort]))
                if sort == "sparse":
                    columns[:, part] *= self._random.random(len(part)) < 0.05
        return columns

    def _first_levels(self, sort: str, n: int) -> Samples:
        if sort == "constant":
            return self._random.choice([0.0, 1.0, 4.0, 16.0, 100.0, 1024.0, 65536.0, 0.75, 99.9], n)
        if sort in ("slow", "gauges"):
            return np.round(self._random.uniform(5, 80, n), 2)
        return np.round(self._random.lognormal(4, 1, n) + 1)

    def _constant(self, n: int, level: Samples) -> Samples:
        return level[:, None].repeat(self.samples, axis=1)

    def _sparse(self, n: int, level: Samples) -> Samples:
        return np.ones((n, self.samples))

    def _slow(self, n: int, level: Samples) -> Samples:
        moves = self._random.integers(-1, 2, (n, self.samples)) * (self._random.random((n, self.samples)) < 0.2)
        values = np.round(level[:, None] + np.cumsum(moves, axis=1) * 0.01, 2)
        level[:] = values[:, -1]
        return values

    def _wander(self, sort: str, n: int, step: Samples) -> Samples:
        away = self._away[sort]
        away *= MEMORY
        away += step * self._random.standard_normal(n)
        return away

    def _integers(self, n: int, level: Samples) -> Samples:
        around = np.maximum(level + self._wander("integers", n, np.sqrt(level)), 0)
        return self._random.poisson(around[:, None], (n, self.samples)).astype(float)

    def _gauges(self, n: int, level: Samples) -> Samples:
        spread = self._noise[:n] * level
        around = level + self._wander("gauges", n, spread * 0.5)
        noise = self._random.standard_normal((n, self.samples)) * (spread * 0.5)[:, None]
        return np.round(np.clip(around[:, None] + noise, 0, 100), 2)

    def _latencies(self, n: int, level: Samples) -> Samples:
        return np.round(level[:, None] * self._random.lognormal(0, 0.6, (n, self.samples)), 3)


def rows_of(samples: Samples) -> Columns:
    """float64[6, n] of samples float64[n, k], summed one after another as the store does."""
    k = samples.shape[1]
    total = np.cumsum(samples, axis=1)[:, -1]
    mean = total / k
    m2 = np.where(k > 1, ((samples - mean[:, None]) ** 2).sum(axis=1), 0.0)
    return np.array(
        [np.full(len(samples), float(k)), total, m2, samples.min(axis=1), samples.max(axis=1), samples[:, -1]]
    )


def uniform_gauges(series: int, steps: int, samples: int = 10, seed: int = 1) -> Columns:
    """float64[6, steps, series]: two decimals, even over 0 to 100 and without memory: the worst a gauge can do."""
    random = np.random.default_rng(seed)
    rows = [rows_of(np.round(random.uniform(0, 100, (series, samples)), 2)) for _ in range(steps)]
    return np.stack(rows, axis=1)


def full_entropy(series: int, steps: int, samples: int = 10, seed: int = 1) -> Columns:
    """float64[6, steps, series]: doubles with all 53 bits of noise."""
    random = np.random.default_rng(seed)
    return np.stack([rows_of(random.lognormal(4, 0.6, (series, samples))) for _ in range(steps)], axis=1)

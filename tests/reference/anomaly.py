"""The twin of the moving-mean detector: one series, one rule, raw samples, the sentences of anomaly.moving_mean."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tests.reference.windows import between


@dataclass
class Watch:
    """One series under one rule."""

    factor: float = 2.0
    window_seconds: int = 600
    on: str = "mean"
    start_seconds: int = 1
    min_samples: float = 10.0
    min_difference: float = 0.0
    judged: deque[bool] = field(default_factory=lambda: deque(maxlen=5))
    since: int | None = None
    frozen: float = 0.0
    is_held: bool = False

    def judge(self, samples: NDArray[np.float64], second: int, window_start: int) -> list[str]:
        """The events of one second; `samples` float64[n, 3] as in reference.windows."""
        now, before = between(samples, second, second + 1), between(samples, window_start, second)
        if len(now) == 0:
            return []
        value = now[:, 1].max() if self.on == "max" else np.average(now[:, 1], weights=now[:, 2])
        baseline, enough = self._baseline(before, second)
        is_high = value > self.factor * baseline and value - baseline >= self.min_difference
        self.judged.append(bool(enough and baseline > 0 and is_high))
        return self._follow(second, baseline)

    def _baseline(self, before: NDArray[np.float64], second: int) -> tuple[float, bool]:
        if self.since is not None and second - self.since < 600:
            return self.frozen, True
        if len(before) == 0:
            return np.nan, False
        return float(np.average(before[:, 1], weights=before[:, 2])), before[:, 2].sum() >= self.min_samples

    def _follow(self, second: int, baseline: float) -> list[str]:
        events = []
        if self.since is None and self.judged[-1] and sum(self.judged) >= self.start_seconds:
            self.since, self.frozen = second, baseline
            events.append("started")
        if self.since is not None and not self.is_held and sum(self.judged) >= 3:
            self.is_held = True
            events.append("held")
        if self.since is not None and not any(self.judged):
            self.since, self.is_held = None, False
            events.append("ended")
        return events

"""What the kernels take of a tick: windows, rollups and the anomaly rule, over 100,000 and 1,000,000 series.

    python -m pytest benchmarks/bench_tick_kernels.py

Every series has three samples in every second. The contender of each question is the same in numpy on the same columns,
and of all of them the limit: reading those columns once, sequentially, with nothing but an addition (`read`).
`ns_per_series` is the median; `gb_per_s` counts the bytes of the columns that the question needs.
Needs about 5 GB of memory for the million.
"""

import gc
import os
import platform
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.anomaly.moving_mean import Detector, MovingMeanRule
from hms_ops.kernels.rollup import rollup_step
from hms_ops.kernels.window import COUNT, M2, MAX, MIN, SCRATCH_ROWS, SUM, cover, window_groups

ROUNDS = 9
FIRST = 1_700_000_000 - 1_700_000_000 % 60
END = FIRST + 7200 + 57  # late in a minute: windows end in many single seconds
VALUE, PER_SECOND = 100.0, 3.0
WINDOWS = (60, 600, 3600)
ALL_FIELDS = 1 << SUM | 1 << M2 | 1 << MIN | 1 << MAX


class Fleet(NamedTuple):
    """The store's columns; every row of every tier is filled."""

    cols: NDArray[np.float64]
    last_value: NDArray[np.float64]
    last_second: NDArray[np.int64]

    @property
    def series(self) -> int:
        return len(self.last_value)


@pytest.fixture(scope="module", params=[100_000, 1_000_000], ids=["100,000 series", "1,000,000 series"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    n = request.param
    cols = np.zeros((3, 6, 64, n))
    for tier, step in enumerate((1, 10, 60)):
        cols[tier, COUNT] = PER_SECOND * step
        cols[tier, SUM] = PER_SECOND * step * VALUE
        cols[tier, MIN:] = VALUE
    yield Fleet(cols, np.full(n, VALUE), np.full(n, END - 1))
    del cols
    gc.collect()


def tell(benchmark: Any, series: int, numbers: int) -> None:
    seconds = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        ms=round(seconds * 1e3, 2),
        ns_per_series=round(seconds / series * 1e9, 2),
        gb_per_s=round(numbers * series * 8 / seconds / 1e9, 2),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(
        f"\n{benchmark.name}: {seconds * 1e3:.2f} ms, {seconds / series * 1e9:.1f} ns a series, "
        f"{numbers * series * 8 / seconds / 1e9:.1f} GB/s"
    )


class Window:
    """One window over all series, with one group of them all or one for each."""

    def __init__(self, fleet: Fleet, seconds: int, mask: int, per_series: bool) -> None:
        n = fleet.series
        tiers, slots, covered = cover(END - seconds, END, FIRST)
        groups = n if per_series else 1
        member = np.arange(n, dtype=np.int32)
        self.rows = len(tiers)
        self.covered = covered
        self.stats = np.empty((groups, 8))
        self._arguments = (
            *(fleet.cols, fleet.last_value, fleet.last_second, END, FIRST),
            *(tiers, slots, np.array([0, len(tiers)]), np.array([covered]), np.array([mask])),
            *(member, np.array([0]), np.array([n]), member),
            *((np.arange(n), np.arange(1, n + 1)) if per_series else (np.array([0]), np.array([n]))),
            *(np.zeros(groups, np.int64), np.full(groups, kinds.TIMER, np.int8)),
            *(np.empty((SCRATCH_ROWS, n)), self.stats),
        )

    def run(self) -> None:
        window_groups(*self._arguments)


def numpy_means(fleet: Fleet, start: int, end: int) -> NDArray[np.float64]:
    tiers, slots, _ = cover(start, end, FIRST)
    count, total = np.zeros(fleet.series), np.zeros(fleet.series)
    for tier, slot in zip(tiers, slots, strict=True):
        seen = fleet.cols[tier, COUNT, slot]
        count += seen
        total += np.where(seen > 0, fleet.cols[tier, SUM, slot], 0.0)
    return total / count


@pytest.mark.benchmark(group="avg of all series over a window")
@pytest.mark.parametrize("seconds", WINDOWS)
@pytest.mark.parametrize("shape", ["one group", "a group each", "every field"])
def test_window(benchmark: Any, fleet: Fleet, seconds: int, shape: str) -> None:
    fields = ALL_FIELDS if shape == "every field" else 1 << SUM
    window = Window(fleet, seconds, fields, shape == "a group each")
    benchmark.pedantic(window.run, rounds=ROUNDS, warmup_rounds=1)
    np.testing.assert_allclose(window.stats[:, SUM] / window.stats[:, COUNT], VALUE)
    np.testing.assert_allclose(window.stats[:, COUNT].sum(), window.covered * PER_SECOND * fleet.series)
    tell(benchmark, fleet.series, window.rows * (5 if shape == "every field" else 2))


@pytest.mark.benchmark(group="avg of all series over a window")
@pytest.mark.parametrize("seconds", WINDOWS)
def test_window_in_numpy(benchmark: Any, fleet: Fleet, seconds: int) -> None:
    mean = benchmark.pedantic(numpy_means, (fleet, END - seconds, END), rounds=3, warmup_rounds=1)
    np.testing.assert_allclose(mean, VALUE)
    tell(benchmark, fleet.series, len(cover(END - seconds, END, FIRST)[0]) * 2)


@pytest.mark.benchmark(group="avg of all series over a window")
@pytest.mark.parametrize("seconds", WINDOWS)
def test_window_read(benchmark: Any, fleet: Fleet, seconds: int) -> None:
    tiers, slots, _ = cover(END - seconds, END, FIRST)
    rows = [fleet.cols[t, field, s] for t, s in zip(tiers, slots, strict=True) for field in (COUNT, SUM)]
    benchmark.pedantic(lambda: [row.sum() for row in rows], rounds=ROUNDS, warmup_rounds=1)
    tell(benchmark, fleet.series, len(rows))


@pytest.mark.benchmark(group="rollup of all series")
@pytest.mark.parametrize("tier", [1, 2], ids=["10 s", "1 min"])
def test_rollup(benchmark: Any, fleet: Fleet, tier: int) -> None:
    step = (1, 10, 60)[tier]
    benchmark.pedantic(rollup_step, (fleet.cols, tier, END // step - 1, fleet.series), rounds=ROUNDS, warmup_rounds=1)
    row = fleet.cols[tier, :, (END // step - 1) % 64]
    assert (row[COUNT] == PER_SECOND * step).all()
    np.testing.assert_allclose(row[SUM], PER_SECOND * step * VALUE)
    tell(benchmark, fleet.series, ((10, 6)[tier - 1] + 1) * 6)


@pytest.mark.benchmark(group="the anomaly rule on every series, baseline of 10 min")
@pytest.mark.parametrize("members", ["all", "every other"])
def test_anomaly_rule(benchmark: Any, fleet: Fleet, members: str) -> None:
    detector = Detector(MovingMeanRule("finance.anomaly", "finance.api_ms"))
    watched = np.arange(0, fleet.series, 1 if members == "all" else 2, dtype=np.int32)
    detector.bind(watched)
    strange = watched[[0, len(watched) // 2, -1]]
    assert benchmark.pedantic(detector.judge, (fleet.cols, END, FIRST), rounds=ROUNDS, warmup_rounds=1) == []
    fleet.cols[0, SUM, (END - 1) % 64, strange] *= 3
    assert [event.slot for event in detector.judge(fleet.cols, END, FIRST)] == strange.tolist()
    fleet.cols[0, SUM, (END - 1) % 64, strange] /= 3
    tell(benchmark, len(watched), (len(cover(END - 601, END - 1, FIRST)[0]) + 1) * 2)


@pytest.mark.benchmark(group="the anomaly rule on every series, baseline of 10 min")
def test_anomaly_rule_in_numpy(benchmark: Any, fleet: Fleet) -> None:
    def judge() -> NDArray[np.intp]:
        baseline = numpy_means(fleet, END - 601, END - 1)
        slot = (END - 1) % 64
        value = fleet.cols[0, SUM, slot] / fleet.cols[0, COUNT, slot]
        return np.flatnonzero(value > 2 * baseline)

    assert len(benchmark.pedantic(judge, rounds=3, warmup_rounds=1)) == 0
    tell(benchmark, fleet.series, (len(cover(END - 601, END - 1, FIRST)[0]) + 1) * 2)

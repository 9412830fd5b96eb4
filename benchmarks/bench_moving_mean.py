"""The moving mean over float64[time, series] against a plain copy of the matrix and the libraries one would take.

    python -m pytest benchmarks/bench_moving_mean.py

Each contender has the layout it likes best: ours and the copy series side by side, `out` given; bottleneck and numbagg
time side by side too, beside bottleneck along axis 0 of our layout. Every result is checked against the reference at
samples of the matrix. `ns_per_element` is the median; `copies` divides it by a copy measured in turn with it, so that
both see the same machine. Shapes: ten minutes of 1,000 series (in cache) and an hour of 1,000 series (not in cache).
"""

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import bottleneck
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import moving as reference

from hms_ops.kernels.moving import move_mean

ROUNDS = 15
SHAPES = {"10 min × 1,000 series": (600, 1000), "1 h × 1,000 series": (3600, 1000)}
WINDOWS = (60, 600)
GAPS = {"no gaps": 0.0, "a tenth missing": 0.1}
CASES = [
    pytest.param(shape, window, gaps, id=f"{shape}, window {window}, {gaps}", marks=pytest.mark.benchmark(group=group))
    for shape in SHAPES
    for window in WINDOWS
    for gaps in GAPS
    for group in [f"moving mean of {window} s, {shape}, {gaps}"]
]


class Contender(NamedTuple):
    """`run(window)` computes; `result()` is float64[time, series] afterwards."""

    run: Callable[[int], Any]
    result: Callable[[], NDArray[np.float64]]


def ours(a: NDArray[np.float64]) -> Contender:
    out = np.empty_like(a)
    return Contender(lambda window: move_mean(a, window, 1, out), lambda: out)


def bottleneck_time_major(a: NDArray[np.float64]) -> Contender:
    kept: list[NDArray[np.float64]] = []
    return Contender(
        lambda window: kept.__setitem__(slice(None), [bottleneck.move_mean(a, window, 1, 0)]), lambda: kept[0]
    )


def bottleneck_series_major(a: NDArray[np.float64]) -> Contender:
    turned = np.ascontiguousarray(a.T)
    kept: list[NDArray[np.float64]] = []
    return Contender(
        lambda window: kept.__setitem__(slice(None), [bottleneck.move_mean(turned, window, 1, 1)]), lambda: kept[0].T
    )


def numbagg_series_major(a: NDArray[np.float64]) -> Contender:
    numbagg = pytest.importorskip("numbagg", reason="numbagg is not installed: pip install -e .[bench]")
    turned = np.ascontiguousarray(a.T)
    kept: list[NDArray[np.float64]] = []

    def run(window: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept[:] = [numbagg.move_mean(turned, window=window, min_count=1)]

    return Contender(run, lambda: kept[0].T)


CONTENDERS = {
    "ours": ours,
    "bottleneck, its layout": bottleneck_series_major,
    "bottleneck, our layout": bottleneck_time_major,
    "numbagg, its layout": numbagg_series_major,
}


def make_matrix(shape: str, gaps: str) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    a = rng.normal(100, 10, SHAPES[shape])
    a[rng.random(a.shape) < GAPS[gaps]] = np.nan
    return a


def assert_right(got: NDArray[np.float64], a: NDArray[np.float64], window: int) -> None:
    few = [0, 499, 999]
    np.testing.assert_allclose(got[-700:, few], reference.move_mean(a[:, few], window, 1)[-700:], rtol=1e-9)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize(("shape", "window", "gaps"), CASES)
def test_moving_mean(benchmark: Any, contender: str, shape: str, window: int, gaps: str) -> None:
    a = make_matrix(shape, gaps)
    entrant = CONTENDERS[contender](a)
    copied, copies = np.empty_like(a), []

    def copy() -> None:
        start = time.perf_counter()
        np.copyto(copied, a)
        copies.append(time.perf_counter() - start)

    benchmark.pedantic(entrant.run, (window,), setup=copy, rounds=ROUNDS, warmup_rounds=2)
    assert_right(entrant.result(), a, window)
    seconds, copy_seconds = statistics.median(benchmark.stats.stats.data), statistics.median(copies)
    benchmark.extra_info.update(
        ns_per_element=round(seconds / a.size * 1e9, 3),
        copy_ns_per_element=round(copy_seconds / a.size * 1e9, 3),
        copies=round(seconds / copy_seconds, 2),
        elements_per_s=round(a.size / seconds),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(
        f"\n{contender:22} {shape}, window {window}, {gaps}: {seconds / a.size * 1e9:.2f} ns an element, "
        f"copy {copy_seconds / a.size * 1e9:.2f}, {seconds / copy_seconds:.1f} copies"
    )

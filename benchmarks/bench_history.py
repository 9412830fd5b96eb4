"""How fast history is written and read, and what it takes on disk.

    python -m pytest benchmarks/bench_history.py [--basetemp DIR]

Appends one 10-s step, commit included, beside the same rows as one plain LMDB value of 52 bytes a row with the same
sync; reads 24 h of one series, and an hour of each of 64. Every result is checked. The rows are a fleet mix: 35 %
constant, 25 % slow, 20 % integers, 15 % two-decimal gauges, 5 % latencies. `--basetemp` must be on the disk that
counts: a tmpfs syncs for free.
"""

import os
import platform
import statistics
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hms_ops.storage import keys
from hms_ops.storage.block import Columns, Ids
from hms_ops.storage.environment import Environment
from hms_ops.storage.history import History

START = 1_699_984_800
DAY_SECONDS = 86_400
SERIES = 100_000
ROUNDS = 30
STEPS = 4


def fleet(series: int, seed: int) -> Columns:
    """float64[6, series]: count, sum, m2, min, max, last of ten samples in each series; constants ignore the seed."""
    level = np.round(np.random.default_rng(0).uniform(1, 1000, series), 2)
    part = np.random.default_rng(1).random(series)
    random = np.random.default_rng(seed)
    samples = np.repeat(level[:, None], 10, axis=1)
    slow, whole, cents, latency = part >= 0.35, part >= 0.60, part >= 0.80, part >= 0.95
    samples[slow] += np.cumsum(random.integers(-1, 2, (slow.sum(), 10)) * 0.01, axis=1)
    samples[whole] = random.integers(0, 1000, (whole.sum(), 10))
    samples[cents] = np.round(random.uniform(0, 100, (cents.sum(), 10)), 2)
    samples[latency] = random.lognormal(4, 0.6, (latency.sum(), 10))
    low, high, mean = samples.min(axis=1), samples.max(axis=1), samples.mean(axis=1)
    m2 = ((samples - mean[:, None]) ** 2).sum(axis=1)
    return np.array([np.full(series, 10.0), samples.sum(axis=1), m2, low, high, samples[:, -1]])


def ids_of(series: int) -> Ids:
    return np.arange(1, series + 1, dtype=np.uint32)


def tell(benchmark: Any, rows: int, **more: object) -> None:
    ms = statistics.median(benchmark.stats.stats.data) * 1e3
    benchmark.extra_info.update(
        ms=round(ms, 1),
        ms_max=round(max(benchmark.stats.stats.data) * 1e3, 1),
        rows_per_second=round(rows / ms * 1e3),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        **more,
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")


Append = Callable[[int, Ids, Columns], object]


def _ours(directory: Path) -> tuple[Append, Callable[[], int]]:
    history = History(directory)

    def check() -> int:
        assert len(history.read([SERIES], START, START + DAY_SECONDS)) == ROUNDS + 1
        size = history.counters()["bytes_on_disk"]
        history.close()
        return size

    return history.append, check


def _plain(directory: Path) -> tuple[Append, Callable[[], int]]:
    environment = Environment(directory)

    def append(step_start: int, ids: Ids, columns: Columns) -> None:
        value = ids.tobytes() + columns.tobytes()
        environment.commit(lambda transaction: transaction.put(keys.time_key(step_start), value))

    def check() -> int:
        environment.close()
        return environment.file_bytes()

    return append, check


APPENDERS = {"ours": _ours, "plain LMDB value": _plain}


@pytest.mark.parametrize("contender", APPENDERS)
@pytest.mark.benchmark(group=f"append {SERIES:,} rows, commit included")
def test_append(benchmark: Any, tmp_path: Path, contender: str) -> None:
    append, check = APPENDERS[contender](tmp_path / "data")
    steps, place = [fleet(SERIES, seed) for seed in range(STEPS)], count()

    def step() -> tuple[tuple[int, Ids, Columns], dict[str, object]]:
        number = next(place)
        return (START + 10 * number, ids_of(SERIES), steps[number % STEPS]), {}

    benchmark.pedantic(append, setup=step, rounds=ROUNDS, warmup_rounds=1)
    tell(benchmark, SERIES, bytes_per_row=round(check() / ((ROUNDS + 1) * SERIES), 1))


@pytest.fixture(scope="module", params=[100, 5_000], ids=lambda series: f"of {series:,} series")
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(history, series): a day of steps of so many series."""
    history = History(tmp_path_factory.mktemp("day"))
    steps = [fleet(request.param, seed) for seed in range(STEPS)]
    for place in range(DAY_SECONDS // 10):
        history.append(START + 10 * place, ids_of(request.param), steps[place % STEPS])
    yield history, request.param
    history.close()


@pytest.mark.parametrize("step", [10, 3600])
@pytest.mark.benchmark(group="24 h of one series, disk warm")
def test_read_a_day(benchmark: Any, day: tuple[History, int], step: int) -> None:
    history, series = day
    wanted = series // 2
    rows = benchmark.pedantic(history.read, ([wanted], START, START + DAY_SECONDS, step), rounds=5, warmup_rounds=1)
    sums = np.resize([fleet(series, seed)[1, wanted - 1] for seed in range(STEPS)], DAY_SECONDS // 10)
    np.testing.assert_allclose(rows["sum"], sums.reshape(-1, step // 10).sum(axis=1))
    tell(benchmark, DAY_SECONDS // 10)


@pytest.mark.benchmark(group="1 h of each of 64 series, disk warm")
def test_read_a_page(benchmark: Any, day: tuple[History, int]) -> None:
    history, series = day
    page = np.linspace(1, series, 64).astype(np.uint32)
    end = START + DAY_SECONDS
    _, positions, _ = benchmark.pedantic(history.read_columns, (page, end - 3600, end), rounds=5, warmup_rounds=1)
    assert np.bincount(positions).tolist() == [360] * 64
    tell(benchmark, 64 * 360)

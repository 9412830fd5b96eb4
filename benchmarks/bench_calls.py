"""Add one value in-process: what the calling code waits.

    python -m pytest benchmarks/bench_calls.py

A loop over VALUES floats, the loop included. The engine runs, with its tick; the outsider is prometheus_client, whose
`inc` and `observe` do less: a sum, or a sum and a bucket, no window and no ring.
"""

import math
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.calls import MANY, NAME, ns_of_loop, ns_of_many, ns_of_metric
from hms_ops import Engine

VALUES = [n * 0.37 for n in range(100_000)]
BLOCKS = np.array(VALUES).reshape(-1, MANY)
TAGS = {"agency": "irs"}
ROUNDS = 15


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(udp=None, http=None, data_dir=None) as engine:
        yield engine


def tell(benchmark: Any) -> None:
    ns = statistics.median(benchmark.stats.stats.data) / len(VALUES) * 1e9
    benchmark.extra_info.update(
        ns_per_value=round(ns, 1),
        values_per_second=round(1e9 / ns),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(f"\n{benchmark.name}: {ns:.1f} ns a value")


def with_tags(engine: Engine) -> None:
    for value in VALUES:
        engine.metric(NAME, value, tags=TAGS)


OURS: dict[str, Callable[[Engine], Any]] = {
    "series.add": lambda engine: ns_of_loop(engine.series(NAME).add, VALUES),
    "engine.metric": lambda engine: ns_of_metric(engine.metric, VALUES),
    "engine.metric, one tag": with_tags,
    f"series.add_many of {MANY}": lambda engine: ns_of_many(engine.series(NAME).add_many, BLOCKS),
}


@pytest.mark.benchmark(group="add one value in-process")
@pytest.mark.parametrize("call", OURS)
def test_ours(benchmark: Any, engine: Engine, call: str) -> None:
    benchmark.pedantic(OURS[call], (engine,), rounds=ROUNDS, warmup_rounds=1)
    assert engine.ledger()["inputs"]["in-process"]["samples"] == (ROUNDS + 1) * len(VALUES)
    tell(benchmark)


@pytest.mark.benchmark(group="add one value in-process")
@pytest.mark.parametrize("call", ["prometheus_client inc", "prometheus_client observe"])
def test_outsiders(benchmark: Any, call: str) -> None:
    registry = CollectorRegistry()
    counter = Counter("finance_counter", "Values.", registry=registry)
    histogram = Histogram("finance_api", "Values.", registry=registry)
    add: Callable[[float], None] = counter.inc if call.endswith("inc") else histogram.observe
    benchmark.pedantic(ns_of_loop, (add, VALUES), rounds=5, warmup_rounds=1)
    total = registry.get_sample_value("finance_counter_total" if call.endswith("inc") else "finance_api_sum")
    assert total is not None
    assert math.isclose(total, 6 * sum(VALUES))
    tell(benchmark)

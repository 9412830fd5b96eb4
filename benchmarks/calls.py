"""One value, in-process: what a service's own thread pays for `series.add`, `engine.metric` and `series.add_many`.

A plain loop over floats around each call, the loop included, as a service would have it; prometheus_client's `inc` in
the same loop beside them. The engine is a running one, with its tick. Each round is checked against the ledger.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, Pace
from hms_ops import Engine

VALUES = 200_000
MANY = 1_000  # values of one add_many
NAME = "finance.api_ms"


def ns_of_loop(call: Callable[[float], Any], values: Sequence[float]) -> float:
    """ns a call."""
    begun = time.perf_counter_ns()
    for value in values:
        call(value)
    return (time.perf_counter_ns() - begun) / len(values)


def ns_of_metric(metric: Callable[[str, float], Any], values: Sequence[float]) -> float:
    """ns a call with the name in front."""
    begun = time.perf_counter_ns()
    for value in values:
        metric(NAME, value)
    return (time.perf_counter_ns() - begun) / len(values)


def ns_of_many(add_many: Callable[[Any], Any], blocks: NDArray[np.float64]) -> float:
    """ns a value; blocks: float64[calls, values a call]."""
    begun = time.perf_counter_ns()
    for block in blocks:
        add_many(block)
    return (time.perf_counter_ns() - begun) / blocks.size


def prometheus_counter() -> Any:
    from prometheus_client import CollectorRegistry, Counter

    return Counter("finance_api_total", "Values.", registry=CollectorRegistry())


def measure(pace: Pace) -> list[Figure]:
    values = [n * 0.37 for n in range(VALUES)]
    blocks = np.array(values).reshape(-1, MANY)
    counter = prometheus_counter()
    with Engine(udp=None, http=None, data_dir=None) as engine:
        series = engine.series(NAME, kind="timer")
        loops: dict[str, Callable[[], float]] = {
            "add": lambda: ns_of_loop(series.add, values),
            "metric": lambda: ns_of_metric(engine.metric, values),
            "add_many": lambda: ns_of_many(series.add_many, blocks),
            "inc": lambda: ns_of_loop(counter.inc, values),
        }
        for loop in loops.values():
            loop()
        rounds = [{name: loop() for name, loop in loops.items()} for _ in range(pace.rounds + 2)]
        row = engine.ledger()["inputs"]["in-process"]
    passes = 1 + len(rounds)
    assert row["samples"] == 3 * passes * VALUES, row
    assert math.isclose(counter._value.get(), passes * sum(values))
    inc = [found["inc"] for found in rounds]

    def figure(name: str, what: str, unit: str, ns_at_most: float) -> Figure:
        found = [found[name] for found in rounds]
        return Figure(f"call.{name}", what, unit, found, ns_at_most, "prometheus_client inc", inc)

    return [
        figure("add", "in-process: series.add", "ns a call", 60),
        figure("metric", "in-process: engine.metric without tags", "ns a call", 150),
        figure("add_many", f"in-process: series.add_many of {MANY:,}", "ns a value", 6),
    ]

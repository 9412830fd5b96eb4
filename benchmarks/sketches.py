"""Percentiles in memory: what they cost the receiver and the tick, how large they are, and how far off.

Stores on a manual clock in this process, lognormal latencies (σ 0.6 around 120 ms). `receive` is the whole way of a
StatsD line, timers beside gauges, as `decode` measures it: 300 lines a series and second, so that rings go round.
`close` is the tick's part of 100,000 timers every 10 s; `read` a p99 of each over five minutes.
"""

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, Pace
from hms_ops import _sketch, kinds
from hms_ops._ring import Store

FIRST_SECOND = 1_700_000_040  # of a minute and of 10 s
SECOND_NS = 1_000_000_000
RECEIVE_SERIES = 1_000
LINES = 300_000
LINES_A_DATAGRAM = 60
SERIES = 100_000
STEP_SAMPLES = 10
WINDOW_SECONDS = 300
HOUR_SECONDS = 3_700
A_SECOND = 5
RANKS = (0.5, 0.9, 0.95, 0.99, 0.999)

Floats = NDArray[np.float64]


def latencies(rng: np.random.Generator, n: int) -> Floats:
    return rng.lognormal(math.log(120), 0.6, n)


def move_to(store: Store, now: int) -> None:
    """The clock, and what the tick does for sketches."""
    store.set_now_ns(now * SECOND_NS)
    store.seal(now - 1)
    for tier, seconds in ((1, 10), (2, 60)):
        for step in range(store.rolled_end(tier) // seconds, now // seconds):
            store.set_rolled(tier, step)


def ns_per_line(kind: bytes, lines: int, rounds: int) -> list[float]:
    """Thread CPU of `Store.ingest`; each round is a second."""
    rng = np.random.default_rng(1)
    names = rng.integers(0, RECEIVE_SERIES, lines).reshape(-1, LINES_A_DATAGRAM)
    datagrams = [
        b"".join(b"service%d.api_ms:%.2f|%s\n" % (name, value, kind) for name, value in zip(row, values, strict=True))
        for row, values in zip(names, latencies(rng, lines).reshape(-1, LINES_A_DATAGRAM), strict=True)
    ]
    store = Store(RECEIVE_SERIES + 10, now_ns=FIRST_SECOND * SECOND_NS)
    found = []
    for second in range(1 + rounds):
        begun = time.thread_time_ns()
        for datagram in datagrams:
            store.ingest(datagram)
        found.append((time.thread_time_ns() - begun) / lines)
        move_to(store, FIRST_SECOND + second + 1)
    assert store.counters()["sketch_samples_lost"] == 0
    return found[1:]


def ms_of(work: Callable[[], object]) -> float:
    begun = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begun) / 1e6


def closing_and_reading(series: int, rounds: int) -> tuple[list[float], list[float]]:
    """ms to close a step of every series, and ms to read a p99 of each over WINDOW_SECONDS."""
    rng = np.random.default_rng(2)
    store = Store(series, now_ns=FIRST_SECOND * SECOND_NS)
    handles = [store.handle(f"service{i}.api_ms", kinds.TIMER) for i in range(series)]
    slots, groups = np.arange(series, dtype=np.int32), np.arange(series + 1)
    closing = []
    for step in range(WINDOW_SECONDS // 10):
        for handle, values in zip(handles, latencies(rng, series * STEP_SAMPLES).reshape(series, -1), strict=True):
            handle.add_many(values)
        now = FIRST_SECOND + 10 * (step + 1)
        store.set_now_ns(now * SECOND_NS)
        store.seal(now - 1)
        closing.append(ms_of(lambda number=now // 10 - 1: store.set_rolled(1, number)))  # type: ignore[misc]
        move_to(store, now)
    window = now - WINDOW_SECONDS, now
    reading = [ms_of(lambda: store.sketch_quantiles(slots, groups, *window, [0.99])) for _ in range(rounds)]
    assert not np.isnan(store.sketch_quantiles(slots, groups, *window, [0.99])[0]).any()
    return closing[-rounds:], reading


def hour(seconds: int) -> tuple[float, float]:
    """(bytes of one series after so long, the largest error of RANKS over its windows in %)."""
    rng = np.random.default_rng(3)
    store = Store(10, now_ns=FIRST_SECOND * SECOND_NS)
    handle = store.handle("api_ms", kinds.TIMER)
    fed = latencies(rng, seconds * A_SECOND).reshape(seconds, -1)
    for second, values in enumerate(fed):
        for value in values.tolist():
            handle.add(value)
        move_to(store, FIRST_SECOND + second + 1)
    end, worst = FIRST_SECOND + seconds, 0.0
    for window in (60, 300, min(3600, seconds - 60)):
        found, start = store.sketch_quantiles([0], [0, 1], end - window, end, RANKS)
        exact = np.quantile(fed[start - FIRST_SECOND :], RANKS)
        worst = max(worst, float(np.abs(found[0] / exact - 1).max()) * 100)
        assert _sketch.count(store.sketch_groups([0], [0, 1], end - window, end)[0]) == (end - start) * A_SECOND
    return float(store.counters()["sketch_bytes"]), worst


def measure(pace: Pace) -> list[Figure]:
    series = pace.part(SERIES)
    lines = pace.part(LINES // LINES_A_DATAGRAM) * LINES_A_DATAGRAM
    closing, reading = closing_and_reading(series, pace.rounds)
    bytes_of_series, error = hour(pace.part(HOUR_SECONDS))
    return [
        Figure(
            "sketch.receive",
            f"decode + intern + append of timers, {RECEIVE_SERIES:,} series, 300 lines each a second",
            "ns a line",
            ns_per_line(b"ms", lines, pace.rounds),
            beside="the same lines as gauges",
            beside_rounds=ns_per_line(b"g", lines, pace.rounds),
        ),
        Figure("sketch.close", f"sketches of a 10-s step, {series:,} timers × {STEP_SAMPLES} samples", "ms", closing),
        Figure("sketch.read", f"p99 over 5 minutes of each of {series:,} timers", "ms", reading),
        Figure(
            "sketch.bytes",
            f"sketches of a timer, {A_SECOND} samples a second, an hour of windows",
            "bytes",
            [bytes_of_series],
            at_most=12_000,
        ),
        Figure("sketch.error", "largest error of p50 to p99.9 over 1, 5 and 60 minutes", "%", [error], at_most=2.2),
    ]

"""A tick with 100 rules and the anomaly rule on every series, and what the listener notices of it.

`costs`: on a manual clock, every series with a sample in every second that is measured, after ten minutes with a sample
each 10 s: all windows are full. What is timed is `Engine.advance(1)`, the whole tick. The minute's ticks, which close
steps of all tiers, are the dearest; the note has them.
`gap`: a running engine under a paced load; the listener's own histogram of the time between two receives (`Loop.busy`),
with and without a Python thread that spins in the same process.
"""

import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet import check, engine_of, every_series
from hms_ops import Engine
from hms_ops.clock import ManualClock
from hms_ops.load import Plan, Sender

MS_AT_MOST = {100_000: 30.0, 1_000_000: 300.0}
FILL_STEPS = 62
STEP_SECONDS = 10
TICKS = 60

GAP_SERIES = 100_000
GAP_LINES_PER_S = 2_000_000.0
GAP_SECONDS = 10
BIND_TICKS = 3
BIND_SECONDS = 60
GAP_MS_AT_MOST = {False: 1.0, True: 10.0}


def costs(series: int, fill_steps: int, ticks: int) -> dict[str, Any]:
    """ms of each tick, and the parts of the last one."""
    datagrams = every_series(series)
    clock = ManualClock()
    with engine_of(series, clock=clock) as engine:

        def second(seconds: int) -> float:
            """A sample in each series, then a tick `seconds` later; what it took."""
            for datagram in datagrams:
                engine.store.ingest(datagram)
            clock.advance(seconds - 1)
            begun = time.perf_counter()
            engine.advance(1)
            return (time.perf_counter() - begun) * 1e3

        for _ in range(fill_steps):
            second(STEP_SECONDS)
        found = [second(1) for _ in range(ticks)]
        check(engine, series)
        return {"ms": found, "parts": engine.counters()["tick"]}


def measure(pace: Pace) -> list[Figure]:
    """At 100,000 and 1,000,000 series."""
    figures = []
    for series, ms_at_most in MS_AT_MOST.items():
        found = apart(costs, series=series, fill_steps=pace.part(FILL_STEPS), ticks=pace.part(TICKS))
        parts = ", ".join(
            f"{name[:-3]} {ms:.1f}" for name, ms in found["parts"].items() if name.endswith("_ms") and ms >= 0.05
        )
        figures.append(
            Figure(
                f"tick.{series}",
                f"tick with 100 rules and the anomaly rule on every series, {series:,} series",
                "ms",
                found["ms"],
                at_most=ms_at_most,
                note=f"dearest of {len(found['ms'])}: {max(found['ms']):.1f} ms; the last: {parts}",
            )
        )
    return figures


def spin(stop: threading.Event) -> None:
    while not stop.is_set():
        pass


def gap(series: int, seconds: float, lines_per_s: float, spinning: bool) -> dict[str, Any]:
    """The p99.9 and the longest receive-loop gap in ms, ticks' costs in ms, and the loss."""
    stop = threading.Event()
    with engine_of(series, udp="127.0.0.1:0") as engine:
        assert engine.udp_address
        for datagram in every_series(series):
            engine.store.ingest(datagram)
        wait_for_ticks(engine, BIND_TICKS)
        plan = Plan(*engine.udp_address, seconds, series=series, line_format="tags", lines_per_s=lines_per_s)
        loop = engine.listeners()[0].loop
        with Sender(plan) as sender:
            if spinning:
                threading.Thread(target=spin, args=[stop], daemon=True).start()
            before, waited_ms, ticks_before = loop.busy, listener_waited_ms(), engine.counters()["tick"]["count"]
            sender.begin()
            sent = sender.sent()
            bins = loop.busy - before
            waited_ms = listener_waited_ms() - waited_ms
            ticks = engine.counters()["tick"]["count"] - ticks_before
        stop.set()
        check(engine, series)
        ledger = engine.ledger()
        parts = engine.counters()["tick"]
    assert ticks, f"no tick in {seconds} s"
    return {
        "p999_ms": quantile_ms(bins, 0.999),
        "longest_ms": quantile_ms(bins, 1.0),
        "tick_ms": sum(ms for name, ms in parts.items() if name.endswith("_ms")),
        "loss": ledger["kernel_drops"] / sent.datagrams,
        "receives": int(bins.sum()),
        "ticks": ticks,
        "waited_ms_per_s": waited_ms / sent.seconds,
    }


def listener_waited_ms() -> float:
    """How long the listener's thread was ready to run and had no core: what is the machine's share in its gaps."""
    thread = next(thread for thread in threading.enumerate() if thread.name.startswith("hms-listener"))
    return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[1]) / 1e6


def wait_for_ticks(engine: Engine, count: int) -> None:
    """Until `count` more ticks are done: the first after a birth binds the rules to the new series."""
    wanted = engine.counters()["tick"]["count"] + count
    deadline = time.monotonic() + BIND_SECONDS
    while engine.counters()["tick"]["count"] < wanted:
        assert time.monotonic() < deadline, f"fewer than {count} ticks in {BIND_SECONDS} s"
        time.sleep(0.05)


def quantile_ms(bins: NDArray[np.uint64], q: float) -> float:
    """Of a histogram with bins [2^i, 2^(i+1)) ns; within a bin as if its logarithm were even."""
    total = np.cumsum(bins.astype(np.float64))
    wanted = q * total[-1]
    i = int(np.searchsorted(total, wanted))
    below = total[i - 1] if i else 0.0
    part = (wanted - below) / (total[i] - below)
    return float(2.0 ** (i + part)) / 1e6


def measure_gap(pace: Pace) -> list[Figure]:
    """Alone and beside a spinning thread."""
    figures = []
    for spinning, ms_at_most in GAP_MS_AT_MOST.items():
        arguments = {"series": GAP_SERIES, "seconds": pace.part(GAP_SECONDS, 3), "lines_per_s": GAP_LINES_PER_S}
        found = [apart(gap, spinning=spinning, **arguments) for _ in range(pace.part(3))]
        beside = " while a Python thread spins" if spinning else ""
        figures.append(
            Figure(
                "gap.spinning" if spinning else "gap",
                f"receive-loop gap p99.9 under {GAP_LINES_PER_S / 1e6:g} M lines/s, ticks as above{beside}",
                "ms",
                [run["p999_ms"] for run in found],
                at_most=ms_at_most,
                note=f"longest {max(run['longest_ms'] for run in found):.1f} ms, "
                f"{min(run['ticks'] for run in found)} ticks in {arguments['seconds']} s, "
                f"the last {statistics.median(run['tick_ms'] for run in found):.1f} ms, "
                f"{max(run['loss'] for run in found):.2%} lost; for a core the listener waited "
                f"{statistics.median(run['waited_ms_per_s'] for run in found):.0f} ms in a second",
            )
        )
    return figures

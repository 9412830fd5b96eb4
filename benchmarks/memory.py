"""Memory of one active series: what the process grows by when 100,000 series have lived for an hour, all slots touched.

On a manual clock, so the hour takes half a minute: a sample in each series every 10 s for 64 minutes, then one in each
of 64 seconds, which touches every slot of every tier and every place of the rings. Growth is the process's RSS from
smaps_rollup, so the name table, the detectors and whatever Python keeps per series are in it. No histograms, no disk.
"""

from pathlib import Path
from typing import Any

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from hms_ops import Engine
from hms_ops._load import Load
from hms_ops.clock import ManualClock

SERIES = 100_000
BYTES_AT_MOST = 11_000.0
STEPS = 64 * 6
STEP_SECONDS = 10
SECONDS = 64


def resident_bytes() -> int:
    """RSS of this process."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/self/smaps_rollup has no Rss")


def grow(series: int, steps: int) -> dict[str, Any]:
    """Bytes the process grew by, and the bound the store promised at its start."""
    clock = ManualClock()
    load = Load("statsd", series, 1432, series // 30, in_order=True)
    datagrams = list(load)
    assert load.lines >= series
    engine = Engine(udp=None, http=None, data_dir=None, clock=clock, config={"limits": {"series": series}})
    with engine:
        engine.metric("first", 1.0)
        engine.advance(1)
        before = resident_bytes()
        for pause in [STEP_SECONDS] * steps + [1] * SECONDS:
            for datagram in datagrams:
                engine.store.ingest(datagram)
            clock.advance(pause - 1)
            engine.advance(1)
        grown = resident_bytes() - before
        assert engine.store.series_live >= series
        assert engine.recent("agency00.finance.api_ms.0")[0].size == engine.store.ring_samples
        assert engine.counters()["tick"]["errors"] == 0
        return {"bytes": grown, "bound": engine.store.bytes_reserved}


def measure(pace: Pace) -> list[Figure]:
    found = apart(grow, series=SERIES, steps=pace.part(STEPS))
    return [
        Figure(
            "memory.series",
            f"memory of an active series, {SERIES:,} series, all slots touched",
            "bytes",
            [found["bytes"] / SERIES],
            at_most=BYTES_AT_MOST,
            beside="the bound printed at start",
            beside_rounds=[found["bound"] / SERIES],
            ratio_at_most=1.0,
        )
    ]

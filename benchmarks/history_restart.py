"""A restart over a large history: a million series and an hour of slabs, as an engine that was killed leaves them.

Steps of 10 s and of a minute up to now, and the hour that closed within them; one block is due to be sealed, one is
open. A daemon is started over it, warm caches, while datagrams come each ms (start.py). Nothing is replayed: minutes
that were open are rolled from their steps, and blocks are sealed, behind the ready engine. Then it is asked for a
series of before the restart, over the hour, and must know each step.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Fleet
from benchmarks.history import KEEP_ALL, by_id
from benchmarks.start import Knocker, free_port, ms_between
from hms_ops.bench import BenchError, Daemon, settings_for
from hms_ops.clock import SECOND_NS
from hms_ops.kinds import GAUGE
from hms_ops.series import SeriesInfo
from hms_ops.storage.store import open_storage
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

SERIES: Final = 1_000_000
HOUR_SECONDS: Final = 3_600
SERIES_A_METRIC: Final = 1_000
PROBE: Final = "restart.a_probe"  # its series is the first of all by name: id 1
CYCLE: Final = 6  # steps that differ; making 360 of a million would take longer than all the rest
READY_MS_AT_MOST: Final = 10_000.0
ROUNDS: Final = 3


def series_infos(series: int) -> list[SeriesInfo]:
    probe = [SeriesInfo(PROBE, {}, GAUGE)]
    return probe + [
        SeriesInfo(f"restart.gauge{n // SERIES_A_METRIC:04}", {"host": f"{n % SERIES_A_METRIC:04}"}, GAUGE)
        for n in range(series - 1)
    ]


def write_hour(data_dir: Path, series: int, now: int) -> tuple[int, int]:
    """Write the hour before `now`; returns (its first step, bytes on disk). The probe has a row in each step."""
    storage = open_storage(data_dir, KEEP_ALL)
    storage.catalogue.ids_for(series_infos(series), now * SECOND_NS)
    next_step = by_id(Fleet(series))
    steps = [next_step().copy() for _ in range(CYCLE)]
    start = now - now % 60 - HOUR_SECONDS
    for number, step in enumerate(range(start, start + HOUR_SECONDS, 10)):
        columns = steps[number % CYCLE]
        storage.history.append(TEN_SECONDS, step, columns)
        for tier in (MINUTE, HOUR):
            seconds = TIERS[tier].step_seconds
            if (step + 10) % seconds == 0:
                storage.history.append(tier, step + 10 - seconds, columns)
    size = storage.history.counters()["bytes_on_disk"]
    storage.close()
    return start, size


def restart(data_dir: Path, series: int, start: int) -> dict[str, float]:
    """ms to receiving, to ready, and of the query. BenchError when a datagram or a step is missing."""
    port = free_port()
    knocker = Knocker(port)
    with Daemon(settings_for(series), data_dir=data_dir, udp=f"127.0.0.1:{port}") as daemon:
        knocker.stop()
        begun = time.perf_counter()
        answer = daemon.get(f"/v1/query?expr=count({PROBE})&start={start}&end={start + HOUR_SECONDS}&step=10")
        query_ms = (time.perf_counter() - begun) * 1e3
        row = daemon.settled(knocker.taken)
        if row["samples"] != knocker.taken:
            raise BenchError(f"{knocker.taken} datagrams were taken since the start, {row['samples']} counted")
    points = json.loads(answer)["series"][0]["points"]
    if len(points) != HOUR_SECONDS // 10 or any(value is None for _, value in points):
        raise BenchError(f"of {HOUR_SECONDS // 10} steps before the restart {len(points)} are known")
    receiving, ready = (ms_between(daemon.started_ns, at) for at in (knocker.first_taken_ns, daemon.ready_ns))
    return {"receiving": receiving, "ready": ready, "query": query_ms}


def restarts(series: int, rounds: int) -> dict[str, Any]:
    """A history that is written once and started over a few times."""
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        start, size = write_hour(Path(directory), series, int(time.time()))
        return {"runs": [restart(Path(directory), series, start) for _ in range(rounds)], "bytes": size}


def measure(pace: Pace) -> list[Figure]:
    series = pace.part(SERIES)
    found = apart(restarts, series=series, rounds=pace.part(ROUNDS, 2))
    runs = found["runs"]
    query = max(run["query"] for run in runs)
    return [
        Figure(
            "history-restart.receiving",
            f"restart to receiving, {series:,} series and an hour of slabs",
            "ms",
            [run["receiving"] for run in runs],
            at_most=READY_MS_AT_MOST,
            note=f"{found['bytes'] / 1e6:,.0f} MB of open history; every datagram since was counted",
        ),
        Figure(
            "history-restart.ready",
            "the same, to ready",
            "ms",
            [run["ready"] for run in runs],
            at_most=READY_MS_AT_MOST,
            note=f"then the hour of a series in {query:.0f} ms at most",
        ),
    ]

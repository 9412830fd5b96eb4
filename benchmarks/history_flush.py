"""Putting a step of all series on disk: what it takes with its synced commit, and what a listener loses meanwhile.

`flush`: `History.append` of fleet-mix steps, in a process that has one core; beside it the same rows as one plain LMDB
value of 52 bytes a row, synced alike. `loss`: a daemon with a data directory on one core, a paced sender on the other,
for long enough that several steps and a minute are flushed; its own ledger says what was lost.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Fleet
from benchmarks.history import KEEP_ALL, START, by_id
from hms_ops.bench import BenchError, Daemon, cores, plan_for, receive, settings_for
from hms_ops.storage import keys
from hms_ops.storage.environment import Environment
from hms_ops.storage.history import History

MS_AT_MOST: Final = {100_000: 50.0, 1_000_000: 500.0}
WARM_UP: Final = 3
ROUNDS: Final = 32  # longer than from one key slab to the next, so the dear ones are among them
PLAIN_ROUNDS: Final = 5
STEP_SECONDS: Final = 10

LINES_PER_S: Final = {100_000: 2_000_000.0, 1_000_000: 500_000.0}
BIRTH_SECONDS: Final = 10.0
BIRTHS_MAX: Final = 12
LOSS_SECONDS: Final = 75.0


def flush(series: int, rounds: int) -> dict[str, Any]:
    """ms of each append, of each plain value, and the rows on disk."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    next_step = by_id(Fleet(series))
    ours, plain, rows = [], [], 0
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        history, environment = History(Path(directory), KEEP_ALL), Environment(Path(directory, "plain"))
        for number in range(WARM_UP + rounds):
            columns, step = next_step(), START + STEP_SECONDS * number
            begun = time.perf_counter()
            rows += history.append(0, step, columns)
            ours.append((time.perf_counter() - begun) * 1e3)
            if number < PLAIN_ROUNDS:
                begun = time.perf_counter()
                value = columns.tobytes() + bytes(4 * series)
                environment.commit(lambda transaction, value=value, at=step: transaction.put(keys.time_key(at), value))
                plain.append((time.perf_counter() - begun) * 1e3)
        found = sum(len(history.read_step(0, START + STEP_SECONDS * number)[0]) for number in range(WARM_UP + rounds))
        if found != rows:
            raise BenchError(f"{rows} rows were appended, {found} are read")
        history.close()
        environment.close()
    return {"ms": ours[WARM_UP:], "plain_ms": plain, "rows": rows / (WARM_UP + rounds)}


def loss(series: int, lines_per_s: float, seconds: float) -> dict[str, Any]:
    """%: what was lost of a paced load, once all series are there; lines/s; slabs written meanwhile; buffer in ms."""
    sender_cpu, daemon_cpu = cores()
    with (
        tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as data_dir,
        Daemon(settings_for(series), data_dir=Path(data_dir), cpu=daemon_cpu) as daemon,
    ):

        def run(seconds: float) -> Any:
            return receive(daemon, plan_for(daemon, seconds, sender_cpu, series=series, lines_per_s=lines_per_s))

        for _ in range(BIRTHS_MAX):  # the first step waits for all series to get their numbers on disk
            run(max(BIRTH_SECONDS, 2 * series / lines_per_s))
            if before := _slabs(daemon):
                break
        received = run(seconds)
        slabs = _slabs(daemon) - before
        stall_ms = daemon.stall_ms()
    if not slabs:
        raise BenchError(f"no step was flushed in {seconds} s")
    return {"loss": 100 * received.loss, "lines_per_s": received.lines_per_s, "slabs": slabs, "stall_ms": stall_ms}


def _slabs(daemon: Daemon) -> int:
    return sum(
        int(float(line.rsplit(" ", 1)[1]))
        for line in daemon.get("/metrics").splitlines()
        if line.startswith("hms_ops_history_slabs")
    )


def measure(pace: Pace) -> list[Figure]:
    figures = []
    for series, ms_at_most in MS_AT_MOST.items():
        size = pace.part(series)
        found = apart(flush, series=size, rounds=pace.part(ROUNDS, 12))
        lost = apart(loss, series=size, lines_per_s=LINES_PER_S[series], seconds=pace.part(LOSS_SECONDS, 25))
        figures += [
            Figure(
                f"history-flush.{series}",
                f"flush of {size:,} series, commit included, one core",
                "ms",
                found["ms"],
                at_most=ms_at_most,
                beside="the rows as one plain LMDB value",
                beside_rounds=found["plain_ms"],
                note=f"{found['rows']:,.0f} rows; the longest of {len(found['ms'])}: {max(found['ms']):.0f} ms",
            ),
            Figure(
                f"history-flush.{series}.loss",
                f"datagrams lost meanwhile, {size:,} series, daemon on one core",
                "%",
                [lost["loss"]],
                at_most=0.0,
                note=f"{lost['lines_per_s'] / 1e6:.2g} M lines/s, {lost['slabs']} steps written; "
                f"the buffer covers a stall of {lost['stall_ms']:.0f} ms at 14 M lines/s",
            ),
        ]
    return figures

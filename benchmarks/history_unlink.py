"""Giving up a partition of six hours: what unlinking takes, whether the writer notices, whether the space comes back.

Partitions of the size that 100,000 series make are filled with noise, in transactions as sealing commits them: LMDB and
the file system cannot tell. They are two days old, so the page cache has dropped them. A writer appends step after
step, `retain` first, as the recorder does; each few steps one more partition is too old. A second thread does the
sealer's part and unlinks. A stall is what `retain` and the slowest append until the unlinking is done take beyond the
median of undisturbed ones. Beside them a bare unlink of such a file: where a file system discards at once, and not from
its journal, it waits for the device.
"""

import os
import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Fleet
from benchmarks.history import START, by_id
from hms_ops.bench import BenchError
from hms_ops.clock import SECOND_NS
from hms_ops.storage import keys
from hms_ops.storage.environment import Environment
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.tier import TEN_SECONDS, TIERS

PARTITION_BYTES: Final = 560 << 20  # 100,000 series, six hours, 2.7 bytes a row
VALUE_BYTES: Final = 66_000  # a tile
COMMIT_BYTES: Final = 4 << 20
PARTITIONS: Final = 5
SERIES: Final = 10_000
STEPS: Final = 16  # that differ
UNDISTURBED: Final = 12
APPENDS_MAX: Final = 200
MS_AT_MOST: Final = 50.0
STALL_MS_AT_MOST: Final = 20.0
SECONDS: Final = TIERS[TEN_SECONDS].partition_seconds


def fill(data_dir: Path, start: int, size: int) -> int:
    """A partition of noise; returns the bytes its file takes."""
    environment = Environment(data_dir / "history/10s/tiles" / keys.partition_name(start, SECONDS))
    value = os.urandom(VALUE_BYTES)
    tiles = COMMIT_BYTES // VALUE_BYTES
    for first in range(0, size // VALUE_BYTES, tiles):
        with_keys = [(keys.tile_key(start, first + n), value) for n in range(tiles)]
        environment.commit(lambda transaction, pairs=with_keys: [transaction.put(*pair) for pair in pairs])
    environment.close()
    with (environment.path / "data.mdb").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return os.fstat(file.fileno()).st_blocks * 512


def bare_unlink(data_dir: Path, size: int) -> float:
    """ms to unlink such a file, and nothing else."""
    fill(data_dir, 0, size)
    path = data_dir / "history/10s/tiles" / keys.partition_name(0, SECONDS)
    begun = time.perf_counter()
    (path / "data.mdb").unlink()
    ms = (time.perf_counter() - begun) * 1e3
    shutil.rmtree(path)
    return ms


@dataclass
class Sealer:
    """The part of the sealing thread that unlinks, as soon as it is told to."""

    history: History
    due: threading.Event = field(default_factory=threading.Event)
    is_done: threading.Event = field(default_factory=threading.Event)
    is_ending: bool = False
    ms: float = 0.0

    def run(self) -> None:
        while True:
            self.due.wait()
            self.due.clear()
            if self.is_ending:
                return
            begun = time.perf_counter()
            self.history.sealable(0)
            self.ms = (time.perf_counter() - begun) * 1e3
            self.is_done.set()


class Writer:
    """Appends steps one after another."""

    def __init__(self, history: History) -> None:
        self._history = history
        next_step = by_id(Fleet(SERIES))
        self._columns = [next_step().copy() for _ in range(STEPS)]
        self._step = START

    def append(self) -> float:
        """ms of the next step."""
        columns = self._columns[self._step // 10 % STEPS]
        begun = time.perf_counter()
        self._history.append(TEN_SECONDS, self._step, columns)
        self._step += 10
        return (time.perf_counter() - begun) * 1e3

    def retain(self, now: int) -> float:
        """ms of giving up what is too old at second `now`. BenchError unless it is one partition."""
        begun = time.perf_counter()
        expired = self._history.retain(now * SECOND_NS)
        if expired != 1:
            raise BenchError(f"{expired} partitions expired at {now}, not one")
        return (time.perf_counter() - begun) * 1e3


def give_up(writer: Writer, sealer: Sealer, now: int, data_dir: Path) -> dict[str, float]:
    """One partition expires while the writer writes: ms of unlinking, of the stall, and the bytes that came back."""
    calm = [writer.append() for _ in range(UNDISTURBED)]
    usual = statistics.median(calm)
    free = free_bytes(data_dir)
    sealer.is_done.clear()
    retain_ms = writer.retain(now)
    sealer.due.set()
    appends = [writer.append()]
    while not sealer.is_done.is_set() and len(appends) < APPENDS_MAX:
        appends.append(writer.append())
    if not sealer.is_done.wait(10):
        raise BenchError("the partition was never unlinked")
    stall_ms = retain_ms + max(appends) - usual
    freed = free_bytes(data_dir) - free
    found = {"retain_ms": retain_ms, "unlink_ms": sealer.ms, "stall_ms": stall_ms, "calm_ms": max(calm) - usual}
    return found | {"freed": freed}


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize


def unlink(size: int, partitions: int) -> dict[str, Any]:
    """`give_up` of each partition; the bytes that they took."""
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        bare = [bare_unlink(Path(directory), size) for _ in range(partitions)]
        starts = [START - (partitions - n) * SECONDS for n in range(partitions)]
        sizes = [fill(Path(directory), start, size) for start in starts]
        history = History(Path(directory), HistoryConfig(keep_seconds=(SECONDS, 1 << 40, 1 << 40), disk_free_min=0))
        sealer, writer = Sealer(history), Writer(history)
        thread = threading.Thread(target=sealer.run)
        thread.start()
        try:
            runs = [give_up(writer, sealer, start + 2 * SECONDS, Path(directory)) for start in starts]
        finally:
            sealer.is_ending = True
            sealer.due.set()
            thread.join()
            history.close()
    return {"runs": runs, "bytes": sizes, "bare_ms": bare}


def measure(pace: Pace) -> list[Figure]:
    found = apart(unlink, size=pace.part(PARTITION_BYTES, 128 << 20), partitions=pace.part(PARTITIONS, 3))
    runs, sizes = found["runs"], found["bytes"]
    retains = [run["retain_ms"] for run in runs]
    return [
        Figure(
            "history-unlink.ms",
            f"retention gives up a partition of {sizes[0] / 1e6:.0f} MB, what the writer does of it",
            "ms",
            retains,
            at_most=MS_AT_MOST,
            note=f"longest {max(retains):.1f} ms",
        ),
        Figure(
            "history-unlink.behind",
            "the same, unlinking it in the sealer's thread, by 16 MiB",
            "ms",
            [run["unlink_ms"] for run in runs],
            beside="a bare unlink of the file",
            beside_rounds=found["bare_ms"],
        ),
        Figure(
            "history-unlink.stall",
            "stall of the writer meanwhile, the longest of all",
            "ms",
            [max(run["stall_ms"] for run in runs)],
            at_most=STALL_MS_AT_MOST,
            beside="without any",
            beside_rounds=[max(run["calm_ms"] for run in runs)],
        ),
        Figure(
            "history-unlink.space",
            "space that the file system does not show back",
            "% of the partitions",
            [max(0.0, 100 * (1 - sum(run["freed"] for run in runs) / sum(sizes)))],
            at_most=2.0,
            note="what is written meanwhile is in it",
        ),
    ]

"""What history takes on disk and what is written for it: slabs, then tiles, of whole blocks through `History`.

Bytes are those the file system has allocated below the directory: blocks, checksums, LMDB's pages, marker files.
Each round is a fleet of its own seed in a process of its own, and compares what it reads with what it wrote.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Columns, Fleet, full_entropy, uniform_gauges
from hms_ops._sketch import from_values
from hms_ops.bench import BenchError
from hms_ops.sketches import Sketches
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

START: Final = 703 * TIERS[HOUR].partition_seconds
"""Where the partitions of all tiers begin: 2023-11-23."""

KEEP_ALL: Final = HistoryConfig(keep_seconds=(1 << 40,) * 3, bytes_max=1 << 40, disk_free_min=0)
VALUES_A_ROW: Final = 5  # count, sum, min, max, last; m2 comes on top and is not counted
SECTORS_WRITTEN, SECTOR_BYTES = 6, 512  # in /sys/block/*/stat
DEVIATION: Final = 0.022  # of a standard deviation, by which it may be off
PROBES: Final = 200  # series whose every row is compared

SERIES: Final = 100_000
COARSE_SERIES: Final = 4_096
PURE_SERIES: Final = 4_096
SKETCH_SERIES: Final = 256
SAMPLES_A_SECOND: Final = 5


@dataclass(frozen=True)
class Span:
    """Steps of a tier to be written: `count` of them from `start` on, made by `next_step` one after another."""

    tier: int
    start: int
    count: int
    next_step: Callable[[], Columns]

    def __iter__(self) -> Iterator[tuple[int, Columns]]:
        """(step start, float64[6, n] by id); the array is one, filled anew each time."""
        seconds = TIERS[self.tier].step_seconds
        for step in range(self.start, self.start + self.count * seconds, seconds):
            yield step, self.next_step()

    @property
    def end(self) -> int:
        return self.start + self.count * TIERS[self.tier].step_seconds


def by_id(fleet: Fleet) -> Callable[[], Columns]:
    """The steps of a fleet with its first series at id 1, as the catalogue numbers them."""
    dense = np.zeros((6, fleet.series + 1))

    def next_step() -> Columns:
        dense[:, 1:] = fleet.step()
        return dense

    return next_step


def seal_all(history: History, end: int) -> float:
    """Make tiles of every block that has ended by `end`, unlink the slabs; the seconds it took."""
    begun = time.perf_counter()
    for tier, block in history.sealable(end + TIERS[HOUR].step_seconds):
        history.seal(tier, block)
    history.sealable(0)
    return time.perf_counter() - begun


def disk_bytes(path: Path) -> int:
    """What the file system has allocated for all below `path`."""
    return sum(found.stat().st_blocks * 512 for found in path.rglob("*"))


class Writes:
    """Bytes written while its body ran, as often as it is entered. `own`: by this process's calls, which is all that
    LMDB writes. `disk`: by the disk below `path` meanwhile, the file system's own blocks and whatever others wrote
    included; the process's write_bytes where no disk can be told."""

    def __init__(self, path: Path) -> None:
        device = path.stat().st_dev
        self._stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        self.own = self.disk = 0

    def __enter__(self) -> None:
        self._before = self._now()

    def __exit__(self, *_: object) -> None:
        own, disk = self._now()
        self.own += own - self._before[0]
        self.disk += disk - self._before[1]

    def _now(self) -> tuple[int, int]:
        io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        if not self._stat.exists():
            return int(io["wchar"]), int(io["write_bytes"])
        return int(io["wchar"]), int(self._stat.read_text().split()[SECTORS_WRITTEN]) * SECTOR_BYTES


class Probe:
    """Remembers some series of each step, and compares them with what was read."""

    def __init__(self, series: int) -> None:
        self.ids = np.unique(np.linspace(1, series, min(PROBES, series)).astype(np.uint32))
        self._steps: list[int] = []
        self._rows: list[Columns] = []

    def take(self, step: int, columns: Columns) -> None:
        self._steps.append(step)
        self._rows.append(columns[:, self.ids])

    def check(self, history: History, tier: int) -> int:
        """How many rows were compared. BenchError when one is not what was written."""
        every = np.stack(self._rows, axis=1)
        at, place = np.nonzero(every[0] > 0)
        expected = every[:, at, place]
        last = self._steps[-1] + TIERS[tier].step_seconds
        steps, places, columns = history.read_columns(tier, self.ids, self._steps[0], last)
        compare(f"tier {tier}", (np.array(self._steps)[at], place, expected), (steps, places, columns))
        return len(steps)


def compare(
    what: str, written: tuple[Any, Any, Columns], found: tuple[Any, Any, Columns], deviation: float = DEVIATION
) -> None:
    """BenchError unless the rows are the same: exactly, but for the sum (1e-12) and m2 (by the standard deviation it
    stands for, and not at all where it is only the rounding of equal samples)."""
    if not np.array_equal(written[0], found[0]) or not np.array_equal(written[1], found[1]):
        raise BenchError(f"{what}: {len(written[0])} rows were written, {len(found[0])} others are read")
    count, total, m2, *exact = written[2]
    count_, total_, m2_, *exact_ = found[2]
    is_same = np.array_equal([count, *exact], [count_, *exact_]) and np.allclose(total, total_, rtol=1e-12, atol=0)
    noise = 1e-12 * np.sqrt(count) * np.abs(exact).max(axis=0)
    if not is_same or (np.abs(np.sqrt(m2) - np.sqrt(m2_)) > np.maximum(deviation * np.sqrt(m2), noise)).any():
        raise BenchError(f"{what}: of {len(count)} rows some are not what was written")


def measured(span: Span, series: int) -> dict[str, float]:
    """rows; allocated bytes as slabs and as tiles; bytes written by the process and by the disk; seconds of sealing."""
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        path = Path(directory)
        history, probe, writes, rows = History(path, KEEP_ALL), Probe(series), Writes(path), 0
        for step, columns in span:
            with writes:
                rows += history.append(span.tier, step, columns)
            probe.take(step, columns)
        slabs = disk_bytes(path)
        probe.check(history, span.tier)
        with writes:
            seconds = seal_all(history, span.end)
        probe.check(history, span.tier)
        tiles = disk_bytes(path)
        history.close()
    sizes = {"rows": rows, "slabs": slabs, "tiles": tiles, "seal_seconds": seconds}
    return sizes | {"own": writes.own, "disk": writes.disk}


def fleet_sizes(tier: int, series: int, samples: int, steps: int, seed: int) -> dict[str, float]:
    """`measured` of a fleet mix."""
    return measured(Span(tier, START, steps, by_id(Fleet(series, samples, seed))), series)


def pure_sizes(sort: str, series: int, steps: int) -> dict[str, float]:
    """`measured` of series that are all of one sort of PURE."""
    every = PURE[sort](series, steps)
    at = iter(range(steps))
    dense = np.zeros((6, series + 1))

    def next_step() -> Columns:
        dense[:, 1:] = every[:, next(at)]
        return dense

    return measured(Span(TEN_SECONDS, START, steps, next_step), series)


def sketch_sizes(tier: int, series: int, samples: int, steps: int) -> dict[str, float]:
    """Sketches, and allocated bytes as slabs and as tiles, of lognormal latencies; their rows are all alike."""
    random = np.random.default_rng(1)
    seconds, ids = TIERS[tier].step_seconds, np.arange(1, series + 1, dtype=np.uint32)
    rows = np.ones((6, series + 1))
    rows[:, 0] = rows[2] = 0.0
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        path, history = Path(directory), History(Path(directory), KEEP_ALL)
        for step in range(START, START + steps * seconds, seconds):
            blobs = [from_values(random.lognormal(4, 0.6, samples)) for _ in range(series)]
            offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
            history.append(tier, step, rows, Sketches(ids, np.full(series, step), offsets, b"".join(blobs)))
        slabs = disk_bytes(path)
        seal_all(history, START + steps * seconds)
        found = len(history.read_sketches(tier, ids, START, START + steps * seconds))
        tiles = disk_bytes(path)
        history.close()
    if found != series * steps:
        raise BenchError(f"{series * steps} sketches were written, {found} are read")
    return {"rows": found, "slabs": slabs, "tiles": tiles}


def cpu_gauges(series: int, steps: int) -> Columns:
    """float64[6, steps, series]: the fleet mix's gauges only."""
    fleet = Fleet(series, only="gauges")
    return np.stack([fleet.step() for _ in range(steps)], axis=1)


PURE: Final[dict[str, Callable[[int, int], Columns]]] = {
    "gauges": cpu_gauges,
    "even": uniform_gauges,
    "doubles": full_entropy,
}


def measure(pace: Pace) -> list[Figure]:
    """Blocks as long as they are, at a quick pace of fewer series."""
    fleet = partial(
        apart, fleet_sizes, tier=TEN_SECONDS, series=pace.part(SERIES), steps=TIERS[TEN_SECONDS].block_steps
    )
    ten = [fleet(samples=10, seed=seed + 1) for seed in range(pace.part(3))]
    one = fleet(samples=1, seed=1)
    coarser = [
        apart(
            fleet_sizes,
            tier=tier,
            series=pace.part(COARSE_SERIES, 512),
            samples=TIERS[tier].step_seconds,
            steps=TIERS[tier].block_steps,
            seed=1,
        )
        for tier in (MINUTE, HOUR)
    ]
    sizes = {"series": pace.part(PURE_SERIES, 1024), "steps": TIERS[TEN_SECONDS].block_steps}
    pure = {sort: apart(pure_sizes, sort=sort, **sizes) for sort in PURE}
    sketches = {
        tier: apart(
            sketch_sizes,
            tier=tier,
            series=pace.part(SKETCH_SERIES, 32),
            samples=SAMPLES_A_SECOND * TIERS[tier].step_seconds,
            steps=TIERS[tier].block_steps,
        )
        for tier in (MINUTE, HOUR)
    }
    figures = [*_row_figures(ten, one, *coarser), *_value_figures(pure), *_sketch_figures(sketches)]
    return [*figures, _amplification(ten)]


def _a_row(found: dict[str, float], what: str = "tiles") -> float:
    return found[what] / found["rows"]


def _row_figures(
    ten: list[dict[str, float]], one: dict[str, float], minutes: dict[str, float], hours: dict[str, float]
) -> list[Figure]:
    sealing = np.median([found["rows"] / found["seal_seconds"] for found in ten]) / 1e6
    rows = (
        ("10s", "10-s tier, ten samples a step", ten, 3.0, f"; sealed at {sealing:.1f} M rows/s"),
        ("10s.one", "10-s tier, one sample a step", [one], 3.0, ""),
        ("1m", "1-min tier, a sample a second", [minutes], None, ""),
        ("1h", "1-h tier, a sample a second", [hours], 6.0, ""),
    )
    return [
        Figure(
            f"history-bytes.{name}",
            f"a row on disk, fleet mix, {what}",
            "bytes",
            [_a_row(sizes) for sizes in found],
            at_most=at_most,
            note=f"{np.median([_a_row(sizes, 'slabs') for sizes in found]):.2f} as slabs, until it is sealed{more}",
        )
        for name, what, found, at_most, more in rows
    ]


def _value_figures(pure: dict[str, dict[str, float]]) -> list[Figure]:
    """Of the five values of a row, of ten samples."""
    of = {sort: _a_row(sizes) / VALUES_A_ROW for sort, sizes in pure.items()}
    what = "a value on disk"
    worst = f"even over 0 to 100 and without memory {of['even']:.2f}"
    return [
        Figure("history-bytes.gauges", f"{what}, two-decimal gauges", "bytes", [of["gauges"]], at_most=1.3, note=worst),
        Figure(
            "history-bytes.doubles", f"{what}, full-entropy doubles, lossless", "bytes", [of["doubles"]], at_most=6.0
        ),
    ]


def _sketch_figures(sketches: dict[int, dict[str, float]]) -> list[Figure]:
    return [
        Figure(
            f"history-bytes.sketch.{TIERS[tier].name}",
            f"a sketch on disk, lognormal latencies at {SAMPLES_A_SECOND} samples a second, {TIERS[tier].name} tier",
            "bytes",
            [_a_row(found)],
            note=f"{_a_row(found, 'slabs'):.0f} in slabs",
        )
        for tier, found in sketches.items()
    ]


def _amplification(ten: list[dict[str, float]]) -> Figure:
    disk = np.median([found["disk"] / found["tiles"] for found in ten])
    return Figure(
        "history-bytes.written",
        "bytes written over bytes that are left, 10-s tier: slabs, tiles and every other page",
        "×",
        [found["own"] / found["tiles"] for found in ten],
        at_most=2.5,
        note=f"the disk wrote {disk:.2f} meanwhile, with the file system's own and what others wrote",
    )

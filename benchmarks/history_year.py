"""A year of history as it is kept: hours, the last 30 days of minutes, the last two days of 10-s steps; all is read.

Each step is appended and each block sealed when it is due, as an engine does; where the finer tier is there, a coarser
step is rolled from it. Then everything is compared with what was written, as `History` and as a query reads it, the
directory is verified, backed up while it is open, restored, verified and compared again: by the commands themselves.
A row that is not there or is another makes the measurement fail; the figures are what the rest took. It all happens in
memory, where a tmpfs is mounted: 70,000 synced commits are no part of the question.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Columns, Fleet
from benchmarks.history import DEVIATION, KEEP_ALL, START, Span, by_id, compare
from hms_ops import Engine
from hms_ops.bench import BenchError
from hms_ops.clock import SECOND_NS, ManualClock
from hms_ops.kinds import GAUGE
from hms_ops.series import SeriesInfo
from hms_ops.storage import merge
from hms_ops.storage.backup import back_up
from hms_ops.storage.history import History
from hms_ops.storage.merge import Part
from hms_ops.storage.store import Storage, open_storage
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

DAY_SECONDS: Final = 86_400
DAYS: Final = {HOUR: 365, MINUTE: 30, TEN_SECONDS: 2}
SAMPLES: Final = {HOUR: 60, MINUTE: 30, TEN_SECONDS: 10}
ROLLED: Final = {tier: (tier + 1) * DEVIATION for tier in DAYS}
"""By which a deviation may be off: it is rounded in each tier that it came through."""
SERIES: Final = 100
METRIC: Final = "year.gauge"
QUERIES: Final = 7
TMPFS: Final = Path("/dev/shm")


class Year:
    """Writes it, and keeps what every row must be. `days`: of hours; minutes and 10-s steps are cut in proportion."""

    def __init__(self, storage: Storage, days: dict[int, int]) -> None:
        self._history = storage.history
        self.end = START + days[HOUR] * DAY_SECONDS
        self.begins = {tier: self.end - days[tier] * DAY_SECONDS for tier in days}
        self.rows = 0
        infos = [SeriesInfo(METRIC, {"host": f"{number:03}"}, GAUGE) for number in range(SERIES)]
        storage.catalogue.ids_for(infos, START * SECOND_NS)
        self._kept: dict[int, list[Part]] = {tier: [] for tier in days}

    def write(self) -> None:
        ends = {HOUR: self.begins[MINUTE], MINUTE: self.begins[TEN_SECONDS], TEN_SECONDS: self.end}
        for tier, end in ends.items():
            seconds = TIERS[tier].step_seconds
            fleet = Fleet(SERIES, SAMPLES[tier], seed=tier)
            for step, columns in Span(tier, self.begins[tier], (end - self.begins[tier]) // seconds, by_id(fleet)):
                self.rows += self._history.append(tier, step, columns)
                self._keep(tier, step, columns[:, 1:])
                self._roll(tier, step + seconds)

    def _roll(self, written: int, now: int) -> None:
        for tier in range(written + 1, HOUR + 1):
            seconds = TIERS[tier].step_seconds
            if now % seconds == 0:
                self.rows += self._history.roll(tier, now - seconds)
        if now % TIERS[HOUR].step_seconds == 0:
            for tier, block in self._history.sealable(now):
                self._history.seal(tier, block)

    def _keep(self, tier: int, step: int, columns: Columns) -> None:
        places = np.flatnonzero(columns[0] > 0)
        self._kept[tier].append((np.full(len(places), step), places, columns[:, places].copy()))

    def expected(self, tier: int) -> Part:
        """Every row of a tier, those that were rolled folded from the finer ones."""
        seconds = TIERS[tier].step_seconds
        parts = [merge.join(self._kept[finer]) for finer in range(tier, -1, -1)]
        return merge.fold(*merge.join([(steps - steps % seconds, places, columns) for steps, places, columns in parts]))


def check(history: History, year: Year) -> int:
    """The rows of all tiers, compared."""
    ids, rows = np.arange(1, SERIES + 1, dtype=np.uint32), 0
    for tier in DAYS:
        found = history.read_columns(tier, ids, 0, 1 << 40)
        compare(f"tier {TIERS[tier].name}", year.expected(tier), found, ROLLED[tier])
        rows += len(found[0])
    return rows


def check_queries(data_dir: Path, year: Year) -> list[float]:
    """The same through `Past` in a running engine; then ms of queries by day over the year, each checked."""
    clock, found = ManualClock((year.end + 5) * SECOND_NS), []
    with Engine(udp=None, http=None, data_dir=str(data_dir), clock=clock) as engine:
        known = engine.past.known(METRIC)
        for tier in DAYS:
            chunks = engine.past.chunks(known, year.begins[tier], year.end, TIERS[tier].step_seconds)
            parts = merge.join([part for _, part in chunks])
            what = f"a query of tier {TIERS[tier].name}"
            compare(what, year.expected(tier), merge.fold(*parts), ROLLED[tier])
        steps, _, columns = year.expected(HOUR)
        days = (steps - START) // DAY_SECONDS
        sums = np.bincount(days, columns[merge.SUM])
        for _ in range(QUERIES):
            begun = time.perf_counter()
            answer = engine.query(f"sum({METRIC})", START, year.end, DAY_SECONDS)
            found.append((time.perf_counter() - begun) * 1e3)
            points = [value for _, value in answer["series"][0]["points"]]
            if len(points) != len(sums) or not np.allclose(points, sums, rtol=1e-9):
                raise BenchError(f"the year by day has {len(points)} points, or others than what was written")
    return found


@contextmanager
def opened(data_dir: Path) -> Iterator[Storage]:
    storage = open_storage(data_dir, KEEP_ALL)
    try:
        yield storage
    finally:
        storage.close()


def command(*arguments: str) -> float:
    """Run `hms-ops-engine`; the seconds it took. CalledProcessError when it finds something wrong."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hms_ops", *arguments], check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - begun


def a_year(days: dict[str, int]) -> dict[str, Any]:
    """rows, bytes of each tier, seconds of each part, ms of the queries."""
    by_tier = {tier: days[TIERS[tier].name] for tier in DAYS}
    seconds: dict[str, float] = {}
    in_memory = TMPFS if TMPFS.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-", dir=in_memory) as directory:
        data_dir, copy, restored = (Path(directory, name) for name in ("data", "backup", "restored"))
        with opened(data_dir) as storage:
            year = Year(storage, by_tier)
            begun = time.perf_counter()
            year.write()
            seconds["write"] = time.perf_counter() - begun
            rows = check(storage.history, year)
            counters = storage.history.counters()
            begun = time.perf_counter()
            back_up(storage, copy, year.end * SECOND_NS)
            seconds["back up"] = time.perf_counter() - begun
        query_ms = check_queries(data_dir, year)
        seconds["verify"] = command("verify", str(data_dir))
        command("verify", str(copy))
        seconds["restore"] = command("restore", str(copy), "--data-dir", str(restored))
        with opened(restored) as storage:
            if check(storage.history, year) != rows:
                raise BenchError("the restored history has other rows")
    return {"rows": rows, "sizes": counters, "seconds": seconds, "query_ms": query_ms}


def measure(pace: Pace) -> list[Figure]:
    days = {TIERS[tier].name: pace.part(count) for tier, count in DAYS.items()}
    found = apart(a_year, days=days)
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found["seconds"].items())
    sizes = ", ".join(f"{name} {found['sizes'][f'bytes_on_disk_{name}'] / 1e6:.1f} MB" for name in days)
    return [
        Figure(
            "history-year.lost",
            f"a year by hour, a month by minute, two days by 10 s, {SERIES} series: rows that differ after verify, "
            "backup and restore",
            "",
            [0.0],
            at_most=0.0,
            note=f"{found['rows']:,} rows compared; {sizes}; {parts}",
        ),
        Figure(
            "history-year.query",
            f"query of {SERIES} series over {days['1h']} days, by day, warm",
            "ms",
            found["query_ms"],
        ),
    ]

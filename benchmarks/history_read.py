"""Reading history: a day of one series and of a page of 64 at 10 s, a year of one series at 1 h; disk and caches warm.

The day is as an engine has it at its end: 23 hours are tiles, the one that has just closed is slabs still, the dearest
moment; minutes and hours are rolled beside it. `History` is asked by number, `Past` as a query asks: by name, disk and
memory spliced. A page is 64 neighbours, half of them in one tile. Every answer is compared with what was written.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Columns, Fleet
from benchmarks.history import KEEP_ALL, START, Span, by_id, compare
from hms_ops import Engine
from hms_ops.bench import BenchError
from hms_ops.clock import SECOND_NS, ManualClock
from hms_ops.kinds import GAUGE
from hms_ops.series import SeriesInfo
from hms_ops.storage.history import History
from hms_ops.storage.merge import Part
from hms_ops.storage.store import open_storage
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

DAY_SECONDS: Final = 86_400
YEAR_SECONDS: Final = 365 * DAY_SECONDS
SERIES: Final = 2_000
YEAR_SERIES: Final = 512
YEAR_SAMPLES: Final = 36
METRIC: Final = "read.gauge"
PAGE: Final = slice(1_001, 1_065)  # of the ids
ONE: Final = slice(1_033, 1_034)
READS: Final = 21

Read = Callable[[], Part]


def series_infos(series: int) -> list[SeriesInfo]:
    """Those of METRIC, in the order of their numbers."""
    return [SeriesInfo(METRIC, {"host": f"{number:06}"}, GAUGE) for number in range(1, series + 1)]


def write_day(data_dir: Path, series: int, steps: int) -> Columns:
    """A data directory with so many steps of 10 s from START on, as a recorder would have left it. Returns
    float64[6, steps, 64], the rows of the page."""
    storage = open_storage(data_dir, KEEP_ALL)
    ids = storage.catalogue.ids_for(series_infos(series), START * SECOND_NS)
    if ids.tolist() != list(range(1, series + 1)):
        raise BenchError("the catalogue gave other numbers than 1 and on")
    history, kept = storage.history, []
    for step, columns in Span(TEN_SECONDS, START, steps, by_id(Fleet(series))):
        history.append(TEN_SECONDS, step, columns)
        kept.append(columns[:, PAGE].copy())
        end = step + TIERS[TEN_SECONDS].step_seconds
        for tier in (MINUTE, HOUR):
            if end % TIERS[tier].step_seconds == 0:
                history.roll(tier, end - TIERS[tier].step_seconds)
        if end % TIERS[HOUR].step_seconds == 0:
            for tier, block in history.sealable(end):
                history.seal(tier, block)
    storage.close()
    return np.stack(kept, axis=1)


def timed(read: Read, written: Columns, start: int, step_seconds: int) -> list[float]:
    """ms of each of READS. BenchError when an answer is not `written` float64[6, steps, series]."""
    at, place = np.nonzero(written[0] > 0)
    compare("a read", (start + step_seconds * at, place, written[:, at, place]), read())
    found = []
    for _ in range(READS):
        begun = time.perf_counter()
        read()
        found.append((time.perf_counter() - begun) * 1e3)
    return found


def day(series: int, steps: int) -> dict[str, list[float]]:
    """ms of each read of the last 24 h, or of all steps if they are fewer: of one series and of a page."""
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        written = write_day(Path(directory), series, steps)
        end = START + steps * 10
        begin = max(START, end - DAY_SECONDS)
        clock = ManualClock((end + 5) * SECOND_NS)
        with Engine(udp=None, http=None, data_dir=directory, clock=clock) as engine:
            found = {}
            for name, ids in (("one", ONE), ("page", PAGE)):
                rows = written[:, (begin - START) // 10 :, ids.start - PAGE.start : ids.stop - PAGE.start]
                for source, read in readers(engine, ids, begin, end).items():
                    found[f"{name}.{source}"] = timed(read, rows, begin, 10)
        return found


def readers(engine: Engine, ids: slice, start: int, end: int) -> dict[str, Read]:
    """The same rows by number from history, and by name from the past."""
    storage = engine.recorder.storage
    assert storage is not None
    history, numbers = storage.history, np.arange(ids.start, ids.stop, dtype=np.uint32)
    known = engine.past.known(METRIC)[ids.start - 1 : ids.stop - 1]
    return {
        "history": lambda: history.read_columns(TEN_SECONDS, numbers, start, end),
        "past": lambda: engine.past.rows(known, start, end, 10),
    }


def year(series: int, seconds: int) -> dict[str, list[float]]:
    """ms of each read of one series over so many seconds in the 1-h tier."""
    with tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as directory:
        history, kept = History(Path(directory), KEEP_ALL), []
        span = Span(HOUR, START, seconds // 3600, by_id(Fleet(series, YEAR_SAMPLES)))
        number = series // 2
        for step, columns in span:
            history.append(HOUR, step, columns)
            kept.append(columns[:, [number]])
            for tier, block in history.sealable(step):
                history.seal(tier, block)
        ids = np.array([number], np.uint32)
        found = timed(lambda: history.read_columns(HOUR, ids, START, span.end), np.stack(kept, axis=1), START, 3600)
        history.close()
    return {"year": found}


def measure(pace: Pace) -> list[Figure]:
    """A day and a year."""
    steps = pace.part(DAY_SECONDS // 10, 1_440)
    found: dict[str, Any] = apart(day, series=SERIES, steps=steps)
    found |= apart(year, series=YEAR_SERIES, seconds=pace.part(YEAR_SECONDS))
    hours = min(24.0, steps / 360)
    page = PAGE.stop - PAGE.start
    rows = (
        ("one", f"{hours:g} h of one series at 10 s", "history", "past", 5.0),
        ("page", f"{hours:g} h of {page} series at 10 s", "history", "past", 30.0),
    )
    figures = [
        Figure(
            f"history-read.{name}.{source}",
            f"{what}, {'by number' if source == 'history' else 'as a query reads it'}, warm",
            "ms",
            found[f"{name}.{source}"],
            at_most=at_most,
            note=f"longest {max(found[f'{name}.{source}']):.1f} ms",
        )
        for name, what, *sources, at_most in rows
        for source in sources
    ]
    days = pace.part(YEAR_SECONDS) // DAY_SECONDS
    return [
        *figures,
        Figure(
            "history-read.year",
            f"one series over {days:g} days at 1 h, warm",
            "ms",
            found["year"],
            at_most=3.0,
            note=f"longest {max(found['year']):.1f} ms",
        ),
    ]

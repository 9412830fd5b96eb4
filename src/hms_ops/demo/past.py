"""A day of history for the demo, written before its engine starts, so that its screens have a yesterday: a process of
its own, `python -m hms_ops.demo.past DIR`.

24 h of minutes and the last two hours by 10 s, of the fleet's series and of the three services of the story; coarser
rows are made of them. The rush has a forerunner: an hour in the morning in which writes were slow and the alert fired.
It ends with the last whole step: the demo's own seconds follow. Rows are those of an import (storage/exchange.py):
simulated samples, truthfully aggregated.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.demo.fleet import DAY, MEMBERS, level
from hms_ops.demo.load import Load
from hms_ops.demo.service import AGENCIES, SPREAD
from hms_ops.demo.story import ALERT, METRIC, SLO
from hms_ops.series import SeriesInfo
from hms_ops.storage.exchange import Importer, Touched
from hms_ops.storage.intake import Batch, Tally
from hms_ops.storage.store import open_storage
from hms_ops.storage.tier import MINUTE, TEN_SECONDS, TIERS

SPANS: Final = {MINUTE: DAY, TEN_SECONDS: 2 * 3_600}
ROWS_AT_ONCE: Final = 150_000
SLOW_BEGAN: Final = 6.2 * 3_600  # ago
SLOW_SECONDS: Final = 23 * 60.0
SLOW_MS: Final = 260.0

Floats = NDArray[np.float64]
UNITS: Final = {METRIC: ("ms", "time to write a row"), "finance.api_ms": ("ms", "time to answer a call")}
LETTERS: Final = {"c": "counter", "ms": "timer", "g": "gauge"}


class Line(NamedTuple):
    """One series: its samples a second, its level by Unix second, and the deviation of a sample, of the level."""

    info: SeriesInfo
    per_second: float
    levels: Floats
    noise: float


def seed(data_dir: Path) -> int:
    """Write the past into a new data directory; returns the rows. StartError when it is in use."""
    ends = [int(time.time()) // tier.step_seconds * tier.step_seconds for tier in TIERS]
    storage = open_storage(data_dir)
    try:
        tally = Tally()
        importer = Importer(storage.history, storage.catalogue, tally, time.time_ns(), ends, Touched())
        for tier in SPANS:
            for batch in batches(tier, ends[tier]):
                importer.write(batch)
            if tier == MINUTE:
                importer.fill()
        for member in MEMBERS:
            storage.catalogue.describe(member.metric, unit=member.signal.unit, help=member.signal.help)
        for name, (unit, words) in UNITS.items():
            storage.catalogue.describe(name, unit=unit, help=words)
        return tally.written
    finally:
        storage.close()


def batches(tier: int, end: int) -> Iterator[Batch]:
    """The rows of a tier, by step, all series beside each other."""
    step = TIERS[tier].step_seconds
    steps = np.arange(end - SPANS[tier], end, step, dtype=np.int64)
    lines = list(story_lines(steps, end)) + list(fleet_lines(steps))
    chance = np.random.default_rng(7)
    columns = np.stack([columns_of(line, step, chance) for line in lines], axis=2)  # [field, step, series]
    at_once = max(1, ROWS_AT_ONCE // len(lines))
    series = [line.info for line in lines]
    for first in range(0, len(steps), at_once):
        part = steps[first : first + at_once]
        places = np.tile(np.arange(len(lines)), len(part))
        rows = columns[:, first : first + at_once].reshape(len(columns), -1)
        yield Batch(tier, series, np.repeat(part, len(lines)), places, np.ascontiguousarray(rows))


def fleet_lines(steps: NDArray[np.int64]) -> Iterator[Line]:
    for member in MEMBERS:
        kind = kinds.kind_number(LETTERS[member.signal.letter])
        info = SeriesInfo(member.metric, {"host": member.host}, kind)
        yield Line(info, 1.0, level(member, steps.astype(np.float64), np.sin, np.cos), member.signal.noise)


def story_lines(steps: NDArray[np.int64], end: int) -> Iterator[Line]:
    """What the three services would have sent; the slow time is in all that waits for the database."""
    slow_from = end - SLOW_BEGAN
    is_slow = (steps >= slow_from) & (steps < slow_from + SLOW_SECONDS)
    rest_ms = Load().write_ms(0.0)
    write_ms = np.where(is_slow, SLOW_MS, rest_ms)
    yield Line(SeriesInfo(METRIC, {}, kinds.kind_number("timer")), 200.0, write_ms, SPREAD)
    yield Line(SeriesInfo("db.replicas", {}, kinds.kind_number("gauge")), 20.0, np.ones(len(steps)), 0.0)
    yield Line(SeriesInfo("portal.queue", {}, kinds.kind_number("gauge")), 20.0, np.where(is_slow, 900.0, 40.0), 0.0)
    for agency in AGENCIES:
        tags = {"agency": agency}
        yield Line(SeriesInfo("finance.api_ms", tags, kinds.kind_number("timer")), 60.0, write_ms + 30.0, SPREAD)
        claims = np.full(len(steps), 5.0)
        yield Line(SeriesInfo("finance.claims", tags, kinds.kind_number("counter")), 20.0, claims, 0.5)
    calls = np.full(len(steps), 60.0 * len(AGENCIES))
    for part, levels in (("total", calls), ("good", np.where(is_slow, 0.0, calls))):
        yield Line(SeriesInfo(f"{SLO}.{part}", {}, kinds.kind_number("counter")), 1.0, levels, 0.0)
    yield Line(SeriesInfo(ALERT, {}, kinds.kind_number("gauge")), 1 / 60, is_slow.astype(np.float64), 0.0)


def columns_of(line: Line, step: int, chance: np.random.Generator) -> Floats:
    """count, sum, m2, min, max, last of each step: float64[6, steps]."""
    samples = np.full(len(line.levels), max(1.0, round(line.per_second * step)))
    deviation = line.levels * line.noise
    draws = chance.standard_normal((3, len(line.levels)))
    mean = np.maximum(0.0, line.levels + deviation * draws[0] / np.sqrt(samples))
    reach = deviation * np.minimum(3.0, np.sqrt(2 * np.log(samples)))  # about how far the extremes of so many lie
    low = np.maximum(0.0, mean - reach * (0.8 + 0.2 * np.abs(draws[1])))
    high = mean + reach * (0.8 + 0.2 * np.abs(draws[2]))
    last = np.clip(mean + deviation * draws[1] * 0.5, low, high)
    exact = np.round(np.stack([low, mean, high, last]), 2)
    low, mean, high, last = exact
    return np.stack([samples, np.round(mean * samples, 2), deviation**2 * samples, low, np.maximum(high, mean), last])


if __name__ == "__main__":
    seed(Path(sys.argv[1]))

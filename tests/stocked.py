"""A data directory with some hours of history in all tiers, sealed and open, that nobody has open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage.store import Storage, open_storage
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS

BEGIN = 1_700_000_000 // 3600 * 3600  # 2023-11-14T22:00
HOURS = 3
END = BEGIN + HOURS * 3600
JOURNAL_NS = BEGIN * 10**9
SERIES = [
    SeriesInfo("finance.api_ms", {"agency": "irs", "zone": "a"}, kinds.TIMER),
    SeriesInfo("finance.api_ms", {"agency": "ssa"}, kinds.TIMER),
    SeriesInfo("finance.api_ms", {}, kinds.TIMER),
    SeriesInfo("finance_api_ms", {"odd;tag=": 'a"b,c\\'}, kinds.GAUGE),
    SeriesInfo("hits", {}, kinds.COUNTER),
]


def stock(data_dir: Path, hours: int = HOURS, is_sealed: bool = True) -> None:
    """The first hours are sealed, the last one is open; minutes and hours are rolled."""
    with stored(data_dir) as storage:
        storage.journal.append({"time_ns": JOURNAL_NS, "kind": "start"})
        ids = storage.catalogue.ids_for(SERIES, BEGIN * 10**9)
        storage.catalogue.describe("finance.api_ms", unit="ms", help='API "latency"')
        history, rng = storage.history, np.random.default_rng(1)
        for step in range(BEGIN, BEGIN + hours * 3600, 10):
            if step // 10 % 6 in (1, 2, 4):
                continue  # a commit takes milliseconds: half of the steps will do
            history.append(TEN_SECONDS, step, random_rows(rng, ids))
            if step % 60 == 50:
                history.roll(MINUTE, step - 50)
        for hour in range(BEGIN, BEGIN + hours * 3600, 3600):
            history.roll(HOUR, hour)
        for tier, block in history.sealable(BEGIN + hours * 3600 - 1) if is_sealed else ():
            history.seal(tier, block)


def random_rows(rng: np.random.Generator, ids: np.ndarray) -> np.ndarray:
    """float64[6, n] by id, of two decimals; now and then a series is silent."""
    columns = np.zeros((6, int(ids.max()) + 1))
    for number in ids[rng.random(len(ids)) < 0.9]:
        values = rng.integers(-1000, 100_000, int(rng.integers(1, 8))) / 100
        m2 = float(((values - values.mean()) ** 2).sum())
        columns[:, number] = (
            len(values), round(values.sum(), 2), m2, values.min(), values.max(), values[-1],
        )  # fmt: skip
    return columns


@contextmanager
def stored(data_dir: Path) -> Iterator[Storage]:
    storage = open_storage(data_dir)
    try:
        yield storage
    finally:
        storage.close()

"""What the data directory kept of the story, read from LMDB after the engine has closed it."""

from pathlib import Path
from typing import Final, NamedTuple

from hms_ops.demo.story import METRIC
from hms_ops.storage import merge
from hms_ops.storage.store import open_storage
from hms_ops.storage.tier import TEN_SECONDS, TIERS

STEP_SECONDS: Final = TIERS[TEN_SECONDS].step_seconds


class Kept(NamedTuple):
    """steps of 10 s of METRIC, their samples, their lowest and highest mean in ms; events in the journal."""

    steps: int
    samples: int
    lowest_ms: float
    highest_ms: float
    events: int

    def __str__(self) -> str:
        return (
            f"{METRIC} in steps of {STEP_SECONDS} s: {self.steps}, of {self.samples:,} samples, "
            f"means from {self.lowest_ms:.0f} to {self.highest_ms:.0f} ms; {self.events} events in the journal"
        )


def kept_in(data_dir: Path, since: int = 0) -> Kept:
    """What is there from a Unix second on, opened as the next engine would; StartError when it can't be."""
    storage = open_storage(data_dir)
    try:
        ids = [series_id for series_id, _ in storage.catalogue.find(METRIC)]
        first, last = storage.history.first_step(TEN_SECONDS) or 0, storage.history.last_step(TEN_SECONDS) or 0
        first = max(first, since - since % STEP_SECONDS)
        steps, _, columns = storage.history.read_columns(TEN_SECONDS, ids, first, last + STEP_SECONDS)
        events = storage.journal.counters()["stored"]
    finally:
        storage.close()
    steps, _, columns = merge.fold(steps, steps * 0, columns)  # its series as one
    means = columns[merge.SUM] / columns[merge.COUNT]
    lowest, highest = (means.min(), means.max()) if len(steps) else (0.0, 0.0)
    return Kept(len(steps), round(float(columns[merge.COUNT].sum())), float(lowest), float(highest), events)

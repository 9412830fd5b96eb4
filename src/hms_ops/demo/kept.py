"""What the data directory kept of the story, read from LMDB after the engine has closed it."""

from pathlib import Path
from typing import Final, NamedTuple

from hms_ops.demo.story import METRIC
from hms_ops.storage.store import open_storage

STEP_SECONDS: Final = 10


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


def kept_in(data_dir: Path) -> Kept:
    """Open the directory as the next engine would; StartError when it can't be."""
    storage = open_storage(data_dir)
    try:
        ids = [series_id for series_id, _ in storage.catalogue.find(METRIC)]
        start, end = storage.history.first_step() or 0, (storage.history.last_step() or 0) + STEP_SECONDS
        rows = storage.history.read(ids, start, end, STEP_SECONDS)
        events = storage.journal.counters()["stored"]
    finally:
        storage.close()
    means = rows["sum"] / rows["count"]
    lowest, highest = (means.min(), means.max()) if len(rows) else (0.0, 0.0)
    return Kept(len(rows), round(float(rows["count"].sum())), float(lowest), float(highest), events)

"""The history of a test, for windows beyond the hour that memory has: on disk, written and read by the engine's parts.

    Store ──► Recorder ──► a data directory that the test throws away ──► Past ──► LongView ──► RuleSet

Made by `world.py` only where a rule or query asks for it: each step of ten seconds is written, once a minute of the
test. Threads: the caller's. Errors: StartError, StorageError. Whoever makes one closes it.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from hms_ops._ring import Store
from hms_ops.longview import LongView, Recent
from hms_ops.past import Past
from hms_ops.recorder import Recorder
from hms_ops.storage.store import open_storage

MEMORY_DIRECTORY: Final = Path("/dev/shm")  # what is thrown away needs no disk
WRITE_SECONDS: Final = 60


class LongPast:
    """A data directory of its own behind one store. view: what a RuleSet takes as its `recall`."""

    def __init__(self, store: Store) -> None:
        is_there = MEMORY_DIRECTORY.is_dir() and os.access(MEMORY_DIRECTORY, os.W_OK)
        self._directory = tempfile.TemporaryDirectory(
            prefix="hms-ops-rules-test-", dir=MEMORY_DIRECTORY if is_there else None
        )
        self._storage = open_storage(Path(self._directory.name) / "data")
        self._recorder = Recorder(store)
        self._recorder.open(self._storage)
        self._past = Past(self._recorder)
        self._written = 0
        self.view = LongView(self._past, store)

    def take(self, tier: int, step_start: int) -> None:
        """A step of 10 s (0) or a minute (1) has closed."""
        self._recorder.take(tier, step_start)
        if step_start - self._written >= WRITE_SECONDS:
            self.write()
            self._written = step_start

    def write(self) -> None:
        self._recorder.write_waiting()

    def refresh(self, end: int) -> None:
        """Read the windows that are due, as the reader's thread does in an engine."""
        self.view.refresh(end)

    def recent(self, end: int) -> Recent:
        """For a query now."""
        return Recent(self._past, end)

    def close(self) -> None:
        self._storage.close()
        self._directory.cleanup()

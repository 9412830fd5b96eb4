"""Commits of alert states with an end: a disk that hangs must not hold back a page.

    keeper ──commit(changes)──► one at a time ──► this thread ──► AlertStore.commit
        ▲                                              │
        └── done, refused, or COMMIT_SECONDS_MAX over ─┘

What has taken too long may still succeed: whoever was told that it failed writes the same again, which is harmless, as
changes replace each other by key. While one commit hangs the next is refused at once.
Threads: one runs `run`; `commit` is the keeper's. Without a running thread it commits itself.
"""

import threading
from collections.abc import Sequence
from typing import Final

from hms_ops.change import Change
from hms_ops.errors import StorageError
from hms_ops.storage.alerting import AlertStore

COMMIT_SECONDS_MAX: Final = 5.0
HANGS: Final = f"the disk has not answered for {COMMIT_SECONDS_MAX:g} s"


class Job:
    """One commit on its way."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.done = threading.Event()
        self.error: Exception | None = None


class Committer:
    """Commits for one keeper."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self._job: Job | None = None
        self._wake = threading.Event()
        self._is_running = self._is_stopped = False

    def commit(self, changes: Sequence[Change]) -> None:
        """All or none on disk. StorageError when the disk refuses or hangs."""
        if not self._is_running:
            self._store.commit(changes)
            return
        if self._job is not None and not self._job.done.is_set():
            raise StorageError(HANGS)
        job = self._job = Job(changes)
        self._wake.set()
        if not job.done.wait(COMMIT_SECONDS_MAX):
            raise StorageError(HANGS)
        if job.error is not None:
            raise job.error

    def run(self) -> None:
        """Commit what is given, until `stop`."""
        self._is_running = True
        while not self._is_stopped:
            self._wake.wait()
            self._wake.clear()
            job = self._job
            if job is None or job.done.is_set():
                continue
            try:
                self._store.commit(job.changes)
            except Exception as error:
                job.error = error
            job.done.set()
        self._is_running = False

    def stop(self) -> None:
        """After the keeper's last turn."""
        self._is_stopped = True
        self._wake.set()

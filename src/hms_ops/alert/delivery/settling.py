"""Makes on disk what has become of notifications: delivered ones go, dead ones become dead letters.

A lane settles each of its notifications before it sends the next; when the disk refuses, paging goes on: what could not
be written is kept and tried again, by whoever settles next and by a worker that lives as long as something is left. A
restart would send those again, with the same idempotency keys; `problem` says so.

Threads: any; `settle` returns when it is on disk or refused, `later` at once. Order: the last change of a key wins, and
nothing overtakes what is left of it. Limits: LEFT_MAX changes are kept, the oldest forgotten beyond it and counted.
Errors: none is raised. Without a store nothing is kept anywhere.
"""

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import StorageError
from hms_ops.threads import StartThread

if TYPE_CHECKING:
    from hms_ops.storage.alerting import AlertStore

LOGGER: Final = logging.getLogger("hms_ops.alert")

LEFT_MAX: Final = 100_000
AT_ONCE_MAX: Final = 1_000
TRY_AGAIN_SECONDS: Final = 5.0


class Settler:
    """What is left to be written, and who writes it."""

    def __init__(self, clock: Clock, start_thread: StartThread, store: "AlertStore | None") -> None:
        self.forgotten = 0
        self._clock = clock
        self._start_thread = start_thread
        self.store = store
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._left: dict[tuple[str, str], Change] = {}  # by table and key, oldest first
        self._reason = ""
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._is_stopped = False

    @property
    def left_count(self) -> int:
        with self._lock:
            return len(self._left)

    def settle(self, changes: Sequence[Change]) -> bool:
        """Write changes; False when the disk refuses, and they are kept."""
        if self.store is None or not changes:
            return True
        with self._lock:
            is_alone = not self._left
            if not is_alone:
                self._keep(changes)
        if not is_alone:
            return self.flush()
        try:
            self.store.commit(changes)
        except StorageError as error:
            self._refused(changes, str(error))
            return False
        return True

    def later(self, changes: Sequence[Change]) -> None:
        """Have the worker write them: for who must not wait for the disk."""
        if self.store is not None and changes:
            with self._lock:
                self._keep(changes)
                self._call_worker()

    def flush(self) -> bool:
        """Write all that is left; False when the disk refuses."""
        with self._flushing:
            while batch := self._batch():
                try:
                    assert self.store is not None  # else nothing would be left
                    self.store.commit(batch)
                except StorageError as error:
                    self._refused([], str(error))
                    return False
                self._written(batch)
        return True

    def stop(self) -> bool:
        """Try once more, and end the worker; True when nothing is left."""
        with self._lock:
            self._is_stopped = True
        self._wake.set()
        return self.flush()

    def problem(self) -> str:
        """Why the disk refuses, "" while it does not."""
        with self._lock:
            if not self._reason:
                return ""
            left = len(self._left) + self.forgotten
            return f"{left:,} settled notifications are not on disk, a restart would repeat them: {self._reason}"

    def _keep(self, changes: Sequence[Change]) -> None:
        """Under the lock. A newer change of a key takes the place of the older at the end of the row."""
        for change in changes:
            self._left.pop((change.table, change.key), None)
            self._left[change.table, change.key] = change
        while len(self._left) > LEFT_MAX:
            del self._left[next(iter(self._left))]
            self.forgotten += 1

    def _batch(self) -> list[Change]:
        with self._lock:
            return [change for change, _ in zip(self._left.values(), range(AT_ONCE_MAX), strict=False)]

    def _written(self, batch: Sequence[Change]) -> None:
        with self._lock:
            for change in batch:
                if self._left.get((change.table, change.key)) is change:
                    del self._left[change.table, change.key]
            if not self._left and self._reason:
                LOGGER.info("what has become of notifications is on disk again")
                self._reason, self.forgotten = "", 0

    def _refused(self, changes: Sequence[Change], reason: str) -> None:
        with self._lock:
            if not self._reason:
                LOGGER.error("what has become of notifications cannot be written, and is tried again: %s", reason)
            self._reason = reason
            self._keep(changes)
            self._call_worker()

    def _call_worker(self) -> None:
        """Under the lock: start one unless it runs. Where the system has no more threads, who settles next does it."""
        if self._is_stopped or self._thread is not None:
            return
        try:
            self._thread = self._start_thread("notify-settling", self._work)
        except RuntimeError as error:
            LOGGER.warning("no thread to write what has become of notifications: %s", error)

    def _work(self) -> None:
        while not self._is_over():
            if not self.flush():
                self._clock.sleep_until_ns(self._clock.now_ns() + int(TRY_AGAIN_SECONDS * SECOND_NS), self._wake)

    def _is_over(self) -> bool:
        """Whether the worker ends; it is gone for who looks under the lock behind it."""
        with self._lock:
            if self._left and not self._is_stopped:
                return False
            self._thread = None
            return True

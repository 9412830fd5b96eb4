"""Writes events to the journal from a worker of its own, so that no tick and no receiver waits for the disk.

Fed by the engine (alerts, anomalies, notifications, actions, start, stop, reload). Events keep their order; those that
come while a transaction syncs go into the next one together. What the disk refuses waits and is tried again each
RETRY_SECONDS. Limit: EVENTS_WAITING_MAX, drop-newest, counted; so is what a stop leaves.
Without a data directory events are counted and let go.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from hms_ops.clock import Clock
from hms_ops.errors import StorageError
from hms_ops.storage.journal import Journal

log = logging.getLogger("hms_ops.journal")

EVENTS_WAITING_MAX: Final = 50_000
EVENTS_IN_ONE_GO: Final = 1_000
RETRY_SECONDS: Final = 1.0


class Journalist:
    """The queue in front of one journal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._journal: Journal | None = None
        self._queue: deque[dict[str, Any]] = deque()
        self._wake = threading.Event()
        self._is_stopped = False
        self._problem = ""
        self._pid = os.getpid()
        self._counting = threading.Lock()
        self._counts = {"events": 0, "written": 0, "dropped": 0, "errors": 0}

    def open(self, journal: Journal) -> None:
        self._journal = journal

    def put(self, event: dict[str, Any]) -> None:
        """Queue one event; never waits."""
        if os.getpid() != self._pid:
            return
        with self._counting:
            self._counts["events"] += 1
            is_full = len(self._queue) >= EVENTS_WAITING_MAX
            self._counts["dropped"] += is_full and self._journal is not None
            if is_full or self._journal is None:
                return
            self._queue.append(event)
        self._wake.set()

    def tail(self, limit: int) -> list[dict[str, Any]]:
        """The newest events on disk, oldest first."""
        return self._journal.tail(limit) if self._journal is not None else []

    def stop(self) -> None:
        self._is_stopped = True
        self._wake.set()

    def run(self) -> None:
        """Write until `stop`, and then what is left, once."""
        while True:
            self._wake.wait(RETRY_SECONDS if self._problem else None)
            self._wake.clear()
            is_last = self._is_stopped
            self._write_waiting()
            if is_last:
                if self._queue:
                    self._lose(list(self._queue), self._problem)
                return

    def _write_waiting(self) -> None:
        while self._queue:
            events = self._next()
            done = self._write(events)
            if done < len(events):
                self._queue.extendleft(reversed(events[done:]))
                return
            self._problem = ""

    def counters(self) -> dict[str, int]:
        """events put, written, dropped before they were written, errors; waiting now."""
        with self._counting:
            return self._counts | {"waiting": len(self._queue)}

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, count in more.items():
                self._counts[name] += count

    def _next(self) -> list[dict[str, Any]]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), EVENTS_IN_ONE_GO))]

    def _write(self, events: Sequence[dict[str, Any]]) -> int:
        """How many of the first are done with; the others are to be tried again."""
        assert self._journal is not None
        try:
            self._journal.append(*events)
            self._count(written=len(events))
        except StorageError as error:
            self._fail(str(error))
            return 0
        except Exception as error:  # ours: an event that cannot be packed must not take its neighbours along
            if len(events) > 1:
                return next((done for done, event in enumerate(events) if not self._write([event])), len(events))
            self._count(errors=1)
            self._lose(events, str(error))
        return len(events)

    def _fail(self, problem: str) -> None:
        self._count(errors=1)
        if problem != self._problem:
            log.error("the journal is not written, its events wait in memory: %s", problem)
        self._problem = problem

    def _lose(self, events: Sequence[dict[str, Any]], problem: str) -> None:
        self._count(dropped=len(events))
        log.error("%d events are not in the journal: %s", len(events), problem)

"""Threads that carry out runs of actions: started when something waits, ended when nothing does.

WORKERS_MAX of each kind: commands that hang delay no service. A run is taken from the queue before its worker starts,
so no thread is started for nothing; a worker takes what else waits of its kind. `start_waiting` is called by the one
thread "actions"; the queue's lock is the runner's.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from hms_ops.alert.actions.run import Run
from hms_ops.alert.actions.runqueue import Kind, RunQueue
from hms_ops.threads import StartThread, wait_for

WORKERS_MAX: Final[dict[Kind, int]] = {"service": 8, "command": 4}


class Workers:
    """Those of one runner."""

    def __init__(self, queue: RunQueue, lock: threading.Lock, carry_out: Callable[[Run], None]) -> None:
        self.is_stopped = False
        self._queue = queue
        self._lock = lock
        self._carry_out = carry_out
        self._threads: list[threading.Thread] = []
        self._busy: dict[Kind, int] = dict.fromkeys(WORKERS_MAX, 0)

    def start_waiting(self, start_thread: StartThread) -> None:
        """A worker for each run that can be carried out now, as far as there may be more."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for kind in WORKERS_MAX:
            while (run := self._take_first(kind)) is not None:
                self._threads.append(start_thread(f"actions-{kind}", partial(self._work, kind, run)))

    def run_one(self) -> bool:
        """Carry out one run of any kind here and now; False when none can be."""
        with self._lock:
            run = self._queue.take()
        if run is not None:
            self._run(run)
        return run is not None

    def join(self, seconds_left: Callable[[], float]) -> bool:
        """Wait for all; True when they have ended."""
        for thread in self._threads:
            wait_for(thread, seconds_left())
        return not any(thread.is_alive() for thread in self._threads)

    def _take_first(self, kind: Kind) -> Run | None:
        """A run for one more worker, who is counted at once."""
        with self._lock:
            may_start = not self.is_stopped and self._busy[kind] < WORKERS_MAX[kind]
            run = self._queue.take(kind) if may_start else None
            self._busy[kind] += run is not None
            return run

    def _work(self, kind: Kind, first: Run) -> None:
        run: Run | None = first
        while run is not None:
            self._run(run)
            with self._lock:
                run = None if self.is_stopped else self._queue.take(kind)
                self._busy[kind] -= run is None

    def _run(self, run: Run) -> None:
        try:
            self._carry_out(run)
        finally:
            with self._lock:
                self._queue.done(run)

"""Python functions that the engine calls: `@engine.on_metric` with values, `@engine.on_alert` with alerts.

    store's queue of subscribed values ──distributor──► a worker for each handler ──► handler(value) or (float64[n])
    alert events ──────────────────────────────────────► a worker for each handler ──► handler(Alert)

Each handler has a queue and a thread of its own, so one that is slow, hangs or raises costs no other handler anything:
it is late with its own values, and loses its oldest beyond QUEUE_MAX. All handlers of values together are given a tenth
of a core: after a round that took t of CPU, one of k rests 10·k·t − t. A round ends after ROUND_SECONDS of CPU, so that
a queue that has filled meanwhile makes no long burst. Handlers of alerts are not slowed down.

Counters: delivered (values or alerts handed to a handler), dropped, errors (calls that raised; the first ERRORS_LOGGED
are logged), and for the store's own queue `subscribed_dropped` there. `problems` names handlers that have not returned
for SLOW_SECONDS. A thread cannot be ended from outside: a handler of alerts that has not returned for ALERT_SECONDS_MAX
is left behind, counted in `overdue`, and another thread goes on with its queue; a thread of the crew looks each second.
Limits: HANDLERS_MAX of each sort, QUEUE_MAX values or alerts waiting for each, LEFT_BEHIND_MAX threads left behind.
"""

import logging
import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.notification import Alert
from hms_ops.clock import SECOND_NS, steady_ns, thread_seconds
from hms_ops.threads import StartThread, wait_for

log = logging.getLogger("hms_ops.hooks")

PAUSE_SECONDS: Final = 0.02
CORES_PER_SHARE: Final = 10  # the handlers of values may have one core in so many
ROUND_SECONDS: Final = 0.01
HANDLERS_MAX: Final = 64
QUEUE_MAX: Final = 65_536
ERRORS_LOGGED: Final = 10
SLOW_SECONDS: Final = 10.0
ALERT_SECONDS_MAX: Final = 60.0  # what a handler of alerts has for one
RELIEF_SECONDS: Final = 1.0  # how often it is looked whether one has had its time
LEFT_BEHIND_MAX: Final = 3  # threads of one handler that have not come back

ValueHandler = Callable[[Any], object]
AlertHandler = Callable[[Alert], object]


class Worker:
    """One handler with its queue and its thread. Items are (what to call it with, how many values that is)."""

    def __init__(
        self, handler: Callable[[Any], object], rest_factor: Callable[[], float], seconds_max: float = math.inf
    ) -> None:
        self.handler = handler
        self.delivered = self.dropped = self.errors = self.overdue = 0
        self._seconds_max = seconds_max
        self._generation = 0  # of the thread whose queue it is
        self._begin: Callable[[], threading.Thread] | None = None
        self._rest_factor = rest_factor
        self._queue: deque[tuple[list[Any], int]] = deque()
        self._waiting = 0
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._is_cut = False
        self._called_ns = 0  # since when the handler runs; 0 while it does not
        self._thread: threading.Thread | None = None

    def start(self, start_thread: StartThread, name: str) -> None:
        self._begin = lambda: start_thread(name, partial(self._run, self._generation))
        self._thread = self._begin()

    @property
    def is_timed(self) -> bool:
        """Whether its handler has a time for each call."""
        return self._seconds_max < math.inf

    def relieve(self) -> None:
        """Leave a handler behind that has had its time, and go on with the queue."""
        with self._guard:
            called_ns = self._called_ns
            has_time = not called_ns or steady_ns() - called_ns < self._seconds_max * SECOND_NS
            if has_time or self._begin is None or self.overdue >= LEFT_BEHIND_MAX:
                return
            self.overdue += 1
            self._generation += 1
            self._called_ns = 0
            self._thread = self._begin()
        log.error("the handler %r has not returned for %g s and was left behind", self.handler, self._seconds_max)
        self._wake.set()

    def put(self, arguments: list[Any], size: int) -> None:
        """Queue calls that carry `size` values together; never waits. Beyond QUEUE_MAX the oldest are dropped."""
        with self._guard:
            self._queue.append((arguments, size))
            self._waiting += size
            while self._waiting > QUEUE_MAX and len(self._queue) > 1:
                _, lost = self._queue.popleft()
                self._waiting -= lost
                self.dropped += lost
        self._wake.set()

    def stop(self) -> None:
        """Hand out what is queued, then end."""
        self._stop.set()
        self._wake.set()

    def cut(self, wait_seconds: float) -> None:
        """Wait for the end; after `wait_seconds` the call under way is the last one."""
        if self._thread is not None:
            wait_for(self._thread, wait_seconds)
        self._is_cut = True

    def problem(self) -> str:
        """A handler that does not come back, or ""."""
        called_ns = self._called_ns
        seconds = (steady_ns() - called_ns) / SECOND_NS if called_ns else 0.0
        return f"the handler {self.handler!r} has not returned for {seconds:.0f} s" if seconds > SLOW_SECONDS else ""

    def _run(self, generation: int) -> None:
        while generation == self._generation:
            self._wake.wait()
            self._wake.clear()
            is_stopped = self._stop.is_set()
            begun = thread_seconds()
            while (taken := self._take(generation)) is not None:
                self._call(generation, *taken)
                if not is_stopped and thread_seconds() - begun > ROUND_SECONDS:
                    self._wake.set()  # the rest of the queue is the next round's
                    break
            if is_stopped:
                return
            self._stop.wait(self._rest_factor() * (thread_seconds() - begun))
        self._wake.set()  # for the one that has taken over

    def _take(self, generation: int) -> tuple[list[Any], int] | None:
        with self._guard:
            if not self._queue or self._is_cut or generation != self._generation:
                return None
            taken = self._queue.popleft()
            self._waiting -= taken[1]
            return taken

    def _call(self, generation: int, arguments: list[Any], size: int) -> None:
        for argument in arguments:
            self._called_ns = steady_ns()
            try:
                self.handler(argument)
            except Exception:
                self.errors += 1
                if self.errors <= ERRORS_LOGGED:
                    log.exception("the handler %r failed", self.handler)
        with self._guard:
            if generation == self._generation:
                self._called_ns = 0
        self.delivered += size


class Crew:
    """The workers of one sort of handlers: started together, each its own thread from then on. Where they have a time
    for each call, one more thread looks after them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._workers: list[Worker] = []
        self._start_thread: StartThread | None = None
        self._watch: threading.Thread | None = None
        self._is_over = threading.Event()

    def __len__(self) -> int:
        return len(self._workers)

    def hire(
        self, handler: Callable[[Any], object], rest_factor: Callable[[], float], seconds_max: float = math.inf
    ) -> Worker:
        """A worker for a handler. ValueError beyond HANDLERS_MAX."""
        if len(self._workers) >= HANDLERS_MAX:
            raise ValueError(f"{HANDLERS_MAX} {self._name} handlers are there, which is the limit; share one")
        worker = Worker(handler, rest_factor, seconds_max)
        self._workers.append(worker)
        if self._start_thread is not None:
            worker.start(self._start_thread, f"hms-{self._name}-{len(self._workers)}")
        self._begin_watch()
        return worker

    def start(self, start_thread: StartThread) -> None:
        self._start_thread = start_thread
        for number, worker in enumerate(self._workers, 1):
            worker.start(start_thread, f"hms-{self._name}-{number}")
        self._begin_watch()

    def _begin_watch(self) -> None:
        is_needed = self._watch is None and any(worker.is_timed for worker in self._workers)
        if is_needed and self._start_thread is not None:
            self._watch = self._start_thread(f"hms-{self._name}", self._look_after)

    def _look_after(self) -> None:
        while not self._is_over.wait(RELIEF_SECONDS):
            for worker in tuple(self._workers):
                worker.relieve()

    def stop(self, wait_seconds: float) -> None:
        """Hand out what is queued, for so long; a handler that hangs is left behind."""
        self._is_over.set()
        if self._watch is not None:
            wait_for(self._watch, wait_seconds)  # it begins no thread behind our back
        for worker in self._workers:
            worker.stop()
        end_ns = steady_ns() + int(wait_seconds * SECOND_NS)
        for worker in self._workers:
            worker.cut(max(0.0, (end_ns - steady_ns()) / SECOND_NS))

    def counters(self) -> dict[str, int]:
        names = ("delivered", "dropped", "errors", "overdue")
        return {name: sum(getattr(worker, name) for worker in self._workers) for name in names}

    def problems(self) -> list[str]:
        return [problem for worker in self._workers if (problem := worker.problem())]


@dataclass(frozen=True, slots=True)
class ValueHook:
    """A handler of a metric's values; with `is_batch` it takes float64[n] at once."""

    handler: ValueHandler
    is_batch: bool


class ValueHooks:
    """Handlers of values, by metric; `run` is the distributor's."""

    def __init__(self, store: Store) -> None:
        self.crew = Crew("on-metric")
        self._store = store
        self._hooks: dict[str, list[tuple[ValueHook, Worker]]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._cursor = 0
        self._wake = threading.Event()
        self._start_thread: StartThread | None = None
        self._is_running = False

    def add(self, metric: str, hook: ValueHook) -> None:
        """From now on, each value of `metric` reaches `hook`. ValueError for a name no metric can have."""
        self._store.subscribe(metric)
        self._hooks[metric].append((hook, self.crew.hire(hook.handler, self._rest_factor)))
        self._begin()

    def start(self, start_thread: StartThread) -> None:
        self._start_thread = start_thread
        self.crew.start(start_thread)
        self._begin()

    def _begin(self) -> None:
        """The distributor looks fifty times a second: only where there is somebody to distribute to."""
        if self._hooks and self._start_thread is not None and not self._is_running:
            self._is_running = True
            self._start_thread("hms-on-metric", self.run)

    def stop(self) -> None:
        """End the distributor, after what is queued now."""
        self._wake.set()

    def run(self) -> None:
        """Hand values to the workers until `stop`."""
        is_last = False
        while not is_last:
            is_last = self._wake.wait(PAUSE_SECONDS)
            self.distribute()

    def distribute(self) -> None:
        """Hand the values that the store has queued to the workers."""
        slots, values = self._store.take_subscribed()
        if not len(slots):
            return
        self._forget_changed()
        for slot in np.unique(slots).tolist():
            for hook, worker in self._hooks.get(self._name(slot), ()):
                chosen: NDArray[np.float64] = values[slots == slot]
                worker.put([chosen] if hook.is_batch else chosen.tolist(), len(chosen))

    def _rest_factor(self) -> float:
        return float(CORES_PER_SHARE * len(self.crew) - 1)

    def _forget_changed(self) -> None:
        self._cursor, changes = self._store.changes(self._cursor)
        for slot, _ in changes:
            self._names.pop(slot, None)

    def _name(self, slot: int) -> str:
        name = self._names.get(slot)
        if name is None:
            try:
                name = self._store.series(slot).name
            except KeyError:
                return ""
            self._names[slot] = name
        return str(name)


class AlertHooks:
    """Handlers of alerts; name None is every alert."""

    def __init__(self) -> None:
        self.crew = Crew("on-alert")
        self._hooks: list[tuple[str | None, frozenset[str], Worker]] = []

    def add(self, name: str | None, states: frozenset[str], handler: AlertHandler) -> None:
        self._hooks = [*self._hooks, (name, states, self.crew.hire(handler, no_rest, ALERT_SECONDS_MAX))]

    def put(self, alert: Alert) -> None:
        """Queue an alert event for those who asked for it; never waits."""
        for name, states, worker in self._hooks:
            if alert.state in states and name in (None, alert.name):
                worker.put([alert], 1)


def no_rest() -> float:
    return 0.0

"""Python functions that the engine calls: `@engine.on_metric` with values, `@engine.on_alert` with alerts.

Values: only subscribed metrics feed the store's bounded queue (drop-oldest, counted there); one worker takes it every
PAUSE_SECONDS at most and spends no more than a tenth of a core on handlers: after a round that took t it rests 9 t.
Alerts: a bounded queue (drop-newest, counted) with a worker of its own, so a slow value handler delays no alert.

A handler that raises is counted and logged by its first ERRORS_LOGGED errors; it delays or stops no other handler than
by its own time.
"""

import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.notification import Alert

log = logging.getLogger("hms_ops.hooks")

PAUSE_SECONDS: Final = 0.02
REST_FACTOR: Final = 9.0
ALERTS_WAITING_MAX: Final = 10_000
ERRORS_LOGGED: Final = 10

ValueHandler = Callable[[Any], object]
AlertHandler = Callable[[Alert], object]


@dataclass(frozen=True, slots=True)
class ValueHook:
    """A handler of a metric's values; with `is_batch` it takes float64[n] at once."""

    handler: ValueHandler
    is_batch: bool


class ValueHooks:
    """Handlers of values, by metric; `run` is the worker's."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.delivered = self.errors = 0
        self._hooks: dict[str, list[ValueHook]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._cursor = 0
        self._wake = threading.Event()

    def add(self, metric: str, hook: ValueHook) -> None:
        """From now on, each value of `metric` reaches `hook`. ValueError for a name no metric can have."""
        self.store.subscribe(metric)
        self._hooks[metric].append(hook)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def stop(self) -> None:
        self._wake.set()

    def run(self) -> None:
        """Hand values out until `stop`; what is queued then is handed out first."""
        is_last = False
        while not is_last:
            is_last = self._wake.wait(PAUSE_SECONDS)
            begun = time.thread_time()
            self.step()
            self._wake.wait(REST_FACTOR * (time.thread_time() - begun))

    def step(self) -> None:
        """Hand out what is queued now."""
        slots, values = self.store.take_subscribed()
        if not len(slots):
            return
        self._forget_changed()
        for slot in np.unique(slots).tolist():
            for hook in self._hooks.get(self._name(slot), ()):
                self._call(hook, values[slots == slot])

    def _forget_changed(self) -> None:
        self._cursor, changes = self.store.changes(self._cursor)
        for slot, _ in changes:
            self._names.pop(slot, None)

    def _name(self, slot: int) -> str:
        name = self._names.get(slot)
        if name is None:
            try:
                name = self.store.series(slot).name
            except KeyError:
                return ""
            self._names[slot] = name
        return name

    def _call(self, hook: ValueHook, values: NDArray[np.float64]) -> None:
        calls = [values] if hook.is_batch else values.tolist()
        for argument in calls:
            try:
                hook.handler(argument)
            except Exception:
                self._note_error(hook)
        self.delivered += len(values)

    def _note_error(self, hook: ValueHook) -> None:
        self.errors += 1
        if self.errors <= ERRORS_LOGGED:
            log.exception("the on_metric handler %r failed", hook.handler)


class AlertHooks:
    """Handlers of alerts; name None is every alert. `run` is the worker's."""

    def __init__(self) -> None:
        self.delivered = self.dropped = self.errors = 0
        self._hooks: list[tuple[str | None, frozenset[str], AlertHandler]] = []
        self._queue: deque[Alert] = deque()
        self._wake = threading.Event()
        self._is_stopped = False
        self._pid = os.getpid()

    def add(self, name: str | None, states: frozenset[str], handler: AlertHandler) -> None:
        self._hooks.append((name, states, handler))

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def put(self, alert: Alert) -> None:
        """Queue an alert event for those who asked for it; never waits."""
        if not self._hooks or os.getpid() != self._pid:
            return
        if len(self._queue) >= ALERTS_WAITING_MAX:
            self.dropped += 1
            return
        self._queue.append(alert)
        self._wake.set()

    def stop(self) -> None:
        self._is_stopped = True
        self._wake.set()

    def run(self) -> None:
        """Hand alerts out until `stop`; what is queued then is handed out first."""
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._tell(self._queue.popleft())
            if self._is_stopped:
                return

    def _tell(self, alert: Alert) -> None:
        for name, states, handler in self._hooks:
            if alert.state not in states or name not in (None, alert.name):
                continue
            self.delivered += 1
            try:
                handler(alert)
            except Exception:
                self.errors += 1
                if self.errors <= ERRORS_LOGGED:
                    log.exception("the on_alert handler %r failed", handler)

"""From new to started to stopped: what an engine opens, in which order, and how all of it ends.

    start   sockets ─► data directory ─► listeners receive ─► kernels ─► alerts, writers, HTTP, the tick ─► ready
    stop    HTTP, listeners ─► the last tick ─► handlers, notifications ─► history ─► the data directory

When a step of the start fails, what was opened before is taken down again and nothing is left. Numba takes most of a
second to come in, so the listeners receive before; `is_ready` is True when everything runs. A stop goes from the
outside in, so that whatever has arrived goes all the way, and returns within STOP_SECONDS or so.

Threads: start and stop may be called from any, and from a signal's handler in the thread that is starting. Here, and
nowhere else, the engine's threads are begun. Errors: StartError, ConfigError.
"""

import atexit
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hms_ops import __version__
from hms_ops.clock import SECOND_NS, ManualClock, steady_ns
from hms_ops.collector.listener import ListenerConfig, open_listeners
from hms_ops.config import NOT_SENT
from hms_ops.errors import StartError, StorageError
from hms_ops.heartbeat import Heartbeat
from hms_ops.paging import BY_PROGRAM
from hms_ops.parts import Parts
from hms_ops.quantity import Address
from hms_ops.threads import left_seconds

if TYPE_CHECKING:
    import socket

    from hms_ops.engine import Engine
    from hms_ops.ticker import Ticker

log = logging.getLogger("hms_ops.engine")

# What each part of a stop may take of STOP_SECONDS; history comes last, and always has its share.
STOP_SECONDS: Final = 4.0
HTTP_SECONDS: Final = 1.0
LISTENERS_SECONDS: Final = 1.0
HOOKS_SECONDS: Final = 0.5
HISTORY_SECONDS: Final = 1.0
PROGRESS_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Places:
    """Where an engine listens, serves and keeps. sockets: handed over, they take the place of the UDP addresses.
    http: None for no server; data_dir: None keeps an hour in memory."""

    listening: ListenerConfig
    sockets: "Sequence[socket.socket]"
    http: Address | None
    data_dir: Path | None


class Life:
    """The one life of one engine; what its parts open is found in their account. HTTP answers with the engine, and the
    interpreter's exit stops it, so one that runs is never forgotten."""

    def __init__(self, engine: "Engine", parts: Parts, places: Places) -> None:
        self.places = places
        self._engine = engine
        self.http_address: tuple[str, int] | None = None  # while it serves
        self._parts = parts
        self._account = parts.account
        self._config = parts.config
        self._begin = parts.threads.start
        self._wake = threading.Event()
        self._lock = threading.RLock()  # a signal's handler may stop what its own thread is starting
        self._state = "new"  # then "started", "stopped"
        self._is_open = False

    def start(self) -> None:
        """Open everything; returns when ready. StartError: nothing is left running."""
        with self._lock:
            if self._state != "new":
                raise StartError(f"the engine was {self._state} already; make a new Engine to start again")
            self._state = "started"
            try:
                self._open()
                if self._state != "started":  # by a signal's handler, in this thread: it leaves the rest to us
                    raise StartError("the engine was stopped while it started")
            except BaseException:
                self._state = "stopped"
                self._shut()
                raise
            self._is_open = True
            atexit.register(self._engine.stop)

    def stop(self) -> None:
        """Take what is queued, flush everything, end all threads. Idempotent."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
            self._state = "stopped"
            if was_open:
                self._parts.emit({"kind": "stop"})
                self._parts.paging.note("stop", BY_PROGRAM, "engine", "")
                self._shut()
        atexit.unregister(self._engine.stop)

    def abandon(self) -> str | None:
        """In a forked child: let go of what is the parent's, untouched. Returns where its listener takes datagrams."""
        listeners, server = self._parts.listeners, self._account.server
        urls = [url for listener in listeners if (url := listener.url)] if self._state == "started" else []
        for listener in listeners:
            listener.abandon()
        if server is not None:
            server.abandon()
        self._parts.listeners, self._account.server, self.http_address = [], None, None
        self._parts.threads.forget()
        self._account.is_ready = False
        atexit.unregister(self._engine.stop)
        return urls[0] if urls else None

    # ---- the start

    def _open(self) -> None:
        parts, account, places = self._parts, self._account, self.places
        parts.listeners = open_listeners(parts.store, places.listening, places.sockets)
        if places.data_dir is not None:  # after the sockets: an address in use leaves no new directory behind
            self._open_storage(places.data_dir)
        elif self._config.remote:
            log.warning(NOT_SENT)
        for number, listener in enumerate(parts.listeners, 1):
            listener.start(self._begin, number)
        account.receiving_ns = parts.clock.now_ns()
        self._open_alerts()
        self._warm()
        self._begin_parts()
        if places.http is not None:
            self._open_http(places.http)
        if not isinstance(parts.clock, ManualClock):
            self._begin("hms-tick", lambda: account.started_ticker().run(self._wake))
        account.is_ready = self._state == "started"
        parts.emit({"kind": "start", "udp": self._engine.udp_address, "http": self.http_address})
        parts.paging.note("start", BY_PROGRAM, "engine", "", version=__version__)
        if account.server is not None and account.server.insecure:
            parts.paging.note("http-insecure", BY_PROGRAM, "http", "", comment=account.server.insecure)

    def _open_storage(self, data_dir: Path) -> None:
        from hms_ops.storage.history import HistoryConfig
        from hms_ops.storage.store import open_storage

        parts, wanted = self._parts, self._config.history
        keep = (wanted.retention_seconds, wanted.retention_1m_seconds, wanted.retention_1h_seconds)
        kept = HistoryConfig(tuple(map(int, keep)), wanted.bytes_max, wanted.disk_free_min)
        self._account.storage = storage = open_storage(data_dir, kept)
        parts.recorder.open(storage)
        parts.sealer.history = storage.history
        parts.journalist.open(storage.journal)
        parts.paging.audit = storage.audit
        parts.described.catalogue = storage.catalogue

    def _open_alerts(self) -> None:
        duty, storage = self._parts.duty, self._account.storage
        if storage is not None:
            try:
                duty.open(storage.alerting)
            except StorageError as error:
                raise StartError(f"alert states cannot be read: {error}") from error
        duty.objectives.open(self._parts.past)

    def _warm(self) -> None:
        """Load the kernels, while the listeners receive; the first time on a machine they are compiled."""
        is_done = threading.Event()
        self._begin("hms-progress", lambda: tell_progress(is_done))
        try:
            self._account.ticker = self._new_ticker()
            self._parts.duty.warm()
            if self._account.storage is not None:
                self._put_back()
        finally:
            is_done.set()

    def _new_ticker(self) -> "Ticker":
        from hms_ops.tick import Tick  # numba comes in here
        from hms_ops.ticker import Ticker

        parts = self._parts
        return Ticker(
            Tick(parts.store, parts.recorder, parts.duty),
            parts.clock,
            parts.duty,
            parts.publisher,
            parts.in_process,
            lambda: parts.listeners,
            parts.sealed.tell,
        )

    def _put_back(self) -> None:
        """The last hour's steps of what rules read, from disk into the store's columns: windows stay whole."""
        from hms_ops.refill import metrics_wanted, reload_windows

        parts, storage = self._parts, self._account.storage
        assert storage is not None
        read = parts.duty.rulebook.metrics_read() | parts.duty.anomalies.metrics_waiting()
        wanted = metrics_wanted(read, parts.duty.anomaly_rules(), storage.catalogue.series_count())
        parts.past.reloaded = reload_windows(parts.store, parts.past, parts.clock.now_ns() // SECOND_NS, wanted)
        parts.duty.take_reloaded(parts.past.reloaded)

    def _begin_parts(self) -> None:
        parts, storage = self._parts, self._account.storage
        parts.duty.start()
        self._begin("hms-journal", parts.journalist.run)
        self._begin("hms-recorder", parts.recorder.run)
        if storage is not None:
            parts.remotes.open(storage, self._begin)
        self._begin("hms-sealer", parts.sealer.run)
        parts.values.start(self._begin)
        self._begin_heartbeat()

    def _begin_heartbeat(self) -> None:
        wanted = self._config.heartbeat
        if wanted.url is None:
            return
        beats = Heartbeat(wanted.url.value, wanted.every_seconds, self._is_well, self._parts.steady, wanted.method)
        self._account.heartbeat = beats
        self._begin("hms-heartbeat", beats.run)

    def _is_well(self) -> bool:
        """It ticks, listens, and keeps its alerts."""
        return not self._account.stalls() and not self._parts.duty.keeper.problems()

    def _open_http(self, address: Address) -> None:
        from hms_ops.http.server import Server

        wanted = self._config
        server = Server(
            self._engine,
            address.host,
            address.port,
            wanted.http_tokens,
            wanted.http_tls,
            wanted.http_insecure,
            wanted.http_names,
            wanted.http_origins,
        )
        self._account.server = server  # a start that fails within is taken down with the rest
        self.http_address = server.start(self._begin)

    # ---- the stop

    def _shut(self) -> None:
        """From the outside in; history has HISTORY_SECONDS, whatever was slow before it."""
        end_ns = steady_ns() + int(STOP_SECONDS * SECOND_NS)
        parts, account = self._parts, self._account
        account.is_ready = False
        if account.heartbeat is not None:
            account.heartbeat.stop()
        sending = parts.remotes.stop()
        parts.operations.is_stopping.set()
        if account.server is not None:
            account.server.stop(HTTP_SECONDS)
            account.server = self.http_address = None
        self._shut_listeners()
        self._wake.set()
        parts.threads.join(end_ns, "hms-tick", "hms-progress")
        if account.ticker is not None:
            account.ticker.tick.close(parts.clock.now_ns())
        self._end_handlers(end_ns)
        parts.journalist.stop()
        self._shut_storage(parts.threads.join(end_ns, "hms-recorder", "hms-sealer", "hms-journal", *sending))

    def _shut_listeners(self) -> None:
        for listener in self._parts.listeners:
            listener.stop()
        end_ns = steady_ns() + int(LISTENERS_SECONDS * SECOND_NS)
        for listener in self._parts.listeners:
            listener.close(left_seconds(end_ns))

    def _end_handlers(self, end_ns: int) -> None:
        """Notifications and handlers, while what is left of history is written."""
        parts = self._parts
        parts.values.stop()
        parts.sealer.stop()
        parts.recorder.stop()  # writes while notifications leave
        notify_seconds = max(0.0, left_seconds(end_ns) - HISTORY_SECONDS)
        parts.duty.stop(parts.steady.now_ns() + int(notify_seconds * SECOND_NS))
        parts.threads.join(end_ns, "hms-on-metric")
        parts.values.crew.stop(HOOKS_SECONDS)
        parts.threads.join(end_ns, "hms-recorder")

    def _shut_storage(self, writing: list[str]) -> None:
        """Unless somebody still writes: the lock then goes with the process, and the directory stays whole."""
        if self._account.storage is None:
            return
        if writing:
            log.error("%s did not end in time; the data directory stays open", " and ".join(writing))
            return
        self._account.storage.close()


def tell_progress(is_done: threading.Event) -> None:
    if not is_done.wait(PROGRESS_SECONDS):
        log.info("compiling the kernels, once on a machine and for about ten seconds; datagrams are taken meanwhile")

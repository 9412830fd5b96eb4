"""The engine: everything wired together, with a start, a stop and the calls of an embedding program.

    Engine(udp=…, http=…, data_dir=…, config=…).start()
        store ◄── listeners (one thread each, C) · HTTP (one thread) · in-process calls
        tick thread: seal → roll → judge → publish                   (tick.py)
        writer thread: closed steps → LMDB                            (recorder.py)
        sealing thread: closed blocks → tiles                         (sealer.py)
        workers: notifications, actions, on_metric, on_alert, journal

Only the engine makes threads (threads.py); each has a name, is a daemon, and ends within `stop()`'s deadline. Start
order: sockets, data directory, listeners receiving, then the kernels (numba takes most of a second), then HTTP and the
tick; `is_ready` is True after that. When a step fails, what was started before is taken down again and nothing is left.

Time: the monotonic clock, anchored to the wall's. A wall clock that is set is followed at the next tick: windows begin
anew as after a restart, the alerts' clocks move along, so that a step neither fires nor resolves anything. What waits
for a time to come (retries, cooldowns) counts on a clock that never moves.

Fork: in a child the engine is a client. What is emitted goes to the parent's listener, or is counted as dropped in
`counters()`; questions, rules and alerts raise ForkedError; nothing of the parent's is touched.
"""

import atexit
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import __version__, kinds
from hms_ops._ring import InProcess, Series, Store
from hms_ops.account import Account
from hms_ops.alert.rulefile import RuleFile
from hms_ops.alertcalls import AlertCalls
from hms_ops.books import ledger_of, rejects_of
from hms_ops.census import Census
from hms_ops.clock import SECOND_NS, Clock, ManualClock, WallAnchor, steady_ns
from hms_ops.collector.listener import Listener, ListenerConfig, open_listeners
from hms_ops.config import NOT_SENT, UNSET, Config, Unset, load
from hms_ops.duty import Duty
from hms_ops.errors import ConfigError, ForkedError, StartError, StorageError
from hms_ops.forked import Child, follow_forks
from hms_ops.heartbeat import Heartbeat
from hms_ops.hooks import ValueHandler, ValueHook, ValueHooks
from hms_ops.journalist import Journalist
from hms_ops.operations import Operations
from hms_ops.paging import BY_PROGRAM, Paging
from hms_ops.past import Past
from hms_ops.publisher import Publisher
from hms_ops.quantity import Address, as_address, as_addresses, parse_duration
from hms_ops.reading import Reading
from hms_ops.recorder import Recorder
from hms_ops.remote.remotes import Remotes
from hms_ops.sealer import Sealer
from hms_ops.selfwatch import with_self_watch
from hms_ops.series import SeriesInfo
from hms_ops.threads import Threads, left_seconds
from hms_ops.vitals import Vitals
from hms_ops.watchers import Watchers

if TYPE_CHECKING:
    import socket

    from hms_ops.http.server import Server
    from hms_ops.storage.merge import Rows
    from hms_ops.storage.store import Storage
    from hms_ops.ticker import Ticker

log = logging.getLogger("hms_ops.engine")

# What each part of a stop may take of STOP_SECONDS; history comes last, and always has its share.
STOP_SECONDS: Final = 4.0
HTTP_SECONDS: Final = 1.0
LISTENERS_SECONDS: Final = 1.0
HOOKS_SECONDS: Final = 0.5
HISTORY_SECONDS: Final = 1.0
PROGRESS_SECONDS: Final = 2.0

Tags = Mapping[str, str]


class Engine(AlertCalls):
    """One engine. Its contract is DESIGN section 2; every bound and setting is in config/engine.yaml.

    udp: "host:port" (port 0 takes a free one), a list of such, or None for no socket; "127.0.0.1:8125" by default.
    http: "host:port" or None for no server, the default.
    data_dir: where history is kept, "data" by default; None keeps an hour in memory.
    config: a path of an engine.yaml, a dict with its keys, a Config, or None. A key that stands there takes the place
        of a default here; an argument that is given wins over it.
    sockets: bound datagram sockets handed over by systemd; they take the place of `udp` and outlive the engine.
    host_metrics, self_metrics: feed the host's and the engine's own vital signs in, once a second; off by default.
    clock: a ManualClock for tests: no tick thread runs, `advance(seconds)` ticks.

    Raises ConfigError for a wrong setting or rule here, StartError from `start()`.
    """

    def __init__(
        self,
        udp: str | Sequence[str] | Unset | None = UNSET,
        http: str | Unset | None = UNSET,
        data_dir: str | os.PathLike[str] | Unset | None = UNSET,
        config: str | Path | Mapping[str, Any] | Config | None = None,
        *,
        sockets: "Sequence[socket.socket]" = (),
        host_metrics: bool | Unset = UNSET,
        self_metrics: bool | Unset = UNSET,
        clock: Clock | None = None,
    ) -> None:
        self.config: Config = config if isinstance(config, Config) else load(config)
        self.clock: Clock = clock if clock is not None else WallAnchor()
        # For retries, cooldowns and the deadlines of a stop: never moved when the wall clock is set.
        self._steady: Clock = WallAnchor() if isinstance(self.clock, WallAnchor) else self.clock
        self.is_ready = False
        self.receiving_ns = 0  # on `clock`: since when datagrams are taken; 0 before
        choose = self.config.choose
        serve_at, keep_at = choose("http", http, None), choose("data_dir", data_dir, "data")
        self._http = as_address(serve_at) if serve_at is not None else None
        self._data_dir = Path(keep_at) if keep_at is not None else None
        self._handed_over = list(sockets)
        self._listening = listener_config(as_addresses(choose("udp", udp, "127.0.0.1:8125")), self.config)
        self._threads = Threads()
        self._listeners: list[Listener] = []
        self._watchers: Watchers[dict[str, Any]] = Watchers()
        self._sealed: Watchers[int] = Watchers()
        self._storage: Storage | None = None
        self._server: Server | None = None
        self._wake = threading.Event()
        self._life = threading.RLock()  # a signal's handler may stop what its own thread is starting
        self._state = "new"  # then "started", "stopped"
        self._is_open = False
        self._child: Child | None = None
        self._units: dict[str, str] = {}
        self._watches_itself = bool(choose("self_metrics", self_metrics, False))
        self._make_store()
        self._make_history()
        self._make_duty()
        self.census = Census(
            self.store, self.past, self.operations.descriptions, self._units, lambda: self.duty.reserved
        )
        self._make_account(Vitals() if choose("host_metrics", host_metrics, False) else None)
        self.paging = Paging(self.duty, self.config.profiles(), self.clock, self._emit)
        self.duty.actions.audit = self.paging.note
        follow_forks(self)

    def _make_store(self) -> None:
        limits, clock = self.config.limits, self.clock
        self.store = Store(
            limits.series,
            ring_samples=limits.ring_samples,
            late_max=limits.late_samples,
            subscribed_max=next_power_of_two(limits.subscription_queue),
            sketch_bytes_max=limits.sketch_bytes,
            offset_ns=clock.offset_ns if isinstance(clock, WallAnchor) else 0,
            now_ns=None if isinstance(clock, WallAnchor) else clock.now_ns(),
            signs_are_deltas=self.config.statsd.gauge_sign == "delta",
        )
        self._http_input = self.store.add_input("http")
        self._in_process = InProcess(self.store)
        # Bound straight to the native method: a Python frame in between would cost as much as the call.
        self.metric = self._in_process.metric

    def _make_history(self) -> None:
        """What goes to disk, what comes back from there, and what is done to both."""
        self.recorder = Recorder(self.store)
        self.sealer = Sealer(self.store.now_ns)
        self.past = Past(self.recorder)
        self.values = ValueHooks(self.store)
        self.journalist = Journalist(self.clock)
        self._reading = Reading(self.store, self.past, self._unit, lambda name: self.duty.objectives.objective(name))
        self._remotes = Remotes(self.config.remote, self.past, self.clock, self._unit)
        self.recorder.on_patch = self._remotes.late
        self.operations = Operations(
            self.recorder,
            self.past,
            self.clock,
            self._emit,
            let_go=self._in_process.forget,
            describe=self.describe,
        )

    def _make_duty(self) -> None:
        self.duty = Duty(
            self.store,
            self.past,
            self.clock,
            self._threads.start,
            self._emit,
            steady=self._steady,
            unit=self._unit,
            profiles=self.config.profiles(),
            origin=origin_of(self._data_dir),
            action_url=self.config.action_url(),
            is_halted=self.config.actions.stop,
        )
        self.duty.load(self._load_rules())

    def _make_account(self, vitals: Vitals | None) -> None:
        """What the engine says of itself, and of its host with `vitals`."""
        self.account = Account(
            self.store,
            self.clock,
            self.duty,
            self.values,
            self.recorder,
            self.sealer,
            self.journalist,
            self._remotes,
            lambda: self._listeners,
        )
        signs = self.account.signs if self._watches_itself else None
        self.account.publisher = self._publisher = Publisher(self.store, vitals, signs)

    def _load_rules(self) -> RuleFile:
        file = self.config.load_rules()
        return with_self_watch(file) if self._watches_itself and self.config.self_watch else file

    # ---- life

    def start(self) -> "Engine":
        """Receive, then warm the kernels, then tick; returns when ready. StartError: nothing is left running."""
        if self._child is not None:
            raise StartError("the engine was made before a fork, in the parent; make a new Engine in this process")
        with self._life:
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
            atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Take what is queued, flush everything, end all threads. Idempotent; returns within STOP_SECONDS or so."""
        if self._child is not None:
            self._child.flush()
            return
        with self._life:
            was_open, self._is_open = self._is_open, False
            self._state = "stopped"
            if was_open:
                self._emit({"kind": "stop"})
                self.paging.note("stop", BY_PROGRAM, "engine", "")
                self._shut()
        atexit.unregister(self.stop)

    def __enter__(self) -> "Engine":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        self._listeners = open_listeners(self.store, self._listening, self._handed_over)
        if self._data_dir is not None:  # after the sockets: an address in use leaves no new directory behind
            self._open_storage(self._data_dir)
        elif self.config.remote:
            log.warning(NOT_SENT)
        for number, listener in enumerate(self._listeners, 1):
            listener.start(self._threads.start, number)
        self.receiving_ns = self.clock.now_ns()
        if self._storage is not None:
            try:
                self.duty.open(self._storage.alerting)
            except StorageError as error:
                raise StartError(f"alert states cannot be read: {error}") from error
        self.duty.objectives.open(self.past)
        self._warm()
        self.duty.start()
        self._threads.start("hms-journal", self.journalist.run)
        self._threads.start("hms-recorder", self.recorder.run)
        if self._storage is not None:
            self._remotes.open(self._storage, self._threads.start)
        self._threads.start("hms-sealer", self.sealer.run)
        self.values.start(self._threads.start)
        self._start_heartbeat()
        if self._http is not None:
            self._open_http(self._http)
        if not isinstance(self.clock, ManualClock):
            self._threads.start("hms-tick", lambda: self._ticker().run(self._wake))
        self.is_ready = self._state == "started"
        self._emit({"kind": "start", "udp": self.udp_address, "http": self.http_address})
        self.paging.note("start", BY_PROGRAM, "engine", "", version=__version__)
        if self._server is not None and self._server.insecure:
            self.paging.note("http-insecure", BY_PROGRAM, "http", "", comment=self._server.insecure)

    def _start_heartbeat(self) -> None:
        wanted = self.config.heartbeat
        if wanted.url is None:
            return
        beats = Heartbeat(wanted.url.value, wanted.every_seconds, self._is_well, self._steady, wanted.method)
        self.account.heartbeat = beats
        self._threads.start("hms-heartbeat", beats.run)

    def _is_well(self) -> bool:
        """It ticks, listens, and keeps its alerts."""
        return not self.stalls() and not self.duty.keeper.problems()

    def _warm(self) -> None:
        """Load the kernels, while the listeners receive; the first time on a machine they are compiled."""
        is_done = threading.Event()
        self._threads.start("hms-progress", lambda: tell_progress(is_done))
        try:
            from hms_ops.tick import Tick  # numba comes in here
            from hms_ops.ticker import Ticker

            tick = Tick(self.store, self.recorder, self.duty)
            self.account.ticker = Ticker(
                tick,
                self.clock,
                self.duty,
                self._publisher,
                self._in_process,
                lambda: self._listeners,
                self._sealed.tell,
            )
            self.duty.warm()
            if self._storage is not None:
                self._put_back()
        finally:
            is_done.set()

    def _put_back(self) -> None:
        """The last hour's steps of what rules read, from disk into the store's columns, so that their windows are whole
        after a restart. (Of all series it would take seconds for each 10,000.)"""
        from hms_ops.refill import reload_windows

        wanted = self.duty.rulebook.metrics_read()
        self.past.reloaded = reload_windows(self.store, self.past, self.clock.now_ns() // SECOND_NS, wanted)
        self.duty.take_reloaded(self.past.reloaded)

    def _open_storage(self, data_dir: Path) -> None:
        from hms_ops.storage.history import HistoryConfig
        from hms_ops.storage.store import open_storage

        wanted = self.config.history
        keep = (wanted.retention_seconds, wanted.retention_1m_seconds, wanted.retention_1h_seconds)
        kept = HistoryConfig(tuple(map(int, keep)), wanted.bytes_max, wanted.disk_free_min)
        self.account.storage = self._storage = open_storage(data_dir, kept)
        self.recorder.open(self._storage)
        self.sealer.history = self._storage.history
        self.journalist.open(self._storage.journal)
        self.paging.audit = self._storage.audit

    def _open_http(self, address: Address) -> None:
        from hms_ops.http.server import Server

        self._server = Server(
            self,
            address.host,
            address.port,
            self.config.http_tokens,
            self.config.http_tls,
            self.config.http_insecure,
            self.config.http_names,
            self.config.http_origins,
        )
        self.account.server = self._server
        self._http = Address(*self._server.start(self._threads.start))

    def _shut(self) -> None:
        """From the outside in, so that whatever has arrived goes all the way."""
        end_ns = steady_ns() + int(STOP_SECONDS * SECOND_NS)
        self.is_ready = False
        if self.account.heartbeat is not None:
            self.account.heartbeat.stop()
        sending = self._remotes.stop()
        self.operations.is_stopping.set()
        if self._server is not None:
            self._server.stop(HTTP_SECONDS)
            self._server = self.account.server = None
        self._shut_listeners()
        self._wake.set()
        self._threads.join(end_ns, "hms-tick", "hms-progress")
        if self.account.ticker is not None:
            self.account.ticker.tick.close(self.clock.now_ns())
        self.values.stop()
        self.sealer.stop()
        self.recorder.stop()  # writes while notifications leave
        notify_seconds = max(0.0, left_seconds(end_ns) - HISTORY_SECONDS)
        self.duty.stop(self._steady.now_ns() + int(notify_seconds * SECOND_NS))
        self._threads.join(end_ns, "hms-on-metric")
        self.values.crew.stop(HOOKS_SECONDS)
        self._threads.join(end_ns, "hms-recorder")
        self.journalist.stop()
        self._shut_storage(self._threads.join(end_ns, "hms-recorder", "hms-sealer", "hms-journal", *sending))

    def _shut_listeners(self) -> None:
        for listener in self._listeners:
            listener.stop()
        end_ns = steady_ns() + int(LISTENERS_SECONDS * SECOND_NS)
        for listener in self._listeners:
            listener.close(left_seconds(end_ns))

    def _shut_storage(self, writing: list[str]) -> None:
        """Unless somebody still writes: the lock then goes with the process, and the directory stays whole."""
        if self._storage is None:
            return
        if writing:
            log.error("%s did not end in time; the data directory stays open", " and ".join(writing))
            return
        self._storage.close()

    def become_client(self) -> None:
        """After a fork, in the child: let go of the sockets, and send what is emitted to the parent."""
        if self._child is not None:
            self._child.forget()  # a grandchild
            return
        urls = [url for listener in self._listeners if (url := listener.url)] if self._state == "started" else []
        for listener in self._listeners:
            listener.abandon()
        if self._server is not None:
            self._server.abandon()
        self._listeners, self._server = [], None
        self._threads.forget()
        self.is_ready = False
        self._child = Child(self.store, urls[0] if urls else None)
        atexit.unregister(self.stop)

    def _check_not_forked(self) -> None:
        if self._child is not None:
            raise ForkedError("this process was forked from the engine's; ask the engine over HTTP (hms_ops.client)")

    # ---- the tick

    def advance(self, seconds: int) -> None:
        """With a ManualClock: move it on second by second, with a tick at each, no faster than the disk writes."""
        assert isinstance(self.clock, ManualClock)
        for _ in range(seconds):
            self.store.flush()
            self.store.set_now_ns(self.clock.advance(1.0))
            self._ticker().once()
            self.duty.settle()
            if self._server is not None:
                self._server.site.streams.settle()
            self.recorder.let_write()

    def watch_seconds(self, watcher: Callable[[int], None]) -> Callable[[], None]:
        """Call `watcher` with the last sealed second after each tick, in the tick's thread, until the returned function
        is called. It sets an event or the like: every tick waits for it."""
        return self._sealed.add(watcher)

    def _ticker(self) -> "Ticker":
        assert self.account.ticker is not None  # since `start`
        return self.account.ticker

    # ---- values in

    def series(self, name: str, kind: str | None = None, tags: Tags | None = None) -> Series:
        """A handle to add values to one series; as long as it is held the series keeps its place.

        ValueError for a name, kind or tag that no sample could have.
        """
        return self.store.handle(name, kinds.kind_number(kind) if kind else kinds.UNKNOWN, dict(tags) if tags else None)

    def ingest(self, datagram: Any) -> None:
        """One datagram (bytes-like, StatsD, JSON or msgpack), as from the socket. Never raises on bad data."""
        if self._child is not None:
            self._child.ingest(datagram)
            return
        self.store.ingest(datagram)

    def ingest_body(self, data: bytes) -> dict[str, Any]:
        """One HTTP body, JSON lines included; returns what the ledger gained by it."""
        from hms_ops.collector.body import ingest_body

        self._check_not_forked()
        return ingest_body(self.store, data, self._http_input)

    def describe(self, name: str, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help with it; None leaves what is there.

        Rules read units (200ms against a metric in ms), those that are there already as well.
        """
        if self._child is not None:
            self._child.dropped += 1
            return
        if self._storage is not None:
            self._storage.catalogue.describe(name, unit=unit, help=help)
        if unit is not None and self._units.get(name) != unit:
            self._units[name] = unit
            self.duty.replan(name)

    # ---- values out

    def mean(self, name: str, window: str | float, tags: Tags | None = None) -> float:
        """The weighted mean over a window that ends with the last sealed second; NaN when nothing was seen.

        window: "10m" or seconds, 1 s to 1 h. tags: None pools all series of the metric, {} is the untagged one.
        """
        self._check_not_forked()
        return self._reading.mean(name, window, tags)

    def value(self, expression: str) -> float:
        """Any expression of the alert language, now; NaN for NULL and for a metric nobody has sent.

        ExpressionError when it is wrong, ValueError when it has several values (group or pool them).
        """
        self._check_not_forked()
        return self._reading.value(expression)

    def query(
        self,
        expr: str,
        start: float | None = None,
        end: float | None = None,
        step: str | float | None = None,
        source: str | None = None,
        points: int | None = None,
    ) -> dict[str, Any]:
        """The answer of /v1/query: see query.py; step is "10s" or seconds; points: at most so many, instead of a step.
        source: "local", "remote", or None: local, continued at the remote before local history begins.
        ExpressionError, UnknownMetricError, ValueError."""
        self._check_not_forked()
        seconds = parse_duration(step) if isinstance(step, str) else step
        return self._remotes.query(self._reading.query, expr, start, end, seconds, source, points)

    def recent(self, name: str, tags: Tags | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(time_ns int64[n], value float64[n]): copies of the latest raw samples, oldest first; all series for None."""
        self._check_not_forked()
        return self._reading.recent(name, tags)

    def history(
        self, name: str, start: float, end: float, step: str | float = "10s", tags: Tags | None = None
    ) -> "Rows":
        """Stored rows of [start, end), Unix seconds: a structured array of time (int64 ns, start of the step), count,
        sum, min, max, last (float64), one for each step with samples. ValueError for a step that is not kept."""
        self._check_not_forked()
        return self._reading.history(name, start, end, step, tags)

    def series_list(self, prefix: str = "", limit: int = 1000) -> list[SeriesInfo]:
        """Series whose metric begins with `prefix`, at most `limit`, by name."""
        self._check_not_forked()
        return self._reading.series_list(prefix, limit)

    # ---- operations

    def delete(self, selector: str) -> int:
        """Delete series: finance.api_ms{agency="irs"}, {host="db-1"}. Gone from queries at once, from disk with the
        partitions their rows are in; returns how many. ExpressionError, StorageError."""
        self._check_not_forked()
        return len(self.operations.delete(selector, BY_PROGRAM))

    def export(
        self,
        selector: str = "",
        start: float | None = None,
        end: float | None = None,
        tier: str = "10s",
        format: str = "csv",
    ) -> Iterator[str]:
        """What is on disk of [start, end), Unix seconds, as text in pieces: csv or openmetrics, of the tier 10s, 1m, 1h
        or, of csv, all. ExpressionError, ValueError, StorageError."""
        self._check_not_forked()
        return self.operations.export(selector, start, end, tier, format)

    def import_rows(self, pieces: Iterable[bytes]) -> dict[str, object]:
        """Write the rows of an export that are not there yet: {rows, written, present, bad: {reason: count}, errors,
        filled}. ValueError for what is no export, StorageError."""
        self._check_not_forked()
        return self.operations.import_rows(pieces, BY_PROGRAM)

    def backup(self, directory: str | os.PathLike[str]) -> dict[str, Any]:
        """Copy all that is on disk, as of one moment, into a new directory: {directory, files, bytes}. StorageError."""
        self._check_not_forked()
        return self.operations.back_up(os.path.abspath(directory), BY_PROGRAM)

    # ---- rules and handlers

    def on_metric(self, name: str, batch: bool = False) -> Callable[[ValueHandler], ValueHandler]:
        """Decorator: call the function with each value of a metric, from a worker thread; see hooks.py.

        batch: with float64[n] at once. Values beyond the queue are dropped, oldest first, and counted.
        """
        self._check_not_forked()

        def add(handler: ValueHandler) -> ValueHandler:
            self.values.add(name, ValueHook(handler, batch))
            return handler

        return add

    def reload(self) -> None:
        """Read the rule files again, and of the configuration's file tokens and certificate. ConfigError: the old rules
        stay; new tokens are taken all the same where they are valid, since one may be gone for a reason."""
        self._check_not_forked()
        self._renew_access()
        self.duty.load(self._load_rules())
        self._emit({"kind": "reload", "rules": len(self.duty.rules())})
        self.paging.note("reload", BY_PROGRAM, "rules", "", rules=len(self.duty.rules()))

    def _renew_access(self) -> None:
        if self._server is None or self.config.file is None:
            return
        fresh = load(self.config.file)
        try:
            self._server.renew(fresh.http_tokens, fresh.http_tls)
        except StartError as error:
            raise ConfigError(f"{self.config.file}:1: {error}") from None
        self.paging.note("reload", BY_PROGRAM, "http-access", "", tokens=len(fresh.http_tokens))

    def watch(self, watcher: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call `watcher` with every event (dict with time_ns and kind), from the engine's threads, until the returned
        function is called. It must not block."""
        self._check_not_forked()
        return self._watchers.add(watcher)

    def _emit(self, event: dict[str, Any]) -> None:
        event = {"time_ns": self.clock.now_ns(), **event}
        self.journalist.put(event)
        self._watchers.tell(event)

    def described_unit(self, metric: str) -> str | None:
        """What `describe` said; None for nothing."""
        return self._unit(metric)

    def _unit(self, name: str) -> str | None:
        unit = self._units.get(name)
        if unit is None and self._storage is not None:
            unit = self._units[name] = self._storage.catalogue.description(name)["unit"]
        return unit or None

    # ---- what it says of itself

    @property
    def udp_address(self) -> tuple[str, int] | None:
        """(host, port) of the first UDP listener."""
        return next((address for listener in self._listeners if (address := listener.address)), None)

    @property
    def http_address(self) -> tuple[str, int] | None:
        return (self._http.host, self._http.port) if self._server is not None and self._http is not None else None

    def slos(self) -> list[dict[str, Any]]:
        """Of each objective: what was promised, good and total over its window, the budget left, burn rates, alerts."""
        self._check_not_forked()
        return self.duty.objectives.status(self.alerts())

    def ledger(self) -> dict[str, Any]:
        """The counters that account for every datagram and value: DESIGN section 4, exactly its keys."""
        self._check_not_forked()
        return ledger_of(self.store, self._listeners)

    def rejects(self) -> list[dict[str, Any]]:
        """The last 100 rejects, newest first, with reason, source and the beginning of the text."""
        self._check_not_forked()
        return rejects_of(self.store)

    def stalls(self) -> list[str]:
        """What stands still and only a restart would mend, one line each: a watchdog is fed while there is none."""
        return self.account.stalls(self.is_ready)

    def health(self) -> list[str]:
        """What is wrong now, one line each; empty when all is well."""
        return self.account.problems(self.is_ready)

    def counters(self) -> dict[str, dict[str, Any]]:
        """Every counter besides the ledger, by section; in a forked child what it sent and dropped."""
        return self.account.counters() if self._child is None else {"forked": self._child.counters()}

    def listeners(self) -> list[Listener]:
        """The open listeners: names, buffers, stall budgets."""
        return list(self._listeners)


def tell_progress(is_done: threading.Event) -> None:
    if not is_done.wait(PROGRESS_SECONDS):
        log.info("compiling the kernels, once on a machine and for about ten seconds; datagrams are taken meanwhile")


def listener_config(udp: tuple[Address, ...], config: Config) -> ListenerConfig:
    return ListenerConfig(udp, config.unix, config.listeners, config.receive_buffer_bytes, config.limits.datagram_bytes)


def next_power_of_two(n: int) -> int:
    return 1 << max(1, n - 1).bit_length()


def origin_of(data_dir: Path | None) -> str:
    """Tells this engine's notifications from another's: the same for the same data directory on the same host."""
    place = str(data_dir.absolute()) if data_dir is not None else f"pid {os.getpid()} {steady_ns()}"
    return hashlib.sha256(f"{os.uname().nodename}\0{place}".encode()).hexdigest()[:16]


__all__ = ["Engine", "Series"]

"""The engine: everything wired together, with a start, a stop and the calls of an embedding program.

    Engine(udp=…, http=…, data_dir=…, config=…).start()
        store ◄── listeners (one thread each, C) · HTTP (one thread) · in-process calls
        tick thread: seal → roll → judge                             (tick.py)
        writer thread: closed steps → LMDB                            (recorder.py)
        workers: notifications, actions, on_metric, on_alert, journal

This is the only module that makes threads; each has a name, is a daemon, and ends within `stop()`'s deadline. Start
order: data directory, sockets, listeners receiving, then the kernels (numba takes most of a second), then HTTP and the
tick; `is_ready` is True after that. When a step fails, what was started before is taken down again and nothing is left.

Fork: in a child the engine is a client. `metric` and `add` go to the parent's UDP listener, or are counted as dropped;
nothing of the parent's is touched.
"""

import atexit
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import InProcess, Series, Store
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule, rule_from_arguments
from hms_ops.clock import SECOND_NS, Clock, ManualClock, WallAnchor
from hms_ops.collector.listener import Listener, make_listener, open_udp, open_unix, source_text
from hms_ops.config import Config, load
from hms_ops.duty import Duty
from hms_ops.errors import HmsOpsError, StartError, UnknownMetricError
from hms_ops.hooks import AlertHandler, ValueHandler, ValueHook, ValueHooks
from hms_ops.journalist import Journalist
from hms_ops.quantity import Address, parse_address, parse_duration
from hms_ops.recorder import Recorder
from hms_ops.series import SeriesInfo

if TYPE_CHECKING:
    import socket

    from hms_ops.http.server import Server
    from hms_ops.storage.merge import Rows
    from hms_ops.storage.store import Storage
    from hms_ops.tick import Tick

log = logging.getLogger("hms_ops.engine")

STOP_SECONDS: Final = 4.0
WALL_STEP_NS: Final = 500_000_000  # a wall clock further away than this has been set: re-anchor
RECENT_COST_TICKS: Final = 60

Watcher = Callable[[dict[str, Any]], None]


class Engine:
    """One engine. Its contract is DESIGN section 2; every bound and setting is in config/engine.yaml.

    udp: "host:port" (port 0 takes a free one), a list of such, or None for no socket.
    http: "host:port" or None for no server.
    data_dir: where history is kept; None keeps an hour in memory.
    config: a path of an engine.yaml, a dict with its keys, or None; the arguments above win over it.
    sockets: bound sockets handed over by systemd; they take the place of those in `udp` and outlive the engine.
    clock: a ManualClock for tests: no tick thread runs, `advance(seconds)` ticks.

    Raises ConfigError for a wrong setting or rule here, StartError from `start()`.
    """

    def __init__(
        self,
        udp: str | Sequence[str] | None = "127.0.0.1:8125",
        http: str | None = None,
        data_dir: str | os.PathLike[str] | None = "data",
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        sockets: "Sequence[socket.socket]" = (),
        host_metrics: bool = False,
        self_metrics: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.config: Config = load(config)
        self._udp = addresses(udp)
        self._http = parse_address(http) if http is not None else None
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._handed_over = list(sockets)
        self._host_metrics, self._self_metrics = host_metrics, self_metrics
        self._wall = WallAnchor() if clock is None else None
        self.clock: Clock = clock or self._wall or WallAnchor()
        self._threads: list[threading.Thread] = []
        self._listeners: list[Listener] = []
        self._watchers: list[Watcher] = []
        self._storage: Storage | None = None
        self._server: Server | None = None
        self._tick: Tick | None = None
        self._tick_costs_ms: deque[float] = deque(maxlen=RECENT_COST_TICKS)
        self._wake = threading.Event()
        self._life = threading.Lock()
        self._state = "new"
        self._pid = os.getpid()
        self._units: dict[str, str] = {}
        self.is_ready = False

        limits = self.config.limits
        self.store = Store(
            limits.series,
            ring_samples=limits.ring_samples,
            late_max=limits.late_samples,
            subscribed_max=next_power_of_two(limits.subscription_queue),
            offset_ns=self._wall.offset_ns if self._wall else 0,
            now_ns=clock.now_ns() if clock is not None else None,
            signs_are_deltas=self.config.statsd.gauge_sign == "delta",
        )
        self._http_input = self.store.add_input("http")
        self._own = InProcess(self.store, 0)
        in_process = InProcess(self.store)
        self._in_process = in_process
        # Bound straight to the native method: a Python frame in between would cost as much as the call.
        self.metric = in_process.metric
        self.recorder = Recorder(self.store, None)
        self.values = ValueHooks(self.store)
        self.journalist = Journalist(self.clock)
        self.duty = Duty(
            self.store,
            self.clock,
            self._start_thread,
            self._emit,
            unit=self._unit,
            profiles=self.config.profiles(),
            origin=origin_of(self._data_dir),
            action_url=self.config.actions.url.value if self.config.actions.url else "",
            is_halted=self.config.actions.stop,
        )
        self.duty.load(self.config.load_rules())

    # ---- life

    def start(self) -> "Engine":
        """Receive, then warm the kernels, then tick; returns when ready. StartError: nothing is left running."""
        with self._life:
            if self._state != "new":
                raise StartError(f"the engine was {self._state} already; make a new Engine to start again")
            self._state = "started"
            try:
                self._open()
            except BaseException:
                self._shut(time.monotonic_ns() + int(STOP_SECONDS * SECOND_NS))
                self._state = "stopped"
                raise
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self._become_client)
        return self

    def stop(self) -> None:
        """Take what is queued, flush everything, end all threads. Idempotent; returns within STOP_SECONDS or so."""
        if os.getpid() != self._pid:
            return
        with self._life:
            if self._state == "started":
                self._emit({"kind": "stop"})
                self._shut(time.monotonic_ns() + int(STOP_SECONDS * SECOND_NS))
            self._state = "stopped"
        atexit.unregister(self.stop)

    def __enter__(self) -> "Engine":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        if self._data_dir is not None:
            self._open_storage(self._data_dir)
        self._open_listeners()
        from hms_ops.tick import Tick  # numba comes in here, while the listeners receive

        self._tick = Tick(self.store, self.recorder, self.duty)
        self.duty.warm()
        self.duty.start()
        self._start_thread("hms-journal", self.journalist.run)
        self._start_thread("hms-recorder", self.recorder.run)
        self._start_thread("hms-on-alert", self.duty.hooks.run)
        self._start_thread("hms-on-metric", self.values.run)
        if self._http is not None:
            self._open_http(self._http)
        if not isinstance(self.clock, ManualClock):
            self._start_thread("hms-tick", self._tick_forever)
        self.is_ready = True
        self._emit({"kind": "start", "udp": self.udp_address, "http": self.http_address})

    def _open_storage(self, data_dir: Path) -> None:
        from hms_ops.storage.history import HistoryConfig
        from hms_ops.storage.store import open_storage

        history = self.config.history
        self._storage = open_storage(data_dir, HistoryConfig(int(history.retention_seconds), history.bytes_max))
        self.recorder.open(self._storage)
        self.journalist.open(self._storage.journal)

    def _open_listeners(self) -> None:
        opened: list[tuple[socket.socket, Path | None, bool, int]] = []
        try:
            if self._handed_over:
                opened += [(sock, None, True, number) for number, sock in enumerate(self._handed_over)]
            else:
                for address in self._udp:
                    socks = open_udp(address, self.config.listeners)
                    opened += [(sock, None, False, number) for number, sock in enumerate(socks)]
            if self.config.unix is not None:
                opened.append((open_unix(self.config.unix), self.config.unix, False, 0))
        except BaseException:
            for sock, _, is_handed_over, _ in opened:
                if not is_handed_over:
                    sock.close()
            raise
        for sock, path, is_handed_over, number in opened:
            listener = make_listener(
                self.store,
                sock,
                buffer_bytes=self.config.receive_buffer_bytes,
                datagram_bytes=self.config.limits.datagram_bytes,
                path=path,
                is_inherited=is_handed_over,
                number=number,
            )
            self._listeners.append(listener)
            self._start_thread(f"hms-listener-{len(self._listeners)}", listener.run)

    def _open_http(self, address: Address) -> None:
        from hms_ops.http.server import Server

        self._server = Server(self, address.host, address.port, tuple(t.value for t in self.config.http_tokens))
        self._http = Address(*self._server.start(self._start_thread))

    def _shut(self, deadline_ns: int) -> None:
        """From the outside in, so that whatever has arrived goes all the way."""
        self.is_ready = False
        if self._server is not None:
            self._server.stop(left_seconds(deadline_ns))
        for listener in self._listeners:
            listener.stop()
        self._join("hms-listener", deadline_ns)
        for listener in self._listeners:
            listener.close()
        self._wake.set()
        self._join("hms-tick", deadline_ns)
        self._last_tick()
        self.duty.stop(deadline_ns_of(self.clock, deadline_ns))
        self.values.stop()
        self.recorder.stop()
        self._join("hms-", deadline_ns, but="hms-journal")
        self.journalist.stop()
        self._join("hms-journal", deadline_ns)
        if self._storage is not None:
            self._storage.close()

    def _last_tick(self) -> None:
        """Seal the open second too, and hand the open 10-s step to the writer: a stop loses nothing."""
        if self._tick is None or os.getpid() != self._pid:
            return
        now_ns = self.clock.now_ns()
        self._tick.run(now_ns)
        self.store.seal(now_ns // SECOND_NS)
        self._tick.roll_open_step()

    def _start_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        return thread

    def _join(self, prefix: str, deadline_ns: int, but: str = "") -> None:
        for thread in self._threads:
            if thread.name.startswith(prefix) and (not but or not thread.name.startswith(but)):
                thread.join(left_seconds(deadline_ns))

    def _become_client(self) -> None:
        """After a fork, in the child: let go of the sockets, and send what is emitted to the parent."""
        if self._state != "started" or os.getpid() == self._pid:
            return
        address = self.udp_address
        for listener in self._listeners:
            listener.abandon()
        self._listeners = []
        self._server = None
        self._state = "forked"
        self.is_ready = False
        if address is None:
            self.store.set_forward(None)
            return
        from hms_ops.client import Client

        client = Client(f"udp://{Address(*address)}")
        self.store.set_forward(client.metric)
        atexit.register(client.flush)

    # ---- the tick

    def _tick_forever(self) -> None:
        while True:
            now_ns = self.clock.now_ns()
            next_ns = (now_ns // SECOND_NS + 1) * SECOND_NS
            if self.clock.sleep_until_ns(next_ns, self._wake):
                return
            self._tick_once(self.clock.now_ns())

    def _tick_once(self, now_ns: int) -> None:
        assert self._tick is not None
        begun = time.monotonic_ns()
        self._follow_wall_clock()
        self._tick.run(now_ns)
        for name, value in self.duty.gauges().items():
            self._own.metric(name, value, "gauge")
        for listener in self._listeners:
            listener.kernel_drops()
        self._tick_costs_ms.append((time.monotonic_ns() - begun) / 1e6)
        if self._tick.count % 600 == 0:
            self._in_process.forget()
        self._vital_signs(now_ns)

    def _follow_wall_clock(self) -> None:
        """A wall clock that was set is followed at once; windows begin anew, so that it fires and resolves nothing."""
        if self._wall is None or abs(self._wall.step_ns()) < WALL_STEP_NS:
            return
        assert self._tick is not None
        self._tick.run(self.clock.now_ns())
        self._tick.roll_open_step()
        step_ns = self._wall.reanchor()
        self.store.reanchor(self._wall.offset_ns)
        self.recorder.flushed_end = 0
        log.warning("the wall clock was set by %.3f s; time is anchored to it again", step_ns / SECOND_NS)

    def _vital_signs(self, now_ns: int) -> None:
        if self._host_metrics:
            from hms_ops.vitals import Vitals

            self._vitals = getattr(self, "_vitals", None) or Vitals()
            for vital in self._vitals.sample(now_ns):
                self._own.metric(vital.name, vital.value, "gauge", dict(vital.tags) or None)
        if self._self_metrics:
            for name, value in self.self_metrics().items():
                self._own.metric(name, value, "gauge")

    def advance(self, seconds: int) -> None:
        """With a ManualClock: move it on second by second, with a tick at each."""
        assert isinstance(self.clock, ManualClock)
        for _ in range(seconds):
            self.store.flush()
            self.store.set_now_ns(self.clock.advance(1.0))
            self._tick_once(self.clock.now_ns())

    # ---- values in

    def series(self, name: str, kind: str | None = None, tags: Mapping[str, str] | None = None) -> Series:
        """A handle to add values to one series; as long as it is held the series keeps its place.

        ValueError for a name, kind or tag that no sample could have.
        """
        return self.store.handle(name, kinds.kind_number(kind) if kind else kinds.UNKNOWN, dict(tags) if tags else None)

    def ingest(self, datagram: Any) -> None:
        """One datagram (bytes-like, StatsD, JSON or msgpack), as from the socket. Never raises on bad data."""
        self.store.ingest(datagram)

    def ingest_body(self, data: bytes) -> dict[str, Any]:
        """One HTTP body, JSON lines included; returns what the ledger gained by it."""
        from hms_ops.collector.body import ingest_body

        return ingest_body(self.store, data, self._http_input)

    def describe(self, name: str, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help with it; None leaves what is there."""
        if unit is not None:
            self._units[name] = unit
        if self._storage is not None:
            self._storage.catalogue.describe(name, unit=unit, help=help)

    # ---- values out

    def mean(self, name: str, window: str | float, tags: Mapping[str, str] | None = None) -> float:
        """The weighted mean over a window that ends with the last sealed second; NaN when nothing was seen.

        window: "10m" or seconds, 1 s to 1 h. tags: None pools all series of the metric, {} is the untagged one.
        """
        from hms_ops.kernels.window import cover

        self.store.flush()
        seconds = int(parse_duration(window) if isinstance(window, str) else window)
        end = self.store.sealed_second + 1
        tiers, slots, _ = cover(end - seconds, end, self.store.first_second)
        members = self._members(name, tags)
        count = float(self.store.cols[tiers, 0, slots][:, members].sum())
        if count == 0.0:
            return float("nan")
        seen = self.store.cols[tiers, 0, slots][:, members] > 0
        return float(self.store.cols[tiers, 1, slots][:, members][seen].sum() / count)

    def _members(self, name: str, tags: Mapping[str, str] | None) -> NDArray[np.int64]:
        if tags is None:
            return self.store.slots(name).astype(np.int64)
        slot = self.store.slot(name, dict(tags))
        return np.array([slot] if slot >= 0 else [], np.int64)

    def value(self, expression: str) -> float:
        """Any expression of the alert language, now; NaN for NULL and for a metric nobody has sent.

        ExpressionError when it is wrong, ValueError when it has several values (group or pool them).
        """
        from hms_ops.alert.evaluate import query_now
        from hms_ops.alert.grammar import parse_query

        self.store.flush()
        try:
            found = query_now(parse_query(expression), self.store, self._unit)
        except UnknownMetricError:
            return float("nan")
        if len(found) > 1:
            raise ValueError(f"{expression!r} has {len(found)} values; pool them, as in avg(…), or use query()")
        return found[0][1] if found else float("nan")

    def query(
        self, expr: str, start: float | None = None, end: float | None = None, step: float | None = None
    ) -> dict[str, Any]:
        """The answer of /v1/query: see query.py. ExpressionError, UnknownMetricError, ValueError."""
        from hms_ops.query import answer

        self.store.flush()
        return answer(expr, self.recorder, self.store, start, end, step, unit=self._unit)

    def recent(self, name: str, tags: Mapping[str, str] | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(time_ns int64[n], value float64[n]): copies of the latest raw samples, oldest first; all series for None."""
        parts = [self.store.recent(slot) for slot in self._members(name, tags).tolist()]
        times = np.concatenate([np.zeros(0, np.int64), *(times for times, _ in parts)])
        values = np.concatenate([np.zeros(0), *(values for _, values in parts)])
        order = np.argsort(times, kind="stable")
        return times[order], values[order]

    def history(
        self,
        name: str,
        start: float,
        end: float,
        step: str | float = "10s",
        tags: Mapping[str, str] | None = None,
    ) -> "Rows":
        """Stored rows of [start, end), Unix seconds: a structured array of time (int64 ns, start of the step), count,
        sum, min, max, last (float64), one for each step with samples. ValueError for a step that is not kept."""
        seconds = int(parse_duration(step) if isinstance(step, str) else step)
        self.store.flush()
        return self.recorder.read(name, dict(tags) if tags is not None else None, int(start), int(end), seconds)

    def series_list(self, prefix: str = "", limit: int = 1000) -> list[SeriesInfo]:
        """Series whose metric begins with `prefix`, at most `limit`, by name."""
        found: list[SeriesInfo] = []
        for name in self.store.metrics():
            if name.startswith(prefix):
                found += self.recorder.series(name)
            if len(found) >= limit:
                break
        return found[:limit]

    # ---- alerts

    def alert(self, name: str, **keys: Any) -> Rule:
        """Add or replace a rule: engine.alert("a", if_="avg(x) > 200", for_="3m", notify=["sms:+1-555-0100"]).

        Keys as in rule files, `if` and `for` with an underscore behind. ConfigError names every wrong one.
        """
        rule = rule_from_arguments(name, keys, "engine.alert")
        self.duty.put(rule)
        return rule

    def alert_now(self, name: str, value: float = 1.0, **options: Any) -> None:
        """Fire an alert without a rule; it resolves after ttl_seconds (5 min) without a repeat."""
        if os.getpid() == self._pid:
            self.duty.alert_now(name, value, **options)

    def alerts(self) -> list[Alert]:
        """What is pending or firing now, oldest first."""
        return self.duty.book.alerts()

    def rules(self) -> list[Rule]:
        """The rules in force."""
        return self.duty.rules()

    def on_metric(self, name: str, batch: bool = False) -> Callable[[ValueHandler], ValueHandler]:
        """Decorator: call the function with each value of a metric, from a worker thread; see hooks.py.

        batch: with float64[n] at once. Values beyond the queue are dropped, oldest first, and counted.
        """

        def add(handler: ValueHandler) -> ValueHandler:
            self.values.add(name, ValueHook(handler, batch))
            return handler

        return add

    def on_alert(
        self, name: str | None = None, on: Sequence[str] = ("firing",)
    ) -> Callable[[AlertHandler], AlertHandler]:
        """Decorator: call the function with each Alert event of that name (None: of any) whose state is in `on`."""
        states = frozenset([on] if isinstance(on, str) else on)
        if not states <= {"pending", "firing", "resolved"}:
            raise ValueError(f"on is {on!r}, allowed are pending, firing and resolved")

        def add(handler: AlertHandler) -> AlertHandler:
            self.duty.hooks.add(name, states, handler)
            return handler

        return add

    def reload(self) -> None:
        """Read the rule files again. ConfigError: the old rules stay."""
        self.duty.load(self.config.load_rules())
        self._emit({"kind": "reload", "rules": len(self.duty.rules())})

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with every event (dict with time_ns and kind), from the engine's threads, until the returned
        function is called. It must not block."""
        self._watchers = [*self._watchers, watcher]

        def end() -> None:
            self._watchers = [known for known in self._watchers if known is not watcher]

        return end

    def _emit(self, event: dict[str, Any]) -> None:
        event = {"time_ns": self.clock.now_ns(), **event}
        self.journalist.put(event)
        for watcher in self._watchers:
            try:
                watcher(event)
            except Exception:
                log.exception("a watcher of events failed")

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

    def ledger(self) -> dict[str, Any]:
        """The counters that account for every datagram and value: DESIGN section 4, exactly its keys."""
        drops = {listener.name: listener.kernel_drops() for listener in self._listeners}
        rows = {name: ledger_row(row, drops.get(name, 0)) for name, row in self.store.ledger_rows().items()}
        return {**total_of(list(rows.values())), "inputs": rows}

    def rejects(self) -> list[dict[str, Any]]:
        """The last 100 rejects, newest first, with reason, source and the beginning of the text."""
        return [
            reject
            | {"source": source_text(reject["source"]), "text": reject["text"].decode("utf-8", "backslashreplace")}
            for reject in self.store.rejects()
        ]

    def health(self) -> list[str]:
        """What is wrong now, one line each; empty when all is well."""
        problems = [problem for listener in self._listeners if (problem := listener.problem())]
        problems += self.duty.problems()
        if self.recorder.problem:
            problems.append(f"history is not written: {self.recorder.problem}")
        behind = self.clock.now_ns() // SECOND_NS - 1 - self.store.sealed_second
        if self.is_ready and behind > 3 and not isinstance(self.clock, ManualClock):
            problems.append(f"the tick is {behind} s late")
        return problems

    def counters(self) -> dict[str, dict[str, Any]]:
        """Every counter besides the ledger, by section."""
        tick = self._tick
        sections: dict[str, dict[str, Any]] = {
            "store": self.store.counters(),
            "history": self.recorder.counters(),
            **self.duty.counters(),
            "on_metric": {"delivered": self.values.delivered, "errors": self.values.errors},
            "journal": self.journalist.counters(),
        }
        if tick is not None:
            costs = {f"{name}_ms": cost / 1e6 for name, cost in tick.costs_ns.items()}
            sections["tick"] = {"count": tick.count, "late": tick.late, "errors": tick.errors, **costs}
        for listener in self._listeners:
            sections[listener.name] = {"buffer_bytes": listener.buffer_bytes(), "stall_ms": listener.stall_ms()}
        return sections

    def self_metrics(self) -> dict[str, float]:
        """The engine's own vital signs, as series `engine.*`."""
        ledger, store = self.ledger(), self.store.counters()
        cost_ms = self._tick_costs_ms[-1] if self._tick_costs_ms else 0.0
        return {
            "engine.datagrams": float(ledger["received"]),
            "engine.samples": float(ledger["samples"]),
            "engine.kernel_drops": float(ledger["kernel_drops"]),
            "engine.bad_values": float(sum(ledger["bad"].values())),
            "engine.rejected_datagrams": float(sum(ledger["rejected"].values())),
            "engine.series": float(store["series"]),
            "engine.overflow_samples": float(store["overflow_samples"]),
            "engine.tick_ms": cost_ms,
            "engine.alerts_live": float(self.duty.book.live_count),
        }

    def listeners(self) -> list[Listener]:
        """The open listeners: names, buffers, stall budgets."""
        return list(self._listeners)


def addresses(udp: str | Sequence[str] | None) -> tuple[Address, ...]:
    """What `udp` names; ValueError with the form that is wanted."""
    texts = () if udp is None else (udp,) if isinstance(udp, str) else tuple(udp)
    return tuple(parse_address(text) for text in texts)


def printable_bytes(raw: bytes) -> str:
    """What strangers sent, as text; bytes that are no UTF-8 as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def next_power_of_two(n: int) -> int:
    return 1 << max(1, n - 1).bit_length()


def left_seconds(deadline_ns: int) -> float:
    """Until a deadline of the monotonic clock; a little, when it is over."""
    return max(0.01, (deadline_ns - time.monotonic_ns()) / SECOND_NS)


def deadline_ns_of(clock: Clock, deadline_ns: int) -> int:
    """A monotonic deadline on the engine's clock."""
    return clock.now_ns() + max(0, deadline_ns - time.monotonic_ns())


def origin_of(data_dir: Path | None) -> str:
    """Tells this engine's notifications from another's: the same for the same data directory on the same host."""
    place = str(data_dir.absolute()) if data_dir is not None else f"pid {os.getpid()} {time.monotonic_ns()}"
    return hashlib.sha256(f"{os.uname().nodename}\0{place}".encode()).hexdigest()[:16]


def ledger_row(row: Mapping[str, Any], drops: int) -> dict[str, Any]:
    """One input's counters under the contract's keys; events and unknown sections are no values and not among them."""
    keys = ("received", "accepted", "rejected", "values", "samples", "bad")
    return {"arrived": row["received"] + drops, "kernel_drops": drops, **{key: row[key] for key in keys}}


def total_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum over all inputs, reasons added up one by one."""
    total: dict[str, Any] = {}
    for key in ("arrived", "received", "kernel_drops", "accepted", "rejected", "values", "samples", "bad"):
        parts = [row[key] for row in rows]
        if key in ("rejected", "bad"):
            reasons = sorted({reason for part in parts for reason in part})
            total[key] = {reason: sum(part.get(reason, 0) for part in parts) for reason in reasons}
        else:
            total[key] = sum(parts)
    return total


__all__ = ["Engine", "HmsOpsError", "Series"]

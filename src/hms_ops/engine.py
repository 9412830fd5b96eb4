"""The engine: everything wired together, with a start, a stop and the calls of an embedding program.

    Engine(udp=…, http=…, data_dir=…, config=…).start()
        store ◄── listeners (one thread each, C) · HTTP (one thread) · in-process calls
        tick thread: seal → roll → judge → publish                   (tick.py)
        writer thread: closed steps → LMDB                            (recorder.py)
        sealing thread: closed blocks → tiles                         (sealer.py)
        workers: notifications, actions, on_metric, on_alert, journal

What it is made of is wired in parts.py, opened and shut in life.py: only there threads begin (threads.py); each has a
name, is a daemon, and ends within `stop()`'s deadline. The calls stand in three files: those about values in
valuecalls.py, those about alerts in alertcalls.py, the others here.

Time: the monotonic clock, anchored to the wall's. A wall clock that is set is followed at the next tick: windows begin
anew as after a restart, the alerts' clocks move along, so that a step neither fires nor resolves anything. What waits
for a time to come (retries, cooldowns) counts on a clock that never moves.

Fork: in a child the engine is a client. What is emitted goes to the parent's listener, or is counted as dropped in
`counters()`; questions, rules and alerts raise ForkedError; nothing of the parent's is touched.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hms_ops._ring import Series
from hms_ops.alertcalls import AlertCalls
from hms_ops.books import ledger_of, rejects_of
from hms_ops.clock import Clock, ManualClock, WallAnchor
from hms_ops.collector.listener import Listener, ListenerConfig
from hms_ops.config import UNSET, Config, Unset, load
from hms_ops.errors import ConfigError, ForkedError, StartError
from hms_ops.forked import Child, follow_forks
from hms_ops.life import Life, Places
from hms_ops.paging import BY_PROGRAM
from hms_ops.parts import Parts
from hms_ops.quantity import as_address, as_addresses
from hms_ops.valuecalls import ValueCalls

if TYPE_CHECKING:
    import socket


class Engine(ValueCalls, AlertCalls):
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
        choose, places = self.config.choose, places_of(self.config, udp, http, data_dir, sockets)
        parts = Parts(
            self.config,
            self.clock,
            places.data_dir,
            watches_host=bool(choose("host_metrics", host_metrics, False)),
            watches_itself=bool(choose("self_metrics", self_metrics, False)),
        )
        self._parts, self._emit = parts, parts.emit
        self.store, self.values, self.operations = parts.store, parts.values, parts.operations
        self.past, self.recorder, self.sealer = parts.past, parts.recorder, parts.sealer
        self.duty, self.paging, self.journalist = parts.duty, parts.paging, parts.journalist
        self.census, self.account = parts.census, parts.account
        # Bound straight to the native method: a Python frame in between would cost as much as the call.
        self.metric = parts.in_process.metric
        self._life = Life(self, parts, places)
        self._child: Child | None = None
        follow_forks(self)

    # ---- life

    @property
    def is_ready(self) -> bool:
        """It receives, and its kernels are warm."""
        return self.account.is_ready

    @property
    def receiving_ns(self) -> int:
        """On `clock`: since when datagrams are taken; 0 before."""
        return self.account.receiving_ns

    def start(self) -> "Engine":
        """Receive, then warm the kernels, then tick; returns when ready. StartError: nothing is left running."""
        if self._child is not None:
            raise StartError("the engine was made before a fork, in the parent; make a new Engine in this process")
        self._life.start()
        return self

    def stop(self) -> None:
        """Take what is queued, flush everything, end all threads. Idempotent; returns within STOP_SECONDS or so."""
        if self._child is not None:
            self._child.flush()
            return
        self._life.stop()

    def __enter__(self) -> "Engine":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def become_client(self) -> None:
        """After a fork, in the child: let go of the sockets, and send what is emitted to the parent."""
        if self._child is not None:
            self._child.forget()  # a grandchild
            return
        self._child = Child(self.store, self._life.abandon())

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
            self.account.started_ticker().once()
            self.duty.settle()
            if self.account.server is not None:
                self.account.server.site.streams.settle()
            self.recorder.let_write()

    def watch_seconds(self, watcher: Callable[[int], None]) -> Callable[[], None]:
        """Call `watcher` with the last sealed second after each tick, in the tick's thread, until the returned function
        is called. It sets an event or the like: every tick waits for it."""
        return self._parts.sealed.add(watcher)

    def watch(self, watcher: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call `watcher` with every event (dict with time_ns and kind), from the engine's threads, until the returned
        function is called. It must not block."""
        self._check_not_forked()
        return self._parts.watchers.add(watcher)

    # ---- rules

    def reload(self) -> None:
        """Read the rule files again, and of the configuration's file tokens and certificate. ConfigError: the old rules
        stay; new tokens are taken all the same where they are valid, since one may be gone for a reason."""
        self._check_not_forked()
        self._renew_access()
        self.duty.load(self._parts.load_rules())
        self._emit({"kind": "reload", "rules": len(self.duty.rules())})
        self.paging.note("reload", BY_PROGRAM, "rules", "", rules=len(self.duty.rules()))

    def _renew_access(self) -> None:
        server = self.account.server
        if server is None or self.config.file is None:
            return
        fresh = load(self.config.file)
        try:
            server.renew(fresh.http_tokens, fresh.http_tls)
        except StartError as error:
            raise ConfigError(f"{self.config.file}:1: {error}") from None
        self.paging.note("reload", BY_PROGRAM, "http-access", "", tokens=len(fresh.http_tokens))

    # ---- what it says of itself

    @property
    def udp_address(self) -> tuple[str, int] | None:
        """(host, port) of the first UDP listener."""
        return next((address for listener in self._parts.listeners if (address := listener.address)), None)

    @property
    def http_address(self) -> tuple[str, int] | None:
        """(host, port) while it serves."""
        return self._life.http_address

    def slos(self) -> list[dict[str, Any]]:
        """Of each objective: what was promised, good and total over its window, the budget left, burn rates, alerts."""
        self._check_not_forked()
        return self.duty.objectives.status(self.alerts())

    def ledger(self) -> dict[str, Any]:
        """The counters that account for every datagram and value: DESIGN section 4, exactly its keys."""
        self._check_not_forked()
        return ledger_of(self.store, self._parts.listeners)

    def rejects(self) -> list[dict[str, Any]]:
        """The last 100 rejects, newest first, with reason, source and the beginning of the text."""
        self._check_not_forked()
        return rejects_of(self.store)

    def stalls(self) -> list[str]:
        """What stands still and only a restart would mend, one line each: a watchdog is fed while there is none."""
        return self.account.stalls()

    def health(self) -> list[str]:
        """What is wrong now, one line each; empty when all is well."""
        return self.account.problems()

    def counters(self) -> dict[str, dict[str, Any]]:
        """Every counter besides the ledger, by section; in a forked child what it sent and dropped."""
        return self.account.counters() if self._child is None else {"forked": self._child.counters()}

    def listeners(self) -> list[Listener]:
        """The open listeners: names, buffers, stall budgets."""
        return list(self._parts.listeners)


def places_of(
    config: Config,
    udp: str | Sequence[str] | Unset | None,
    http: str | Unset | None,
    data_dir: str | os.PathLike[str] | Unset | None,
    sockets: "Sequence[socket.socket]",
) -> Places:
    """What is given, what the configuration says, or the default, in that order. ConfigError for what is no address."""
    serve_at, keep_at = config.choose("http", http, None), config.choose("data_dir", data_dir, "data")
    udp_addresses = as_addresses(config.choose("udp", udp, "127.0.0.1:8125"))
    return Places(
        ListenerConfig(
            udp_addresses, config.unix, config.listeners, config.receive_buffer_bytes, config.limits.datagram_bytes
        ),
        list(sockets),
        as_address(serve_at) if serve_at is not None else None,
        Path(keep_at) if keep_at is not None else None,
    )


__all__ = ["Engine", "Series"]

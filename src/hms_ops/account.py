"""What the engine says of itself: what is wrong now, every counter, its vital signs.

The engine fills an `Account` with its parts and asks; /healthz, /metrics, doctor and self-watch read the answers. The
ledger of datagrams and values is books.py's. Threads: any; every part answers under a lock of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hms_ops._ring import Store
from hms_ops.books import ledger_of
from hms_ops.clock import SECOND_NS, Clock, ManualClock
from hms_ops.collector.listener import Listener
from hms_ops.duty import Duty
from hms_ops.heartbeat import Heartbeat
from hms_ops.hooks import ValueHooks
from hms_ops.journalist import Journalist
from hms_ops.publisher import Publisher
from hms_ops.recorder import Recorder
from hms_ops.remote.remotes import Remotes
from hms_ops.sealer import Sealer

if TYPE_CHECKING:
    from hms_ops.http.server import Server
    from hms_ops.storage.store import Storage
    from hms_ops.ticker import Ticker

TICK_LATE_SECONDS: Final = 3


@dataclass
class Account:
    """The parts of one engine that have something to say. storage, ticker, heartbeat and server come with the start.

    is_ready: it receives, and its kernels are warm. receiving_ns: since when datagrams are taken, 0 before."""

    store: Store
    clock: Clock
    duty: Duty
    values: ValueHooks
    recorder: Recorder
    sealer: Sealer
    journalist: Journalist
    remotes: Remotes
    listeners: Callable[[], Sequence[Listener]]
    publisher: Publisher | None = None
    storage: "Storage | None" = None
    ticker: "Ticker | None" = None
    heartbeat: Heartbeat | None = None
    server: "Server | None" = None
    is_ready: bool = False
    receiving_ns: int = 0

    def started_ticker(self) -> "Ticker":
        assert self.ticker is not None  # since the kernels are warm
        return self.ticker

    def stalls(self) -> list[str]:
        """What stands still and only a restart would mend, one line each: a watchdog is fed while there is none."""
        problems = [problem for listener in self.listeners() if (problem := listener.problem())]
        behind = self.clock.now_ns() // SECOND_NS - 1 - self.store.sealed_second
        if self.is_ready and behind > TICK_LATE_SECONDS and not isinstance(self.clock, ManualClock):
            problems.append(f"the tick is {behind} s late")
        return problems

    def problems(self) -> list[str]:
        """What is wrong now, one line each; empty when all is well."""
        problems = self.stalls() + self.duty.problems() + self.values.crew.problems()
        problems += self.remotes.problems() + self._storage_problems()
        if self.storage is not None:
            problems += self.storage.problems()
        if self.heartbeat is not None and self.heartbeat.problem:
            problems.append(self.heartbeat.problem)
        if self.server is not None:
            problems += self.server.problems()
        return problems

    def _storage_problems(self) -> list[str]:
        """What is not written now."""
        problems = [f"history is not written: {self.recorder.problem}"] if self.recorder.problem else []
        return problems + ([f"history is not sealed: {self.sealer.problem}"] if self.sealer.problem else [])

    def counters(self) -> dict[str, dict[str, Any]]:
        """Every counter besides the ledger, by section."""
        stored = self.storage.counters() if self.storage is not None else {}
        sections: dict[str, dict[str, Any]] = {
            "store": self.store.counters(),
            "history": self.recorder.counters() | self.sealer.counters() | stored.get("history", {}),
            "catalogue": stored.get("catalogue", {}),
            **self.duty.counters(),
            "on_metric": self.values.crew.counters(),
            "journal": self.journalist.counters() | stored.get("journal", {}),
            **{name: stored[name] for name in ("alerting", "audit") if name in stored},
            **self.remotes.counters(),
        }
        if self.publisher is not None:
            sections["host"] = self.publisher.counters()
        if self.ticker is not None:
            sections["tick"] = self.ticker.tick.counters()
        if self.heartbeat is not None:
            sections["heartbeat"] = self.heartbeat.counters()
        if self.server is not None:
            sections["http"] = self.server.counters()
            sections["streams"] = self.server.site.streams.counters()
        for listener in self.listeners():
            sections[listener.name] = {"buffer_bytes": listener.buffer_bytes(), "stall_ms": listener.stall_ms()}
        return sections

    def signs(self) -> dict[str, float]:
        """The engine's own vital signs, as series `engine.*`; selfwatch.yaml has rules on them."""
        ledger, store = ledger_of(self.store, self.listeners()), self.store.counters()
        notifications = self.duty.outbox.counters()
        failing = [*self._storage_problems(), *self.duty.keeper.problems()]
        lost = self.duty.keeper.counters()["lost"]
        refused = self.duty.book.refused + self.duty.keeper.refused_count
        tick = self.ticker.tick if self.ticker is not None else None
        return {
            "engine.datagrams": float(ledger["received"]),
            "engine.samples": float(ledger["samples"]),
            "engine.kernel_drops": float(ledger["kernel_drops"]),
            "engine.bad_values": float(sum(ledger["bad"].values())),
            "engine.rejected_datagrams": float(sum(ledger["rejected"].values())),
            "engine.series": float(store["series"]),
            "engine.overflow_samples": float(store["overflow_samples"]),
            "engine.seconds_lost": float(store["seconds_lost"]),
            "engine.tick_ms": self.ticker.cost_ms if self.ticker is not None else 0.0,
            "engine.ticks_late": float(tick.late if tick is not None else 0),
            "engine.alerts_live": float(self.duty.book.live_count),
            "engine.storage_failing": float(len(failing)),
            "engine.receivers_failing": float(self.duty.outbox.failing_count),
            "engine.notifications_lost": float(notifications["dead"] + notifications["dropped"] + lost),
            "engine.state_set_aside": float(len(self.storage.set_aside) if self.storage is not None else 0),
            "engine.alerts_refused": float(refused),
            "engine.rules_failing": float(self.duty.judging.failing_count),
        }

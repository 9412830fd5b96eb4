"""The parts of one engine, made and wired to each other: memory only, so far.

    Config, clock, where history will be ─► Parts ─► Life (life.py) opens what needs a socket, a disk or a thread
                                                 └─► Engine (engine.py) answers the program's calls with them

Nothing runs and nothing is opened here, so a part that is made and never started leaves nothing behind. What comes with
the start (storage, ticker, server) is found in the account. Errors: ConfigError for a wrong rule.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from hms_ops._ring import InProcess, Store
from hms_ops.account import Account
from hms_ops.alert.rulefile import RuleFile
from hms_ops.census import Census
from hms_ops.clock import Clock, WallAnchor, steady_ns
from hms_ops.collector.listener import Listener
from hms_ops.config import Config
from hms_ops.described import Described
from hms_ops.duty import Duty
from hms_ops.hooks import ValueHooks
from hms_ops.journalist import Journalist
from hms_ops.operations import Operations
from hms_ops.paging import Paging
from hms_ops.past import Past
from hms_ops.publisher import Publisher
from hms_ops.reading import Reading
from hms_ops.recorder import Recorder
from hms_ops.remote.remotes import Remotes
from hms_ops.rulehealth import RulesHealth
from hms_ops.sealer import Sealer
from hms_ops.selfwatch import with_self_watch
from hms_ops.threads import Threads
from hms_ops.vitals import Vitals
from hms_ops.watchers import Watchers


class Parts:
    """listeners: those that are open. watchers: who is told of events; sealed: of seconds.

    steady: for retries, cooldowns and the deadlines of a stop; never moved when the wall clock is set."""

    def __init__(
        self, config: Config, clock: Clock, data_dir: Path | None, *, watches_host: bool, watches_itself: bool
    ) -> None:
        self.config = config
        self.clock = clock
        self.steady: Clock = WallAnchor() if isinstance(clock, WallAnchor) else clock
        self.threads = Threads()
        self.listeners: list[Listener] = []
        self.watchers: Watchers[dict[str, Any]] = Watchers()
        self.sealed: Watchers[int] = Watchers()
        self._watches_itself = watches_itself
        self.described = Described(lambda name: self.store.metric_kind(name), lambda name: self.duty.replan([name]))
        self._make_store()
        self._make_history()
        self._make_duty(data_dir)
        self._make_account(Vitals() if watches_host else None)

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
        self.http_input = self.store.add_input("http")
        self.in_process = InProcess(self.store)

    def _make_history(self) -> None:
        """What goes to disk, what comes back from there, and what is done to both."""
        self.recorder = Recorder(self.store)
        self.sealer = Sealer(self.store.now_ns)
        self.past = Past(self.recorder)
        self.values = ValueHooks(self.store)
        self.journalist = Journalist(self.clock)
        self.reading = Reading(
            self.store, self.past, self.described.unit, lambda name: self.duty.objectives.objective(name)
        )
        self.remotes = Remotes(self.config.remote, self.past, self.clock, self.described.unit)
        self.recorder.on_patch = self.remotes.late
        self.operations = Operations(
            self.recorder,
            self.past,
            self.clock,
            self.emit,
            let_go=self.in_process.forget,
            describe=self.described.describe,
        )

    def _make_duty(self, data_dir: Path | None) -> None:
        self.duty = Duty(
            self.store,
            self.past,
            self.clock,
            self.threads.start,
            self.emit,
            steady=self.steady,
            unit=self.described.unit,
            profiles=self.config.profiles(),
            origin=origin_of(data_dir),
            action_url=self.config.action_url(),
            is_halted=self.config.actions.stop,
        )
        self.duty.load(self.load_rules())
        self.paging = Paging(self.duty, self.config.profiles(), self.clock, self.emit)
        self.duty.actions.audit = self.paging.note

    def _make_account(self, vitals: Vitals | None) -> None:
        """What there is, and what the engine says of itself; of its host with `vitals`."""
        self.census = Census(
            self.store, self.past, self.operations.descriptions, self.described.told, lambda: self.duty.reserved
        )
        self.account = Account(
            self.store,
            self.clock,
            self.duty,
            self.values,
            self.recorder,
            self.sealer,
            self.journalist,
            self.remotes,
            lambda: self.listeners,
        )
        self.health = RulesHealth(self.duty, self.past)
        signs = self.account.signs if self._watches_itself else None
        self.account.publisher = self.publisher = Publisher(self.store, vitals, signs)

    def load_rules(self) -> RuleFile:
        """The configuration's rules as their files are now, with those on the engine itself. ConfigError."""
        file = self.config.load_rules()
        return with_self_watch(file) if self._watches_itself and self.config.self_watch else file

    def emit(self, event: dict[str, Any]) -> None:
        """An event for the journal and for all who watch."""
        event = {"time_ns": self.clock.now_ns(), **event}
        self.journalist.put(event)
        self.watchers.tell(event)


def next_power_of_two(n: int) -> int:
    return 1 << max(1, n - 1).bit_length()


def origin_of(data_dir: Path | None) -> str:
    """Tells this engine's notifications from another's: the same for the same data directory on the same host."""
    place = str(data_dir.absolute()) if data_dir is not None else f"pid {os.getpid()} {steady_ns()}"
    return hashlib.sha256(f"{os.uname().nodename}\0{place}".encode()).hexdigest()[:16]

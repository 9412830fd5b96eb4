"""Carries what alerting found to the disk and then to people: one thread between the tick and everything that waits.

    tick, alert_now ──put(events, changes)──┐
    acknowledgements, silences ──command()──┴─► turn: dispatcher.step ─► one synced transaction ─► outbox.put (pages)
                                                                                               └─► tell (hooks, journal)

A transition and the notifications that follow from it are one transaction, committed before anything leaves; so after
a crash both are there or neither, and what was not there is found anew by the rules. Changes of one key replace each
other while they wait. The records of many states that changed at once are made here, not in the tick that changed them.

When the disk refuses, or hangs for some seconds, pages leave all the same and `problem` says so: what could not be kept
waits for the next turn.
Alerts on which the dispatcher fails, which is a mistake of ours, go to their own receivers ungrouped.
Threads: `put` from any thread, it never waits; `command` and `settle` wait for a turn. One thread runs `run`.
Limits: EVENTS_WAITING_MAX events and CHANGES_WAITING_MAX keys whose changes wait; what is beyond is counted as `lost`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.dispatch.dispatcher import Command, Dispatch, Dispatcher
from hms_ops.alert.notification import Alert, notifications_of
from hms_ops.change import NO_CHANGES, Change, Unmade
from hms_ops.clock import SECOND_NS, Clock, steady_ns
from hms_ops.committing import Committer
from hms_ops.errors import StorageError
from hms_ops.storage.alerting import AlertStore

log = logging.getLogger("hms_ops.alert")

EVENTS_WAITING_MAX: Final = 200_000
CHANGES_WAITING_MAX: Final = 1_000_000
MADE_AT_ONCE: Final = 100  # records of states that are made by who puts them
UNMADE_MAX: Final = 300_000  # that wait for their turn; with more they are all made by who puts them
RETRY_SECONDS: Final = 1.0
OUTBOX: Final = "outbox"
STUCK_SECONDS: Final = 30  # of one turn: the disk hangs
STUCK: Final = "alerts are not carried on: the disk has not answered"
TURN_SECONDS_MAX: Final = 60.0  # a turn at least so often, whatever the dispatcher says
WAIT_SECONDS_MAX: Final = 10.0  # what a command waits for its turn

Tell = Callable[[Sequence[Alert]], None]
TellDecisions = Callable[[Sequence[dict[str, Any]]], None]
ChangeKey = tuple[str, str]


class Batch(NamedTuple):
    """What is taken into one turn."""

    events: list[Alert]
    commands: list[Command]
    changes: dict[ChangeKey, Change]
    unmade: list[Unmade]


class Keeper:
    """The queue, the dispatcher behind it, and the transaction between it and the outbox."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        outbox: Outbox,
        clock: Clock,
        origin: str,
        *,
        tell: Tell,
        tell_decisions: TellDecisions,
    ) -> None:
        self.dispatcher = dispatcher
        self.outbox = outbox
        self.problem = ""
        self.refused_count = 0  # alerts and silences that the dispatcher had no room for, as of the last turn
        self._clock = clock
        self._origin = origin
        self._tell = tell
        self._tell_decisions = tell_decisions
        self.committer: Committer | None = None  # with a data directory
        self._guard = threading.Lock()  # of the queue
        self._stepping = threading.RLock()  # of the dispatcher; taken after duty.py's lock, before `_guard`
        self._turned = threading.Condition(self._guard)
        self._wake = threading.Event()
        self._events: deque[Alert] = deque()
        self._commands: list[Command] = []
        self._changes: dict[ChangeKey, Change] = {}
        self._unmade: list[Unmade] = []  # younger than all of these, in their order
        self._asked = self._done = 0  # turns
        self._begun_ns = 0  # when the turn began that runs now, 0 for none
        self._is_stopped = False
        self._counts = {"events": 0, "turns": 0, "lost": 0, "errors": 0}

    def open(self, store: AlertStore) -> None:
        """Keep everything here from the next turn on. Before `run`."""
        self.committer = Committer(store)

    def put(self, events: Iterable[Alert], changes: Iterable[Change] = (), states: Unmade = NO_CHANGES) -> None:
        """Queue events in their order, with the changes and states that belong to them; never waits."""
        with self._guard:
            for event in events:
                self._counts["events"] += 1
                if len(self._events) < EVENTS_WAITING_MAX:
                    self._events.append(event)
                else:
                    self._counts["lost"] += 1
            if self.committer is not None:
                self._put_changes(list(changes), states)
        self._wake.set()

    def _put_changes(self, changes: list[Change], states: Unmade) -> None:
        """As they are put: what is made already waits behind what is not."""
        if not self._unmade and states.count <= MADE_AT_ONCE:
            self._keep(self._changes, [*self._made(states), *changes])
            return
        self._unmade += [states, Unmade(len(changes), lambda: changes)]
        if sum(one.count for one in self._unmade) > UNMADE_MAX:
            unmade, self._unmade = self._unmade, []
            for one in unmade:
                self._keep(self._changes, self._made(one))

    def _made(self, states: Unmade) -> list[Change]:
        try:
            return states.make()
        except Exception:  # a mistake of ours in a record must not cost a page
            self._counts["errors"] += 1
            log.exception("the states of alerts cannot be kept")
            return []

    def command(self, *commands: Command) -> bool:
        """Carry out commands in the next turn and wait for it; False when it did not come in time."""
        with self._guard:
            self._commands += commands
        return self.settle()

    def settle(self, seconds: float = WAIT_SECONDS_MAX) -> bool:
        """Wait until everything that was put before has had its turn; False when that took longer."""
        with self._guard:
            self._asked += 1
            wanted = self._asked
            self._wake.set()
            self._turned.wait_for(lambda: self._done >= wanted or self._is_stopped, seconds)
            return self._done >= wanted

    def ask(self, question: Callable[[Dispatcher], Any]) -> Any:
        """The answer of the dispatcher between two turns."""
        with self._stepping:
            return question(self.dispatcher)

    def paused(self) -> AbstractContextManager[Any]:
        """While it is held the dispatcher does not step: for who moves the clock."""
        return self._stepping

    def problems(self) -> list[str]:
        """States that are not kept, and a turn that does not end."""
        with self._guard:
            since = self._begun_ns
        found = [self.problem] if self.problem else []
        seconds = (steady_ns() - since) // SECOND_NS if since else 0
        return found + ([f"{STUCK} for {seconds:,} s"] if seconds >= STUCK_SECONDS else [])

    def run(self) -> None:
        """Turn whenever something was put or the dispatcher is due, until `stop`; then once more."""
        while True:
            self._wake.wait(self._seconds_to_due())
            self._wake.clear()
            is_last = self._is_stopped
            self.turn()
            if is_last:
                return

    def stop(self) -> None:
        self._is_stopped = True
        self._wake.set()

    def counters(self) -> dict[str, int]:
        """events put, turns, lost (events and changes beyond the limits), errors of turns; waiting now."""
        with self._guard:
            return self._counts | {
                "waiting": len(self._events),
                "unsaved": len(self._changes) + sum(one.count for one in self._unmade),
            }

    def turn(self) -> None:
        """Step the dispatcher with what waits, commit, send, tell."""
        with self._guard:
            asked = self._asked
            self._begun_ns = steady_ns()
            batch = Batch(list(self._events), self._commands, self._changes, self._unmade)
            self._events.clear()
            self._commands, self._changes, self._unmade = [], {}, []
        try:
            self._carry_out(batch)
        except Exception:
            self._counts["errors"] += 1
            log.exception("carrying alerts on failed")
        with self._guard:
            self._counts["turns"] += 1
            self._begun_ns = 0
            self._done = max(self._done, asked)
            self._turned.notify_all()

    def _carry_out(self, batch: Batch) -> None:
        dispatch = self._dispatch(batch)
        made = [self.outbox.changes_for(notification) for notification in dispatch.notifications]
        gone = [Change(OUTBOX, id, None) for id in dispatch.cancelled]
        for states in batch.unmade:
            self._keep(batch.changes, self._made(states))
        self._commit([*batch.changes.values(), *dispatch.changes, *made, *gone])
        self.outbox.cancel(dispatch.cancelled)
        for notification in dispatch.notifications:
            self.outbox.put(notification)
        self._tell(batch.events)
        self._tell_decisions(dispatch.decisions)
        counts = self.dispatcher.counters()
        self.refused_count = counts["members_refused"] + counts["silences_refused"]

    def _dispatch(self, batch: Batch) -> Dispatch:
        """What the dispatcher made; events it failed on go to their own receivers, ungrouped."""
        try:
            with self._stepping:
                made = self.dispatcher.step(self._clock.now_ns() / SECOND_NS, batch.events, batch.commands)
        except Exception:
            log.exception("the dispatcher failed")
            made = Dispatch([], [], [], [], batch.events)
        if not made.failed:
            return made
        self._counts["errors"] += len(made.failed)
        log.error("%d alerts go to their own receivers, ungrouped", len(made.failed))
        plain = [one for event in made.failed for one in notifications_of(event, event.notify, self._origin)]
        return made._replace(notifications=[*made.notifications, *plain])

    def _commit(self, changes: list[Change]) -> None:
        """All or none; what the disk refuses waits, and may be replaced by younger changes of the same keys."""
        if self.committer is None or not changes:
            return
        try:
            self.committer.commit(changes)
        except StorageError as error:
            if not self.problem:
                log.error("alert states are not kept: %s; pages leave all the same", error)
            self.problem = f"alert states are not kept: {error}"
            # What becomes of a notification meanwhile takes the place of its record there.
            self.outbox.keep([change for change in changes if change.table == OUTBOX])
            with self._guard:
                younger, self._changes = self._changes, {}
                self._keep(self._changes, [*(one for one in changes if one.table != OUTBOX), *younger.values()])
            return
        if self.problem:
            log.info("alert states are kept again")
        self.problem = ""

    def _keep(self, waiting: dict[ChangeKey, Change], changes: Iterable[Change]) -> None:
        for change in changes:
            key = change.table, change.key
            if key in waiting or len(waiting) < CHANGES_WAITING_MAX:
                waiting[key] = change
            else:
                self._counts["lost"] += 1

    def _seconds_to_due(self) -> float:
        if self.problem:
            return RETRY_SECONDS
        with self._stepping:
            due = self.dispatcher.next_due()
        return min(max(0.0, due - self._clock.now_ns() / SECOND_NS), TURN_SECONDS_MAX)

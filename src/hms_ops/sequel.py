"""What follows a transition once it is kept: events, handlers, actions, receivers; and what becomes of these.

    Handover ─► Keeper ─► disk ─► tell ─► watchers · on_alert · actions ─► one that failed is an alert of its own
                            └───► Outbox ─► receivers ─► outcome ─► watchers

Duty makes one, and puts transitions in. Nothing here waits but in threads of its own: the keeper's, the receivers', the
actions', the handlers'. Threads: `tell` is the keeper's, outcomes are their workers'.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from hms_ops.alert.actions.action import ActionRunner
from hms_ops.alert.actions.run import Run
from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.dispatch.dispatcher import Dispatcher
from hms_ops.alert.notification import Alert, Notification, Outcome, Profile
from hms_ops.alert.rulefile import RuleFile
from hms_ops.alert.states.book import Book
from hms_ops.alertevents import alert_event, notification_event
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.handover import Handover
from hms_ops.hooks import AlertHooks
from hms_ops.keeper import Keeper
from hms_ops.threads import StartThread, wait_for

Emit = Callable[[dict[str, Any]], None]

HOOKS_SECONDS: Final = 0.5  # what handlers of alerts get at a stop
ACTIONS_SECONDS: Final = 1.0  # and runs of actions; commands are killed then
KEEPER_SECONDS: Final = 1.0  # and the keeper, to bring the last transitions to the disk
ACTION_FAILED_SECONDS: Final = 900.0  # how long the alert of a failed action lasts


class Sequel:
    """The parts that follow the book of one engine. anomalies: the names of anomaly rules, whose end is no news and
    whose actions wait until an episode is held."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        steady: Clock,
        start_thread: StartThread,
        emit: Emit,
        anomalies: Callable[[], Collection[str]],
        *,
        profiles: Mapping[str, Profile],
        origin: str,
        action_url: str,
    ) -> None:
        self.hooks = AlertHooks()
        self.outbox = Outbox(steady, start_thread, profiles, self._on_outcome)
        self.actions = ActionRunner(
            (),
            steady,
            self._on_action,
            self._is_cleared,
            base_url=action_url,
            origin=origin,
            on_failed=self._on_action_failed,
            is_told=self._is_kept,
        )
        dispatcher = Dispatcher(RuleFile().routing, origin=origin)
        self.keeper = Keeper(
            dispatcher, self.outbox, clock, origin, tell=self._tell, tell_decisions=self._tell_decisions
        )
        self.handover = Handover(book, self.keeper, anomalies, self._now)
        self._book = book
        self._clock = clock
        self._steady = steady
        self._start_thread = start_thread
        self._emit = emit
        self._anomalies = anomalies
        self._keeping: threading.Thread | None = None

    # ---- told once they are kept

    def _tell(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._emit(alert_event(alert))
            self.hooks.put(alert)
            self.offer(alert)

    def offer(self, alert: Alert) -> None:
        """To its actions; an anomaly's wait until it is held."""
        if alert.name not in self._anomalies():
            self.actions.offer(alert)

    def _tell_decisions(self, decisions: Sequence[Mapping[str, Any]]) -> None:
        for decision in decisions:
            self._emit({"kind": "decision", **decision})

    # ---- what became of it

    def _on_outcome(self, notification: Notification, outcome: Outcome) -> None:
        self._emit(notification_event(notification, outcome))

    def _on_action(self, record: dict[str, Any]) -> None:
        self._emit({"kind": "action", **record})

    def _on_action_failed(self, run: Run, why: str) -> None:
        """It failed, did not help, or nobody knows: a human is called, those that the alert itself calls; again when
        the last call has not ended yet."""
        alert, name = run.alert, f"{run.alert.name}.action_failed"
        with self.handover.lock:
            self.handover.put(self._book.end_now(name, alert.tags, self._now(), "another run failed"))
        self.handover.fire(
            name,
            alert.value,
            self._now(),
            tags=alert.tags,
            severity="page",
            reason=f"{run.rule.name}: {why}",
            notify=alert.notify,
            policy=alert.policy,
            rule_tags=alert.rule_tags,
            ttl_seconds=ACTION_FAILED_SECONDS,
        )

    def _is_cleared(self, name: str, tags: Mapping[str, str]) -> bool:
        """For an action's verification: the alert does not fire any more."""
        return not self._book.is_firing(name, tags)

    def _is_kept(self) -> bool:
        """Whether all calls of humans so far are on disk."""
        return self.keeper.settle(1.0) and not self.keeper.problem

    # ---- life

    def start(self) -> None:
        if self.keeper.committer is not None:
            self._start_thread("hms-committer", self.keeper.committer.run)
        self._keeping = self._start_thread("hms-keeper", self.keeper.run)
        self.actions.start(self._start_thread)
        self.hooks.crew.start(self._start_thread)

    def settle(self) -> None:
        """Wait until what was put in is on its way: for a clock that runs faster than time."""
        if self._keeping is not None:
            self.keeper.settle()

    def stop_actions(self, deadline_ns: int) -> None:
        """First of all: what fails by it calls a human, whom the keeper brings to the disk at least."""
        self.actions.stop(min(deadline_ns, self._steady.now_ns() + int(ACTIONS_SECONDS * SECOND_NS)))

    def stop(self, deadline_ns: int) -> None:
        """Bring what was put in to the disk, send what can be sent, end all workers; the deadline is on the steady
        clock."""
        self.keeper.stop()
        if self._keeping is not None:
            wait_for(self._keeping, KEEPER_SECONDS)
        if self.keeper.committer is not None:
            self.keeper.committer.stop()
        self.outbox.drain(deadline_ns)
        self.outbox.stop(deadline_ns)
        self.hooks.crew.stop(HOOKS_SECONDS)

    def _now(self) -> int:
        return self._clock.now_ns() // SECOND_NS

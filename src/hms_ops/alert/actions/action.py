"""Self-healing: an alert fires, and the action service is asked to run a template, or a local command is run.

The engine offers each firing alert, and each anomaly once it is held, to the `ActionRunner`; a rule whose `on` is the
alert's name makes a run:

    offer → refused (reason) | queued → intent recorded → POST {url}/v1/run | command → outcome recorded
          → watched until the alert has cleared → verified recorded
          → failed, unknown or not cleared: `on_failed`, which hands over to a human → `is_told`

At most once: one run per action and episode; nothing is repeated, since a request without an answer may have arrived.
The intent is on disk before anything leaves, and a run whose intent cannot be recorded does not happen, so after a
crash an intent without an outcome is a run whose outcome is unknown, and it is not repeated either (runlog.py).
At least once: the outcome's record says that a hand-over is owed, until `is_told` says that none of those made so far
can be lost any more; what is owed at a start is handed over then.
Guards: cooldown and a limit per hour for each action (guards.py), a dry run that records and sends nothing, a stop
switch for all, which is kept on disk.

Records are dicts with `event` (refused, intent, outcome, verified), `action`, `alert`, `tags`, `episode`, `key`, `time`
(Unix seconds) and what belongs to the event: `reason`, `command`, `dry_run`, `outcome`, `output`, `after_seconds`;
never the input, which may hold credentials. All but what was refused goes to `audit` as well, which takes what
`Paging.note` takes; it may be set until the first run.
Threads: `offer`, `halt` and `resume` from any thread, never waiting for a service or command. The thread "actions"
verifies and starts workers, which end when nothing waits for them: WORKERS_MAX of each kind, so that hanging commands
delay no service; the runs of one action come one after the other (runqueue.py). Without `start`, `step` does it all.
Limits: QUEUE_MAX runs waiting, VERIFIES_MAX verifications, RUNS_KEPT_MAX remembered; counters say what was hit.
Not here: when an anomaly is held (the detector), Python hooks (hooks.py).
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hms_ops.alert.actions.carrying import Carrier, Done
from hms_ops.alert.actions.run import Run, run_of
from hms_ops.alert.actions.runlog import UNKNOWN, Commit, RunLog
from hms_ops.alert.actions.runqueue import RunQueue
from hms_ops.alert.actions.verifying import NO_ROOM, IsCleared, Verdict, Verifying
from hms_ops.alert.actions.workers import Workers
from hms_ops.alert.notification import Alert
from hms_ops.alert.receivers.post import Post, post_json
from hms_ops.alert.rule import ActionRule
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.threads import StartThread, wait_for

LOGGER: Final = logging.getLogger("hms_ops.alert")

IDLE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0  # how often what the disk refused is tried again, and watched alerts are looked at
STOPPED: Final = "the engine stopped"
AUDITED: Final = ("intent", "outcome", "verified")
BEGUN: Final = "begun"  # what the audit log says of an intent
BY: Final = "the engine"

Record = Callable[[dict[str, Any]], None]
OnFailed = Callable[[Run, str], None]
Note = Callable[..., None]


@dataclass(slots=True)
class ActionCounters:
    """offered = refused + succeeded + failed + dry + queued + running, at any quiet moment. unknown: of those before a
    restart. cleared, not_cleared: of those that were verified. escalated: handed over to a human."""

    offered: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    dry: int = 0
    unknown: int = 0
    cleared: int = 0
    not_cleared: int = 0
    escalated: int = 0


class ActionRunner:
    """Decides which runs happen and has them carried out."""

    def __init__(
        self,
        rules: Iterable[ActionRule],
        clock: Clock,
        record: Record,
        is_cleared: IsCleared,
        *,
        base_url: str = "",
        origin: str = "",
        post: Post = post_json,
        on_failed: OnFailed | None = None,
        is_told: Callable[[], bool] = lambda: True,
        audit: Note | None = None,
    ) -> None:
        """on_failed: calls a human, and does not wait; is_told: waits a moment until all these calls are on disk, and
        says whether they are."""
        self.counters = ActionCounters()
        self.halted_by = ""
        self.audit = audit
        self._rules = tuple(rules)
        self._clock = clock
        self._record_with = record
        self._origin = origin
        self._on_failed = on_failed
        self._is_told = is_told
        self._called: set[str] = set()  # keys of runs about which a human was called, which may yet be lost
        self._passing_halt = ""  # who set the switch without keeping it
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._queue = RunQueue()
        self._workers = Workers(self._queue, self._lock, self._carry_out)
        self._carrier = Carrier(base_url, post)
        self._log = RunLog(clock)
        self._verifying = Verifying(is_cleared)
        self._start_thread: StartThread | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    # ---- life

    def replace_rules(self, rules: Iterable[ActionRule]) -> None:
        """Take new rules; what is queued still runs as it was decided."""
        with self._lock:
            self._rules = tuple(rules)

    def open(self, commit: Commit) -> None:
        """Keep intents and outcomes with `commit` from now on: it returns when they are on disk, or raises."""
        self._log.open(commit)

    def restore(self, records: Mapping[str, Mapping[str, Any]], halted: Mapping[str, Any] | None = None) -> None:
        """Take up the table "runs" and the mark "halted", after `open`, with the rules given, before the first offer.

        Runs whose intent has no outcome are recorded as unknown and handed over to a human; those that were being
        verified are watched on.
        """
        if halted is not None:
            self.halted_by = halted_text(str(halted.get("who") or "someone"), str(halted.get("reason") or ""))
        restored = self._log.restore(records, {rule.name: rule for rule in self._rules})
        for run in restored.unknown:
            self.counters.unknown += 1
            self._record(run, "outcome", outcome=UNKNOWN)
        for run, why in restored.owed:
            self._hand_over(run, why)
        for run, begin, end in restored.watched:
            if not self._verifying.watch(run, int(begin * SECOND_NS), int(end * SECOND_NS)):
                self._log.verified(run, NO_ROOM)

    def start(self, start_thread: StartThread) -> None:
        if self._passing_halt:
            self._note("actions-stop", self._passing_halt, "actions")
        self._start_thread = start_thread
        self._thread = start_thread("actions", self._work)

    def halt(self, who: str, reason: str = "", *, is_kept: bool = True) -> None:
        """The stop switch: no run starts until `resume`, queued ones included. It outlives a restart if `is_kept`."""
        self.halted_by = halted_text(who or "someone", reason)
        self._passing_halt = "" if is_kept else who or "someone"
        if is_kept:
            self._log.mark_halted(who or "someone", reason)

    def resume(self, who: str = "") -> None:
        self.halted_by = ""
        self._log.unmark_halted()
        LOGGER.warning("actions run again: the stop switch was released by %s", who or "someone")

    def stop(self, deadline_ns: int) -> bool:
        """End the workers; True when all ended before the deadline. Commands that still run then are killed, and runs
        still queued are recorded as refused."""
        self._workers.is_stopped = True
        self._wake.set()
        has_ended = self._join(deadline_ns)
        if self._carrier.commands.stop(STOPPED):
            has_ended = self._join(self._clock.now_ns() + SECOND_NS)
        with self._lock:
            left = self._queue.clear()
        for run in left:
            self._refuse(run, STOPPED)
        self._confirm()
        self._log.flush()
        return has_ended

    def _join(self, deadline_ns: int) -> bool:
        def left() -> float:
            return max(0.0, (deadline_ns - self._clock.now_ns()) / SECOND_NS)

        if self._thread is not None:
            wait_for(self._thread, left())
        return self._workers.join(left) and (self._thread is None or not self._thread.is_alive())

    # ---- what others read

    def counts(self) -> dict[str, int]:
        """The counters; what is `queued`, `running` (`commands` among them) and `verifying` now; what is `unsettled` on
        disk, and what was `damaged` there; hand-overs still `owed`, since the call may yet be lost."""
        with self._lock:
            now = {
                "queued": self._queue.count,
                "running": self._queue.running_count,
                "commands": self._carrier.commands.count,
                "owed": len(self._called),
            }
        more = {"verifying": self._verifying.count, "unsettled": self._log.waiting_count, "damaged": self._log.damaged}
        return asdict(self.counters) | now | more

    def list_runs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The latest runs, newest first, as their records have them (run.py), each with its `key`."""
        return self._log.list_runs(limit)

    # ---- offers

    def offer(self, alert: Alert) -> int:
        """Queue the runs that this firing alert asks for; returns how many. Never raises, never waits for a service."""
        if os.getpid() != self._pid or alert.state != "firing":
            return 0  # a forked child runs nothing: its parent does
        rules = self._rules
        queued = sum([self._admit(run_of(rule, alert, self._origin)) for rule in rules if rule.on == alert.name])
        self._wake.set()
        return queued

    def _admit(self, run: Run) -> bool:
        with self._lock:
            self.counters.offered += 1
            reason = self._objection(run)
            if not reason:
                self._log.admit(run)
                self._queue.put(run)
                return True
        self._refuse(run, reason)
        return False

    def _objection(self, run: Run) -> str:
        """Why the run must not happen, or nothing."""
        if self.halted_by:
            return f"the stop switch is set by {self.halted_by}"
        if self._workers.is_stopped:
            return STOPPED
        if self._queue.is_full:
            return f"{self._queue.count} runs are waiting already"
        return self._log.objection(run)

    def _refuse(self, run: Run, reason: str) -> None:
        self._count("refused")
        self._record(run, "refused", reason=reason)

    # ---- the work

    def step(self) -> int:
        """Carry out one run and look at what is being verified; returns the time in ns to come again. For callers that
        have not called `start`."""
        self._look_after()
        self._confirm()
        now_ns = self._clock.now_ns()
        return now_ns if self._workers.run_one() else self._next_look_ns()

    def _work(self) -> None:
        """The thread "actions"."""
        assert self._start_thread is not None
        while not self._workers.is_stopped:
            self._wake.clear()
            self._look_after()
            self._workers.start_waiting(self._start_thread)
            self._confirm()  # which may wait, so after all that others wait for
            self._clock.sleep_until_ns(self._next_look_ns(), self._wake)

    def _look_after(self) -> None:
        self._log.flush()
        for verdict in self._verifying.decided(self._clock.now_ns()):
            self._judge(verdict)

    def _next_look_ns(self) -> int:
        has_something = self._verifying.count or self._log.waiting_count or self._called
        return self._clock.now_ns() + int((SETTLE_SECONDS if has_something else IDLE_SECONDS) * SECOND_NS)

    # ---- one run

    def _carry_out(self, run: Run) -> None:
        if self.halted_by:
            return self._refuse(run, f"the stop switch is set by {self.halted_by}")
        if not self._intend(run):
            return self._settle(run, Done("failed", "not run: the intent could not be recorded", {}))
        self._settle(run, self._carrier.carry_out(run))

    def _intend(self, run: Run) -> bool:
        """Record the intent, on disk first; False when that failed, which is logged."""
        try:
            self._log.begin(run)
        except Exception:
            LOGGER.exception("the intent of action %s could not be kept", run.rule.name)
            return False
        asked: dict[str, Any] = {"dry_run": run.rule.dry_run}  # not the input, which may hold credentials
        if run.rule.command:
            asked["command"] = list(run.rule.command)
        return self._record(run, "intent", **asked)

    def _settle(self, run: Run, done: Done) -> None:
        """Record the outcome, and see to what follows from it."""
        state, outcome, facts = done
        watched = self._watch(run) if state == "succeeded" else {}
        owed = {"owed": outcome} if state == "failed" else {}
        self._log.settle(run, state, outcome, **facts, **watched, **owed)
        self._count(state)
        self._record(run, "outcome", outcome=outcome, **facts)
        if watched.get("verified"):
            self._record(run, "verified", outcome=watched["verified"])
        if state == "failed":
            LOGGER.error("action %s failed: %s", run.rule.name, outcome)
            self._hand_over(run, outcome)

    # ---- what comes of it

    def _watch(self, run: Run) -> dict[str, Any]:
        """Watch whether it helps; what its record says of that."""
        if run.rule.verify_seconds <= 0:
            return {}
        now_ns = self._clock.now_ns()
        until_ns = now_ns + int(run.rule.verify_seconds * SECOND_NS)
        if not self._verifying.watch(run, now_ns, until_ns):
            return {"verified": NO_ROOM}
        self._wake.set()
        return {"verified": "", "verify_from": now_ns / SECOND_NS, "verify_until": until_ns / SECOND_NS}

    def _judge(self, verdict: Verdict) -> None:
        run = verdict.run
        self._count("cleared" if verdict.is_cleared else "not_cleared")
        self._log.verified(run, verdict.outcome, owed="" if verdict.is_cleared else verdict.outcome)
        self._record(run, "verified", outcome=verdict.outcome, after_seconds=verdict.after_seconds)
        if not verdict.is_cleared:
            LOGGER.error("action %s ran, but %s has %s", run.rule.name, run.alert.name, verdict.outcome)
            self._hand_over(run, verdict.outcome)

    def _hand_over(self, run: Run, why: str) -> None:
        """It has not helped, or nobody knows: a human's turn. What raises stays owed until the next start."""
        try:
            if self._on_failed is not None:
                self._on_failed(run, why)
                self._count("escalated")
        except Exception:
            LOGGER.exception("handing action %s over to a human failed", run.rule.name)
            return
        with self._lock:
            self._called.add(run.key)
        self._wake.set()

    def _confirm(self) -> None:
        """Once the calls made so far cannot be lost any more, nothing is owed for them."""
        with self._lock:
            called = set(self._called)
        try:
            if not called or not self._is_told():
                return
        except Exception:
            LOGGER.exception("whether humans were called for failed actions is not known; they are called at a restart")
            return
        self._log.told(called)
        with self._lock:
            self._called -= called

    def _count(self, counter: str) -> None:
        with self._lock:
            setattr(self.counters, counter, getattr(self.counters, counter) + 1)

    def _record(self, run: Run, event: str, **facts: Any) -> bool:
        """Hand a record over; False when that failed, which is logged."""
        record = {
            "event": event,
            "action": run.name,
            "alert": run.alert.name,
            "tags": dict(run.alert.tags),
            "episode": run.alert.episode,
            "key": run.key,
            "time": self._clock.now_ns() / SECOND_NS,
            **facts,
        }
        try:
            self._record_with(record)
        except Exception:
            LOGGER.exception("recording %s of action %s failed", event, run.rule.name)
            return False
        if event in AUDITED:
            about = {name: record[name] for name in ("alert", "tags", "episode", "key")}
            more = {name: facts[name] for name in ("command", "dry_run", "after_seconds") if facts.get(name)}
            outcome = str(facts.get("outcome", BEGUN))
            self._note(f"action-{event}", BY, run.rule.name, outcome, **about, **more)
        return True

    def _note(self, what: str, who: str, subject: str, outcome: str = "ok", **detail: Any) -> None:
        """An entry of the audit log."""
        if self.audit is None:
            return
        try:
            self.audit(what, who, subject, "", outcome, **detail)
        except Exception:
            LOGGER.exception("the audit log did not take %s of %s", what, subject)


def halted_text(who: str, reason: str) -> str:
    return f"{who}: {reason}" if reason else who

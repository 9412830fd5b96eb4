"""Self-healing: an alert fires, and the action service is asked to run a template, or a local command is run.

The engine offers each firing alert, and each anomaly once it is held, to the `ActionRunner`; a rule whose `on` is the
alert's name makes a run:

    offer → refused (reason) | queued → intent recorded → POST {url}/v1/run | command → outcome recorded
          → watched until the alert has cleared → verified recorded
          → failed, unknown or not cleared: `on_failed`, which hands over to a human

At most once: one run per action and episode; nothing is repeated, since a request without an answer may have arrived.
The intent is on disk before anything leaves, and a run whose intent cannot be recorded does not happen, so after a
crash an intent without an outcome is a run whose outcome is unknown, and it is not repeated either (runlog.py).
Guards: cooldown and a limit per hour for each action (guards.py), a dry run that records and sends nothing, a stop
switch for all, which is kept on disk.

Records are dicts with `event` (refused, intent, outcome, verified), `action`, `alert`, `tags`, `episode`, `key`, `time`
(Unix seconds) and what belongs to the event: `reason`, `request`, `outcome`, `output`, `after_seconds`.
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
from functools import partial
from typing import Any, Final

from hms_ops.alert.command import Commands, Ended
from hms_ops.alert.notification import Alert
from hms_ops.alert.receivers.post import Answer, Post, post_json
from hms_ops.alert.rule import ActionRule
from hms_ops.alert.run import Run, State, environment_of, input_of, request_of, run_of
from hms_ops.alert.runlog import UNKNOWN, Commit, RunLog
from hms_ops.alert.runqueue import Kind, RunQueue
from hms_ops.alert.verifying import NO_ROOM, IsCleared, Verdict, Verifying
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.threads import wait_for

LOGGER: Final = logging.getLogger("hms_ops.alert")

WORKERS_MAX: Final[dict[Kind, int]] = {"service": 8, "command": 4}
IDLE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0  # how often what the disk refused is tried again, and watched alerts are looked at
RUN_PATH: Final = "/v1/run"
SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOPPED: Final = "the engine stopped"

Record = Callable[[dict[str, Any]], None]
OnFailed = Callable[[Run, str], None]
StartThread = Callable[[str, Callable[[], None]], threading.Thread]


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
    ) -> None:
        self.counters = ActionCounters()
        self.halted_by = ""
        self._rules = tuple(rules)
        self._clock = clock
        self._record_with = record
        self._base_url = base_url
        self._origin = origin
        self._post = post
        self._on_failed = on_failed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._queue = RunQueue()
        self._log = RunLog(clock)
        self._verifying = Verifying(is_cleared)
        self._commands = Commands()
        self._start_thread: StartThread | None = None
        self._thread: threading.Thread | None = None
        self._workers: list[threading.Thread] = []
        self._busy: dict[Kind, int] = dict.fromkeys(WORKERS_MAX, 0)
        self._is_stopped = False
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
            self._hand_over(run, UNKNOWN)
        for run, begin, end in restored.watched:
            if not self._verifying.watch(run, int(begin * SECOND_NS), int(end * SECOND_NS)):
                self._log.verified(run, NO_ROOM)

    def start(self, start_thread: StartThread) -> None:
        self._start_thread = start_thread
        self._thread = start_thread("actions", self._work)

    def halt(self, who: str, reason: str = "", *, is_kept: bool = True) -> None:
        """The stop switch: no run starts until `resume`, queued ones included. It outlives a restart if `is_kept`."""
        self.halted_by = halted_text(who or "someone", reason)
        if is_kept:
            self._log.mark_halted(who or "someone", reason)

    def resume(self, who: str = "") -> None:
        self.halted_by = ""
        self._log.unmark_halted()
        LOGGER.warning("actions run again: the stop switch was released by %s", who or "someone")

    def stop(self, deadline_ns: int) -> bool:
        """End the workers; True when all ended before the deadline. Commands that still run then are killed, and runs
        still queued are recorded as refused."""
        self._is_stopped = True
        self._wake.set()
        self._join(deadline_ns)
        if self._commands.kill(f"killed: {STOPPED}"):
            self._join(self._clock.now_ns() + SECOND_NS)
        with self._lock:
            left = self._queue.clear()
        for run in left:
            self._refuse(run, STOPPED)
        self._log.flush()
        return not any(thread.is_alive() for thread in self._own_threads())

    def _own_threads(self) -> list[threading.Thread]:
        return [*([self._thread] if self._thread is not None else []), *self._workers]

    def _join(self, deadline_ns: int) -> None:
        for thread in self._own_threads():
            wait_for(thread, max(0.0, (deadline_ns - self._clock.now_ns()) / SECOND_NS))

    # ---- what others read

    def counts(self) -> dict[str, int]:
        """The counters, and what is `queued`, `running` and `verifying` now, and what is `unsettled` on disk."""
        with self._lock:
            now = {"queued": self._queue.count, "running": self._queue.running_count}
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
        if self._is_stopped:
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
        with self._lock:
            run = self._queue.take()
        if run is None:
            return self._next_look_ns()
        now_ns = self._clock.now_ns()
        self._carry_out(run)
        return now_ns

    def _work(self) -> None:
        """The thread "actions"."""
        while not self._is_stopped:
            self._wake.clear()
            self._look_after()
            self._start_workers()
            self._clock.sleep_until_ns(self._next_look_ns(), self._wake)

    def _look_after(self) -> None:
        self._log.flush()
        for verdict in self._verifying.decided(self._clock.now_ns()):
            self._judge(verdict)

    def _next_look_ns(self) -> int:
        has_something = self._verifying.count or self._log.waiting_count
        return self._clock.now_ns() + int((SETTLE_SECONDS if has_something else IDLE_SECONDS) * SECOND_NS)

    def _start_workers(self) -> None:
        assert self._start_thread is not None
        self._workers = [thread for thread in self._workers if thread.is_alive()]
        for kind in WORKERS_MAX:
            while (run := self._take_for_worker(kind)) is not None:
                self._workers.append(self._start_thread(f"actions-{kind}", partial(self._worker, kind, run)))

    def _take_for_worker(self, kind: Kind) -> Run | None:
        """A run for one more worker, who is counted at once."""
        with self._lock:
            may_start = not self._is_stopped and self._busy[kind] < WORKERS_MAX[kind]
            run = self._queue.take(kind) if may_start else None
            self._busy[kind] += run is not None
            return run

    def _worker(self, kind: Kind, first: Run) -> None:
        """Carry out this run and all that wait of its kind, then end."""
        run: Run | None = first
        while run is not None:
            self._carry_out(run)
            with self._lock:
                run = None if self._is_stopped else self._queue.take(kind)
                self._busy[kind] -= run is None

    # ---- one run

    def _carry_out(self, run: Run) -> None:
        try:
            self._run(run)
        finally:
            with self._lock:
                self._queue.done(run)

    def _run(self, run: Run) -> None:
        if self.halted_by:
            return self._refuse(run, f"the stop switch is set by {self.halted_by}")
        if not self._intend(run):
            return self._settle(run, "failed", "not run: the intent could not be recorded")
        if run.rule.dry_run:
            return self._settle(run, "dry", "dry run: nothing was sent")
        if run.rule.command:
            return self._run_command(run)
        base_url = run.rule.url or self._base_url
        if not base_url:
            return self._settle(run, "failed", "not run: no action service is configured (actions.url)")
        answer = self._send(base_url, run)
        self._settle(run, "succeeded" if answer.is_success else "failed", word_of(answer))

    def _intend(self, run: Run) -> bool:
        """Record the intent, on disk first; False when that failed, which is logged."""
        try:
            self._log.begin(run)
        except Exception:
            LOGGER.exception("the intent of action %s could not be kept", run.rule.name)
            return False
        asked = {"request": request_of(run), "dry_run": run.rule.dry_run}
        if run.rule.command:
            asked["command"] = list(run.rule.command)
        return self._record(run, "intent", **asked)

    def _send(self, base_url: str, run: Run) -> Answer:
        try:
            return self._post(base_url.rstrip("/") + RUN_PATH, request_of(run), {"Idempotency-Key": run.key})
        except Exception as error:
            LOGGER.exception("asking the service of action %s raised", run.rule.name)
            return Answer(error=f"{type(error).__name__}: {error}")

    def _run_command(self, run: Run) -> None:
        rule, environment = run.rule, environment_of(run, os.environ.get("PATH") or SEARCH_PATH)
        ended: Ended = self._commands.run(rule.command, input_of(run), environment, rule.timeout_seconds)
        self._settle(run, "succeeded" if ended.is_success else "failed", str(ended), output=ended.shown)

    def _settle(self, run: Run, state: State, outcome: str, **facts: Any) -> None:
        """Record the outcome, and see to what follows from it."""
        watched = self._watch(run) if state == "succeeded" else {}
        self._log.settle(run, state, outcome, **facts, **watched)
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
        self._log.verified(run, verdict.outcome)
        self._record(run, "verified", outcome=verdict.outcome, after_seconds=verdict.after_seconds)
        if not verdict.is_cleared:
            LOGGER.error("action %s ran, but %s has %s", run.rule.name, run.alert.name, verdict.outcome)
            self._hand_over(run, verdict.outcome)

    def _hand_over(self, run: Run, why: str) -> None:
        """It has not helped, or nobody knows: a human's turn."""
        if self._on_failed is None:
            return
        try:
            self._on_failed(run, why)
            self._count("escalated")
        except Exception:
            LOGGER.exception("handing action %s over to a human failed", run.rule.name)

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
        return True


def halted_text(who: str, reason: str) -> str:
    return f"{who}: {reason}" if reason else who


def word_of(answer: Answer) -> str:
    """The outcome in words; without an answer it is not known whether the run happened."""
    if answer.status:
        return str(answer)
    return f"unknown: {answer}" if answer.sent else f"not run: {answer}"

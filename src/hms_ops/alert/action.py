"""Self-healing: an alert fires, and the action service is asked to run a template.

The engine offers each firing alert, and each anomaly once it is held, to the `ActionRunner`; a rule whose `on` is the
alert's name makes a run. One worker carries the runs out:

    offer → refused (reason) | queued → intent recorded → POST {url}/v1/run → outcome recorded → verified recorded

At most once: one run per action and episode; the POST is never repeated, since a request without an answer may have
arrived. The intent is recorded before anything leaves, and a run whose intent cannot be recorded does not happen, so
after a crash an intent without an outcome is a run whose outcome is unknown, and it is not repeated either.
Guards: cooldown and a limit per hour for each action, a dry run that records and sends nothing, a stop switch for all.
Verify asks `is_cleared` once a second until it says so or the time is up, and records which.

Records are dicts with `event` (refused, intent, outcome, verified), `action`, `alert`, `tags`, `episode`, `key`, `time`
(Unix seconds) and what belongs to the event: `reason`, `request`, `outcome`, `after_seconds`.
Threads: `offer`, `halt` and `resume` from any thread, never waiting; `step` from the one worker. Time is the Clock's.
Limits: `QUEUE_MAX` runs waiting, `VERIFIES_MAX` verifications, `EPISODES_MAX` remembered; counters say what was hit.
Not here: when an anomaly is held (the detector), local commands and Python hooks (a later version).
"""

import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hms_ops.alert.notification import Alert, GroupTags, idempotency_key
from hms_ops.alert.receivers.post import Answer, Post, post_json
from hms_ops.alert.rule import ActionRule
from hms_ops.clock import SECOND_NS, Clock

LOGGER: Final = logging.getLogger("hms_ops.alert")

QUEUE_MAX: Final = 1_000
VERIFIES_MAX: Final = 1_000
EPISODES_MAX: Final = 10_000
IDLE_SECONDS: Final = 60.0
HOUR_NS: Final = 3600 * SECOND_NS
RUN_PATH: Final = "/v1/run"

Record = Callable[[dict[str, Any]], None]
IsCleared = Callable[[str, Mapping[str, str]], bool]
StartThread = Callable[[str, Callable[[], None]], threading.Thread]
EpisodeKey = tuple[str, GroupTags, int]  # the action's name, group, episode


@dataclass(slots=True)
class ActionCounters:
    """offered = refused + succeeded + failed + dry + queued, at any quiet moment."""

    offered: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    dry: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run on its way."""

    rule: ActionRule
    alert: Alert
    key: str


@dataclass(slots=True)
class Verify:
    """A run whose effect is being watched."""

    run: Run
    started_ns: int
    deadline_ns: int


class ActionRunner:
    """Decides which runs happen and carries them out, one after the other."""

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
    ) -> None:
        self.counters = ActionCounters()
        self.halted_by = ""
        self._rules = tuple(rules)
        self._clock = clock
        self._record_with = record
        self._is_cleared = is_cleared
        self._base_url = base_url
        self._origin = origin
        self._post = post
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._queue: deque[Run] = deque()
        self._verifies: list[Verify] = []
        self._episodes: dict[EpisodeKey, None] = {}  # oldest first
        self._runs_ns: dict[str, deque[int]] = {}  # of each action, those of the last hour or the last one
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._pid = os.getpid()

    def replace_rules(self, rules: Iterable[ActionRule]) -> None:
        """Take new rules; what is queued still runs as it was decided."""
        with self._lock:
            self._rules = tuple(rules)

    def start(self, start_thread: StartThread) -> None:
        self._thread = start_thread("actions", self._work)

    def halt(self, who: str) -> None:
        """The stop switch: no run starts until `resume`, queued ones included."""
        self.halted_by = who or "someone"

    def resume(self) -> None:
        self.halted_by = ""

    def offer(self, alert: Alert) -> int:
        """Queue the runs that this firing alert asks for; returns how many. Never raises, never waits for a service."""
        if os.getpid() != self._pid or alert.state != "firing":
            return 0  # a forked child runs nothing: its parent does
        with self._lock:
            runs = [Run(rule, alert, self._key(rule, alert)) for rule in self._rules if rule.on == alert.name]
        queued = sum([self._admit(run) for run in runs])
        self._wake.set()
        return queued

    def step(self) -> int:
        """Carry out one run and look at what is being verified; returns the time in ns to come again."""
        self._verify()
        with self._lock:
            run = self._queue.popleft() if self._queue else None
        now_ns = self._clock.now_ns()
        if run is not None:
            self._carry_out(run)
            return now_ns
        wait_seconds = 1.0 if self._verifies else IDLE_SECONDS
        return now_ns + int(wait_seconds * SECOND_NS)

    def stop(self, deadline_ns: int) -> bool:
        """End the worker; True when it ended before the deadline. Runs still queued are recorded as refused."""
        self._is_stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / SECOND_NS))
        with self._lock:
            left, self._queue = list(self._queue), deque()
        for run in left:
            self._settle(run, "refused", reason="the engine stopped")
        return self._thread is None or not self._thread.is_alive()

    def counts(self) -> dict[str, int]:
        """The counters, and what is `queued` and `verifying` now."""
        with self._lock:
            return asdict(self.counters) | {"queued": len(self._queue), "verifying": len(self._verifies)}

    def _key(self, rule: ActionRule, alert: Alert) -> str:
        return idempotency_key(f"{self._origin} runs {rule.template}", alert, 1)

    def _admit(self, run: Run) -> bool:
        now_ns = self._clock.now_ns()
        with self._lock:
            self.counters.offered += 1
            reason = self._objection(run, now_ns)
            if not reason:
                self._count_run(run, now_ns)
                self._queue.append(run)
                return True
            self.counters.refused += 1
        self._record(run, "refused", reason=reason)
        return False

    def _objection(self, run: Run, now_ns: int) -> str:
        """Why the run must not happen, or nothing."""
        rule, runs_ns = run.rule, self._runs_ns.get(run.rule.name, ())
        if self.halted_by:
            return f"the stop switch is set by {self.halted_by}"
        if self._is_stopped:
            return "the engine stopped"
        if episode_of(run) in self._episodes:
            return "it ran for this episode already"
        if len(self._queue) >= QUEUE_MAX:
            return f"{QUEUE_MAX} runs are waiting already"
        if runs_ns and now_ns - runs_ns[-1] < rule.cooldown_seconds * SECOND_NS:
            return f"it ran {(now_ns - runs_ns[-1]) // SECOND_NS} s ago, the cooldown is {rule.cooldown_seconds:g} s"
        if sum(now_ns - run_ns < HOUR_NS for run_ns in runs_ns) >= rule.limit_per_hour:
            return f"it ran {rule.limit_per_hour} times within an hour, which is its limit"
        return ""

    def _count_run(self, run: Run, now_ns: int) -> None:
        runs_ns = self._runs_ns.setdefault(run.rule.name, deque())
        while runs_ns and now_ns - runs_ns[0] >= HOUR_NS:
            runs_ns.popleft()
        runs_ns.append(now_ns)
        self._episodes[episode_of(run)] = None
        if len(self._episodes) > EPISODES_MAX:
            del self._episodes[next(iter(self._episodes))]

    def _carry_out(self, run: Run) -> None:
        request = request_of(run)
        if self.halted_by:
            return self._settle(run, "refused", reason=f"the stop switch is set by {self.halted_by}")
        if not self._record(run, "intent", request=request, dry_run=run.rule.dry_run):
            return self._settle(run, "failed", outcome="not run: the intent could not be recorded")
        if run.rule.dry_run:
            return self._settle(run, "dry", outcome="dry run: nothing was sent")
        base_url = run.rule.url or self._base_url
        if not base_url:
            return self._settle(run, "failed", outcome="not run: no action service is configured (actions.url)")
        answer = self._send(base_url, run, request)
        self._settle(run, "succeeded" if answer.is_success else "failed", outcome=word_of(answer))
        if answer.is_success:
            self._watch(run)

    def _send(self, base_url: str, run: Run, request: dict[str, Any]) -> Answer:
        try:
            return self._post(base_url.rstrip("/") + RUN_PATH, request, {"Idempotency-Key": run.key})
        except Exception as error:
            LOGGER.exception("asking the service of action %s raised", run.rule.name)
            return Answer(error=f"{type(error).__name__}: {error}")

    def _settle(self, run: Run, counter: str, **facts: Any) -> None:
        with self._lock:
            setattr(self.counters, counter, getattr(self.counters, counter) + 1)
        if counter == "failed":
            LOGGER.error("action %s failed: %s", run.rule.name, facts.get("outcome", ""))
        self._record(run, "refused" if counter == "refused" else "outcome", **facts)

    def _watch(self, run: Run) -> None:
        if run.rule.verify_seconds <= 0:
            return
        now_ns = self._clock.now_ns()
        with self._lock:
            has_room = len(self._verifies) < VERIFIES_MAX
            if has_room:
                self._verifies.append(Verify(run, now_ns, now_ns + int(run.rule.verify_seconds * SECOND_NS)))
        if not has_room:
            self._record(run, "verified", outcome=f"not watched: {VERIFIES_MAX} runs are being watched already")

    def _verify(self) -> None:
        """Ask after every run that is being watched, and record those that are decided."""
        now_ns = self._clock.now_ns()
        for verify in list(self._verifies):
            is_cleared = self._has_cleared(verify.run.alert)
            if not is_cleared and now_ns < verify.deadline_ns:
                continue
            with self._lock:
                self._verifies.remove(verify)
            limit = f"{verify.run.rule.verify_seconds:g} s"
            outcome = "cleared" if is_cleared else f"not cleared within {limit}"
            if not is_cleared:
                LOGGER.error("action %s ran, but %s has %s", verify.run.rule.name, verify.run.alert.name, outcome)
            seconds = (now_ns - verify.started_ns) / SECOND_NS
            self._record(verify.run, "verified", outcome=outcome, after_seconds=round(seconds, 3))

    def _has_cleared(self, alert: Alert) -> bool:
        try:
            return self._is_cleared(alert.name, alert.tags)
        except Exception:
            LOGGER.exception("asking whether %s has cleared failed", alert.name)
            return False

    def _record(self, run: Run, event: str, **facts: Any) -> bool:
        """Hand a record over; False when that failed, which is logged."""
        record = {
            "event": event,
            "action": run.rule.template,
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

    def _work(self) -> None:
        while not self._is_stopped:
            self._wake.clear()
            come_again_ns = self.step()
            if come_again_ns > self._clock.now_ns() and not self._is_stopped:
                self._clock.sleep_until_ns(come_again_ns, self._wake)


def episode_of(run: Run) -> EpisodeKey:
    return run.rule.name, run.alert.group, run.alert.episode


def request_of(run: Run) -> dict[str, Any]:
    """What the action service is sent."""
    alert = run.alert
    return {
        "template": run.rule.template,
        "input": dict(run.rule.input),
        "alert": {
            "name": alert.name,
            "state": alert.state,
            "value": alert.value if math.isfinite(alert.value) else None,
            "tags": dict(alert.tags),
            "since": alert.since,
            "severity": alert.severity,
            "episode": alert.episode,
        },
        "idempotency_key": run.key,
    }


def word_of(answer: Answer) -> str:
    """The outcome in words; without an answer it is not known whether the run happened."""
    if answer.status:
        return str(answer)
    return f"unknown: {answer}" if answer.sent else f"not run: {answer}"

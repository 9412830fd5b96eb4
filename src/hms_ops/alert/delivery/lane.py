"""A lane: the queue of one receiver. Its worker sends one notification after the other, and tries those that failed
again.

    put → waiting → sent: Delivered                                       delivered
                          Retry  → waits 1 s to 5 min, full jitter, or what Retry-After says (1 h at most)  retried
                          Dead, or older than 24 h                        dead
          cancel → gone; one that is being sent just now is not tried again               cancelled
        → the lane is full                                                dropped

`outbox.py` makes the lanes and tells each how to settle: what is delivered, dead or cancelled is on disk as such before
the lane sends its next, so a kill repeats at most the one that was on its way, with the same idempotency key.

The notifications of one group leave in their order: a resolve waits until its page is delivered or dead. A page that
could not leave in time is still delivered after its alerts resolved, and says so in its note: the resolve may stand
behind it in the queue, or `is_firing` knows, which is asked of pages that are late.

Threads: `step` is called by one worker, the rest by anyone. No lock is held while sending or settling. Time: only
through the `Clock`. `step` sends at most one notification and says when to come again, so a test with a manual clock
needs neither threads nor sleeps. Limits: LANE_WAITING_MAX notifications. Errors: none; a receiver that raises against
its contract has failed for this time.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Outcome, Retry
from hms_ops.alert.receivers import Route
from hms_ops.clock import SECOND_NS, Clock

LOGGER: Final = logging.getLogger("hms_ops.alert")

LANE_WAITING_MAX: Final = 10_000
BACKOFF_SECONDS_MIN: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 300.0
RETRY_AFTER_SECONDS_MAX: Final = 3600.0  # a receiver that asks for years must not silence itself for good
LIFETIME_SECONDS_MAX: Final = 24 * 3600.0
IDLE_SECONDS: Final = 60.0
FAILING_LOGGED_SECONDS: Final = 60.0
LATE_SECONDS: Final = 2.0  # from when on a page is late that was not tried yet

RESOLVED: Final = "delivered late: the alert has resolved meanwhile"


@dataclass(slots=True)
class Counters:
    """The outbox's part of the ledger. `retried` counts attempts, `restored` and `resent` those of the queued that came
    from the disk at start and from the dead letters, the others notifications."""

    queued: int = 0
    delivered: int = 0
    retried: int = 0
    dead: int = 0
    dropped: int = 0
    cancelled: int = 0
    restored: int = 0
    resent: int = 0


@dataclass(slots=True, eq=False)
class Waiting:
    """A notification in a lane. id: its key on disk. born_ns: when its 24 hours began; due_ns: when it may be tried;
    attempts: how often it was; is_cancelled: it is being sent, and is not to be tried again."""

    notification: Notification
    id: str
    born_ns: int
    due_ns: int
    attempts: int = 0
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """A receiver none of whose attempts has worked since then, and why the last did not."""

    since_ns: int
    reason: str
    is_logged: bool


End = Delivered | Dead | None  # what a notification came to; None: it was cancelled
Settle = Callable[[Waiting, End], None]
IsFiring = Callable[[Alert], bool]  # whether the alert still fires, in the same episode
OnOutcome = Callable[[Notification, Outcome], None]


def no_outcome(notification: Notification, outcome: Outcome) -> None:
    """The callback of who does not want to know."""


def always_firing(alert: Alert) -> bool:
    """Of a lane that nobody tells what has become of alerts."""
    return True


def nothing_to_settle(item: Waiting, outcome: End) -> None:
    """Of a lane that nothing on disk stands behind."""


class Lane:
    """The queue of one receiver. `step` is called by one worker; the rest by anyone."""

    def __init__(
        self,
        served_by: Route,
        clock: Clock,
        on_outcome: OnOutcome = no_outcome,
        chance: Callable[[], float] = random.random,
        settle: Settle = nothing_to_settle,
        is_firing: IsFiring = always_firing,
    ) -> None:
        self.served_by = served_by
        self.counters = Counters()
        self.wake = threading.Event()
        self.is_retired = False  # its worker ends; set under the outbox's lock, when nothing waits
        self.used_ns = clock.now_ns()
        self._clock = clock
        self._on_outcome = on_outcome
        self._chance = chance
        self._settle = settle
        self._is_firing = is_firing
        self._lock = threading.Lock()
        self._groups: dict[str, deque[Waiting]] = {}  # each group's notifications, in their order
        self._waiting_count = 0
        self._sending: Waiting | None = None
        self._paused_until_ns = 0
        self._failing: Failing | None = None
        self._failing_logged_ns: int | None = None

    def put(self, notification: Notification, born_ns: int | None = None, key: str = "") -> bool:
        """Queue it; False when the lane is full, which is counted as dropped. Born now, if not told."""
        now_ns = self._clock.now_ns()
        item = Waiting(notification, key or notification.id, now_ns if born_ns is None else born_ns, now_ns)
        with self._lock:
            self.used_ns = now_ns
            self.counters.queued += 1
            if self._waiting_count >= LANE_WAITING_MAX:
                self.counters.dropped += 1
                return False
            self._waiting_count += 1
            self._groups.setdefault(notification.order_key, deque()).append(item)
        self.wake.set()
        return True

    def cancel(self, ids: Collection[str]) -> list[Waiting]:
        """Take out those that wait; returns them. One that is being sent is not tried again when it fails."""
        with self._lock:
            found = [item for queue in self._groups.values() for item in queue if item.id in ids]
            gone = [item for item in found if item is not self._sending]
            for item in gone:
                self._remove(item)
            if len(gone) < len(found) and self._sending is not None:
                self._sending.is_cancelled = True
            self.counters.cancelled += len(gone)
        return gone

    def hasten(self) -> None:
        """The receiver is known to answer: try now what waits for its next attempt."""
        with self._lock:
            self._hasten(self._clock.now_ns())
        self.wake.set()

    def _hasten(self, now_ns: int) -> None:
        for queue in self._groups.values():
            queue[0].due_ns = min(queue[0].due_ns, now_ns)

    @property
    def waiting_count(self) -> int:
        with self._lock:
            return self._waiting_count

    def is_empty(self, now_ns: int) -> bool:
        """Nothing waits, nothing is being sent, and the receiver has not asked for a pause that lasts."""
        with self._lock:
            return not self._waiting_count and now_ns >= self._paused_until_ns

    def problem(self) -> str:
        """Since when the receiver fails, and why; "" while it works."""
        with self._lock:
            failing = self._failing
        if failing is None:
            return ""
        seconds = (self._clock.now_ns() - failing.since_ns) // SECOND_NS
        return f"receiver {self.served_by.target.shown} has failed for {seconds:,} s: {failing.reason}"

    def due_count(self, deadline_ns: int) -> int:
        """How many groups have something that may be tried before the deadline."""
        with self._lock:
            return sum(max(queue[0].due_ns, self._paused_until_ns) < deadline_ns for queue in self._groups.values())

    def step(self) -> int:
        """Send the first notification that is due; returns the time in ns to come again (now, if one was sent)."""
        now_ns = self._clock.now_ns()
        with self._lock:
            item, due_ns = self._next(now_ns)
            self._sending = item
        if item is None:
            return due_ns
        tried = self._attempt(item, now_ns)
        now_ns = self._clock.now_ns()
        with self._lock:
            outcome = self._judge(item, tried, now_ns)
        if not isinstance(outcome, Retry):
            self._settle_safely(item, outcome)
            with self._lock:
                self._take_out(item, outcome)
        if outcome is not None:
            self._tell(item.notification, outcome)
        return now_ns

    def _next(self, now_ns: int) -> tuple[Waiting | None, int]:
        """The first item that is due, of those that are the oldest of their group, or when there may be one."""
        if now_ns < self._paused_until_ns:
            return None, self._paused_until_ns
        earliest_ns = now_ns + int(IDLE_SECONDS * SECOND_NS)
        for queue in self._groups.values():
            if queue[0].due_ns <= now_ns:
                return queue[0], now_ns
            earliest_ns = min(earliest_ns, queue[0].due_ns)
        return None, earliest_ns

    def _attempt(self, item: Waiting, now_ns: int) -> Outcome:
        """Send it, unless it is too old: after a day of standstill nobody is paged for the day before."""
        if now_ns - item.born_ns > LIFETIME_SECONDS_MAX * SECOND_NS:
            return Dead(undelivered(item, "the engine was not there to send it"))
        item.attempts += 1
        outcome = self._send(item)
        self._note_health(outcome, now_ns, self._clock.now_ns())
        return outcome

    def _send(self, item: Waiting) -> Outcome:
        target = self.served_by.target
        try:
            return self.served_by.send(target.address, self._noted(item), self.served_by.profile)
        except Exception as error:
            LOGGER.exception("receiver %s failed", target.shown)
            return Retry(f"{type(error).__name__}: {error}")

    def _note_health(self, outcome: Outcome, began_ns: int, now_ns: int) -> None:
        """Log the first failure of a row and its end. What was refused for good was answered: it ends a row too."""
        shown = self.served_by.target.shown
        with self._lock:
            before = self._failing
            if not isinstance(outcome, Retry):
                self._failing = None
                if before is not None and isinstance(outcome, Delivered):
                    self._hasten(now_ns)
            elif before is not None:
                self._failing = replace(before, reason=outcome.reason)
            else:
                logged_ns = self._failing_logged_ns  # one that fails every other time must not fill the log
                is_logged = logged_ns is None or now_ns - logged_ns >= FAILING_LOGGED_SECONDS * SECOND_NS
                self._failing = Failing(began_ns, outcome.reason, is_logged)
                if is_logged:
                    self._failing_logged_ns = now_ns
                    LOGGER.warning("receiver %s fails and is tried again: %s", shown, outcome.reason)
        if before is not None and before.is_logged and not isinstance(outcome, Retry):
            LOGGER.info("receiver %s answers again after %d s", shown, (now_ns - before.since_ns) // SECOND_NS)

    def _noted(self, item: Waiting) -> Notification:
        """The notification as it leaves now: late pages say what has become of their alerts."""
        with self._lock:
            queue = self._groups[item.notification.order_key]
            newer = [waiting.notification for waiting in islice(queue, 1, None)]
        age_seconds = self._clock.now_ns() / SECOND_NS - item.notification.created
        is_late = item.attempts > 1 or age_seconds > LATE_SECONDS
        is_firing = self._is_firing if is_late else always_firing
        note = late_note(item.notification, newer, is_firing) if newer or is_late else ""
        return replace(item.notification, note=note) if note else item.notification

    def _judge(self, item: Waiting, outcome: Outcome, now_ns: int) -> Outcome | None:
        """What an attempt comes to, with the next one planned; None: it was cancelled meanwhile, and did not arrive."""
        if isinstance(outcome, Retry):
            outcome = self._plan(item, outcome, now_ns)
        if item.is_cancelled and not isinstance(outcome, Delivered):
            return None  # no dead letter either: who sends those again would tell what was called off
        if isinstance(outcome, Retry):
            self._sending = None
            self.counters.retried += 1
        return outcome

    def _plan(self, item: Waiting, outcome: Retry, now_ns: int) -> Outcome:
        wait_seconds = backoff_seconds(item.attempts, self._chance())
        if outcome.after_seconds is not None:
            # Who says Retry-After speaks for all that is meant for him, not for this notification.
            wait_seconds = min(max(outcome.after_seconds, BACKOFF_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
            self._paused_until_ns = now_ns + int(wait_seconds * SECOND_NS)
        item.due_ns = now_ns + int(wait_seconds * SECOND_NS)
        if item.due_ns - item.born_ns > LIFETIME_SECONDS_MAX * SECOND_NS:
            return Dead(undelivered(item, outcome.reason))
        return outcome

    def _settle_safely(self, item: Waiting, outcome: End) -> None:
        try:
            self._settle(item, outcome)
        except Exception:
            LOGGER.exception("settling a notification failed")

    def _take_out(self, item: Waiting, outcome: End) -> None:
        self._sending = None
        self._remove(item)
        if outcome is None:
            self.counters.cancelled += 1
        elif isinstance(outcome, Delivered):
            self.counters.delivered += 1
        else:
            self.counters.dead += 1

    def _remove(self, item: Waiting) -> None:
        key = item.notification.order_key
        self._groups[key].remove(item)
        self._waiting_count -= 1
        if not self._groups[key]:
            del self._groups[key]

    def _tell(self, notification: Notification, outcome: Outcome) -> None:
        if isinstance(outcome, Dead):
            LOGGER.error("%s to %s is dead: %s", notification.alert.name, self.served_by.target.shown, outcome.reason)
        try:
            self._on_outcome(notification, outcome)
        except Exception:
            LOGGER.exception("the callback for outcomes of notifications failed")


def backoff_seconds(attempts: int, chance: float) -> float:
    """Full jitter over a ceiling that doubles: `chance` in [0, 1) of at most 2 s, 4 s, … 5 min, and at least 1 s."""
    ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(attempts, 20))
    return max(BACKOFF_SECONDS_MIN, chance * ceiling)


def undelivered(item: Waiting, why: str) -> str:
    return f"undelivered for 24 h after {item.attempts} attempts: {why}"


def late_note(page: Notification, newer: Iterable[Notification], is_firing: IsFiring = always_firing) -> str:
    """What a page has to say of its alerts that resolved while it waited, as the notifications behind it tell, or
    `is_firing`; "" when none did. An alert that fired again since, in another episode, has resolved all the same."""
    firing = set(episodes(page.alerts, "firing"))
    if not firing:
        return ""
    resolved = firing & resolved_by(newer)
    resolved |= firing & set(episodes((alert for alert in page.alerts if not is_firing(alert)), "firing"))
    if not resolved:
        return ""
    if len(resolved) == len(firing) and not page.left_out:
        return RESOLVED if len(firing) == 1 else f"delivered late: its {len(firing):,} alerts have resolved meanwhile"
    return f"delivered late: {len(resolved):,} of its {len(firing) + page.left_out:,} alerts have resolved meanwhile"


Episode = tuple[str, tuple[tuple[str, str], ...], int]


def episodes(alerts: Iterable[Alert], state: str) -> Iterator[Episode]:
    return ((alert.name, alert.group, alert.episode) for alert in alerts if alert.state == state)


def resolved_by(notifications: Iterable[Notification]) -> set[Episode]:
    return {episode for one in notifications for episode in episodes(one.alerts, "resolved")}

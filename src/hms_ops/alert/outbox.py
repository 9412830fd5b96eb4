"""Carries notifications to their receivers: one lane per receiver, each with its own queue and its own worker.

The engine puts what the book's events make (`notification.notifications_of`); a lane's worker sends. A receiver that
hangs, fails or is slow delays no other receiver and no tick. Delivered at least once, or dead and counted:

    put → waiting → sent: Delivered                                       delivered
                          Retry  → waits 1 s to 5 min, full jitter, or what Retry-After says (1 h at most)  retried
                          Dead, or older than 24 h                        dead
        → the lane is full, there are too many lanes, or this is a fork   dropped

    queued = delivered + dead + dropped + waiting                         at any quiet moment

The notifications of one episode leave in their order: a resolve waits until its page is delivered or dead. A page that
could not leave in time is still delivered after the alert resolved, and says so in its note. Every attempt carries the
same idempotency key.

Lanes come with their receiver's first notification. One that is empty goes, with its worker, after LANE_IDLE_SECONDS or
as soon as LANES_MAX are there and another receiver needs the place: only receivers with waiting notifications count.
What is dropped is counted, logged once a minute, and stands in `problems` for an hour.

Threads: the lanes' workers are started through `start_thread`, which the engine hands in, named `notify-<receiver>`;
`put` may be called from any thread and never waits for a receiver. `on_outcome` is called from the worker.
Time: only through the `Clock`. `Lane.step` sends at most one notification and says when to come again, so a test with
a manual clock needs neither threads nor sleeps.
Kept in memory. A store stands behind it without change: write a notification before `put`, delete it in `on_outcome`,
and `put` what is left after a restart; the keys stay the same.
"""

import logging
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from hms_ops.alert.notification import Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers import Route, parse_target, route
from hms_ops.clock import SECOND_NS, Clock

LOGGER: Final = logging.getLogger("hms_ops.alert")

LANE_WAITING_MAX: Final = 10_000
LANES_MAX: Final = 512  # receivers with waiting notifications at once; each has a thread
LANE_IDLE_SECONDS: Final = 300.0
BACKOFF_SECONDS_MIN: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 300.0
RETRY_AFTER_SECONDS_MAX: Final = 3600.0  # a receiver that asks for years must not silence itself for good
LIFETIME_SECONDS_MAX: Final = 24 * 3600.0
IDLE_SECONDS: Final = 60.0
DROPS_LOGGED_SECONDS: Final = 60.0
DROPS_SHOWN_SECONDS: Final = 3600.0
FAILING_LOGGED_SECONDS: Final = 60.0
FAILING_SHOWN: Final = 10  # receivers in `problems`; each is logged when it begins to fail

StartThread = Callable[[str, Callable[[], None]], threading.Thread]
OnOutcome = Callable[[Notification, Outcome], None]


@dataclass(slots=True)
class Counters:
    """The outbox's part of the ledger. `retried` counts attempts, the others notifications."""

    queued: int = 0
    delivered: int = 0
    retried: int = 0
    dead: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Waiting:
    """A notification in a lane: when it came, when it is due, how often it was tried."""

    notification: Notification
    queued_ns: int
    due_ns: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Failing:
    """A receiver none of whose attempts has worked since then, and why the last did not."""

    since_ns: int
    reason: str
    is_logged: bool


def backoff_seconds(attempts: int, chance: float) -> float:
    """Full jitter over a ceiling that doubles: `chance` in [0, 1) of at most 2 s, 4 s, … 5 min, and at least 1 s."""
    ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(attempts, 20))
    return max(BACKOFF_SECONDS_MIN, chance * ceiling)


class Lane:
    """The queue of one receiver. `step` is called by one worker; `put` by anyone."""

    def __init__(
        self, served_by: Route, clock: Clock, on_outcome: OnOutcome, chance: Callable[[], float] = random.random
    ) -> None:
        self.served_by = served_by
        self.counters = Counters()
        self.wake = threading.Event()
        self.is_retired = False  # its worker ends; set under the outbox's lock, when nothing waits
        self.used_ns = clock.now_ns()
        self._clock = clock
        self._on_outcome = on_outcome
        self._chance = chance
        self._lock = threading.Lock()
        self._episodes: dict[str, deque[Waiting]] = {}  # each episode's notifications, in their order
        self._waiting_count = 0
        self._paused_until_ns = 0
        self._failing: Failing | None = None
        self._failing_logged_ns: int | None = None

    def put(self, notification: Notification) -> bool:
        """Queue it; False when the lane is full, which is counted as dropped."""
        now_ns = self._clock.now_ns()
        with self._lock:
            self.used_ns = now_ns
            self.counters.queued += 1
            if self._waiting_count >= LANE_WAITING_MAX:
                self.counters.dropped += 1
                return False
            self._waiting_count += 1
            self._episodes.setdefault(notification.order_key, deque()).append(Waiting(notification, now_ns, now_ns))
        self.wake.set()
        return True

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
        """How many episodes have something that may be tried before the deadline."""
        with self._lock:
            return sum(max(queue[0].due_ns, self._paused_until_ns) < deadline_ns for queue in self._episodes.values())

    def step(self) -> int:
        """Send the first notification that is due; returns the time in ns to come again (now, if one was sent)."""
        now_ns = self._clock.now_ns()
        with self._lock:
            item, due_ns = self._next(now_ns)
        if item is None:
            return due_ns
        began_ns = now_ns
        outcome = self._send(item)
        now_ns = self._clock.now_ns()
        self._note_health(outcome, began_ns, now_ns)
        with self._lock:
            settled = self._settle(item, outcome, now_ns)
        self._tell(item.notification, settled)
        return now_ns

    def _next(self, now_ns: int) -> tuple[Waiting | None, int]:
        """The first item that is due, of those that are the oldest of their episode, or when there may be one."""
        if now_ns < self._paused_until_ns:
            return None, self._paused_until_ns
        earliest_ns = now_ns + int(IDLE_SECONDS * SECOND_NS)
        for queue in self._episodes.values():
            if queue[0].due_ns <= now_ns:
                return queue[0], now_ns
            earliest_ns = min(earliest_ns, queue[0].due_ns)
        return None, earliest_ns

    def _send(self, item: Waiting) -> Outcome:
        """One attempt; a receiver that raises against its contract has failed for this time."""
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
        """The notification as it leaves now: late pages say what has become of their alert."""
        with self._lock:
            has_newer = len(self._episodes[item.notification.order_key]) > 1
        if has_newer and item.notification.alert.state == "firing":
            return replace(item.notification, note="delivered late: the alert has resolved meanwhile")
        return item.notification

    def _settle(self, item: Waiting, outcome: Outcome, now_ns: int) -> Outcome:
        """Take the item out, or plan its next attempt; returns what it came to."""
        item.attempts += 1
        if isinstance(outcome, Retry):
            outcome = self._plan(item, outcome, now_ns)
        if isinstance(outcome, Retry):
            self.counters.retried += 1
            return outcome
        self._remove(item)
        if isinstance(outcome, Delivered):
            self.counters.delivered += 1
        else:
            self.counters.dead += 1
        return outcome

    def _remove(self, item: Waiting) -> None:
        """Only the worker removes, and only the head of an episode, so `item` still is one."""
        episode = item.notification.order_key
        self._episodes[episode].popleft()
        self._waiting_count -= 1
        if not self._episodes[episode]:
            del self._episodes[episode]

    def _plan(self, item: Waiting, outcome: Retry, now_ns: int) -> Outcome:
        wait_seconds = backoff_seconds(item.attempts, self._chance())
        if outcome.after_seconds is not None:
            # Who says Retry-After speaks for all that is meant for him, not for this notification.
            wait_seconds = min(max(outcome.after_seconds, BACKOFF_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
            self._paused_until_ns = now_ns + int(wait_seconds * SECOND_NS)
        item.due_ns = now_ns + int(wait_seconds * SECOND_NS)
        if item.due_ns - item.queued_ns > LIFETIME_SECONDS_MAX * SECOND_NS:
            return Dead(f"undelivered for 24 h after {item.attempts} attempts: {outcome.reason}")
        return outcome

    def _tell(self, notification: Notification, outcome: Outcome) -> None:
        if isinstance(outcome, Dead):
            LOGGER.error("%s to %s is dead: %s", notification.alert.name, self.served_by.target.shown, outcome.reason)
        try:
            self._on_outcome(notification, outcome)
        except Exception:
            LOGGER.exception("the callback for outcomes of notifications failed")


def no_outcome(notification: Notification, outcome: Outcome) -> None:
    """The callback of who does not want to know."""


class Outbox:
    """All lanes. Lock order: the outbox's, then a lane's."""

    def __init__(
        self,
        clock: Clock,
        start_thread: StartThread,
        profiles: Mapping[str, Profile] | None = None,
        on_outcome: OnOutcome = no_outcome,
    ) -> None:
        self._clock = clock
        self._start_thread = start_thread
        self._profiles = dict(profiles or {})
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._threads: list[threading.Thread] = []
        self._gone = Counters()  # what was refused without a lane, and the counts of lanes that have retired
        self._drop: tuple[int, str] | None = None  # when and why one was dropped last
        self._drop_logged_ns: int | None = None
        self._settled = threading.Event()
        self._is_stopped = False
        self._pid = os.getpid()

    def put(self, notification: Notification) -> bool:
        """Queue one notification; False when it is dropped. Never raises and never waits for a receiver."""
        if os.getpid() != self._pid:
            return False  # a forked child has no workers; its parent's copy of this outbox delivers
        with self._lock:
            try:
                lane = self._lane(notification.receiver)
            except ValueError as error:
                self._gone.queued += 1
                self._gone.dropped += 1
                return self._dropped(notification, str(error))
            if not lane.put(notification):
                return self._dropped(notification, f"{LANE_WAITING_MAX:,} wait for {lane.served_by.target.shown}")
            return True

    def counters(self) -> dict[str, int]:
        """The sum over all receivers, and `waiting`."""
        with self._lock:
            lanes = list(self._lanes.values())
            parts = [asdict(self._gone), *(asdict(lane.counters) for lane in lanes)]
            waiting = sum(lane.waiting_count for lane in lanes)
        return {name: sum(part[name] for part in parts) for name in parts[0]} | {"waiting": waiting}

    def problems(self) -> list[str]:
        """Receivers that fail now, and what was dropped, for an hour after the last one."""
        with self._lock:
            drop, lanes = self._drop, list(self._lanes.values())
        failing = [problem for lane in lanes if (problem := lane.problem())]
        shown = failing[:FAILING_SHOWN]
        if len(failing) > FAILING_SHOWN:
            shown.append(f"and {len(failing) - FAILING_SHOWN} more receivers fail")
        if drop is None or self._clock.now_ns() - drop[0] > DROPS_SHOWN_SECONDS * SECOND_NS:
            return shown
        return [*shown, f"{self.counters()['dropped']:,} notifications were dropped, the last because {drop[1]}"]

    def drain(self, deadline_ns: int) -> int:
        """Wait until nothing is left that could be sent before the deadline; returns how many still wait."""
        with self._lock:
            lanes = list(self._lanes.values())
        while any(lane.due_count(deadline_ns) for lane in lanes) and self._clock.now_ns() < deadline_ns:
            self._settled.clear()
            is_waiting = any(lane.due_count(deadline_ns) for lane in lanes)
            if is_waiting and not self._clock.sleep_until_ns(deadline_ns, self._settled):
                break
        return sum(lane.waiting_count for lane in lanes)

    def stop(self, deadline_ns: int) -> bool:
        """End the workers; True when all ended before the deadline. One that hangs in its receiver is left behind."""
        with self._lock:
            self._is_stopped = True
            lanes, threads = list(self._lanes.values()), list(self._threads)
        for lane in lanes:
            lane.wake.set()
        for thread in threads:
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / SECOND_NS))
        return not any(thread.is_alive() for thread in threads)

    def _lane(self, receiver: str) -> Lane:
        """The lane of a receiver, made with its worker when it is new; ValueError says why it cannot be."""
        if self._is_stopped:
            raise ValueError("the engine was stopped")
        if (lane := self._lanes.get(receiver)) is not None:
            return lane
        served_by = route(parse_target(receiver), self._profiles)
        if len(self._lanes) >= LANES_MAX and not self._retire_one():
            raise ValueError(f"notifications wait for {LANES_MAX} receivers already")
        new = Lane(served_by, self._clock, self._told)
        try:
            thread = self._start_thread(f"notify-{served_by.target.shown}", lambda: self._work(receiver, new))
        except RuntimeError as error:  # the system has no more threads for us
            raise ValueError(str(error)) from error
        self._lanes[receiver] = new
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        return new

    def _dropped(self, notification: Notification, why: str) -> bool:
        now_ns = self._clock.now_ns()
        self._drop = (now_ns, why)
        if self._drop_logged_ns is None or now_ns - self._drop_logged_ns > DROPS_LOGGED_SECONDS * SECOND_NS:
            self._drop_logged_ns = now_ns
            LOGGER.error("notification of %s dropped: %s", notification.alert.name, why)
        return False

    def _retire_one(self) -> bool:
        """Give back the empty lane that was not used for longest; False when none is empty."""
        now_ns = self._clock.now_ns()
        empty = [(lane.used_ns, name) for name, lane in self._lanes.items() if lane.is_empty(now_ns)]
        if empty:
            self._retire(min(empty)[1])
        return bool(empty)

    def _retire(self, receiver: str) -> None:
        """Under the lock, so that nothing is put in any more; the lane is empty."""
        lane = self._lanes.pop(receiver)
        lane.is_retired = True
        for name, count in asdict(lane.counters).items():
            setattr(self._gone, name, getattr(self._gone, name) + count)
        lane.wake.set()

    def _retire_idle(self, receiver: str, lane: Lane) -> None:
        now_ns = self._clock.now_ns()
        with self._lock:
            is_idle = now_ns - lane.used_ns >= LANE_IDLE_SECONDS * SECOND_NS and lane.is_empty(now_ns)
            if is_idle and not lane.is_retired:
                self._retire(receiver)

    def _work(self, receiver: str, lane: Lane) -> None:
        """A worker's life: send what is due, sleep until more is, end when told to or when nothing came for long."""
        while not self._is_over(lane):
            lane.wake.clear()
            come_again_ns = lane.step()
            if come_again_ns > self._clock.now_ns():
                self._retire_idle(receiver, lane)
                if not self._is_over(lane):
                    self._clock.sleep_until_ns(come_again_ns, lane.wake)

    def _is_over(self, lane: Lane) -> bool:
        return self._is_stopped or lane.is_retired

    def _told(self, notification: Notification, outcome: Outcome) -> None:
        try:
            self._on_outcome(notification, outcome)
        finally:
            self._settled.set()

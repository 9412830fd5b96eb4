"""Carries notifications to their receivers: one lane per receiver, each with its own queue and its own worker.

    keeper ── commits the record of changes_for ──► put ─► lane (lane.py) ─► receivers ─► outcome
                                                                               │
                         record gone, dead letter kept (settling.py) ◄─────────┘ before the lane's next
    at start:  restore ─► what was waiting goes into its lanes, with its age

A receiver that hangs, fails or is slow delays no other receiver and no tick. Delivered at least once, or a dead letter:
what is dead or was dropped stays in a list (deadletters.py) from which `resend` takes it.

    queued = delivered + dead + dropped + cancelled + waiting                         at any quiet moment

On disk, in the table `outbox` under the notification's id: {notification, queued, number}. queued: Unix seconds, when
its 24 hours began; number: notifications leave in its order after a restart. A kill repeats at most one notification of
each receiver, the one that was on its way, with the same idempotency key. Without a store everything is in memory.

Lanes come with their receiver's first notification. One that is empty goes, with its worker, after LANE_IDLE_SECONDS or
as soon as LANES_MAX are there and another receiver needs the place: only receivers with waiting notifications count.
What is dropped is counted, logged once a minute, and stands in `problems` for an hour.

Threads: the lanes' workers are started through `start_thread`, which the engine hands in, named `notify-<receiver>`;
all may be called from any thread. `put` waits neither for a receiver nor for the disk; `cancel` and `resend` wait for
the disk. `on_outcome` is called from the worker, behind what was settled, `is_firing` from there too, of late pages.
Time: only through the `Clock`, which is anchored to Unix time. In a forked child nothing is sent: its parent does.
Errors: none but `restore`'s StorageError; a disk that refuses is a line of `problems`.
"""

import itertools
import logging
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from hms_ops.alert.delivery.deadletters import DeadLetter, DeadLetters, notification_or_none
from hms_ops.alert.delivery.lane import Counters, End, IsFiring, Lane, OnOutcome, Waiting, always_firing, no_outcome
from hms_ops.alert.delivery.settling import Settler
from hms_ops.alert.notification import Alert, Dead, Notification, Outcome, Profile, notification_record
from hms_ops.alert.receivers import parse_target, route
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.threads import StartThread

if TYPE_CHECKING:
    from hms_ops.storage.alerting import AlertStore

LOGGER: Final = logging.getLogger("hms_ops.alert")

LANES_MAX: Final = 512  # receivers with waiting notifications at once; each has a thread
LANE_IDLE_SECONDS: Final = 300.0
DROPS_LOGGED_SECONDS: Final = 60.0
DROPS_SHOWN_SECONDS: Final = 3600.0
FAILING_SHOWN: Final = 10  # receivers in `problems`; each is logged when it begins to fail


class Outbox:
    """All lanes. Lock order: the outbox's, then a lane's; neither is held while sending or writing."""

    def __init__(
        self,
        clock: Clock,
        start_thread: StartThread,
        profiles: Mapping[str, Profile] | None = None,
        on_outcome: OnOutcome = no_outcome,
        store: "AlertStore | None" = None,
    ) -> None:
        self._clock = clock
        self._start_thread = start_thread
        self._profiles = dict(profiles or {})
        self._on_outcome = on_outcome
        self.is_firing: IsFiring = always_firing  # for who makes the outbox before there is a book
        self._store = store
        self._settler = Settler(clock, start_thread, store)
        self._dead = DeadLetters()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._threads: list[threading.Thread] = []
        self._gone = Counters()  # what was refused without a lane, and the counts of lanes that have retired
        self._drop: tuple[int, str] | None = None  # when and why one was dropped last
        self._drop_logged_ns: int | None = None
        self._settled = threading.Event()
        self._is_stopped = False
        self._pid = os.getpid()

    def open(self, store: "AlertStore") -> None:
        """Keep on disk what is put from now on: for who makes the outbox before its data directory is open."""
        self._store = self._settler.store = store

    # ---- in

    def changes_for(self, notification: Notification) -> Change:
        """The record that has to be on disk before `put`: in the transaction of what the notification follows from."""
        return self._record(notification, notification.created or self._now())

    def keep(self, changes: Sequence[Change]) -> None:
        """Records of `changes_for` that the disk refused, before their `put`: written when it takes them, unless what
        became of the notifications is known by then."""
        self._settler.later(changes)

    def put(self, notification: Notification) -> bool:
        """Queue one notification; False when it is dropped. Never raises and never waits for a receiver."""
        return self._put(notification, self._clock.now_ns())

    def restore(self) -> int:
        """Put what was waiting when the engine ended into its lanes, in its order, and take in the dead letters; before
        the first `put`. Returns how many wait again. StorageError."""
        if self._store is None or os.getpid() != self._pid:
            return 0
        self._dead.load(self._store.load("dead"))
        records = sorted(self._store.load("outbox").items(), key=lambda item: number_of(item[1]))
        self._numbers = itertools.count(number_of(records[-1][1]) + 1 if records else 0)
        return sum(self._restore(key, record) for key, record in records)

    def resend(self, id: str) -> bool:
        """Take a dead letter into its lane again, for another 24 hours; False when there is none that can be sent."""
        if os.getpid() != self._pid or self._is_stopped:
            return False
        letter = self._dead.take(id)
        if letter is None or letter.notification is None:
            return False
        record = self._record(letter.notification, self._now())._replace(key=id)
        self._settler.settle([record, Change("dead", id, None)])
        return self._put(letter.notification, self._clock.now_ns(), id, "resent")

    def cancel(self, ids: Collection[str]) -> int:
        """Take out what must not leave any more; returns how many. One that is being sent is not tried again."""
        if not ids or os.getpid() != self._pid:
            return 0
        wanted = frozenset(ids)
        with self._lock:
            lanes = list(self._lanes.values())
        gone = [item.id for lane in lanes for item in lane.cancel(wanted)]
        self._settler.settle([Change("outbox", id, None) for id in gone])
        self._settled.set()
        return len(gone)

    # ---- what it says of itself

    def hasten(self, receiver: str) -> None:
        """A receiver is known to answer again: try now what waits for it."""
        with self._lock:
            lane = self._lanes.get(receiver)
        if lane is not None:
            lane.hasten()

    def dead_letters(self) -> list[dict[str, Any]]:
        """Those that will not arrive unless they are sent again, oldest first, without secrets."""
        return self._dead.listed()

    def counters(self) -> dict[str, int]:
        """The sum over all receivers; `waiting`; `dead_letters` kept and `dead_letters_expired`; `unsettled`: what the
        disk has not taken, and `unsettled_forgotten` of it."""
        with self._lock:
            lanes = list(self._lanes.values())
            parts = [asdict(self._gone), *(asdict(lane.counters) for lane in lanes)]
            waiting = sum(lane.waiting_count for lane in lanes)
        return {name: sum(part[name] for part in parts) for name in parts[0]} | {
            "waiting": waiting,
            "dead_letters": len(self._dead),
            "dead_letters_expired": self._dead.expired,
            "unsettled": self._settler.left_count,
            "unsettled_forgotten": self._settler.forgotten,
        }

    def problems(self) -> list[str]:
        """Receivers that fail now, a disk that refuses, and what was dropped, for an hour after the last one."""
        with self._lock:
            drop, lanes = self._drop, list(self._lanes.values())
        failing = [problem for lane in lanes if (problem := lane.problem())]
        shown = failing[:FAILING_SHOWN]
        if len(failing) > FAILING_SHOWN:
            shown.append(f"and {len(failing) - FAILING_SHOWN} more receivers fail")
        if problem := self._settler.problem():
            shown.append(problem)
        if drop is None or self._clock.now_ns() - drop[0] > DROPS_SHOWN_SECONDS * SECOND_NS:
            return shown
        return [*shown, f"{self.counters()['dropped']:,} notifications were dropped, the last because {drop[1]}"]

    @property
    def failing_count(self) -> int:
        """Receivers none of whose attempts works now."""
        with self._lock:
            lanes = list(self._lanes.values())
        return sum(bool(lane.problem()) for lane in lanes)

    # ---- life

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
        """End the workers; True when all ended before the deadline. One that hangs in its receiver is left behind. What
        waits is on disk for the next start, and so is what is put from now on."""
        with self._lock:
            self._is_stopped = True
            lanes, threads = list(self._lanes.values()), list(self._threads)
        for lane in lanes:
            lane.wake.set()
        for thread in threads:
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / SECOND_NS))
        self._settler.stop()
        return not any(thread.is_alive() for thread in threads)

    def _now(self) -> float:
        return self._clock.now_ns() / SECOND_NS

    def _record(self, notification: Notification, queued: float) -> Change:
        facts = {"notification": notification_record(notification), "queued": queued, "number": next(self._numbers)}
        return Change("outbox", notification.id, facts)

    def _restore(self, key: str, record: Mapping[str, Any]) -> bool:
        notification, queued = notification_or_none(record.get("notification")), record.get("queued")
        if notification is None or not isinstance(queued, int | float):
            lost = DeadLetter(None, "its record cannot be read", self._now(), record=record)
            self._settler.settle([Change("outbox", key, None), *self._dead.add(key, lost)])
            return False
        born_ns = min(int(queued * SECOND_NS), self._clock.now_ns())  # a clock that was set back keeps nothing longer
        return self._put(notification, born_ns, key, "restored")

    def _put(self, notification: Notification, born_ns: int, key: str = "", counter: str = "") -> bool:
        if os.getpid() != self._pid:
            return False  # a forked child has no workers; its parent's copy of this outbox delivers
        key = key or notification.id
        with self._lock:
            if self._is_stopped and self._store is not None:
                return True  # it is on disk for the next start
            if counter:
                setattr(self._gone, counter, getattr(self._gone, counter) + 1)
            try:
                lane = self._lane(notification.receiver)
            except ValueError as error:
                self._gone.queued += 1
                self._gone.dropped += 1
                return self._dropped(notification, key, str(error))
            if not lane.put(notification, born_ns, key):
                return self._dropped(
                    notification, key, f"{lane.waiting_count:,} wait for {lane.served_by.target.shown}"
                )
            return True

    def _lane(self, receiver: str) -> Lane:
        """The lane of a receiver, made with its worker when it is new; ValueError says why it cannot be."""
        if self._is_stopped:
            raise ValueError("the engine was stopped")
        if (lane := self._lanes.get(receiver)) is not None:
            return lane
        served_by = route(parse_target(receiver), self._profiles)
        if len(self._lanes) >= LANES_MAX and not self._retire_one():
            raise ValueError(f"notifications wait for {LANES_MAX} receivers already")
        new = Lane(served_by, self._clock, self._told, settle=self._settle, is_firing=self._still_fires)
        try:
            thread = self._start_thread(f"notify-{served_by.target.shown}", lambda: self._work(receiver, new))
        except RuntimeError as error:  # the system has no more threads for us
            raise ValueError(str(error)) from error
        self._lanes[receiver] = new
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        return new

    def _still_fires(self, alert: Alert) -> bool:
        return self.is_firing(alert)

    def _settle(self, item: Waiting, outcome: End) -> None:
        """Called by a lane's worker before it sends its next."""
        changes = [Change("outbox", item.id, None)]
        if isinstance(outcome, Dead):
            letter = DeadLetter(item.notification, outcome.reason, self._now(), item.attempts)
            changes += self._dead.add(item.id, letter)
        self._settler.settle(changes)

    def _dropped(self, notification: Notification, key: str, why: str) -> bool:
        """Under the lock: a dead letter, which somebody else writes."""
        now_ns = self._clock.now_ns()
        self._drop = (now_ns, why)
        if self._drop_logged_ns is None or now_ns - self._drop_logged_ns > DROPS_LOGGED_SECONDS * SECOND_NS:
            self._drop_logged_ns = now_ns
            LOGGER.error("notification of %s dropped: %s", notification.alert.name, why)
        letter = DeadLetter(notification, f"dropped: {why}", now_ns / SECOND_NS)
        self._settler.later([Change("outbox", key, None), *self._dead.add(key, letter)])
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


def number_of(record: Mapping[str, Any]) -> int:
    """Its place among those that wait; a record without one is an odd one, and comes first."""
    number = record.get("number")
    return number if isinstance(number, int) else -1

"""The live alert instances: which rule × group is pending, firing or recovering now.

The tick hands `Book.advance` what the rules evaluated to and gets the events back; `changes` says what of it must reach
the disk, and `restore` takes it up again. Rules' instances live in `instances.py`, those of `alert_now`, which no rule
watches and which end without a repeat, in `unruled.py`; the book is their lock and what they share.

Threads: one lock; the tick advances, any thread may call the rest. Nothing waits inside.
Limits: `instances_max` live instances; one that does not fit is not followed, which each tick counts in `refused`.
Ended instances are remembered for a quarter of an hour (placing.py), so that an episode is not numbered twice.
Errors: records that cannot be read at a restart are skipped, counted in `damaged` and taken away.
Cost of 100,000 instances on the machine this was written on (benchmarks/bench_states.py): 0.3 to 0.6 ms a tick while
they stay quiet, pending or firing, 2.7 ms while all clocks stand still; 3 to 4 µs for each that fires or resolves, 4 to
6 µs more for its record, which the keeper makes; 2 s to take them up after a restart.
"""

import logging
import math
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.instance import Key, id_of
from hms_ops.alert.states.instances import Bools, Floats, Instances
from hms_ops.alert.states.restart import Kept, kept_of_record
from hms_ops.alert.states.unruled import UnruledAlerts, facts_from
from hms_ops.change import Change, Unmade

LOGGER: Final = logging.getLogger("hms_ops.alert")

INSTANCES_MAX: Final = 100_000
TTL_SECONDS: Final = 300
ALIVE_SECONDS: Final = 10  # how far the mark of being alive may lag while no clock runs


class Book:
    """All live instances of the rules it was given, and those of `alert_now`."""

    def __init__(self, rules: Iterable[Rule] = (), instances_max: int = INSTANCES_MAX) -> None:
        self.instances_max = instances_max
        self.damaged = 0
        self._lock = threading.Lock()
        self._instances = Instances(rules, instances_max)
        self._unruled = UnruledAlerts()
        self._refused = 0  # of alert_now, and of records at a restart
        self._ticked: int | None = None  # the second of the last tick
        self._alive_second: int | None = None  # the mark as it was made for the last time
        self._removals: list[Change] = []  # of records that could not be read

    def warm(self) -> None:
        """Import, and so compile, what `advance` runs."""
        self._instances.warm()

    def advance(
        self,
        keys: Sequence[Key],
        condition: Floats,
        recover: Floats,
        value: Floats,
        now_second: int,
        failed: Collection[str] = (),
        *,
        whole: Bools | None = None,
    ) -> list[Alert]:
        """Step all instances to the tick `now_second`; returns its events.

        keys: (rule name, sorted tags) of each position; hand over the same object while it has not changed.
        condition, recover: float64[n], 1.0, 0.0 or NaN (NULL). value: float64[n], for people; the caller may reuse
        the arrays afterwards. Live instances that `keys` no longer holds see NULL: a series that is gone resolves
        nothing unless the rule's NODATA says so. failed: names of rules that could not be evaluated; their instances
        have no position and stay as they are.
        whole: bool[n], False where a window began before what is known, as after a restart. An instance that was
        restored stands still there, whatever its NODATA says; None says that everything is known.
        """
        with self._lock:
            room = max(0, self.instances_max - len(self._unruled.live))
            events = self._instances.advance(keys, condition, recover, value, now_second, failed, whole, room)
            events += self._unruled.expire(now_second)
            self._unruled.forget(now_second, self.instances_max)
            self._ticked = now_second
            return events

    def alert_now(
        self,
        name: str,
        value: float,
        now_second: int,
        *,
        tags: Mapping[str, str] | None = None,
        severity: str = "page",
        ttl_seconds: float = TTL_SECONDS,
        reason: str = "",
        notify: tuple[str, ...] = (),
        policy: str = "",
        rule_tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Alert | None:
        """Fire `name` without a rule, until `ttl_seconds` pass without a repeat.

        Returns the firing event, or None for a repeat or past the limit. A repeat renews the value and everything that
        receivers are told. ValueError when a rule has that name.
        """
        key = key_of(name, tags)
        ttl = max(1, math.ceil(ttl_seconds))
        facts = facts_from(severity, notify, policy, rule_tags, annotations)
        with self._lock:
            if name in self._instances.rules:
                raise ValueError(f"{name!r} is the name of a rule; an alert of your own needs another name")
            if self._unruled.repeat(key, value, facts, now_second + ttl):
                return None
            if self.live_count >= self.instances_max:
                self._refused += 1
                return None
            return self._unruled.fire(key, value, facts, ttl, now_second, reason, self._instances.take(key))

    def end_now(self, name: str, tags: Mapping[str, str], now_second: int, reason: str) -> list[Alert]:
        """End an alert of `alert_now` before its time; [] when it is not there."""
        with self._lock:
            return self._unruled.end(key_of(name, tags), now_second, reason)

    def replace_rules(self, rules: Iterable[Rule], now_second: int) -> list[Alert]:
        """Take new rules; returns the events of instances that end by it.

        A rule that looks for the same as before keeps its instances, with its new timing. Removed and edited rules'
        instances end with the reason. With a longer `for`, what has not been true that long is pending again.
        """
        with self._lock:
            events = self._instances.replace_rules(rules, now_second)
            ended, left = self._unruled.hand_over(self._instances.rules, now_second)
            self._instances.remember(left)
            return events + ended

    def move_clocks(self, seconds: int) -> None:
        """The wall clock was set forward by `seconds` (back, below 0): every clock shows what it showed before."""
        with self._lock:
            self._instances.move_clocks(seconds)
            self._unruled.move_clocks(seconds)
            if self._ticked is not None:
                self._ticked += seconds

    # ---- what others read

    def alerts(self) -> list[Alert]:
        """What is pending or firing now, oldest first."""
        with self._lock:
            found = [*self._instances.alerts(), *self._unruled.alerts()]
        return sorted(found, key=lambda alert: (alert.since, alert.name, alert.group))

    def is_firing(self, name: str, tags: Mapping[str, str] | None = None) -> bool:
        """Whether any instance of `name` is firing, or the one of these tags."""
        with self._lock:
            if tags is None:
                return name in self._instances.firing_counts or name in self._unruled.firing_counts
            key = key_of(name, tags)
            return key in self._unruled.live or self._instances.is_firing(key)

    def find(self, name: str, tags: Mapping[str, str]) -> Alert | None:
        """The alert of this name and these tags if it fires now, without a look at all others."""
        key = key_of(name, tags)
        with self._lock:
            own = self._unruled.live.get(key)
            return own.alert(key) if own is not None else self._instances.find(key)

    def states(self) -> dict[str, float]:
        """For the gauge series of each name: 1.0 while an instance is firing or recovering, else 0.0.

        All rules, and the names of `alert_now` while they are remembered.
        """
        with self._lock:
            states = dict.fromkeys(self._instances.rules, 0.0) | dict.fromkeys(self._unruled.remembered(), 0.0)
            firing = [*self._instances.firing_counts, *self._unruled.firing_counts]
            return states | dict.fromkeys(firing, 1.0)

    def firing(self) -> set[str]:
        """The names of which an instance is firing or recovering."""
        with self._lock:
            return {*self._instances.firing_counts, *self._unruled.firing_counts}

    @property
    def live_count(self) -> int:
        return self._instances.live_count + len(self._unruled.live)

    @property
    def remembered_count(self) -> int:
        """How many have ended and are still remembered."""
        with self._lock:
            return len(self._instances.remembered()) + self._unruled.remembered_count

    @property
    def refused(self) -> int:
        """Instances that there was no room for, once for each tick."""
        return self._instances.refused + self._refused

    # ---- disk

    def changes(self, now_second: int) -> list[Change]:
        """See `take_changes`; made at once."""
        return self.take_changes(now_second).make()

    def take_changes(self, now_second: int) -> Unmade:
        """What must be committed, all in one transaction: records since the last call and the mark `alive`.

        The mark is the second of the last tick (`now_second` before the first) and lets records stand still while time
        passes: it goes with every other change, each second while a clock runs, when a rule with EVERY was judged, and
        else every `ALIVE_SECONDS`. It must not be written apart from what was changed before it.
        """
        with self._lock:
            removals, self._removals = self._removals, []
            instances, last = self._instances.changes(), self._unruled.changes(now_second)
            count = len(removals) + instances.count + len(last)
            second = now_second if self._ticked is None else self._ticked
            lag = ALIVE_SECONDS if self._alive_second is None else abs(second - self._alive_second)
            if count or lag >= ALIVE_SECONDS or (lag and self._instances.needs_mark()):
                self._alive_second = second
                last.append(Change("marks", "alive", {"second": second}))
                count += 1
            return Unmade(count, lambda: [*removals, *instances.make(), *last])

    def restore(self, records: Mapping[str, Mapping[str, Any]], alive_second: int, now_second: int) -> list[Alert]:
        """Take up what the table "instances" has, before the first tick and with the rules given already.

        alive_second: the mark's, 0 when there is none. now_second: about that of the first tick to come. Returns the
        events of instances whose rules were removed or edited meanwhile, and of `alert_now`s whose name a rule took;
        see restart.py for the rest.
        """
        kept = self._read(records)
        with self._lock:
            ruled = [one for one in kept if not one.ttl_seconds]
            self._unruled.restore((one for one in kept if one.ttl_seconds), alive_second, now_second)
            events = self._instances.restore(ruled, alive_second, now_second)
            ended, left = self._unruled.hand_over(self._instances.rules, now_second)
            self._instances.remember(left)
            return events + ended

    def _read(self, records: Mapping[str, Mapping[str, Any]]) -> list[Kept]:
        kept: list[Kept] = []
        for key, record in records.items():
            try:
                kept.append(kept_of_record(key, record))
            except (ValueError, KeyError, TypeError) as error:
                self.damaged += 1
                self._removals.append(Change("instances", key, None))
                LOGGER.error("the record %s of an alert instance cannot be read, and is skipped: %r", key, error)
        return self._bounded(kept)

    def _bounded(self, kept: list[Kept]) -> list[Kept]:
        """As many live and as many ended ones as there may be; the records of the rest go."""
        live = [one for one in kept if one.state.phase != "inactive"]
        ended = sorted((one for one in kept if one.state.phase == "inactive"), key=lambda one: -one.ended)
        left_out = live[self.instances_max :] + ended[self.instances_max :]
        self._removals += [Change("instances", id_of(one.key), None) for one in left_out]
        self._refused += len(live[self.instances_max :])
        return live[: self.instances_max] + ended[: self.instances_max]


def key_of(name: str, tags: Mapping[str, str] | None) -> Key:
    return name, tuple(sorted((tags or {}).items()))

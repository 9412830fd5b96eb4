"""Service level objectives at work: good and total counted second by second, budgets kept, burn rates told.

    samples ──native, as they come──► goods beside COUNT ─┐ a second is sealed
    tick ──publish(second)────────────────────────────────┴─► N.good, N.total (counters) ─► windows, history, rules
                                                              N.budget (gauge), each 10 s ─►
    late samples ──listed when the tick merges them──► N.good, N.total of *their* second

The engine makes one, hands it the SLOs, and calls `publish` once a sealed second: right after the seal and before late
samples are merged, so that a second's counts are merged into that very second, before steps are closed. What is
published is stamped and goes the way of everybody's samples, under the ledger's input "self"; the names are reserved.
The counts are exact: each sample is judged by its own value (goals.py, `_goal.pxd`), with its weight, in its second.

A group is one combination of the values of the SLO's group_by, without tags that begin with "__" (the overflow's).
A budget is kept over the whole window in memory (budget.py), filled from history when the engine starts (`open`).
Not counted is what came in the second an SLO began in, and in the one the engine stopped in: neither was whole.

Limits, each with its counter: SLOS_MAX SLOs (ConfigError), GROUPS_MAX groups of all SLOs (`groups_refused`: counted
in each second they have events), seconds that the store no longer kept (`seconds_lost`).
Threads: `publish` is the tick's; the rest is anybody's, under one lock. It is held while `replace` and `open` read the
history of an SLO that is new (some ms, or seconds), and not while a status is; who cannot have the tick wait says
`is_filled=False` and calls `fill_waiting` after, when no lock is held: only the last step is read under the lock then.
Errors: ConfigError from `replace`, and then nothing has changed.
Not here: how an SLO stands (slostatus.py), the burn-rate rules (alert/slo.py makes them, they are rules like others),
their states (book.py).
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.language.tree import Selector
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import SourceKey
from hms_ops.alert.slo import Goal, Ratio, Slo, Threshold
from hms_ops.alert.source import GroupKey, Source
from hms_ops.alert.watch import Watch
from hms_ops.budget import Budget, left
from hms_ops.clock import SECOND_NS
from hms_ops.counts import Counts, Part, Row
from hms_ops.errors import ConfigError, StorageError
from hms_ops.goals import Goals, check
from hms_ops.past import Past
from hms_ops.slostatus import status_of
from hms_ops.spending import Spent, spent

SLOS_MAX: Final = 1_000
GROUPS_MAX: Final = 4_096
KEPT_SECONDS: Final = 59  # behind the sealed one, whose sums the store still has
BUDGET_SECONDS: Final = 10  # between two samples of a budget
STAMP_SECONDS_MAX: Final = 3590  # the store takes stamps of an hour ago; what was late by that is put where it may be
SELF_INPUT: Final = 0

Floats = NDArray[np.float64]
UnitLookup = Callable[[str], str | None]


def no_units(metric: str) -> str | None:
    return None


class Followed:
    """One SLO in force, and its budget."""

    def __init__(self, slo: Slo, budget: Budget) -> None:
        self.slo, self.budget = slo, budget


class Objectives:
    """All SLOs of one engine. unit: of described metrics."""

    def __init__(self, store: Store, *, unit: UnitLookup = no_units) -> None:
        self.slos: tuple[Slo, ...] = ()
        self.groups_refused = self.seconds_lost = self.unpublished = 0
        self._store = store
        self._unit = unit
        self._lock = threading.RLock()
        self._filling = threading.Lock()  # one reader of history at a time; taken before the other
        self._wanted: dict[str, set[Goal]] = {}
        self._past: Past | None = None
        self._goals = Goals(store)
        self._watch = Watch(store)
        self._followed: list[Followed] = []
        self._parts: list[Part[Followed]] = []
        self._counts: Counts[Followed] = Counts(store, self._goals)
        self._taken = 0  # the last second that was published
        self._names: frozenset[str] = frozenset()
        self._ever: set[str] = set()  # names that were ours: their series may live on for a while
        self._unread: dict[str, str] = {}  # SLOs whose history could not be read, and why
        store.take_judged(store.first_second - 1)  # what comes late for a time before this run is listed

    # ---- in

    def replace(self, slos: Sequence[Slo], *, is_filled: bool = True) -> None:
        """Take these SLOs in place of those before, all or none (ConfigError). Budgets go on where name, window and
        groups are the same; others are filled from history, by `fill_waiting` unless `is_filled`."""
        with self._lock:
            goals = self._checked(slos)
            self._claim(goals, slos)
            before = {one.slo.name: one for one in self._followed}
            self.slos = tuple(slos)
            self._followed = [self._follow(slo, before.get(slo.name)) for slo in slos]
            self._parts = [part for one in self._followed for part in self._parts_of(one)]
            self._watch.keep({part.source.key for part in self._parts})
            self._counts.replace(self._parts)
            for one in self._followed:
                if is_filled and not one.budget.is_filled:
                    self._fill(one)

    def fill_waiting(self) -> None:
        """Fill the budgets that `replace` left as they were, one after the other, while the tick goes on."""
        with self._filling:
            for one in list(self._followed):
                if self._past is not None and not one.budget.is_filled:
                    self._fill_beside(one, self._past)

    def open(self, past: Past) -> None:
        """History can be read: fill the budgets. Before the first `publish`."""
        with self._lock:
            self._past = past
            for one in self._followed:
                self._fill(one)

    def objective(self, name: str) -> float | None:
        """The promised share of an SLO, such as 0.999, for burn_rate; None for a name that is none."""
        return next((slo.share for slo in self.slos if slo.name == name), None)

    @property
    def names(self) -> frozenset[str]:
        """The metrics that are published here."""
        return self._names

    def _checked(self, slos: Sequence[Slo]) -> dict[str, set[Goal]]:
        """The goals of each metric. ConfigError with all that is wrong."""
        problems = []
        goals: dict[str, set[Goal]] = {}
        if len(slos) > SLOS_MAX:
            problems.append(f"{slos[SLOS_MAX].source}: more than {SLOS_MAX:,} SLOs")
        for slo in slos:
            for name in slo.published:
                if name not in self._ever and self._is_written(name):
                    problems.append(f"{slo.source}: {slo.name}: a metric {name} is being written; choose another name")
            try:
                for metric in slo.metrics:
                    goals.setdefault(metric, set()).update(self._goals_of(slo))
                    check(goals)
            except ValueError as error:
                problems.append(f"{slo.source}: {slo.name}: {error}")
        if problems:
            raise ConfigError(*problems)
        return goals

    def _goals_of(self, slo: Slo) -> list[Goal]:
        if isinstance(slo.indicator, Ratio):
            return []
        return [slo.indicator.goal(self._unit(slo.indicator.series.metric))]

    def _is_written(self, metric: str) -> bool:
        """Whether somebody sends it; rows that were reloaded from disk have no samples in the ring."""
        return any(len(self._store.recent(slot)[1]) for slot in self._store.slots(metric).tolist())

    def _claim(self, goals: dict[str, set[Goal]], slos: Sequence[Slo]) -> None:
        """Names and goals, all or none. ConfigError when the store has no room for them."""
        names = frozenset(name for slo in slos for name in slo.published)
        try:
            for name in sorted(names - self._names):
                self._store.reserve(name, True, kinds.GAUGE if name.endswith(".budget") else kinds.COUNTER)
            self._goals.replace(goals)
        except ValueError as error:
            for name in names - self._names:
                self._store.reserve(name, False)
            self._goals.replace(self._wanted)
            raise ConfigError(f"{slos[0].source}: the SLOs cannot be counted: {error}") from None
        for name in self._names - names:
            self._store.reserve(name, False)
        self._names, self._wanted = names, goals
        self._ever |= names

    def _follow(self, slo: Slo, before: Followed | None) -> Followed:
        same = before is not None and (before.slo.window_seconds, before.slo.group_by) == (
            slo.window_seconds,
            slo.group_by,
        )
        return Followed(slo, before.budget if before is not None and same else Budget(slo.window_seconds))

    def _parts_of(self, one: Followed) -> list[Part[Followed]]:
        def source(series: Selector) -> Source:
            return self._watch.source(SourceKey(series.metric, series.matchers, one.slo.where, one.slo.group_by))

        indicator = one.slo.indicator
        if isinstance(indicator, Threshold):
            return [Part(one, source(indicator.series), self._goals_of(one.slo)[0])]
        of_part, of_total = (-1.0, 1.0) if indicator.is_bad else (1.0, 0.0)
        return [
            Part(one, source(indicator.part), None, good=of_part, total=0.0),
            Part(one, source(indicator.total), None, good=of_total, total=1.0),
        ]

    # ---- the tick

    def publish(self, second: int) -> None:
        """Count and publish all sealed seconds up to `second`."""
        with self._lock:
            seconds = self._due(second)
            if self._watch.follow():
                self._counts.replace(self._parts)
            rows = [row for each in seconds for row in self._counts.of_second(each)]
            rows += self._counts.of_late(self._store.take_judged(second))
            self._taken = second
            for one in self._followed:
                one.budget.move_on(second)
            samples = self._take(rows)
            if second % BUDGET_SECONDS == 0:
                samples += [sample for one in self._followed for sample in budget_samples(one.slo, one.budget, second)]
            self._send(samples)

    def _due(self, second: int) -> range:
        """The seconds to publish, as far as the store has them."""
        if second < self._taken:  # the clock was set back
            self._goals.begin_anew(self._store.first_second)
            for one in self._followed:
                one.budget.begin_anew(second)
            self._taken = self._store.first_second - 1
        since = max(self._taken + 1, self._store.first_second)
        first = max(since, second - KEPT_SECONDS)
        self.seconds_lost += first - since if self._taken else 0
        return range(first, second + 1)

    def _take(self, rows: Sequence[Row[Followed]]) -> list[dict[str, Any]]:
        """Into the budgets, and as samples: one of each counter for each group and second."""
        sums: dict[tuple[Followed, GroupKey, int], tuple[float, float]] = {}
        for one, key, second, good, total in rows:
            name = one, shown(key), second
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + good, before[1] + total
        oldest = self._store.now_ns() // SECOND_NS - STAMP_SECONDS_MAX
        samples = []
        for (one, key, second), (good, total) in sums.items():
            if (place := self._place(one.budget, key)) >= 0:
                one.budget.add(place, second, good, total)
                samples += counter_samples(one.slo, key, max(second, oldest), good, total)
        return samples

    def _place(self, budget: Budget, key: GroupKey) -> int:
        """The group's place in the budget, -1 where there is no room for one more."""
        if not budget.knows(key) and sum(len(one.budget) for one in self._followed) >= GROUPS_MAX:
            self.groups_refused += 1
            return -1
        return budget.place(key)

    def _send(self, samples: list[dict[str, Any]]) -> None:
        if samples:
            self.unpublished += len(samples) - self._store.ingest(msgpack.packb(samples), SELF_INPUT)

    # ---- history

    def _fill(self, one: Followed) -> None:
        """What history knows of the window."""
        if self._past is None:
            return
        end = int(self._store.sealed_second) + 1
        one.budget.move_on(end - 1)
        one.budget.is_filled = True
        try:
            self._put(one, spent(self._past, one.slo, max(0, one.budget.start()), end, one.budget.step_seconds))
        except StorageError as error:
            self._unread[one.slo.name] = str(error)

    def _fill_beside(self, one: Followed, past: Past) -> None:
        """The same; steps that are over are read without the lock. What came meanwhile is in the steps behind them,
        which are read anew."""
        step = one.budget.step_seconds
        with self._lock:
            end = int(self._store.sealed_second) + 1
            one.budget.move_on(end - 1)
            start, over = max(0, one.budget.start()), end - end % step
        try:
            rows = list(spent(past, one.slo, start, over, step))
        except StorageError as error:
            rows, self._unread[one.slo.name] = [], str(error)
        with self._lock:
            if one.budget.is_filled or one.budget not in [now.budget for now in self._followed]:
                return
            one.budget.is_filled = True
            if one.slo.name in self._unread:
                return
            self._put(one, rows)
            one.budget.forget_from(over)
            try:
                self._put(one, spent(past, one.slo, over, int(self._store.sealed_second) + 1, step))
            except StorageError as error:
                self._unread[one.slo.name] = str(error)

    def _put(self, one: Followed, found: Iterable[Spent]) -> None:
        for rows in found:
            places = np.array([self._place(one.budget, key) for key in rows.keys], np.int64)[rows.groups]
            has_room = places >= 0
            one.budget.fill(rows.is_total, places[has_room], rows.seconds[has_room], rows.sums[has_room])
        self._unread.pop(one.slo.name, None)

    # ---- out

    def status(self, alerts: Iterable[Alert] = ()) -> list[dict[str, Any]]:
        """Every SLO as it stands: what is promised, and for each group what was kept, what is left of the budget, the
        burn rates, and a state: "ok", "burning" while one of its alerts (of those given) fires, "exhausted" when the
        budget is spent, "no data" without events in the window. StorageError."""
        with self._lock:
            sums = [(one.slo, list(one.budget.keys), one.budget.sums()) for one in self._followed]
            past, end = self._past, int(self._store.sealed_second) + 1
        firing = [alert for alert in alerts if alert.state == "firing"]
        return [status_of(slo, keys, found, past, end, firing) for slo, keys, found in sums]

    def problems(self) -> list[str]:
        """What cannot be counted as written, one line each."""
        found = [f"SLO {name}: its history cannot be read: {why}" for name, why in self._unread.items()]
        if self.groups_refused:
            found.append(f"SLOs have more than {GROUPS_MAX:,} groups; what lies beyond is not counted")
        for slo in self.slos:
            for metric in slo.metrics:
                kind = self._store.metric_kind(metric) if len(self._store.slots(metric)) else kinds.UNKNOWN
                if kind == kinds.SET:
                    found.append(f"SLO {slo.name}: {metric} is a set, which has no values to judge")
                elif isinstance(slo.indicator, Ratio) and kind not in (kinds.COUNTER, kinds.UNKNOWN):
                    found.append(f"SLO {slo.name}: {metric} is a {kinds.NAMES[kind]}; a counter is wanted")
        return found

    def counters(self) -> dict[str, int]:
        with self._lock:
            groups = sum(len(one.budget) for one in self._followed)
        return {
            "slos": len(self.slos),
            "groups": groups,
            "groups_refused": self.groups_refused,
            "seconds_lost": self.seconds_lost,
            "unpublished": self.unpublished,
        }


# ---- samples


def shown(key: GroupKey) -> GroupKey:
    """A group as it is published."""
    return tuple(pair for pair in key if not pair[0].startswith("__")) if key else key


def counter_samples(slo: Slo, key: GroupKey, second: int, good: float, total: float) -> list[dict[str, Any]]:
    tags = dict(key)
    return [
        {"name": name, "kind": "counter", "value": value, "time": second, "tags": tags}
        for name, value in zip(slo.published[:2], (good, total), strict=True)
    ]


def budget_samples(slo: Slo, budget: Budget, second: int) -> list[dict[str, Any]]:
    name = slo.published[2]
    shares = left(budget.sums(), slo.allowed).tolist()
    return [
        {"name": name, "kind": "gauge", "value": share, "time": second, "tags": dict(key)}
        for key, share in zip(budget.keys, shares, strict=True)
    ]

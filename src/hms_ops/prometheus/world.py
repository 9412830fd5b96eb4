"""A store on a manual clock that a test's samples are fed to, with the rules and the book the engine would have.

    samples ──► Store (the native core) ──► seal ──► 10-s, 1-min steps ──► RuleSet.evaluate ──► Book.advance

The second 0 of a test is BEGIN, a midnight, so that windows and EVERY fall on the same steps in every test. A sample
written for time t is the last of the second before it: a window (t − d, t] here ends before second t, so it holds just
the samples that PromQL's window holds. Nothing is evaluated here by other code than the engine's.

Threads: the caller's. Limits: those of a store and a rule set.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Final

from hms_ops import kinds
from hms_ops._ring import Series, Store
from hms_ops.alert.book import Book
from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import Plan, compile_rule
from hms_ops.alert.rule import Rule
from hms_ops.alert.tree import Query
from hms_ops.clock import SECOND_NS
from hms_ops.errors import UnknownMetricError
from hms_ops.kernels import opcodes
from hms_ops.kernels.rollup import rollup_step
from hms_ops.tiers import SLOTS, TIER_SECONDS, WINDOW_SECONDS_MAX

BEGIN: Final = 19_676 * 86_400  # a midnight
HOP_SECONDS: Final = TIER_SECONDS[1]


@dataclass(frozen=True, slots=True)
class Feed:
    """A series and its samples: (seconds of the test, value), in their order."""

    metric: str
    tags: Mapping[str, str]
    kind: int
    samples: Sequence[tuple[float, float]]


def increments(samples: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """What a counter of this engine was sent, for the running totals that Prometheus scraped: nothing for the first of
    them, and after a reset all that it came to since."""
    made = []
    before: float | None = None
    for time, total in samples:
        if before is not None:
            made.append((time, total - before if total >= before else total))
        before = total
    return made


class World:
    """One test's engine. `events`: all that the book told, with the test's second."""

    def __init__(self, feeds: Iterable[Feed], rules: Iterable[Rule] = ()) -> None:
        self._feeds = [feed for feed in feeds if feed.samples]
        self.rules = tuple(rules)
        self.events: list[tuple[float, Alert]] = []
        self.problems: dict[str, str] = {}
        self._now = BEGIN - HOP_SECONDS
        self._store = Store(len(self._feeds) + 1, now_ns=(self._now - 2 * WINDOW_SECONDS_MAX) * SECOND_NS)
        self._handles: dict[int, Series] = {}
        self._samples = merge(*(self._stamped(place, feed) for place, feed in enumerate(self._feeds)))
        self._next = next(self._samples, None)
        self._rule_set = RuleSet(self._store)
        self._rule_set.replace({rule.name: plan_of(rule) for rule in self.rules})
        self._book = Book(self.rules)
        self._close(self._now)

    @staticmethod
    def _stamped(place: int, feed: Feed) -> Iterable[tuple[int, int, float]]:
        return ((BEGIN + math.ceil(time) - 1, place, value) for time, value in feed.samples)

    def move_to(self, seconds: float) -> None:
        """Let the clock go on to a second of the test, and take in all samples until then."""
        target = BEGIN + math.floor(seconds)
        while self._now < target:
            stop = min(target, self._now - self._now % HOP_SECONDS + HOP_SECONDS)
            while self._next is not None and self._next[0] < stop:
                self._feed(*self._next)
                self._next = next(self._samples, None)
            self._close(stop)

    def tick(self) -> None:
        """Judge the rules now."""
        found = self._rule_set.evaluate(self._now)
        self.problems.update(found.problems)
        events = self._book.advance(
            found.keys, found.condition, found.recover, found.value, self._now, found.problems.keys()
        )
        self.events += [(self._now - BEGIN, alert) for alert in events]

    def alerts(self, name: str) -> list[Alert]:
        """What of a rule is pending or firing."""
        return [alert for alert in self._book.alerts() if alert.name == name]

    def query(self, query: Query) -> list[tuple[dict[str, str], float]]:
        """The values of a query now, by group, without those that are NULL."""
        try:
            found = query_now(query, self._store, end=self._now)
        except UnknownMetricError:
            return []
        return [(tags, value) for tags, value in found if not math.isnan(value)]

    def _feed(self, second: int, place: int, value: float) -> None:
        feed = self._feeds[place]
        self._store.set_now_ns(second * SECOND_NS + SECOND_NS // 2)
        handle = self._handles.get(place)
        if handle is None:
            handle = self._handles[place] = self._store.handle(feed.metric, feed.kind, dict(feed.tags))
        handle.add(value)

    def _close(self, end: int) -> None:
        """Seal all seconds before `end`, and close the steps that end there."""
        self._store.flush()
        self._store.set_now_ns(end * SECOND_NS)
        self._store.seal(end - 1)
        for tier in (1, 2):
            seconds = TIER_SECONDS[tier]
            due = self._store.rolled_end(tier) // seconds
            for step in range(max(due, end // seconds - SLOTS), end // seconds):
                rollup_step(self._store.cols, tier, step, self._store.series_count)
                self._store.set_rolled(tier, step)
        self._store.clear_ahead(end)  # no further: rows ahead share their place with those of a minute ago
        self._now = end


def plan_of(rule: Rule) -> Plan:
    return compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text)


def kinds_by_use(plans: Iterable[Plan]) -> dict[str, int]:
    """The kinds that metrics must have for these plans: what has a rate is a counter, what has percentiles a timer;
    all others may be gauges."""
    found: dict[str, int] = {}
    for plan in plans:
        for reading in plan.readings:
            if reading.figure is not None:
                found[reading.source.metric] = kinds.TIMER
            elif {opcodes.LOAD_RATE, opcodes.LOAD_INCREASE} & set(reading.loads):
                found[reading.source.metric] = kinds.COUNTER
    return found

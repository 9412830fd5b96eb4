"""A store on a manual clock that a test's samples are fed to, with the rules and the book the engine would have.

    samples ──► Store (the native core) ──► seal ──► 10-s, 1-min steps ──► RuleSet.evaluate ──► Book.advance

The second 0 of a test is BEGIN, a midnight, so that windows and EVERY fall on the same steps in every test. A sample
written for time t is the last of the second before it: a window (t − d, t] here ends before second t, so it holds just
the samples that PromQL's window holds. Nothing is evaluated here by other code than the engine's.

Windows beyond an hour are read from a history of the test's own (longpast.py), if any rule has one. Who makes a World
closes it.

Threads: the caller's. Limits: those of a store and a rule set; a test lasts TEST_SECONDS_MAX at most.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from typing import Final

from hms_ops import kinds
from hms_ops._ring import Series, Store
from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.functions import percentile_rank
from hms_ops.alert.language.tree import Aggregate, Arith, Condition, Query, children, selectors
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import Plan, compile_query, compile_rule
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.book import Book
from hms_ops.clock import SECOND_NS
from hms_ops.errors import ExpressionError, UnknownMetricError
from hms_ops.kernels.rollup import rollup_step
from hms_ops.prometheus.longpast import LongPast
from hms_ops.tiers import SLOTS, TIER_SECONDS, WINDOW_SECONDS_MAX

BEGIN: Final = 19_676 * 86_400  # a midnight
HOP_SECONDS: Final = TIER_SECONDS[1]
TEST_SECONDS_MAX: Final = 31 * 86_400.0
JUDGE_SECONDS_MIN: Final = 1.0  # as the engine does
USES: Final = {
    **dict.fromkeys(("rate", "increase"), kinds.COUNTER),
    **dict.fromkeys(("quantile", "share_le", "share_gt"), kinds.TIMER),
}


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
    """One test's engine. queries: those that will be asked beside the rules. `events`: all that the book told, with
    the test's second."""

    def __init__(self, feeds: Iterable[Feed], rules: Iterable[Rule] = (), queries: Iterable[Query] = ()) -> None:
        self._feeds = [feed for feed in feeds if feed.samples]
        self.rules = tuple(rules)
        self.events: list[tuple[float, Alert]] = []
        self.problems: dict[str, str] = {}
        self._now = BEGIN - HOP_SECONDS
        self._store = Store(len(self._feeds) + 1, now_ns=(self._now - 2 * WINDOW_SECONDS_MAX) * SECOND_NS)
        self._handles: dict[int, Series] = {}
        self._samples = merge(*(self._stamped(place, feed) for place, feed in enumerate(self._feeds)))
        self._next = next(self._samples, None)
        plans = self._plans()
        is_long = any(map(reads_history, chain(plans.values(), plans_of(queries))))
        self._past = LongPast(self._store) if is_long else None
        self._rule_set = RuleSet(self._store, recall=None if self._past is None else self._past.view)
        self._rule_set.replace(plans)
        self._book = Book(rule for rule in self.rules if rule.name in plans)
        self._close(self._now)

    def _plans(self) -> dict[str, Plan]:
        """The rules' plans; one that does not compile is a problem of its own."""
        plans = {}
        for rule in self.rules:
            try:
                plans[rule.name] = plan_of(rule)
            except ExpressionError as error:
                self.problems[rule.name] = error.message
        return plans

    def close(self) -> None:
        if self._past is not None:
            self._past.close()

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
        if self._past is not None:
            self._past.write()
            self._past.refresh(self._now)
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
        if self._past is not None:
            self._past.write()
        recall = None if self._past is None else self._past.recent(self._now)
        try:
            found = query_now(query, self._store, end=self._now, recall=recall)
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
                if self._past is not None:
                    self._past.take(tier - 1, step * seconds)
        self._store.clear_ahead(end)  # no further: rows ahead share their place with those of a minute ago
        self._now = end


def plan_of(rule: Rule) -> Plan:
    return compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text)


def conditions_of(rule: Rule) -> tuple[Condition, ...]:
    return (rule.condition,) if rule.recover is None else (rule.condition, rule.recover)


def plans_of(queries: Iterable[Query]) -> Iterator[Plan]:
    """The plans of those that have one; the others say why when they are asked."""
    for query in queries:
        with suppress(ExpressionError):
            yield compile_query(query)


def reads_history(plan: Plan) -> bool:
    return any(reading.view is not None and reading.view.is_long for reading in plan.readings)


def kinds_by_use(rules: Iterable[Rule]) -> dict[str, int]:
    """The kinds that metrics must have for these rules: what has a rate is a counter, what has percentiles a timer; all
    others may be gauges."""
    found: dict[str, int] = {}
    waiting: list[Condition | Arith] = [node for rule in rules for node in conditions_of(rule)]
    while waiting:
        node = waiting.pop()
        waiting += children(node)
        if isinstance(node, Aggregate):
            kind = USES.get(node.function, kinds.TIMER if percentile_rank(node.function) is not None else None)
            found.update({series.metric: kind for series in selectors(node) if kind is not None})
    return found

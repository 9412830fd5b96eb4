"""A query's tree evaluated at all its times at once: every node is a value over [elements, times].

    sum by (agency) (rate(orders_total[5m])) > 10
    selector ─► Samples ─► rates ─► Instant ─► grouping ─► Instant ─► operators ─► Instant

No time is evaluated by itself: a selector is read once over all windows together, and what stands in a query more than
once is calculated once (repeated.py). What is not in these tables is
refused with its name and its place in the text.

Errors: Refused; StorageError. Threads: one Evaluation for each query. Not here: the tables themselves (windows.py,
rates.py, pointwise.py, grouping.py, histogram.py, operators.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from hms_ops import kinds
from hms_ops.prometheus.query import grouping, pointwise, rates
from hms_ops.prometheus.query.functions import FUNCTIONS
from hms_ops.prometheus.query.instant import Instant, Scalar, Text, Value, nothing, renamed, unique
from hms_ops.prometheus.query.names import VALUE, Family
from hms_ops.prometheus.query.operators import SETS, Matching, combined
from hms_ops.prometheus.query.parsing import (
    LOOKBACK_MS,
    check_selector,
    milliseconds,
    offset_ms,
    reads,
    span_of,
)
from hms_ops.prometheus.query.reader import Pooling, Reader, Samples, is_total
from hms_ops.prometheus.query.refused import EXECUTION, SUBQUERY, Refused, unsupported
from hms_ops.prometheus.query.repeated import Repeated
from hms_ops.prometheus.query.slots import Floats, Integers, Windows, windows, without_open
from hms_ops.prometheus.query.windows import OVER_TIME, last_over_time, quantile_over_time

RATES: Final = ("rate", "increase", "irate", "delta")
SUMMABLE: Final = ("rate", "increase", "sum_over_time")
SHORT: Final = "windows of {0:g} s are read as {1} s, which is how long the rows of so long ago are"
PER_SECOND: Final = (
    "{0} is a counter: read by itself it is increments per second; rate({0}[5m]) and increase({0}[5m]) count them"
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """text: of the query, for places in it; times: int64[times], ms. pooling: see `_pooled`."""

    text: str
    times: Integers
    reader: Reader
    repeated: Repeated
    pooling: Pooling | None = None

    def result(self, node: Any) -> Value:
        """The value of the whole expression."""
        self.reader.settle([span_of(selector, window, self.times) for selector, window in reads(node)])
        self.repeated.look(node)
        with np.errstate(all="ignore"):
            return self.value(node)

    def value(self, node: Any) -> Value:
        self.reader.budget.check_time()
        read = NODES.get(type(node).__name__)
        if read is None:
            raise self.without(node)
        return self.repeated.value(node, self.pooling, lambda: read(self, node))

    def without(self, node: Any) -> Refused:
        """For what is no value here."""
        name, sign, why = WITHOUT.get(type(node).__name__, (type(node).__name__, "", "it is not known here"))
        return unsupported(self.text, sign, why, name)

    def instant(self, node: Any) -> Instant:
        found = self.value(node)
        assert isinstance(found, Instant), "the parser checks what functions are given"
        return found

    def scalar(self, node: Any) -> Floats:
        found = self.value(node)
        assert isinstance(found, Scalar), "the parser checks what functions are given"
        return found.values

    # ---- leaves

    def number(self, node: Any) -> Value:
        return Scalar(np.full(len(self.times), float(node.val)))

    def string(self, node: Any) -> Value:
        return Text(str(node.val))

    def selector(self, node: Any) -> Value:
        """The newest sample of each series, for five minutes, or for as long as a row is."""
        samples = self.read(node, 0)
        lookback = max(LOOKBACK_MS, self.reader.row_seconds * 1000)
        of = windows(samples.slots, self.times - offset_ms(node), lookback)
        self.repeated.charge(held=2 * len(samples.labels) * len(self.times))
        values = self.plain(samples)
        newest, closed = last_over_time(values, of), last_over_time(values, without_open(samples.slots, of))
        added = np.array([family.is_added for family in samples.families], bool)[:, None]
        return Instant(samples.labels, np.where(added, closed[0], newest[0]), np.where(added, closed[1], newest[1]))

    def read(self, selector: Any, window_ms: int, with_totals: bool = False) -> Samples:
        check_selector(self.text, selector)
        return self.reader.read(span_of(selector, window_ms, self.times), with_totals, self.pooling)

    def plain(self, samples: Samples) -> Floats:
        """Samples as what their names say: of counters, increments per second. Refused for a running total."""
        self.check(samples, is_total, "{0} is a counter's running total, which is not kept: ask for rate({0}[5m]) or "
                   "increase({0}[5m])")  # fmt: skip
        counted = [is_counter(family) for family in samples.families]
        if not any(counted):
            return samples.values
        for family in dict.fromkeys(one for one in samples.families if is_counter(one)):
            self.reader.infos[PER_SECOND.format(family.name)] = None
        seconds = np.where(samples.slots.covered > 0, samples.slots.covered, np.nan)
        return np.where(np.array(counted)[:, None], samples.values / seconds, samples.values)

    def check(self, samples: Samples, is_wrong: Callable[[Family], bool], problem: str) -> None:
        wrong = next((family for family in samples.families if is_wrong(family)), None)
        if wrong is not None:
            raise Refused(EXECUTION, problem.format(wrong.name))

    # ---- operators

    def negated(self, node: Any) -> Value:
        found = self.value(node.expr)
        if isinstance(found, Scalar):
            return Scalar(-found.values)
        assert isinstance(found, Instant)
        return renamed(found, -found.values)

    def binary(self, node: Any) -> Value:
        operator, modifier = str(node.op), node.modifier
        if operator not in (*pointwise.CALCULATIONS, *pointwise.COMPARISONS, *SETS):
            raise unsupported(self.text, operator, "there is no such operator here")
        if modifier is not None and str(modifier.card).rpartition(".")[2] in ("ManyToOne", "OneToMany"):
            word = "group_left" if str(modifier.card).endswith("ManyToOne") else "group_right"
            raise unsupported(self.text, word, "vectors are matched one to one")
        is_bool = modifier is not None and bool(modifier.return_bool)
        left, right = self.value(node.lhs), self.value(node.rhs)
        return combined(operator, is_bool, matching_of(modifier), left, right)

    def aggregation(self, node: Any) -> Value:
        operator = str(node.op)
        if operator not in (*grouping.FOLDS, "quantile", "topk", "bottomk"):
            raise unsupported(self.text, operator, f"of aggregations there are {', '.join(grouping.FOLDS)}, quantile, "
                              "topk and bottomk")  # fmt: skip
        parameter = None if node.param is None else self.scalar(node.param)
        names, is_without = labels_of(node.modifier)
        found = self._pooled(node, names, is_without).instant(node.expr)
        if not found.labels:
            return nothing(len(self.times))
        groups = grouping.grouped(found, names, is_without)
        if parameter is None:
            return grouping.aggregated(operator, found, groups)
        if operator == "quantile":
            return grouping.quantile(parameter, found, groups)
        return grouping.largest(operator, parameter, found, groups)

    def _pooled(self, node: Any, names: frozenset[str], is_without: bool) -> "Evaluation":
        """Where buckets are summed right after they are counted, they may as well be summed when they are read: a
        thousand hosts have 42,000 buckets, and 42 together."""
        inner = node.expr
        if str(node.op) != "sum" or type(inner).__name__ != "Call" or inner.func.name not in SUMMABLE:
            return self
        return replace(self, pooling=grouping.Staying(names, is_without))

    # ---- functions

    def call(self, node: Any) -> Value:
        name = str(node.func.name)
        if name in RATES:
            return self.rate(name, node.args[0])
        if name in OVER_TIME or name == "quantile_over_time":
            return self.over_time(name, node.args)
        if name in pointwise.EACH:
            found = self.instant(node.args[0])
            return renamed(found, pointwise.EACH[name](found.values))
        called = FUNCTIONS.get(name)
        if called is None:
            raise unsupported(self.text, name, "the functions that are answered are listed in docs/grafana.md")
        return called(self, list(node.args))

    def windows(self, node: Any, with_totals: bool = False) -> tuple[Samples, Windows]:
        """The samples of a MatrixSelector, and the windows it is read by."""
        if type(node).__name__ != "MatrixSelector":
            raise self.without(node)
        selector, ms = node.vector_selector, milliseconds(node.range)
        samples, row_ms = self.read(selector, ms, with_totals), self.reader.row_seconds * 1000
        if ms < row_ms:
            self.reader.infos[SHORT.format(ms / 1000, row_ms // 1000)] = None
        of = windows(samples.slots, self.times - offset_ms(selector), max(ms, row_ms))._replace(asked_ms=ms)
        cells = int((of.high - of.low).sum())
        self.repeated.charge(2 * len(samples.labels) * len(self.times), len(samples.labels) * cells)
        return samples, of

    def rate(self, name: str, node: Any) -> Value:
        """Of what adds up its own way, of gauges Prometheus'."""
        samples, of = self.windows(node, with_totals=True)
        if name == "delta":
            self.check(
                samples, lambda family: family.is_added, "delta of {0}, which adds up: ask for increase({0}[5m])"
            )
        else:
            self.check(samples, is_mean, f"{name} of {{0}}, the mean of a timer: ask for {name}({{0}}_count[5m])")
        added = np.array([family.is_added for family in samples.families], bool)
        if name == "delta" or not added.any():
            rising = rates.instantaneous(samples, of) if name == "irate" else rates.extrapolated(name, samples, of)
            return unique(renamed(Instant(samples.labels, *rising), rising[0]))
        values, there = rates.added(name, samples, of)
        if not added.all():
            rising = rates.instantaneous(samples, of) if name == "irate" else rates.extrapolated(name, samples, of)
            values, there = (
                np.where(added[:, None], one, two) for one, two in zip((values, there), rising, strict=True)
            )
        return renamed(Instant(samples.labels, values, there), values)

    def over_time(self, name: str, arguments: Any) -> Value:
        samples, of = self.windows(arguments[-1])
        if name == "sum_over_time":
            self.check(samples, lambda family: is_counter(family) or is_total(family),
                       "sum_over_time of {0}, a counter: ask for increase({0}[5m])")  # fmt: skip
        values, of = self.plain(samples), without_open(samples.slots, of)
        if name == "quantile_over_time":
            self.repeated.charge(worked=10 * len(samples.labels) * int((of.high - of.low).sum()))
            found = quantile_over_time(self.scalar(arguments[0]), values, of)
        else:
            found = OVER_TIME[name](values, of)
        made = Instant(samples.labels, *found)
        if name == "sum_over_time" and of.asked_ms < of.ms:  # a part of the row for a part of its seconds
            share = np.where([family.is_added for family in samples.families], of.asked_ms / of.ms, 1.0)
            made = Instant(made.labels, made.values * share[:, None], made.there)
        return made if name == "last_over_time" else renamed(made, made.values)


def is_counter(family: Family) -> bool:
    """A counter by its own name: read as increments per second."""
    return family.kind == kinds.COUNTER and family.field == VALUE and not is_total(family)


def is_mean(family: Family) -> bool:
    return family.kind in kinds.WITH_SKETCH and family.field == VALUE


def labels_of(modifier: Any) -> tuple[frozenset[str], bool]:
    """The labels of an aggregation, and whether they are those that go."""
    if modifier is None:
        return frozenset(), False
    return frozenset(modifier.labels), str(modifier.type).endswith("Without")


def matching_of(modifier: Any) -> Matching:
    if modifier is None or modifier.matching is None:
        return Matching()
    is_on = str(modifier.matching.type).endswith("Include")
    return Matching(tuple(modifier.matching.labels), is_on)


NODES: Final[Mapping[str, Callable[[Evaluation, Any], Value]]] = {
    "NumberLiteral": Evaluation.number,
    "StringLiteral": Evaluation.string,
    "VectorSelector": Evaluation.selector,
    "ParenExpr": lambda of, node: of.value(node.expr),
    "UnaryExpr": Evaluation.negated,
    "BinaryExpr": Evaluation.binary,
    "AggregateExpr": Evaluation.aggregation,
    "Call": Evaluation.call,
}
WITHOUT: Final = {
    "SubqueryExpr": ("a subquery", SUBQUERY, "windows are of samples, as in [5m]; a calculation has none of its own"),
    "MatrixSelector": ("a window without a function", "[", "put it into one, such as rate or avg_over_time"),
}

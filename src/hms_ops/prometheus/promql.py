"""PromQL as the alert language: an expression's tree in, one condition or number with its GROUP BY out.

    sum by (job) (rate(errors_total[5m])) / sum by (job) (rate(requests_total[5m])) > 0.05
    rate(errors_total, 5m) / rate(requests_total, 5m) > 0.05 GROUP BY job

The inverse of `hms_ops.remote.lower`, for samples that Prometheus would have scraped and this engine was sent: one a
series every `interval_seconds`. Every node is said exactly, approximately (a Note tells in what it differs), or not at
all (Unsupported). A rule here has one GROUP BY for all it reads, which is PromQL's one-to-one matching; what matches
several to one, or joins other groupings, is unsupported.

Recording rules are no series here: their expression takes the place of their name.
Source: promql-parser's grammar, Prometheus 3's windows (t − d, t]. Not here: rule files (rulesfile.py).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import promql_parser

from hms_ops.alert.language.tokens import MAGNITUDE_MAX
from hms_ops.alert.language.tree import (
    GROUP_BY_ALL,
    Binary,
    Compare,
    Condition,
    Junction,
    Negative,
    Number,
    Scalar,
    TagMatch,
    selectors,
)
from hms_ops.prometheus import aggregation, calls, exported
from hms_ops.prometheus.parse import TooMuch, tree
from hms_ops.prometheus.selection import kind, matchers_of, name_of, selector_of
from hms_ops.prometheus.vector import Note, Scope, Unsupported, Vector, both, text_of, unsupported

COMPARISONS: Final = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "==": "=", "!=": "!="}
FLIPPED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "=", "!=": "!="}
SETS: Final = {"and": "AND", "or": "OR", "unless": "UNLESS"}
CALCULATIONS: Final = ("+", "-", "*", "/", "%")
TOTALS: Final = ("_total", "_count", "_sum", "_bucket")
NODES_MAX: Final = 2_000  # of one expression with the recording rules in it, which may repeat one another
BY_ZERO: Final = "a division by zero is NULL here, ±Inf or NaN in PromQL"


def parsed(text: str) -> Any:
    """The parser's tree of a PromQL text; Unsupported quotes what it says."""
    try:
        return tree(text)
    except TooMuch as error:
        raise Unsupported(Note("", "unsupported", f"it {error}")) from None
    except ValueError as error:
        raise Unsupported(Note("", "unsupported", f"no PromQL that is known here: {error}")) from None


def translate(node: Any, scope: Scope) -> tuple[Vector, tuple[Note, ...]]:
    """An expression as a vector, and what of it is only approximate; Unsupported for what cannot be said."""
    translation = Translation(scope)
    return translation.vector(node), tuple(translation.notes)


@dataclass(slots=True)
class Translation:
    """One expression on its way. extra: matchers for every selector inside a recorded expression. inlined: the
    recording rules whose expressions are being read. nodes: how many were read, together with those inside."""

    scope: Scope
    extra: tuple[TagMatch, ...] = ()
    inlined: tuple[str, ...] = ()
    notes: dict[Note, None] = field(default_factory=dict)
    nodes: Iterator[int] = field(default_factory=count)

    def note(self, node: Any, reason: str) -> None:
        self.notes[Note(text_of(node), "approximate", reason)] = None

    def vector(self, node: Any) -> Vector:
        if next(self.nodes) > NODES_MAX:
            raise unsupported(node, f"the expression, with what is recorded, has more than {NODES_MAX:,} parts")
        of, inner = self.opened(node)
        read = NODES.get(kind(inner))
        if read is None:
            raise unsupported(inner, WITHOUT.get(kind(inner), "the language has no word for it"))
        found = read(of, inner)
        if of.extra != self.extra and found.group_by != GROUP_BY_ALL:
            lost = [match.tag for match in of.extra if match.tag not in (found.group_by or ())]
            if lost:
                raise unsupported(node, f"what is recorded has no label {', '.join(lost)}")
        return found

    def opened(self, node: Any) -> "tuple[Translation, Any]":
        """What stands in parentheses, or is recorded under a name."""
        of = self
        while True:
            if kind(node) == "ParenExpr":
                node = node.expr
                continue
            recorded = of.scope.recorded.get(name_of(node)) if kind(node) == "VectorSelector" else None
            if recorded is None:
                return of, node
            name = name_of(node)
            if name in of.inlined:
                raise unsupported(node, "it is recorded of itself")
            if recorded.labels or node.offset is not None or node.at is not None:
                raise unsupported(node, "a recorded series with labels of its own, or read at another time")
            of = replace(of, extra=(*of.extra, *matchers_of(node)), inlined=(*of.inlined, name))
            node = recorded.expression

    def pair(self, left: Any, right: Any) -> tuple[Vector, Vector]:
        """Both sides; what is unsupported in either is told of both."""
        found: list[Vector] = []
        notes: list[Note] = []
        for side in (left, right):
            try:
                found.append(self.vector(side))
            except Unsupported as error:
                notes += error.notes
        if notes:
            raise Unsupported(*notes)
        return found[0], found[1]

    # ---- leaves

    def number(self, node: Any) -> Vector:
        if not math.isfinite(node.val) or abs(node.val) > MAGNITUDE_MAX:
            raise unsupported(node, "it is no finite number")
        return Vector(Number(node.val), group_by=None)

    def instant(self, node: Any) -> Vector:
        """The newest sample of each series, for five minutes, as a gauge here keeps its last value."""
        self.check_not_counter(node, node)
        metric = name_of(node)
        if metric.endswith(TOTALS):
            self.note(node, "a total is read by its value; the engine has it if it is sent as a gauge")
        return Vector(selector_of(self.scope, node, self.extra))

    def check_not_counter(self, selector: Any, node: Any) -> None:
        if name_of(selector) in self.scope.counters:
            raise unsupported(node, "a counter elsewhere in these rules; its running total is not kept here")

    def negated(self, node: Any) -> Vector:
        inner = self.vector(node.expr)
        value = Number(-inner.value.value) if isinstance(inner.value, Number) else Negative(inner.value)
        return replace(inner, value=value)

    # ---- operators

    def binary(self, node: Any) -> Vector:
        operator = str(node.op)
        left, right = self.pair(node.lhs, node.rhs)
        if operator in SETS:
            return self.combined(node, SETS[operator], left, right)
        group_by = self.matched(node, left, right)
        if operator in COMPARISONS:
            return self.compared(node, COMPARISONS[operator], left, right, group_by)
        if operator not in CALCULATIONS:
            raise unsupported(node, f"the language has no operator {operator}")
        value = Binary(operator, left.value, right.value)
        guard = both(left.guard, right.guard)
        if self.scope.is_exported:
            return Vector(exported.ratio(value), guard, group_by)
        if operator in "/%" and not isinstance(right.value, Number) and not is_apart_from_zero(right):
            self.note(node, BY_ZERO)
        return Vector(value, guard, group_by)

    def compared(
        self, node: Any, operator: str, left: Vector, right: Vector, group_by: tuple[str, ...] | None
    ) -> Vector:
        if node.modifier is not None and node.modifier.return_bool:
            raise unsupported(node, "`bool` makes a number of a condition")
        if left.group_by is None:
            left, right, operator = right, left, FLIPPED[operator]
        test: Condition = Compare(operator, left.value, right.value)
        guard = both(both(test, left.guard), right.guard)
        return Vector(left.value, guard, group_by)

    def combined(self, node: Any, operator: str, left: Vector, right: Vector) -> Vector:
        """and, or, unless: the left side's elements, and with `or` the right side's as well."""
        group_by = self.agreed(node, left, right)
        if group_by is None:
            self.check_any_of_one(node, left, right)
            group_by = left.group_by
        labels = left.labels if left.labels == right.labels or operator != "OR" else ()
        if operator == "OR" and left.guard is None and right.guard is None:
            if self.scope.is_exported and (whole := exported.silent(left.value, right.value)) is not None:
                return Vector(whole, None, group_by)
            return Vector(Scalar("coalesce", (left.value, right.value)), None, group_by, labels)
        if operator == "OR" and not self.scope.is_exported:
            self.note(node, "the value shown is the left side's, whichever side is true")
        guard = Junction(operator, left.condition(), right.condition())
        return Vector(left.value, guard, group_by, labels)

    def agreed(self, node: Any, left: Vector, right: Vector) -> tuple[str, ...] | None:
        """The grouping of both sides: the same written, or the same labels where those of all series are known."""
        one, other = left.group_by, right.group_by
        if one is None or other is None or set(one) == set(other):
            return one
        if GROUP_BY_ALL not in (one, other) or labels_of(self, left) != labels_of(self, right):
            return None
        if self.scope.labels is None:
            return None
        self.note(node, aggregation.KNOWN_LABELS)
        return other if one == GROUP_BY_ALL else one

    def check_any_of_one(self, node: Any, left: Vector, right: Vector) -> None:
        """`on` the labels that the left side has, against single series."""
        labels = on_labels(node)
        if labels is None or set(left.group_by or ()) != set(labels) or right.group_by != GROUP_BY_ALL:
            raise unsupported(node, apart(left, right))
        self.note(node, f"the right side is taken for one series for each {', '.join(labels) or 'rule'}")

    def matched(self, node: Any, left: Vector, right: Vector) -> tuple[str, ...] | None:
        """The grouping in which both sides are matched one to one."""
        if left.group_by is None or right.group_by is None:
            return right.group_by if left.group_by is None else left.group_by
        modifier = node.modifier
        if modifier is not None and modifier.card != promql_parser.VectorMatchCardinality.OneToOne:
            raise unsupported(node, "group_left and group_right match several series to one; a rule has one GROUP BY")
        matching = None if modifier is None else modifier.matching
        if matching is None:
            group_by = self.agreed(node, left, right)
            if group_by is None:
                raise unsupported(node, apart(left, right))
            return group_by
        if matching.type == promql_parser.LabelModifierType.Include:
            return matched_on(node, left, right, tuple(matching.labels))
        return matched_ignoring(self, node, left, right, set(matching.labels))


def matched_on(node: Any, left: Vector, right: Vector, labels: tuple[str, ...]) -> tuple[str, ...]:
    """PromQL refuses several series for one set of labels, so pooling by them changes nothing."""
    for side in (left, right):
        if side.group_by != GROUP_BY_ALL and not set(labels) <= set(side.group_by or ()):
            raise unsupported(node, f"on ({', '.join(labels)}) asks for labels that a side has not")
    return labels


def labels_of(of: Translation, side: Vector) -> frozenset[str] | None:
    """The labels of a side's elements, where they are known."""
    if side.group_by != GROUP_BY_ALL:
        return frozenset(side.group_by or ())
    return of.scope.series_labels(series.metric for series in selectors(side.value))


def matched_ignoring(of: Translation, node: Any, left: Vector, right: Vector, ignored: set[str]) -> tuple[str, ...]:
    one, other = labels_of(of, left), labels_of(of, right)
    if one is None or other is None:
        raise unsupported(node, "`ignoring` leaves labels that are not named; GROUP BY names those that stay")
    if one - ignored != other - ignored:
        raise unsupported(node, apart(left, right))
    if GROUP_BY_ALL in (left.group_by, right.group_by):
        of.note(node, aggregation.KNOWN_LABELS)
    return tuple(sorted(one - ignored))


def apart(left: Vector, right: Vector) -> str:
    return f"its sides are grouped {grouping(left)} and {grouping(right)}; a rule has one GROUP BY"


def grouping(side: Vector) -> str:
    if side.group_by == GROUP_BY_ALL:
        return "by series"
    return f"by ({', '.join(side.group_by or ())})"


def on_labels(node: Any) -> tuple[str, ...] | None:
    matching = None if node.modifier is None else node.modifier.matching
    if matching is None or matching.type != promql_parser.LabelModifierType.Include:
        return None
    return tuple(matching.labels)


def is_apart_from_zero(side: Vector) -> bool:
    """Whether a guard such as `b > 0` keeps a denominator from zero."""
    match side.guard:
        case Compare(">", left, Number(value)) if value >= 0:
            return left == side.value
        case Compare("!=", left, Number(value)) if value == 0:
            return left == side.value
    return False


NODES: Final[dict[str, Callable[[Translation, Any], Vector]]] = {
    "NumberLiteral": Translation.number,
    "VectorSelector": Translation.instant,
    "UnaryExpr": Translation.negated,
    "BinaryExpr": Translation.binary,
    "Call": calls.called,
    "AggregateExpr": aggregation.aggregated,
}
WITHOUT: Final = {
    "SubqueryExpr": "a subquery; rules here aggregate samples",
    "StringLiteral": "text is no number",
    "MatrixSelector": "a window without a function",
}

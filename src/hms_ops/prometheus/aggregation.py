"""PromQL's aggregations over series as the language's GROUP BY.

A group here pools the samples of its series; PromQL aggregates one number of each. The two agree where the aggregation
repeats what the function inside does (a sum of rates, the max of maxima), and for bare series where each has one sample
in the last interval. What needs a number of each series first, such as the max of rates, cannot be said.
Fed by `promql.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import promql_parser

from hms_ops.alert.language.tree import Aggregate, Arith, Binary, Compare, Number
from hms_ops.prometheus import calls
from hms_ops.prometheus.selection import kind, reads, selector_of
from hms_ops.prometheus.vector import Vector, unsupported

if TYPE_CHECKING:
    from hms_ops.prometheus.promql import Translation

INSTANT: Final = {"sum": "sum", "avg": "avg", "min": "min", "max": "max", "count": "count", "stddev": "stddev"}
# What an aggregation of a function of each series is; the pooled function is the table of calls'.
AGREEING: Final = frozenset(
    {
        ("sum", "rate"),
        ("sum", "increase"),
        ("sum", "irate"),
        ("sum", "delta"),
        ("sum", "idelta"),
        ("sum", "deriv"),
        ("sum", "sum_over_time"),
        ("sum", "count_over_time"),
        ("max", "max_over_time"),
        ("min", "min_over_time"),
        ("avg", "avg_over_time"),
    }
)
NESTED: Final = {("sum", "sum"): "sum", ("max", "max"): "max", ("min", "min"): "min", ("sum", "count"): "count"}
KNOWN_LABELS: Final = "the labels that stay are those of the series known now"
ONE_SAMPLE: Final = "of the samples of the last {} s, which is one of each series if they come evenly"


def aggregated(of: Translation, node: Any) -> Vector:
    operator = str(node.op)
    group_by = groups_of(of, node)
    if operator == "group":
        series = newest(of, node)
        return Vector(Number(1.0), Compare(">", Aggregate("count", series), Number(0.0)), group_by)
    if operator not in INSTANT:
        raise unsupported(node, f"the language has no {operator} over series")
    return Vector(pooled(of, node, operator, node.expr, group_by), None, group_by)


def groups_of(of: Translation, node: Any) -> tuple[str, ...]:
    """The labels that an aggregation keeps."""
    modifier = node.modifier
    if modifier is None:
        return ()
    if modifier.type == promql_parser.AggModifierType.By:
        return tuple(modifier.labels)
    labels = labels_inside(of, node.expr)
    if labels is None:
        raise unsupported(node, "`without` leaves labels that are not named; GROUP BY names those that stay")
    of.note(node, KNOWN_LABELS)
    return tuple(sorted(labels - set(modifier.labels)))


def labels_inside(of: Translation, node: Any) -> frozenset[str] | None:
    """The labels of what an expression comes to, where those of all series are known."""
    of, node = of.opened(node)
    if kind(node) == "AggregateExpr":
        return frozenset(groups_of(of, node))
    metrics = {read.metric for read in reads(node)}
    return None if metrics & of.scope.recorded.keys() else of.scope.series_labels(metrics)


def newest(of: Translation, node: Any) -> Any:
    """The samples of the last interval of the series that `node` aggregates."""
    inside, series = of.opened(node.expr)
    if kind(series) != "VectorSelector":
        raise unsupported(node, "an aggregation over calculations of each series")
    inside.check_not_counter(series, node)
    of.note(node, ONE_SAMPLE.format(of.scope.interval_seconds))
    return selector_of(of.scope, series, inside.extra, of.scope.interval_seconds)


def pooled(of: Translation, node: Any, operator: str, expression: Any, group_by: tuple[str, ...]) -> Arith:
    """The number of a group that an aggregation of `expression` comes to."""
    inside, inner = of.opened(expression)
    match kind(inner):
        case "VectorSelector":
            inside.check_not_counter(inner, node)
            of.note(node, ONE_SAMPLE.format(of.scope.interval_seconds))
            series = selector_of(of.scope, inner, inside.extra, of.scope.interval_seconds)
            return Aggregate(INSTANT[operator], series)
        case "Call":
            return pooled_call(inside, node, operator, inner)
        case "AggregateExpr":
            return pooled_again(inside, node, operator, inner, group_by)
        case "BinaryExpr":
            return scaled(inside, node, operator, inner, group_by)
    raise unsupported(node, "an aggregation over calculations of each series")


def pooled_call(of: Translation, node: Any, operator: str, call: Any) -> Arith:
    name = str(call.func.name)
    if (operator, name) not in AGREEING:
        raise unsupported(node, f"{operator} over the {name} of each series; a group here pools its samples")
    if (operator, name) == ("avg", "avg_over_time"):
        of.note(node, "a series with more samples weighs more")
    return calls.called(of, call).value


def pooled_again(of: Translation, node: Any, operator: str, inner: Any, group_by: tuple[str, ...]) -> Arith:
    """An aggregation of an aggregation with more labels."""
    kept = set(groups_of(of, inner))
    together = NESTED.get((operator, str(inner.op)))
    if set(group_by) == kept and operator in ("sum", "avg", "min", "max"):
        together = str(inner.op)  # of one element each
    if together not in INSTANT or not set(group_by) <= kept:
        raise unsupported(node, f"{operator} over a {inner.op} by other labels; a rule has one GROUP BY")
    return pooled(of, inner, together, inner.expr, group_by)


def scaled(of: Translation, node: Any, operator: str, inner: Any, group_by: tuple[str, ...]) -> Arith:
    """A constant factor may as well come after the aggregation."""
    sign = str(inner.op)
    one, factor = of.opened(inner.rhs)
    is_positive = kind(factor) == "NumberLiteral" and factor.val > 0
    if sign not in "*/" or not is_positive or operator not in ("sum", "avg", "min", "max"):
        raise unsupported(node, "an aggregation over calculations of each series")
    return Binary(sign, pooled(of, node, operator, inner.lhs, group_by), one.vector(factor).value)

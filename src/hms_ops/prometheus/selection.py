"""Selectors of PromQL as the language's: metric, matchers, window, offset; and which metrics are read as counters.

    http_requests_total{code=~"5.."}[5m] offset 1h   ──►   http_requests_total{code=~"5.."}[5m] OFFSET 1h

A counter of Prometheus is its running total; a counter here is its increments. So a metric that some expression reads
with `rate` and its like is a counter, and reading its total beside that is unsupported.
Not here: what is done with the series (calls.py, aggregation.py).
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from hms_ops.alert.language.tree import Selector, TagMatch
from hms_ops.prometheus.vector import Scope, unsupported

COUNTED: Final = frozenset({"rate", "increase", "irate", "resets"})
OPERATORS: Final = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
NAME: Final = "__name__"
ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")


class Read(NamedTuple):
    """One place where a metric is read."""

    metric: str
    is_counted: bool


def kind(node: Any) -> str:
    """The name of a node's class: what the tables of the translation are keyed by."""
    return type(node).__name__


def name_of(selector: Any) -> str:
    """The metric of a selector, "" when it chooses by a pattern."""
    if selector.name:
        return str(selector.name)
    named = [match for match in selector.matchers.matchers if match.name == NAME]
    return str(named[0].value) if len(named) == 1 and OPERATORS[str(named[0].op)] == "=" else ""


def parts(node: Any) -> list[Any]:
    """The nodes right below one of the parser's."""
    match kind(node):
        case "Call":
            return list(node.args)
        case "BinaryExpr":
            return [node.lhs, node.rhs]
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
        case "MatrixSelector":
            return [node.vector_selector]
    return []


def reads(node: Any, is_counted: bool = False) -> Iterator[Read]:
    """Every metric that an expression reads, from left to right."""
    if kind(node) == "VectorSelector":
        yield Read(name_of(node), is_counted)
    elif kind(node) == "Call":
        is_counted = node.func.name in COUNTED
    elif kind(node) == "BinaryExpr":
        is_counted = False
    for part in parts(node):
        yield from reads(part, is_counted)


def matchers_of(selector: Any) -> tuple[TagMatch, ...]:
    """The matchers but that of the metric's name."""
    return tuple(
        TagMatch(match.name, OPERATORS[str(match.op)], (match.value,))
        for match in selector.matchers.matchers
        if match.name != NAME
    )


def selector_of(
    scope: Scope, node: Any, extra: tuple[TagMatch, ...] = (), window_seconds: float | None = None
) -> Selector:
    """The selector of a VectorSelector; Unsupported says what the language has no word for."""
    metric = name_of(node)
    if not metric:
        raise unsupported(node, "it chooses metrics by a pattern; a selector here names one")
    if metric in ALERTS:
        raise unsupported(node, "alerts are no series with labels here; a rule's gauge has the rule's name")
    if node.matchers.or_matchers:
        raise unsupported(node, "matchers joined by `or`")
    if node.at is not None:
        raise unsupported(node, "`@` asks for a fixed time; windows here end now")
    offset = 0.0 if node.offset is None else node.offset.total_seconds()
    if offset < 0:
        raise unsupported(node, "a negative offset looks into the future")
    named = metric.replace("_", ".") if scope.has_dots else metric
    return Selector(named, (*matchers_of(node), *extra), window_seconds, offset or None)


def equal_labels(node: Any) -> tuple[tuple[str, str], ...]:
    """What `absent` puts on its element: the labels whose value a selector fixes."""
    found: dict[str, list[TagMatch]] = {}
    for match in matchers_of(node):
        found.setdefault(match.tag, []).append(match)
    return tuple((tag, one[0].values[0]) for tag, one in found.items() if len(one) == 1 and one[0].op == "=")

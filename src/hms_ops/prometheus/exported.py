"""Rules that `rules export` wrote, taken back: the inverse of hms_ops.remote's export and lower.

    (sum(sum_over_time(api_ms_sum[300s])) / sum(sum_over_time(api_ms_count[300s])) > 200)
    or (max(ALERTS{…}) unless (… < 150))             ──►      avg(api_ms[5m]) > 200  RECOVER avg(api_ms[5m]) < 150

An exported rule is known by its annotation `hms_ops_lowering`. Its metrics are fields of ours (`api_ms_sum`), and what
holds it while it fires stands in its expression; where that is just the condition's opposite there was no RECOVER.
Fed by rulesfile.py; promql.py and calls.py ask for the fields where `Scope.is_exported`.
"""

from typing import Any, Final, NamedTuple

from hms_ops.alert.language.tree import Aggregate, Arith, Binary, Compare, Condition, Junction, Not, Number, Selector
from hms_ops.prometheus.selection import ALERTS, kind, reads
from hms_ops.prometheus.vector import Note, Unsupported

MARK: Final = "hms_ops_lowering"
OWN: Final = ("hms_ops_lowering", "hms_ops_rule")
OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!=", "!=": "="}
FIELDS: Final = {
    "sum_over_time": {"sum": "sum", "count": "count"},
    "min_over_time": {"min": "min"},
    "max_over_time": {"max": "max"},
    "last_over_time": {"last": "last"},
    "count_over_time": {"count": "seen"},  # no function: which groups there are, of which only a 0 is made
}


class Held(NamedTuple):
    """An exported expression in parts. end: where a rule that fires ends."""

    condition: Any
    end: Any
    nodata: str


def parts_of(node: Any) -> Held:
    """`condition or (firing unless end)`; Unsupported for a form that is not taken back."""
    node = inside(node)
    if kind(node) == "BinaryExpr" and str(node.op) == "or":
        rest, nodata = inside(node.rhs), "keep"
        if kind(rest) == "BinaryExpr" and str(rest.op) == "and":
            rest, nodata = inside(rest.lhs), "ok"
        if kind(rest) == "BinaryExpr" and str(rest.op) == "unless" and names_alerts(rest.lhs):
            return Held(node.lhs, rest.rhs, nodata)
    raise Unsupported(Note("", "unsupported", "an exported rule of a form that is not taken back; see hms_ops_rule"))


def inside(node: Any) -> Any:
    while kind(node) == "ParenExpr":
        node = node.expr
    return node


def names_alerts(node: Any) -> bool:
    return any(read.metric in ALERTS for read in reads(node))


def opposite(condition: Condition) -> Condition | None:
    """Where a condition is FALSE, in the form that the export gives it."""
    match condition:
        case Compare(operator, left, right):
            return Compare(OPPOSITE[operator], left, right)
        case Not(operand):
            return operand
        case Junction("AND" | "OR" as operator, left, right):
            one, other = opposite(left), opposite(right)
            return None if one is None or other is None else Junction("OR" if operator == "AND" else "AND", one, other)
    return None


def field(function: str, series: Selector) -> Aggregate:
    """`sum_over_time(api_ms_sum[5m])` as `sum(api_ms[5m])`."""
    metric, _, name = series.metric.rpartition("_")
    ours = FIELDS.get(function, {}).get(name)
    if ours is None:
        raise Unsupported(Note(series.metric, "unsupported", f"{function} of it is no field that the export writes"))
    return Aggregate(ours, Selector(metric, series.matchers, series.window_seconds, series.offset_seconds))


def ratio(value: Binary) -> Arith:
    """A sum by a count is an average."""
    match value:
        case Binary("/", Aggregate("sum", total), Aggregate("count", samples)) if total == samples:
            return Aggregate("avg", total)
    return value


def silent(left: Arith, right: Arith) -> Arith | None:
    """`sum(x) or seen * 0`: a counter that is silent counts 0, as every counter here does."""
    match left, right:
        case Aggregate("sum", total), Binary("*", Aggregate("seen"), Number(0)):
            return Aggregate("increase", total)
        case Aggregate("count"), Binary("*", Aggregate("seen"), Number(0)):
            return left
    return None

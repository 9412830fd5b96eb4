"""The alert language as PromQL over what remote write sends: each expression exactly, approximately, or not at all.

    avg(api.ms, 5m) > 200 GROUP BY agency
    sum by (agency) (sum_over_time(api_ms_sum[300s])) / sum by (agency) (sum_over_time(api_ms_count[300s])) > 200

A number is a vector with one element for each group, its labels just those of GROUP BY (all of the series' own for
`*`), or a constant; a group without an element is NULL. A condition is a pair of such vectors: the groups where it is
TRUE, valued as its first comparison's left side, and those where it is FALSE; what is in neither is NULL. So AND, OR,
NOT and UNLESS come out as SQL's, and a rule may hold an alert until its condition is FALSE.

A point of a range query covers its step where no window is written (docs/queries.md): `over_seconds`.
What is only approximate is told in `notes`, once each. Errors: ExpressionError for what no back end evaluates;
everything else that cannot be said is `unsupported`.
Not here: rule files (export.py), asking a server (reading.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from hms_ops.alert.language.desugar import anomaly_condition, burn_rate
from hms_ops.alert.language.functions import function_named
from hms_ops.alert.language.tree import (
    CONDITIONS,
    GROUP_BY_ALL,
    Absent,
    Aggregate,
    Anomaly,
    Arith,
    Between,
    Binary,
    Compare,
    Condition,
    IsNull,
    Junction,
    Negative,
    Not,
    Number,
    Query,
    Scalar,
    Selector,
    Tags,
    selectors,
)
from hms_ops.alert.language.units import Unit, number_value, unit_of
from hms_ops.alert.plan import DEFAULT_WINDOW_SECONDS
from hms_ops.kernels.opcodes import LOAD_AVG
from hms_ops.remote.aggregates import Aggregates
from hms_ops.remote.folds import folded
from hms_ops.remote.matchers import Impossible
from hms_ops.remote.promql import Lowered, Outside, Value, finite, inside, text_of

_OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!=", "!=": "="}
_SIGNS: Final = {"=": "=="}
_CALCULATE: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y if y else math.nan,
    "%": lambda x, y: math.fmod(x, y) if y else math.nan,
}


class Truth(NamedTuple):
    """Where a condition is TRUE, and where it is FALSE."""

    true: str
    false: str


def lower(
    node: Condition | Arith,
    where: Tags | None = None,
    group_by: tuple[str, ...] = (),
    outside: Outside | None = None,
    window_seconds: int = DEFAULT_WINDOW_SECONDS,
) -> Lowered:
    """An expression; of a condition both halves."""
    lowering = _Lowering(Aggregates(where, group_by, outside or Outside(), window_seconds))
    try:
        if isinstance(node, CONDITIONS):
            truth = lowering.truth(node)
            return Lowered(truth.true, truth.false, tuple(lowering.of.notes))
        return Lowered(lowering.vector(lowering.number(node, None)), "", tuple(lowering.of.notes))
    except ValueError as error:  # Impossible, or units that do not fit
        return Lowered("", "", (str(error),))


def lower_query(query: Query, outside: Outside | None = None) -> Lowered:
    """A query: a condition comes out as 1 and 0, a bare metric is per series."""
    group_by = query.group_by
    if isinstance(query.expression, Selector) and not group_by:
        group_by = GROUP_BY_ALL
    lowered = lower(query.expression, query.where, group_by, outside)
    if not lowered.false or not lowered.is_possible:
        return lowered
    return Lowered(f"({lowered.promql}) * 0 + 1 or ({lowered.false}) * 0", "", lowered.notes)


@dataclass(frozen=True, slots=True)
class _Lowering:
    of: Aggregates

    @property
    def group_by(self) -> tuple[str, ...]:
        return self.of.group_by

    # ---- conditions

    def truth(self, node: Condition) -> Truth:
        match node:
            case Junction(operator, left, right):
                return self.junction(operator, self.truth(left), self.truth(right))
            case Not(operand):
                truth = self.truth(operand)
                return Truth(truth.false, truth.true)
            case Compare(operator, left, right):
                one, other = self.operands(left, right)
                return Truth(self.compare(operator, one, other), self.compare(_OPPOSITE[operator], one, other))
            case Between(left, low, high, negated):
                return self.between(*self.operands(left, low, high), is_negated=negated)
            case IsNull(operand, negated):
                return self.is_null(operand, is_negated=negated)
            case Absent(series):
                return self.absent(series)
            case Anomaly():
                return self.anomaly(node)

    def junction(self, operator: str, left: Truth, right: Truth) -> Truth:
        if operator == "AND":
            return Truth(f"({left.true}) and ({right.true})", f"({left.false}) or ({right.false})")
        if operator == "OR":
            return Truth(f"({left.true}) or ({right.true})", f"({left.false}) and ({right.false})")
        return Truth(f"({left.true}) unless ({right.true})", f"({left.false}) or ({right.true})")

    def compare(self, operator: str, left: Value, right: Value) -> str:
        if isinstance(left, float) and isinstance(right, float):
            if self.group_by:
                raise Impossible("a comparison of two constants has no groups")
            left = f"vector({text_of(left)})"
        return f"{inside(left)} {_SIGNS.get(operator, operator)} {inside(right)}"

    def between(self, value: Value, low: Value, high: Value, *, is_negated: bool) -> Truth:
        inner = f"({self.compare('>=', value, low)}) and ({self.compare('<=', value, high)})"
        outer = f"({self.compare('<', value, low)}) or ({self.compare('>', value, high)})"
        return Truth(outer, inner) if is_negated else Truth(inner, outer)

    def is_null(self, operand: Arith, *, is_negated: bool) -> Truth:
        there = f"{inside(self.vector(self.number(operand, None)))} >= -Inf"
        gone = (
            f"({self.of.seen(next(selectors(operand), None))}) unless ({there})"
            if self.group_by
            else f"absent({there})"
        )
        return Truth(there, gone) if is_negated else Truth(gone, there)

    def absent(self, series: Selector) -> Truth:
        there = self.of.pooled("sum", self.of.rolled("count_over_time", series, "count"))
        if self.group_by:
            return Truth(f"({self.of.seen(series)}) unless ({there})", there)
        return Truth(f"absent({there})", there)

    def anomaly(self, node: Anomaly) -> Truth:
        """The last step against the mean of the window before it."""
        if self.of.outside.over_seconds is not None:
            raise Impossible("ANOMALY looks at two times; a query by step has one")
        step = self.of.outside.step_seconds
        self.of.note(f"ANOMALY judges single seconds; here it is steps of {step} s")
        written = anomaly_condition(node)
        assert isinstance(written.right, Binary)
        mean = written.right.right
        assert isinstance(mean, Aggregate)
        assert isinstance(mean.series, Selector)
        earlier = replace(mean.series, offset_seconds=(node.series.offset_seconds or 0.0) + step)
        return self.truth(replace(written, right=replace(written.right, right=replace(mean, series=earlier))))

    # ---- numbers

    def vector(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        if self.group_by:
            raise Impossible("a constant has no groups")
        return f"vector({text_of(value)})"

    def operands(self, *nodes: Arith, against: Unit | None = None) -> list[Value]:
        """Several numbers that stand against each other: the first unit found counts for all."""
        own = next((unit for node in nodes if (unit := self.unit_of(node)) is not None), against)
        return [self.number(node, own) for node in nodes]

    def number(self, node: Arith, against: Unit | None) -> Value:
        match node:
            case Number(written, unit):
                return number_value(written, unit, against)
            case Selector():
                return self.of.last(node)
            case Aggregate("burn_rate"):
                return self.number(burn_rate(node, self.of.outside.objective), against)
            case Aggregate():
                return self.aggregate(node)
            case Scalar():
                return self.scalar(node, against)
            case Negative(operand):
                value = self.number(operand, against)
                return -value if isinstance(value, float) else f"-({value})"
            case Binary(operator, left, right):
                return self.binary(operator, *self.operands(left, right, against=against))

    def aggregate(self, node: Aggregate) -> str:
        function = function_named(node.function)
        if not isinstance(node.series, Selector):
            return self.fold(node, node.series, node.window_seconds, node.offset_seconds)
        if function is None or not function.is_fold:
            return self.of.aggregate(node)
        bare = Selector(node.series.metric, node.series.matchers)
        inner = Aggregate("avg", bare) if function.opcode == LOAD_AVG else bare
        return self.fold(node, inner, node.series.window_seconds, node.series.offset_seconds)

    def fold(self, node: Aggregate, inner: Arith, window: float | None, offset: float | None) -> str:
        """What stands inside in each step of the window, then the steps folded."""
        outside = self.of.outside
        if outside.over_seconds is not None:
            raise Impossible(f"{node.function}(…) does not stand inside a query by step")
        if node.options:
            raise Impossible(f"{node.function} with {node.options[0].name}")
        step = outside.step_seconds
        self.of.note(f"{node.function} folds steps of {step} s")
        of_steps = replace(outside, over_seconds=step)
        within = _Lowering(Aggregates(self.of.where, self.group_by, of_steps, self.of.window_seconds, self.of.notes))
        seconds = self.of.window(Selector("", window_seconds=window))
        steps = f"[{seconds}s:{step}s]" + (f" offset {int(offset)}s" if offset else "")
        rank, limit = self.of.rank_of(node), None
        if rank is None and node.parameters:
            limit = number_value(node.parameters[0].value, node.parameters[0].unit, self.unit_of(node.series))
        name = node.function if rank is None else "quantile"
        return folded(name, self.vector(within.number(inner, None)), steps, limit if rank is None else rank)

    def binary(self, operator: str, left: Value, right: Value) -> Value:
        if isinstance(left, float) and isinstance(right, float):
            return finite(_CALCULATE[operator](left, right))
        if operator in "/%":  # by zero is NULL
            right = finite(right) if isinstance(right, float) and right else f"({inside(right)} != 0)"
        return f"{inside(left)} {operator} {inside(right)}"

    def scalar(self, node: Scalar, against: Unit | None) -> Value:
        function = function_named(node.function)
        keeps = function is not None and function.keeps_unit
        values = self.operands(*node.arguments, against=against if keeps else None)
        if node.function == "coalesce":
            return self.coalesce(node, values)
        first, *bounds = values
        if isinstance(first, float):
            first = self.vector(first)
        if node.function == "clamp":
            if not all(isinstance(bound, float) for bound in bounds):
                raise Impossible("clamp takes constants as bounds")
            return f"clamp({first}, {', '.join(map(inside, bounds))})"
        domain = {"ln": " > 0", "sqrt": " >= 0"}.get(node.function)
        return f"{node.function}({inside(first) + domain if domain else first})"

    def coalesce(self, node: Scalar, values: list[Value]) -> Value:
        parts: list[str] = []
        for value in values:
            if isinstance(value, str):
                parts.append(inside(value))
                continue
            if not parts:
                return value
            if self.group_by:
                seen = self.of.seen(next(selectors(node), None))
                parts.append(f"({seen}) * 0 + {text_of(value)}")
            else:
                parts.append(f"vector({text_of(value)})")
            break
        return " or ".join(parts)

    def unit_of(self, node: Arith) -> Unit | None:
        return unit_of(node, self.of.outside.unit)

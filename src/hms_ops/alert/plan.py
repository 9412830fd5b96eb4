"""Compiles a tree into a plan: which windows of which series to read, and the program to run on what they hold.

Fed by the grammar's trees; read by `evaluate.py`, which binds a plan to the series there are. A plan is frozen and
knows no store, so it may be shared, and made on any thread.

    avg(x_ms, 5m) > 0.2s GROUP BY region      readings  [x_ms over 300 s: avg]
                                              program   LOAD_AVG 0 · STORE_VALUE · LOAD_AVG 0 · PUSH 200 · GREATER · …

Units are settled here: a number with a unit is counted in the unit of what it stands against.
Errors: whatever the language has and this version cannot evaluate is an ExpressionError with its column.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.figure import SHARES, Figure, figure_of
from hms_ops.alert.functions import function_named
from hms_ops.alert.tokens import error_at
from hms_ops.alert.tree import (
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
    Statement,
    TagMatch,
    Tags,
    first_left,
)
from hms_ops.alert.units import Unit, metric_unit, number_value
from hms_ops.errors import ExpressionError
from hms_ops.kernels import opcodes as op
from hms_ops.tiers import WINDOW_SECONDS_MAX

DEFAULT_WINDOW_SECONDS: Final = 60

UnitLookup: TypeAlias = Callable[[str], str | None]

_BINARY: Final = {"+": op.ADD, "-": op.SUBTRACT, "*": op.MULTIPLY, "/": op.DIVIDE, "%": op.MODULO}
_COMPARE: Final = {
    ">": op.GREATER,
    ">=": op.GREATER_EQUAL,
    "<": op.LESS,
    "<=": op.LESS_EQUAL,
    "=": op.EQUAL,
    "!=": op.NOT_EQUAL,
}
_JUNCTION: Final = {"AND": op.AND, "OR": op.OR, "UNLESS": op.UNLESS}


class SourceKey(NamedTuple):
    """The series a selector chooses and how they are grouped; rules that agree in it share one source."""

    metric: str
    matchers: tuple[TagMatch, ...]
    where: Tags | None
    group_by: tuple[str, ...]


class Reading(NamedTuple):
    """A source over a window, and the LOAD instructions made on it. `is_required`: a query of it needs the metric.
    `at`: where the text first names it. `figure`: the one that is read off its sketches, None for a reading of columns.
    """

    source: SourceKey
    window_seconds: int
    loads: tuple[int, ...]
    is_required: bool
    at: int
    figure: Figure | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled rule or query. code: int8[n]; operand: int32[n], a LOAD's reading; constant: float64[n], a PUSH's."""

    text: str
    group_by: tuple[str, ...]
    readings: tuple[Reading, ...]
    code: NDArray[np.int8]
    operand: NDArray[np.int32]
    constant: NDArray[np.float64]
    has_recover: bool


def no_units(metric: str) -> str | None:
    """A unit lookup that knows no described units."""
    return None


def compile_rule(
    condition: Condition,
    recover: Condition | None = None,
    where: Tags | None = None,
    group_by: tuple[str, ...] = (),
    *,
    text: str = "",
    unit: UnitLookup = no_units,
    window_seconds: int = DEFAULT_WINDOW_SECONDS,
) -> Plan:
    """The plan of a rule. text: what the condition was parsed from, for the errors' columns; unit: described units."""
    assembler = _Assembler(where, group_by, text, unit, window_seconds)
    shown = first_left(condition)
    assembler.emit(condition if shown is None else shown)
    assembler.add(op.STORE_VALUE)
    assembler.emit(condition)
    assembler.add(op.STORE_CONDITION)
    if recover is not None:
        assembler.emit(recover)
        assembler.add(op.STORE_RECOVER)
    return assembler.plan(recover is not None)


def compile_statement(rule: Statement, unit: UnitLookup = no_units) -> Plan:
    """The plan of a rule that was written as one sentence."""
    return compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text, unit=unit)


def compile_query(query: Query, unit: UnitLookup = no_units) -> Plan:
    """The plan of a query; its result is the value. A bare selector is per series."""
    is_bare = isinstance(query.expression, Selector) and not query.group_by
    group_by = GROUP_BY_ALL if is_bare else query.group_by
    assembler = _Assembler(query.where, group_by, query.text, unit, DEFAULT_WINDOW_SECONDS)
    assembler.emit(query.expression)
    assembler.add(op.STORE_VALUE)
    return assembler.plan(has_recover=False)


class _Assembler:
    """Collects the instructions and readings of one plan."""

    def __init__(
        self, where: Tags | None, group_by: tuple[str, ...], text: str, unit: UnitLookup, window_seconds: int
    ) -> None:
        self.where, self.group_by, self.text, self.unit = where, group_by, text, unit
        self.window_seconds = window_seconds
        self.readings: dict[tuple[SourceKey, int, Figure | None], int] = {}
        self.loads: list[set[int]] = []
        self.required: list[bool] = []
        self.places: list[int] = []
        self.code: list[tuple[int, int, float]] = []
        self.depth = 0

    def plan(self, has_recover: bool) -> Plan:
        code, operand, constant = zip(*self.code, strict=True)
        readings = tuple(
            Reading(source, window, tuple(sorted(self.loads[n])), self.required[n], self.places[n], figure)
            for (source, window, figure), n in self.readings.items()
        )
        return Plan(
            self.text,
            self.group_by,
            readings,
            np.array(code, np.int8),
            np.array(operand, np.int32),
            np.array(constant, np.float64),
            has_recover,
        )

    def add(self, opcode: int, operand: int = 0, constant: float = 0.0, at: int = 0) -> None:
        self.depth += op.stack_effect(opcode)
        if self.depth > op.STACK_MAX:
            raise self.error(at, f"the expression needs more than {op.STACK_MAX} numbers at once; nest it less")
        self.code.append((opcode, operand, constant))

    def error(self, at: int, message: str) -> ExpressionError:
        return error_at(self.text, at, message)

    # ---- what is read

    def load(self, series: Selector, opcode: int, figure: Figure | None = None) -> None:
        if series.offset_seconds:
            raise self.error(series.at, "OFFSET needs history, which this version does not evaluate rules on")
        source = SourceKey(series.metric, series.matchers, self.where, self.group_by)
        key = source, self.window(series), figure
        number = self.readings.setdefault(key, len(self.readings))
        if number == len(self.loads):
            self.loads.append(set())
            self.required.append(False)
            self.places.append(series.at)
        self.loads[number].add(opcode)
        self.required[number] |= opcode != op.LOAD_ABSENT
        self.add(opcode, number, at=series.at)

    def window(self, series: Selector) -> int:
        seconds = self.window_seconds if series.window_seconds is None else series.window_seconds
        if seconds != int(seconds) or not 1 <= seconds <= WINDOW_SECONDS_MAX:
            raise self.error(series.at, f"a window of {seconds:g} s is none of whole seconds from 1s to 1h")
        return int(seconds)

    # ---- conditions

    def emit(self, node: Condition | Arith, against: Unit | None = None) -> None:
        """The instructions of a node. against: the unit that bare numbers with a unit are counted in."""
        if isinstance(node, CONDITIONS):
            self.condition(node)
        else:
            self.arith(node, against)

    def condition(self, node: Condition) -> None:
        match node:
            case Junction(operator, left, right):
                self.condition(left)
                self.condition(right)
                self.add(_JUNCTION[operator], at=node.at)
            case Not(operand):
                self.condition(operand)
                self.add(op.NOT, at=node.at)
            case Compare(operator, left, right):
                self.operands(left, right)
                self.add(_COMPARE[operator], at=node.at)
            case Between(left, low, high, negated):
                self.operands(left, low, high)
                self.add(op.BETWEEN, at=node.at)
                self.negate(negated)
            case IsNull(operand, negated):
                self.arith(operand, None)
                self.add(op.IS_NULL, at=node.at)
                self.negate(negated)
            case Absent(series):
                self.load(series, op.LOAD_ABSENT)
            case Anomaly():
                raise self.error(node.at, "ANOMALY is judged by anomaly rules, not inside conditions, in this version")

    def negate(self, negated: bool) -> None:
        if negated:
            self.add(op.NOT)

    # ---- calculations

    def operands(self, *nodes: Arith, against: Unit | None = None) -> None:
        """Several numbers that stand against each other: the first unit found counts for all."""
        own = next((unit for node in nodes if (unit := self.unit_of(node)) is not None), against)
        for node in nodes:
            self.arith(node, own)

    def arith(self, node: Arith, against: Unit | None) -> None:
        match node:
            case Number():
                self.add(op.PUSH, constant=self.number(node, against), at=node.at)
            case Selector():
                self.load(node, op.LOAD_LAST)
            case Aggregate():
                self.aggregate(node)
            case Scalar():
                self.scalar(node, against)
            case Negative(operand):
                self.arith(operand, against)
                self.add(op.NEGATE, at=node.at)
            case Binary(operator, left, right):
                self.operands(left, right, against=against)
                self.add(_BINARY[operator], at=node.at)

    def number(self, node: Number, against: Unit | None) -> float:
        try:
            return number_value(node.value, node.unit, against)
        except ValueError as error:
            raise self.error(node.at, str(error)) from None

    def aggregate(self, node: Aggregate) -> None:
        function = function_named(node.function)
        assert function is not None  # the grammar knows no other
        if function.missing:
            raise self.error(node.at, f"{node.function} {function.missing}")
        if not isinstance(node.series, Selector):
            raise self.error(node.at, f"{node.function} reads one metric, not a calculation, in this version")
        if node.options:
            raise self.error(node.at, f"{node.function} has no option `{node.options[0].name}`")
        figure = self.figure(node, node.series) if function.opcode == op.LOAD_FIGURE else None
        self.load(node.series, function.opcode, figure)

    def figure(self, node: Aggregate, series: Selector) -> Figure:
        against = self.unit_of(series) if node.function in SHARES else None
        number = self.number(node.parameters[0], against) if node.parameters else None
        try:
            return figure_of(node.function, number)
        except ValueError as error:
            raise self.error(node.parameters[0].at, str(error)) from None

    def scalar(self, node: Scalar, against: Unit | None) -> None:
        function = function_named(node.function)
        assert function is not None
        self.operands(*node.arguments, against=against if function.keeps_unit else None)
        repeats = len(node.arguments) - 1 if function.opcode == op.COALESCE else 1
        for _ in range(repeats):
            self.add(function.opcode, at=node.at)

    def unit_of(self, node: Arith) -> Unit | None:
        """The unit a calculation comes out in; None if it has none or nobody knows."""
        match node:
            case Selector(metric):
                return metric_unit(metric, self.unit(metric))
            case Aggregate(function, series):
                known = function_named(function)
                return self.unit_of(series) if known and known.keeps_unit else None
            case Scalar(function, arguments):
                known = function_named(function)
                return self.unit_of(arguments[0]) if known and known.keeps_unit else None
            case Negative(operand):
                return self.unit_of(operand)
            case Binary(operator, left, right):
                return _unit_of_binary(operator, self.unit_of(left), self.unit_of(right))
        return None


def _unit_of_binary(operator: str, left: Unit | None, right: Unit | None) -> Unit | None:
    if operator in ("+", "-", "%"):
        return left or right
    if operator == "/" and right:
        return None  # a ratio, or something per something
    return None if left and right else left or right

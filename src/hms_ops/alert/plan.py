"""Compiles a tree into a plan: which windows of which series to read, and the program to run on what they hold.

Fed by the grammar's trees; read by `evaluate.py`, which binds a plan to the series there are. A plan is frozen and
knows no store, so it may be shared, and made on any thread.

    avg(x_ms, 5m) > 0.2s GROUP BY region      readings  [x_ms over 300 s: avg]
                                              program   LOAD_AVG 0 · STORE_VALUE · LOAD_AVG 0 · PUSH 200 · GREATER · …

What is no plain window of memory (an OFFSET, more than an hour, a fold of steps such as `zscore` or an aggregate of a
calculation) is a reading of a view (view.py), which has a plan of its own. ANOMALY and burn_rate are written out first
(desugar.py). In a query by step a reading without a written window covers each step (BY_STEP), and folds are all the
views there are.
A rule's comparison that is in doubt while a window is not known all through (doubt.py) is NULL until it is: a KNOWN of
that reading stands behind it. Queries say what is known.
Units are settled here: a number with a unit is counted in the unit of what it stands against.
Errors: what cannot be evaluated at all is an ExpressionError with its column.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.doubt import Counted, Reader, Readers, doubts
from hms_ops.alert.figure import SHARES, Figure, figure_of
from hms_ops.alert.language.desugar import Objectives, anomaly_condition, burn_rate, none_known
from hms_ops.alert.language.functions import function_named
from hms_ops.alert.language.tokens import duration_text, error_at
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
    Statement,
    TagMatch,
    Tags,
    first_left,
)
from hms_ops.alert.language.units import Unit, metric_unit, number_value
from hms_ops.alert.view import FOLDS, MEMORY_SECONDS_MAX, View
from hms_ops.errors import ExpressionError
from hms_ops.kernels import opcodes as op
from hms_ops.tiers import WINDOW_SECONDS_MAX

DEFAULT_WINDOW_SECONDS: Final = 60
LAST_SECONDS: Final = 300  # how old the `last` of an earlier time may be, where no window is written
WINDOW_DAYS_MAX: Final = 400  # as long as history is kept by default
BY_STEP: Final = 0  # the window of a reading that covers the step it is evaluated in

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
_RANGE: Final = "a query by step"
_FOLD: Final = "(…)"  # ends the name of what steps are folded by
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
    view: View | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled rule or query. code: int8[n]; operand: int32[n], a LOAD's or KNOWN's reading; constant: float64[n], a
    PUSH's."""

    text: str
    group_by: tuple[str, ...]
    readings: tuple[Reading, ...]
    code: NDArray[np.int8]
    operand: NDArray[np.int32]
    constant: NDArray[np.float64]
    has_recover: bool

    def sources(self) -> Iterator[SourceKey]:
        """Of all readings and of those inside views, some of them several times."""
        for reading in self.readings:
            if reading.view is None:
                yield reading.source
            else:
                yield from reading.view.plan.sources()


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
    objective: Objectives = none_known,
) -> Plan:
    """The plan of a rule. text: what the condition was parsed from, for the errors' columns; unit: described units;
    objective: the share that a service level promises, by its name."""
    assembler = _Assembler(where, group_by, text, unit, window_seconds, objective, is_rule=True)
    shown = first_left(assembler.written_out(condition) if isinstance(condition, Anomaly) else condition)
    assembler.emit(condition if shown is None else shown)
    assembler.add(op.STORE_VALUE)
    assembler.emit(condition)
    assembler.add(op.STORE_CONDITION)
    if recover is not None:
        assembler.emit(recover)
        assembler.add(op.STORE_RECOVER)
    return assembler.plan(recover is not None)


def compile_statement(rule: Statement, unit: UnitLookup = no_units, objective: Objectives = none_known) -> Plan:
    """The plan of a rule that was written as one sentence."""
    return compile_rule(
        rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text, unit=unit, objective=objective
    )


def compile_query(
    query: Query, unit: UnitLookup = no_units, objective: Objectives = none_known, *, by_step: bool = False
) -> Plan:
    """The plan of a query; its result is the value. A bare selector is per series. by_step: it is run on each step of
    a range; an aggregate without a written window covers that step, one with it the window that ends with the step."""
    is_bare = isinstance(query.expression, Selector) and not query.group_by
    group_by = GROUP_BY_ALL if is_bare else query.group_by
    inside = _RANGE if by_step else ""
    assembler = _Assembler(query.where, group_by, query.text, unit, DEFAULT_WINDOW_SECONDS, objective, inside)
    return assembler.value_plan(query.expression)


class _Assembler:
    """Collects the instructions and readings of one plan. inside: what the plan is run in the steps of, or ""."""

    def __init__(
        self,
        where: Tags | None,
        group_by: tuple[str, ...],
        text: str,
        unit: UnitLookup,
        window_seconds: int,
        objective: Objectives,
        inside: str = "",
        *,
        is_rule: bool = False,
    ) -> None:
        self.where, self.group_by, self.text, self.unit = where, group_by, text, unit
        self.window_seconds, self.objective, self.inside = window_seconds, objective, inside
        self.is_rule = is_rule
        self.latest = 0
        self.number_of: dict[Reader, int] = {}  # the readings of those that may be in doubt
        self.readings: dict[tuple[SourceKey, int, Figure | None, View | None], int] = {}
        self.loads: list[set[int]] = []
        self.required: list[bool] = []
        self.places: list[int] = []
        self.code: list[tuple[int, int, float]] = []
        self.depth = 0

    def plan(self, has_recover: bool) -> Plan:
        code, operand, constant = zip(*self.code, strict=True)
        readings = tuple(
            Reading(source, window, tuple(sorted(self.loads[n])), self.required[n], self.places[n], figure, view)
            for (source, window, figure, view), n in self.readings.items()
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

    def value_plan(self, node: Condition | Arith) -> Plan:
        """The plan whose value is the node's."""
        self.emit(node)
        self.add(op.STORE_VALUE)
        return self.plan(has_recover=False)

    def add(self, opcode: int, operand: int = 0, constant: float = 0.0, at: int = 0) -> None:
        self.depth += op.stack_effect(opcode)
        if self.depth > op.STACK_MAX:
            raise self.error(at, f"the expression needs more than {op.STACK_MAX} numbers at once; nest it less")
        self.code.append((opcode, operand, constant))

    def error(self, at: int, message: str) -> ExpressionError:
        return error_at(self.text, at, message)

    # ---- what is read

    def load(self, series: Selector, opcode: int, figure: Figure | None = None) -> None:
        source = SourceKey(series.metric, series.matchers, self.where, self.group_by)
        self.read(source, self.window(series), opcode, series.at, figure)

    def read(
        self,
        source: SourceKey,
        seconds: int,
        opcode: int,
        at: int,
        figure: Figure | None = None,
        view: View | None = None,
    ) -> None:
        """Load one reading."""
        number = self.readings.setdefault((source, seconds, figure, view), len(self.readings))
        if number == len(self.loads):
            self.loads.append(set())
            self.required.append(False)
            self.places.append(at)
        self.loads[number].add(opcode)
        self.required[number] |= opcode != op.LOAD_ABSENT
        self.latest = number
        self.add(opcode, number, at=at)

    def window(self, series: Selector) -> int:
        """A plain window's seconds; inside views none counts."""
        if self.inside and (self.inside != _RANGE or series.window_seconds is None):
            return BY_STEP
        return self.whole(self.window_seconds if series.window_seconds is None else series.window_seconds, series.at)

    def whole(self, seconds: float, at: int) -> int:
        if seconds != int(seconds) or not 1 <= seconds <= WINDOW_DAYS_MAX * 86_400:
            raise self.error(
                at, f"a window of {duration_text(seconds)} is none of whole seconds from 1s to {WINDOW_DAYS_MAX}d"
            )
        return int(seconds)

    # ---- views

    def is_view(self, series: Selector) -> bool:
        """Whether a selector's window is not simply the last of memory's."""
        if self.inside:
            self.check_inside(series)
            return False
        return bool(series.offset_seconds) or (series.window_seconds or self.window_seconds) > WINDOW_SECONDS_MAX

    def check_inside(self, series: Selector) -> None:
        if series.offset_seconds:
            raise self.error(series.at, f"OFFSET does not stand inside {self.inside}")
        if series.window_seconds is not None and self.inside != _RANGE:
            raise self.error(series.at, f"inside {self.inside} every aggregate covers one step; write no window there")

    def shifted(self, node: Arith | Condition, series: Selector, fold: str = "", is_long: bool = False) -> None:
        """A reading of one metric at another time, or over more than memory has; without a fold in one step."""
        window = series.window_seconds
        if fold == "last" and window is None:
            window = LAST_SECONDS
        self.view(node, fold, window, series.offset_seconds, series.at, is_long=is_long)

    def view(
        self,
        node: Arith | Condition,
        fold: str,
        window_seconds: float | None,
        offset_seconds: float | None,
        at: int,
        parameter: float = 0.0,
        *,
        sums_series: bool = False,
        is_long: bool = False,
    ) -> None:
        if self.inside and (self.inside != _RANGE or not fold or offset_seconds):
            raise self.error(at, f"{fold or 'OFFSET'} does not stand inside {self.inside}")
        if self.inside and window_seconds is None:
            raise self.error(at, f"{fold} over a range needs its window, as in {fold}(x, 10m)")
        window = self.whole(self.window_seconds if window_seconds is None else window_seconds, at)
        offset = self.whole(offset_seconds, at) if offset_seconds else 0
        group_by = GROUP_BY_ALL if sums_series else self.group_by
        inner = _Assembler(
            self.where, group_by, self.text, self.unit, BY_STEP, self.objective, f"{fold}{_FOLD}" if fold else "a view"
        )
        plan = inner.value_plan(node)
        is_long |= window + offset > MEMORY_SECONDS_MAX or window > WINDOW_SECONDS_MAX
        made = View(node, self.where, self.group_by, fold, window, offset, parameter, sums_series, is_long, plan=plan)
        first = plan.readings[0]
        self.read(first.source, 0, op.LOAD_FIGURE, at, view=made)
        if made.is_absent:
            self.required[self.readings[first.source, 0, None, made]] = False
            if not is_long:  # of a group that only others have, nothing was seen
                self.add(op.PUSH, constant=1.0)
                self.add(op.COALESCE)

    # ---- conditions

    def emit(self, node: Condition | Arith, against: Unit | None = None) -> None:
        """The instructions of a node. against: the unit that bare numbers with a unit are counted in."""
        if isinstance(node, CONDITIONS):
            self.condition(node)
        else:
            self.arith(node, against)

    def condition(self, node: Condition, *, is_false: bool = False) -> None:
        """is_false: whether it is its FALSE that something begins with, as behind NOT."""
        match node:
            case Junction(operator, left, right):
                self.condition(left, is_false=is_false)
                self.condition(right, is_false=is_false != (operator == "UNLESS"))
                self.add(_JUNCTION[operator], at=node.at)
                if operator == "UNLESS" and not is_false:  # which a NULL holds not back
                    self.hold_back(self.doubted(right, is_false=True), is_false=False)
            case Not(operand):
                self.condition(operand, is_false=not is_false)
                self.add(op.NOT, at=node.at)
            case Between(left, low, high, negated=True) if self.is_rule:  # each side has its own doubts
                outside = Compare("<", left, low, node.at), Compare(">", left, high, node.at)
                self.condition(Junction("OR", *outside, node.at), is_false=is_false)
            case Anomaly():
                self.condition(self.written_out(node), is_false=is_false)
            case _:
                self.leaf(node)
                self.hold_back(self.doubted(node, is_false=is_false), is_false=is_false)

    def doubted(self, node: Condition, *, is_false: bool) -> Readers:
        if not self.is_rule:
            return frozenset()
        return doubts(node, self.counting, is_false=is_false)

    def counting(self, node: Compare | Between) -> Counted:
        """How the numbers of a comparison are counted."""
        sides = (node.left, node.right) if isinstance(node, Compare) else (node.left, node.low, node.high)
        own = next((unit for side in sides if (unit := self.unit_of(side)) is not None), None)
        return lambda number: self.number(number, own)

    def hold_back(self, readers: Readers, *, is_false: bool) -> None:
        """Make a TRUE (a FALSE) NULL as long as these windows are not known all through."""
        for number in sorted({self.number_of[reader] for reader in readers}):
            self.add(op.KNOWN, number)
            self.negate(is_false)
            self.add(op.OR if is_false else op.AND)

    def leaf(self, node: Condition) -> None:
        match node:
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
                if self.is_view(series):
                    self.shifted(Absent(_bare(series), node.at), series)
                else:
                    self.load(series, op.LOAD_ABSENT)
                self.number_of[node] = self.latest

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
                self.last(node)
                self.number_of[node] = self.latest
            case Aggregate("burn_rate"):
                self.arith(self.burn_rate(node), against)
                self.number_of[node] = self.latest
            case Aggregate():
                self.aggregate(node)
                self.number_of[node] = self.latest
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

    def last(self, series: Selector) -> None:
        if self.is_view(series):
            self.shifted(_bare(series), series, "last")
        else:
            self.load(series, op.LOAD_LAST)

    def written_out(self, node: Anomaly) -> Condition:
        try:
            return anomaly_condition(node)
        except ValueError as error:
            raise self.error(node.at, str(error)) from None

    def burn_rate(self, node: Aggregate) -> Arith:
        try:
            return burn_rate(node, self.objective)
        except ValueError as error:
            raise self.error(node.at, str(error)) from None

    def aggregate(self, node: Aggregate) -> None:
        function = function_named(node.function)
        assert function is not None  # the grammar knows no other
        if node.options and node.function != "ewma":
            raise self.error(node.at, f"{node.function} has no option `{node.options[0].name}`")
        series = node.series
        if not isinstance(series, Selector):
            self.fold(node, node.series, node.window_seconds, node.offset_seconds)
        elif function.is_fold:
            self.check_plain(node, series)
            inner = Aggregate("avg", _bare(series), at=node.at) if function.opcode == op.LOAD_AVG else _bare(series)
            self.fold(node, inner, series.window_seconds, series.offset_seconds)
        elif function.opcode == op.LOAD_LAST and self.is_view(series):
            self.shifted(_bare(series), series, "last")
        elif self.is_view(series):
            bare = replace(node, series=_bare(series))
            self.shifted(bare, series, is_long=function.opcode == op.LOAD_FIGURE)
        else:
            figure = self.figure(node, series) if function.opcode == op.LOAD_FIGURE else None
            if figure is not None and self.inside.endswith(_FOLD):
                raise self.error(node.at, f"{node.function} does not stand inside {self.inside}")
            self.load(series, function.opcode, figure)

    def check_plain(self, node: Aggregate, series: Selector) -> None:
        if self.inside == _RANGE:
            self.check_inside(series)
        elif self.inside:
            raise self.error(node.at, f"{node.function} does not stand inside {self.inside}")

    def fold(self, node: Aggregate, inner: Arith, window: float | None, offset: float | None) -> None:
        """A function over the steps of a window, of what stands inside in each."""
        fold, parameter = node.function, 0.0
        function = function_named(fold)
        if function is not None and function.opcode == op.LOAD_FIGURE:
            fold, parameter = self.figure(node, inner)
        elif fold not in FOLDS:
            raise self.error(node.at, f"{fold} reads one metric, not a calculation")
        if node.options:
            parameter = self.half_life(node)
        is_changes = fold == "changes" and isinstance(inner, Selector)
        self.view(inner, fold, window, offset, node.at, parameter, sums_series=is_changes)

    def half_life(self, node: Aggregate) -> float:
        option = node.options[0]
        if option.name != "half_life" or len(node.options) > 1:
            raise self.error(node.at, "ewma has one option, half_life, as in ewma(x, 10m, half_life=1m)")
        if not isinstance(option.value, Number) or option.value.value <= 0:
            raise self.error(node.at, "half_life is a duration longer than nothing")
        return option.value.value

    def figure(self, node: Aggregate, series: Arith) -> Figure:
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


def _bare(series: Selector) -> Selector:
    """The selector without its window and offset."""
    return Selector(series.metric, series.matchers, at=series.at)


def _unit_of_binary(operator: str, left: Unit | None, right: Unit | None) -> Unit | None:
    if operator in ("+", "-", "%"):
        return left or right
    if operator == "/" and right:
        return None  # a ratio, or something per something
    return None if left and right else left or right

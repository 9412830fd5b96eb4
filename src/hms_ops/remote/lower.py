"""The alert language as PromQL over what remote write sends: each expression exactly, approximately, or not at all.

    avg(api.ms, 5m) > 200 GROUP BY agency
    sum by (agency) (sum_over_time(api_ms_sum[300s])) / sum by (agency) (sum_over_time(api_ms_count[300s])) > 200

A number is a vector with one element for each group, its labels just those of GROUP BY (all of the series' own for
`*`), or a constant; a group without an element is NULL. A condition is a pair of such vectors: the groups where it is
TRUE, valued as its first comparison's left side, and those where it is FALSE; what is in neither is NULL. So AND, OR,
NOT and UNLESS come out as SQL's, and a rule may hold an alert until its condition is FALSE.

A range query covers a step by each point, whatever window is written (docs/queries.md): `over_seconds`.
What is only approximate is told in `notes`, once each. Errors: ExpressionError for what no back end evaluates;
everything else that cannot be said is `impossible`.
Not here: rule files (export.py), asking a server (reading.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hms_ops import kinds
from hms_ops.alert.functions import function_named, percentile_rank
from hms_ops.alert.plan import DEFAULT_WINDOW_SECONDS, UnitLookup, no_units
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
    Tags,
)
from hms_ops.alert.units import Unit, metric_unit, number_value
from hms_ops.remote.encode import SKETCHED, bound_text, bounds_of
from hms_ops.remote.labels import LE, NAME, outer_metric, outer_tag
from hms_ops.remote.matchers import Alternative, Impossible, alternatives, quoted

LAST_SECONDS: Final = 300  # how long a gauge keeps its last value, and how far back a delta looks
SEEN_SECONDS: Final = 3_900  # how long a silent series is remembered: as long as the engine's memory keeps it
NO_KIND: Final = -1

_OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!=", "!=": "="}
_SIGNS: Final = {"=": "=="}
_CALCULATE: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y if y else math.nan,
    "%": lambda x, y: math.fmod(x, y) if y else math.nan,
}
_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    "=": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}

SILENT: Final = f"a silent series counts 0 for {SEEN_SECONDS // 60} min after its last sample"
NO_BUCKETS: Final = "the tier 10s sends no buckets; percentiles need the tier 1m or 1h"


class Truth(NamedTuple):
    """Where a condition is TRUE, and where it is FALSE."""

    true: str
    false: str


@dataclass(frozen=True, slots=True)
class Lowered:
    """promql: the expression, "" when it is impossible. false: of a condition, where it is FALSE. notes: why it is
    approximate, or impossible."""

    promql: str
    false: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        return bool(self.promql)

    @property
    def grade(self) -> str:
        """`exact`, `approximate: …` or `impossible: …`."""
        if not self.notes:
            return "exact"
        return f"{'approximate' if self.promql else 'impossible'}: {'; '.join(self.notes)}"


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of the remote and of the metrics: step_seconds of its tier, names, kinds, described units, matchers
    for every selector (an engine's own label), and for range queries the seconds each point covers."""

    step_seconds: int = 60
    keeps_dots: bool = False
    kind: Callable[[str], int] = lambda metric: NO_KIND
    unit: UnitLookup = no_units
    more: Alternative = ()
    over_seconds: int | None = None


def lower(
    node: Condition | Arith,
    where: Tags | None = None,
    group_by: tuple[str, ...] = (),
    outside: Outside | None = None,
    window_seconds: int = DEFAULT_WINDOW_SECONDS,
) -> Lowered:
    """An expression; of a condition both halves."""
    lowering = _Lowering(where, group_by, outside or Outside(), window_seconds)
    try:
        if isinstance(node, CONDITIONS):
            truth = lowering.truth(node)
            return Lowered(truth.true, truth.false, lowering.told())
        return Lowered(lowering.vector(lowering.number(node, None)), "", lowering.told())
    except Impossible as error:
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


Value = str | float


@dataclass(slots=True)
class _Lowering:
    where: Tags | None
    group_by: tuple[str, ...]
    outside: Outside
    window_seconds: int
    notes: dict[str, None] = field(default_factory=dict)

    def told(self) -> tuple[str, ...]:
        return tuple(self.notes)

    def note(self, text: str) -> None:
        self.notes[text] = None

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
                raise Impossible("ANOMALY is judged by the engine's detectors")

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
        gone = f"({self.seen(first_selector(operand))}) unless ({there})" if self.group_by else f"absent({there})"
        return Truth(there, gone) if is_negated else Truth(gone, there)

    def absent(self, series: Selector) -> Truth:
        there = self.pooled("sum", self.rolled("count_over_time", series, "count"))
        if self.group_by:
            return Truth(f"({self.seen(series)}) unless ({there})", there)
        return Truth(f"absent({there})", there)

    def seen(self, series: Selector | None) -> str:
        """A vector with every group that is known: seen lately."""
        if series is None:
            raise Impossible("which groups there are is not known")
        self.note(f"groups are those seen within {SEEN_SECONDS // 60} min")
        return self.pooled("sum", self.rolled("count_over_time", series, "count", SEEN_SECONDS))

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
                return self.last(node)
            case Aggregate():
                return self.aggregate(node)
            case Scalar():
                return self.scalar(node, against)
            case Negative(operand):
                value = self.number(operand, against)
                return -value if isinstance(value, float) else f"-({value})"
            case Binary(operator, left, right):
                return self.binary(operator, *self.operands(left, right, against=against))

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
                seen = self.seen(next(filter(None, map(first_selector, node.arguments)), None))
                parts.append(f"({seen}) * 0 + {text_of(value)}")
            else:
                parts.append(f"vector({text_of(value)})")
            break
        return " or ".join(parts)

    # ---- aggregates

    def aggregate(self, node: Aggregate) -> str:
        function = function_named(node.function)
        assert function is not None  # the grammar knows no other
        if function.missing:
            raise Impossible(f"{node.function} {function.missing}")
        if not isinstance(node.series, Selector):
            raise Impossible(f"{node.function} reads one metric, not a calculation")
        series, kind = node.series, self.outside.kind(node.series.metric)
        if kind == kinds.SET:
            raise Impossible(f"{series.metric} is a set; its members are not sent")
        if (rank := self.rank_of(node)) is not None:
            return self.percentile(series, kind, rank)
        if node.function in ("share_le", "share_gt"):
            return self.share(node, series, kind)
        made = _AGGREGATES.get(node.function)
        if made is None:
            raise Impossible("the deviation within steps is not sent" if node.function == "stddev" else node.function)
        return made(self, series, kind)

    def rank_of(self, node: Aggregate) -> float | None:
        if node.function == "quantile":
            return node.parameters[0].value
        return percentile_rank(node.function)

    def average(self, series: Selector, kind: int) -> str:
        return f"{inside(self.total(series, 'sum'))} / {inside(self.total(series, 'count'))}"

    def extreme(self, series: Selector, name: str) -> str:
        return self.pooled(name, self.rolled(f"{name}_over_time", series, name))

    def sum(self, series: Selector, kind: int) -> str:
        total = self.total(series, "sum")
        return self.or_silent(total, series) if kind == kinds.COUNTER else total

    def count(self, series: Selector, kind: int) -> str:
        total = self.total(series, "count")
        return total if kind in (kinds.GAUGE, kinds.UNKNOWN) else self.or_silent(total, series)

    def rate(self, series: Selector, kind: int) -> str:
        if kind in (kinds.GAUGE, kinds.UNKNOWN):
            of = self.delta(series, kind)
        elif kind in SKETCHED:
            of = self.count(series, kind)
        else:
            if kind == NO_KIND:
                self.note(f"{series.metric} is taken for a counter")
            of = self.sum(series, kinds.COUNTER)
        return f"{inside(of)} / {self.window(series)}"

    def delta(self, series: Selector, kind: int) -> str:
        self.note(f"a series that was silent for {LAST_SECONDS} s before the window has no delta")
        now = self.rolled("last_over_time", series, "last")
        offset = self.window(series) + (series.offset_seconds or 0.0)
        before = self.rolled("last_over_time", series, "last", LAST_SECONDS, offset)
        return self.pooled("sum", f"{inside(now)} - {inside(before)}")

    def last(self, series: Selector, kind: int | None = None) -> str:
        kind = self.outside.kind(series.metric) if kind is None else kind
        if kind == kinds.SET:
            raise Impossible(f"{series.metric} is a set; its members are not sent")
        if kind == kinds.COUNTER:
            if self.outside.over_seconds is None:
                self.note("a counter's last is the mean second of its last step")
            seconds = self.outside.over_seconds or self.outside.step_seconds
            return f"{inside(self.or_silent(self.total(series, 'sum', seconds), series))} / {seconds}"
        if self.group_by != GROUP_BY_ALL:
            self.note("of several series the greatest last value, not the newest")
        is_gauge = kind not in SKETCHED and self.outside.over_seconds is None
        seconds = max(LAST_SECONDS, self.outside.step_seconds) if is_gauge else self.window(series)
        return self.pooled("max", self.rolled("last_over_time", series, "last", seconds))

    def percentile(self, series: Selector, kind: int, rank: float) -> str:
        self.check_buckets(series, kind)
        self.note("read off the buckets sent, which are half powers of two for times")
        buckets = self.rolled("sum_over_time", series, "bucket")
        return f"histogram_quantile({text_of(rank)}, {self.pooled('sum', buckets, LE)})"

    def share(self, node: Aggregate, series: Selector, kind: int) -> str:
        self.check_buckets(series, kind)
        threshold = node.parameters[0]
        limit = number_value(threshold.value, threshold.unit, self.unit_of(series))
        bounds = bounds_of(series.metric, self.outside.unit(series.metric))
        below = self.below(series, bounds, limit)
        share = f"{inside(below)} / {inside(self.at_most(series, '+Inf'))}"
        return f"1 - {share}" if node.function == "share_gt" else share

    def below(self, series: Selector, bounds: tuple[float, ...], limit: float) -> str:
        """How many samples are at most `limit`: a bucket, or between two."""
        if limit in bounds:
            return self.at_most(series, bound_text(limit))
        self.note("interpolated between the buckets sent")
        upper = next((n for n, bound in enumerate(bounds) if bound > limit), len(bounds))
        if not 0 < upper < len(bounds):
            raise Impossible(f"{limit:g} is beyond the buckets sent, {bounds[0]:g} to {bounds[-1]:g}")
        low, high = bounds[upper - 1], bounds[upper]
        part = (limit - low) / (high - low)
        one, other = (self.at_most(series, bound_text(bound)) for bound in (low, high))
        return f"{inside(one)} * {text_of(1 - part)} + {inside(other)} * {text_of(part)}"

    def at_most(self, series: Selector, bound: str) -> str:
        return self.pooled(
            "sum", self.rolled("sum_over_time", series, "bucket", extra=f"{LE}={quoted(bound)}", drop=LE)
        )

    def check_buckets(self, series: Selector, kind: int) -> None:
        if kind not in (*SKETCHED, NO_KIND):
            raise Impossible(f"{series.metric} is a {kinds.NAMES[kind]}; buckets are sent for timers and their like")
        if self.outside.step_seconds < 60:
            raise Impossible(NO_BUCKETS)

    # ---- selectors

    def total(self, series: Selector, name: str, seconds: float | None = None) -> str:
        return self.pooled("sum", self.rolled("sum_over_time", series, name, seconds))

    def or_silent(self, total: str, series: Selector) -> str:
        """0 where nothing came lately."""
        self.note(SILENT)
        seen = self.pooled("sum", self.rolled("count_over_time", series, "count", SEEN_SECONDS))
        return f"{inside(total)} or {inside(seen)} * 0"

    def pooled(self, operator: str, vector: str, *labels: str) -> str:
        if self.group_by == GROUP_BY_ALL:
            return vector
        by = ", ".join([*labels, *map(outer_tag, self.group_by)])
        return f"{operator} by ({by}) ({vector})" if by else f"{operator}({vector})"

    def rolled(
        self,
        function: str,
        series: Selector,
        name: str,
        seconds: float | None = None,
        offset: float | None = None,
        extra: str = "",
        drop: str = "",
    ) -> str:
        """A function over the window of the series' samples of one field."""
        window = self.window(series) if seconds is None else int(seconds)
        back = (series.offset_seconds or 0.0) if offset is None else offset
        behind = f"[{window}s]" + (f" offset {int(back)}s" if back else "")
        metric = f"{outer_metric(series.metric, self.outside.keeps_dots)}_{name}"
        chosen = alternatives(series.matchers, self.where, (*self.outside.more, *([extra] if extra else ())))
        text = " or ".join(f"{function}({selector_text(metric, labels)}{behind})" for labels in chosen)
        if drop and self.group_by == GROUP_BY_ALL:
            text = f"sum without ({drop}) ({text})"
        return f"({text})" if len(chosen) > 1 else text

    def window(self, series: Selector) -> int:
        """Whole steps, as many as hold the window."""
        if self.outside.over_seconds is not None:
            return self.outside.over_seconds
        seconds = self.window_seconds if series.window_seconds is None else series.window_seconds
        step = self.outside.step_seconds
        whole = max(1, math.ceil(seconds / step)) * step
        if whole != seconds:
            self.note(f"a window of {seconds:g} s is made {whole} s: steps sent are of {step} s")
        return whole

    def unit_of(self, node: Arith) -> Unit | None:
        """The unit a calculation comes out in, as the compiler of rules has it."""
        match node:
            case Selector(metric):
                return metric_unit(metric, self.outside.unit(metric))
            case Aggregate(function, series):
                known = function_named(function)
                return self.unit_of(series) if known and known.keeps_unit else None
            case Scalar(function, arguments):
                known = function_named(function)
                return self.unit_of(arguments[0]) if known and known.keeps_unit else None
            case Negative(operand):
                return self.unit_of(operand)
            case Binary(operator, left, right):
                one, other = self.unit_of(left), self.unit_of(right)
                if operator in "+-%":
                    return one or other
                return None if (operator == "/" and other) or (one and other) else one or other
        return None


_AGGREGATES: Final[dict[str, Callable[[_Lowering, Selector, int], str]]] = {
    "avg": _Lowering.average,
    "moving_mean": _Lowering.average,
    "min": lambda lowering, series, kind: lowering.extreme(series, "min"),
    "max": lambda lowering, series, kind: lowering.extreme(series, "max"),
    "sum": _Lowering.sum,
    "increase": lambda lowering, series, kind: lowering.sum(series, kinds.COUNTER),
    "count": _Lowering.count,
    "rate": _Lowering.rate,
    "delta": _Lowering.delta,
    "last": _Lowering.last,
}


def selector_text(metric: str, labels: Alternative) -> str:
    is_plain = outer_metric(metric, keeps_dots=False) == metric
    matchers = labels if is_plain else (f"{NAME}={quoted(metric)}", *labels)
    return (metric if is_plain else "") + (f"{{{','.join(matchers)}}}" if matchers else "")


def first_selector(node: Arith) -> Selector | None:
    """The first series that a calculation reads."""
    match node:
        case Selector():
            return node
        case Aggregate(series=inner) | Negative(operand=inner):
            return first_selector(inner)
        case Scalar(arguments=arguments):
            return next(filter(None, map(first_selector, arguments)), None)
        case Binary(left=left, right=right):
            return first_selector(left) or first_selector(right)
    return None


def inside(value: Value) -> str:
    """As an operand: a calculation in parentheses, a call or a constant as it is."""
    if isinstance(value, float):
        return text_of(value)
    return value if is_atom(value) else f"({value})"


def is_atom(text: str) -> bool:
    """A text that one pair of parentheses ends, with no operator outside."""
    depth = 0
    is_quoted = False
    for place, sign in enumerate(text):
        if sign == '"' and text[place - 1] != "\\":
            is_quoted = not is_quoted
        if is_quoted:
            continue
        depth += (sign in "([{") - (sign in ")]}")
        if (depth == 0 and sign in "+-*/%<>=!") or (depth == 0 and sign == " " and _is_operator(text[place:])):
            return False
    return True


def _is_operator(text: str) -> bool:
    return text.startswith((" or ", " and ", " unless "))


def text_of(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise Impossible("a constant that is no number")

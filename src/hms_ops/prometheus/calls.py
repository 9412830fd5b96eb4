"""PromQL's functions as the language's: a table of one reader for each, and what they differ in.

Fed by `promql.py`. `rate` and its like extrapolate in Prometheus and count the increments in the window here; both are
the same where samples come evenly and the window is a multiple of their interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hms_ops.alert.language.tree import (
    Absent,
    Aggregate,
    Arith,
    Binary,
    Compare,
    Condition,
    IsNull,
    Junction,
    Number,
    Scalar,
    Selector,
)
from hms_ops.prometheus import exported
from hms_ops.prometheus.selection import COUNTED, equal_labels, kind, name_of, selector_of
from hms_ops.prometheus.vector import Vector, unsupported
from hms_ops.tiers import WINDOW_SECONDS_MAX

if TYPE_CHECKING:
    from hms_ops.prometheus.promql import Translation

LOOKBACK_SECONDS: Final = 300  # how long an instant selector takes a series' newest sample
LEAST: Final = -1e150
MOST: Final = 1e150
EXTRAPOLATED: Final = (
    "Prometheus extrapolates to the window's ends and has no rate of a silent counter; here the "
    "increments in the window count, and a counter that fell silent counts 0"
)
NO_CLOCK: Final = "the language has no clock; mute times hold rules to hours and days"
NO_LABELS: Final = "the language does not rewrite labels"


def called(of: Translation, node: Any) -> Vector:
    """A function's call."""
    name = str(node.func.name)
    read = CALLS.get(name)
    if read is None:
        raise unsupported(node, WITHOUT.get(name, f"the language has no {name}"))
    return read(of, node)


# ---- windows


def ranged(of: Translation, node: Any, place: int = 0) -> Selector:
    """The selector of a function over a window."""
    argument = node.args[place]
    if kind(argument) != "MatrixSelector":
        raise unsupported(node, "a subquery; rules here aggregate samples, not expressions")
    inner = argument.vector_selector
    if name_of(inner) in of.scope.recorded:
        raise unsupported(node, "a window over a recording rule, whose past is not kept here")
    if node.func.name not in COUNTED:
        of.check_not_counter(inner, node)
    series = selector_of(of.scope, inner, of.extra, argument.range.total_seconds())
    if (series.window_seconds or 0) + (series.offset_seconds or 0) > WINDOW_SECONDS_MAX and not of.scope.is_exported:
        of.note(node, "a window beyond an hour is made of whole rows of history, at most a sixtieth longer")
    return series


def over_time(of: Translation, node: Any) -> Vector:
    """A function that the language has under another name, of each series."""
    if of.scope.is_exported:
        return Vector(exported.field(node.func.name, ranged(of, node)))
    return Vector(Aggregate(OVER_TIME[node.func.name], ranged(of, node)))


def counted(of: Translation, node: Any) -> Vector:
    of.note(node, EXTRAPOLATED)
    return Vector(Aggregate(node.func.name, ranged(of, node)))


def last_over_time(of: Translation, node: Any) -> Vector:
    series = ranged(of, node)
    if of.scope.is_exported:
        return Vector(exported.field(node.func.name, series))
    if series.window_seconds != LOOKBACK_SECONDS:
        of.note(node, f"a gauge's last value holds for {LOOKBACK_SECONDS} s here, whatever window is written")
    return Vector(Aggregate("last", series))


def irate(of: Translation, node: Any) -> Vector:
    series = ranged(of, node)
    of.note(node, f"the rate of the last {of.scope.interval_seconds} s: of the last two samples, if they come evenly")
    return Vector(Aggregate("rate", windowed(series, of.scope.interval_seconds)))


def delta(of: Translation, node: Any) -> Vector:
    of.note(node, "Prometheus extrapolates to the window's ends; here it is the last value less that before the window")
    return Vector(Aggregate("delta", ranged(of, node)))


def idelta(of: Translation, node: Any) -> Vector:
    of.note(node, f"the change of the last {of.scope.interval_seconds} s: of two samples, if they come evenly")
    return Vector(Aggregate("delta", windowed(ranged(of, node), of.scope.interval_seconds)))


def deriv(of: Translation, node: Any) -> Vector:
    of.note(node, "the slope between the window's ends instead of the regression through it")
    return Vector(slope(ranged(of, node)))


def predict_linear(of: Translation, node: Any) -> Vector:
    """Where the line through the window's ends will be."""
    series = ranged(of, node)
    of.note(node, "the line through the window's ends instead of the regression through it")
    ahead = Binary("*", slope(series), of.vector(node.args[1]).value)
    return Vector(Binary("+", Aggregate("last", series), ahead))


def slope(series: Selector) -> Arith:
    return Binary("/", Aggregate("delta", series), Number(float(series.window_seconds or 1)))


def windowed(series: Selector, seconds: float) -> Selector:
    return Selector(series.metric, series.matchers, seconds, series.offset_seconds)


def present_over_time(of: Translation, node: Any) -> Vector:
    return Vector(Number(1.0), Compare(">", Aggregate("count", ranged(of, node)), Number(0.0)))


# ---- absence


def absent_over_time(of: Translation, node: Any) -> Vector:
    series = ranged(of, node)
    return Vector(Number(1.0), Absent(series), (), equal_labels(node.args[0].vector_selector))


def absent(of: Translation, node: Any) -> Vector:
    """No series at all, of a selector or of a filter on one."""
    inside, argument = of.opened(node.args[0])
    if kind(argument) == "VectorSelector":
        inside.check_not_counter(argument, node)
        series = selector_of(of.scope, argument, inside.extra, LOOKBACK_SECONDS)
        return Vector(Number(1.0), Absent(series), (), equal_labels(argument))
    inner = inside.vector(argument)
    if inner.group_by == ():
        return Vector(Number(1.0), missing(inner), ())
    return Vector(Number(1.0), none_passes(of, node, inner), ())


def missing(inner: Vector) -> Condition:
    """Where a single element is not there; never NULL."""
    if inner.guard is None:
        return IsNull(inner.value)
    always: Condition = Compare("=", Number(1.0), Number(1.0))
    return Junction("UNLESS", always, inner.guard)


def none_passes(of: Translation, node: Any, inner: Vector) -> Condition:
    """`absent(up == 1)`: no series passes the comparison, told by the greatest or least of them all."""
    match inner.guard:
        case Compare(operator, Selector() as series, Number(limit)):
            extreme = refused(series, operator, limit)
            if extreme is not None:
                function, opposite = extreme
                of.note(node, f"told by the {function} of all samples of the last {of.scope.interval_seconds} s")
                pooled = Aggregate(function, windowed(series, of.scope.interval_seconds))
                gone = Absent(windowed(series, LOOKBACK_SECONDS))
                return Junction("OR", gone, Compare(opposite, pooled, Number(limit)))
    raise unsupported(node, "whether any series passes a filter; a rule judges each group alone")


def refused(series: Selector, operator: str, limit: float) -> tuple[str, str] | None:
    """The aggregate and comparison that hold where no series passes `operator limit`."""
    if operator == "=" and series.metric == "up" and limit in (0.0, 1.0):  # up is 0 or 1
        operator = ">=" if limit else "<="
    return {">": ("max", "<="), ">=": ("max", "<"), "<": ("min", ">="), "<=": ("min", ">")}.get(operator)


# ---- numbers


def same(of: Translation, node: Any) -> Vector:
    return of.vector(node.args[0])


def scalar_function(of: Translation, node: Any) -> Vector:
    return mapped(of, node, lambda value: Scalar(node.func.name, (value,)))


def logarithm(of: Translation, node: Any) -> Vector:
    base = {"log2": 2.0, "log10": 10.0}[node.func.name]
    return mapped(of, node, lambda value: Binary("/", Scalar("ln", (value,)), Number(math.log(base))))


def clamp(of: Translation, node: Any) -> Vector:
    bounds = [of.vector(argument).value for argument in node.args[1:]]
    if not all(isinstance(bound, Number) for bound in bounds):
        raise unsupported(node, "bounds that are no constants")
    low, high = {
        "clamp": tuple(bounds),
        "clamp_min": (*bounds, Number(MOST)),
        "clamp_max": (Number(LEAST), *bounds),
    }[node.func.name]
    return mapped(of, node, lambda value: Scalar("clamp", (value, low, high)))


def mapped(of: Translation, node: Any, made: Callable[[Arith], Arith]) -> Vector:
    inner = of.vector(node.args[0])
    return Vector(made(inner.value), inner.guard, inner.group_by)


def vector(of: Translation, node: Any) -> Vector:
    inner = of.vector(node.args[0])
    if inner.group_by is not None:
        raise unsupported(node, "vector() of a vector")
    return Vector(inner.value, None, ())


def histogram_quantile(of: Translation, node: Any) -> Vector:
    """A percentile of buckets: here of the samples of a timer that is called as the buckets are."""
    rank = of.vector(node.args[0]).value
    inside, buckets = of.opened(node.args[1])
    group_by: tuple[str, ...] = ("*",)
    if kind(buckets) == "AggregateExpr" and str(buckets.op) == "sum":
        if buckets.modifier is None or "le" not in buckets.modifier.labels:
            raise unsupported(node, "its buckets are summed without `le`")
        group_by = tuple(label for label in buckets.modifier.labels if label != "le")
        inside, buckets = inside.opened(buckets.expr)
    counted = ("sum_over_time",) if of.scope.is_exported else ("rate", "increase")
    if kind(buckets) != "Call" or buckets.func.name not in counted or not isinstance(rank, Number):
        raise unsupported(node, "a quantile of other than the rates of buckets")
    series = ranged(inside, buckets)
    if not series.metric.endswith("_bucket") or any(match.tag == "le" for match in series.matchers):
        raise unsupported(node, "a quantile of other than the rates of buckets")
    timer = Selector(
        series.metric.removesuffix("_bucket"), series.matchers, series.window_seconds, series.offset_seconds
    )
    if not of.scope.is_exported:
        of.note(node, f"read off this engine's own histogram of {timer.metric}, if its samples are sent as a timer")
    return Vector(Aggregate("quantile", timer, (rank,)), None, group_by)


OVER_TIME: Final = {
    "avg_over_time": "avg",
    "min_over_time": "min",
    "max_over_time": "max",
    "sum_over_time": "sum",
    "count_over_time": "count",
    "stddev_over_time": "stddev",
    "changes": "changes",
}
CALLS: Final[dict[str, Callable[[Any, Any], Vector]]] = {
    **dict.fromkeys(OVER_TIME, over_time),
    "rate": counted,
    "increase": counted,
    "irate": irate,
    "delta": delta,
    "idelta": idelta,
    "deriv": deriv,
    "predict_linear": predict_linear,
    "last_over_time": last_over_time,
    "present_over_time": present_over_time,
    "absent": absent,
    "absent_over_time": absent_over_time,
    "abs": scalar_function,
    "ln": scalar_function,
    "sqrt": scalar_function,
    "log2": logarithm,
    "log10": logarithm,
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": clamp,
    "sort": same,
    "sort_desc": same,
    "vector": vector,
    "histogram_quantile": histogram_quantile,
}
WITHOUT: Final = {
    **dict.fromkeys(
        ("time", "timestamp", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month"),
        NO_CLOCK,
    ),
    **dict.fromkeys(("label_replace", "label_join", "info"), NO_LABELS),
    "quantile_over_time": "percentiles are of timers, histograms and distributions; a gauge has none here",
    "scalar": "a number of one series for all groups; a rule has one GROUP BY",
}

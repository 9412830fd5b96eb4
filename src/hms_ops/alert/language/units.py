"""Units of numbers and metrics: `200ms` against a metric in ms is 200, against one in seconds 0.2.

A metric's unit is what `engine.describe` said, else what its name ends in (`_ms`, `_seconds`, `_bytes`, …), else
milliseconds for a timer, which is what StatsD's `|ms` and the clients' `timing` send, else unknown: then a time counts
as written, which the linter says, and k, M, G, % and the binary units are multiplied out. All scales are exact
powers, and smaller ones divide (200 / 1000, never 200 × 0.001), so that no threshold is off by a rounding.
`unit_of` is the unit a calculation comes out in: the compiler, PromQL and the linter agree by it.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from hms_ops import kinds
from hms_ops.alert.language.functions import function_named
from hms_ops.alert.language.tree import Aggregate, Arith, Binary, Negative, Scalar, Selector

UnitLookup: TypeAlias = Callable[[str], str | None]


class Unit(NamedTuple):
    """What is measured, and how many of its base units (seconds, bytes, whole shares) one of this is."""

    dimension: str
    scale: Fraction


_TIMES: Final = {
    "ns": Unit("time", Fraction(1, 1_000_000_000)),
    "us": Unit("time", Fraction(1, 1_000_000)),
    "ms": Unit("time", Fraction(1, 1_000)),
    "s": Unit("time", Fraction(1)),
}
_SIZES: Final = {
    "B": Unit("size", Fraction(1)),
    "KiB": Unit("size", Fraction(1 << 10)),
    "MiB": Unit("size", Fraction(1 << 20)),
    "GiB": Unit("size", Fraction(1 << 30)),
}
_PERCENT: Final = Unit("share", Fraction(1, 100))
_PLAIN: Final = {"": Fraction(1), "k": Fraction(1000), "M": Fraction(1_000_000), "G": Fraction(1_000_000_000)}

TIME_UNITS: Final = tuple(_TIMES)
NUMBER_UNITS: Final = ("", *TIME_UNITS, "%", "k", "M", "G", "KiB", "MiB", "GiB")

METRIC_UNITS: Final[dict[str, Unit]] = {
    **_TIMES,
    **_SIZES,
    "%": _PERCENT,
    "percent": _PERCENT,
    "nanoseconds": _TIMES["ns"],
    "microseconds": _TIMES["us"],
    "milliseconds": _TIMES["ms"],
    "seconds": _TIMES["s"],
    "sec": _TIMES["s"],
    "bytes": _SIZES["B"],
    "byte": _SIZES["B"],
}
_ENDINGS: Final = {
    "ns": _TIMES["ns"],
    "us": _TIMES["us"],
    "ms": _TIMES["ms"],
    "s": _TIMES["s"],
    "seconds": _TIMES["s"],
    "bytes": _SIZES["B"],
    "percent": _PERCENT,
    "pct": _PERCENT,
}

_UNIT_NAMES: Final = {unit: name for name, unit in reversed(METRIC_UNITS.items())}


def metric_unit(metric: str, described: str | None) -> Unit | None:
    """The unit of a metric, from its description or its name's end; None when unknown."""
    if described:
        return METRIC_UNITS.get(described)
    _, joint, ending = metric.rpartition("_")
    return _ENDINGS.get(ending) if joint else None


def unit_said(metric: str, described: str | None, kind: int) -> str | None:
    """What `described` is to be for a metric of a kind, as far as anything is known of it."""
    if described or kind != kinds.TIMER or metric_unit(metric, None) is not None:
        return described or None
    return "ms"


def unit_name(unit: Unit | None) -> str:
    """A unit in the words of a description, "" for none."""
    return "" if unit is None else _UNIT_NAMES[unit]


def number_value(value: float, unit: str, against: Unit | None) -> float:
    """A number with its unit, counted in the unit it stands against. ValueError says which two do not fit."""
    if unit in _PLAIN:
        return _scaled(value, _PLAIN[unit])
    own = _TIMES.get(unit) or _SIZES.get(unit) or _PERCENT
    if against is None:
        return value if own.dimension == "time" else _scaled(value, own.scale)
    if own is _PERCENT and against.dimension != "share":
        return _scaled(value, own.scale)
    if own.dimension != against.dimension:
        raise ValueError(f"a {own.dimension} is compared with a {against.dimension}")
    return _scaled(value, own.scale / against.scale)


def _scaled(value: float, scale: Fraction) -> float:
    return value * scale.numerator / scale.denominator


def unit_of(node: Arith, described: UnitLookup) -> Unit | None:
    """The unit a calculation comes out in; None if it has none or nobody knows. described: units of metrics."""
    match node:
        case Selector(metric):
            return metric_unit(metric, described(metric))
        case Aggregate(function, series):
            known = function_named(function)
            return unit_of(series, described) if known and known.keeps_unit else None
        case Scalar(function, arguments):
            known = function_named(function)
            return unit_of(arguments[0], described) if known and known.keeps_unit else None
        case Negative(operand):
            return unit_of(operand, described)
        case Binary(operator, left, right):
            return _unit_of_binary(operator, unit_of(left, described), unit_of(right, described))
    return None


def _unit_of_binary(operator: str, left: Unit | None, right: Unit | None) -> Unit | None:
    if operator in ("+", "-", "%"):
        return left or right
    if operator == "/" and right:
        return None  # a ratio, or something per something
    return None if left and right else left or right

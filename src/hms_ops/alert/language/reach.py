"""Where a condition holds on the number line of one quantity: which values of it make a condition TRUE or FALSE.

    x > 200 AND y > 1     of x:   FALSE up to 200, above it depends on y
    x BETWEEN 1 AND 5     of x:   FALSE, TRUE from 1 to 5, FALSE

A condition changes only at the constants a quantity is compared with, so looking at these, between them and beyond
them (`places`) is looking at every value. `reach_of` says which values a quantity can have at all, where that is sure.
Read by the linter. Pure; units count as the compiler counts them. Not decided (None) is whatever another quantity, or
the absence of data, decides.
"""

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from hms_ops.alert.figure import SHARES
from hms_ops.alert.language.functions import percentile_rank
from hms_ops.alert.language.tree import (
    CONDITIONS,
    Aggregate,
    Arith,
    Between,
    Binary,
    Compare,
    Condition,
    Junction,
    Negative,
    Not,
    Number,
    Scalar,
    Selector,
    children,
)
from hms_ops.alert.language.units import Unit, UnitLookup, number_value, unit_of

Truth: TypeAlias = bool | None

_FLIPPED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "=", "!=": "!="}
_COUNTS: Final = ("count", "stddev", "changes")
_SAME_REACH: Final = ("avg", "min", "max", "first", "last", "moving_mean", "ewma", "quantile")
# Shares of a whole. Others in percent may well be more than 100: four busy cores are 400 %.
_OF_A_WHOLE: Final = re.compile(r"(^|[._:-])(used|free|full|idle|available)_(percent|pct)$")


class Reach(NamedTuple):
    """The values a quantity can have, both ends included."""

    low: float = -math.inf
    high: float = math.inf


class Line(NamedTuple):
    """One quantity, the unit its constants are counted in, and the values it can have."""

    quantity: Arith
    unit: Unit | None
    reach: Reach


def line_of(quantity: Arith, described: UnitLookup) -> Line:
    return Line(quantity, unit_of(quantity, described), reach_of(quantity))


def quantities(condition: Condition) -> list[Arith]:
    """What a condition compares with constants, each once."""
    found = (side for node in comparisons(condition) for side in _sides(node) if constant(side, None) is None)
    return list(dict.fromkeys(found))


def comparisons(condition: Condition) -> Iterator[Compare | Between]:
    """Every comparison in a condition, from left to right."""
    if isinstance(condition, Compare | Between):
        yield condition
        return
    for child in children(condition):
        if isinstance(child, CONDITIONS):
            yield from comparisons(child)


def _sides(node: Compare | Between) -> tuple[Arith, ...]:
    return (node.left, node.right) if isinstance(node, Compare) else (node.left, node.low, node.high)


def places(line: Line, *conditions: Condition) -> list[float]:
    """Values of the quantity, ascending, such that between two neighbours no condition changes."""
    low, high = line.reach
    found = {value for condition in conditions for value in _constants(condition, line)}
    inside = sorted(
        {value for value in found if low <= value <= high} | {end for end in line.reach if abs(end) < math.inf}
    )
    if not inside:
        return [0.0]
    between = [one + (other - one) / 2 for one, other in pairwise(inside)]
    below = [inside[0] - _apart(inside[0])] if low == -math.inf else []
    above = [inside[-1] + _apart(inside[-1])] if high == math.inf else []
    return sorted({*inside, *between, *below, *above})


def _apart(value: float) -> float:
    return max(1.0, abs(value))


def _constants(condition: Condition, line: Line) -> Iterator[float]:
    for node in comparisons(condition):
        sides = _sides(node)
        if line.quantity in sides:
            yield from (value for side in sides if (value := constant(side, line.unit)) is not None)


def truth_at(condition: Condition, line: Line, value: float) -> Truth:
    """TRUE, FALSE, or None where the quantity alone does not decide."""
    match condition:
        case Junction(operator, left, right):
            return _junction(operator, truth_at(left, line, value), truth_at(right, line, value))
        case Not(operand):
            return _not(truth_at(operand, line, value))
        case Compare(operator, left, right):
            if left == line.quantity:
                return _holds(operator, value, constant(right, line.unit))
            return _holds(_FLIPPED[operator], value, constant(left, line.unit)) if right == line.quantity else None
        case Between(left, low, high, negated) if left == line.quantity:
            above = _holds(">=", value, constant(low, line.unit))
            inside = _junction("AND", above, _holds("<=", value, constant(high, line.unit)))
            return _not(inside) if negated else inside
    return None


def _holds(operator: str, value: float, other: float | None) -> Truth:
    if other is None:
        return None
    return {
        ">": value > other,
        ">=": value >= other,
        "<": value < other,
        "<=": value <= other,
        "=": value == other,
        "!=": value != other,
    }[operator]


def _junction(operator: str, left: Truth, right: Truth) -> Truth:
    if operator == "OR":
        return _not(_junction("AND", _not(left), _not(right)))
    if operator == "UNLESS":
        right = _not(right)
    if left is False or right is False:
        return False
    return True if left and right else None


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth


def constant(node: Arith, against: Unit | None) -> float | None:
    """The number a calculation always is, None for one that depends on data or has no value."""
    match node:
        case Number(value, unit):
            try:
                return number_value(value, unit, against)
            except ValueError:  # the compiler refuses it
                return None
        case Negative(operand):
            inner = constant(operand, against)
            return None if inner is None else -inner
        case Binary(operator, left, right):
            one, other = constant(left, against), constant(right, against)
            return None if one is None or other is None else _calculated(operator, one, other)
    return None


def _calculated(operator: str, one: float, other: float) -> float | None:
    if operator in "/%" and other == 0:
        return None
    calculate = {
        "+": lambda: one + other,
        "-": lambda: one - other,
        "*": lambda: one * other,
        "/": lambda: one / other,
        "%": lambda: math.fmod(one, other),
    }
    found = calculate[operator]()
    return found if math.isfinite(found) else None


def reach_of(node: Arith) -> Reach:
    """The values a calculation can have, as far as that is sure."""
    match node:
        case Selector(metric) if _OF_A_WHOLE.search(metric):
            return Reach(0.0, 100.0)
        case Aggregate(function) if function in SHARES:
            return Reach(0.0, 1.0)
        case Aggregate(function) if function in _COUNTS:
            return Reach(low=0.0)
        case Aggregate(function, series) if function in _SAME_REACH or percentile_rank(function) is not None:
            return reach_of(series)
        case Scalar("abs" | "sqrt"):
            return Reach(low=0.0)
        case Scalar("clamp", (_, low, high)):
            ends = constant(low, None), constant(high, None)
            return Reach(-math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1])
    return Reach()

"""What cannot be believed while a window is not known all through: the readers in a condition that may be too low yet.

An engine that has just started, or was down for a while, has windows with a part that nobody watched. What is missing
there makes amounts smaller: `count(x) < 400` and `ABSENT(x)` are true of the hole, `count(x) > 400` is true whatever
was in it. `doubts` names the readers (aggregates, selectors, ABSENTs) that must be known all through before a condition
that is TRUE, or FALSE, may be believed; plan.py puts a KNOWN of each behind the comparison, which is NULL till then.

    growing   count sum increase changes stddev      too low by what is missing: `<` is in doubt, `>` is not
    fading    rate delta                             nearer to 0 by it: in doubt is what would hold at 0
    the rest  avg min max percentiles last …         estimates of what is known: never in doubt
    NULL      ABSENT(x), x IS NULL, coalesce(x, 0)   in doubt where it comes of nothing being seen

Two amounts of the same window miss the same part: their ratio, or one against the other, is an estimate again.
Pure functions of trees. Not here: which windows are known (machine.py).
"""

import operator
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from hms_ops.alert.language.tree import (
    Absent,
    Aggregate,
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
    Scalar,
    Selector,
    valued,
)

Reader: TypeAlias = Selector | Aggregate | Absent
Readers: TypeAlias = frozenset[Reader]
Counted: TypeAlias = Callable[[Number], float]  # a number in the unit of what it stands against
Counting: TypeAlias = Callable[[Compare | Between], Counted]  # where that is

_GROWING: Final = ("count", "sum", "increase", "changes", "stddev")
_FADING: Final = ("rate", "delta")
_NONE: Final[Readers] = frozenset()
_OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!=", "!=": "="}
_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
_SILENT: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}


class Moves(NamedTuple):
    """The readers by which a calculation may come out higher, and lower, once all of their windows is known."""

    up: Readers = _NONE
    down: Readers = _NONE

    def __or__(self, other: "Moves") -> "Moves":
        return Moves(self.up | other.up, self.down | other.down)

    def turned(self) -> "Moves":
        return Moves(self.down, self.up)


def doubts(node: Condition, counting: Counting, *, is_false: bool = False) -> Readers:
    """Those that must be known all through before `node` is believed to be TRUE (FALSE where `is_false`)."""
    match node:
        case Junction(op, left, right):
            turned = is_false != (op == "UNLESS")
            return doubts(left, counting, is_false=is_false) | doubts(right, counting, is_false=turned)
        case Not(operand):
            return doubts(operand, counting, is_false=not is_false)
        case Compare(op, left, right):
            return _of_compare(_OPPOSITE[op] if is_false else op, left, right, counting(node))
        case Between(left, low, high, negated):
            below, above = ("<", ">") if negated != is_false else (">=", "<=")
            counted = counting(node)
            return _of_compare(below, left, low, counted) | _of_compare(above, left, high, counted)
        case IsNull(operand, negated):
            return _NONE if negated != is_false else frozenset(_readers(operand))
        case Absent():
            return _NONE if is_false else frozenset({node})
    return _NONE


def _of_compare(op: str, left: Arith, right: Arith, counted: Counted) -> Readers:
    moved = _against(_moves(left, counted), _moves(right, counted))
    found = {"<": moved.up, "<=": moved.up, ">": moved.down, ">=": moved.down}.get(op, moved.up | moved.down)
    one, other = _silent(left, counted), _silent(right, counted)
    if one is None or other is None:
        return found
    readers = [*_readers(left), *_readers(right)]
    fading = frozenset(one for one in readers if isinstance(one, Aggregate) and one.function in _FADING)
    if _HOLDS[op](one, other):
        return found | fading | _replaced(left) | _replaced(right)
    return _NONE if op == "!=" else found - fading  # what differs from silence was seen


def _moves(node: Arith, counted: Counted) -> Moves:
    match node:
        case Aggregate(function, series):
            if function in _GROWING or function in _FADING:
                return Moves(frozenset({node}))
            inside = Moves() if isinstance(series, Selector) else _moves(series, counted)
            return Moves(frozenset({node}) if inside.up else _NONE, frozenset({node}) if inside.down else _NONE)
        case Negative(operand):
            return _moves(operand, counted).turned()
        case Binary(op, left, right):
            return _of_binary(op, left, right, counted)
        case Scalar(function, arguments):
            moved = Moves()
            for one in arguments:
                moved |= _moves(one, counted)
            return moved | moved.turned() if function == "abs" else moved
    return Moves()


def _of_binary(op: str, left: Arith, right: Arith, counted: Counted) -> Moves:
    one, other = _moves(left, counted), _moves(right, counted)
    if op == "+":
        return one | other
    if op == "-":  # what is left of an amount is an amount: it grows
        return Moves(one.up | other.down, one.down | _against(one, other).down)
    if op == "%":
        return one | other | one.turned() | other.turned()
    moved = one | other if op == "*" else _against(one, other)
    is_below = [value is not None and value < 0 for value in (_number(left, counted), _number(right, counted))]
    return moved.turned() if any(is_below) else moved


def _against(left: Moves, right: Moves) -> Moves:
    """Of left as it stands against right: what both lack of the same window does not count."""
    shared = {_span(one) for one in left.up} & {_span(one) for one in right.up}
    up, down = (frozenset(one for one in side if _span(one) not in shared) for side in (left.up, right.up))
    return Moves(up | right.down, left.down | down)


def _span(node: Reader) -> tuple[float | None, float | None] | str:
    """What is the same for amounts that lack the same; all rates are of one second."""
    if isinstance(node, Aggregate) and node.function == "rate":
        return "rate"
    of = node.series if isinstance(node, Aggregate) and isinstance(node.series, Selector) else node
    return (None, None) if isinstance(of, Absent) else (of.window_seconds, of.offset_seconds)


def _silent(node: Arith, counted: Counted) -> float | None:
    """What a calculation comes to when nothing was seen; None where that is NULL."""
    match node:
        case Number():
            return counted(node)
        case Negative(operand):
            value = _silent(operand, counted)
            return None if value is None else -value
        case Aggregate(function):
            return 0.0 if function in _GROWING or function in _FADING else None
        case Scalar("coalesce", arguments):
            return _silent(arguments[-1], counted)
        case Scalar("abs", (operand,)):
            value = _silent(operand, counted)
            return None if value is None else abs(value)
        case Binary(op, left, right):
            one, other = _silent(left, counted), _silent(right, counted)
            if one is None or other is None or (op in "/%" and other == 0):
                return None
            return _SILENT[op](one, other)
    return None


def _number(node: Arith, counted: Counted) -> float | None:
    return None if any(_readers(node)) else _silent(node, counted)


def _readers(node: Arith | Condition) -> Iterator[Reader]:
    """What is read for a calculation."""
    if isinstance(node, Selector | Aggregate | Absent):
        yield node
        return
    for child in valued(node):
        yield from _readers(child)


def _replaced(node: Arith | Condition) -> Readers:
    """The readers in whose place something else stands while they are NULL."""
    if isinstance(node, Scalar) and node.function == "coalesce":
        return frozenset(reader for one in node.arguments[:-1] for reader in _readers(one))
    return frozenset(reader for child in valued(node) for reader in _replaced(child))

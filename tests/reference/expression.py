"""The twin of the rule program: walks the tree over raw samples, one group at a time, with None for NULL.

Slow and obvious: no plans, no groups kept, no columns. Statistics of a group come from the twin of the windows, which
works from raw samples too. Units are not known here; the tests of units are tables.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.reference import windows

from hms_ops.alert import tree
from hms_ops.alert.tags import accepts

Key = tuple[tuple[str, str], ...]
OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "%": math.fmod,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    "=": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}


@dataclass
class World:
    """All samples there are: `samples[slot]` of the series (name, tags), and the kind of each metric by name."""

    series: list[tuple[str, dict[str, str]]]
    samples: windows.Samples
    kinds: dict[str, str]
    first_second: int
    end: int
    where: tree.Tags | None = None
    group_by: tuple[str, ...] = ()
    key: Key = field(default=())  # of the group that is looked at

    def group_of(self, tags: dict[str, str]) -> Key:
        if self.group_by == ("*",):
            return tuple(sorted(tags.items()))
        return tuple(sorted((tag, tags[tag]) for tag in self.group_by if tag in tags))

    def members(self, selector: tree.Selector) -> list[int]:
        test = accepts(selector.matchers, self.where)
        return [
            slot
            for slot, (name, tags) in enumerate(self.series)
            if name == selector.metric and (test is None or test(tags)) and self.group_of(tags) == self.key
        ]

    def stats(self, selector: tree.Selector) -> tuple[list[float], str, int]:
        """The eight statistics of the group, its kind, and the seconds covered."""
        seconds = int(selector.window_seconds or 60)
        start = windows.window_start(seconds, self.end, self.first_second)
        kind = self.kinds.get(selector.metric, "unknown")
        found = windows.stats(self.samples, self.members(selector), kind, start, self.end)
        return found, kind, max(0, self.end - start)


def keys_of(world: World, node: object) -> list[Key]:
    """The groups of all selectors under a node; the one group () without GROUP BY."""
    if not world.group_by:
        return [()]
    keys: dict[Key, None] = {}
    for selector in selectors_of(node):
        test = accepts(selector.matchers, world.where)
        for name, tags in world.series:
            if name == selector.metric and (test is None or test(tags)):
                keys[world.group_of(tags)] = None
    return list(keys)


def selectors_of(node: object) -> list[tree.Selector]:
    if isinstance(node, tree.Selector):
        return [node]
    if isinstance(node, tuple):
        return [selector for part in node for selector in selectors_of(part)]
    if hasattr(node, "__dataclass_fields__"):
        return selectors_of(tuple(getattr(node, name) for name in node.__dataclass_fields__))
    return []


def evaluate(world: World, node: object) -> dict[Key, float | bool | None]:
    """What a condition or calculation is in each group."""
    results = {}
    for key in keys_of(world, node):
        world.key = key
        results[key] = value(world, node)
    return results


def value(world: World, node: object) -> float | bool | None:
    match node:
        case tree.Number(number):
            return number
        case tree.Selector():
            return aggregate(world, "last", node)
        case tree.Aggregate(function, series):
            return aggregate(world, function, series)
        case tree.Scalar(function, arguments):
            return scalar(function, [value(world, argument) for argument in arguments])
        case tree.Negative(operand):
            inner = value(world, operand)
            return None if inner is None else -inner
        case tree.Binary(op, left, right):
            return both(OPERATIONS[op], value(world, left), value(world, right))
        case tree.Compare(op, left, right):
            return both(COMPARISONS[op], value(world, left), value(world, right))
        case tree.Between(left, low, high, negated):
            x = value(world, left)
            inside = conjunction(
                both(COMPARISONS[">="], x, value(world, low)), both(COMPARISONS["<="], x, value(world, high))
            )
            return negation(inside) if negated else inside
        case tree.IsNull(operand, negated):
            return (value(world, operand) is None) != negated
        case tree.Absent(series):
            return bool(world.stats(series)[0][0] == 0)
        case tree.Not(operand):
            return negation(value(world, operand))
        case tree.Junction(op, left, right):
            return junction(op, value(world, left), value(world, right))
    raise AssertionError(node)


def both(operation: Callable[[float, float], float], x: float | None, y: float | None) -> float | None:
    if x is None or y is None:
        return None
    try:
        result = operation(x, y)
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def negation(x: bool | None) -> bool | None:
    return None if x is None else not x


def conjunction(x: bool | None, y: bool | None) -> bool | None:
    if x is False or y is False:
        return False
    return None if x is None or y is None else True


def junction(op: str, x: bool | None, y: bool | None) -> bool | None:
    if op == "AND":
        return conjunction(x, y)
    if op == "OR":
        return negation(conjunction(negation(x), negation(y)))
    return conjunction(x, y is not True)


def scalar(function: str, numbers: Sequence[float | None]) -> float | None:
    if function == "coalesce":
        return next((x for x in numbers if x is not None), None)
    if None in numbers:
        return None
    x, *rest = numbers
    if function == "clamp":
        low, high = rest
        return None if low > high else min(max(x, low), high)
    if function == "abs":
        return abs(x)
    if function == "ln":
        return math.log(x) if x > 0 else None
    return math.sqrt(x) if x >= 0 else None


def distinct(world: World, selector: tree.Selector) -> float:
    start = windows.window_start(int(selector.window_seconds or 60), world.end, world.first_second)
    members = [
        windows.between(world.samples[slot], start, world.end)[:, 1].tolist() for slot in world.members(selector)
    ]
    return float(len({member for some in members for member in some}))


def aggregate(world: World, function: str, selector: tree.Selector) -> float | None:
    """One aggregate by the table of kinds in DESIGN."""
    stats, kind, covered = world.stats(selector)
    if kind == "set":
        return distinct(world, selector) if stats[7] else None
    count, total, m2, low, high, last, delta, seen = stats
    if not seen:
        return None
    is_silent = count == 0
    counted = {"counter": total, "gauge": delta, "unknown": delta}.get(kind, count)
    silent_gauge = is_silent and kind in ("gauge", "unknown")
    results = {
        "avg": None if is_silent else total / count,
        "moving_mean": None if is_silent else total / count,
        "min": None if is_silent else low,
        "max": None if is_silent else high,
        "stddev": None if is_silent else math.sqrt(m2 / count),
        "sum": None if is_silent and kind != "counter" else total,
        "increase": None if kind != "counter" else total,
        "delta": None if silent_gauge else delta,
        "count": None if silent_gauge else count,
        "rate": None if silent_gauge or covered == 0 else counted / covered,
        "last": last,
    }
    result = results[function]
    return None if result is None or math.isnan(result) else float(result)

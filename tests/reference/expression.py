"""The twin of the rule program: walks the tree over raw samples, one group at a time, with None for NULL.

Slow and obvious: no plans, no groups kept, no columns. Statistics of a group come from the twin of the windows, which
works from raw samples too. Units are not known here; the tests of units are tables.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.reference import windows

from hms_ops.alert.language import tree
from hms_ops.alert.language.tags import accepts

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
    span: tuple[int, int] | None = field(default=None, kw_only=True)  # the step that is looked at, instead of windows

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
        if self.span is not None:
            return self.span_stats(selector, *self.span)
        seconds = int(selector.window_seconds or 60)
        start = windows.window_start(seconds, self.end, self.first_second)
        kind = self.kinds.get(selector.metric, "unknown")
        found = windows.stats(self.samples, self.members(selector), kind, start, self.end)
        return found, kind, max(0, self.end - start)

    def span_stats(self, selector: tree.Selector, start: int, end: int) -> tuple[list[float], str, int]:
        """The same of a step: a counter's last is its mean second, a gauge changes from its last value before."""
        kind, members = self.kinds.get(selector.metric, "unknown"), self.members(selector)
        found = windows.stats(self.samples, members, "timer", start, end)
        found[7] = sum(bool((self.samples[m][:, 0] < self.end).any()) for m in members)
        if kind == "counter":
            found[5] = found[1] / (end - start)
        if kind in ("gauge", "unknown"):
            inside = [windows.between(self.samples[m], start, end) for m in members]
            changes = [one[-1, 1] - one[0, 1] for one in inside if len(one)]
            found[6] = sum(changes) if changes else math.nan
        return found, kind, end - start


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
        case tree.Selector() if node.offset_seconds and world.span is None:
            return stepped(world, "last", tree.Selector(node.metric, node.matchers), 300, node.offset_seconds)
        case tree.Selector():
            return aggregate(world, "last", node)
        case tree.Aggregate("first" | "ewma" | "zscore" | "changes" as function, tree.Selector() as series):
            bare = tree.Selector(series.metric, series.matchers)
            inner = tree.Aggregate("avg", bare) if function in ("ewma", "zscore") else bare
            return stepped(world, function, inner, series.window_seconds or 60, series.offset_seconds or 0, node)
        case tree.Aggregate(function, tree.Selector() as series) if series.offset_seconds and world.span is None:
            bare = tree.Selector(series.metric, series.matchers)
            fold = "last" if function == "last" else ""
            inner = bare if fold else tree.Aggregate(function, bare)
            return stepped(world, fold, inner, series.window_seconds or 60, series.offset_seconds)
        case tree.Aggregate(function, tree.Selector() as series):
            return aggregate(world, function, series)
        case tree.Aggregate(function, inner):
            return stepped(world, function, inner, node.window_seconds or 60, node.offset_seconds or 0, node)
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
        case tree.Absent(series) if series.offset_seconds and world.span is None:
            inner = tree.Absent(tree.Selector(series.metric, series.matchers))
            found = stepped(world, "", inner, series.window_seconds or 60, series.offset_seconds)
            return True if found is None else bool(found)
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


# ---- steps


def stepped(
    world: World, fold: str, inner: object, window: float, offset: float, node: tree.Aggregate | None = None
) -> float | None:
    """The fold of what `inner` is in each step of a window; without one there is one step."""
    spans = spans_of(fold, int(window), int(offset), world.end)
    before = world.span
    found = []
    for begin, stop in spans:
        world.span = max(begin, world.first_second), stop
        found.append(value(world, inner) if stop > world.first_second else None)
    world.span = before
    numbers = [(n, float(x)) for n, x in enumerate(found) if x is not None]
    return folded(fold, numbers, len(spans), spans[0][1] - spans[0][0] if spans else 1, node)


def spans_of(fold: str, window: int, offset: int, end: int) -> list[tuple[int, int]]:
    last, reach = end - offset, window + offset
    if fold:
        length = 1 if reach <= 60 else 10 if reach <= 600 else 60
        begin = (last - window) // length * length
    else:
        own = 1 if window <= 60 else 10 if window <= 600 else 60
        rounding = max(own, windows._stored_step(last - window, end))
        begin = (last - window) // rounding * rounding
        length = last - begin
    if offset:
        last -= last % windows._stored_step(last - 1, end)
    spans = []
    for at in range(begin, last, length):
        stop = at
        while stop < min(at + length, last):
            fits = [n for n in (60, 10, 1) if stop % n == 0 and stop + n <= min(at + length, last)]
            fits = [n for n in fits if n >= windows._stored_step(stop, end)]
            if not fits:
                break
            stop += fits[0]
        if stop > at:
            spans.append((at, stop))
    return spans


def folded(
    fold: str, numbers: list[tuple[int, float]], steps: int, length: int, node: tree.Aggregate | None
) -> float | None:
    """`numbers`: the steps that have a value, oldest first."""
    x = [value for _, value in numbers]
    if fold == "count":
        return float(len(x))
    if not x:
        return None
    mean = sum(x) / len(x)
    if fold == "zscore":
        rest = x[:-1]
        spread = math.sqrt(sum((v - sum(rest) / len(rest)) ** 2 for v in rest) / len(rest)) if len(rest) > 1 else 0.0
        return (x[-1] - sum(rest) / len(rest)) / spread if spread > 1e-9 else None
    if fold == "ewma":
        half = node.options[0].value.value if node is not None and node.options else None
        keeps = 0.5 ** (length / half) if half else 1 - 2 / (steps + 1)
        weights = [keeps ** (steps - 1 - n) for n, _ in numbers]
        return sum(w * v for w, v in zip(weights, x, strict=True)) / sum(weights)
    if fold == "rate":
        seconds = (numbers[-1][0] - numbers[0][0]) * length
        return (x[-1] - x[0]) / seconds if seconds else None
    parameter = node.parameters[0].value if node is not None and node.parameters else 0.0
    rank = float(fold[1:]) / 100 if fold.startswith("p") else parameter
    ordered = sorted(x)
    place = rank * (len(x) - 1)
    low = min(int(place), len(x) - 1) if 0 <= rank <= 1 else 0
    results = {
        "": x[-1],
        "avg": mean,
        "moving_mean": mean,
        "sum": sum(x),
        "min": min(x),
        "max": max(x),
        "stddev": math.sqrt(sum((v - mean) ** 2 for v in x) / len(x)),
        "first": x[0],
        "last": x[-1],
        "delta": x[-1] - x[0],
        "changes": float(sum(a != b for a, b in pairwise(x))),
        "share_gt": sum(v > parameter for v in x) / len(x),
        "share_le": sum(v <= parameter for v in x) / len(x),
    }
    if fold in results:
        return results[fold]
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(x) - 1)] - ordered[low])

"""How much rules ask of a rule set's limits, and which of them find room.

`Demand` is a running sum, so that a tick in which a series is born looks at the rules that read it and at no others.
Only when something does not fit are all rules looked at, first come first served, by `Room`. Threads: the tick's.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hms_ops.alert.layout import BoundRule
from hms_ops.alert.source import Source


class Limits(NamedTuple):
    """Of all rules together: instances, series read, series whose sketches are read, rows of series that views read."""

    instances: int
    pairs: int
    sketched: int
    cells: int


class Demand:
    """What the rules that have no problem need in all. problems: how many have one."""

    def __init__(self, rules: Iterable[BoundRule] = ()) -> None:
        self.problems = self.instances = self.pairs = 0
        self._special: dict[int, BoundRule] = {}  # those that need more than windows of columns
        for rule in rules:
            self.add(rule)

    def add(self, rule: BoundRule) -> None:
        self._count(rule, 1)
        if not rule.is_plain and not rule.problem:
            self._special[id(rule)] = rule

    def remove(self, rule: BoundRule) -> None:
        """Before the rule changes."""
        self._count(rule, -1)
        self._special.pop(id(rule), None)

    def _count(self, rule: BoundRule, sign: int) -> None:
        if rule.problem:
            self.problems += sign
        else:
            self.instances += sign * len(rule.instances)
            self.pairs += sign * rule.pairs

    def fits(self, limits: Limits) -> bool:
        """Whether there is room for all."""
        if self.instances > limits.instances or self.pairs > limits.pairs:
            return False
        sketched = {key: size for rule in self._special.values() for key, size in sketched_of(rule).items()}
        viewed = {key: cells for rule in self._special.values() for key, cells in viewed_of(rule).items()}
        return sum(sketched.values()) <= limits.sketched and sum(viewed.values()) <= limits.cells


class Room:
    """How much of a rule set's limits is taken."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: tuple[int, ...] = (0, 0, 0, 0)
        self._sketched: set[tuple[int, int]] = set()  # sources over windows, which rules share
        self._viewed: set[int] = set()

    def take(self, rule: BoundRule) -> str:
        """Take a rule's share, or nothing: then why there is no room for it."""
        sketched, viewed = sketched_of(rule), viewed_of(rule)
        fresh, new = sketched.keys() - self._sketched, viewed.keys() - self._viewed
        sketches, cells = sum(sketched[key] for key in fresh), sum(viewed[key] for key in new)
        needs = len(rule.instances), rule.pairs, sketches, cells
        taken = tuple(map(sum, zip(self._taken, needs, strict=True)))
        names = ("instances", "series", "series with percentiles", "rows of series in steps")
        for name, need, made, limit in zip(names, needs, taken, self._limits, strict=True):
            if made > limit:
                return f"its {need} {name} would make {made}; {limit} are allowed"
        self._taken = taken
        self._sketched |= fresh
        self._viewed |= new
        return ""


def sketched_of(rule: BoundRule) -> dict[tuple[int, int], int]:
    """Of the sources over windows whose sketches it reads, by what tells them apart: how many series."""
    return {
        (id(source), reading.window_seconds): len(source.member)
        for reading, source in zip(rule.plan.readings, rule.sources, strict=True)
        if reading.figure is not None
    }


def viewed_of(rule: BoundRule) -> dict[int, int]:
    """Of its views: how many rows of series each reads at a tick."""
    return {id(source): source.cells for source in rule.sources if not isinstance(source, Source)}

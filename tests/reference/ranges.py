"""The twin of queries over history: each point by itself, from raw samples, by the tree-walking twin of expressions.

Slow and obvious. What history can show is rows of 10 s, and of a minute where the step is one of minutes and the minute
is on disk. That is visible in two places: which sample is the last of several series (of one row: the last series by
tags), and where a gauge's change is counted from.
"""

import math
from dataclasses import dataclass

from tests.recording import Sample
from tests.reference import expression
from tests.reference.expression import Key

from hms_ops.alert.language import tree

KINDS = {"c": "counter", "g": "gauge", "ms": "timer"}
BASE_SECONDS = 300


@dataclass
class RangeWorld(expression.World):
    """One step [t, t + step) of a range that begins at `start`; all series are still alive."""

    given: tuple[Sample, ...] = ()
    start: int = 0
    t: int = 0
    step: int = 10
    sealed_end: int = 0
    minutes_end: int = 0

    def row(self, second: int) -> int:
        """Where the row begins that a second is in."""
        minute = second - second % 60
        return minute if self.step % 60 == 0 and minute + 60 <= self.minutes_end else second - second % 10

    def samples_of(self, slot: int, start: int, end: int) -> list[Sample]:
        name, tags = self.series[slot]
        return [s for s in self.given if s[1] == name and tags_of(s[2]) == tags and start <= s[0] < end]

    def stats(self, selector: tree.Selector) -> tuple[list[float], str, int]:
        """The eight statistics of the group in this step, its kind, and the seconds covered."""
        end = self.t + self.step
        kind = self.kinds.get(selector.metric, "unknown")
        covered = max(0, min(end, self.sealed_end) - max(self.t, self.first_second))
        members = sorted(self.members(selector), key=lambda slot: sorted(self.series[slot][1].items()))
        inside = [s for slot in members for s in self.samples_of(slot, self.t, end)]
        seen = any(self.is_seen(slot) for slot in members)
        if not inside:
            return (
                [0.0, 0.0, 0.0, *[math.nan] * 2, 0.0 if kind == "counter" else math.nan, math.nan, seen],
                kind,
                covered,
            )
        count = sum(s[5] for s in inside)
        total = sum(s[4] * s[5] for s in inside)
        m2 = sum(s[5] * (s[4] - total / count) ** 2 for s in inside)
        values = [s[4] for s in inside]
        last = total / covered if kind == "counter" and covered else self.last(members)
        return [count, total, m2, min(values), max(values), last, self.delta(members), seen], kind, covered

    def is_seen(self, slot: int) -> bool:
        """It had a sample in this range already; or all it had were before the range."""
        before = self.samples_of(slot, 0, self.sealed_end)
        in_range = [s for s in before if self.start <= s[0] < self.t + self.step]
        return bool(in_range) or bool(before and before[-1][0] < self.start)

    def last(self, members: list[int]) -> float:
        lasts = [found[-1] for slot in members if (found := self.samples_of(slot, self.t, self.t + self.step))]
        newest = max(self.row(s[0]) for s in lasts)
        return [s[4] for s in lasts if self.row(s[0]) == newest][-1]

    def delta(self, members: list[int]) -> float:
        total = 0.0
        for slot in members:
            inside = self.samples_of(slot, self.t, self.t + self.step)
            if inside:
                before = self.samples_of(slot, self.t - BASE_SECONDS, self.t)
                first = [s for s in inside if self.row(s[0]) == self.row(inside[0][0])]
                total += inside[-1][4] - (before or first)[-1][4]
        return total


def tags_of(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split(",")) if text else {}


def query_range(
    query: tree.Query,
    given: tuple[Sample, ...],
    first_second: int,
    sealed_end: int,
    start: int,
    end: int,
    step: int,
    minutes_end: int = 0,
) -> dict[Key, list[tuple[int, float]]]:
    """Points of each group that has a value; NaN where another group has one and this has none. minutes_end: up to
    where there are rows of a minute."""
    start -= start % step
    given = tuple(s for s in given if s[0] < sealed_end)
    series = sorted({(s[1], s[2]) for s in given})
    kinds = {s[1]: KINDS[s[3]] for s in given}
    is_bare = isinstance(query.expression, tree.Selector) and not query.group_by  # then it is per series
    group_by = ("*",) if is_bare else query.group_by
    found: dict[Key, dict[int, float]] = {}
    for t in range(start, min(end, sealed_end), step):
        world = RangeWorld(
            [(name, tags_of(tags)) for name, tags in series], {}, kinds, first_second, sealed_end,
            query.where, group_by, (), given, start, t, step, sealed_end, minutes_end,
        )  # fmt: skip
        for key, value in expression.evaluate(world, query.expression).items():
            found.setdefault(key, {})[t] = math.nan if value is None else float(value)
    times = sorted({t for points in found.values() for t, value in points.items() if not math.isnan(value)})
    return {
        key: [(t, points[t]) for t in times]
        for key, points in found.items()
        if any(not math.isnan(value) for value in points.values())
    }

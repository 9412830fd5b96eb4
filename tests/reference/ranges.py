"""The twin of queries over history: each point by itself, from raw samples, by the tree-walking twin of expressions.

Slow and obvious. What history can show is rows of 10 s, and of a minute where the step is one of minutes and the minute
is on disk. That is visible in two places: which sample is the last of several series (of one row: the last series by
tags), and where a gauge's change is counted from.

An aggregate with a window covers the window that ends with the step. Its begin is rounded down to a second, 10 s or a
minute as that of rules is, or to the rows that are kept (`kept`); a gauge keeps its last value for 300 s.
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
    """One step [t, t + step) of a range that begins at `start`; all series are still alive. kept: how long the rows are
    that there are of the range and its windows."""

    given: tuple[Sample, ...] = ()
    start: int = 0
    t: int = 0
    step: int = 10
    sealed_end: int = 0
    minutes_end: int = 0
    kept: int = 10

    def row(self, second: int, row_seconds: int = 0) -> int:
        """Where the row begins that a second is in."""
        minute = second - second % 60
        is_minute = (row_seconds or self.step) % 60 == 0 and minute + 60 <= self.minutes_end
        return minute if is_minute else second - second % 10

    def samples_of(self, slot: int, start: int, end: int) -> list[Sample]:
        name, tags = self.series[slot]
        return [s for s in self.given if s[1] == name and tags_of(s[2]) == tags and start <= s[0] < end]

    def window(self, selector: tree.Selector, end: int) -> tuple[int, int]:
        """(where the window that ends before `end` begins, how long its rows are at most)."""
        seconds = int(selector.window_seconds or 0)
        grain = max(1 if seconds <= 60 else 10 if seconds <= 600 else 60, self.kept)
        is_by_minute = self.step % 60 == 0 and (seconds % 60 == 0 or grain % 60 == 0)
        return (end - seconds) // grain * grain, 60 if is_by_minute else 10

    def stats(self, selector: tree.Selector) -> tuple[list[float], str, int]:
        """The eight statistics of the group in this step or window, its kind, and the seconds covered."""
        begin, end = self.t, self.t + self.step
        is_step, row = selector.window_seconds is None, self.step
        if not is_step:
            begin, row = self.window(selector, end)
        since = self.start if is_step else self.window(selector, self.start + self.step)[0]
        kind = self.kinds.get(selector.metric, "unknown")
        covered = max(0, min(end, self.sealed_end) - max(begin, self.first_second))
        members = sorted(self.members(selector), key=lambda slot: sorted(self.series[slot][1].items()))
        inside = [s for slot in members for s in self.samples_of(slot, begin, end)]
        seen = any(self.is_seen(slot, since) for slot in members)
        last = self.last(members, kind, begin if is_step else end - BASE_SECONDS, begin, row)
        if kind == "counter":
            counted = begin if is_step else end - row
            total = sum(s[4] * s[5] for slot in members for s in self.samples_of(slot, counted, end))
            seconds = max(0, min(end, self.sealed_end) - max(counted, self.first_second))
            last = total / seconds if seconds else math.nan
        if not inside:
            return [0.0, 0.0, 0.0, *[math.nan] * 2, last, math.nan, seen], kind, covered
        count = sum(s[5] for s in inside)
        total = sum(s[4] * s[5] for s in inside)
        m2 = sum(s[5] * (s[4] - total / count) ** 2 for s in inside)
        values = [s[4] for s in inside]
        held = begin if is_step else end - BASE_SECONDS
        delta = self.delta(members, begin, held, row)
        return [count, total, m2, min(values), max(values), last, delta, seen], kind, covered

    def is_seen(self, slot: int, since: int) -> bool:
        """It had a sample in this range already; or all it had were before the range."""
        before = self.samples_of(slot, 0, self.sealed_end)
        in_range = [s for s in before if since <= s[0] < self.t + self.step]
        return bool(in_range) or bool(before and before[-1][0] < since)

    def last(self, members: list[int], kind: str, held: int, begin: int, row: int) -> float:
        """Of the newest row: of a gauge since `held`, of others since `begin`."""
        since = held if kind == "gauge" else begin
        lasts = [found[-1] for slot in members if (found := self.samples_of(slot, since, self.t + self.step))]
        newest = max((self.row(s[0], row) for s in lasts), default=0)
        return [math.nan, *(s[4] for s in lasts if self.row(s[0], row) == newest)][-1]

    def delta(self, members: list[int], begin: int, held: int, row: int) -> float:
        """Of each that has a value since `held` its last in the window less the one before, or less the first's row."""
        changes = []
        for slot in members:
            inside = self.samples_of(slot, begin, self.t + self.step)
            if self.samples_of(slot, held, self.t + self.step):
                before = self.samples_of(slot, begin - BASE_SECONDS, begin)
                first = [s for s in inside if self.row(s[0], row) == self.row(inside[0][0], row)]
                changes.append(inside[-1][4] - (before or first)[-1][4] if inside else 0.0)
        return sum(changes) if changes else math.nan


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
    kept: int = 10,
) -> dict[Key, list[tuple[int, float]]]:
    """Points of each group that has a value; NaN where another group has one and this has none. minutes_end: up to
    where there are rows of a minute. The step that is not over has no point where a sum, a count or a change is asked
    for, nor where windows are, which are the value now."""
    start -= start % step
    given = tuple(s for s in given if s[0] < sealed_end)
    series = sorted({(s[1], s[2]) for s in given})
    kinds = {s[1]: KINDS[s[3]] for s in given}
    is_bare = isinstance(query.expression, tree.Selector) and not query.group_by  # then it is per series
    group_by = ("*",) if is_bare else query.group_by
    found: dict[Key, dict[int, float]] = {}
    whole_end = sealed_end - sealed_end % step if is_about_whole_steps(query.expression) else sealed_end
    for t in range(start, min(end, whole_end), step):
        world = RangeWorld(
            [(name, tags_of(tags)) for name, tags in series], {}, kinds, first_second, sealed_end,
            query.where, group_by, (), given, start, t, step, sealed_end, minutes_end, kept,
        )  # fmt: skip
        for key, value in expression.evaluate(world, query.expression).items():
            found.setdefault(key, {})[t] = math.nan if value is None else float(value)
    times = sorted({t for points in found.values() for t, value in points.items() if not math.isnan(value)})
    return {
        key: [(t, points[t]) for t in times]
        for key, points in found.items()
        if any(not math.isnan(value) for value in points.values())
    }


def is_about_whole_steps(node: object) -> bool:
    """Whether what it says of a step is not true before the step is over."""
    if any(selector.window_seconds is not None for selector in expression.selectors_of(node)):
        return True
    if isinstance(node, tree.Aggregate | tree.Absent):
        return isinstance(node, tree.Absent) or node.function in ("sum", "increase", "count", "delta")
    parts = node if isinstance(node, tuple) else (getattr(node, name) for name in getattr(node, "__slots__", ()))
    return any(is_about_whole_steps(part) for part in parts if not isinstance(part, str))

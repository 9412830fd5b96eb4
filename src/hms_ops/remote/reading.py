"""Queries asked of a remote: an expression as PromQL over its query API, answered in the shape of /v1/query.

    avg(finance.api_ms) GROUP BY agency, [start, end) by 60 s  ──lower──►  GET …/api/v1/query_range  ──►  points at t
                                                                           over (t, t + 60 s]

A point at t covers [t, t + step), as a point of local history does, so what the remote has for t + step stands at t.
The remote's steps are those of the tier sent: a finer step is refused. Labels come back as tags under their names
outside, but GROUP BY's, which come back as they were written.

Errors: ExpressionError for a wrong expression, ValueError for one PromQL cannot say or a range that cannot be,
RemoteError when the remote does not answer, or not with a range. Threads: any; a query has a connection of its own.
Limits: ANSWER_BYTES_MAX, and those of local queries on points and series.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from hms_ops import kinds
from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.language.tree import GROUP_BY_ALL, Query, selectors
from hms_ops.alert.plan import UnitLookup, no_units
from hms_ops.errors import RemoteError
from hms_ops.remote.labels import NAME, outer_tag
from hms_ops.remote.link import Link
from hms_ops.remote.lower import lower_query
from hms_ops.remote.matchers import Alternative, quoted
from hms_ops.remote.promql import NO_KIND, Outside
from hms_ops.remote.settings import RemoteConfig
from hms_ops.storage.tier import TIERS

POINTS_MAX: Final = 11_000
DEFAULT_POINTS: Final = 1_000
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
NOW_STEPS: Final = 5  # how far back the newest point is looked for

Points = list[tuple[int, float | None]]


def guessed_kind(metric: str) -> int:
    """The kind of a metric that nothing is known of: as the engine infers one without a kind."""
    return kinds.TIMER if metric.endswith("_ms") else NO_KIND


class RemoteReading:
    """The query side of one remote. kind: of a metric, NO_KIND when unknown."""

    def __init__(
        self, config: RemoteConfig, kind: Callable[[str], int] = guessed_kind, unit: UnitLookup = no_units
    ) -> None:
        self.config = config
        self._kind = kind
        self._unit = unit
        self._step = TIERS[config.tier_number].step_seconds

    def query(self, expr: str, start: float | None, end: float, step: float | None) -> dict[str, Any]:
        """The answer over [start, end) by `step`, Unix seconds, start rounded down to it; without start the newest
        whole step before `end`."""
        if start is None:
            if step is not None:
                raise ValueError("step needs a start: without one, a query answers the value now")
            newest = int(end) // self._step * self._step
            found = self.series(expr, newest - NOW_STEPS * self._step, newest, self._step)
            series = [(metric, tags, points[-1:]) for metric, tags, points in found]
            return shaped(expr, self._step, series)
        seconds = self._checked_step(start, end, step)
        first = math.floor(start) // seconds * seconds
        last = -(-math.ceil(end) // seconds) * seconds
        return shaped(expr, seconds, self.series(expr, first, last, seconds))

    def series(
        self, expr: str, start: int, end: int, step: int, only_own: bool = False
    ) -> list[tuple[str, dict[str, str], Points]]:
        """(metric, tags, points) of each series with a point in [start, end), both multiples of `step`. only_own: just
        what this engine sent, without its fixed labels."""
        query = parse_query(expr)
        fixed = self.config.fixed_labels() if only_own else {}
        more: Alternative = tuple(f"{outer_tag(name)}={quoted(value)}" for name, value in fixed.items())
        lowered = lower_query(
            query, Outside(self._step, self.config.dotted_names, self._kind, self._unit, more, over_seconds=step)
        )
        if not lowered.is_possible:
            raise ValueError(f"the remote cannot answer {expr!r}: {lowered.grade}")
        if start >= end:
            return []
        asked = {"query": lowered.promql, "start": start + step, "end": end, "step": step, "nocache": 1}
        result = self._ask("/api/v1/query_range?" + urlencode({**asked, "latency_offset": "1ms"}))
        metric = metric_of(query)
        rows = [(metric, tags_of(one["metric"], query, fixed), points_of(one["values"], step)) for one in result]
        return sorted(rows, key=lambda row: sorted(row[1].items()))

    def _checked_step(self, start: float, end: float, step: float | None) -> int:
        if start >= end:
            raise ValueError(f"the range from {start:.0f} to {end:.0f} is empty")
        if step is None:
            step = self._step * max(1, math.ceil((end - start) / (self._step * DEFAULT_POINTS)))
        if step != int(step) or int(step) % self._step or step < 1:
            raise ValueError(f"step is {step:g} s; the remote has steps of {self._step} s: ask for a multiple")
        if (end - start) / step > POINTS_MAX:
            raise ValueError(f"more than {POINTS_MAX} points are asked for: ask for a longer step or a shorter range")
        return int(step)

    def _ask(self, path: str) -> list[dict[str, Any]]:
        link = Link(self.config.query_base(), self.config.request_headers(), self.config.timeout_seconds)
        try:
            answer, content = link.get(path, ANSWER_BYTES_MAX)
        finally:
            link.close()
        if not answer.is_success:
            raise RemoteError(f"{self.config} does not answer: {answer}")
        try:
            document = json.loads(content)
            result = document["data"]["result"]
            assert document["data"]["resultType"] == "matrix"
        except (ValueError, KeyError, TypeError, AssertionError):
            raise RemoteError(f"{self.config} answers no range of PromQL, but {answer}") from None
        return list(result)


def metric_of(query: Query) -> str:
    """The metric of the expression, as local answers name it: the expression itself unless there is just one."""
    metrics = {series.metric for series in selectors(query.expression)}
    return metrics.pop() if len(metrics) == 1 else query.text


def tags_of(labels: dict[str, str], query: Query, fixed: dict[str, str]) -> dict[str, str]:
    """The tags of an answer: GROUP BY's under the names they were asked by, an absent one empty; else the labels."""
    if query.group_by and query.group_by != GROUP_BY_ALL:
        return {tag: labels.get(outer_tag(tag), "") for tag in query.group_by}
    return {name: value for name, value in labels.items() if name != NAME and name not in fixed}


def points_of(values: list[list[Any]], step: int) -> Points:
    """[[t + step, "text"], …] as points at t; what is no number is NULL."""
    return [(int(time) - step, number if math.isfinite(number := float(text)) else None) for time, text in values]


def shaped(expr: str, step: int, series: list[tuple[str, dict[str, str], Points]]) -> dict[str, Any]:
    """The answer; every series has a point wherever any has."""
    times = sorted({t for _, _, points in series for t, _ in points})
    made = []
    for metric, tags, points in series:
        known = dict(points)
        made.append({"metric": metric, "tags": tags, "points": [[t, known.get(t)] for t in times]})
    return {"expr": expr, "step": step, "series": made}

"""Aggregates over a window as PromQL: what each function of the language reads of the series that were sent.

Used by lower.py, one `Aggregates` for each expression; it gathers the `notes` of what is only approximate. Which fields
there are and what is in them: encode.py. What is silent counts as the engine has it (the table of kinds, DESIGN).
Errors: Impossible.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hms_ops import kinds
from hms_ops.alert.language.functions import function_named, percentile_rank
from hms_ops.alert.language.tree import GROUP_BY_ALL, Aggregate, Selector, Tags
from hms_ops.alert.language.units import metric_unit, number_value
from hms_ops.remote.encode import SKETCHED, bound_text, bounds_of
from hms_ops.remote.labels import LE, outer_metric, outer_tag
from hms_ops.remote.matchers import Impossible, alternatives, quoted
from hms_ops.remote.promql import NO_KIND, Outside, inside, selector_text, text_of

LAST_SECONDS: Final = 300  # how long a gauge keeps its last value, and how far back a delta looks
SEEN_SECONDS: Final = 3_900  # how long a silent series is remembered: as long as the engine's memory keeps it

SILENT: Final = f"a silent series counts 0 for {SEEN_SECONDS // 60} min after its last sample"
NO_BUCKETS: Final = "the tier 10s sends no buckets; percentiles need the tier 1m or 1h"


@dataclass(slots=True)
class Aggregates:
    """The aggregates of one expression: its WHERE and GROUP BY, and the window of those without one."""

    where: Tags | None
    group_by: tuple[str, ...]
    outside: Outside
    window_seconds: int
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes[text] = None

    def seen(self, series: Selector | None) -> str:
        """A vector with every group that is known: seen lately."""
        if series is None:
            raise Impossible("which groups there are is not known")
        self.note(f"groups are those seen within {SEEN_SECONDS // 60} min")
        return self.pooled("sum", self.rolled("count_over_time", series, "count", SEEN_SECONDS))

    def aggregate(self, node: Aggregate) -> str:
        function = function_named(node.function)
        assert function is not None  # the grammar knows no other
        if function.is_fold or node.function == "burn_rate":
            raise Impossible(f"{node.function} is evaluated by the engine")
        if not isinstance(node.series, Selector):
            raise Impossible(f"{node.function} reads one metric, not a calculation")
        series, kind = node.series, self.outside.kind(node.series.metric)
        if kind == kinds.SET:
            raise Impossible(f"{series.metric} is a set; its members are not sent")
        if (rank := self.rank_of(node)) is not None:
            return self.percentile(series, kind, rank)
        if node.function in ("share_le", "share_gt"):
            return self.share(node, series, kind)
        made = _AGGREGATES.get(node.function)
        if made is None:
            raise Impossible("the deviation within steps is not sent" if node.function == "stddev" else node.function)
        return made(self, series, kind)

    def rank_of(self, node: Aggregate) -> float | None:
        if node.function == "quantile":
            return node.parameters[0].value
        return percentile_rank(node.function)

    def average(self, series: Selector, kind: int) -> str:
        return f"{inside(self.total(series, 'sum'))} / {inside(self.total(series, 'count'))}"

    def extreme(self, series: Selector, name: str) -> str:
        return self.pooled(name, self.rolled(f"{name}_over_time", series, name))

    def sum(self, series: Selector, kind: int) -> str:
        total = self.total(series, "sum")
        return self.or_silent(total, series) if kind == kinds.COUNTER else total

    def count(self, series: Selector, kind: int) -> str:
        total = self.total(series, "count")
        return total if kind in (kinds.GAUGE, kinds.UNKNOWN) else self.or_silent(total, series)

    def rate(self, series: Selector, kind: int) -> str:
        if kind in (kinds.GAUGE, kinds.UNKNOWN):
            of = self.delta(series, kind)
        elif kind in SKETCHED:
            of = self.count(series, kind)
        else:
            if kind == NO_KIND:
                self.note(f"{series.metric} is taken for a counter")
            of = self.sum(series, kinds.COUNTER)
        return f"{inside(of)} / {self.window(series)}"

    def delta(self, series: Selector, kind: int) -> str:
        self.note(f"a series that was silent for {LAST_SECONDS} s before the window has no delta")
        now = self.rolled("last_over_time", series, "last")
        offset = self.window(series) + (series.offset_seconds or 0.0)
        before = self.rolled("last_over_time", series, "last", LAST_SECONDS, offset)
        return self.pooled("sum", f"{inside(now)} - {inside(before)}")

    def last(self, series: Selector, kind: int | None = None) -> str:
        kind = self.outside.kind(series.metric) if kind is None else kind
        if kind == kinds.SET:
            raise Impossible(f"{series.metric} is a set; its members are not sent")
        if kind == kinds.COUNTER:
            if self.outside.over_seconds is None:
                self.note("a counter's last is the mean second of its last step")
            over = self.outside.over_seconds if series.window_seconds is None else None
            seconds = over or self.outside.step_seconds
            return f"{inside(self.or_silent(self.total(series, 'sum', seconds), series))} / {seconds}"
        if self.group_by != GROUP_BY_ALL:
            self.note("of several series the greatest last value, not the newest")
        is_gauge = kind not in SKETCHED and (self.outside.over_seconds is None or series.window_seconds is not None)
        seconds = max(LAST_SECONDS, self.outside.step_seconds) if is_gauge else self.window(series)
        return self.pooled("max", self.rolled("last_over_time", series, "last", seconds))

    def percentile(self, series: Selector, kind: int, rank: float) -> str:
        self.check_buckets(series, kind)
        self.note("read off the buckets sent, which are half powers of two for times")
        buckets = self.rolled("sum_over_time", series, "bucket")
        return f"histogram_quantile({text_of(rank)}, {self.pooled('sum', buckets, LE)})"

    def share(self, node: Aggregate, series: Selector, kind: int) -> str:
        self.check_buckets(series, kind)
        threshold = node.parameters[0]
        limit = number_value(
            threshold.value, threshold.unit, metric_unit(series.metric, self.outside.unit(series.metric))
        )
        bounds = bounds_of(series.metric, self.outside.unit(series.metric))
        below = self.below(series, bounds, limit)
        share = f"{inside(below)} / {inside(self.at_most(series, '+Inf'))}"
        return f"1 - {share}" if node.function == "share_gt" else share

    def below(self, series: Selector, bounds: tuple[float, ...], limit: float) -> str:
        """How many samples are at most `limit`: a bucket, or between two."""
        if limit in bounds:
            return self.at_most(series, bound_text(limit))
        self.note("interpolated between the buckets sent")
        upper = next((n for n, bound in enumerate(bounds) if bound > limit), len(bounds))
        if not 0 < upper < len(bounds):
            raise Impossible(f"{limit:g} is beyond the buckets sent, {bounds[0]:g} to {bounds[-1]:g}")
        low, high = bounds[upper - 1], bounds[upper]
        part = (limit - low) / (high - low)
        one, other = (self.at_most(series, bound_text(bound)) for bound in (low, high))
        return f"{inside(one)} * {text_of(1 - part)} + {inside(other)} * {text_of(part)}"

    def at_most(self, series: Selector, bound: str) -> str:
        return self.pooled(
            "sum", self.rolled("sum_over_time", series, "bucket", extra=f"{LE}={quoted(bound)}", drop=LE)
        )

    def check_buckets(self, series: Selector, kind: int) -> None:
        if kind not in (*SKETCHED, NO_KIND):
            raise Impossible(f"{series.metric} is a {kinds.NAMES[kind]}; buckets are sent for timers and their like")
        if self.outside.step_seconds < 60:
            raise Impossible(NO_BUCKETS)

    # ---- selectors

    def total(self, series: Selector, name: str, seconds: float | None = None) -> str:
        return self.pooled("sum", self.rolled("sum_over_time", series, name, seconds))

    def or_silent(self, total: str, series: Selector) -> str:
        """0 where nothing came lately."""
        self.note(SILENT)
        seen = self.pooled("sum", self.rolled("count_over_time", series, "count", SEEN_SECONDS))
        return f"{inside(total)} or {inside(seen)} * 0"

    def pooled(self, operator: str, vector: str, *labels: str) -> str:
        if self.group_by == GROUP_BY_ALL:
            return vector
        by = ", ".join([*labels, *map(outer_tag, self.group_by)])
        return f"{operator} by ({by}) ({vector})" if by else f"{operator}({vector})"

    def rolled(
        self,
        function: str,
        series: Selector,
        name: str,
        seconds: float | None = None,
        offset: float | None = None,
        extra: str = "",
        drop: str = "",
    ) -> str:
        """A function over the window of the series' samples of one field."""
        window = self.window(series) if seconds is None else int(seconds)
        back = (series.offset_seconds or 0.0) if offset is None else offset
        behind = f"[{window}s]" + (f" offset {int(back)}s" if back else "")
        metric = f"{outer_metric(series.metric, self.outside.keeps_dots)}_{name}"
        chosen = alternatives(series.matchers, self.where, (*self.outside.more, *([extra] if extra else ())))
        text = " or ".join(f"{function}({selector_text(metric, labels)}{behind})" for labels in chosen)
        if drop and self.group_by == GROUP_BY_ALL:
            text = f"sum without ({drop}) ({text})"
        return f"({text})" if len(chosen) > 1 else text

    def window(self, series: Selector) -> int:
        """Whole steps, as many as hold the window; without one a query's step."""
        if self.outside.over_seconds is not None and series.window_seconds is None:
            return self.outside.over_seconds
        seconds = self.window_seconds if series.window_seconds is None else series.window_seconds
        step = self.outside.step_seconds
        whole = max(1, math.ceil(seconds / step)) * step
        if whole != seconds:
            self.note(f"a window of {seconds:g} s is made {whole} s: steps sent are of {step} s")
        return whole


_AGGREGATES: Final[dict[str, Callable[[Aggregates, Selector, int], str]]] = {
    "avg": Aggregates.average,
    "moving_mean": Aggregates.average,
    "min": lambda of, series, kind: of.extreme(series, "min"),
    "max": lambda of, series, kind: of.extreme(series, "max"),
    "sum": Aggregates.sum,
    "increase": lambda of, series, kind: of.sum(series, kinds.COUNTER),
    "count": Aggregates.count,
    "rate": Aggregates.rate,
    "delta": Aggregates.delta,
    "last": Aggregates.last,
}

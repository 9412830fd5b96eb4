"""What there is, counted: metrics with their series, a metric's tags with their values, and what makes series many.

Asked by `/v1/metrics`, `/v1/tags`, `/v1/cardinality`, and through the last one by doctor. Metrics and tags are those
that memory or disk knows; series are counted of memory, where the limit is. Reading the tags of all series takes some
3 µs each (0.3 s for 100,000), so that count is kept until the series change, and even then for REST times what it took:
whoever asks again and again has a ninth of a core at most.

Threads: any; two at once would count twice and keep the later one. Errors: StorageError when the disk fails,
UnknownMetricError for the tags of a metric that nobody has sent.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.language.units import metric_unit, unit_name, unit_said
from hms_ops.clock import steady_ns
from hms_ops.errors import UnknownMetricError
from hms_ops.past import Past
from hms_ops.stream.pooling import distinct_in, pool

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Description

REST: Final = 8
VALUES_LISTED: Final = 100  # of a tag
SETS_MAX: Final = 500  # that are estimated for one answer; what is beyond has no value
OVERFLOW_TAG: Final = "__overflow__"
NOTHING: Final[dict[str, Any]] = {"kind": kinds.UNKNOWN, "unit": "", "help": ""}


class Metric(TypedDict):
    """A metric as it is listed. series: how many are in memory; value: of the last sealed second, None without one."""

    metric: str
    kind: str
    unit: str
    help: str
    series: int
    rule: bool
    value: float | None


class Tag(TypedDict):
    """A tag of one metric: how many values it has, and the first of them by name."""

    tag: str
    values: list[str]
    count: int


class TagCount(TypedDict):
    """How many values a tag has among the series of one metric."""

    tag: str
    values: int


class MetricCount(TypedDict):
    """How many series a metric has in memory, and its tags, those with most values first."""

    metric: str
    series: int
    tags: list[TagCount]


class TagSpread(TypedDict):
    """How many values a tag has over all metrics, and how many series bear it."""

    tag: str
    values: int
    series: int


class Cardinality(TypedDict):
    """series: in memory, the limit's are the same; overflowed: samples that found no room for a series of their own.
    metrics, tags: those with most series and with most values first."""

    series: int
    limit: int
    overflowed: int
    metrics: list[MetricCount]
    tags: list[TagSpread]


@dataclass(frozen=True, slots=True)
class Counted:
    """The series of one moment. changes: how many the store had seen come and go; good_until_ns: on the steady clock,
    whatever comes and goes meanwhile."""

    changes: int
    good_until_ns: int
    series: int
    metrics: list[MetricCount]
    tags: list[TagSpread]


class Census:
    """Looks at one engine's store and catalogue; keeps nothing but the last count."""

    def __init__(
        self,
        store: Store,
        past: Past,
        described: "Callable[[], Mapping[str, Description]]",
        told: Callable[[str], str],
        rules: Callable[[], frozenset[str]],
    ) -> None:
        """described: kind, unit and help of metrics as the catalogue has them; told: the unit that this run was told.
        rules: the names of gauges that rules publish."""
        self._store = store
        self._past = past
        self._described = described
        self._told = told
        self._rules = rules
        self._counted: Counted | None = None

    def metrics(self, prefix: str, limit: int) -> tuple[list[Metric], bool]:
        """(those that begin with `prefix`, by name, at most `limit`; whether that is all of them)."""
        names = self._past.metrics()
        begin = bisect_left(names, prefix)
        found = [name for name in islice(names, begin, begin + limit + 1) if name.startswith(prefix)]
        chosen, described, rules = found[:limit], self._described(), self._rules()
        slots = [self._store.slots(name) for name in chosen]
        kind = [self._kind(name, described) for name in chosen]
        values = values_of(self._store, slots, kind, [name in rules for name in chosen])
        listed = [
            Metric(
                metric=name,
                kind=kinds.NAMES[kind[place]],
                unit=self._unit(name, described, kind[place]),
                help=described.get(name, NOTHING)["help"],
                series=len(slots[place]),
                rule=name in rules,
                value=values[place],
            )
            for place, name in enumerate(chosen)
        ]
        return listed, len(found) <= limit

    def _unit(self, name: str, described: "Mapping[str, Description]", kind: int) -> str:
        said = described.get(name, NOTHING)["unit"] or self._told(name)
        return unit_said(name, said, kind) or unit_by_name(name)

    def tags(self, metric: str) -> list[Tag]:
        """The metric's tags by name, of all series that memory or disk knows."""
        values: dict[str, set[str]] = {}
        series = self._past.series(metric)
        if not series:
            self._check_known(metric)
        for info in series:
            for tag, value in info.tags.items():
                values.setdefault(tag, set()).add(value)
        return [
            Tag(tag=tag, values=sorted(found)[:VALUES_LISTED], count=len(found))
            for tag, found in sorted(values.items())
            if tag != OVERFLOW_TAG
        ]

    def cardinality(self, limit: int) -> Cardinality:
        """Of metrics, of tags and of each metric's tags the `limit` largest."""
        counted = self._count()
        return Cardinality(
            series=counted.series,
            limit=self._store.series_max,
            overflowed=self._store.counters()["overflow_samples"],
            metrics=[MetricCount(**{**one, "tags": one["tags"][:limit]}) for one in counted.metrics[:limit]],
            tags=counted.tags[:limit],
        )

    def _kind(self, name: str, described: "Mapping[str, Description]") -> int:
        kind: int = self._store.metric_kind(name) or described.get(name, NOTHING)["kind"]
        return kind

    def _check_known(self, metric: str) -> None:
        from hms_ops.alert.evaluate import nearest_metrics

        names = self._past.metrics()
        if metric not in names:
            raise UnknownMetricError(metric, nearest_metrics(metric, names))

    def _count(self) -> Counted:
        before, begun_ns, changes = self._counted, steady_ns(), self._store.changes_count
        if before is not None and (before.changes == changes or begun_ns < before.good_until_ns):
            return before
        counted = counted_of(self._store, changes)
        done_ns = steady_ns()
        self._counted = replace(counted, good_until_ns=done_ns + REST * (done_ns - begun_ns))
        return self._counted


def unit_by_name(metric: str) -> str:
    """What the name ends in, as rules count it: db.write_ms is in ms. "" for none."""
    return unit_name(metric_unit(metric, None))


def values_of(
    store: Store, slots: Sequence[NDArray[np.int32]], kind: Sequence[int], is_rule: Sequence[bool]
) -> list[float | None]:
    """The representative number of each metric, given by its series, in the last sealed second; None without one.

    As in the stream: a counter's sum, a gauge's last, of a rule 1 while any fires, a set's estimate, else the mean.
    """
    second = int(store.sealed_second)
    values: list[float | None] = [None] * len(slots)
    with_values = [place for place in range(len(slots)) if kind[place] != kinds.SET and len(slots[place])]
    if with_values:
        sizes = [len(slots[place]) for place in with_values]
        owner = np.repeat(np.array(with_values, np.int32), sizes)
        column = store.cols[0, :, second % store.cols.shape[2]]
        found = pool(column, np.concatenate([slots[place] for place in with_values]), owner)
        numbers = found.value(np.array(kind, np.int8), np.array(is_rule, np.bool_))
        for place, value in zip(found.groups.tolist(), numbers.tolist(), strict=True):
            values[place] = value
    sets = [place for place in range(len(slots)) if kind[place] == kinds.SET and len(slots[place])]
    for place in sets[:SETS_MAX]:
        values[place] = distinct_in(store, slots[place], second) or None
    return values


def counted_of(store: Store, changes: int) -> Counted:
    """All series of the store, counted by metric and by tag."""
    metrics: list[MetricCount] = []
    values: dict[str, set[str]] = {}
    bearing: dict[str, int] = {}
    for name in store.metrics():
        series, of_metric = 0, dict[str, set[str]]()
        for tags in tags_of(store, name):
            series += 1
            for tag, value in tags.items():
                of_metric.setdefault(tag, set()).add(value)
                bearing[tag] = bearing.get(tag, 0) + 1
        metrics.append(MetricCount(metric=name, series=series, tags=tag_counts(of_metric.items())))
        for tag, found in of_metric.items():
            values.setdefault(tag, set()).update(found)
    metrics.sort(key=lambda one: (-one["series"], one["metric"]))
    spreads = [TagSpread(tag=tag, values=len(found), series=bearing[tag]) for tag, found in values.items()]
    spreads.sort(key=lambda one: (-one["values"], one["tag"]))
    return Counted(changes, 0, sum(one["series"] for one in metrics), metrics, spreads)


def tags_of(store: Store, name: str) -> Iterator[dict[str, str]]:
    """The tags of each series of a metric, but for the one of what found no room."""
    for slot in store.slots(name).tolist():
        try:
            tags = store.series(slot).tags
        except KeyError:  # gone since it was listed
            continue
        if OVERFLOW_TAG not in tags:
            yield tags


def tag_counts(found: Iterable[tuple[str, set[str]]]) -> list[TagCount]:
    counts = [TagCount(tag=tag, values=len(values)) for tag, values in found]
    return sorted(counts, key=lambda one: (-one["values"], one["tag"]))

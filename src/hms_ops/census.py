"""What there is, counted: metrics with their series, a metric's tags with their values, and what makes series many.

Asked by `/v1/metrics`, `/v1/tags`, `/v1/cardinality`, and through the last one by doctor. Metrics and tags are those
that memory or disk knows; series are counted of memory, where the limit is. Reading the tags of all series takes some
3 µs each (0.3 s for 100,000), so that count is kept until the series change, and even then for REST times what it took:
whoever asks again and again has a ninth of a core at most.

Threads: any; two at once would count twice and keep the later one. Errors: StorageError when the disk fails,
UnknownMetricError for the tags of a metric that nobody has sent.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, TypedDict

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.alert.language.units import metric_unit, unit_name
from hms_ops.clock import steady_ns
from hms_ops.errors import UnknownMetricError
from hms_ops.past import Past

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Description

REST: Final = 8
VALUES_LISTED: Final = 100  # of a tag
OVERFLOW_TAG: Final = "__overflow__"

Values = Callable[[list[str]], Mapping[str, float | None]]


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
        units: Mapping[str, str],
        rules: Callable[[], frozenset[str]],
        values: Values,
    ) -> None:
        """described: kind, unit and help of metrics as the catalogue has them; units: those told to this run.
        rules: the names of gauges that rules publish; values: of these metrics in the last sealed second."""
        self._store = store
        self._past = past
        self._described = described
        self._units = units
        self._rules = rules
        self._values = values
        self._counted: Counted | None = None

    def metrics(self, prefix: str, limit: int) -> tuple[list[Metric], bool]:
        """(those that begin with `prefix`, by name, at most `limit`; whether that is all of them)."""
        names = self._past.metrics()
        begin = bisect_left(names, prefix)
        found = [name for name in islice(names, begin, begin + limit + 1) if name.startswith(prefix)]
        chosen, described, rules = found[:limit], self._described(), self._rules()
        values = self._values(chosen)
        listed = [self._metric(name, described.get(name), name in rules, values.get(name)) for name in chosen]
        return listed, len(found) <= limit

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

    def _metric(self, name: str, known: "Description | None", is_rule: bool, value: float | None) -> Metric:
        described = (known["unit"] if known is not None else "") or self._units.get(name, "")
        kind = self._store.metric_kind(name) or (known["kind"] if known is not None else kinds.UNKNOWN)
        return Metric(
            metric=name,
            kind=kinds.NAMES[kind],
            unit=described or unit_name(metric_unit(name, None)),
            help=known["help"] if known is not None else "",
            series=len(self._store.slots(name)),
            rule=is_rule,
            value=value,
        )

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

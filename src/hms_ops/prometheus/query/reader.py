"""Samples of selectors: rows of history as numbers side by side, one line for each series, one column for each slot.

    selector ──choosing──► families, series ──past──► rows ──fold──► Samples.values[series, slot]
                                                └──► sketches ──► buckets, percentiles

Rows are of 10 s as far as these are kept, else of a minute or an hour; all selectors of a query have the same. Where
10-s rows would be more numbers than a query may hold, it is answered by longer ones and says so. What is not sealed yet
is not there.

Data: NaN is no sample. Errors: Refused; StorageError from the disk. Threads: any, one Reader for each query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias, cast

import numpy as np

from hms_ops import kinds
from hms_ops._sketch import merge_groups, quantiles_of_groups
from hms_ops.alert.plan import UnitLookup
from hms_ops.past import Past
from hms_ops.prometheus.query.budget import SERIES_MAX, Budget
from hms_ops.prometheus.query.choosing import Choice, Everything, choice_of
from hms_ops.prometheus.query.instant import Key, key_of
from hms_ops.prometheus.query.names import BUCKET, RANKS, TOTAL, VALUE, Family, Names
from hms_ops.prometheus.query.refused import LIMIT, Refused
from hms_ops.prometheus.query.slots import Floats, Integers, Slots, slots_between
from hms_ops.prometheus.selection import NAME
from hms_ops.remote.encode import FIELDS, bound_text, bounds_of, cumulative
from hms_ops.remote.labels import LE
from hms_ops.roster import Known
from hms_ops.sketches import Sketches
from hms_ops.storage import merge
from hms_ops.storage.tier import HOUR, MINUTE, TIERS

SKETCHES_MAX: Final = 200_000  # read for one selector: some four seconds of buckets
COARSER: Final = tuple(TIERS[tier].step_seconds for tier in (MINUTE, HOUR))
COLUMNS: Final = dict(FIELDS)
Pooling: TypeAlias = Callable[
    [Mapping[str, str]], dict[str, str]
]  # labels → those that stay; equal if it does the same
WORDS: Final = {10: "by steps of 10 s", 60: "by minute", 3600: "by hour"}


@dataclass(frozen=True, slots=True)
class Samples:
    """values: float64[series, slots]. families: one for each series. since, until: int64[series], the slots between
    which a series was there, though silent; since > until where it never was."""

    slots: Slots
    labels: list[dict[str, str]]
    families: list[Family]
    values: Floats
    since: Integers
    until: Integers


@dataclass(frozen=True, slots=True)
class Span:
    """What one selector asks for, in ms: (begin, end], all its times and windows together."""

    selector: Any
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Groups:
    """labels of each group; of: int64[series], the group of each."""

    labels: list[dict[str, str]]
    of: Integers


def pools(labels: list[dict[str, str]], pooling: Pooling | None) -> Groups:
    """The groups that series with these labels make."""
    if pooling is None:
        return Groups(labels, np.arange(len(labels)))
    found: dict[Key, int] = {}
    kept = [pooling(one) for one in labels]
    of = [found.setdefault(key_of(one), len(found)) for one in kept]
    return Groups([dict(key) for key in found], np.array(of, np.int64))


@dataclass(slots=True)
class Reader:
    """The samples of one query. row_seconds: how long its rows are, see `settle`, before anything is read. infos: what
    the answer should say."""

    past: Past
    names: Names
    unit: UnitLookup
    budget: Budget
    row_seconds: int = 10
    infos: dict[str, None] = field(default_factory=dict)
    everything: Everything = field(init=False)
    _found: dict[Any, Samples] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.everything = Everything(self.past)

    def settle(self, spans: Sequence[Span]) -> None:
        """Choose the length of rows for all of the query's selectors."""
        chosen = [(span, *self._sizes(span)) for span in spans]
        self.row_seconds = max((self._kept(span) for span in spans), default=10)
        for longer in COARSER:
            slots = [self._slots(span).count for span in spans]
            cells = sum(count * size for count, (_, size, _) in zip(slots, chosen, strict=True))
            sketches = max((count * size for count, (_, _, size) in zip(slots, chosen, strict=True)), default=0)
            is_much = cells > self.budget.room() // 2 or sketches > SKETCHES_MAX
            if is_much and longer > self.row_seconds:
                self.row_seconds = longer
                self.infos["read " + WORDS[longer] + ", since there are so many series over so long a range"] = None

    def read(self, span: Span, with_totals: bool = True, pooling: Pooling | None = None) -> Samples:
        """Everything a selector chooses, read once however often it stands in the query. with_totals False: running
        totals only if they are asked for by name. pooling: the labels by which buckets are summed anyway, so that they
        may be as they are read."""
        matchers = tuple((one.name, str(one.op), one.value) for one in span.selector.matchers.matchers)
        key = (span.selector.name, matchers, span.begin, span.end, with_totals, pooling)
        if key not in self._found:
            self._found[key] = self._read(span, with_totals, pooling)
        return self._found[key]

    def _read(self, span: Span, with_totals: bool, pooling: Pooling | None) -> Samples:
        choice, slots = choice_of(span.selector), self._slots(span)
        families = [one for one in choice.families(self.names) if with_totals or choice.exact or not is_total(one)]
        found: list[Samples] = []
        for family in families:
            part = self._family(choice, family, slots, pooling)
            found += [part] if part.labels else []
            self.budget.series(sum(len(one.labels) for one in found))
        if not found:
            return Samples(slots, [], [], np.empty((0, slots.count)), np.empty(0, np.int64), np.empty(0, np.int64))
        return Samples(
            slots,
            [labels for part in found for labels in part.labels],
            [family for part in found for family in part.families],
            np.concatenate([part.values for part in found]),
            np.concatenate([part.since for part in found]),
            np.concatenate([part.until for part in found]),
        )

    # ---- how long rows are

    def _slots(self, span: Span) -> Slots:
        return slots_between(span.begin, span.end, self.row_seconds, self.past)

    def _kept(self, span: Span) -> int:
        """The shortest rows that are kept of a span; where it begins before all history, of what there is."""
        start = max(span.begin // 1000, self.past.first_second)
        families = choice_of(span.selector).families(self.names)
        if any(family.field in (BUCKET, *RANKS) for family in families):
            return self.past.finest_sketch_step(start)
        return self.past.finest_step(start)

    def _sizes(self, span: Span) -> tuple[int, int]:
        """How many series a selector may choose, and those of sketches; before their tags are looked at."""
        count = sketches = 0
        for family in choice_of(span.selector).families(self.names):
            series = len(self.everything.of(family.metric))
            count += series
            sketches = max(sketches, series if family.field in (BUCKET, *RANKS) else 0)
            self.budget.check_time()
            if count >= SERIES_MAX:
                break
        return min(count, SERIES_MAX), min(sketches, SERIES_MAX)

    # ---- the samples of a family

    def _family(self, choice: Choice, family: Family, slots: Slots, pooling: Pooling | None) -> Samples:
        chosen = list(islice(choice.series(family, self.everything), SERIES_MAX + 1))
        self.budget.series(len(chosen))
        series = [known for known, _ in chosen]
        own = [{NAME: family.name, **labels} for _, labels in chosen]
        if family.field == BUCKET:
            groups = pools(own, pooling)
            return self._buckets(choice, family, series, groups, slots)
        self.budget.hold(len(series) * slots.count)
        values = self._quantiles(family, series, slots) if family.field in RANKS else self._rows(family, series, slots)
        return Samples(slots, own, [family] * len(own), values, *self._presence(series, values, slots))

    def _rows(self, family: Family, series: Sequence[Known], slots: Slots) -> Floats:
        """The number of a family in each row."""
        values = np.full((len(series), slots.count), np.nan)
        for cells, places, columns in self._folded(series, slots):
            values[places, cells] = _number(family, columns)
        return values

    def _folded(self, series: Sequence[Known], slots: Slots) -> Iterator[tuple[Integers, Integers, Floats]]:
        """(slots, places, columns) of all rows, a chunk at a time; of each (slot, place) one."""
        if not series or not slots.count:
            return
        for _, (steps, places, columns) in self.past.chunks(series, slots.first, slots.end, slots.seconds):
            cells = (steps - slots.first) // slots.seconds
            inside = (cells >= 0) & (cells < slots.count)
            self.budget.check_time()
            yield merge.fold(cells[inside], places[inside], columns[:, inside])

    def _presence(self, series: Sequence[Known], values: Floats, slots: Slots) -> tuple[Integers, Integers]:
        """From a series' first sample to its last; to the end while it is in memory, and from the start if it has been
        silent there since before."""
        has = ~np.isnan(values)
        any_ = has.any(axis=1) if slots.count else np.zeros(len(series), bool)
        since = np.where(any_, has.argmax(axis=1) if slots.count else 0, slots.count)
        until = np.where(any_, slots.count - 1 - has[:, ::-1].argmax(axis=1) if slots.count else 0, -1)
        seconds = self.past.store.last_second
        newest = np.array([seconds[one.slot] if one.slot >= 0 else 0 for one in series], np.int64)
        until = np.where(newest > 0, slots.count - 1, until)
        since = np.where((newest > 0) & (newest < slots.first), 0, since)
        return since.astype(np.int64), until.astype(np.int64)

    # ---- sketches

    def _sketches(self, series: Sequence[Known], slots: Slots) -> Sketches:
        """Those of all slots, ids being places in `series`."""
        if not series or not slots.count:
            from hms_ops.sketches import no_sketches

            return no_sketches()
        if len(series) * slots.count > SKETCHES_MAX:
            raise Refused(
                LIMIT,
                f"percentiles and buckets of {len(series):,} series over {slots.count:,} rows, {SKETCHES_MAX:,} in all "
                "are allowed: choose fewer series or a shorter range",
            )
        found = self.past.sketches(series, slots.first, slots.end, slots.seconds)
        inside = (found.steps >= slots.first) & (found.steps < slots.end)
        return found.chosen(np.flatnonzero(inside))

    def _grouped(self, series: Sequence[Known], slots: Slots, group: Integers) -> tuple[Sketches, Integers, Integers]:
        """(sketches in the order of their cells, the cells group × slots + slot, where each begins). group: of each
        series."""
        found = self._sketches(series, slots)
        cells = group[found.ids] * slots.count + (found.steps - slots.first) // slots.seconds
        order = np.argsort(cells, kind="stable")
        targets, first = np.unique(cells[order], return_index=True)
        return found.chosen(order), targets, np.append(first, len(order)).astype(np.int64)

    def _quantiles(self, family: Family, series: Sequence[Known], slots: Slots) -> Floats:
        """A percentile of each row, never beyond its least and greatest sample."""
        values = np.full((len(series), slots.count), np.nan)
        found, targets, borders = self._grouped(series, slots, np.arange(len(series)))
        if not len(targets):
            return values
        ranks = np.array([RANKS[family.field]])
        values.reshape(-1)[targets] = quantiles_of_groups(found.data, found.offsets, borders, ranks)[:, 0]
        for cells, places, columns in self._folded(series, slots):
            values[places, cells] = np.clip(values[places, cells], columns[merge.MIN], columns[merge.MAX])
        return values

    def _buckets(
        self, choice: Choice, family: Family, series: Sequence[Known], groups: Groups, slots: Slots
    ) -> Samples:
        """A series for each group and bound: how many samples of a row are at most that."""
        bounds = bounds_of(family.metric, self.unit(family.metric))
        texts = [*map(bound_text, bounds), "+Inf"]
        kept = [n for n, text in enumerate(texts) if choice.has_bound(text)]
        count = len(groups.labels) * len(kept)
        self.budget.series(count)
        self.budget.hold(count * slots.count)
        values = np.full((len(groups.labels), len(kept), slots.count), np.nan)
        found, targets, borders = self._grouped(series, slots, groups.of)
        data, offsets = merge_groups(found.data, found.offsets, borders)
        for n, cell in enumerate(targets.tolist()):
            at_most = cumulative([data[int(offsets[n]) : int(offsets[n + 1])]], bounds)
            values[cell // slots.count, :, cell % slots.count] = at_most[kept]
            if n % 4096 == 0:
                self.budget.check_time()
        since, until = self._presence_of_groups(series, groups, values, slots)
        return Samples(
            slots,
            [{**one, LE: texts[n]} for one in groups.labels for n in kept],
            [family] * count,
            values.reshape(count, slots.count),
            np.repeat(since, len(kept)),
            np.repeat(until, len(kept)),
        )

    def _presence_of_groups(
        self, series: Sequence[Known], groups: Groups, values: Floats, slots: Slots
    ) -> tuple[Integers, Integers]:
        """Of each group, from when the first of its series was there until the last was."""
        has_rows = (~np.isnan(values)).any(axis=1)
        first, last = self._presence(series, np.where(has_rows, 1.0, np.nan)[groups.of], slots)
        since, until = np.full(len(groups.labels), slots.count), np.full(len(groups.labels), -1)
        np.minimum.at(since, groups.of, first)
        np.maximum.at(until, groups.of, last)
        return since, until


def _number(family: Family, columns: Floats) -> Floats:
    """What a family is of each row; a counter's value by itself is made of its sum by who reads it."""
    if family.field in COLUMNS:
        return cast(Floats, columns[COLUMNS[family.field]])
    if family.field == TOTAL or family.kind == kinds.COUNTER:
        return cast(Floats, columns[merge.SUM])
    found = columns[merge.SUM] / columns[merge.COUNT] if family.kind in kinds.WITH_SKETCH else columns[merge.LAST]
    return cast(Floats, found)


def is_total(family: Family) -> bool:
    """Whether its name promises a running total, which is not kept."""
    return family.field == TOTAL or (
        family.kind == kinds.COUNTER and family.field == VALUE and family.name.endswith("_total")
    )

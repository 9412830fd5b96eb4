"""The store's columns as they were at a time in the past, made anew from history: what a replay evaluates rules on.

    past ──rows of 10 s, a minute, an hour──► Bygone.columns (tiers 1 and 2, last values) ──► RuleSet.evaluate(end)

It answers what rules ask of a store (alert/source.py) as the live one did: windows are made of the same steps, a series
is there from its first row on and gone when it was silent for IDLE_SECONDS. `move_to(end)` lets time go on by whole
steps of 10 s, a minute or an hour, whatever rows there are: a longer row counts as so many even steps of 10 s, so all
windows of whole rows are exact and shorter ones are its mean. What history has not is not here either: single seconds
(a counter's `last` is the mean second of its row), and the members of sets. Sketches are those of whole minutes.

Data: `cols` float64[3, 6, 64, series] as the store has it; of tier 0 only the last second of each step is written.
Threads: the caller's. Errors: StorageError when the disk fails. Limits: SERIES_MAX series, else ValueError.
Not here: judging (replaying.py), windows beyond an hour (longview.py, which reads history itself).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._sketch import merge_groups, quantiles_of_groups
from hms_ops.kernels.rollup import rollup_step
from hms_ops.past import Past
from hms_ops.reloaded import Reloaded
from hms_ops.roster import Known
from hms_ops.series import SeriesInfo
from hms_ops.sketches import no_sketches
from hms_ops.storage import merge
from hms_ops.storage.merge import Columns, Integers
from hms_ops.tiers import SLOTS, TIER_SECONDS

SERIES_MAX: Final = 20_000  # 9 KB each
IDLE_SECONDS: Final = 65 * 60  # as the tick has it
ROWS_AT_ONCE: Final = 500_000
SKETCHES_AT_ONCE: Final = 20_000
STEP_SECONDS: Final = TIER_SECONDS[1]
MINUTE_SECONDS: Final = TIER_SECONDS[2]
FUTURE_SECOND: Final = 1 << 40  # all of the past lies before this run: no second is there by itself

_ADDITIVE: Final = [merge.COUNT, merge.SUM, merge.M2]


class Bygone:
    """The series of some metrics, from `start` on. `sketched`: those of them whose percentiles are asked for."""

    def __init__(self, past: Past, metrics: Iterable[str], start: int, sketched: Iterable[str] = ()) -> None:
        self._past = past
        self._all = [one for metric in sorted(set(metrics)) for one in past.known(metric)]
        self._kinds = {one.info.name: one.info.kind for one in self._all}
        self._series: list[Known] = [one for one in self._all if one.info.kind != kinds.SET]
        if len(self._series) > SERIES_MAX:
            raise ValueError(f"these rules read {len(self._series):,} series; {SERIES_MAX:,} can be replayed at once")
        self._places: dict[str, list[int]] = {}
        for place, one in enumerate(self._series):
            self._places.setdefault(one.info.name, []).append(place)
        count = max(1, len(self._series))
        self.cols: Columns = np.zeros((len(TIER_SECONDS), len(merge.FIELDS), SLOTS, count))
        self.last_value = np.zeros(count)
        self.last_second = np.zeros(count, np.int64)
        self._alive = np.zeros(count, np.bool_)
        self._log: list[tuple[int, bool]] = []  # series that came and went
        self._now = start
        self.has_rows = False  # in the step last taken in
        self._rows = _Rows(past, self._series)
        asked = [place for name in set(sketched) for place in self._places.get(name, ())]
        self._sketches = _Minutes(past, asked, self._series)
        self.reloaded = Reloaded(FUTURE_SECOND, start)

    # ---- time

    @property
    def first_second(self) -> int:
        return FUTURE_SECOND

    @property
    def sealed_second(self) -> int:
        return self._now - 1

    def move_to(self, end: int) -> None:
        """Take in one step, from where time stands to `end`: 10 s, whole minutes, or what divides an hour."""
        begin, seconds = self._now, end - self._now
        places, columns = self._rows.of(begin, end)
        self.has_rows = len(places) > 0
        columns[_ADDITIVE] /= seconds // STEP_SECONDS
        self._come(places)
        for at in (begin, *range(begin + MINUTE_SECONDS - begin % MINUTE_SECONDS, end, MINUTE_SECONDS)):
            self._write(at, min(end, at + MINUTE_SECONDS - at % MINUTE_SECONDS), places, columns)
        self._now = end
        if end % MINUTE_SECONDS == 0:
            self._go(end - IDLE_SECONDS)

    def _write(self, begin: int, end: int, places: Integers, columns: Columns) -> None:
        """Steps of 10 s within one minute, alike, the last second of each, and the minute if it ends with them."""
        tens = np.arange(begin, end, STEP_SECONDS) // STEP_SECONDS % SLOTS
        self.cols[1, merge.COUNT, tens] = 0.0
        self.cols[1][:, tens[:, None], places] = columns[:, None, :]
        self.cols[0, merge.COUNT, np.arange(begin, end) % SLOTS] = 0.0
        newest = np.arange(begin + STEP_SECONDS - 1, end, STEP_SECONDS) % SLOTS
        second = columns.copy()
        second[merge.SUM] /= STEP_SECONDS
        self.cols[0][:, newest[:, None], places] = second[:, None, :]
        self.last_value[places] = columns[merge.LAST]
        self.last_second[places] = end - 1
        if end % MINUTE_SECONDS == 0:
            rollup_step(self.cols, 2, begin // MINUTE_SECONDS, self.cols.shape[3])

    def _come(self, places: Integers) -> None:
        for place in places[~self._alive[places]].tolist():
            self._alive[place] = True
            self._log.append((place, True))

    def _go(self, before_second: int) -> None:
        """Series that were silent for long are forgotten, as the engine forgets them."""
        for place in np.flatnonzero(self._alive & (self.last_second < before_second)).tolist():
            self._alive[place] = False
            self.last_second[place] = 0
            self._log.append((place, False))

    # ---- what rules ask of a store

    def slots(self, name: str, /) -> NDArray[np.int32]:
        return np.array([place for place in self._places.get(name, ()) if self._alive[place]], np.int32)

    def series(self, slot: int, /) -> SeriesInfo:
        if not self._alive[slot]:
            raise KeyError(slot)
        return self._series[slot].info

    def metric_kind(self, name: str, /) -> int:
        return self._kinds.get(name, kinds.UNKNOWN)

    def metrics(self) -> Sequence[str]:
        return sorted(self._places)

    def changes(self, cursor: int, /) -> tuple[int, Sequence[tuple[int, bool]]]:
        return len(self._log), self._log[cursor:]

    def distinct(self, slots: Sequence[int], tiers: Integers, steps: Integers, /) -> float:
        return np.nan

    def sketch_quantiles(
        self, slots: NDArray[np.int32], group_offset: Integers, start: int, end: int, quantiles: Columns, /
    ) -> tuple[Columns, int]:
        """As the store's, over the whole minutes in the window, the last closed one at least."""
        data, offsets, groups, first = self._sketches.of(slots, group_offset, start, end)
        return quantiles_of_groups(data, offsets, groups, np.asarray(quantiles)), first

    def sketch_groups(self, slots: NDArray[np.int32], group_offset: Integers, start: int, end: int, /) -> list[bytes]:
        data, offsets, groups, _ = self._sketches.of(slots, group_offset, start, end)
        merged, ends = merge_groups(data, offsets, groups)
        return [merged[ends[n] : ends[n + 1]] for n in range(len(ends) - 1)]


class _Rows:
    """Rows of history read ahead, step by step."""

    def __init__(self, past: Past, series: list[Known]) -> None:
        self._past = past
        self._series = series
        self._span = (0, 0, 0)  # begin, end, and how long a row is
        self._part: merge.Part = merge.join([])

    def of(self, begin: int, end: int) -> tuple[Integers, Columns]:
        """The rows of one step, pooled by series: places int64[k] ascending, columns float64[6, k]."""
        if not (self._span[0] <= begin and end <= self._span[1] and self._span[2] == end - begin):
            self._read(begin, end - begin)
        steps, places, columns = self._part
        first, stop = np.searchsorted(steps, (begin, end))
        return places[first:stop], columns[:, first:stop].copy()

    def _read(self, begin: int, seconds: int) -> None:
        ahead = max(1, ROWS_AT_ONCE // max(1, len(self._series)))
        self._span = begin, begin + ahead * seconds, seconds
        steps, places, columns = self._past.rows(self._series, begin, self._span[1], seconds)
        self._part = merge.fold(begin + (steps - begin) // seconds * seconds, places, columns)


class _Minutes:
    """Sketches of whole minutes read ahead."""

    def __init__(self, past: Past, places: list[int], series: list[Known]) -> None:
        self._past = past
        self._places = np.array(sorted(places), np.int64)
        self._series = [series[place] for place in self._places.tolist()]
        self._span = (0, 0)
        self._found = no_sketches()

    def of(
        self, slots: NDArray[np.int32], group_offset: Integers, start: int, end: int
    ) -> tuple[bytes, Integers, Integers, int]:
        """The sketches of the groups' members: data, their offsets, the groups' offsets among them; and where the
        first minute begins."""
        last = end - end % MINUTE_SECONDS
        begin = min(start - start % MINUTE_SECONDS, last - MINUTE_SECONDS)
        if not (self._span[0] <= begin and last <= self._span[1]):
            self._read(begin)
        found = self._found
        low, high = np.searchsorted(found.steps, (begin, last))
        group_of = np.full(int(max(self._places.max(initial=0), slots.max(initial=0))) + 1, -1)
        group_of[slots] = np.repeat(np.arange(len(group_offset) - 1), np.diff(group_offset))
        groups = group_of[self._places[found.ids[low:high]]]
        order = np.flatnonzero(groups >= 0)
        order = order[np.argsort(groups[order], kind="stable")]
        chosen = found.chosen(order + low)
        bounds = np.searchsorted(groups[order], np.arange(len(group_offset)))
        return chosen.data, chosen.offsets, bounds.astype(np.int64), begin

    def _read(self, begin: int) -> None:
        ahead = max(120, SKETCHES_AT_ONCE // max(1, len(self._series)))  # two hours: windows reach back one
        self._span = begin, begin + ahead * MINUTE_SECONDS
        found = self._past.sketches(self._series, *self._span, MINUTE_SECONDS)
        self._found = found.chosen(np.argsort(found.steps, kind="stable"))

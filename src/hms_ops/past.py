"""The past as queries see it: disk, what waits for the disk, and memory, read as one.

With a data directory the coarsest tier that serves a step is read as far as it has come, then finer ones, then what
waits, then the seconds of the open step. All of it is of one moment (recorder.py), so no sample is counted twice and
none is missed while it moves. Without one, the store's own steps are read (retained.py): the last ten minutes at 10 s,
the rest of an hour by minute. `before(second)` is the past as it was then: what came later is not in its rows, however
long these are.

Rows are merge.py's: step starts int64[k], places of series int64[k], columns float64[6, k] (COUNT SUM M2 MIN MAX LAST).
A row may be shorter than the step asked for and never crosses one; callers fold them.

Threads: any. Errors: StorageError when the disk fails under a reader, or is not back from a write within
LANDING_SECONDS_MAX; ValueError for a step that is not kept.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops import retained
from hms_ops.backlog import STEP_SECONDS, Waiting
from hms_ops.errors import StorageError
from hms_ops.recorder import HOUR_SECONDS, MINUTE_SECONDS, Recorder
from hms_ops.reloaded import NOTHING
from hms_ops.roster import Known, slots_of
from hms_ops.series import SeriesInfo
from hms_ops.sketches import Sketches, joined, no_sketches
from hms_ops.storage import merge
from hms_ops.storage.merge import Part
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

LANDING_SECONDS_MAX: Final = 10.0
TRIES: Final = 2
CHUNK_ROWS: Final = 2_000_000  # read at once: about 130 MB
NOW: Final = 1 << 60  # no second is later

T = TypeVar("T")


class Past:
    """What was sealed, however long ago, as far as it is kept."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.store = recorder.store
        self.reloaded = NOTHING  # what refill.py put back into the store's columns
        self.known = recorder.roster.known
        self.metrics = recorder.roster.metrics
        self._until = NOW

    def before(self, second: int) -> "Past":
        """The past as it was when `second` began: rows of minutes and hours that were not over then are read finer."""
        then = copy(self)
        then._until = second
        return then

    # ---- what there is

    def series(self, name: str) -> list[SeriesInfo]:
        """Every series of a metric that memory or disk knows, in the order of their tags."""
        return [one.info for one in self.known(name)]

    @property
    def first_second(self) -> int:
        """Where what is known begins: with this run, or with the oldest step that an earlier one left on disk."""
        first = int(self.store.first_second)
        found = [first, *(oldest for oldest in self._first_steps() if oldest is not None)]
        return first if min(found) >= first - first % STEP_SECONDS else min(found)

    def finest_step(self, start: int) -> int:
        """The shortest step, in seconds, in which everything that is known since `start` is kept: 10, 60 or 3600."""
        if self._recorder.storage is None:
            border = retained.minutes_end(self.store)
            return MINUTE_SECONDS if start < border and border > self.store.first_second else STEP_SECONDS
        finest = TEN_SECONDS
        firsts = self._first_steps()
        for tier in (MINUTE, HOUR):
            older, here = firsts[tier], firsts[finest]
            begins = self.store.first_second if here is None else here
            # What only the coarser tier still has lies at least a step of its own before the finer one begins.
            if older is not None and older + TIERS[tier].step_seconds <= begins and start < begins:
                finest = tier
        return TIERS[finest].step_seconds

    def finest_sketch_step(self, start: int) -> int:
        """The same for percentiles: 10 s are kept in memory only, for ten minutes."""
        border = retained.minutes_end(self.store)
        is_recent = start >= border or border <= self.store.first_second <= start
        return STEP_SECONDS if is_recent else max(MINUTE_SECONDS, self.finest_step(start))

    def checked_start(self, start: int, step: int) -> int:
        """The start rounded down to a step. ValueError: rows as fine as that are not kept (so far back).

        Before this run began there are no single seconds: that is empty, as long as none of the run's are gone.
        """
        if step < 1 or (step > STEP_SECONDS and step % STEP_SECONDS):
            raise ValueError(f"step is {step} s; it must be a multiple of {STEP_SECONDS} s, or less within a minute")
        first = retained.first_second(self.store)
        is_dropped = start < first - STEP_SECONDS and first > self.store.first_second
        if step < STEP_SECONDS and is_dropped:
            raise ValueError(f"step is {step} s; seconds are kept for one minute, now from {first} on: ask for 10 s")
        return start - start % step

    # ---- rows

    def read(self, name: str, tags: dict[str, str] | None, start: int, end: int, step: int) -> merge.Rows:
        """The rows (storage.merge.ROW) of [start, end), one for each `step` with samples. tags None pools all series.

        start is rounded down to a step. Without a data directory a row older than ten minutes is that of its minute.
        ValueError: a step that is no multiple of 10 s, but for one below 10 s within the last minute; a step that is
        finer than what is kept of the range.
        """
        start = self.checked_start(start, step)
        if self._recorder.storage is not None and step >= STEP_SECONDS and step % (kept := self.finest_step(start)):
            raise ValueError(f"step is {step} s; what is as old as {start} is kept by {kept} s: ask for a multiple")
        if step < STEP_SECONDS:  # before, there is nothing to look for
            first = retained.first_second(self.store)
            start = max(start, first - first % step)
        wanted = [one for one in self.known(name) if tags is None or one.info.tags == tags]
        parts: list[Part] = []
        for _, (steps, _, columns) in self.chunks(wanted, start, end, step):
            parts.append(merge.fold(steps - steps % step, np.zeros(len(steps), np.int64), columns))
        steps, _, columns = merge.join(parts)
        return merge.as_rows(steps, columns)

    def chunks(
        self, series: Sequence[Known], start: int, end: int, step: int, lead_seconds: int = 0
    ) -> Iterator[tuple[int, Part]]:
        """(chunk's start, rows) of [start, end), about CHUNK_ROWS at a time and never a step in two; each with the rows
        of `lead_seconds` before it. `start` is a multiple of `step`."""
        row_seconds = row_seconds_of(step)
        size = max(1, CHUNK_ROWS // max(1, len(series)) * row_seconds // step) * step
        for at in range(start, end, size):
            stop = min(at + size, end)
            if step < STEP_SECONDS:
                yield at, self.seconds(series, at - lead_seconds, stop)
            else:
                yield at, self.rows(series, at - lead_seconds, stop, step)

    def rows(self, series: Sequence[Known], start: int, end: int, step: int = STEP_SECONDS) -> Part:
        """The rows that begin in [start, end), ascending, as coarse as `step` allows; start and end are rounded,
        outwards, to a row."""
        row_seconds = row_seconds_of(step)
        start, end = start - start % row_seconds, min(end + -end % row_seconds, self._until)
        if self._recorder.storage is None:
            return _folded(retained.hour(self.store, slots_of(series), start, end))
        return _folded(self._spliced(series, start, end, tier_of(step)))

    def seconds(self, series: Sequence[Known], start: int, end: int) -> Part:
        """The rows of single sealed seconds in [start, end), as far as they are kept."""
        return _folded(retained.seconds(self.store, slots_of(series), start, end))

    def _spliced(self, series: Sequence[Known], start: int, end: int, tier: int) -> list[Part]:
        def read() -> tuple[list[Part], list[Waiting], int, tuple[int, int]]:
            waiting, taken_end, ids = self._snapshot(series)
            ends = self._ends(tier, min(taken_end, self._until))
            return self._on_disk(ids, start, end, ends), waiting, taken_end, ends

        parts, waiting, taken_end, ends = self._at_one_moment(read)
        slots = slots_of(series)
        place = self._place_of(slots)
        for rows in waiting:
            parts.append(_chosen(rows, place, *_range_of(rows, ends, start, end)))
        return [*parts, *retained.open_steps(self.store, slots, max(start, taken_end), end)]

    def _snapshot(self, series: Sequence[Known]) -> tuple[list[Waiting], int, NDArray[np.uint32]]:
        """What waits, where memory begins, and the numbers on disk."""
        backlog = self._recorder.backlog
        with backlog.guard:
            return backlog.snapshot(), backlog.taken_end, self._recorder.roster.known_ids(series)

    def _place_of(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[capacity] by slot: its place among the series asked for, -1 for none."""
        place = np.full(self.store.capacity, -1)
        place[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
        return place

    def _ends(self, tier: int, taken_end: int) -> tuple[int, int]:
        """Up to where rows of an hour and of a minute are to be read: what follows is read finer. No further than time
        itself, for after the clock was set back minutes come again."""
        minutes = min(self._recorder.minutes_end, taken_end - taken_end % MINUTE_SECONDS) if tier >= MINUTE else 0
        hours = min(self._recorder.hours_end, minutes - minutes % HOUR_SECONDS) if tier == HOUR else 0
        return hours, minutes

    def _on_disk(self, ids: NDArray[np.uint32], start: int, end: int, ends: tuple[int, int]) -> list[Part]:
        places = np.flatnonzero(ids)
        if self._recorder.storage is None or not len(places):
            return []
        places = places[np.argsort(ids[places])]
        parts = []
        for tier, (first, last) in _tier_ranges(ends, start, end):
            steps, positions, columns = self._recorder.storage.history.read_columns(tier, ids[places], first, last)
            parts.append((steps, places[positions], columns))
        return parts

    def _at_one_moment(self, read: Callable[[], T]) -> T:
        """What `read` finds on disk and in the backlog while nothing moves from one to the other. It is tried without
        a lock, so that readers wait for neither each other nor, but for some ms each 10 s, for the writer."""
        for _ in range(TRIES):
            moves = self._recorder.moves
            if moves % 2:
                break
            found = read()
            if self._recorder.moves == moves:
                return found
        if not self._recorder.landing.acquire(timeout=LANDING_SECONDS_MAX):
            raise StorageError(f"the disk has been writing a step of history for {LANDING_SECONDS_MAX:g} s; try later")
        try:
            return read()
        finally:
            self._recorder.landing.release()

    def _first_steps(self) -> tuple[int | None, int | None, int | None]:
        if self._recorder.storage is None:
            return None, None, None
        history = self._recorder.storage.history
        return history.first_step(TEN_SECONDS), history.first_step(MINUTE), history.first_step(HOUR)

    # ---- sketches

    def sketches(self, series: Sequence[Known], start: int, end: int, step: int) -> Sketches:
        """The sketches of [start, end), ids being places in `series`: for each series one or more within each `step`,
        none that crosses one. Of steps below a minute only what memory has."""
        end = min(end, self._until)
        if step % MINUTE_SECONDS or self._recorder.storage is None:
            row_seconds = MINUTE_SECONDS if step % MINUTE_SECONDS == 0 else STEP_SECONDS
            return retained.sketches(self.store, slots_of(series), start, end, row_seconds)

        def read() -> tuple[list[Sketches], list[Waiting], tuple[int, int]]:
            waiting, taken_end, ids = self._snapshot(series)
            ends = self._ends(tier_of(step), min(taken_end, self._until))
            return self._sketches_on_disk(ids, start, end, ends), waiting, ends

        parts, waiting, ends = self._at_one_moment(read)
        slots = slots_of(series)
        place = self._place_of(slots)
        parts += [_chosen_sketches(rows, place, *_range_of(rows, ends, start, end)) for rows in waiting]
        return joined([*parts, retained.sketches(self.store, slots, max(start, ends[1]), end, MINUTE_SECONDS)])

    def _sketches_on_disk(self, ids: NDArray[np.uint32], start: int, end: int, ends: tuple[int, int]) -> list[Sketches]:
        places = np.flatnonzero(ids)
        if self._recorder.storage is None or not len(places):
            return []
        places = places[np.argsort(ids[places])]
        parts = []
        for tier, (first, last) in _tier_ranges(ends, start, end):
            if tier != TEN_SECONDS:
                found = self._recorder.storage.history.read_sketches(tier, ids[places], first, last)
                parts.append(Sketches(places[found.ids].astype(np.uint32), found.steps, found.offsets, found.data))
        return parts


def tier_of(step: int) -> int:
    """The coarsest tier whose rows make up steps of so many seconds."""
    return next(tier for tier in (HOUR, MINUTE, TEN_SECONDS) if step % TIERS[tier].step_seconds == 0 or not tier)


def row_seconds_of(step: int) -> int:
    """How long the rows are that a step is made of."""
    return TIERS[tier_of(step)].step_seconds if step >= STEP_SECONDS else 1


def _tier_ranges(ends: tuple[int, int], start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Which tier to read where: hours up to ends[0], minutes up to ends[1], then steps of 10 s."""
    borders = (0, *ends, end)
    for tier, first, last in zip((HOUR, MINUTE, TEN_SECONDS), borders[:-1], borders[1:], strict=True):
        first, last = max(first, start), min(last, end)
        if first < last:
            yield tier, (first, last)


def _range_of(rows: Waiting, ends: tuple[int, int], start: int, end: int) -> tuple[int, int]:
    """Which of the waiting rows the disk is about to get in the tier that is read there; an empty range for none.

    A closed minute that waits is still there as steps of 10 s; a patch of a tier is what disk lacks of that tier, and
    one of minutes is lacking from the hour too."""
    hours_end, minutes_end = ends
    if rows.tier == TEN_SECONDS:
        return max(start, minutes_end), end
    if rows.tier == MINUTE:
        return (start, min(end, minutes_end)) if rows.is_patch else (0, 0)
    return start, min(end, hours_end)


def _chosen(rows: Waiting, place: NDArray[np.int64], start: int, end: int) -> Part:
    """The rows of steps in [start, end) of the series that have a place: int64[capacity] by slot, -1 for none."""
    places = place[rows.slots]
    is_in = (places >= 0) & (rows.columns[merge.COUNT] > 0) & (rows.steps >= start) & (rows.steps < end)
    return rows.steps[is_in], places[is_in], rows.columns[:, is_in]


def _chosen_sketches(rows: Waiting, place: NDArray[np.int64], start: int, end: int) -> Sketches:
    if rows.sketches is None:
        return no_sketches()
    places = place[rows.sketches.ids]
    found = np.flatnonzero((places >= 0) & (rows.sketches.steps >= start) & (rows.sketches.steps < end))
    chosen = rows.sketches.chosen(found)
    return Sketches(places[found].astype(np.uint32), chosen.steps, chosen.offsets, chosen.data)


def _folded(parts: list[Part]) -> Part:
    return merge.fold(*merge.join(parts))

"""History as the engine sees it: closed 10-s steps go to disk, queries read disk and memory as one.

    tick ──take(step)──► queue ──writer thread──► catalogue (ids) ──► history (one synced transaction a step)
    tick ──patch(late)─►       └────────────────────────────────────► history, as a patch of a written step

The tick copies a step's rows when it closes, so whatever is merged into them later is a patch, and each sample gets to
disk exactly once. Reading splices: what is on disk, then the closed steps that are not yet, then the open step from its
sealed seconds. Without a data directory the last ten minutes are kept at 10 s and the rest of an hour at 1 min.

Threads: `take` and `patch` are the tick's and never wait for the disk; `run` is the writer; reading is anybody's.
Limits: QUEUE_STEPS_MAX steps wait for a disk that hangs; beyond, the oldest is given up and counted (`steps_lost`).
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.clock import SECOND_NS
from hms_ops.errors import StorageError
from hms_ops.series import SeriesInfo
from hms_ops.storage import merge
from hms_ops.storage.block import Columns
from hms_ops.storage.store import Storage

log = logging.getLogger("hms_ops.history")

QUEUE_STEPS_MAX: Final = 60
RETRY_SECONDS: Final = 1.0
SLOTS: Final = 64
KEPT_STEPS: Final = 61
STEP_SECONDS: Final = 10

Late = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
Part = tuple[merge.Integers, merge.Integers, Columns]


@dataclass(frozen=True, slots=True)
class Rows:
    """What waits for the disk: rows of one step. slots int64[k], columns float64[6, k]."""

    step_start: int
    slots: NDArray[np.int64]
    columns: Columns
    is_patch: bool


class Recorder:
    """The store's past: writes it when there is a data directory, reads it in any case."""

    def __init__(self, store: Store, storage: Storage | None) -> None:
        self.store = store
        self.storage = storage
        self.flushed_end = 0  # steps that end here or before are on disk, as far as this run has them
        self._counts = {"steps_written": 0, "rows_written": 0, "steps_lost": 0, "write_errors": 0}
        self._ids = np.zeros(store.capacity, np.uint32)  # catalogue ids by slot, 0 = not asked yet
        self._cursor = 0
        self._queue: deque[Rows] = deque()
        self._wake = threading.Event()
        self._is_stopping = False
        self._problem = ""

    def open(self, storage: Storage) -> None:
        """Write to, and read from, a data directory from now on."""
        self.storage = storage

    # ---- the tick's side

    def take(self, step: int) -> None:
        """Copy the rows of a closed step (number of 10 s since 1970) for the writer."""
        if self.storage is None:
            return
        n = self.store.series_count
        row = self.store.cols[1, :, step % SLOTS, :n].copy()
        self._put(Rows(step * STEP_SECONDS, np.arange(n), row, is_patch=False))

    def patch(self, late: Late) -> None:
        """Late samples of steps that were taken already."""
        if self.storage is None or not len(late[0]):
            return
        slots, seconds, values, weights = late
        starts = seconds - seconds % STEP_SECONDS
        zeros = np.zeros(len(slots))
        columns = np.array([weights, values * weights, zeros, values, values, values])
        steps, groups, folded = merge.fold(starts, slots.astype(np.int64), columns)
        for start in np.unique(steps):
            chosen = steps == start
            self._put(Rows(int(start), groups[chosen], folded[:, chosen], is_patch=True))

    def _put(self, rows: Rows) -> None:
        if len(self._queue) >= QUEUE_STEPS_MAX:
            self._queue.popleft()
            self._counts["steps_lost"] += 1
        self._queue.append(rows)
        self._wake.set()

    # ---- the writer's side

    def run(self) -> None:
        """The writer's life: write what is queued; after `stop`, what is left, once."""
        while True:
            self._wake.wait(RETRY_SECONDS)
            self._wake.clear()
            self._write_queued()
            if self._is_stopping:
                return

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    def _write_queued(self) -> None:
        while self._queue:
            rows = self._queue[0]
            try:
                self._write(rows)
            except StorageError as error:
                self._fail(str(error))
                return
            self._problem = ""
            if self._queue and self._queue[0] is rows:  # the tick may have given it up meanwhile
                self._queue.popleft()

    def _fail(self, problem: str) -> None:
        self._counts["write_errors"] += 1
        if problem != self._problem:
            log.error("history is not written, the steps wait in memory: %s", problem)
        self._problem = problem

    def _write(self, rows: Rows) -> None:
        assert self.storage is not None
        seen = rows.columns[merge.COUNT] > 0
        slots, columns = rows.slots[seen], rows.columns[:, seen]
        ids = self._ids_of(slots)
        append = self.storage.history.append_patch if rows.is_patch else self.storage.history.append
        self._counts["rows_written"] += append(rows.step_start, ids, columns)
        if not rows.is_patch:
            self._counts["steps_written"] += 1
            self.flushed_end = rows.step_start + STEP_SECONDS
            self.storage.history.retain(self.store.now_ns())

    def _ids_of(self, slots: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Catalogue ids of slots; 0 for a series that is gone."""
        assert self.storage is not None
        self._cursor, changes = self.store.changes(self._cursor)
        changed = [slot for slot, _ in changes]
        self._ids[changed] = 0
        missing = slots[self._ids[slots] == 0]
        known = [(slot, info) for slot in missing.tolist() if (info := self._info(slot)) is not None]
        if known:
            ids = self.storage.catalogue.ids_for([info for _, info in known], self.store.now_ns())
            self._ids[[slot for slot, _ in known]] = ids
        return self._ids[slots]

    def _info(self, slot: int) -> SeriesInfo | None:
        try:
            return self.store.series(slot)
        except KeyError:
            return None

    # ---- reading

    def series(self, name: str) -> list[SeriesInfo]:
        """Every series of a metric that memory or disk knows."""
        found = {tuple(sorted(info.tags.items())): info for info in self._on_disk(name)}
        for slot in self.store.slots(name).tolist():
            if (info := self._info(slot)) is not None:
                found[tuple(sorted(info.tags.items()))] = info
        return list(found.values())

    def metrics(self) -> list[str]:
        """The names of all metrics, of now and of before."""
        stored = self.storage.catalogue.names() if self.storage is not None else []
        return sorted({*self.store.metrics(), *stored})

    def read(self, name: str, tags: dict[str, str] | None, start: int, end: int, step: int) -> merge.Rows:
        """The rows (storage.merge.ROW) of [start, end), one for each `step` with samples. tags None pools all series.

        ValueError: a step that is no multiple of 10 s, but for one below 10 s within the last minute.
        """
        slots = self._slots(name, tags)
        ids = [number for number, _ in self._found(name, tags)]
        steps, _, columns = self._spliced([(slots, ids)], start, end, step)
        return merge.as_rows(steps, columns)

    def read_groups(self, groups: Sequence[Sequence[SeriesInfo]], start: int, end: int, step: int) -> Part:
        """(step starts int64[k], index of the group int64[k], columns float64[6, k]) of groups of series, each pooled."""
        wanted = []
        for group in groups:
            slots = [slot for info in group if (slot := self.store.slot(info.name, info.tags)) >= 0]
            ids = [number for info in group for number, _ in self._found(info.name, info.tags)]
            wanted.append((np.array(slots, np.int64), ids))
        return self._spliced(wanted, start, end, step)

    def counters(self) -> dict[str, int]:
        """Steps and rows written, and what the disk did not take; `waiting` steps."""
        return self._counts | {"waiting": len(self._queue), "queue_max": QUEUE_STEPS_MAX}

    @property
    def problem(self) -> str:
        """Why history is not being written now, or ""."""
        return self._problem

    def _on_disk(self, name: str) -> list[SeriesInfo]:
        return [info for _, info in self._found(name, None)]

    def _found(self, name: str, tags: dict[str, str] | None) -> list[tuple[int, SeriesInfo]]:
        return [] if self.storage is None else self.storage.catalogue.find(name, tags)

    def _slots(self, name: str, tags: dict[str, str] | None) -> NDArray[np.int64]:
        if tags is None:
            return self.store.slots(name).astype(np.int64)
        slot = self.store.slot(name, tags)
        return np.array([slot] if slot >= 0 else [], np.int64)

    def _spliced(self, wanted: Sequence[tuple[NDArray[np.int64], list[int]]], start: int, end: int, step: int) -> Part:
        """Disk, then memory, of groups of (slots, catalogue ids), merged into steps of `step` seconds."""
        if step < 1 or (step % STEP_SECONDS and step > STEP_SECONDS):
            raise ValueError(f"step is {step} s; it must be a multiple of {STEP_SECONDS} s, or less for the last minute")
        start -= start % step
        flushed_end = self.flushed_end  # once: the writer moves it on
        parts: list[Part] = []
        for group, (slots, ids) in enumerate(wanted):
            for steps, columns in self._parts(slots, ids, start, end, step, flushed_end):
                parts.append((steps - steps % step, np.full(len(steps), group), columns))
        return merge.fold(*merge.join(parts))

    def _parts(
        self, slots: NDArray[np.int64], ids: list[int], start: int, end: int, step: int, flushed_end: int
    ) -> Iterable[tuple[merge.Integers, Columns]]:
        if step < STEP_SECONDS:
            yield from self._rows(0, slots, max(start, self._first(0)), min(end, self.store.sealed_second + 1))
            return
        if self.storage is not None and ids:
            yield self._from_disk(ids, start, end)
        closed_end = self.store.rolled_end(1)
        first = max(start, flushed_end, self.store.first_second // STEP_SECONDS * STEP_SECONDS)
        if self.storage is None:
            yield from self._rows(2, slots, max(start, self._first(2)), min(end, self._first(1)))
        yield from self._rows(1, slots, max(first, self._first(1)), min(end, closed_end))
        for steps, columns in self._rows(0, slots, max(first, closed_end), min(end, self.store.sealed_second + 1)):
            yield steps - steps % STEP_SECONDS, columns

    def _from_disk(self, ids: list[int], start: int, end: int) -> tuple[merge.Integers, Columns]:
        assert self.storage is not None
        rows = self.storage.history.read(ids, start, end)
        columns = np.zeros((6, len(rows)))
        for place, name in ((0, "count"), (1, "sum"), (3, "min"), (4, "max"), (5, "last")):
            columns[place] = rows[name]
        return rows["time"] // SECOND_NS, columns

    def _first(self, tier: int) -> int:
        """The first second of a tier that memory still keeps, aligned to steps of the next one."""
        if tier == 0:
            return max(self.store.first_second, self.store.sealed_second - 59)
        seconds = 10 if tier == 1 else 60
        first = max(self.store.first_second, self.store.rolled_end(tier) - KEPT_STEPS * seconds)
        return first - first % (60 if tier == 1 and self.storage is None else seconds)

    def _rows(
        self, tier: int, slots: NDArray[np.int64], start: int, end: int
    ) -> Iterable[tuple[merge.Integers, Columns]]:
        """The rows of closed steps of a tier for each slot, one step at a time."""
        seconds = (1, 10, 60)[tier]
        for number in range(start // seconds, -(-end // seconds)):
            if not len(slots):
                return
            columns = self.store.cols[tier, :, number % SLOTS][:, slots]
            seen = columns[merge.COUNT] > 0
            if seen.any():
                yield np.full(int(seen.sum()), number * seconds), columns[:, seen]

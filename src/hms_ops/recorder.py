"""History as the engine sees it: closed 10-s steps go to disk, queries read disk and memory as one.

    tick ──take(step), patch(late)──► backlog ──writer thread──► catalogue (ids) ──► history (a transaction a step)

With a data directory each sealed sample is in exactly one place: on disk, in the backlog, or in a second of the open
step. A read takes all of them as of one moment, so that none is counted twice and none is missed while it moves.
Without one, the store's own steps are read (retained.py): the last ten minutes at 10 s, the rest of an hour by minute.

Rows are merge.py's: step starts int64[k], places of series int64[k], columns float64[6, k] (COUNT SUM M2 MIN MAX LAST).
A late sample counts as the later write: it becomes the LAST of its step.

Threads: `take` and `patch` are the tick's and never wait for the disk; `run` is the writer; reading is anybody's. The
writer holds `_landing` while rows go from the backlog to disk, a reader while it looks at both.
Errors: StorageError when the disk fails under a reader, or is not back from a write within LANDING_SECONDS_MAX; a write
that fails is counted and tried again each RETRY_SECONDS while its step waits (limits: backlog.py).
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import retained
from hms_ops._ring import Store
from hms_ops.backlog import STEP_SECONDS, WAITING_MAX, Backlog, Late, Part, Waiting, chosen
from hms_ops.errors import StorageError
from hms_ops.series import SeriesInfo
from hms_ops.storage import merge
from hms_ops.tiers import SLOTS

if TYPE_CHECKING:
    from hms_ops.storage.store import Storage

log = logging.getLogger("hms_ops.history")

RETRY_SECONDS: Final = 1.0
LANDING_SECONDS_MAX: Final = 10.0
CHUNK_ROWS: Final = 2_000_000  # read at once: about 130 MB
KINDS_CHECKED: Final = 1_000  # metrics asked per step whether their kind was settled meanwhile


@dataclass(frozen=True, slots=True)
class Known:
    """A series that memory or disk knows. slot: its place in the store or -1; series_id: its number on disk or 0."""

    info: SeriesInfo
    slot: int
    series_id: int


class Recorder:
    """The store's past: writes it when there is a data directory, reads it in any case."""

    def __init__(self, store: Store, storage: "Storage | None") -> None:
        self.store = store
        self.storage = storage
        self._backlog = Backlog(store.rolled_end(1))
        self._counts = {"steps_written": 0, "patches_written": 0, "rows_written": 0, "write_errors": 0}
        self._landing = threading.Lock()
        self._wake = threading.Event()
        self._is_stopping = False
        self._problem = ""
        self._all_slots = np.arange(store.capacity)
        self._ids = np.zeros(store.capacity, np.uint32)  # catalogue ids by slot, 0 = not asked yet
        self._cursor = 0  # how far `_ids` has followed the store's changes
        self._kinds: dict[str, int] = {}  # of metrics, as the catalogue has them
        self._kinds_to_check: Iterator[str] = iter(())

    def open(self, storage: "Storage") -> None:
        """Write to, and read from, a data directory from now on."""
        self.begin_anew()
        self.storage = storage

    def begin_anew(self) -> None:
        """The store's time begins where it is now: the wall clock was set. What was taken is written as it is."""
        self._backlog.taken_end = self.store.rolled_end(1)

    # ---- the tick's side

    def take(self, step: int) -> None:
        """Copy the rows of a step (number of 10 s since 1970) for the writer: once it was rolled, before late samples
        are merged again. Nobody reads its seconds any more."""
        if self.storage is None:
            return
        n = self.store.series_count
        columns = self.store.cols[1, :, step % SLOTS, :n].copy()
        self._backlog.add_step(step * STEP_SECONDS, self._all_slots[:n], columns)
        self._wake.set()

    def patch(self, late: Late | None) -> None:
        """Late samples of steps that were taken already; they are written with the next step."""
        if self.storage is not None and late is not None and len(late[0]):
            self._backlog.add_late(late)

    # ---- the writer's side

    def run(self) -> None:
        """The writer's life: write what waits; after `stop`, what is left, once."""
        while True:
            self._wake.wait(RETRY_SECONDS if self._problem else None)
            self._wake.clear()
            is_stopping = self._is_stopping
            self.write_waiting()
            if is_stopping:
                self._give_up_rest()
                return

    def stop(self) -> None:
        """The last step was taken: `run` writes what waits and ends."""
        self._backlog.close()
        self._is_stopping = True
        self._wake.set()

    def write_waiting(self) -> bool:
        """Write what waits, oldest first; False when the disk refused: the rest goes on waiting."""
        while (rows := self._backlog.head()) is not None:
            try:
                self._write(rows)
                self._problem = ""
            except StorageError as error:
                self._backlog.keep()
                self._fail(str(error))
                return False
            except Exception:  # ours: these rows would fail for ever, and all others behind them
                log.exception("step %d of history cannot be written and is given up", rows.steps[0])
                self._counts["write_errors"] += 1
                self._backlog.give_up(rows)
        return True

    def _write(self, rows: Waiting) -> None:
        assert self.storage is not None
        history = self.storage.history
        seen = rows.columns[merge.COUNT] > 0
        ids, columns = self._ids_of(rows.slots[seen]), rows.columns[:, seen]
        if not rows.is_patch:
            history.retain(self.store.now_ns())  # first: on a full disk it makes the room
        append = history.append_patch if rows.is_patch else history.append
        with self._landing:
            written = append(int(rows.steps[0]), ids, columns)
            self._backlog.remove(rows)
        self._counts["rows_written"] += written
        self._counts["patches_written" if rows.is_patch else "steps_written"] += 1

    def _fail(self, problem: str) -> None:
        self._counts["write_errors"] += 1
        if problem != self._problem:
            log.error("history is not written, the steps wait in memory: %s", problem)
        self._problem = problem

    def _give_up_rest(self) -> None:
        lost = 0
        while (rows := self._backlog.head()) is not None:
            self._backlog.give_up(rows)
            lost += 1
        if lost:
            log.error("%d steps of history are lost: %s", lost, self._problem)

    def _ids_of(self, slots: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Catalogue ids of slots; 0 for a series that is gone."""
        assert self.storage is not None
        self._forget_changed()
        missing = slots[self._ids[slots] == 0]
        known = [(slot, info) for slot in missing.tolist() if (info := self._info(slot)) is not None]
        if known:
            ids = self.storage.catalogue.ids_for([info for _, info in known], self.store.now_ns())
            self._ids[[slot for slot, _ in known]] = ids
            self._kinds |= {info.name: info.kind for _, info in known}
        return self._ids[slots]

    def _forget_changed(self) -> None:
        """The ids of slots that changed hands, and of metrics whose kind was settled after the catalogue had it."""
        with self._backlog.guard:
            self._cursor, changes = self.store.changes(self._cursor)
            self._ids[[slot for slot, _ in changes]] = 0
        names = [name for _, name in zip(range(KINDS_CHECKED), self._kinds_to_check, strict=False)]
        if not names:
            self._kinds_to_check = iter(list(self._kinds))
        for name in names:
            if self.store.metric_kind(name) not in (0, self._kinds[name]):
                self._ids[self.store.slots(name)] = 0

    def _info(self, slot: int) -> SeriesInfo | None:
        try:
            info: SeriesInfo = self.store.series(slot)
        except KeyError:
            return None
        return info

    # ---- what there is

    def known(self, name: str) -> list[Known]:
        """Every series of a metric that memory or disk knows, in the order of their tags, with the metric's kind."""
        kind = self.store.metric_kind(name)
        found: dict[tuple[tuple[str, str], ...], Known] = {}
        for number, info in self.storage.catalogue.find(name) if self.storage is not None else ():
            found[_tags_key(info)] = Known(SeriesInfo(name, info.tags, kind or info.kind), -1, number)
        for slot in self.store.slots(name).tolist():
            if (live := self._info(slot)) is not None:
                before = found.get(_tags_key(live))
                found[_tags_key(live)] = Known(live, slot, before.series_id if before else 0)
        return [found[key] for key in sorted(found)]

    def series(self, name: str) -> list[SeriesInfo]:
        """The same without their places."""
        return [one.info for one in self.known(name)]

    def metrics(self) -> list[str]:
        """The names of all metrics, of now and of before."""
        stored = self.storage.catalogue.names() if self.storage is not None else []
        return sorted({*self.store.metrics(), *stored})

    @property
    def first_second(self) -> int:
        """Where what is known begins: with this run, or with the oldest step that an earlier one left on disk."""
        first = int(self.store.first_second)
        oldest = self.storage.history.first_step() if self.storage is not None else None
        return first if oldest is None or oldest >= first - first % STEP_SECONDS else oldest

    @property
    def minutes_end(self) -> int:
        """Rows before this second are rows of a minute; 0 when there are none: on disk all are of 10 s."""
        border = retained.minutes_end(self.store)
        return border if self.storage is None and border > self.store.first_second else 0

    def counters(self) -> dict[str, int]:
        """Steps, patches and rows written, those given up, and write errors, since the start; waiting now."""
        return self._counts | self._backlog.counts | {"waiting": len(self._backlog), "waiting_max": WAITING_MAX}

    @property
    def problem(self) -> str:
        """Why history is not being written now, or ""."""
        return self._problem

    # ---- reading

    def read(self, name: str, tags: dict[str, str] | None, start: int, end: int, step: int) -> merge.Rows:
        """The rows (storage.merge.ROW) of [start, end), one for each `step` with samples. tags None pools all series.

        start is rounded down to a step. Without a data directory a row older than ten minutes is that of its minute.
        ValueError: a step that is no multiple of 10 s, but for one below 10 s within the last minute.
        """
        start = self.checked_start(start, step)
        if step < STEP_SECONDS:  # before, there is nothing to look for
            first = retained.first_second(self.store)
            start = max(start, first - first % step)
        wanted = [one for one in self.known(name) if tags is None or one.info.tags == tags]
        parts: list[Part] = []
        for _, (steps, _, columns) in self.chunks(wanted, start, end, step):
            parts.append(merge.fold(steps - steps % step, np.zeros(len(steps), np.int64), columns))
        steps, _, columns = merge.join(parts)
        return merge.as_rows(steps, columns)

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

    def chunks(
        self, series: Sequence[Known], start: int, end: int, step: int, lead_seconds: int = 0
    ) -> Iterator[tuple[int, Part]]:
        """(chunk's start, rows) of [start, end), about CHUNK_ROWS at a time and never a step in two; each with the rows
        of `lead_seconds` before it. `start` is a multiple of `step`."""
        read = self.rows if step >= STEP_SECONDS else self.seconds
        size = max(1, CHUNK_ROWS // max(1, len(series)) * STEP_SECONDS // step) * step
        for at in range(start, end, size):
            yield at, read(series, at - lead_seconds, min(at + size, end))

    def rows(self, series: Sequence[Known], start: int, end: int) -> Part:
        """The 10-s rows that begin in [start, end), ascending; both are rounded, outwards, to 10 s."""
        start, end = start - start % STEP_SECONDS, end + -end % STEP_SECONDS
        slots = np.array([one.slot for one in series], np.int64)
        if self.storage is None:
            return _folded(retained.hour(self.store, slots, start, end))
        return _folded(self._spliced(series, slots, start, end))

    def seconds(self, series: Sequence[Known], start: int, end: int) -> Part:
        """The rows of single sealed seconds in [start, end), as far as they are kept."""
        slots = np.array([one.slot for one in series], np.int64)
        return _folded(retained.seconds(self.store, slots, start, end))

    def _spliced(self, series: Sequence[Known], slots: NDArray[np.int64], start: int, end: int) -> list[Part]:
        with self._nothing_landing():
            with self._backlog.guard:
                waiting, taken_end = self._backlog.snapshot(), self._backlog.taken_end
                ids = self._known_ids(series, slots)
            parts = [self._on_disk(ids, start, end)]
        place = np.full(self.store.capacity, -1)
        place[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
        parts += chosen(waiting, place, start, end)
        return [*parts, *retained.open_steps(self.store, slots, max(start, taken_end), end)]

    @contextmanager
    def _nothing_landing(self) -> Iterator[None]:
        if not self._landing.acquire(timeout=LANDING_SECONDS_MAX):
            raise StorageError(f"the disk has been writing a step of history for {LANDING_SECONDS_MAX:g} s; try later")
        try:
            yield
        finally:
            self._landing.release()

    def _known_ids(self, series: Sequence[Known], slots: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The ids of series, also of those that the catalogue took in after they were looked up. Under the guard."""
        ids = np.array([one.series_id for one in series], np.uint32)
        fresh = np.flatnonzero((ids == 0) & (slots >= 0))
        if len(fresh):
            _, changes = self.store.changes(self._cursor)
            is_sure = ~np.isin(slots[fresh], [slot for slot, _ in changes])
            ids[fresh] = np.where(is_sure, self._ids[slots[fresh]], 0)
        return ids

    def _on_disk(self, ids: NDArray[np.uint32], start: int, end: int) -> Part:
        places = np.flatnonzero(ids)
        if self.storage is None or not len(places):
            return merge.join([])
        places = places[np.argsort(ids[places])]
        steps, positions, columns = self.storage.history.read_columns(ids[places], start, end)
        return steps, places[positions], columns


def _folded(parts: list[Part]) -> Part:
    return merge.fold(*merge.join(parts))


def _tags_key(info: SeriesInfo) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(info.tags.items()))

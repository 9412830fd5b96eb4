"""History being written: closed steps go to disk tier by tier; past.py reads disk and memory as one.

    tick ──take(tier, step), patch(late)──► backlog ──writer thread──► catalogue (ids) ──► history, a transaction a step
                                                        └── a full hour ──► rolled from the minutes on disk
    sealer.py: blocks that have closed become tiles

Steps of 10 s and of a minute are the store's own rows, copied when they close; an hour is rolled from the minutes on
disk, so nothing accumulates in memory and nothing is replayed after a restart. The minute in which a run begins is
rolled from its 10-s steps on disk too, for the store saw only a part of it; so is what an earlier run left unrolled.

With a data directory each sealed sample is, in each tier, in exactly one place: on disk, in the backlog, or in a second
of the open step. `moving` counts when rows go from one to the other; a reader who saw that looks again (past.py).
`minutes_end` and `hours_end` tell up to where the coarser tiers have come: beyond, readers take the finer one.

Threads: `take` and `patch` are the tick's and never wait for the disk; `run` is the writer.
Errors: a write that fails is counted and tried again each RETRY_SECONDS while its step waits (limits: backlog.py).
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from hms_ops._ring import Store
from hms_ops.backlog import WAITING_MAX, Backlog, Waiting
from hms_ops.errors import StorageError
from hms_ops.late import Late, hours_of, patches
from hms_ops.roster import Known, Roster
from hms_ops.sketches import Sketches
from hms_ops.storage import merge
from hms_ops.storage.merge import Columns
from hms_ops.storage.tier import HOUR, MINUTE, TIERS
from hms_ops.tiers import SLOTS

if TYPE_CHECKING:
    from hms_ops.storage.history import History
    from hms_ops.storage.store import Storage

log = logging.getLogger("hms_ops.history")

RETRY_SECONDS: Final = 1.0
MINUTE_SECONDS: Final = TIERS[MINUTE].step_seconds
HOUR_SECONDS: Final = TIERS[HOUR].step_seconds

Follower = Callable[[int, merge.Integers, merge.Integers | None], None]
"""Is told the tier, the steps int64[k] and, if they are known, the ids int64[k] of rows that were added late."""


class Recorder:
    """Writes the store's past to a data directory; without one it takes nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.storage: Storage | None = None
        self.on_patch: Follower = lambda tier, steps, ids: None  # who wants to know of rows that came late
        self.backlog = Backlog(store.rolled_end(1))
        self.roster = Roster(store, self.backlog.guard)
        self.landing = threading.Lock()
        self.moves = 0  # odd while rows go from the backlog to disk
        self._ends = [0 for _ in TIERS]
        self._counts = dict.fromkeys(
            ("steps_written", "patches_written", "rows_written", "write_errors", "hours_rolled", "sketches_lost"), 0
        )
        self._wake = threading.Event()
        self._written = threading.Event()
        self._is_stopping = False
        self._is_caught_up = False
        self._problem = ""
        self._all_slots = np.arange(store.capacity)
        self._minutes_begun: set[int] = set()  # the minutes that the store saw only a part of
        self._dense = np.zeros((len(merge.FIELDS), 0))

    def open(self, storage: "Storage") -> None:
        """Write to a data directory from now on."""
        self.begin_anew()
        self.storage = storage
        self.roster.catalogue = storage.catalogue
        self._ends = [_end(storage.history, tier) for tier in range(len(TIERS))]

    def begin_anew(self) -> None:
        """The store's time begins where it is now: the wall clock was set. What was taken is written as it is."""
        before, now = self.backlog.begin_anew(self.store.rolled_end(1)), int(self.store.rolled_end(2))
        before -= before % MINUTE_SECONDS
        self._minutes_begun |= {before, now}
        if before < now:  # nobody will close it, so it is to be rolled from its 10-s steps as it is
            self.backlog.add_step(MINUTE, before, self._all_slots[:1], np.zeros((len(merge.FIELDS), 1)))

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Rows go from the backlog to disk meanwhile: who reads both sees that `moves` changes, or holds `landing`."""
        with self.landing:
            self.moves += 1
            try:
                yield
            finally:
                self.moves += 1

    @property
    def minutes_end(self) -> int:
        """Up to where rows of minutes are on disk: beyond, readers take those of 10 s."""
        return self._ends[MINUTE]

    @property
    def hours_end(self) -> int:
        """The same for hours."""
        return self._ends[HOUR]

    # ---- the tick's side

    def take(self, tier: int, step_start: int) -> None:
        """Copy a step for the writer, with its sketches if its tier has them: once it was rolled, before late samples
        are merged again."""
        if self.storage is None:
            return
        n, number = self.store.series_count, step_start // TIERS[tier].step_seconds
        if tier == MINUTE:
            n = max(n, 1)  # a minute without series may have 10-s steps of the run before
        columns = self.store.cols[tier + 1, :, number % SLOTS, :n].copy()
        sketches = self.store.take_sketches(tier + 1, number) if tier == MINUTE else None
        self.backlog.add_step(tier, step_start, self._all_slots[:n], columns, sketches)
        self._wake.set()

    def patch(self, late: Late | None) -> None:
        """Late samples of steps that were taken already; they are written with the next step."""
        if self.storage is not None and late is not None and len(late[0]):
            for rows in patches(late, self.store.rolled_end(2), self.store):
                self.backlog.add_late(rows)

    # ---- anybody's

    def delete(self, series: Sequence[Known]) -> None:
        """Drop these series at once: numbers on disk, what memory holds, what waits. A series that a program holds on
        to stays, empty, and begins anew. StorageError: nothing was deleted."""
        with self.roster.naming:
            if self.storage is not None:
                self.storage.catalogue.delete([one.info for one in series], self.store.now_ns())
            slots = [self.store.forget(one.info.name, one.info.tags) for one in series]
            self.backlog.forget(np.array([slot for slot in slots if slot >= 0], np.int64))
            self.roster.forget(series)

    # ---- the writer's side

    def run(self) -> None:
        """The writer's life: write what waits; after `stop`, what is left, once."""
        while True:
            self._try_to_write()
            if self._is_stopping:
                self._write_open_sketches()
                self._give_up_rest()
                return
            self._wake.wait(RETRY_SECONDS if self._problem else None)
            self._wake.clear()

    def _try_to_write(self) -> None:
        """Whatever goes wrong is told, and tried again: the writer lives as long as the engine."""
        try:
            self.write_waiting()
        except Exception as error:
            self.backlog.keep()
            log.exception("the writer of history failed")
            self._fail(f"{type(error).__name__}: {error}")

    def let_write(self) -> None:
        """Wait while much is waiting and the disk takes it: for a clock that runs faster than time."""
        while len(self.backlog) > WAITING_MAX // 2 and not self._problem and not self._is_stopping:
            self._written.wait(RETRY_SECONDS)
            self._written.clear()

    def stop(self) -> None:
        """The last step was taken: `run` writes what waits and ends."""
        self.backlog.close()
        self._is_stopping = True
        self._wake.set()

    def write_waiting(self) -> bool:
        """Write what waits, oldest first; False when the disk refused: the rest goes on waiting."""
        if self.storage is None:
            return True
        history = self.storage.history
        try:
            history.retain(self.store.now_ns())  # first: on a full disk it makes the room
            self._catch_up(history)
            while (rows := self.backlog.head()) is not None:
                self._write(history, rows)
                self._roll_hours(history)
        except StorageError as error:
            self.backlog.keep()
            self._fail(str(error))
            return False
        self._problem = ""
        return True

    def _write(self, history: "History", rows: Waiting) -> None:
        history.retain(self.store.now_ns())
        try:
            if rows.is_patch:
                self._write_patch(history, rows)
            else:
                self._write_step(history, rows)
        except StorageError:
            raise
        except Exception:  # ours: these rows would fail for ever, and all others behind them
            log.exception("step %d of history cannot be written and is given up", rows.steps[0])
            self._counts["write_errors"] += 1
            self.backlog.give_up(rows)
            return
        self._counts["patches_written" if rows.is_patch else "steps_written"] += 1
        self._written.set()

    def _write_step(self, history: "History", rows: Waiting) -> None:
        step = int(rows.steps[0])
        is_from_disk = rows.tier == MINUTE and step in self._minutes_begun and step >= self.minutes_end
        sketches, behind = self._by_id(rows.sketches), self._behind(rows)
        columns = None if is_from_disk else self._dense_rows(rows)
        is_again = step < self._ends[rows.tier]
        with self.moving():
            if columns is None:
                written = history.roll(MINUTE, step, sketches)
            else:
                written = history.append(rows.tier, step, columns, sketches)
            self._ends[rows.tier] = max(self._ends[rows.tier], step + TIERS[rows.tier].step_seconds)
            self.backlog.remove(rows, behind)
        self._dense[merge.COUNT] = 0.0
        self._counts["rows_written"] += written
        if rows.tier == MINUTE:
            self._minutes_begun.discard(step)
        if is_again:  # the clock was set back, or a run went on within the step of another
            self._tell_late(rows.tier, rows.steps[:1], None)

    def _write_patch(self, history: "History", rows: Waiting) -> None:
        ids = self.roster.ids_of(rows.slots).astype(np.int64)
        sketches, behind = self._by_id(rows.sketches), self._behind(rows)
        kept = np.flatnonzero((ids > 0) & (rows.columns[merge.COUNT] > 0))  # 0 if a series was deleted meanwhile
        kept = kept[np.lexsort((ids[kept], rows.steps[kept]))]  # they come by slot, and go by id
        patch = (rows.steps[kept], ids[kept], rows.columns[:, kept])
        with self.moving():
            written = history.append_patch(rows.tier, patch, sketches)
            self.backlog.remove(rows, behind)
        self._counts["rows_written"] += written
        self._tell_late(rows.tier, patch[0], patch[1])

    def _tell_late(self, tier: int, steps: merge.Integers, ids: merge.Integers | None) -> None:
        """What comes of it is not the writer's: the rows are on disk."""
        try:
            self.on_patch(tier, steps, ids)
        except Exception:
            log.exception("who follows history could not be told of late rows")

    def _behind(self, rows: Waiting) -> Waiting | None:
        """What of a minute's rows belongs to an hour that was rolled already, as a patch of that hour."""
        is_behind = rows.steps < self.hours_end
        if rows.tier != MINUTE or not is_behind.any():
            return None
        is_behind = is_behind & (rows.columns[merge.COUNT] > 0)
        minutes = rows.chosen(is_behind)
        if not len(minutes[0]):
            return None
        sketches = rows.sketches
        if sketches is not None:
            sketches = sketches.chosen(np.flatnonzero(sketches.steps < self.hours_end))
            hours = sketches.steps - sketches.steps % HOUR_SECONDS
            sketches = Sketches(sketches.ids, hours, sketches.offsets, sketches.data)
        return Waiting(HOUR, *hours_of(minutes, self.store), is_patch=True, sketches=sketches)

    def _dense_rows(self, rows: Waiting) -> Columns:
        """float64[6, n] by id: the form in which slabs are written. COUNT is 0 where there is no row."""
        seen = np.flatnonzero(rows.columns[merge.COUNT] > 0)
        ids = self.roster.ids_of(rows.slots[seen])
        width = int(ids.max(initial=0)) + 1
        if width > self._dense.shape[1]:
            self._dense = np.zeros((len(merge.FIELDS), max(width, 2 * self._dense.shape[1])))
        for into, field in zip(self._dense, rows.columns, strict=True):
            into[ids] = field[seen]
        self._dense[merge.COUNT, 0] = 0.0  # of series that are gone, or that the catalogue has no number for
        return self._dense[:, :width]

    def _by_id(self, sketches: Sketches | None) -> Sketches | None:
        """Sketches by slot, steps ascending, with catalogue ids, by step and id; None when there are none."""
        if sketches is None or not len(sketches):
            return None
        ids = self.roster.ids_of(sketches.ids.astype(np.int64))
        order = np.lexsort((ids, sketches.steps))
        order = order[ids[order] > 0]
        return Sketches(ids, sketches.steps, sketches.offsets, sketches.data).chosen(order) if len(order) else None

    def _catch_up(self, history: "History") -> None:
        """Once: roll the minutes and hours that an earlier run closed, or left open, and did not come to roll."""
        if self._is_caught_up:
            return
        self._catch_up_tier(history, MINUTE, int(self.store.first_second))
        self._ends[MINUTE] = max(self.minutes_end, _end(history, MINUTE))
        self._is_caught_up = True
        self._roll_hours(history)

    def _catch_up_tier(self, history: "History", tier: int, now: int) -> None:
        """Roll the steps that ended before the one `now` is in, from the first that is missing to the last that has
        finer rows."""
        seconds = TIERS[tier].step_seconds
        first, last = history.first_step(tier - 1), history.last_step(tier - 1)
        if first is None or last is None:
            return
        at = max(_end(history, tier), first - first % seconds)
        for step in range(at, min(last + 1, now - now % seconds), seconds):
            self._counts["rows_written"] += history.roll(tier, step)

    def _roll_hours(self, history: "History") -> None:
        """Hours whose last minute is on disk."""
        end = self.minutes_end - self.minutes_end % HOUR_SECONDS
        if self.hours_end >= end:
            return
        self._catch_up_tier(history, HOUR, end)
        with self.backlog.guard:
            self._ends[HOUR] = end
        self._counts["hours_rolled"] += 1

    def _write_open_sketches(self) -> None:
        """At a stop: the sketches of the open minute, for its rows can be rolled from 10-s steps and they cannot."""
        start, end = int(self.store.rolled_end(2)), int(self.store.sealed_second) + 1
        if self.storage is None or start >= end:
            return
        slots = np.arange(self.store.series_count, dtype=np.int32)
        blobs = self.store.sketch_groups(slots, np.arange(len(slots) + 1), start, end)
        found = np.flatnonzero([len(blob) > 0 for blob in blobs])
        if not len(found):
            return
        offsets = np.concatenate([[0], np.cumsum([len(blobs[slot]) for slot in found])]).astype(np.int64)
        steps = np.full(len(found), start, np.int64)
        try:
            sketches = self._by_id(Sketches(found.astype(np.uint32), steps, offsets, b"".join(blobs)))
            if sketches is not None:
                self.storage.history.append_patch(MINUTE, merge.join([]), sketches)
        except StorageError as error:
            self._counts["sketches_lost"] += len(found)
            self._fail(str(error))

    def _fail(self, problem: str) -> None:
        is_news = problem != self._problem
        self._problem = problem  # before the counter: whoever sees the error counted finds why
        self._counts["write_errors"] += 1
        if is_news:
            log.error("history is not written, the steps wait in memory: %s", problem)

    def _give_up_rest(self) -> None:
        lost = 0
        while (rows := self.backlog.head()) is not None:
            self.backlog.give_up(rows)
            lost += 1
        if lost:
            log.error("%d steps of history are lost: %s", lost, self._problem)

    # ---- what it says of itself

    def counters(self) -> dict[str, int]:
        """Steps, patches and rows written, those given up, and write errors, since the start; waiting now."""
        return self._counts | self.backlog.counts | {"waiting": len(self.backlog), "waiting_max": WAITING_MAX}

    @property
    def problem(self) -> str:
        """Why history is not being written now, or is written in part only; or ""."""
        refused = self.storage.history.problem if self.storage is not None else ""
        return self._problem or refused


def _end(history: "History", tier: int) -> int:
    last = history.last_step(tier)
    return 0 if last is None else last + TIERS[tier].step_seconds

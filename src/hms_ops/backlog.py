"""What waits for the disk: closed steps and late samples, in the order they are to be written.

    tick ──add_step──► waiting ──head──► writer ──remove──► (on disk)
    tick ──add_late──► late ──┘ joined to one patch of each tier with the next 10-s step

Late samples are gathered for a step's time, because each block they touch costs a transaction of its own. What was
written late to a finer tier may have to follow in a coarser one: `remove` puts it in the head's place at once.
A reader's `snapshot` and the writer's `remove` are one moment each, so nothing is ever seen twice or in between.

Data: a Waiting's rows ascend by (step, slot); those of a closed step come with the silent series, whose COUNT is 0.
Threads: the tick adds, the writer takes the head, anybody takes a snapshot; the lock is held for microseconds.
Limits: WAITING_MAX steps and patches and WAITING_BYTES_MAX; beyond, the oldest that is not being written is given up
and counted (`steps_lost`, `patches_lost`). Nothing here touches the disk.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.sketches import Sketches, joined
from hms_ops.storage import merge
from hms_ops.storage.merge import Columns, Part
from hms_ops.storage.tier import TIERS

WAITING_MAX: Final = 120  # a step and a patch each 10 s, and the minutes: nine minutes, 17 without patches
WAITING_BYTES_MAX: Final = 512 << 20
STEP_SECONDS: Final = TIERS[0].step_seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows on their way to a tier. steps int64[k] (starts, Unix seconds), slots int64[k], columns float64[6, k].

    sketches: those of the same steps, by slot; of minutes and longer.
    """

    tier: int
    steps: merge.Integers
    slots: NDArray[np.int64]
    columns: Columns
    is_patch: bool
    sketches: Sketches | None = None

    @property
    def bytes(self) -> int:
        return self.columns.nbytes + (len(self.sketches.data) if self.sketches is not None else 0)

    def first_block(self) -> "Waiting":
        """What one transaction writes."""
        return self._part(0, self._first_block_rows())

    def after_first_block(self) -> "Waiting":
        """The rest; without rows when there is none."""
        return self._part(self._first_block_rows(), len(self.steps))

    def chosen(self, is_chosen: NDArray[np.bool_]) -> Part:
        """The rows chosen, as merge has them: (steps, slots, columns)."""
        return self.steps[is_chosen], self.slots[is_chosen], self.columns[:, is_chosen]

    def _first_block_rows(self) -> int:
        tier = TIERS[self.tier]
        end = tier.block_start(int(self.steps[0])) + tier.block_seconds
        return int(np.searchsorted(self.steps, end))

    def _part(self, start: int, end: int) -> "Waiting":
        if end - start == len(self.steps):
            return self
        steps, sketches = self.steps[start:end], self.sketches
        if sketches is not None and len(steps):
            inside = (sketches.steps >= steps[0]) & (sketches.steps <= steps[-1])
            sketches = sketches.chosen(np.flatnonzero(inside))
        return Waiting(self.tier, steps, self.slots[start:end], self.columns[:, start:end], self.is_patch, sketches)


class Backlog:
    """taken_end: seconds before this one have been added by step, so nobody is to read them in the store."""

    def __init__(self, taken_end: int) -> None:
        self.taken_end = taken_end
        self.guard = threading.Lock()
        self.counts = {"steps_lost": 0, "patches_lost": 0}
        self._waiting: deque[Waiting] = deque()
        self._late: list[Waiting] = []
        self._is_writing = False
        self._written: Waiting | None = None  # what `head` gave out

    def __len__(self) -> int:
        return len(self._waiting) + bool(self._late)

    def begin_anew(self, taken_end: int) -> int:
        """The clock was set: steps are added from this second on. Returns where they were before."""
        with self.guard:
            before, self.taken_end = self.taken_end, taken_end
        return before

    def add_step(
        self, tier: int, start: int, slots: NDArray[np.int64], columns: Columns, sketches: Sketches | None = None
    ) -> None:
        """A closed step, and behind one of 10 s what came late since the last one."""
        steps = np.broadcast_to(np.int64(start), len(slots))
        with self.guard:
            self._put(Waiting(tier, steps, slots, columns, False, sketches))
            if tier == 0:
                self.taken_end = start + STEP_SECONDS
                self._put_late()

    def add_late(self, rows: Waiting) -> None:
        """A patch: samples whose step of that tier was added before."""
        with self.guard:
            self._late.append(rows)

    def close(self) -> None:
        """No step will come any more: late samples wait no longer."""
        with self.guard:
            self._put_late()

    def head(self) -> Waiting | None:
        """The oldest rows, of one block, for the writer; they stay here until `remove` or `keep`."""
        with self.guard:
            self._is_writing = bool(self._waiting)
            self._written = self._waiting[0].first_block() if self._waiting else None
            return self._written

    def remove(self, rows: Waiting, follows: Waiting | None = None) -> bool:
        """The head, `rows`, was written; `follows` is to be written next: what of it a coarser tier lacks now. False
        when it is the head no more."""
        with self.guard:
            if self._written is not rows:
                return False
            self._is_writing, self._written = False, None
            rest = self._waiting.popleft().after_first_block()
            if len(rest.steps):
                self._waiting.appendleft(rest)
            if follows is not None:
                self._waiting.appendleft(follows)
            return True

    def keep(self) -> None:
        """The head was not written and waits on."""
        self._is_writing = False

    def give_up(self, rows: Waiting) -> None:
        """The head will never be written."""
        if self.remove(rows):
            self._count_lost(rows)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """These series were deleted: what waits of them goes nowhere, but for the head if it is being written."""
        with self.guard:
            for rows in self.snapshot():
                rows.columns[merge.COUNT, np.isin(rows.slots, slots)] = 0.0
            self._late = [_without(rows, slots) for rows in self._late]
            self._waiting = deque(_without(rows, slots) for rows in self._waiting)

    def snapshot(self) -> list[Waiting]:
        """All that waits, in the order it will be written. The caller holds the guard."""
        return [*self._waiting, *self._late]

    def _put_late(self) -> None:
        late, self._late = self._late, []
        for tier in range(len(TIERS)):
            parts = [part for part in late if part.tier == tier]
            if parts:
                rows = merge.fold(*merge.join([(part.steps, part.slots, part.columns) for part in parts]))
                sketches = joined([part.sketches for part in parts if part.sketches is not None])
                self._put(Waiting(tier, *rows, is_patch=True, sketches=sketches if len(sketches) else None))

    def _put(self, rows: Waiting) -> None:
        if not len(rows.steps):
            return
        self._waiting.append(rows)
        oldest = int(self._is_writing)
        while len(self._waiting) > oldest + 1 and self._is_too_much():
            self._count_lost(self._waiting[oldest])
            del self._waiting[oldest]

    def _is_too_much(self) -> bool:
        return len(self._waiting) > WAITING_MAX or sum(x.bytes for x in self._waiting) > WAITING_BYTES_MAX

    def _count_lost(self, rows: Waiting) -> None:
        self.counts["patches_lost" if rows.is_patch else "steps_lost"] += 1


def _without(rows: Waiting, slots: NDArray[np.int64]) -> Waiting:
    """The same without the sketches of some slots."""
    if rows.sketches is None:
        return rows
    return replace(rows, sketches=rows.sketches.chosen(np.flatnonzero(~np.isin(rows.sketches.ids, slots))))

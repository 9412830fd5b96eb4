"""What waits for the disk: closed steps and late samples, in the order they are to be written.

    tick ──add_step──► waiting ──head──► writer ──remove──► (on disk)
    tick ──add_late──► late ──┘ joined to one patch with the next step

Late samples are gathered for a step's time, because each step they touch costs a transaction of its own.
A reader's `snapshot` and the writer's `remove` are one moment each, so nothing is ever seen twice or in between.

Data: a Waiting's rows ascend by (step, slot); those of a closed step come with the silent series, whose COUNT is 0.
Threads: the tick adds, the writer takes the head, anybody takes a snapshot; the lock is held for microseconds.
Limits: WAITING_MAX steps and patches and WAITING_BYTES_MAX; beyond, the oldest that is not being written is given up
and counted (`steps_lost`, `patches_lost`). Nothing here touches the disk.
"""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.storage import merge
from hms_ops.storage.block import Columns

WAITING_MAX: Final = 120  # a step and a patch each 10 s: ten minutes
WAITING_BYTES_MAX: Final = 512 << 20
STEP_SECONDS: Final = 10

Late = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
Part = tuple[merge.Integers, merge.Integers, Columns]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows on their way to disk. steps int64[k] (starts, Unix seconds), slots int64[k], columns float64[6, k]."""

    steps: merge.Integers
    slots: NDArray[np.int64]
    columns: Columns
    is_patch: bool

    def first_step(self) -> "Waiting":
        """What one transaction writes."""
        return self._part(0, int(np.searchsorted(self.steps, self.steps[0], "right")))

    def after(self, rows: int) -> "Waiting":
        """The rest behind the first `rows`."""
        return self._part(rows, len(self.steps))

    def _part(self, start: int, end: int) -> "Waiting":
        return Waiting(self.steps[start:end], self.slots[start:end], self.columns[:, start:end], self.is_patch)


class Backlog:
    """taken_end: seconds before this one have been added by step, so nobody is to read them in the store."""

    def __init__(self, taken_end: int) -> None:
        self.taken_end = taken_end
        self.guard = threading.Lock()
        self.counts = {"steps_lost": 0, "patches_lost": 0}
        self._waiting: deque[Waiting] = deque()
        self._late: list[Waiting] = []
        self._is_writing = False

    def __len__(self) -> int:
        return len(self._waiting) + bool(self._late)

    def add_step(self, start: int, slots: NDArray[np.int64], columns: Columns) -> None:
        """A closed step, and behind it what came late since the last one."""
        steps = np.broadcast_to(np.int64(start), len(slots))
        with self.guard:
            self.taken_end = start + STEP_SECONDS
            self._put(Waiting(steps, slots, columns, is_patch=False))
            self._put_late()

    def add_late(self, late: Late) -> None:
        """Samples whose step was added before."""
        slots, seconds, values, weights = late
        columns = np.array([weights, values * weights, np.zeros(len(slots)), values, values, values])
        rows = Waiting(*merge.fold(seconds - seconds % STEP_SECONDS, slots.astype(np.int64), columns), is_patch=True)
        with self.guard:
            self._late.append(rows)

    def close(self) -> None:
        """No step will come any more: late samples wait no longer."""
        with self.guard:
            self._put_late()

    def head(self) -> Waiting | None:
        """The oldest step's rows, for the writer; they stay here until `remove` or `keep`."""
        with self.guard:
            self._is_writing = bool(self._waiting)
            return self._waiting[0].first_step() if self._waiting else None

    def remove(self, rows: Waiting) -> None:
        """The head was written."""
        with self.guard:
            self._is_writing = False
            head = self._waiting.popleft()
            if len(rows.steps) < len(head.steps):
                self._waiting.appendleft(head.after(len(rows.steps)))

    def keep(self) -> None:
        """The head was not written and waits on."""
        self._is_writing = False

    def give_up(self, rows: Waiting) -> None:
        """The head will never be written."""
        self.remove(rows)
        self._count_lost(rows)

    def snapshot(self) -> list[Waiting]:
        """All that waits, in the order it will be written. The caller holds the guard."""
        return [*self._waiting, *self._late]

    def _put_late(self) -> None:
        late, self._late = self._late, []
        rows = merge.fold(*merge.join([(part.steps, part.slots, part.columns) for part in late]))
        if late:
            self._put(Waiting(*rows, is_patch=True))

    def _put(self, rows: Waiting) -> None:
        if not len(rows.steps):
            return
        self._waiting.append(rows)
        oldest = int(self._is_writing)
        while len(self._waiting) > oldest + 1 and self._is_too_much():
            self._count_lost(self._waiting[oldest])
            del self._waiting[oldest]

    def _is_too_much(self) -> bool:
        return len(self._waiting) > WAITING_MAX or sum(x.columns.nbytes for x in self._waiting) > WAITING_BYTES_MAX

    def _count_lost(self, rows: Waiting) -> None:
        self.counts["patches_lost" if rows.is_patch else "steps_lost"] += 1


def chosen(waiting: Iterable[Waiting], place: NDArray[np.int64], start: int, end: int) -> list[Part]:
    """The rows of steps in [start, end) of the series that have a place: int64[capacity] by slot, -1 for none."""
    parts = []
    for rows in waiting:
        places = place[rows.slots]
        is_in = (places >= 0) & (rows.columns[merge.COUNT] > 0) & (rows.steps >= start) & (rows.steps < end)
        parts.append((rows.steps[is_in], places[is_in], rows.columns[:, is_in]))
    return parts

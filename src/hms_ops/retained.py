"""The rows that the store's columns still hold, as history has rows: seconds, steps of 10 s, minutes.

Read by the recorder, for what is not on disk or when there is no disk. Rows are parts of storage/merge.py: step starts
int64[k], places of series int64[k], columns float64[6, k]. `slots` is int64[n] by place, -1 for a series that is not in
the store. Nothing is locked: a row is read while it is kept (three steps and more before its slot is written again).
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.backlog import STEP_SECONDS
from hms_ops.sketches import Sketches
from hms_ops.storage import merge
from hms_ops.storage.merge import Part
from hms_ops.tiers import KEPT_STEPS, SLOTS, TIER_SECONDS

KEPT_SECONDS: Final = 60


def first_second(store: Store) -> int:
    """The oldest second that is kept by itself."""
    return int(max(store.first_second, store.sealed_second - KEPT_SECONDS + 1))


def minutes_end(store: Store) -> int:
    """Where memory's steps of 10 s begin, on a whole minute: what is older is kept by minute."""
    return _minutes_end(store.rolled_end(1))


def seconds(store: Store, slots: NDArray[np.int64], start: int, end: int) -> list[Part]:
    """Sealed seconds in [start, end)."""
    end = min(end, store.sealed_second + 1)
    return list(_rows(store, 0, slots, max(start, first_second(store)), end))


def open_steps(store: Store, slots: NDArray[np.int64], start: int, end: int) -> list[Part]:
    """Sealed seconds in [start, end), each as a row of its 10-s step."""
    found = _rows(store, 0, slots, start, min(end, store.sealed_second + 1))
    return [(steps - steps % STEP_SECONDS, places, columns) for steps, places, columns in found]


def hour(store: Store, slots: NDArray[np.int64], start: int, end: int) -> list[Part]:
    """All of [start, end) that memory has: minutes before `minutes_end`, then steps of 10 s, then the open one."""
    closed_end, hour_end = store.rolled_end(1), store.rolled_end(2)  # once: the tick moves them on
    border = _minutes_end(closed_end)
    begin = store.first_second  # what lies before may be another time's: the clock was set
    minutes = _rows(store, 2, slots, max(start, begin - begin % 60, hour_end - KEPT_STEPS * 60), min(end, border))
    tens = _rows(store, 1, slots, max(start, begin - begin % STEP_SECONDS, border), min(end, closed_end))
    return [*minutes, *tens, *open_steps(store, slots, max(start, closed_end), end)]


def sketches(store: Store, slots: NDArray[np.int64], start: int, end: int, row_seconds: int) -> Sketches:
    """The sketches of the steps of `row_seconds` (10 or 60) in [start, end) that memory has; ids are places in `slots`.

    What has no sketches, or none in a step, has none here either.
    """
    alive = np.flatnonzero(slots >= 0)
    first = max(start, _sketches_start(store, row_seconds))
    last = min(end, store.sealed_second + 1)
    found: list[tuple[int, int, bytes]] = []
    members, groups = slots[alive].astype(np.int32), np.arange(len(alive) + 1)
    for step in range(first - first % row_seconds, last, row_seconds) if len(alive) else ():
        blobs = store.sketch_groups(members, groups, step, min(step + row_seconds, last))
        found += [(step, int(place), blob) for place, blob in zip(alive, blobs, strict=True) if blob]
    return Sketches(
        np.array([place for _, place, _ in found], np.uint32),
        np.array([step for step, _, _ in found], np.int64),
        np.concatenate([[0], np.cumsum([len(blob) for _, _, blob in found])]).astype(np.int64),
        b"".join([blob for _, _, blob in found]),
    )


def _sketches_start(store: Store, row_seconds: int) -> int:
    kept_end = store.rolled_end(2 if row_seconds == 60 else 1)
    return int(max(store.first_second, kept_end - KEPT_STEPS * row_seconds))


def _minutes_end(closed_end: int) -> int:
    return -(-(closed_end - KEPT_STEPS * STEP_SECONDS) // 60) * 60


def _rows(store: Store, tier: int, slots: NDArray[np.int64], start: int, end: int) -> Iterator[Part]:
    """The rows of a tier that begin in [start, end)."""
    step = TIER_SECONDS[tier]
    alive = np.flatnonzero(slots >= 0)
    if not len(alive):
        return
    for number in range(-(-start // step), -(-end // step)):
        columns = store.cols[tier, :, number % SLOTS][:, slots[alive]]
        seen = columns[merge.COUNT] > 0
        if seen.any():
            yield np.full(int(seen.sum()), number * step), alive[seen], columns[:, seen]

"""Samples that came after their step had closed, as rows and sketches: what a patch of history is made of.

From the store's `merge_late`, by way of the recorder to its backlog. A patch is merged behind what is on disk, so its
LAST would count as the later one; it is therefore what the store says of the whole step: what came in time came last.
Only of a step that the store no longer keeps, or saw nothing of in time, a late sample is the LAST.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.backlog import Waiting
from hms_ops.sketches import Sketches
from hms_ops.storage import merge
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS
from hms_ops.tiers import KEPT_STEPS, SLOTS

Late = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""slots, seconds, values and weights of n samples."""


def patches(late: Late, minutes_end: int, store: Store) -> Iterator[Waiting]:
    """The patch of the 10-s tier, and that of the 1-min tier for the minutes that had closed before `minutes_end`."""
    yield Waiting(TEN_SECONDS, *_rows(late, TEN_SECONDS, store), is_patch=True)
    is_closed = late[1] < minutes_end
    if is_closed.any():
        slots, seconds, values, weights = late
        minutes = (slots[is_closed], seconds[is_closed], values[is_closed], weights[is_closed])
        yield Waiting(MINUTE, *_rows(minutes, MINUTE, store), is_patch=True, sketches=_sketches(minutes, store))


def hours_of(minutes: merge.Part, store: Store) -> merge.Part:
    """The rows of minutes, by slot, as rows of their hours."""
    steps, slots, columns = minutes
    seconds = TIERS[HOUR].step_seconds
    hours = merge.fold(steps - steps % seconds, slots, columns)
    for minute in range(TIERS[HOUR].step_seconds // TIERS[MINUTE].step_seconds):
        _set_last(hours, hours[0] + minute * TIERS[MINUTE].step_seconds, MINUTE, store)
    return hours


def _rows(late: Late, tier: int, store: Store) -> merge.Part:
    slots, seconds, values, weights = late
    columns = np.array([weights, values * weights, np.zeros(len(slots)), values, values, values])
    rows = merge.fold(seconds - seconds % TIERS[tier].step_seconds, slots.astype(np.int64), columns)
    _set_last(rows, rows[0], tier, store)
    return rows


def _set_last(rows: merge.Part, steps: merge.Integers, tier: int, store: Store) -> None:
    """Give each row the LAST of that step, int64[k], of its series in the store, where it keeps one."""
    seconds, slots, columns = TIERS[tier].step_seconds, rows[1], rows[2]
    numbers, end = steps // seconds, int(store.rolled_end(tier + 1)) // seconds
    begin = max(end - KEPT_STEPS, int(store.first_second) // seconds)
    kept = np.flatnonzero((numbers >= begin) & (numbers < end))
    places = (numbers[kept] % SLOTS, slots[kept])
    seen = store.cols[tier + 1, merge.COUNT][places] > 0
    columns[merge.LAST, kept[seen]] = store.cols[tier + 1, merge.LAST][places][seen]


def _sketches(late: Late, store: Store) -> Sketches | None:
    """One for each series with percentiles and minute; None without any."""
    from hms_ops._sketch import from_values

    slots, seconds, values, weights = late
    steps = seconds - seconds % TIERS[MINUTE].step_seconds
    with_sketch = [slot for slot in np.unique(slots).tolist() if _has_sketch(store, slot)]
    chosen = np.flatnonzero(np.isin(slots, with_sketch))
    if not len(chosen):
        return None
    order = chosen[np.lexsort((slots[chosen], steps[chosen]))]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (steps[order][1:] != steps[order][:-1]) | (slots[order][1:] != slots[order][:-1])
    first = np.flatnonzero(is_first)
    blobs = [from_values(values[part], weights[part]) for part in np.split(order, first[1:])]
    offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
    return Sketches(slots[order][first], steps[order][first], offsets, b"".join(blobs))


def _has_sketch(store: Store, slot: int) -> bool:
    try:
        return store.series(slot).kind in kinds.WITH_SKETCH
    except KeyError:
        return False

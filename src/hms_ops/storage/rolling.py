"""Rolling up: the rows and sketches of all series in a step of a coarser tier, made of the finer tier on disk.

Patches are included; it does not matter whether the finer block is sealed. Sketches are merged SKETCH_IDS series at a
time, so memory follows the result: 48 bytes a series and its merged sketches.
"""

from typing import Final

import numpy as np

from hms_ops import _sketch
from hms_ops.sketches import Sketches, joined
from hms_ops.storage.merge import COUNT
from hms_ops.storage.reading import read_dense, read_sketches
from hms_ops.storage.row import Columns, Ids
from hms_ops.storage.shelf import Shelf

SKETCH_IDS: Final = 8192


def rolled_rows(finer: Shelf, start: int, end: int) -> Columns:
    """The rows of all series in [start, end), within one block of `finer`: float64[6, n] by id."""
    return read_dense(finer, start, end)


def rolled_sketches(finer: Shelf, start: int, end: int, columns: Columns) -> Sketches | None:
    """One sketch for each series of `columns` that has any in [start, end), at step `start`; None when none has."""
    ids = np.flatnonzero(columns[COUNT] > 0).astype(np.uint32)
    parts: list[Sketches] = []
    for at in range(0, len(ids), SKETCH_IDS):
        found = read_sketches(finer, ids[at : at + SKETCH_IDS], start, end)
        if len(found):
            parts.append(merged(found, ids[at : at + SKETCH_IDS], start))
    return joined(parts) if parts else None


def merged(sketches: Sketches, ids: Ids, step: int) -> Sketches:
    """The sketches of each place merged into one, of ids[place], at `step`."""
    order = np.argsort(sketches.ids, kind="stable")
    sorted_ = sketches.chosen(order)
    first = np.flatnonzero(np.diff(sorted_.ids, prepend=sorted_.ids[:1] + np.uint32(1)))
    groups = np.append(first, len(order)).astype(np.int64)
    data, offsets = _sketch.merge_groups(sorted_.data, sorted_.offsets, groups)
    return Sketches(ids[sorted_.ids[first]], np.full(len(first), step, np.int64), offsets, data)

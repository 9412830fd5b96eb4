"""Writing one tier: closed steps as slabs, what comes late as patches, each environment in one synced transaction.

A step goes to the slabs of its block, encoded against the block's last key slab; a step that is there already gets a
further part. Rows that come for a sealed block become patch tiles: tiles of few rows behind the block's own, which
readers merge (patches.py). A block that is over and has no slabs (old data that
is imported) is written as patch tiles too, and marked, as if it had been sealed empty.

Called by the one writer thread, under `shelf.landing`, so that a block is never marked between the look at it and the
write. Nothing is changed when a function raises, but that a patch over several environments may have got to some of
them: `write_patch` tells how far. Errors: StorageError when the disk fails, ValueError for rows that cannot be.
"""

from collections.abc import Callable

import numpy as np

from hms_ops.errors import StorageError
from hms_ops.sketches import Sketches
from hms_ops.storage import keys, sketchblock, slab
from hms_ops.storage.environment import Transaction
from hms_ops.storage.merge import COUNT
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.patches import Rows, between, commit, next_sequence, write_tiles
from hms_ops.storage.row import Columns
from hms_ops.storage.shelf import Shelf


def write_step(shelf: Shelf, step: int, columns: Columns, sketches: Sketches | None) -> int:
    """All series of a closed step, float64[6, n] by id; returns the bytes written."""
    block = shelf.tier.block_start(step)
    if block in shelf.sealed:
        return write_tiles(shelf, shelf.tier.partition_start(block), _dense_rows(step, columns), sketches)
    try:
        return _write_slab(shelf, block, step, columns, sketches)
    except EnvironmentDamaged:
        shelf.slabs.put_aside(block)
        return _write_slab(shelf, block, step, columns, sketches)


def _write_slab(shelf: Shelf, block: int, step: int, columns: Columns, sketches: Sketches | None) -> int:
    try:
        data = _step_data(shelf, step, columns, _has_step(shelf, block, step))
        data += _sketch_data(shelf, step, step + 1, sketches)
        shelf.slabs.create(block).commit(lambda transaction: _put_slabs(transaction, data))
    except BaseException:
        shelf.writer.begin_anew()  # what it encoded last is not on disk: nothing may refer to it
        raise
    return sum(len(value) for _, _, value in data)


def write_patch(shelf: Shelf, rows: Rows, sketches: Sketches | None, is_over: Callable[[int], bool]) -> tuple[int, int]:
    """Rows of any past steps; returns (how many of the first ones are on disk, bytes written).

    `is_over(second)`: whether that second is past. StorageError: none is on disk.
    """
    done = written = 0
    for partition, start, end in _targets(shelf, rows, sketches, is_over):
        first, last = (int(np.searchsorted(rows.steps, at)) for at in (start, end))
        part = rows.part(first, last)
        blobs = between(sketches, start, end)
        try:
            if partition is None:
                written += _write_parts(shelf, start, part, blobs)
            else:
                written += write_tiles(shelf, partition, part, blobs)
        except StorageError:
            if written == 0:
                raise
            return done, written
        done = last
    return done, written


def _targets(
    shelf: Shelf, rows: Rows, sketches: Sketches | None, is_over: Callable[[int], bool]
) -> list[tuple[int | None, int, int]]:
    """(partition of tiles or None for slabs, start, end) of the environments that steps go to, ascending: each open
    block, and neighbours of a partition together."""
    steps = rows.steps if sketches is None else np.concatenate([rows.steps, sketches.steps])
    targets: list[tuple[int | None, int, int]] = []
    for block in np.unique(steps - steps % shelf.tier.block_seconds).tolist():
        end = block + shelf.tier.block_seconds
        is_tiles = block in shelf.sealed or (block not in shelf.slabs and is_over(end))
        partition = shelf.tier.partition_start(block) if is_tiles else None
        if targets and is_tiles and targets[-1][0] == partition:
            targets[-1] = (partition, targets[-1][1], end)
        else:
            targets.append((partition, block, end))
    return targets


SlabData = list[tuple[int, int, bytes]]
"""step, kind, value."""


def _has_step(shelf: Shelf, block: int, step: int) -> bool:
    environment = shelf.slabs.get(block)
    if environment is None:
        return False
    with environment.read() as transaction:
        return transaction.get(keys.slab_key(step)) is not None


def _step_data(shelf: Shelf, step: int, columns: Columns, is_there: bool) -> SlabData:
    seconds = shelf.tier.step_seconds
    if is_there:
        rows = _dense_rows(step, columns)
        return [(step, keys.ROWS, slab.encode_rows(step, seconds, rows.ids, rows.columns))] if len(rows.ids) else []
    block = shelf.tier.block_start(step)
    if block != shelf.written_block:
        shelf.writer.begin_anew()
        shelf.written_block = block
    if not columns[COUNT].any():
        return []
    return [(step, keys.ROWS, shelf.writer.encode(step, seconds, columns))]


def _sketch_data(shelf: Shelf, start: int, end: int, sketches: Sketches | None) -> SlabData:
    part = between(sketches, start, end)
    if part is None or not len(part):
        return []
    return [
        (int(step), keys.SKETCHES, sketchblock.pack(shelf.tier.step_seconds, _of_step(part, step)))
        for step in np.unique(part.steps)
    ]


def _of_step(sketches: Sketches, step: int) -> Sketches:
    index = np.flatnonzero(sketches.steps == step)
    return sketches if len(index) == len(sketches) else sketches.chosen(index)


def _put_slabs(transaction: Transaction, data: SlabData) -> None:
    for step, kind, value in data:
        sequence = next_sequence(transaction, keys.slab_key(step, kind), keys.slab_key(step, kind, 0xFFFF_FFFF))
        transaction.put(keys.slab_key(step, kind, sequence), value)


def _write_parts(shelf: Shelf, block: int, rows: Rows, sketches: Sketches | None) -> int:
    """A part for each step of an open block."""
    edges = np.flatnonzero(np.diff(rows.steps)) + 1
    data: SlabData = _sketch_data(shelf, block, block + shelf.tier.block_seconds, sketches)
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(rows.steps)], strict=True):
        if last > first:
            step, part = int(rows.steps[first]), rows.part(first, last)
            value = slab.encode_rows(step, shelf.tier.step_seconds, part.ids, part.columns)
            data.append((step, keys.ROWS, value))
    commit(shelf.slabs, block, shelf.slabs.put_aside, lambda transaction: _put_slabs(transaction, data))
    return sum(len(value) for _, _, value in data)


def _dense_rows(step: int, columns: Columns) -> Rows:
    ids = np.flatnonzero(columns[COUNT] > 0)
    ids = ids[ids > 0]
    return Rows(np.full(len(ids), step, np.int64), ids.astype(np.uint32), np.ascontiguousarray(columns[:, ids]))

"""Patch tiles: what comes for a block that is sealed, as tiles of few rows behind the block's own.

Readers merge them. More than PATCHES_MAX of a tile, of rows or of sketches, are merged to one. Called by the writer,
and by the sealer for what came while it sealed, both under `shelf.landing`.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import numpy as np

from hms_ops import _sketch
from hms_ops.sketches import Sketches, joined
from hms_ops.storage import keys, sketchblock, tile
from hms_ops.storage._gather import Gather
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.environment import Transaction
from hms_ops.storage.inventory import keys_sum
from hms_ops.storage.merge import Integers
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.partition import Partitions
from hms_ops.storage.row import Columns, Ids
from hms_ops.storage.shelf import Marker, Shelf

PATCHES_MAX: Final = 32
"""Parts of a tile; a reader decodes each."""

T = TypeVar("T")
Put = Callable[[Transaction], None]


class Rows(NamedTuple):
    """Rows on their way to disk: steps int64[k] ascending, ids uint32[k] > 0, columns float64[6, k], COUNT > 0."""

    steps: Integers
    ids: Ids
    columns: Columns

    def part(self, start: int, end: int) -> "Rows":
        return Rows(self.steps[start:end], self.ids[start:end], self.columns[:, start:end])

    def chosen(self, index: Integers) -> "Rows":
        return Rows(self.steps[index], self.ids[index], self.columns[:, index])


def between(sketches: Sketches | None, start: int, end: int) -> Sketches | None:
    if sketches is None:
        return None
    index = np.flatnonzero((sketches.steps >= start) & (sketches.steps < end))
    return sketches if len(index) == len(sketches) else sketches.chosen(index) if len(index) else None


def write_tiles(shelf: Shelf, partition: int, rows: Rows, sketches: Sketches | None) -> int:
    """Patch tiles of any blocks of a partition, and their markers."""
    markers: dict[int, Marker] = {}
    written = 0
    if not len(rows.steps) and sketches is None:
        return 0

    def put(transaction: Transaction) -> None:
        nonlocal written
        written = 0
        markers.clear()
        for block in range(partition, partition + shelf.tier.partition_seconds, shelf.tier.block_seconds):
            end = block + shelf.tier.block_seconds
            first, last = (int(np.searchsorted(rows.steps, at)) for at in (block, end))
            blobs = between(sketches, block, end)
            if first == last and blobs is None:
                continue
            keys_before = keys_sum(transaction, block)
            written += put_patches(transaction, shelf, block, rows.part(first, last), blobs)
            keys_added = keys_sum(transaction, block) - keys_before
            markers[block] = _widened(shelf, block, rows.steps[first:last], blobs, keys_added)
            transaction.put(keys.tile_key(block, keys.MARKER), markers[block].pack())

    commit(shelf.tiles, partition, shelf.put_tiles_aside, put)
    for block, marker in markers.items():
        shelf.mark(block, marker)
    return written


def put_patches(transaction: Transaction, shelf: Shelf, block: int, rows: Rows, sketches: Sketches | None) -> int:
    """Put rows and sketches of a block behind its tiles; returns the bytes."""
    written = 0
    numbers = rows.ids // keys.TILE_IDS
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    for index in np.split(order, edges) if len(order) else []:
        written += _put_patch(transaction, shelf, block, int(numbers[index[0]]), rows.chosen(index))
    if sketches is not None:
        for number, part in _by_tile(sketches):
            written += _put_sketch_patch(transaction, shelf, block, number, part)
    return written


def packed_by_tile(step_seconds: int, sketches: Sketches) -> Iterator[tuple[int, bytes]]:
    """(tile, sketch record) of sketches in any order."""
    for number, part in _by_tile(sketches):
        yield number, sketchblock.pack(step_seconds, part)


def _by_tile(sketches: Sketches) -> Iterator[tuple[int, Sketches]]:
    """(tile, its sketches) of sketches in any order."""
    if not len(sketches):
        return
    order = np.lexsort((sketches.steps, sketches.ids))
    edges = np.flatnonzero(np.diff(sketches.ids[order] // keys.TILE_IDS)) + 1
    for index in np.split(order, edges):
        part = sketches.chosen(index)
        yield int(part.ids[0]) // keys.TILE_IDS, part


def _put_patch(transaction: Transaction, shelf: Shelf, block: int, number: int, rows: Rows) -> int:
    first_id = number * keys.TILE_IDS
    sequence = max(1, _next_tile(transaction, block, number, keys.ROWS))
    before: dict[bytes, Rows] = {}
    if sequence > PATCHES_MAX:
        before = _patches(transaction, block, number)
        sequence = 1 if before else sequence
    for key in before:
        transaction.delete(key)
    folded = _folded(shelf, block, first_id, [*before.values(), rows])
    data = tile.encode_rows(block, shelf.tier.step_seconds, first_id, *folded)
    transaction.put(keys.tile_key(block, number, keys.ROWS, sequence), data)
    return len(data)


def _put_sketch_patch(transaction: Transaction, shelf: Shelf, block: int, number: int, sketches: Sketches) -> int:
    sequence = max(1, _next_tile(transaction, block, number, keys.SKETCHES))
    if sequence > PATCHES_MAX:
        before = _sketch_patches(transaction, block, number)
        with suppress(ValueError):  # a sketch that is none: they stay as they are
            sketches = _merged(joined([*before.values(), sketches]))
            sequence = 1 if before else sequence
            for key in before:
                transaction.delete(key)
    data = sketchblock.pack(shelf.tier.step_seconds, sketches)
    transaction.put(keys.tile_key(block, number, keys.SKETCHES, sequence), data)
    return len(data)


def _patches(transaction: Transaction, block: int, number: int) -> dict[bytes, Rows]:
    """The rows of all patches of a tile by their keys; none when one of them cannot be read: it must not be lost."""
    return _readable(transaction, block, number, keys.ROWS, lambda data: Rows(*tile.select(data, None, 0, 1 << 62)))


def _sketch_patches(transaction: Transaction, block: int, number: int) -> dict[bytes, Sketches]:
    """The same of sketches."""
    return _readable(transaction, block, number, keys.SKETCHES, lambda data: sketchblock.select(data, None, 0, 1 << 62))


def _readable(
    transaction: Transaction, block: int, number: int, kind: int, read: Callable[[memoryview], T]
) -> dict[bytes, T]:
    found: dict[bytes, T] = {}
    last = keys.tile_key(block, number, kind, 0xFFFF_FFFF)
    with transaction.cursor() as cursor:
        is_there = cursor.set_range(keys.tile_key(block, number, kind, 1))
        while is_there and (key := bytes(cursor.key())) <= last:
            try:
                found[key] = read(cursor.value())
            except (BlockDamaged, BlockTooNew):
                return {}
            is_there = cursor.next()
    return found


def _merged(sketches: Sketches) -> Sketches:
    """One sketch for each (id, step), in that order."""
    in_order = sketches.chosen(np.lexsort((sketches.steps, sketches.ids)))
    is_first = np.ones(len(in_order), bool)
    is_first[1:] = (np.diff(in_order.ids) != 0) | (np.diff(in_order.steps) != 0)
    first = np.flatnonzero(is_first)
    data, offsets = _sketch.merge_groups(in_order.data, in_order.offsets, np.append(first, len(in_order)))
    return Sketches(in_order.ids[first], in_order.steps[first], offsets, data)


def _folded(shelf: Shelf, block: int, first_id: int, parts: list[Rows]) -> Rows:
    """One row for each (id, step), ascending by step."""
    ids = np.arange(first_id, first_id + keys.TILE_IDS, dtype=np.uint32)
    gather = Gather(ids, shelf.tier.step_seconds)
    gather.begin(block, shelf.tier.block_steps)
    for part in parts:
        gather.take(part.steps, part.ids, part.columns)
    gather.end()
    steps, places, columns = gather.result()
    return Rows(steps, ids[places], columns)


def _widened(shelf: Shelf, block: int, steps: Integers, sketches: Sketches | None, keys_added: int) -> Marker:
    every = steps if sketches is None else np.concatenate([steps, sketches.steps])
    first, last = int(every.min()), int(every.max())
    return shelf.sealed.get(block, Marker(0, 0, first, last, 0)).widened(first, last, keys_added)


def _next_tile(transaction: Transaction, block: int, number: int, kind: int) -> int:
    first, last = (keys.tile_key(block, number, kind, sequence) for sequence in (0, 0xFFFF_FFFF))
    return next_sequence(transaction, first, last)


def next_sequence(transaction: Transaction, first: bytes, last: bytes) -> int:
    """0 when there is no key from `first` to `last`, which differ in their sequence, else one more than the highest."""
    with transaction.cursor() as cursor:
        is_there = cursor.set_range(last)
        if not (cursor.prev() if is_there else cursor.last()):
            return 0
        key = bytes(cursor.key())
        return int.from_bytes(key[-4:], "big") + 1 if first <= key < last else 0


def commit(
    partitions: Partitions, start: int, put_aside: Callable[[int], None], put: Callable[[Transaction], None]
) -> None:
    """One that LMDB finds damaged is put aside and begun anew."""
    try:
        partitions.create(start).commit(put)
    except EnvironmentDamaged:
        put_aside(start)
        partitions.create(start).commit(put)

"""Reading one tier: the rows and sketches of some series, and blocks, steps and tiles as they are stored.

Every function takes a `Shelf` and reads from any thread, each block in one transaction (walk.py). What is damaged or
too new is skipped and counted; what expires under a reader is gone like anything old. Memory: rows are gathered
GRID_CELLS at a time. Errors: StorageError when the disk fails.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from hms_ops.sketches import Sketches, joined
from hms_ops.storage import keys, sketchblock, slab, tile
from hms_ops.storage._gather import Gather, fold_rows
from hms_ops.storage.damage import BlockDamaged
from hms_ops.storage.environment import Cursor, Transaction
from hms_ops.storage.merge import FIELDS, Integers, Part
from hms_ops.storage.row import Columns, Ids
from hms_ops.storage.shelf import Block, Shelf
from hms_ops.storage.walk import Counted, KeySlabs, in_block, slab_values, tile_numbers, tile_values

GRID_CELLS: Final = 2_000_000
"""Rows gathered at once: 96 MB."""

EXPECTED_ROWS_MAX: Final = 4_000_000

TILES_AT_ONCE: Final = 64
"""Decoded in one transaction, some 40 ms: readers must not hold a file for long."""

Span = tuple[int, int, int]
"""A block, and the seconds in it from one up to another."""

TileIds = list[tuple[int, Ids]]
"""The tiles that hold some ids, and which of them."""


def read_columns(shelf: Shelf, ids: Ids, start: int, end: int) -> Part:
    """The rows of `ids` (uint32[n] ascending, each once) of steps in [start, end), folded: (steps int64[k], places
    among the ids int64[k], columns float64[6, k]), ascending by (step, place)."""
    step = shelf.tier.step_seconds
    start += -start % step
    blocks = shelf.blocks(start, end)
    steps = min(len(blocks) * shelf.tier.block_steps, max(0, end - start + step - 1) // step)
    gather = Gather(ids, step, min(len(ids) * steps, EXPECTED_ROWS_MAX))
    if not len(ids):
        return gather.result()
    tiles = by_tile(ids)
    for spans in _together(shelf, _spans(shelf, blocks, start, end, max(1, GRID_CELLS // len(ids)) * step), len(tiles)):
        _gather(shelf, spans, ids, tiles, gather)
    return gather.result()


def read_sketches(shelf: Shelf, ids: Ids, start: int, end: int) -> Sketches:
    """The sketches of `ids` in [start, end): one for each (id, step, part), in any order; their ids are places."""
    tiles = by_tile(ids)
    parts: list[Sketches] = []
    for block in shelf.blocks(start, end):
        parts += _sketches(shelf, block.start, start, end, ids, tiles)
    found = joined(parts)
    places = np.searchsorted(ids, found.ids).astype(np.uint32)
    return Sketches(places, found.steps, found.offsets, found.data)


def read_dense(shelf: Shelf, start: int, end: int) -> Columns:
    """All series of steps in [start, end), within one block, folded to one row each: float64[6, n] by id; COUNT is 0
    where there is none."""
    dense = np.zeros((len(FIELDS), 0))

    def room(ids: int) -> Columns:
        nonlocal dense
        if ids > dense.shape[1]:
            wider = np.zeros((len(FIELDS), ids))
            wider[:, : dense.shape[1]] = dense
            dense = wider
        return dense

    def from_slabs(transaction: Transaction, cursor: Cursor) -> None:
        key_slabs = KeySlabs(transaction)
        for key, data in slab_values(cursor, start, end, keys.ROWS):
            with Counted(shelf, block, key):
                head = slab.head(data)
                slab.fold_into(data, key_slabs.get(head.key_step), room(head.last_id + 1))

    def from_tiles(_: Transaction, cursor: Cursor) -> None:
        for number in tile_numbers(cursor, block):
            ids, columns = _tile_rows(shelf, cursor, block, number, start, end)[1:]
            fold_rows(ids.astype(np.int64), columns, room(number * keys.TILE_IDS + keys.TILE_IDS))

    block = shelf.tier.block_start(start)
    in_block(shelf, block, from_slabs, from_tiles)
    return dense


def open_steps(shelf: Shelf, start: int, end: int) -> list[int]:
    """The starts of the steps in [start, end) that have slabs: blocks that are sealed have none."""
    found: set[int] = set()
    for block in shelf.blocks(start, end):
        if not block.is_sealed:

            def look(_: Transaction, cursor: Cursor) -> None:
                found.update(keys.slab_of(key)[0] for key, _ in slab_values(cursor, start, end, keys.ROWS))

            in_block(shelf, block.start, look, lambda *_: None)
    return sorted(found)


def read_tile_numbers(shelf: Shelf, block: int) -> list[int]:
    """The tiles of a sealed block, ascending."""
    found: list[int] = []
    in_block(shelf, block, lambda *_: None, lambda _, cursor: found.extend(tile_numbers(cursor, block)))
    return found


def read_tile(shelf: Shelf, block: int, number: int) -> tuple[Integers, Ids, Columns]:
    """All rows of a tile of a sealed block, patches merged: steps int64[k], ids uint32[k], columns float64[6, k],
    ascending by (step, id)."""
    found: list[tuple[Integers, Ids, Columns]] = []

    def from_tiles(_: Transaction, cursor: Cursor) -> None:
        found.append(_tile_rows(shelf, cursor, block, number, block, block + shelf.tier.block_seconds))

    in_block(shelf, block, lambda *_: None, from_tiles)
    return found[0] if found else (np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((len(FIELDS), 0)))


def by_tile(ids: Ids) -> TileIds:
    """Ids uint32[n] ascending, by the tile they are in."""
    if not len(ids):
        return []
    numbers = ids // keys.TILE_IDS
    first = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    return list(zip(numbers[np.append(0, first)].tolist(), np.split(ids, first), strict=True))


def _spans(shelf: Shelf, blocks: list[Block], start: int, end: int, seconds: int) -> list[Span]:
    """[start, end) by block, and by at most `seconds`."""
    spans: list[Span] = []
    for block, _ in blocks:
        block_end = min(end, block + shelf.tier.block_seconds)
        spans += [(block, at, min(block_end, at + seconds)) for at in range(max(start, block), block_end, seconds)]
    return spans


def _together(shelf: Shelf, spans: list[Span], tiles: int) -> Iterator[list[Span]]:
    """Spans that are read in one transaction: of sealed blocks in one partition, as long as that is short."""
    most = max(1, TILES_AT_ONCE // tiles)
    group: list[Span] = []
    before: int | None = None
    for span in spans:
        partition = shelf.tier.partition_start(span[0]) if span[0] in shelf.sealed else None
        if group and (partition is None or partition != before or len(group) >= most):
            yield group
            group = []
        group.append(span)
        before = partition
    if group:
        yield group


def _gather(shelf: Shelf, spans: list[Span], ids: Ids, tiles: TileIds, gather: Gather) -> None:
    """The rows of spans that are together."""
    step_seconds = shelf.tier.step_seconds

    def from_slabs(transaction: Transaction, cursor: Cursor) -> None:
        for block, start, end in spans:
            gather.begin(start, -(-(end - start) // step_seconds))
            gather.take_places(*_slab_rows(shelf, transaction, cursor, (block, start, end), ids))
            gather.end()

    def from_tiles(_: Transaction, cursor: Cursor) -> None:
        for block, start, end in spans:
            gather.begin(start, -(-(end - start) // step_seconds))
            for number, wanted in tiles:
                for key, data in tile_values(cursor, block, number, keys.ROWS):
                    with Counted(shelf, block, key):
                        gather.take(*tile.select(data, wanted, start, end))
            gather.end()

    in_block(shelf, spans[0][0], from_slabs, from_tiles)


def _slab_rows(shelf: Shelf, transaction: Transaction, cursor: Cursor, span: Span, ids: Ids) -> Part:
    block, start, end = span
    reader = slab.SlabReader(ids)
    key_data: memoryview | None = None
    for key, data in slab_values(cursor, start, end, keys.ROWS):
        with Counted(shelf, block, key):
            try:
                reader.take(data, key_data)  # which looks at the key only when it is another than before
            except BlockDamaged:
                step = slab.head(data).key_step
                key_data = None if step is None else transaction.get(keys.slab_key(step))
                reader.take(data, key_data)
    return reader.result()


def _sketches(shelf: Shelf, block: int, start: int, end: int, ids: Ids, tiles: TileIds) -> list[Sketches]:
    """Those of [start, end) of one block, with their ids."""
    found: list[Sketches] = []

    def from_slabs(_: Transaction, cursor: Cursor) -> None:
        for key, data in slab_values(cursor, start, end, keys.SKETCHES):
            with Counted(shelf, block, key):
                found.append(sketchblock.select(data, ids, start, end))

    def from_tiles(_: Transaction, cursor: Cursor) -> None:
        for number, wanted in tiles:
            for key, data in tile_values(cursor, block, number, keys.SKETCHES):
                with Counted(shelf, block, key):
                    found.append(sketchblock.select(data, wanted, start, end))

    in_block(shelf, block, from_slabs, from_tiles)
    return found


def _tile_rows(
    shelf: Shelf, cursor: Cursor, block: int, number: int, start: int, end: int
) -> tuple[Integers, Ids, Columns]:
    """The rows of [start, end) of a tile, folded: steps, ids, columns, ascending by (step, id)."""
    ids = np.arange(number * keys.TILE_IDS, (number + 1) * keys.TILE_IDS, dtype=np.uint32)
    gather = Gather(ids, shelf.tier.step_seconds)
    gather.begin(start, -(-(end - start) // shelf.tier.step_seconds))
    for key, data in tile_values(cursor, block, number, keys.ROWS):
        with Counted(shelf, block, key):
            gather.take(*tile.select(data, None, start, end))
    gather.end()
    steps, places, columns = gather.result()
    return steps, ids[places], columns


def highest_id(shelf: Shelf) -> int:
    """Not lower than the id of any row: of slabs the head says, of tiles the number."""
    highest = 0
    for block in shelf.blocks():

        def from_slabs(_: Transaction, cursor: Cursor, start: int = block.start) -> None:
            nonlocal highest
            for key, data in slab_values(cursor, start, start + shelf.tier.block_seconds, keys.ROWS):
                with Counted(shelf, start, key):
                    highest = max(highest, slab.head(data).last_id)

        def from_tiles(_: Transaction, cursor: Cursor, start: int = block.start) -> None:
            nonlocal highest
            for number in tile_numbers(cursor, start):
                highest = max(highest, number * keys.TILE_IDS + keys.TILE_IDS - 1)

        in_block(shelf, block.start, from_slabs, from_tiles)
    return highest

"""Walking through one tier: a transaction where a block's rows are, and the slabs or parts of a tile in it.

A block is read from its tiles when it is sealed, else from its slabs, in one transaction; when its environment is
closed before that begins (sealed, expired, or opened to be written) it is looked for anew. So each row is seen exactly
once, and who reads never waits for the writer.
"""

from collections.abc import Callable, Iterator
from typing import Final

from hms_ops.storage import keys, slab
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.environment import Cursor, Environment, EnvironmentClosed, Transaction
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.shelf import Shelf

CLOSED_MAX: Final = 100

Read = Callable[[Transaction, Cursor], None]


def in_block(shelf: Shelf, block: int, from_slabs: Read, from_tiles: Read) -> None:
    """Run one of the two in a transaction on the environment where the block's rows are; nothing when it is gone.

    EnvironmentClosed when it was closed each of CLOSED_MAX times, which no writer does that fast.
    """
    closed = 0
    while (found := _where(shelf, block)) is not None:
        environment, is_sealed = found
        try:
            with environment.read() as transaction, transaction.cursor() as cursor:
                (from_tiles if is_sealed else from_slabs)(transaction, cursor)
            return
        except EnvironmentClosed:
            closed += 1
            if closed >= CLOSED_MAX:
                raise
        except EnvironmentDamaged:
            shelf.count_damage(block, b"")
            return


def slab_values(cursor: Cursor, start: int, end: int, kind: int) -> Iterator[tuple[bytes, memoryview]]:
    """The slabs of one kind of steps in [start, end), in the order of steps and, in each, as they were written."""
    stop = keys.slab_key(max(start, end))
    if not cursor.set_range(keys.slab_key(start)):
        return
    for view, value in cursor.iternext():
        key = bytes(view)
        if key >= stop:
            return
        if len(key) == keys.SLAB_BYTES and key[8] == kind:
            yield key, value


def tile_values(cursor: Cursor, block: int, number: int, kind: int) -> Iterator[tuple[bytes, memoryview]]:
    """The parts of a tile, in the order they were written."""
    first = keys.tile_key(block, number, kind)
    prefix = first[: keys.TILE_PREFIX_BYTES]
    is_there = cursor.set_range(first)
    while is_there:
        key = bytes(cursor.key())
        if not key.startswith(prefix):
            return
        yield key, cursor.value()
        is_there = cursor.next()


def tile_numbers(cursor: Cursor, block: int) -> Iterator[int]:
    """The tiles of a block that have rows or sketches, ascending."""
    number = 0
    while cursor.set_range(keys.tile_key(block, number)):
        key = cursor.key()
        if len(key) != keys.TILE_BYTES:
            return
        at, number, _, _ = keys.tile_of(key)
        if at != block or number >= keys.TILES_MAX:  # the marker, or what a flipped bit made of a number
            return
        yield number
        number += 1


class KeySlabs:
    """The key slabs of a transaction, the latest kept open."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._step: int | None = None
        self._key: slab.Key | None = None

    def get(self, step: int | None) -> slab.Key | None:
        """The key slab of a step; BlockDamaged when it is not there. None for the slab that is a key itself."""
        if step is not None and step != self._step:
            data = self._transaction.get(keys.slab_key(step))
            if data is None:
                raise BlockDamaged(f"the key slab of step {step} is not there")
            self._step, self._key = None, slab.Key(data)
            self._step = step
        return None if step is None else self._key


class Counted:
    """A context in which damage to the slab or tile at `key` ends it and is counted."""

    __slots__ = ("_block", "_key", "_shelf")

    def __init__(self, shelf: Shelf, block: int, key: bytes) -> None:
        self._shelf = shelf
        self._block = block
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, BlockDamaged):
            self._shelf.count_damage(self._block, self._key)
            return True
        if isinstance(error, BlockTooNew):
            self._shelf.count_too_new()
            return True
        return False


def _where(shelf: Shelf, block: int) -> tuple[Environment, bool] | None:
    """The environment a block is read from, and whether it is sealed."""
    if block not in shelf.sealed:
        environment = shelf.slabs.get(block)
        if environment is not None:
            return environment, False
        if block not in shelf.sealed:  # sealed in between
            return None
    environment = shelf.tiles.get(shelf.tier.partition_start(block))
    return None if environment is None else (environment, True)

"""Sealing: the slabs of a block that is over become tiles, written once; then the slabs are unlinked.

    slabs of a block ──512 ids × all steps──► tiles, COMMIT_BYTES a transaction ──► marker ──► slabs removed

Runs in a thread of its own beside the writer and readers. What is there when it begins is sealed; parts that are added
meanwhile are written as patch tiles in the transaction of the marker, under `shelf.landing`. A crash or an error at any
point costs only the work: without the marker, the slabs are what counts, and the next attempt puts the same tiles over.

Memory: a dense array of FRAME_IDS ids × the block's steps (8.8 MB) and a copy of an eighth of it, COMMIT_BYTES of
tiles, and the sketches of FRAME_IDS series, or of TILE_IDS where those would be more than SKETCH_BYTES packed.

A slab that is damaged is left out and counted; then the slabs are set aside instead of unlinked. Slabs of a later
release are never sealed.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops.sketches import Sketches, joined
from hms_ops.storage import keys, sketchblock, slab, tile
from hms_ops.storage._gather import fold_rows
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.environment import Environment, EnvironmentClosed, Transaction
from hms_ops.storage.inventory import keys_sum
from hms_ops.storage.merge import COUNT, FIELDS
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.patches import Rows, packed_by_tile, put_patches
from hms_ops.storage.row import Ids
from hms_ops.storage.shelf import Marker, Shelf

COMMIT_BYTES: Final = 4 << 20
"""Tiles in a transaction: a writer of patches waits for no more."""

SKETCH_BYTES: Final = 8 << 20

AFTER_SECONDS: Final = 60
"""A block is due so long, or a twelfth of a step, after its end: its last step must have been written."""

T = TypeVar("T")
Changing = Callable[[], AbstractContextManager[None]]


class Part(NamedTuple):
    """A part of a step in the slabs, as its head says."""

    key: bytes
    step: int
    key_step: int | None = None
    first_id: int = 0
    last_id: int = 0
    bytes: int = 0


def due(shelf: Shelf, now: int) -> list[int]:
    """The open blocks to be sealed at second `now`, oldest first."""
    over = now - max(AFTER_SECONDS, shelf.tier.step_seconds // 12) - shelf.tier.block_seconds
    return [block for block in shelf.slabs.starts() if block <= over and block not in shelf.unsealable]


def seal(shelf: Shelf, block: int, is_stopping: Callable[[], bool], changing: Changing) -> int:
    """Seal an open block; returns its tiles, 0 when it is gone, cannot be sealed by this release, was stopped, or was
    opened anew by the writer, and is due again. Slabs that LMDB finds damaged are put aside, tiles too, and these are
    made anew the next time.

    `is_stopping` is asked every 512 series, and may wait, so that sealing leaves time to others. `changing` is entered
    around each transaction. StorageError: the disk failed; the block is open as before.
    """
    environment = shelf.slabs.get(block)
    if environment is None or block in shelf.sealed:
        return 0
    try:
        return _seal(_Sealing(shelf, block, environment, changing), is_stopping)
    except BlockTooNew:
        shelf.unsealable.add(block)
        shelf.count_too_new()
    except EnvironmentDamaged:
        with changing(), shelf.landing:
            if shelf.slabs.get(block) is environment:
                shelf.slabs.put_aside(block)
    except EnvironmentClosed:  # it was put aside, or the disk had it read only, and a patch came
        pass
    return 0


def _seal(sealing: "_Sealing", is_stopping: Callable[[], bool]) -> int:
    sealing.look()
    for frame in range(sealing.frames):
        if is_stopping():
            return 0
        sealing.seal_frame(frame)
    return sealing.finish()


class _Sealing:
    """One attempt at one block."""

    def __init__(self, shelf: Shelf, block: int, environment: Environment, changing: Changing) -> None:
        self.frames = 0
        self._shelf = shelf
        self._block = block
        self._end = block + shelf.tier.block_seconds
        self._environment = environment
        self._changing = changing
        self._rows: list[Part] = []
        self._sketches: list[Part] = []
        self._known: set[bytes] = set()
        self._dense = np.empty((shelf.tier.block_steps, len(FIELDS), keys.FRAME_IDS))
        self._second = np.empty((len(FIELDS), keys.FRAME_IDS))
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        self._row_count = self._tile_count = 0
        self._is_damaged = False

    def look(self) -> None:
        """Which slabs there are. BlockTooNew."""
        with self._environment.read() as transaction:
            for key, data in _entries(transaction):
                self._known.add(key)
                try:
                    self._look_at(key, data)
                except BlockDamaged:
                    self._count_damage(key)
        last_id = max((part.last_id for part in (*self._rows, *self._sketches)), default=-1)
        self.frames = last_id // keys.FRAME_IDS + 1

    def _look_at(self, key: bytes, data: memoryview) -> None:
        step, kind, _ = _slab_of(key, self._block, self._end)
        if kind == keys.SKETCHES:
            self._sketches.append(Part(key, step, last_id=sketchblock.head(data).last_id, bytes=len(data)))
            return
        head = slab.head(data)
        if head.step_start != step:
            raise BlockDamaged(f"a slab of step {head.step_start} stands at {step}")
        self._rows.append(Part(key, step, head.key_step, head.first_id, head.last_id, len(data)))

    def seal_frame(self, frame: int) -> None:
        """Make the tiles of ids from 512 × `frame` on, and commit when enough wait."""
        self._fill(frame)
        tiles = keys.FRAME_IDS // keys.TILE_IDS
        for at in range(tiles):
            number = frame * tiles + at
            columns = self._dense[:, :, at * keys.TILE_IDS : (at + 1) * keys.TILE_IDS].transpose(1, 0, 2)
            self._row_count += int(np.count_nonzero(columns[COUNT]))
            data = tile.encode(
                self._block, self._shelf.tier.step_seconds, number * keys.TILE_IDS, np.ascontiguousarray(columns)
            )
            if data is not None:
                self._wait(keys.tile_key(self._block, number), data)
                self._tile_count += 1
        if self._sketches:
            self._pack_sketches(frame)
        if self._waiting_bytes >= COMMIT_BYTES:
            self._commit()

    def finish(self) -> int:
        """Put what waits, what came meanwhile and the marker on disk, in one transaction; then remove the slabs."""
        shelf = self._shelf
        with self._changing(), shelf.landing:
            if self._block not in shelf.slabs:
                return 0  # expired
            rows, sketches = self._added()
            steps = [part.step for part in (*self._rows, *self._sketches)] + rows.steps.tolist()

            def put(transaction: Transaction) -> Marker:
                for key, data in self._waiting:
                    transaction.put(key, data)
                put_patches(transaction, shelf, self._block, rows, sketches)
                keys_now = keys_sum(transaction, self._block)
                marker = Marker(self._row_count, self._tile_count, min(steps), max(steps), keys_now)
                transaction.put(keys.tile_key(self._block, keys.MARKER), marker.pack())
                return marker

            if steps:
                shelf.mark(self._block, self._put_tiles(put))
            if self._is_damaged:
                shelf.slabs.put_aside(self._block)
            else:
                shelf.slabs.remove(self._block)
        return self._tile_count

    def _fill(self, frame: int) -> None:
        """The rows of a frame's ids: dense[step][field][id]."""
        first, last = frame * keys.FRAME_IDS, (frame + 1) * keys.FRAME_IDS - 1
        self._dense[:, COUNT] = 0.0
        is_filled = np.zeros(len(self._dense), bool)
        keyed: int | None = None
        key_data: memoryview | None = None
        with self._environment.read() as transaction:
            for part in self._rows:
                if part.first_id > last or part.last_id < first:
                    continue
                try:
                    if part.key_step is not None and part.key_step != keyed:
                        keyed, key_data = part.key_step, transaction.get(keys.slab_key(part.key_step))
                    data = transaction.get(part.key)
                    assert data is not None, part
                    self._take(part, data, key_data, frame, is_filled)
                except BlockDamaged:
                    self._count_damage(part.key)

    def _take(
        self, part: Part, data: memoryview, key_data: memoryview | None, frame: int, is_filled: NDArray[np.bool_]
    ) -> None:
        at = (part.step - self._block) // self._shelf.tier.step_seconds
        self._second[COUNT] = 0.0
        if slab.frames_dense(data, None if part.key_step is None else key_data, frame, self._second):
            if is_filled[at]:
                fold_rows(_FRAME_PLACES, self._second, self._dense[at])
            else:
                self._dense[at] = self._second
                is_filled[at] = True

    def _pack_sketches(self, frame: int) -> None:
        at_once = keys.FRAME_IDS
        if sum(part.bytes for part in self._sketches) > SKETCH_BYTES * self.frames:
            at_once = keys.TILE_IDS
        for first in range(frame * keys.FRAME_IDS, (frame + 1) * keys.FRAME_IDS, at_once):
            found = self._sketches_of(np.arange(first, first + at_once, dtype=np.uint32))
            for number, data in packed_by_tile(self._shelf.tier.step_seconds, found):
                self._wait(keys.tile_key(self._block, number, keys.SKETCHES), data)

    def _sketches_of(self, ids: Ids) -> Sketches:
        found: list[Sketches] = []
        with self._environment.read() as transaction:
            for part in self._sketches:
                data = transaction.get(part.key)
                assert data is not None, part
                try:
                    found.append(sketchblock.select(data, ids, self._block, self._end))
                except BlockDamaged:
                    self._count_damage(part.key)
        return joined(found)

    def _added(self) -> tuple[Rows, Sketches | None]:
        """What was written to the block since `look`."""
        rows: list[Rows] = []
        sketches: list[Sketches] = []
        with self._environment.read() as transaction:
            for key, data in _entries(transaction):
                if key in self._known:
                    continue
                try:
                    step, kind, _ = _slab_of(key, self._block, self._end)
                    if kind == keys.SKETCHES:
                        sketches.append(sketchblock.select(data, None, self._block, self._end))
                    else:
                        ids, columns = slab.decode(data, _key_of(transaction, data))
                        rows.append(Rows(np.full(len(ids), step, np.int64), ids, columns))
                except BlockDamaged:
                    self._count_damage(key)
        return _joined_rows(rows), joined(sketches) if sketches else None

    def _wait(self, key: bytes, data: bytes) -> None:
        self._waiting.append((key, data))
        self._waiting_bytes += len(data)

    def _commit(self) -> None:
        def put(transaction: Transaction) -> None:
            for key, data in self._waiting:
                transaction.put(key, data)

        with self._changing():
            if self._block in self._shelf.slabs:
                self._put_tiles(put)
        self._waiting, self._waiting_bytes = [], 0

    def _put_tiles(self, put: Callable[[Transaction], T]) -> T:
        """EnvironmentClosed: they were damaged and put aside, with what was sealed already."""
        partition = self._shelf.tier.partition_start(self._block)
        try:
            return self._shelf.tiles.create(partition).commit(put)
        except EnvironmentDamaged as error:
            with self._shelf.landing:
                self._shelf.put_tiles_aside(partition)
            raise EnvironmentClosed(f"tiles were put aside: {error}") from error

    def _count_damage(self, key: bytes) -> None:
        self._is_damaged = True
        self._shelf.count_damage(self._block, key)


_FRAME_PLACES: Final = np.arange(keys.FRAME_IDS)


def _key_of(transaction: Transaction, data: memoryview) -> memoryview | None:
    step = slab.head(data).key_step
    return None if step is None else transaction.get(keys.slab_key(step))


def _entries(transaction: Transaction) -> Iterator[tuple[bytes, memoryview]]:
    with transaction.cursor() as cursor:
        is_there = cursor.first()
        while is_there:
            yield bytes(cursor.key()), cursor.value()
            is_there = cursor.next()


def _slab_of(key: bytes, start: int, end: int) -> tuple[int, int, int]:
    """(step, kind, sequence); BlockDamaged for a key that is none of the block's."""
    if len(key) != keys.SLAB_BYTES:
        raise BlockDamaged(f"a key of {len(key)} bytes among slabs")
    step, kind, sequence = keys.slab_of(key)
    if not start <= step < end or kind not in (keys.ROWS, keys.SKETCHES):
        raise BlockDamaged(f"a slab of kind {kind} at {step} in the block of {start}")
    return step, kind, sequence


def _joined_rows(parts: list[Rows]) -> Rows:
    if not parts:
        return Rows(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((len(FIELDS), 0)))
    return Rows(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.columns for part in parts], axis=1),
    )

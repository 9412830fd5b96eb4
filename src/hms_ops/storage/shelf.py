"""One tier on disk: the slabs of blocks that are open, the tiles of those that are sealed, and which is which.

    data_dir/history/<tier>/slabs/<block>/         an environment for each open block
    data_dir/history/<tier>/tiles/<partition>/     one for the tiles of all sealed blocks of a partition; keys.py

A block is sealed when its marker is in the tiles: a record of its rows, tiles, first and last step. It is put there in
the transaction that completes the tiles (seal.py), before the slabs go; so slabs with a marker are left over and are
removed here, and tiles without one are not to be read while the slabs are there, for they are written anew.

Threads: `landing` is held by whoever changes what is stored, so that nobody adds to a block that is being marked.
Readers never take it: they look for slabs first and for the marker second, and start a block anew when its environment
was closed under them. Damage is counted once for each slab or tile, however often it is met.
"""

import threading
from pathlib import Path
from typing import Final, NamedTuple

from hms_ops.errors import StorageError
from hms_ops.storage import keys
from hms_ops.storage.environment import Environment, Transaction
from hms_ops.storage.inventory import SUM_MASK, keys_sum, strange_slabs
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.partition import Partitions
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record
from hms_ops.storage.slab import SlabWriter
from hms_ops.storage.tier import TIERS

DAMAGED_REMEMBERED: Final = 4096


class Marker(NamedTuple):
    """Of a sealed block: rows and tiles it was sealed with; its first and last step, those of patches included; the sum
    of its keys (inventory.py)."""

    rows: int
    tiles: int
    first: int
    last: int
    keys: int

    def pack(self) -> bytes:
        return pack_record(self._asdict())

    def widened(self, first: int, last: int, keys_added: int) -> "Marker":
        keys_now = (self.keys + keys_added) & SUM_MASK
        return self._replace(first=min(first, self.first), last=max(last, self.last), keys=keys_now)


class Block(NamedTuple):
    """A block that has rows: its first second, and whether it is tiles."""

    start: int
    is_sealed: bool


class Shelf:
    """`writer` encodes the slabs of `written_block`; whoever appends holds `landing`."""

    def __init__(self, root: Path, tier: int) -> None:
        """`root` is data_dir/history. StorageError: the disk fails, or something newer is there."""
        self.tier = TIERS[tier]
        self.landing = threading.RLock()
        self.slabs = Partitions(root / self.tier.name / "slabs", self.tier.block_seconds)
        self.tiles = Partitions(root / self.tier.name / "tiles", self.tier.partition_seconds)
        self.sealed: dict[int, Marker] = {}
        self.unsealable: set[int] = set()
        self.writer = SlabWriter()
        self.written_block = -1
        self.too_new = 0
        self._counting = threading.Lock()
        self._damaged: set[tuple[int, bytes]] = set()
        for partition in self.tiles.starts():
            self._load(partition)
        for block in self.slabs.starts():
            if block in self.sealed:
                self.slabs.remove(block)
            else:
                self._look_at_slabs(block)
        self.slabs.reclaim()

    def blocks(self, start: int = 0, end: int | None = None) -> list[Block]:
        """Those that may have steps in [start, end), oldest first."""
        seconds = self.tier.block_seconds
        is_sealed = dict.fromkeys(self.slabs.starts(start, end), False)  # first: it may be sealed in between
        is_sealed |= {
            block: True for block in list(self.sealed) if block + seconds > start and (end is None or block < end)
        }
        return [Block(block, is_sealed[block]) for block in sorted(is_sealed)]

    def first_step(self) -> int | None:
        return self._edge(self.blocks(), newest=False)

    def last_step(self) -> int | None:
        return self._edge(self.blocks()[::-1], newest=True)

    def spans(self) -> list[tuple[int, int]]:
        """From the first step of each block to the end of its last."""
        found = []
        for block in self.blocks():
            first, last = self._edge([block], newest=False), self._edge([block], newest=True)
            if first is not None and last is not None:
                found.append((first, last + self.tier.step_seconds))
        return found

    def file_bytes(self) -> int:
        return self.slabs.file_bytes() + self.tiles.file_bytes()

    @property
    def damaged(self) -> int:
        """Slabs and tiles that could not be read, each once."""
        return len(self._damaged)

    def count_damage(self, start: int, key: bytes) -> None:
        """`start` is that of the environment."""
        with self._counting:
            if len(self._damaged) < DAMAGED_REMEMBERED:
                self._damaged.add((start, key))

    def count_too_new(self) -> None:
        with self._counting:
            self.too_new += 1

    def mark(self, block: int, marker: Marker) -> None:
        """The marker of a block is on disk."""
        self.sealed[block] = marker

    def forget(self, partition: int) -> None:
        """The tiles of a partition are gone."""
        for block in range(partition, partition + self.tier.partition_seconds, self.tier.block_seconds):
            self.sealed.pop(block, None)

    def remove_tiles(self, partition: int) -> None:
        self.tiles.remove(partition)
        self.forget(partition)

    def put_tiles_aside(self, partition: int) -> None:
        self.tiles.put_aside(partition)
        self.forget(partition)

    def close(self) -> None:
        self.slabs.close()
        self.tiles.close()

    def _load(self, partition: int) -> None:
        environment = self.tiles.get(partition)
        if environment is None:
            return
        try:
            with environment.read() as transaction:
                for block in range(partition, partition + self.tier.partition_seconds, self.tier.block_seconds):
                    marker = self._marker(transaction, block)
                    if marker is not None:
                        self.sealed[block] = marker
        except EnvironmentDamaged:
            self.put_tiles_aside(partition)

    def _look_at_slabs(self, block: int) -> None:
        environment = self.slabs.get(block)
        if environment is None:
            return
        try:
            with environment.read() as transaction:
                for key in strange_slabs(transaction, self.tier, block):
                    self.count_damage(block, key)
        except EnvironmentDamaged:
            self.slabs.put_aside(block)

    def _marker(self, transaction: Transaction, block: int) -> Marker | None:
        """What is there without a readable marker counts as sealed, unless the slabs are there to be sealed again."""
        key = keys.tile_key(block, keys.MARKER)
        data, found = transaction.get(key), keys_sum(transaction, block)
        if data is not None:
            try:
                members = unpack_record(data)
                marker = Marker(*(int(members[name]) for name in Marker._fields))
                if marker.keys != found:
                    self.count_damage(block, key)
                return marker
            except (RecordDamaged, KeyError, TypeError, ValueError):
                self.count_damage(block, key)
        if (not found and data is None) or block in self.slabs:
            return None
        self.count_damage(block, key)
        return Marker(0, 0, block, block + self.tier.block_seconds - self.tier.step_seconds, found)

    def _edge(self, blocks: list[Block], *, newest: bool) -> int | None:
        for block in blocks:
            environment = None if block.is_sealed else self.slabs.get(block.start)
            marker = self.sealed.get(block.start)
            if marker is not None:
                return marker.last if newest else marker.first
            step = None if environment is None else self._edge_of(environment, block.start, newest=newest)
            if step is not None:
                return step
        return None

    def _edge_of(self, environment: Environment, block: int, *, newest: bool) -> int | None:
        try:
            with environment.read() as transaction, transaction.cursor() as cursor:
                is_there = cursor.last() if newest else cursor.first()
                while is_there and len(cursor.key()) == keys.SLAB_BYTES:
                    step, kind, _ = keys.slab_of(cursor.key())
                    if kind == keys.ROWS:  # a step may have sketches alone, which a stop leaves of the open one
                        return step
                    is_there = cursor.prev() if newest else cursor.next()
        except EnvironmentDamaged:
            self.count_damage(block, b"")
        except StorageError:
            if block in self.slabs:
                raise
        return None

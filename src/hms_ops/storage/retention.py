"""What is kept: each tier for its time, all of them within a number of bytes, and above a floor of free disk.

Time: what ended longer ago goes. Bytes: when one more write would be too much, the oldest goes, the finest tier's
first, and never a coarser one's to make room for a finer; with nothing left to give up the write is refused. Free disk:
below the floor the finest tier is refused, below half of it the minutes too, below a quarter the hours.

What goes is renamed away at once and unlinked when its last reader is done: here while that is little, else by the
sealing thread (`Partitions.reclaim`), so the writer does not wait for the file system.
"""

import os
from collections.abc import Sequence
from typing import Final

from hms_ops.storage.shelf import Shelf

UNLINK_BYTES: Final = 64 << 20
"""Removed by the writer itself: some ms."""

FLOOR_PARTS: Final = (1, 2, 4)
"""By tier: which part of the floor it needs to be free."""


def expire(shelf: Shelf, oldest: int) -> int:
    """Remove what ended by second `oldest`; returns how many environments."""
    tiles = [start for start in shelf.tiles.starts(0, oldest) if start + shelf.tiles.seconds <= oldest]
    slabs = [start for start in shelf.slabs.starts(0, oldest) if start + shelf.slabs.seconds <= oldest]
    for start in tiles:
        shelf.remove_tiles(start)
    for start in slabs:
        shelf.slabs.remove(start)
    return len(tiles) + len(slabs)


def make_room(shelves: Sequence[Shelf], finest: int, kept_block: int, bytes_max: int, more: int) -> tuple[int, int]:
    """Remove the oldest until `more` bytes fit below `bytes_max`; returns (how many, bytes that are still too many).

    Of the tiers up to `finest`, the finest first; not the slabs of `kept_block` of that tier, nor the newest of others.
    """
    count = 0
    over = sum(shelf.file_bytes() for shelf in shelves) + more - bytes_max
    for number, shelf in enumerate(shelves[: finest + 1]):
        while over > 0 and (oldest := _oldest(shelf, kept_block if number == finest else None)) is not None:
            start, is_tiles = oldest
            over -= (shelf.tiles if is_tiles else shelf.slabs).bytes_of(start)
            with shelf.landing:
                if is_tiles:
                    shelf.remove_tiles(start)
                else:
                    shelf.slabs.remove(start)
            count += 1
    return count, max(0, over)


def is_below_floor(shelf: Shelf, tier: int, disk_free_min: int) -> bool:
    """Whether the disk has too little room for this tier to write; no when nobody can tell."""
    try:
        free = os.statvfs(shelf.slabs.root)
    except OSError:
        return False
    return free.f_bavail * free.f_frsize < disk_free_min // FLOOR_PARTS[tier]


def _oldest(shelf: Shelf, kept_block: int | None) -> tuple[int, bool] | None:
    """(start, whether tiles) of what goes next: tiles before the slabs of the same time."""
    slabs = shelf.slabs.starts()
    if kept_block is None:
        kept_block = slabs[-1] if slabs else None
    candidates = [(start, True) for start in shelf.tiles.starts()]
    candidates += [(start, False) for start in slabs if start != kept_block]
    return min(candidates, default=None, key=lambda found: (found[0], not found[1]))

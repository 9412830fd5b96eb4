"""What is kept: each tier for its time, all of them within a number of bytes, and above a floor of free disk.

Time: what ended longer ago goes. The clock alone is not believed, which may be wrong by years: for this it is at most
TRUSTED_SECONDS ahead of the newest history, and what was written at a time far ahead of all else counts only once it
goes on for so long. Until then `problem` tells of the clock.

Bytes: when one more write would be too much, the oldest goes, the finest tier's first, and never a coarser one's to
make room for a finer; with nothing left to give up the write is refused. Free disk: below the floor the finest tier is
refused, below half of it the minutes too, below a quarter the hours.

What goes is renamed away at once and unlinked when its last reader is done: here while that is little, else by the
sealing thread (`Partitions.reclaim`), so the writer does not wait for the file system.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hms_ops.storage.shelf import Shelf
from hms_ops.storage.tier import TIERS

UNLINK_BYTES: Final = 64 << 20
"""What the writer unlinks itself, some ms; more is left to the sealer."""

COMMIT_BYTES: Final = 65_536
"""More than a transaction writes beyond its values: pages of the tree, and the first ones of a new environment."""

TRUSTED_SECONDS: Final = 86_400

FLOOR_PARTS: Final = (1, 2, 4)
"""By tier: which part of the floor it needs to be free."""


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """What is kept: of each tier by time, of all by bytes; and the disk's free bytes below which less is written."""

    keep_seconds: tuple[int, ...] = (172_800, 2_592_000, 34_560_000)
    bytes_max: int = 48 << 30
    disk_free_min: int = 1 << 30


class Limits:
    """`expired` counts environments, `refused` and `refused_disk_floor` rows.

    Belongs to the writer, but that others who write patches ask `refuses`.
    """

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self.counts = {"refused": 0, "refused_disk_floor": 0, "expired": 0}
        self._counting = threading.Lock()
        self._shelves = shelves
        self._problems = ["" for _ in TIERS]
        self._clock_problem = ""

    @property
    def problem(self) -> str:
        """Why steps are being refused, of the coarsest tier that is, or why nothing expires; or ""."""
        return next((problem for problem in reversed(self._problems) if problem), self._clock_problem)

    def refuses(self, config: HistoryConfig, tier: int, step: int, rows: int, more: int) -> bool:
        """Makes the room for `more` bytes of a step; True, counted and told, when it cannot be."""
        shelf, name = self._shelves[tier], TIERS[tier].name
        if is_below_floor(shelf, tier, config.disk_free_min):
            self._count("refused_disk_floor", rows)
            floor = config.disk_free_min
            self._problems[tier] = f"less than {floor} bytes of the disk are free: history of {name} is not kept"
            return True
        kept_block = shelf.tier.block_start(step)
        count, over = make_room(self._shelves, tier, kept_block, config.bytes_max, more + COMMIT_BYTES)
        self._expired(count)
        if over:
            self._count("refused", rows)
            self._problems[tier] = (
                f"history has its {config.bytes_max} bytes and nothing older of {name} to give up: "
                f"{rows} rows of step {step} are not kept; raise the limit, or send fewer series"
            )
            return True
        self._problems[tier] = ""
        return False

    def retain(self, config: HistoryConfig, now: int) -> int:
        """Give up what is too old at second `now`, and the oldest beyond `bytes_max`; returns how many environments."""
        count = 0
        self._clock_problem = ""
        spans = sorted(span for shelf in self._shelves for span in shelf.spans())
        for shelf, seconds in zip(self._shelves, config.keep_seconds, strict=True):
            newest = trusted_end(spans, max(seconds, TRUSTED_SECONDS))
            if newest is None:
                continue
            if now - newest > max(seconds, TRUSTED_SECONDS):
                self._clock_problem = (
                    f"the clock is {(now - newest) // 86_400} days ahead of the history on disk: until that goes on "
                    f"for a day, none of {shelf.tier.name} is given up for its age; is the clock right?"
                )
            with shelf.landing:
                count += expire(shelf, min(now, newest + TRUSTED_SECONDS) - seconds)
        count += make_room(self._shelves, len(TIERS) - 1, -1, config.bytes_max, 0)[0]
        self._expired(count)
        return count

    def _expired(self, count: int) -> None:
        self._count("expired", count)
        if count:
            reclaim(self._shelves, UNLINK_BYTES)

    def _count(self, name: str, more: int) -> None:
        with self._counting:
            self.counts[name] += more


def reclaim(shelves: Sequence[Shelf], bytes_max: int | None = None) -> None:
    """Unlink what was removed and is read no more; only those of up to `bytes_max`."""
    for shelf in shelves:
        shelf.tiles.reclaim(bytes_max)
        shelf.slabs.reclaim(bytes_max)


def trusted_end(spans: Sequence[tuple[int, int]], gap_max: int) -> int | None:
    """The end of the newest history to be believed, of spans (start, end) ascending; None without any.

    What is more than `gap_max` ahead of all before it is, when it goes on for TRUSTED_SECONDS.
    """
    runs: list[tuple[int, int]] = []
    for start, end in spans:
        if runs and start <= runs[-1][1] + gap_max:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    while len(runs) > 1 and runs[-1][1] - runs[-1][0] < TRUSTED_SECONDS:
        runs.pop()
    return runs[-1][1] if runs else None


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

"""History on disk: three tiers of rows and sketches, appended by step, sealed by block, given up by partition.

    append(tier, step) ──► slabs of the open block ──seal──► tiles, 64 series × a block ──retain──► unlinked
         └── roll(HOUR, step): from the minutes on disk

    data_dir/history/{10s,1m,1h}/slabs/<block>, tiles/<partition>       tier.py has the lengths, keys.py the keys

Rows are merge.py's, ids the catalogue's numbers. A step may have several parts (late rows, the rest of a step after a
restart), which are merged when read; nothing on disk is ever changed.

    shelf.py       one tier: which blocks there are, and where          partition.py   their directories
    writing.py     steps, and patches of open blocks                    patches.py     of sealed ones
    reading.py     by series, by step, by tile                          walk.py        slabs and tiles one by one
    seal.py        slabs to tiles                                       rolling.py     a coarser tier's step
    retention.py   time, bytes, free disk                               gate.py        pauses

Threads: `append`, `append_patch`, `roll` and `retain` belong to one writer, `sealable` and `seal` to one sealer; all
else is anybody's. `paused` keeps both out.
Refusals are no errors: a step beyond `bytes_max` or below `disk_free_min` is dropped and counted; `problem` says so.
Damage: a damaged slab or tile is skipped and counted once; a damaged environment is set aside and a new one begun.
Errors: StorageError when the disk fails or is full (nothing of that write is kept; the next one may work again),
ValueError for a caller's mistake.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from hms_ops.clock import SECOND_NS
from hms_ops.errors import StorageError
from hms_ops.sketches import Sketches, joined
from hms_ops.storage import keys, reading, retention, rolling, seal, writing
from hms_ops.storage.environment import Environment
from hms_ops.storage.gate import Gate
from hms_ops.storage.merge import COUNT, Integers, Part
from hms_ops.storage.patches import Rows
from hms_ops.storage.retention import HistoryConfig as HistoryConfig
from hms_ops.storage.retention import Limits
from hms_ops.storage.row import Columns, Ids
from hms_ops.storage.shelf import Block, Shelf
from hms_ops.storage.tier import TIERS

ROW_BYTES: Final = 8
"""What a row takes, when nobody knows yet: the limit in bytes is checked before a step is encoded."""

_COUNTS: Final = ("slabs", "rows", "bytes", "patches", "blocks_sealed", "tiles")


class History:
    """`tier` is an index of TIERS everywhere; times are Unix seconds."""

    def __init__(self, data_dir: Path, config: HistoryConfig | None = None) -> None:
        """Opens what is there. StorageError: the disk fails, or the directory is of another layout."""
        self.config = config or HistoryConfig()
        self.data_dir = data_dir
        root = data_dir / "history"
        _check_layout(root)
        self._shelves: list[Shelf] = []
        self._gate = Gate()
        self._limits = Limits(self._shelves)
        self._counting = threading.Lock()
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._now: int | None = None
        try:
            for tier in range(len(TIERS)):
                self._shelves.append(Shelf(root, tier))
        except BaseException:
            self.close()
            raise

    # ---- writing

    def append(self, tier: int, step_start: int, columns: Columns, sketches: Sketches | None = None) -> int:
        """Put a closed step on disk, in one synced transaction; returns its rows, 0 when it was refused.

        columns float64[6, n] by id: COUNT 0 where there is no row; id 0 is nobody's. sketches: by id, of this step.
        StorageError: nothing of it is on disk.
        """
        self._check_step(tier, step_start)
        if columns[COUNT, 0] > 0:
            columns = columns.copy()
            columns[COUNT, 0] = 0.0
        rows = int(np.count_nonzero(columns[COUNT, 1:] > 0))
        if not rows and not sketches:
            return 0
        shelf = self._shelves[tier]
        with self._gate.changing(), shelf.landing:
            if self._limits.refuses(self.config, tier, step_start, rows, rows * ROW_BYTES + _bytes_of(sketches)):
                return 0
            written = writing.write_step(shelf, step_start, columns, sketches)
        self._count(slabs=1, rows=rows, bytes=written)
        return rows

    def append_patch(
        self, tier: int, rows: tuple[Integers, ArrayLike, Columns], sketches: Sketches | None = None
    ) -> int:
        """Put rows of any past steps on disk, one transaction for each environment they belong to.

        rows: steps int64[k] ascending, ids [k], columns float64[6, k]. Returns how many of the first of them are done
        with (on disk, refused, or without count or id): fewer than given when the disk failed in between, and the
        rest, with the sketches of its steps, may be given again. StorageError: nothing is on disk.
        """
        return self.put_patch(tier, rows, sketches)[0]

    def put_patch(
        self, tier: int, rows: tuple[Integers, ArrayLike, Columns], sketches: Sketches | None = None
    ) -> tuple[int, int]:
        """`append_patch`, which also tells how many of the rows that are done with were refused."""
        steps, ids, columns = rows[0], np.asarray(rows[1]), rows[2]
        self._check_patch(tier, steps)
        kept = np.flatnonzero((columns[COUNT] > 0) & (ids > 0))
        patch = Rows(steps[kept], ids[kept].astype(np.uint32), columns[:, kept])
        if not len(kept) and not sketches:
            return len(steps), 0
        shelf = self._shelves[tier]
        with self._gate.changing(), shelf.landing:
            at = int(patch.steps[0] if len(kept) else sketches.steps.min())  # type: ignore[union-attr]
            if self._limits.refuses(self.config, tier, at, len(kept), len(kept) * ROW_BYTES + _bytes_of(sketches)):
                return len(steps), len(kept)
            done, written = writing.write_patch(shelf, patch, sketches, lambda second: self._is_over(shelf, second))
        self._count(patches=1, rows=done, bytes=written)
        return (len(steps) if done == len(kept) else int(kept[done])), 0

    def roll(self, tier: int, step_start: int, sketches: Sketches | None = None) -> int:
        """Make a step of a tier of the next finer one on disk, and append it; returns its rows.

        sketches: put there too, for a finer tier that keeps none. It is the caller's to roll a step once.
        """
        self._check_step(tier, step_start)
        if tier < 1:
            raise ValueError(f"tier {tier} has no finer one")
        finer, end = self._shelves[tier - 1], step_start + TIERS[tier].step_seconds
        columns = rolling.rolled_rows(finer, step_start, end)
        rolled = rolling.rolled_sketches(finer, step_start, end, columns)
        if rolled is None:
            rolled = sketches
        elif sketches is not None:
            rolled = joined([rolled, sketches])
        return self.append(tier, step_start, columns, rolled) if columns.shape[1] else 0

    def retain(self, now_ns: int) -> int:
        """Give up what is too old at this time, and the oldest beyond `bytes_max`; returns how many environments."""
        self._now = now = now_ns // SECOND_NS
        with self._gate.changing():
            return self._limits.retain(self.config, now)

    # ---- sealing

    def sealable(self, now: int) -> list[tuple[int, int]]:
        """(tier, block start) of the blocks to be sealed at second `now`, oldest first. Also gives the disk back what
        `retain` left: the sealer calls it now and then."""
        self._now = now
        retention.reclaim(self._shelves)
        due = [(tier, block) for tier, shelf in enumerate(self._shelves) for block in seal.due(shelf, now)]
        return sorted(due, key=lambda found: found[1])

    def seal(self, tier: int, block_start: int, is_stopping: Callable[[], bool] = lambda: False) -> int:
        """Make tiles of a block's slabs; returns how many, 0 when it was stopped, is gone, or is sealed already.

        `is_stopping` is asked every 512 series; it may wait, to leave time to others. StorageError: the disk failed,
        and the block is as before.
        """
        tiles = seal.seal(self._shelves[tier], block_start, is_stopping, self._gate.changing)
        if tiles:
            self._count(blocks_sealed=1, tiles=tiles)
            retention.reclaim(self._shelves)
        return tiles

    # ---- reading

    def read_columns(self, tier: int, ids: ArrayLike, start: int, end: int) -> Part:
        """The rows of some series of steps in [start, end): (steps int64[k], places among the sorted distinct `ids`
        int64[k], columns float64[6, k]), folded, ascending by (step, place). The columns may be a view."""
        return reading.read_columns(self._shelves[tier], _distinct(ids), start, end)

    def read_sketches(self, tier: int, ids: ArrayLike, start: int, end: int) -> Sketches:
        """Their sketches, one for each (series, step, part), in any order; `ids` are places as above."""
        return reading.read_sketches(self._shelves[tier], _distinct(ids), start, end)

    def first_step(self, tier: int) -> int | None:
        """The start of the oldest step on disk."""
        return self._shelves[tier].first_step()

    def last_step(self, tier: int) -> int | None:
        """The start of the newest step on disk."""
        return self._shelves[tier].last_step()

    def steps(self, tier: int, start: int, end: int) -> list[int]:
        """The starts, ascending, of the steps in [start, end) that have slabs, which is to say in open blocks."""
        return reading.open_steps(self._shelves[tier], start, end)

    def read_step(self, tier: int, step_start: int) -> tuple[Ids, Columns]:
        """All rows of a step: ids uint32[k] ascending, columns float64[6, k]. Slow for a sealed block: read tiles."""
        dense = reading.read_dense(self._shelves[tier], step_start, step_start + TIERS[tier].step_seconds)
        ids = np.flatnonzero(dense[COUNT] > 0)
        return ids.astype(np.uint32), dense[:, ids]

    def blocks(self, tier: int, start: int = 0, end: int | None = None) -> list[Block]:
        """The blocks that may have steps in [start, end), oldest first."""
        return self._shelves[tier].blocks(start, end)

    def tile_numbers(self, tier: int, block_start: int) -> list[int]:
        """The tiles of a sealed block, ascending; those of an open one or none: nothing."""
        return reading.read_tile_numbers(self._shelves[tier], block_start)

    def read_tile(self, tier: int, block_start: int, number: int) -> tuple[Integers, Ids, Columns]:
        """All rows of ids 64 × number up to 64 × number + 63 in a sealed block: steps int64[k], ids uint32[k], columns
        float64[6, k], patches merged, ascending by (step, id)."""
        return reading.read_tile(self._shelves[tier], block_start, number)

    def highest_id(self) -> int:
        """No row has a higher id (it may be up to 63 lower); looks at every slab, so only for a lost catalogue."""
        return max(reading.highest_id(shelf) for shelf in self._shelves)

    # ---- the whole

    def environments(self) -> list[tuple[Path, Environment]]:
        """(path below data_dir, environment) of everything there is."""
        found = []
        for shelf in self._shelves:
            for partitions in (shelf.slabs, shelf.tiles):
                for start in partitions.starts():
                    environment = partitions.get(start)
                    if environment is not None:
                        found.append((environment.path.relative_to(self.data_dir), environment))
        return found

    def paused(self) -> AbstractContextManager[None]:
        """A context in which nothing is written, sealed or given up; it waits for what is going on, writers for it."""
        return self._gate.paused()

    @property
    def problem(self) -> str:
        """Why steps are being refused, or ""; of the coarsest tier that is."""
        return self._limits.problem

    def counters(self) -> dict[str, int]:
        """Since the start: slabs, patches, rows and bytes written, blocks_sealed and their tiles, rows refused for
        bytes_max and refused_disk_floor, environments expired and set_aside, damaged and too_new slabs and tiles met;
        bytes_on_disk now, in all and of each tier."""
        sizes = {f"bytes_on_disk_{shelf.tier.name}": shelf.file_bytes() for shelf in self._shelves}
        return (
            self._counts
            | self._limits.counts
            | {
                "damaged": sum(shelf.damaged for shelf in self._shelves),
                "too_new": sum(shelf.too_new for shelf in self._shelves),
                "set_aside": sum(shelf.slabs.set_aside + shelf.tiles.set_aside for shelf in self._shelves),
                "bytes_on_disk": sum(sizes.values()),
                **sizes,
            }
        )

    def close(self) -> None:
        """Waits for readers; idempotent."""
        for shelf in self._shelves:
            shelf.close()

    # ---- within

    def _check_step(self, tier: int, step_start: int) -> None:
        seconds = TIERS[tier].step_seconds
        if step_start < 0 or step_start % seconds:
            raise ValueError(f"step {step_start} does not begin at a multiple of {seconds} s")

    def _check_patch(self, tier: int, steps: Integers) -> None:
        if (steps[1:] < steps[:-1]).any():
            raise ValueError("the steps of a patch do not ascend")
        if len(steps):
            self._check_step(tier, int(steps[0]))
            self._check_step(tier, int(np.gcd.reduce(steps)))

    def _is_over(self, shelf: Shelf, second: int) -> bool:
        """Whether a block that ends at `second` is past: at the time last heard of, or else at the newest step."""
        return second <= (self._now if self._now is not None else shelf.last_step() or 0)

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, number in more.items():
                self._counts[name] += number


def _distinct(ids: ArrayLike) -> Ids:
    return np.unique(np.asarray(ids, np.uint32))


def _bytes_of(sketches: Sketches | None) -> int:
    return 0 if sketches is None else len(sketches.data)


def _check_layout(root: Path) -> None:
    """StorageError for a directory of a layout that was never released: partitions of 10 s directly below the tier."""
    first = root / TIERS[0].name
    old = [path.name for path in first.glob("*") if keys.partition_time(path.name) is not None]
    if old:
        raise StorageError(
            f"{first / old[0]} has the layout of an unreleased version; remove {root}, or choose another data directory"
        )

"""What is to be sent next: history read in the order of time, from a position on.

    blocks of a tier    ┌ sealed ──────────┐┌ sealed ──────────┐┌ open ────────────
    read as             tile 0, 1, 2 …       tile 0, 1, 2 …      step, step, step …      up to `end`
                                    ▲ Position(step, tile)

Each series' samples come in the order of their time; a sealed block is read by tiles, 64 series over the whole block,
which is some ten times cheaper than by steps. Nothing is kept: whoever sends moves the position on, or back.

A block may be sealed, and its slabs vanish, between two calls here. So an open block that shows nothing (more) is
passed only if it is still open afterwards, or ended without a trace.
Errors: StorageError from history. Damaged blocks are skipped and counted there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hms_ops.remote.encode import Rows
from hms_ops.storage.tier import TIERS

if TYPE_CHECKING:
    from hms_ops.storage.history import History

CHUNK_ROWS: Final = 20_000  # read at once, unless one step or one tile has more
TRIES: Final = 4  # blocks are not sealed faster than that


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Everything before `step` (Unix seconds) was sent; of its block, also the tiles below `tile`."""

    step: int = 0
    tile: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows sorted by (id, step), and the position after them."""

    rows: Rows
    after: Position


NO_ROWS: Final = Rows(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((6, 0)))


class Feed:
    """The rows of one tier."""

    def __init__(self, history: "History", tier: int) -> None:
        self.history = history
        self.number = tier
        self.tier = TIERS[tier]

    def next(self, position: Position, end: int, bound: int | None = None) -> Chunk | None:
        """The next rows of steps that end by `end`, in an open block by `bound` too; None when there are none. A chunk
        may be without rows."""
        for _ in range(TRIES):
            chunk, is_sure = self._look(position, end, end if bound is None else min(bound, end))
            if is_sure:
                return chunk
        return None

    def _look(self, position: Position, end: int, bound: int) -> tuple[Chunk | None, bool]:
        """(what is there, whether that can be relied on)."""
        first = self.tier.block_start(position.step)
        for block in self.history.blocks(self.number, first, end):
            block_end = block.start + self.tier.block_seconds
            at = position if block.start == first else Position(block.start)
            if block.is_sealed:
                if block_end > end:
                    return None, True  # the clock was set back
                return self._tile(block.start, at), True
            chunk = self._steps(at, min(bound - self.tier.step_seconds + 1, block_end))
            if chunk is not None and len(chunk.rows.ids):
                return chunk, True
            if self._is_sealed(block.start):
                return None, False
            if chunk is not None:
                return chunk, True
        return None, True

    def _is_sealed(self, start: int) -> bool:
        return any(
            block.start == start and block.is_sealed for block in self.history.blocks(self.number, start, start + 1)
        )

    def _tile(self, block_start: int, at: Position) -> Chunk:
        """The next tile of a sealed block; no rows and the block's end behind the last."""
        numbers = [n for n in self.history.tile_numbers(self.number, block_start) if n >= at.tile]
        if not numbers:
            return Chunk(NO_ROWS, Position(block_start + self.tier.block_seconds))
        steps, ids, columns = self.history.read_tile(self.number, block_start, numbers[0])
        wanted = steps >= at.step
        rows = Rows(steps[wanted], ids[wanted].astype(np.uint32), columns[:, wanted]).sorted()
        return Chunk(rows, Position(at.step, numbers[0] + 1))

    def _steps(self, at: Position, end: int) -> Chunk | None:
        """Some steps of an open block that begin in [at.step, end)."""
        parts: list[Rows] = []
        count = 0
        after = at.step
        for step in self.history.steps(self.number, at.step, end):
            ids, columns = self.history.read_step(self.number, step)
            parts.append(Rows(np.full(len(ids), step), ids, columns))
            count, after = count + len(ids), step + self.tier.step_seconds
            if count >= CHUNK_ROWS:
                break
        if after == at.step:
            return None
        steps, numbers, columns_ = zip(*parts, strict=True)
        rows = Rows(np.concatenate(steps), np.concatenate(numbers), np.concatenate(columns_, axis=1))
        return Chunk(rows.sorted(), Position(after))

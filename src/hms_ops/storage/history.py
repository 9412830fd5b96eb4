"""History of one tier on disk: a block of rows for each step, appended once, read back by any range and step.

The engine's writer thread appends each closed step and calls `retain`; queries read from any thread, in short
transactions, and never wait for the writer. Rows are as in block.py: uint32 ids of the catalogue, columns
float64[6, n].

    data_dir/history/10s/2026-11-23T06/     six hours; key: step start + sequence, value: a block

A step may have several blocks: rows that come late, or the rest of a step after a restart, are appended behind the
first under the next sequence number and merged when read (merge.py). Nothing on disk is ever changed.

Damage: a damaged block is skipped and counted once, however often it is read; a damaged partition is set aside and a
new one begun. Limits: `keep_seconds` by `retain`, `bytes_max` by every append, which gives up the oldest partitions
first and, when only the one being written is left, refuses (counter `refused`). Errors: StorageError when the disk
fails or is full (nothing of that append is kept; the next one may work again), ValueError for a caller's mistake.

Not here: tiers above 10 s, tiles and the open part of a step in memory; the engine splices the last with merge.fold.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from hms_ops.clock import SECOND_NS
from hms_ops.errors import StorageError
from hms_ops.storage import block, keys, merge
from hms_ops.storage.block import BlockDamaged, BlockTooNew, Columns, Ids
from hms_ops.storage.environment import Environment, Transaction
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.partition import Partitions

PARTITION_SECONDS: Final = 21_600
"""Six hours: the cap in bytes gives up an eighth of 48 h at a time; 100,000 series make files below 6 GB."""

READ_BLOCKS: Final = 256
READ_ROWS: Final = 1_000_000
"""A read transaction ends after so many blocks or rows: pages it holds cannot be reused meanwhile."""

COMMIT_BYTES: Final = 65_536
"""More than a transaction writes beyond its block: pages of the tree, and the first ones of a new partition."""

DAMAGED_REMEMBERED: Final = 4096

Part = tuple[merge.Integers, merge.Integers, Columns]


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """What is kept, of one tier: whichever limit is reached first."""

    keep_seconds: int = 172_800
    bytes_max: int = 16 << 30


class History:
    """One tier. `append`, `append_patch`, `retain` and `close` belong to one writer thread; the rest is anybody's."""

    def __init__(self, data_dir: Path, config: HistoryConfig | None = None, step_seconds: int = 10) -> None:
        self.config = config or HistoryConfig()
        self.step_seconds = step_seconds
        self._partitions = Partitions(data_dir / "history" / f"{step_seconds}s", PARTITION_SECONDS)
        self._counting = threading.Lock()
        self._counts = dict.fromkeys(("slabs", "rows", "bytes", "patches", "refused", "expired", "too_new"), 0)
        self._damaged: set[tuple[int, bytes]] = set()

    def append(self, step_start: int, ids: ArrayLike, columns: Columns) -> int:
        """Put the rows of a closed step on disk, in one synced transaction; returns how many.

        ids uint32[n] in any order, columns float64[6, n]. Rows without samples (count 0) or without an id (0) are left
        out; rows of one id are merged. StorageError: none of them is on disk.
        """
        rows = self._write(step_start, *self._tidy(ids, columns))
        self._counts["slabs"] += rows > 0
        return rows

    def append_patch(self, step_start: int, ids: ArrayLike, columns: Columns) -> int:
        """The same for samples that came after their step was written; reads merge them into it."""
        rows = self._write(step_start, *self._tidy(ids, columns))
        self._counts["patches"] += rows > 0
        return rows

    def read(self, ids: ArrayLike, start: int, end: int, step: int | None = None) -> merge.Rows:
        """The rows (merge.ROW) of all `ids` pooled into one, of the steps in [start, end).

        Unix seconds. `step`: seconds, a multiple of the tier's; start is rounded down to it. Steps without samples are
        absent; an id that is not there has none.
        """
        step, start = self._checked(step, start)
        wanted = np.unique(np.asarray(ids, np.uint32))
        steps, _, columns = self._folded(wanted, start, end, step, pooled=True)
        return merge.as_rows(steps, columns)

    def read_columns(self, ids: ArrayLike, start: int, end: int) -> Part:
        """The steps of the tier itself, each series by itself and with its m2, as merge.fold has rows: (step starts
        int64[k], positions among the sorted distinct `ids` int64[k], columns float64[6, k]), ascending."""
        _, start = self._checked(None, start)
        wanted = np.unique(np.asarray(ids, np.uint32))
        return self._folded(wanted, start, end, self.step_seconds, pooled=False)

    def first_step(self) -> int | None:
        """The start of the oldest step on disk, in Unix seconds."""
        return self._edge(self._partitions.starts(), newest=False)

    def last_step(self) -> int | None:
        """The start of the newest step on disk: what is later is in memory only."""
        return self._edge(reversed(self._partitions.starts()), newest=True)

    def highest_id(self) -> int:
        """The highest id in any block's head; reads every head, so only for a catalogue that was lost."""
        highest = 0

        def look(data: memoryview) -> None:
            nonlocal highest
            frames = block.read_head(data).frames
            highest = max(highest, int(frames["last_id"].max(initial=0)))

        for partition in self._partitions.starts():
            self._each_block(partition, 0, partition + PARTITION_SECONDS, look)
        return highest

    def retain(self, now_ns: int) -> int:
        """Unlink the partitions that ended `keep_seconds` ago, and the oldest beyond `bytes_max`; returns how many."""
        oldest = now_ns // SECOND_NS - self.config.keep_seconds
        expired = [start for start in self._partitions.starts() if start + PARTITION_SECONDS <= oldest]
        for start in expired:
            self._expire(start)
        return len(expired) + self._make_room(now_ns // SECOND_NS)

    def counters(self) -> dict[str, int]:
        """slabs, rows, bytes and patches written, rows refused, partitions expired and set_aside, since the start;
        damaged and too_new blocks met; bytes_on_disk now."""
        return self._counts | {
            "damaged": len(self._damaged),
            "set_aside": self._partitions.set_aside,
            "bytes_on_disk": self._partitions.file_bytes(),
        }

    def close(self) -> None:
        """Waits for readers; idempotent."""
        self._partitions.close()

    def _checked(self, step: int | None, start: int) -> tuple[int, int]:
        step = step or self.step_seconds
        if step < 0 or step % self.step_seconds:
            raise ValueError(f"step {step} s is not a multiple of {self.step_seconds} s")
        return step, max(0, start - start % step)

    def _folded(self, wanted: Ids, start: int, end: int, step: int, *, pooled: bool) -> Part:
        gathering = _Gathering(wanted, step, pooled)
        for partition in self._partitions.starts(start, end):
            self._each_block(partition, start, end, gathering.take)
        return gathering.result()

    def _each_block(self, partition: int, start: int, end: int, take: Callable[[memoryview], None]) -> None:
        """Hand each block of the steps in [start, end) to `take`; what is damaged is skipped and counted."""
        at: bytes | None = keys.time_key(start)
        stop = keys.time_key(max(start, end))
        try:
            while at is not None and (environment := self._partitions.get(partition)) is not None:
                at = self._some_blocks(environment, partition, at, stop, take)
        except EnvironmentDamaged:
            self._count_damage(partition, b"")
        except StorageError:
            if self._partitions.get(partition) is not None:
                raise  # else it expired under the reader: its steps are gone like any other old ones

    def _some_blocks(
        self, environment: Environment, partition: int, at: bytes, stop: bytes, take: Callable[[memoryview], None]
    ) -> bytes | None:
        """Up to READ_BLOCKS from key `at`, in one transaction; returns the key to go on at."""
        with environment.read() as transaction, transaction.cursor() as cursor:
            is_there = cursor.set_range(at)
            for _ in range(READ_BLOCKS):
                if not is_there or bytes(cursor.key()) >= stop:
                    return None
                try:
                    take(cursor.value())
                except BlockDamaged:
                    self._count_damage(partition, bytes(cursor.key()))
                except BlockTooNew:
                    with self._counting:
                        self._counts["too_new"] += 1
                is_there = cursor.next()
            return bytes(cursor.key()) if is_there else None

    def _count_damage(self, partition: int, key: bytes) -> None:
        with self._counting:
            if len(self._damaged) < DAMAGED_REMEMBERED:
                self._damaged.add((partition, key))

    def _edge(self, partitions: Iterable[int], *, newest: bool) -> int | None:
        for partition in partitions:
            environment = self._partitions.get(partition)
            if environment is None:
                continue
            with environment.read() as transaction, transaction.cursor() as cursor:
                if cursor.last() if newest else cursor.first():
                    return keys.time_of(cursor.key())[0]
        return None

    def _tidy(self, ids: ArrayLike, columns: Columns) -> tuple[Ids, Columns]:
        """What block.encode takes: ids ascending, each once, rows without samples or id left out."""
        given = np.asarray(ids, np.uint32)
        is_kept = (given > 0) & (columns[merge.COUNT] > 0)
        if not is_kept.all():
            given, columns = given[is_kept], columns[:, is_kept]
        if (given[1:] > given[:-1]).all():
            return given, columns
        _, merged, columns = merge.fold(np.zeros(len(given), np.int64), given.astype(np.int64), columns)
        return merged.astype(np.uint32), columns

    def _write(self, step_start: int, ids: Ids, columns: Columns) -> int:
        if step_start < 0 or step_start % self.step_seconds:
            raise ValueError(f"step {step_start} does not begin at a multiple of {self.step_seconds} s")
        if not len(ids):
            return 0
        data = block.encode(step_start, self.step_seconds, ids, columns)
        self._make_room(step_start, len(data) + COMMIT_BYTES)
        if self._partitions.file_bytes() + len(data) + COMMIT_BYTES > self.config.bytes_max:
            self._counts["refused"] += len(ids)
            raise StorageError(
                f"history has its {self.config.bytes_max} bytes within one partition; "
                f"{len(ids)} rows of step {step_start} are not kept: raise the limit, or send fewer series"
            )
        self._commit(step_start, data)
        self._counts["rows"] += len(ids)
        self._counts["bytes"] += len(data)
        return len(ids)

    def _commit(self, step_start: int, data: bytes) -> None:
        partition = keys.partition_start(step_start, PARTITION_SECONDS)

        def put(transaction: Transaction) -> None:
            transaction.put(keys.time_key(step_start, _next_sequence(transaction, step_start)), data)

        try:
            self._partitions.create(partition).commit(put)
        except EnvironmentDamaged:
            self._partitions.put_aside(partition)
            self._partitions.create(partition).commit(put)

    def _make_room(self, step: int, more_bytes: int = 0) -> int:
        """Give up the oldest partitions beyond `bytes_max`, all but the one that holds `step`; returns how many."""
        count = 0
        while self._partitions.file_bytes() + more_bytes > self.config.bytes_max:
            oldest = self._partitions.starts()[:1]
            if not oldest or oldest[0] + PARTITION_SECONDS > step:
                break
            self._expire(oldest[0])
            count += 1
        return count

    def _expire(self, partition: int) -> None:
        self._partitions.remove(partition)
        self._counts["expired"] += 1


class _Gathering:
    """The rows of some series out of many blocks, folded every READ_ROWS so that memory follows what is asked for."""

    def __init__(self, wanted: Ids, step: int, pooled: bool) -> None:
        self._wanted = wanted
        self._step = step
        self._pooled = pooled
        self._folded: list[Part] = []
        self._waiting: list[Part] = []
        self._waiting_rows = 0

    def take(self, data: memoryview) -> None:
        head, positions, columns = block.select(data, self._wanted)
        rows = len(positions)
        if rows == 0:
            return
        steps = np.full(rows, head.step_start - head.step_start % self._step)
        self._waiting.append((steps, np.zeros(rows, np.int64) if self._pooled else positions, columns))
        self._waiting_rows += rows
        if self._waiting_rows >= READ_ROWS:
            self._fold()

    def result(self) -> Part:
        self._fold()
        return merge.fold(*merge.join(self._folded))

    def _fold(self) -> None:
        self._folded.append(merge.fold(*merge.join(self._waiting)))
        self._waiting, self._waiting_rows = [], 0


def _next_sequence(transaction: Transaction, step_start: int) -> int:
    """0 for the first block of a step, else one more than its last."""
    with transaction.cursor() as cursor:
        is_there = cursor.set_range(keys.time_key(step_start + 1))
        if not (cursor.prev() if is_there else cursor.last()):
            return 0
        step, sequence = keys.time_of(cursor.key())
        return sequence + 1 if step == step_start else 0

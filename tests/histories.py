"""A history on disk and its slow twin: every row that was given, in a dict, merged by the definitions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import numpy as np

from hms_ops import _sketch
from hms_ops.sketches import Sketches
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.row import Columns
from hms_ops.storage.tier import TIERS

START = 1_699_747_200  # 2023-11-12T00:00Z: a block begins in tiers 0 and 1, in 0 a partition too
NO_LIMITS = HistoryConfig(keep_seconds=(1 << 40, 1 << 40, 1 << 40), bytes_max=1 << 40, disk_free_min=0)

Rows = dict[tuple[int, int], list[float]]
"""(step, id) → its samples in the order they were written."""


def columns_of(samples: Iterable[list[float]]) -> Columns:
    """float64[6, n], a row each, by the definitions."""
    rows = []
    for values in samples:
        mean = sum(values) / len(values)
        m2 = sum((value - mean) ** 2 for value in values)
        rows.append([len(values), sum(values), m2, min(values), max(values), values[-1]])
    return np.array(rows, float).reshape(-1, 6).T.copy()


def dense_of(by_id: dict[int, list[float]]) -> Columns:
    """float64[6, n] by id, as a step is appended."""
    dense = np.zeros((6, max(by_id) + 1))
    dense[:, list(by_id)] = columns_of(by_id.values())
    return dense


def one(value: float, series_id: int = 1) -> Columns:
    return dense_of({series_id: [value]})


def patch_of(rows: Rows) -> tuple[np.ndarray, np.ndarray, Columns]:
    """As `append_patch` takes them."""
    ordered = sorted(rows)
    steps, ids = (np.array([key[i] for key in ordered], np.int64) for i in (0, 1))
    return steps, ids, columns_of([rows[key] for key in ordered])


def sketches_of(rows: Rows) -> Sketches:
    """A sketch of the samples of each row, ascending by step and id."""
    ordered = sorted(rows)
    blobs = [_sketch.from_values(np.array(rows[key], float)) for key in ordered]
    offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
    steps, ids = (np.array([key[i] for key in ordered], np.int64) for i in (0, 1))
    return Sketches(ids.astype(np.uint32), steps, offsets, b"".join(blobs))


@dataclass
class Twin:
    """What a tier was given; `assert_same` reads it back from disk."""

    tier: int = 0
    rows: Rows = field(default_factory=dict)
    sketched: Rows = field(default_factory=dict)

    def add(self, rows: Rows, *, sketched: bool = False) -> None:
        for key, values in rows.items():
            self.rows.setdefault(key, []).extend(values)
            if sketched:
                self.sketched.setdefault(key, []).extend(values)

    def append(self, history: History, step: int, by_id: dict[int, list[float]], *, sketched: bool = False) -> None:
        """Append a step and remember it."""
        rows = {(step, series_id): list(values) for series_id, values in by_id.items()}
        sketches = sketches_of(rows) if sketched else None
        assert history.append(self.tier, step, dense_of(by_id), sketches) == len(by_id)
        self.add(rows, sketched=sketched)

    def patch(self, history: History, rows: Rows, *, sketched: bool = False) -> None:
        sketches = sketches_of(rows) if sketched else None
        assert history.append_patch(self.tier, patch_of(rows), sketches) == len(rows)
        self.add(rows, sketched=sketched)

    def assert_same(self, history: History, start: int = 0, end: int = 1 << 40, ids: list[int] | None = None) -> None:
        """All rows and sketches of [start, end), or those of some ids."""
        wanted = sorted({series_id for _, series_id in self.rows} if ids is None else set(ids))
        keys = sorted(key for key in self.rows if start <= key[0] < end and key[1] in wanted)
        steps, places, columns = history.read_columns(self.tier, wanted, start, end)
        assert list(zip(steps.tolist(), [wanted[place] for place in places], strict=True)) == keys
        expected = columns_of([self.rows[key] for key in keys])
        np.testing.assert_array_equal(columns[[0, 3, 4, 5]], expected[[0, 3, 4, 5]])
        np.testing.assert_allclose(columns[1], expected[1], rtol=1e-12, atol=1e-12)
        # 2.2 % of a standard deviation for a slab, and again where parts of a step were merged into a tile.
        np.testing.assert_allclose(columns[2], expected[2], rtol=0.09, atol=1e-9)
        self._assert_same_sketches(history, start, end, wanted)

    def _assert_same_sketches(self, history: History, start: int, end: int, wanted: list[int]) -> None:
        found = history.read_sketches(self.tier, wanted, start, end)
        blobs: dict[tuple[int, int], list[bytes]] = {}
        for i in range(len(found)):
            blobs.setdefault((int(found.steps[i]), wanted[int(found.ids[i])]), []).append(found.blob(i))
        merged = {key: _sketch.merge(parts) for key, parts in blobs.items()}
        assert merged == {
            key: _sketch.from_values(np.array(values, float))
            for key, values in self.sketched.items()
            if start <= key[0] < end and key[1] in wanted
        }


def seal_all(history: History, now: int = 1 << 40) -> int:
    """Seal what is due; returns how many blocks."""
    due = history.sealable(now)
    for tier, block in due:
        history.seal(tier, block)
    return len(due)


def directories(data_dir: Path, tier: int, kind: str) -> list[str]:
    """The names of the environments of a tier, "slabs" or "tiles"."""
    return sorted(path.name for path in (data_dir / "history" / TIERS[tier].name / kind).iterdir())


def corrupt(path: Path, key: bytes, change: object) -> None:
    """Rewrite a value of a closed environment behind History's back, as a failing disk would."""
    with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
        value = transaction.get(key)
        assert value is not None, key
        transaction.put(key, change(value))

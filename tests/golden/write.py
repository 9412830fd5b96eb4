"""Writes the golden files of the current format version, once; an existing file is left alone.

python -m tests.golden.write
"""

from pathlib import Path

import numpy as np
from benchmarks.fleet_mix import Fleet, full_entropy

from hms_ops.sketches import Sketches
from hms_ops.storage import sketchblock, slab, tile
from hms_ops.storage.row import COUNT, Columns

HERE = Path(__file__).parent
START = 1_700_000_000
BLOCK = 1_699_999_200


def steps(series: int, count: int) -> list[Columns]:
    """A fleet with doubles, odd values and gaps in it."""
    mix, random = Fleet(series), np.random.default_rng(7)
    columns = [mix.step() for _ in range(count)]
    for each in columns:
        each[:, 50:60] = full_entropy(10, 1, seed=int(random.integers(1_000)))[:, 0]
        each[1:, 40] = -0.0
        each[1:, 41] = 2.0**53 + 2
        each[1:, 42] = 5e-324
        each[COUNT, random.random(series) < 0.05] = 0
    return columns


def slabs() -> dict[str, tuple[bytes, dict[str, np.ndarray]]]:
    writer = slab.SlabWriter()
    key, packed = b"", b""
    for i, columns in enumerate(steps(700, 12)):
        packed = writer.encode(START + 10 * i, 10, columns)
        key = packed if slab.head(packed).key_step is None else key
    decoded = {"slab-1-key": (key, slab.decode(key, None)), "slab-1": (packed, slab.decode(packed, key))}
    return {name: (data, {"ids": rows[0], "columns": rows[1]}) for name, (data, rows) in decoded.items()}


def tiles() -> dict[str, tuple[bytes, dict[str, np.ndarray]]]:
    data = tile.encode(BLOCK, 10, 640, np.stack(steps(64, 60), axis=1))
    assert data is not None
    at, ids, columns = tile.select(data, None, BLOCK, START + 1_000_000)
    return {"tile-1": (data, {"steps": at, "ids": ids, "columns": columns})}


def sketches() -> bytes:
    blobs = [b"one", b"", b"three" * 20]
    offsets = np.cumsum([0, *map(len, blobs)])
    ids, at = np.array([3, 1, 3], np.uint32), np.array([60, 0, 0], np.int64)
    return sketchblock.pack(60, Sketches(ids, at, offsets, b"".join(blobs)))


def main() -> None:
    for name, (data, arrays) in (slabs() | tiles()).items():
        if not (HERE / f"{name}.bin").exists():
            (HERE / f"{name}.bin").write_bytes(data)
            np.savez_compressed(HERE / f"{name}.npz", **arrays)
    if not (HERE / "sketches-1.bin").exists():
        (HERE / "sketches-1.bin").write_bytes(sketches())


if __name__ == "__main__":
    main()

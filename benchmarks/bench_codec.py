"""What slabs and tiles take on disk and in time, beside zstd over byte planes: what the first release's blocks were.

    python -m pytest benchmarks/bench_codec.py

Bytes are those of slabs and tiles, without LMDB's pages. Rows are benchmarks/fleet_mix.py's. Everything that is
measured is checked: it comes back as it was written. `bytes_a_value` counts five values a row (count, sum, min, max,
last); m2 is in the bytes too.
"""

import os
import platform
import statistics
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np
import pytest
from tests.codecs import assert_kept

from benchmarks.fleet_mix import SHARES, Columns, Fleet, full_entropy, uniform_gauges
from hms_ops.storage import slab, tile

START = 1_699_999_200
STEPS = {"10 s × 1 h": (10, 360), "1 h × 7 d": (3_600, 168)}
SIZES = [100_000, 1_000_000]
SERIES = 640


def of_fleet(**settings: Any) -> Callable[[int], Columns]:
    def make(steps: int) -> Columns:
        mix = Fleet(SERIES, **settings)
        return np.stack([mix.step() for _ in range(steps)], axis=1)

    return make


MIXES: dict[str, Callable[[int], Columns]] = {
    "fleet, 10 samples a step": of_fleet(),
    "fleet, 1 sample a step": of_fleet(samples=1),
    **{f"{sort}, 10 samples a step": of_fleet(only=sort) for sort in SHARES},
    "gauges, 1 sample a step": of_fleet(samples=1, only="gauges"),
    "gauges even over 0 to 100": lambda steps: uniform_gauges(SERIES, steps),
    "full-entropy doubles": lambda steps: full_entropy(SERIES, steps),
}


def tell(benchmark: Any, rows: int, **more: object) -> None:
    seconds = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        us=round(seconds * 1e6, 1),
        ns_per_row=round(seconds / rows * 1e9, 1),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        **more,
    )
    print(f"\n{benchmark.name}: {benchmark.extra_info}")


def slabs_of(columns: Columns, step_seconds: int) -> list[bytes]:
    """Written and checked."""
    writer, key, out = slab.SlabWriter(), b"", []
    for i in range(columns.shape[1]):
        step = np.ascontiguousarray(columns[:, i])
        out.append(writer.encode(START + step_seconds * i, step_seconds, step))
        is_key = slab.head(out[-1]).key_step is None
        key = out[-1] if is_key else key
        found = np.zeros_like(step)
        slab.fold_into(out[-1], None if is_key else key, found)
        assert_kept(found, step)
    return out


def tiles_of(columns: Columns, step_seconds: int) -> list[bytes]:
    """Written and checked."""
    out = []
    for first in range(0, SERIES, 64):
        part = np.ascontiguousarray(columns[:, :, first : first + 64])
        data = tile.encode(START, step_seconds, first, part)
        assert data is not None
        steps, ids, found = tile.select(data, None, START, START + 1_000_000_000)
        dense = np.zeros_like(part)
        dense[:, (steps - START) // step_seconds, ids.astype(int) - first] = found
        assert_kept(dense, part)
        out.append(data)
    return out


def planes(columns: Columns) -> int:
    """Bytes of each step as zstd over byte planes of 512 rows."""
    total = 0
    for step in columns.transpose(1, 0, 2):
        there = step[:, step[0] > 0]
        for first in range(0, there.shape[1], 512):
            raw = np.ascontiguousarray(there[:, first : first + 512]).view(np.uint8).reshape(6, -1, 8)
            total += len(bytes(cramjam.zstd.compress(raw.transpose(0, 2, 1).tobytes(), level=1)))
    return total


@pytest.mark.parametrize("block", STEPS)
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.benchmark(group="bytes a row")
def test_bytes(benchmark: Any, mix: str, block: str) -> None:
    step_seconds, steps = STEPS[block]
    columns = MIXES[mix](steps)
    rows = int((columns[0] > 0).sum())
    tiles = benchmark.pedantic(tiles_of, (columns, step_seconds), rounds=1)
    in_tiles, in_slabs = sum(map(len, tiles)) / rows, sum(map(len, slabs_of(columns, step_seconds))) / rows
    tell(
        benchmark,
        rows,
        tile_bytes_a_row=round(in_tiles, 3),
        tile_bytes_a_value=round(in_tiles / 5, 3),
        slab_bytes_a_row=round(in_slabs, 3),
        written_over_kept=round((in_slabs + in_tiles) / in_tiles, 2),
        planes_bytes_a_row=round(planes(columns) / rows, 1),
    )


@pytest.fixture(scope="module", params=SIZES, ids=lambda series: f"{series:,} rows")
def pair(request: pytest.FixtureRequest) -> Any:
    """(a writer behind its 12th slab, the next step, that step's slab, its key)."""
    mix, writer = Fleet(request.param), slab.SlabWriter()
    key = b""
    for i in range(12):
        data = writer.encode(START + 10 * i, 10, mix.step())
        key = data if slab.head(data).key_step is None else key
    step = mix.step()
    return writer, step, writer.encode(START + 120, 10, step), key


@pytest.mark.benchmark(group="encode a slab")
def test_encode_a_slab(benchmark: Any, pair: Any) -> None:
    writer, step, _, _ = pair
    benchmark.pedantic(writer.encode, (START + 130, 10, step), rounds=9, warmup_rounds=1)
    tell(benchmark, step.shape[1])


@pytest.mark.benchmark(group="encode a key slab")
def test_encode_a_key_slab(benchmark: Any, pair: Any) -> None:
    writer, step, _, _ = pair
    setup = lambda: writer.begin_anew()  # noqa: E731
    benchmark.pedantic(writer.encode, (START + 130, 10, step), setup=setup, rounds=5, warmup_rounds=1)
    tell(benchmark, step.shape[1])


@pytest.mark.benchmark(group="merge a slab into columns")
def test_fold_a_slab(benchmark: Any, pair: Any) -> None:
    _, step, data, key = pair
    unpacked = slab.Key(key)
    out = np.zeros_like(step)
    slab.fold_into(data, unpacked, out)
    assert_kept(out, step)
    benchmark.pedantic(slab.fold_into, (data, unpacked, out), rounds=9, warmup_rounds=1)
    tell(benchmark, step.shape[1])


@pytest.mark.parametrize("wanted", [1, 64])
@pytest.mark.benchmark(group="an hour of slabs of 100,000 series, some series of it")
def test_read_slabs(benchmark: Any, wanted: int) -> None:
    mix, writer = Fleet(100_000), slab.SlabWriter()
    slabs: list[tuple[bytes, bytes | None]] = []
    key = None
    for i in range(60):
        data = writer.encode(START + 10 * i, 10, mix.step())
        key = data if slab.head(data).key_step is None else key
        slabs.append((data, None if data is key else key))
    ids = np.arange(50_048, 50_048 + wanted, dtype=np.uint32)

    def read() -> int:
        reader = slab.SlabReader(ids)
        return sum(reader.take(data, key) for data, key in slabs * 6)

    rows = benchmark.pedantic(read, rounds=7, warmup_rounds=1)
    assert rows == 360 * wanted
    tell(benchmark, rows)


@pytest.mark.parametrize("wanted", [1, 64])
@pytest.mark.parametrize("block", STEPS)
@pytest.mark.benchmark(group="series of a tile")
def test_select(benchmark: Any, block: str, wanted: int) -> None:
    step_seconds, steps = STEPS[block]
    mix = Fleet(64)
    data = tile.encode(START, step_seconds, 0, np.stack([mix.step() for _ in range(steps)], axis=1))
    assert data is not None
    ids = np.arange(40, 41, dtype=np.uint32) if wanted == 1 else None
    found = benchmark.pedantic(
        tile.select, (data, ids, START, START + 1_000_000_000), rounds=99, iterations=5, warmup_rounds=3
    )
    tell(benchmark, len(found[0]))


@pytest.mark.parametrize("block", STEPS)
@pytest.mark.benchmark(group="encode a tile of 64 series")
def test_encode_a_tile(benchmark: Any, block: str) -> None:
    step_seconds, steps = STEPS[block]
    mix = Fleet(64)
    columns = np.stack([mix.step() for _ in range(steps)], axis=1)
    benchmark.pedantic(tile.encode, (START, step_seconds, 0, columns), rounds=9, warmup_rounds=1)
    tell(benchmark, steps * 64)

"""Slabs and tiles against their twins in plain Python, against last year's files, and against hostile bytes."""

import struct
from pathlib import Path

import cramjam
import numpy as np
import pytest
from benchmarks.fleet_mix import Fleet, full_entropy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codecs import any_columns, assert_harmless, resealed
from tests.reference import slab as slab_twin
from tests.reference import tile as tile_twin

from hms_ops.storage import slab, tile
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged
from hms_ops.storage.row import COUNT, Columns

GOLDEN = Path(__file__).parent / "golden"
START = 1_700_000_000
BLOCK = 1_699_999_200
END = 1 << 40
HOSTILE = 3_000


def fleet(series: int, steps: int, **settings: object) -> list[Columns]:
    mix = Fleet(series, **settings)
    return [mix.step() for _ in range(steps)]


def slabs_of(steps: list[Columns]) -> list[tuple[bytes, bytes | None]]:
    writer = slab.SlabWriter()
    slabs: list[tuple[bytes, bytes | None]] = []
    key = None
    for i, columns in enumerate(steps):
        data = writer.encode(START + 10 * i, 10, columns)
        key = data if slab.head(data).key_step is None else key
        slabs.append((data, None if data is key else key))
    return slabs


def assert_slab_is_its_twin(data: bytes, key: bytes | None) -> None:
    head = slab.head(data)
    start, seconds, rows = slab_twin.decode(data, key)
    assert (start, seconds, len(rows)) == (*head[:2], head.rows)
    ids, columns = slab.decode(data, key)
    assert ids.tolist() == [series_id for series_id, _ in rows]
    assert columns.T.tobytes() == b"".join(struct.pack("<6d", *row) for _, row in rows)


def assert_tile_is_its_twin(data: bytes) -> None:
    rows = tile_twin.decode(data)
    steps, ids, columns = tile.select(data, None, -END, END)
    assert list(zip(ids.tolist(), steps.tolist(), strict=True)) == [row[:2] for row in rows]
    assert columns.T.tobytes() == b"".join(struct.pack("<6d", *row) for _, _, row in rows)


@given(st.data(), st.integers(1, 70))
@settings(deadline=None, max_examples=60)
def test_slabs_of_any_rows_are_read_by_their_twin(data, n):
    for packed, key in slabs_of([data.draw(any_columns((n,))) for _ in range(data.draw(st.integers(1, 5)))]):
        assert_slab_is_its_twin(packed, key)


@pytest.mark.parametrize("samples", [1, 10])
def test_slabs_of_a_fleet_are_read_by_their_twin(samples):
    for packed, key in slabs_of(fleet(200, 14, samples=samples)):
        assert_slab_is_its_twin(packed, key)


@given(st.data(), st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_tiles_of_any_rows_are_read_by_their_twin(data, steps):
    columns = np.zeros((6, steps, 64))
    for place in (0, 9, 63):
        columns[:, :, place] = data.draw(any_columns((steps,)))
    packed = tile.encode(BLOCK, 10, 128, columns)
    if packed is not None:
        assert_tile_is_its_twin(packed)


@pytest.mark.parametrize("samples", [1, 10])
def test_tiles_of_a_fleet_are_read_by_their_twin(samples):
    packed = tile.encode(BLOCK, 10, 64, np.stack(fleet(64, 100, samples=samples), axis=1))
    assert packed is not None
    assert_tile_is_its_twin(packed)


# ---- golden files: what version 1 wrote must be read for ever --------------------------------------------------------


def test_golden_slabs_read_as_on_the_day_they_were_written():
    key, packed = (GOLDEN / "slab-1-key.bin").read_bytes(), (GOLDEN / "slab-1.bin").read_bytes()
    for data, other in ((key, None), (packed, key)):
        ids, columns = slab.decode(data, other)
        expected = np.load(GOLDEN / ("slab-1.npz" if other else "slab-1-key.npz"))
        assert ids.tolist() == expected["ids"].tolist()
        assert columns.tobytes() == expected["columns"].tobytes()
        assert_slab_is_its_twin(data, other)


def test_golden_tiles_read_as_on_the_day_they_were_written():
    data = (GOLDEN / "tile-1.bin").read_bytes()
    steps, ids, columns = tile.select(data, None, -END, END)
    expected = np.load(GOLDEN / "tile-1.npz")
    assert steps.tolist() == expected["steps"].tolist()
    assert ids.tolist() == expected["ids"].tolist()
    assert columns.tobytes() == expected["columns"].tobytes()
    assert_tile_is_its_twin(data)


# ---- hostile bytes under right checksums -----------------------------------------------------------------------------


def mutate(random: np.random.Generator, payload: bytes) -> bytes:
    """A payload of the same length with a few bytes changed, or one end of it repeated."""
    changed = bytearray(payload)
    for _ in range(int(random.integers(1, 6))):
        changed[int(random.integers(len(changed)))] = int(random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)]))
    if random.random() < 0.2:
        half = len(changed) // 2
        changed[half : 2 * half] = changed[:half]
    return bytes(changed)


def hostile_slab(random: np.random.Generator, data: bytes) -> bytes:
    """With a payload or its entry changed, and every checksum made right again."""
    head_bytes = struct.unpack_from("<I", data, 8)[0]
    frames, keys = struct.unpack_from("<II", data, 52)
    number = int(random.integers(frames + keys))
    at = 64 + 16 * number
    _, offset, size, _ = struct.unpack_from("<IIII", data, at)
    size = size & 0xFFFF if number < frames else size
    changed = bytearray(data)
    if size and number < frames:
        changed[head_bytes + offset : head_bytes + offset + size] = mutate(random, data[head_bytes + offset :][:size])
    if random.random() < 0.2:
        changed[at + int(random.integers(12))] = int(random.integers(256))
    _, offset, size, _ = struct.unpack_from("<IIII", changed, at)
    size = size & 0xFFFF if number < frames else size
    struct.pack_into("<I", changed, at + 12, crc32c(bytes(changed[head_bytes + offset :][:size])))
    return resealed(bytes(changed), 4, b"\x01\x00")


def read_slab(data: bytes, key: bytes | None) -> None:
    slab.decode(data, key)
    out = np.zeros((6, 2_000))
    slab.fold_into(data, key, out)
    slab.frames_dense(data, key, 1, np.zeros((6, 512)))
    reader = slab.SlabReader(np.arange(0, 1_300, 7, dtype=np.uint32))
    reader.take(data, key)


def a_slab_and_its_key() -> tuple[bytes, bytes]:
    steps = fleet(900, 12)
    steps[11][:, 500:520] = full_entropy(20, 1)[:, 0]
    packed, key = slabs_of(steps)[11]
    assert key is not None
    return packed, key


def test_hostile_slabs_under_right_checksums_are_damage_or_rows_but_no_crash():
    random = np.random.default_rng(1)
    packed, key = a_slab_and_its_key()
    noticed = 0
    for _ in range(HOSTILE):
        changed = hostile_slab(random, packed)
        noticed += assert_harmless(lambda changed=changed: read_slab(changed, key))
    assert noticed > HOSTILE / 10


def with_params(key: bytes, raw: bytes) -> bytes:
    """The key slab with other parameters in its last frame."""
    head_bytes = struct.unpack_from("<I", key, 8)[0]
    frames, keys, payload = struct.unpack_from("<III", key, 52)
    at = 64 + 16 * (frames + keys - 1)
    _, offset, size, _ = struct.unpack_from("<IIII", key, at)
    packed = bytes(cramjam.zstd.compress(raw, level=1))
    changed = bytearray(key[: head_bytes + offset] + packed)
    struct.pack_into("<II", changed, at + 8, len(packed), crc32c(packed))
    return resealed(bytes(changed), 60, struct.pack("<I", payload - size + len(packed)))


def test_hostile_parameters_under_right_checksums_are_damage_or_rows_but_no_crash():
    random = np.random.default_rng(2)
    _, key = a_slab_and_its_key()
    head_bytes = struct.unpack_from("<I", key, 8)[0]
    frames, keys = struct.unpack_from("<II", key, 52)
    _, offset, size, _ = struct.unpack_from("<IIII", key, 64 + 16 * (frames + keys - 1))
    raw = bytes(cramjam.zstd.decompress(key[head_bytes + offset :][:size]))
    assert slab.decode(with_params(key, raw), None)[0].tolist() == slab.decode(key, None)[0].tolist()
    noticed = 0
    for _ in range(HOSTILE // 3):
        changed = with_params(key, mutate(random, raw))
        noticed += assert_harmless(lambda changed=changed: read_slab(changed, None))
    assert noticed > 10
    for raw_bytes in (b"", b"\xff" * 100, bytes(512), bytes([3]) * 512, bytes(100_000), bytes([3]) * 38_400):
        assert_harmless(lambda raw_bytes=raw_bytes: read_slab(with_params(key, raw_bytes), None))


def hostile_tile(random: np.random.Generator, data: bytes) -> bytes:
    """With one frame changed, stored as it is or packed, and every checksum made right again."""
    numbers = list(struct.unpack_from("<24I", data, 40))
    frame = int(random.integers(8))
    start = 136 + sum(numbers[0 : 3 * frame : 3])
    payload = data[start : start + numbers[3 * frame]]
    raw = payload if len(payload) == numbers[3 * frame + 1] else bytes(cramjam.zstd.decompress(payload))
    raw = mutate(random, raw)
    stored = raw if random.random() < 0.8 else bytes(cramjam.zstd.compress(raw, level=1))
    raw_size = len(raw) if random.random() < 0.95 else int(random.integers(1 << 32))
    changed = data[:start] + stored + data[start + len(payload) :]
    entry = struct.pack("<III", len(stored), raw_size, crc32c(stored))
    return resealed(changed, 40 + 12 * frame, entry)


def test_hostile_tiles_under_right_checksums_are_damage_or_rows_but_no_crash():
    random = np.random.default_rng(3)
    columns = np.stack(fleet(64, 60), axis=1)
    columns[COUNT] *= random.random((60, 64)) < 0.9
    packed = tile.encode(BLOCK, 10, 64, columns)
    assert packed is not None
    noticed = 0
    for _ in range(HOSTILE):
        changed = hostile_tile(random, packed)
        noticed += assert_harmless(lambda changed=changed: tile.select(changed, None, BLOCK, END))
    assert noticed > HOSTILE / 10


def test_hostile_heads_under_right_checksums_are_damage_or_rows_but_no_crash():
    random = np.random.default_rng(4)
    packed, key = a_slab_and_its_key()
    tile_bytes = tile.encode(BLOCK, 10, 64, np.stack(fleet(64, 20), axis=1))
    assert tile_bytes is not None
    for _ in range(HOSTILE):
        change = random.bytes(int(random.integers(1, 9)))
        at = int(random.integers(16, 128))
        assert_harmless(lambda change=change, at=at: read_slab(resealed(packed, at, change), key))
        assert_harmless(lambda change=change, at=at: tile.select(resealed(tile_bytes, at, change), None, BLOCK, END))


def test_ten_thousand_flipped_bits_are_all_noticed():
    random = np.random.default_rng(5)
    packed, key = a_slab_and_its_key()
    for data, other in ((packed, key), (key, None)):
        for bit in random.integers(0, 8 * len(data), 5_000).tolist():
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(BlockDamaged):
                slab.decode(bytes(changed), other)


# ---- what they take --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "samples", "tile_bytes_max", "slab_bytes_max"),
    [(None, 10, 2.8, 3.75), (None, 1, 0.7, 1.4), ("gauges", 10, 6.3, 7.5), ("constant", 10, 0.06, 0.35)],
)
def test_a_row_takes_no_more_bytes_than_we_say(only, samples, tile_bytes_max, slab_bytes_max):
    steps = fleet(1_280, 360, only=only, samples=samples)
    columns = np.stack(steps, axis=1)
    rows = int((columns[COUNT] > 0).sum())
    slabs = slabs_of(steps)
    tiles = [
        tile.encode(BLOCK, 10, at, np.ascontiguousarray(columns[:, :, at : at + 64])) for at in range(0, 1_280, 64)
    ]
    assert sum(map(len, filter(None, tiles))) / rows < tile_bytes_max
    assert sum(len(data) for data, _ in slabs) / rows < slab_bytes_max


def test_full_entropy_doubles_take_less_than_six_bytes_a_value():
    columns = full_entropy(64, 360)
    packed = tile.encode(BLOCK, 10, 0, columns)
    assert packed is not None
    assert len(packed) / columns[COUNT].size / 5 < 6

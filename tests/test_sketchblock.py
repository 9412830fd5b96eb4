"""Blocks of sketches: what comes back, and every way to break one."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops.sketches import Sketches, no_sketches
from hms_ops.storage import sketchblock
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged, BlockTooNew

FOREVER = 1 << 40


def sketches_of(rows: list[tuple[int, int, bytes]]) -> Sketches:
    offsets = np.cumsum([0, *(len(blob) for _, _, blob in rows)])
    return Sketches(
        np.array([row[0] for row in rows], np.uint32),
        np.array([row[1] for row in rows], np.int64),
        offsets.astype(np.int64),
        b"".join(row[2] for row in rows),
    )


def rows_of(sketches: Sketches) -> list[tuple[int, int, bytes]]:
    return [(int(sketches.ids[i]), int(sketches.steps[i]), sketches.blob(i)) for i in range(len(sketches))]


def many(series: int, steps: int = 1, size: int = 100) -> list[tuple[int, int, bytes]]:
    random = np.random.default_rng(1)
    return [(i, 60 * step, random.bytes(size)) for i in range(series) for step in range(steps)]


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """With bytes of the head replaced and its checksum made right again."""
    changed = bytearray(data)
    changed[at : at + len(value)] = value
    head_bytes = struct.unpack_from("<I", changed, 8)[0]
    changed[12:16] = struct.pack("<I", crc32c(changed[16:head_bytes], crc32c(changed[:12])))
    return bytes(changed)


any_row = st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, FOREVER - 1), st.binary(max_size=40))


@given(st.lists(any_row, max_size=60))
@settings(deadline=None)
def test_sketches_come_back_ascending_by_id_and_step(rows):
    data = sketchblock.pack(60, sketches_of(rows))
    assert sketchblock.head(data)[:2] == (60, len(rows))
    assert rows_of(sketchblock.select(memoryview(data), None, 0, FOREVER)) == sorted(rows, key=lambda row: row[:2])


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_chosen_ids_and_steps_are_those_of_the_whole(data):
    rows = many(3000, steps=2)
    block = sketchblock.pack(60, sketches_of(rows))
    ids = sorted(data.draw(st.sets(st.integers(0, 3100), max_size=20)))
    start, end = data.draw(st.tuples(st.integers(0, 130), st.integers(0, 130)))
    found = sketchblock.select(block, np.array(ids, np.uint32), start, end)
    assert rows_of(found) == [row for row in rows if row[0] in ids and start <= row[1] < end]


def test_one_id_of_many_unpacks_one_frame_only():
    block = sketchblock.pack(60, sketches_of(many(10_000)))
    entries = sketchblock._open(memoryview(block))[1]
    assert len(entries) > 10
    assert sketchblock._is_wanted(entries, np.array([5_000], np.uint32)).sum() == 1


def test_one_id_with_many_steps_is_cut_into_frames_of_bounded_size():
    rows = [(7, step, bytes(5_000)) for step in range(1_000)]
    block = sketchblock.pack(60, sketches_of(rows))
    assert sketchblock._open(memoryview(block))[1][:, 4].max() < 17 * sketchblock.FRAME_BYTES
    assert rows_of(sketchblock.select(block, np.array([7], np.uint32), 0, FOREVER)) == rows


def test_no_sketches_make_a_block_that_has_none():
    data = sketchblock.pack(60, no_sketches())
    assert rows_of(sketchblock.select(data, None, 0, FOREVER)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": np.zeros(3, np.int64)}, "2 ids, 3 steps"),
        ({"offsets": np.array([0, 5], np.int64)}, "1 ascending offsets"),
        ({"offsets": np.array([0, 5, 4], np.int64)}, "ascending"),
        ({"offsets": np.array([0, 5, 99], np.int64)}, "up to 99 of 8 bytes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    sketches = sketches_of([(1, 0, b"abcd"), (2, 0, b"efgh")])
    members = {name: getattr(sketches, name) for name in ("ids", "steps", "offsets", "data")}
    with pytest.raises(ValueError, match=message):
        sketchblock.pack(60, Sketches(**(members | change)))


def test_every_cut_and_every_flipped_bit_is_noticed():
    rows = many(20, size=10)
    data = sketchblock.pack(60, sketches_of(rows))
    for end in range(len(data)):
        with pytest.raises(BlockDamaged):
            sketchblock.select(data[:end], None, 0, FOREVER)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockDamaged):
            sketchblock.select(bytes(changed), None, 0, FOREVER)


def test_a_later_version_is_refused_by_name():
    data = resealed(sketchblock.pack(60, sketches_of(many(3))), 4, b"\x02\x00")
    with pytest.raises(BlockTooNew, match="version 2, this release reads up to 1"):
        sketchblock.head(data)


def test_a_hostile_head_with_the_right_checksum_is_damage_not_a_crash():
    random = np.random.default_rng(2)
    data = sketchblock.pack(60, sketches_of(many(300, size=30)))
    head_bytes = struct.unpack_from("<I", data, 8)[0]
    for _ in range(2_000):
        changed = resealed(data, int(random.integers(16, head_bytes)), random.bytes(int(random.integers(1, 5))))
        try:
            sketchblock.select(changed, None, 0, FOREVER)
        except (BlockDamaged, BlockTooNew):
            continue


def test_a_golden_block_reads_as_on_the_day_it_was_written():
    data = (Path(__file__).parent / "golden" / "sketches-1.bin").read_bytes()
    expected = [(1, 0, b""), (3, 0, b"three" * 20), (3, 60, b"one")]
    assert sketchblock.head(data)[:2] == (60, 3)
    assert rows_of(sketchblock.select(data, None, 0, FOREVER)) == expected

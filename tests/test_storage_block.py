"""The block format against its twin in tests/reference, and against every way to break a block."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.reference import blocks

from hms_ops.storage import block
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.block import BlockDamaged, BlockTooNew

SIZES = [0, 1, 2, 19, 20, 100, 511, 512, 513, 1024, 1300]


def rows_of(count: int, seed: int = 1, gaps: int = 1) -> tuple[block.Ids, block.Columns]:
    random = np.random.default_rng(seed)
    ids = np.cumsum(random.integers(1, gaps + 1, count), dtype=np.uint32)
    columns = np.round(random.uniform(-1000, 1000, (6, count)), 2)
    columns[0] = random.integers(1, 100, count)
    return ids, columns


@st.composite
def any_rows(draw: st.DrawFn) -> tuple[block.Ids, block.Columns]:
    ids = np.array(sorted(draw(st.sets(st.integers(0, 0xFFFFFFFF), max_size=60))), np.uint32)
    return ids, draw(hnp.arrays(np.float64, (6, len(ids)), elements=st.floats(width=64)))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """The block with bytes of its head replaced and the head's checksum made right again."""
    changed = bytearray(data)
    changed[at : at + len(value)] = value
    head_bytes = struct.unpack_from("<I", changed, 8)[0]
    changed[12:16] = struct.pack("<I", crc32c(changed[16:head_bytes], crc32c(changed[:12])))
    return bytes(changed)


@given(any_rows(), st.integers(0, 1 << 40), st.integers(1, 86_400))
@settings(deadline=None)
def test_a_block_reads_back_bit_for_bit_by_itself_and_by_the_reference(rows, step_start, step_seconds):
    ids, columns = rows
    data = block.encode(step_start, step_seconds, ids, columns)
    decoded = block.decode(data)
    assert (decoded.step_start, decoded.step_seconds) == (step_start, step_seconds)
    assert same_bits(decoded.ids, ids)
    assert same_bits(decoded.columns, columns)
    start, seconds, reference = blocks.decode(data)
    assert (start, seconds, [series_id for series_id, _ in reference]) == (step_start, step_seconds, ids.tolist())
    assert b"".join(struct.pack("<6d", *row) for _, row in reference) == columns.T.tobytes()


@pytest.mark.parametrize("count", SIZES)
def test_every_size_around_a_frame_reads_back(count):
    ids, columns = rows_of(count, gaps=3)
    decoded = block.decode(memoryview(block.encode(1_700_000_000, 10, ids, columns)))
    assert same_bits(decoded.ids, ids)
    assert same_bits(decoded.columns, columns)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_selected_rows_are_those_of_the_whole_block(data):
    ids, columns = rows_of(data.draw(st.sampled_from(SIZES)), gaps=4)
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, 4000), max_size=40))), np.uint32)
    head, positions, found = block.select(memoryview(block.encode(50, 10, ids, columns)), wanted)
    is_there = np.isin(wanted, ids)
    assert (head.step_start, head.rows) == (50, len(ids))
    assert wanted[positions].tolist() == wanted[is_there].tolist()
    assert same_bits(found, np.ascontiguousarray(columns[:, np.searchsorted(ids, wanted[is_there])]))


def test_a_block_may_be_a_read_only_view_and_nothing_returned_points_into_it():
    ids, columns = rows_of(30)
    buffer = bytearray(block.encode(50, 10, ids, columns))
    decoded = block.decode(memoryview(buffer).toreadonly())
    _, _, selected = block.select(memoryview(buffer).toreadonly(), ids[:3])
    buffer[:] = bytes(len(buffer))
    assert same_bits(decoded.columns, columns)
    assert same_bits(selected, np.ascontiguousarray(columns[:, :3]))


def test_columns_that_are_views_into_the_store_are_taken():
    store = np.zeros((6, 64, 40))
    store[:, 7, :] = rows_of(40)[1]
    data = block.encode(50, 10, np.arange(40, dtype=np.uint32), store[:, 7, :])
    assert same_bits(block.decode(data).columns, np.ascontiguousarray(store[:, 7, :]))


@pytest.mark.parametrize("count", [0, 1, 15, 700])
def test_a_flipped_bit_anywhere_is_noticed(count):
    ids, columns = rows_of(count)
    data = block.encode(1_700_000_000, 10, ids, columns)
    random = np.random.default_rng(count)
    everywhere = range(len(data) * 8)
    bits = everywhere if count < 20 else [*range(800), *random.integers(800, len(data) * 8, 400).tolist()]
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockDamaged):
            block.decode(bytes(changed))


def test_a_flipped_bit_in_another_frame_does_not_cost_a_selected_series():
    ids, columns = rows_of(1300)
    data = bytearray(block.encode(50, 10, ids, columns))
    data[-1] ^= 1
    _, positions, found = block.select(bytes(data), ids[:1])
    assert positions.tolist() == [0]
    assert same_bits(found, np.ascontiguousarray(columns[:, :1]))
    with pytest.raises(BlockDamaged):
        block.select(bytes(data), ids[-1:])


@pytest.mark.parametrize("count", [0, 5, 700])
def test_a_block_of_any_other_length_is_noticed(count):
    data = block.encode(50, 10, *rows_of(count))
    cuts = range(len(data)) if count < 20 else [*range(120), len(data) // 2, len(data) - 1]
    for cut in cuts:
        with pytest.raises(BlockDamaged):
            block.decode(data[:cut])
    with pytest.raises(BlockDamaged):
        block.decode(data + b"\0")


@pytest.mark.parametrize("junk", [b"", b"\0", bytes(32), b"HMSB", b"HMSB" + b"\xff" * 60, b"x" * 5000])
def test_what_is_no_block_is_damaged(junk):
    for read in (block.decode, block.read_head, lambda data: block.select(data, np.array([1], np.uint32))):
        with pytest.raises(BlockDamaged):
            read(junk)


def test_a_newer_format_is_refused_by_name_and_not_called_damaged():
    data = resealed(block.encode(50, 10, *rows_of(5)), 4, struct.pack("<H", 2))
    with pytest.raises(BlockTooNew, match=r"version 2.*reads 1.*newer"):
        block.decode(data)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(6, struct.pack("<H", 5), id="five columns"),
        pytest.param(28, struct.pack("<I", 6), id="more rows than the frames have"),
        pytest.param(32 + 16, struct.pack("<I", 0xFFFFFFFF), id="a frame of four billion rows"),
        pytest.param(32 + 20, struct.pack("<I", 1), id="raw bytes called zstd"),
        pytest.param(32 + 20, struct.pack("<I", 9), id="an unknown codec"),
        pytest.param(32 + 12, struct.pack("<I", 0), id="an empty payload"),
        pytest.param(32 + 8, struct.pack("<I", 0xFFFFFFFF), id="an offset beyond the end"),
    ],
)
def test_a_head_that_was_forged_with_a_right_checksum_is_damaged(at, value):
    data = resealed(block.encode(50, 10, *rows_of(5)), at, value)
    with pytest.raises(BlockDamaged):
        block.decode(data)


@pytest.mark.parametrize(
    ("ids", "columns"),
    [
        pytest.param(np.array([1, 1], np.uint32), np.ones((6, 2)), id="an id twice"),
        pytest.param(np.array([2, 1], np.uint32), np.ones((6, 2)), id="descending"),
        pytest.param(np.array([1, 2], np.int64), np.ones((6, 2)), id="int64 ids"),
        pytest.param(np.array([[1, 2]], np.uint32), np.ones((6, 2)), id="two dimensions"),
        pytest.param(np.array([1, 2], np.uint32), np.ones((5, 2)), id="five columns"),
        pytest.param(np.array([1, 2], np.uint32), np.ones((6, 3)), id="more rows than ids"),
        pytest.param(np.array([1, 2], np.uint32), np.ones((6, 2), np.float32), id="float32"),
    ],
)
def test_rows_of_another_form_are_refused(ids, columns):
    with pytest.raises(ValueError, match=r"ids|columns"):
        block.encode(50, 10, ids, columns)


def test_dense_constant_rows_take_little():
    ids = np.arange(100_000, dtype=np.uint32)
    data = block.encode(50, 10, ids, np.full((6, 100_000), 240.25))
    assert len(data) < 100_000

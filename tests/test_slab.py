"""Slabs: what comes back of every step, against merge.fold, and every way to break one."""

import numpy as np
import pytest
from benchmarks.fleet_mix import Fleet, full_entropy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codecs import NASTY, any_columns, assert_kept, resealed

from hms_ops.storage import slab
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.merge import fold
from hms_ops.storage.row import COUNT, M2, Columns
from hms_ops.storage.slab import Key, SlabReader, SlabWriter

START = 1_700_000_000


def written(steps: list[Columns], writer: SlabWriter | None = None) -> list[tuple[bytes, bytes | None]]:
    """(slab, its key or None) of each step."""
    writer = writer or SlabWriter()
    slabs: list[tuple[bytes, bytes | None]] = []
    key = None
    for i, columns in enumerate(steps):
        data = writer.encode(START + 10 * i, 10, columns)
        is_key = slab.head(data).key_step is None
        key = data if is_key else key
        slabs.append((data, None if is_key else key))
    return slabs


def fleet(series: int, steps: int, **settings: object) -> list[Columns]:
    mix = Fleet(series, **settings)
    return [mix.step() for _ in range(steps)]


def dense(ids: np.ndarray, columns: Columns, n: int) -> Columns:
    out = np.zeros((6, n))
    out[:, ids] = columns
    return out


@given(st.data(), st.integers(1, 70))
@settings(deadline=None, max_examples=150)
def test_any_rows_come_back_from_every_slab(data, n):
    steps = [data.draw(any_columns((n,))) for _ in range(data.draw(st.integers(1, 5)))]
    for columns, (packed, key) in zip(steps, written(steps), strict=True):
        ids, found = slab.decode(packed, key)
        assert ids.tolist() == np.flatnonzero(columns[COUNT] > 0).tolist()
        assert_kept(dense(ids, found, n), columns)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 511, 512, 513, 1100])
@pytest.mark.parametrize("samples", [1, 10])
def test_a_fleet_comes_back_through_many_keys_at_every_size_around_a_frame(n, samples):
    steps = fleet(n, 2 * slab.KEY_EVERY + 5, samples=samples)
    slabs = written(steps)
    assert sum(key is None for _, key in slabs) >= 3
    for i, (columns, (packed, key)) in enumerate(zip(steps, slabs, strict=True)):
        head = slab.head(memoryview(packed))
        assert (head.step_start, head.step_seconds, head.rows) == (START + 10 * i, 10, (columns[COUNT] > 0).sum())
        out = np.zeros((6, n))
        assert slab.fold_into(memoryview(packed), key, out) == head.rows
        assert_kept(out, columns)


@pytest.mark.parametrize("odd", NASTY)
def test_an_odd_value_among_plain_ones_comes_back_bit_for_bit(odd):
    steps = fleet(64, 6, samples=1)
    for columns in steps[1::2]:
        columns[1:, ::5] = odd
        columns[M2] = 0
    for columns, (packed, key) in zip(steps, written(steps), strict=True):
        assert_kept(dense(*slab.decode(packed, key), 64), columns)


def test_series_that_change_their_nature_come_back_all_the_same():
    random = np.random.default_rng(3)
    steps = fleet(600, 40) + list(full_entropy(600, 40).transpose(1, 0, 2)) + fleet(600, 40, samples=1, seed=9)
    for columns in steps:
        columns[COUNT, random.random(600) < 0.3] = 0
    for columns, (packed, key) in zip(steps, written(steps), strict=True):
        assert_kept(dense(*slab.decode(packed, key), 600), columns)


def test_more_series_come_than_the_key_knows():
    writer = SlabWriter()
    steps = fleet(100, 4) + fleet(3_000, 4, seed=2) + fleet(50, 3, seed=3)
    for columns, (packed, key) in zip(steps, written(steps, writer), strict=True):
        n = columns.shape[1]
        assert_kept(dense(*slab.decode(packed, key), n), columns)


def test_reading_again_what_was_read_changes_nothing_more():
    columns = fleet(500, 1)[0]
    _, once = slab.decode(written([columns])[0][0], None)
    ids, twice = slab.decode(slab.encode_rows(START, 10, np.arange(once.shape[1], dtype=np.uint32), once), None)
    assert twice.tobytes() == once.tobytes()
    assert len(ids) == once.shape[1]


def test_the_first_slab_of_a_new_block_is_a_key():
    writer = SlabWriter()
    steps = fleet(100, 12)
    assert [key is None for _, key in written(steps, writer)][9:] == [False] * 3
    writer.begin_anew()
    assert [key is None for _, key in written(steps[:3], writer)] == [True, False, False]


def test_a_step_without_rows_is_a_slab_of_none():
    packed, key = written([np.zeros((6, 700))])[0]
    assert slab.head(packed)[3:] == (0, 0, 0)
    ids, columns = slab.decode(packed, key)
    assert (ids.shape, columns.shape) == ((0,), (6, 0))


@given(st.sets(st.integers(0, 0xFFFFFFFF), max_size=40), st.data())
@settings(deadline=None, max_examples=80)
def test_rows_of_any_ids_make_a_slab_that_stands_alone(ids, data):
    wanted = np.array(sorted(ids), np.uint32)
    columns = data.draw(any_columns((len(wanted),)))
    columns[COUNT] = np.where(columns[COUNT] > 0, columns[COUNT], 3)
    packed = slab.encode_rows(START, 60, wanted, columns)
    assert slab.head(packed) == (START, 60, None, len(ids), min(ids, default=0), max(ids, default=0))
    found, back = slab.decode(packed, None)
    assert found.tolist() == wanted.tolist()
    assert_kept(back, columns)


@given(st.lists(st.integers(0, 1_199), max_size=30, unique=True))
@settings(deadline=None, max_examples=30)
def test_a_reader_finds_the_rows_of_its_series_only(ids):
    steps = fleet(1_000, 35)
    reader = SlabReader(np.array(sorted(ids), np.uint32))
    wanted = [series_id for series_id in sorted(ids) if series_id < 1_000]
    for packed, key in written(steps):
        reader.take(memoryview(packed), key)
    found_steps, places, columns = reader.result()
    at = 0
    for i, whole in enumerate(steps):
        there = [series_id for series_id in wanted if whole[COUNT, series_id] > 0]
        rows = slice(at, at + len(there))
        assert [sorted(ids)[place] for place in places[rows]] == there
        assert (found_steps[rows] == START + 10 * i).all()
        assert_kept(np.ascontiguousarray(columns[:, rows]), np.ascontiguousarray(whole[:, there]))
        at += len(there)
    assert at == len(places)


def test_folding_slabs_equals_the_merge_of_their_rows():
    steps = fleet(900, 6)
    out = np.zeros((6, 900))
    groups, parts = [], []
    for packed, key in written(steps):
        assert slab.fold_into(packed, key, out) == slab.head(packed).rows
        ids, columns = slab.decode(packed, key)
        groups.append(ids.astype(np.int64))
        parts.append(columns)
    ids = np.concatenate(groups)
    _, where, expected = fold(np.zeros(len(ids), np.int64), ids, np.concatenate(parts, axis=1))
    np.testing.assert_allclose(out[:, where], expected, rtol=1e-9, atol=1e-9)
    assert np.count_nonzero(out[COUNT]) == len(where)


def test_one_frame_is_read_dense_and_the_key_may_be_kept_unpacked():
    steps = fleet(1_100, 8)
    for columns, (packed, key) in zip(steps, written(steps), strict=True):
        kept = None if key is None else Key(key)
        for number in range(4):
            out = np.full((6, 512), 7.0)
            part = np.zeros((6, 512))
            part[:, : max(0, min(512, 1_100 - 512 * number))] = columns[:, 512 * number : 512 * number + 512]
            assert slab.frames_dense(packed, key, number, out) == (part[COUNT] > 0).any()
            assert_kept(out, part)
        assert_kept(dense(*slab.decode(packed, kept), 1_100), columns)


# ---- bad input -------------------------------------------------------------------------------------------------------


def a_pair() -> tuple[bytes, bytes]:
    """(a slab, its key)."""
    (key, _), (packed, _) = written(fleet(700, 2))
    return packed, key


def test_a_slab_without_its_key_or_with_another_is_refused():
    (first, _), (second, _), (third, _) = written(fleet(100, 3))
    assert slab.head(second).key_step == START
    assert slab.head(third).key_step is None
    with pytest.raises(BlockDamaged, match=f"needs its key of step {START}"):
        slab.decode(second, None)
    with pytest.raises(BlockDamaged, match="another key"):
        slab.decode(second, third)
    with pytest.raises(BlockDamaged, match="another key"):
        slab.decode(second, written(fleet(100, 1, seed=5))[0][0])
    with pytest.raises(BlockDamaged, match="is no key"):
        Key(second)
    assert len(slab.decode(second, first)[0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (np.zeros((5, 3)), r"float64\[5, 3\]"),
        (np.zeros((6, 3), np.float32), r"float32\[6, 3\]"),
        (np.zeros(6), r"float64\[6\]"),
        (np.zeros((6, 0)), r"float64\[6, 0\]"),
    ],
)
def test_columns_of_another_shape_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        SlabWriter().encode(START, 10, columns)


@pytest.mark.parametrize("ids", [[1, 1], [2, 1], [1, 2, 3]])
def test_ids_that_do_not_ascend_or_fit_are_refused(ids):
    columns = np.ones((6, 2))
    with pytest.raises(ValueError, match="strictly ascending"):
        slab.encode_rows(START, 10, np.array(ids, np.uint32), columns)
    with pytest.raises(ValueError, match="strictly ascending"):
        SlabReader(np.array([3, 3], np.uint32))


def test_rows_without_a_count_are_refused():
    with pytest.raises(ValueError, match="count"):
        slab.encode_rows(START, 10, np.array([1], np.uint32), np.zeros((6, 1)))


def test_folding_into_too_few_columns_is_refused():
    packed, _ = written(fleet(100, 1))[0]
    with pytest.raises(ValueError, match="have 99 ids, the slab up to 99"):
        slab.fold_into(packed, None, np.zeros((6, 99)))


def test_a_later_version_is_refused_by_name():
    packed, key = a_pair()
    with pytest.raises(BlockTooNew, match="version 9, this release reads up to 1"):
        slab.decode(resealed(packed, 4, b"\x09\x00"), key)


def test_every_cut_is_noticed():
    packed, key = a_pair()
    for data, other in ((packed, key), (key, None)):
        for end in range(0, len(data), 7):
            with pytest.raises(BlockDamaged):
                slab.decode(data[:end], other)
        with pytest.raises(BlockDamaged):
            slab.decode(data + b"\0", other)

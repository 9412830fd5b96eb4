"""Tiles: what comes back of every series, and every way to break one."""

import numpy as np
import pytest
from benchmarks.fleet_mix import Fleet, full_entropy, uniform_gauges
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codecs import NASTY, any_columns, assert_kept, resealed

from hms_ops.storage import tile
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.row import COUNT, M2, Columns

BLOCK = 1_699_999_200
STEP = 10
FIRST = 6_400
END = BLOCK + 1_000_000


def fleet(steps: int, **settings: object) -> Columns:
    mix = Fleet(64, **settings)
    return np.stack([mix.step() for _ in range(steps)], axis=1)


def dense(rows: tile.Rows, steps: int) -> Columns:
    at, ids, columns = rows
    out = np.zeros((6, steps, 64))
    out[:, (at - BLOCK) // STEP, ids.astype(int) - FIRST] = columns
    return out


def packed(columns: Columns) -> bytes:
    data = tile.encode(BLOCK, STEP, FIRST, columns)
    assert data is not None
    return data


def assert_comes_back(columns: Columns) -> None:
    assert_kept(dense(tile.select(packed(columns), None, BLOCK, END), columns.shape[1]), columns)


@given(st.data(), st.integers(1, 12))
@settings(deadline=None, max_examples=150)
def test_any_rows_come_back(data, steps):
    columns = np.zeros((6, steps, 64))
    for place in data.draw(st.sets(st.integers(0, 63), min_size=1, max_size=4)):
        columns[:, :, place] = data.draw(any_columns((steps,)))
    if not (columns[COUNT] > 0).any():
        assert tile.encode(BLOCK, STEP, FIRST, columns) is None
        return
    assert_comes_back(columns)


@pytest.mark.parametrize("steps", [1, 2, 3, 168, 360])
@pytest.mark.parametrize("samples", [1, 10])
def test_a_fleet_comes_back(steps, samples):
    assert_comes_back(fleet(steps, samples=samples))


def test_gauges_doubles_and_constants_come_back():
    for columns in (uniform_gauges(64, 50), full_entropy(64, 50), np.ones((6, 50, 64)), -np.ones((6, 9, 64))):
        columns[COUNT] = 10
        assert_comes_back(columns)


@pytest.mark.parametrize("odd", NASTY)
def test_an_odd_value_among_plain_ones_comes_back_bit_for_bit(odd):
    columns = fleet(40, samples=1)
    columns[1:, 3::7] = odd
    columns[M2] = 0
    assert_comes_back(columns)


def test_shapes_of_time_come_back():
    t = np.arange(200.0)
    shapes = [t, -t, t * t, 1e6 + 512 * t, np.round(np.sin(t / 9) * 50, 2), (t > 90) * 7.5, 2.0**60 + t * 4096, t % 3]
    columns = np.zeros((6, 200, 64))
    for place, shape in enumerate(shapes):
        columns[:, :, place] = shape
        columns[COUNT, :, place] = 1
    columns[M2] = 0
    assert_comes_back(columns)
    assert len(packed(columns)) < 4_000


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.99])
def test_gaps_come_back(kept):
    columns = fleet(360)
    columns[COUNT] *= np.random.default_rng(1).random((360, 64)) < kept
    assert_comes_back(columns)
    columns[COUNT, 100:200] = 0
    assert_comes_back(columns)


def test_what_was_read_is_written_the_same_again():
    once = dense(tile.select(packed(fleet(60)), None, BLOCK, END), 60)
    twice = dense(tile.select(packed(once), None, BLOCK, END), 60)
    assert twice.tobytes() == once.tobytes()


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_chosen_series_and_steps_are_those_of_the_whole(data):
    columns = fleet(90)
    ids = sorted(data.draw(st.sets(st.integers(FIRST - 10, FIRST + 70), max_size=20)))
    first, last = data.draw(st.tuples(st.integers(-30, 1_000), st.integers(-30, 1_000)))
    steps, found, values = tile.select(packed(columns), np.array(ids, np.uint32), BLOCK + first, BLOCK + last)
    expected = [
        (series_id, BLOCK + STEP * step)
        for series_id in ids
        for step in range(90)
        if FIRST <= series_id < FIRST + 64
        and first <= STEP * step < last
        and columns[COUNT, step, series_id - FIRST] > 0
    ]
    assert list(zip(found.tolist(), steps.tolist(), strict=True)) == expected
    at = [(step - BLOCK) // STEP for _, step in expected]
    places = [series_id - FIRST for series_id, _ in expected]
    assert_kept(values, columns[:, at, places].reshape(6, -1))


@given(st.sets(st.tuples(st.integers(0, 359), st.integers(0, 63)), min_size=1, max_size=30), st.data())
@settings(deadline=None, max_examples=60)
def test_a_few_rows_make_a_patch_tile(where, data):
    at, places = np.array(data.draw(st.permutations(sorted(where)))).T
    columns = data.draw(any_columns((len(at),)))
    columns[COUNT] = np.where(columns[COUNT] > 0, columns[COUNT], 3)
    steps, ids = BLOCK + STEP * at, (FIRST + places).astype(np.uint32)
    rows = tile.select(tile.encode_rows(BLOCK, STEP, FIRST, steps, ids, columns), None, BLOCK, END)
    order = np.lexsort((steps, ids))
    assert rows[0].tolist() == steps[order].tolist()
    assert rows[1].tolist() == ids[order].tolist()
    assert_kept(rows[2], np.ascontiguousarray(columns[:, order]))


def test_the_head_says_what_the_tile_holds():
    columns = fleet(30)
    rows = int((columns[COUNT] > 0).sum())
    assert tile.head(memoryview(packed(columns))) == (BLOCK, STEP, FIRST, 30, rows)


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_id", "columns", "message"),
    [
        (0, np.zeros((6, 3, 63)), r"float64\[6, 3, 63\]"),
        (0, np.zeros((6, 64)), r"float64\[6, 64\]"),
        (0, np.zeros((6, 3, 64), np.int64), r"int64\[6, 3, 64\]"),
        (0, np.zeros((6, 0, 64)), "0 steps"),
        (0, np.zeros((6, 4_097, 64)), "4097 steps"),
        (3, np.zeros((6, 3, 64)), "first_id 3"),
        (-64, np.zeros((6, 3, 64)), "first_id -64"),
        (1 << 32, np.zeros((6, 3, 64)), "first_id 4294967296"),
    ],
)
def test_columns_of_another_shape_or_place_are_refused(first_id, columns, message):
    with pytest.raises(ValueError, match=message):
        tile.encode(BLOCK, STEP, first_id, columns)


@pytest.mark.parametrize(
    ("steps", "ids", "message"),
    [
        ([], [], "0 steps, 0 ids"),
        ([0], [0, 1], "1 steps, 2 ids"),
        ([-10], [0], "not those of the tile"),
        ([5], [0], "not those of the tile"),
        ([0], [64], "not those of the tile"),
        ([40_960], [0], "beyond the block"),
        ([10, 10], [1, 1], "stands twice"),
    ],
)
def test_rows_that_are_no_patch_of_the_tile_are_refused(steps, ids, message):
    with pytest.raises(ValueError, match=message):
        tile.encode_rows(
            BLOCK,
            STEP,
            FIRST,
            BLOCK + np.array(steps, np.int64),
            np.array(ids, np.uint32) + np.uint32(FIRST),
            np.ones((6, len(ids))),
        )


def test_a_later_version_is_refused_by_name():
    with pytest.raises(BlockTooNew, match="version 2, this release reads up to 1"):
        tile.head(resealed(packed(fleet(3)), 4, b"\x02\x00"))


def test_every_cut_and_every_flipped_bit_is_noticed():
    data = packed(fleet(4))
    for end in range(len(data)):
        with pytest.raises(BlockDamaged):
            tile.select(data[:end], None, BLOCK, END)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockDamaged):
            tile.select(bytes(changed), None, BLOCK, END)

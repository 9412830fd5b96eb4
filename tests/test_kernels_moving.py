"""kernels.moving against its twins, and what a moving mean must never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.reference import moving as twin

from hms_ops.kernels.moving import move_ewma, move_mean

SERIES_MAX = 4096  # abreast in one tile of move_mean

matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
    elements=st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)),
)


@settings(max_examples=150, deadline=None)
@given(matrices, st.integers(1, 30), st.data())
def test_the_moving_mean_equals_its_twin(a: NDArray, window: int, data: st.DataObject) -> None:
    min_count = data.draw(st.integers(1, window))
    before = a.copy()
    got = move_mean(a, window, min_count)
    np.testing.assert_array_equal(a, before)
    np.testing.assert_allclose(got, twin.move_mean(a, window, min_count), rtol=1e-12, atol=1e-8)


@settings(max_examples=80, deadline=None)
@given(matrices, st.floats(0.01, 1.0))
def test_the_weighted_mean_equals_its_twin(a: NDArray, alpha: float) -> None:
    before = a.copy()
    got = move_ewma(a, alpha)
    np.testing.assert_array_equal(a, before)
    np.testing.assert_allclose(got, twin.move_ewma(a, alpha), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("series", [1, 7, SERIES_MAX - 1, SERIES_MAX, SERIES_MAX + 1])
@pytest.mark.parametrize("gaps", [0.0, 0.02])
def test_every_width_of_tile_gives_each_series_its_own_mean(series: int, gaps: float) -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(100, 10, (40, series))
    a[rng.random(a.shape) < gaps] = np.nan
    got = move_mean(a, 7)
    for s in {0, series // 2, series - 1}:
        np.testing.assert_array_equal(got[:, [s]], move_mean(np.ascontiguousarray(a[:, [s]]), 7))
        np.testing.assert_allclose(got[:, [s]], twin.move_mean(a[:, [s]], 7, 1), rtol=1e-12)


def test_the_weighted_mean_outlives_a_gap_of_any_length() -> None:
    a = np.full((20_000, 1), np.nan)
    a[[0, 1, -1], 0] = 3.0, 5.0, 100.0
    got = move_ewma(a, 0.5)[:, 0]
    np.testing.assert_allclose(got[1:-1], 13 / 3)
    assert got[-1] == 100.0


@pytest.mark.parametrize("gaps", [0, 1])
def test_a_longer_input_has_the_same_beginning(gaps: int) -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(0, 1, (100, 5))
    a[:gaps, 2] = np.nan
    for length in (1, 9, 10, 11, 55):
        np.testing.assert_allclose(move_mean(a[:length], 10), move_mean(a, 10)[:length], rtol=1e-12)
        np.testing.assert_array_equal(move_ewma(a[:length], 0.3), move_ewma(a, 0.3)[:length])


@pytest.mark.parametrize("huge", [1e150, -1e300, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("at", [0, 4, 5, 17, 59])
def test_a_huge_value_leaves_no_trace_after_it_left_the_window(huge: float, at: int) -> None:
    rng = np.random.default_rng(6)
    plain = rng.normal(1, 0.1, (60, 3))
    spiked = plain.copy()
    spiked[at, 1] = huge
    got, want = move_mean(spiked, 6), move_mean(plain, 6)
    touched = slice(at, at + 6)
    np.testing.assert_array_equal(np.delete(got[:, 1], touched), np.delete(want[:, 1], touched))
    np.testing.assert_array_equal(got[:, [0, 2]], want[:, [0, 2]])
    np.testing.assert_allclose(got[:, [1]], twin.move_mean(spiked[:, [1]], 6, 1), rtol=1e-12)


def test_opposite_infinities_in_one_window_give_nan_and_only_there() -> None:
    a = np.ones((30, 1))
    a[10], a[12] = np.inf, -np.inf
    got = move_mean(a, 5)[:, 0]
    assert np.isposinf(got[10:12]).all()
    assert np.isnan(got[12:15]).all()
    assert np.isneginf(got[15:17]).all()
    assert (got[17:] == 1).all()


def test_a_constant_series_has_that_constant_as_its_mean() -> None:
    for window in (1, 3, 49, 60):
        assert (move_mean(np.full((200, 2), 100.0), window) == 100.0).all()


def test_a_value_around_a_billion_keeps_its_decimals() -> None:
    a = 1e9 + np.random.default_rng(8).normal(0, 1, (5000, 2))
    got = move_mean(a, 600)
    np.testing.assert_allclose(got - 1e9, twin.move_mean(a - 1e9, 600, 1), atol=1e-5)


def test_the_result_goes_where_it_is_asked_to_from_memory_that_may_be_read_only() -> None:
    a = np.arange(12.0).reshape(6, 2)
    a.flags.writeable = False
    out = np.empty_like(a)
    assert move_mean(a, 2, out=out) is out
    np.testing.assert_array_equal(out[1:, 0], [1, 3, 5, 7, 9])
    assert move_ewma(a, 1.0, out=out) is out
    np.testing.assert_array_equal(out, a)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_matrix_has_an_empty_mean(shape: tuple[int, int]) -> None:
    assert move_mean(np.empty(shape), 5).shape == shape
    assert move_ewma(np.empty(shape), 0.5).shape == shape


@pytest.mark.parametrize(
    ("window", "min_count", "says"),
    [(0, 1, "window 0"), (-3, 1, "window -3"), (5, 0, "min_count 0"), (5, 6, "min_count 6")],
)
def test_a_window_out_of_range_is_refused_with_its_value(window: int, min_count: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        move_mean(np.ones((4, 4)), window, min_count)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, np.nan])
def test_an_alpha_out_of_range_is_refused_with_its_value(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"alpha {alpha}"):
        move_ewma(np.ones((4, 4)), alpha)


@pytest.mark.parametrize(
    ("a", "says"),
    [
        (np.ones(4), r"a is float64\[4\]"),
        (np.ones((4, 4), np.float32), "a is float32"),
        (np.ones((4, 6)).T, r"a is float64\[6, 4\]"),
        (np.ones((4, 4), np.int64), "a is int64"),
    ],
)
def test_a_matrix_of_another_shape_is_refused_with_what_it_is(a: NDArray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        move_mean(a, 2)


def test_an_out_that_does_not_fit_or_is_the_input_is_refused() -> None:
    a = np.ones((4, 4))
    for out in (a, a[:], np.ones((4, 3)), np.ones((5, 4))):
        with pytest.raises(ValueError, match="memory of its own"):
            move_mean(a, 2, out=out)

"""Sketches as bytes: exact buckets, exact merging, quantiles within the error that is promised, and hostile bytes."""

import math
import random
import sys
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.reference import sketch as reference

from hms_ops import _sketch

QUANTILES = [0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]
LEAST, GREATEST = 5e-324, sys.float_info.max

Floats = NDArray[np.float64]
RNG = np.random.default_rng(20261123)

DISTRIBUTIONS: dict[str, Floats] = {
    "uniform": RNG.uniform(1, 1000, 10_001),
    "lognormal": RNG.lognormal(math.log(120), 0.6, 10_000),
    "pareto": RNG.pareto(1.2, 10_000) + 0.5,
    "bimodal": np.concatenate([RNG.normal(10, 0.5, 7_000), RNG.normal(900, 30, 3_000)]),
    "one value": np.full(1000, 42.5),
    "one sample": np.array([3.25]),
    "two samples": np.array([1.0, 9.0]),
    "negative": -RNG.lognormal(3, 1, 5_000),
    "tiny": RNG.uniform(1e-300, 1e-299, 999),
    "subnormal": RNG.uniform(1e-310, 1e-308, 999),
    "huge": RNG.uniform(1e307, GREATEST, 999),
    "integers": RNG.integers(1, 50, 4_000).astype(np.float64),
}
MIXED: dict[str, Floats] = {
    "both signs": RNG.normal(0, 100, 5_000),
    "with zeros": np.concatenate([np.zeros(500), RNG.lognormal(1, 1, 500), -RNG.lognormal(1, 1, 100)]),
    "zeros": np.zeros(7),
    "wide": 10.0 ** RNG.uniform(-30, 30, 5_000),
    "as wide as can be": np.concatenate([s * 2.0 ** RNG.uniform(-1074, 1023.9, 3_000) for s in (-1, 1)]),
    "nothing": np.empty(0),
}
EVERYTHING = DISTRIBUTIONS | MIXED


def edges() -> Floats:
    """Every bound of many octaves, and the doubles beside it."""
    bounds = np.array([2.0 ** (i / 16) for i in range(-200, 200)])
    return np.concatenate([np.nextafter(bounds, 0), bounds, np.nextafter(bounds, np.inf)])


# ---- buckets and bytes ----


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_bytes_are_those_of_the_slow_twin(name: str) -> None:
    values = EVERYTHING[name][:2000]
    assert _sketch.from_values(values) == reference.blob(values)


def test_each_sample_is_in_the_bucket_whose_bounds_hold_it() -> None:
    for value in [*edges(), LEAST, 1e-310, 2.0**-1022, np.nextafter(2.0**-1022, 0), GREATEST, 1.0, 1024.0, 1e150]:
        assert _sketch.from_values([value]) == reference.blob([value])
        assert _sketch.from_values([-value]) == reference.blob([-value])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40))
def test_any_finite_samples_make_the_twins_bytes(values: list[float]) -> None:
    assert _sketch.from_values(values) == reference.blob(values)


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.sampled_from([1.0, 2.0, 10.0, 14.0, 15.0, 1e6, 2.0**53, 1 / 3, 0.5, 1e200])),
        max_size=20,
    )
)
def test_any_weights_make_the_twins_bytes(samples: list[tuple[float, float]]) -> None:
    values, weights = [value for value, _ in samples], [weight for _, weight in samples]
    assert _sketch.from_values(values, weights) == reference.blob(values, weights)


def test_no_samples_are_no_bytes() -> None:
    assert _sketch.from_values([]) == b""
    assert _sketch.merge([]) == b""
    assert _sketch.merge([b"", b""]) == b""
    assert _sketch.count(b"") == 0
    assert math.isnan(_sketch.share_le(b"", 1.0))
    assert np.isnan(_sketch.quantiles(b"", [0.0, 0.5])).all()
    assert [len(column) for column in _sketch.buckets(b"")] == [0, 0]


def test_fifty_latencies_take_about_a_byte_a_bucket() -> None:
    sizes = [len(_sketch.from_values(RNG.lognormal(math.log(120), 0.6, 50))) for _ in range(200)]
    assert np.mean(sizes) < 40
    assert len(_sketch.from_values([120.0])) == 4


def test_a_weight_counts_as_so_many_samples() -> None:
    assert _sketch.from_values([5.0, 7.0, 5.0], [10, 3, 1]) == _sketch.from_values([5.0] * 11 + [7.0] * 3)
    assert _sketch.count(_sketch.from_values([5.0, 7.0], [2.5, 0.25])) == 2.75


def test_a_count_stops_growing_before_it_is_infinite() -> None:
    blob = _sketch.from_values([1.0] * 3, [sys.float_info.max] * 3)
    assert _sketch.count(blob) == 1e300
    assert _sketch.quantiles(_sketch.merge([blob] * 3), [0.5])[0] == pytest.approx(1.0, rel=0.022)


# ---- merging and halving ----


def parts_of(values: Floats, n: int) -> list[bytes]:
    return [_sketch.from_values(part) for part in np.array_split(values, n)]


@pytest.mark.parametrize("name", EVERYTHING)
def test_merged_in_any_order_and_grouping_the_bytes_are_those_of_all_samples(name: str) -> None:
    values = EVERYTHING[name]
    blobs, whole, order = parts_of(values, 9), _sketch.from_values(values), random.Random(7)
    for _ in range(5):
        order.shuffle(blobs)
        assert _sketch.merge(blobs) == whole
        assert _sketch.merge([_sketch.merge(blobs[:4]), _sketch.merge(blobs[4:])]) == whole


@given(st.lists(st.lists(st.floats(-1e300, 1e300), max_size=60), max_size=6))
@settings(max_examples=50)
def test_any_parts_merge_to_the_whole(parts: list[list[float]]) -> None:
    whole = _sketch.from_values([value for part in parts for value in part])
    assert _sketch.merge([_sketch.from_values(part) for part in parts]) == whole


@pytest.mark.parametrize(("octaves", "schema"), [(19.9, 4), (20.1, 3), (39.9, 3), (40.1, 2), (159.0, 1), (1270.0, -2)])
def test_a_range_too_wide_for_320_buckets_halves_them(octaves: float, schema: int) -> None:
    values = 2.0 ** np.arange(-octaves / 2, octaves / 2, 1 / 64)
    blob = _sketch.from_values(values)
    assert _sketch.schema(blob) == schema
    assert len(_sketch.buckets(blob)[0]) <= 320
    assert len(blob) <= 4608


def test_an_outlier_far_away_costs_no_precision() -> None:
    blob = _sketch.from_values([1e-9, 120.0, 121.0, 1e15])
    assert _sketch.schema(blob) == 4


def test_a_bucket_holds_what_it_held_before_the_halving() -> None:
    wide = 2.0 ** np.arange(0, 25, 1 / 32)
    blob = _sketch.from_values(wide)
    schema, buckets = reference.sketch_of(reference.spread(wide))
    assert (schema, _sketch.schema(blob)) == (3, 3)
    assert _sketch.count(blob) == len(wide) == sum(buckets.values())


def test_groups_are_merged_side_by_side() -> None:
    groups = [parts_of(values, 4) for values in EVERYTHING.values()] + [[], [b""]]
    blobs = [blob for group in groups for blob in group]
    offsets = np.cumsum([0, *map(len, blobs)])
    group_offset = np.cumsum([0, *map(len, groups)])
    data, ends = _sketch.merge_groups(b"".join(blobs), offsets, group_offset)
    assert ends.dtype == np.int64
    assert [data[a:b] for a, b in pairwise(ends)] == [_sketch.merge(group) for group in groups]
    found = _sketch.quantiles_of_groups(b"".join(blobs), offsets, group_offset, QUANTILES)
    expected = [_sketch.quantiles(_sketch.merge(group), QUANTILES) for group in groups]
    np.testing.assert_array_equal(found, np.array(expected))


def test_many_groups_outgrow_the_first_buffer() -> None:
    blob = _sketch.from_values(EVERYTHING["as wide as can be"])
    n = 2000
    data, ends = _sketch.merge_groups(blob * n, np.arange(n + 1) * len(blob), np.arange(n + 1))
    assert data == blob * n
    assert ends[-1] == len(data)


# ---- quantiles ----


def error_allowed(values: Floats, quantile: float, schema: int) -> float:
    """Both neighbours of the rank are off by the bucket's error at most; numpy interpolates between them."""
    neighbours = np.sort(values)[list(reference.rank_of(quantile, len(values)))]
    return float(np.abs(neighbours).max()) * reference.error_max(schema)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_within_2_2_percent_of_numpys(name: str) -> None:
    values = DISTRIBUTIONS[name]
    blob = _sketch.from_values(values)
    assert _sketch.schema(blob) == 4
    with np.errstate(over="ignore"):
        exact = np.quantile(values, QUANTILES)
    assert np.abs(_sketch.quantiles(blob, QUANTILES) / exact - 1).max() <= 0.022


@pytest.mark.parametrize("name", [name for name in MIXED if name != "nothing"])
def test_quantiles_around_zero_are_within_the_error_of_their_neighbours(name: str) -> None:
    values = MIXED[name]
    blob = _sketch.from_values(values)
    for quantile in QUANTILES:
        found, exact = _sketch.quantiles(blob, [quantile])[0], np.quantile(values, quantile)
        assert abs(found - exact) <= error_allowed(values, quantile, _sketch.schema(blob)), quantile


def test_after_one_halving_quantiles_are_within_4_4_percent() -> None:
    values = 2.0 ** np.random.default_rng(3).uniform(-12, 12, 50_001)
    blob = _sketch.from_values(values)
    assert _sketch.schema(blob) == 3
    assert np.abs(_sketch.quantiles(blob, QUANTILES) / np.quantile(values, QUANTILES) - 1).max() <= 0.044


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_numpys_quantile_of_the_buckets_estimates(values: list[float], quantile: float) -> None:
    expected = np.quantile(reference.estimates(*reference.sketch_of(reference.spread(values))), quantile)
    found = _sketch.quantiles(_sketch.from_values(values), [quantile])[0]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(map(abs, values)))


def test_quantiles_of_weights_below_one_are_those_of_the_least() -> None:
    assert _sketch.quantiles(_sketch.from_values([8.0, 9.0], [0.25, 0.25]), [0.9])[0] == pytest.approx(8.0, rel=0.022)


# ---- the rest of what a sketch tells ----


@pytest.mark.parametrize("name", [name for name in EVERYTHING if len(EVERYTHING[name])])
def test_share_le_is_exact_at_a_buckets_bound_and_ascends(name: str) -> None:
    values = EVERYTHING[name]
    blob = _sketch.from_values(values)
    bounds, counts = _sketch.buckets(blob)
    assert counts.sum() == len(values) == _sketch.count(blob)
    assert (np.diff(bounds) > 0).all()
    assert (counts > 0).all()
    shares = np.array([_sketch.share_le(blob, bound) for bound in bounds])
    np.testing.assert_allclose(shares, np.cumsum(counts) / len(values), rtol=1e-9, atol=1e-9)
    exact = np.array([(values <= bound).mean() for bound in bounds])
    edge = np.array([(values == bound).mean() for bound in bounds])  # a negative bucket leaves its upper bound out
    assert (np.abs(shares - exact) <= edge + 1e-9).all()


def test_share_le_beyond_all_samples_is_all_or_nothing() -> None:
    blob = _sketch.from_values([-5.0, 0.0, 5.0, 7.0])
    shares = [_sketch.share_le(blob, value) for value in (-math.inf, -6.0, -1.0, 0.0, 1.0, 8.0, math.inf)]
    assert shares == [0.0, 0.0, 0.25, 0.5, 0.5, 1.0, 1.0]
    assert math.isnan(_sketch.share_le(blob, math.nan))


def test_share_le_within_a_bucket_divides_it() -> None:
    blob = _sketch.from_values(np.linspace(100, 101, 100))
    low, high = (_sketch.share_le(blob, value) for value in (99.5, 101.0))
    assert 0 < low < high < 1
    negative = _sketch.from_values(-np.linspace(100, 101, 100))
    assert _sketch.share_le(negative, -101.0) == pytest.approx(1 - high)


# ---- what is no sketch ----

NO_SKETCHES = {
    "a head alone": b"\x08",
    "another version": b"\x48\x00\x00",
    "another version's other bit": b"\x88\x00\x00",
    "a schema above 4": b"\x09\x00\x00",
    "an index without a bucket": b"\x08\x00",
    "a first bucket with a gap": b"\x08\x00\x10",
    "a count cut off": b"\x08\x00\x0e",
    "a float cut off": b"\x08\x00\x0f\x00\x00\x00\x00\x00\x00\xe0",
    "a float that is an integer": b"\x08\x00\x0f\x00\x00\x00\x00\x00\x00\xf0\x3f",
    "a float that is zero": b"\x08\x00\x0f" + bytes(8),
    "a float that is NaN": b"\x08\x00\x0f\x00\x00\x00\x00\x00\x00\xf8\x7f",
    "a float that is infinite": b"\x08\x00\x0f\x00\x00\x00\x00\x00\x00\xf0\x7f",
    "a negative float": b"\x08\x00\x0f\x00\x00\x00\x00\x00\x00\xe0\xbf",
    "a varint longer than it need be": b"\x08\x80\x00\x00",
    "a varint of nine bytes": b"\x08" + b"\xff" * 8 + b"\x01\x00",
    "an index above all doubles": b"\x08\x80\x80\x02\x00",
    "an index below all doubles": b"\x08\xc3\x8c\x02\x00",
    "a gap beyond all doubles": b"\x08\x00\x00\xf0\xff\xff\x03",
    "no negative buckets though some are said": b"\x28\x00\x00\x00",
    "321 negative buckets": b"\x28\xc1\x02\x00" + bytes(321),
    "321 positive buckets": b"\x08\x00" + bytes(321),
    "zeros with a gap": b"\x18\x10",
    "zeros and nothing to say how many": b"\x18",
}


@pytest.mark.parametrize("name", NO_SKETCHES)
def test_bytes_that_are_no_sketch_are_refused_by_every_function(name: str) -> None:
    blob = NO_SKETCHES[name]
    calls: list[Callable[[], object]] = [
        lambda: _sketch.merge([_sketch.from_values([1.0]), blob]),
        lambda: _sketch.merge_groups(blob, [0, len(blob)], [0, 1]),
        lambda: _sketch.quantiles_of_groups(blob, [0, len(blob)], [0, 1], [0.5]),
        lambda: _sketch.quantiles(blob, [0.5]),
        lambda: _sketch.share_le(blob, 1.0),
        lambda: _sketch.count(blob),
        lambda: _sketch.buckets(blob),
        lambda: _sketch.schema(blob),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="sketch"):
            call()


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_whatever_bytes_are_taken_are_the_only_bytes_of_that_sketch(data: bytes) -> None:
    try:
        count = _sketch.count(data)
    except ValueError:
        return
    assert count >= 0
    assert _sketch.merge([data]) == data
    assert _sketch.share_le(data, math.inf) in (1.0,) if data else True


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(EVERYTHING)))
@settings(max_examples=200)
def test_a_blob_with_flipped_bits_is_refused_or_is_another_sketch(order: random.Random, name: str) -> None:
    blob = bytearray(_sketch.from_values(EVERYTHING[name][:200]) or b"\x00")
    for _ in range(order.randrange(1, 4)):
        blob[order.randrange(len(blob))] ^= 1 << order.randrange(8)
    try:
        merged = _sketch.merge([bytes(blob[: order.randrange(len(blob) + 1)])])
    except ValueError:
        return
    assert _sketch.count(merged) < math.inf
    assert np.isfinite(_sketch.quantiles(merged, QUANTILES)).all() or not merged


BAD_CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "NaN": (lambda: _sketch.from_values([1.0, math.nan]), "not finite"),
    "infinity": (lambda: _sketch.from_values([math.inf]), "not finite"),
    "too few weights": (lambda: _sketch.from_values([1.0, 2.0], [1.0]), "2 samples need as many weights"),
    "a weight of zero": (lambda: _sketch.from_values([1.0], [0.0]), "above zero"),
    "a negative weight": (lambda: _sketch.from_values([1.0], [-1.0]), "above zero"),
    "a weight that is NaN": (lambda: _sketch.from_values([1.0], [math.nan]), "finite"),
    "a quantile above 1": (lambda: _sketch.quantiles(b"", [0.5, 1.5]), r"quantiles \[0.5, 1.5\]"),
    "a negative quantile": (lambda: _sketch.quantiles(b"", [-0.1]), "quantiles"),
    "a quantile that is NaN": (lambda: _sketch.quantiles_of_groups(b"", [0], [0], [math.nan]), "quantiles"),
    "offsets beyond the data": (lambda: _sketch.merge_groups(b"", [0, 1], [0, 1]), "0 to 0"),
    "negative offsets": (lambda: _sketch.merge_groups(b"abc", [-1, 1], [0, 1]), "0 to 3"),
    "offsets that descend": (lambda: _sketch.merge_groups(b"abc", [0, 2, 1], [0, 2]), r"offsets\[2\] is 1"),
    "no offsets": (lambda: _sketch.merge_groups(b"abc", [], [0]), "offsets"),
    "groups beyond the sketches": (lambda: _sketch.merge_groups(b"", [0, 0], [0, 2]), "group_offset"),
    "groups that descend": (lambda: _sketch.quantiles_of_groups(b"", [0, 0, 0], [0, 2, 1], [0.5]), "group_offset"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_argument_is_an_error_that_quotes_it(name: str) -> None:
    call, message = BAD_CALLS[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("blob", [None, "text", bytearray(b""), 1])
def test_only_bytes_are_taken(blob: object) -> None:
    for call in (
        lambda: _sketch.count(blob),  # type: ignore[arg-type]  # on purpose
        lambda: _sketch.merge([blob]),  # type: ignore[list-item]
        lambda: _sketch.quantiles(blob, [0.5]),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()

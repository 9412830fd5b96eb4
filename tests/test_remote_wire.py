"""Remote write on the wire: labels, protobuf and requests, read back by a decoder in plain Python."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import remote_write

from hms_ops import kinds
from hms_ops.remote import protobuf
from hms_ops.remote.encode import Encoder, Request, Rows, bound_text, bounds_of, halved
from hms_ops.remote.labels import labelled, outer_labels, outer_metric, outer_tag
from hms_ops.series import SeriesInfo

START = 1_700_000_000


def encoder(series: Sequence[SeriesInfo | None], samples_max: int = 1000, **fixed: str) -> Encoder:
    """Ids are places in `series`."""
    return Encoder(lambda ids: [series[n] for n in ids.tolist()], fixed, False, lambda metric: None, samples_max)


def rows(*given: tuple[int, int, Sequence[float]]) -> Rows:
    """(step, id, the six columns) each."""
    steps, ids, columns = zip(*given, strict=True)
    return Rows(np.array(steps), np.array(ids, np.uint32), np.array(columns, float).T).sorted()


def read(requests: Sequence[Request]) -> dict[str, list[tuple[int, float]]]:
    """{name{labels}: samples} of several requests, a series' samples joined in the order they came."""
    found: dict[str, list[tuple[int, float]]] = {}
    for request in requests:
        decoded = remote_write.decode(request.body)
        assert request.samples == sum(map(len, decoded.values()))
        for labels, samples in decoded.items():
            assert sorted(labels, key=lambda pair: pair[0].encode()) == list(labels)
            named = dict(labels)
            name = named.pop("__name__")
            found.setdefault(name + str(named or ""), []).extend(samples)
    return found


# ---- names


@pytest.mark.parametrize(
    ("metric", "outer"),
    [
        ("finance.api_ms", "finance_api_ms"),
        ("a-b/c", "a_b_c"),
        ("9lives", "_9lives"),
        ("host:cpu", "host:cpu"),
        ("größe", "gr__e"),
    ],
)
def test_a_metric_is_named_as_prometheus_allows(metric: str, outer: str) -> None:
    assert outer_metric(metric, keeps_dots=False) == outer
    assert outer_metric(metric, keeps_dots=True) == metric


@pytest.mark.parametrize(
    ("tag", "outer"),
    [("agency", "agency"), ("us-state", "us_state"), ("a:b", "a_b"), ("2nd", "_2nd"), ("le", "le_"), ("", "_")],
)
def test_a_tag_is_named_as_prometheus_allows(tag: str, outer: str) -> None:
    assert outer_tag(tag) == outer


def test_tags_that_come_out_alike_stay_apart_and_empty_values_are_left_out() -> None:
    tags = {"a.b": "1", "a-b": "2", "a_b": "3", "none": ""}
    assert outer_labels(tags, {}) == {"a_b": "2", "a_b_": "1", "a_b__": "3"}


def test_a_tag_wins_over_a_fixed_label_of_its_name() -> None:
    assert outer_labels({"engine": "own"}, {"engine": "host1", "dc": "east"}) == {"dc": "east", "engine": "own"}


def test_labels_are_cut_where_the_name_and_le_belong() -> None:
    cut = labelled({"Env": "x", "agency": "irs", "zone": "y"})
    assert [b"Env" in cut.before, b"agency" in cut.between, b"zone" in cut.behind] == [True, True, True]


# ---- protobuf


@given(st.integers(0, 1 << 62))
def test_a_varint_reads_back(number: int) -> None:
    data = protobuf.varint(number)
    assert remote_write.read_varint(data, 0) == (number, len(data))


@given(st.lists(st.tuples(st.integers(0, protobuf.TIME_MS_END - 1), st.floats()), min_size=1, max_size=20))
def test_samples_read_back_bit_for_bit(given: list[tuple[int, float]]) -> None:
    times, values = (np.array(column) for column in zip(*given, strict=True))
    series = b"\x0a" + protobuf.varint(protobuf.SAMPLE_BYTES * len(given))
    (samples,) = remote_write.decode(protobuf.compressed(series + bytes(protobuf.samples(times, values)))).values()
    assert [time for time, _ in samples] == times.tolist()
    assert np.array([value for _, value in samples]).tobytes() == values.astype(float).tobytes()


@pytest.mark.parametrize("time_ms", [-1, protobuf.TIME_MS_END])
def test_a_time_without_a_place_is_refused(time_ms: int) -> None:
    with pytest.raises(ValueError, match="not within 1970 to 2109"):
        protobuf.samples(np.array([time_ms]), np.zeros(1))


# ---- requests


def test_a_row_is_five_samples_at_the_last_millisecond_of_its_step() -> None:
    series = [None, SeriesInfo("finance.api_ms", {"agency": "irs"}, kinds.GAUGE)]
    encoded = encoder(series, engine="host1").requests(rows((START, 1, (3, 60, 2, 10, 30, 20))), 10)
    time_ms = (START + 10) * 1000 - 1
    labels = "{'agency': 'irs', 'engine': 'host1'}"
    assert read(list(encoded)) == {
        f"finance_api_ms_{field}{labels}": [(time_ms, value)]
        for field, value in {"count": 3, "sum": 60, "min": 10, "max": 30, "last": 20}.items()
    }


def test_a_series_without_a_name_or_of_members_is_left_out() -> None:
    encoder_ = encoder([None, SeriesInfo("visitors", {}, kinds.SET), SeriesInfo("a", {}, kinds.COUNTER)])
    found = read(list(encoder_.requests(rows(*((START, n, (1,) * 6) for n in range(3))), 10)))
    assert sorted(found) == ["a_count", "a_last", "a_max", "a_min", "a_sum"]
    assert encoder_.unnamed == 2


def test_no_rows_make_no_request() -> None:
    empty = Rows(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((6, 0)))
    assert list(encoder([None]).requests(empty, 10)) == []
    assert list(encoder([None]).requests(rows((START, 0, (1,) * 6)), 10)) == []


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 200))
def test_however_it_is_cut_every_sample_is_sent_once_and_in_order(series: int, steps: int, samples_max: int) -> None:
    known = [SeriesInfo(f"m{n}", {"n": str(n)}, kinds.GAUGE) for n in range(series)]
    given = rows(*((START + 10 * s, n, (1, n, 0, s, n * s, 7)) for s in range(steps) for n in range(series)))
    requests = list(encoder(known, samples_max).requests(given, 10))
    for column, parts in zip(given, zip(*(request.rows for request in requests), strict=True), strict=True):
        assert np.concatenate(parts, axis=-1).tolist() == column.tolist()
    times = [(START + 10 * s + 10) * 1000 - 1 for s in range(steps)]
    found = read(requests)
    assert len(found) == 5 * series
    for n in range(series):
        assert found[f"m{n}_max{{'n': '{n}'}}"] == [(time, n * s) for s, time in enumerate(times)]


def test_a_refused_part_is_halved_by_time_then_by_series() -> None:
    given = rows(*((START + 10 * s, n, (1,) * 6) for s in range(3) for n in range(2)))
    older, younger = halved(given)
    assert (set(older.steps), set(younger.steps)) == ({START}, {START + 10, START + 20})
    lower, upper = halved(older)
    assert (lower.ids.tolist(), upper.ids.tolist()) == ([0], [1])
    assert halved(lower) == ()


# ---- buckets


@pytest.mark.parametrize(
    ("metric", "unit", "lowest", "highest"),
    [
        ("api_ms", None, 2**-3, 2**17),
        ("api_seconds", None, 2**-13, 2**7),
        ("api", "us", 2**7, 2**27),
        ("body_bytes", None, 2**-10, 2**30),
        ("anything", None, 2**-10, 2**30),
    ],
)
def test_bounds_follow_the_unit_and_nothing_else(metric: str, unit: str | None, lowest: float, highest: float) -> None:
    bounds = bounds_of(metric, unit)
    assert (bounds[0], bounds[-1], len(bounds)) == (lowest, highest, 41)
    assert list(bounds) == sorted(bounds)


@pytest.mark.parametrize(("bound", "text"), [(8.0, "8"), (0.125, "0.125"), (math.sqrt(2), "1.4142135623730951")])
def test_a_bound_has_one_text(bound: float, text: str) -> None:
    assert bound_text(bound) == text
    assert float(bound_text(bound)) == bound


def test_a_timer_has_a_bucket_for_every_bound_and_they_are_cumulative() -> None:
    from hms_ops import _sketch
    from hms_ops.sketches import Sketches

    values = np.random.default_rng(1).lognormal(3, 1, 1000)
    blobs = [_sketch.from_values(values[:300], None), _sketch.from_values(values[300:], None)]
    sketches = Sketches(np.ones(2, np.uint32), np.full(2, START), np.cumsum([0, *map(len, blobs)]), b"".join(blobs))
    timer = SeriesInfo("api_ms", {"zone": "a", "agency": "irs"}, kinds.TIMER)
    found = read(list(encoder([None, timer]).requests(rows((START, 1, (1000, 1, 1, 1, 1, 1))), 60, sketches)))
    bounds = [*bounds_of("api_ms", None), math.inf]
    buckets: dict[str, Any] = {key: samples for key, samples in found.items() if key.startswith("api_ms_bucket")}
    assert len(buckets) == len(bounds)
    for bound in bounds:
        text = "+Inf" if bound == math.inf else bound_text(bound)
        labels = {"agency": "irs", "le": text, "zone": "a"}
        assert buckets[f"api_ms_bucket{labels}"] == [((START + 60) * 1000 - 1, (values <= bound).sum())]

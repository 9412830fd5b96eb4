"""Expressions over history on a real store and disk, against the twin; limits, defaults and the answer's shape."""

import functools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recording import FIRST, Recording, random_samples
from tests.reference import expression
from tests.reference import ranges as twin

from hms_ops import answerable, steps
from hms_ops.alert.language.grammar import parse_query
from hms_ops.answerable import SERIES_MAX
from hms_ops.asked import DEFAULT_POINTS, POINTS_MAX
from hms_ops.errors import ExpressionError, UnknownMetricError
from hms_ops.query import Points, answer, query_range
from hms_ops.retained import minutes_end

STDDEV_ERROR = 0.022  # on disk the squares are kept by their logarithm
START = FIRST - FIRST % 60
FUNCTIONS = ("avg", "sum", "count", "min", "max", "stddev", "last", "rate")
QUERIES = [
    *(f"{function}({reading}" for function in FUNCTIONS
      for reading in ("hits) GROUP BY agency", "depth) GROUP BY zone", "api_ms) GROUP BY *", "api_ms)", "depth)")),
    "hits",
    "depth",
    "increase(hits)",
    "delta(depth) GROUP BY *",
    "delta(depth)",
    "sum(hits) / count(api_ms) GROUP BY agency",
    "rate(hits) * 60 + last(depth) % 3 - -1",
    "coalesce(avg(api_ms), rate(hits), 0) GROUP BY *",
    'avg(api_ms{agency="irs"}) + avg(api_ms{agency!="irs"})',
    "max(depth) GROUP BY agency WHERE zone = 'a' OR NOT agency LIKE 'i%'",
    "avg(api_ms) > 3",
    "avg(api_ms) > 3 AND (rate(hits) > 0.5 OR depth IS NULL) GROUP BY agency",
    "ABSENT(hits) GROUP BY agency",
    "NOT (avg(api_ms) BETWEEN 0 AND 5)",
    "avg(api_ms, 1m) = avg(api_ms, 4m)",
]  # fmt: skip


WINDOWED = [
    *(f"{function}({reading}" for function in FUNCTIONS
      for reading in ("hits, 1m) GROUP BY agency", "depth, 5m) GROUP BY zone", "api_ms, 90s) GROUP BY *")),
    "hits[2m]",
    "depth[1m]",
    "increase(hits, 11m)",
    "delta(depth, 2m) GROUP BY *",
    "delta(depth, 30s)",
    "rate(depth, 7m) GROUP BY agency",
    "sum(hits, 1m) / sum(hits, 10m) GROUP BY agency",
    "avg(api_ms) / avg(api_ms, 10m)",
    "max(depth, 45s) - min(depth, 3m)",
    "avg(api_ms, 2m) > 3 AND (rate(hits, 40s) > 0.5 OR depth[1m] IS NULL) GROUP BY agency",
    "ABSENT(hits[30s]) GROUP BY agency",
]  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """Ten minutes and a half of three metrics; a test only reads it."""
    with Recording(tmp_path_factory.mktemp("data")) as made:
        made.play(random_samples(np.random.default_rng(5), 620), FIRST + 637)
        yield made


def ask(recording: Recording, text: str, start: int, end: int, step: int) -> list[tuple[dict[str, str], Points]]:
    return query_range(parse_query(text), recording.past, recording.store, start, end, step)


def one(recording: Recording, text: str, start: int, end: int, step: int) -> Points:
    [(_, points)] = ask(recording, text, start, end, step)
    return points


def minutes_end_of(recording: Recording, step: int) -> int:
    """Up to where a query by `step` reads rows of a minute."""
    if recording.storage is not None:
        return recording.recorder.minutes_end if step % 60 == 0 else 0
    seconds = range(recording.first - recording.first % 60, recording.now, 60)
    return next((second for second in seconds if recording.past.finest_step(second) == 10), 0)


def assert_as_twin(recording: Recording, text: str, start: int, end: int, step: int) -> None:
    """Every point, but for the value now at the end of windows."""
    query = parse_query(text)
    windows = [one.window_seconds or 0 for one in expression.selectors_of(query.expression)]
    kept = recording.past.finest_step(int(start - max(windows))) if any(windows) else 10
    expected = twin.query_range(
        query,
        tuple(recording.given),
        recording.first,
        recording.now,
        start,
        end,
        step,
        minutes_end_of(recording, step),
        kept,
    )
    whole_end = recording.now - recording.now % step if any(windows) else recording.now
    got = {
        tuple(sorted(tags.items())): [point for point in points if point[0] < whole_end]
        for tags, points in ask(recording, text, start, end, step)
    }
    got = {key: points for key, points in got.items() if any(not math.isnan(value) for _, value in points)}
    assert got.keys() == expected.keys(), text
    for key, points in expected.items():
        assert [t for t, _ in got[key]] == [t for t, _ in points], (text, key)
        values = [value for _, value in points]
        rel = STDDEV_ERROR if "stddev" in text else 1e-9
        assert [v for _, v in got[key]] == pytest.approx(values, rel=rel, abs=1e-7, nan_ok=True), (text, key)


# ---- against the twin


@pytest.mark.parametrize("text", [*QUERIES, *WINDOWED])
def test_every_point_equals_the_twin(recording, text):
    for step in (60, 200):
        assert_as_twin(recording, text, FIRST, FIRST + 700, step)
    assert_as_twin(recording, text, FIRST + 217, FIRST + 401, 10)


@given(
    seed=st.integers(0, 1 << 30),
    seconds=st.integers(1, 130),
    step=st.sampled_from([10, 20, 60, 70]),
    text=st.sampled_from([*QUERIES, *WINDOWED]),
    is_written=st.booleans(),
    bounds=st.tuples(st.integers(-20, 130), st.integers(1, 200)),
)
@settings(deadline=None, max_examples=60)
def test_any_samples_and_any_range_equal_the_twin(tmp_path_factory, seed, seconds, step, text, is_written, bounds):
    with Recording(tmp_path_factory.mktemp("data"), is_written=is_written) as recording:
        samples = random_samples(np.random.default_rng(seed), seconds)
        recording.play([*samples, *((FIRST, name, "", kind, 1.0, 1.0) for name, kind in
                                    (("hits", "c"), ("depth", "g"), ("api_ms", "ms")))], FIRST + seconds)  # fmt: skip
        start = FIRST + bounds[0]
        assert_as_twin(recording, text, start, start + bounds[1], step)


@pytest.mark.parametrize("text", [*QUERIES[::3], *WINDOWED[::3]])
def test_without_a_disk_the_same_comes_out_of_memory(text):
    with Recording() as recording:
        recording.play(random_samples(np.random.default_rng(6), 500), FIRST + 500)
        assert recording.past.finest_step(FIRST) == 10
        assert_as_twin(recording, text, FIRST, FIRST + 500, 20)


@functools.cache
def memory_of_an_hour() -> Recording:
    recording = Recording()
    recording.play(random_samples(np.random.default_rng(7), 2_000), FIRST + 2_011)
    return recording


@pytest.mark.parametrize(
    "text",
    [
        "avg(api_ms)",
        "rate(hits) GROUP BY agency",
        "stddev(api_ms)",
        "count(depth)",
        "avg(api_ms, 30s)",
        "stddev(api_ms, 20m)",
        "delta(depth, 15m) GROUP BY *",
    ],
)
def test_without_a_disk_what_is_older_than_ten_minutes_is_there_by_minute(text):
    assert_as_twin(memory_of_an_hour(), text, FIRST, FIRST + 2_011, 60)
    assert_as_twin(memory_of_an_hour(), text, FIRST, FIRST + 2_011, 300)


@pytest.mark.parametrize(("step", "kept"), [(10, 60), (60, 60), (70, 120), (120, 120), (None, 60)])
def test_a_step_finer_than_what_is_kept_is_answered_in_a_multiple_of_that(step, kept):
    recording = memory_of_an_hour()
    found = answer("avg(api_ms)", recording.past, recording.store, FIRST, None, step)
    assert found["step"] == kept
    assert found == answer("avg(api_ms)", recording.past, recording.store, FIRST, None, kept)
    recent = minutes_end(recording.store)
    assert answer("avg(api_ms)", recording.past, recording.store, recent, None, step)["step"] == (step or 10)


@pytest.mark.parametrize("text", ["rate(hits)", "hits", "max(api_ms) GROUP BY agency", "count(depth)"])
def test_seconds_can_be_asked_for_within_the_last_minute(text):
    with Recording() as recording:
        recording.play(random_samples(np.random.default_rng(8), 50), FIRST + 50)
        for step in (1, 2, 7):
            start = FIRST + step - FIRST % step
            expected = twin.query_range(
                parse_query(text), tuple(recording.given), FIRST, FIRST + 50, start, FIRST + 50, step
            )
            got = {
                tuple(sorted(tags.items())): dict(points)
                for tags, points in ask(recording, text, start, FIRST + 50, step)
            }
            assert got.keys() == expected.keys()
            for key, points in expected.items():
                assert got[key] == pytest.approx(dict(points), nan_ok=True)


def test_seconds_further_back_are_refused(recording):
    assert ask(recording, "rate(hits)", recording.now - 65, recording.now, 5)
    with pytest.raises(ValueError, match="seconds are kept for one minute"):
        ask(recording, "rate(hits)", recording.now - 100, recording.now, 5)


# ---- kinds


def test_a_counter_is_silent_with_zero_once_seen_and_null_before(tmp_path):
    with Recording(tmp_path) as recording:
        recording.advance(30)
        recording.add("hits", 5, "c")
        recording.advance(60)
        points = dict(one(recording, "sum(hits)", FIRST, FIRST + 90, 10))
        assert points == {START + 30: 5.0, **dict.fromkeys(range(START + 40, START + 90, 10), 0.0)}
        for text in ("rate(hits)", "count(hits)", "hits", "increase(hits)"):
            assert [value for _, value in one(recording, text, FIRST + 60, FIRST + 80, 10)] == [0.0] * 3
        assert ask(recording, "avg(hits)", FIRST + 60, FIRST + 80, 10) == []


def test_a_silent_timer_has_rate_and_count_zero_and_no_average(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("api_ms", 5, "ms", weight=4.0)
        recording.advance(27)
        assert one(recording, "count(api_ms)", FIRST, FIRST + 27, 10) == [
            (START, 4.0),
            (START + 10, 0.0),
            (START + 20, 0.0),
        ]
        assert one(recording, "avg(api_ms)", FIRST, FIRST + 27, 10) == [(START, 5.0)]
        assert one(recording, "sum(api_ms)", FIRST, FIRST + 27, 10) == [(START, 5.0 * 4)]


def test_a_silent_gauge_is_null_and_nothing_is_carried_forward(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("depth", 5)
        recording.advance(27)
        for function in FUNCTIONS:
            assert [t for t, _ in one(recording, f"{function}(depth)", FIRST, FIRST + 27, 10)] == [START]


def test_a_gauges_change_counts_from_its_value_before_the_step_at_most_five_minutes_before(tmp_path):
    with Recording(tmp_path) as recording:
        for value, pause in ((10, 20), (13, 290), (20, 330), (50, 10)):
            recording.add("depth", value)
            recording.advance(pause)
        points = dict(one(recording, "delta(depth)", FIRST, FIRST + 700, 10))
        assert list(points.values()) == [0.0, 3.0, 7.0, 0.0]
        later = dict(one(recording, "rate(depth)", FIRST + 300, FIRST + 400, 10))
        assert list(later.values()) == [0.7]


def test_rate_divides_by_the_seconds_that_are_covered(tmp_path):
    with Recording(tmp_path) as recording:
        for _ in range(24):
            recording.add("hits", 2, "c")
            recording.advance(1)
        assert one(recording, "rate(hits)", FIRST, FIRST + 24, 10) == [
            (START, 2.0),
            (START + 10, 2.0),
            (START + 20, 2.0),
        ]
        assert one(recording, "rate(hits)", FIRST, FIRST + 24, 60) == [(START, 2.0)]
        assert one(recording, "hits", FIRST, FIRST + 24, 10) == [(START, 2.0), (START + 10, 2.0), (START + 20, 2.0)]


def test_what_an_earlier_run_left_is_covered_too(tmp_path):
    with Recording(tmp_path, first=START) as recording:
        recording.add("hits", 6, "c")
        recording.advance(12)
    with Recording(tmp_path, first=START + 15) as recording:
        recording.add("hits", 12, "c")
        recording.advance(5)
        assert one(recording, "rate(hits)", START, START + 20, 20) == [(START, 18 / 20)]
        assert one(recording, "rate(hits)", START, START + 20, 10) == [(START, 0.6), (START + 10, 1.2)]


def test_a_set_has_no_history_yet(tmp_path):
    with Recording(tmp_path) as recording:
        recording.store.ingest(b"users:ann|s")
        recording.advance(20)
        with pytest.raises(ExpressionError, match="column 11: users is a set"):
            ask(recording, "1 + count(users)", FIRST, FIRST + 20, 10)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("increase(depth)", "depth is a gauge"), ("delta(hits)", "hits is a counter"),
     ("p99(depth)", "no p99; timers, histograms"),
     ("share_le(api_ms)", "takes a number"), ("1 + p99(hits)", "column 9: hits is a counter"),
     ("avg(hits) OFFSET 1h", "OFFSET"), ("avg(hits", "expected|`\\)`"), ("", "expected|empty|metric")],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_an_expression_error(recording, text, problem):
    with pytest.raises(ExpressionError, match=problem):
        answer(text, recording.past, recording.store, FIRST)


# ---- groups, restarts


def test_groups_that_are_long_gone_are_not_in_the_answer(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("depth", 1, tags="host:old")
        recording.advance(20)
    with Recording(tmp_path, first=FIRST + 60) as recording:
        recording.add("depth", 2, tags="host:new")
        recording.advance(20)
        assert [tags for tags, _ in ask(recording, "depth", FIRST, FIRST + 80, 10)] == [
            {"host": "new"},
            {"host": "old"},
        ]
        assert [tags for tags, _ in ask(recording, "depth", FIRST + 60, FIRST + 80, 10)] == [{"host": "new"}]
        text = "ABSENT(depth) GROUP BY host"
        assert [tags for tags, _ in ask(recording, text, FIRST + 60, FIRST + 80, 10)] == [{"host": "new"}]


def test_a_metric_known_from_before_is_known_and_has_no_value_now(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("depth", 1)
        recording.advance(20)
    with Recording(tmp_path, first=FIRST + 60) as recording:
        recording.advance(10)
        assert answer("depth", recording.past, recording.store)["series"] == []
        assert one(recording, "depth", FIRST, FIRST + 80, 60) == [(START, 1.0)]


@pytest.mark.parametrize("bounds", [(None, None), (FIRST, FIRST + 60)])
def test_an_unknown_metric_is_an_error_with_the_nearest_names(recording, bounds):
    with pytest.raises(UnknownMetricError) as raised:
        answer("avg(api_m)", recording.past, recording.store, *bounds)
    assert raised.value.nearest[0] == "api_ms"
    assert answer("ABSENT(api_m)", recording.past, recording.store, *bounds)["series"][0]["points"][0][1] == 1.0


# ---- the answer


def test_the_answer_has_the_contracts_shape(recording):
    found = answer("max(depth) GROUP BY agency", recording.past, recording.store, FIRST, FIRST + 60, 60)
    assert found.keys() == {"expr", "step", "series"}
    assert (found["expr"], found["step"]) == ("max(depth) GROUP BY agency", 60)
    for series in found["series"]:
        assert series.keys() == {"metric", "tags", "points"}
        assert series["metric"] == "depth"
        assert all(type(t) is int and t % 60 == 0 and (v is None or type(v) is float) for t, v in series["points"])


def test_an_expression_of_several_metrics_goes_by_its_text(recording):
    text = "sum(hits) / count(api_ms)"
    assert {one["metric"] for one in answer(text, recording.past, recording.store, FIRST)["series"]} == {text}


def test_without_bounds_the_answer_is_the_value_now(recording):
    found = answer("count(api_ms, 1h)", recording.past, recording.store)
    [series] = found["series"]
    count = sum(s[5] for s in recording.given if s[1] == "api_ms")
    assert (found["step"], series["points"]) == (1, [[recording.now - 1, pytest.approx(count)]])


def test_null_is_none_in_the_answer(recording):
    found = answer("max(depth, 1s) GROUP BY *", recording.past, recording.store)
    assert None in [value for one in found["series"] for _, value in one["points"]]


def test_end_defaults_to_what_is_sealed_and_later_is_not_there(recording):
    unbounded = answer("ABSENT(hits)", recording.past, recording.store, FIRST, None, 10)
    later = answer("ABSENT(hits)", recording.past, recording.store, FIRST, FIRST + 100_000, 10)
    assert unbounded == later
    assert unbounded["series"][0]["points"][-1][0] == (recording.now - 1) // 10 * 10
    assert answer("hits", recording.past, recording.store, FIRST + 99_999, FIRST + 100_000)["series"] == []


@pytest.mark.parametrize("span", [1, 600, 9_990, 9_999, 10_000, 10_001, 86_400, 172_800, 400 * 86_400])
def test_the_default_step_is_the_smallest_that_makes_at_most_a_thousand_points(recording, span):
    end = recording.now
    found = answer("hits", recording.past, recording.store, end - span, end)["step"]
    counts = ((step, len(range((end - span) // step * step, end, step))) for step in range(10, 100_000, 10))
    assert found == next(step for step, count in counts if count <= DEFAULT_POINTS)


@pytest.mark.parametrize(
    ("start", "end", "step", "problem"),
    [(None, FIRST, None, "end needs a start"), (None, None, 10, "need a start"), (FIRST, FIRST, 10, "is empty"),
     (FIRST, FIRST - 1, 10, "is empty"), (FIRST, None, 0, "step is 0"), (FIRST, None, -10, "step is -10"),
     (FIRST, None, 15, "multiple of 10"), (FIRST, None, 10.5, "whole seconds"), (FIRST, None, math.nan, "step is nan"),
     (FIRST, None, math.inf, "step is inf"), (-1, None, 10, "start is -1"), (FIRST * 1000, None, 10, "in seconds"),
     (math.nan, None, 10, "start is nan"), (FIRST, math.inf, 10, "end is inf"), (0, FIRST, 10, "points of 10 s")],
)  # fmt: skip
def test_a_range_or_step_that_cannot_be_is_refused(recording, start, end, step, problem):
    with pytest.raises(ValueError, match=problem):
        answer("hits", recording.past, recording.store, start, end, step)


def test_points_are_limited(recording):
    end = recording.now // 10 * 10
    assert ask(recording, "ABSENT(hits)", end - POINTS_MAX * 10, end, 10)
    with pytest.raises(ValueError, match=f"{POINTS_MAX} are allowed"):
        ask(recording, "ABSENT(hits)", end - POINTS_MAX * 10 - 10, end, 10)


def test_series_and_values_and_rows_are_limited(recording, monkeypatch):
    assert SERIES_MAX == 1_000
    monkeypatch.setattr(answerable, "SERIES_MAX", 2)
    with pytest.raises(ValueError, match="2 are allowed"):
        ask(recording, "depth", FIRST, FIRST + 600, 10)
    monkeypatch.undo()
    monkeypatch.setattr(answerable, "VALUES_MAX", 100)
    with pytest.raises(ValueError, match="100 points are allowed in all"):
        ask(recording, "depth", FIRST, FIRST + 600, 10)
    monkeypatch.undo()
    for limit, problem in (("ROWS_MAX", "more than 10 rows"), ("VALUES_MAX", "more than 10 points")):
        monkeypatch.setattr(steps, limit, 10)
        with pytest.raises(ValueError, match=problem):
            ask(recording, "count(depth)", FIRST, FIRST + 600, 10)
        monkeypatch.undo()


def test_chunks_of_any_size_give_the_same(recording, monkeypatch):
    texts = ["delta(depth) GROUP BY *", "stddev(api_ms)", "last(depth)"]
    whole = [ask(recording, text, FIRST, FIRST + 630, 30) for text in texts]
    monkeypatch.setattr("hms_ops.past.CHUNK_ROWS", 10)
    for text, expected in zip(texts, whole, strict=True):
        assert str(ask(recording, text, FIRST, FIRST + 630, 30)) == str(expected)


def test_a_units_number_is_counted_in_the_metrics_unit(recording):
    in_ms = answer("max(api_ms) > 0.005s", recording.past, recording.store, FIRST)
    plain = answer("max(api_ms) > 5", recording.past, recording.store, FIRST)
    assert in_ms["series"][0]["points"] == plain["series"][0]["points"]

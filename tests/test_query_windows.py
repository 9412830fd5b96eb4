"""Written windows over a range: a chart of a rule's left side ends with what the rule compares; percentiles, the step
that is not over, limits. The twin of all points is in test_query.py."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from tests.recording import FIRST, Recording, Sample, random_samples

from hms_ops import answerable, folded, steps, trailing, trailing_figures
from hms_ops._sketch import from_values, quantiles, share_le
from hms_ops.alert.evaluate import query_now
from hms_ops.alert.language.grammar import parse_query
from hms_ops.errors import ExpressionError
from hms_ops.longview import Recent
from hms_ops.query import answer, query_range

OBJECTIVES = {"slo": 0.9}.get
START = FIRST - FIRST % 60
NOW = START + 3_900  # the end of a minute
EXACT = [
    "avg(api_ms, 5m)", "avg(api_ms, 1m) GROUP BY agency", "sum(hits, 30s) GROUP BY *", "increase(hits, 10m)",
    "count(api_ms, 20m)", "min(depth, 2m)", "max(depth, 1h) GROUP BY zone", "rate(hits, 90s)", "rate(api_ms, 5m)",
    "rate(depth, 10m) GROUP BY agency", "delta(depth, 5m)", "delta(depth, 1m) GROUP BY *", "last(depth, 1m)",
    "depth[5m]", "last(api_ms, 5m) GROUP BY agency", "p99(api_ms, 5m)", "p50(api_ms, 1m) GROUP BY agency",
    "quantile(api_ms, 0.9, 20m)", "share_le(api_ms, 3, 10m)", "share_gt(api_ms, 3, 1h) GROUP BY agency",
    "burn_rate(slo, 5m)", "burn_rate(slo, 2h)", "increase(hits, 1d)", "max(depth, 6h) GROUP BY agency",
    "moving_mean(depth, 3m)", "avg(api_ms, 1m) / avg(api_ms, 1h)", "ABSENT(hits[1m]) GROUP BY agency",
    "avg(api_ms, 5m) > 3 AND rate(hits, 1m) > 0.1 GROUP BY agency",
    "avg(api_ms{agency='irs'}, 5m) WHERE zone = 'a'", "coalesce(avg(depth, 10s), max(depth, 1h), 0) GROUP BY *",
]  # fmt: skip
FOLDS = [
    "first(depth, 5m)", "zscore(depth, 5m)", "ewma(depth, 20m, half_life=2m) GROUP BY agency",
    "changes(depth, 4m) GROUP BY zone", "avg(max(depth) - min(depth), 5m) GROUP BY agency",
    "max(sum(hits) / count(api_ms), 1h)", "rate(avg(depth), 30m)", "quantile(avg(api_ms), 0.9, 20m)",
    "zscore(api_ms, 3h)", "avg(api_ms, 5m) - avg(avg(api_ms) * 2, 5m)",
]  # fmt: skip
NEARLY = ["stddev(api_ms, 5m)", "stddev(depth, 1h) GROUP BY agency"]  # on disk within 2.2 %


def hour_of_samples() -> list[Sample]:
    samples = random_samples(np.random.default_rng(3), NOW - FIRST)
    rng = np.random.default_rng(4)
    for second in range(FIRST, NOW, 3):
        samples += [
            (second, "slo.total", "", "c", 1.0, 1.0),
            (second, "slo.good", "", "c", float(rng.random() < 0.9), 1.0),
        ]
        samples += [(second, "api_ms", "agency:irs,zone:a", "ms", float(rng.lognormal(1)), 1.0)]
        samples += [(second, "depth", "agency:irs,zone:a", "g", float(rng.integers(0, 9)), 1.0)]
    return sorted(samples)


@pytest.fixture(scope="module", params=[True, False], ids=["disk", "memory"])
def recording(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Recording]:
    """An hour and five minutes, up to the end of a minute; a test only reads it."""
    with Recording(tmp_path_factory.mktemp("windows") if request.param else None) as made:
        made.play(hour_of_samples(), NOW)
        yield made


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """The same, in the middle of a step."""
    with Recording(tmp_path_factory.mktemp("later")) as made:
        made.play(hour_of_samples(), NOW)
        made.advance(37)
        yield made


def ends_of(recording: Recording, text: str, step: int) -> dict[str, float]:
    """The newest point of each group."""
    found = query_range(
        parse_query(text), recording.past, recording.store, NOW - 300, NOW + 60, step, objective=OBJECTIVES
    )
    return {str(sorted(tags.items())): points[-1][1] for tags, points in found}


def points_of(recording: Recording, text: str, start: int, end: int, step: int) -> dict[int, float]:
    [(_, points)] = query_range(parse_query(text), recording.past, recording.store, start, end, step)
    return dict(points)


def now_of(recording: Recording, text: str) -> dict[str, float]:
    recall = Recent(recording.past, recording.now)
    found = query_now(parse_query(text), recording.store, recall=recall, objective=OBJECTIVES)
    return {str(sorted(tags.items())): value for tags, value in found if not math.isnan(value)}


@pytest.mark.parametrize("text", [*EXACT, *FOLDS, *NEARLY])
def test_a_whole_step_ends_with_what_a_rule_sees_then(recording, text):
    expected = now_of(recording, text)
    assert expected
    for step in (60, 300):
        got = {key: value for key, value in ends_of(recording, text, step).items() if not math.isnan(value)}
        assert got == pytest.approx(expected, rel=0.022 if text in NEARLY else 1e-9), step


@pytest.mark.parametrize("text", [*EXACT[::3], *FOLDS[::4]])
def test_the_step_that_is_not_over_has_the_value_now_of_windows(later, text):
    got = {key: value for key, value in ends_of(later, text, 60).items() if not math.isnan(value)}
    assert got == now_of(later, text)


def test_a_counters_last_is_the_mean_second_of_its_last_row(recording):
    total = sum(s[4] * s[5] for s in recording.given if s[1] == "hits" and NOW - 60 <= s[0] < NOW)
    assert ends_of(recording, "last(hits, 5m)", 60) == pytest.approx({"[]": total / 60})


# ---- the step that is not over


@pytest.mark.parametrize("text", ["sum(hits)", "increase(hits)", "count(api_ms)", "delta(depth)", "ABSENT(hits)",
                                  "sum(hits) / count(api_ms)", "avg(api_ms) / avg(api_ms, 1h)"])  # fmt: skip
def test_no_amount_is_told_of_a_step_that_is_not_over(later, text):
    [(_, points)] = query_range(parse_query(text), later.past, later.store, NOW - 600, NOW + 100, 60)
    assert points[-1][0] == NOW - 60
    assert query_range(parse_query(text), later.past, later.store, NOW, NOW + 100, 60) == []


@pytest.mark.parametrize("text", ["avg(slo.total)", "max(api_ms)", "rate(hits)", "p99(api_ms)", "1 + 1"])
def test_what_is_true_of_a_part_of_a_step_is_told(later, text):
    later.add("slo.total", 1, "c")
    later.add("api_ms", 7, "ms", tags="agency:irs,zone:a")
    later.advance(1)
    [(_, points)] = query_range(parse_query(text), later.past, later.store, NOW - 600, NOW + 100, 60)
    assert points[-1][0] == NOW


def test_a_range_that_ends_before_now_has_whole_steps_only(later):
    [(_, points)] = query_range(parse_query("sum(slo.total)"), later.past, later.store, NOW - 600, NOW - 90, 60)
    assert points[-1] == (NOW - 120, 20.0)


# ---- percentiles


@pytest.mark.parametrize("window", [60, 300, 1200])
def test_figures_over_windows_are_those_of_all_samples_in_them(recording, window):
    p99, share = (
        points_of(recording, text, NOW - 1200, NOW, 60)
        for text in (f"p99(api_ms, {window}s)", f"share_le(api_ms, 3, {window}s)")
    )
    assert len(p99) == len(share) == 20
    for t, value in p99.items():
        inside = [s for s in recording.given if s[1] == "api_ms" and t + 60 - window <= s[0] < t + 60]
        values, weights = [s[4] for s in inside], [s[5] for s in inside]
        sketch = from_values(values, weights)
        assert value == pytest.approx(min(max(quantiles(sketch, [0.99])[0], min(values)), max(values)))
        assert share[t] == pytest.approx(share_le(sketch, 3.0))


# ---- digits


def test_a_large_offset_costs_no_digits_and_what_has_left_leaves_nothing():
    with Recording() as recording:
        recording.add("depth", 1e150)
        for n in range(300):
            recording.add("depth", 1e9 + n % 2)
            recording.advance(1)
        deviations = list(points_of(recording, "stddev(depth, 1m)", FIRST + 100, FIRST + 290, 10).values())
        assert deviations == pytest.approx([0.5] * len(deviations), rel=1e-6)
        sums = list(points_of(recording, "sum(depth, 1m)", FIRST + 100, FIRST + 290, 10).values())
        assert sums[1:] == [60e9 + 30] * (len(sums) - 1)


@pytest.mark.parametrize("cells", [1, 2, 3, 7, 8, 100])
def test_runs_of_cells_are_those_cells_merged(cells):
    rng = np.random.default_rng(cells)
    values = rng.integers(0, 9, (3, cells)).astype(float)
    has = rng.random((3, cells)) < 0.6
    extremes = np.where(has, values, np.inf), np.where(has, values, -np.inf)
    columns = np.array([has, values * has, 0 * values, *extremes, np.where(has, values, np.nan)])
    low = rng.integers(0, cells, 50)
    high = rng.integers(low, cells + 1)
    got = trailing._windows(columns, low, high)
    for group in range(3):
        for k, (begin, end) in enumerate(zip(low, high, strict=True)):
            inside = values[group, begin:end][has[group, begin:end]]
            expected = (
                [len(inside), inside.sum(), len(inside) * inside.var(), inside.min(), inside.max(), inside[-1]]
                if len(inside)
                else [0, 0, 0, *[math.nan] * 3]
            )
            assert got[group, k] == pytest.approx(expected, nan_ok=True)


# ---- what the answer says, and what is refused


@pytest.mark.parametrize(
    ("text", "grain"),
    [("avg(api_ms)", None), ("avg(api_ms, 5s)", 10), ("avg(api_ms, 5m)", 10), ("avg(api_ms, 20m)", 60),
     ("sum(hits, 1m) / sum(hits, 3d)", 3600), ("zscore(depth, 5m)", 10), ("avg(hits / depth, 20m)", 60)],
)  # fmt: skip
def test_the_answer_says_what_windows_begin_at(later, text, grain):
    assert answer(text, later.past, later.store, NOW - 300, NOW, 10).get("grain") == grain


def test_a_window_shorter_than_the_rows_is_as_long_as_one(later):
    short, row = (points_of(later, f"sum(slo.total, {window})", NOW - 300, NOW, 10) for window in ("3s", "10s"))
    assert short == row


def test_seconds_over_windows_within_the_last_minute(later):
    found = answer("sum(slo.total, 5s)", later.past, later.store, later.now - 40, None, 1)
    assert (found["step"], found["grain"]) == (1, 1)
    assert answer("sum(slo.total, 5m)", later.past, later.store, later.now - 40, None, 1)["step"] == 10
    assert answer("sum(slo.total, 5m)", later.past, later.store, later.now - 40, points=40)["step"] == 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [("avg(hits, 5m) OFFSET 1h", "column 5.*OFFSET"), ("zscore(depth, 5m) OFFSET 1h", "column 8: OFFSET"),
     ("1 + first(depth)", "column 5: first over a range needs its window"), ("avg(api_ms, 999d)", "a window of"),
     ("ANOMALY(depth)", "OFFSET"), ("max(avg(depth, 1m), 1h)", "write no window there"),
     ("1 + delta(hits, 5m)", "column 11: hits is a counter"),
     ("max(delta(hits), 5m)", "column 11: hits is a counter")],
)  # fmt: skip
def test_what_has_no_meaning_over_a_range_is_refused_with_its_column(later, text, problem):
    with pytest.raises(ExpressionError, match=problem):
        answer(text, later.past, later.store, NOW - 600)


@pytest.mark.parametrize(("module", "limit", "text", "problem"), [
    (trailing, "ROWS_MAX", "avg(depth, 5m)", "reads more than 10 rows for its windows of 300 s"),
    (trailing, "CELLS_MAX", "avg(depth, 5m)", "more than 10 cells"),
    (trailing, "ROWS_MAX", "delta(depth, 5m)", "10"),
    (trailing_figures, "TABLE_MAX", "p99(api_ms, 5m)", "10 cells are allowed"),
    (trailing_figures, "SKETCHES_MAX", "p99(api_ms, 5m)", "more than 10 sketches"),
    (folded, "FOLDED_MAX", "max(avg(depth), 5m)", "10 steps are allowed"),
    (answerable, "STATS_MAX", "avg(depth, 5m) - avg(depth, 1h)", "10 st"),
])  # fmt: skip
def test_windows_are_limited(later, monkeypatch, module, limit, text, problem):
    monkeypatch.setattr(module, limit, 10)
    with pytest.raises(ValueError, match=problem):
        answer(text, later.past, later.store, NOW - 900, NOW, 60)


def test_chunks_of_any_size_give_the_same(recording, monkeypatch):
    texts = [
        "delta(depth, 5m) GROUP BY *",
        "sum(hits, 1h)",
        "p99(api_ms, 5m) GROUP BY agency",
        "last(depth, 1m)",
        "ewma(depth, 5m)",
    ]
    whole = [ends_of(recording, text, 60) for text in texts]
    monkeypatch.setattr("hms_ops.past.CHUNK_ROWS", 10)
    monkeypatch.setattr(trailing, "CELLS_AT_ONCE", 1)
    monkeypatch.setattr(trailing, "CHANGES_AT_ONCE", 1)
    monkeypatch.setattr(folded, "FOLDED_AT_ONCE", 1)
    monkeypatch.setattr(trailing_figures, "CHUNK_SKETCHES", 10)
    monkeypatch.setattr(trailing_figures, "CELLS_AT_ONCE", 1)
    assert [ends_of(recording, text, 60) for text in texts] == [pytest.approx(one, rel=1e-12) for one in whole]
    assert steps.ROWS_MAX > 10

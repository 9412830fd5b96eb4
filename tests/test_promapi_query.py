"""PromQL on rows of history: windows against their twins, names and the way back, counters, the open row, tiers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from tests.engines import NOW, feed, manual
from tests.reference import promwindows as twin
from tests.stocked import BEGIN, HOURS

from hms_ops import Engine, kinds
from hms_ops.http.answer import Json
from hms_ops.prometheus.query import given, rates
from hms_ops.prometheus.query.answer import instant_answer, number_text, range_answer
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.choosing import Everything
from hms_ops.prometheus.query.grouping import FOLDS
from hms_ops.prometheus.query.known import Known
from hms_ops.prometheus.query.listing import Directory
from hms_ops.prometheus.query.names import Family, names_of
from hms_ops.prometheus.query.pointwise import EACH
from hms_ops.prometheus.query.reader import Reader, Samples
from hms_ops.prometheus.query.refused import Refused
from hms_ops.prometheus.query.slots import Slots, windows
from hms_ops.prometheus.query.windows import OVER_TIME, quantile_over_time

# ---- asking an engine


def reader_of(engine: Engine) -> Reader:
    engine.store.flush()
    names = Known().names(engine.past, engine.operations.descriptions)
    return Reader(engine.past, names, engine.described_unit, Budget(30))


def ask(engine: Engine, query: str, time: float | None = None) -> Any:
    asked = given.instant({"query": [query], "time": [str(time)] if time else []}, engine.clock.now_ns() / 1e9)
    return json.loads(Json(instant_answer(asked, reader_of(engine))).body)["result"]


def value(engine: Engine, query: str, time: float | None = None) -> float:
    (one,) = ask(engine, query, time)
    return float(one["value"][1])


def values(engine: Engine, query: str, start: float, end: float, step: float) -> dict[float, float]:
    asked = given.ranged({"query": [query], "start": [str(start)], "end": [str(end)], "step": [str(step)]})
    (one,) = json.loads(Json(range_answer(asked, reader_of(engine))).body)["result"]
    return {t: float(text) for t, text in one["values"]}


# ---- windows and their twins


def slots_of(count: int, seconds: int) -> Slots:
    stamps = (NOW + seconds * (np.arange(count) + 1)) * 1000 - 1
    return Slots(NOW, seconds, stamps, np.full(count, float(seconds)), count)


ROWS = st.lists(st.one_of(st.none(), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6)), min_size=0, max_size=14)
WINDOW = st.integers(1, 150_000)
OFFSET = st.integers(-20_000, 160_000)


@examples(ROWS, WINDOW, OFFSET, st.integers(1, 40_000))
def test_windows_are_what_one_sample_after_the_other_comes_to(
    row: list[float | None], ms: int, first: int, step: int
) -> None:
    slots = slots_of(len(row), 10)
    held = np.array([[np.nan if one is None else one for one in row]]).reshape(1, len(row))
    samples = [(int(t), one) for t, one in zip(slots.stamps, row, strict=True) if one is not None]
    times = NOW * 1000 + first + step * np.arange(5)
    of = windows(slots, times, ms)
    for name, function in OVER_TIME.items():
        found, there = function(held, of)
        check(found[0], there[0], [twin.over_time(name, samples, int(t), ms) for t in times])
    for rank in (0.0, 0.3, 1.0, -1.0, 2.0):
        found, there = quantile_over_time(np.full(5, rank), held, of)
        inside = [[one for _, one in twin.inside(samples, int(t), ms)] for t in times]
        check(found[0], there[0], [twin.quantile(rank, one) if one else None for one in inside])
    of_series = Samples(slots, [{}], [Family("x", "x", kinds.GAUGE, "last")], held, np.array([0]), np.array([0]))
    for name in ("rate", "increase", "delta"):
        found, there = rates.extrapolated(name, of_series, of)
        check(found[0], there[0], [twin.extrapolated(name, samples, int(t), ms) for t in times])
    found, there = rates.instantaneous(of_series, of)
    check(found[0], there[0], [twin.instantaneous(samples, int(t), ms) for t in times])


def check(found: Any, there: Any, expected: list[float | None]) -> None:
    assert there.tolist() == [one is not None for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert other is None or one == pytest.approx(other, rel=1e-9, abs=1e-3)


def test_a_large_offset_costs_a_deviation_no_digits() -> None:
    held = 1e9 + np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    of = windows(slots_of(5, 10), np.array([(NOW + 50) * 1000]), 50_000)
    assert OVER_TIME["stdvar_over_time"](held, of)[0][0, 0] == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (0.1, "0.1"),
        (1.5e300, "15" + "0" * 299), (float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"),
        (123456789.125, "123456789.125"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_prometheus_writes_it(number: float, text: str) -> None:
    assert number_text(number) == text


# ---- names


def test_a_metric_has_the_names_of_its_kind() -> None:
    names = names_of(
        {"a.ms": kinds.TIMER, "b": kinds.COUNTER, "c.total": kinds.COUNTER, "d": kinds.GAUGE, "e": kinds.SET}
    )
    rows = ("_count", "_sum", "_min", "_max", "_last")
    assert sorted(names.families) == sorted(
        [
            *("a_ms" + ending for ending in ("", *rows, "_bucket", "_p50", "_p90", "_p95", "_p99")),
            *("b" + ending for ending in ("", *rows, "_total")),
            *("c_total" + ending for ending in ("", *rows)),
            *("d" + ending for ending in ("", *rows)),
        ]
    )
    assert names.named("a.ms_sum") is names.named("a_ms_sum") is names.families["a_ms_sum"]
    assert names.named("nothing") is None


@pytest.mark.parametrize("order", [1, -1])
def test_names_that_come_out_alike_go_to_the_same_metric_whatever_comes_first(order: int) -> None:
    metrics = {"a.b": kinds.GAUGE, "a-b": kinds.GAUGE, "x.y": kinds.GAUGE, "x_y": kinds.COUNTER}
    names = names_of(dict(list(metrics.items())[::order]))
    assert {name: names.families[name].metric for name in ("a_b", "a.b", "a_b_sum", "a.b_sum", "x_y", "x.y")} == {
        "a_b": "a-b", "a.b": "a.b", "a_b_sum": "a-b", "a.b_sum": "a.b", "x_y": "x_y", "x.y": "x.y",
    }  # fmt: skip
    assert names.hidden == ()


def test_a_metrics_own_name_comes_before_a_derived_one_and_that_is_said() -> None:
    with manual() as engine:
        feed(engine, "api", 5.0, 10, kind="timer")
        feed(engine, "api_sum", 1.0, 10, kind="gauge")
        assert value(engine, "api_sum") == 1.0
        reader = reader_of(engine)
        directory = Directory(
            Everything(engine.past), reader.names, engine.described_unit, lambda metric: "", Budget(30)
        )
        (told,) = directory.metadata("api_sum", 0)["api_sum"]
        assert told["help"] == (
            "api_sum: last sample of each row. The sum of api has no name of its own, since this one has it."
        )


def test_the_table_follows_the_metrics_and_their_kinds() -> None:
    known = Known()
    with manual() as engine:
        feed(engine, "a.b", 1.0, 1, kind="gauge")
        first = known.names(engine.past, engine.operations.descriptions)
        assert known.names(engine.past, engine.operations.descriptions) is first
        feed(engine, "orders", 1.0, 1, kind="counter")
        assert "orders_total" in known.names(engine.past, engine.operations.descriptions).families


# ---- counters


def test_a_counter_counts_what_came_and_extrapolates_nothing() -> None:
    with manual() as engine:
        feed(engine, "orders", 7.0, 1, kind="counter")
        feed(engine, "other", 1.0, 99, kind="gauge")
        for name in ("orders_total", "orders", "orders_sum"):
            assert value(engine, f"increase({name}[2m])") == 7.0
        assert value(engine, "rate(orders_total[2m])") == pytest.approx(7 / 100), "of the seconds that are known"
        assert value(engine, "sum_over_time(orders_sum[2m])") == 7.0


def test_a_counter_that_is_silent_counts_0_once_it_was_seen() -> None:
    with manual() as engine:
        feed(engine, "other", 1.0, 120, kind="gauge")
        feed(engine, "orders", 2.0, 60, kind="counter")
        feed(engine, "other", 1.0, 300, kind="gauge")
        found = values(engine, "rate(orders_total[30s])", NOW + 60, NOW + 480, 60)
        assert found == {NOW + 180: 2.0, NOW + 240: 0.0, NOW + 300: 0.0, NOW + 360: 0.0, NOW + 420: 0.0, NOW + 480: 0.0}
        assert ask(engine, "sum_over_time(orders_sum[1m])") == [], "no row is no sample, there as in Prometheus"
        assert value(engine, "rate(orders_total[1m])") == 0.0


@pytest.mark.parametrize("seconds", [3, 9, 10, 11, 57, 63, 125])
def test_a_rate_is_right_while_a_row_goes_on(seconds: int) -> None:
    with manual(NOW + 4) as engine:
        feed(engine, "orders", 2.0, seconds, kind="counter")
        feed_ms = value(engine, "rate(orders_total[1m])")
        assert feed_ms == pytest.approx(2.0)
        assert value(engine, "irate(orders_total[1m])") == pytest.approx(2.0)
        assert value(engine, "increase(orders_total[1m])") == pytest.approx(2.0 * min(seconds, 60))
        assert value(engine, "orders") == pytest.approx(2.0)


def test_the_row_that_goes_on_is_no_row_to_a_sum_of_rows() -> None:
    with manual() as engine:
        feed(engine, "orders", 2.0, 4, kind="counter")
        assert value(engine, "sum_over_time(orders_sum[1m])") == 8.0, "but where there is no other"
        feed(engine, "orders", 2.0, 79, kind="counter")
        assert value(engine, "sum_over_time(orders_sum[1m])") == 120.0
        assert value(engine, "orders_sum") == 20.0
        engine.metric("depth", 5.0, kind="gauge")
        engine.advance(1)
        assert value(engine, "depth") == 5.0, "what is newest is what counts of a gauge"


def test_a_pattern_leaves_running_totals_out_where_they_cannot_be_read() -> None:
    with manual() as engine:
        feed(engine, "orders", 2.0, 20, kind="counter")
        assert value(engine, 'count({__name__=~"orders.*"})') == 6
        assert value(engine, 'sum(increase({__name__=~"orders_total"}[20s]))') == 40


# ---- rows that are longer than they were asked for


@pytest.fixture(scope="module")
def hour() -> Any:
    """Half an hour in memory: ten minutes by 10 s, before that minutes."""
    with manual(NOW + 40) as engine:
        rng = np.random.default_rng(2)
        latencies = [
            engine.series("lat_ms", kind="timer", tags={"host": f"h{n}", "zone": "ab"[n % 2]}) for n in range(6)
        ]
        for _ in range(1800):
            for series in latencies:
                series.add(float(rng.lognormal(4, 0.6)))
            engine.metric("orders", 2.0, kind="counter")
            engine.advance(1)
        yield engine


def test_a_window_that_is_shorter_than_a_row_is_a_row_long_and_the_answer_says_so(hour: Engine) -> None:
    start, end = NOW + 300, NOW + 1800
    for query in ("rate(orders_total[40s])", "sum_over_time(orders_sum[40s]) / 40", "increase(orders_total[40s]) / 40"):
        found = values(hour, query, start, end, 15)
        assert len(found) == 101, "there is no gap"
        assert set(found.values()) == {2.0}
    reader = reader_of(hour)
    asked = given.ranged({"query": ["rate(orders[40s])"], "start": [str(start)], "end": [str(end)], "step": ["15"]})
    range_answer(asked, reader)
    assert list(reader.infos) == ["windows of 40 s are read as 60 s, which is how long the rows of so long ago are"]


@pytest.mark.parametrize("by", ["by (le)", "by (le, zone)", "without (host)", "by (zone)", ""])
@pytest.mark.parametrize("function", ["rate", "increase", "sum_over_time"])
def test_buckets_that_are_summed_where_they_are_read_are_the_sum(hour: Engine, function: str, by: str) -> None:
    counted = f"{function}(lat_ms_bucket[5m])"
    at_once, one_by_one = ask(hour, f"sum {by} ({counted})"), ask(hour, f"sum {by} ({counted} + 0)")
    assert [one["metric"] for one in at_once] == [one["metric"] for one in one_by_one]
    for one, other in zip(at_once, one_by_one, strict=True):
        assert float(one["value"][1]) == pytest.approx(float(other["value"][1]), rel=1e-12)


def test_percentiles_are_those_of_the_samples(hour: Engine) -> None:
    now = hour.clock.now_ns() / 1e9
    exact = hour.query("p95(lat_ms)", int(now) // 60 * 60 - 300, int(now) // 60 * 60, 300)["series"][0]["points"][0][1]
    time = int(now) // 60 * 60
    read = value(hour, "histogram_quantile(0.95, sum by (le) (sum_over_time(lat_ms_bucket[5m])))", time)
    assert read == pytest.approx(exact, rel=0.2), "buckets are half powers of two"
    of_each = [float(one["value"][1]) for one in ask(hour, "lat_ms_p95")]
    assert len(of_each) == 6
    assert all(20 < one < 600 for one in of_each)


# ---- history on disk


@pytest.mark.parametrize("hours", [1, 2, 3])
def test_what_an_earlier_run_left_on_disk_is_answered(stocked: Path, tmp_path: Path, hours: int) -> None:
    with manual(BEGIN + HOURS * 3600 + 30, data_dir=shutil.copytree(stocked, tmp_path / "data")) as engine:
        end, seconds = BEGIN + HOURS * 3600, hours * 3600
        (sums,) = engine.query("sum(hits)", end - seconds, end, 3600)["series"]
        expected = sum(count for _, count in sums["points"])
        assert value(engine, f"increase(hits_total[{seconds}s])", end) == pytest.approx(expected)
        local = engine.query("max(finance.api_ms) GROUP BY agency", end - seconds, end, 3600)["series"]
        found = ask(engine, f'max by (agency) (max_over_time({{"finance.api_ms_max"}}[{seconds}s]))', end)
        expected = [max(point for _, point in one["points"]) for one in local]
        assert [float(one["value"][1]) for one in found] == expected
        assert value(engine, f"count_over_time(hits_count[{seconds}s])", end) <= seconds / 10


def test_a_health_check_in_1970_reads_nothing() -> None:
    with manual() as engine:
        feed(engine, "depth", 1.0, 20, kind="gauge")
        assert ask(engine, "depth", 4) == []
        assert ask(engine, "sum(rate(depth[5m]))", 4) == []
        assert ask(engine, "depth", NOW + 10**6) == []
        with pytest.raises(Refused, match="end timestamp must not be before"):
            values(engine, "depth", NOW, NOW - 1, 1)


def test_an_engine_without_a_sample_answers() -> None:
    with manual() as engine:
        assert ask(engine, "sum(nothing)") == []
        assert value(engine, "sum(nothing) or vector(0)") == 0.0
        assert ask(engine, '{__name__=~".+"}') == []


OUTSIDE = [
    "lat_ms_bucket",
    'lat_ms_bucket{le="5"}',
    '{le="5",__name__!=""}',
    '{__name__=~".+"}',
    "histogram_quantile(0.9, lat_ms_bucket)",
    "histogram_quantile(0.9, sum by (le) (rate(lat_ms_bucket[5m])))",
    "rate(lat_ms_bucket[1m])",
    "irate(lat_ms_count[1m])",
    "delta(lat_ms_max[1m])",
    "sum by (zone) (increase(lat_ms_bucket[1m]))",
    "lat_ms_p99",
    "quantile_over_time(0.5, lat_ms_p99[1m])",
    "stddev_over_time(lat_ms[1m])",
    "last_over_time(lat_ms_bucket[1m])",
    "topk(2, lat_ms_bucket)",
    "lat_ms_bucket + on (le, host) lat_ms_bucket",
    *(f"{name}({of}[1m])" for name in OVER_TIME for of in ("lat_ms", "lat_ms_bucket")),
    *(f"{name}({of}[1m])" for name in ("rate", "increase", "irate") for of in ("lat_ms_max", "lat_ms_bucket")),
    *(f"{fold} by (zone) (lat_ms_bucket)" for fold in FOLDS),
    *(f"{name}(lat_ms_bucket)" for name in (*EACH, "sort", "sort_desc", "round")),
]


@pytest.mark.parametrize("query", OUTSIDE)
@pytest.mark.parametrize("time", [1, NOW - 70, NOW + 10**6])
def test_before_and_after_all_history_there_is_nothing_and_no_error(hour: Engine, query: str, time: int) -> None:
    assert ask(hour, query, time) == []
    span = {"query": [query], "start": [str(time)], "end": [str(time + 60)], "step": ["15"]}
    assert range_answer(given.ranged(span), reader_of(hour))["result"] == []


def test_what_is_absent_is_absent_outside_of_history_too(hour: Engine) -> None:
    for query in ('absent({x="y",x="z"})', "absent(lat_ms_bucket)"):
        assert [value(hour, query, time) for time in (1, NOW + 10**6)] == [1.0, 1.0]


def test_what_stands_several_times_in_a_query_is_read_once(hour: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read, families = Reader._family, list[str]()

    def noted(of: Reader, choice: Any, family: Family, *more: Any) -> Samples:
        families.append(family.name)
        return read(of, choice, family, *more)

    monkeypatch.setattr(Reader, "_family", noted)
    for query, times in (
        (" + ".join(["lat_ms_count"] * 16), 1),
        ("lat_ms_count + lat_ms_count offset 1m", 2),
        ('lat_ms_count{zone="a"} + lat_ms_count', 2),
        ("rate(lat_ms_count[1m]) / rate(lat_ms_count[5m])", 2),
        ("sum by (le) (rate(lat_ms_bucket[5m])) / sum by (le) (rate(lat_ms_bucket[5m]))", 1),
        ("sum by (le) (rate(lat_ms_bucket[5m])) / sum by (le, zone) (rate(lat_ms_bucket[5m]))", 2),
    ):
        families.clear()
        ask(hour, query)
        assert len(families) == times, query
    assert value(hour, "sum(lat_ms_count + lat_ms_count)") == 2 * value(hour, "sum(lat_ms_count)")

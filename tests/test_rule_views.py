"""Views in memory (OFFSET, folds of steps, aggregates of calculations, ANOMALY, burn rates) against the slow twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.fleet import Fleet
from tests.test_rule_evaluation import CLAUSES, END, FIRST, FLEETS, assert_as_twin, rules_of, shared_fleet, value_of

from hms_ops.alert.evaluate import query_now
from hms_ops.alert.language.grammar import parse_query, parse_statement
from hms_ops.alert.plan import compile_query, compile_statement
from hms_ops.alert.stepped import VIEW_CELLS
from hms_ops.alert.view import FOLDS, View, fold_steps
from hms_ops.errors import ExpressionError, UnknownMetricError
from hms_ops.reloaded import Reloaded

OFFSETS = ["1s", "7s", "1m", "10m", "20m"]

QUERIES = [
    *(f"{function}({metric}, {window}) OFFSET {offset}{group}"
      for function in ("avg", "sum", "count", "min", "max", "stddev")
      for metric, window, group in (("api_ms", "30s", ""), ("api_ms", "5m", " GROUP BY agency"),
                                    ("hits", "15m", " GROUP BY *"))
      for offset in OFFSETS),
    *(f"increase(hits, {window}) OFFSET {offset}" for window in ("20s", "5m", "30m") for offset in OFFSETS),
    *(f"rate(hits, {window}) OFFSET {offset}" for window in ("20s", "5m", "30m") for offset in OFFSETS),
    *(f"ABSENT(api_ms[{window}] OFFSET {offset}) GROUP BY *" for window in ("20s", "5m") for offset in OFFSETS),
    *(f"depth OFFSET {offset} GROUP BY *" for offset in OFFSETS),
    *(f"{function}(depth, {window}) GROUP BY *"
      for function in ("first", "ewma", "zscore", "changes") for window in ("20s", "5m", "40m")),
    *(f"{function}(avg(api_ms) - avg(depth), {window}) GROUP BY agency"
      for function in ("avg", "sum", "count", "min", "max", "stddev", "first", "last", "delta", "rate", "changes",
                       "ewma", "zscore", "p50", "p90", "moving_mean") for window in ("20s", "5m", "30m")),
    "avg(rate(hits) / count(api_ms), 10m) OFFSET 5m",
    "quantile(abs(avg(api_ms)), 0.25, 10m)",
    "share_gt(avg(api_ms) - 5, 0, 30m)",
    "share_le(avg(api_ms) - 5, 0, 30m)",
    "ewma(api_ms, 10m, half_life=45s)",
    "avg(api_ms, 1m) / avg(api_ms, 1m) OFFSET 10m > 1.1 GROUP BY agency",
    "avg(api_ms) - avg(api_ms) OFFSET 1m > 0 OR first(depth, 10m) > 2 GROUP BY *",
]  # fmt: skip


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("end", [END, END + 7, FIRST + 31])
def test_a_view_equals_the_twin(text: str, end: int) -> None:
    assert_as_twin(shared_fleet(end), text)


INNER = st.sampled_from(
    ["avg(api_ms) / count(hits)", "max(depth) - min(depth)", "rate(hits) * 2", "coalesce(avg(depth), 0)", "-sum(hits)"]
)
FOLD_NAMES = st.sampled_from(["avg", "sum", "count", "min", "max", "stddev", "last", "first", "delta", "ewma", "p75"])
SPANS = st.integers(1, 3600)


@settings(max_examples=150, deadline=None)
@given(FOLD_NAMES, INNER, SPANS, st.integers(0, 3600), CLAUSES, FLEETS)
def test_any_fold_equals_the_twin(
    fold: str, inner: str, window: int, offset: int, clauses: str, fleet: tuple[int, int]
) -> None:
    offset = min(offset, 3660 - window)
    assert_as_twin(shared_fleet(*fleet), f"{fold}({inner}, {window}s) OFFSET {offset}s{clauses}")


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["avg", "sum", "count", "min", "max", "stddev"]), SPANS, st.integers(1, 3600), CLAUSES, FLEETS)
def test_any_offset_equals_the_twin(
    function: str, window: int, offset: int, clauses: str, fleet: tuple[int, int]
) -> None:
    offset = max(1, min(offset, 3660 - window))
    assert_as_twin(shared_fleet(*fleet), f"{function}(api_ms, {window}s) OFFSET {offset}s{clauses}")


# ---- folds


def fold(name: str, *rows: list[float], parameter: float = 0.0, step: float = 10.0) -> list[float]:
    view = View(None, None, (), name, 60, 0, parameter, plan=None)  # type: ignore[arg-type]
    return fold_steps(view, np.array(rows, float), step).tolist()


NULL = math.nan


@pytest.mark.parametrize("name", [name for name in FOLDS if name != "count"])
def test_a_fold_of_nothing_is_null_and_neighbours_do_not_matter(name: str) -> None:
    busy = [1.0, NULL, 4.0, 2.0]
    alone = fold(name, busy, parameter=0.5)
    assert fold(name, [NULL] * 4, busy, [NULL] * 4, parameter=0.5) == pytest.approx([NULL, *alone, NULL], nan_ok=True)
    assert fold("count", busy, [NULL] * 4) == [3.0, 0.0]


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        ("zscore", [1.0, 3.0, 1.0, 3.0, 6.0], 4.0),
        ("zscore", [NULL, 1.0, 3.0, NULL, 4.0, NULL], 2.0),
        ("zscore", [5.0, 5.0, 5.0, 9.0], NULL),  # nothing has ever varied
        ("zscore", [5.0, 9.0], NULL),
        ("zscore", [1e9 + 1, 1e9 + 3, 1e9 + 1, 1e9 + 3, 1e9 + 6], 4.0),
        ("changes", [1.0, 1.0, 2.0, NULL, 2.0, 1.0], 2.0),
        ("changes", [NULL, 1.0], 0.0),
        ("rate", [NULL, 1.0, 3.0, 5.0, NULL], 0.2),
        ("rate", [NULL, 1.0], NULL),
        ("first", [NULL, 1.0, 2.0], 1.0),
        ("last", [1.0, 2.0, NULL], 2.0),
        ("ewma", [4.0, 4.0, NULL, 4.0], 4.0),
        ("ewma", [0.0, 3.0], 2.25),  # a = 2 / 3: weights 1/3 and 1
    ],
)
def test_a_fold(name: str, steps: list[float], expected: float) -> None:
    assert fold(name, steps) == pytest.approx([expected], nan_ok=True)


def test_an_ewma_halves_in_its_half_life() -> None:
    assert fold("ewma", [0.0, 0.0, 3.0], parameter=10.0) == pytest.approx([12 / 7])


# ---- forms that stand for longer ones


def test_changes_of_a_group_are_those_of_its_series() -> None:
    fleet = Fleet(FIRST, kinds={"up": "gauge"})
    for zone, values in (("a", [0, 1, 1, 0]), ("b", [1, 1, 1, 1]), ("c", [0, 1, 0, 1])):
        fleet.add("up", {"zone": zone, "all": "x"}, [(FIRST + n, float(v)) for n, v in enumerate(values)])
    fleet.seal(FIRST + 4)
    assert value_of(fleet, "changes(up, 10s)") == 5.0
    found = query_now(parse_query("changes(up, 10s) GROUP BY zone"), fleet)
    assert [value for _, value in found] == [2.0, 0.0, 3.0]


def anomaly_of(fleet: Fleet, text: str) -> float:
    return rules_of(fleet, text).evaluate().condition.tolist()[0]


def test_an_anomaly_is_the_last_second_against_the_mean_of_the_window_before() -> None:
    fleet = Fleet(FIRST, kinds={"x": "timer"})
    slot = fleet.add("x", {}, [(FIRST + n, 100.0 + n % 3) for n in range(300)])
    fleet.seal(FIRST + 300)
    assert anomaly_of(fleet, "ANOMALY(x)") == 0.0
    fleet.samples[slot] = np.vstack([fleet.samples[slot], [[FIRST + 300, 203.0, 1.0]]])
    fleet.seal(FIRST + 301)
    assert anomaly_of(fleet, "ANOMALY(x)") == 1.0
    assert anomaly_of(fleet, "ANOMALY(x, factor=2.1, window=1m)") == 0.0
    assert rules_of(fleet, "ANOMALY(x)").evaluate().value.tolist() == [203.0], "a page shows what the rule compares"
    fleet.seal(FIRST + 302)
    assert math.isnan(anomaly_of(fleet, "ANOMALY(x)")), "a silent second is no anomaly, and none that ended"


def test_a_burn_rate_is_the_share_lost_over_the_share_allowed() -> None:
    fleet = Fleet(FIRST, kinds={"api.good": "counter", "api.total": "counter"})
    fleet.add("api.good", {}, [(FIRST + n, 9.0) for n in range(100)])
    fleet.add("api.total", {}, [(FIRST + n, 10.0) for n in range(100)])
    fleet.seal(FIRST + 100)
    objectives = {"api": 0.99}.get
    [(_, value)] = query_now(parse_query("burn_rate(api, 1m)"), fleet, objective=objectives)
    assert value == pytest.approx(10.0)
    plan = compile_statement(
        parse_statement("burn_rate(api, 1h) > 14.4 AND burn_rate(api, 5m) > 14.4"), objective=objectives
    )
    assert {source.metric for source in plan.sources()} == {"api.good", "api.total"}
    with pytest.raises(ExpressionError, match="there is no objective 'apx'"):
        compile_query(parse_query("burn_rate(apx, 1h)"), objective=objectives)


# ---- rules


def test_equal_views_are_read_once_and_follow_series_that_come_and_go() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge", "y": "gauge"})
    a = fleet.add("x", {"zone": "a"}, [(FIRST + n, float(n)) for n in range(30)])
    fleet.seal(FIRST + 30)
    rules = rules_of(
        fleet, "avg(x * 2, 20s) > 1 GROUP BY zone", "avg(x * 2, 20s) > 50 GROUP BY zone", "max(x) OFFSET 5s > 1"
    )
    found = rules.evaluate()
    assert len({id(view) for view in rules._views.values()}) == 2
    assert found.value.tolist() == [39.0, 39.0, 24.0]
    fleet.add("x", {"zone": "b"}, [(FIRST + 30, 7.0)])
    fleet.seal(FIRST + 31)
    found = rules.evaluate()
    assert dict(zip(found.keys, found.value.tolist(), strict=True)) == {
        ("rule0", (("zone", "a"),)): 40.0,
        ("rule0", (("zone", "b"),)): 14.0,
        ("rule1", (("zone", "a"),)): 40.0,
        ("rule1", (("zone", "b"),)): 14.0,
        ("rule2", ()): 25.0,
    }
    fleet.remove(a)
    assert {key for _, key in rules.evaluate().keys} == {(("zone", "b"),), ()}
    rules.replace({})
    assert rules._views == {}


def test_a_view_is_whole_when_its_window_is_known() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge"})
    fleet.add("x", {}, [(FIRST + n, 1.0) for n in range(400)])
    rules = rules_of(fleet, "avg(x, 1m) OFFSET 2m > 0", "avg(x * 2, 1m) > 0")
    whole = []
    for end in (FIRST + 50, FIRST + 100, FIRST + 200):
        fleet.seal(end)
        whole.append(rules.evaluate().whole.tolist())
    assert whole == [[False, False], [False, True], [True, True]]
    rules.reloaded = Reloaded(FIRST, FIRST - 600)
    fleet.seal(FIRST + 50)
    assert rules.evaluate().whole.tolist() == [True, True]


def test_rows_of_views_beyond_the_limit_are_refused_with_the_figure() -> None:
    fleet = shared_fleet()
    text = "avg(depth * 2, 10m) > 1"
    rules = rules_of(fleet, text, text, "max(depth * 2, 10m) > 1", cells_max=2 * VIEW_CELLS)
    [(name, problem)] = rules.evaluate().problems.items()
    assert name == "rule2"
    need = VIEW_CELLS + 4 * 69  # four series; 60 steps, of which the last may be made of nine seconds
    assert problem == f"its {need} rows of series in steps would make {2 * need}; {2 * VIEW_CELLS} are allowed"


def test_what_a_view_cannot_read_is_the_rules_problem() -> None:
    fleet = shared_fleet()
    found = rules_of(
        fleet, "count(users) OFFSET 1m > 1", "increase(depth) OFFSET 1m > 0", "avg(depth, 2h) > 1", "depth > 1"
    ).evaluate()
    assert set(found.problems) == {"rule0", "rule1", "rule2"}
    assert "users is a set" in found.problems["rule0"]
    assert "depth is a gauge, of which there is no increase" in found.problems["rule1"]
    assert "nobody reads history here" in found.problems["rule2"]
    with pytest.raises(UnknownMetricError, match="did you mean depth"):
        query_now(parse_query("avg(dept * 2, 5m)"), fleet)


def test_equal_plans_have_equal_views_whatever_the_text() -> None:
    views = [
        compile_query(parse_query(text)).readings[0].view
        for text in ("avg(x*2, 5m)", "avg( x * 2 , 300s)", "avg(x * 3, 5m)", "avg(x * 2, 5m) OFFSET 1s")
    ]
    assert views[0] == views[1]
    assert len(set(views)) == 3

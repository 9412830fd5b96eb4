"""Percentiles and shares in values and rules: against numpy on raw samples; which windows, which kinds, how often."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference.fleet import Fleet

from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.grammar import parse_query, parse_statement
from hms_ops.alert.plan import compile_statement
from hms_ops.errors import ExpressionError

Floats = NDArray[np.float64]

FIRST = 1_700_000_000
ERROR = 0.0218  # of a value: half a bucket of schema 4
RANKS = {"p0": 0, "p1": 0.01, "p25": 0.25, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def random_values(shape: str, rng: np.random.Generator, n: int) -> Floats:
    values: dict[str, Callable[[], Floats]] = {
        "uniform": lambda: rng.uniform(1, 1000, n),
        "lognormal": lambda: rng.lognormal(3, 0.6, n),
        "pareto": lambda: 1 + rng.pareto(2.5, n),
        "bimodal": lambda: np.where(rng.random(n) < 0.7, rng.normal(10, 0.1, n), rng.normal(500, 5, n)),
        "one value": lambda: np.full(n, 12.5),
        "negative": lambda: -rng.lognormal(2, 1, n),
        "around zero": lambda: rng.choice([-1.0, 0.0, 1.0], n) * rng.uniform(1, 50, n),
        "tiny": lambda: rng.lognormal(-200, 0.5, n),
        "whole": lambda: rng.poisson(40, n).astype(float),
    }
    return values[shape]()


SHAPES = ["uniform", "lognormal", "pareto", "bimodal", "one value", "negative", "around zero", "tiny", "whole"]


def assert_quantile(got: float, values: Floats, rank: float) -> None:
    """Within ERROR of numpy's two neighbours, interpolated as numpy does; never beyond the least and the most."""
    position = rank * (len(values) - 1)
    low, high = np.sort(values)[[math.floor(position), math.ceil(position)]]
    expected = np.quantile(values, rank)
    apart = ERROR * (abs(low) * (1 - position % 1) + abs(high) * (position % 1)) + 1e-300
    assert abs(got - expected) <= apart, (got, expected, rank)
    assert values.min() <= got <= values.max()


# ---- the store of a test, whose sketches are made from raw samples


def fleet_of(shape: str, n: int = 3_000, seconds: int = 400) -> Fleet:
    """Two agencies' timers, one of which has another scale."""
    rng = np.random.default_rng(len(shape))
    fleet = Fleet(FIRST, kinds={"x_ms": "timer", "depth": "gauge"})
    for agency, scale in (("irs", 1.0), ("irs", 1.0), ("ssa", 3.0)):
        second = np.sort(rng.integers(FIRST, FIRST + seconds, n))
        values = random_values(shape, rng, n) * scale
        fleet.add("x_ms", {"agency": agency, "n": str(len(fleet.samples))}, list(zip(second, values, strict=True)))
    fleet.add("depth", {}, [(FIRST, 5.0)])
    fleet.seal(FIRST + seconds)
    return fleet


def values_of(fleet: Fleet, start: int, end: int, *slots: int) -> Floats:
    samples = np.concatenate([fleet.samples[slot] for slot in slots])
    return samples[(samples[:, 0] >= start) & (samples[:, 0] < end), 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_percentiles_of_a_window_are_numpys_within_half_a_bucket(shape: str) -> None:
    fleet = fleet_of(shape)
    values = values_of(fleet, FIRST + 100, FIRST + 400, 0, 1, 2)
    for name, rank in RANKS.items():
        [(_, got)] = query_now(parse_query(f"{name}(x_ms, 5m)"), fleet)
        assert_quantile(got, values, rank)
        assert query_now(parse_query(f"quantile({rank!r}, x_ms, 5m)"), fleet) == [({}, got)]


def test_groups_are_pooled_by_their_samples() -> None:
    fleet = fleet_of("lognormal")
    found = {tags["agency"]: value for tags, value in query_now(parse_query("p99(x_ms, 5m) GROUP BY agency"), fleet)}
    assert_quantile(found["irs"], values_of(fleet, FIRST + 100, FIRST + 400, 0, 1), 0.99)
    assert_quantile(found["ssa"], values_of(fleet, FIRST + 100, FIRST + 400, 2), 0.99)
    [(_, got)] = query_now(parse_query("p50(x_ms{n='2'}, 5m) WHERE agency = ssa"), fleet)
    assert got == query_now(parse_query("p50(x_ms, 5m) GROUP BY agency"), fleet)[1][1]


@pytest.mark.parametrize("seconds", [1, 7, 60, 64, 300, 600])
@pytest.mark.parametrize("shift", [0, 3, 9])
def test_a_window_begins_at_a_step_of_ten_seconds(seconds: int, shift: int) -> None:
    """One sample a second whose value is its age tells which seconds are in; p0 and p100 are exact."""
    end = FIRST - FIRST % 60 + 1_200 + shift
    fleet = Fleet(FIRST - 100, kinds={"age": "timer"})
    fleet.add("age", {}, [(second, end - second) for second in range(FIRST - 100, end)])
    fleet.seal(end)
    start = end - seconds - (end - seconds) % 10
    for text, expected in (("quantile(age, 1, {}s)", end - start), ("p0(age, {}s)", 1)):
        assert query_now(parse_query(text.format(seconds)), fleet) == [({}, expected)]


def test_a_window_longer_than_ten_minutes_begins_at_a_minute() -> None:
    end = FIRST - FIRST % 60 + 1_223
    fleet = Fleet(FIRST - 100, kinds={"age": "timer"})
    fleet.add("age", {}, [(second, end - second) for second in range(FIRST - 100, end)])
    fleet.seal(end)
    start = (end - 700) - (end - 700) % 60
    assert query_now(parse_query("quantile(age, 1, 700s)"), fleet) == [({}, end - start)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_share_is_right_within_a_bucket_and_exact_at_the_ends(shape: str) -> None:
    fleet = fleet_of(shape)
    values = values_of(fleet, FIRST + 100, FIRST + 400, 0, 1, 2)
    for at in np.quantile(values, [0.001, 0.1, 0.5, 0.9, 0.999]).tolist():
        [(_, got)] = query_now(parse_query(f"share_le(x_ms, {at!r}, 5m)"), fleet)
        low, high = sorted((at / (1 + 2 * ERROR), at * (1 + 2 * ERROR)))
        assert (values < low).mean() - 1e-9 <= got <= (values <= high).mean() + 1e-9
        [(_, rest)] = query_now(parse_query(f"share_gt(x_ms, {at!r}, 5m)"), fleet)
        assert rest == pytest.approx(1 - got, abs=1e-12)
    top, bottom = float(max(values)), float(min(values)) - 1
    assert query_now(parse_query(f"share_le(x_ms, {top!r}, 5m)"), fleet) == [({}, 1.0)]
    assert query_now(parse_query(f"share_gt(x_ms, {bottom!r}, 5m)"), fleet) == [({}, 1.0)]


def test_a_threshold_is_in_the_metrics_unit_and_a_share_is_a_share() -> None:
    fleet = fleet_of("uniform")
    [(_, plain)] = query_now(parse_query("share_le(x_ms, 500, 5m)"), fleet)
    assert query_now(parse_query("share_le(x_ms, 0.5s, 5m)"), fleet) == [({}, plain)]
    assert query_now(parse_query("share_le(x_ms, 500, 5m) < 99%"), fleet) == [({}, 1.0)]
    assert query_now(parse_query("p99(x_ms, 5m) > 0.9s"), fleet) == [({}, 1.0)]


def test_without_samples_in_the_window_a_figure_is_null() -> None:
    fleet = Fleet(FIRST, kinds={"x": "timer"})
    fleet.add("x", {"a": "1"}, [(FIRST, 5.0)])
    fleet.add("x", {"a": "2"})
    fleet.seal(FIRST + 200)
    for text in ("p99(x, 1m)", "share_le(x, 5, 1m)", "share_gt(x, 5, 1m) GROUP BY a", "p50(x) GROUP BY a"):
        assert all(math.isnan(value) for _, value in query_now(parse_query(text), fleet))
    assert query_now(parse_query("p99(x, 1m) IS NULL"), fleet) == [({}, 1.0)]
    assert query_now(parse_query("p99(x, 5m)"), fleet) == [({}, 5.0)]


@pytest.mark.parametrize("kind", ["counter", "gauge", "set"])
@pytest.mark.parametrize(
    ("text", "words"),
    [("p99(x)", "no p99; timers, histograms and distributions have percentiles"),
     ("quantile(x, 0.5)", "no p50; timers"), ("share_le(x, 5)", "no share_le; timers, .* have shares")],
)  # fmt: skip
def test_other_kinds_are_refused_and_told_which_have_them(kind: str, text: str, words: str) -> None:
    fleet = Fleet(FIRST, kinds={"x": kind})
    fleet.add("x", {}, [(FIRST, 5.0)])
    with pytest.raises(ExpressionError, match=f"x is a {kind}, of which there is {words}"):
        query_now(parse_query(f"1 + {text}"), fleet)


# ---- rules


def ruleset(fleet: Fleet, **rules: str) -> RuleSet:
    made = RuleSet(fleet)
    made.replace({name: compile_statement(parse_statement(text)) for name, text in rules.items()})
    return made


def test_a_rule_is_judged_by_its_percentile_and_shows_it() -> None:
    fleet = fleet_of("uniform")
    found = ruleset(fleet, slow="p99(x_ms, 5m) > 900 GROUP BY agency", few="share_gt(x_ms, 900, 5m) > 50%").evaluate()
    assert found.condition.tolist() == [1.0, 1.0, 0.0]
    assert found.value[:2].tolist() == [value for _, value in query_now(
        parse_query("p99(x_ms, 5m) GROUP BY agency"), fleet)]  # fmt: skip
    assert found.problems == {}


def test_rules_that_read_the_same_sketches_read_them_once_and_others_never() -> None:
    fleet = fleet_of("uniform", 100)
    ruleset(fleet, a="avg(x_ms) > 1", b="max(x_ms, 5m) > 1 GROUP BY agency", c="depth > 1").evaluate()
    assert fleet.sketches_read == 0
    ruleset(fleet, a="p99(x_ms) > 1", b="p50(x_ms) < quantile(x_ms, 0.99)", c="x_ms > p95(x_ms)").evaluate()
    assert fleet.sketches_read == 1
    ruleset(fleet, a="p99(x_ms) > 1", b="p99(x_ms, 5m) > 1", c="p99(x_ms) > 1 GROUP BY agency").evaluate()
    assert fleet.sketches_read == 4


def test_series_whose_sketches_rules_read_are_limited_and_those_that_rules_share_count_once() -> None:
    rules = {"a": "p99(x_ms) > 1", "b": "p50(x_ms) > 1", "c": "p99(x_ms, 5m) > 1", "d": "avg(x_ms, 5m) > 1"}
    made = RuleSet(fleet_of("uniform", 100), sketched_max=5)
    made.replace({name: compile_statement(parse_statement(text)) for name, text in rules.items()})
    found = made.evaluate()
    assert [name for name, _ in found.keys] == ["a", "b", "d"]
    assert found.problems == {"c": "its 3 series with percentiles would make 6; 5 are allowed"}
    assert made.refused_instances == 1


def test_groups_that_are_silent_have_no_figure_and_cost_none() -> None:
    fleet = fleet_of("uniform", 100)
    for n in range(3):
        fleet.add("x_ms", {"agency": f"silent{n}"}, [(FIRST, 5.0)])
    fleet.seal(FIRST + 400)
    found = query_now(parse_query("p99(x_ms, 1m) + share_le(x_ms, 5000, 1m) GROUP BY agency"), fleet)
    values = {tags["agency"]: value for tags, value in found}
    assert [name for name, value in values.items() if math.isnan(value)] == ["silent0", "silent1", "silent2"]
    alone = {tags["agency"]: value for tags, value in query_now(parse_query("p99(x_ms, 1m) GROUP BY agency"), fleet)}
    assert values["ssa"] == alone["ssa"] + 1


def test_a_rule_on_a_kind_without_percentiles_is_a_problem_of_its_own() -> None:
    fleet = fleet_of("uniform", 100)
    found = ruleset(fleet, bad="p99(depth) > 1", good="p99(x_ms) > 1").evaluate()
    assert [name for name, _ in found.keys] == ["good"]
    assert "depth is a gauge, of which there is no p99" in found.problems["bad"]


def test_a_percentile_beside_other_readings_changes_none_of_them() -> None:
    fleet = fleet_of("lognormal")
    alone = [query_now(parse_query(f"{text} GROUP BY agency"), fleet) for text in ("avg(x_ms, 7s)", "p99(x_ms, 7s)")]
    for (tags, total), (_, mean), (_, high) in zip(
        query_now(parse_query("avg(x_ms, 7s) + p99(x_ms, 7s) GROUP BY agency"), fleet), *alone, strict=True
    ):
        assert total == mean + high, tags

"""SLOs as values: their keys, what is good, and the rules that follow."""

import math
from fractions import Fraction
from typing import Any

import pytest
from tests.counting import slo, slo_of

from hms_ops.alert.language.grammar import parse_condition, parse_duration
from hms_ops.alert.language.tree import Compare, Junction
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.rule import Rule
from hms_ops.alert.slo import BURNS, Goal, Ratio, Slo, Threshold, slo_from_keys

INF = math.inf
LATENCY = {"slo": "finance.api_latency", "objective": 99.9, "good": "finance.api_ms <= 200"}


def read(**keys: Any) -> Slo:
    return slo_of({**LATENCY, **keys}, "slo.yaml:4")


def problem(**keys: Any) -> tuple[str, str]:
    """(key, message) of the only problem there is."""
    given = {key: value for key, value in {**LATENCY, **keys}.items() if value is not None}
    found, problems = slo_from_keys(given, "slo.yaml:4")
    assert found is None
    assert len(problems) == 1, problems
    return problems[0].key, problems[0].message


# ---- keys


def test_the_founding_example_reads_as_written() -> None:
    found = read(window="30d", notify=["sms:+1-555-0100"], policy="cio", tags={"team": "irs"})
    assert (found.name, found.objective, found.window_seconds) == ("finance.api_latency", 99.9, 30 * 86400)
    assert isinstance(found.indicator, Threshold)
    assert found.indicator.goal() == Goal(-INF, 200.0, False)
    assert found.metrics == ("finance.api_ms",)
    assert found.published == ("finance.api_latency.good", "finance.api_latency.total", "finance.api_latency.budget")
    assert (found.text, found.source) == ("finance.api_ms <= 200", "slo.yaml:4")


@pytest.mark.parametrize("objective", [99.9, 99, 0.1, "99.9%", "99.95 %"])
def test_an_objective_is_percent(objective: Any) -> None:
    exact = Fraction(str(objective).rstrip("% ")) / 100
    assert read(objective=objective).share == float(exact)
    assert read(objective=objective).allowed == float(1 - exact)


@pytest.mark.parametrize("objective", [0, 100, -1, 101, True, "ninety", "99.9", "%", math.nan, [99]])
def test_what_is_no_percent_between_0_and_100_is_refused(objective: Any) -> None:
    key, message = problem(objective=objective)
    assert key == "objective"
    assert "percent above 0 and below 100" in message


@pytest.mark.parametrize(
    ("good", "goal"),
    [
        ("x_ms <= 200", Goal(-INF, 200.0, False)),
        ("x_ms < 200", Goal(-INF, math.nextafter(200, 0), False)),
        ("x_ms >= 200", Goal(200.0, INF, False)),
        ("x_ms > 200", Goal(math.nextafter(200, 300), INF, False)),
        ("x_ms = 200", Goal(200.0, 200.0, False)),
        ("x_ms != 200", Goal(200.0, 200.0, True)),
        ("200 >= x_ms", Goal(-INF, 200.0, False)),
        ("200 < x_ms", Goal(math.nextafter(200, 300), INF, False)),
        ("x_ms BETWEEN 1 AND 200", Goal(1.0, 200.0, False)),
        ("x_ms NOT BETWEEN 1 AND 200", Goal(1.0, 200.0, True)),
        ("NOT x_ms > 200", Goal(math.nextafter(200, 300), INF, True)),
        ("NOT x_ms BETWEEN 1 AND 2", Goal(1.0, 2.0, True)),
        ("x_ms > -3", Goal(math.nextafter(-3, 0), INF, False)),
        ("x_ms <= 0.2s", Goal(-INF, 200.0, False)),
        ("x <= 200ms", Goal(-INF, 200.0, False)),
    ],
)
def test_what_is_good_is_an_interval_or_what_lies_outside(good: str, goal: Goal) -> None:
    found = read(good=good).indicator
    assert isinstance(found, Threshold)
    assert found.goal() == goal


def test_a_described_unit_counts() -> None:
    found = read(good="x <= 200ms").indicator
    assert isinstance(found, Threshold)
    assert found.goal("s") == Goal(-INF, 0.2, False)
    with pytest.raises(ValueError, match="a time is compared with a size"):
        found.goal("bytes")


@pytest.mark.parametrize(
    ("keys", "part", "is_bad"),
    [
        ({"good": "web.ok", "total": "web.all"}, "web.ok", False),
        ({"bad": "web.err", "total": "web.all"}, "web.err", True),
    ],
)
def test_two_counters_are_a_ratio(keys: dict[str, str], part: str, is_bad: bool) -> None:
    found = slo_of({"slo": "web", "objective": 99, **keys}, "here").indicator
    assert isinstance(found, Ratio)
    assert (found.part.metric, found.total.metric, found.is_bad) == (part, "web.all", is_bad)


def test_where_may_stand_in_the_text_or_under_its_key() -> None:
    inside, apart = read(good="finance.api_ms <= 200 WHERE agency = irs"), read(where="agency = irs")
    assert inside.where == apart.where is not None
    assert problem(good="finance.api_ms <= 200 WHERE agency = irs", where="a = b")[0] == "where"


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        ({"good": "avg(x) <= 200"}, "good", "a metric compared with a number"),
        ({"good": "x <= y"}, "good", "a metric compared with a number"),
        ({"good": "x <= 2 AND x > 1"}, "good", "a metric compared with a number"),
        ({"good": "1 < 2"}, "good", "a metric compared with a number"),
        ({"good": "x BETWEEN 1 AND y"}, "good", "a metric compared with a number"),
        ({"good": "x[5m] <= 200"}, "good", "no window"),
        ({"good": "x OFFSET 5m <= 200"}, "good", "no window"),
        ({"good": "x <= 200 GROUP BY a"}, "good", "the key group_by"),
        ({"good": "x_ms <= 2GiB"}, "good", "a size is compared with a time"),
        ({"good": "x <= "}, "good", "column 5"),
        ({"good": 200}, "good", "expected text"),
        ({"good": "x"}, "", "'total' is missing"),
        ({"bad": "x", "total": "y"}, "", "one of the keys 'good' and 'bad'"),
        ({"good": None}, "", "one of the keys 'good' and 'bad'"),
        ({"good": None, "bad": "x > 200"}, "bad", "expected a counter"),
        ({"total": "x"}, "total", "all samples of its metric"),
        ({"good": "x", "total": "y > 1"}, "total", "expected a counter"),
        ({"window": "59m"}, "window", "shorter than 3600s"),
        ({"window": "401d"}, "window", "too large"),
        ({"min_events": 0}, "min_events", "too small"),
        ({"min_events": 1.5}, "min_events", "whole number"),
        ({"slo": "n" * 181}, "slo", "over 180 bytes"),
        ({"slo": "a b"}, "slo", "blanks"),
        ({"objectiv": 99}, "objectiv", "did you mean 'objective'?"),
        ({"slo": None}, "", "the key 'slo' is missing"),
        ({"notify": "pigeon"}, "notify", "pigeon"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(keys: dict[str, Any], key: str, said: str) -> None:
    found = problem(**keys)
    assert found[0] == key
    assert said in found[1]


# ---- rules


def rules_of(found: Slo) -> dict[str, Rule]:
    return {rule.name.rpartition(".")[2]: rule for rule in found.rules()}


def test_four_burns_are_watched_each_over_two_windows_with_a_floor() -> None:
    rules = rules_of(read())
    name = "finance.api_latency"
    assert {short: rule.text for short, rule in rules.items()} == {
        short: f"burn_rate({name}, {long}) > {factor} AND burn_rate({name}, {brief}) > {factor} "
        f"AND increase({name}.total, {long}) >= {floor}"
        for short, factor, long, brief, floor in (
            ("burn_fast", 14.4, "1h", "5m", 70),
            ("burn_medium", 6, "6h", "30m", 167),
            ("burn_slow", 3, "1d", "2h", 334),
            ("burn_creep", 1, "3d", "6h", 1000),
        )
    }
    assert [rule.severity for rule in rules.values()] == ["page", "page", "ticket", "ticket"]


@pytest.mark.parametrize("objective", [50, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999])
def test_one_failure_alone_is_never_enough(objective: float) -> None:
    found = read(objective=objective)
    for burn in found.burns():
        events = found.floor(burn)
        assert Fraction(1, events) <= Fraction(str(burn.factor)) * (1 - Fraction(str(objective)) / 100)
        assert events == 1 or Fraction(1, events - 1) > Fraction(str(burn.factor)) * (
            1 - Fraction(str(objective)) / 100
        )


def test_a_floor_that_is_written_holds_for_all() -> None:
    assert [rule.text.rpartition(" ")[2] for rule in read(min_events=25).rules()] == ["25"] * 4


@pytest.mark.parametrize(("objective", "names"), [(99.9, 4), (93.1, 4), (93, 3), (90, 3), (80, 2), (60, 1), (50, 1)])
def test_a_burn_that_cannot_be_reached_is_left_out_and_said(objective: float, names: int) -> None:
    found = read(objective=objective)
    assert len(found.rules()) == names
    assert all(burn.factor * found.allowed < 1 for burn in found.burns())
    assert len(found.warnings()) == (names < 4)
    if names < 4:
        assert "nothing burns faster" in found.warnings()[0]
        assert found.warnings()[0].startswith("slo.yaml:4: finance.api_latency: ")


def test_rules_carry_what_the_slo_says() -> None:
    found = read(
        notify=["log:"],
        policy="cio",
        severity="sms",
        group_by=["agency", "odd tag"],
        tags={"team": "irs"},
        annotations={"runbook": "https://wiki/slo"},
    )
    for rule in found.rules():
        assert (rule.notify, rule.group_by) == (("log:",), ("agency", "odd tag"))
        assert rule.tags == {"slo": "finance.api_latency", "team": "irs"}
        assert rule.annotations["runbook"] == "https://wiki/slo"
        assert rule.source == "slo.yaml:4"
    assert [(rule.severity, rule.policy) for rule in found.rules()] == [("sms", "cio")] * 2 + [("ticket", "")] * 2
    assert "14.4 times, 1h costs 2 % of what 30d allow" in found.rules()[0].annotations["summary"]
    assert [rule.group_by for rule in read(group_by="*").rules()] == [("*",)] * 4


def test_the_slow_burns_may_go_elsewhere() -> None:
    found = read(notify=["sms:+1-555-0100"], tickets=["email:desk@agency.example"]).rules()
    assert [rule.notify for rule in found] == [("sms:+1-555-0100",)] * 2 + [("email:desk@agency.example",)] * 2
    assert [rule.notify for rule in read(notify=["sms:+1-555-0100"]).rules()] == [("sms:+1-555-0100",)] * 4


def test_a_summary_is_its_owners_to_write() -> None:
    assert read(annotations={"summary": "mine"}).rules()[0].annotations == {"summary": "mine"}


@pytest.mark.parametrize("name", ["a.b", "web-api", "web/api", "and", "9lives", "größe"])
def test_any_name_makes_rules_that_parse_and_compile(name: str) -> None:
    found = read(slo=name)
    for rule in found.rules():
        assert parse_condition(rule.text) == rule.condition
        assert isinstance(rule.condition, Junction)
        plan = compile_rule(rule.condition, text=rule.text, objective={name: found.share}.get)
        read_metrics = {reading.source.metric for reading in plan.readings}
        assert read_metrics == {f"{name}.good", f"{name}.total"}


def test_the_burns_are_those_of_the_book() -> None:
    spent = [burn.factor * burn.long_seconds / (30 * 86400) for burn in BURNS]
    assert spent == pytest.approx([0.02, 0.05, 0.1, 0.1])
    assert [burn.long_seconds // burn.short_seconds for burn in BURNS] == [12, 12, 12, 12]


def test_the_value_a_page_shows_is_the_burn_rate_over_the_long_window() -> None:
    first = slo().rules()[0].condition
    while isinstance(first, Junction):
        first = first.left
    assert isinstance(first, Compare)
    assert first.left.series.window_seconds == parse_duration("1h")  # type: ignore[union-attr]

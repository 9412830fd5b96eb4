"""`rules test`: promtool's files as they are, our own format, what is told and the exit codes."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from hms_ops import kinds
from hms_ops.alert.rule import rule_from_arguments
from hms_ops.cli.main import call
from hms_ops.errors import ConfigError
from hms_ops.prometheus import ownfile
from hms_ops.prometheus.inputseries import Histograms, read_series, read_values
from hms_ops.prometheus.outcomes import Outcome, clock, counts
from hms_ops.prometheus.run import outcomes_of
from hms_ops.prometheus.world import Feed, World, increments

# ---- the notation of samples


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("1 2.5 -3 1e3", [1, 2.5, -3, 1000]),
        ("0+10x3", [0, 10, 20, 30]),
        ("1-2x4", [1, -1, -3, -5, -7]),
        ("-2+4x2 7", [-2, 2, 6, 7]),
        ("1.5+0.5x1", [1.5, 2]),
        ("1x4", [1, 1, 1, 1, 1]),
        ("5x0", [5]),
        ("_ 1 _x3 2", [None, 1, None, None, None, 2]),
        ("1 stale 2", [1, None, 2]),
        ("", []),
    ],
)
def test_samples_are_read_as_promtool_reads_them(text: str, samples: list[float | None]) -> None:
    assert read_values(text).samples == samples


def test_the_place_of_a_staleness_marker_is_kept() -> None:
    assert read_values("1x2 stale _x2 stale").stale == (3, 6)


@pytest.mark.parametrize(
    "text", ["x", "1+x3", "1x", "_x", "1 2,3", "0+1x9999999999", "NaN", "Inf", "1x999999 1x999999"]
)
def test_what_are_no_samples_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sample"):
        read_values(text)


def test_native_histograms_are_named() -> None:
    with pytest.raises(Histograms, match="native histograms are unsupported"):
        read_values("{{schema:0 count:3}}x3")


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("up", ("up", {})),
        ('up{job="web", zone=""}', ("up", {"job": "web"})),
        ('{__name__="up", job="web"}', ("up", {"job": "web"})),
        ('{job="web"}', ("", {"job": "web"})),
        ("{}", ("", {})),
        ("", ("", {})),
        ("job:x:rate5m", ("job:x:rate5m", {})),
    ],
)
def test_a_series_is_a_metric_with_labels(text: str, series: tuple[str, dict[str, str]]) -> None:
    assert read_series(text) == series


@pytest.mark.parametrize("text", ['up{job=~"web"}', "up[5m]", "up + 1", "up{", "1"])
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a series|no PromQL"):
        read_series(text)


# ---- the world


def test_a_counter_is_fed_what_it_rose_by_and_all_of_it_after_a_reset() -> None:
    assert increments([(0, 5.0), (60, 8.0), (120, 8.0), (180, 2.0)]) == [(60, 3.0), (120, 0.0), (180, 2.0)]


@pytest.mark.parametrize("window", ["1m", "5m", "10m", "30m", "1h"])
def test_a_window_holds_the_samples_of_its_seconds_and_no_other(window: str) -> None:
    """A sample each minute, worth its minute: the window (t − d, t] of each length has the last ones."""
    minutes = {"1m": 1, "5m": 5, "10m": 10, "30m": 30, "1h": 60}[window]
    rule = rule_from_arguments("r", {"if_": f"sum(x[{window}]) > 0"}, "test")
    world = World([Feed("x", {}, kinds.GAUGE, [(60.0 * n, float(n)) for n in range(90)])], [rule])
    for minute in range(90):
        world.move_to(minute * 60)
        world.tick()
        [alert] = world.alerts("r") or [None]
        expected = sum(range(max(0, minute - minutes + 1), minute + 1))
        assert (alert.value if alert is not None else 0) == expected


def test_a_minute_of_samples_is_whole_at_every_second() -> None:
    rule = rule_from_arguments("r", {"if_": "count(x, 1m) > 0"}, "test")
    world = World([Feed("x", {}, kinds.TIMER, [(float(n), 1.0) for n in range(200)])], [rule])
    for second in range(200):
        world.move_to(second)
        world.tick()
        assert [alert.value for alert in world.alerts("r")] == [min(60, second + 1)]


def test_a_gauge_is_known_for_five_minutes_after_its_last_sample() -> None:
    rule = rule_from_arguments("r", {"if_": "x > 0", "nodata": "ok"}, "test")
    world = World([Feed("x", {}, kinds.GAUGE, [(0.0, 1.0), (60.0, 1.0)])], [rule])
    firing = []
    for second in range(0, 600, 30):
        world.move_to(second)
        world.tick()
        firing += [second] * len(world.alerts("r"))
    assert firing == list(range(0, 360, 30))


# ---- promtool's format

RULES = """
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is down"}
  - {alert: Slow, expr: 'rate(hits_total[5m]) < 1', labels: {kind: "slow"}}
  - {alert: Old, expr: up - time() > 5}
"""
SERIES = [
    {"series": 'up{job="web",instance="a"}', "values": "1x4 0x10"},
    {"series": 'up{job="web",instance="b"}', "values": "1x14"},
    {"series": 'hits_total{job="web"}', "values": "0+120x9 1080x20"},
]
DOWN = {"exp_labels": {"severity": "page", "job": "web", "instance": "a"}}


def outcomes_for(tmp_path: Path, rules: str = RULES, **group: Any) -> list[Outcome]:
    (tmp_path / "rules.yml").write_text(rules)
    tests = {"rule_files": ["rul*.yml"], "evaluation_interval": "1m", "tests": [{"input_series": SERIES, **group}]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(tests))
    return list(outcomes_of(tmp_path / "test.yml"))


def at(time: str, alert: str, *expected: dict[str, Any]) -> dict[str, Any]:
    return {"eval_time": time, "alertname": alert, "exp_alerts": list(expected)}


def results(outcomes: list[Outcome]) -> list[str]:
    return [outcome.result for outcome in outcomes]


@pytest.mark.parametrize(
    ("test", "result"),
    [
        (at("6m", "Down"), "passed"),
        (at("7m", "Down", DOWN), "passed"),
        (at("7m30s", "Down", DOWN), "passed"),
        (at("6m", "Down", DOWN), "failed"),
        (at("7m", "Down"), "failed"),
        (at("7m", "Down", DOWN, DOWN), "failed"),
        (at("7m", "Down", {"exp_labels": {"severity": "page", "instance": "a"}}), "failed"),
        (at("7m", "Down", {**DOWN, "exp_annotations": {"summary": "a is down"}}), "passed"),
        (at("7m", "Down", {**DOWN, "exp_annotations": {"summary": "b is down"}}), "failed"),
        (at("9m", "Slow"), "passed"),
        (at("14m", "Slow", {"exp_labels": {"kind": "slow", "job": "web"}}), "passed"),
        (at("1m", "Nobody"), "passed"),
        (at("1m", "Nobody", DOWN), "failed"),
        (at("1m", "Old"), "unsupported"),
    ],
)
def test_an_alert_is_compared_with_what_is_expected(test: dict[str, Any], result: str, tmp_path: Path) -> None:
    assert results(outcomes_for(tmp_path, alert_rule_test=[test])) == [result]


@pytest.mark.parametrize(
    ("expr", "time", "samples", "result"),
    [
        ("up", "5m", [('up{job="web",instance="a"}', 0), ('up{job="web",instance="b"}', 1)], "passed"),
        ("up == 0", "5m", [('up{job="web",instance="a"}', 0)], "passed"),
        ("up == 0", "4m", [], "passed"),
        ("sum(up)", "5m", [("{}", 1)], "passed"),
        ("sum(up)", "5m", [("{}", 2)], "failed"),
        ("job:up:sum", "4m", [('job:up:sum{job="web"}', 2)], "passed"),
        ("rate(hits_total[5m]) * 60", "8m", [('{job="web"}', 120)], "passed"),
        ("sum without (instance) (up)", "5m", [('{job="web"}', 1)], "passed"),
        ("gone", "5m", [], "passed"),
        ("3 * 2", "5m", [("{}", 6)], "passed"),
        ("up and on (job) hits_total", "5m", [], "unsupported"),
        ("timestamp(up)", "5m", [], "unsupported"),
    ],
)
def test_an_expression_is_compared_with_its_samples(
    expr: str, time: str, samples: list[tuple[str, float]], result: str, tmp_path: Path
) -> None:
    expected = [{"labels": labels, "value": value} for labels, value in samples]
    test = {"expr": expr, "eval_time": time, "exp_samples": expected}
    assert results(outcomes_for(tmp_path, promql_expr_test=[test])) == [result]


def test_a_staleness_marker_makes_what_reads_it_unsupported_for_five_minutes(tmp_path: Path) -> None:
    series = [{"series": 'up{instance="a"}', "values": "0x3 stale"}, {"series": "other", "values": "1x20"}]
    tests = [at(time, "Down") for time in ("4m", "8m", "9m")]
    expressions = [{"expr": "other", "eval_time": "5m", "exp_samples": [{"labels": "other", "value": 1}]}]
    found = outcomes_for(tmp_path, input_series=series, alert_rule_test=tests, promql_expr_test=expressions)
    assert results(found) == ["unsupported", "passed", "unsupported", "passed"]
    assert "staleness marker" in found[0].reason


def test_rule_files_may_be_ours(tmp_path: Path) -> None:
    rules = "rules: [{alert: Down, if: up = 0, for: 2m, group_by: '*'}, 'ALERT Slow WHEN rate(hits_total, 5m) < 1']"
    tests = [at("6m", "Down"), at("7m", "Down", DOWN), at("14m", "Slow", {"exp_labels": {"severity": "page"}})]
    assert results(outcomes_for(tmp_path, rules, alert_rule_test=tests)) == ["passed"] * 3


def test_a_rule_of_ours_that_does_not_compile_is_unsupported_alone(tmp_path: Path) -> None:
    rules = "rules: [{alert: Burn, if: 'burn_rate(nobody, 1h) > 1'}, {alert: Down, if: up = 0, for: 2m, group_by: '*'}]"
    found = outcomes_for(tmp_path, rules, alert_rule_test=[at("1m", "Burn"), at("7m", "Down", DOWN)])
    assert results(found) == ["unsupported", "passed"]
    assert "nobody" in found[0].reason
    expect = "series: [{metric: up, values: 1x5}]\nexpect: [{at: 5s, alert: Burn, state: inactive}]"
    assert results(own_outcomes(tmp_path, f"{rules}\n{expect}")) == ["unsupported"]


def test_a_recorded_name_that_is_fed_is_a_series(tmp_path: Path) -> None:
    series = [{"series": 'job:up:sum{job="x"}', "values": "7x5"}]
    test = {"expr": "job:up:sum", "eval_time": "3m", "exp_samples": [{"labels": 'job:up:sum{job="x"}', "value": 7}]}
    assert results(outcomes_for(tmp_path, input_series=series, promql_expr_test=[test])) == ["passed"]


def test_windows_beyond_an_hour_are_read_from_a_history(tmp_path: Path) -> None:
    rules = "groups: [{name: g, rules: [{alert: Fills, expr: 'predict_linear(fs[90m], 3600) < 0', for: 5m}]}]"
    series = [
        {"series": 'fs{job="web"}', "values": "1500-10x100"},
        {"series": 'fs{job="db"}', "values": "1500x100"},
        {"series": "hits_total", "values": "0+60x100"},
    ]
    tests = [at("95m", "Fills"), at("96m", "Fills", {"exp_labels": {"job": "web"}})]
    asked = [
        ("rate(hits_total[90m])", "100m", [("{}", 1)]),
        ("fs offset 70m", "100m", [('fs{job="web"}', 1200), ('fs{job="db"}', 1500)]),
    ]
    expressions = [
        {
            "expr": expr,
            "eval_time": time,
            "exp_samples": [{"labels": labels, "value": value} for labels, value in found],
        }
        for expr, time, found in asked
    ]
    found = outcomes_for(tmp_path, rules, input_series=series, alert_rule_test=tests, promql_expr_test=expressions)
    assert [outcome.lines() for outcome in found if outcome.result != "passed"] == []
    assert len(found) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule_files: [none.yml]\ntests: []", "test.yml:1: no rule file none.yml"),
        ("tests:\n- input_series:\n  - {series: up, values: oops}", "test.yml:3: expected samples"),
        ("tests:\n- input_series:\n  - {series: 'up{', values: 1}", "test.yml:3: no PromQL"),
        ("tests:\n- input_series:\n  - {series: '{a=\"b\"}', values: 1}", "test.yml:3: a series needs a metric"),
        ("tests:\n- input_series:\n  - {series: up, values: '{{schema:1}}'}", "test.yml:3: native histograms"),
        ("tests:\n- alert_rule_test:\n  - {eval_time: 5m}", "test.yml:3: the key 'alertname' is missing"),
        ("tests:\n- alert_rule_test:\n  - {eval_time: soon, alertname: A}", "test.yml:3: expected a duration"),
        ("tests:\n- alert_rule_tests: []", "test.yml:2: unknown key 'alert_rule_tests', did you mean"),
        ("tests:\n- alert_rule_test:\n  - {eval_time: 32d, alertname: A}", "test.yml:3: a test lasts 31 days at most"),
        ("evaluation_interval: 500ms\ntests: []", "test.yml:1: evaluation_interval: rules are judged once a second"),
        ("evaluation_interval: x\ntests: []", "test.yml:1: expected a duration"),
        ("tests: 5", "test.yml:1: expected a list"),
        ("tests: []", "test.yml:1: nothing is expected"),
        ("tests:\n- input_series: []", "test.yml:1: nothing is expected"),
    ],
)
def test_a_mistake_in_a_test_file_is_told_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "test.yml").write_text(text)
    with pytest.raises(ConfigError, match=problem.replace("{", r"\{")):
        list(outcomes_of(tmp_path / "test.yml"))


# ---- our own format

OWN = """
rules:
- {alert: slow, if: avg(api_ms) > 200, recover: < 150, for: 3m}
- ALERT errors WHEN rate(errors, 1m) > 0.5 GROUP BY job
tests:
- name: latency pages after three minutes and clears below its recovery
  series:
  - {metric: api_ms, kind: timer, tags: {agency: irs}, every: 1s, values: 120x59 240x299 160x299 100x120}
  - {metric: errors, kind: counter, tags: {job: web}, from: 10s, every: 1s, values: 1x120 0x600}
  - {metric: errors, kind: counter, tags: {job: db}, every: 10s, values: 1x60}
  expect:
  - {at: 59s, query: avg(api_ms), value: 120}
  - {at: 1m, alert: slow, state: inactive}
  - {at: 2m, alert: slow, state: pending}
  - {at: 5m, alert: slow, state: firing, value: 240, tags: {}}
  - {at: 9m, alert: slow, state: firing, value: 160}
  - {at: 2m, alert: errors, state: firing, tags: {job: web}, value: 1}
  - {at: 2m, alert: errors, state: inactive, tags: {job: db}}
  - {at: 2m, query: "count(api_ms, 1m)", value: 60}
  - {alert: slow, events: [pending 1m40s, firing 4m40s, resolved 11m10s]}
  - {alert: errors, tags: {job: db}, events: []}
"""


def own_outcomes(tmp_path: Path, text: str) -> list[Outcome]:
    (tmp_path / "own.yaml").write_text(text)
    return list(outcomes_of(tmp_path / "own.yaml"))


def test_our_own_format_tells_states_values_and_events(tmp_path: Path) -> None:
    outcomes = own_outcomes(tmp_path, OWN)
    assert [outcome.lines() for outcome in outcomes if outcome.result != "passed"] == []
    assert len(outcomes) == 10


@pytest.mark.parametrize(
    ("right", "wrong", "expected", "got"),
    [
        ("state: pending", "state: firing", ["firing"], ["pending {} 240"]),
        ("value: 240", "value: 241", ["241"], ["240"]),
        ("value: 120", "value: 121", ["121"], ["120"]),
        ("firing 4m40s", "firing 4m41s", ["pending 1m40s", "firing 4m41s", "resolved 11m10s"],
         ["pending 1m40s", "firing 4m40s", "resolved 11m10s"]),
        ("alert: slow, state: inactive", "alert: slow, state: pending", ["pending"], ["inactive"]),
        ("tags: {job: db}, events: []", "events: []", [], ["firing 40s", "resolved 2m40s"]),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_both_sides(
    right: str, wrong: str, expected: list[str], got: list[str], tmp_path: Path
) -> None:
    assert right in OWN
    failed = [one for one in own_outcomes(tmp_path, OWN.replace(right, wrong, 1)) if one.result == "failed"]
    assert len(failed) == 1
    assert list(failed[0].expected) == expected
    assert list(failed[0].got) == got


def test_the_example_of_the_format_passes(tmp_path: Path) -> None:
    (tmp_path / "finance.yaml").write_text(
        "rules: [{alert: finance.latency_high, if: avg(finance.api_ms) > 200, for: 3m}]"
    )
    assert ownfile.__doc__ is not None
    _, _, example = ownfile.__doc__.partition("    rules: [../config/rules/finance.yaml]")
    text = "    rules: [finance.yaml]  #" + example.partition("A test without")[0]
    assert results(own_outcomes(tmp_path, textwrap.dedent(text))) == ["passed"] * 4


def test_rules_of_files_beside_and_a_test_without_tests(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{alert: high, if: depth > 5}]")
    series = "series: [{metric: depth, values: 3x9 7x9}]"
    text = f"rules: [rules.yaml]\n{series}\nexpect: [{{at: 15s, alert: high, state: firing}}]"
    assert results(own_outcomes(tmp_path, text)) == ["passed"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: [none.yaml]\nexpect: []", "own.yaml:1: no rule file none.yaml"),
        ("rules: []", "own.yaml:1: nothing is expected"),
        ("rules: []\nexpect: []", "own.yaml:1: nothing is expected"),
        ("rules: []\ntests: []", "own.yaml:1: nothing is expected"),
        ("rules: []\ntests:\n- {name: x, expect: []}", "own.yaml:3: nothing is expected"),
        ("rules: []\nexpect: [{at: 5s, alert: a, state: firing}]", "no rule is named 'a'"),
        ("rules: ['ALERT a WHEN x > 1']\nexpect:\n- {at: 5s, alert: a, state: loud}", "own.yaml:3: state: 'loud'"),
        ("rules: ['ALERT a WHEN x > 1']\nexpect:\n- {at: 5s, alert: a}", "own.yaml:3: an expectation needs"),
        ("rules: ['ALERT a WHEN x > 1']\nexpect:\n- {alert: a, state: firing}", "own.yaml:3: the key 'at'"),
        ("rules: []\nexpect:\n- {at: 5s, query: 'avg(', value: 1}", "own.yaml:3: line 1, column"),
        ("rules: []\nexpect:\n- {at: 5s, value: 1}", "own.yaml:3: an expectation has one of"),
        ("rules: ['ALERT a WHEN x > 1']\nexpect:\n- {alert: a, events: [loud 3m]}", "own.yaml:3: events: 'loud 3m'"),
        ("rules: []\nseries:\n- {metric: x, kind: set, values: 1}\nexpect: []", "own.yaml:3: kind: 'set'"),
        ("rules: []\nseries:\n- {metric: x, value: 1}\nexpect: []", "own.yaml:3: unknown key 'value'"),
        ("rules: []\nexpect:\n- {at: 5w, query: x, value: 1}", "own.yaml:3: a test lasts 31 days at most"),
        ("rules: []\nseries:\n- {metric: x, every: 1d, values: 1x40}\nexpect: []", "own.yaml:3: a test lasts 31 days"),
        ("rules: [{alert: a, if: 'avg('}]\nexpect: []", "own.yaml:1: if: line 1"),
        ("rules: []\nexpect: []\ntest: []", "own.yaml:3: unknown key 'test', did you mean 'tests'"),
    ],
)
def test_a_mistake_in_our_own_format_is_told_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        own_outcomes(tmp_path, text)
    assert problem in str(caught.value)


# ---- the command


def test_the_command_tells_what_failed_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes_for(tmp_path, alert_rule_test=[at("7m", "Down"), at("6m", "Down"), at("1m", "Old")])
    path = tmp_path / "test.yml"
    assert call(["rules", "test", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{path}: 1 passed, 1 failed, 1 unsupported\n"
    assert "Down at 7m: failed\n    expected nothing\n    got      {instance=" in err
    assert "Old at 1m: unsupported: time(): the language has no clock" in err


def test_what_is_unsupported_fails_only_when_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes_for(tmp_path, alert_rule_test=[at("6m", "Down"), at("1m", "Old")])
    assert call(["rules", "test", str(tmp_path / "test.yml"), "-v"]) == 0
    assert "Down at 6m: passed" in capsys.readouterr().out
    assert call(["rules", "test", str(tmp_path / "test.yml"), "--strict"]) == 1


def test_the_command_answers_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text(OWN.replace("value: 240", "value: 1"))
    assert call(["rules", "test", str(tmp_path / "own.yaml"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    [failed] = [one for one in answer if one["result"] == "failed"]
    assert (failed["expected"], failed["got"], failed["file"]) == (["1"], ["240"], str(tmp_path / "own.yaml"))


def test_a_file_that_cannot_be_read_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["rules", "test", str(tmp_path / "none.yml")]) == 3
    assert "cannot read the file" in capsys.readouterr().err


def test_times_are_written_as_people_do() -> None:
    assert [clock(seconds) for seconds in (0, 1, 60, 3661, 90.5)] == ["0s", "1s", "1m", "1h1m1s", "1m30.5s"]


def test_outcomes_are_counted_by_result() -> None:
    made = [Outcome("passed", "", "", ""), Outcome("failed", "", "", ""), Outcome("passed", "", "", "")]
    assert counts(made) == {"passed": 2, "failed": 1, "unsupported": 0}

"""Prometheus rule files become rule files of ours: keys, names, texts, what is written, and the command."""

import json
from pathlib import Path

import pytest
import yaml

from hms_ops import kinds
from hms_ops.alert.language.grammar import parse_condition
from hms_ops.alert.language.wording import format
from hms_ops.alert.rule import rule_from_arguments, rule_from_keys
from hms_ops.alert.rulefile import load_rules
from hms_ops.cli.main import call
from hms_ops.errors import ConfigError
from hms_ops.prometheus.durations import seconds_of
from hms_ops.prometheus.gotemplate import annotation
from hms_ops.prometheus.rulesfile import Imported, import_rules
from hms_ops.remote.export import rule_file
from hms_ops.remote.promql import Outside

FILE = """
groups:
- name: web
  interval: 30s
  rules:
  - record: job:errors:ratio
    expr: sum by (job) (rate(errors_total[5m])) / sum by (job) (rate(requests_total[5m]))
  - alert: High errors
    expr: job:errors:ratio{job="web"} > 0.05
    for: 10m
    keep_firing_for: 5m
    labels: {severity: page, team: web, owner: "{{ $labels.job }}"}
    annotations: {summary: "{{ $labels.job }} is down {really}", description: "at {{ $value | humanize }}"}
  - alert: Down
    expr: up == 0
    labels: {severity: warning}
  - alert: Down
    expr: up == 0
    for: 1h30m
    labels: {severity: critical}
  - alert: Down
    expr: absent(up{job="web"})
    labels: {severity: critical}
  - alert: Old
    expr: time() - started > 5
"""


def imported(text: str = FILE) -> list[Imported]:
    return import_rules(text, "web.yml")


def one_of(rules: str) -> Imported:
    return imported("groups: [{name: g, rules: [" + rules + "]}]")[-1]


def test_all_that_a_rule_says_becomes_a_key() -> None:
    assert imported()[1].keys == {
        "alert": "High_errors",
        "if": 'rate(errors_total{job="web"}[5m]) / rate(requests_total{job="web"}[5m]) > 0.05',
        "for": "10m",
        "keep": "5m",
        "every": "30s",
        "group_by": ["job"],
        "nodata": "ok",
        "severity": "page",
        "tags": {"team": "web"},
        "annotations": {"summary": "{job} is down {{really}}", "description": "at {value}"},
    }


def test_what_texts_lost_is_told_and_changes_no_grade() -> None:
    rule = imported()[1]
    assert rule.grade == "approximate"  # of the rates in it
    assert [note.split(":")[0] for note in rule.text_notes] == [
        "the alert 'High errors' is called High_errors here",
        "label owner",
        "annotation description",
    ]
    assert rule.exact_texts == {"summary"}


def test_a_name_that_several_alerts_have_is_made_unique() -> None:
    names = [one.rule.name for one in imported() if one.rule is not None]
    assert names == ["High_errors", "Down", "Down.critical", "Down.2"]


def test_a_thousand_alerts_of_one_name_have_a_thousand_names() -> None:
    rules = ", ".join(["{alert: 'Ist weg: Ä" + "ö" * 150 + "', expr: up}"] * 1000)
    names = [one.rule.name for one in imported("groups: [{name: g, rules: [" + rules + "]}]") if one.rule is not None]
    assert len(set(names)) == 1000
    assert max(len(name.encode()) for name in names) <= 200


def test_a_label_that_series_have_too_is_told() -> None:
    one = one_of("{alert: A, expr: 'max by (team) (max_over_time(a[1m])) > 1', labels: {team: web}}")
    assert one.text_notes == ("label team: the series' own is told here, Prometheus tells the rule's",)


def test_what_an_absent_series_would_be_called_becomes_tags() -> None:
    rule = imported()[4].rule
    assert rule is not None
    assert (rule.tags, rule.group_by) == ({"job": "web"}, ())


def test_a_recording_rule_is_read_by_its_expression_and_is_no_rule() -> None:
    assert (imported()[0].inlined, imported()[0].rule) == (True, None)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ("{record: r, expr: up, labels: {a: b}}", "recorded with labels"),
        ("{record: r, expr: up}, {record: r, expr: down}", "several times"),
        ("{record: r, expr: 'topk(1, up)'}", "no topk"),
    ],
)
def test_a_recording_rule_that_cannot_stand_for_itself_is_unsupported(rules: str, reason: str) -> None:
    one = one_of(rules)
    assert (one.inlined, one.grade) == (False, "unsupported")
    assert reason in one.notes[0].reason


def test_a_metric_that_any_rule_reads_as_a_counter_has_no_total_in_another() -> None:
    rules = imported(
        "groups: [{name: g, rules: [{alert: A, expr: hits > 5}, {alert: B, expr: 'sum(rate(hits[5m])) > 1'}]}]"
    )
    assert [one.grade for one in rules] == ["unsupported", "approximate"]
    assert "counter elsewhere" in rules[0].notes[0].reason


def test_what_the_engine_cannot_compile_is_unsupported_with_its_reason() -> None:
    one = one_of("{alert: A, expr: 'avg_over_time(up[500ms]) > 1'}")
    assert (one.rule, one.grade) == (None, "unsupported")
    assert "window" in one.notes[0].reason


def test_a_resource_of_the_operator_is_a_rule_file() -> None:
    text = "{apiVersion: v1, kind: PrometheusRule, spec: {groups: [{name: g, rules: [{alert: A, expr: up}]}]}}"
    assert [one.name for one in imported(text)] == ["A"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: []", "web.yml:1: no Prometheus rule file"),
        ("[]", "web.yml:1: no Prometheus rule file"),
        ("groups:\n- name: g\n  rules:\n  - alert: A", "web.yml:4: a rule has an expr"),
        ("groups:\n- rules:\n  - {alert: A, record: b, expr: up}", "web.yml:3: a rule has an expr"),
        ("groups:\n- rules:\n  - {alert: A, expr: up, for: 5}", "web.yml:3: expected a duration"),
        ("groups:\n- interval: soon\n  rules: []", "web.yml:2: expected a duration"),
        ("groups: [", "web.yml:2: broken YAML"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        imported(text)


# ---- texts


@pytest.mark.parametrize(
    ("template", "ours", "is_exact"),
    [
        ("plain", "plain", True),
        ("{{ $labels.job }}/{{.Labels.pod}}{{- $labels.x -}}", "{job}/{pod}{x}", True),
        ('{{ index $labels "us-state" }}', "{us-state}", False),
        ("{{ $labels.state }} {{ $labels.severity }} {{ $labels.alertname }}", "{tag.state} {severity} {name}", True),
        ("{{ $value }}", "{value}", False),
        ('{{ printf "%.1f" $value }}% of {a}', "{value}% of {{a}}", False),
        ("{{ $value | humanizePercentage }}", "{value}", False),
        ("{{ if gt $value 1.0 }}many{{ end }}", "…many…", False),
        ('{{ range query "up" }}{{ .Value }}{{ end }}', "…{value}…", False),
        ("{{/* nothing */}}a", "a", True),
        ("{{ $labels.a }", "{{{{ $labels.a }}", True),
    ],
)
def test_an_annotation_is_a_template_of_ours(template: str, ours: str, is_exact: bool) -> None:
    made = annotation(template)
    assert (made.text, made.is_exact) == (ours, is_exact)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("90s", 90), ("500ms", 0.5), ("0", 0), ("1y2w1d", 32_832_000)]
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["5", "1.5h", "m", "5 m", "-5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds_of(text)


# ---- what this engine exported

KINDS = {"api_ms": kinds.TIMER, "depth": kinds.GAUGE, "hits": kinds.COUNTER}


@pytest.mark.parametrize(
    ("keys", "ours"),
    [
        ({"if": "avg(api_ms, 5m) > 200", "for": "3m", "keep": "1m"}, {}),
        ({"if": "max(api_ms, 5m) >= 3 AND min(depth, 5m) < 7", "group_by": ["agency"], "severity": "ticket"}, {}),
        ({"if": "avg(api_ms, 5m) > 200", "recover": "< 150", "group_by": "*"}, {"recover": "avg(api_ms[5m]) < 150"}),
        ({"if": "sum(api_ms, 5m) > 9 OR count(depth, 1m) != 2", "nodata": "ok"}, {}),
        ({"if": "depth{zone='a'} > 3", "group_by": "*"}, {"if": 'last(depth{zone="a"}[5m]) > 3'}),
        ({"if": "avg(depth, 10m) OFFSET 1h > 3"}, {}),
        ({"if": "increase(hits, 5m) > 3"}, {}),
        ({"if": "rate(hits, 5m) > 3", "group_by": ["job"]}, {"if": "increase(hits[5m]) / 300 > 3"}),
        ({"if": "count(api_ms, 5m) > 3"}, {}),
        ({"if": "p99(api_ms, 5m) > 250"}, {"if": "quantile(api_ms[5m], 0.99) > 250"}),
        ({"if": "avg(api_ms, 5m) > 200", "where": "zone = 'a'"}, {"if": 'avg(api_ms{zone="a"}[5m]) > 200'}),
    ],
)
def test_an_exported_rule_comes_back_as_it_was(keys: dict[str, object], ours: dict[str, object]) -> None:
    rule, problems = rule_from_keys({"alert": "mine", "severity": "page", **keys}, "test")
    assert problems == []
    assert rule is not None
    text = rule_file([rule], Outside(kind=KINDS.__getitem__))
    [one] = import_rules(text, "exported.yml")
    assert (one.grade, one.notes) == ("exact", ())
    wanted = {"alert": "mine", "severity": "page", "nodata": "keep", **keys, **ours}
    wanted["if"] = format(parse_condition(str(wanted["if"])))
    assert one.keys == {key: value for key, value in wanted.items() if key != "where"}


def test_an_exported_rule_of_another_form_says_where_its_text_is() -> None:
    text = rule_file([rule_from_arguments("mine", {"if_": "ABSENT(depth)", "nodata": "alert"}, "test")], Outside())
    [one] = import_rules(text, "exported.yml")
    assert one.rule is None
    assert "hms_ops_rule" in one.notes[0].reason


# ---- the command


def test_import_writes_a_rule_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "web.yml"
    source.write_text(FILE)
    assert call(["rules", "import", str(source)]) == 1  # one of them is unsupported
    out, err = capsys.readouterr()
    assert err == "5 alerts: 3 exact, 1 approximate, 1 unsupported\n"
    ours = tmp_path / "ours.yaml"
    ours.write_text(out)
    rules = load_rules([ours]).rules
    assert [rule.name for rule in rules] == ["High_errors", "Down", "Down.critical", "Down.2"]
    assert rules[0].every_seconds == 30
    assert "# Old (" in out
    assert "time(): the language has no clock" in out
    assert "expr: time() - started > 5" in out


def test_import_tells_machines_each_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "web.yml"
    source.write_text("groups: [{name: g, rules: [{alert: A, expr: 'sum(api_up) < 1'}]}]")
    assert call(["rules", "import", str(source), "--interval", "15s", "--dots", "--json"]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert (answer["grade"], answer["rule"]["if"]) == ("approximate", "sum(api.up[15s]) < 1")
    assert answer["notes"][0]["node"] == "sum(api_up)"


def test_import_of_nothing_that_can_be_said_is_still_a_rule_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "web.yml"
    source.write_text("groups: [{name: g, rules: [{alert: 'A #x', expr: 'topk(1, up)\\n# why'}]}]")
    assert call(["rules", "import", str(source)]) == 1
    assert yaml.safe_load(capsys.readouterr().out) == {"rules": []}


def test_import_of_what_is_no_rule_file_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "web.yml"
    source.write_text("rules: []")
    assert call(["rules", "import", str(source)]) == 3
    assert f"{source}:1: no Prometheus rule file" in capsys.readouterr().err

"""Rule files: what they mean, and every mistake with its file and line."""

from pathlib import Path

import pytest

from hms_ops.alert.rule import Rule, rule_from_arguments
from hms_ops.alert.rulefile import RuleFile, load_rules, read_roots
from hms_ops.config import load
from hms_ops.errors import ConfigError
from hms_ops.yamlfile import load_text

SHIPPED = Path(__file__).parent.parent / "config" / "rules"
PROFILES = {
    "sms": {"url": "http://127.0.0.1:1/sms"},
    "email": {"email": {"host": "127.0.0.1", "from": "ops@agency.example", "tls": "none"}},
    "slack": {"slack": {"token": "xoxb-none"}},
}


def read(text: str) -> RuleFile:
    return read_roots([load_text(text, "r.yaml")], [])


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def only_rule(text: str) -> Rule:
    (rule,) = read(text).rules
    return rule


FOUNDING = """\
rules:
  - alert: finance.latency_high
    if: avg(finance.api_ms) > 200
    for: 3m
    notify: [sms:+1-555-0100]
"""


def test_the_founding_documents_alert_reads_as_written() -> None:
    rule = only_rule(FOUNDING)
    assert (rule.name, rule.text, rule.for_seconds) == ("finance.latency_high", "avg(finance.api_ms) > 200", 180.0)
    assert (rule.notify, rule.severity, rule.nodata) == (("sms:+1-555-0100",), "page", "keep")
    assert (rule.group_by, rule.where, rule.recover, rule.source) == ((), None, None, "r.yaml:2")


def test_one_sentence_is_the_same_rule_as_its_keys() -> None:
    keys = only_rule(
        """\
rules:
  - alert: x
    if: avg(a) > 200
    for: 3m
    keep: 1m
    recover: < 150
    where: agency = irs
    group_by: [region, agency]
    nodata: alert
    severity: ticket
    notify: ["log:", "sms:+1-555-0100"]
"""
    )
    sentence = only_rule(
        "rules:\n  - ALERT x WHEN avg(a) > 200 WHERE agency = irs GROUP BY region, agency RECOVER < 150 FOR 3m KEEP 1m"
        " NODATA alert SEVERITY ticket NOTIFY log:, sms:+1-555-0100\n"
    )
    names = set(Rule.__dataclass_fields__) - {"text", "source"}
    assert {name: getattr(keys, name) for name in names} == {name: getattr(sentence, name) for name in names}
    assert keys.looks_for_same(sentence)


def test_a_sentence_under_if_takes_its_name_from_the_key() -> None:
    rule = only_rule("rules:\n  - {alert: x, if: 'avg(a) > 1 FOR 10s', notify: log}\n")
    assert (rule.name, rule.for_seconds, rule.notify) == ("x", 10.0, ("log",))


def test_a_recover_of_its_own_need_not_borrow_the_left_side() -> None:
    borrowed = only_rule("rules:\n  - {alert: x, if: avg(a) > 200, recover: < 150}\n")
    written = only_rule("rules:\n  - {alert: x, if: avg(a) > 200, recover: avg(a) < 150}\n")
    assert borrowed.recover == written.recover


def test_group_by_star_is_one_instance_per_series() -> None:
    assert only_rule("rules:\n  - {alert: x, if: a > 1, group_by: '*'}\n").group_by == ("*",)


def test_an_anomaly_has_the_founding_documents_defaults() -> None:
    (anomaly,) = read("anomalies:\n  - {anomaly: finance.anomaly, metric: finance.api_ms}\n").anomalies
    assert (anomaly.factor, anomaly.window_seconds, anomaly.on) == (2.0, 600.0, "mean")
    assert (anomaly.min_samples, anomaly.min_difference, anomaly.ttl_seconds) == (10, 0.0, 300.0)


def test_an_action_keeps_its_template_and_input() -> None:
    (action,) = read(
        "actions:\n  - on: finance.anomaly\n    act: {template: infra.scale-db, input: {replicas: 2}}\n"
        "    cooldown: 1m\n"
    ).actions
    assert (action.on, action.template, action.input) == ("finance.anomaly", "infra.scale-db", {"replicas": 2})
    assert (action.cooldown_seconds, action.limit_per_hour, action.dry_run, action.verify_seconds) == (
        60,
        6,
        False,
        120,
    )


@pytest.mark.parametrize("text", ["", "# nothing", "rules:", "rules: []", "rules: []\nslos:\nactions:\n"])
def test_a_file_without_rules_is_no_mistake(text: str) -> None:
    assert read(text) == RuleFile()


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_rule_files_load_without_a_warning(path: Path) -> None:
    assert load_rules([path]).warnings(load({"receivers": PROFILES}).profiles(), "http://127.0.0.1:1") == []


BAD_RULES = [
    ("{alert: x, if: a > 1, fro: 3m}", "r.yaml:2: unknown key 'fro', did you mean 'for'?"),
    ("{if: a > 1}", "r.yaml:2: the key 'alert' is missing"),
    ("{alert: x}", "r.yaml:2: the key 'if' is missing"),
    ("{alert: x, if: }", "r.yaml:2: the key 'if' is missing"),
    ("{alert: x y, if: a > 1}", "r.yaml:2: alert: the name 'x y' holds blanks"),
    ('{alert: "x\\e", if: a > 1}', "r.yaml:2: alert: the name 'x\\x1b' holds blanks, control"),
    ("{alert: x, if: 5}", "r.yaml:2: if: expected text, found 5"),
    ("{alert: x, if: avg(a)}", "r.yaml:2: if: line 1, column"),
    ("{alert: x, if: agv(a) > 200}", "r.yaml:2: if: line 1, column 1: "),
    ("{alert: x, if: a > 1, for: 180}", "r.yaml:2: for: expected a duration such as"),
    ("{alert: x, if: a > 1, for: 3 parsecs}", "r.yaml:2: for: line 1, column"),
    ("{alert: x, if: a > 1, for: -3m}", "r.yaml:2: for: line 1, column 1"),
    ("{alert: x, if: a > 1, keep: true}", "r.yaml:2: keep: expected a duration"),
    ("{alert: x, if: a > 1, recover: '< '}", "r.yaml:2: recover: line 1, column 2"),
    ("{alert: x, if: a > 1, recover: '< 1 FOR 3m'}", "r.yaml:2: recover: line 1, column 5"),
    ("{alert: x, if: a > 1, where: agency =}", "r.yaml:2: where: line 1, column"),
    ("{alert: x, if: a > 1, group_by: [a, 5]}", "r.yaml:2: group_by: expected tags such as"),
    ("{alert: x, if: a > 1, group_by: [a, '*']}", "r.yaml:2: group_by: expected tags such as"),
    ("{alert: x, if: a > 1, nodata: resolve}", "r.yaml:2: nodata: 'resolve' is none of keep, ok, alert"),
    ("{alert: x, if: a > 1, notify: smss:+1}", "r.yaml:2: notify: receiver 'smss:+1' has no scheme we know; did you"),
    ("{alert: x, if: a > 1, notify: {a: b}}", "r.yaml:2: notify: expected a receiver"),
    ("{alert: x, if: a > 1, notify: [5]}", "r.yaml:2: notify: expected a receiver"),
    (
        "{alert: x, if: a > 1, notify: 'sms:$(reboot)'}",
        "r.yaml:2: notify: receiver 'sms:$(reboot)' wants a phone number",
    ),
    ("{alert: x, if: a > 1, notify: 'webhook:http://'}", "r.yaml:2: notify: receiver 'webhook:***' wants"),
    (
        "{alert: x, if: a > 1, notify: 'webhook:http://h:x/'}",
        "r.yaml:2: notify: receiver 'webhook:***' holds no",
    ),
    ("{alert: x, if: a > 1 FOR 3m, for: 4m}", "r.yaml:2: for: 'for' stands in the sentence and as a key"),
    ("{alert: x, if: a > 1 EVERY 500ms}", "r.yaml:2: if: EVERY is at least 1s"),
    ("{alert: x, if: a > 1 EVERY 1500ms}", "r.yaml:2: if: EVERY 1500ms is no whole number of seconds; 2s is the next"),
    ("{alert: x, if: a > 1, every: 1500ms}", "r.yaml:2: every: 1500ms is no whole number of seconds; 2s is the next"),
    ("a > 1", "r.yaml:2: the key 'alert' is missing: the rule needs a name"),
    ("ALERT x WHEN a >> 1", "r.yaml:2: line 1, column 17: "),
    ("5", "r.yaml:2: expected keys with values, found a number"),
    ("[a > 1]", "r.yaml:2: expected keys with values, found a list"),
]


@pytest.mark.parametrize(("rule", "expected"), BAD_RULES)
def test_a_wrong_rule_is_refused_on_its_line(rule: str, expected: str) -> None:
    (problem,) = problems_of(f"rules:\n  - {rule}\n")
    assert problem.startswith(expected)


BAD_PARTS = [
    ("anomalies", "{anomaly: x}", "r.yaml:2: the key 'metric' is missing"),
    ("anomalies", "{anomaly: x, metric: a, factor: 1}", "r.yaml:2: factor: 1 is too small: above 1 is wanted"),
    ("anomalies", "{anomaly: x, metric: a, factor: true}", "r.yaml:2: factor: expected a number, found True"),
    ("anomalies", "{anomaly: x, metric: a, window: 1s}", "r.yaml:2: window: 1s is shorter than 10s"),
    ("anomalies", "{anomaly: x, metric: a, on: min}", "r.yaml:2: on: 'min' is none of mean, max"),
    ("anomalies", "{anomaly: x, metric: a, min_samples: 1.5}", "r.yaml:2: min_samples: expected a whole number"),
    ("anomalies", "{anomaly: x, metric: a, min_difference: -1}", "r.yaml:2: min_difference: -1 is too small"),
    ("anomalies", "{anomaly: x, metric: a, mertic: b}", "r.yaml:2: unknown key 'mertic', did you mean 'metric'?"),
    ("anomalies", "x WHEN y", "r.yaml:2: expected keys with values, found text"),
    ("actions", "{on: x}", "r.yaml:2: the key 'act' is missing"),
    ("actions", "{on: x, act: scale}", "r.yaml:2: act: expected keys with values, found 'scale'"),
    ("actions", "{on: x, act: {templat: y}}", "r.yaml:2: act: the key 'template' is missing; templat: unknown key"),
    ("actions", "{on: x, act: {input: {}}}", "r.yaml:2: act: the key 'template' is missing"),
    ("actions", "{on: x, act: {command: scale db}}", "r.yaml:2: act: command: expected a program and its arguments"),
    (
        "actions",
        "{on: x, act: {template: y, timeout: 3s}}",
        "r.yaml:2: act: timeout: 'timeout' does not go with 'template'",
    ),
    ("actions", "{on: x, act: {template: y, input: 5}}", "r.yaml:2: act: input: expected keys with values, found 5"),
    ("actions", "{on: x, act: {template: y}, url: 'file:///etc'}", "r.yaml:2: url: expected http://host:port"),
    ("actions", "{on: x, act: {template: y}, limit_per_hour: 0}", "r.yaml:2: limit_per_hour: 0 is too small"),
    ("actions", "{on: x, act: {template: y}, dry_run: yes}", "r.yaml:2: dry_run: expected true or false, found 'yes'"),
]


@pytest.mark.parametrize(("section", "part", "expected"), BAD_PARTS)
def test_a_wrong_anomaly_or_action_is_refused_on_its_line(section: str, part: str, expected: str) -> None:
    (problem,) = problems_of(f"{section}:\n  - {part}\n")
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rulse: []", "r.yaml:1: unknown key 'rulse', did you mean 'rules'?"),
        ("rules: {alert: x}", "r.yaml:1: expected a list, found a mapping"),
        ("- alert: x", "r.yaml:1: expected the keys rules, anomalies and actions, found a list"),
        ("a\n", "r.yaml:1: expected the keys rules, anomalies and actions, found text 'a'"),
        ("\nslos: [{objective: 99.9}]", "r.yaml:2: the key 'slo' is missing"),
        ("rules: [", "r.yaml:2: broken YAML"),
        (
            "rules:\n  - ALERT n WHEN x > 3 NOTIFY log:",
            "r.yaml:2: a sentence that holds a colon before a blank or the end is a key to YAML; quote it whole: "
            "- 'ALERT n WHEN x > 3 NOTIFY log:'",
        ),
        (
            "rules:\n  - ALERT n WHEN x{a='b'} > 3 NOTIFY webhook: ops",
            "r.yaml:2: a sentence that holds a colon before a blank or the end is a key to YAML; quote it whole: "
            "- 'ALERT n WHEN x{a=''b''} > 3 NOTIFY webhook: ops'",
        ),
        ("rules:\n  - ALERT n WHEN x > 3 NOTIFY log:\n    for: 3m", "r.yaml:2: a sentence that holds a colon"),
    ],
)
def test_a_wrong_file_is_refused(text: str, expected: str) -> None:
    assert problems_of(text)[0].startswith(expected)


def test_an_expressions_error_shows_the_text_with_a_caret_on_the_line_of_its_key() -> None:
    (problem,) = problems_of("rules:\n  - alert: x\n    for: 3m\n    if: avg(a) > 200 200\n")
    place, text, caret = problem.split("\n")
    assert place.startswith("r.yaml:4: if: line 1, column 14: ")
    assert text[caret.index("^") :] == "200"


def test_all_problems_of_a_file_are_told_at_once() -> None:
    text = (
        "rules:\n  - {alert: x, if: a >}\n  - {alert: y, if: b > 1, fro: 1}\nactions:\n  - {on: x}\nslos: [1]\nfoo: 1\n"
    )
    assert sorted(problem.split(":")[1] for problem in problems_of(text)) == ["2", "3", "5", "6", "7"]


def test_a_name_stands_once_across_rules_anomalies_and_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("rules:\n  - ALERT x WHEN a > 1\n  - ALERT y WHEN a > 1\n")
    two.write_text("rules:\n  - ALERT x WHEN a > 1\nanomalies:\n  - {anomaly: y, metric: a}\n")
    with pytest.raises(ConfigError) as caught:
        load_rules([one, two])
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{two}:2", f"{two}:4"]
    assert f"'x' stands in {one}:2 already" in caught.value.problems[0]


def test_one_bad_file_and_none_is_loaded(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(FOUNDING)
    bad.write_text("rules:\n  - ALERT y WHEN\n")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml:1: cannot read the file(?s:.*)bad\.yaml:2: line 1"):
        load_rules([good, bad, tmp_path / "nowhere.yaml"])
    assert len(load_rules([good]).rules) == 1


@pytest.mark.parametrize(
    ("receiver", "warning"),
    [
        ("sms:+1-555-0100", "no SMS gateway is configured"),
        ("email:a@b.gov", "no mail server is configured"),
        ("slack:#ops", "no Slack account is configured"),
        ("mcp:repair#heal", "no MCP server 'repair' is configured"),
        ("webhook:pager", "no receiver 'pager' is configured"),
    ],
)
def test_a_receiver_that_is_not_served_as_written_is_a_warning(receiver: str, warning: str) -> None:
    (told,) = read(f"rules:\n  - {{alert: x, if: a > 1, notify: '{receiver}'}}\n").warnings({})
    assert told == f"r.yaml:2: {receiver}: {warning}{told.partition(warning)[2]}"
    assert told.endswith("its notifications go to the log")


def test_an_action_on_a_name_nobody_gives_is_a_warning() -> None:
    (told,) = read("actions:\n  - {on: finance.anomly, act: {template: x}}\n").warnings({}, "http://127.0.0.1:1")
    assert told.startswith("r.yaml:2: no rule or anomaly here is named 'finance.anomly'")


def test_an_action_without_a_service_is_a_warning() -> None:
    text = "rules: [{alert: x, if: a > 1}]\nactions:\n  - {on: x, act: {template: heal}%s}\n"
    told = "r.yaml:3: actions.url is not set: the action 'x -> heal' cannot run; set it"
    assert read(text % "").warnings({}) == [told]
    assert read(text % "").warnings({}, "http://127.0.0.1:1") == []
    assert read(text % ", url: 'http://127.0.0.1:1'").warnings({}) == []


def test_python_keywords_make_the_same_rule() -> None:
    arguments = {"if_": "avg(finance.api_ms) > 200", "for_": "3m", "notify": ["sms:+1-555-0100"]}
    rule = rule_from_arguments("finance.latency_high", arguments, "r.yaml:2")
    assert rule == only_rule(FOUNDING)


def test_wrong_python_keywords_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        rule_from_arguments("x", {"if_": "a >", "fro_": "3m", "notify": "nowhere"}, "engine.alert('x')")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["if", "fro", "notify"]


def test_a_proposal_for_python_is_a_keyword_python_takes() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'fro', did you mean 'for_'\?"):
        rule_from_arguments("x", {"if_": "avg(a) > 1", "fro": "3m"}, "here")

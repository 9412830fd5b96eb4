"""The linter: what it warns of, where, and that it is silent about rules that are as their author thinks."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops.alert.language.grammar import parse_condition, parse_query
from hms_ops.alert.language.lint import lint
from hms_ops.alert.language.reach import constant, line_of, places, reach_of, truth_at
from hms_ops.alert.language.tree import Arith
from hms_ops.alert.plan import no_units
from hms_ops.alert.rule import Rule, rule_from_keys, rule_from_sentence
from hms_ops.alert.rulefile import read_roots
from hms_ops.yamlfile import load_text


def rule(text: str) -> Rule:
    found, problems = rule_from_sentence(f"ALERT r WHEN {text}", "rules.yaml:7")
    assert found is not None, problems
    return found


def seen(*names: str):  # type: ignore[no-untyped-def]
    return lambda metric: metric in names


# A rule's condition and clauses, and words the one warning must hold.
WARNED = [
    ("avg(x) > 200 RECOVER < 250", "adds nothing"),
    ("avg(x) > 200 RECOVER <= 200", "adds nothing"),
    ("avg(x) > 200 RECOVER > 150", "wrong side: at 0"),
    ("avg(x) > 200 RECOVER > 250", "never resolves"),
    ("avg(x) > 200 RECOVER >= 200", "wrong side"),
    ("avg(x) < 5 RECOVER > 3", "adds nothing"),
    ("avg(x) < 5 RECOVER < 10", "wrong side: at 20"),
    ("avg(x_ms) > 0.2s RECOVER < 250ms", "adds nothing"),
    ("avg(x_ms) > 200 OR count(y) > 9 RECOVER < 250", "adds nothing"),
    ("200 < avg(x) RECOVER avg(x) > 100", "wrong side"),
    ("x BETWEEN 10 AND 20 RECOVER x NOT BETWEEN 12 AND 18", "adds nothing"),
    ("x > 200 AND x < 100", "never true, whatever x is"),
    ("x > 5 OR x <= 5", "true whatever x is"),
    ("share_gt(x, 200) > 2", "not more than 1"),
    ("share_le(x, 200) > 150%", "never true"),
    ("count(x) < 0", "never true, whatever count(x) is (not less than 0)"),
    ("count(x) >= 0", "is true whatever"),
    ("avg(disk.used_percent) > 100", "not less than 0 and not more than 100"),
    ("clamp(x, 10, 50) > 60", "never true"),
    ("NOT (abs(x) >= 0)", "never true"),
    ("y > 1 AND p99(disk.free_pct) < 0", "never true"),
    ("avg(x) = 5", "compares numbers with fractions"),
    ("last(x) = 0.1", "with fractions"),
    ("last(x_ms) != 200", "with fractions"),
    ("sum(a) / sum(b) = 1", "write BETWEEN"),
    ("x > 9 RECOVER rate(x) = 0", "rate(x) = 0 compares"),
    ("avg(x, 10s) > 5 EVERY 1m", "shorter than EVERY 1m"),
    ("ABSENT(x[10s]) EVERY 30s", "never looked at"),
    ("avg(x, 5m) > 5 FOR 30s EVERY 1m", "FOR 30s is shorter than EVERY 1m"),
    ("avg(x, 5m) > 5 KEEP 30s EVERY 1m", "KEEP 30s"),
]

FINE = [
    "avg(x) > 200",
    "avg(x) > 200 RECOVER < 150",
    "avg(x) < 5 RECOVER > 10",
    "avg(x) > 200 AND count(x) > 9 RECOVER < 150",
    "avg(x) > 200 RECOVER y > 5",
    "avg(x) > 200 RECOVER avg(x) < 150 AND y > 5",
    "avg(x) > 200 AND count(y) > 9 RECOVER < 250",
    "x BETWEEN 10 AND 20 RECOVER x NOT BETWEEN 8 AND 22",
    "x NOT BETWEEN 10 AND 20 RECOVER x BETWEEN 12 AND 18",
    "x > y RECOVER x < 0.5 * y",
    "ABSENT(x) RECOVER y > 1",
    "x IS NULL",
    "share_gt(x, 200) > 1%",
    "count(x) < 1",
    "avg(disk.used_percent) > 99.5",
    "avg(cpu_percent) > 300",
    "last(disk.writable) = 1",
    "count(x) = 0",
    "sum(x, 5m) != 0",
    "changes(x, 5m) = 0",
    "avg(x, 5m) > 5 FOR 1m EVERY 1m",
    "x > 5 EVERY 5m",
    "last(x) > 5 EVERY 5m",
    "avg(x) > 1 / 0",
    "NOT (x > 5 OR x < 1)",
    "a > 1 UNLESS b > 1",
]


@pytest.mark.parametrize(("text", "words"), WARNED, ids=[text for text, _ in WARNED])
def test_it_warns_once_with_file_and_line(text: str, words: str) -> None:
    (warning,) = lint([rule(text)])
    assert warning.startswith("rules.yaml:7: r: ")
    assert words in warning


@pytest.mark.parametrize("text", FINE)
def test_it_is_silent_about_sound_rules(text: str) -> None:
    assert lint([rule(text)]) == []


def test_a_described_unit_counts() -> None:
    given = rule("last(wait) = 5")
    assert lint([given]) == []
    assert "with fractions" in lint([given], unit=lambda metric: "ms")[0]


@pytest.mark.parametrize("text", ["avg(wait, 1m) > 200ms", "wait BETWEEN 1s AND 2s", "-wait < -200ms"])
def test_a_time_against_an_unknown_unit_is_told(text: str) -> None:
    (warning,) = lint([rule(text)], metrics=seen("wait"))
    assert "the unit of wait is not known" in warning
    assert lint([rule(text)], metrics=seen("wait"), unit=lambda metric: "ms") == []
    assert lint([rule(text)]) == [], "it may turn out to be a timer"


def test_shipped_rules_are_fine() -> None:
    folder = Path(__file__).parent.parent / "config" / "rules"
    for file in folder.glob("*.yaml"):
        assert lint(read_roots([load_text(file.read_text("utf-8"), file.name)], []).rules) == []


# ---- what only a running engine knows


def test_a_metric_nobody_has_sent_is_named() -> None:
    (warning,) = lint([rule("avg(a) > 1 AND b / c > 1")], metrics=seen("a", "b"))
    assert warning == "rules.yaml:7: r: no metric 'c' was ever seen, so this cannot fire; send it, or correct its name"


def test_who_does_not_know_metrics_warns_of_none() -> None:
    assert lint([rule("avg(a) > 1")], metrics=lambda metric: None) == []


@pytest.mark.parametrize("text", ["ABSENT(gone)", "avg(gone) IS NULL", "coalesce(gone, 0) > 1", "other.rule = 1"])
def test_a_rule_may_ask_for_what_is_not_there(text: str) -> None:
    other, _ = rule_from_sentence("ALERT other.rule WHEN here > 1", "rules.yaml:8")
    assert other is not None
    assert lint([rule(text), other], metrics=seen("here")) == []


def test_a_burn_rate_reads_the_counters_of_its_objective() -> None:
    given = rule("burn_rate(api.latency, 5m) > 14.4")
    assert lint([given], metrics=seen("api.latency.good", "api.latency.total")) == []
    assert "'api.latency.total'" in lint([given], metrics=seen("api.latency.good"))[0]


@pytest.mark.parametrize(
    ("text", "gap", "words"),
    [
        ("avg(x, 10s) > 1", 7.0, "the window 10s of x is shorter than twice its sample gap of 7 s; make it 14s"),
        ("avg(x) > 1", 45.5, "make it 91s"),
        ("avg(x) > 1 FOR 5m", 90.0, "FOR counts only while there are samples in it; make it 3m"),
        ("ABSENT(x[30s])", 30.0, "make it 1m"),
        ("avg(x / y, 10s) > 1", 6.0, "the window 10s of x"),
    ],
)
def test_a_window_holds_two_samples(text: str, gap: float, words: str) -> None:
    (warning,) = lint([rule(text)], gap_seconds={"x": gap}.get)
    assert words in warning


@pytest.mark.parametrize("text", ["avg(x, 10s) > 1", "last(x, 1s) > 1", "x[1s] > 1"])
def test_a_window_that_is_long_enough_and_a_last_value_are_fine(text: str) -> None:
    assert lint([rule(text)], gap_seconds={"x": 5.0}.get) == []


# ---- annotations


def annotated(group_by: object, text: str) -> list[str]:
    keys = {"alert": "r", "if": "x > 1", "group_by": group_by, "tags": {"team": "db"}, "annotations": {"summary": text}}
    found, problems = rule_from_keys(keys, "rules.yaml:7")
    assert found is not None, problems
    return lint([found])


def test_a_name_that_nothing_stands_for_is_named() -> None:
    (warning,) = annotated(["agency"], "{agency} of {team} has {value}, {agnecy}")
    assert "annotation 'summary' has {agnecy}" in warning


def test_with_a_group_of_all_tags_any_name_may_come() -> None:
    assert annotated("*", "{whatever}") == []


def test_a_policy_that_is_not_there_is_named_where_all_are_known() -> None:
    given = rule("x > 1 POLICY cio-pages")
    assert lint([given]) == lint([given], policies=["cio-pages"]) == []
    (warning,) = lint([given], policies=["cio-page"])
    assert warning.endswith("no policy is named 'cio-pages', so this does not escalate; did you mean `cio-page`?")


# ---- where conditions hold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 5", [False, False, True]),
        ("NOT x > 5", [True, True, False]),
        ("5 >= x", [True, True, False]),
        ("x = 5", [False, True, False]),
        ("x > 5 AND y > 1", [False, False, None]),
        ("x > 5 OR y > 1", [None, None, True]),
        ("y > 1 UNLESS x > 5", [None, None, False]),
        ("x > 2 + 3", [False, False, True]),
        ("x > 10 % 0", [None]),
        ("x IS NULL", [None]),
    ],
)
def test_a_condition_is_looked_at_between_its_constants(text: str, expected: list[bool | None]) -> None:
    condition = parse_condition(text)
    line = line_of(parse_query("x").expression, no_units)  # type: ignore[arg-type]
    assert [truth_at(condition, line, value) for value in places(line, condition)] == expected


NUMBERS = st.integers(-5, 5)
COMPARED = st.builds("x {} {}".format, st.sampled_from([">", ">=", "<", "<=", "=", "!="]), NUMBERS)
RANGES = st.builds("x {}BETWEEN {} AND {}".format, st.sampled_from(["", "NOT "]), NUMBERS, NUMBERS)
CONDITIONS = st.recursive(
    COMPARED | RANGES,
    lambda inner: (
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["AND", "OR", "UNLESS"]), inner)
        | st.builds("NOT ({})".format, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS, st.fractions(-20, 20, max_denominator=8))
def test_every_value_is_judged_as_one_of_the_places_beside_it(text: str, value: object) -> None:
    """The places are all there is to see: any value has the truth of the place at it, or of those around it."""
    condition, x = parse_condition(text), float(value)  # type: ignore[arg-type]
    line = line_of(parse_query("x").expression, no_units)  # type: ignore[arg-type]
    found = places(line, condition)
    if x in found:
        return
    between = sorted([*found, x])
    at = between.index(x)
    around = {truth_at(condition, line, place) for place in between[max(0, at - 1) : at + 2] if place != x}
    assert truth_at(condition, line, x) in around


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-5", -5.0),
        ("2 * 3 + 1", 7.0),
        ("200ms", 200.0),
        ("1 / 0", None),
        ("x", None),
        ("1 + x", None),
        ("1e150 * 1e150 * 1e9", None),
    ],
)
def test_a_constant_is_calculated(text: str, expected: float | None) -> None:
    node = parse_query(text).expression
    assert isinstance(node, Arith)
    assert constant(node, None) == expected


def test_the_reach_of_what_is_not_sure_has_no_ends() -> None:
    for text in ("x", "avg(cpu_percent)", "rate(x)", "zscore(x, 1h)", "clamp(x, y, 5)"):
        assert reach_of(parse_query(text).expression).low == float("-inf")  # type: ignore[arg-type]

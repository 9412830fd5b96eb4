"""`rules explain`: words, clauses, parts, PromQL's grade of each node, and the numbers an engine has for them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engines import feed, manual

from hms_ops.alert.language.explaining import clauses_of, parts_of, sentence_of, words_of
from hms_ops.alert.language.grammar import parse_condition, parse_statement, parse_where
from hms_ops.alert.language.phrases import phrase, tags_phrase
from hms_ops.alert.rule import Rule, rule_from_keys, rule_of
from hms_ops.cli.main import call
from hms_ops.remote.grading import grades


def rule(text: str) -> Rule:
    return rule_of(parse_statement(text), "rules.yaml:7")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("avg(a.b, 5m) > 200ms", "the average of a.b over 5m is more than 200ms"),
        ("x > 1", "the last x is more than 1"),
        ("p99.9(x) >= 2", "the percentile 99.9 of x over 1m is at least 2"),
        ("quantile(x, 0.5, 10s) < y", "the quantile 0.5 of x over 10s is less than the last y"),
        ('share_gt(x{a="b"}, 200ms) > 1%', 'the share of x{a="b"} above 200ms over 1m is more than 1%'),
        ("rate(x) BETWEEN 1 AND 2", "x a second over 1m is from 1 to 2"),
        ("max(x OFFSET 1h) NOT BETWEEN 1 AND 2", "the greatest x in 1m, 1h ago is not from 1 to 2"),
        ("avg(a / b, 5m) != 0", "the average of (the last a divided by the last b) over 5m is not 0"),
        ("(a + b) * -c = 1", "(the last a plus the last b) times (minus the last c) is 1"),
        ("abs(x) IS NOT NULL", "abs(the last x) is known"),
        ("ABSENT(x[30s])", "no sample of x came in 30s"),
        ("ANOMALY(x, factor=2, window=10m)", "x is strange (factor 2, window 600s)"),
        ("NOT a > 1", "it is not so that the last a is more than 1"),
        ("a > 1 AND b > 2", "the last a is more than 1, and the last b is more than 2"),
        ("a > 1 UNLESS (b = 2 OR c = 3)", "the last a is more than 1, unless (the last b is 2, or the last c is 3)"),
        ("burn_rate(a, 1h) > 6", "how many times faster than allowed a spent its error budget over 1h is more than 6"),
    ],
)  # fmt: skip
def test_a_condition_is_said_in_words(text: str, words: str) -> None:
    assert phrase(parse_condition(text)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = irs", "whose a is irs"),
        ("a IN (irs, ssa)", "whose a is one of irs, ssa"),
        ("a NOT IN (irs)", "whose a is none of irs"),
        ("a !~ 'x.*'", "whose a does not match x.*"),
        ("a = ''", "whose a is empty"),
        ("a = b AND NOT c = d", 'with a = "b" AND NOT c = "d"'),
    ],
)
def test_a_choice_of_series_is_said_in_words(text: str, words: str) -> None:
    assert tags_phrase(parse_where(text)) == words


def test_a_rule_is_said_in_three_sentences() -> None:
    assert words_of(rule("avg(x) > 5 RECOVER < 3 FOR 3m KEEP 1m GROUP BY host SEVERITY ticket NOTIFY log:")) == [
        "Fires when the average of x over 1m is more than 5, for 3m on end.",
        "Ends when that is false and the average of x over 1m is less than 3, for 1m on end.",
        "There is one alert for each host, of severity ticket, told to log:.",
    ]


def test_clauses_that_are_not_written_say_what_they_default_to() -> None:
    plain = {clause.word: clause for clause in clauses_of(rule("x > 1"))}
    assert all(clause.is_default and clause.meaning for clause in plain.values())
    assert len(plain) == 10
    text = "x > 1 WHERE a = b GROUP BY * RECOVER < 0 FOR 1m KEEP 1m EVERY 5s NODATA ok SEVERITY s POLICY p NOTIFY log:"
    full = clauses_of(rule(text))
    assert not any(clause.is_default or not clause.written for clause in full)
    assert {clause.word: clause.meaning for clause in full}["GROUP BY"] == "one alert for each series"


def test_the_sentence_of_a_rule_in_keys_has_all_its_keys() -> None:
    keys: dict[str, Any] = {"alert": "r", "if": "avg(x) > 5", "recover": "< 3", "for": "3m", "keep": "1m"}
    keys |= {"where": "a = b", "group_by": ["host"], "nodata": "ok", "severity": "info", "notify": ["log:"]}
    keys |= {"every": "10s", "policy": "cio"}
    made, problems = rule_from_keys(keys, "test")
    assert made is not None, problems
    again = rule_of(parse_statement(sentence_of(made)), "test")
    for name in ("name", "condition", "recover", "where", "group_by", "nodata", "severity", "notify", "policy"):
        assert getattr(again, name) == getattr(made, name)
    for name in ("for_seconds", "keep_seconds", "every_seconds"):
        assert getattr(again, name) == getattr(made, name)


def test_the_parts_of_a_rule_are_queries_with_its_selection() -> None:
    parts = parts_of(rule("avg(x) > 2 * y AND ABSENT(z) RECOVER < 1 WHERE a = b GROUP BY host"))
    behind = ' WHERE a = "b" GROUP BY host'
    assert [(part.depth, part.role, part.query.removesuffix(behind)) for part in parts] == [
        (0, "condition", "avg(x) > 2 * y AND ABSENT(z)"),
        (1, "condition", "avg(x) > 2 * y"),
        (2, "condition", "avg(x)"),
        (2, "condition", "2 * y"),
        (3, "condition", "y"),
        (1, "condition", "ABSENT(z)"),
        (0, "recover", "avg(x) < 1"),
    ]
    assert all(part.query.endswith(behind) for part in parts)


def test_a_bare_metric_is_asked_for_as_the_rule_sees_it() -> None:
    assert [part.query for part in parts_of(rule("x > 1"))] == ["x > 1", "last(x)"]


# ---- PromQL


def test_each_node_has_its_own_grade_and_reasons() -> None:
    graded = grades(parse_condition("avg(x_ms, 90s) > 1 AND stddev(y) > avg(z, 2m)"))
    assert [(one.grade, one.reasons) for one in graded] == [
        ("unsupported", ()),
        ("approximate", ()),
        ("approximate", ("a window of 90 s is made 120 s: steps sent are of 60 s",)),
        ("unsupported", ()),
        ("unsupported", ("the deviation within steps is not sent",)),
        ("exact", ()),
    ]
    assert all(bool(one.lowered.promql) == (one.grade != "unsupported") for one in graded)


# ---- the command


def explained(capsys: pytest.CaptureFixture[str], *given: str, code: int = 0) -> list[dict[str, Any]]:
    assert call(["rules", "explain", *given, "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_file_and_texts_are_explained_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {alert: a, if: avg(x) = 5, tags: {team: db}, annotations: {summary: '{value}'}}\n")
    of_file, condition, query = explained(capsys, str(path), "x > 1 FOR 1m", "avg(x) GROUP BY host")
    assert (of_file["alert"], of_file["source"], of_file["tags"]) == ("a", f"{path}:2", {"team": "db"})
    assert "hardly ever equal" in of_file["warnings"][0]
    assert condition["expression"] == "x > 1 FOR 1m"
    assert query["words"] == ["It is the average of x over 1m."]
    assert query["lowering"] == "exact"
    assert query["promql"].startswith("sum by (host)")
    assert "clauses" not in query


def test_an_engine_gives_each_part_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with manual(http="127.0.0.1:0") as engine:
        assert engine.http_address is not None
        for number in range(8):
            engine.metric("x", number, tags={"host": f"h{number}"})
        feed(engine, "y", 3.0, 1)
        url = "http://{}:{}".format(*engine.http_address)
        (found,) = explained(capsys, "avg(x) > 3 GROUP BY host", "--url", url)
        (other,) = explained(capsys, "avg(y) + avg(nowhere)", "--url", url)
        assert call(["rules", "explain", "avg(x) > 3 GROUP BY host", "--url", url]) == 0
        shown = capsys.readouterr().out
    whole, average = found["parts"]
    assert (whole["count"], [one["value"] for one in whole["values"]]) == (8, [1.0] * 4 + [0.0] * 4)
    assert average["values"][0] == {"tags": {"host": "h7"}, "value": 7.0}
    assert [part.get("problem", "")[:22] for part in other["parts"]] == [
        "no metric 'nowhere' ha",
        "",
        "no metric 'nowhere' ha",
    ]
    assert other["parts"][1]["values"] == [{"tags": {}, "value": 3.0}]
    assert "= 7   host=h7" in shown
    assert "and 3 more" in shown


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ("agv(x) > 1", 2, "did you mean `avg`"),
        ("avg(x) +", 2, "column 9"),
        ("missing.yaml", 3, "missing.yaml"),
    ],
)
def test_what_cannot_be_read_is_said(given: str, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["rules", "explain", given]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quantile(a, 2) > 1", "a quantile's rank is from 0 to 1"),
        ("quantile(a, 2)", "a quantile's rank is from 0 to 1"),
        ("a > 1 EVERY 1500ms", "EVERY 1500ms is no whole number of seconds"),
    ],
)
def test_what_check_config_refuses_is_not_explained(
    text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["rules", "explain", text]) != 0
    assert problem in capsys.readouterr().err

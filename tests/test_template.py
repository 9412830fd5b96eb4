"""Templates: what is put in, what stays, and that nothing is evaluated."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.alert.notification import Alert, Notification
from hms_ops.alert.template import (
    FACTS,
    MESSAGE_FACTS,
    TEXT_CHARS_MAX,
    VALUE_CHARS_MAX,
    annotations_of,
    facts_of,
    fill,
    message_values,
    names_in,
    render,
    render_message,
    rfc3339,
    unknown_names,
)

ALERT = Alert(
    "finance.latency_high",
    "firing",
    215.43219,
    {"agency": "irs", "state": "ohio", "host-name": "a.b"},
    since=1_700_000_000.0,
    severity="page",
    episode=1_700_000_180,
    reason="told so",
    rule_text="avg(finance.api_ms) > 200",
    policy="governance",
    rule_tags={"team": "finance", "agency": "nobody"},
    annotations={"summary": "{agency} answers in {value} ms", "runbook": "https://wiki/{team}"},
)

FILLED = [
    ("", ""),
    ("plain", "plain"),
    ("{value}", "215.432"),
    ("{name} {state} {severity}", "finance.latency_high firing page"),
    ("{since}", "2023-11-14T22:13:20.000Z"),
    ("{until}|{reason}", "|told so"),
    ("{rule} {group}", "avg(finance.api_ms) > 200 (agency=irs, host-name=a.b, state=ohio)"),
    ("{episode} {policy}", "1700000180 governance"),
    ("{agency} of {team}", "irs of finance"),
    ("{host-name}", "a.b"),
    ("{tag.state} is {state}", "ohio is firing"),
    ("{{value}}", "{value}"),
    ("{{{value}}}", "{215.432}"),
    ("{{", "{"),
    ("}}", "}"),
    ("{", "{"),
    ("}", "}"),
    ("{}", "{}"),
    ("{ value }", "{ value }"),
    ("{Value}", "{Value}"),
    ("{nobody}", "{nobody}"),
    ("{value.__class__}", "{value.__class__}"),
    ("{value!r} {value:>9} {0} {agency[0]}", "{value!r} {value:>9} {0} {agency[0]}"),
    ("%(value)s ${value} {{ $value }}", "%(value)s $215.432 { $value }"),
    ("two\nlines {agency}", "two\nlines irs"),
]


@pytest.mark.parametrize(("text", "expected"), FILLED)
def test_names_are_replaced_and_everything_else_stays(text: str, expected: str) -> None:
    assert render(text, ALERT) == expected


def test_what_a_tag_contains_is_not_looked_at_again() -> None:
    sly = replace(ALERT, tags={"a": "{b} {value} {{", "b": "secret"})
    assert render("{a}", sly) == "{b} {value} {{"


def test_control_characters_of_strangers_are_escaped() -> None:
    assert render("{a}", replace(ALERT, tags={"a": "x\r\nBcc: all\x1b[2J"})) == "x\\x0d\\x0aBcc: all\\x1b[2J"


def test_an_annotation_is_fit_to_print_and_keeps_its_lines() -> None:
    sly = replace(ALERT, annotations={"summary": "two\n\tlines \u202e{agency}\x1b[2J"})
    assert annotations_of(sly) == {"summary": "two\n    lines \\u202eirs\\x1b[2J"}


def test_the_receiver_is_told_without_its_secrets() -> None:
    notification = Notification((ALERT,), "webhook:http://u:SECRET@h/x?t=SECRET", "k")
    assert render_message("{receiver}", notification) == "webhook:http://h/x?***"


def test_long_values_and_texts_are_cut_and_show_it() -> None:
    long = replace(ALERT, tags={"a": "x" * 100_000})
    assert render("{a}", long) == "x" * (VALUE_CHARS_MAX - 1) + "…"
    assert render("{a}" * 1000, long).endswith("…")
    assert len(render("{a}" * 1000, long)) == TEXT_CHARS_MAX
    assert len(render("y" * 1_000_000, long)) == TEXT_CHARS_MAX


def test_an_unknown_value_and_an_impossible_time_are_no_errors() -> None:
    odd = replace(ALERT, value=math.nan, since=math.inf, until=1e300)
    assert render("{value}|{since}|{until}", odd) == "unknown||"
    assert rfc3339(-1e18) == ""


def test_annotations_are_filled_in_for_each_alert() -> None:
    assert annotations_of(ALERT) == {"summary": "irs answers in 215.432 ms", "runbook": "https://wiki/finance"}
    assert annotations_of(replace(ALERT, annotations={})) == {}


def test_a_message_tells_of_all_its_alerts() -> None:
    other = replace(ALERT, state="resolved", tags={"agency": "ssa"})
    notification = Notification((ALERT, other), "slack:#ops", "k", left_out=3, why="new in group", note="late")
    text = render_message("{count}: {firing} firing, {resolved} not, {left_out} more, {agency}, {why}", notification)
    assert text == "5: 1 firing, 1 not, 3 more, irs, new in group"
    assert render_message("{note} {receiver} {state}", notification) == "late slack:#ops firing"
    assert render_message("{summary}", notification).startswith("FIRING finance.latency_high: 1 firing, 1 resolved")


def test_the_tables_of_names_are_those_that_are_filled_in() -> None:
    assert tuple(facts_of(ALERT)) == FACTS
    assert set(MESSAGE_FACTS) <= set(message_values(Notification((ALERT,), "log:", "k")))


def test_a_linter_learns_the_names_nothing_is_put_in_for() -> None:
    text = "{value} {valu} {agency} {tag.state} {tag.no} {{x}} {valu}"
    assert names_in(text) == ["value", "valu", "agency", "tag.state", "tag.no"]
    assert unknown_names(text, ["agency", "state"]) == ["valu", "tag.no"]
    assert unknown_names("{count}", []) == ["count"]
    assert unknown_names("{count}", [], (*FACTS, *MESSAGE_FACTS)) == []


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_any_text_and_any_values_give_a_bounded_text(text: str, values: dict[str, str]) -> None:
    assert len(fill(text, values)) <= TEXT_CHARS_MAX


@given(st.text(alphabet=st.characters(exclude_characters="{}"), max_size=1000))
def test_a_text_without_braces_stays_as_it_is(text: str) -> None:
    assert fill(text, {"x": "y"}) == text


@given(st.text(max_size=500))
def test_doubled_braces_give_the_text_itself(text: str) -> None:
    assert fill(text.replace("{", "{{").replace("}", "}}"), {"x": "y"}) == text

"""Escalation: who is told next while nobody answers, what stops it, and what begins it again."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dispatching import START, Desk, alert, brief

from hms_ops.alert.dispatch.acknowledgement import Ack, Unack
from hms_ops.alert.dispatch.escalation import Escalation, Policy, due_at, paused, policy_from_keys, resumed, skipped
from hms_ops.alert.dispatch.matching import parse_matchers
from hms_ops.alert.dispatch.routing import Routing
from hms_ops.alert.dispatch.silence import AddSilence, EndSilence, new_silence
from hms_ops.alert.notification import Alert
from hms_ops.alert.rulefile import load_rules

ONE, TWO, CIO, LAST = "sms:+1001", "sms:+1002", "email:cio@agency.example", "sms:+1009"
LEVELS = [
    {"after": "0s", "notify": [ONE]},
    {"after": "15m", "notify": [TWO]},
    {"after": "1h", "notify": [CIO], "until": "resolve"},
]
MINUTE = 60.0
PAGE = alert()


def policy(**more: Any) -> Policy:
    given = {"policy": "p", "severity": "page", "levels": LEVELS, **more}
    made, problems = policy_from_keys(given, "test:1")
    assert problems == []
    assert made is not None
    return made


def desk_of(*policies: Policy) -> Desk:
    return Desk(Routing(policies=policies))


def levels(desk: Desk) -> list[tuple[float, int, str]]:
    """(minutes, level, receiver) of what the policy told."""
    told = [one for one in desk.told if one.why == "escalation"]
    return [((one.created - START) / MINUTE, one.level, one.receiver) for one in told]


def ended(one: Alert) -> Alert:
    return replace(one, state="resolved")


def test_levels_are_told_in_their_time_while_nobody_answers() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (15, 2, TWO), (60, 3, CIO)]
    assert [each["reason"] for each in desk.dispatcher.explain("db.slow") if each["receiver"] == CIO] == [
        "escalation level 3"
    ]


def test_who_has_a_policy_alone_is_told_by_it_alone() -> None:
    desk, page = desk_of(policy(levels=LEVELS[1:2])), alert(notify=())
    desk.at(0, page)
    desk.at(MINUTE, page)  # the same episode once more starts nothing anew
    desk.restart()
    desk.step()
    desk.at(6 * 3600)
    assert [(levels(desk)[0]), len(desk.told)] == [(15, 1, TWO), 1]
    desk.at(7 * 3600, ended(page))
    assert brief(desk.told[1:]) == [(TWO, "resolved", "resolved")]
    desk.at(8 * 3600)
    assert desk.tables["members"] == {}


def test_who_names_a_policy_that_is_not_there_is_told_by_the_log() -> None:
    assert brief(desk_of(policy()).at(0, alert(notify=(), policy="nosuch"))) == [("log:", "firing", "first")]


def test_a_policy_that_is_taken_away_leaves_the_log() -> None:
    desk = desk_of(policy(levels=LEVELS[1:2]))
    desk.at(0, alert(notify=()))
    desk.dispatcher.replace(Routing())
    assert brief(desk.at(1)) == [("log:", "firing", "first")]


def test_rounds_and_the_last_resort_follow_the_last_level() -> None:
    desk = desk_of(policy(levels=LEVELS[:2], repeat=1, repeat_after="5m", last_resort=LAST))
    desk.at(0, PAGE)
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (15, 2, TWO), (20, 1, ONE), (35, 2, TWO), (40, 3, LAST)]


def test_an_acknowledgement_stops_all_levels_but_those_until_resolve() -> None:
    desk = desk_of(policy(repeat=1))
    desk.at(0, PAGE)
    desk.at(10 * MINUTE, commands=[Ack("db.slow", "ann")])
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (60, 3, CIO), (125, 3, CIO)]


def test_an_acknowledgement_cancels_what_the_levels_have_waiting() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    waiting = [one.id for one in desk.at(20 * MINUTE) + desk.told[:2]]
    desk.at(21 * MINUTE, commands=[Ack("db.slow", "ann")])
    assert sorted(desk.cancelled) == sorted(waiting)


def test_an_acknowledgement_does_not_cancel_what_is_until_resolve() -> None:
    desk = desk_of(policy(levels=[LEVELS[2] | {"after": "1m"}]))
    desk.at(0, PAGE)
    desk.at(2 * MINUTE)
    desk.at(3 * MINUTE, commands=[Ack("db.slow", "ann")])
    assert desk.cancelled == [desk.told[0].id]


def test_an_end_cancels_the_levels_and_not_the_page_and_is_told_to_all() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    desk.at(20 * MINUTE)
    page, *escalations = desk.told
    told = desk.at(21 * MINUTE, ended(PAGE))
    assert page.why == "first"
    assert sorted(desk.cancelled) == sorted(one.id for one in escalations)
    assert sorted(brief(told)) == sorted((one, "resolved", "resolved") for one in ("sms:+1111", ONE, TWO))
    desk.at(5 * 3600)
    assert len(levels(desk)) == 2


def test_an_acknowledgement_that_runs_out_starts_it_again() -> None:
    desk = desk_of(policy(ack_timeout="30m"))
    desk.at(0, PAGE)
    desk.at(10 * MINUTE, commands=[Ack("db.slow", "ann")])
    desk.at(42 * MINUTE)
    assert levels(desk) == [(0, 1, ONE), (40, 1, ONE)]
    assert desk.dispatcher.acks() == []
    assert [one.why for one in desk.told if one.receiver == "sms:+1111"] == ["first", "repeat"]
    assert "released: the acknowledgement of ann has timed out" in desk.reasons()
    desk.at(60 * MINUTE)
    assert levels(desk)[2:] == [(55, 2, TWO)]


def test_an_acknowledgement_taken_back_starts_it_again() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    desk.at(10 * MINUTE, commands=[Ack("db.slow", "ann")])
    desk.at(50 * MINUTE, commands=[Unack("db.slow", "ann")])
    desk.at(66 * MINUTE)
    assert levels(desk) == [(0, 1, ONE), (50, 1, ONE), (65, 2, TWO)]


def test_a_receiver_of_the_rule_is_not_told_twice_at_once_and_hears_of_the_end_once() -> None:
    desk = desk_of(policy(levels=[{"notify": ["sms:+1111"]}, {"after": "5m", "notify": ["sms:+1111"]}]))
    assert brief(desk.at(0, PAGE)) == [("sms:+1111", "firing", "first")]
    assert brief(desk.at(6 * MINUTE)) == [("sms:+1111", "firing", "escalation")]
    assert brief(desk.at(7 * MINUTE, ended(PAGE))) == [("sms:+1111", "resolved", "resolved")]


def test_a_thousand_alerts_of_a_policy_are_one_notification_a_level() -> None:
    desk = desk_of(policy())
    desk.at(0, *(alert(tags={"host": str(n)}) for n in range(1000)))
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (15, 2, TWO), (60, 3, CIO)]
    assert {len(one.alerts) + one.left_out for one in desk.told} == {1000}


@pytest.mark.parametrize("is_ended_by_hand", [False, True])
def test_a_silence_makes_it_stand_still_and_go_on(is_ended_by_hand: bool) -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    one = new_silence(parse_matchers("alertname=db.slow"), now=START + 600, seconds=1800, who="ann")
    desk.at(10 * MINUTE, commands=[AddSilence(one)])
    assert desk.dispatcher.standings(START + 600)[PAGE.key]["silenced_by"] == one.id
    if is_ended_by_hand:
        desk.at(30 * MINUTE, commands=[EndSilence(one.id, "ann")])
    end = 30 if is_ended_by_hand else 40
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (end, 2, TWO), (end + 45, 3, CIO)]  # level 2 was due at 15


def test_an_engine_that_was_away_tells_one_level_and_keeps_the_distance_of_the_next() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    desk.now = START + 120 * MINUTE
    desk.restart()
    desk.step()
    assert levels(desk) == [(0, 1, ONE), (120, 2, TWO)]
    desk.at(170 * MINUTE)
    assert levels(desk)[2:] == [(165, 3, CIO)]


@pytest.mark.parametrize(
    ("fired", "expected"),
    [
        (alert(severity="page"), [ONE]),
        (alert(severity="ticket"), []),
        (alert(severity="ticket", policy="p"), [ONE]),
        (alert(severity="page", policy="named"), [TWO]),
        (alert(severity="page", policy="gone"), []),
    ],
)
def test_a_policy_is_chosen_by_name_or_by_what_it_matches(fired: Alert, expected: list[str]) -> None:
    named = policy(policy="named", severity=None, levels=[{"notify": TWO}])
    desk = desk_of(named, policy(levels=[{"notify": ONE}]))
    desk.at(0, fired)
    assert [receiver for _, _, receiver in levels(desk)] == expected


def test_a_policy_that_is_not_there_is_said() -> None:
    desk = desk_of()
    desk.at(0, alert(policy="gone"))
    assert "escalation: no policy is named 'gone'" in desk.reasons()


def test_matchers_and_severity_must_both_hold() -> None:
    one = policy(match={"sla": "congressional"})
    assert one.is_for({"sla": "congressional", "severity": "page"})
    assert not one.is_for({"sla": "congressional", "severity": "ticket"})
    assert not one.is_for({"severity": "page"})
    assert not policy(severity=None).is_for({"severity": "page"})


def test_who_is_next_is_shown_with_the_alert() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    standing = desk.dispatcher.standings(START)[PAGE.key]
    assert standing["next_escalation"] == {"policy": "p", "level": 2, "at": START + 900, "notify": [TWO]}
    desk.at(60, commands=[Ack("db.slow", "ann", "looking", START + 60)])
    standing = desk.dispatcher.standings(START + 60)[PAGE.key]
    assert standing["acknowledged"] == {"who": "ann", "comment": "looking", "at": START + 60, "until": None}
    assert standing["next_escalation"]["level"] == 3


def test_policies_that_are_new_begin_and_those_that_are_gone_end() -> None:
    desk = desk_of(policy())
    desk.at(0, PAGE)
    desk.dispatcher.replace(Routing())
    desk.at(30 * MINUTE)
    assert levels(desk) == [(0, 1, ONE)]
    desk.dispatcher.replace(Routing(policies=(policy(policy="new"),)))
    desk.at(31 * MINUTE)
    desk.at(50 * MINUTE)
    assert [level for _, level, _ in levels(desk)] == [1, 1, 2]


def test_congressional_sla_breaches_page_the_cio_as_the_file_has_it() -> None:
    file = load_rules([Path(__file__).parent.parent / "config" / "rules" / "governance.yaml"])
    rule = file.rules[0]
    fired = alert(rule.name, {"agency": "irs"}, severity=rule.severity, rule_tags=rule.tags, notify=rule.notify)
    desk = Desk(file.routing)
    desk.at(0, fired)
    assert sorted(brief(desk.told)) == [
        ("slack:#congressional", "firing", "first"),
        ("sms:+1-555-0100", "firing", "escalation"),
    ]
    desk.at(20 * MINUTE, commands=[Ack(rule.name, "ann")])
    desk.at(130 * MINUTE)
    assert sorted(levels(desk)) == [
        (0, 1, "sms:+1-555-0100"),
        (15, 2, "email:operations@agency.example"),
        (15, 2, "sms:+1-555-0101"),
        (60, 3, "email:cio@agency.example"),
        (60, 3, "sms:+1-555-0110"),
    ]
    desk.at(141 * MINUTE)
    assert levels(desk)[-1] == (140, 1, "sms:+1-555-0100")  # the acknowledgement is two hours old


def test_an_acknowledged_breach_reaches_the_cio_all_the_same() -> None:
    desk = desk_of(policy(ack_timeout="8h"))
    desk.at(0, PAGE)
    desk.at(MINUTE, commands=[Ack("db.slow", "ann")])
    desk.at(3 * 3600)
    assert levels(desk) == [(0, 1, ONE), (60, 3, CIO)]


def test_the_arithmetic_of_standing_still() -> None:
    made = policy()
    begun = Escalation("p", 1000.0, next=1)
    assert due_at(made, begun) == 1900.0
    assert due_at(made, paused(begun, 1900.0)) == math.inf
    assert due_at(made, resumed(paused(begun, 1900.0), 5000.0)) == 5000.0
    assert resumed(begun, 5000.0) == begun
    assert paused(paused(begun, 1900.0), 2000.0) == paused(begun, 1900.0)
    assert skipped(made, begun, True).next == 2
    assert skipped(made, begun, False) == begun
    assert due_at(made, begun._replace(next=3)) == math.inf


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"levels": []}, "levels"),
        ({"levels": [{"after": "5m"}]}, "levels"),
        ({"levels": [{"notify": []}]}, "levels"),
        ({"levels": [{"notify": "log:", "until": "never"}]}, "levels"),
        ({"levels": [{"notify": "log:", "after": "5m"}, {"notify": "log:"}]}, "levels"),
        ({"levels": [{"notify": "log:"}] * 21}, "levels"),
        ({"levels": LEVELS, "repeat": 101}, "repeat"),
        ({"levels": LEVELS, "repeat": -1}, "repeat"),
        ({"levels": LEVELS, "ack_timeout": "0s"}, "ack_timeout"),
        ({"levels": LEVELS, "last_resort": "pigeon:x"}, "last_resort"),
        ({"levels": LEVELS, "match": "nothing"}, "match"),
        ({"levels": LEVELS, "lvels": 1}, "lvels"),
        ({}, ""),
    ],
)
def test_a_policy_that_is_wrong_names_its_key(given: dict[str, Any], key: str) -> None:
    made, problems = policy_from_keys({"policy": "p", **given}, "test:1")
    assert made is None
    assert {problem.key for problem in problems} == {key}

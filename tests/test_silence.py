"""Silences, mute times and inhibitions: what is held back, why, and that it is told when nothing holds it."""

import time
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.dispatching import START, Desk, alert, brief

from hms_ops.alert.dispatch.inhibition import Inhibition, inhibition_from_keys
from hms_ops.alert.dispatch.matching import equal_to, parse_matchers, read_match
from hms_ops.alert.dispatch.mutetime import MuteTime, mute_time_from_keys
from hms_ops.alert.dispatch.routing import Routing, route_from_keys
from hms_ops.alert.dispatch.silence import (
    REMEMBERED_SECONDS,
    SILENCE_SECONDS_MAX,
    SILENCES_MAX,
    AddSilence,
    EndSilence,
    Silence,
    new_silence,
    of_alert,
    silence_of_record,
    silence_record,
)
from hms_ops.alert.notification import Alert

PAGE = alert()
NEW_YORK = ZoneInfo("America/New_York")


def silence(text: str = "alertname=db.slow", seconds: float = 600, now: float = START, **more: Any) -> AddSilence:
    return AddSilence(new_silence(parse_matchers(text), now=now, seconds=seconds, who="ann", **more))


def ended(one: Alert) -> Alert:
    return replace(one, state="resolved")


def mute_time(**given: Any) -> MuteTime:
    made, problems = mute_time_from_keys({"mute_time": "m", **given}, "test:1")
    assert problems == []
    assert made is not None
    return made


def local(text: str, zone: ZoneInfo = NEW_YORK, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


# ---- matchers


@pytest.mark.parametrize(
    ("given", "accepted", "refused"),
    [
        ("alertname=db.slow", {"alertname": "db.slow"}, {"alertname": "db.slower"}),
        ('{alertname=~"db\\\\..*", zone!=east}', {"alertname": "db.x"}, {"alertname": "db.x", "zone": "east"}),
        ("severity!~'page|ticket'", {"severity": "info"}, {"severity": "page"}),
        ({"agency": "irs", "n": 5, "on": True}, {"agency": "irs", "n": "5", "on": "true"}, {"agency": "irs"}),
        (["a=b", "c=d"], {"a": "b", "c": "d"}, {"a": "b"}),
        ('a=""', {}, {"a": "b"}),
        ('a="x, y=z"', {"a": "x, y=z"}, {"a": "x"}),
    ],
)
def test_matchers_in_all_their_ways(given: Any, accepted: dict[str, str], refused: dict[str, str]) -> None:
    matchers = read_match(given)
    assert matchers.accept(accepted)
    assert not matchers.accept(refused)
    assert parse_matchers(matchers.text) == matchers


@pytest.mark.parametrize("given", ["", "{}", {}, [], "a", "a=", "a=b c", 'a=~"("', {"a": []}, 5, [5]])
def test_what_is_no_matcher_says_so(given: Any) -> None:
    with pytest.raises(Exception, match=r"match|pattern|expected|write"):
        read_match(given)


# ---- silences


def test_a_silenced_alert_is_told_when_the_silence_ends_by_itself() -> None:
    desk = Desk()
    desk.at(0, commands=[silence()])
    assert desk.at(10, PAGE) == []
    (only,) = desk.dispatcher.silences(START + 10)
    assert f"held: silenced by {only.id}" in desk.reasons()
    assert desk.dispatcher.standings(START + 10)[PAGE.key]["silenced_by"] == only.id
    assert [(one.created - START, one.why) for one in desk.at(1000)] == [(600, "first")]


def test_silences_that_end_together_are_one_look_at_what_is_held() -> None:
    desk, held = Desk(), [alert(tags={"n": str(n)}) for n in range(2000)]
    others = [silence(f"alertname=m{n}") for n in range(300)]
    desk.at(0, alert("m7"), commands=[silence(seconds=7200), *others])
    desk.at(10, *held)
    began = time.process_time()
    assert brief(desk.at(601)) == [("sms:+1111", "firing", "first")]
    assert time.process_time() - began < 1.0  # 0.1 s; a look for each took 4
    assert desk.dispatcher.counters()["held"] == len(held)


def test_a_silence_that_is_ended_by_hand_tells_at_once() -> None:
    desk = Desk()
    add = silence()
    desk.at(0, PAGE, commands=[add])
    assert brief(desk.at(60, commands=[EndSilence(add.silence.id, "bob")])) == [("sms:+1111", "firing", "first")]
    (only,) = desk.dispatcher.silences(START + 60)
    assert (only.ended_by, only.state(START + 60)) == ("bob", "ended")
    assert desk.at(700) == []


def test_what_was_told_before_a_silence_is_told_again_after_it() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[silence(now=START + 60)])
    assert [(one.created - START, one.why) for one in desk.at(2000)] == [(660, "repeat")]


def test_the_end_of_what_was_told_is_told_in_spite_of_a_silence() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[silence(now=START + 60)])
    assert brief(desk.at(90, ended(PAGE))) == [("sms:+1111", "resolved", "resolved")]
    assert desk.at(2000) == []


def test_what_was_silenced_from_begin_to_end_was_never_told() -> None:
    desk = Desk()
    desk.at(0, commands=[silence()])
    desk.at(10, PAGE)
    desk.at(20, ended(PAGE))
    assert desk.at(2000) == []
    assert desk.told == []


def test_a_silence_may_begin_later() -> None:
    desk = Desk()
    desk.at(0, commands=[silence(starts=START + 100)])
    assert len(desk.at(10, PAGE)) == 1
    desk.at(20, ended(PAGE))
    assert desk.at(150, replace(PAGE, episode=2)) == []
    assert [one.created - START for one in desk.at(2000)] == [700]


def test_a_silence_holds_only_what_it_matches() -> None:
    desk = Desk()
    desk.at(0, commands=[silence('agency=~"ir.", severity=page')])
    irs, ssa = alert(tags={"agency": "irs"}), alert("other", tags={"agency": "ssa"})
    assert [each.name for one in desk.at(10, irs, ssa) for each in one.alerts] == ["other"]
    tagged = alert("third", rule_tags={"agency": "irs"})  # the rule's tags count too
    assert desk.at(20, tagged) == []


def test_silences_are_forgotten_a_week_after_their_end() -> None:
    desk = Desk()
    desk.at(0, commands=[silence()])
    desk.at(REMEMBERED_SECONDS)
    assert len(desk.tables["silences"]) == 1
    desk.at(REMEMBERED_SECONDS + 601)
    assert desk.tables["silences"] == {}


def test_silences_beyond_the_bound_take_the_place_of_ended_ones_or_are_refused() -> None:
    desk = Desk()
    desk.at(0, commands=[silence(f"a=x{n}", seconds=10 if n == 7 else 6000) for n in range(SILENCES_MAX)])
    desk.at(1, commands=[silence("a=refused")])
    assert desk.dispatcher.counters()["silences_refused"] == 1
    desk.at(20, commands=[silence("a=taken", now=START + 20)])
    texts = {one.matchers.text for one in desk.dispatcher.silences(desk.now)}
    assert (len(texts), '{a="taken"}' in texts, '{a="x7"}' in texts) == (SILENCES_MAX, True, False)
    assert len(desk.tables["silences"]) == SILENCES_MAX


@pytest.mark.parametrize("seconds", [0, -1, SILENCE_SECONDS_MAX + 1, float("nan")])
def test_a_silence_has_a_sensible_length(seconds: float) -> None:
    with pytest.raises(ValueError, match="lasts up to 366 days"):
        silence(seconds=seconds)


@pytest.mark.parametrize("text", ["", "agency!=irs", 'agency=~".*"', 'agency="", zone!~"a|b"'])
def test_a_silence_of_everything_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="everything"):
        new_silence(parse_matchers(text), now=START, seconds=60, who="ann")


def test_a_silence_may_exclude_where_it_also_names() -> None:
    assert new_silence(parse_matchers("alertname=db.slow, agency!=irs"), now=START, seconds=60, who="ann").matchers


def test_the_silences_of_an_alert_are_those_that_name_it() -> None:
    named, tagged, other = (
        one.silence for one in (silence(), silence("alertname=db.slow, agency=irs"), silence("agency=irs"))
    )
    assert of_alert([named, tagged, other], "db.slow", None, START) == [named, tagged]
    assert of_alert([named, tagged, other], "db.slow", {"agency": "ssa"}, START) == [named]
    assert of_alert([named], "db.slow", None, START + 600) == []


def test_a_silence_survives_its_record() -> None:
    made: Silence = silence('a=~"x.*", b!="y"', comment="maintenance").silence
    assert silence_of_record(silence_record(made)) == made


# ---- mute times


@pytest.mark.parametrize(
    ("weekly", "muted", "not_muted"),
    [
        ("mon-fri 22:00-06:00", ["2026-11-27 22:00", "2026-11-28 05:59"], ["2026-11-28 06:00", "2026-11-28 22:30"]),
        ("sat-sun", ["2026-11-28 00:00", "2026-11-29 23:59"], ["2026-11-27 23:59", "2026-11-30 00:00"]),
        ("sat,mon 12:00-24:00", ["2026-11-28 12:00", "2026-11-30 23:59"], ["2026-11-28 11:59", "2026-11-29 13:00"]),
        ("fri-mon 01:00-02:00", ["2026-11-29 01:30", "2026-11-30 01:00"], ["2026-12-01 01:30", "2026-11-29 02:00"]),
        ("01:00-02:00", ["2026-11-25 01:00"], ["2026-11-25 02:00"]),
    ],
)
def test_weekly_ranges_on_the_clock_of_their_zone(weekly: str, muted: list[str], not_muted: list[str]) -> None:
    made = mute_time(zone="America/New_York", weekly=weekly)
    assert [made.is_muted(local(text)) for text in muted] == [True] * len(muted)
    assert [made.is_muted(local(text)) for text in not_muted] == [False] * len(not_muted)


# In 2026 New York's clocks go on at 02:00 on 8 March and back at 02:00 on 1 November.
@pytest.mark.parametrize(
    ("weekly", "now", "is_muted", "changes"),
    [
        ("01:00-02:30", local("2026-03-08 01:30"), True, local("2026-03-08 03:00")),  # 02:30 does not come
        ("02:15-02:45", local("2026-03-08 01:30"), False, local("2026-03-09 02:15")),  # nor does the range
        ("01:00-01:30", local("2026-11-01 00:30"), False, local("2026-11-01 01:00", fold=0)),
        ("01:00-01:30", local("2026-11-01 01:10"), True, local("2026-11-01 01:30", fold=0)),
        ("01:00-01:30", local("2026-11-01 01:40"), False, local("2026-11-01 01:00", fold=1)),  # once more
        ("22:00-06:00", local("2026-10-31 23:00"), True, local("2026-11-01 06:00")),  # nine hours long
    ],
)
def test_ranges_follow_the_clock_when_it_is_set(weekly: str, now: float, is_muted: bool, changes: float) -> None:
    made = mute_time(zone="America/New_York", weekly=weekly)
    assert made.is_muted(now) is is_muted
    assert made.next_change(now) == changes
    assert made.is_muted(changes) is not is_muted
    assert made.is_muted(changes - 1) is is_muted


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("weekly", [["mon-fri 22:10-06:05", "sat-sun"], ["02:00-02:30", "sun 00:00-00:01"]])
def test_the_next_change_is_the_first_minute_that_differs(zone: str, weekly: list[str]) -> None:
    made = mute_time(zone=zone, weekly=weekly)
    for begin in (local("2026-03-27 12:00"), local("2026-10-30 12:00"), local("2026-04-03 09:00"), START):
        now = begin - begin % 60
        for _ in range(8):
            expected = now + 60
            while made.is_muted(expected) == made.is_muted(now):
                expected += 60
            assert made.next_change(now) == expected
            now = expected


def test_a_maintenance_window_is_muted_from_begin_to_end_and_never_again() -> None:
    made = mute_time(zone="America/New_York", **{"from": "2026-11-28 22:00", "until": "2026-11-29T02:00"})
    begin, end = local("2026-11-28 22:00"), local("2026-11-29 02:00")
    assert made.next_change(0.0) == begin
    assert made.next_change(begin) == end
    assert made.next_change(end) == float("inf")
    assert [made.is_muted(at) for at in (begin - 1, begin, end - 1, end)] == [False, True, True, False]
    offset = mute_time(**{"from": "2026-11-28T22:00-05:00", "until": "2026-11-29T07:00+00:00"})
    assert (offset.starts, offset.ends) == (begin, end)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"weekly": "noday 01:00-02:00"}, "weekly"),
        ({"weekly": "mon 25:00-26:00"}, "weekly"),
        ({"weekly": "mon 01:00-01:00"}, "weekly"),
        ({"weekly": "mon 01:60-02:00"}, "weekly"),
        ({"weekly": []}, "weekly"),
        ({"weekly": "sat", "zone": "Mars/Olympus"}, "zone"),
        ({"from": "tomorrow", "until": "2026-11-29"}, "from"),
        ({"from": "2026-11-29", "until": "2026-11-28"}, "until"),
        ({"from": "2026-11-29"}, ""),
        ({}, ""),
        ({"weekly": "sat", "match": {}}, "match"),
        ({"weekly": "sat", "wekly": "sun"}, "wekly"),
    ],
)
def test_a_mute_time_that_is_wrong_names_its_key(given: dict[str, Any], key: str) -> None:
    made, problems = mute_time_from_keys({"mute_time": "m", **given}, "test:1")
    assert made is None
    assert {problem.key for problem in problems} == {key}


def muting() -> Routing:
    window = {"from": "2023-11-14T22:13:20", "until": "2023-11-14T22:23:20"}  # START and ten minutes
    return Routing(mute_times=(mute_time(match={"severity": "page"}, **window),))


def test_a_muted_alert_that_still_fires_is_told_when_the_mute_ends() -> None:
    desk = Desk(muting())
    assert desk.at(10, PAGE) == []
    assert "held: muted by m" in desk.reasons()
    assert [(one.created - START, one.why) for one in desk.at(3000)] == [(600, "first")]


def test_the_end_of_what_was_told_waits_for_the_end_of_the_mute() -> None:
    desk = Desk(muting())
    desk.at(-60, PAGE)
    assert desk.at(10, ended(PAGE)) == []
    assert [(one.created - START, one.why, one.state) for one in desk.at(3000)] == [(600, "resolved", "resolved")]


def test_a_repeat_that_came_in_a_mute_comes_when_it_ends() -> None:
    desk = Desk(muting())
    desk.at(300 - 4 * 3600, PAGE)
    assert [(one.created - START, one.why) for one in desk.at(3000)] == [(600, "repeat")]


def test_a_mute_time_without_match_is_for_the_routes_that_name_it() -> None:
    route, problems = route_from_keys({"route": "r", "match": {"zone": "east"}, "mute": "m"}, "test:1")
    assert problems == []
    assert route is not None
    quiet = replace(muting().mute_times[0], matchers=None)
    desk = Desk(Routing((route,), mute_times=(quiet,)))
    assert [each.name for one in desk.at(10, alert(tags={"zone": "east"}), alert("b")) for each in one.alerts] == ["b"]
    assert Routing((route,)).problems() == ["test:1: r: no mute time is named 'm'; it would never mute"]


# ---- inhibitions


def inhibiting() -> Routing:
    made, problems = inhibition_from_keys(
        {"inhibition": "site", "source": "alertname=site.down", "target": 'severity=~"page|ticket"', "equal": ["site"]},
        "test:1",
    )
    assert problems == []
    assert isinstance(made, Inhibition)
    return Routing(inhibitions=(made,))


DOWN = alert("site.down", {"site": "1"})


def test_what_follows_from_another_alert_is_not_told_while_that_fires() -> None:
    desk = Desk(inhibiting())
    told = desk.at(0, alert(tags={"site": "1"}), alert(tags={"site": "2"}), DOWN)  # the source may come last
    assert sorted((each.name, each.tags["site"]) for one in told for each in one.alerts) == [
        ("db.slow", "2"),
        ("site.down", "1"),
    ]
    assert "held: inhibited by site" in desk.reasons()
    told = desk.at(100, ended(DOWN))
    assert sorted((one.alerts[0].name, one.why) for one in told) == [
        ("db.slow", "new in group"),
        ("site.down", "resolved"),
    ]


def test_one_of_two_sources_that_ends_frees_nothing() -> None:
    desk = Desk(inhibiting())
    second = alert("site.down", {"site": "1", "probe": "b"})
    desk.at(0, DOWN, second, alert(tags={"site": "1"}))
    assert [each.name for one in desk.at(100, ended(DOWN)) for each in one.alerts] == ["site.down", "site.down"]
    assert "db.slow" in [each.name for one in desk.at(200, ended(second)) for each in one.alerts]


def test_sources_do_not_inhibit_each_other() -> None:
    desk = Desk(inhibiting())
    assert len(desk.at(0, DOWN, alert("site.down", {"site": "1", "probe": "b"}))[0].alerts) == 2


def test_labels_that_are_equal_to() -> None:
    assert equal_to({"b": "2", "a": "1"}).text == '{a="1", b="2"}'

"""The dispatcher: who is told when of what, as tables of events at seconds and what is told by then."""

import time
from dataclasses import replace
from typing import Any

import pytest
from tests.dispatching import START, Desk, alert, brief

from hms_ops.alert.dispatch.acknowledgement import Ack, Unack
from hms_ops.alert.dispatch.decision import DECISIONS_MAX
from hms_ops.alert.dispatch.flapping import CALM, changed, ends_at, has_ended, is_beginning, share
from hms_ops.alert.dispatch.grouping import GROUPS_MAX
from hms_ops.alert.dispatch.routing import Routing, route_from_keys
from hms_ops.alert.dispatch.storm import ALERTS_LISTED_MAX, NOTIFICATIONS_MAX
from hms_ops.alert.notification import Alert

HOUR = 3600.0


def route(**given: Any) -> Any:
    made, problems = route_from_keys({"route": "r", **given}, "test:1")
    assert problems == []
    return made


def ended(one: Alert, **more: Any) -> Alert:
    return replace(one, state="resolved", **more)


PAGE = alert()
TICKET = alert(severity="ticket")
OTHER_PAGE, OTHER_TICKET = alert(tags={"host": "2"}), alert(tags={"host": "2"}, severity="ticket")

# What Alertmanager's notification log decides, row by row: events by second, and (second, why) of what is told.
DEDUP: dict[str, tuple[dict[float, list[Alert]], list[tuple[float, str]]]] = {
    "no entry, a page fires: at once": ({0: [PAGE]}, [(0, "first")]),
    "no entry, a ticket fires: after the wait": ({0: [TICKET]}, [(30, "first")]),
    "no entry, a ticket ends before it was told: never": ({0: [TICKET], 20: [ended(TICKET)]}, []),
    "no entry, a page ends in the same second: told": ({0: [PAGE, ended(PAGE)]}, [(0, "resolved")]),
    "no entry, an end of what never fired: never": ({0: [ended(PAGE)]}, []),
    "entry, the same again: not": ({0: [PAGE], 60: [PAGE]}, [(0, "first")]),
    "entry, another ticket: at the interval": (
        {0: [TICKET], 60: [OTHER_TICKET]},
        [(30, "first"), (330, "new in group")],
    ),
    "entry, another page: at once": ({0: [PAGE], 5: [OTHER_PAGE]}, [(0, "first"), (5, "new in group")]),
    "entry, another page in the same second: two seconds later": (
        {0: [PAGE], 0.5: [OTHER_PAGE]},
        [(0, "first"), (2, "new in group")],
    ),
    "three pages close together: the fourth is one in thirty seconds": (
        {second: [replace(PAGE, tags={"host": f"h{second}"})] for second in (0, 3, 6, 9, 12)},
        [(0, "first"), (3, "new in group"), (6, "new in group"), (30, "new in group")],
    ),
    "entry long ago, another page: at once": ({0: [PAGE], 100: [OTHER_PAGE]}, [(0, "first"), (100, "new in group")]),
    "entry long ago, another ticket: after the wait": (
        {0: [TICKET], 900: [OTHER_TICKET]},
        [(30, "first"), (930, "new in group")],
    ),
    "entry, the page ends: at once": ({0: [PAGE], 5: [ended(PAGE)]}, [(0, "first"), (5, "resolved")]),
    "entry, one of two pages ends: with the next": (
        {0: [PAGE, OTHER_PAGE], 5: [ended(PAGE)]},
        [(0, "first"), (30, "resolved")],
    ),
    "entry, the ticket ends: at the interval": ({0: [TICKET], 60: [ended(TICKET)]}, [(30, "first"), (330, "resolved")]),
    "entry, ends and fires before the interval: one notification": (
        {0: [TICKET], 60: [ended(TICKET)], 90: [replace(TICKET, episode=2)]},
        [(30, "first"), (330, "new in group")],
    ),
    "the group was over, a page: first again": (
        {0: [PAGE], 5: [ended(PAGE)], 9: [replace(PAGE, episode=2)]},
        [(0, "first"), (5, "resolved"), (9, "first")],
    ),
    "pending alerts are nobody's business": ({0: [replace(PAGE, state="pending")]}, []),
}


@pytest.mark.parametrize("row", DEDUP.values(), ids=DEDUP.keys())
def test_the_table_of_what_is_told_and_when(row: tuple[dict[float, list[Alert]], list[tuple[float, str]]]) -> None:
    events, expected = row
    desk = Desk()
    for second, alerts in events.items():
        desk.at(second, *alerts)
    desk.at(HOUR)
    assert [(one.created - START, one.why) for one in desk.told] == expected


@pytest.mark.parametrize("severity", ["page", "ticket"])
def test_what_still_fires_is_repeated_every_four_hours_and_not_once_it_ended(severity: str) -> None:
    desk = Desk()
    fired = alert(severity=severity)
    desk.at(0, fired)
    desk.at(9 * HOUR)
    wait = 0 if severity == "page" else 30
    assert [(one.created - START - wait, one.why) for one in desk.told] == [
        (0, "first"),
        (4 * HOUR, "repeat"),
        (8 * HOUR, "repeat"),
    ]
    desk.at(10 * HOUR, ended(fired))
    desk.at(30 * HOUR)
    assert [one.why for one in desk.told[3:]] == ["resolved"]


def test_a_route_says_whom_how_long_and_with_whom() -> None:
    irs = route(
        match={"agency": "irs"}, notify=["slack:#irs"], group_by=["agency"], wait="10s", interval="1m", repeat="10m"
    )
    desk = Desk(Routing((irs,)))
    first = alert("a", {"agency": "irs"}, severity="ticket")
    desk.at(0, first, alert("b", {"agency": "ssa"}, severity="ticket", notify=()))
    desk.at(5, alert("c", {"agency": "irs"}, severity="ticket", notify=(), since=START + 5))
    desk.at(700)
    told = [(one.created - START, one.receiver, one.why, [each.name for each in one.alerts]) for one in desk.told]
    assert sorted(told) == [
        (10, "slack:#irs", "first", ["a", "c"]),
        (10, "sms:+1111", "first", ["a"]),
        (30, "log:", "first", ["b"]),
        (610, "slack:#irs", "repeat", ["a", "c"]),
        (610, "sms:+1111", "repeat", ["a"]),
    ]
    assert desk.told[0].group_tags == {"agency": "irs"}


@pytest.mark.parametrize(
    ("is_continuing", "receivers"), [(False, ["sms:+1111", "log:"]), (True, ["sms:+1111", "log:", "slack:#all"])]
)
def test_the_first_route_that_matches_is_the_last_unless_it_continues(
    is_continuing: bool, receivers: list[str]
) -> None:
    one = route(match="alertname=db.slow", notify=["log:"], **{"continue": is_continuing})
    rest = route(route="rest", notify=["slack:#all", "sms:+1111"])
    desk = Desk(Routing((one, rest)))
    assert sorted(each.receiver for each in desk.at(0, PAGE)) == sorted(receivers)


def test_an_alert_nobody_is_named_for_goes_to_the_log() -> None:
    assert brief(Desk().at(0, alert(notify=()))) == [("log:", "firing", "first")]


def test_alerts_that_a_route_groups_by_star_are_told_alone() -> None:
    desk = Desk(Routing((route(group_by="*"),)))
    assert len(desk.at(0, PAGE, OTHER_PAGE)) == 2


def test_a_notification_lists_what_is_new_first_and_counts_the_rest() -> None:
    desk = Desk()
    many = [alert(tags={"n": f"{n:03}"}, since=START + n) for n in range(ALERTS_LISTED_MAX + 50)]
    told = desk.at(0, *many)
    assert (len(told), len(told[0].alerts), told[0].left_out) == (1, ALERTS_LISTED_MAX, 50)
    assert list(told[0].alerts) == many[:ALERTS_LISTED_MAX]
    newest = alert(tags={"n": "new"}, since=START + 900)
    (told_next,) = desk.at(1000, newest)
    assert (told_next.alerts[0], len(told_next.alerts), told_next.left_out) == (newest, ALERTS_LISTED_MAX, 51)
    assert {each["reason"] for each in desk.dispatcher.explain("db.slow")} == {"first", "new in group"}


def test_an_end_stands_behind_what_still_fires() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    (told,) = desk.at(60, ended(PAGE)) or desk.at(61)
    assert [each.state for each in told.alerts] == ["firing", "resolved"]
    assert (told.state, told.why) == ("firing", "resolved")


def test_keys_are_the_same_for_the_same_run_and_differ_for_everything_else() -> None:
    def run(origin: str) -> list[str]:
        desk = Desk(origin=origin)
        desk.at(0, PAGE)
        desk.at(0, ended(PAGE))
        desk.at(0, replace(PAGE, episode=2))  # a group born in the same second as the one before
        desk.at(5 * HOUR)
        return [one.idempotency_key for one in desk.told]

    assert run("one") == run("one")
    assert len(set(run("one") + run("two"))) == 8


def test_the_end_of_an_anomaly_is_for_the_log_alone() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    assert brief(desk.at(60, ended(PAGE, notify=("log:",)))) == [("log:", "resolved", "resolved")]
    assert "not told: the end of an anomaly is no news" in desk.reasons()


# ---- ten thousand


def test_ten_thousand_alerts_at_once_are_one_page_and_their_ends_another() -> None:
    desk = Desk()
    desk.step()
    many = [alert(tags={"host": str(n)}) for n in range(10_000)]
    began = time.process_time()
    told = desk.at(1, *many)
    seconds = time.process_time() - began
    assert [(one.why, len(one.alerts) + one.left_out) for one in told] == [("first", 10_000)]
    assert seconds < 5  # 0.3 s on the machine this was written on
    assert [(one.why, one.state) for one in desk.at(60, *map(ended, many))] == [("resolved", "resolved")]
    desk.at(600)
    assert desk.tables["members"] == {}


def test_one_change_in_a_group_of_ten_thousand_rewrites_one_alert() -> None:
    desk = Desk()
    desk.at(0, *(alert(tags={"host": str(n)}) for n in range(10_000)))
    made = desk.dispatcher.step(START + 60, [alert(tags={"host": "new"})])
    assert [change.table for change in made.changes] == ["members", "groups", "groups"]  # the group, and the budget


def test_a_receiver_is_told_thirty_times_a_minute_and_then_one_summary() -> None:
    desk = Desk()
    events = [alert(f"rule.{n}") for n in range(100)]
    desk.at(0, *events)
    assert len(desk.told) == NOTIFICATIONS_MAX
    (storm,) = desk.at(60.5)
    assert (storm.why, storm.receiver, len(storm.alerts)) == ("storm", "sms:+1111", 70)
    assert storm.created == START + 60
    told = {each.name for one in desk.told for each in one.alerts}
    assert told == {one.name for one in events}
    assert desk.dispatcher.counters()["storms"] == 1
    assert len(desk.at(200, *map(ended, events))) == NOTIFICATIONS_MAX  # their ends are no secret either


def test_the_log_and_other_machines_are_told_everything() -> None:
    desk = Desk()
    desk.at(0, *(alert(f"rule.{n}", notify=("log:",)) for n in range(100)))
    assert len(desk.told) == 100


def test_groups_beyond_the_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GROUPS_MAX >= 10_000
    monkeypatch.setattr("hms_ops.alert.dispatch.grouping.GROUPS_MAX", 3)
    desk = Desk()
    desk.at(0, *(alert(f"rule.{n}") for n in range(10)))
    assert sorted(len(one.alerts) for one in desk.told) == [1, 1, 1, 7]
    assert desk.dispatcher.counters()["groups_folded"] == 7


def test_alerts_beyond_the_bound_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hms_ops.alert.dispatch.grouping.MEMBERS_MAX", 2)
    desk = Desk()
    desk.at(0, *(alert(f"rule.{n}") for n in range(3)))
    assert len(desk.told) == 2
    assert desk.dispatcher.counters()["members_refused"] == 1
    assert "not told: too many alerts" in desk.reasons()


# ---- acknowledging


def test_an_acknowledged_alert_is_not_repeated_and_its_end_is_told() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[Ack("db.slow", "ann", "on it", START + 60)])
    desk.at(9 * HOUR)
    assert [one.why for one in desk.told] == ["first"]
    assert "held: acknowledged by ann" in desk.reasons()
    assert [one["who"] for one in desk.dispatcher.acks()] == ["ann"]
    assert [one.why for one in desk.at(10 * HOUR, ended(PAGE))] == ["resolved"]
    assert desk.dispatcher.acks() == []


def test_an_acknowledgement_taken_back_tells_again() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[Ack("db.slow", "ann")])
    assert [one.why for one in desk.at(120, commands=[Unack("db.slow", "ann")])] == ["repeat"]


def test_an_acknowledgement_ends_when_its_time_is_up() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[Ack("db.slow", "ann", until=START + 300)])
    desk.at(1000)
    assert [(one.created - START, one.why) for one in desk.told] == [(0, "first"), (300, "repeat")]


def test_an_acknowledgement_is_for_the_alerts_with_its_tags() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    assert desk.dispatcher.firing_count("db.slow") == 2
    assert desk.dispatcher.firing_count("db.slow", {"host": "2"}) == 1
    assert desk.dispatcher.firing_count("db.slow", {"host": "3"}) == 0
    desk.at(60, commands=[Ack("db.slow", "ann", tags={"host": "2"})])
    (repeat,) = desk.at(4 * HOUR + 1)
    assert [dict(each.tags) for each in repeat.alerts] == [{}]
    assert desk.cancelled == []  # somebody else is concerned too


def test_acknowledging_all_of_a_group_cancels_what_waits_of_it() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    desk.at(60, commands=[Ack("db.slow", "ann")])
    assert desk.cancelled == [one.id for one in desk.told]


def test_an_acknowledgement_is_for_one_episode() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    desk.at(60, commands=[Ack("db.slow", "ann")])
    desk.at(120, ended(PAGE))
    assert [one.why for one in desk.at(180, replace(PAGE, episode=2))] == ["first"]


# ---- flapping


def test_an_alert_that_flaps_is_told_so_once_and_then_left_alone_until_it_is_calm() -> None:
    desk = Desk()
    for n in range(60):
        desk.at(n * 5, replace(PAGE if n % 2 == 0 else ended(PAGE), episode=n // 2 + 1))
    whys = [one.why for one in desk.told]
    assert whys.count("flapping") == 1
    assert whys[-1] == "flapping"
    begun = desk.told[-1].created - START
    assert 40 <= begun <= 60  # half of the weight of 20 outcomes, two in ten seconds
    assert desk.dispatcher.counters()["flapping"] == 1
    last = 59 * 5
    desk.at(last + 300)
    assert [one.why for one in desk.told[len(whys) :]] == ["resolved"]
    assert last + 100 < desk.told[-1].created - START < last + 200
    assert "held: flapping" in desk.reasons()


def test_an_alert_that_is_calm_again_and_fires_is_told() -> None:
    desk = Desk()
    for n in range(31):
        desk.at(n * 5, replace(PAGE if n % 2 == 0 else ended(PAGE), episode=n // 2 + 1))
    before = len(desk.told)
    desk.at(400)
    assert [(one.why, one.state) for one in desk.told[before:]] == [("new in group", "firing")]


def test_alerts_that_calm_down_together_cost_a_walk_each_not_a_walk_of_all_each() -> None:
    desk, pages = Desk(), [replace(PAGE, tags={"host": str(n)}) for n in range(1000)]
    for n in range(29):
        desk.at(n * 10, *(replace(page if n % 2 == 0 else ended(page), episode=n // 2 + 1) for page in pages))
    assert desk.dispatcher.counters()["flapping"] == len(pages)
    began = time.process_time()
    desk.at(600)
    assert time.process_time() - began < 1.5  # 0.1 s; the square of them took 3
    assert desk.dispatcher.counters()["flapping"] == desk.dispatcher.counters()["held"] == 0
    assert desk.told[-1].left_out == len(pages) - len(desk.told[-1].alerts)


def test_what_comes_and_goes_every_second_flaps_after_five_rounds() -> None:
    desk = Desk()
    for n in range(30):
        desk.at(n, replace(PAGE if n % 2 == 0 else ended(PAGE), episode=n // 2 + 1))
    whys = [one.why for one in desk.told]
    assert whys.count("flapping") == 1
    assert len(whys) <= 12


def test_flapping_is_weighed_as_nagios_weighs_it() -> None:
    flaps = CALM
    for second in range(0, 210, 10):
        flaps = changed(flaps, second)
    assert share(flaps) == pytest.approx(1.0)
    assert is_beginning(flaps)
    assert not is_beginning(flaps._replace(is_flapping=True))
    end = ends_at(flaps)
    assert has_ended(flaps, end)
    assert not has_ended(flaps, end - 10)
    every_other = CALM
    for second in range(0, 420, 20):
        every_other = changed(every_other, second)
    assert share(every_other) == pytest.approx(0.5, abs=0.02)
    newest, oldest = changed(CALM, 200), changed(CALM, 10)
    assert share(newest) == pytest.approx(1.2 / 20)
    assert share(oldest._replace(step=20, changes=1 << 19)) == pytest.approx(0.8 / 20)


# ---- explaining


def test_every_decision_says_why_of_one_alert() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    desk.at(1, PAGE)
    (told, again) = desk.dispatcher.explain("db.slow", {}), desk.dispatcher.explain("db.slow", {"host": "2"})
    assert [(one["decision"], one["reason"]) for one in told] == [
        ("told", "first"),
        ("told", "first"),
        ("not told", "nothing new"),
    ]
    assert [(one["tags"], one["receiver"]) for one in again] == [({"host": "2"}, "sms:+1111")]
    assert desk.dispatcher.explain("other") == []


def test_decisions_are_remembered_within_bounds_and_hold_no_secrets() -> None:
    desk = Desk()
    secret = alert("s", notify=("webhook:https://user:pass@hooks.example/path?key=secret",))
    desk.at(0, secret)
    assert "secret" not in str(desk.dispatcher.explain("s"))
    assert "pass" not in str(desk.decisions)
    for n in range(DECISIONS_MAX + 20):
        desk.at(n + 1, secret)
    assert len(desk.dispatcher.explain("s")) == DECISIONS_MAX


# ---- configuration and clock


def test_new_routes_tell_whom_they_add_and_repeat_nothing_to_whom_they_drop() -> None:
    old, new = route(route="old", notify=["log:"]), route(route="new", notify=["slack:#new"])
    desk = Desk(Routing((old,)))
    desk.at(0, PAGE)
    desk.dispatcher.replace(Routing((new,)))
    desk.at(60)
    assert sorted(one.receiver for one in desk.told[2:]) == ["slack:#new", "sms:+1111"]
    desk.at(5 * HOUR)
    assert "log:" not in {one.receiver for one in desk.told[4:]}
    assert {one.receiver for one in desk.at(6 * HOUR, ended(PAGE))} == {"log:", "sms:+1111", "slack:#new"}


def test_a_wall_clock_that_is_set_moves_what_waits() -> None:
    desk = Desk()
    desk.at(0, TICKET)
    desk.dispatcher.move_clocks(1000)
    desk.now += 1000
    desk.step()
    assert desk.dispatcher.next_due() == START + 1030
    desk.at(1030)
    desk.at(1031)
    assert [one.created - START for one in desk.told] == [1030]


def test_what_the_book_and_the_dispatcher_do_not_both_know_is_caught_up() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    desk.restart()
    assert desk.dispatcher.catch_up([PAGE, OTHER_PAGE], desk.now) == []
    lost = alert("lost")
    events = desk.dispatcher.catch_up([PAGE, lost], START + 60)
    assert [(one.name, dict(one.tags), one.state) for one in events] == [
        ("lost", {}, "firing"),
        ("db.slow", {"host": "2"}, "resolved"),
    ]
    desk.at(60, *events)
    assert sorted((one.why, one.alerts[-1].name) for one in desk.told[1:]) == [
        ("first", "lost"),
        ("resolved", "db.slow"),
    ]
    assert desk.dispatcher.firing_count("db.slow") == 1


def test_a_notification_that_tells_an_end_is_not_cancelled() -> None:
    desk = Desk()
    desk.at(0, PAGE, OTHER_PAGE)
    desk.at(60, ended(PAGE))
    assert [one.why for one in desk.told] == ["first", "resolved"]
    desk.at(61, commands=[Ack("db.slow", "ann")])
    assert desk.cancelled == [desk.told[0].id]


def test_damaged_records_are_left_out_and_counted() -> None:
    desk = Desk()
    desk.at(0, PAGE)
    (key,) = desk.tables["members"]
    desk.tables["members"]["odd"] = {"alert": 5}
    desk.tables["groups"]["receiver-odd"] = {}
    desk.tables["groups"]["odd"] = {"route": "x"}
    desk.tables["silences"]["odd"] = {"id": "x", "matchers": [["a", "??", "b"]]}
    desk.restart()
    assert desk.dispatcher.counters()["damaged"] == 4
    assert desk.dispatcher.firing_count("db.slow") == 1
    assert desk.step() == []
    assert key in desk.tables["members"]

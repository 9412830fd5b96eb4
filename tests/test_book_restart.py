"""A restart of the book: at every tick as if there had been none; after a while what ALERTS section 2 says of it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ticking import Disk, Ticked, rule

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.book import Book
from hms_ops.alert.states.instance import Key, id_of
from hms_ops.alert.states.placing import REMEMBERED_SECONDS
from hms_ops.change import Change
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

FOR_20M = rule(for_="20m")
FOR_3M = rule(for_="3m")

rules = st.builds(
    lambda for_, keep, nodata, every, band: rule(
        for_=f"{for_}s", keep=f"{keep}s", nodata=nodata, every=f"{every}s", **({"recover": "< 150"} if band else {})
    ),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from(["keep", "ok", "alert"]),
    st.sampled_from([1, 1, 3]),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(rules, st.text("TTTFNbx", max_size=60), st.data())
def test_a_restart_at_any_ticks_gives_the_log_of_a_run_without(watched: Rule, signs: str, data: st.DataObject) -> None:
    restarts = data.draw(st.sets(st.integers(0, len(signs))))
    smooth, restarted = Ticked(watched).run(signs), Ticked(watched)
    for tick, sign in enumerate(signs):
        restarted.tick(sign)
        if tick in restarts:
            assert restarted.restart() == []
    assert restarted.log == smooth.log
    assert restarted.book.alerts() == smooth.book.alerts()


def test_a_recorded_hour_with_a_restart_at_every_tick_gives_the_same_log() -> None:
    """Thirty instances of three rules whose conditions hold for random whiles; a restart after each of 3,600 ticks."""
    watched = [rule("a", for_="30s", keep="20s"), rule("b", recover="< 150"), rule("c", for_="1m", every="10s")]
    keys: list[Key] = [(one.name, (("host", str(n)),)) for one in watched for n in range(10)]
    dice = random.Random(4)
    columns = []
    for _ in keys:
        column = ""
        while len(column) < 3600:
            column += dice.choice("TTFFNbx") * dice.randrange(1, 120)
        columns.append(column[:3600])
    smooth, restarted = Ticked(*watched, keys=keys), Ticked(*watched, keys=keys)
    for signs in zip(*columns, strict=True):
        smooth.tick("".join(signs))
        restarted.tick("".join(signs))
        restarted.restart()
    assert len(smooth.log) > 300
    assert restarted.log == smooth.log


# ---- away up to an hour


@pytest.mark.parametrize("away", [10, 60, 3590])  # the mark lags up to ten seconds while no clock runs
def test_what_fires_goes_on_without_a_new_page(away: int) -> None:
    ticked = Ticked().run("TT")
    assert ticked.restart(away) == []
    (alert,) = ticked.book.alerts()
    assert (alert.state, alert.reason, alert.episode) == ("firing", "", 1000)
    ticked.run("TTF")
    assert [state for _, state in ticked.words] == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("watched", "ran", "away", "fires_after"),
    [
        (FOR_3M, 60, 5, 119),  # nothing but a restart: the clock stood still in the four seconds that nobody judged
        (FOR_3M, 60, 600, 180),  # at least min(10 min, for) left
        (FOR_20M, 60, 600, 1140),  # what was left: the clock did not run meanwhile
        (FOR_20M, 900, 600, 600),  # at least ten minutes
        (FOR_20M, 60, 3599, 1140),
    ],
)
def test_what_was_pending_goes_on(watched: Rule, ran: int, away: int, fires_after: int) -> None:
    ticked = Ticked(watched).run("T" * (ran + 1))
    ticked.restart(away)
    assert ticked.states == ["pending"]
    back = ticked.second
    ticked.run("T" * (fires_after + 5))
    fired = [second for second, _, state, _ in ticked.log if state == "firing"]
    assert [second - back for second in fired] == [fires_after]


def test_the_clock_of_keep_did_not_run_either() -> None:
    ticked = Ticked(rule(keep="30s")).run("T" + "F" * 21)
    ticked.restart(600)
    assert [ticked.tick("F") for _ in range(9)] == [[]] * 9
    ticked.run("FFF")
    assert [state for _, state in ticked.words] == ["firing", "resolved"]


def test_nothing_resolves_because_windows_are_not_known_yet() -> None:
    for nodata in ("keep", "ok", "alert"):
        ticked = Ticked(rule(nodata=nodata)).run("T")
        ticked.restart(60)
        ticked.run("!!!!!")
        assert ticked.states == ["firing"]
        ticked.run("F")
        assert [state for _, state in ticked.words] == ["firing", "resolved"]


def test_a_series_that_is_not_back_yet_resolves_nothing_for_ten_minutes() -> None:
    keys: list[Key] = [("slow", (("host", "a"),)), ("slow", (("host", "b"),))]
    ticked = Ticked(rule(nodata="ok"), keys=keys).run("T", "T")
    ticked.restart(60)
    for _ in range(599):
        ticked.tick("x!")
    assert ticked.states == ["firing", "firing"]
    ticked.run("xx", "!!")
    assert [(alert.state, dict(alert.tags)) for alert in ticked.told[2:]] == [("resolved", {"host": "a"})]


def test_what_is_new_after_a_restart_alerts_at_once() -> None:
    ticked = Ticked(keys=[("slow", (("host", "a"),)), ("slow", (("host", "b"),))]).run("T", "F")
    ticked.restart(60)
    book = ticked.book
    events = book.advance(ticked.keys, np.ones(2), np.zeros(2), np.ones(2), ticked.second, whole=np.zeros(2, np.bool_))
    assert [(alert.state, dict(alert.tags)) for alert in events] == [("firing", {"host": "b"})]


@settings(max_examples=150, deadline=None)
@given(rules, st.text("TTTFNbx", min_size=1, max_size=40), st.integers(10, 3590), st.text("!", max_size=30))
def test_whatever_was_there_nothing_is_told_because_of_a_restart(
    watched: Rule, signs: str, away: int, unknown: str
) -> None:
    ticked = Ticked(watched).run(signs)
    before = [(alert.state, alert.since, alert.episode) for alert in ticked.book.alerts()]
    assert ticked.restart(away) == []
    told = len(ticked.told)
    ticked.run(unknown)
    assert [(alert.state, alert.since, alert.episode) for alert in ticked.book.alerts()] == before
    assert ticked.told[told:] == []


# ---- away longer


def test_what_was_pending_is_dropped() -> None:
    ticked = Ticked(FOR_3M).run("T" * 100)
    assert ticked.restart(3602) == []
    assert (ticked.states, ticked.disk.records) == ([], {})
    ticked.run("T" * 180)
    assert [state for _, state in ticked.words] == ["pending", "pending"]
    ticked.run("T")
    assert [state for _, state in ticked.words][-1] == "firing"


def test_what_fired_is_stale_until_it_is_false_for_the_first_time() -> None:
    ticked = Ticked(rule(recover="< 150")).run("T")
    assert ticked.restart(2 * 3600) == []
    why = "stale: nobody watched for 2 h 0 min, and it has not been seen to end since"
    for signs in ("!", "N", "T"):
        ticked.run(signs)
        assert [alert.reason for alert in ticked.book.alerts()] == [why]
    ticked.restart()
    assert [alert.reason for alert in ticked.book.alerts()] == [why]
    ticked.run("b")
    assert [alert.reason for alert in ticked.book.alerts()] == [""]
    ticked.restart()
    assert [alert.reason for alert in ticked.book.alerts()] == [""]
    ticked.run("F")
    assert (ticked.told[-1].state, ticked.told[-1].reason, ticked.told[-1].episode) == ("resolved", "", 1000)


def test_the_next_episode_is_not_stale() -> None:
    ticked = Ticked().run("T")
    ticked.restart(7200)
    ticked.run("FT")
    assert [alert.reason for alert in ticked.book.alerts()] == [""]


def test_what_was_recovering_fires_and_is_stale() -> None:
    ticked = Ticked(rule(keep="1m")).run("TF")
    ticked.restart(7200)
    assert [alert.reason[:6] for alert in ticked.book.alerts()] == ["stale:"]
    ticked.run("F" * 60)
    assert ticked.states == ["firing"]
    ticked.run("F")
    assert ticked.states == []


def test_two_days_are_told_in_days() -> None:
    ticked = Ticked().run("T")
    ticked.restart(50 * 3600)
    assert "for 2 d 2 h," in ticked.book.alerts()[0].reason


def test_a_clock_set_back_while_the_engine_was_down_shows_what_it_showed() -> None:
    ticked = Ticked(FOR_3M).run("T" * 61)
    ticked.second -= 500
    ticked.restart()
    ticked.run("T" * 119)
    assert ticked.states == ["pending"]
    ticked.run("TT")
    assert ticked.states == ["firing"]


# ---- what is on disk


def test_a_quiet_book_writes_the_mark_every_ten_seconds_and_nothing_else() -> None:
    ticked = Ticked()
    written = []
    for _ in range(30):
        ticked.book.advance(*arrays(ticked, 0.0), ticked.second)
        written.append([(change.table, change.key) for change in ticked.book.changes(ticked.second)])
        ticked.second += 1
    assert [tick for tick, changes in enumerate(written) if changes] == [0, 10, 20]
    assert written[10] == [("marks", "alive")]


def arrays(ticked: Ticked, condition: float) -> tuple[Any, ...]:
    return ticked.keys, np.array([condition]), np.array([1 - condition]), np.array([1.0])


def test_a_steady_state_is_written_once_however_long_it_lasts() -> None:
    ticked = Ticked(FOR_3M)
    counts = []
    for sign in "FTTTTNNNNTTTT":
        ticked.book.advance(*arrays(ticked, {"T": 1.0, "F": 0.0, "N": float("nan")}[sign]), ticked.second)
        counts.append(sum(change.table == "instances" for change in ticked.book.changes(ticked.second)))
        ticked.second += 1
    assert counts == [0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]


def test_a_record_lies_under_the_key_of_its_alert_and_goes_when_it_is_forgotten() -> None:
    ticked = Ticked(keys=[("slow", (("host", "a"),))]).run("T")
    assert list(ticked.disk.records) == [ticked.told[0].key]
    ticked.run("F")
    assert ticked.disk.records[ticked.told[0].key]["phase"] == "inactive"
    ticked.second += REMEMBERED_SECONDS
    ticked.run("F")
    assert ticked.disk.records == {}


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4))
def test_the_key_of_a_record_is_that_of_its_alert_whatever_the_names(name: str, tags: dict[str, str]) -> None:
    group = tuple(sorted(tags.items()))
    assert id_of((name, group)) == Alert(name, "firing", 1.0, tags, 0.0).key


def test_an_instance_that_was_only_pending_leaves_nothing() -> None:
    assert Ticked(FOR_3M).run("TF").disk.records == {}


def test_the_numbers_of_episodes_survive() -> None:
    ticked = Ticked().run("TF")
    ticked.second -= 50  # the clock is set back while it is down
    ticked.restart()
    ticked.run("T")
    assert [episode for _, _, state, episode in ticked.log if state == "firing"] == [1000, 1001]


def test_what_ended_long_ago_is_forgotten_after_a_restart() -> None:
    ticked = Ticked().run("TF")
    ticked.restart(REMEMBERED_SECONDS)
    ticked.run("F")
    assert (ticked.book.remembered_count, ticked.disk.records) == (0, {})


def test_the_mark_is_the_last_tick_whenever_changes_are_asked_for() -> None:
    ticked = Ticked(FOR_3M).run("TT")
    ticked.book.alert_now("x", 1.0, ticked.second + 5)
    changes = ticked.book.changes(ticked.second + 5)
    assert [change.record for change in changes if change.table == "marks"] == [{"second": 1001}]


def test_records_pass_through_the_real_store(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "state", databases=STATE_DATABASES)
    store = AlertStore(environment)
    watched = rule(for_="3s", tags={"team": "db"}, notify=["log:"])
    ticked = Ticked(watched, keys=[("slow", (("host", 'a"b'), ("stadt", "Zürich")))]).run("T")
    for sign in "TTNTT":
        ticked.tick(sign)
        store.commit([Change("instances", key, record) for key, record in ticked.disk.records.items()])
        book = Book([watched])
        assert book.restore(store.load("instances"), ticked.second - 1, ticked.second) == []
        assert (book.damaged, book.alerts()) == (0, ticked.book.alerts())
    assert ticked.states == ["firing"]
    environment.close()


DAMAGED: list[Any] = [
    {},
    {"name": "slow"},
    "text",
    None,
    7,
    {"phase": "burning"},
    {"since": -1},
    {"since": 1.5},
    {"episode": 1 << 60},
    {"episode": "1"},
    {"tags": [["host", "a"]]},
    {"tags": {"host": 7}},
    {"value": "much"},
    {"name": "another"},
    {"notify": [7]},
    {"severity": None},
    {"ttl": "5"},
]


@pytest.mark.parametrize("wrong", DAMAGED, ids=repr)
def test_a_record_that_cannot_be_read_is_skipped_counted_and_taken_away(wrong: Any) -> None:
    ticked = Ticked(keys=[("slow", (("host", "a"),)), ("slow", (("host", "b"),))]).run("T", "T")
    first, second = ticked.disk.records
    is_patch = isinstance(wrong, dict) and wrong not in ({}, {"name": "slow"})
    ticked.disk.records[first] = {**ticked.disk.records[first], **wrong} if is_patch else wrong
    ticked.restart()
    assert ticked.book.damaged == 1
    assert [dict(alert.tags) for alert in ticked.book.alerts()] == [ticked.told[1].tags]
    assert list(ticked.disk.records) == [second]


def test_more_records_than_may_live_are_bounded_and_counted() -> None:
    keys: list[Key] = [("slow", (("host", str(n)),)) for n in range(5)]
    ticked = Ticked(keys=keys).run(*"TTTTT")
    book = Book([rule()], instances_max=3)
    book.restore(ticked.disk.records, ticked.disk.alive, ticked.second)
    assert (book.live_count, book.refused, len(book.alerts())) == (3, 2, 3)
    assert sum(change.record is None for change in book.changes(ticked.second)) == 2


def test_without_records_nothing_happens() -> None:
    book = Book([rule()])
    assert book.restore({}, 0, 1000) == []
    assert (book.live_count, book.damaged) == (0, 0)


# ---- alert_now


def quiet(book: Book, second: int) -> list[str]:
    none = np.zeros(0)
    return [alert.reason for alert in book.advance((), none, none, none, second)]


def restarted(disk: Disk, second: int, *rules: Rule) -> Book:
    book = Book(rules)
    assert book.restore(disk.records, disk.alive, second) == []
    disk.commit(book.changes(second))
    return book


def fired(second: int = 1000, **options: Any) -> tuple[Book, Disk]:
    book, disk = Book(), Disk()
    assert book.alert_now("x", 5.0, second, tags={"host": "a"}, ttl_seconds=60, reason="why", **options) is not None
    disk.commit(book.changes(second))
    return book, disk


def test_an_alert_of_ones_own_goes_on_and_ends_when_it_would_have() -> None:
    _, disk = fired(notify=("log:",), policy="p", rule_tags={"team": "db"}, annotations={"title": "t"})
    book = restarted(disk, 1005)
    (alert,) = book.alerts()
    assert (alert.name, alert.tags, alert.value, alert.episode) == ("x", {"host": "a"}, 5.0, 1000)
    assert (alert.notify, alert.policy, alert.rule_tags) == (("log:",), "p", {"team": "db"})
    assert alert.annotations == {"title": "t"}
    assert book.alert_now("x", 6.0, 1006, tags={"host": "a"}, ttl_seconds=54) is None
    assert quiet(book, 1059) == []
    assert quiet(book, 1060) == ["not repeated for 60 s"]


def test_its_time_does_not_run_while_nobody_could_repeat_it() -> None:
    _, disk = fired()
    book = restarted(disk, 1600)
    assert quiet(book, 1659) == []
    assert quiet(book, 1660) == ["not repeated for 60 s"]


def test_it_is_stale_after_more_than_an_hour() -> None:
    _, disk = fired()
    book = restarted(disk, 9000)
    assert book.alerts()[0].reason.startswith("stale: nobody watched for 2 h 13 min")
    assert quiet(book, 9060) == ["not repeated for 60 s"]


def test_a_repeat_every_second_is_written_every_ten_seconds() -> None:
    book, disk = fired()
    written = []
    for second in range(1001, 1031):
        book.alert_now("x", 5.0, second, tags={"host": "a"}, ttl_seconds=60)
        changes = book.changes(second)
        disk.commit(changes)
        written += [second for change in changes if change.table == "instances"]
    assert written == [1010, 1020, 1030]
    assert next(iter(disk.records.values()))["expires"] == 1090


def test_a_repeat_reaches_the_disk_even_when_no_other_follows() -> None:
    book, disk = fired()
    book.alert_now("x", 5.0, 1005, tags={"host": "a"}, ttl_seconds=60)
    for second in range(1005, 1011):
        disk.commit(book.changes(second))
    assert next(iter(disk.records.values()))["expires"] == 1065


def test_a_rule_that_has_taken_its_name_meanwhile_ends_it() -> None:
    _, disk = fired()
    book = Book([rule("x")])
    (ended,) = book.restore(disk.records, disk.alive, 1005)
    assert (ended.state, ended.reason, ended.episode) == ("resolved", "a rule has taken this name", 1000)
    disk.commit(book.changes(1005))
    assert [record["phase"] for record in disk.records.values()] == ["inactive"]


def test_an_alert_of_ones_own_takes_over_the_name_and_episodes_of_a_former_rule() -> None:
    ticked = Ticked().run("TF")
    ticked.book.replace_rules([], ticked.second)
    alert = ticked.book.alert_now("slow", 1.0, 900)
    assert alert is not None
    assert alert.episode == 1001
    ticked.disk.commit(ticked.book.changes(ticked.second))
    assert [record["phase"] for record in ticked.disk.records.values()] == ["firing"]
    ticked.book.end_now("slow", {}, 1010, "over")
    ticked.disk.commit(ticked.book.changes(1010))
    assert [record["phase"] for record in ticked.disk.records.values()] == ["inactive"]


def test_a_clock_that_was_set_is_set_on_disk_too() -> None:
    ticked = Ticked(FOR_3M).run("T" * 61)
    ticked.book.move_clocks(5000)
    ticked.second += 5000
    ticked.run("T")
    ticked.restart()
    ticked.run("T" * 118)
    assert ticked.states == ["pending"]
    ticked.run("T")
    assert ticked.states == ["firing"]

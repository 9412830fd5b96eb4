"""A restart changes nothing: the dispatcher of a random run that is restored at every step tells what one without
restarts tells. And what holds in every such run: no key twice, no receiver told more than its minute allows, everybody
who was told that an alert fires is told when it ends."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.dispatching import START, Desk, alert

from hms_ops.alert.dispatch.acknowledgement import Ack, Unack
from hms_ops.alert.dispatch.dispatcher import Command
from hms_ops.alert.dispatch.escalation import policy_from_keys
from hms_ops.alert.dispatch.inhibition import inhibition_from_keys
from hms_ops.alert.dispatch.matching import equal_to
from hms_ops.alert.dispatch.mutetime import mute_time_from_keys
from hms_ops.alert.dispatch.routing import Routing, route_from_keys
from hms_ops.alert.dispatch.silence import AddSilence, EndSilence, new_silence
from hms_ops.alert.dispatch.storm import NOTIFICATIONS_MAX
from hms_ops.alert.notification import Alert

NAMES = ("a", "b", "site.down", "policy.own")
HOSTS = ("1", "2", "3")


def read(reader: Any, **given: Any) -> Any:
    made, problems = reader(given, "test:1")
    assert problems == []
    return made


ROUTING = Routing(
    routes=(
        read(route_from_keys, route="hosts", match={"host": "1"}, notify=["sms:+1000"], **{"continue": True}),
        read(route_from_keys, route="a", match="alertname=a", notify=["sms:+2000", "log:"], wait="10s", interval="40s",
             repeat="5m", group_by=["alertname", "severity"], mute=["minutes"]),
        read(route_from_keys, route="rest", group_by=[], repeat="10m"),
    ),
    inhibitions=(
        read(inhibition_from_keys, inhibition="site", source="alertname=site.down", target="alertname!=site.down",
             equal=["host"]),
    ),
    mute_times=(
        read(mute_time_from_keys, mute_time="minutes", weekly=["22:15-22:20", "22:30-22:31"]),
        read(mute_time_from_keys, mute_time="window", zone="UTC", match={"host": "2"},
             **{"from": "2023-11-14 22:25", "until": "2023-11-14 22:27"}),
    ),
    policies=(
        read(policy_from_keys, policy="own", levels=[{"after": "20s", "notify": "sms:+3000", "until": "resolve"}]),
        read(policy_from_keys, policy="pages", severity="page", repeat=1, repeat_after="1m", ack_timeout="3m",
             last_resort="sms:+4000",
             levels=[{"notify": ["sms:+1111", "sms:+5000"]}, {"after": "1m", "notify": "sms:+5000"}]),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Happening:
    """What comes `after` seconds: an event or a command, by name."""

    after: float
    what: str
    name: str
    host: str
    severity: str
    choice: int


HAPPENINGS = st.lists(
    st.builds(
        Happening,
        st.sampled_from((0.0, 1.0, 3.0, 10.0, 31.0, 60.0, 300.0)),
        st.sampled_from(("fire", "fire", "fire", "end", "end", "ack", "unack", "silence", "unsilence", "clock")),
        st.sampled_from(NAMES),
        st.sampled_from(HOSTS),
        st.sampled_from(("page", "page", "ticket")),
        st.integers(0, 3),
    ),
    max_size=40,
)


class Run:
    """A desk with a book of its own: what fires is a new episode, what ends is told of once."""

    def __init__(self, is_restarted: bool) -> None:
        self.desk = Desk(ROUTING)
        self.is_restarted = is_restarted
        self.live: dict[str, Alert] = {}
        self.episode = 0

    def go(self, happenings: Iterable[Happening]) -> None:
        at = 0.0
        for one in happenings:
            at += one.after
            self.until(at, *self.made_of(one))
        self.until(at + 7200)

    def until(self, at: float, events: Iterable[Alert] = (), commands: Iterable[Command] = ()) -> None:
        desk = self.desk
        while (due := desk.dispatcher.next_due()) < START + at:
            desk.now = max(desk.now, due)
            self.step((), ())
        desk.now = START + at
        self.step(events, commands)

    def step(self, events: Iterable[Alert], commands: Iterable[Command]) -> None:
        self.desk.step(*events, commands=tuple(commands))
        if self.is_restarted:
            self.desk.tables = on_disk(self.desk.tables)
            self.desk.restart()
            assert self.desk.step() == []  # the engine's first; nothing is due that was not

    def made_of(self, one: Happening) -> tuple[list[Alert], list[Command]]:
        desk = self.desk
        tags = {"host": one.host}
        known = self.live.get(f"{one.name} {one.host}")
        if one.what == "fire":
            return [self.fired(one)] if known is None else [], []
        if one.what == "end":
            return [self.ended(f"{one.name} {one.host}")] if known is not None else [], []
        if one.what == "clock":
            desk.dispatcher.move_clocks(0.0)  # what waits is worked out anew
            return [], []
        who = f"person {one.choice}"
        silences = desk.dispatcher.silences(desk.now)
        command: Command
        if one.what == "silence":
            matchers = equal_to({"alertname": one.name} if one.choice % 2 else tags)
            command = AddSilence(new_silence(matchers, now=desk.now, seconds=40.0 * (one.choice + 1), who=who))
        elif one.what == "unsilence":
            command = EndSilence(silences[0].id if silences else "none", who)
        elif one.what == "ack":
            until = desk.now + 100 if one.choice == 3 else float("inf")
            command = Ack(one.name, who, "", desk.now, tags if one.choice else None, until)
        else:
            command = Unack(one.name, who)
        return [], [command]

    def fired(self, one: Happening) -> Alert:
        self.episode += 1
        policy = "own" if one.name == "policy.own" else ""
        notify = ("sms:+1111",) if one.name != "a" else ()
        made = alert(one.name, {"host": one.host}, severity=one.severity, episode=self.episode, policy=policy,
                     notify=notify, since=self.desk.now)  # fmt: skip
        self.live[f"{one.name} {one.host}"] = made
        return made

    def ended(self, key: str) -> Alert:
        known = self.live.pop(key)
        return alert(known.name, known.tags, state="resolved", severity=known.severity, episode=known.episode,
                     policy=known.policy, notify=known.notify, since=known.since, until=self.desk.now)  # fmt: skip


def on_disk(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables as LMDB and msgpack give them back: in the order of their keys, lists for tuples."""
    return {
        table: {key: msgpack.unpackb(msgpack.packb(records[key])) for key in sorted(records)}
        for table, records in tables.items()
    }


LENGTHY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LENGTHY
@given(HAPPENINGS)
def test_a_run_with_a_restart_at_every_step_is_the_run_without(happenings: list[Happening]) -> None:
    plain, restarted = Run(False), Run(True)
    plain.go(happenings)
    restarted.go(happenings)
    assert [one.created - START for one in restarted.desk.told] == [one.created - START for one in plain.desk.told]
    assert restarted.desk.told == plain.desk.told
    assert restarted.desk.cancelled == plain.desk.cancelled
    assert restarted.desk.decisions == plain.desk.decisions
    assert on_disk(restarted.desk.tables) == on_disk(plain.desk.tables)


@LENGTHY
@given(HAPPENINGS)
def test_whatever_happens_keys_are_told_once_and_ends_reach_whom_the_page_reached(happenings: list[Happening]) -> None:
    run = Run(False)
    run.go(happenings)
    for key in list(run.live):
        run.until(run.desk.now - START + 1, [run.ended(key)])
    run.until(run.desk.now - START + 90_000)  # every wait, silence and mute time is over
    told = run.desk.told
    assert max(Counter(one.id for one in told).values(), default=1) == 1
    assert_minutes(run)
    knows: set[tuple[str, str]] = set()
    for one in told:
        for each in one.alerts:
            (knows.add if each.state == "firing" else knows.discard)((one.receiver, each.key))
    assert knows == set()
    assert run.desk.tables["members"] == {}
    assert [record for key, record in run.desk.tables["groups"].items() if not key.startswith("receiver-")] == []


def assert_minutes(run: Run) -> None:
    for receiver in {one.receiver for one in run.desk.told if one.receiver != "log:"}:
        times = [one.created for one in run.desk.told if one.receiver == receiver]
        for begin in times:
            # Two of the budget's minutes may share a minute of ours.
            assert sum(begin <= time < begin + 60 for time in times) <= 2 * NOTIFICATIONS_MAX


def test_a_group_of_a_release_that_paced_nothing_is_taken() -> None:
    desk, page = Desk(), alert()
    desk.at(0, page)
    for record in desk.tables["groups"].values():
        record.pop("paced", None)
    desk.restart()
    assert desk.dispatcher.counters()["damaged"] == 0
    assert [one.why for one in desk.at(60, alert(state="resolved"))] == ["resolved"]

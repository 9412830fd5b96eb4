"""States that change in crowds: the tick notes them, the keeper makes their records, and their order stays."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from hms_ops import keeper as keepers
from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.dispatch.dispatcher import Dispatcher
from hms_ops.alert.rule import rule_from_keys
from hms_ops.alert.rulefile import RuleFile
from hms_ops.alert.states.book import Book
from hms_ops.alert.states.instance import Key
from hms_ops.change import Change, Unmade
from hms_ops.clock import SECOND_NS, ManualClock
from hms_ops.keeper import Keeper
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

NOW = 1_700_000_000
CROWD = 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlertStore]:
    environment = Environment(tmp_path / "state", databases=STATE_DATABASES)
    yield AlertStore(environment)
    environment.close()


@pytest.fixture
def keeper(store: AlertStore) -> Keeper:
    clock = ManualClock(NOW * SECOND_NS)
    outbox = Outbox(clock, lambda name, target: Thread(target=target), {}, lambda *outcome: None)
    dispatcher = Dispatcher(RuleFile().routing, origin="http://here")
    made = Keeper(dispatcher, outbox, clock, "http://here", tell=lambda alerts: None, tell_decisions=lambda found: None)
    made.open(store)
    return made


def record(number: int) -> Change:
    return Change("instances", "one", {"number": number})


def crowd(number: int, made: list[int] | None = None, count: int = CROWD) -> Unmade:
    """So many changes of the same key; `made` is told when they are made."""

    def make() -> list[Change]:
        if made is not None:
            made.append(number)
        return [record(number)]

    return Unmade(count, make)


def test_records_of_a_crowd_are_made_in_the_turn_and_in_their_order(keeper: Keeper, store: AlertStore) -> None:
    made: list[int] = []
    keeper.put([], [record(1)])
    keeper.put([], [], crowd(2, made))
    keeper.put([], [], crowd(3, made, count=1))
    keeper.put([], [record(4)])
    assert not made
    assert keeper.counters()["unsaved"] == 1 + CROWD + 1 + 1
    keeper.turn()
    assert made == [2, 3]
    assert store.load("instances") == {"one": {"number": 4}}
    keeper.put([], [record(5)], crowd(6, made))
    keeper.put([], [], crowd(7, made, count=1))
    keeper.turn()
    assert store.load("instances") == {"one": {"number": 7}}


def test_what_waits_for_too_long_is_made_by_who_puts_it(
    keeper: Keeper, store: AlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "UNMADE_MAX", 2 * CROWD)
    made: list[int] = []
    for number in range(3):
        keeper.put([], [], crowd(number, made))
    assert made == [0, 1, 2]
    assert keeper.counters()["unsaved"] == 1
    keeper.turn()
    assert store.load("instances") == {"one": {"number": 2}}


def test_records_that_cannot_be_made_cost_nothing_else(keeper: Keeper, store: AlertStore) -> None:
    def fail() -> list[Change]:
        raise KeyError("a mistake of ours")

    for count in (1, CROWD):
        keeper.put([], [Change("silences", str(count), {"a": 1})], Unmade(count, fail))
    keeper.turn()
    assert set(store.load("silences")) == {"1", str(CROWD)}
    assert keeper.counters()["errors"] == 2


def test_records_say_what_was_when_they_were_taken() -> None:
    """However much moves until they are made: states, places, and rules."""

    def rule(hold: str) -> Any:
        return rule_from_keys({"alert": "slow", "if": "avg(a) > 200", "for": hold, "notify": ["log:"]}, "test")[0]

    keys: list[Key] = [("slow", (("host", str(n)),)) for n in range(3)]
    ones, zeros = np.ones(3), np.zeros(3)

    def begun() -> Book:
        book = Book([rule("0s")])
        book.advance(keys, ones, zeros, np.array([7.0, 8.0, 9.0]), NOW)
        return book

    expected, book = begun().changes(NOW), begun()
    later = book.take_changes(NOW)
    book.advance(keys[1:], zeros[1:], ones[1:], zeros[1:], NOW + 1)
    book.replace_rules([rule("10m")], NOW + 2)
    newer = book.take_changes(NOW + 2)
    assert later.count == 4
    assert later.make() == expected
    assert {change.record["phase"] for change in newer.make() if change.record and "phase" in change.record} == {
        "inactive",
        "pending",
    }

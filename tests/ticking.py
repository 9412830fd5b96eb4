"""A book of alerts that a test ticks by hand: one sign a tick for each instance, and restarts in between.

Signs: T the condition is TRUE, F it is FALSE (and so is calm), N it is NULL, b neither breached nor calm (the band of a
rule with RECOVER), x the series is gone, ! its windows are not wholly known, and what is known of them is FALSE.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule, rule_from_keys
from hms_ops.alert.states.book import Book
from hms_ops.alert.states.instance import Key
from hms_ops.change import Change

NULL = math.nan
CONDITION = {"T": 1.0, "F": 0.0, "b": 0.0, "!": 0.0, "N": NULL}
RECOVER = {"T": 0.0, "F": 1.0, "b": 0.0, "!": 1.0, "N": NULL}


def rule(name: str = "slow", condition: str = "avg(a) > 200", **keys: object) -> Rule:
    """`for` is written for_."""
    given = {"alert": name, "if": condition, **{key.rstrip("_"): value for key, value in keys.items()}}
    made, problems = rule_from_keys(given, "test")
    assert made is not None, problems
    return made


class Disk:
    """What is kept of a book: the tables as the store would have them, records through text and back."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {"instances": {}, "marks": {}}

    def commit(self, changes: Sequence[Change]) -> None:
        for change in changes:
            table = self.tables[change.table]
            if change.record is None:
                table.pop(change.key, None)
            else:
                table[change.key] = json.loads(json.dumps(change.record))

    @property
    def alive(self) -> int:
        return int(self.tables["marks"].get("alive", {"second": 0})["second"])

    @property
    def records(self) -> dict[str, Any]:
        return self.tables["instances"]


class Ticked:
    """A book with one instance for each key, ticked second by second; what it tells is written down."""

    def __init__(self, *rules: Rule, keys: Sequence[Key] = (("slow", ()),), start: int = 1000, **options: int) -> None:
        self.rules = rules or (rule(),)
        self.keys = tuple(keys)
        self.options = options
        self.book = Book(self.rules, **options)
        self.disk = Disk()
        self.second = start
        self.log: list[tuple[int, str, str, int]] = []  # second, name, state, episode
        self.told: list[Alert] = []

    def tick(self, signs: str) -> list[Alert]:
        """One second; a sign for each key."""
        here = [(key, sign) for key, sign in zip(self.keys, signs, strict=True) if sign != "x"]
        seen = "".join(sign for _, sign in here)
        events = self.book.advance(
            [key for key, _ in here],
            np.array([CONDITION[sign] for sign in seen], np.float64),
            np.array([RECOVER[sign] for sign in seen], np.float64),
            np.full(len(seen), 215.0),
            self.second,
            whole=np.array([sign != "!" for sign in seen], np.bool_) if "!" in seen else None,
        )
        self.hear(events)
        self.disk.commit(self.book.changes(self.second))
        self.second += 1
        return events

    def hear(self, events: list[Alert]) -> None:
        self.told += events
        self.log += [(self.second, alert.name, alert.state, alert.episode) for alert in events]

    def run(self, *instances: str) -> "Ticked":
        """A string of signs for each instance, one tick for each column."""
        for signs in zip(*instances, strict=True):
            self.tick("".join(signs))
        return self

    def restart(self, away: int = 0, *rules: Rule) -> list[Alert]:
        """A new book from what is on disk; `away` seconds pass in which nobody ticks."""
        self.rules = rules or self.rules
        self.second += away
        self.book = Book(self.rules, **self.options)
        events = self.book.restore(self.disk.records, self.disk.alive, self.second)
        self.hear(events)
        self.disk.commit(self.book.changes(self.second - 1))
        return events

    @property
    def states(self) -> list[str]:
        return [alert.state for alert in self.book.alerts()]

    @property
    def words(self) -> list[tuple[int, str]]:
        """The log as (second since the start of the test, state)."""
        return [(second - 1000, state) for second, _, state, _ in self.log]

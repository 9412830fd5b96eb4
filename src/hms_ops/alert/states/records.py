"""Which records of rules' instances differ from those on disk, and what they say.

A place is marked CHANGED by whatever moves its state in a way that time alone does not; `changes` turns the marks into
records (`restart.py` has their fields) and takes them off.
Cost: 6 to 10 µs a record. Not thread-safe: the book's lock is held.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from hms_ops.alert.rule import Rule
from hms_ops.alert.states.instance import Facts, Key, id_of, looks_of
from hms_ops.alert.states.places import Places, Row
from hms_ops.alert.states.restart import record_of
from hms_ops.change import Change
from hms_ops.kernels.phases import CHANGED, STALE, STILL

NO_FACTS: Final = Facts()  # of what is remembered of a rule that is gone


class Records:
    """The records of the instances of these rules, one row for each rule."""

    def __init__(self) -> None:
        self.stale: dict[Key, str] = {}  # why an instance marked STALE is
        self._ids: dict[Key, str] = {}  # of those with a record on disk
        self._rules: Sequence[Rule] = ()
        self._facts: Sequence[Facts] = ()
        self._looks: dict[int, str] = {}  # by row

    def take_rules(self, rules: Sequence[Rule], facts: Sequence[Facts]) -> None:
        self._rules, self._facts, self._looks = rules, facts, {}

    def changes(self, places: Places, key_of: Callable[[int], Key], gone: list[Key]) -> list[Change]:
        """The changes since the last call; empties `gone`."""
        changes = [self._removal(key) for key in gone]
        gone.clear()
        at = places.changed()
        for row in places.rows(at):
            key = key_of(row.place)
            if row.state.phase == "inactive" and not row.state.episode:
                changes.append(self._removal(key))
            else:
                changes.append(Change("instances", self._id(key), self._record(key, row)))
        places.marks[at] &= ~np.uint8(CHANGED)
        return changes

    def why_stale(self, key: Key, marks: int) -> str:
        return self.stale.get(key, "") if marks & STALE else ""

    def _removal(self, key: Key) -> Change:
        self.stale.pop(key, None)
        return Change("instances", self._ids.pop(key, "") or id_of(key), None)

    def _id(self, key: Key) -> str:
        return self._ids.get(key) or self._ids.setdefault(key, id_of(key))

    def _record(self, key: Key, row: Row) -> dict[str, Any]:
        facts, more = NO_FACTS, dict[str, Any]()
        if row.rule >= 0:
            facts = self._facts[row.rule]
            more = {"looks": self.look(row.rule), "for": self._rules[row.rule].for_seconds}
        if row.state.phase == "inactive":
            more["ended"] = row.ended
        if row.marks & STILL:
            more["still"] = True
        if row.marks & STALE:
            more["stale"] = self.stale.get(key, "")
        elif self.stale:
            self.stale.pop(key, None)
        return record_of(key, row.state, row.value, facts, more)

    def look(self, row: int) -> str:
        """What the rule of this row looks for."""
        return self._looks.get(row) or self._looks.setdefault(row, looks_of(self._rules[row]))

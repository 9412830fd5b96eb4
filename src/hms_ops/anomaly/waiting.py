"""Episodes of before a restart, or a reload, until they go on or end: which of them may, and why the others may not.

    records ─restore─┐
    a reload ──take──┴─► Waiting ─go_on─► resumed: its series is there, and in the detector again
                                   └────► cut off: its rule is gone or looks for something else, the engine was away too
                                          long, its series did not come back

Not thread-safe: the lock of duty.py is held. Errors: a record that cannot be read is logged, counted in `damaged` and
taken away. Limit: WAIT_SECONDS_MAX; as many as a table has records.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from hms_ops.alert.rule import AnomalyRule
from hms_ops.alert.states.restart import AWAY_SECONDS_MAX, away_text
from hms_ops.anomaly.episode import Episode, Kept, kept_of_record, looks_for_same, moved_by, record_of, shifted
from hms_ops.change import Change

log = logging.getLogger("hms_ops.alert")

TABLE: Final = "anomalies"
WAIT_SECONDS_MAX: Final = 3600  # for its series after a restart; that of an idle one lasts as long
OFFERED_AGAIN_SECONDS: Final = 600  # after a restart actions are offered what was held so lately


class Waiting:
    """Those that are in no detector now. `resumed`, `cut_off`, `damaged`: how many, since the start."""

    def __init__(self) -> None:
        self.resumed = self.cut_off = self.damaged = 0
        self._kept: dict[str, Kept] = {}  # by key
        self._until = 0  # the second from which on they are ended
        self._too_long = ""  # why none of them may go on
        self._unsure: set[str] = set()  # keys of those that may not have reached their actions

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Episode]:
        return (kept.episode for kept in self._kept.values())

    def take(self, kept: Kept) -> None:
        """One that lasts, out of a detector that is given up."""
        self._kept[kept.episode.key] = kept

    def restore(self, records: Mapping[str, Mapping[str, Any]], alive_second: int, now_second: int) -> list[Change]:
        """Take up what the table has, before the first tick; returns what it must have from now on. The seconds as in
        `Book.restore`."""
        away = now_second - alive_second
        self._until = now_second + WAIT_SECONDS_MAX
        self._too_long = f"the engine was away for {away_text(away)}" if away > AWAY_SECONDS_MAX else ""
        for key, record in records.items():
            try:
                kept = kept_of_record(key, record)
            except (ValueError, KeyError, TypeError) as error:
                self.damaged += 1
                log.error("the record %s of an anomaly cannot be read, and is skipped: %r", key, error)
                continue
            self._kept[key] = replace(kept, standing=moved_by(kept.standing, alive_second, now_second))
            if kept.standing.is_held and now_second - kept.standing.since < OFFERED_AGAIN_SECONDS:
                self._unsure.add(key)
        return [*self.changes(), *(Change(TABLE, key, None) for key in records.keys() - self._kept.keys())]

    def changes(self) -> list[Change]:
        """The records of all."""
        return [put(kept) for kept in self._kept.values()]

    def metrics(self) -> set[str]:
        """Whose series it would be good to have back before the first tick."""
        return {episode.metric for episode in self}

    def move_clock(self, seconds: int) -> None:
        self._kept = {key: replace(one, standing=shifted(one.standing, seconds)) for key, one in self._kept.items()}
        self._until += seconds

    def is_over(self, end: int) -> bool:
        """Whether some have waited for too long."""
        return bool(self._kept) and end >= self._until

    def go_on(
        self, rules: Mapping[str, AnomalyRule], resume: Callable[[Kept, bool], bool], end: int
    ) -> list[tuple[Episode, str]]:
        """Take out whatever waits no longer; returns what ends by it, and why.

        rules: those in force. resume: called with what may go on, and whether its actions may not have been offered it;
        says whether its series is there."""
        ended: list[tuple[Episode, str]] = []
        for key, kept in list(self._kept.items()):
            rule = rules.get(kept.episode.rule.name)
            reason = self._too_long or why_not(kept.episode.rule, rule)
            if rule is not None and not reason:
                self._kept[key] = kept = replace(kept, episode=replace(kept.episode, rule=rule))
                if resume(kept, key in self._unsure):
                    self.resumed += 1
                    self._forget(key)
                    continue
                reason = "the series is gone" if end >= self._until else ""
            if reason:
                self.cut_off += 1
                self._forget(key)
                ended.append((kept.episode, reason))
        self._too_long = ""
        return ended

    def _forget(self, key: str) -> None:
        del self._kept[key]
        self._unsure.discard(key)


def put(kept: Kept) -> Change:
    return Change(TABLE, kept.episode.key, record_of(kept.episode, kept.standing))


def why_not(before: AnomalyRule, now: AnomalyRule | None) -> str:
    """Why an episode of a rule cannot go on under the one of its name that is in force, or nothing."""
    if now is None:
        return "its rule is gone"
    return "" if looks_for_same(before, now) else "its rule was changed"

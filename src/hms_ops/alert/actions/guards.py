"""Which runs of actions may happen: once an episode, not within the cooldown, not too often an hour.

Also the memory of runs, which a restart fills again. Not thread-safe: the runner's lock is held. Times are ns, Unix.
Limits: RUNS_KEPT_MAX runs remembered, oldest forgotten first, their records with them.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from hms_ops.alert.actions.run import Run
from hms_ops.clock import SECOND_NS

RUNS_KEPT_MAX: Final = 5_000
HOUR_NS: Final = 3600 * SECOND_NS


class Guards:
    """Every run that was let through, by its key, oldest first; and when each action ran."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any] | None] = {}  # None until its intent is recorded
        self._runs_ns: dict[str, deque[int]] = {}  # of each action, those of the last hour or the last one

    def objection(self, run: Run, now_ns: int) -> str:
        """Why the run must not happen, or nothing."""
        rule, runs_ns = run.rule, self._runs_ns.get(run.rule.name, ())
        if run.key in self._records:
            return "it ran for this episode already"
        if runs_ns and now_ns - runs_ns[-1] < rule.cooldown_seconds * SECOND_NS:
            return f"it ran {(now_ns - runs_ns[-1]) // SECOND_NS} s ago, the cooldown is {rule.cooldown_seconds:g} s"
        if sum(now_ns - run_ns < HOUR_NS for run_ns in runs_ns) >= rule.limit_per_hour:
            return f"it ran {rule.limit_per_hour} times within an hour, which is its limit"
        return ""

    def admit(self, run: Run, now_ns: int) -> list[str]:
        """Remember a run; returns the keys of those that are forgotten for it."""
        self._ran(run.rule.name, now_ns)
        self._records[run.key] = None
        return self._forget()

    def keep(self, key: str, record: dict[str, Any]) -> None:
        """What is on record of a run from now on."""
        if key in self._records:
            self._records[key] = record

    def restore(self, key: str, action: str, record: dict[str, Any]) -> None:
        """Remember one from its record; to be called in the order of their times."""
        self._ran(action, int(float(record["time"]) * SECOND_NS))
        self._records[key] = record

    def records(self, limit: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Key and record of the latest, newest first."""
        kept = ((key, record) for key, record in reversed(self._records.items()) if record is not None)
        return islice(kept, limit)

    def _ran(self, action: str, at_ns: int) -> None:
        runs_ns = self._runs_ns.setdefault(action, deque())
        while runs_ns and at_ns - runs_ns[0] >= HOUR_NS:
            runs_ns.popleft()
        runs_ns.append(at_ns)

    def _forget(self) -> list[str]:
        forgotten = list(islice(self._records, max(0, len(self._records) - RUNS_KEPT_MAX)))
        for key in forgotten:
            del self._records[key]
        return forgotten

"""What is on record of runs: an intent before, an outcome after, and the stop switch; kept on disk by `commit`.

    begin(run)      synced, or the run does not happen      settle(run, …)   as soon as the disk takes it
    restore(…)      an intent without an outcome is `unknown`, is recorded so, and nobody repeats it
    told(…)         a human was called about it: until then its record says that this is owed

Until `open` nothing is kept. An outcome or a switch that the disk refuses waits in memory and goes with the next
commit or `flush`; should the engine die before that, the run is unknown then, which is no worse than the truth.

Threads: any; commits come one after the other under a lock of their own, so that the records of a run keep their
order, and nothing else waits for it. Limits: those of guards.py, which forgets the oldest runs.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from hms_ops.alert.actions.guards import Guards
from hms_ops.alert.actions.run import Run, State, record_of, run_of_record
from hms_ops.alert.rule import ActionRule
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock

LOGGER: Final = logging.getLogger("hms_ops.alert")

WATCHED: Final = ("verify_from", "verify_until")
UNKNOWN: Final = "unknown: the engine ended before it knew"

Commit = Callable[[Sequence[Change]], None]


class Restored(NamedTuple):
    """Runs of before a restart that need something: a word about those that are unknown, a human for those about which
    nobody was called yet, watching on."""

    unknown: list[Run]
    owed: list[tuple[Run, str]]  # and why; those that are unknown among them
    watched: list[tuple[Run, float, float]]  # from and until, Unix seconds


class RunLog:
    """The records of all runs that are remembered."""

    def __init__(self, clock: Clock) -> None:
        self.guards = Guards()
        self.damaged = 0
        self._clock = clock
        self._commit: Commit | None = None
        self._lock = threading.Lock()
        self._committing = threading.Lock()
        self._open: dict[str, dict[str, Any]] = {}  # records of runs that are not over
        self._waiting: dict[tuple[str, str], Change] = {}  # for the disk, the latest of each key

    def open(self, commit: Commit) -> None:
        """Keep what comes from now on."""
        self._commit = commit

    # ---- guards

    def objection(self, run: Run) -> str:
        with self._lock:
            return self.guards.objection(run, self._clock.now_ns())

    def admit(self, run: Run) -> None:
        with self._lock:
            for key in self.guards.admit(run, self._clock.now_ns()):
                self._waiting["runs", key] = Change("runs", key, None)

    def list_runs(self, limit: int) -> list[dict[str, Any]]:
        with self._lock:
            return [{"key": key, **record} for key, record in self.guards.records(limit)]

    # ---- the course of a run

    def begin(self, run: Run) -> None:
        """Record the intent; raises what `commit` raises, and then the run must not happen."""
        record = record_of(run, self._clock.now_ns() / SECOND_NS)
        self._put([Change("runs", run.key, record)])
        with self._lock:
            self._open[run.key] = record
            self.guards.keep(run.key, record)

    def settle(self, run: Run, state: State, outcome: str, **more: Any) -> None:
        """Record the outcome. more: fields of its record; while it is watched, `verified` is "" among them, and while
        nobody was told of it, `owed` says why somebody is to be."""
        self._amend(run.key, state=state, outcome=outcome, **more)
        if more.get("verified") != "" and not more.get("owed"):
            self._close(run.key)

    def verified(self, run: Run, outcome: str, owed: str = "") -> None:
        self._amend(run.key, verified=outcome, owed=owed)
        if not owed:
            self._close(run.key)

    def told(self, keys: Iterable[str]) -> None:
        """A human was called about these runs, and that cannot be lost any more."""
        for key in keys:
            self._amend(key, owed="")
            self._close(key)

    def flush(self) -> bool:
        """Try again what the disk has refused; True when nothing waits any more."""
        if self._waiting:
            self._put_soon([])
        return not self._waiting

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def _amend(self, key: str, **facts: Any) -> None:
        with self._lock:
            before = self._open.get(key)
            if before is None:
                return  # its intent could not be recorded
            record = {**before, **facts}
            self._open[key] = record
            self.guards.keep(key, record)
        self._put_soon([Change("runs", key, record)])

    def _close(self, key: str) -> None:
        with self._lock:
            self._open.pop(key, None)

    # ---- the stop switch

    def mark_halted(self, who: str, reason: str) -> None:
        mark = {"who": who, "reason": reason, "time": self._clock.now_ns() / SECOND_NS}
        self._put_soon([Change("marks", "halted", mark)])

    def unmark_halted(self) -> None:
        self._put_soon([Change("marks", "halted", None)])

    # ---- disk

    def _put_soon(self, changes: Sequence[Change]) -> None:
        with self._lock:
            self._waiting |= {(change.table, change.key): change for change in changes}
        try:
            self._put([])
        except Exception:
            LOGGER.exception("what came of an action cannot be kept on disk now; it is tried again")

    def _put(self, changes: Sequence[Change]) -> None:
        """Commit these after all that waits."""
        with self._committing:
            with self._lock:
                waiting = dict(self._waiting)
            if self._commit is not None and (waiting or changes):
                self._commit([*waiting.values(), *changes])
            with self._lock:
                for key, change in waiting.items():
                    if self._waiting.get(key) is change:
                        del self._waiting[key]

    def restore(self, records: Mapping[str, Mapping[str, Any]], rules: Mapping[str, ActionRule]) -> Restored:
        """Remember the runs of before; `open` has been called. Records that cannot be read are counted and removed."""
        restored = Restored([], [], [])
        read = [found for found in (self._read(key, record, rules) for key, record in records.items()) if found]
        for run, record in sorted(read, key=lambda found: float(found[1]["time"])):
            with self._lock:
                self.guards.restore(run.key, run.rule.name, record)
                self._open[run.key] = record
            if record["state"] == "intent":
                self.settle(run, "unknown", UNKNOWN, owed=UNKNOWN)
                restored.unknown.append(run)
                restored.owed.append((run, UNKNOWN))
            elif record.get("verified") == "":
                restored.watched.append((run, float(record["verify_from"]), float(record["verify_until"])))
            elif record.get("owed"):
                restored.owed.append((run, str(record["owed"])))
            else:
                self._close(run.key)
        return restored

    def _read(
        self, key: str, record: Mapping[str, Any], rules: Mapping[str, ActionRule]
    ) -> tuple[Run, dict[str, Any]] | None:
        try:
            if record.get("verified") == "" and not all(math.isfinite(record[name]) for name in WATCHED):
                raise ValueError("it was watched, and its record does not say until when")
            return run_of_record(key, record, rules.get(str(record["action"]))), dict(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.damaged += 1
            LOGGER.error("the record %s of an action cannot be read, and is removed: %r", key, error)
            with self._lock:
                self._waiting["runs", key] = Change("runs", key, None)
            return None

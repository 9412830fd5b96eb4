"""A data directory, opened: the lock that makes it ours, history, catalogue and journal.

    data_dir/
        engine.lock            held by the one engine that uses the directory, with its pid
        history/<tier>/        rows and sketches, an LMDB environment for each block or partition (history.py)
        catalogue/             the numbers of series (catalogue.py)
        state/                 the journal (journal.py), how far remotes were sent (cursors.py), alert states, outbox,
                               silences and runs (alerting.py), the audit log (audit.py)

The engine opens it once at start and closes it at stop. Whatever is wrong with it is a StartError of one line here;
later errors are StorageErrors, after which the engine goes on in memory and tries again with its next step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hms_ops.errors import StartError, StorageError
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.audit import Audit, note_lost
from hms_ops.storage.catalogue import Catalogue, open_catalogue
from hms_ops.storage.cursors import Cursors
from hms_ops.storage.environment import DirectoryLock, Environment, open_or_set_aside
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.journal import Journal

STATE_DATABASES = 32


@dataclass(frozen=True, slots=True)
class Storage:
    """What is on disk. `state` is the environment of journal, cursors, alerting and audit, with a writer of its own."""

    lock: DirectoryLock
    history: History
    catalogue: Catalogue
    state: Environment
    journal: Journal
    cursors: Cursors
    alerting: AlertStore
    audit: Audit
    set_aside: tuple[str, ...]
    """Which of catalogue and state were damaged and begun anew."""

    def counters(self) -> dict[str, dict[str, int]]:
        """The counters of each part by its name; a part that cannot be read, or is closed, has none."""
        return {
            "history": _readable(self.history.counters),
            "catalogue": _readable(self.catalogue.counters),
            "journal": _readable(self.journal.counters),
            "alerting": _readable(self.alerting.counters),
            "audit": _readable(self.audit.counters),
        }

    def problems(self) -> list[str]:
        """What was damaged when it was opened or read since, one line each."""
        found = [f"{name} was damaged; it was set aside and begun anew" for name in self.set_aside]
        if self.history.problem:
            found.append(self.history.problem)
        for name, counts in self.counters().items():
            if set_aside := counts.get("set_aside"):
                found.append(f"{name}: {set_aside:,} damaged environments were set aside")
            if damaged := counts.get("damaged"):
                found.append(f"{name}: {damaged:,} damaged records are skipped")
        return found + self.alerting.problems()

    def close(self) -> None:
        """Idempotent. The caller has stopped writing; readers are waited for."""
        self.history.close()
        self.catalogue.close()
        self.state.close()
        self.lock.release()


def _readable(counters: Callable[[], dict[str, int]]) -> dict[str, int]:
    try:
        return counters()
    except StorageError:
        return {}


def open_storage(data_dir: Path, config: HistoryConfig | None = None) -> Storage:
    """Open a data directory, created when it is not there. StartError: nothing stays open."""
    lock = DirectoryLock(data_dir)
    opened: list[History | Catalogue | Environment] = []
    try:
        history = History(data_dir, config)
        opened.append(history)
        catalogue, is_new_catalogue = open_catalogue(data_dir, history.highest_id)
        opened.append(catalogue)
        state, is_new_state = open_or_set_aside(data_dir / "state", databases=STATE_DATABASES)
        opened.append(state)
        damaged = [name for name, is_new in (("catalogue", is_new_catalogue), ("state", is_new_state)) if is_new]
        kept = (Journal(state), Cursors(state), AlertStore(state), Audit(state))
        if is_new_state:
            note_lost(kept[-1], data_dir / "state")
        return Storage(lock, history, catalogue, state, *kept, tuple(damaged))
    except BaseException as error:
        for part in opened:
            part.close()
        lock.release()
        if isinstance(error, StorageError):
            raise StartError(str(error)) from error
        raise

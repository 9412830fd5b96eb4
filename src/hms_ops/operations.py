"""What is done to the series and the history of a running engine: list, delete, export, import, back up.

Called by the engine's methods and by HTTP; each change is an event in the journal, with who asked for it. Selectors are
alert/selection.py's. Reading and deleting work on memory too; export, import and backup are of the disk.

Threads: any; one import or backup at a time, the next one is refused. Errors: ExpressionError for what is no selector,
StorageError when the disk fails or the engine keeps nothing on disk, ValueError for a wrong argument.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import ConfigError, StorageError
from hms_ops.past import Past
from hms_ops.recorder import Recorder
from hms_ops.roster import Known
from hms_ops.series import SeriesInfo
from hms_ops.storage.tier import HOUR, MINUTE, TIERS

if TYPE_CHECKING:
    from hms_ops.alert.selection import Selection
    from hms_ops.storage.catalogue import Description
    from hms_ops.storage.exchange import Touched
    from hms_ops.storage.store import Storage

log = logging.getLogger("hms_ops.operations")

SETTLED_SECONDS: Final = 900
"""Rows of younger steps may still be on their way to the backlog or from it; what waits there longer is looked at."""

ALL_TIERS: Final = "all"

Emit = Callable[[dict[str, Any]], None]


class Operations:
    """`is_stopping` is set when the engine stops: what runs long ends by itself."""

    def __init__(
        self,
        recorder: Recorder,
        past: Past,
        clock: Clock,
        emit: Emit,
        *,
        let_go: Callable[[], None],
        describe: Callable[[str, str | None, str | None], None],
    ) -> None:
        """`let_go`: drops the handles that in-process calls keep, so that their series can be deleted whole.
        `describe`: keeps a metric's (name, unit, help), and lets rules read the unit; ConfigError when they cannot."""
        self.is_stopping = threading.Event()
        self._recorder = recorder
        self._past = past
        self._clock = clock
        self._emit = emit
        self._let_go = let_go
        self._keep_description = describe
        self._busy = threading.Lock()
        self._touched: Touched | None = None

    # ---- series

    def series(self, selection: "Selection") -> Iterator[SeriesInfo]:
        """Those of a selection that memory or disk knows, by metric and tags."""
        return (one.info for one in self._chosen(selection))

    def description(self, name: str) -> dict[str, Any]:
        """{kind, unit, help} of a metric; empty without a data directory."""
        storage = self._recorder.storage
        return {"kind": 0, "unit": "", "help": ""} if storage is None else storage.catalogue.description(name)

    def descriptions(self) -> "dict[str, Description]":
        """Those of all metrics; none without a data directory."""
        storage = self._recorder.storage
        return {} if storage is None else storage.catalogue.descriptions()

    def delete(self, selector: str, by: str) -> list[SeriesInfo]:
        """Delete series: gone from queries at once, from disk with the partitions their rows are in. Returns them.

        An empty selector is none: nothing deletes everything by accident.
        """
        from hms_ops.alert.selection import parse_selection

        chosen = list(self._chosen(parse_selection(selector)))
        if chosen:
            self._let_go()
            self._recorder.delete(chosen)
            self.note("delete", by, selector=selector, series=len(chosen))
        return [one.info for one in chosen]

    def note(self, kind: str, by: str, **told: Any) -> None:
        """An event for the journal: what was done, and who asked for it."""
        self._emit({"kind": kind, "by": by, **told})

    def _chosen(self, selection: "Selection") -> Iterator[Known]:
        for name in selection.metrics(self._past.metrics()):
            yield from (one for one in self._past.known(name) if selection.accepts(one.info))

    # ---- history

    def export(self, selector: str, start: float | None, end: float | None, tier: str, format: str) -> Iterator[str]:
        """The text in pieces; see storage/exchange.py. tier: 10s, 1m, 1h or all."""
        from hms_ops.storage.exchange import exported

        selection, storage = _selection(selector), self._storage()
        return exported(
            storage.history,
            storage.catalogue,
            selection.metrics(storage.catalogue.names()),
            selection.accepts,
            tiers_of(tier),
            int(start or 0),
            int(end if end is not None else self._clock.now_ns() // SECOND_NS + 1),
            format,
        )

    def import_rows(self, pieces: Iterable[bytes], by: str, is_last: bool = True) -> dict[str, object]:
        """Write the rows of an export; what became of them. Several calls may make one import: the coarser tiers are
        filled by the last. ValueError for what is no export."""
        from hms_ops.storage.exchange import Importer, RowsReader, Touched, read_into
        from hms_ops.storage.intake import Tally

        storage, tally, settled = self._storage(), Tally(), self._settled_ends()
        with self._alone("import"):
            self._touched = self._touched or Touched()
            reader = RowsReader(tally, settled)
            now_ns = self._clock.now_ns()
            importer = Importer(storage.history, storage.catalogue, tally, now_ns, settled, self._touched)
            read_into(importer, reader, pieces)
            importer.describe(reader.described, self._describe)
            filled = importer.fill(self._rolled_ends) if is_last else 0
            self._touched = None if is_last else self._touched
        answer = tally.document() | {"filled": filled}
        self.note("import", by, **{key: answer[key] for key in ("rows", "written", "present", "filled")})
        return answer

    def back_up(self, directory: str, by: str) -> dict[str, Any]:
        """Copy everything on disk, as of one moment, into a new directory of this host; ingest goes on."""
        from hms_ops.storage.backup import back_up

        storage, target = self._storage(), Path(directory)
        if not target.is_absolute():
            raise ValueError(f"directory {directory!r} is not absolute")
        with self._alone("backup"):
            manifest = back_up(storage, target, self._clock.now_ns(), self.is_stopping.is_set)
        made = {"directory": directory, "files": len(manifest.files), "bytes": manifest.size_bytes}
        self.note("backup", by, **made)
        return made

    def _describe(self, name: str, unit: str | None, words: str | None) -> None:
        try:
            self._keep_description(name, unit, words)
        except ConfigError as error:
            log.warning("the unit of %s was imported, and a rule cannot read it: %s", name, error)

    def _storage(self) -> "Storage":
        if self._recorder.storage is None:
            raise StorageError("this engine keeps nothing on disk: it runs without a data directory")
        return self._recorder.storage

    def _rolled_ends(self) -> list[int]:
        """By tier: rows that end later are still to be made by the recorder, of the finer ones on disk."""
        recorder = self._recorder
        first = int(recorder.store.first_second)
        rolled = {
            MINUTE: recorder.minutes_end or first - first % TIERS[MINUTE].step_seconds,
            HOUR: recorder.hours_end or first - first % TIERS[HOUR].step_seconds,
        }
        return [rolled.get(tier, first) for tier in range(len(TIERS))]

    def _settled_ends(self) -> list[int]:
        """By tier: rows that end later are still to come from the recorder, or wait in it."""
        settled = self._clock.now_ns() // SECOND_NS - SETTLED_SECONDS
        backlog = self._recorder.backlog
        with backlog.guard:  # late rows join whatever is there
            waiting = [rows.steps[0] for rows in backlog.snapshot() if not rows.is_patch and len(rows.steps)]
        if waiting:  # and neither it nor its minute is on disk
            oldest = int(min(waiting))
            settled = min(settled, oldest - oldest % TIERS[MINUTE].step_seconds)
        return [settled, *(min(settled, end) for end in self._rolled_ends()[1:])]

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise StorageError(f"another import or backup is under way; start this {what} when it is done")
        try:
            yield
        finally:
            self._busy.release()


def tiers_of(tier: str) -> list[int]:
    """The tiers of a name; ValueError names those there are."""
    if tier == ALL_TIERS:
        return list(range(len(TIERS)))
    names = [known.name for known in TIERS]
    if tier not in names:
        raise ValueError(f"tier {tier!r} is none of {', '.join((*names, ALL_TIERS))}")
    return [names.index(tier)]


def _selection(selector: str) -> "Selection":
    from hms_ops.alert.selection import EVERYTHING, parse_selection

    return parse_selection(selector) if selector else EVERYTHING

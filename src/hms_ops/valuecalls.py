"""The engine's calls that are about values: in by the program, out of memory and history, and what is done to both.

A part of `Engine`, which inherits it; apart so that each file can be read whole. What memory and history are asked for
is reading.py's, what is done to them operations.py's, values for handlers hooks.py's.
Threads: any. In a forked child values go to the parent's listener, and every question raises ForkedError.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Series, Store
from hms_ops.forked import Child
from hms_ops.hooks import ValueHandler, ValueHook, ValueHooks
from hms_ops.operations import Operations
from hms_ops.paging import BY_PROGRAM
from hms_ops.parts import Parts
from hms_ops.quantity import parse_duration
from hms_ops.series import SeriesInfo

if TYPE_CHECKING:
    from hms_ops.storage.merge import Rows

Tags = Mapping[str, str]


class ValueCalls:
    """What these calls need of the engine."""

    store: Store
    values: ValueHooks
    operations: Operations
    _parts: Parts
    _child: Child | None
    _check_not_forked: Callable[[], None]

    # ---- values in

    def series(self, name: str, kind: str | None = None, tags: Tags | None = None) -> Series:
        """A handle to add values to one series; as long as it is held the series keeps its place.

        ValueError for a name, kind or tag that no sample could have.
        """
        return self.store.handle(name, kinds.kind_number(kind) if kind else kinds.UNKNOWN, dict(tags) if tags else None)

    def ingest(self, datagram: Any) -> None:
        """One datagram (bytes-like, StatsD, JSON or msgpack), as from the socket. Never raises on bad data."""
        if self._child is not None:
            self._child.ingest(datagram)
            return
        self.store.ingest(datagram)

    def ingest_body(self, data: bytes) -> dict[str, Any]:
        """One HTTP body, JSON lines included; returns what the ledger gained by it."""
        from hms_ops.collector.body import ingest_body

        self._check_not_forked()
        return ingest_body(self.store, data, self._parts.http_input)

    def describe(self, name: str, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help with it; None leaves what is there.

        Rules read units (200ms against a metric in ms), those that are there already as well.
        """
        if self._child is not None:
            self._child.dropped += 1
            return
        self._parts.described.describe(name, unit, help)

    def described_unit(self, metric: str) -> str | None:
        """What `describe` said, "ms" for a timer whose name says nothing else; None where nothing is known."""
        return self._parts.described.unit(metric)

    # ---- values out

    def mean(self, name: str, window: str | float, tags: Tags | None = None) -> float:
        """The weighted mean over a window that ends with the last sealed second; NaN when nothing was seen.

        window: "10m" or seconds, 1 s to 1 h. tags: None pools all series of the metric, {} is the untagged one.
        """
        self._check_not_forked()
        return self._parts.reading.mean(name, window, tags)

    def value(self, expression: str) -> float:
        """Any expression of the alert language, now; NaN for NULL and for a metric nobody has sent.

        ExpressionError when it is wrong, ValueError when it has several values (group or pool them).
        """
        self._check_not_forked()
        return self._parts.reading.value(expression)

    def query(
        self,
        expr: str,
        start: float | None = None,
        end: float | None = None,
        step: str | float | None = None,
        source: str | None = None,
        points: int | None = None,
    ) -> dict[str, Any]:
        """The answer of /v1/query: see query.py; step is "10s" or seconds; points: at most so many, instead of a step.
        source: "local", "remote", or None: local, continued at the remote before local history begins.
        ExpressionError, UnknownMetricError, ValueError."""
        self._check_not_forked()
        seconds = parse_duration(step) if isinstance(step, str) else step
        return self._parts.remotes.query(self._parts.reading.query, expr, start, end, seconds, source, points)

    def recent(self, name: str, tags: Tags | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(time_ns int64[n], value float64[n]): copies of the latest raw samples, oldest first; all series for None."""
        self._check_not_forked()
        return self._parts.reading.recent(name, tags)

    def history(
        self, name: str, start: float, end: float, step: str | float = "10s", tags: Tags | None = None
    ) -> "Rows":
        """Stored rows of [start, end), Unix seconds: a structured array of time (int64 ns, start of the step), count,
        sum, min, max, last (float64), one for each step with samples. ValueError for a step that is not kept."""
        self._check_not_forked()
        return self._parts.reading.history(name, start, end, step, tags)

    def series_list(self, prefix: str = "", limit: int = 1000) -> list[SeriesInfo]:
        """Series whose metric begins with `prefix`, at most `limit`, by name."""
        self._check_not_forked()
        return self._parts.reading.series_list(prefix, limit)

    # ---- operations

    def delete(self, selector: str) -> int:
        """Delete series: finance.api_ms{agency="irs"}, {host="db-1"}. Gone from queries at once, from disk with the
        partitions their rows are in; returns how many. ExpressionError, StorageError."""
        self._check_not_forked()
        return len(self.operations.delete(selector, BY_PROGRAM))

    def export(
        self,
        selector: str = "",
        start: float | None = None,
        end: float | None = None,
        tier: str = "10s",
        format: str = "csv",
    ) -> Iterator[str]:
        """What is on disk of [start, end), Unix seconds, as text in pieces: csv or openmetrics, of the tier 10s, 1m, 1h
        or, of csv, all. ExpressionError, ValueError, StorageError."""
        self._check_not_forked()
        return self.operations.export(selector, start, end, tier, format)

    def import_rows(self, pieces: Iterable[bytes]) -> dict[str, object]:
        """Write the rows of an export that are not there yet: {rows, written, present, bad: {reason: count}, errors,
        filled}. ValueError for what is no export, StorageError."""
        self._check_not_forked()
        return self.operations.import_rows(pieces, BY_PROGRAM)

    def backup(self, directory: str | os.PathLike[str]) -> dict[str, Any]:
        """Copy all that is on disk, as of one moment, into a new directory: {directory, files, bytes}. StorageError."""
        self._check_not_forked()
        return self.operations.back_up(os.path.abspath(directory), BY_PROGRAM)

    # ---- values to handlers

    def on_metric(self, name: str, batch: bool = False) -> Callable[[ValueHandler], ValueHandler]:
        """Decorator: call the function with each value of a metric, from a worker thread; see hooks.py.

        batch: with float64[n] at once. Values beyond the queue are dropped, oldest first, and counted.
        """
        self._check_not_forked()

        def add(handler: ValueHandler) -> ValueHandler:
            self.values.add(name, ValueHook(handler, batch))
            return handler

        return add

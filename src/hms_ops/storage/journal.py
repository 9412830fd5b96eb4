"""The journal: what happened, one record for each alert, anomaly, action, attempt to notify, start, stop, reload.

Alerting and the engine write it, `hms-ops-engine alerts`, the dashboard and the audit read it. It is a database of the
state environment (data_dir/state), which has a writer of its own, so a flush of history never delays it.

Threads: any may append and read; an append returns when the event is on disk (some ms). Limits: the newest
`events_max` events are kept, older ones counted in `expired`; an event takes at most EVENT_BYTES_MAX. A damaged record
is skipped and counted. Errors: StorageError when the disk fails, ValueError for an event without time or kind.
"""

import threading
from collections.abc import Collection, Mapping
from typing import Any, Final

from hms_ops.storage import keys
from hms_ops.storage.environment import Database, Environment, Transaction
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record

EVENTS_MAX: Final = 100_000
EVENT_BYTES_MAX: Final = 65_536


class Journal:
    """The events in order of their time; those of the same nanosecond in the order they were appended."""

    def __init__(self, environment: Environment, events_max: int = EVENTS_MAX) -> None:
        self.environment = environment
        self.events_max = events_max
        environment.database(b"journal")
        self._counting = threading.Lock()
        self._counts = {"appended": 0, "expired": 0, "damaged": 0}

    def append(self, *events: Mapping[str, Any]) -> None:
        """Put events on disk, all or none. Each has `time_ns` (int, Unix) and `kind` (str) and whatever tells more."""
        packed = [(_time_ns(event), _packed(event)) for event in events]
        expired = self.environment.commit(lambda transaction: self._write(transaction, packed))
        with self._counting:
            self._counts["appended"] += len(packed)
            self._counts["expired"] += expired

    def tail(
        self, limit: int, kinds: Collection[str] | None = None, since_ns: int | None = None
    ) -> list[dict[str, Any]]:
        """The newest `limit` events, oldest first; only of these kinds, and not before `since_ns`."""
        found: list[dict[str, Any]] = []
        with self.environment.read() as transaction, transaction.cursor(self._events) as cursor:
            is_there = cursor.last()
            while is_there and len(found) < limit and keys.time_of(cursor.key())[0] >= (since_ns or 0):
                event = self._readable(cursor.value())
                if event is not None and (kinds is None or event.get("kind") in kinds):
                    found.append(event)
                is_there = cursor.prev()
        return found[::-1]

    def counters(self) -> dict[str, int]:
        """Events stored now; appended, expired (the oldest beyond `events_max`) and damaged since the start."""
        with self.environment.read() as transaction:
            return {"stored": transaction.stat(self._events)["entries"], **self._counts}

    @property
    def _events(self) -> Database:
        return self.environment.database(b"journal")

    def _write(self, transaction: Transaction, packed: list[tuple[int, bytes]]) -> int:
        for time_ns, data in packed:
            sequence = 0
            while not transaction.put(keys.time_key(time_ns, sequence), data, overwrite=False, db=self._events):
                sequence += 1
        beyond = max(0, transaction.stat(self._events)["entries"] - self.events_max)
        with transaction.cursor(self._events) as cursor:
            for _ in range(beyond):
                cursor.first()
                cursor.delete()
        return beyond

    def _readable(self, data: memoryview) -> dict[str, Any] | None:
        try:
            return unpack_record(data)
        except RecordDamaged:
            with self._counting:
                self._counts["damaged"] += 1
            return None


def _time_ns(event: Mapping[str, Any]) -> int:
    time_ns, kind = event.get("time_ns"), event.get("kind")
    if not isinstance(time_ns, int) or time_ns < 0 or not isinstance(kind, str) or not kind:
        raise ValueError(f"an event needs time_ns, an int, and kind, a text; it has {time_ns!r} and {kind!r}")
    return time_ns


def _packed(event: Mapping[str, Any]) -> bytes:
    data = pack_record(event)
    if len(data) > EVENT_BYTES_MAX:
        raise ValueError(f"an event of {len(data)} bytes exceeds the {EVENT_BYTES_MAX} that one may take")
    return data

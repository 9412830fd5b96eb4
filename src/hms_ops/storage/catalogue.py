"""The catalogue: which number a series has on disk. Numbers are given once and never again, so blocks stay readable.

The engine asks `ids_for` once for each series it meets and keeps the numbers beside its own slots; queries ask `find`.
Everything is in LMDB (data_dir/catalogue, three databases, keys in keys.py); nothing grows in memory.

    series    id   -> {name, tags, created}      created in ns; deleted too, of a series that was deleted
    ids       name, tags -> id, checksum         a metric's series are one range of keys
    metrics   name -> {kind, unit, help}         a kind belongs to the metric: settling it is one write

Threads: anybody's; what gives or takes numbers waits for its turn. Limits: `series_max` series for good; those
beyond get the number 0, "not kept", and are counted in `refused`. A damaged record is skipped and counted. A damaged
catalogue is set aside by `open_catalogue`; numbers then go on above `highest_id`, so that no old row gets a new name.
Errors: StorageError when the disk fails, ValueError for a name that cannot be one.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage import keys
from hms_ops.storage.environment import Database, Environment, Transaction, open_or_set_aside, set_aside
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record

SERIES_MAX: Final = 16_777_216
NOT_KEPT: Final = 0
DATABASES: Final = {b"series", b"ids", b"metrics"}


class Description(TypedDict):
    """What is known of a metric: the number of its kind, and what people have said of it, "" where nothing."""

    kind: int
    unit: str
    help: str


class Catalogue:
    """`refused` and `damaged` count series without a number, and records that could not be read."""

    def __init__(self, environment: Environment, highest_id: Callable[[], int], series_max: int = SERIES_MAX) -> None:
        """`highest_id` is asked when the catalogue is empty: the highest number that rows on disk already bear."""
        self.environment = environment
        self.series_max = series_max
        self.refused = 0
        self.damaged = 0
        self._counting = threading.Lock()
        self._naming = threading.Lock()
        for name in sorted(DATABASES):
            environment.database(name)
        self._last_id = self._highest() or highest_id()

    def ids_for(self, series: Sequence[SeriesInfo], now_ns: int) -> NDArray[np.uint32]:
        """The number of each series, uint32[n] in their order; those never seen get one, in one transaction.

        A kind that differs from the metric's is taken over, unless it is unknown.
        """
        if not series:
            return np.empty(0, np.uint32)
        with self._naming:
            return self._ids_for(series, now_ns)

    def delete(self, series: Iterable[SeriesInfo], now_ns: int) -> int:
        """Take the numbers of these series away, in one transaction; returns how many had one.

        They are found no more; the numbers are never given again, so the rows under them belong to nobody until they
        expire. A metric without series is forgotten as well, but for its unit and help.
        """
        by_key = {keys.series_key(info.name, info.tags): info.name for info in series}
        with self._naming:
            return self.environment.commit(lambda transaction: self._delete(transaction, by_key, now_ns))

    def find(self, name: str, tags: Mapping[str, str] | None = None) -> list[tuple[int, SeriesInfo]]:
        """The series of a metric with their numbers; only the one with exactly `tags` when they are given."""
        kind = self.description(name)["kind"]
        return [
            (series_id, SeriesInfo(name, record["tags"], kind))
            for series_id, record in self._records(keys.name_prefix(name))
            if record["name"] == name and (tags is None or record["tags"] == tags)
        ]

    def series_of(self, ids: NDArray[np.uint32]) -> list[SeriesInfo | None]:
        """What each of ids uint32[n] stands for, in their order; None for one that is not there, or was deleted."""
        found: list[SeriesInfo | None] = []
        kind_of: dict[str, int] = {}
        with self.environment.read() as transaction:
            for number in ids.tolist():
                data = transaction.get(keys.id_key(number), db=self._series)
                record = self._readable(data) if data is not None else {}
                if "tags" not in record or "deleted" in record:
                    found.append(None)
                    continue
                name = record["name"]
                if name not in kind_of:
                    kind_of[name] = self._metric(transaction, name)["kind"]
                found.append(SeriesInfo(name, record["tags"], kind_of[name]))
        return found

    def names(self) -> list[str]:
        """All metrics that have series or a description, in order."""
        with self.environment.read() as transaction, transaction.cursor(self._metrics) as cursor:
            found = [bytes(key) for key in cursor.iternext(keys=True, values=False)]
        return [name for name in map(self._decoded, found) if name is not None]

    def describe(self, name: str, *, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help; None leaves what is there."""
        keys.name_prefix(name)
        changes = {member: value for member, value in (("unit", unit), ("help", help)) if value is not None}
        self.environment.commit(lambda transaction: self._change_metric(transaction, name, changes))

    def descriptions(self) -> dict[str, Description]:
        """Those of all metrics that have one, read at one moment."""
        with self.environment.read() as transaction, transaction.cursor(self._metrics) as cursor:
            found = [(self._decoded(bytes(key)), self._readable(value)) for key, value in cursor.iternext()]
        return {
            name: Description(
                kind=members.get("kind", kinds.UNKNOWN), unit=members.get("unit", ""), help=members.get("help", "")
            )
            for name, members in found
            if name is not None
        }

    def description(self, name: str) -> dict[str, Any]:
        """{kind: int, unit: str, help: str}; unknown and empty for a metric nobody has described."""
        with self.environment.read() as transaction:
            return self._metric(transaction, name)

    def series_count(self) -> int:
        with self.environment.read() as transaction:
            return transaction.stat(self._series)["entries"]

    def counters(self) -> dict[str, int]:
        return {
            "series": self.series_count(),
            "refused": self.refused,
            "damaged": self.damaged,
            "bytes_on_disk": self.environment.file_bytes(),
        }

    def close(self) -> None:
        self.environment.close()

    def _ids_for(self, series: Sequence[SeriesInfo], now_ns: int) -> NDArray[np.uint32]:
        by_key = [keys.series_key(info.name, info.tags) for info in series]
        known = self._known_ids(by_key)
        fresh = {key: info for key, info in zip(by_key, series, strict=True) if key not in known}
        settled = self._settled_kinds(series)
        if fresh or settled:
            given = self._numbered(fresh)
            self.environment.commit(lambda transaction: self._write(transaction, fresh, given, settled, now_ns))
            self._last_id += sum(number != NOT_KEPT for number in given.values())
            self.refused += sum(number == NOT_KEPT for number in given.values())
            known |= given
        return np.fromiter((known[key] for key in by_key), np.uint32, len(by_key))

    def _delete(self, transaction: Transaction, by_key: Mapping[bytes, str], now_ns: int) -> int:
        emptied, deleted = dict.fromkeys(by_key.values()), 0
        for key in by_key:
            found = transaction.get(key, db=self._ids)
            if found is None:
                continue
            number = bytes(found[:4])
            transaction.delete(key, db=self._ids)
            if self._number(key, found) is None:
                continue
            record = transaction.get(number, db=self._series)
            members = self._readable(record) if record is not None else {}
            transaction.put(number, pack_record(members | {"deleted": now_ns}), db=self._series)
            deleted += 1
        with transaction.cursor(self._ids) as cursor:
            for name in emptied:
                prefix = keys.name_prefix(name)
                if not (cursor.set_range(prefix) and bytes(cursor.key()).startswith(prefix)):
                    self._forget_metric(transaction, name)
        return deleted

    def _forget_metric(self, transaction: Transaction, name: str) -> None:
        known = self._metric(transaction, name)
        if known["unit"] or known["help"]:
            self._change_metric(transaction, name, {"kind": kinds.UNKNOWN})
        else:
            transaction.delete(name.encode(), db=self._metrics)

    @property
    def _series(self) -> Database:
        return self.environment.database(b"series")

    @property
    def _ids(self) -> Database:
        return self.environment.database(b"ids")

    @property
    def _metrics(self) -> Database:
        return self.environment.database(b"metrics")

    def _highest(self) -> int:
        with self.environment.read() as transaction, transaction.cursor(self._series) as cursor:
            return keys.id_of(cursor.key()) if cursor.last() else 0

    def _known_ids(self, by_key: list[bytes]) -> dict[bytes, int]:
        with self.environment.read() as transaction, transaction.cursor(self._ids) as cursor:
            found = [(bytes(key), self._number(key, value)) for key, value in cursor.getmulti(sorted(by_key))]
        return {key: number for key, number in found if number is not None}

    def _settled_kinds(self, series: Sequence[SeriesInfo]) -> dict[str, int]:
        """Metrics whose kind on disk is to change, and those that are new."""
        latest = {info.name: info.kind for info in series}
        with self.environment.read() as transaction:
            before = {name: self._metric(transaction, name)["kind"] for name in latest}
            is_new = {name for name in latest if transaction.get(name.encode(), db=self._metrics) is None}
        return {
            name: kind for name, kind in latest.items() if name in is_new or kind not in (before[name], kinds.UNKNOWN)
        }

    def _numbered(self, fresh: Iterable[bytes]) -> dict[bytes, int]:
        """By name and tags, so that those of a metric are neighbours in tiles, where they are packed together."""
        room = max(0, self.series_max - self._last_id)
        first = self._last_id + 1
        return {key: first + place if place < room else NOT_KEPT for place, key in enumerate(sorted(fresh))}

    def _write(
        self,
        transaction: Transaction,
        fresh: dict[bytes, SeriesInfo],
        given: dict[bytes, int],
        settled: dict[str, int],
        now_ns: int,
    ) -> None:
        kept = [(key, number) for key, number in given.items() if number != NOT_KEPT]
        with transaction.cursor(self._ids) as cursor:
            cursor.putmulti([(key, keys.named_id(key, number)) for key, number in sorted(kept)])
        with transaction.cursor(self._series) as cursor:
            cursor.putmulti([(keys.id_key(number), _series_record(fresh[key], now_ns)) for key, number in kept])
        for name, kind in settled.items():
            self._change_metric(transaction, name, {"kind": kind})

    def _change_metric(self, transaction: Transaction, name: str, changes: dict[str, Any]) -> None:
        transaction.put(name.encode(), pack_record(self._metric(transaction, name) | changes), db=self._metrics)

    def _metric(self, transaction: Transaction, name: str) -> dict[str, Any]:
        members: dict[str, Any] = {"kind": kinds.UNKNOWN, "unit": "", "help": ""}
        data = transaction.get(name.encode(), db=self._metrics) if name else None
        return members if data is None else members | self._readable(data)

    def _records(self, prefix: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, record) of the series whose keys begin with `prefix`."""
        with self.environment.read() as transaction, transaction.cursor(self._ids) as cursor:
            is_there = cursor.set_range(prefix)
            while is_there and bytes(cursor.key()).startswith(prefix):
                number = self._number(cursor.key(), cursor.value())
                data = None if number is None else transaction.get(keys.id_key(number), db=self._series)
                record = self._readable(data) if data is not None else {}
                if number is not None and "tags" in record:
                    yield number, record
                is_there = cursor.next()

    def _decoded(self, name: bytes) -> str | None:
        try:
            return name.decode()
        except UnicodeDecodeError:
            with self._counting:
                self.damaged += 1
            return None

    def _number(self, key: bytes | memoryview, value: memoryview) -> int | None:
        """The number of a series by its key; None, counted, when a byte of it is not what was written."""
        number = keys.id_named(key, value)
        if number is None:
            with self._counting:
                self.damaged += 1
        return number

    def _readable(self, data: memoryview) -> dict[str, Any]:
        try:
            return unpack_record(data)
        except RecordDamaged:
            with self._counting:
                self.damaged += 1
            return {}


def open_catalogue(data_dir: Path, highest_id: Callable[[], int]) -> tuple[Catalogue, bool]:
    """The catalogue of a data directory, and whether a damaged one was set aside."""
    path = data_dir / "catalogue"
    environment, was_damaged = open_or_set_aside(path, databases=len(DATABASES))
    try:
        if not _databases(environment) <= DATABASES:  # else one whose name is not what was written would be begun anew
            environment.close()
            set_aside(path)
            environment, was_damaged = Environment(path, databases=len(DATABASES)), True
        return Catalogue(environment, highest_id), was_damaged
    except BaseException:
        environment.close()
        raise


def _databases(environment: Environment) -> set[bytes]:
    with environment.read() as transaction, transaction.cursor() as cursor:
        return {bytes(key) for key in cursor.iternext(keys=True, values=False)}


def _series_record(info: SeriesInfo, now_ns: int) -> bytes:
    return pack_record({"name": info.name, "tags": info.tags, "created": now_ns})

"""The audit log: who did what, when, from where, and what came of it; each record holds the hash of the one before.

The engine appends silences, acknowledgements, changes of rules and configuration, actions, log-ins, start and stop;
`hms-ops-engine audit` and GET /v1/audit read. Two databases of the state environment: `audit`, whose key is a record's
number (8 bytes, big-endian) and whose value a record (record.py) with the members that chain.py lists, and
`audit_head`, with the chain's head under one key, written in the same transaction.

Threads: any; an append returns when it is on disk (some ms). Limits: RECORDS_MAX records and BYTES_MAX bytes, the
oldest expire, counted, and the head says where the chain begins now; texts of more than TEXT_CHARS_MAX characters and
details of more than DETAIL_BYTES_MAX are cut, marked and counted. Errors: StorageError when the disk fails; ValueError
for a time that is none. Records that cannot be read are left out of `tail` and counted; `verify` names the first.
Not here: what is right and wrong in a chain (chain.py).
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from hms_ops.errors import StartError, StorageError
from hms_ops.storage.chain import NO_HASH, Head, Link, Verified, canonical, follow, hash_of, head_of, line_of
from hms_ops.storage.environment import DAMAGED, Database, Environment, Transaction
from hms_ops.storage.pages import EnvironmentDamaged
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record

log = logging.getLogger("hms_ops.audit")

RECORDS_MAX: Final = 1_000_000
BYTES_MAX: Final = 1 << 30
TEXT_CHARS_MAX: Final = 1_000
DETAIL_BYTES_MAX: Final = 16_384
READ_AT_ONCE: Final = 1_000
DIGITS_MAX: Final = 18
"""Of whole numbers in a detail; longer ones, which not every reader of JSON can hold, are text."""

HEAD_KEY: Final = b"head"
LOST: Final = "set-aside"  # the first record of a log that was begun because a damaged state was set aside


class Audit:
    """The audit log of one data directory."""

    def __init__(self, environment: Environment, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.environment = environment
        self.records_max = records_max
        self.bytes_max = bytes_max
        environment.database(b"audit")
        environment.database(b"audit_head")
        self._counting = threading.Lock()
        self._counts = {"appended": 0, "expired": 0, "cut": 0, "damaged": 0}

    def append(
        self,
        *,
        who: str,
        what: str,
        subject: str = "",
        outcome: str = "ok",
        source: str = "",
        detail: Mapping[str, Any] | None = None,
        time_ns: int,
    ) -> None:
        """Put one record at the end of the chain, on disk. StorageError, ValueError."""
        if not 0 <= time_ns < 1 << 63:
            raise ValueError(f"time_ns is {time_ns!r}; it must be Unix nanoseconds, from 0 to 2^63 - 1")
        texts = {"who": who, "what": what, "subject": subject, "outcome": outcome, "source": source}
        plain, is_cut = _plain(detail or {})
        fields = {"time_ns": time_ns, **{name: _text(text) for name, text in texts.items()}, "detail": plain}
        is_cut = is_cut or any(len(text) > TEXT_CHARS_MAX for text in texts.values())
        expired = self.environment.commit(lambda transaction: self._write(transaction, fields))
        with self._counting:
            self._counts["appended"] += 1
            self._counts["expired"] += expired
            self._counts["cut"] += is_cut

    def tail(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` records, oldest first."""
        found: list[dict[str, Any]] = []
        with self.environment.read() as transaction, transaction.cursor(self._records) as cursor:
            is_there = cursor.last()
            while is_there and len(found) < limit:
                record = self._readable(cursor.value())
                if record is not None:
                    found.append(record)
                is_there = cursor.prev()
        return found[::-1]

    def verify(self, expected: tuple[int, str] | None = None) -> Verified:
        """Follow the chain from its first record to its last. `expected`: the number and hash of a record as somebody
        kept them elsewhere. What is appended meanwhile is not looked at. Nothing that is damaged raises; StorageError
        when the disk cannot be read, or records expire faster than they are."""
        head = self._read_head()
        return follow(self._links(head), head, expected)

    def export(self) -> Iterator[str]:
        """The head, then its records, oldest first, as JSON lines; a damaged one as {"damaged": number}. StorageError
        as `verify`."""
        head = self._read_head()
        if head is not None:
            yield canonical({"head": asdict(head)}) + "\n"
        for number, record in self._links(head):
            yield line_of(number, record) + "\n"

    def counters(self) -> dict[str, int]:
        """Records and their bytes now; since the start: appended, expired (the oldest, beyond the bounds), cut (texts
        or details that were too long), damaged (left out when read)."""
        with self.environment.read() as transaction:
            head = self._head_or_none(transaction) or Head()
            stored = transaction.stat(self._records)["entries"]
        with self._counting:
            return {"stored": stored, "bytes": head.bytes, **self._counts}

    @property
    def _records(self) -> Database:
        return self.environment.database(b"audit")

    @property
    def _heads(self) -> Database:
        return self.environment.database(b"audit_head")

    def _write(self, transaction: Transaction, fields: dict[str, Any]) -> int:
        """Append, and let the oldest go; returns how many went. Changes nothing but the transaction."""
        head = self._head(transaction)
        record = {"number": head.next, **fields, "prev": head.last}
        record["hash"] = hash_of(record)
        data = pack_record(record)
        transaction.put(_key(head.next), data, db=self._records)
        head = replace(head, next=head.next + 1, last=record["hash"], bytes=head.bytes + len(data))
        head, expired = self._expire(transaction, head)
        transaction.put(HEAD_KEY, pack_record(asdict(head)), db=self._heads)
        return expired

    def _expire(self, transaction: Transaction, head: Head) -> tuple[Head, int]:
        """The newest record always stays."""
        expired = 0
        while head.next - head.first > 1 and (head.next - head.first > self.records_max or head.bytes > self.bytes_max):
            data = transaction.pop(_key(head.first), db=self._records)
            record = None if data is None else _record_or_none(data)
            before = record["hash"] if record else NO_HASH
            head = replace(head, first=head.first + 1, before=before, bytes=head.bytes - len(data or b""))
            expired += 1
        return head, expired

    def _head(self, transaction: Transaction) -> Head:
        """The head, for appending. One that is lost, or does not know of a record that is there, is made anew from what
        is there: what happens must be recorded whatever was done to the log, and `verify` will name it."""
        head = self._head_or_none(transaction)
        with transaction.cursor(self._records) as cursor:
            newest = _number_of(cursor.key()) if cursor.last() else -1
            if head is not None and newest < head.next:
                return head
            if head is None and newest < 0:
                return Head()
            last = _record_or_none(cursor.value())
            cursor.first()
            first, oldest = _number_of(cursor.key()), _record_or_none(cursor.value())
            size = sum(len(value) for _, value in cursor)
        before = str(oldest.get("prev")) if oldest else NO_HASH
        return Head(first, before, newest + 1, last["hash"] if last else NO_HASH, size, newest + 1)

    def _head_or_none(self, transaction: Transaction) -> Head | None:
        data = transaction.get(HEAD_KEY, db=self._heads)
        try:
            return None if data is None else head_of(unpack_record(data))
        except RecordDamaged:
            return None

    def _read_head(self) -> Head | None:
        with self.environment.read() as transaction:
            return self._head_or_none(transaction)

    def _links(self, head: Head | None) -> Iterator[Link]:
        """The records that a head knows of, and those that no head knows of, by their places. Read in pieces, so that
        who takes them slowly holds no transaction."""
        at: int | None = head.first if head is not None else 0
        while at is not None:
            links, at = self._piece(at, head)
            yield from links

    def _piece(self, at: int, head: Head | None) -> tuple[list[Link], int | None]:
        """Up to READ_AT_ONCE links from number `at` on, and where the next begin, None when there are none."""
        links: list[Link] = []
        with self.environment.read() as transaction, transaction.cursor(self._records) as cursor:
            now = self._head_or_none(transaction)
            if now is not None and head is not None and at < min(now.first, head.next):
                raise StorageError("the oldest records of the audit log expired while they were read; begin again")
            is_there = cursor.set_range(_key(at))
            while is_there and len(links) < READ_AT_ONCE:
                number = _number_of(cursor.key())
                if head is None or number < head.next or now is None or number >= now.next:
                    links.append((number, self._readable(cursor.value())))
                is_there = cursor.next()
        return links, links[-1][0] + 1 if is_there and links else None

    def _readable(self, data: memoryview) -> dict[str, Any] | None:
        record = _record_or_none(data)
        if record is None:
            with self._counting:
                self._counts["damaged"] += 1
        return record


def note_lost(audit: Audit, state: Path) -> None:
    """The state was damaged and a new one begun: say in the new log that the one before was set aside, and where."""
    names = aside_of(state)
    detail = {
        "set_aside": names[-1] if names else "",
        "lost": "alert states, what waited, silences, and the log of before",
    }
    try:
        audit.append(
            who="the engine",
            what=LOST,
            subject=state.name,
            outcome="damaged",
            detail=detail,
            time_ns=state.stat().st_mtime_ns,
        )
    except (StorageError, OSError) as error:
        log.error("the audit log does not say that the one before was set aside: %s", error)


def aside_of(state: Path) -> list[str]:
    """Damaged states beside this one, oldest first: each may hold a log that this one's does not go on from."""
    return sorted(path.name for path in state.parent.glob(f"{state.name}{DAMAGED}*"))


@contextmanager
def audit_in(data_dir: Path) -> Iterator[Audit]:
    """The log in a data directory that no engine has open, or in a backup; nothing is written or set aside. StartError
    where there is none, or an engine is; StorageError where it is damaged."""
    from hms_ops.storage.store import STATE_DATABASES
    from hms_ops.storage.verify import nobody_else

    if not (data_dir / "state").is_dir():
        raise StartError(f"{data_dir} is no data directory: there is no state in it")
    with nobody_else(data_dir):
        environment = Environment(data_dir / "state", STATE_DATABASES, is_read_only=True)
        try:
            yield _audit_of(environment)
        finally:
            environment.close()


def _audit_of(environment: Environment) -> Audit:
    try:
        return Audit(environment)
    except EnvironmentDamaged:
        raise
    except StorageError:  # LMDB cannot make a database in what it must not write
        raise StartError(f"there is no audit log in {environment.path}: an older release wrote it") from None


# ---- bytes


def _key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _number_of(key: bytes | memoryview) -> int:
    return int.from_bytes(key, "big")


def _record_or_none(data: bytes | memoryview) -> dict[str, Any] | None:
    try:
        record = unpack_record(data)
    except (RecordDamaged, ValueError):
        return None
    return record if isinstance(record.get("hash"), str) else None


def _text(text: str) -> str:
    """At most TEXT_CHARS_MAX characters, all of which UTF-8 can hold."""
    cut = text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
    return cut.encode("utf-8", "replace").decode()


def _plain(detail: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A detail as JSON has it, and whether it was too long: what JSON cannot say is its text, or null for no number."""
    text = json.dumps(detail, ensure_ascii=False, default=_value).encode("utf-8", "replace")
    if len(text) > DETAIL_BYTES_MAX:
        return {"cut": text[:TEXT_CHARS_MAX].decode("utf-8", "replace"), "bytes": len(text)}, True
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None, parse_int=_whole_number)
    return plain, False


def _value(value: object) -> object:
    """numpy scalars as Python's; what JSON has no form for as its text."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= DIGITS_MAX else digits

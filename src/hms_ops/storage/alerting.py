"""What alerting keeps on disk: the tables of `hms_ops.change`, one database each of the state environment.

    keeper (transitions and the notifications that follow from them) ─┐
    lanes (settled notifications, dead letters) ──────────────────────┼─ commit ─► one synced transaction
    actions (intents, outcomes) · rules posted over HTTP ─────────────┘
    at start:  load(table) ─► book, dispatcher, outbox, actions, duty

key: UTF-8 text of 1 to KEY_BYTES_MAX bytes. value: a record (record.py).

Threads: any. A commit returns when its changes are on disk, all or none of them; what other threads hand in while the
disk is being waited for goes into the next transaction together, so a hundred lanes settle in two syncs, not a hundred.
Changes of one commit are written in their order, and commits in the order in which they were handed in.
Limits: RECORD_BYTES_MAX a record, RECORDS_MAX records and TABLE_BYTES_MAX bytes of pages a table. Putting what is
beyond them is left out and counted as `refused`, and the other changes of the commit are written: one overlong record
must not keep a second's pages off the disk. A record that is there can always be replaced and taken away. In `runs`,
the commit fails instead, because an action whose intent is not on disk must not happen.
Errors: StorageError when the disk fails, for all whose changes shared the transaction; ValueError for what is no change
of a table, before anything is written. A damaged record is skipped and counted when it is loaded.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from hms_ops.change import KEY_BYTES_MAX, TABLES, Change
from hms_ops.errors import StorageError
from hms_ops.storage.environment import Environment, Transaction
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record

RECORD_BYTES_MAX: Final = 1 << 20
RECORDS_MAX: Final = 250_000
TABLE_BYTES_MAX: Final = 512 << 20
STRICT_TABLES: Final = frozenset({"runs"})


class Packed(NamedTuple):
    """A change as it is written; data: None takes the key away."""

    table: str
    key: bytes
    data: bytes | None


class Outcome(NamedTuple):
    """What became of one commit in its transaction: how many records were left out, or why nothing was written."""

    refused: int = 0
    too_long: int = 0
    reason: str = ""


class Commit:
    """One caller's changes on their way; `outcome` or `error` is there when they have been dealt with. turn: set then,
    or when it is up to this caller to write what waits."""

    __slots__ = ("changes", "error", "outcome", "turn")

    def __init__(self, changes: list[Packed]) -> None:
        self.changes = changes
        self.turn = threading.Event()
        self.outcome: Outcome | None = None
        self.error: StorageError | None = None

    @property
    def is_done(self) -> bool:
        return self.outcome is not None or self.error is not None


class AlertStore:
    """The tables of one data directory."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        for table in TABLES:
            environment.database(table.encode())
        self._queueing = threading.Lock()
        self._queue: list[Commit] = []
        self._is_led = False  # somebody writes, and hands over to the first of those that have come meanwhile
        self._counting = threading.Lock()
        self._counts = dict.fromkeys(
            ("commits", "transactions", "changes", "refused", "too_long", "errors", "damaged"), 0
        )

    def commit(self, changes: Sequence[Change]) -> None:
        """Put changes on disk, all or none but what is beyond a limit. StorageError, ValueError."""
        packed = [self._packed(change) for change in changes]
        if not packed:
            return
        mine = Commit(packed)
        with self._queueing:
            self._queue.append(mine)
            is_first, self._is_led = not self._is_led, True
        if not is_first:
            mine.turn.wait()
        if not mine.is_done:
            self._write_queued()
        if mine.error is not None:
            raise type(mine.error)(str(mine.error)) from mine.error
        if mine.outcome is not None and mine.outcome.reason:
            raise StorageError(mine.outcome.reason)

    def load(self, table: str) -> dict[str, dict[str, Any]]:
        """All records of a table by their keys, in the order of the keys."""
        database = self.environment.database(_checked(table).encode())
        found: dict[str, dict[str, Any]] = {}
        damaged = 0
        with self.environment.read() as transaction, transaction.cursor(database) as cursor:
            for key, value in cursor:
                try:
                    found[bytes(key).decode()] = unpack_record(value)
                except (RecordDamaged, UnicodeDecodeError):
                    damaged += 1
        self._count(damaged=damaged)
        return found

    def counters(self) -> dict[str, int]:
        """Records in each table now; since the start: commits, the transactions they shared, changes written, refused
        and too_long (left out: beyond the bound of their table, of a record), errors, damaged (skipped)."""
        with self.environment.read() as transaction:
            tables = {name: transaction.stat(self._database(name))["entries"] for name in TABLES}
        with self._counting:
            return tables | self._counts

    def problems(self) -> list[str]:
        """What is not kept because it is too much, one line."""
        with self._counting:
            refused, too_long = self._counts["refused"], self._counts["too_long"]
        if not refused and not too_long:
            return []
        return [f"{refused + too_long:,} records of alerting are not kept on disk: tables are full or records too long"]

    def _packed(self, change: Change) -> Packed:
        table, key = _checked(change.table), change.key.encode()
        if not 0 < len(key) <= KEY_BYTES_MAX:
            raise ValueError(f"a key has 1 to {KEY_BYTES_MAX} bytes; {change.key[:50]!r} of {table} has {len(key)}")
        if change.record is None:
            return Packed(table, key, None)
        return Packed(table, key, _record_bytes(table, change.key, change.record))

    def _write_queued(self) -> None:
        """Write what waits, in one transaction, and hand over to the first of those that came meanwhile."""
        with self._queueing:
            commits, self._queue = self._queue, []
        try:
            self._write_all(commits)
        finally:
            with self._queueing:
                self._is_led = bool(self._queue)
                for commit in self._queue[:1] + commits:
                    commit.turn.set()

    def _write_all(self, commits: list[Commit]) -> None:
        try:
            outcomes = self.environment.commit(lambda transaction: self._write(transaction, commits))
        except StorageError as error:
            for commit in commits:
                commit.error = error
            self._count(errors=len(commits))
            return
        except BaseException:
            for commit in commits:
                commit.error = StorageError("the transaction was broken off")
            raise
        for commit, outcome in zip(commits, outcomes, strict=True):
            commit.outcome = outcome
        self._count_written(commits, outcomes)

    def _write(self, transaction: Transaction, commits: list[Commit]) -> list[Outcome]:
        """Changes nothing but the transaction, since it may run again."""
        return [self._write_one(transaction, commit.changes) for commit in commits]

    def _write_one(self, transaction: Transaction, changes: list[Packed]) -> Outcome:
        tight = {table for table in {change.table for change in changes} if self._is_tight(transaction, table, changes)}
        for change in changes:
            if change.table in STRICT_TABLES and (is_too_long(change) or self._is_beyond(transaction, change, tight)):
                return Outcome(
                    0, 0, f"a record for {change.table} is too long or the table is full; nothing is written"
                )
        refused = too_long = 0
        for change in changes:
            if is_too_long(change):
                too_long += 1
            elif self._is_beyond(transaction, change, tight):
                refused += 1
            else:
                self._write_change(transaction, change)
        return Outcome(refused, too_long)

    def _write_change(self, transaction: Transaction, change: Packed) -> None:
        database = self._database(change.table)
        if change.data is None:
            transaction.delete(change.key, db=database)
        else:
            transaction.put(change.key, change.data, db=database)

    def _is_tight(self, transaction: Transaction, table: str, changes: list[Packed]) -> bool:
        """Whether these changes could bring the table beyond its bounds, so that each has to be looked at."""
        entries, size = self._extent(transaction, table)
        more = sum(change.table == table and change.data is not None for change in changes)
        return entries + more > RECORDS_MAX or size > TABLE_BYTES_MAX

    def _is_beyond(self, transaction: Transaction, change: Packed, tight: set[str]) -> bool:
        """Whether it puts a key that is not there yet into a table that is full."""
        if change.data is None or change.table not in tight:
            return False
        entries, size = self._extent(transaction, change.table)
        is_full = entries >= RECORDS_MAX or size > TABLE_BYTES_MAX
        return is_full and transaction.get(change.key, db=self._database(change.table)) is None

    def _extent(self, transaction: Transaction, table: str) -> tuple[int, int]:
        """How many records a table has, and the bytes of its pages."""
        stat = transaction.stat(self._database(table))
        return stat["entries"], (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]

    def _database(self, table: str) -> Any:
        return self.environment.database(table.encode())

    def _count_written(self, commits: list[Commit], outcomes: list[Outcome]) -> None:
        kept = [len(commit.changes) for commit, outcome in zip(commits, outcomes, strict=True) if not outcome.reason]
        too_long = sum(outcome.too_long for outcome in outcomes)
        refused = sum(outcome.refused for outcome in outcomes)
        changes = sum(kept) - refused - too_long
        refused += len(commits) - len(kept)  # of a strict table, each a commit that failed
        self._count(commits=len(kept), transactions=1, changes=changes, refused=refused, too_long=too_long)

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, count in more.items():
                self._counts[name] += count


def is_too_long(change: Packed) -> bool:
    return change.data is not None and len(change.data) > RECORD_BYTES_MAX


def _checked(table: str) -> str:
    if table not in TABLES:
        raise ValueError(f"there is no table {table!r}; there are {', '.join(TABLES)}")
    return table


def _record_bytes(table: str, key: str, record: Mapping[str, Any]) -> bytes:
    try:
        return pack_record(record)
    except (
        UnicodeEncodeError
    ):  # text from a program, with half a surrogate pair: the others' pages must not wait for it
        return pack_record(_encodable(record))
    except (OverflowError, ValueError, TypeError) as error:
        raise ValueError(f"the record {key[:50]!r} of {table} cannot be written: {error}") from None


def _encodable(value: Any) -> Any:
    """The same with "?" for what UTF-8 cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(member) for key, member in value.items()}
    return [_encodable(member) for member in value] if isinstance(value, list | tuple) else value

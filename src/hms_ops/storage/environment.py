"""Opening LMDB safely: one `Environment` is one directory with data.mdb, LMDB's lock.mdb and our marker file FORMAT.

The blocks and partitions of history, catalogue and state each have one of their own, so that none waits for another's
disk, and history that is too old goes by unlinking.

- **Durable.** Default sync: when `commit` returns, the transaction is on disk. Never NOSYNC; never writemap, with which
  a full disk kills the process. LMDB gives the GIL up while it waits for the disk.
- **One process.** `DirectoryLock` keeps a second engine out of a data directory. In a forked child every use of an
  environment raises StorageError: LMDB's locks and memory map are the parent's.
- **Growth.** The map starts at 1 GiB of address space (no memory, no disk) and doubles when full. LMDB allows that only
  while this process has no transaction open, so `read` and `commit` pass a gate; reads must be short anyway, because
  LMDB cannot reuse a page that a reader may still see.
- **Damage.** LMDB has no checksums and maps its file: reading beyond the end of a cut file is a SIGBUS. So the file is
  looked at before LMDB maps it (pages.py): it is LMDB's, and all pages in use are there. FORMAT is written once the
  environment exists; a missing or empty data.mdb beside it is a loss, not a fresh start. What cannot be used is set
  aside under a name ending in `.damaged-<time of its last change>`, never deleted.
- **Full disks.** LMDB maps lock.mdb to write in it, and a page that the file system has no room for is a SIGBUS, so the
  file has its room before it is mapped. A data.mdb that was cut before FORMAT was there has never been one: it goes.

Errors: StartError (DirectoryLock), StorageError; EnvironmentDamaged, where setting aside is the remedy;
EnvironmentClosed, after which it may be there again under the same path. Views from a
`read` transaction are valid inside its `with` only.
"""

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import lmdb

from hms_ops.errors import StartError, StorageError
from hms_ops.storage.pages import EnvironmentDamaged, check_pages

log = logging.getLogger("hms_ops.storage")

FORMAT: Final = 1
MARKER_TEXT: Final = f"hms-ops {FORMAT}\n"
MAP_BYTES: Final = 1 << 30
MAP_BYTES_MAX: Final = 1 << 42
"""4 TiB: beyond it something else is wrong."""

DATA_FILE: Final = "data.mdb"
CREATED_BYTES: Final = 8192
"""The first two pages, which LMDB writes when it creates the file."""

REOPEN_SECONDS_MAX: Final = 1.0
MARKER_FILE: Final = "FORMAT"
LOCK_FILE: Final = "engine.lock"
READERS_FILE: Final = "lock.mdb"
READERS_FILE_BYTES: Final = 8192
"""As LMDB makes it for 126 readers."""
DAMAGED: Final = ".damaged-"

Transaction: TypeAlias = "lmdb.Transaction[memoryview]"  # a string: subscriptable in its stub only
Cursor: TypeAlias = "lmdb.Cursor[memoryview]"
Database: TypeAlias = "lmdb._Database"
T = TypeVar("T")

_DAMAGE: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)


class EnvironmentClosed(StorageError):
    """The environment was closed by this process: it was removed, or is opened anew to be written."""


class DirectoryLock:
    """Holds `data_dir/engine.lock`, with the pid in it, until `release` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(f"data directory {data_dir} cannot be written: {error.strerror}; choose another") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StartError(
                f"data directory {data_dir} is in use by process {holder}; stop it, or choose another directory"
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise StartError(f"data directory {data_dir} cannot be locked: {error.strerror}; choose another") from None
        _held_locks.add(self._fd)

    def release(self) -> None:
        """Idempotent; nothing to do in a forked child, which does not hold it."""
        if self._fd in _held_locks:
            _held_locks.discard(self._fd)
            os.close(self._fd)


# A child would otherwise keep the lock of a parent that has died: the file description is shared.
_held_locks: Final[set[int]] = set()


def _let_go_in_child() -> None:
    while _held_locks:
        os.close(_held_locks.pop())


os.register_at_fork(after_in_child=_let_go_in_child)


class Environment:
    """One open LMDB environment. `read` from any thread; `commit` from any, one at a time."""

    def __init__(
        self, path: Path, databases: int = 0, map_bytes: int = MAP_BYTES, *, is_read_only: bool = False
    ) -> None:
        """Opens, or creates what is not there. `databases`: how many named ones it may hold, 0 for the unnamed one.

        `is_read_only`: never writes a byte of data.mdb; one whose creation was cut short is opened to be written.
        """
        self.path = path
        self._databases = databases
        self._pid = os.getpid()
        self._gate = threading.Condition()
        self._readers = 0
        self._is_shut = self._is_broken = False
        self._handles: dict[bytes, Database] = {}
        self._writing = threading.Lock()
        fresh = check_files(path)
        self.is_read_only = is_read_only and not fresh
        self._map_bytes = max(map_bytes, 2 * self.file_bytes())
        self._lmdb = self._open()
        if fresh:
            self._mark()

    def read(self) -> "Reading":
        """`with environment.read() as transaction:` a snapshot; keep it short."""
        return Reading(self)

    def commit(self, write: Callable[[Transaction], T]) -> T:
        """Run `write` in a transaction and put it on disk; all of it or, when this raises, nothing.

        `write` runs again after the map was full, so it must change nothing but the transaction.
        """
        check_process(self._pid, self.path)  # before the lock, which the parent may have held when it forked
        if self.is_read_only:
            raise StorageError(f"{self.path} is open to be read only")
        with self._writing:
            while True:
                try:
                    return self._attempt(write)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.Error as error:
                    raise self._translated(error) from error

    def database(self, name: bytes) -> Database:
        """The named database, created when it is not there, before any other thread uses the environment. To be asked
        for in each transaction: after an error the handle is another."""
        try:
            if name not in self._handles:
                self._handles[name] = self._lmdb.open_db(name)
            return self._handles[name]
        except lmdb.Error as error:
            raise self._translated(error) from error

    def copy(self, transaction: Transaction, target: Path) -> None:
        """Write what a `read` transaction sees, without free pages, as an environment of its own into an empty
        directory; it is not synced. Commits go on meanwhile. StorageError: what is there is of no use."""
        try:
            self._lmdb.copy(os.fspath(target), True, transaction)
            (target / MARKER_FILE).write_text(MARKER_TEXT)
        except lmdb.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error

    def file_bytes(self) -> int:
        """What data.mdb takes on disk; 0 before it is there."""
        try:
            return (self.path / DATA_FILE).stat().st_size
        except FileNotFoundError:
            return 0

    def close(self, wait_seconds: float | None = None) -> bool:
        """Waits for the readers; idempotent; nothing in a forked child, whose parent still uses it.

        False when they were not done after `wait_seconds`: it is open as before.
        """
        if os.getpid() != self._pid:
            return True
        with self._writing, self._gate:
            if not self._gate.wait_for(lambda: self._readers == 0, wait_seconds):
                return False
            self._is_shut = True
            self._lmdb.close()
            return True

    def _open(self) -> lmdb.Environment:
        try:
            self._take_readers_room()
            return lmdb.Environment(
                os.fspath(self.path),
                map_size=self._map_bytes,
                max_dbs=self._databases,
                readahead=False,
                readonly=self.is_read_only,
            )
        except (lmdb.Error, OSError) as error:
            raise self._translated(error) from error

    def _take_readers_room(self) -> None:
        try:
            _take_room(self.path / READERS_FILE, READERS_FILE_BYTES)
        except OSError as error:
            if error.errno != errno.EROFS or not self.is_read_only:
                raise  # on a disk that is read only LMDB reads without the file

    def _mark(self) -> None:
        """Durably: the environment's own entry first, then the marker that vouches for it."""
        draft = self.path / (MARKER_FILE + ".new")
        try:
            sync_directory(self.path)
            with draft.open("w") as file:
                file.write(MARKER_TEXT)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self.path / MARKER_FILE)
            sync_directory(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            self._lmdb.close()
            raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error

    def _attempt(self, write: Callable[[Transaction], T]) -> T:
        environment = self._enter()
        try:
            with environment.begin(None, None, True, True) as transaction:
                return write(transaction)
        finally:
            self._leave()

    def _enter(self) -> lmdb.Environment:
        check_process(self._pid, self.path)
        with self._gate:
            if self._is_shut:
                raise EnvironmentClosed(f"{self.path} is closed")
            if self._is_broken:
                self._reopen()
            self._readers += 1
            return self._lmdb

    def _leave(self) -> None:
        with self._gate:
            self._readers -= 1
            if self._readers == 0:
                self._gate.notify_all()

    def _grow(self) -> None:
        if self._map_bytes >= MAP_BYTES_MAX:
            raise StorageError(f"{self.path} is full at {self._map_bytes} bytes, the most it may take")
        self._map_bytes *= 2
        with self._gate:
            self._gate.wait_for(lambda: self._readers == 0)
            try:
                self._lmdb.set_mapsize(self._map_bytes)
            except lmdb.Error as error:
                raise self._translated(error) from error

    def _translated(self, error: Exception) -> StorageError:
        self._is_broken |= isinstance(error, lmdb.PanicError)
        kind = EnvironmentDamaged if isinstance(error, _DAMAGE) else StorageError
        return kind(f"{self.path}: {error.strerror if isinstance(error, OSError) else error}")

    def _reopen(self) -> None:
        """After a failed write of a meta page LMDB refuses everything until it is opened again: by who comes next, and
        when that fails by who comes then. Inside the gate."""
        if not self._gate.wait_for(lambda: self._readers == 0, REOPEN_SECONDS_MAX):
            raise StorageError(f"{self.path} must be opened again, and is being read")
        if self._is_shut:
            raise EnvironmentClosed(f"{self.path} is closed")
        if self._is_broken:
            self._lmdb.close()
            self._lmdb = self._open()
            try:
                self._handles = {name: self._lmdb.open_db(name) for name in self._handles}
            except lmdb.Error as error:
                raise self._translated(error) from error
            self._is_broken = False


class Reading:
    """A read transaction as a context; translates LMDB's errors, and ends the snapshot whatever happens."""

    __slots__ = ("_environment", "_transaction")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> Transaction:
        environment = self._environment._enter()
        try:
            self._transaction = environment.begin(None, None, False, True)
        except lmdb.Error as error:
            self._environment._leave()
            raise self._environment._translated(error) from error
        return self._transaction

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._transaction.abort()
        self._environment._leave()
        if isinstance(error, lmdb.Error):
            raise self._environment._translated(error) from error


def check_process(pid: int, path: Path) -> None:
    """StorageError in any process but `pid`, which opened `path`."""
    if os.getpid() != pid:
        raise StorageError(f"{path} belongs to process {pid}; a forked child must not use it")


def open_or_set_aside(path: Path, databases: int = 0, map_bytes: int = MAP_BYTES) -> tuple[Environment, bool]:
    """The environment, and whether a damaged one was set aside to make room for an empty one."""
    try:
        return Environment(path, databases, map_bytes), False
    except EnvironmentDamaged:
        set_aside(path)
        return Environment(path, databases, map_bytes), True


def set_aside(path: Path) -> Path:
    """Rename a closed environment's directory out of the way; returns its new path."""
    changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}{DAMAGED}{changed}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}{DAMAGED}{changed}.{number}")
    path.rename(target)
    sync_directory(path.parent)
    log.error("%s is damaged and was set aside as %s", path, target.name)
    return target


def check_files(path: Path) -> bool:
    """Look before LMDB maps the file; True when the environment has never been opened to the end.

    EnvironmentDamaged when what should be there is not; StorageError for a newer format or a disk that cannot be read.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        marked = _check_marker(path)
        data = path / DATA_FILE
        if not marked and data.exists() and data.stat().st_size < CREATED_BYTES:
            data.unlink()
        if data.exists() and data.stat().st_size:
            check_pages(data)
        elif marked:
            raise EnvironmentDamaged(f"{data} is {'empty' if data.exists() else 'gone'}, and it was not before")
        return not marked
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror}") from error


def _take_room(path: Path, size: int) -> None:
    """Make the first `size` bytes of a file its own; OSError when there is no room. What is in them stays."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Put a directory's entries (a new, renamed or removed file) on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_marker(path: Path) -> bool:
    with suppress(FileNotFoundError):
        text = (path / MARKER_FILE).read_bytes()[:64]
        words = text.split()
        if len(words) != 2 or words[0] != b"hms-ops" or not words[1].isdigit():
            raise EnvironmentDamaged(f"{path / MARKER_FILE} reads {text!r}, which this release never wrote")
        if int(words[1]) > FORMAT:
            raise StorageError(
                f"{path} has format {int(words[1])}, this release reads {FORMAT}; install a newer release"
            )
        return True
    return False

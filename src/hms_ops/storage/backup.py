"""Backups: a copy of a data directory that is whole by itself, made while the engine writes or from a stopped one.

    DIR/history/…, DIR/catalogue/, DIR/state/      an LMDB environment each, as in a data directory, free pages left out
    DIR/MANIFEST                                   written last: without it, it is no backup

MANIFEST is JSON {format, hms_ops, time, files: [{path, bytes, crc32c}]} and, as its last line, the CRC32C of what
stands before it; `time` is Unix seconds, checksums are eight hex digits.

The copy is of one moment: with history paused, for milliseconds, each environment gets a read transaction, and is
then copied from it while appends, sealing and retention go on. Catalogue and state are copied after history, so every
row has its name. LMDB keeps what the transactions see, so files may grow meanwhile.

Restoring checks every file against MANIFEST first, and again while it copies, into a directory beside the new one,
which appears whole or not at all. Errors: StorageError, and nothing is left behind; `is_stopping` ends a backup between
files.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import hms_ops
from hms_ops.errors import StorageError
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.environment import DATA_FILE, MARKER_FILE, Environment, Transaction, sync_directory

if TYPE_CHECKING:
    from hms_ops.storage.store import Storage

FORMAT: Final = 1
MANIFEST: Final = "MANIFEST"
PIECE_BYTES: Final = 1 << 20
MANIFEST_BYTES_MAX: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class BackedUp:
    """One file of a backup. path: relative, with slashes; crc32c: eight hex digits."""

    path: str
    bytes: int
    crc32c: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; `time` is when it was begun, Unix seconds."""

    time: float
    files: tuple[BackedUp, ...]
    hms_ops: str = hms_ops.__version__
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def pack(self) -> bytes:
        text = json.dumps(asdict(self), indent=1).encode() + b"\n"
        return text + b"crc32c %08x\n" % crc32c(text)


# ---- out


def back_up(storage: "Storage", target: Path, now_ns: int, is_stopping: Callable[[], bool] = lambda: False) -> Manifest:
    """Copy a data directory that this process has open into `target`, which is empty or not there yet."""
    with _made(target):
        with ExitStack() as snapshots:
            with storage.history.paused():
                held = [
                    (path, environment, snapshots.enter_context(_Snapshot(environment)))
                    for path, environment in storage.history.environments()
                ]
            # Slabs first: the one that is being written grows while it is held.
            for path, environment, snapshot in sorted(
                held, key=lambda one: ("slabs" not in Path(one[0]).parts, one[0])
            ):
                _copy(environment, snapshot.transaction, target / path, is_stopping)
                snapshot.release()
        for name, environment in (("catalogue", storage.catalogue.environment), ("state", storage.state)):
            with environment.read() as transaction:
                _copy(environment, transaction, target / name, is_stopping)
        manifest = Manifest(now_ns / 1e9, tuple(_listed(target)))
        _write_synced(target / MANIFEST, manifest.pack())
        sync_directory(target)
    return manifest


class _Snapshot:
    """A read transaction that can be given back before its context ends."""

    def __init__(self, environment: Environment) -> None:
        self._stack = ExitStack()
        self.transaction: Transaction = self._stack.enter_context(environment.read())

    def release(self) -> None:
        self._stack.close()

    def __enter__(self) -> "_Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _copy(environment: Environment, transaction: Transaction, target: Path, is_stopping: Callable[[], bool]) -> None:
    if is_stopping():
        raise StorageError("the engine stops; the backup was not completed")
    target.mkdir(parents=True)
    environment.copy(transaction, target)


def _listed(root: Path) -> Iterator[BackedUp]:
    """Every file below `root`, summed and synced, and the directories that name them."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            size, checksum = _sum(path, is_synced=True)
            yield BackedUp(path.relative_to(root).as_posix(), size, checksum)
        sync_directory(Path(directory))


def _sum(path: Path, is_synced: bool = False) -> tuple[int, str]:
    size = checksum = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            size += len(piece)
            checksum = crc32c(piece, checksum)
        if is_synced:
            os.fsync(file.fileno())
    return size, f"{checksum:08x}"


@contextmanager
def _made(target: Path) -> Iterator[None]:
    """A directory to be filled; when that fails it is as before."""
    is_new = not target.exists()
    check_empty(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        yield
        if is_new:
            sync_directory(target.parent)
    except BaseException as error:
        for path in target.iterdir() if target.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if is_new and target.exists():
            target.rmdir()
        if isinstance(error, OSError):
            raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
        raise


def check_empty(target: Path) -> None:
    """StorageError unless nothing is there, or a directory without anything in it."""
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{target} is not empty; name a new directory")
    except OSError as error:
        raise StorageError(f"{target} cannot be read: {error.strerror}") from error


def check_target(target: Path) -> None:
    """StorageError where no backup can be made, whatever the disk has room for."""
    check_empty(target)
    nearest = next(path for path in (target, *target.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(f"{target} cannot be made: {nearest} is no directory that may be written")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# ---- in


def read_manifest(source: Path) -> Manifest:
    """StorageError when there is none, it is not whole, or it is a later release's."""
    path = source / MANIFEST
    try:
        with path.open("rb") as opened:
            data = opened.read(MANIFEST_BYTES_MAX)
    except OSError as error:
        raise StorageError(f"{source} is no backup, or one that was not completed: {path}: {error.strerror}") from None
    text, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    if last != b"crc32c %08x" % crc32c(text + b"\n"):
        raise StorageError(f"{path} is damaged: it does not match its checksum")
    try:
        members: dict[str, Any] = json.loads(text)
        if int(members["format"]) > FORMAT:
            raise StorageError(
                f"{source} has format {members['format']}, this release reads {FORMAT}; install a newer release"
            )
        files = tuple(BackedUp(str(one["path"]), int(one["bytes"]), str(one["crc32c"])) for one in members["files"])
        manifest = Manifest(float(members["time"]), files, str(members["hms_ops"]))
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path} is no manifest: {error!r}") from None
    for file in files:
        _check_path(path, file.path)
    return manifest


def _check_path(manifest: Path, path: str) -> None:
    """Only what a data directory is made of: a manifest must not lead out of it."""
    parts = PurePosixPath(path).parts
    is_ours = parts[:1] in (("history",), ("catalogue",), ("state",)) and parts[-1:] in ((DATA_FILE,), (MARKER_FILE,))
    if not is_ours or ".." in parts:
        raise StorageError(f"{manifest} names {path!r}, which no backup has")


def problems_of(source: Path, manifest: Manifest) -> list[str]:
    """What of a backup is missing or not as it was written, one line each."""
    return [problem for file in manifest.files if (problem := _problem(source, file, file_sum(source / file.path)))]


def file_sum(path: Path) -> tuple[int, str] | str:
    """(bytes, CRC32C), or why the file cannot be read."""
    try:
        return _sum(path)
    except OSError as error:
        return error.strerror or str(error)


def _problem(source: Path, file: BackedUp, found: tuple[int, str] | str) -> str:
    path = source / file.path
    if isinstance(found, str):
        return f"{path}: {found}"
    if found[0] != file.bytes:
        return f"{path} has {found[0]:,} bytes, not the {file.bytes:,} that were written"
    return "" if found[1] == file.crc32c else f"{path} does not match its checksum"


def restore(source: Path, data_dir: Path) -> Manifest:
    """Make a data directory of a backup. StorageError: it is damaged, or something is there; nothing is left behind."""
    data_dir = data_dir.absolute()
    manifest = read_manifest(source)
    check_empty(data_dir)
    if problems := problems_of(source, manifest):
        raise StorageError("the backup is damaged, nothing was restored:\n" + "\n".join(problems))
    draft = data_dir.with_name(data_dir.name + ".restoring")
    with _made(draft):
        for file in manifest.files:
            _restore_file(source, file, draft / file.path)
        for directory, _, _ in os.walk(draft):
            sync_directory(Path(directory))
        if data_dir.exists():
            data_dir.rmdir()
        draft.rename(data_dir)
        sync_directory(data_dir.parent)
    return manifest


def _restore_file(source: Path, file: BackedUp, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    size = checksum = 0
    with (source / file.path).open("rb") as reading, target.open("xb") as writing:
        while piece := reading.read(PIECE_BYTES):
            size += len(piece)
            checksum = crc32c(piece, checksum)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    if problem := _problem(source, file, (size, f"{checksum:08x}")):
        raise StorageError(f"{problem}; nothing was restored")

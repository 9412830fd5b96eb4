"""Directories of one kind, named by the time at which they begin, each an LMDB environment of its own.

LMDB files never shrink, so what is too old goes by unlinking a directory whole. `Partitions` knows which there are,
opens them when they are asked for, and sets damaged ones aside. Used for the slabs of a block and for the tiles of a
partition (shelf.py). They are opened to be written, readers or not: late rows may come for any, LMDB cannot have one
open twice, and to open it anew would wait for its readers, a backup among them. Only what a disk refuses to have
written is opened to be read only.

Removing takes no longer than a rename: the directory is called `.expired` at once, and closed and unlinked by `reclaim`
when its last reader is done, or at the next start. Readers that had it go on reading it.

Thread-safe; only writers create and remove. Errors: StorageError when the disk fails.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hms_ops.errors import StorageError
from hms_ops.storage import keys
from hms_ops.storage.environment import (
    DATA_FILE,
    Environment,
    check_process,
    open_or_set_aside,
    set_aside,
    sync_directory,
)
from hms_ops.storage.pages import EnvironmentDamaged

EXPIRED: Final = ".expired"
"""A directory is renamed to this before its files go: half removed, it must not look damaged."""

MAP_BYTES: Final = 1 << 34
"""16 GiB of address space, no memory: growing waits for readers, and hardly any block is larger."""

SHRINK_BYTES: Final = 16 << 20
"""A file shrinks by so much at a time before it is unlinked: where a file system discards blocks at once (ext4 without
a journal), half a GiB takes 100 ms, and all that time nobody's fdatasync returned; so the writer waits 15 ms."""


class Partitions:
    """`set_aside` counts the damaged ones."""

    def __init__(self, root: Path, seconds: int) -> None:
        """`seconds`: what each covers; those that begin elsewhere, and foreign names, are left alone."""
        self.root = root
        self.seconds = seconds
        self.set_aside = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: dict[int, Environment] = {}
        self._leaving: list[tuple[Environment | None, Path]] = []
        self._is_closed = False
        with self._disk_errors():
            root.mkdir(parents=True, exist_ok=True)
            for left in root.glob("*" + EXPIRED + "*"):
                shutil.rmtree(left)
            self._starts = {start for path in root.iterdir() if (start := self._start_of(path)) is not None}

    def __contains__(self, start: int) -> bool:
        return start in self._starts

    def starts(self, start: int = 0, end: int | None = None) -> list[int]:
        """The first seconds of those that may hold steps in [start, end), oldest first."""
        with self._lock:
            known = sorted(self._starts)
        return [first for first in known if first + self.seconds > start and (end is None or first < end)]

    def get(self, start: int) -> Environment | None:
        """The one that begins at `start`, open to be read; None when there is none (any more, or for it is damaged)."""
        environment = self._open.get(start)
        if environment is not None:
            return environment
        with self._lock:
            if start not in self._starts:
                return None
            if start not in self._open:
                self._check_open()
                try:
                    self._open[start] = _opened(self.path(start))
                except EnvironmentDamaged:
                    self._put_aside(start)
            return self._open.get(start)

    def create(self, start: int) -> Environment:
        """The same to be written, made when it is not there. StorageError at once, too, while one that the disk refused
        to have written is being read."""
        with self._lock:
            environment = self._open.get(start)
            if environment is not None and not environment.is_read_only:
                return environment
            self._check_open()
            if environment is not None:
                if not environment.close(0):
                    raise StorageError(f"{environment.path} is being read and cannot be written now")
                del self._open[start]
            environment, was_damaged = open_or_set_aside(self.path(start), map_bytes=MAP_BYTES)
            self.set_aside += was_damaged
            self._open[start] = environment
            self._starts.add(start)
            return environment

    def put_aside(self, start: int) -> None:
        """One that LMDB found damaged while it was open, or that holds what cannot be read: it is kept, elsewhere."""
        with self._lock:
            self._put_aside(start)

    def remove(self, start: int) -> None:
        """From now on it is not there; its space comes back with `reclaim`."""
        path = self.path(start)
        expired = path.with_name(path.name + EXPIRED)
        with self._disk_errors(), self._lock:
            number = 1
            while expired.exists():
                number += 1
                expired = path.with_name(f"{path.name}{EXPIRED}.{number}")
            path.rename(expired)
            self._starts.discard(start)
            self._leaving.append((self._open.pop(start, None), expired))
            sync_directory(self.root)

    def reclaim(self, bytes_max: int | None = None) -> int:
        """Unlink what was removed and is read no more; returns how many are left. May take a while, unless only those
        of up to `bytes_max` are asked for."""
        with self._lock:
            leaving, self._leaving = self._leaving, []
        kept = []
        try:
            for environment, path in leaving:
                is_small = bytes_max is None or _data_bytes(path) <= bytes_max
                if not is_small or (environment is not None and not environment.close(0)):
                    kept.append((environment, path))
                    continue
                with self._disk_errors():
                    _unlink(path)
        finally:
            with self._lock:
                self._leaving += kept
        return len(self._leaving)

    def file_bytes(self) -> int:
        """What all of them take on disk."""
        return sum(self.bytes_of(start) for start in self.starts())

    def bytes_of(self, start: int) -> int:
        """What one takes on disk."""
        return _data_bytes(self.path(start))

    def path(self, start: int) -> Path:
        return self.root / keys.partition_name(start, self.seconds)

    def close(self) -> None:
        """Waits for readers; idempotent."""
        with self._lock:
            self._is_closed = True
            for environment in self._open.values():
                environment.close()
            self._open.clear()
        for leaving, _ in self._leaving:
            if leaving is not None:
                leaving.close()
        if os.getpid() == self._pid:
            self.reclaim()

    def _check_open(self) -> None:
        check_process(self._pid, self.root)
        if self._is_closed:
            raise StorageError(f"{self.root} is closed")

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.root}: {error.strerror}") from error

    def _put_aside(self, start: int) -> None:
        with self._disk_errors():
            environment = self._open.pop(start, None)
            if environment is not None:
                environment.close()
            set_aside(self.path(start))
            self._starts.discard(start)
            self.set_aside += 1

    def _start_of(self, path: Path) -> int | None:
        start = keys.partition_time(path.name)
        is_ours = start is not None and start % self.seconds == 0 and self.path(start) == path
        return start if is_ours else None


def _opened(path: Path) -> Environment:
    try:
        return Environment(path, map_bytes=MAP_BYTES)
    except EnvironmentDamaged:
        raise
    except StorageError:
        return Environment(path, map_bytes=MAP_BYTES, is_read_only=True)


def _unlink(path: Path) -> None:
    """Of an environment that nobody has open: no part of its file is mapped any more."""
    data = path / DATA_FILE
    size = _data_bytes(path)
    while size > SHRINK_BYTES:
        size -= SHRINK_BYTES
        os.truncate(data, size)
    shutil.rmtree(path)


def _data_bytes(path: Path) -> int:
    """What cannot be looked at takes no space: opening it says what is wrong."""
    try:
        return os.stat(path / DATA_FILE).st_size
    except OSError:
        return 0

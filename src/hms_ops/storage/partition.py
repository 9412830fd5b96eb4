"""The partitions of one tier: directories named by the hour they begin, each an LMDB environment of its own.

LMDB files never shrink, so what is too old goes by unlinking the oldest partition whole. `Partitions` knows which there
are, opens them when they are asked for, and sets damaged ones aside. Thread-safe; only the writer removes.
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

EXPIRED: Final = ".expired"
"""A partition is renamed to this before its files go: half removed, it must not look damaged."""


class Partitions:
    """`set_aside` counts the damaged ones."""

    def __init__(self, root: Path, partition_seconds: int) -> None:
        self.root = root
        self.partition_seconds = partition_seconds
        self.set_aside = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: dict[int, Environment] = {}
        with self._disk_errors():
            root.mkdir(parents=True, exist_ok=True)
            for left in root.glob("*" + EXPIRED):
                shutil.rmtree(left)
            self._starts = {start for path in root.iterdir() if (start := self._start_of(path)) is not None}

    def starts(self, start: int = 0, end: int | None = None) -> list[int]:
        """The first seconds of those that may hold steps in [start, end), oldest first."""
        with self._lock:
            known = sorted(self._starts)
        return [first for first in known if first + self.partition_seconds > start and (end is None or first < end)]

    def get(self, start: int) -> Environment | None:
        """The partition that begins at `start`, or None when there is none (any more)."""
        with self._lock:
            return self._opened(start) if start in self._starts else None

    def create(self, start: int) -> Environment:
        """The same, made when it is not there. Writer only."""
        with self._lock:
            return self._opened(start)

    def put_aside(self, start: int) -> None:
        """A partition that LMDB found damaged while it was open."""
        with self._lock, self._disk_errors():
            self._close(start)
            set_aside(self._path(start))
            self._starts.discard(start)
            self.set_aside += 1

    def remove(self, start: int) -> None:
        """Waits for its readers, then gives its space back."""
        path = self._path(start)
        expired = path.with_name(path.name + EXPIRED)
        with self._disk_errors():
            with self._lock:
                self._close(start)
                path.rename(expired)
                self._starts.discard(start)
            sync_directory(self.root)
            shutil.rmtree(expired)

    def file_bytes(self) -> int:
        """What all of them take on disk."""
        return sum(_data_bytes(self._path(start)) for start in self.starts())

    def close(self) -> None:
        with self._lock:
            for start in list(self._open):
                self._close(start)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.root}: {error.strerror}") from error

    def _opened(self, start: int) -> Environment:
        environment = self._open.get(start)
        if environment is None:
            check_process(self._pid, self.root)
            environment, was_damaged = open_or_set_aside(self._path(start))
            self.set_aside += was_damaged
            self._open[start] = environment
            self._starts.add(start)
        return environment

    def _close(self, start: int) -> None:
        environment = self._open.pop(start, None)
        if environment is not None:
            environment.close()

    def _path(self, start: int) -> Path:
        return self.root / keys.partition_name(start, self.partition_seconds)

    def _start_of(self, path: Path) -> int | None:
        start = keys.partition_time(path.name)
        is_ours = start is not None and start % self.partition_seconds == 0 and self._path(start) == path
        return start if is_ours else None


def _data_bytes(path: Path) -> int:
    try:
        return (path / DATA_FILE).stat().st_size
    except OSError:
        return 0  # what cannot be looked at takes no space of ours; opening it says what is wrong

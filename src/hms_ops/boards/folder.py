"""Dashboards as files: `NAME.yaml` in the folders of the setting `dashboards`, looked at when they are asked for.

A file that has changed is read again; one that holds a mistake says so beside its name, and what it was before goes on
being shown. `put` checks first and then replaces the file at once, so that nobody ever reads half of one; it saves only
over the text that was edited, which its `etag` tells from others.

Bounds: BOARDS_MAX files are looked at, the rest is counted in `left_out`; TEXT_BYTES_MAX a file. Threads: any, one at a
time. Errors: KeyError for a name there is no file of, ConfigError for a text, Changed, OSError.
"""

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hms_ops.boards.board import Board, read_board
from hms_ops.errors import ConfigError

BOARDS_MAX: Final = 200
TEXT_BYTES_MAX: Final = 256 * 1024
SUFFIX: Final = ".yaml"
ANY: Final = "*"  # RFC 9110, section 13.1.1
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")

Stamp = tuple[int, int, int]


class Changed(Exception):
    """The file is not what its editor began with."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it was read last. board: None when it never was whole. error: why it is not now, "" when it is."""

    name: str
    path: Path
    stamp: Stamp
    text: str
    board: Board | None
    error: str

    @property
    def etag(self) -> str:
        return etag_of(self.text)


def etag_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Folders:
    """The dashboards of several folders; the first that has a name wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.left_out = 0
        self._folders = tuple(folders)
        self._kept: dict[str, Kept] = {}
        self._guard = threading.Lock()

    @property
    def is_editable(self) -> bool:
        return any(os.access(folder, os.W_OK) for folder in self._folders)

    def all(self) -> list[Kept]:
        """By name, as the files are now."""
        with self._guard:
            paths = self._paths()
            self._kept = {name: self._read(name, path) for name, path in paths.items()}
            return list(self._kept.values())

    def one(self, name: str) -> Kept:
        return next((kept for kept in self.all() if kept.name == name), None) or missing(name)

    def put(self, name: str, text: str, etag: str | None) -> Kept:
        """Check the text and save it; `etag` is of the text that was edited, None for a dashboard that is new, ANY for
        whichever is there."""
        if NAME.match(name) is None:
            raise ConfigError(f"{name[:80]}:1: a dashboard's name has letters, digits, '_', '.' and '-', at most 64")
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise ConfigError(f"{name}:1: the text is longer than {TEXT_BYTES_MAX:,} bytes; make a second dashboard")
        read_board(text, name)
        known = {kept.name: kept for kept in self.all()}.get(name)
        found = known.etag if known else None
        if etag != found and not (etag == ANY and known):
            raise Changed(name)
        replace_file(known.path if known else self._place(name), text)
        return self.one(name)

    def _place(self, name: str) -> Path:
        """Where a new one goes: the first folder that can be written to."""
        for folder in self._folders:
            if os.access(folder, os.W_OK):
                return folder / (name + SUFFIX)
        raise PermissionError("no folder of `dashboards` can be written to")

    def _paths(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.glob("*" + SUFFIX)):
                if path.is_file() and NAME.match(path.stem):
                    found.setdefault(path.stem, path)
        self.left_out = max(0, len(found) - BOARDS_MAX)
        return dict(sorted(found.items())[:BOARDS_MAX])

    def _read(self, name: str, path: Path) -> Kept:
        before = self._kept.get(name)
        try:
            stamp = stamp_of(path)
            if before is not None and before.path == path and before.stamp == stamp:
                return before
            text = read_file(path)
        except (OSError, UnicodeDecodeError) as error:
            text, why = (before.text if before else ""), f"cannot be read: {error}"
            return Kept(name, path, (0, 0, 0), text, before.board if before else None, why)
        try:
            return Kept(name, path, stamp, text, read_board(text, path.name), "")
        except ConfigError as error:
            return Kept(name, path, stamp, text, before.board if before else None, str(error))


def missing(name: str) -> Kept:
    raise KeyError(name)


def stamp_of(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_file(path: Path) -> str:
    with open(path, "rb") as file:
        content = file.read(TEXT_BYTES_MAX + 1)
    if len(content) > TEXT_BYTES_MAX:
        raise OSError(f"it is longer than {TEXT_BYTES_MAX:,} bytes")
    return content.decode("utf-8-sig")


def replace_file(path: Path, text: str) -> None:
    """All of it or nothing: written beside, synced, and put in its place at once; where a link points, not the link."""
    path = path.resolve()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="." + path.name, delete=False) as file:
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise

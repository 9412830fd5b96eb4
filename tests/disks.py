"""Disks that refuse: a small one that can be filled, one that turns read-only. Skipped where that is not allowed."""

import array
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DISK_BYTES = 4 << 20
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10  # linux/fs.h


@contextmanager
def mounted(path: Path, size: int = DISK_BYTES) -> Iterator[Path]:
    """A small disk of its own; the test is skipped where that is not allowed."""
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    try:
        mounting = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounting.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounting.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Nothing more goes on the disk until the file is removed."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@contextmanager
def frozen(root: Path) -> Iterator[None]:
    """Nothing below `root` can be written, by files that are open either: what a disk that turned read-only does.

    But for LMDB's lock.mdb, which is mapped, and has its room: writing in an immutable one is a SIGBUS, and on a disk
    that turned read-only it is not.
    """
    paths = [path for path in (root, *root.rglob("*")) if path.name != "lock.mdb"]
    frozen: list[Path] = []
    try:
        try:
            for path in paths:
                set_immutable(path, True)
                frozen.append(path)
        except OSError as error:
            pytest.skip(f"files cannot be made immutable: {error.strerror}")
        yield
    finally:
        for path in frozen:
            set_immutable(path, False)


def set_immutable(path: Path, is_immutable: bool) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        flags = array.array("l", [0])
        fcntl.ioctl(fd, GET_FLAGS, flags, True)
        flags[0] = flags[0] | IMMUTABLE if is_immutable else flags[0] & ~IMMUTABLE
        fcntl.ioctl(fd, SET_FLAGS, flags)
    finally:
        os.close(fd)

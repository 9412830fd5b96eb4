"""Looking at an LMDB file by plain reads, before LMDB maps it: reading past the end of a mapped file is a SIGBUS.

`check_pages(path)` is called by environment.py, once for each environment it opens. The format is that of LMDB 0.9
(`mdb.c`, "Page format"); all integers little-endian on the machines we run on:

    page    pgno u64, pad u16, flags u16, lower u16, upper u16 | u16 offsets of nodes up to `lower` | … | nodes
    meta    page 0 and page 1, after the 16 bytes: magic u32, version u32, address u64, map size u64,
            free list's and main database's 48 bytes each (page size first, root page last), last page u64, txn id u64
    node    low u16, high u16, flags u16, key bytes u16, key, data: in a branch the child's page number (low, high,
            flags: 48 bits); in a leaf low and high are the data's length, and the data may be a page number

The meta page with the higher transaction id counts. It names the last page ever handed out; such a page need not be in
the file when it was freed by the transaction that took it. So a file that is long enough passes at once (the usual
case, two reads), and only a shorter one has its trees walked for a page in use that is missing.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from hms_ops.errors import StorageError

MAGIC: Final = 0xBEEFC0DE
VERSION: Final = 1
OTHER_VERSIONS: Final = (2, 3)
"""LMDB's development branch and LMDB 1.0."""

_META: Final = struct.Struct("<II16xI36xQ40xQQQ")
_PAGE: Final = struct.Struct("<QHHHH")
_NODE: Final = struct.Struct("<HHHH")
_NUMBER: Final = struct.Struct("<Q")
_PAGE_BYTES: Final = tuple(1 << shift for shift in range(8, 17))
_NONE: Final = (1 << 64) - 1
_BRANCH: Final = 0x01
_LEAF: Final = 0x02
_DATA_ON_PAGES: Final = 0x01
_DATA_IS_TREE: Final = 0x02
_ROOT_IN_TREE: Final = 40


class EnvironmentDamaged(StorageError):
    """An environment's file is missing, emptied, cut, or not LMDB's: it can be set aside."""


class _Meta(NamedTuple):
    """The roots are page numbers, `_NONE` for an empty tree."""

    page_bytes: int
    free_root: int
    main_root: int
    last_page: int
    transaction_id: int


def check_pages(path: Path) -> None:
    """EnvironmentDamaged unless every page in use is in the file. Another version of the format is LMDB's to judge."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = _read_meta(path, file, 0)
        second = first and _read_meta(path, file, first.page_bytes)
        if first is None or second is None:
            return
        meta = max(first, second, key=lambda meta: meta.transaction_id)
        if (meta.last_page + 1) * meta.page_bytes <= size:
            return
        for number in _pages(file, meta.page_bytes, [meta.free_root, meta.main_root]):
            if (number + 1) * meta.page_bytes > size:
                raise EnvironmentDamaged(f"{path} was cut: it has {size} bytes, and page {number} is in use")


def _read_meta(path: Path, file: BinaryIO, offset: int) -> _Meta | None:
    file.seek(offset + _PAGE.size)
    head = file.read(_META.size)
    if len(head) < _META.size:
        raise EnvironmentDamaged(f"{path} was cut within its first pages")
    magic, version, page_bytes, free_root, main_root, last_page, transaction_id = _META.unpack(head)
    if magic != MAGIC:
        raise EnvironmentDamaged(f"{path} is no LMDB file")
    if version in OTHER_VERSIONS:
        return None
    if version != VERSION or page_bytes not in _PAGE_BYTES:
        raise EnvironmentDamaged(f"{path} has LMDB version {version} and pages of {page_bytes} bytes")
    return _Meta(page_bytes, free_root, main_root, last_page, transaction_id)


def _pages(file: BinaryIO, page_bytes: int, roots: list[int]) -> Iterator[int]:
    """The numbers of all pages the trees use; of a run of data pages the last. Each comes before it is read."""
    waiting = [root for root in roots if root != _NONE]
    seen = set(waiting)
    while waiting:
        number = waiting.pop()
        yield number
        file.seek(number * page_bytes)
        children, ends = _uses(file.read(page_bytes), page_bytes)
        yield from ends
        waiting.extend(child for child in children if child not in seen)
        seen.update(children)


def _uses(page: bytes, page_bytes: int) -> tuple[list[int], list[int]]:
    """(pages of the tree, last pages of runs of data) that a page names."""
    _, _, flags, lower, _ = _PAGE.unpack_from(page)
    children: list[int] = []
    ends: list[int] = []
    for at in range(_PAGE.size, min(lower, page_bytes), 2):
        node = int.from_bytes(page[at : at + 2], "little")
        if node + _NODE.size > page_bytes:
            raise EnvironmentDamaged("a page names a node beyond its end")
        low, high, node_flags, key_bytes = _NODE.unpack_from(page, node)
        data = node + _NODE.size + key_bytes
        if flags & _BRANCH:
            children.append(low | high << 16 | node_flags << 32)
        elif flags & _LEAF and node_flags & _DATA_ON_PAGES:
            run_bytes = _PAGE.size + (low | high << 16)
            ends.append(_number(page, data) + (run_bytes - 1) // page_bytes)
        elif flags & _LEAF and node_flags & _DATA_IS_TREE:
            children.append(_number(page, data + _ROOT_IN_TREE))
    return [child for child in children if child != _NONE], ends


def _number(page: bytes, at: int) -> int:
    if at + _NUMBER.size > len(page):
        raise EnvironmentDamaged("a node's data lies beyond its page")
    number: int = _NUMBER.unpack_from(page, at)[0]
    return number

"""Sketches of many series and steps as bytes on disk. This docstring specifies the format.

    0        4         6       8            12          16
    ┌────────┬─────────┬───────┬────────────┬───────────┐
    │ "HMSQ" │ version │ flags │ head_bytes │ head_crc  │   version 1, flags 0 (uint16); the same in every version
    ├────────┴───┬─────┴───────┼────────────┼───────────┘
    │ step_s u32 │ sketches u32│ frames u32 │               seconds of a step; sketches in all frames
    ├────────────┴─────────────┴────────────┤ 28
    │ frame entries, 24 bytes each          │
    │   first_id u32, last_id u32           │               the ids in the frame
    │   offset u32, bytes u32, raw u32      │               of its payload, from head_bytes on; unpacked
    │   crc u32                             │               of the payload
    ├───────────────────────────────────────┤ head_bytes
    │ payloads, back to back, to the end    │
    └───────────────────────────────────────┘

All integers little-endian; head_crc is the CRC32C of bytes 0 to 11 followed by 16 to head_bytes. Sketches ascend by
(id, step), those of one id and step keep their order; frames follow each other in that order, and one id never stands
in two frames, unless it alone fills one. A payload is one zstd frame of, for its n sketches:

    n u32, ids u32[n], steps i64[n], ends u32[n], data           ends: of each sketch in data

A frame ends when its sketches are FRAME_BYTES or more, so that one id of 100,000 does not unpack all. What a sketch
holds is `_sketch`'s matter; here they are opaque.

Pure and thread-safe; input may be a read-only LMDB view, and nothing returned points into it. Errors: BlockDamaged,
BlockTooNew; ValueError for Sketches whose arrays do not fit each other.
"""

import struct
from itertools import pairwise
from typing import Final, NamedTuple

import cramjam
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from hms_ops.sketches import Sketches, joined
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.row import Ids

MAGIC: Final = b"HMSQ"
VERSION: Final = 1
ZSTD_LEVEL: Final = 1
FRAME_BYTES: Final = 65_536
RAW_BYTES_MAX: Final = 1 << 28

_HEAD: Final = struct.Struct("<4sHHII")
_BLOCK: Final = struct.Struct("<III")
_FRAMES_AT: Final = _HEAD.size + _BLOCK.size
_SKETCH_BYTES: Final = 16
"""Of a sketch in a payload besides its data."""


class SketchHead(NamedTuple):
    step_seconds: int
    sketches: int
    last_id: int


def pack(step_seconds: int, sketches: Sketches) -> bytes:
    """In any order; ids that follow each other come back ascending by (id, step)."""
    sizes = _sizes(sketches)
    order = np.lexsort((sketches.steps, sketches.ids))  # stable
    ids, sizes = sketches.ids[order], sizes[order]
    bounds = _frame_bounds(ids, sizes)
    entries, payloads, offset = [], [], 0
    for low, high in pairwise(bounds):
        raw = _frame(sketches, order[low:high], sizes[low:high])
        packed = bytes(cramjam.zstd.compress(raw, level=ZSTD_LEVEL))
        entries.append((int(ids[low]), int(ids[high - 1]), offset, len(packed), len(raw), crc32c(packed)))
        payloads.append(packed)
        offset += len(packed)
    body = _BLOCK.pack(step_seconds, len(ids), len(entries)) + np.array(entries, "<u4").tobytes()
    start = _HEAD.pack(MAGIC, VERSION, 0, _HEAD.size + len(body), 0)[:12]
    return b"".join([start, struct.pack("<I", crc32c(body, crc32c(start))), body, *payloads])


def head(data: Buffer) -> SketchHead:
    return _open(memoryview(data))[0]


def select(data: Buffer, ids: Ids | None, start: int, end: int) -> Sketches:
    """Those of ids (uint32 strictly ascending; None: all) in steps from start to before end, Unix seconds; ascending by
    (id, step)."""
    view = memoryview(data)
    sketch_head, entries, payloads_at = _open(view)
    parts, found = [], 0
    for entry in entries[_is_wanted(entries, ids)]:
        part = _unpack(view, payloads_at, entry)
        found += len(part)
        if found > sketch_head.sketches:
            raise BlockDamaged("a block of sketches has more of them than it says")
        is_chosen = (part.steps >= start) & (part.steps < end)
        if ids is not None:
            is_chosen &= np.isin(part.ids, ids)
        parts.append(part if is_chosen.all() else part.chosen(np.flatnonzero(is_chosen)))
    return joined(parts)


def _sizes(sketches: Sketches) -> NDArray[np.int64]:
    sizes = np.diff(sketches.offsets)
    count = len(sketches.ids)
    if len(sketches.steps) != count or len(sizes) != count or (sizes < 0).any():
        raise ValueError(f"{count} ids, {len(sketches.steps)} steps and {len(sizes)} ascending offsets do not fit")
    if sketches.offsets[0] < 0 or sketches.offsets[-1] > len(sketches.data):
        raise ValueError(f"offsets up to {sketches.offsets[-1]} of {len(sketches.data)} bytes")
    if (sizes > RAW_BYTES_MAX // 2).any():
        raise ValueError(f"a sketch of {sizes.max()} bytes; at most {RAW_BYTES_MAX // 2}")
    return sizes


def _frame_bounds(ids: Ids, sizes: NDArray[np.int64]) -> list[int]:
    """Where frames begin, and the end: an id's sketches stay together unless they fill a frame by themselves."""
    bounds, filled = [0], 0
    for i, (size, is_new) in enumerate(zip(sizes.tolist(), np.diff(ids, prepend=ids[:1]).tolist(), strict=True)):
        if filled >= FRAME_BYTES and (is_new or filled >= 16 * FRAME_BYTES):
            bounds.append(i)
            filled = 0
        filled += size + _SKETCH_BYTES
    return [*bounds, len(ids)] if len(ids) else [0]


def _frame(sketches: Sketches, order: NDArray[np.intp], sizes: NDArray[np.int64]) -> bytes:
    starts = sketches.offsets[order]
    data = [sketches.data[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    ids, steps = sketches.ids[order].astype("<u4"), sketches.steps[order].astype("<i8")
    arrays = (ids.tobytes(), steps.tobytes(), sizes.cumsum().astype("<u4").tobytes())
    return b"".join([struct.pack("<I", len(order)), *arrays, *data])


def _open(view: memoryview) -> tuple[SketchHead, NDArray[np.uint32], int]:
    """(head, entries uint32[frames, 6], where payloads begin)."""
    if len(view) < _FRAMES_AT:
        raise BlockDamaged(f"a block of sketches of {len(view)} bytes has no head")
    magic, version, _, head_bytes, crc = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise BlockDamaged(f"no block of sketches: it begins with {magic!r}")
    if not _FRAMES_AT <= head_bytes <= len(view) or crc32c(view[16:head_bytes], crc32c(view[:12])) != crc:
        raise BlockDamaged("the head of a block of sketches does not match its checksum")
    if version > VERSION:
        raise BlockTooNew(f"a block of sketches is of version {version}, this release reads up to {VERSION}")
    step_seconds, sketches, frames = _BLOCK.unpack_from(view, _HEAD.size)
    entries = np.frombuffer(view[_FRAMES_AT:head_bytes], "<u4") if not head_bytes % 4 else np.empty(0, "<u4")
    if len(entries) != 6 * frames or head_bytes + int(entries[3::6].sum(dtype=np.int64)) != len(view):
        raise BlockDamaged(f"a block of sketches is {len(view)} bytes long, and its head says otherwise")
    last_id = int(entries[1::6].max(initial=0))
    return SketchHead(step_seconds, sketches, last_id), entries.reshape(-1, 6), head_bytes


def _is_wanted(entries: NDArray[np.uint32], ids: Ids | None) -> NDArray[np.bool_]:
    if ids is None:
        return np.ones(len(entries), bool)
    wanted: NDArray[np.bool_] = np.searchsorted(ids, entries[:, 0]) < np.searchsorted(ids, entries[:, 1], "right")
    return wanted


def _unpack(view: memoryview, payloads_at: int, entry: NDArray[np.uint32]) -> Sketches:
    first_id, last_id, offset, size, raw_size, crc = entry.tolist()
    packed = view[payloads_at + offset :][:size]
    if len(packed) != size or crc32c(packed) != crc or raw_size > RAW_BYTES_MAX:
        raise BlockDamaged(f"the sketches of ids {first_id} to {last_id} do not match their checksum")
    raw = np.empty(raw_size, np.uint8)
    try:
        if cramjam.zstd.decompress_into(packed, raw.data) != raw_size:
            raise BlockDamaged(f"the sketches of ids {first_id} to {last_id} do not unpack to {raw_size} bytes")
    except (cramjam.DecompressionError, ValueError, OSError) as error:
        raise BlockDamaged(f"the sketches of ids {first_id} to {last_id} do not unpack: {error}") from None
    return _sketches(raw.tobytes(), first_id, last_id)


def _sketches(raw: bytes, first_id: int, last_id: int) -> Sketches:
    count = struct.unpack_from("<I", raw)[0] if len(raw) >= 4 else 0
    data_at = 4 + _SKETCH_BYTES * count
    if not count or len(raw) < data_at:
        raise BlockDamaged(f"a frame of {len(raw)} bytes has no {count} sketches")
    ids = np.frombuffer(raw, "<u4", count, 4)
    steps = np.frombuffer(raw, "<i8", count, 4 + 4 * count)
    offsets = np.concatenate([[0], np.frombuffer(raw, "<u4", count, 4 + 12 * count)]).astype(np.int64)
    if (np.diff(offsets) < 0).any() or offsets[-1] != len(raw) - data_at:
        raise BlockDamaged(f"the sketches of ids {first_id} to {last_id} do not fill their frame")
    if ids.min() != first_id or ids.max() != last_id:
        raise BlockDamaged(f"a frame of sketches has other ids than {first_id} to {last_id}")
    return Sketches(ids.astype(np.uint32), steps.astype(np.int64), offsets, raw[data_at:])

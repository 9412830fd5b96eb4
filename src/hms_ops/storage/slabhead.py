"""The head of a slab and the parameters in its key, taken apart and checked; the format is slab.py's.

Used by slab.py only, which documents the errors.
"""

import struct
import threading
from typing import Final, NamedTuple

import cramjam
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from hms_ops.storage import _slabreader, _slabwriter
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged, BlockTooNew

MAGIC: Final = b"HMSL"
VERSION: Final = 1
FRAME_IDS: Final = 512

_IS_KEY: Final = 1
_HEAD: Final = struct.Struct("<4sHHII")
_STEP: Final = struct.Struct("<qIIqIIIIII")
_FRAMES_AT: Final = _HEAD.size + _STEP.size

Entries = NDArray[np.uint32]
Params = NDArray[np.uint8]


class SlabHead(NamedTuple):
    """What a slab says of itself. step_start and key_step in Unix seconds; key_step None: it is a key. No rows: the ids
    are 0."""

    step_start: int
    step_seconds: int
    key_step: int | None
    rows: int
    first_id: int
    last_id: int


class Opened(NamedTuple):
    head: SlabHead
    crc: int
    key_crc: int
    entries: Entries
    key_entries: Entries
    payloads_at: int
    data: memoryview


class Key:
    """The parameters of a key slab, unpacked when first asked for: for who decodes many slabs of one key. It keeps a
    copy of the slab. One thread."""

    def __init__(self, data: Buffer) -> None:
        self.opened = open_slab(bytes(data))
        if self.opened.head.key_step is not None:
            raise BlockDamaged(f"the slab of step {self.opened.head.step_start} is no key")
        self._params: tuple[Params, dict[int, int]] | None = None

    def params(self) -> tuple[Params, dict[int, int]]:
        """(uint8[m, FRAME_PARAM_BYTES], frame number → row)."""
        if self._params is None:
            numbers = self.opened.key_entries[:, 0]
            self._params = (params_of(self.opened, numbers), {int(number): row for row, number in enumerate(numbers)})
        return self._params


def assemble(
    step: tuple[int, int, int],
    ids: tuple[int, int],
    key: tuple[int, int] | None,
    entries: Entries,
    payload: memoryview,
    params: list[tuple[int, bytes]],
) -> tuple[bytes, int]:
    """(the slab, its head's crc)."""
    step_start, step_seconds, rows = step
    key_entries = np.zeros((len(params), 4), "<u4")
    offset = len(payload)
    for entry, (frame, packed) in zip(key_entries, params, strict=True):
        entry[:] = frame, offset, len(packed), crc32c(packed)
        offset += len(packed)
    key_step, key_crc = key or (step_start, 0)
    fixed = _STEP.pack(step_start, step_seconds, rows, key_step, key_crc, *ids, len(entries), len(key_entries), offset)
    body = b"".join([fixed, entries.astype("<u4", copy=False).tobytes(), key_entries.tobytes()])
    start = _HEAD.pack(MAGIC, VERSION, _IS_KEY if key is None else 0, _HEAD.size + len(body), 0)[:12]
    crc = crc32c(body, crc32c(start))
    return b"".join([start, struct.pack("<I", crc), body, payload, *(packed for _, packed in params)]), crc


def open_slab(data: Buffer) -> Opened:
    """The head, checked; BlockDamaged, BlockTooNew."""
    view = memoryview(data)
    if len(view) < _FRAMES_AT:
        raise BlockDamaged(f"a slab of {len(view)} bytes has no head")
    magic, version, flags, head_bytes, crc = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise BlockDamaged(f"no slab: it begins with {magic!r}")
    if not _FRAMES_AT <= head_bytes <= len(view) or crc32c(view[16:head_bytes], crc32c(view[:12])) != crc:
        raise BlockDamaged("the head of a slab does not match its checksum")
    if version > VERSION:
        raise BlockTooNew(f"a slab is of version {version}, this release reads up to {VERSION}")
    step_start, step_seconds, rows, key_step, key_crc, first, last, frames, key_frames, payload = _STEP.unpack_from(
        view, _HEAD.size
    )
    if head_bytes != _FRAMES_AT + 16 * (frames + key_frames) or len(view) != head_bytes + payload:
        raise BlockDamaged(f"a slab of step {step_start} is {len(view)} bytes long, not {head_bytes + payload}")
    entries = np.frombuffer(view, "<u4", 4 * (frames + key_frames), _FRAMES_AT).reshape(-1, 4)
    slab_head = SlabHead(step_start, step_seconds, None if flags & _IS_KEY else key_step, rows, first, last)
    return Opened(slab_head, crc, key_crc, entries[:frames], entries[frames:], head_bytes, view)


def check_ids(opened: Opened) -> None:
    """That the head's ids and rows are those of its entries, so that its word may be taken for how much is there."""
    numbers, rows = opened.entries[:, 0], opened.entries[:, 2] >> 16
    is_bad = rows.sum() != opened.head.rows or (rows > FRAME_IDS).any() or not (numbers[1:] > numbers[:-1]).all()
    if not is_bad and len(numbers):
        ids = np.array([opened.head.first_id, opened.head.last_id])
        is_bad = not (ids // FRAME_IDS == numbers[[0, -1]]).all()
    if is_bad:
        raise BlockDamaged(f"the head of the slab of step {opened.head.step_start} contradicts itself")


def key_identity(opened: Opened) -> tuple[int, int]:
    if opened.head.key_step is None:
        return opened.head.step_start, opened.crc
    return opened.head.key_step, opened.key_crc


def key_slab(opened: Opened, key: Buffer | Key | None) -> Opened:
    """The key slab that `opened` was encoded against; BlockDamaged when `key` is another."""
    if opened.head.key_step is None:
        return opened
    if key is None:
        raise BlockDamaged(f"the slab of step {opened.head.step_start} needs its key of step {opened.head.key_step}")
    found = key.opened if isinstance(key, Key) else open_slab(key)
    if found.head.key_step is not None or key_identity(found) != key_identity(opened):
        raise BlockDamaged(
            f"the slab of step {opened.head.step_start} has another key than that of {found.head.step_start}"
        )
    return found


def params_where(opened: Opened, key: Buffer | Key | None) -> tuple[Params, NDArray[np.int32]]:
    """Parameters for each frame of a slab, and their rows."""
    slab = key_slab(opened, key)
    if isinstance(key, Key) and slab is key.opened:
        params, rows = key.params()
        return params, np.array([rows.get(int(number), -1) for number in opened.entries[:, 0]], np.int32)
    return params_of(slab, opened.entries[:, 0]), np.arange(len(opened.entries), dtype=np.int32)


def params_of(slab: Opened, numbers: NDArray[np.uint32]) -> Params:
    """uint8[m, FRAME_PARAM_BYTES]: the parameters of m frames, those of no key where it does not have them."""
    params = np.empty((len(numbers), _slabreader.FRAME_PARAM_BYTES), np.uint8)
    room = np.empty(_slabwriter.PACKED_PARAM_BYTES, np.uint8)
    at = np.searchsorted(slab.key_entries[:, 0], numbers)
    for row, (number, entry) in enumerate(zip(numbers, at, strict=True)):
        if entry < len(slab.key_entries) and slab.key_entries[entry, 0] == number:
            _unpack(slab, slab.key_entries[entry], room, params[row])
        else:
            params[row] = _UNKNOWN
    return params


def _unpack(slab: Opened, entry: Entries, room: Params, params: Params) -> None:
    number, offset, size, crc = entry.tolist()
    packed = slab.data[slab.payloads_at + offset :][:size]
    if len(packed) != size or crc32c(packed) != crc:
        raise BlockDamaged(f"the key of step {slab.head.step_start} is damaged in frame {number}")
    try:
        raw = cramjam.zstd.decompress_into(packed, room.data)
    except (cramjam.DecompressionError, ValueError, OSError) as error:
        raise BlockDamaged(f"the key of step {slab.head.step_start} does not unpack: {error}") from None
    if not _slabreader.unpack(room[:raw].data, params):
        raise BlockDamaged(f"the key of step {slab.head.step_start} has no parameters in frame {number}")


def _unknown() -> Params:
    """The parameters of a frame whose ids no key knows."""
    params = np.empty(_slabreader.FRAME_PARAM_BYTES, np.uint8)
    assert _slabreader.unpack(bytes(FRAME_IDS), params)
    return params


_UNKNOWN: Final = _unknown()
_cache: Final = threading.local()


def frame_params(slab: Opened, number: int) -> Params:
    """uint8[1, FRAME_PARAM_BYTES]; the latest of a thread is kept, as sealing reads frame by frame."""
    identity = (slab.head.step_start, slab.crc, number)
    if getattr(_cache, "identity", None) != identity:
        _cache.params = params_of(slab, np.array([number], np.uint32))
        _cache.identity = identity
    params: Params = _cache.params
    return params


def damaged(opened: Opened, found: int) -> BlockDamaged:
    entry = -1 - found
    number = int(opened.entries[entry, 0]) if 0 <= entry < len(opened.entries) else -1
    return BlockDamaged(
        f"the slab of step {opened.head.step_start} is damaged in the frame of ids {number * FRAME_IDS} and on"
    )

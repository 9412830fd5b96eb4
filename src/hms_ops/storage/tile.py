"""The tile: 64 neighbouring series over one block of time, as bytes on disk. This docstring specifies the format.

Tiles are written once, when a block is over, and read for years. Each series is coded by itself, field by field, in the
way that is shortest for it. `tests/reference/tile.py` reads it without this code. Version 1, all integers
little-endian:

    0        4         6       8            12          16
    ┌────────┬─────────┬───────┬────────────┬───────────┐
    │ "HMST" │ version │ flags │ head_bytes │ head_crc  │   version 1, flags 0 (uint16); alike in all versions
    ├────────┴─────────┴───┬───┴────────┼───────────┘
    │ block_start i64      │ step_s u32 │                   Unix seconds; seconds
    ├──────────────┬───────┴───┬────────┴─┐
    │ first_id u32 │ steps u32 │ rows u32 │                 a multiple of 64; of the block; in all frames
    ├──────────────┴───────────┴──────────┤ 40
    │ 8 frames, 12 bytes each:            │                 of ids first_id + 8 * i and the 7 after it
    │   bytes u32, raw u32, crc u32       │                 of the payload; unpacked; checksum of the payload
    ├─────────────────────────────────────┤ head_bytes = 136
    │ payloads, back to back              │
    └─────────────────────────────────────┘

head_crc is the CRC32C of bytes 0 to 11 followed by 16 to head_bytes. A frame without rows has no bytes. A payload is a
frame as it is, when bytes = raw, or one zstd frame of it.

**A frame**: end u32[8], where each of its series ends, from the frame's begin (the first begins at 32); and the series.
A series without rows has no bytes. Others:

    rows        varint (LEB128)
    k_run u8, k_gap u8                  only when rows < steps
    form of count, of last, min and max, and of sum:
                scale u8, + 16 when shift u8 follows; sum: 14 alone when it has the form of the others
    6 plans, of count, last, min, max, sum, m2:
                coder u8, predictor u8, base zigzag varint
    bits, the last byte filled up with zeros:
                when rows < steps: rice(steps missing, k_gap), rice(rows in a run - 1, k_run) … until all rows are
                there; steps missing: before a run, less one but for the first
                the numbers of count, then of last, … as `_bits.pxd` specifies them

Forms, their integers and the code of m2 are specified in `_form.pxd`. Everything is exact but m2 (2.2 % of a standard
deviation) and sums, rounded to the scale where that changes less than 1e-12 of them. m2 is 0, and has no number, where
min = max. NaN, -0.0 and subnormals come back bit for bit.

**A field**: number by number, all integers modulo 2**64,

- coder 0 … 60: rice(coder), unzigzagged; 64: no bits, always 0; 129 … 192: coder - 128 bits, a plain number.
- term = told + number. predictor's lowest three bits say what is told: 0 the base; 1 the term before; 2 twice the term
  before less the one before that; 3, 4, 5 a mean. Before the first, terms are the base. A mean is kept in 16ths, begins
  as 16 * base, moves after each term by (16 * term - mean) >> 1, 2 or 3, and tells (mean + 8) >> 4.
- integer = term + crossing, if predictor has 8 or 16. Of min and max: 8 last; 16 the smaller (of max: the larger) of
  last and the row before's last. Of sum, halved and rounded down (as int64): 8 count * (min + max); 16 count * (last +
  the row before's last). The first row has itself before it. Of m2: 8 or 16 the code of ((max - mean) * (mean - min)) *
  count, mean = sum / count, in doubles. Of count and last: nothing.
- Of a raw number the value is the double itself, and its term and integer are what is told.

Measured on two cores (AMD EPYC), fleet mix of benchmarks/fleet_mix.py, by benchmarks/bench_codec.py: 2.7 bytes a row
(0.6 with one sample a step), two-decimal gauges 1.2 and doubles of full entropy 5.4 bytes a value; one series of an
hour in 23 us, all 64 in 550 us, written in 3 to 5 ms. zstd shortens what Rice's code leaves only where a field moves
now and then; so it takes the place of byte planes and of runs, not of the code: the byte planes
of each step under zstd, as blocks were before, take seven times as much.

All functions are pure and thread-safe; input may be a read-only LMDB view, and nothing returned points into it. Errors:
BlockDamaged when a byte is not what was written, whatever the checksums say; BlockTooNew for a later version;
ValueError for columns that are no rows.
"""

import struct
from typing import Final, NamedTuple, TypeAlias

import cramjam
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from hms_ops.storage import _tilereader, _tilewriter
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.row import COUNT, FIELDS, Columns, Ids

MAGIC: Final = b"HMST"
VERSION: Final = 1
TILE_IDS: Final = 64
FRAME_IDS: Final = 8
FRAMES: Final = TILE_IDS // FRAME_IDS
STEPS_MAX: Final = 4096
ZSTD_LEVEL: Final = 1

_HEAD: Final = struct.Struct("<4sHHII")
_BLOCK: Final = struct.Struct("<qIIII")
_FRAMES: Final = struct.Struct("<24I")
_HEAD_BYTES: Final = _HEAD.size + _BLOCK.size + _FRAMES.size

Rows: TypeAlias = tuple[NDArray[np.int64], Ids, Columns]


class TileHead(NamedTuple):
    """What a tile says of itself. block_start in Unix seconds; steps: in the block; rows: in all series."""

    block_start: int
    step_seconds: int
    first_id: int
    steps: int
    rows: int


class _Frame(NamedTuple):
    """bytes as stored, bytes unpacked (the same: stored as they are), checksum of what is stored, where it begins."""

    bytes: int
    raw: int
    crc: int
    offset: int


def encode(block_start: int, step_seconds: int, first_id: int, columns: Columns) -> bytes | None:
    """columns float64[6, steps, 64] of ids first_id, a multiple of 64, and on; COUNT 0 where there is no row. None when
    there are no rows at all. ValueError for another shape or id."""
    if columns.dtype != np.float64 or columns.ndim != 3 or columns.shape[::2] != (len(FIELDS), TILE_IDS):
        raise ValueError(f"columns are {columns.dtype}{list(columns.shape)}, not float64[{len(FIELDS)}, k, {TILE_IDS}]")
    steps = columns.shape[1]
    if first_id % TILE_IDS or not 0 <= first_id < 1 << 32 or not 0 < steps <= STEPS_MAX:
        raise ValueError(f"first_id {first_id} is no multiple of {TILE_IDS}, or {steps} steps are not 1 to {STEPS_MAX}")
    columns = np.ascontiguousarray(columns)
    room = np.empty(_tilewriter.room(steps), np.uint8)
    entries: list[int] = []
    payloads: list[bytes] = []
    all_rows = 0
    for first in range(0, TILE_IDS, FRAME_IDS):
        used, rows = _tilewriter.frame(columns, first, room)
        all_rows += rows
        raw = room[:used].tobytes() if rows else b""
        packed = bytes(cramjam.zstd.compress(raw, level=ZSTD_LEVEL))
        stored = packed if len(packed) < len(raw) else raw
        entries += (len(stored), len(raw), crc32c(stored))
        payloads.append(stored)
    if not all_rows:
        return None
    block = _BLOCK.pack(block_start, step_seconds, first_id, steps, all_rows)
    return _assemble(block + _FRAMES.pack(*entries), payloads)


def encode_rows(
    block_start: int, step_seconds: int, first_id: int, steps: NDArray[np.int64], ids: Ids, columns: Columns
) -> bytes:
    """A tile of a few rows: steps int64[k], Unix seconds of step starts in the block; ids uint32[k] among the 64 from
    first_id on; columns float64[6, k] with COUNT > 0; in any order, each (id, step) once. ValueError else."""
    if not len(steps) or not len(steps) == len(ids) == columns.shape[1] or not (columns[COUNT] > 0).all():
        raise ValueError(f"{len(steps)} steps, {len(ids)} ids, {columns.shape[1]} columns, all with a count above 0")
    at, places = (steps - block_start) // step_seconds, ids.astype(np.int64) - first_id
    if at.min() < 0 or ((steps - block_start) % step_seconds).any() or places.min() < 0 or places.max() >= TILE_IDS:
        raise ValueError(f"steps or ids are not those of the tile of {first_id} in the block of {block_start}")
    if at.max() >= STEPS_MAX or len(np.unique(at * TILE_IDS + places)) != len(at):
        raise ValueError(f"a step is beyond the block's {STEPS_MAX}, or a row stands twice")
    dense = np.zeros((len(FIELDS), int(at.max()) + 1, TILE_IDS))
    dense[:, at, places] = columns
    data = encode(block_start, step_seconds, first_id, dense)
    assert data is not None
    return data


def head(data: Buffer) -> TileHead:
    return _open(memoryview(data))[0]


def select(data: Buffer, ids: Ids | None, first_step: int, last_step: int) -> Rows:
    """(steps int64[k], ids uint32[k], columns float64[6, k]), ascending by (id, step).

    ids uint32 strictly ascending, those of other tiles are passed over; None: all 64. Steps from first_step to before
    last_step, Unix seconds.
    """
    view = memoryview(data)
    tile, frames = _open(view)
    masks = _masks(ids, tile.first_id)
    span = (
        max(0, -((tile.block_start - first_step) // tile.step_seconds)),
        min(tile.steps, -((tile.block_start - last_step) // tile.step_seconds)),
    )
    wanted = sum(mask.bit_count() for mask in masks)
    room = min(tile.rows, wanted * max(0, span[1] - span[0]))
    steps, found, columns = np.empty(room, np.int64), np.empty(room, np.uint32), np.empty((len(FIELDS), room))
    end = 0
    for i, frame in enumerate(frames):
        if room and masks[i] and frame.bytes:
            first = tile.first_id + i * FRAME_IDS
            raw = _unpack(view, frame, tile, first)
            end = _tilereader.frame(
                raw, masks[i], tile.steps, span, tile.block_start, tile.step_seconds, first, steps, found, columns, end
            )
            if end < 0:
                raise _damaged(tile, first)
    return steps[:end], found[:end], columns[:, :end]


def _assemble(body: bytes, payloads: list[bytes]) -> bytes:
    start = _HEAD.pack(MAGIC, VERSION, 0, _HEAD_BYTES, 0)[:12]
    return b"".join([start, struct.pack("<I", crc32c(body, crc32c(start))), body, *payloads])


def _open(view: memoryview) -> tuple[TileHead, list[_Frame]]:
    """The head, checked; BlockDamaged, BlockTooNew."""
    if len(view) < _HEAD.size:
        raise BlockDamaged(f"a tile of {len(view)} bytes has no head")
    magic, version, _, head_bytes, crc = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise BlockDamaged(f"no tile: it begins with {magic!r}")
    if not _HEAD.size <= head_bytes <= len(view) or crc32c(view[16:head_bytes], crc32c(view[:12])) != crc:
        raise BlockDamaged("the head of a tile does not match its checksum")
    if version > VERSION:
        raise BlockTooNew(f"a tile is of version {version}, this release reads up to {VERSION}")
    if head_bytes != _HEAD_BYTES:
        raise BlockDamaged(f"the head of a tile is {head_bytes} bytes, not {_HEAD_BYTES}")
    tile = TileHead(*_BLOCK.unpack_from(view, _HEAD.size))
    numbers = _FRAMES.unpack_from(view, _HEAD.size + _BLOCK.size)
    frames, offset = [], head_bytes
    for i in range(0, len(numbers), 3):
        frames.append(_Frame(numbers[i], numbers[i + 1], numbers[i + 2], offset))
        offset += numbers[i]
    if (
        offset != len(view)
        or not 0 < tile.steps <= STEPS_MAX
        or not tile.step_seconds
        or tile.rows > TILE_IDS * tile.steps
    ):
        raise BlockDamaged(f"the tile of {tile.first_id} in the block of {tile.block_start} is {len(view)} bytes long")
    return tile, frames


def _masks(ids: Ids | None, first_id: int) -> list[int]:
    """For each frame, a bit for each of its series that is wanted."""
    if ids is None:
        return [(1 << FRAME_IDS) - 1] * FRAMES
    low, high = np.searchsorted(ids, [first_id, first_id + TILE_IDS])
    masks = [0] * FRAMES
    for series_id in ids[low:high].tolist():
        place = series_id - first_id
        masks[place // FRAME_IDS] |= 1 << place % FRAME_IDS
    return masks


def _unpack(view: memoryview, frame: _Frame, tile: TileHead, first: int) -> Buffer:
    stored = view[frame.offset : frame.offset + frame.bytes]
    if crc32c(stored) != frame.crc or frame.raw > _tilewriter.room(tile.steps):
        raise _damaged(tile, first)
    if frame.raw == frame.bytes:
        return stored
    raw = np.empty(frame.raw, np.uint8)
    try:
        if cramjam.zstd.decompress_into(stored, raw.data) != frame.raw:
            raise _damaged(tile, first)
    except (cramjam.DecompressionError, ValueError, OSError):
        raise _damaged(tile, first) from None
    return raw.data


def _damaged(tile: TileHead, first: int) -> BlockDamaged:
    return BlockDamaged(f"the tile of block {tile.block_start} is damaged in the frame of ids {first} to {first + 7}")

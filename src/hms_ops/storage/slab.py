"""The slab: the rows of all series in one step of time, as bytes on disk. This docstring specifies the format.

A slab is written at the end of each step, so it is small and quick to make: values become small integers, less what the
block's key slab foretells of them, in Rice's code. A slab needs its key and no other: damage costs one slab, and to
read one series of it takes one frame of either. `tests/reference/slab.py` reads it without this code. Version 1, all
integers little-endian:

    0        4         6       8            12          16
    ┌────────┬─────────┬───────┬────────────┬───────────┐
    │ "HMSL" │ version │ flags │ head_bytes │ head_crc  │   version 1, flags: 1 a key (uint16); alike in all versions
    ├────────┴─────────┴───┬───┴────────┼──────────┬┘
    │ step_start i64       │ step_s u32 │ rows u32 │        Unix seconds; seconds; in all frames
    ├──────────────────────┼────────────┴┬─────────┘
    │ key_step i64         │ key_crc u32 │                  of its key, and the key's head_crc; a key: its own, 0
    ├──────────┬──────────┬┴───────────┬─┴────────┐
    │ first u32│ last u32 │ frames u32 │ keys u32 │         first and last id; how many entries of both sorts
    ├──────────┴──┬───────┴────────────┴──────────┘
    │ payload u32 │ 64                                      bytes from head_bytes to the end
    ├─────────────┴─────────────────────────────────┐
    │ frames of rows, 16 bytes each, ascending:     │       ids number * 512 to number * 512 + 511
    │   number u32, offset u32, bytes u16, rows u16,│
    │   crc u32                                     │
    │ frames of keys, 16 bytes each, ascending:     │       parameters of the same ids; in a key only
    │   number u32, offset u32, bytes u32, crc u32  │
    ├───────────────────────────────────────────────┤ head_bytes
    │ payloads; offsets count from here             │
    └───────────────────────────────────────────────┘

head_crc is the CRC32C of bytes 0 to 11 followed by 16 to head_bytes; each payload has its own. Frames without a row
are left out.

**Fields** are coded in the order count, last, min, max, sum, m2 (f = 0 … 5). Count has form 0, last, min and max have
form 1, sum has form 2. Forms, their integers and the code of m2 are specified in `_form.pxd`: small integers of a
decimal scale, or all bits of a double, less common zeros at their end; m2 as one of eight buckets to a power of two.
Everything is exact but m2 (2.2 % of a standard deviation) and sums, rounded to the scale where that changes less than
1e-12 of them. m2 is 0 where min = max. NaN, -0.0 and subnormals come back bit for bit.

**A key's payload** is one zstd frame of: expect u8[512] (of each id; 0 the key does not know it, 1 it will be absent,
2 the same as foretold, 3 coded); then, for the m ids with expect > 0, in their order: k u8[6][m], scale u8[3][m], shift
u8[3][m], cross u8[m], steady u8[m]; then base[6][m] as zigzag varints (LEB128). Ids without parameters have expect 0,
scales 0, 2, 2, shifts 0, k 2, 12, 2, 2, 2, 4, cross 0b11100, steady 0, bases 0.

**A payload of rows** is empty, or: end u16[8], of the groups of 64 ids, from the payload's begin (the first begins at
16); and the groups. A group is empty, and each id does what is expected (none is coded), or bits as in `_bits.pxd`, of
64 ids, the last byte filled up with zeros. Of each id:

- 0: as expected (expect 0 is as 1); 10, 110, 111: the first, second, third of coded, full, absent, same without what is
  expected.
- coded, full: rice(k[f]) of each field f but those in `steady` (full: those too); m2 only when min is not max.
- The integer of field f is base[f] + crossing, if bit f of cross is set, + the unzigzagged number (0 for a field left
  out, and for all of `same`), modulo 2**64. crossing: of min and max the integer of last; of sum half of count * (min +
  max), rounded down (as int64). Of a raw number it is what is foretold, and the value is the double itself.
- The code of m2 is base + the unzigzagged number + the code of count * (max - mean) * (mean - min), mean = sum / count,
  computed in doubles in this order: ((max - mean) * (mean - min)) * count.

Measured on two cores (AMD EPYC), fleet mix of benchmarks/fleet_mix.py, by benchmarks/bench_codec.py: 100,000 rows in 6
ms, a key in 22 ms; 3.4 bytes a row, of which keys are 0.35 (1.2 with one sample a step); one series of a slab in 8 us,
all merged in 3 ms. Tried: a key every 20 to 90 slabs, within 3 % of each other; zstd over rows, nothing to win behind
Rice's code; learning from every slab: a third more time, and half a byte more where values drift.

All functions are pure and thread-safe; input may be a read-only LMDB view, and nothing returned points into it. A
SlabWriter and a SlabReader belong to one thread. Errors: BlockDamaged when a byte is not what was written, whatever
the checksums say; BlockTooNew for a later version; ValueError for columns that are no rows.
"""

from typing import Final, TypeAlias

import cramjam
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from hms_ops.storage import _slabreader, _slabwriter
from hms_ops.storage.row import COUNT, FIELDS, Columns, Ids
from hms_ops.storage.slabhead import FRAME_IDS as FRAME_IDS
from hms_ops.storage.slabhead import (
    Entries,
    assemble,
    check_ids,
    damaged,
    frame_params,
    key_identity,
    key_slab,
    open_slab,
    params_of,
    params_where,
)
from hms_ops.storage.slabhead import Key as Key
from hms_ops.storage.slabhead import SlabHead as SlabHead

KEY_EVERY: Final = 30
"""Slabs from one key to the next."""
KEYS_TO_LEARN: Final = (0, 2, 8)
"""Slabs of a writer's life that are keys besides, while it has little to foretell from."""
ZSTD_LEVEL: Final = 1

_NO_PARAMS: Final = np.empty((0, _slabreader.FRAME_PARAM_BYTES), np.uint8)

Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], Columns]


class SlabWriter:
    """Encodes the steps of one tier one after another, and keeps what it foretells the next from.

    Call `begin_anew` before the first step of a block, and after a slab that was not committed: the next one is a key.
    """

    def __init__(self) -> None:
        self._native = _slabwriter.Writer()
        self._key: tuple[int, int] | None = None  # step_start, crc of its head
        self._since_key = 0
        self._slabs = 0
        self._out = np.empty(0, np.uint8)

    def begin_anew(self) -> None:
        self._key = None

    def encode(self, step_start: int, step_seconds: int, columns: Columns) -> bytes:
        """columns float64[6, n], n > 0, by id; COUNT 0 where there is no row. ValueError for another shape."""
        _check_columns(columns)
        if not columns.size:
            raise ValueError("columns of no ids at all: float64[6, 0]")
        columns = np.ascontiguousarray(columns)
        is_key = self._is_key_due(columns)
        params = self._renewed(columns) if is_key else []
        entries, payload = self._rows(columns)
        present = columns[COUNT] > 0
        rows = int((entries[:, 2] >> 16).sum())
        ids = (int(present.argmax()), len(present) - 1 - int(present[::-1].argmax())) if rows else (0, 0)
        data, crc = assemble((step_start, step_seconds, rows), ids, self._key, entries, payload, params)
        if is_key:
            self._key, self._since_key = (step_start, crc), 0
        self._since_key += 1
        self._slabs += 1
        return data

    def _is_key_due(self, columns: Columns) -> bool:
        if self._key is None or self._since_key >= KEY_EVERY or self._slabs in KEYS_TO_LEARN:
            self._key = None
            return True
        if self._native.is_strange(columns):
            self._key = None
        return self._key is None

    def _renewed(self, columns: Columns) -> list[tuple[int, bytes]]:
        """(frame, packed parameters) of the frames that have some."""
        self._native.renew(columns)
        room = np.empty(_slabwriter.PACKED_PARAM_BYTES, np.uint8)
        packed = []
        for frame in range(self._native.frames):
            size = self._native.params_of(frame, room)
            if size:
                packed.append((frame, bytes(cramjam.zstd.compress(room[:size].data, level=ZSTD_LEVEL))))
        return packed

    def _rows(self, columns: Columns) -> tuple[Entries, memoryview]:
        room = _slabwriter.room(columns.shape[1])
        if len(self._out) < room:
            self._out = np.empty(room, np.uint8)  # a map that is touched as far as it is needed
        entries = np.empty((-(-columns.shape[1] // FRAME_IDS), 4), np.uint32)
        frames, used = self._native.rows(columns, self._out, entries)
        return entries[:frames], self._out[:used].data


def encode_rows(step_start: int, step_seconds: int, ids: Ids, columns: Columns) -> bytes:
    """A slab that stands alone: a key that no other refers to. ids uint32[k] strictly ascending, columns float64[6, k]
    with COUNT > 0; ValueError when they are not."""
    _check_columns(columns)
    if ids.dtype != np.uint32 or len(ids) != columns.shape[1] or not (ids[1:] > ids[:-1]).all():
        raise ValueError(f"ids are {ids.dtype}[{len(ids)}], not uint32[{columns.shape[1]}] strictly ascending")
    if not (columns[COUNT] > 0).all():
        raise ValueError("a row has a count that is not above 0")
    numbers, frame_of = np.unique(ids // np.uint32(FRAME_IDS), return_inverse=True)
    dense = np.zeros((len(FIELDS), max(1, len(numbers)) * FRAME_IDS))
    dense[:, frame_of * FRAME_IDS + ids % FRAME_IDS] = columns
    writer = SlabWriter()
    params = [(int(numbers[frame]), packed) for frame, packed in writer._renewed(dense)]
    entries, payload = writer._rows(dense)
    entries[:, 0] = numbers[entries[:, 0]] if len(ids) else 0
    between = (int(ids[0]), int(ids[-1])) if len(ids) else (0, 0)
    return assemble((step_start, step_seconds, len(ids)), between, None, entries, payload, params)[0]


def head(data: Buffer) -> SlabHead:
    return open_slab(data).head


def decode(data: Buffer, key: Buffer | Key | None) -> tuple[Ids, Columns]:
    """All rows: ids uint32[k] ascending, columns float64[6, k]. key: the slab of `head(data).key_step`; None for a
    key."""
    opened = open_slab(data)
    check_ids(opened)
    params, where = params_where(opened, key)
    ids = np.empty(opened.head.rows, np.uint32)
    columns = np.empty((len(FIELDS), opened.head.rows))
    found = _slabreader.rows(opened.data, opened.entries, opened.payloads_at, params, where, ids, columns)
    if found != len(ids):
        raise damaged(opened, found)
    return ids, columns


def fold_into(data: Buffer, key: Buffer | Key | None, columns: Columns) -> int:
    """Merge all rows, as the later ones, into columns float64[6, n] by id; how many. ValueError when n is too small.

    Damage may show when some rows are merged already.
    """
    opened = open_slab(data)
    check_ids(opened)
    if opened.head.rows and opened.head.last_id >= columns.shape[1]:
        raise ValueError(f"columns have {columns.shape[1]} ids, the slab up to {opened.head.last_id}")
    params, where = params_where(opened, key)
    found = _slabreader.fold(opened.data, opened.entries, opened.payloads_at, params, where, columns)
    if found < 0:
        raise damaged(opened, found)
    return found


def frames_dense(data: Buffer, key: Buffer | Key | None, frame_number: int, out: Columns) -> bool:
    """Fill out float64[6, 512] with the rows of ids frame_number * 512 and on, COUNT 0 where there is none; whether
    there are any."""
    opened = open_slab(data)
    params = frame_params(key_slab(opened, key), frame_number)
    found = _slabreader.frame(opened.data, opened.entries, opened.payloads_at, frame_number, params, 0, out)
    if found < 0:
        raise damaged(opened, -1 - int(np.searchsorted(opened.entries[:, 0], frame_number)))
    return found > 0


class SlabReader:
    """Collects the rows of a few series from many slabs. ids uint32[m], strictly ascending."""

    def __init__(self, ids: Ids) -> None:
        if ids.dtype != np.uint32 or not (ids[1:] > ids[:-1]).all():
            raise ValueError("ids are not uint32 strictly ascending")
        self._ids = np.ascontiguousarray(ids)
        self._numbers = np.unique(ids // np.uint32(FRAME_IDS))
        self._key: tuple[int, int] | None = None
        self._params = _NO_PARAMS
        self._places = np.empty(0, np.int64)
        self._columns = np.empty((len(FIELDS), 0))
        self._taken: list[tuple[int, int]] = []  # step_start, rows up to here
        self._rows = 0

    def take(self, data: Buffer, key: Buffer | None) -> int:
        """Add the rows of a slab; how many. key: the slab of its key_step; None for a key. Only read when it is another
        than before."""
        opened = open_slab(data)
        wanted = key_identity(opened)
        if self._key != wanted:
            self._key = None
            self._params = params_of(key_slab(opened, key), self._numbers)
            self._key = wanted
        self._make_room()
        end = _slabreader.chosen(
            opened.data,
            opened.entries,
            opened.payloads_at,
            self._params,
            self._ids,
            self._places,
            self._columns,
            self._rows,
        )
        if end < 0:
            raise damaged(opened, end)
        rows, self._rows = end - self._rows, end
        self._taken.append((opened.head.step_start, rows))
        return rows

    def result(self) -> Rows:
        """(steps int64[k], places int64[k] among ids, columns float64[6, k]) in the order taken, then by id."""
        steps = np.array([step for step, _ in self._taken], np.int64)
        rows = np.array([rows for _, rows in self._taken], np.int64)
        return steps.repeat(rows), self._places[: self._rows], self._columns[:, : self._rows]

    def _make_room(self) -> None:
        need = self._rows + len(self._ids)
        if need <= len(self._places):
            return
        room = max(2 * need, 512)
        places, columns = np.empty(room, np.int64), np.empty((len(FIELDS), room))
        places[: self._rows] = self._places[: self._rows]
        columns[:, : self._rows] = self._columns[:, : self._rows]
        self._places, self._columns = places, columns


def _check_columns(columns: Columns) -> None:
    if columns.dtype != np.float64 or columns.ndim != 2 or columns.shape[0] != len(FIELDS):
        raise ValueError(f"columns are {columns.dtype}{list(columns.shape)}, not float64[{len(FIELDS)}, n]")

"""The keys of everything on disk, and the names of partition directories. Pure functions, no I/O.

    history/10s/slabs/2026-11-23T06/   one LMDB environment: the slabs of a block that is not sealed (tier.py), UTC
        step u64 BE, kind u8, sequence u32 BE   -> slab (slab.py) or sketches (sketchblock.py) of a step;
                                                   sequence 0 first, further parts of the step behind it
    history/10s/tiles/2026-11-23T06/   one LMDB environment: the tiles of the sealed blocks of a partition
        block u64 BE, tile u32 BE, kind u8, sequence u32 BE -> tile (tile.py) or sketches; sequence 0 from sealing,
                                                   patches behind it; tile 2^32 - 1: the marker (seal.py)
    catalogue/
        series    id u32 BE                     -> record: name, tags, time of creation
        ids       series key (see series_key)   -> id u32 BE, CRC32C of key and id u32 BE
        metrics   name, UTF-8                   -> record: kind, unit, help
    state/
        journal   time_ns u64 BE, sequence u32 BE -> record: the event

Big-endian, so that LMDB's order of bytes is the order of numbers: a range of time is a range of keys. LMDB takes keys
of 1 to 511 bytes.
"""

import struct
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

import msgpack

from hms_ops.storage._crc32c import crc32c

DAY_SECONDS: Final = 86_400
KEY_BYTES_MAX: Final = 511
DIGEST_BYTES: Final = 32

ROWS: Final = 0
SKETCHES: Final = 1
"""The kinds of slabs and tiles."""

MARKER: Final = 0xFFFF_FFFF
"""No tile has this number; behind all of a block it says that the block is sealed."""

TILE_IDS: Final = 64
FRAME_IDS: Final = 512
"""Ids, from a multiple of it on, in a tile and in a slab's frame."""

TILES_MAX: Final = (1 << 32) // TILE_IDS
"""Ids are uint32: no tile has this number."""

_TIME_SEQUENCE: Final = struct.Struct(">QI")
_SLAB: Final = struct.Struct(">QBI")
_TILE: Final = struct.Struct(">QIBI")
SLAB_BYTES: Final = _SLAB.size
TILE_BYTES: Final = _TILE.size
TILE_PREFIX_BYTES: Final = _TILE.size - 4
_ID: Final = struct.Struct(">I")


def time_key(time: int, sequence: int = 0) -> bytes:
    """Of an event, in ns; struct.error outside 0 ≤ time < 2^64, 0 ≤ sequence < 2^32."""
    return _TIME_SEQUENCE.pack(time, sequence)


def time_of(key: bytes | memoryview) -> tuple[int, int]:
    """(time, sequence) of a `time_key`; struct.error when it is none."""
    time, sequence = _TIME_SEQUENCE.unpack(key)
    return time, sequence


def slab_key(step: int, kind: int = ROWS, sequence: int = 0) -> bytes:
    """Of a part of a step, Unix seconds; struct.error outside 0 ≤ step < 2^64."""
    return _SLAB.pack(step, kind, sequence)


def slab_of(key: bytes | memoryview) -> tuple[int, int, int]:
    """(step, kind, sequence) of a `slab_key`; struct.error when it is none."""
    step, kind, sequence = _SLAB.unpack(key)
    return step, kind, sequence


def tile_key(block: int, tile: int, kind: int = ROWS, sequence: int = 0) -> bytes:
    """Of the tile with ids from 64 × `tile` on in the block that starts at `block`, Unix seconds."""
    return _TILE.pack(block, tile, kind, sequence)


def tile_of(key: bytes | memoryview) -> tuple[int, int, int, int]:
    """(block, tile, kind, sequence) of a `tile_key`; struct.error when it is none."""
    block, tile, kind, sequence = _TILE.unpack(key)
    return block, tile, kind, sequence


def id_key(series_id: int) -> bytes:
    return _ID.pack(series_id)


def id_of(key: bytes | memoryview) -> int:
    series_id: int = _ID.unpack(key)[0]
    return series_id


def named_id(key: bytes, series_id: int) -> bytes:
    """What stands under a series key: the number, and a checksum that binds it to the key."""
    number = _ID.pack(series_id)
    return number + _ID.pack(crc32c(number, crc32c(key)))


def id_named(key: bytes | memoryview, value: bytes | memoryview) -> int | None:
    """The number in a `named_id`; None when key or value is not what was written."""
    if len(value) != 2 * _ID.size or _ID.unpack(value[_ID.size :])[0] != crc32c(value[: _ID.size], crc32c(key)):
        return None
    return id_of(value[: _ID.size])


def name_prefix(name: str) -> bytes:
    """What the series keys of a metric begin with, and those of no other; ValueError for a name that cannot be one."""
    raw = name.encode()
    if not 0 < len(raw) <= 255 or b"\0" in raw:
        raise ValueError(f"metric name {name!r} is not 1 to 255 bytes without NUL")
    return raw + b"\0"


def series_key(name: str, tags: dict[str, str]) -> bytes:
    """Canonical bytes: name, NUL, msgpack array of key, value, key, value… sorted by key.

    One spelling for each series whatever the order of its tags. Beyond LMDB's limit the tail is its BLAKE2b digest: the
    name stays in front, so that a metric's series are one range of keys.
    """
    prefix = name_prefix(name)
    packed: bytes = msgpack.packb([part for item in sorted(tags.items()) for part in item])
    if len(prefix) + len(packed) <= KEY_BYTES_MAX - DIGEST_BYTES:
        return prefix + packed
    kept = packed[: KEY_BYTES_MAX - DIGEST_BYTES - len(prefix)]
    return prefix + kept + blake2b(packed, digest_size=DIGEST_BYTES).digest()


def partition_start(time: int, partition_seconds: int) -> int:
    """The first second of the partition that holds `time`."""
    return time - time % partition_seconds


def partition_name(start: int, partition_seconds: int) -> str:
    """2026-11-23 for partitions of whole days, 2026-11-23T06 for those of hours. UTC."""
    day = datetime.fromtimestamp(start, UTC)
    return day.strftime("%Y-%m-%d" if partition_seconds % DAY_SECONDS == 0 else "%Y-%m-%dT%H")


def partition_time(name: str) -> int | None:
    """The first second of a partition, from its directory's name; None when it is not one."""
    for pattern in ("%Y-%m-%d", "%Y-%m-%dT%H"):
        try:
            return int(datetime.strptime(name, pattern).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return None

"""The keys of everything on disk, and the names of partition directories. Pure functions, no I/O.

    history/10s/2026-11-23T06/     one LMDB environment: the 10-s slabs of six hours, UTC
        step_start u64 BE, sequence u32 BE      -> block (see block.py); sequence 0 first, patches of the step behind it
    catalogue/
        series    id u32 BE                     -> record: name, tags, time of creation
        ids       series key (see series_key)   -> id u32 BE
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

DAY_SECONDS: Final = 86_400
KEY_BYTES_MAX: Final = 511
DIGEST_BYTES: Final = 32

_TIME_SEQUENCE: Final = struct.Struct(">QI")
_ID: Final = struct.Struct(">I")


def time_key(time: int, sequence: int = 0) -> bytes:
    """Of a slab (`time` in seconds) or an event (in ns); struct.error outside 0 ≤ time < 2^64, 0 ≤ sequence < 2^32."""
    return _TIME_SEQUENCE.pack(time, sequence)


def time_of(key: bytes | memoryview) -> tuple[int, int]:
    """(time, sequence) of a `time_key`; struct.error when it is none."""
    time, sequence = _TIME_SEQUENCE.unpack(key)
    return time, sequence


def id_key(series_id: int) -> bytes:
    return _ID.pack(series_id)


def id_of(key: bytes | memoryview) -> int:
    series_id: int = _ID.unpack(key)[0]
    return series_id


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

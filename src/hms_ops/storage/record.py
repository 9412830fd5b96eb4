"""A record: a small msgpack map with its checksum, the form of everything on disk that is not a block.

     0        4
    ┌────────┬──────────────┐
    │ crc32c │ msgpack map  │     crc32c: uint32, little-endian, over the map's bytes
    └────────┴──────────────┘

Unknown members are ignored by readers, so members can be added without a new format.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from hms_ops.errors import StorageError
from hms_ops.storage._crc32c import crc32c

_CRC: Final = struct.Struct("<I")


class RecordDamaged(StorageError):
    """The bytes are not what was written."""


def pack_record(members: Mapping[str, Any]) -> bytes:
    """numpy scalars become Python's; what msgpack has no form for becomes its `str()`."""
    packed: bytes = msgpack.packb(members, default=_plain)
    return _CRC.pack(crc32c(packed)) + packed


def unpack_record(data: bytes | memoryview) -> dict[str, Any]:
    """The map of a record; RecordDamaged when the checksum or the form is wrong."""
    if len(data) <= _CRC.size or _CRC.unpack_from(data)[0] != crc32c(data[_CRC.size :]):
        raise RecordDamaged(f"a record of {len(data)} bytes does not match its checksum")
    members = msgpack.unpackb(data[_CRC.size :])
    if not isinstance(members, dict):
        raise RecordDamaged(f"a record holds {type(members).__name__}, not a map")
    return members


def _plain(value: object) -> object:
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)

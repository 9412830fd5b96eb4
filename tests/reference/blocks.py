"""Reading a block with `struct` alone, as block.py's docstring specifies it: the twin of hms_ops.storage.block.decode.

Slow and obvious; shares no code with it. Only zstd itself comes from a library.
"""

import struct

import cramjam

FIELDS = 6
PLANES = 4 + 8 * FIELDS


def crc32c(data: bytes) -> int:
    """Bit by bit, RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def decode(data: bytes) -> tuple[int, int, list[tuple[int, tuple[float, ...]]]]:
    """(step_start, step_seconds, [(series_id, (count, sum, m2, min, max, last))…]); AssertionError for a bad block."""
    magic, version, columns, head_bytes, head_crc = struct.unpack_from("<4sHHII", data)
    assert (magic, version, columns) == (b"HMSB", 1, FIELDS)
    assert head_crc == crc32c(data[:12] + data[16:head_bytes])
    step_start, step_seconds, rows = struct.unpack_from("<qII", data, 16)
    decoded: list[tuple[int, tuple[float, ...]]] = []
    end = head_bytes
    for at in range(32, head_bytes, 28):
        entry = struct.unpack_from("<7I", data, at)
        frame = _decode_frame(data[head_bytes + entry[2] :][: entry[3]], *entry)
        assert (frame[0][0], frame[-1][0], len(frame)) == (entry[0], entry[1], entry[4])
        decoded += frame
        end = head_bytes + entry[2] + entry[3]
    assert len(decoded) == rows
    assert end == len(data)
    return step_start, step_seconds, decoded


def _decode_frame(
    payload: bytes, series_id: int, _last_id: int, _offset: int, _bytes: int, rows: int, codec: int, crc: int
) -> list[tuple[int, tuple[float, ...]]]:
    assert crc == crc32c(payload)
    raw = payload if codec == 0 else bytes(cramjam.zstd.decompress(payload))
    assert len(raw) == PLANES * rows
    decoded = []
    for row in range(rows):
        value = bytes(raw[plane * rows + row] for plane in range(PLANES))
        series_id += struct.unpack_from("<I", value)[0]
        decoded.append((series_id, struct.unpack_from("<6d", value, 4)))
    return decoded

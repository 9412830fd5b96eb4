"""A remote write request read back in plain Python, byte by byte: protobuf of prometheus/prompb/remote.proto."""

import struct
from collections.abc import Iterator

import cramjam

Series = dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends)."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at


def fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(field number, wire type, content) of a message; a varint's content is its number in eight bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            number, at = read_varint(data, at)
            content = number.to_bytes(8, "little")
        elif key & 7 == 1:
            content, at = data[at : at + 8], at + 8
        else:
            assert key & 7 == 2
            size, at = read_varint(data, at)
            assert at + size <= len(data)
            content, at = data[at : at + size], at + size
        yield key >> 3, key & 7, content


def decode(body: bytes) -> Series:
    """{labels in the order they came: [(time in ms, value)]} of a compressed request; one series may come once only."""
    found: Series = {}
    for number, wire, content in fields(bytes(cramjam.snappy.decompress_raw(body))):
        assert (number, wire) == (1, 2)
        labels: list[tuple[str, str]] = []
        samples: list[tuple[int, float]] = []
        for inner, _, part in fields(content):
            parts = {n: value for n, _, value in fields(part)}
            if inner == 1:
                labels.append((parts[1].decode(), parts[2].decode()))
            else:
                samples.append((int.from_bytes(parts[2], "little"), struct.unpack("<d", parts[1])[0]))
        assert tuple(labels) not in found
        found[tuple(labels)] = samples
    return found

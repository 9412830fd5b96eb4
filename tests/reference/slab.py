"""Reading a slab in plain Python, as slab.py's docstring specifies it. Only zstd itself comes from a library."""

import struct
from dataclasses import dataclass, field

import cramjam
from tests.reference.bits import (
    FORM_OF,
    LEAST,
    M2,
    MOST,
    SUM,
    Bits,
    crc32c,
    double_of,
    m2_guess,
    m2_of,
    signed,
    unzigzag,
    value_of,
    varint,
)

NEVER, ABSENT, SAME, CODED, FULL = range(5)
Row = tuple[float, ...]


@dataclass
class Foretold:
    """What a key says of an id."""

    expect: int = NEVER
    k: list[int] = field(default_factory=lambda: [2, 12, 2, 2, 2, 4])
    scale: list[int] = field(default_factory=lambda: [0, 2, 2])
    shift: list[int] = field(default_factory=lambda: [0, 0, 0])
    cross: int = 0b11100
    steady: int = 0
    base: list[int] = field(default_factory=lambda: [0] * 6)


def decode(data: bytes, key: bytes | None = None) -> tuple[int, int, list[tuple[int, Row]]]:
    """(step_start, step_seconds, [(id, (count, sum, m2, min, max, last))…]); AssertionError for a bad slab."""
    head, frames, _, payloads_at = _open(data)
    step_start, step_seconds, rows, key_step, key_crc, first_id, last_id = head
    foretold = _foretold(key or data)
    if key is not None:
        assert (key_step, key_crc) == (_open(key)[0][0], struct.unpack_from("<I", key, 12)[0])
    decoded: list[tuple[int, Row]] = []
    for number, offset, size, count, crc in frames:
        payload = data[payloads_at + offset :][:size]
        assert crc == crc32c(payload)
        frame = _frame(payload, number, foretold)
        assert len(frame) == count
        decoded += frame
    assert len(decoded) == rows
    assert not rows or (decoded[0][0], decoded[-1][0]) == (first_id, last_id)
    return step_start, step_seconds, decoded


def _open(data: bytes) -> tuple[tuple[int, ...], list[tuple[int, ...]], list[tuple[int, ...]], int]:
    """(head, entries of rows, entries of keys, where payloads begin)."""
    magic, version, flags, head_bytes, head_crc = struct.unpack_from("<4sHHII", data)
    assert (magic, version) == (b"HMSL", 1)
    assert head_crc == crc32c(data[:12] + data[16:head_bytes])
    head = struct.unpack_from("<qIIqIIIIII", data, 16)
    frames, keys, payload = head[7:]
    assert head_bytes == 64 + 16 * (frames + keys)
    assert len(data) == head_bytes + payload
    assert flags == 1 or not keys
    entries = [struct.unpack_from("<IIHHI", data, 64 + 16 * i) for i in range(frames)]
    key_entries = [struct.unpack_from("<IIII", data, 64 + 16 * (frames + i)) for i in range(keys)]
    return head[:7], entries, key_entries, head_bytes


def _foretold(key: bytes) -> dict[int, Foretold]:
    _, _, entries, payloads_at = _open(key)
    foretold: dict[int, Foretold] = {}
    for number, offset, size, crc in entries:
        packed = key[payloads_at + offset :][:size]
        assert crc == crc32c(packed)
        foretold |= _params(bytes(cramjam.zstd.decompress(packed)), 512 * number)
    return foretold


def _params(raw: bytes, first_id: int) -> dict[int, Foretold]:
    known = [Foretold(expect) if expect else None for expect in raw[:512]]
    params = [each for each in known if each]
    m, at = len(params), 512
    for i, each in enumerate(params):
        small = [raw[at + plane * m + i] for plane in range(14)]
        each.k, each.scale, each.shift, each.cross, each.steady = (
            small[:6],
            small[6:9],
            small[9:12],
            small[12],
            small[13],
        )
    at += 14 * m
    for f in range(6):
        for each in params:
            u, at = varint(raw, at)
            each.base[f] = unzigzag(u)
    assert at == len(raw)
    return {first_id + place: each for place, each in enumerate(known) if each}


def _frame(payload: bytes, number: int, foretold: dict[int, Foretold]) -> list[tuple[int, Row]]:
    ends = (16, *struct.unpack_from("<8H", payload)) if payload else (0,) * 9
    rows = []
    for group in range(8):
        part = payload[ends[group] : ends[group + 1]]
        bits = Bits(part)
        for series_id in range(512 * number + 64 * group, 512 * number + 64 * group + 64):
            row = _row(bits, foretold.get(series_id, Foretold()), bool(part))
            if row is not None and row[0] > 0:
                rows.append((series_id, row))
        bits.assert_used_up()
    assert not payload or ends[8] == len(payload)
    return rows


def _said(bits: Bits, expect: int) -> int:
    expect = max(expect, ABSENT)
    if not bits.take(1):
        return expect
    others = [said for said in (CODED, FULL, ABSENT, SAME) if said != expect]
    if not bits.take(1):
        return others[0]
    return others[1 + bits.take(1)]


def _row(bits: Bits, told: Foretold, has_bits: bool) -> Row | None:
    said = _said(bits, told.expect) if has_bits else (SAME if told.expect == SAME else ABSENT)
    if said == ABSENT:
        return None
    coded = 0 if said == SAME else 63 if said == FULL else 63 & ~told.steady
    integers, values = [0] * 6, [0.0] * 6
    for f in range(5):
        u, is_raw = bits.rice(told.k[f]) if coded >> f & 1 else (0, False)
        integers[f] = signed(told.base[f] + _crossing(f, told.cross, integers) + (0 if is_raw else unzigzag(u)))
        form = FORM_OF[f]
        values[f] = double_of(u) if is_raw else value_of(integers[f], told.scale[form], told.shift[form])
    count, last, least, most, total, _ = values
    if least != most:
        u = bits.rice(told.k[M2])[0] if coded >> M2 & 1 else 0
        values[M2] = m2_of(unzigzag(u) + told.base[M2] + m2_guess(count, total, least, most))
    return count, total, values[M2], least, most, last


def _crossing(f: int, cross: int, i: list[int]) -> int:
    if not cross >> f & 1 or f not in (LEAST, MOST, SUM):
        return 0
    return i[1] if f != SUM else signed(i[0] * (i[2] + i[3])) >> 1

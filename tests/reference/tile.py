"""Reading a tile in plain Python, as tile.py's docstring specifies it. Only zstd itself comes from a library."""

import struct
from dataclasses import dataclass

import cramjam
from tests.reference.bits import (
    COUNT,
    FORM_OF,
    LAST,
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

Row = tuple[float, ...]
Form = tuple[int, int]


def decode(data: bytes) -> list[tuple[int, int, Row]]:
    """[(id, step, (count, sum, m2, min, max, last))…] ascending; AssertionError for a bad tile."""
    magic, version, flags, head_bytes, head_crc = struct.unpack_from("<4sHHII", data)
    assert (magic, version, flags, head_bytes) == (b"HMST", 1, 0, 136)
    assert head_crc == crc32c(data[:12] + data[16:head_bytes])
    block_start, step_seconds, first_id, steps, rows = struct.unpack_from("<qIIII", data, 16)
    decoded, at = [], head_bytes
    for i in range(8):
        size, raw_size, crc = struct.unpack_from("<III", data, 40 + 12 * i)
        payload = data[at : at + size]
        at += size
        assert crc == crc32c(payload)
        raw = payload if size == raw_size else bytes(cramjam.zstd.decompress(payload))
        assert len(raw) == raw_size
        for place, series in enumerate(_series(raw)):
            for step, row in _rows(series, steps) if series else []:
                decoded.append((first_id + 8 * i + place, block_start + step_seconds * step, row))
    assert at == len(data)
    assert len(decoded) == rows
    return decoded


def _series(raw: bytes) -> list[bytes]:
    if not raw:
        return []
    ends = (32, *struct.unpack_from("<8I", raw))
    assert ends[8] == len(raw)
    return [raw[ends[i] : ends[i + 1]] for i in range(8)]


@dataclass
class Plan:
    coder: int
    predictor: int
    base: int


def _rows(data: bytes, steps: int) -> list[tuple[int, Row]]:
    rows, at = varint(data, 0)
    k_run = k_gap = 0
    if rows < steps:
        k_run, k_gap = data[at], data[at + 1]
        at += 2
    forms, at = _forms(data, at)
    plans = []
    for _ in range(6):
        coder, predictor = data[at], data[at + 1]
        base, at = varint(data, at + 2)
        plans.append(Plan(coder, predictor, unzigzag(base)))
    bits = Bits(data[at:])
    places = list(range(steps)) if rows == steps else _places(bits, rows, k_run, k_gap)
    integers: list[list[int]] = []
    values: list[list[float]] = []
    for f in range(5):
        found = _field(bits, f, rows, plans[f], forms[FORM_OF[f]], integers)
        integers.append([integer for integer, _ in found])
        values.append([value for _, value in found])
    m2 = _m2(bits, rows, plans[M2], values)
    bits.assert_used_up()
    ordered = (values[COUNT], values[SUM], m2, values[LEAST], values[MOST], values[LAST])
    return list(zip(places, zip(*ordered, strict=True), strict=True))


def _forms(data: bytes, at: int) -> tuple[list[Form], int]:
    forms: list[Form] = []
    for _ in range(3):
        byte, at = data[at], at + 1
        if byte == 14:
            forms.append(forms[1])
        elif byte & 16:
            forms.append((byte & 15, data[at]))
            at += 1
        else:
            forms.append((byte, 0))
    return forms, at


def _places(bits: Bits, rows: int, k_run: int, k_gap: int) -> list[int]:
    places: list[int] = []
    at = -1
    while len(places) < rows:
        at += bits.rice(k_gap)[0] + 1
        run = bits.rice(k_run)[0] + 1
        places += range(at, at + run)
        at += run
    assert len(places) == rows
    return places


class Past:
    """What is told of a term by those before it."""

    def __init__(self, plan: Plan) -> None:
        self.kind = plan.predictor & 7
        self.base = self.before = self.before2 = plan.base
        self.mean = 16 * plan.base

    def told(self) -> int:
        if self.kind >= 3:
            return signed(self.mean + 8) >> 4
        return (self.base, self.before, 2 * self.before - self.before2)[self.kind]

    def remember(self, term: int) -> None:
        self.before2, self.before = self.before, term
        self.mean = signed(self.mean + (signed(16 * term - self.mean) >> max(0, self.kind - 2)))


def _number(bits: Bits, coder: int) -> tuple[int, bool]:
    """(number, whether it is the bits of a double)."""
    if coder == 64:
        return 0, False
    if coder > 128:
        return bits.take(coder - 128), False
    u, is_raw = bits.rice(coder)
    return (u, True) if is_raw else (unzigzag(u), False)


def _field(bits: Bits, f: int, rows: int, plan: Plan, form: Form, others: list[list[int]]) -> list[tuple[int, float]]:
    """(integer, value) of each row."""
    past, found = Past(plan), []
    for j in range(rows):
        number, is_raw = _number(bits, plan.coder)
        term = signed(past.told() + (0 if is_raw else number))
        past.remember(term)
        integer = signed(term + _crossing(f, plan.predictor & 24, others, j))
        found.append((integer, double_of(number) if is_raw else value_of(integer, *form)))
    return found


def _crossing(f: int, crosses: int, i: list[list[int]], j: int) -> int:
    if not crosses:
        return 0
    last, before = i[LAST][j], i[LAST][max(0, j - 1)]
    if f == SUM:
        both = i[LEAST][j] + i[MOST][j] if crosses == 8 else last + before
        return signed(i[COUNT][j] * both) >> 1
    if crosses == 8:
        return last
    return min(last, before) if f == LEAST else max(last, before)


def _m2(bits: Bits, rows: int, plan: Plan, values: list[list[float]]) -> list[float]:
    past, found = Past(plan), []
    for j in range(rows):
        count, least, most, total = (values[f][j] for f in (COUNT, LEAST, MOST, SUM))
        if least == most:
            found.append(0.0)
            continue
        term = signed(past.told() + _number(bits, plan.coder)[0])
        past.remember(term)
        found.append(m2_of(term + (m2_guess(count, total, least, most) if plan.predictor & 24 else 0)))
    return found

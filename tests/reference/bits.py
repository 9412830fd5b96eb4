"""Bits, forms and the code of m2 in plain Python, as `_bits.pxd` and `_form.pxd` specify them. Slow and obvious."""

import math
import struct
from decimal import Decimal, localcontext

COUNT, LAST, LEAST, MOST, SUM, M2 = range(6)
FORM_OF = (0, 1, 1, 1, 2)
MASK = (1 << 64) - 1


def crc32c(data: bytes) -> int:
    """Bit by bit, RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def signed(i: int) -> int:
    """Modulo 2**64, as an int64."""
    i &= MASK
    return i - (1 << 64) if i >> 63 else i


def double_of(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


class Bits:
    def __init__(self, data: bytes) -> None:
        self.number = int.from_bytes(data, "little")
        self.length = 8 * len(data)
        self.at = 0

    def take(self, n: int) -> int:
        bits = self.number >> self.at & (1 << n) - 1
        self.at += n
        assert self.at <= self.length
        return bits

    def rice(self, k: int) -> tuple[int, bool]:
        """(number, whether it is the bits of a double)."""
        quotient = 0
        while quotient < 12 and not self.take(1):
            quotient += 1
        if quotient < 12:
            return quotient << k | self.take(k), False
        n = self.take(6)
        return (self.take(n), False) if n else (self.take(64), True)

    def assert_used_up(self) -> None:
        assert self.length - self.at < 8
        assert self.take(self.length - self.at) == 0


def unzigzag(u: int) -> int:
    return u >> 1 if not u & 1 else -(u >> 1) - 1


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where the next begins)."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return number, at
        shift += 7


def value_of(i: int, scale: int, shift: int) -> float:
    i = signed(i << shift)
    if scale <= 12:
        return i / 10**scale if abs(i) <= 1 << 53 else float(i) / 10.0**scale
    assert scale == 15
    if i >= 0:
        return double_of(i)
    return double_of(1 << 63 | (-i & (1 << 63) - 1))


def m2_code(m2: float) -> int:
    """Its bucket by logarithms in 60 digits."""
    if math.isnan(m2):
        return 16370
    if m2 < 2.0**-1022:
        return 0
    if math.isinf(m2):
        return 16369
    mantissa, exponent = math.frexp(m2)
    with localcontext() as context:
        context.prec = 60
        eighths = int((Decimal(2 * mantissa).ln() / Decimal(2).ln()) * 8)
    return 1 + 8 * (exponent - 1 + 1023 - 1) + eighths


def m2_of(code: int) -> float:
    if code <= 0:
        return 0.0
    if code >= 16369:
        return math.nan if code == 16370 else math.inf
    exponent, eighths = divmod(code - 1, 8)
    with localcontext() as context:
        context.prec = 60
        middle = Decimal(2) ** (Decimal(2 * eighths + 1) / 16)
        return math.ldexp(1 + int((middle - 1) * 2**52) / 2**52, exponent + 1 - 1023)


def m2_guess(count: float, total: float, least: float, most: float) -> int:
    mean = total / count if count else math.nan
    return m2_code(((most - mean) * (mean - least)) * count)

"""Sketches in plain Python: exact fractions, dicts and lists. A twin of hms_ops._sketch, bytes included.

`spread` counts samples into buckets {(sign, index): count}; `sketch_of` is what the bytes say; `estimates` puts every
sample back as the estimate of its bucket, so that numpy's quantile of those is what a sketch's quantile has to be.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

BUCKETS_MAX = 320
SCHEMA_MAX, SCHEMA_MIN = 4, -4

Bucket = tuple[int, int]  # sign −1, 0, 1 and index
Spread = Counter[Bucket]


def index_of(magnitude: float) -> int:
    """i with 2^(i/16) < magnitude <= 2^((i + 1)/16): exactly, by comparing sixteenth powers."""
    power = Fraction(magnitude) ** 16
    i = power.numerator.bit_length() - power.denominator.bit_length() - 3
    while power > Fraction(2) ** (i + 1):
        i += 1
    return i


def bucket_of(value: float) -> Bucket:
    if value == 0:
        return 0, 0
    return (1, index_of(value)) if value > 0 else (-1, index_of(-value))


def spread(values: Iterable[float], weights: Iterable[float] | None = None) -> Spread:
    """The buckets at schema 4, however many."""
    found: Spread = Counter()
    values = list(values)
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        found[bucket_of(float(value))] += weight  # type: ignore[assignment]  # weights are floats
    return found


def halved(buckets: Spread) -> Spread:
    found: Spread = Counter()
    for (sign, index), count in buckets.items():
        found[sign, index // 2] += count
    return found


def sketch_of(buckets: Spread) -> tuple[int, Spread]:
    """(schema, buckets): halved until they are few enough."""
    schema = SCHEMA_MAX
    while len(buckets) > BUCKETS_MAX:
        buckets = halved(buckets)
        schema -= 1
    return schema, buckets


def bounds(index: int, schema: int) -> tuple[float, float]:
    width = 2.0**-schema
    return 2.0 ** (index * width), 2.0 ** ((index + 1) * width)


def estimate(bucket: Bucket, schema: int) -> float:
    sign, index = bucket
    low, high = bounds(index, schema)
    return sign * low * 2.0 / (low / high + 1)  # 2·low·high / (low + high)


def estimates(schema: int, buckets: Spread) -> list[float]:
    """One value for each sample (weights are integers here), ascending."""
    return sorted(
        value for bucket, count in buckets.items() for value in [estimate(bucket, schema)] * int(count) if count
    )


# ---- the bytes ----


def varint(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n % 128 + 128]) + varint(n // 128)


def pair(gap: int, count: float) -> bytes:
    high, after = (gap, b"") if gap < 15 else (15, varint(gap - 15))
    if count != int(count) or count >= 2**53:
        return bytes([high * 16 + 15]) + after + struct.pack("<d", count)
    if count <= 14:
        return bytes([high * 16 + int(count) - 1]) + after
    return bytes([high * 16 + 14]) + after + varint(int(count) - 15)


def side(counts: Sequence[tuple[int, float]]) -> bytes:
    """(index, count) of one sign, ascending."""
    first = counts[0][0]
    gaps = [0] + [b[0] - a[0] - 1 for a, b in pairwise(counts)]
    zigzag = 2 * first if first >= 0 else -2 * first - 1
    return varint(zigzag) + b"".join(pair(gap, count) for gap, (_, count) in zip(gaps, counts, strict=True))


def encode(schema: int, buckets: Spread) -> bytes:
    if not buckets:
        return b""
    signs = {sign: sorted((i, c) for (s, i), c in buckets.items() if s == sign) for sign in (-1, 0, 1)}
    head = schema - SCHEMA_MIN + (16 if signs[0] else 0) + (32 if signs[-1] else 0)
    return b"".join(
        [
            bytes([head]),
            *([pair(0, signs[0][0][1])] if signs[0] else []),
            *([varint(len(signs[-1])), side(signs[-1])] if signs[-1] else []),
            *([side(signs[1])] if signs[1] else []),
        ]
    )


def blob(values: Iterable[float], weights: Iterable[float] | None = None) -> bytes:
    return encode(*sketch_of(spread(values, weights)))


def error_max(schema: int) -> float:
    """How far an estimate can be from its sample, relatively: (base − 1) / (base + 1)."""
    base = math.pow(2.0, 2.0**-schema)
    return (base - 1) / (base + 1) + 1e-12


def rank_of(quantile: float, n: int) -> tuple[int, int]:
    """The samples numpy interpolates between."""
    rank = quantile * (n - 1)
    return math.floor(rank), math.ceil(rank)

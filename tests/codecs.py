"""Rows for tests of slabs and tiles, easy and nasty, what of them must come back, and ways to break bytes."""

import struct
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.damage import BlockDamaged, BlockTooNew
from hms_ops.storage.row import COUNT, LAST, M2, MAX, MIN, SUM, Columns

NASTY = [
    0.0,
    -0.0,
    5e-324,
    -2.2250738585072014e-308,
    1e150,
    -1e150,
    1e300,
    1.7976931348623157e308,
    9007199254740991.0,
    9007199254740992.0,
    9007199254740994.0,
    -9007199254740993.0,
    1e18,
    123456789012345678.0,
    2.0**63,
    0.1,
    0.30000000000000004,
    1 / 3,
    1e-9,
    99.99,
    float("inf"),
    float("-inf"),
]

values = st.one_of(
    st.sampled_from(NASTY),
    st.integers(-1000, 1000).map(float),
    st.integers(-100_000, 100_000).map(lambda i: i / 100),
    st.floats(allow_nan=False, width=64),
    st.floats(allow_nan=False, width=32),
)
counts = st.one_of(st.just(1.0), st.just(10.0), st.integers(1, 1 << 53).map(float), st.floats(0.001, 1e9))
m2s = st.one_of(st.just(0.0), st.floats(0, allow_nan=False), st.sampled_from([5e-324, 1e-320, float("inf")]))


@st.composite
def any_columns(draw: st.DrawFn, shape: tuple[int, ...]) -> Columns:
    """float64[6, …]: some rows there, of a few values that repeat or of any; fields in no relation to each other."""
    pool = draw(st.lists(values, min_size=1, max_size=4)) if draw(st.booleans()) else None
    element = st.sampled_from(pool) if pool else values
    columns = draw(hnp.arrays(np.float64, (6, *shape), elements=element, fill=st.just(draw(values))))
    columns[M2] = draw(hnp.arrays(np.float64, shape, elements=m2s, fill=st.just(draw(m2s))))
    there = draw(hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(draw(st.booleans()))))
    columns[COUNT] = draw(hnp.arrays(np.float64, shape, elements=counts, fill=st.just(draw(counts)))) * there
    return columns


def assert_kept(found: Columns, written: Columns) -> None:
    """found float64[6, …] is what may come back of written: exact, but for sums and m2."""
    there = written[COUNT] > 0
    assert ((found[COUNT] > 0) == there).all()
    found, written = found[:, there], written[:, there]
    for field in (COUNT, MIN, MAX, LAST):
        assert found[field].tobytes() == written[field].tobytes(), field
    assert_sums_kept(found[SUM], written[SUM])
    assert_m2_kept(found, written)


def assert_sums_kept(found: Columns, written: Columns) -> None:
    changed = np.flatnonzero(found.view("u8") != np.ascontiguousarray(written).view("u8"))
    with np.errstate(all="ignore"):
        assert (np.abs(found[changed] - written[changed]) < 1e-12 * np.abs(written[changed])).all()


def assert_m2_kept(found: Columns, written: Columns) -> None:
    is_flat = written[MIN] == written[MAX]
    tiny = written[M2] < np.finfo(float).tiny
    assert not found[M2][is_flat | tiny].any()
    kept = ~(is_flat | tiny)
    infinite = np.isinf(written[M2])
    assert np.isinf(found[M2][kept & infinite]).all()
    kept &= ~infinite
    ratio = np.sqrt(found[M2][kept]) / np.sqrt(written[M2][kept])
    assert ((ratio < 1.0221) & (ratio > 1 / 1.0221)).all()


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """A slab or tile with bytes of its head replaced and the head's checksum made right again."""
    changed = bytearray(data)
    changed[at : at + len(value)] = value
    head_bytes = min(max(struct.unpack_from("<I", changed, 8)[0], 16), len(changed))
    changed[12:16] = struct.pack("<I", crc32c(changed[16:head_bytes], crc32c(changed[:12])))
    return bytes(changed)


def assert_harmless(read: Callable[[], object]) -> bool:
    """Reading gives something or says that it is damaged; whether it was noticed."""
    try:
        read()
    except (BlockDamaged, BlockTooNew):
        return True
    return False

"""The checksum of everything on disk: both implementations against each other and the published values."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import bits

from hms_ops.storage._crc32c import crc32c, crc32c_by_table

# RFC 3720, appendix B.4, and the customary check value.
PUBLISHED = [
    (b"", 0x00000000),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]
IMPLEMENTATIONS = pytest.mark.parametrize("checksum", [crc32c, crc32c_by_table])


@IMPLEMENTATIONS
@pytest.mark.parametrize(("data", "expected"), PUBLISHED)
def test_published_values_come_out(checksum, data, expected):
    assert checksum(data) == expected


@IMPLEMENTATIONS
@settings(deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_a_checksum_can_be_continued_at_any_byte(checksum, data, cut):
    assert checksum(data[cut:], checksum(data[:cut])) == bits.crc32c(data)


@pytest.mark.parametrize("size", [32_767, 32_768, 1_000_003])
def test_large_buffers_give_the_same_with_and_without_the_instruction(size):
    data = os.urandom(size)
    assert crc32c(data) == crc32c_by_table(data) == crc32c(memoryview(bytearray(data)))


def test_threads_do_not_disturb_each_other():
    data = os.urandom(1 << 20)
    expected = crc32c_by_table(data)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(crc32c(data))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@pytest.mark.parametrize("bad", [None, "text", 3, [1, 2], np.arange(10)[::2]])
def test_what_is_no_contiguous_buffer_is_refused(bad):
    with pytest.raises((TypeError, ValueError, BufferError)):
        crc32c(bad)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_value_to_continue_that_is_no_uint32_is_refused(value):
    with pytest.raises(OverflowError):
        crc32c(b"a", value)

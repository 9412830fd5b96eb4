"""Remote write 1.0 on the wire: protobuf by hand, in a raw snappy block.

    WriteRequest { repeated TimeSeries timeseries = 1 }             0a len …
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2 }
    Label        { string name = 1; string value = 2 }              0a len (0a len name 12 len value)
    Sample       { double value = 1; int64 timestamp = 2 }          12 10 (09 value×8 10 time×6)

Every sample takes SAMPLE_BYTES: its time in ms is written as a varint of six bytes, which holds the years 1970 to 2109
and which every decoder takes, so that k samples are one numpy array of k rows. A request is a join of slices of it.

Source: https://prometheus.io/docs/specs/remote_write_spec/ and prometheus/prompb/remote.proto. Errors: ValueError for a
time that has no place. A decoder in plain Python is in tests/reference/remote_write.py.
"""

from functools import lru_cache
from typing import Final

import cramjam
import numpy as np
from numpy.typing import NDArray

SAMPLE_BYTES: Final = 18
TIME_BYTES: Final = 6
TIME_MS_END: Final = 1 << (7 * TIME_BYTES)

_HEAD: Final = np.frombuffer(bytes((0x12, 0x10, 0x09)), np.uint8)
_SHIFTS: Final = 7 * np.arange(TIME_BYTES)
_MORE: Final = np.array([0x80] * (TIME_BYTES - 1) + [0], np.uint8)


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes((tag,)) + varint(len(content)) + content


def label(name: str, value: str) -> bytes:
    """One Label as a field of its TimeSeries."""
    return field(0x0A, field(0x0A, name.encode()) + field(0x12, value.encode("utf-8", "replace")))


def samples(times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> memoryview:
    """The k samples, SAMPLE_BYTES each, one after another. times_ms int64[k]; values float64[k]."""
    if len(times_ms) and not 0 <= times_ms.min() <= times_ms.max() < TIME_MS_END:
        raise ValueError(f"times from {times_ms.min()} to {times_ms.max()} ms are not within 1970 to 2109")
    block = np.empty((len(times_ms), SAMPLE_BYTES), np.uint8)
    block[:, :3] = _HEAD
    block[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    block[:, 11] = 0x10
    block[:, 12:] = (times_ms[:, None] >> _SHIFTS & 0x7F).astype(np.uint8) | _MORE
    return block.reshape(-1).data


def put_samples(body: bytearray, places: NDArray[np.int64], block: memoryview) -> None:
    """Copy the samples, one after another, to their places in a body. The caller has made sure that they are inside."""
    anywhere: NDArray[np.void] = np.ndarray(len(body) - SAMPLE_BYTES + 1, f"V{SAMPLE_BYTES}", body, strides=(1,))
    anywhere[places] = np.frombuffer(block, f"V{SAMPLE_BYTES}")


def compressed(body: bytes | bytearray) -> bytes:
    """A request as a raw snappy block; the GIL is free meanwhile."""
    return bytes(cramjam.snappy.compress_raw(body))

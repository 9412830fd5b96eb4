"""CRC32C (Castagnoli, RFC 3720), the checksum of every block and record on disk: LMDB has none of its own.

About 9 GB/s by the CPU's crc32 instruction (SSE4.2, found out at run time), 2 GB/s by table. Buffers of 32 KiB and more
are summed without the GIL.
"""

from typing_extensions import Buffer

has_instruction: bool
"""Whether `crc32c` runs on the CPU's instruction."""

def crc32c(data: Buffer, value: int = 0) -> int:
    """The checksum of a contiguous buffer; `value` continues one: crc32c(a + b) == crc32c(b, crc32c(a)).

    BufferError or ValueError (numpy) for a buffer that is not contiguous, OverflowError for a value that is no uint32.
    """

def crc32c_by_table(data: Buffer, value: int = 0) -> int:
    """The same without the instruction: what runs where the CPU has none, and the twin in the tests."""

"""The bounded buffer between threads that emit and the one that sends.

    emit ──append──► lines ──seal──► blocks ──take──► flusher
                     (≤ ~64 str)     (bytes, ≤ bytes_max in all)

Emitters append to `lines` themselves: list.append is one step under the GIL (and under the list's own lock without
one). At SEAL_LINES they call `try_seal`, which joins the open lines into one block of bytes: a third of the memory, and
a bound that is bytes and not lines. Past `bytes_max` the newest block is dropped whole and counted.

Threads: `lines.append` and `try_seal` from any thread, signal handler or __del__, and they never wait for a lock.
`take` from the flusher, and it may wait.
"""

import itertools
import threading
from typing import Final

SEAL_LINES: Final = 64
OPEN_LINES_MAX: Final = 65_536
BUFFER_BYTES_MAX: Final = 4 * 1024 * 1024


class Tally:
    """A counter that any thread may step without a lock: next() of an itertools.count is one call into C."""

    def __init__(self) -> None:
        self._steps = itertools.count()
        self._reads = 0
        self._reading = threading.Lock()

    def step(self) -> None:
        next(self._steps)

    def read(self) -> int:
        """The steps so far. Reading steps too, so the reads are taken off."""
        with self._reading:
            self._reads += 1
            return next(self._steps) - self._reads + 1


class Buffer:
    """Lines on their way out.

    `attend_at`: how many open lines ask for more than an append. It is 0 while no flusher runs, so that one comparison
    on the hot path finds both a buffer that wants sealing and a flusher that wants starting.
    `invalid` counts samples that never became a line.
    """

    def __init__(self, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        if bytes_max <= 0:
            raise ValueError(f"buffer_bytes_max is a positive number of bytes, not {bytes_max}")
        self.bytes_max = bytes_max
        self.lines: list[str] = []
        self.is_closed = False
        self.forget()

    def forget(self) -> None:
        """Empty, counters at 0, locks new: what a forked child starts with."""
        self.lines.clear()
        self.attend_at = 0
        self._blocks: list[bytes] = []
        self._block_bytes = 0
        self.invalid = Tally()
        self._dropped_closed = 0
        self._dropped_blocks = 0
        self._dropped_lines = Tally()
        self._sealing = threading.Lock()

    def close(self) -> None:
        """From now on what is sealed is dropped."""
        with self._sealing:
            self.is_closed = True
            self.attend_at = 0

    def dropped(self) -> tuple[int, int]:
        """Samples turned away because the buffer was full, and because it was closed."""
        late = len(self.lines) if self.is_closed else 0
        return self._dropped_blocks + self._dropped_lines.read(), self._dropped_closed + late

    def try_seal(self) -> int:
        """Seal the open lines unless another thread is at it; returns the bytes that wait in blocks.

        That other thread may have lost the GIL half-way, so the open lines have a bound too.
        """
        if self._sealing.acquire(blocking=False):
            try:
                self._seal()
            finally:
                self._sealing.release()
        elif len(self.lines) > OPEN_LINES_MAX:
            self.lines.pop()
            self._dropped_lines.step()
        return self._block_bytes

    def take(self, may_wait: bool = True) -> bytes:
        """All that is buffered, newline-joined. Empty if nothing is, or if another is sealing and we may not wait."""
        if not self._sealing.acquire(blocking=may_wait):
            return b""
        try:
            self._seal()
            taken = b"\n".join(self._blocks)
            self._blocks.clear()
            self._block_bytes = 0
        finally:
            self._sealing.release()
        return taken

    def _seal(self) -> None:
        count = len(self.lines)
        if not count:
            return
        block = "\n".join(self.lines[:count]).encode()
        del self.lines[:count]  # others append meanwhile, only this takes away
        if self.is_closed:
            self._dropped_closed += count
        elif self._block_bytes + len(block) > self.bytes_max:
            self._dropped_blocks += count
        else:
            self._blocks.append(block)
            self._block_bytes += len(block)

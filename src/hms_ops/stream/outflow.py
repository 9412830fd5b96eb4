"""What waits for one client: a bounded queue between the hub and its connection, and what became of the rest.

    hub ─call_soon_threadsafe─► put ─► frames ─► next ─► send, piece by piece
                                 └► too many: the oldest are dropped into one `gap`, which is sent in their place

A connection whose client does not read is paused by uvicorn at 64 KiB, so `next` is not called and frames wait here, at
most FRAMES_MAX and BYTES_MAX of them (one frame may be larger). Threads: the event loop's.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hms_ops.stream.frame import Frame, gap_frame

FRAMES_MAX: Final = 60
BYTES_MAX: Final = 1024 * 1024


class Outflow:
    """One client's queue. on_empty: called when all of it was taken. now: Unix seconds. counts: of all clients."""

    def __init__(self, now: Callable[[], float], on_empty: Callable[[], None], counts: Counter[str]) -> None:
        self._counts = counts
        self._now = now
        self._on_empty = on_empty
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._lost: Frame | None = None  # what was dropped, summed up
        self._ready = asyncio.Event()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over

    def put(self, frame: Frame) -> None:
        """Queue a frame; what does not fit drops the oldest."""
        self._frames.append(frame)
        self._bytes += len(frame.data)
        while len(self._frames) > 1 and (len(self._frames) > FRAMES_MAX or self._bytes > BYTES_MAX):
            self._drop(self._frames.popleft())
        self._ready.set()

    def end(self) -> None:
        """No more: the client has left, or the server stops."""
        self._is_over = True
        self._ready.set()

    async def next(self) -> bytes | None:
        """What is to be sent now; waits for it. None at the end."""
        while not self._is_over:
            if self._lost is not None:
                return self._gap()
            if self._frames:
                return self._take()
            self._ready.clear()
            self._on_empty()
            await self._ready.wait()
        return None

    def _take(self) -> bytes:
        frame = self._frames.popleft()
        self._bytes -= len(frame.data)
        self._counts["frames_sent"] += 1
        return frame.data

    def _drop(self, frame: Frame) -> None:
        self._bytes -= len(frame.data)
        if frame.place is None:
            return
        self._counts["frames_dropped"] += 1
        before = self._lost or replace(frame, cells=0, events=0)
        cells, events = before.cells + frame.cells, before.events + frame.events
        self._lost = Frame(b"", frame.place, before.first, cells, events)

    def _gap(self) -> bytes:
        assert self._lost is not None
        assert self._lost.place is not None
        lost, place, self._lost = self._lost, self._lost.place, None
        self._counts["gaps"] += 1
        return gap_frame(
            place, self._now(), lost.first, place.second, "slow", cells_lost=lost.cells, events_lost=lost.events
        ).data

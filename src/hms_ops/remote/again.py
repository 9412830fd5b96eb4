"""What is sent again after a connection failed: which chunks, cut as they were, and which of their requests were taken.

    accepted lately:  [chunk][chunk][chunk] | the chunk under way: request request ✗
                      ▲ begin here again    ▲ until                ▲ so many were accepted

A server that dies takes its last seconds with it, so they are sent again. One that has not died has them already:
VictoriaMetrics drops the second of two equal samples, Prometheus refuses a request with old ones. So chunks are cut as
before, that none mixes old with new, and a refusal of what was accepted before costs nothing.

Belongs to one sender; times are its clock's. Limit: RESEND_SECONDS before the last that was accepted.
"""

from collections import deque
from typing import Final

from hms_ops.clock import SECOND_NS
from hms_ops.remote.feed import Chunk, Position

RESEND_SECONDS: Final = 10


class Again:
    """The chunks accepted lately, and after a failure those to come once more."""

    def __init__(self) -> None:
        self._accepted: deque[tuple[int, Position, Position]] = deque()
        self._ends: deque[Position] = deque()
        self._until = Position()
        self._requests = 0

    def accepted(self, now_ns: int, before: Position, after: Position) -> None:
        """A chunk was sent whole."""
        self._accepted.append((now_ns, before, after))
        while self._accepted[0][0] < now_ns - RESEND_SECONDS * SECOND_NS:
            self._accepted.popleft()

    def failed(self, position: Position, after: Position, requests: int) -> Position:
        """The connection failed in this chunk, behind so many of its requests; where to begin again."""
        ends = [end for _, _, end in self._accepted]
        begin = self._accepted[0][1] if self._accepted else position
        self._ends = deque([*ends, after, *(end for end in self._ends if end > after)])
        if position >= self._until:
            self._until, self._requests = position, requests
        self._accepted.clear()
        return begin

    def bound(self, position: Position) -> int | None:
        """Where a chunk of steps that begins here has to end; None for as far as there is any."""
        while self._ends and self._ends[0] <= position:
            self._ends.popleft()
        return self._ends[0].step if self._ends else None

    def is_known(self, chunk: Chunk, position: Position, request: int) -> bool:
        """Whether the request, by its number in the chunk, was accepted before."""
        if position == self._until:
            return request < self._requests
        is_tile = self._until.tile > 0 and position.step == self._until.step
        if is_tile:
            return position.tile < self._until.tile
        return bool(len(chunk.rows.steps)) and int(chunk.rows.steps.max()) < self._until.step

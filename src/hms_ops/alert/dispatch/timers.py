"""When things are due: one moment for each (kind, key), the earliest first.

Used by the dispatcher only. A heap whose stale entries are passed over and swept out when they outnumber the live ones;
what is due together comes in the order of kind and key, so that a restarted engine goes on in the same order.
"""

import heapq
import math
from collections.abc import Iterable
from typing import Final, NamedTuple

STALE_MIN: Final = 1000


class Due(NamedTuple):
    when: float
    kind: str
    key: str


class Timers:
    """`set` replaces the moment of (kind, key); inf takes it away."""

    def __init__(self) -> None:
        self._when: dict[tuple[str, str], float] = {}
        self._heap: list[Due] = []

    def set(self, kind: str, key: str, when: float) -> None:
        if self._when.get((kind, key), math.inf) == when:
            return
        if when == math.inf:
            del self._when[kind, key]
            return
        self._when[kind, key] = when
        heapq.heappush(self._heap, Due(when, kind, key))
        if len(self._heap) > 2 * len(self._when) + STALE_MIN:
            self._heap = [Due(when, *name) for name, when in self._when.items()]
            heapq.heapify(self._heap)

    def next(self) -> float:
        """The earliest moment; inf when nothing is waited for."""
        while self._heap and not self._is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0].when if self._heap else math.inf

    def pop(self, now: float) -> Due | None:
        """The first that is due, which is then waited for no more."""
        if self.next() > now:
            return None
        due = heapq.heappop(self._heap)
        del self._when[due.kind, due.key]
        return due

    def drop(self, kinds: Iterable[str]) -> None:
        """Wait for nothing of these kinds any more."""
        for name in [name for name in self._when if name[0] in kinds]:
            del self._when[name]

    def _is_live(self, due: Due) -> bool:
        return self._when.get((due.kind, due.key)) == due.when

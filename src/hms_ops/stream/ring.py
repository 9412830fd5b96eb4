"""The last events, encoded once: what a client missed while it was away, as far as they reach.

Numbers are without a hole, whatever kind an event has: a client that wants alerts only sees some of them missing, and
its place moves on with the others. Limits: EVENTS_MAX; older ones are forgotten. Threads: the hub's.
"""

from collections import deque
from collections.abc import Collection, Iterator
from itertools import takewhile
from typing import Any, Final, NamedTuple

from hms_ops.stream.frame import ENCODE, Frame, Place, event_text

EVENTS_MAX: Final = 1_000


class Kept(NamedTuple):
    """One event: its kind (alert, anomaly, action) and its frame."""

    kind: str
    frame: Frame


class Ring:
    """sequence: number of the newest event, 0 before the first. began: of the last one before the epoch."""

    def __init__(self) -> None:
        self.sequence = self.began = 0
        self._kept: deque[tuple[int, Kept]] = deque(maxlen=EVENTS_MAX)

    def add(self, kind: str, document: dict[str, Any], second: int, epoch: str) -> Kept:
        """Number an event and encode it; `second` is the last one whose cells were sent before."""
        self.sequence += 1
        place = Place(second, self.sequence, epoch)
        kept = Kept(kind, Frame(event_text(place, kind, ENCODE(document)), place, second, events=1))
        self._kept.append((self.sequence, kept))
        return kept

    def skip(self, count: int) -> None:
        """So many events were lost before they could be numbered."""
        self.sequence += count

    def after(self, sequence: int, kinds: Collection[str]) -> list[Kept]:
        """The events behind a number that are still there, of these kinds, oldest first."""
        newest_first: Iterator[tuple[int, Kept]] = takewhile(lambda one: one[0] > sequence, reversed(self._kept))
        return [kept for _, kept in newest_first if kept.kind in kinds][::-1]

    def missing(self, sequence: int) -> int:
        """How many events behind a number are forgotten, of any kind."""
        there = sum(1 for _ in takewhile(lambda one: one[0] > sequence, reversed(self._kept)))
        return max(0, self.sequence - sequence - there)

    def forget(self) -> None:
        """An epoch begins: nothing of before is told again; numbers go on."""
        self.began = self.sequence
        self._kept.clear()

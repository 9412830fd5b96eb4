"""What the store's columns hold from before this run: from when on, and where the holes are.

A plain value. `refill.py` makes one when it has put the last hour's steps back; whoever reads windows
(alert/evaluate.py) asks it how much of a window is unknown. It is of one beginning of the store's time: once the wall
clock was set (`Store.reanchor`), nothing before that is valid and the value says so of itself.

    known          start ──────────── hole ─── hole ── first_second ───► now
                   steps of a minute, of 10 s   │          │ this run's
                                          down, or a step that was open when the engine stopped
"""

from dataclasses import dataclass
from typing import Final

HOLE_SHARE: Final = 60  # a window is whole if at most one second in so many of it is unknown: its start is rounded more


@dataclass(frozen=True, slots=True)
class Reloaded:
    """first_second: the store's, to which it belongs; start: Unix second from which on steps are there, a multiple of
    10; holes: [begin, end) of what is not known in between, ascending, the last may end at first_second. series: how
    many were put back; left_out: how many were not, because the store is full or takes no such name."""

    first_second: int
    start: int
    holes: tuple[tuple[int, int], ...] = ()
    series: int = 0
    left_out: int = 0

    def known_from(self, first_second: int) -> int:
        """Where what is known begins, in a store whose time begins at `first_second`."""
        return self.start if first_second == self.first_second else first_second

    def unknown_seconds(self, begin: int, end: int, first_second: int) -> int:
        """How many seconds of [begin, end) nobody knows."""
        if first_second != self.first_second:
            return max(0, min(end, first_second) - begin)
        inside = (min(end, stop) - max(begin, start) for start, stop in self.holes)
        return max(0, min(end, self.start) - begin) + sum(seconds for seconds in inside if seconds > 0)

    def is_whole(self, begin: int, end: int, first_second: int) -> bool:
        """Whether [begin, end) is known but for what the rounding of a window's start may come to as well. A run begins
        within its first second, so in a window too short for that share nobody knows that one."""
        is_in_part = end - begin < HOLE_SHARE and begin <= first_second < end
        return (self.unknown_seconds(begin, end, first_second) + is_in_part) * HOLE_SHARE <= end - begin


NOTHING: Final = Reloaded(-1, -1)
"""Nothing was put back."""

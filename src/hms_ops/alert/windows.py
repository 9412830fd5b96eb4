"""What `window_groups` reads of all rules: the windows' members and the groups pooled over them, as they grow.

A slice is a source over one window, however many rules read it. Its members stand as places in the window's union, with
room behind them, and so do the unions; a series that is born is written into that room, at the cost of the slices that
read its metric, not of all:

    member         60 s: 3 7 9 . . . .  300 s: 3 9 . . . . .      slots; each union ends at `member_stop`
    group_member   1 0 2 . | 0 2 . | 1 . | …                      places in `member`, slice after slice
    groups         slice 0: [0, 3) | slice 1: [4, 6) …            `group_first`, `group_stop`

A slice that has outgrown its room moves behind all others, with new room. When there is none left, or a union is full,
everything is laid out anew: after so many births that it costs little for each. A slot that is gone stays in its union
until then, where nothing points at it. A union is ascending when it is laid out; what is born later stands behind.

Cost: 5 to 10 µs a slice that changed, and 0.1 ms a window of 100,000 series they are of; laid out anew, 5 ns a member.
Data: all arrays are made and written here, and read by the tick's thread only. Memory: 5 bytes a member.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.figure import Figure
from hms_ops.alert.source import Groups
from hms_ops.kernels import opcodes as op
from hms_ops.kernels import window
from hms_ops.kernels.layout import place_members

Scalar = TypeVar("Scalar", bound=np.generic)
Integers: TypeAlias = NDArray[np.int64]

Length: TypeAlias = tuple[int, bool]
"""A window's seconds, and whether sketches are read over it. 0 s is the window of all views, which has no rows."""

_SPARE: Final = 8  # members, and a share of a slice's: the room it gets
_UNION_SPARE: Final = 64  # members for which a union has room at least; large ones for as many again
_FIELDS: Final = {
    op.LOAD_AVG: (window.SUM,),
    op.LOAD_SUM: (window.SUM,),
    op.LOAD_INCREASE: (window.SUM,),
    op.LOAD_MIN: (window.MIN,),
    op.LOAD_MAX: (window.MAX,),
    op.LOAD_STDDEV: (window.SUM, window.M2),
    op.LOAD_LAST: (window.LAST,),
    op.LOAD_DELTA: (window.DELTA,),
    op.LOAD_FIGURE: (window.MIN, window.MAX),
}
_RATE_FIELDS: Final = {kinds.COUNTER: (window.SUM,), kinds.GAUGE: (window.DELTA,), kinds.UNKNOWN: (window.DELTA,)}


class Slice(NamedTuple):
    """A source over one window, and the LOAD instructions that any rule makes on it; or one figure of it."""

    window: int
    source: Groups
    figure: Figure | None
    loads: set[int]


class Windows:
    """The arrays of `window_groups` (see there) for these slices, which are in the order of their windows.

    lengths: of the windows. group_base: int64[slices + 1], where the groups of each slice begin. capacity: the number
    of series slots the store has.
    """

    def __init__(self, lengths: Sequence[Length], slices: Sequence[Slice], capacity: int) -> None:
        self.lengths = lengths
        self._slices = slices
        self._window = np.array([part.window for part in slices], np.int64)
        self._slices_of_window = [list(parts) for _, parts in groupby(range(len(slices)), lambda n: slices[n].window)]
        self._place = np.empty(capacity, np.int32)  # of each slot in the union at hand, -1 for none
        self._kinds = np.array([part.source.kind for part in slices], np.int8)
        self.field_mask = self._masks()
        self._lay_out()
        self._number_groups()

    @property
    def group_count(self) -> int:
        return len(self.group_window)

    # ---- laid out anew

    def _lay_out(self) -> None:
        """Give every slice and every union its room, and fill it."""
        sizes = _numbers(len(part.source.member) for part in self._slices)
        self._room = sizes + sizes // _SPARE + _SPARE
        self._first = np.cumsum(self._room) - self._room
        self._used = int(self._room.sum())
        self.group_member = np.empty(self._used + self._used // 2 + _SPARE, np.int32)
        for part, first, size in zip(self._slices, self._first.tolist(), sizes.tolist(), strict=True):
            self.group_member[first : first + size] = part.source.member
        unions = self._place_all(self._first, self._first + sizes)
        counts = _numbers(map(len, unions))
        rooms = _numbers(self._union_room(len(union)) for union in unions)
        self.member_first = np.cumsum(rooms) - rooms
        self.member_stop = self.member_first + counts
        self._member_end = self.member_first + rooms
        self.member = np.zeros(int(rooms.sum()), np.int32)
        for union, at in zip(unions, self.member_first.tolist(), strict=True):
            self.member[at : at + len(union)] = union

    def _place_all(self, first: Integers, stop: Integers) -> list[NDArray[np.int32]]:
        """The union of each window, ascending; the slots of the slices are made their places in `member`."""
        capacity, base = len(self._place), 0
        unions: list[NDArray[np.int32]] = []
        for numbers in self._slices_of_window:
            low, high = numbers[0], numbers[-1] + 1
            self._place[:] = 0
            union = np.empty(capacity, np.int32)
            found = place_members(self.group_member, first[low:high], stop[low:high], self._place, union, base)
            unions.append(union[:found].copy())
            base += self._union_room(found)
        return unions

    def _union_room(self, count: int) -> int:
        return min(max(count * 2, count + _UNION_SPARE), len(self._place))

    # ---- grown

    def grow(self, changed: Collection[int]) -> bool:
        """Take the sources of these slices as they are now. False when there is no room for them, and nothing here may
        be read any more."""
        if len(changed) > len(self._slices) // 2 and len(changed) > _SPARE:
            return False
        for number, mine in groupby(sorted(changed), lambda n: self._slices[n].window):
            if not self._grow_window(number, list(mine)):
                return False
        if any(len(self._slices[n].source.keys) != self.group_base[n + 1] - self.group_base[n] for n in changed):
            self._number_groups()
            return True
        for n in changed:
            self._move_groups(n)
        return True

    def _grow_window(self, number: int, changed: Iterable[int]) -> bool:
        first, stop, end = (int(each[number]) for each in (self.member_first, self.member_stop, self._member_end))
        place = self._place
        place[:] = -1
        place[self.member[first:stop]] = np.arange(first, stop, dtype=np.int32)
        for n in changed:
            slots = self._slices[n].source.member
            places = place[slots]
            if len(places) and places.min() < 0:
                born = slots[places < 0]
                if stop + len(born) > end:
                    return False
                place[born] = np.arange(stop, stop + len(born), dtype=np.int32)
                self.member[stop : stop + len(born)] = born
                stop += len(born)
                places = place[slots]
            if not self._put(n, places):
                return False
        self.member_stop[number] = stop
        return True

    def _put(self, n: int, places: NDArray[np.int32]) -> bool:
        """Write the members of a slice, behind all others if there are too many of them for its room."""
        if len(places) > self._room[n]:
            room = len(places) + len(places) // _SPARE + _SPARE
            if self._used + room > len(self.group_member):
                return False
            self._first[n], self._room[n] = self._used, room
            self._used += room
        first = int(self._first[n])
        self.group_member[first : first + len(places)] = places
        return True

    def see_kinds(self, changed: Collection[int]) -> bool:
        """Take the kinds of these slices' metrics, which may be settled after rules were; True when one was."""
        kinds_now = np.fromiter((self._slices[n].source.kind for n in changed), np.int8, len(changed))
        if (self._kinds[list(changed)] == kinds_now).all():
            return False
        self._kinds[list(changed)] = kinds_now
        self.field_mask = self._masks()
        self.group_kind = np.repeat(self._kinds, np.diff(self.group_base))
        return True

    # ---- groups

    def _number_groups(self) -> None:
        """Lay the groups out, slice after slice."""
        counts = _numbers(len(part.source.keys) for part in self._slices)
        sizes = joined((part.source.sizes for part in self._slices), np.int64)
        self.group_base = offsets(counts, np.int64)
        stop = np.cumsum(sizes)
        before = np.concatenate(([0], stop))[self.group_base[:-1]]  # members of earlier slices
        moved = np.repeat(self._first - before, counts)
        self.group_first, self.group_stop = stop - sizes + moved, stop + moved
        self.group_window = np.repeat(self._window, counts)
        self.group_kind = np.repeat(self._kinds, counts)

    def _move_groups(self, n: int) -> None:
        """The groups of a slice that has as many as before."""
        low, high = self.group_base[n], self.group_base[n + 1]
        sizes = self._slices[n].source.sizes
        stop = self._first[n] + np.cumsum(sizes)
        self.group_first[low:high], self.group_stop[low:high] = stop - sizes, stop

    def _masks(self) -> Integers:
        masks = [0] * len(self.lengths)
        asked = {(part.window, load, part.source.kind) for part in self._slices for load in part.loads}
        for number, opcode, kind in asked:
            masks[number] |= _mask(opcode, kind)
        return np.array(masks, np.int64)


def _mask(opcode: int, kind: int) -> int:
    """The statistics that an instruction needs of a metric's kind, as kernels.window wants to be asked."""
    fields = _RATE_FIELDS.get(kind, ()) if opcode == op.LOAD_RATE else _FIELDS.get(opcode, ())
    return sum(1 << statistic for statistic in fields)


def _numbers(counts: Iterable[int]) -> Integers:
    return np.fromiter(counts, np.int64)


def joined(parts: Iterable[NDArray[Scalar]], dtype: type[Scalar]) -> NDArray[Scalar]:
    """One array after the other; of none an empty one."""
    return np.concatenate([np.zeros(0, dtype), *parts])


def offsets(counts: Iterable[int], dtype: type[Scalar]) -> NDArray[Scalar]:
    """0 and the running sums."""
    numbers = counts if isinstance(counts, np.ndarray) else _numbers(counts)
    return np.concatenate(([0], np.cumsum(numbers))).astype(dtype)

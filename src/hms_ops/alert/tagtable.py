"""The tags of one metric's series as columns of numbers, so that ten thousand rules choose series without reading tags.

    slots      3      7      8           column of a tag: the values there are, and of each series the place of its own
    agency     irs    ssa    irs         values ["irs", "ssa"], codes [0, 1, 0]
    zone       a      —      b           a tag a series has not is the empty text
    GROUP BY   0      1      0           keys [(agency irs), (agency ssa)], numbers [0, 1, 0]

A table belongs to one metric and is shared by its sources; it holds the columns that these asked for. It follows the
store as series come and go: tags are read of those that are new only, once for all columns. Numbers stay while series
come and go, until more than half of them stand for nothing.

Data: slots int32, ascending; codes and numbers int32, of the slots. Threads: the tick's; a query makes its own.
Not here: what tag expressions mean (tags.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.language.tags import accepts
from hms_ops.alert.language.tree import TagAnd, TagMatch, TagNot, TagOr, Tags

GONE: Final = -1  # the code of a series that is gone since its slot was listed
_FRESH: Final = -2
_SPARE: Final = 64  # numbers that may stand for nothing before it pays to give out new ones

Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]
Read = Callable[[int], Mapping[str, str] | None]
Key = tuple[tuple[str, str], ...]  # of a group
KeyOf = Callable[[Mapping[str, str]], Key]


@dataclass(slots=True)
class _Column:
    """What a series is counted by: the number of a text (a tag's value) or a key (a group) and those of the series."""

    of: Callable[[Mapping[str, str]], object]
    numbers: dict[object, int] = field(default_factory=dict)
    codes: Codes = field(default_factory=lambda: np.zeros(0, np.int32))

    def number(self, tags: Mapping[str, str] | None) -> int:
        return GONE if tags is None else self.numbers.setdefault(self.of(tags), len(self.numbers))

    def move(self, count: int, into: NDArray[np.intp], stays: Bools) -> None:
        """Take the codes of series that stay to their new places; the others are to be read."""
        codes = np.full(count, _FRESH, np.int32)
        codes[into] = self.codes[stays]
        self.codes = codes

    @property
    def is_sparse(self) -> bool:
        return len(self.numbers) > 2 * len(self.codes) + _SPARE


class TagTable:
    """The columns of one metric."""

    def __init__(self) -> None:
        self.slots: NDArray[np.int32] = np.zeros(0, np.int32)
        self._columns: dict[str, _Column] = {}
        self._groups: dict[tuple[str, ...], _Column] = {}

    def follow(self, slots: NDArray[np.int32], stale: NDArray[np.int32], read: Read) -> None:
        """Take the series as they are now; `stale` slots changed hands. read: the tags of a slot, None when it is
        gone."""
        stays = np.isin(self.slots, slots, assume_unique=True) & ~np.isin(self.slots, stale)
        into = np.searchsorted(slots, self.slots[stays])
        is_fresh = np.ones(len(slots), np.bool_)
        is_fresh[into] = False
        self.slots = slots
        for column in self._all():
            column.move(len(slots), into, stays)
            if column.is_sparse:
                column.numbers.clear()
                column.codes[:] = _FRESH
                is_fresh[:] = True
        self._read(np.flatnonzero(is_fresh), read, self._all())

    def want(self, tags: set[str], group_by: tuple[str, ...], key_of: KeyOf | None, read: Read) -> None:
        """Have columns of these tags, and of the groups of `group_by`, whose keys are `key_of`'s."""
        fresh = [self._columns.setdefault(tag, _Column(_value_of(tag))) for tag in sorted(tags - self._columns.keys())]
        if key_of is not None and group_by not in self._groups:
            fresh.append(self._groups.setdefault(group_by, _Column(key_of)))
        for column in fresh:
            column.codes = np.full(len(self.slots), _FRESH, np.int32)
        if fresh:
            self._read(np.arange(len(self.slots)), read, fresh)

    def _all(self) -> list[_Column]:
        return [*self._columns.values(), *self._groups.values()]

    def _read(self, places: NDArray[np.intp], read: Read, columns: Sequence[_Column]) -> None:
        if not columns:
            return
        for place in places.tolist():
            tags = read(int(self.slots[place]))
            for column in columns:
                if column.codes[place] == _FRESH:
                    column.codes[place] = column.number(tags)

    # ---- what it answers

    def groups(self, group_by: tuple[str, ...]) -> tuple[list[Key], Codes]:
        """(the keys there are, of each series the number of its own)."""
        column = self._groups[group_by]
        return cast(list[Key], list(column.numbers)), column.codes

    def chosen(self, matchers: tuple[TagMatch, ...], where: Tags | None) -> Bools:
        """bool[slots]: the series that all matchers and the WHERE accept."""
        found = np.ones(len(self.slots), np.bool_)
        for match in matchers:
            found &= self._matched(match)
        if where is not None:
            found &= self._tested(where)
        return found

    def _tested(self, where: Tags) -> Bools:
        match where:
            case TagNot(operand):
                return ~self._tested(operand)
            case TagAnd(left, right):
                return self._tested(left) & self._tested(right)
            case TagOr(left, right):
                return self._tested(left) | self._tested(right)
        return self._matched(where)

    def _matched(self, match: TagMatch) -> Bools:
        column = self._columns[match.tag]
        if match.op in ("=", "IN", "!=", "NOT IN"):
            codes = [column.numbers[value] for value in match.values if value in column.numbers]
            is_in: Bools = column.codes == codes[0] if len(codes) == 1 else np.isin(column.codes, codes)
            return is_in if match.op in ("=", "IN") else ~is_in
        test = accepts((match,), None)
        assert test is not None
        answers = np.array([test({match.tag: str(value)}) for value in column.numbers] or [False], np.bool_)
        return answers[column.codes]

    def is_there(self) -> Bools | None:
        """bool[slots]: False for series that are gone; None when no tags are read here."""
        column = next(iter(self._all()), None)
        return None if column is None else column.codes >= 0


def tags_in(matchers: Sequence[TagMatch], where: Tags | None) -> set[str]:
    """The tags that are looked at."""
    match where:
        case None:
            return {match.tag for match in matchers}
        case TagMatch(tag):
            return {tag, *tags_in(matchers, None)}
        case TagNot(operand):
            return tags_in(matchers, operand)
    return tags_in(matchers, where.left) | tags_in((), where.right)


def _value_of(tag: str) -> Callable[[Mapping[str, str]], str]:
    return lambda tags: tags.get(tag, "")

"""The series a selector chooses, sorted into groups: what a plan's readings are bound to.

A `Source` belongs to one (metric, matchers, WHERE, GROUP BY) and is shared by all rules that agree in it. It follows
the store as series come and go, and reads the tags of those that are new only; without matchers, WHERE and GROUP BY it
reads no tags at all and takes the store's slots as they are. `offset` and `member` list the series of each group.

Data: slots are int32, ascending within a group. Threads: the tick's; a query makes its own sources.
Not here: windows, programs (`layout.py`, `evaluate.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.plan import SourceKey
from hms_ops.alert.tags import accepts
from hms_ops.alert.tree import GROUP_BY_ALL
from hms_ops.reloaded import Reloaded

GroupKey: TypeAlias = tuple[tuple[str, str], ...]  # sorted (tag, value) pairs; () is the group of all

_REFUSED: Final = -1  # group of a series that the matchers or WHERE turn away
_FRESH: Final = -2  # its tags were not read yet


class Series(Protocol):
    """What is asked of a series."""

    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class Store(Protocol):
    """What rules read: the columns (see kernels.window), and which series there are."""

    @property
    def cols(self) -> NDArray[np.float64]: ...
    @property
    def last_value(self) -> NDArray[np.float64]: ...
    @property
    def last_second(self) -> NDArray[np.int64]: ...
    @property
    def first_second(self) -> int: ...
    @property
    def sealed_second(self) -> int: ...
    def slots(self, name: str, /) -> NDArray[np.int32]: ...
    def series(self, slot: int, /) -> Series: ...
    def metric_kind(self, name: str, /) -> int: ...
    def metrics(self) -> Sequence[str]: ...
    def changes(self, cursor: int, /) -> tuple[int, Sequence[tuple[int, bool]]]: ...
    def distinct(self, slots: Sequence[int], tiers: NDArray[np.int64], steps: NDArray[np.int64], /) -> float: ...
    def sketch_quantiles(
        self,
        slots: NDArray[np.int32],
        group_offset: NDArray[np.int64],
        start: int,
        end: int,
        quantiles: NDArray[np.float64],
        /,
    ) -> tuple[NDArray[np.float64], int]: ...
    def sketch_groups(
        self, slots: NDArray[np.int32], group_offset: NDArray[np.int64], start: int, end: int, /
    ) -> Sequence[bytes]: ...


def tags_of(store: Store, slot: int) -> Mapping[str, str] | None:
    """The tags of a series; None if it is gone since its slot was listed, as a query may see on its own thread."""
    try:
        return store.series(slot).tags
    except KeyError:
        return None


class Source:
    """The groups of one SourceKey. keys: of G groups; member: int32[M] slots, group by group; offset: int64[G + 1]."""

    def __init__(self, key: SourceKey) -> None:
        self.key = key
        self.member: NDArray[np.int32] = np.zeros(0, np.int32)
        self.offset: NDArray[np.int64] = np.zeros(2, np.int64)
        self.keys: list[GroupKey] = [()]
        self.kind = 0
        self._test = accepts(key.matchers, key.where)
        self._is_grouped = bool(key.group_by)
        self._slots: NDArray[np.int32] = np.zeros(0, np.int32)
        self._group: NDArray[np.int32] = np.zeros(0, np.int32)  # of each slot, _REFUSED or its number
        self._numbers: dict[GroupKey, int] = {} if self._is_grouped else {(): 0}
        if self._is_grouped:
            self.keys, self.offset = [], np.zeros(1, np.int64)

    def follow(self, store: Store, stale: NDArray[np.int32]) -> bool:
        """Take the metric's series as they are now; `stale` slots changed hands and are read again.

        Returns True when the groups are others than before.
        """
        self.kind = store.metric_kind(self.key.metric)
        slots = np.asarray(store.slots(self.key.metric), np.int32)
        if self._test is None and not self._is_grouped:
            self.member, self.offset = slots, np.array([0, len(slots)], np.int64)
            return False
        group = self._known_groups(slots, stale)
        self._slots, self._group = slots, group
        for place in np.flatnonzero(group == _FRESH).tolist():
            group[place] = self._group_of(tags_of(store, int(slots[place])))
        return self._sort()

    def _known_groups(self, slots: NDArray[np.int32], stale: NDArray[np.int32]) -> NDArray[np.int32]:
        """The group of each slot that was here before, _FRESH for the others."""
        group = np.full(len(slots), _FRESH, np.int32)
        stays = np.isin(self._slots, slots, assume_unique=True) & ~np.isin(self._slots, stale)
        group[np.searchsorted(slots, self._slots[stays])] = self._group[stays]
        return group

    def slots_of(self, group: int) -> list[int]:
        """The slots of one group."""
        return [int(slot) for slot in self.member[self.offset[group] : self.offset[group + 1]]]

    def _group_of(self, tags: Mapping[str, str] | None) -> int:
        if tags is None:
            return _REFUSED
        if self._test is not None and not self._test(tags):
            return _REFUSED
        return self._numbers.setdefault(group_key(self.key.group_by, tags), len(self._numbers))

    def _sort(self) -> bool:
        """List the members group by group, and forget groups that have none."""
        chosen = self._group >= 0
        group = self._group[chosen]
        counts = np.bincount(group, minlength=len(self._numbers))
        if self._is_grouped and not counts.all():
            group, counts = self._drop_empty(counts, group, chosen)
        self.member = self._slots[chosen][np.argsort(group, kind="stable")]
        self.offset = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        before, self.keys = self.keys, list(self._numbers)
        return before != self.keys

    def _drop_empty(
        self, counts: NDArray[np.int64], group: NDArray[np.int32], chosen: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Number the groups anew without the empty ones; the order of the others stays."""
        number = (np.cumsum(counts > 0) - 1).astype(np.int32)
        self._numbers = {key: int(number[old]) for key, old in self._numbers.items() if counts[old]}
        group = number[group]
        self._group[chosen] = group
        return group, counts[counts > 0]


class ViewGroups(Protocol):
    """What the reading of a view is bound to (stepped.py, recalled.py). keys: of its groups, which have no members;
    problem: why it can't be evaluated, or ""; cells: rows of series that a tick reads for it."""

    @property
    def keys(self) -> list[GroupKey]: ...
    @property
    def member(self) -> NDArray[np.int32]: ...
    @property
    def offset(self) -> NDArray[np.int64]: ...
    @property
    def kind(self) -> int: ...
    @property
    def problem(self) -> str: ...
    @property
    def cells(self) -> int: ...
    def is_whole(self, end: int, first_second: int, reloaded: Reloaded, /) -> bool:
        """Whether all it reads is known."""

    def values(self, store: Store, end: int, reloaded: Reloaded, /) -> NDArray[np.float64]:
        """float64[len(keys)] at a tick, NaN for NULL."""


Groups: TypeAlias = Source | ViewGroups


def group_key(group_by: tuple[str, ...], tags: Mapping[str, str]) -> GroupKey:
    """The group of a series: its own value of each tag. A tag it has not is left out."""
    if group_by == GROUP_BY_ALL:
        return tuple(sorted(tags.items()))
    return tuple(sorted((tag, tags[tag]) for tag in group_by if tag in tags))


def regrouped(group_by: tuple[str, ...], keys: Sequence[GroupKey]) -> tuple[list[GroupKey], NDArray[np.int64]]:
    """The groups that single series belong to, and the place of each series' own among them: int64[len(keys)]."""
    groups = [group_key(group_by, dict(key)) for key in keys]
    wanted: list[GroupKey] = list(dict.fromkeys(groups)) if group_by else [()]
    number = {key: n for n, key in enumerate(wanted)}
    return wanted, np.array([number[key] for key in groups], np.int64)

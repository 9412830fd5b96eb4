"""The series a selector chooses, sorted into groups: what a plan's readings are bound to.

A `Source` belongs to one (metric, matchers, WHERE, GROUP BY) and is shared by all rules that agree in it. It follows
the store as series come and go, by the metric's table of tags (tagtable.py); without matchers, WHERE and GROUP BY it
reads no tags at all and takes the store's slots as they are. `offset` and `member` list the series of each group.

Data: slots are int32, ascending within a group. Threads: the tick's; a query makes its own sources.
Not here: windows, programs (`layout.py`, `evaluate.py`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.language.tree import GROUP_BY_ALL
from hms_ops.alert.plan import SourceKey
from hms_ops.alert.tagtable import TagTable, tags_in
from hms_ops.reloaded import Reloaded

GroupKey: TypeAlias = tuple[tuple[str, str], ...]  # sorted (tag, value) pairs; () is the group of all


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
    """The groups of one SourceKey. keys: of G groups, the same list as long as they are the same; member: int32[M]
    slots, group by group; offset: int64[G + 1]; sizes: int64[G].
    table: the tags of its metric; shared by the metric's sources, whose owner makes it follow the store first."""

    def __init__(self, key: SourceKey, table: TagTable | None = None) -> None:
        self.key = key
        self.member: NDArray[np.int32] = np.zeros(0, np.int32)
        self.offset: NDArray[np.int64] = np.zeros(2, np.int64)
        self.sizes: NDArray[np.int64] = np.zeros(1, np.int64)
        self.keys: list[GroupKey] = [()]
        self.kind = 0
        self.is_plain = not (key.matchers or key.where or key.group_by)  # takes all series, whatever their tags
        self._table = TagTable() if table is None else table
        self._is_shared = table is not None
        self._tags = tags_in(key.matchers, key.where)
        if key.group_by:
            self.keys, self.offset, self.sizes = [], np.zeros(1, np.int64), np.zeros(0, np.int64)

    def follow(self, store: Store, stale: NDArray[np.int32]) -> bool:
        """Take the metric's series as they are now; `stale` slots changed hands and are read again.

        Returns True when the groups are others than before.
        """
        self.kind = store.metric_kind(self.key.metric)
        if self.is_plain:
            slots = np.asarray(store.slots(self.key.metric), np.int32)
            return self._take_all(slots)
        if not self._is_shared:
            follow_table(self._table, self.key.metric, store, stale)
        group_by = self.key.group_by
        self._table.want(
            self._tags, group_by, lambda tags: group_key(group_by, tags), lambda slot: tags_of(store, slot)
        )
        return self._sort()

    def slots_of(self, group: int) -> list[int]:
        """The slots of one group."""
        return [int(slot) for slot in self.member[self.offset[group] : self.offset[group + 1]]]

    def _take_all(self, slots: NDArray[np.int32]) -> bool:
        self.member, self.sizes = slots, np.array([len(slots)], np.int64)
        self.offset = np.array([0, len(slots)], np.int64)
        return False

    def _sort(self) -> bool:
        """List the members group by group; a group without any is none."""
        chosen = self._table.chosen(self.key.matchers, self.key.where)
        if (is_there := self._table.is_there()) is not None:
            chosen &= is_there
        slots = self._table.slots[chosen]
        if not self.key.group_by:
            return self._take_all(slots)
        keys, numbers = self._table.groups(self.key.group_by)
        present, group, counts = np.unique(numbers[chosen], return_inverse=True, return_counts=True)
        self.member = slots[np.argsort(group, kind="stable")]
        self.sizes = counts.astype(np.int64)
        self.offset = np.concatenate(([0], np.cumsum(self.sizes)))
        found = [keys[number] for number in present.tolist()]
        if found == self.keys:
            return False  # and it stays the same list, by which others know
        self.keys = found
        return True


def follow_table(table: TagTable, metric: str, store: Store, stale: NDArray[np.int32]) -> None:
    """Bring a metric's table up to the series there are."""
    slots = np.asarray(store.slots(metric), np.int32)
    table.follow(slots, stale, partial(tags_of, store))


class ViewGroups(Protocol):
    """What the reading of a view is bound to (stepped.py, recalled.py). keys: of its groups, which have no members;
    problem: why it can't be evaluated, or ""; cells: rows of series that a tick reads for it."""

    @property
    def keys(self) -> list[GroupKey]: ...
    @property
    def member(self) -> NDArray[np.int32]: ...
    @property
    def sizes(self) -> NDArray[np.int64]: ...
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

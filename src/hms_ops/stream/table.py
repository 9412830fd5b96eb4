"""The cells of a second as JSON, for all streams at once: each cell is gathered and encoded once, however many want it.

    store's columns ─pool─► figures by group ─encode─► one text a cell ─join─► one text for each sort of stream

The texts of the last seconds are kept, CACHE_BYTES_MAX of them, so that streams which come at once and ask for the same
minute cost one. Limits: CELLS_MAX cells a second in a stream, ENCODED_MAX in all of them together, SETS_MAX sets that
are estimated; what is left out is counted in the text, and in `left_out`. Threads: the hub's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.stream.layout import Ints, Layout, layout_of
from hms_ops.stream.members import Members
from hms_ops.stream.pooling import distinct_in, pool
from hms_ops.stream.wanted import Wanted

CELLS_MAX: Final = 2_000
ENCODED_MAX: Final = 20_000
SETS_MAX: Final = 500
CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
HEADS_MAX: Final = 100_000
TRIES: Final = 3


class Figures(msgspec.Struct):
    """The numbers of a cell, in the order in which they stand in its text. NaN becomes null."""

    value: float
    count: float
    sum: float
    min: float
    max: float
    last: float


@dataclass(frozen=True, slots=True)
class Text:
    """The data of one `cells` event."""

    data: bytes
    cells: int


class Table:
    """The cells of one store's seconds. rules: the names of metrics that are gauges of rules, the same object while
    they are the same."""

    def __init__(self, store: Store, rules: Callable[[], frozenset[str]]) -> None:
        self.encoded = self.left_out = 0  # cells, since the start
        self._store = store
        self._rules_now = rules
        self._rules = rules()
        self._members = Members(store)
        self._wanted: tuple[Wanted, ...] = ()
        self._layout = self._layout_of(())
        self._alone: dict[Wanted, Layout] = {}  # of the one sort of stream that was asked for last
        self._heads: dict[Any, bytes] = {}
        self._encode = msgspec.json.Encoder().encode
        self._cache: dict[tuple[Wanted, int], Text] = {}
        self._cache_bytes = 0

    def want(self, wanted: Iterable[Wanted]) -> None:
        """What all streams together ask for."""
        every = tuple(dict.fromkeys(wanted))
        if set(every) == set(self._wanted):
            return
        self._members.want(names for one in every for names in (one.pooled, one.by_series))
        self._wanted = every
        self._lay_out()

    def forget(self) -> None:
        """The clock was set: the seconds that are kept are others'."""
        self._cache, self._cache_bytes = {}, 0

    def texts(self, second: int) -> dict[Wanted, Text]:
        """Of each stream's sort. The second is sealed and still kept; who asks looks again afterwards."""
        return self._texts(second, self._wanted, lambda: self._layout)

    def text(self, second: int, wanted: Wanted) -> Text:
        """Of one sort of stream, which is wanted; from the cache when it is there."""
        known = self._cache.get((wanted, second))
        return known or self._texts(second, (wanted,), lambda: self._layout_alone(wanted))[wanted]

    def _texts(self, second: int, wanted: tuple[Wanted, ...], layout: Callable[[], Layout]) -> dict[Wanted, Text]:
        for _ in range(TRIES):
            self._follow()
            found, named = self._gather(second, layout())
            if not self._changed_hands(named):
                break
        for one in wanted:
            self._keep((one, second), found[one])
        return found

    # ---- what is there

    def _follow(self) -> None:
        is_other = self._members.follow()
        self._forget_heads(self._members.changed)
        rules = self._rules_now()
        if is_other or rules is not self._rules:
            self._rules = rules
            self._lay_out()

    def _lay_out(self) -> None:
        self._layout, self._alone = self._layout_of(self._wanted), {}

    def _layout_alone(self, wanted: Wanted) -> Layout:
        if wanted not in self._alone:
            self._alone = {wanted: self._layout_of((wanted,))}
        return self._alone[wanted]

    def _layout_of(self, wanted: tuple[Wanted, ...]) -> Layout:
        return layout_of(self._members.slots, self._members.kinds, wanted, self._rules)

    def _changed_hands(self, named: set[int]) -> bool:
        """Whether one of these slots is another series' since the members were followed: what was gathered of it may
        be the former's, and its name the latter's."""
        if not named:
            return False
        before = self._members.cursor
        after, changes = self._store.changes(before)
        return after - before != len(changes) or any(slot in named for slot, _ in changes)

    # ---- one second

    def _gather(self, second: int, layout: Layout) -> tuple[dict[Wanted, Text], set[int]]:
        """(the texts, the slots that were named for it)."""
        figures, row, skipped = self._figures(second, layout)
        room, is_taken = ENCODED_MAX, np.zeros(len(row), np.bool_)
        chosen: dict[Wanted, tuple[Ints, int]] = {}
        for wanted, rows in layout.rows.items():
            present = rows[row[rows] >= 0]
            groups = within(present[:CELLS_MAX], is_taken, room)
            room -= int(np.count_nonzero(~is_taken[groups]))
            is_taken[groups] = True
            chosen[wanted] = groups, len(present) - len(groups) + int(np.count_nonzero(skipped[rows]))
        texts, named = self._cells(np.flatnonzero(is_taken).astype(np.int32), figures, row, layout)
        return {wanted: self._joined(second, texts, *some) for wanted, some in chosen.items()}, named

    def _figures(self, second: int, layout: Layout) -> tuple[NDArray[np.float64], Ints, NDArray[np.bool_]]:
        """(float64[6, n] as `Figures` has them, the column of each group or -1, the sets that were passed over)."""
        found = pool(self._store.cols[0, :, second % self._store.cols.shape[2]], layout.slots, layout.owner)
        groups, estimates, skipped = self._sets(second, layout)
        value = found.value(layout.kind, layout.is_rule)
        of_values = np.array([value, found.count, found.sum, found.min, found.max, found.last])
        of_sets = np.full((6, len(groups)), np.nan)
        of_sets[:3] = estimates, estimates, np.zeros(len(groups))
        row = np.full(len(layout.kind), -1, np.int32)
        every = np.concatenate([found.groups, groups])
        row[every] = np.arange(len(every))
        return np.concatenate([of_values, of_sets], axis=1), row, skipped

    def _sets(self, second: int, layout: Layout) -> tuple[Ints, list[float], NDArray[np.bool_]]:
        """(groups of sets that have members, their estimates, those that were passed over)."""
        skipped = np.zeros(len(layout.kind), np.bool_)
        found: dict[int, float] = {}
        for group, slots in layout.sets:
            if not (self._store.last_second[slots] >= second).any():
                continue
            skipped[group] = len(found) == SETS_MAX
            count = 0.0 if skipped[group] else distinct_in(self._store, slots, second)
            if count:
                found[group] = count
        return np.array(list(found), np.int32), list(found.values()), skipped

    # ---- texts

    def _cells(
        self, groups: Ints, figures: NDArray[np.float64], row: Ints, layout: Layout
    ) -> tuple[dict[int, bytes], set[int]]:
        named: set[int] = set()
        texts = {}
        encode, columns = self._encode, figures[:, row[groups]].tolist()
        for group, numbers in zip(groups.tolist(), map(Figures, *columns), strict=True):
            texts[group] = self._head(group, layout, named) + encode(numbers)[1:]
        self.encoded += len(texts)
        return texts, named

    def _head(self, group: int, layout: Layout, named: set[int]) -> bytes:
        """The text of a cell up to its numbers, encoded when it is first needed."""
        kind, at = int(layout.kind[group]), group - len(layout.metrics)
        key = (layout.metrics[group], kind) if at < 0 else (int(layout.series[at]), kind)
        head = self._heads.get(key)
        if head is None:
            metric, tags = (layout.metrics[group], None) if at < 0 else self._series(key[0], named)
            about = self._encode({"metric": metric, "tags": tags, "kind": kinds.NAMES[kind]})
            head = self._heads[key] = about[:-1] + b","
        return head

    def _series(self, slot: Any, named: set[int]) -> tuple[str, dict[str, str]]:
        named.add(slot)
        try:
            info = self._store.series(slot)
        except KeyError:  # gone just now, which `_changed_hands` sees
            return "", {}
        return info.name, info.tags

    def _forget_heads(self, slots: set[int] | None = None) -> None:
        if slots is None or len(self._heads) > HEADS_MAX:
            self._heads = {}
            return
        for slot in slots:
            for kind in range(len(kinds.NAMES)):
                self._heads.pop((slot, kind), None)

    def _joined(self, second: int, texts: dict[int, bytes], groups: Ints, left_out: int) -> Text:
        cells = b",".join([texts[group] for group in groups.tolist()])
        self.left_out += left_out
        return Text(b'{"time":%d,"cells":[%b],"left_out":%d}' % (second, cells, left_out), len(groups))

    def _keep(self, key: tuple[Wanted, int], text: Text) -> None:
        if key in self._cache:
            return
        self._cache[key] = text
        self._cache_bytes += len(text.data)
        while self._cache_bytes > CACHE_BYTES_MAX:
            self._cache_bytes -= len(self._cache.pop(next(iter(self._cache))).data)


def within(groups: Ints, is_taken: NDArray[np.bool_], room: int) -> Ints:
    """Those of the groups that are taken already, and as many others as there is room for."""
    is_new = ~is_taken[groups]
    if np.count_nonzero(is_new) <= room:
        return groups
    return groups[~is_new | (np.cumsum(is_new) <= room)]

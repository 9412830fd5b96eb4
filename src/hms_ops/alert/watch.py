"""The sources that a rule set reads, kept in step with the store as series come, go and change hands.

Once a series is gone the store can't say what it was, so the owner of each slot is remembered here. A tick asks for the
store's changes once and looks at the sources of the metrics concerned only. Threads: the tick's.
"""

from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.plan import SourceKey
from hms_ops.alert.source import Source, Store, follow_table
from hms_ops.alert.tagtable import TagTable

CHANGES_MAX: Final = 2_000  # more series than this came at once: look at all metrics instead of at each series

_NONE: Final = np.zeros(0, np.int32)


class Watch:
    """The sources that rules read, kept in step with the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cursor = 0
        self._sources: dict[SourceKey, Source] = {}
        self._sources_of: dict[str, list[Source]] = {}  # by metric
        self._tables: dict[str, TagTable] = {}  # by metric, of those whose tags a source looks at
        self._kinds: dict[str, int] = {}  # of the metrics that are watched
        self._metrics: list[str] = []
        self._numbers: dict[str, int] = {}
        self._metric_of_slot = np.full(store.cols.shape[3], -1, np.int32)  # index into `_metrics`, as last seen

    def source(self, key: SourceKey) -> Source:
        """The source of a key, bound to the series there are."""
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = Source(key, self._table(key))
            source.follow(self._store, _NONE)
            self._sources_of.setdefault(key.metric, []).append(source)
            self._note(source)
        return source

    def keep(self, keys: set[SourceKey]) -> None:
        """Forget all other sources."""
        if self._sources.keys() <= keys:
            return
        self._sources = {key: source for key, source in self._sources.items() if key in keys}
        metrics = {key.metric for key in keys}
        self._tables = {metric: table for metric, table in self._tables.items() if metric in metrics}
        self._kinds, self._metrics, self._numbers, self._sources_of = {}, [], {}, {}
        self._metric_of_slot[:] = -1
        for source in self._sources.values():
            self._sources_of.setdefault(source.key.metric, []).append(source)
            self._note(source)

    def matched(self) -> set[SourceKey]:
        """The sources that some series matches now."""
        return {key for key, source in self._sources.items() if len(source.member)}

    def follow(self) -> set[str]:
        """Take what changed in the store; returns the metrics that gained or lost series or changed their kind."""
        stale = self._stale_slots()
        for metric in stale.keys() & self._tables.keys():
            follow_table(self._tables[metric], metric, self._store, stale[metric])
        for metric, slots in stale.items():
            for source in self._sources_of.get(metric, ()):
                source.follow(self._store, slots)
            self._note_slots(metric)
        return set(stale)

    def _table(self, key: SourceKey) -> TagTable:
        table = self._tables.get(key.metric)
        if table is None:
            table = self._tables[key.metric] = TagTable()
            follow_table(table, key.metric, self._store, _NONE)
        return table

    def _note(self, source: Source) -> None:
        """Remember whose the slots are: once a series is gone, the store can't say."""
        metric = source.key.metric
        self._kinds[metric] = source.kind
        if metric not in self._numbers:
            self._numbers[metric] = len(self._metrics)
            self._metrics.append(metric)
            self._note_slots(metric)

    def _note_slots(self, metric: str) -> None:
        self._kinds[metric] = self._store.metric_kind(metric)
        self._metric_of_slot[self._store.slots(metric)] = self._numbers[metric]

    def _stale_slots(self) -> dict[str, NDArray[np.int32]]:
        """The slots of watched metrics that changed hands, ascending; without any for a metric whose kind was settled.

        After more changes than it pays to look at one by one, all metrics share all slots that changed.
        """
        kind_of = self._store.metric_kind
        stale: dict[str, set[int]] = {metric: set() for metric, kind in self._kinds.items() if kind != kind_of(metric)}
        before = self._cursor
        self._cursor, changes = self._store.changes(before)
        is_lossy = self._cursor - before != len(changes)  # more than the store remembers: it listed what lives
        if is_lossy or len(changes) > CHANGES_MAX:
            return dict.fromkeys(self._kinds, np.unique(np.array([slot for slot, _ in changes], np.int32)))
        for slot, is_alive in dict(changes).items():
            for name in self._owners(slot, is_alive) & self._kinds.keys():
                stale.setdefault(name, set()).add(slot)
        return {name: np.array(sorted(slots), np.int32) for name, slots in stale.items()}

    def _owners(self, slot: int, is_alive: bool) -> set[str]:
        """The metrics a slot belonged to and belongs to."""
        number = self._metric_of_slot[slot]
        owners = set() if number < 0 else {self._metrics[number]}
        if is_alive:
            with suppress(KeyError):  # gone again
                owners.add(self._store.series(slot).name)
        return owners

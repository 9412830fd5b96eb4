"""Which series memory and disk know, and which number on disk a place in the store has.

The recorder's writer asks `ids_of` for the rows it writes, readers ask `known` and `known_ids`. The numbers are the
catalogue's; they are kept by slot here and forgotten when a slot changes hands or a metric's kind is settled.
Threads: `ids_of` is the writer's; the rest is anybody's. No number is asked for while somebody holds `naming`.
`guard` is the backlog's: what a reader learns of slots, ids and waiting rows under it is of one moment.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.series import SeriesInfo

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Catalogue

KINDS_CHECKED: Final = 1_000  # metrics asked per step whether their kind was settled meanwhile


@dataclass(frozen=True, slots=True)
class Known:
    """A series that memory or disk knows. slot: its place in the store or -1; series_id: its number on disk or 0."""

    info: SeriesInfo
    slot: int
    series_id: int


class Roster:
    """catalogue: None as long as nothing is kept on disk."""

    def __init__(self, store: Store, guard: threading.Lock) -> None:
        self.store = store
        self.catalogue: Catalogue | None = None
        self._guard = guard
        self.naming = threading.Lock()
        self._ids = np.zeros(store.capacity, np.uint32)  # by slot, 0 = not asked yet
        self._cursor = 0  # how far `_ids` has followed the store's changes
        self._kinds: dict[str, int] = {}  # of metrics, as the catalogue has them
        self._kinds_to_check: Iterator[str] = iter(())

    def ids_of(self, slots: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Catalogue ids of slots; 0 for a series that is gone. StorageError."""
        assert self.catalogue is not None
        with self.naming:
            return self._ids_of(self.catalogue, slots)

    def forget(self, series: Sequence[Known]) -> None:
        """These series were deleted: whoever still has their numbers asks anew. The caller holds `naming`."""
        ids = [one.series_id for one in series if one.series_id]
        with self._guard:
            self._ids[np.isin(self._ids, ids)] = 0
            self._ids[[one.slot for one in series if one.slot >= 0]] = 0

    def known(self, name: str) -> list[Known]:
        """Every series of a metric that memory or disk knows, in the order of their tags, with the metric's kind."""
        kind = self.store.metric_kind(name)
        found: dict[tuple[tuple[str, str], ...], Known] = {}
        for number, info in self.catalogue.find(name) if self.catalogue is not None else ():
            found[_tags_key(info)] = Known(SeriesInfo(name, info.tags, kind or info.kind), -1, number)
        for slot in self.store.slots(name).tolist():
            if (live := self.info(slot)) is not None:
                before = found.get(_tags_key(live))
                found[_tags_key(live)] = Known(live, slot, before.series_id if before else 0)
        return [found[key] for key in sorted(found)]

    def metrics(self) -> list[str]:
        """The names of all metrics, of now and of before."""
        stored = self.catalogue.names() if self.catalogue is not None else []
        return sorted({*self.store.metrics(), *stored})

    def known_ids(self, series: Sequence[Known]) -> NDArray[np.uint32]:
        """The ids of series, also of those that the catalogue took in after they were looked up. Under the guard."""
        ids = np.array([one.series_id for one in series], np.uint32)
        slots = slots_of(series)
        fresh = np.flatnonzero((ids == 0) & (slots >= 0))
        if len(fresh):
            _, changes = self.store.changes(self._cursor)
            is_sure = ~np.isin(slots[fresh], [slot for slot, _ in changes])
            ids[fresh] = np.where(is_sure, self._ids[slots[fresh]], 0)
        return ids

    def info(self, slot: int) -> SeriesInfo | None:
        """The series that lives in a slot now."""
        try:
            info: SeriesInfo = self.store.series(slot)
        except KeyError:
            return None
        return info

    def _ids_of(self, catalogue: "Catalogue", slots: NDArray[np.int64]) -> NDArray[np.uint32]:
        self._forget_changed()
        missing = slots[self._ids[slots] == 0]
        known = [(slot, info) for slot in missing.tolist() if (info := self.info(slot)) is not None]
        if known:
            ids = catalogue.ids_for([info for _, info in known], self.store.now_ns())
            self._ids[[slot for slot, _ in known]] = ids
            self._kinds |= {info.name: info.kind for _, info in known}
        return self._ids[slots]

    def _forget_changed(self) -> None:
        """The ids of slots that changed hands, and of metrics whose kind was settled after the catalogue had it."""
        with self._guard:
            self._cursor, changes = self.store.changes(self._cursor)
            self._ids[[slot for slot, _ in changes]] = 0
        names = [name for _, name in zip(range(KINDS_CHECKED), self._kinds_to_check, strict=False)]
        if not names:
            self._kinds_to_check = iter(list(self._kinds))
        for name in names:
            if self.store.metric_kind(name) not in (0, self._kinds[name]):
                self._ids[self.store.slots(name)] = 0


def slots_of(series: Sequence[Known]) -> NDArray[np.int64]:
    """Their places in the store, -1 for none."""
    return np.array([one.slot for one in series], np.int64)


def _tags_key(info: SeriesInfo) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(info.tags.items()))

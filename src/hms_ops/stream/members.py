"""Which series the followed metrics have, kept in step with the store as series come, go and change hands.

Once a series is gone the store can't say what it was, so the owner of each slot is remembered here. A turn asks for the
store's changes once and reads the metrics concerned again. Limits: METRICS_MAX metrics, those that are asked for by
their own name before those that only begin so, each by name; what is beyond is not looked at. Threads: the hub's.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.stream.wanted import HIDDEN, Names

METRICS_MAX: Final = 20_000  # a stream has 2,000 cells a second
CHANGES_MAX: Final = 2_000  # more series than this came at once: read all metrics instead of looking at each series
KINDS_READ: Final = 64  # metrics a second whose kind may have been settled
INFERRED: Final = (kinds.UNKNOWN, kinds.GAUGE, kinds.TIMER)  # what a kind that may still be settled can be


class Members:
    """slots: int32[k], ascending, of each followed metric, by name. kinds: its kind's number. cursor: into the store's
    changes, up to which both are right."""

    def __init__(self, store: Store) -> None:
        self.slots: dict[str, NDArray[np.int32]] = {}
        self.kinds: dict[str, int] = {}
        self.cursor = 0
        self.changed: set[int] | None = None  # slots that changed hands in the last `follow`; None: any may have
        self._store = store
        self._exact: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._metrics: list[str] = []  # by number
        self._numbers: dict[str, int] = {}
        self._owner = np.full(store.capacity, -1, np.int32)  # by slot: number of its metric, as last seen
        self._rota = 0

    def want(self, names: Iterable[Names]) -> None:
        """Follow the metrics that any of these take."""
        every = list(names)
        self._exact = {name for one in every for name in one.exact}
        self._prefixes = tuple({prefix for one in every for prefix in one.prefixes})
        self._read_all()

    def follow(self) -> bool:
        """Take what changed in the store; whether slots or kinds are others now."""
        before = self.cursor
        self.cursor, changes = self._store.changes(before)
        is_lossy = self.cursor - before != len(changes)
        if is_lossy or len(changes) > CHANGES_MAX:
            self._read_all()
            return True
        owners = dict(changes)
        self.changed = set(owners)
        stale = {name for slot, is_alive in owners.items() for name in self._owners(slot, is_alive)} | self._settled()
        if len(self._metrics) + len(stale - self._numbers.keys()) > METRICS_MAX:
            self._read_all()  # some may be gone
            return True
        for name in stale:
            self._read(name)
        return bool(stale)

    def _read_all(self) -> None:
        self.cursor, self.changed = self._store.changes_count, None
        self.slots, self.kinds, self._metrics, self._numbers = {}, {}, [], {}
        self._owner[:] = -1
        names = sorted(self._exact)
        if self._prefixes:
            found = {name for name in self._store.metrics() if self._is_followed(name)}
            names += sorted(found - self._exact)  # behind: nobody's `*` takes what another one named
        for name in names[:METRICS_MAX]:
            self._read(name)

    def _is_followed(self, name: str) -> bool:
        return name in self._exact or (name.startswith(self._prefixes) and not name.startswith(HIDDEN))

    def _read(self, name: str) -> None:
        if name not in self._numbers:
            self._numbers[name] = len(self._metrics)
            self._metrics.append(name)
        self.slots[name] = self._store.slots(name)
        # What is folded together has several kinds.
        self.kinds[name] = kinds.UNKNOWN if name.startswith(HIDDEN) else self._store.metric_kind(name)
        self._owner[self.slots[name]] = self._numbers[name]

    def _owners(self, slot: int, is_alive: bool) -> set[str]:
        """The followed metrics a slot belonged to and belongs to."""
        number = self._owner[slot]
        owners = set() if number < 0 else {self._metrics[number]}
        self._owner[slot] = -1
        if is_alive:
            with suppress(KeyError):  # gone again
                name = self._store.series(slot).name
                owners |= {name} if self._is_followed(name) else set()
        return owners

    def _settled(self) -> set[str]:
        """Metrics whose kind was inferred and is another one now, found by looking at a few each second."""
        begin = self._rota if self._rota < len(self._metrics) else 0
        self._rota = begin + KINDS_READ
        kind_of = self._store.metric_kind
        some = self._metrics[begin : self._rota]
        looked_at = [name for name in some if self.kinds[name] in INFERRED and not name.startswith(HIDDEN)]
        return {name for name in looked_at if kind_of(name) != self.kinds[name]}

"""A store of a test: real columns made from raw samples by the twin of the windows, and the lists a store keeps.

It says what `hms_ops.alert.source.Store` asks, so rules can be evaluated without a collector. `add` and `remove` are
the births and deaths of series; nothing is sealed but by `seal`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tests.reference import windows

from hms_ops._sketch import from_values, quantiles

KINDS = ("unknown", "counter", "gauge", "timer", "histogram", "distribution", "set")


@dataclass(frozen=True)
class Series:
    name: str
    tags: dict[str, str]


@dataclass
class Fleet:
    """samples: float64[n, 3] by slot: second, value, weight. tags_read counts the calls of `series`, sketches_read
    those for sketches."""

    first_second: int
    capacity: int = 16
    kinds: dict[str, str] = field(default_factory=dict)
    samples: windows.Samples = field(default_factory=dict)
    tags_read: int = 0
    sketches_read: int = 0
    changes_max: int = 1_000_000  # more than this are forgotten, as a store does

    def __post_init__(self) -> None:
        self._series: dict[int, Series] = {}
        self._changes: list[tuple[int, bool]] = []
        self.seal(self.first_second)

    def add(self, name: str, tags: dict[str, str], samples: Sequence[tuple[float, ...]] = (), slot: int = -1) -> int:
        """A series is born; samples are (second, value) or (second, value, weight). Takes the lowest free slot."""
        free = next(n for n in range(self.capacity) if n not in self._series)
        slot = free if slot < 0 else slot
        self._series[slot] = Series(name, tags)
        self.samples[slot] = np.array([(*s, 1.0)[:3] for s in samples], np.float64).reshape(-1, 3)
        self._changes.append((slot, True))
        return slot

    def remove(self, slot: int) -> None:
        """A series is gone; its slot is free."""
        del self._series[slot], self.samples[slot]
        self._changes.append((slot, False))

    def seal(self, end: int) -> None:
        """All seconds before `end` are sealed."""
        self.sealed_second = end - 1
        self.cols, self.last_value, self.last_second = windows.columns(self.samples, self.capacity, end)

    def slots(self, name: str) -> NDArray[np.int32]:
        return np.array(sorted(slot for slot, series in self._series.items() if series.name == name), np.int32)

    def series(self, slot: int) -> Series:
        self.tags_read += 1
        return self._series[slot]

    def metric_kind(self, name: str) -> int:
        return KINDS.index(self.kinds.get(name, "unknown"))

    def distinct(self, slots: Sequence[int], tiers: NDArray[np.int64], steps: NDArray[np.int64]) -> float:
        seconds = np.array(windows.STEPS)[tiers]
        members = [
            windows.between(self.samples[slot], step * length, (step + 1) * length)[:, 1]
            for slot in slots
            for step, length in zip(steps, seconds, strict=True)
        ]
        return float(len(set(np.concatenate([*members, np.empty(0)]).tolist())))

    def sketch_groups(
        self, slots: NDArray[np.int32], group_offset: NDArray[np.int64], start: int, end: int
    ) -> list[bytes]:
        """Made anew from the raw samples of each group."""
        self.sketches_read += 1
        first = start - start % (60 if end - start > 600 else 10)
        blobs = []
        for low, high in pairwise(group_offset.tolist()):
            parts = [windows.between(self.samples[slot], first, end) for slot in slots[low:high].tolist()]
            samples = np.concatenate([*parts, np.empty((0, 3))])
            blobs.append(from_values(samples[:, 1].copy(), samples[:, 2].copy()) if len(samples) else b"")
        return blobs

    def sketch_quantiles(
        self,
        slots: NDArray[np.int32],
        group_offset: NDArray[np.int64],
        start: int,
        end: int,
        ranks: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], int]:
        blobs = self.sketch_groups(slots, group_offset, start, end)
        found = [quantiles(blob, ranks) if blob else np.full(len(ranks), np.nan) for blob in blobs]
        return np.array(found).reshape(len(blobs), len(ranks)), start

    def metrics(self) -> list[str]:
        return sorted({series.name for series in self._series.values()})

    def changes(self, cursor: int) -> tuple[int, list[tuple[int, bool]]]:
        """Like a store's: a reader that slept through too much gets what lives, as born again."""
        if len(self._changes) - cursor > self.changes_max:
            return len(self._changes), [(slot, True) for slot in sorted(self._series)]
        return len(self._changes), self._changes[cursor:]

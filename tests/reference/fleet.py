"""A store of a test: real columns made from raw samples by the twin of the windows, and the lists a store keeps.

It says what `hms_ops.alert.source.Store` asks, so rules can be evaluated without a collector. `add` and `remove` are
the births and deaths of series; nothing is sealed but by `seal`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tests.reference import windows

KINDS = ("unknown", "counter", "gauge", "timer", "histogram", "distribution", "set")


@dataclass(frozen=True)
class Series:
    name: str
    tags: dict[str, str]


@dataclass
class Fleet:
    """samples: float64[n, 3] by slot: second, value, weight. tags_read counts the calls of `series`."""

    first_second: int
    capacity: int = 16
    kinds: dict[str, str] = field(default_factory=dict)
    samples: windows.Samples = field(default_factory=dict)
    tags_read: int = 0
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

    def metrics(self) -> list[str]:
        return sorted({series.name for series in self._series.values()})

    def changes(self, cursor: int) -> tuple[int, list[tuple[int, bool]]]:
        """Like a store's: a reader that slept through too much gets what lives, as born again."""
        if len(self._changes) - cursor > self.changes_max:
            return len(self._changes), [(slot, True) for slot in sorted(self._series)]
        return len(self._changes), self._changes[cursor:]

"""A twin that keeps every sample of a store's timers, and short ways to sketches.

A window of the store is right when its sketch is, byte for byte, that of the twin's samples.
"""

import itertools
import json
from collections.abc import Iterable

from tests.stores import move_to

from hms_ops import _sketch
from hms_ops._ring import Store

WINDOWS = (1, 7, 10, 15, 60, 299, 600, 601, 900, 1800, 3600)


def tick(store: Store, now: int) -> None:
    """What the tick does for sketches: seal, merge late samples, close steps."""
    move_to(store, now)
    store.merge_late()
    close_steps(store, now)


def close_steps(store: Store, now: int) -> None:
    for tier, seconds in ((1, 10), (2, 60)):
        for step in range(store.rolled_end(tier) // seconds, now // seconds):
            store.set_rolled(tier, step)


def tick_through(store: Store, now: int) -> None:
    for second in range(store.sealed_second + 2, now + 1):
        tick(store, second)


def sketch_of(store: Store, name: str, seconds: int) -> bytes:
    end = store.sealed_second + 1
    slots = store.slots(name)
    return store.sketch_groups(slots, [0, len(slots)], end - seconds, end)[0]


def count_of(store: Store, name: str, seconds: int = 3600) -> float:
    return _sketch.count(sketch_of(store, name, seconds))


def lost(store: Store) -> int:
    return store.counters()["sketch_samples_lost"]


class Twin:
    """Every sample of every series as (second, value, weight)."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[int, float, float]]] = {}

    def add(self, name: str, second: int, values: Iterable[float], weight: float = 1.0) -> None:
        self.samples.setdefault(name, []).extend((second, value, weight) for value in values)

    def sketch(self, name: str, start: int, end: int) -> bytes:
        chosen = [(value, weight) for second, value, weight in self.samples.get(name, []) if start <= second < end]
        return _sketch.from_values([value for value, _ in chosen], [weight for _, weight in chosen])

    def begin(self, end: int, seconds: int) -> int:
        """A window's start, rounded down."""
        step = 10 if seconds <= 600 else 60
        return (end - seconds) // step * step


def assert_windows_are_the_twins(store: Store, twin: Twin, windows: Iterable[int] = WINDOWS) -> None:
    end = store.sealed_second + 1
    for name, seconds in itertools.product(twin.samples, windows):
        expected = twin.sketch(name, twin.begin(end, seconds), end)
        assert sketch_of(store, name, seconds) == expected, (name, seconds)
    assert lost(store) == 0


def stamped(name: str, value: float, second: float) -> bytes:
    return json.dumps({"metric": name, "kind": "timer", "value": value, "time": second}).encode()

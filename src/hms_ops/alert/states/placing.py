"""Which instance has which place in the arrays: the evaluation's keys first, behind them what is evaluated no longer.

    keys of the evaluation      0 … placed      condition, recover, value of the tick
    unplaced: the series went   placed …        live or remembered; dropped once nothing of it is

Instances that have ended are remembered for `REMEMBERED_SECONDS`, so that no episode is numbered twice.
Limits: as many are remembered as may live; beyond, what ended first is forgotten.
Cost: 30 ms when the keys change among 100,000 of which some are live or remembered, nothing while they are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np

from hms_ops.alert.states.instance import Key
from hms_ops.alert.states.places import At, Places
from hms_ops.alert.states.state import AlertState
from hms_ops.kernels.phases import CHANGED, ENDED, EPISODE, INACTIVE

REMEMBERED_SECONDS: Final = 15 * 60
UNPLACED_DEAD_MAX: Final = 1_000  # places behind the keys of which nothing is remembered


class Placing:
    """The keys of all places. Not thread-safe: the book's lock is held."""

    def __init__(self, remembered_max: int) -> None:
        self.remembered_max = remembered_max
        self.places = Places(0)
        self.placed = 0
        self.gone: list[Key] = []  # left out of the arrays with a record on disk
        self._keys: Sequence[Key] = ()
        self._unplaced: list[Key] = []
        self._forget_at = 0

    def key(self, place: int) -> Key:
        return self._keys[place] if place < self.placed else self._unplaced[place - self.placed]

    def follow(self, keys: Sequence[Key], rows: Mapping[str, int]) -> None:
        """Lay the places out in the order of `keys`, unless they are the same object. rows: the row of each rule."""
        if keys is not self._keys or len(keys) != self.placed:
            self.lay_out(keys, rows)

    def lay_out(self, keys: Sequence[Key], rows: Mapping[str, int]) -> None:
        self._forget_oldest()
        tracked = self._tracked()
        names = [self.key(place) for place in tracked.tolist()]
        at = {key: place for place, key in enumerate(keys)} if names else {}
        unplaced = [key for key in names if key not in at]
        at |= {key: len(keys) + n for n, key in enumerate(unplaced)}
        places = Places(len(keys) + len(unplaced))
        self.places.copy(tracked, places, np.array([at[key] for key in names], np.intp))
        self._keys, self._unplaced, self.places, self.placed = keys, unplaced, places, len(keys)
        self._find_rules(rows)

    def append(self, keys: Iterable[Key], rows: Mapping[str, int]) -> range:
        """New places behind all others, in the order of `keys`."""
        begin = len(self.places)
        self._unplaced += keys
        places = Places(self.placed + len(self._unplaced))
        everywhere = np.arange(begin)
        self.places.copy(everywhere, places, everywhere)
        self.places = places
        self._find_rules(rows)
        self._forget_at = 0
        return range(begin, len(places))

    def remember(self, ended: Sequence[tuple[Key, AlertState, int]], rows: Mapping[str, int]) -> None:
        """Take (key, state, second it ended at) of instances of which only the episode's number matters."""
        for place, (_, state, second) in zip(self.append([key for key, *_ in ended], rows), ended, strict=True):
            self.places.put(place, state)
            self.remember_end(place, second)

    def remember_end(self, place: int, second: int) -> None:
        self.places.clocks[ENDED, place] = second

    def take(self, key: Key) -> int:
        """The latest episode of one that is evaluated no longer, which is not remembered here from now on."""
        if key not in self._unplaced:
            return 0
        place = self.placed + self._unplaced.index(key)
        episode = int(self.places.clocks[EPISODE, place])
        self.places.clocks[EPISODE, place] = 0
        self.places.marks[place] = 0
        return episode

    def forget(self, now: int, rows: Mapping[str, int]) -> None:
        """Forget what ended `REMEMBERED_SECONDS` ago."""
        if now < self._forget_at:
            return
        remembered = self.places.remembered()
        is_over = self.places.clocks[ENDED, remembered] <= now - REMEMBERED_SECONDS
        self._forget_places(remembered[is_over])
        left = self.places.clocks[ENDED, remembered[~is_over]]
        self._forget_at = (int(left.min()) if len(left) else now) + REMEMBERED_SECONDS
        self._drop_dead(rows)

    def move_clocks(self, seconds: int) -> None:
        self.places.move_clocks(seconds)
        self._forget_at = 0

    def _find_rules(self, rows: Mapping[str, int]) -> None:
        found = (rows.get(key[0], -1) for key in chain(self._keys, self._unplaced))
        self.places.rule = np.fromiter(found, np.int32, len(self.places))

    def _tracked(self) -> At:
        """The places that a new order must keep; the others' records must go."""
        places = self.places
        is_tracked = (places.phase != INACTIVE) | (places.clocks[EPISODE] != 0)
        dropped = np.flatnonzero(~is_tracked & ((places.marks & CHANGED) != 0))
        self.gone += [self.key(place) for place in dropped.tolist()]
        return np.flatnonzero(is_tracked)

    def _forget_oldest(self) -> None:
        remembered = self.places.remembered()
        if (more := len(remembered) - self.remembered_max) > 0:
            order = np.argsort(self.places.clocks[ENDED, remembered], kind="stable")
            self._forget_places(remembered[order[:more]])

    def _forget_places(self, at: At) -> None:
        self.places.clocks[EPISODE, at] = 0
        self.places.marks[at] |= CHANGED

    def _drop_dead(self, rows: Mapping[str, int]) -> None:
        """Lay out anew when most places behind the keys remember nothing."""
        behind = slice(self.placed, None)
        is_dead = (self.places.phase[behind] == INACTIVE) & (self.places.clocks[EPISODE, behind] == 0)
        dead = int(np.count_nonzero(is_dead))
        if dead > UNPLACED_DEAD_MAX and dead > len(self._unplaced) // 2:
            self.lay_out(self._keys, rows)

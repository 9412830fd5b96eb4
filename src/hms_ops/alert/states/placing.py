"""Which instance has which place in the arrays: the evaluation's keys first, behind them what is evaluated no longer.

    keys of the evaluation      0 … placed      condition, recover, value of the tick
    unplaced: the series went   placed …        live or remembered; dropped once nothing of it is

Instances that have ended are remembered for `REMEMBERED_SECONDS`, so that no episode is numbered twice.
Limits: as many are remembered as may live; beyond, what ended first is forgotten.
An evaluation hands over the same key objects while its instances are the same, so after a change nearly all are found
by what they are, and only the others by what they say.
Cost: 12 ms when the keys change among 100,000, whether live or not, nothing while they are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.states.instance import Key
from hms_ops.alert.states.places import At, Places
from hms_ops.alert.states.state import AlertState
from hms_ops.kernels.phases import CHANGED, ENDED, EPISODE, INACTIVE

REMEMBERED_SECONDS: Final = 15 * 60
UNPLACED_DEAD_MAX: Final = 1_000  # places behind the keys of which nothing is remembered

Ids = NDArray[np.int64]


class Placing:
    """The keys of all places. Not thread-safe: the book's lock is held."""

    def __init__(self, remembered_max: int) -> None:
        self.remembered_max = remembered_max
        self.places = Places(0)
        self.placed = 0
        self.gone: list[Key] = []  # left out of the arrays with a record on disk
        self._keys: Sequence[Key] = ()
        self._ids = _ids_of(())  # of the keys
        self._rows: Mapping[str, int] = {}
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
        ids = _ids_of(keys)
        known = found_again(np.concatenate((self._ids, _ids_of(self._unplaced))), ids)
        is_found = np.zeros(len(self.places), np.bool_)
        is_found[known[known >= 0]] = True
        left = {self.key(place): place for place in tracked[~is_found[tracked]].tolist()}
        if left:
            for at in np.flatnonzero(known < 0).tolist():
                known[at] = left.pop(keys[at], -1)
        self._arrange(keys, ids, known, left, rows)

    def _arrange(
        self, keys: Sequence[Key], ids: Ids, known: Ids, left: Mapping[Key, int], rows: Mapping[str, int]
    ) -> None:
        """Take this order. known: the place of each key so far, -1 for none; left: the places of what has no key any
        more."""
        source = np.concatenate((known, np.fromiter(left.values(), np.int64, len(left))))
        at = np.flatnonzero(source >= 0)
        at_rules = at if rows is self._rows else at[:0]
        places, unplaced = Places(len(source)), list(left)
        places.rule[at_rules] = self.places.rule[source[at_rules]]
        at = at[self._is_tracked()[source[at]]]
        self.places.copy(source[at], places, at)
        self._keys, self._ids, self._unplaced = keys, ids, unplaced
        self.places, self.placed = places, len(keys)
        self._find_rules(rows, np.setdiff1d(np.arange(len(source)), at_rules, assume_unique=True))

    def append(self, keys: Iterable[Key], rows: Mapping[str, int]) -> range:
        """New places behind all others, in the order of `keys`."""
        begin = len(self.places)
        self._unplaced += keys
        places = Places(self.placed + len(self._unplaced))
        everywhere = np.arange(begin)
        self.places.copy(everywhere, places, everywhere)
        self.places = places
        self._find_rules(rows, np.arange(len(places)))
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

    def _find_rules(self, rows: Mapping[str, int], at: At) -> None:
        found = (rows.get(self.key(place)[0], -1) for place in at.tolist())
        self.places.rule[at] = np.fromiter(found, np.int32, len(at))
        self._rows = rows

    def _is_tracked(self) -> NDArray[np.bool_]:
        """Whether a new order must keep what a place has."""
        is_tracked: NDArray[np.bool_] = (self.places.phase != INACTIVE) | (self.places.clocks[EPISODE] != 0)
        return is_tracked

    def _tracked(self) -> At:
        """The places that a new order must keep; the others' records must go."""
        is_tracked = self._is_tracked()
        dropped = np.flatnonzero(~is_tracked & ((self.places.marks & CHANGED) != 0))
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


def _ids_of(keys: Sequence[Key]) -> Ids:
    """What tells the objects apart, as long as somebody holds them."""
    return np.fromiter(map(id, keys), np.int64, len(keys))


def found_again(before: Ids, after: Ids) -> Ids:
    """int64[len(after)]: where each of `after` stands in `before`, -1 where it does not; each is there once at most."""
    found = np.full(len(after), -1, np.int64)
    shared = min(len(before), len(after))
    differs = np.flatnonzero(before[:shared] != after[:shared])
    head = int(differs[0]) if len(differs) else shared
    found[:head] = np.arange(head)  # a key more or less moves all behind it: those in front need no search
    rest = before[head:]
    order = np.argsort(rest)
    at = np.searchsorted(rest, after[head:], sorter=order)
    candidates = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(0, np.intp)
    if len(candidates):
        found[head:] = np.where(rest[candidates] == after[head:], head + candidates, -1)
    return found

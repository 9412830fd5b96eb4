"""A second's cells of many groups of series, pooled: array in, array out; and the members of sets, counted.

    columns   float64[6, capacity]   one second of the store's tier 0: COUNT SUM M2 MIN MAX LAST by slot
    slots     int32[k]               the groups' series, group after group
    owner     int32[k]               whose each is, ascending

Where COUNT is 0 the other fields are undefined and not looked at. A group without a sample in the second has no row.
What is read may be merged into meanwhile, a late sample at a time; nothing is locked.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops._ring import Store

COUNT: Final = 0
SUM: Final = 1
MIN: Final = 3
MAX: Final = 4
LAST: Final = 5
SECONDS_TIER: Final = np.zeros(1, np.int64)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pooled:
    """The groups that have samples, ascending, with the figures of each. last: the mean of their series' last values;
    last_max: the greatest of them."""

    groups: NDArray[np.int32]
    count: Floats
    sum: Floats
    min: Floats
    max: Floats
    last: Floats
    last_max: Floats

    def value(self, kind: NDArray[np.int8], is_rule: NDArray[np.bool_]) -> Floats:
        """The representative number of each: a counter's sum, a gauge's last, of the gauge of a rule 1 while any fires,
        of all others the mean. kind, is_rule: by group."""
        kinds_here = kind[self.groups]
        value = np.where(kinds_here == kinds.COUNTER, self.sum, self.sum / self.count)
        value = np.where(kinds_here == kinds.GAUGE, self.last, value)
        return np.where(is_rule[self.groups], self.last_max, value)


def pool(columns: Floats, slots: NDArray[np.int32], owner: NDArray[np.int32]) -> Pooled:
    """The cost: five passes over the series that have samples, and one over all; numpy holds no GIL in them."""
    counts = columns[COUNT].take(slots)
    seen = np.flatnonzero(counts > 0.0)
    at, whose, counts = slots[seen], owner[seen], counts[seen]
    begins = np.flatnonzero(np.diff(whose, prepend=np.int32(-1)))
    sizes = np.diff(begins, append=len(whose))
    lasts = columns[LAST].take(at)
    return Pooled(
        whose[begins],
        np.add.reduceat(counts, begins),
        np.add.reduceat(columns[SUM].take(at), begins),
        np.minimum.reduceat(columns[MIN].take(at), begins),
        np.maximum.reduceat(columns[MAX].take(at), begins),
        np.add.reduceat(lasts, begins) / np.maximum(sizes, 1),
        np.maximum.reduceat(lasts, begins),
    )


def distinct_in(store: Store, slots: NDArray[np.int32], second: int) -> float:
    """How many members all these set series have together in a second, as an estimate; 0 where they have none."""
    return store.distinct(slots, SECONDS_TIER, np.array([second], np.int64))

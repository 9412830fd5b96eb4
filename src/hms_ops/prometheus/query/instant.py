"""What an expression comes to at each time: numbers, one or one for each set of labels.

    Scalar     float64[times]
    Instant    labels of each element; values float64[elements, times]; there bool[elements, times]
    Text       a string

NaN is a value, as in PromQL: 0/0 is there. What is not there is False in `there`, whatever its value says.
Pure; arrays and labels are not changed once they are in one of these. What labels are matched by is found once for all
vectors that have them from one another: an expression of many operators over the same series has one set of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import eq
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.prometheus.query.refused import EXECUTION, Refused
from hms_ops.prometheus.query.slots import Floats
from hms_ops.prometheus.selection import NAME

Labels: TypeAlias = Mapping[str, str]
Key: TypeAlias = tuple[tuple[str, str], ...]
Truths: TypeAlias = NDArray[np.bool_]
By: TypeAlias = Callable[[Labels], Key]
"""What labels are matched by; two that are equal do the same."""


class Matched(NamedTuple):
    """keys: of each element; rows: the elements of each key."""

    keys: list[Key]
    rows: dict[Key, list[int]]


@dataclass(frozen=True, slots=True)
class Scalar:
    values: Floats


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Instant:
    labels: Sequence[Labels]
    values: Floats
    there: Truths
    _matched: dict[By, Matched] = field(default_factory=dict, repr=False)  # of the labels, and shared with them

    def matched(self, by: By) -> Matched:
        """The keys of its labels."""
        found = self._matched.get(by)
        if found is None:
            found = self._matched[by] = Matched(list(map(by, self.labels)), {})
            for number, key in enumerate(found.keys):
                found.rows.setdefault(key, []).append(number)
        return found

    def alike(self, values: Floats, there: Truths) -> "Instant":
        """Other numbers of the same elements."""
        return Instant(self.labels, values, there, self._matched)

    def rows(self, chosen: Sequence[int]) -> "Instant":
        """Some of its elements."""
        if len(chosen) == len(self.labels) and all(map(eq, chosen, range(len(chosen)))):
            return self
        index = np.array(chosen, np.intp)
        return Instant([self.labels[n] for n in chosen], self.values[index], self.there[index])


Value: TypeAlias = Scalar | Instant | Text


def key_of(labels: Labels, left_out: Iterable[str] = ()) -> Key:
    """What two sets of labels are the same by."""
    gone = set(left_out)
    return tuple(sorted((name, value) for name, value in labels.items() if name not in gone))


def nameless(labels: Labels) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != NAME}


def renamed(found: Instant, values: Floats, there: Truths | None = None) -> Instant:
    """Calculated of an instant vector, so no longer the metric it was."""
    there = found.there if there is None else there
    if are_nameless(found.labels):
        return unique(found.alike(values, there))
    return unique(Instant([nameless(labels) for labels in found.labels], values, there))


def are_nameless(labels: Sequence[Labels]) -> bool:
    return not any(NAME in one for one in labels)


def unique(found: Instant) -> Instant:
    """The same, as long as no two elements have the same labels at one time; those that take turns are one."""
    return merged(found, key_of, "vector cannot contain metrics with the same labelset")


def merged(found: Instant, by: By, problem: str) -> Instant:
    """One element for each key, of those that take turns. Refused with `problem` where two are there at once."""
    groups = check_apart(found, by, problem)
    if len(groups) == len(found.labels):
        return found
    values, there = found.values.copy(), found.there.copy()
    for first, *others in groups.values():
        for other in others:
            values[first] = np.where(there[other], values[other], values[first])
            there[first] |= there[other]
    return found.alike(values, there).rows([numbers[0] for numbers in groups.values()])


def check_apart(found: Instant, by: By, problem: str) -> Mapping[Key, list[int]]:
    """The elements of each key. Refused with `problem` where two are there at once."""
    groups = found.matched(by).rows
    if len(groups) == len(found.labels):
        return groups
    if any(len(rows) > 1 and (found.there[rows].sum(axis=0) > 1).any() for rows in groups.values()):
        raise Refused(EXECUTION, problem)
    return groups


def nothing(times: int) -> Instant:
    return Instant([], np.empty((0, times)), np.empty((0, times), bool))

"""Aggregations over series: sum by (agency) (…) and its like, at all times at once.

Rows of one group are laid side by side and folded by ufunc.reduceat; quantiles and the k largest go group by group.
What is not there counts for nothing; NaN that is there makes a sum NaN, and is passed over by min and max. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hms_ops.prometheus.query.instant import Instant, Key, Labels, Truths, key_of
from hms_ops.prometheus.query.refused import EXECUTION, Refused
from hms_ops.prometheus.query.slots import Floats
from hms_ops.prometheus.query.windows import quantiles
from hms_ops.prometheus.selection import NAME

Members = list[list[int]]
INT64: Final = 2.0**63


@dataclass(frozen=True, slots=True)
class Groups:
    """labels of each group, and the rows of its elements."""

    labels: list[dict[str, str]]
    members: Members

    @property
    def order(self) -> Sequence[int]:
        """All rows, group after group."""
        return [row for rows in self.members for row in rows]

    @property
    def starts(self) -> Any:
        return np.cumsum([0, *map(len, self.members[:-1])])


def grouped(found: Instant, names: Iterable[str], is_without: bool) -> Groups:
    """By the labels that stay."""
    wanted = set(names)
    labels: dict[Key, dict[str, str]] = {}
    members: dict[Key, list[int]] = {}
    for row, own in enumerate(found.labels):
        kept = stays(own, wanted, is_without)
        key = key_of(kept)
        labels.setdefault(key, kept)
        members.setdefault(key, []).append(row)
    return Groups(list(labels.values()), list(members.values()))


def stays(labels: Labels, names: Set[str], is_without: bool) -> dict[str, str]:
    if is_without:
        return {name: value for name, value in labels.items() if name not in names and name != NAME}
    return {name: value for name, value in labels.items() if name in names}


@dataclass(frozen=True, slots=True)
class Staying:
    """`stays` for these names, as a value."""

    names: frozenset[str]
    is_without: bool

    def __call__(self, labels: Labels) -> dict[str, str]:
        return stays(labels, self.names, self.is_without)


def aggregated(operator: str, found: Instant, groups: Groups) -> Instant:
    """One element for each group, there where any of its elements is."""
    order = np.array(groups.order, np.intp)
    values, there = found.values[order], found.there[order]
    count = np.add.reduceat(there.astype(float), groups.starts, axis=0)
    made = FOLDS[operator](values, there, count, groups)
    return Instant(groups.labels, made, count > 0)


def _sum(values: Floats, there: Truths, groups: Groups) -> Floats:
    found: Floats = np.add.reduceat(np.where(there, values, 0.0), groups.starts, axis=0)
    return found


def _mean(values: Floats, there: Truths, count: Floats, groups: Groups) -> Floats:
    return _sum(values, there, groups) / np.where(count > 0, count, np.nan)


def _variance(values: Floats, there: Truths, count: Floats, groups: Groups) -> Floats:
    """Around the group's own mean, so that a large offset costs no digits."""
    mean = np.repeat(_mean(values, there, count, groups), list(map(len, groups.members)), axis=0)
    away = values - mean
    return _mean(away * away, there, count, groups)


def _extreme(ufunc: Any) -> "Fold":
    def fold(values: Floats, there: Truths, count: Floats, groups: Groups) -> Floats:
        found: Floats = ufunc.reduceat(np.where(there, values, np.nan), groups.starts, axis=0)
        return found

    return fold


Fold = Callable[[Floats, Truths, Floats, Groups], Floats]

FOLDS: Final[Mapping[str, Fold]] = {
    "sum": lambda values, there, count, groups: _sum(values, there, groups),
    "avg": _mean,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "count": lambda values, there, count, groups: count,
    "group": lambda values, there, count, groups: np.ones_like(count),
    "stdvar": _variance,
    "stddev": lambda values, there, count, groups: np.sqrt(_variance(values, there, count, groups)),
}


def quantile(ranks: Floats, found: Instant, groups: Groups) -> Instant:
    """ranks: float64[times]."""
    made = np.full((len(groups.members), found.values.shape[1]), np.nan)
    there = np.zeros(made.shape, bool)
    for group, rows in enumerate(groups.members):
        has = found.there[rows]
        ordered = np.sort(np.where(has, found.values[rows], np.nan), axis=0)
        made[group], there[group] = quantiles(ranks, ordered.T[None])[0], has.any(axis=0)
    return Instant(groups.labels, made, there)


def largest(operator: str, counts: Floats, found: Instant, groups: Groups) -> Instant:
    """topk and bottomk: the elements themselves, each where it is among the `counts` first (float64[times], their whole
    parts)."""
    endless = counts[~(np.abs(counts) < INT64)]
    if len(endless):
        raise Refused(EXECUTION, f"Scalar value {endless[0]:g} overflows int64")
    there = np.zeros(found.there.shape, bool)
    sign = -1.0 if operator == "topk" else 1.0
    for rows in groups.members:
        keys = np.where(found.there[rows], sign * found.values[rows], np.inf)
        keys = np.where(np.isnan(keys), np.inf, keys)
        place = np.argsort(np.argsort(keys, axis=0, kind="stable"), axis=0, kind="stable")
        there[rows] = found.there[rows] & (place < np.trunc(counts))
    kept = np.flatnonzero(there.any(axis=1)).tolist()
    return Instant(found.labels, found.values, there).rows(kept)

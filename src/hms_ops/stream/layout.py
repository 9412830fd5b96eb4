"""Where the cells of some streams come from: groups of series, as flat arrays that `pooling` takes.

A group is a metric whose series are pooled, or one series; streams that want the same group share it. Pooled groups
come first, by name, then series, by name and place in the store. Pure: built anew whenever series, kinds, rules or
streams change.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.stream.wanted import Wanted

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Layout:
    """metrics: the pooled groups' names. series: the slots of the groups behind them. slots, owner: as `pool` takes
    them, without sets. sets: (group, its slots). kind, is_rule: by group. rows: the groups of each stream, in order."""

    metrics: list[str]
    series: Ints
    slots: Ints
    owner: Ints
    sets: list[tuple[int, Ints]]
    kind: NDArray[np.int8]
    is_rule: NDArray[np.bool_]
    rows: Mapping[Wanted, Ints]


def layout_of(
    slots: Mapping[str, Ints], kind_of: Mapping[str, int], wanted: Iterable[Wanted], rules: Collection[str]
) -> Layout:
    """slots, kind_of: by metric, as `Members` has them; rules: metrics that are the gauges of rules."""
    every, known = list(wanted), sorted(name for name in slots if len(slots[name]))
    meant = {names: names.among(known) for one in every for names in (one.pooled, one.by_series)}
    pooled = sorted({name for one in every for name in meant[one.pooled]})
    split = sorted({name for one in every for name in meant[one.by_series]})
    series = joined([slots[name] for name in split])
    # A pooled metric is one group of many slots, one by series as many groups of one slot.
    sizes = np.array([len(slots[name]) for name in pooled] + [1] * len(series), np.int64)
    groups_of = np.array([1] * len(pooled) + [len(slots[name]) for name in split], np.int64)
    flat = np.concatenate([joined([slots[name] for name in pooled]), series])
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    names = [*pooled, *split]
    kind = np.repeat(np.array([kind_of[name] for name in names], np.int8), groups_of)
    is_rule = np.repeat(np.array([name in rules for name in names], np.bool_), groups_of)
    has_values = (kind != kinds.SET)[owner]
    first = dict(zip(names[: len(pooled)], range(len(pooled)), strict=True))
    spans = spans_of(split, slots, len(pooled))
    rows = {one: rows_of(meant[one.pooled], meant[one.by_series], first, spans) for one in every}
    sets = sets_of(kind, sizes, flat)
    return Layout(pooled, series, flat[has_values], owner[has_values], sets, kind, is_rule, rows)


def spans_of(names: Sequence[str], slots: Mapping[str, Ints], begin: int) -> dict[str, Ints]:
    """The groups of each metric that is wanted by series."""
    spans = {}
    for name in names:
        spans[name] = np.arange(begin, begin + len(slots[name]), dtype=np.int32)
        begin += len(slots[name])
    return spans


def rows_of(
    pooled: Iterable[str], by_series: Iterable[str], first: Mapping[str, int], spans: Mapping[str, Ints]
) -> Ints:
    return joined([np.array([first[name] for name in pooled], np.int32), *(spans[name] for name in by_series)])


def sets_of(kind: NDArray[np.int8], sizes: NDArray[np.int64], flat: Ints) -> list[tuple[int, Ints]]:
    ends = np.cumsum(sizes)
    return [
        (group, flat[ends[group] - sizes[group] : ends[group]]) for group in np.flatnonzero(kind == kinds.SET).tolist()
    ]


def joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int32), *parts])

"""Percentiles and shares of history: the sketches of many series merged by group and step, and read.

Read by query.py, after steps.py has made the columns' statistics of the same groups and steps: these say which steps
have samples at all, and the MIN and MAX no figure goes beyond. Sketches come from past.py a chunk at a time; merging
them is exact, so a figure is right within 2.2 % however many series and steps it pools.

Limits: SKETCHES_MAX sketches read for one selector, else ValueError. Threads: any.
Not here: the figures of rules and of the value now (alert/sketched.py), those over windows (trailing_figures.py).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from hms_ops._sketch import merge_groups, quantiles_of_groups
from hms_ops.alert.figure import Figure
from hms_ops.alert.sketched import clamped, shares
from hms_ops.past import Past, row_seconds_of
from hms_ops.sketches import Sketches
from hms_ops.steps import LAST, Chosen, Floats, Grid, Integers

SKETCHES_MAX: Final = 5_000_000  # read for one selector: some twenty seconds
CHUNK_SKETCHES: Final = 50_000  # read at once: about 20 MB


def figure_stats(
    figures: Sequence[Figure], chosen: Chosen, kept: Integers, stats: Floats, grid: Grid, past: Past
) -> list[Floats]:
    """For each figure float64[len(kept), steps, 8] with it as LAST; `stats` are those of the columns of the groups
    `kept` (ascending indexes), NaN where a step has no samples or its sketches are not kept."""
    made = [stats.copy() for _ in figures]
    for one in made:
        one[:, :, LAST] = np.nan
    place = np.full(len(chosen.keys), -1)
    place[kept] = np.arange(len(kept))
    count = 0
    for part in _chunks(chosen, grid, past):
        count += len(part)
        if count > SKETCHES_MAX:
            raise ValueError(
                f"the query reads more than {SKETCHES_MAX} sketches: choose fewer series or a shorter range"
            )
        cells = (part.steps - grid.start) // grid.step
        fill_figures(figures, part, place[chosen.group[part.ids]] * grid.count + cells, made)
    return made


def _chunks(chosen: Chosen, grid: Grid, past: Past) -> Iterator[Sketches]:
    """The sketches of a selector's series, never a step of the grid in two."""
    size = max(1, CHUNK_SKETCHES // max(1, len(chosen.series)) * row_seconds_of(grid.step) // grid.step) * grid.step
    for at in range(grid.start, grid.end, size):
        yield past.sketches(chosen.series, at, min(at + size, grid.end), grid.step)


def fill_figures(figures: Sequence[Figure], part: Sketches, where: Integers, made: Sequence[Floats]) -> None:
    """Merge the sketches that belong together, and put what is asked of them where they belong: int64[k], indexes
    into the flattened steps of the groups; below 0 for a group that is not kept."""
    order = np.flatnonzero(where >= 0)
    order = order[np.argsort(where[order], kind="stable")]
    targets, first = np.unique(where[order], return_index=True)
    if not len(targets):
        return
    ordered = part.chosen(order)
    sketches = ordered.data, ordered.offsets, np.append(first, len(order))
    ranks = np.unique([figure.at for figure in figures if figure.sort == "quantile"])
    quantiles = quantiles_of_groups(*sketches, ranks) if len(ranks) else np.empty((len(targets), 0))
    blobs = _merged(*sketches) if len(ranks) < len(figures) else []
    for figure, stats in zip(figures, made, strict=True):
        flat = stats.reshape(-1, 8)
        if figure.sort == "quantile":
            flat[targets, LAST] = clamped(quantiles[:, np.searchsorted(ranks, figure.at)], figure.at, flat[targets])
        else:
            flat[targets, LAST] = shares(figure, blobs, flat[targets])


def _merged(data: bytes, offsets: Integers, group_offset: Integers) -> list[bytes]:
    data, offsets = merge_groups(data, offsets, group_offset)
    return [data[low:high] for low, high in pairwise(offsets.tolist())]

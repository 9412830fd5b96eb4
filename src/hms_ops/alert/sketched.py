"""The figures of rules and of the value now: percentiles and shares of whole groups, read off the store's sketches.

A figure has a group of its own in `stats`: the window kernel puts the group's COUNT, MIN and MAX there, and
`fill_figures` the number as LAST, where the program finds it. So figures cost nothing where no rule has one.

A sketch is of a step of 10 s, and of 60 s for windows of more than ten minutes: so a figure's window begins at such a
step, at most so much before `end - d`, and its columns are read over the same seconds (`kernels.window`). Sketches are
right within 2.2 % of a value; MIN and MAX are exact, and no quantile lies outside of them.

Data: NaN is NULL; a figure is NULL where the window has no samples. Threads: any.
Not here: the sketches themselves (`_sketch`, and the store that makes them), figures of history (hms_ops.figures).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops._sketch import share_le
from hms_ops.alert.figure import Figure
from hms_ops.alert.source import Source, Store
from hms_ops.kernels.window import COUNT, LAST, MAX, MIN


class FigureGroups(NamedTuple):
    """The figures of a source over a window of so many seconds; `first`: of each, where its groups begin in `stats`."""

    seconds: int
    source: Source
    figures: tuple[Figure, ...]
    first: tuple[int, ...]


def fill_figures(wanted: Sequence[FigureGroups], store: Store, end: int, stats: NDArray[np.float64]) -> None:
    """Put the figures of all groups as LAST into `stats` (float64[G, 8], whose MIN and MAX are those of the groups),
    over windows that end before second `end`."""
    for one in wanted:
        first, groups = one.first[0], len(one.source.keys)
        live = np.flatnonzero(stats[first : first + groups, COUNT] > 0)
        span = *_members(one.source, live), end - one.seconds, end
        ranks = np.unique([figure.at for figure in one.figures if figure.sort == "quantile"])
        quantiles = store.sketch_quantiles(*span, ranks)[0] if len(ranks) else np.empty((len(live), 0))
        blobs = store.sketch_groups(*span) if len(ranks) < len(one.figures) else []
        for figure, first in zip(one.figures, one.first, strict=True):
            into = stats[first : first + groups]
            into[:, LAST] = np.nan
            if figure.sort == "quantile":
                into[live, LAST] = clamped(quantiles[:, np.searchsorted(ranks, figure.at)], figure.at, into[live])
            else:
                into[live, LAST] = shares(figure, blobs, into[live])


def _members(source: Source, groups: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The members and offsets of some of a source's groups, ascending; silent ones need not be looked up."""
    if len(groups) == len(source.keys):
        return source.member, source.offset
    sizes = np.diff(source.offset)
    is_chosen = np.zeros(len(sizes), np.bool_)
    is_chosen[groups] = True
    return source.member[np.repeat(is_chosen, sizes)], np.concatenate(([0], np.cumsum(sizes[groups])))


def clamped(quantiles: NDArray[np.float64], rank: float, stats: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[G]: no quantile is less than the least sample of its group, float64[G, 8], or more than the greatest; the
    first and the last are these. NaN for a group without samples."""
    low = stats[:, MAX] if rank == 1 else stats[:, MIN]
    high = stats[:, MIN] if rank == 0 else stats[:, MAX]
    return np.where(stats[:, COUNT] > 0, np.clip(quantiles, low, high), np.nan)


def shares(figure: Figure, blobs: Sequence[bytes], stats: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[G]: a share of each group's samples, from its sketch; exactly 0 or 1 where MIN and MAX say so."""
    found = np.array([share_le(blob, figure.at) if blob else np.nan for blob in blobs], np.float64)
    found[stats[:, MAX] <= figure.at] = 1.0
    found[stats[:, MIN] > figure.at] = 0.0
    found[stats[:, COUNT] == 0] = np.nan
    return found if figure.sort == "share_le" else 1.0 - found

"""Percentiles and shares over written windows: sketches merged between the windows' edges, then in runs of these.

Read by query.py, after trailing.py has made the columns' statistics of the same windows. As there, a window is put
together of blocks of 1, 2, 4, … cells: a sketch is merged with its neighbour once for each length of block, and a
window of n cells merges at most log2(n) + 1 of them. Merging is exact, so a figure is right within 2.2 %, as for one
step.

Limits: SKETCHES_MAX sketches read for one selector, TABLE_MAX cells of its groups, else ValueError. Threads: any.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from hms_ops._sketch import merge_groups
from hms_ops.alert.figure import Figure
from hms_ops.figures import CHUNK_SKETCHES, SKETCHES_MAX, fill_figures
from hms_ops.past import Past
from hms_ops.sketches import Sketches, joined, no_sketches
from hms_ops.steps import LAST, Chosen, Floats, Integers
from hms_ops.trailing import Trail, blocks

TABLE_MAX: Final = 1_000_000  # groups times cells
CELLS_AT_ONCE: Final = 20_000  # merged into blocks at once: some 80 MB of sketches


def trailing_figures(
    figures: Sequence[Figure], chosen: Chosen, kept: Integers, stats: Floats, trail: Trail, past: Past
) -> list[Floats]:
    """As figures.figure_stats, over windows: for each figure float64[len(kept), steps, 8] with it as LAST."""
    made = [stats.copy() for _ in figures]
    for one in made:
        one[:, :, LAST] = np.nan
    edges = trail.edges()
    low, high = np.searchsorted(edges, trail.begins), np.searchsorted(edges, trail.ends)
    width, steps = len(edges) - 1, len(low)
    if len(kept) * width > TABLE_MAX:
        raise ValueError(
            f"percentiles of {len(kept)} series over {steps} windows of {trail.seconds} s, {TABLE_MAX} cells are "
            "allowed in all: choose fewer series or a longer step"
        )
    places, cells = _cells(chosen, kept, trail, edges, past)
    at_once = max(1, CELLS_AT_ONCE // max(1, width))
    for first in range(0, len(kept), at_once):
        groups = min(at_once, len(kept) - first)
        inside = np.flatnonzero((places >= first * width) & (places < (first + groups) * width))
        table = np.full((groups, width), -1)
        table.reshape(-1)[places[inside] - first * width] = np.arange(len(inside))
        targets, found = _runs(table, cells.chosen(inside), low, high)
        fill_figures(figures, found, targets + first * steps, made)
    return made


def _cells(chosen: Chosen, kept: Integers, trail: Trail, edges: Integers, past: Past) -> tuple[Integers, Sketches]:
    """(group × cells + cell, ascending, each once; its sketch) of all that have one."""
    place = np.full(len(chosen.keys), -1)
    place[kept] = np.arange(len(kept))
    places: list[Integers] = []
    parts: list[Sketches] = []
    count = 0
    for part in _chunks(chosen, trail, edges, past):
        count += len(part)
        if count > SKETCHES_MAX:
            raise ValueError(
                f"the query reads more than {SKETCHES_MAX} sketches for its windows of {trail.seconds} s: choose fewer "
                "series, or a shorter range or window"
            )
        of = place[chosen.group[part.ids]] * (len(edges) - 1) + np.searchsorted(edges, part.steps, "right") - 1
        where, merged = _merged(of, part)
        places.append(where)
        parts.append(merged)
    return _merged(np.concatenate([np.empty(0, np.int64), *places]), joined(parts))  # a cell may be in two chunks


def _chunks(chosen: Chosen, trail: Trail, edges: Integers, past: Past) -> Iterator[Sketches]:
    size = max(1, CHUNK_SKETCHES // max(1, len(chosen.series))) * trail.row
    for at in range(int(edges[0]), int(edges[-1]), size):
        yield past.sketches(chosen.series, at, min(at + size, int(edges[-1])), trail.row)


def _merged(where: Integers, part: Sketches) -> tuple[Integers, Sketches]:
    """Those that belong together as one, in the order of `where`; those below 0 are of groups that are not kept."""
    order = np.flatnonzero(where >= 0)
    order = order[np.argsort(where[order], kind="stable")]
    targets, first = np.unique(where[order], return_index=True)
    if not len(targets):
        return targets, no_sketches()
    ordered = part.chosen(order)
    data, offsets = merge_groups(ordered.data, ordered.offsets, np.append(first, len(order)))
    return targets, _plain(data, offsets)


def _runs(table: Integers, cells: Sketches, low: Integers, high: Integers) -> tuple[Integers, Sketches]:
    """(group × windows + window, a sketch) of every block that a window is made of. table: int64[groups, cells], which
    of `cells` stands there, -1 for none."""
    pool = cells

    def pairs(earlier: Integers, later: Integers) -> Integers:
        """The table of blocks twice as long; where only one half has a sketch, that is it."""
        nonlocal pool
        found = np.where(earlier >= 0, earlier, later)
        both = (earlier >= 0) & (later >= 0)
        if both.any():
            halves = pool.chosen(np.stack([earlier[both], later[both]], axis=1).reshape(-1))
            data, offsets = merge_groups(halves.data, halves.offsets, np.arange(0, len(halves) + 1, 2))
            found[both] = len(pool) + np.arange(len(offsets) - 1)
            pool = joined([pool, _plain(data, offsets)])
        return found

    targets, blobs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for takes, at, level in blocks(high - low, low, table, pairs):
        index = level[:, at]
        groups, places = np.nonzero(index >= 0)
        targets.append(groups * len(low) + takes[places])
        blobs.append(index[groups, places])
    return np.concatenate(targets), pool.chosen(np.concatenate(blobs))


def _plain(data: bytes, offsets: Integers) -> Sketches:
    """Sketches that stand for nothing but their place."""
    nothing = np.zeros(len(offsets) - 1, np.int64)
    return Sketches(nothing.astype(np.uint32), nothing, offsets, data)

"""Aggregates of every window of every rule, over all series, in one call without the GIL.

A window is a handful of stored steps: `cover` picks them (1 s, 10 s and 60 s, the largest aligned closed ones that
fit), `window_groups` folds them for each member series and pools the members of each group. Every tick adds the steps
up anew; nothing is ever subtracted from a running sum, so a 1e150 that leaves a window leaves nothing behind.

    start                                               end        a window of 4 minutes
      |10|10|     60      |     60      |     60      |10|1|1|1|
      starts on a step of 10 s, then whole minutes, then 10 s, then the last seconds one by one

Fed by the rule set (alert.evaluate), which allocates all arrays; reads the store's sealed columns in place, which never
change until their slot comes round. The rule program (kernels.program) reads `stats`.
Data: `cols` is float64[tier 3, field 6, slot 64, series], C order. **Fields other than COUNT are garbage where COUNT
is 0**, so everything selects on COUNT. Rows nobody has written yet have COUNT 0 (the store hands out zeroed pages).
Threads: any; no state, no GIL. Kernels trust their caller: no bounds, no dtypes are checked.
The explicit signature compiles (or loads) the kernel at import, so importing is warming.
Not here: what an aggregate means for a kind, beyond LAST and DELTA (kernels.program); percentiles (alert.figure).
"""

from typing import Final

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from hms_ops.tiers import SLOTS, TIER_SECONDS, WINDOW_SECONDS_MAX

COUNT: Final = 0  # fields of `cols`, and of `stats`
SUM: Final = 1
M2: Final = 2
MIN: Final = 3
MAX: Final = 4
LAST: Final = 5
DELTA: Final = 6  # of `stats` only
SEEN: Final = 7

GAUGE_SECONDS: Final = 300  # how long a silent gauge keeps its last value

# COUNT SUM M2 MIN MAX, DELTA, three rows in which a block's scattered members are lined up, and who was ever seen
SCRATCH_ROWS: Final = 10
_DELTA_ROW: Final = 5
_SEEN_ROW: Final = 9
_PLAIN: Final = 1 << COUNT | 1 << SUM | 1 << LAST | 1 << DELTA | 1 << SEEN  # nothing but counts and sums to pool
# Members folded together: nine rows of 16 KB stay in the second-level cache, and a row's part is long enough for the
# prefetcher; 512 cost a third more.
_BLOCK: Final = 2048

_COUNTER: Final = 1  # numbers of hms_ops.kinds, which a kernel does not import
_GAUGE: Final = 2

_LONGEST_SECONDS: Final = (60, 600, 3600)  # the longest window read from each tier
_SKETCH_STEP: Final = TIER_SECONDS[1]


def cover(
    start: int, end: int, first_second: int, known_second: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The stored steps that make up the window [start, end), oldest first: (tiers, slots, covered_seconds).

    `end` is the last sealed second + 1. The start is rounded down to a step of the tier that windows of this length are
    read from, then clipped to what is known: to `first_second`, when this run began, or to `known_second`, from where
    on earlier steps of 10 s and a minute were put back (hms_ops.reloaded); of those there are no single seconds, so
    the start is rounded down to a step that is there. Where it falls inside a step whose seconds are no longer stored,
    the whole step is taken: it holds nothing older. `rate` divides by `covered_seconds`; 0 if nothing is covered.

    ValueError if the window is empty or longer than an hour; history answers those.
    """
    if not 0 < end - start <= WINDOW_SECONDS_MAX:
        raise ValueError(f"a window of {end - start} s is outside 1 to {WINDOW_SECONDS_MAX} s")
    known = first_second if known_second is None else min(known_second, first_second)
    begin = max(start - start % window_step(end - start), known)
    tiers, slots = [], []
    tier = finest_tier(begin, end)
    at = begin - begin % TIER_SECONDS[max(tier, 1) if known <= begin < first_second else tier]
    begin = max(known, at) if begin < first_second else begin
    while begin < end and at < end:
        row_tier = _largest_step(at, end)
        tiers.append(row_tier)
        slots.append(at // TIER_SECONDS[row_tier] % SLOTS)
        at += TIER_SECONDS[row_tier]
    return np.array(tiers, np.int64), np.array(slots, np.int64), max(0, end - begin)


def cover_sketches(
    start: int, end: int, first_second: int, known_second: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """As `cover`, for what stands beside sketches: these are of steps of 10 s at least, so the window begins at one."""
    begin = start - start % _SKETCH_STEP if end - start <= _LONGEST_SECONDS[0] else start
    return cover(begin, end, first_second, known_second)


def window_step(seconds: int) -> int:
    return next(step for step, longest in zip(TIER_SECONDS, _LONGEST_SECONDS, strict=True) if seconds <= longest)


def finest_tier(second: int, end: int) -> int:
    """The finest tier in which `second` is still stored: 60 seconds, 61 closed steps of 10 s, of 60 s; -1 beyond."""
    if second >= end - 60:
        return 0
    if second >= end - end % 10 - 610:
        return 1
    if second >= end - end % 60 - 3660:
        return 2
    return -1


_finest_tier_native = njit(nogil=True, error_model="numpy")(finest_tier)


def _largest_step(at: int, end: int) -> int:
    for tier in (2, 1):
        if at % TIER_SECONDS[tier] == 0 and at + TIER_SECONDS[tier] <= end:
            return tier
    return 0


# ---- folding: a block of members, row by row ------------------------------------------------------------------------


# Fields and scratch are taken as one-dimensional slices: a row of a sliced matrix has a stride of its own, and no loop
# over it vectorises. Loops touch at most five arrays, or LLVM gives up telling them apart.


@njit(nogil=True, error_model="numpy")
def _fold_block(cols, row_tier, row_slot, mask, member, at, scratch):  # type: ignore[no-untyped-def]
    """All rows of one window for the block of members at `at`, into rows COUNT to MAX of scratch."""
    stop = at + len(member)
    dense = _are_neighbours(member)
    with_m2, with_min, with_max = mask >> M2 & 1, mask >> MIN & 1, mask >> MAX & 1
    with_sum = mask >> SUM & 1 | with_m2
    into_count, into_sum, into_m2 = scratch[COUNT, at:stop], scratch[SUM, at:stop], scratch[M2, at:stop]
    into_min, into_max = scratch[MIN, at:stop], scratch[MAX, at:stop]
    buffer_count, buffer_sum, buffer = scratch[6, at:stop], scratch[7, at:stop], scratch[8, at:stop]
    into_count[:] = 0.0
    into_sum[:] = 0.0
    into_m2[:] = 0.0
    into_min[:] = np.inf
    into_max[:] = -np.inf
    for r in range(len(row_tier)):
        tier, slot = row_tier[r], row_slot[r]
        count = _line_up(cols[tier, COUNT, slot], member, dense, buffer_count)
        if not count.any():
            continue
        if with_sum:
            total = _line_up(cols[tier, SUM, slot], member, dense, buffer_sum)
            if with_m2:
                _fold_m2(into_count, into_sum, count, total, buffer)
                _fold_sum(into_m2, count, buffer)
                _fold_sum(into_m2, count, _line_up(cols[tier, M2, slot], member, dense, buffer))
            _fold_sum(into_sum, count, total)
        if with_min:
            _fold_min(into_min, count, _line_up(cols[tier, MIN, slot], member, dense, buffer))
        if with_max:
            _fold_max(into_max, count, _line_up(cols[tier, MAX, slot], member, dense, buffer))
        _fold_count(into_count, count)


@njit(nogil=True, error_model="numpy")
def _are_neighbours(member):  # type: ignore[no-untyped-def]
    """Whether each is one more than the one before; what was born late may stand behind higher ones."""
    if member[-1] - member[0] != len(member) - 1:
        return False
    for i in range(len(member)):  # noqa: SIM110, numba compiles the loop, and all() of a generator not
        if member[i] - member[0] != i:
            return False
    return True


@njit(nogil=True, error_model="numpy")
def _line_up(row, member, dense, buffer):  # type: ignore[no-untyped-def]
    """The members' values of one row side by side: in place if the members are neighbours, else copied."""
    if dense:
        return row[member[0] : member[0] + len(member)]
    for i in range(len(member)):
        buffer[i] = row[member[i]]
    return buffer


@njit(nogil=True, error_model="numpy")
def _fold_count(into, count):  # type: ignore[no-untyped-def]
    for i in range(len(into)):
        into[i] += count[i]


@njit(nogil=True, error_model="numpy")
def _fold_sum(into, count, value):  # type: ignore[no-untyped-def]
    for i in range(len(into)):
        into[i] += value[i] if count[i] > 0 else 0.0


@njit(nogil=True, error_model="numpy")
def _fold_min(into, count, value):  # type: ignore[no-untyped-def]
    for i in range(len(into)):
        x = value[i] if count[i] > 0 else np.inf
        into[i] = x if x < into[i] else into[i]


@njit(nogil=True, error_model="numpy")
def _fold_max(into, count, value):  # type: ignore[no-untyped-def]
    for i in range(len(into)):
        x = value[i] if count[i] > 0 else -np.inf
        into[i] = x if x > into[i] else into[i]


@njit(nogil=True, error_model="numpy")
def _fold_m2(into_count, into_sum, count, total, between):  # type: ignore[no-untyped-def]
    """What Chan's merge adds to M2 for the distance of the two means; garbage where `count` is 0."""
    for i in range(len(count)):
        n, k = into_count[i], count[i]
        apart = total[i] / k - into_sum[i] / n
        between[i] = apart * apart * (n * k / (n + k)) if n > 0 else 0.0


# ---- pooling: the members of a group, group_member[first:stop] ------------------------------------------------------
# Bounds instead of slices: a slice counts references, which costs more than a group of one member.


@njit(nogil=True, error_model="numpy")
def _pool(group_member, first, stop, mask, scratch, stats, g):  # type: ignore[no-untyped-def]
    count, total, m2, low, high = 0.0, 0.0, 0.0, np.inf, -np.inf
    for j in range(first, stop):
        i = group_member[j]
        k = scratch[COUNT, i]
        if k > 0:
            if mask >> M2 & 1:
                apart = scratch[SUM, i] / k - total / count if count > 0 else 0.0
                m2 += scratch[M2, i] + apart * apart * (count * k / (count + k))
            if mask >> MIN & 1:
                low = min(low, scratch[MIN, i])
            if mask >> MAX & 1:
                high = max(high, scratch[MAX, i])
            count += k
            total += scratch[SUM, i]
    stats[g, COUNT] = count
    stats[g, SUM] = total if mask >> SUM & 1 else np.nan
    stats[g, M2] = m2 if mask >> M2 & 1 else np.nan
    stats[g, MIN] = low if mask >> MIN & 1 and count > 0 else np.nan
    stats[g, MAX] = high if mask >> MAX & 1 and count > 0 else np.nan


@njit(nogil=True, error_model="numpy")
def _pool_plain(group_member, first, stop, mask, counts, sums, seen, stats, g):  # type: ignore[no-untyped-def]
    """Counts, sums and who was seen, in one pass without a branch: a silent member's count and sum are 0."""
    count, total, ever = 0.0, 0.0, 0.0
    if mask >> SUM & 1:
        for j in range(first, stop):
            i = group_member[j]
            count += counts[i]
            total += sums[i]
            ever += seen[i]
    else:
        for j in range(first, stop):
            i = group_member[j]
            count += counts[i]
            ever += seen[i]
        total = np.nan
    stats[g, COUNT] = count
    stats[g, SUM] = total
    stats[g, M2] = stats[g, MIN] = stats[g, MAX] = np.nan
    return ever


@njit(nogil=True, error_model="numpy")
def _seen(group_member, first, stop, seen):  # type: ignore[no-untyped-def]
    ever = 0.0
    for j in range(first, stop):
        ever += seen[group_member[j]]
    return ever


@njit(nogil=True, error_model="numpy")
def _last(group_member, first, stop, member, last_value, last_second, oldest):  # type: ignore[no-untyped-def]
    """The newest sample since `oldest`; of two in the same second that of the lower slot."""
    newest, value = max(oldest, 1) - 1, np.nan
    for j in range(first, stop):
        m = member[group_member[j]]
        if last_second[m] > newest:
            newest, value = last_second[m], last_value[m]
    return value


@njit(nogil=True, error_model="numpy")
def _last_sum(cols, slot, group_member, first, stop, member):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(first, stop):
        m = member[group_member[j]]
        total += cols[0, SUM, slot, m] if cols[0, COUNT, slot, m] > 0 else 0.0
    return total


@njit(nogil=True, error_model="numpy")
def _pool_delta(group_member, first, stop, scratch):  # type: ignore[no-untyped-def]
    total, found = 0.0, False
    for j in range(first, stop):
        delta = scratch[_DELTA_ROW, group_member[j]]
        if delta == delta:
            total += delta
            found = True
    return total if found else np.nan


# ---- DELTA: a gauge's change over the window ------------------------------------------------------------------------


@njit(nogil=True, error_model="numpy")
def _delta_block(  # type: ignore[no-untyped-def]
    cols, last_value, last_second, start, end, first_second, row_tier, row_slot, member, delta
):
    """One member after the other: gauges with `rate` or `delta` are few, and a step's row is in cache for eight."""
    for i in range(len(member)):
        m = member[i]
        if last_second[m] == 0 or last_second[m] < end - GAUGE_SECONDS:
            delta[i] = np.nan
        elif last_second[m] < start:
            delta[i] = 0.0
        else:
            delta[i] = last_value[m] - _base(cols[:, :, :, m], start, end, first_second, row_tier, row_slot)


@njit(nogil=True, error_model="numpy")
def _base(series, start, end, first_second, row_tier, row_slot):  # type: ignore[no-untyped-def]
    """The last value before the window, up to 300 s before; else that of the window's first step with a sample.

    Seconds older than a minute are stored in steps of 10 s, those older than ten in steps of 60 s, so the step in which
    the stored resolution changes may hold samples of both sides. COUNT tells: if none of its samples are after the
    border, its LAST is the answer; if all are, it is passed over; if there are some on both sides, the value we want is
    hidden, and the window's first is its next neighbour. Before this run there are no single seconds.
    """
    at = start
    while at > start - GAUGE_SECONDS:
        tier = _finest_tier_native(at - 1, end)
        if tier == 0 and at <= first_second:
            tier = 1
        if tier < 0:
            break
        step = TIER_SECONDS[tier]
        begin = at - 1 - (at - 1) % step
        slot = begin // step % SLOTS
        count = series[tier, COUNT, slot]
        if begin + step > at and _finest_tier_native(at, end) == tier:
            break  # the window starts inside a step: the engine did then, and saw nothing before
        after = _count_between(series, tier - 1, at, begin + step) if begin + step > at else 0.0
        if count > 0 and after == 0:
            return series[tier, LAST, slot]
        if count > after:
            break
        at = begin
    for r in range(len(row_tier)):
        if series[row_tier[r], COUNT, row_slot[r]] > 0:
            return series[row_tier[r], LAST, row_slot[r]]
    return np.nan


@njit(nogil=True, error_model="numpy")
def _count_between(series, tier, start, stop):  # type: ignore[no-untyped-def]
    count = 0.0
    for at in range(start, stop, TIER_SECONDS[tier]):
        count += series[tier, COUNT, at // TIER_SECONDS[tier] % SLOTS]
    return count


# ---- the kernel: last, because its signature compiles it here --------------------------------------------------------

_i4 = types.Array(types.int32, 1, "C", readonly=True)
_i8 = types.Array(types.int64, 1, "C", readonly=True)
_f8 = types.Array(types.float64, 1, "C", readonly=True)
_WINDOW_GROUPS = types.void(
    types.float64[:, :, :, ::1],
    _f8,
    _i8,
    types.int64,
    types.int64,
    _i8,
    _i8,
    _i8,
    _i8,
    _i8,
    _i4,
    _i8,
    _i8,
    _i4,
    _i8,
    _i8,
    _i8,
    types.Array(types.int8, 1, "C", readonly=True),
    types.float64[:, ::1],
    types.float64[:, ::1],
)


@njit(_WINDOW_GROUPS, cache=True, nogil=True, error_model="numpy")
def window_groups(
    cols: NDArray[np.float64],
    last_value: NDArray[np.float64],
    last_second: NDArray[np.int64],
    end: int,
    first_second: int,
    row_tier: NDArray[np.int64],
    row_slot: NDArray[np.int64],
    row_offset: NDArray[np.int64],
    covered: NDArray[np.int64],
    field_mask: NDArray[np.int64],
    member: NDArray[np.int32],
    member_first: NDArray[np.int64],
    member_stop: NDArray[np.int64],
    group_member: NDArray[np.int32],
    group_first: NDArray[np.int64],
    group_stop: NDArray[np.int64],
    group_window: NDArray[np.int64],
    group_kind: NDArray[np.int8],
    scratch: NDArray[np.float64],
    stats: NDArray[np.float64],
) -> None:
    """Fold W windows over their members, then pool the members of G groups into `stats`.

    cols, last_value, last_second    the store's; `cols` must be writable memory, though nothing is written
    end                              last sealed second + 1
    first_second                     before it there are steps of 10 s and more, no single seconds
    row_tier, row_slot               int64[rows], what `cover` gave, window after window
    row_offset                       int64[W + 1]: window w has rows row_offset[w]:row_offset[w + 1]
    covered                          int64[W], seconds from the window's start to `end`
    field_mask                       int64[W]: bit f asks for stats[:, f]. COUNT and SEEN are always there; what is not
                                     asked for is NaN and costs nothing
    member                           int32[M], series slots, unique within a window; fastest where they ascend
    member_first, member_stop        int64[W]: window w has members member_first[w]:member_stop[w]
    group_member                     int32[], positions in `member` (not in its window)
    group_first, group_stop          int64[G]: group g is group_member[group_first[g]:group_stop[g]]
    group_window, group_kind         int64[G], int8[G] (hms_ops.kinds)
    scratch                          float64[SCRATCH_ROWS, M], contents do not matter
    stats                            float64[G or more, 8], out:
        COUNT, SUM   pooled, weighted; 0 when empty
        M2           Σ w (x - mean)² by Chan's merge; 0 when empty. Variance is M2 / COUNT
        MIN, MAX     NaN when empty
        LAST         counter: Σ of the last sealed second's sums, 0 when silent; gauge: the newest sample of all
                     members, up to 300 s old; others: the newest sample in the window. NaN where there is none. Of two
                     members seen in the same second the lower slot wins
        DELTA        gauges: Σ over members of (last at the end - last before the window), see `_delta`; NaN if none
        SEEN         members ever seen; where it is 0, everything is NULL

    Cost: rows × (fields asked for + COUNT) × members × 8 bytes of sequential reading.
    Source for M2: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm", 1979.
    """
    for w in range(len(covered)):
        first, last = row_offset[w], row_offset[w + 1]
        for at in range(member_first[w], member_stop[w], _BLOCK):
            stop = min(at + _BLOCK, member_stop[w])
            block = member[at:stop]
            _fold_block(cols, row_tier[first:last], row_slot[first:last], field_mask[w], block, at, scratch)
            for i in range(len(block)):
                scratch[_SEEN_ROW, at + i] = 1.0 if last_second[block[i]] > 0 else 0.0
            if field_mask[w] >> DELTA & 1:
                start = end - covered[w]
                delta = scratch[_DELTA_ROW, at:stop]
                _delta_block(
                    cols,
                    last_value,
                    last_second,
                    start,
                    end,
                    first_second,
                    row_tier[first:last],
                    row_slot[first:last],
                    block,
                    delta,
                )
    counts, sums, ever_seen = scratch[COUNT], scratch[SUM], scratch[_SEEN_ROW]
    for g in range(len(group_window)):
        w, first, stop = group_window[g], group_first[g], group_stop[g]
        mask, kind = field_mask[w], group_kind[g]
        if mask & ~_PLAIN:
            _pool(group_member, first, stop, mask, scratch, stats, g)
            seen = _seen(group_member, first, stop, ever_seen)
        else:
            seen = _pool_plain(group_member, first, stop, mask, counts, sums, ever_seen, stats, g)
        stats[g, LAST] = stats[g, DELTA] = np.nan
        stats[g, SEEN] = seen
        if mask >> LAST & 1 and kind == _COUNTER and seen > 0:
            stats[g, LAST] = _last_sum(cols, (end - 1) % SLOTS, group_member, first, stop, member)
        elif mask >> LAST & 1 and kind != _COUNTER:
            oldest = end - (GAUGE_SECONDS if kind == _GAUGE else covered[w])
            stats[g, LAST] = _last(group_member, first, stop, member, last_value, last_second, oldest)
        if mask >> DELTA & 1 and kind == _GAUGE:
            stats[g, DELTA] = _pool_delta(group_member, first, stop, scratch)

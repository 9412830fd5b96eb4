"""The moving-mean detector's kernel: judges the sealed second of every series of every anomaly rule in one call.

The score of a second is its value over the baseline, the mean of the minutes before it; an anomaly is a score above the
rule's factor, with the guards of anomaly.moving_mean, which allocates the arrays, feeds them and reads the events.
Data: `cols` as in kernels.window; fields other than COUNT are garbage where COUNT is 0. The state of a member is three
numbers: `history`, uint8, bits 0 to 4 the last five judged seconds (bit 0 the newest, 1 = anomalous), bit 5 an episode
is on, bit 6 it has been held; `frozen`, float64, the baseline when the episode started; `since`, int64, its first
second.
Threads: the tick's; no GIL. Trusts its caller. The explicit signature compiles the kernel at import.
Not here: what an anomaly means and what follows from it (anomaly.moving_mean, alert).
"""

from typing import Final

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from hms_ops.kernels.window import COUNT, SUM
from hms_ops.tiers import SLOTS

JUDGED_SECONDS: Final = 5  # how many judged seconds a member remembers
HELD_SECONDS: Final = 3  # so many of them anomalous: held
FROZEN_SECONDS_MAX: Final = 600  # how long a baseline stands still

STARTED: Final = 1  # bits of `event_state`; one second may start and hold an episode
HELD: Final = 2
ENDED: Final = 4

MEMORY: Final = 0b0001_1111  # bits of `history`
EPISODE: Final = 0b0010_0000
HAS_HELD: Final = 0b0100_0000
_BLOCK: Final = 2048  # members judged together, as in kernels.window

SCRATCH: Final = (2, _BLOCK)  # the shape of `scratch`


@njit(nogil=True, error_model="numpy")
def _add_row(count, total, into_count, into_sum):  # type: ignore[no-untyped-def]
    for i in range(len(count)):
        into_count[i] += count[i]
        into_sum[i] += total[i] if count[i] > 0 else 0.0


@njit(nogil=True, error_model="numpy")
def _add_scattered(count, total, member, into_count, into_sum):  # type: ignore[no-untyped-def]
    for i in range(len(member)):
        k = count[member[i]]
        if k > 0:
            into_count[i] += k
            into_sum[i] += total[member[i]]


@njit(nogil=True, error_model="numpy")
def _baseline_block(cols, row_tier, row_slot, member, into_count, into_sum):  # type: ignore[no-untyped-def]
    """Count and sum of the baseline's steps for one block of members."""
    first, stop = member[0], member[0] + len(member)
    dense = member[-1] == stop - 1
    into_count[:] = 0.0
    into_sum[:] = 0.0
    for r in range(len(row_tier)):
        count, total = cols[row_tier[r], COUNT, row_slot[r]], cols[row_tier[r], SUM, row_slot[r]]
        if dense:
            _add_row(count[first:stop], total[first:stop], into_count, into_sum)
        else:
            _add_scattered(count, total, member, into_count, into_sum)


@njit(nogil=True, error_model="numpy")
def _ones(bits):  # type: ignore[no-untyped-def]
    n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n


@njit(nogil=True, error_model="numpy")
def _follow(state, anomalous, start_seconds):  # type: ignore[no-untyped-def]
    """The state after one more judged second, and the events it makes."""
    memory = (state << 1 | anomalous) & MEMORY
    episode, has_held = state & EPISODE, state & HAS_HELD
    event = 0
    if not episode and anomalous and _ones(memory) >= start_seconds:
        episode = EPISODE
        event |= STARTED
    if episode and not has_held and _ones(memory) >= HELD_SECONDS:
        has_held = HAS_HELD
        event |= HELD
    if episode and memory == 0:
        episode = has_held = 0
        event |= ENDED
    return memory | episode | has_held, event


_i8 = types.Array(types.int64, 1, "C", readonly=True)
_f8 = types.Array(types.float64, 1, "C", readonly=True)


@njit(
    types.int64(
        types.float64[:, :, :, ::1],
        types.int64,
        _i8,
        _i8,
        _i8,
        types.Array(types.int32, 1, "C", readonly=True),
        _i8,
        _i8,
        _i8,
        _f8,
        _f8,
        _f8,
        types.uint8[::1],
        types.float64[::1],
        types.int64[::1],
        types.float64[:, ::1],
        types.int64[::1],
        types.uint8[::1],
        types.float64[::1],
        types.float64[::1],
    ),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def moving_mean_score(
    cols: NDArray[np.float64],
    second: int,
    row_tier: NDArray[np.int64],
    row_slot: NDArray[np.int64],
    row_offset: NDArray[np.int64],
    member: NDArray[np.int32],
    member_offset: NDArray[np.int64],
    field: NDArray[np.int64],
    start_seconds: NDArray[np.int64],
    factor: NDArray[np.float64],
    min_samples: NDArray[np.float64],
    min_difference: NDArray[np.float64],
    history: NDArray[np.uint8],
    frozen: NDArray[np.float64],
    since: NDArray[np.int64],
    scratch: NDArray[np.float64],
    event_member: NDArray[np.int64],
    event_state: NDArray[np.uint8],
    event_value: NDArray[np.float64],
    event_baseline: NDArray[np.float64],
) -> int:
    """Judge `second`, the one sealed last, for all members of R rules; returns how many events there were.

    row_tier, row_slot, row_offset    the baseline's steps, as in `window_groups`, `second` not among them
    member, member_offset             int32[M] series slots, ascending within a rule; int64[R + 1]
    field                             int64[R]: SUM judges the second's mean, MAX its largest value
    start_seconds                     int64[R]: so many of the last five judged seconds start an episode
    factor, min_samples, min_difference    float64[R], see anomaly.moving_mean
    history, frozen, since            uint8[M], float64[M], int64[M], the members' state; zero to start with
    scratch                           float64[SCRATCH]
    event_member, event_state, event_value, event_baseline    int64[E], uint8[E], float64[E], float64[E], out: position
                                      in `member`, bits STARTED | HELD | ENDED, the judged value and what it was held to

    Where E is full, a member that has an event is left as it was, to be judged again with the next second: events are
    late then, never lost. The result counts those too. A silent second changes nothing.
    Cost: (rows of the baseline + 1) × 2 × members × 8 bytes of sequential reading.
    """
    events = 0
    slot = second % SLOTS
    for r in range(len(field)):
        tiers, slots = row_tier[row_offset[r] : row_offset[r + 1]], row_slot[row_offset[r] : row_offset[r + 1]]
        value, count = cols[0, field[r], slot], cols[0, COUNT, slot]
        for at in range(member_offset[r], member_offset[r + 1], _BLOCK):
            block = member[at : min(at + _BLOCK, member_offset[r + 1])]
            seen, total = scratch[0, : len(block)], scratch[1, : len(block)]
            _baseline_block(cols, tiers, slots, block, seen, total)
            for i in range(len(block)):
                m, n = at + i, count[block[i]]
                if n <= 0:
                    continue
                x = value[block[i]] / n if field[r] == SUM else value[block[i]]
                is_frozen = history[m] & EPISODE and second - since[m] < FROZEN_SECONDS_MAX
                baseline = frozen[m] if is_frozen else total[i] / seen[i]
                anomalous = x > factor[r] * baseline and x - baseline >= min_difference[r] and baseline > 0
                if not is_frozen:
                    anomalous = anomalous and seen[i] >= min_samples[r]
                if not anomalous and history[m] == 0:
                    continue
                state, event = _follow(int(history[m]), int(anomalous), start_seconds[r])
                if event:
                    events += 1
                    if events > len(event_member):
                        continue
                    event_member[events - 1] = m
                    event_state[events - 1] = event
                    event_value[events - 1] = x
                    event_baseline[events - 1] = baseline
                if event & STARTED:
                    frozen[m] = baseline
                    since[m] = second
                history[m] = state
    return events

"""Ten closed seconds become a step of 10 s, six of those a step of 60 s: tiers 1 and 2 of the store's columns.

The engine's tick calls it right after sealing, before any window is read. It writes one row of `cols`, the one nobody
reads any more (64 slots, of which 61 are valid). The history keeps what it wrote (storage).
Data: `cols` as in kernels.window. Threads: the tick's; no state, no GIL. The explicit signature compiles the kernel at
import. Not here: the tier of an hour (storage).
"""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from hms_ops.kernels.window import COUNT, LAST, M2, MAX, MIN, SUM
from hms_ops.tiers import SLOTS, TIER_SECONDS

_BLOCK = 2048  # series folded together, as in kernels.window


# Fields are taken as one-dimensional slices, few to a loop: strided rows, or more arrays than LLVM tells apart, would
# keep the loops from vectorising.


@njit(nogil=True, error_model="numpy")
def _fold_m2(count, total, m2, into_count, into_sum, into_m2):  # type: ignore[no-untyped-def]
    """Chan's merge; runs before count and sum are folded, whose older state it needs."""
    for i in range(len(count)):
        n, k = into_count[i], count[i]
        apart = total[i] / k - into_sum[i] / n
        between = apart * apart * (n * k / (n + k)) if n > 0 else 0.0
        into_m2[i] += m2[i] + between if k > 0 else 0.0


@njit(nogil=True, error_model="numpy")
def _fold_sum(count, total, into_count, into_sum):  # type: ignore[no-untyped-def]
    for i in range(len(count)):
        into_count[i] += count[i]
        into_sum[i] += total[i] if count[i] > 0 else 0.0


@njit(nogil=True, error_model="numpy")
def _fold_range(count, low, high, into_min, into_max):  # type: ignore[no-untyped-def]
    for i in range(len(count)):
        x = low[i] if count[i] > 0 else np.inf
        y = high[i] if count[i] > 0 else -np.inf
        into_min[i] = x if x < into_min[i] else into_min[i]
        into_max[i] = y if y > into_max[i] else into_max[i]


@njit(nogil=True, error_model="numpy")
def _fold_last(count, last, into_last):  # type: ignore[no-untyped-def]
    for i in range(len(count)):
        into_last[i] = last[i] if count[i] > 0 else into_last[i]


@njit(nogil=True, error_model="numpy")
def _roll_block(cols, tier, slot, first_part, parts, at, stop):  # type: ignore[no-untyped-def]
    """One block of series: clear the row being written, then merge the finer rows, oldest first."""
    into_count, into_sum, into_m2 = (
        cols[tier, COUNT, slot, at:stop],
        cols[tier, SUM, slot, at:stop],
        cols[tier, M2, slot, at:stop],
    )
    into_min, into_max, into_last = (
        cols[tier, MIN, slot, at:stop],
        cols[tier, MAX, slot, at:stop],
        cols[tier, LAST, slot, at:stop],
    )
    into_count[:] = 0.0
    into_sum[:] = 0.0
    into_m2[:] = 0.0
    into_min[:] = np.inf
    into_max[:] = -np.inf
    into_last[:] = 0.0
    fine = tier - 1
    for part in range(first_part, first_part + parts):
        s = part % SLOTS
        count = cols[fine, COUNT, s, at:stop]
        if count.any():
            total = cols[fine, SUM, s, at:stop]
            _fold_m2(count, total, cols[fine, M2, s, at:stop], into_count, into_sum, into_m2)
            _fold_sum(count, total, into_count, into_sum)
            _fold_range(count, cols[fine, MIN, s, at:stop], cols[fine, MAX, s, at:stop], into_min, into_max)
            _fold_last(count, cols[fine, LAST, s, at:stop], into_last)


@njit(
    types.void(types.float64[:, :, :, ::1], types.int64, types.int64, types.int64),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def rollup_step(cols: NDArray[np.float64], tier: int, step_index: int, n: int) -> None:
    """Fold the finer rows of one closed step into row `step_index % 64` of `tier`, all fields, series 0 to n - 1.

    cols         float64[3, 6, 64, capacity]; rows of `tier` are written, those of `tier - 1` read
    tier         1 (ten seconds) or 2 (six steps of 10 s)
    step_index   Unix second of the step's start // 10 or // 60
    n            series in use; a series without samples gets COUNT 0, its other fields are of no meaning

    M2 by Chan's merge, as in kernels.window. Cost: 10 × (fields + 1) × n × 8 bytes of sequential reading, less where
    blocks of series were silent.
    """
    parts = TIER_SECONDS[tier] // TIER_SECONDS[tier - 1]
    for at in range(0, n, _BLOCK):
        _roll_block(cols, tier, step_index % SLOTS, step_index * parts, parts, at, min(at + _BLOCK, n))

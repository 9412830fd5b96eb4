"""Ten closed seconds become a step of 10 s, six of those a step of 60 s: tiers 1 and 2 of the store's columns.

The engine's tick calls it right after sealing, before any window is read. It writes one row of `cols`, the one nobody
reads any more (64 slots, of which 61 are valid). The history keeps what it wrote (storage).
Data: `cols` as in kernels.window. Threads: the tick's; no state, no GIL. The explicit signature compiles the kernel at
import. Not here: the tier of an hour (storage).
"""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from hms_ops.kernels.window import COUNT, LAST, M2, MAX, MIN, SLOTS, STEP_SECONDS, SUM

_BLOCK = 512  # series folded together: six rows of 4 KB each way stay in the second-level cache


@njit(nogil=True, error_model="numpy")
def _fold(source, into):  # type: ignore[no-untyped-def]
    """Merge one finer row, float64[6, block], into the row being built; selects, so that it vectorises."""
    count, total, m2, low, high, last = into[COUNT], into[SUM], into[M2], into[MIN], into[MAX], into[LAST]
    s_count, s_sum, s_m2 = source[COUNT], source[SUM], source[M2]
    s_low, s_high, s_last = source[MIN], source[MAX], source[LAST]
    for i in range(len(count)):
        n, k = count[i], s_count[i]
        apart = s_sum[i] / k - total[i] / n
        between = apart * apart * (n * k / (n + k)) if n > 0 else 0.0
        m2[i] += s_m2[i] + between if k > 0 else 0.0
        total[i] += s_sum[i] if k > 0 else 0.0
        count[i] = n + k
    for i in range(len(count)):
        k = s_count[i]
        x = s_low[i] if k > 0 else np.inf
        low[i] = x if x < low[i] else low[i]
        y = s_high[i] if k > 0 else -np.inf
        high[i] = y if y > high[i] else high[i]
        last[i] = s_last[i] if k > 0 else last[i]


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
    parts = STEP_SECONDS[tier] // STEP_SECONDS[tier - 1]
    for at in range(0, n, _BLOCK):
        stop = min(at + _BLOCK, n)
        into = cols[tier, :, step_index % SLOTS, at:stop]
        into[:, :] = 0.0
        into[MIN, :] = np.inf
        into[MAX, :] = -np.inf
        for part in range(step_index * parts, (step_index + 1) * parts):
            source = cols[tier - 1, :, part % SLOTS, at:stop]
            if source[COUNT].any():
                _fold(source, into)

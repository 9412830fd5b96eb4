"""Moving mean and exponentially weighted mean over a whole matrix of series, NaN-aware.

For charts, replays and detectors that look at a stretch of history; the live windows are kernels.window. Data is
float64[time, series], C order, NaN where there is no sample; a row is a moment, so the inner loops run along series and
vectorise. `move_mean` and `move_ewma` check their arguments and allocate `out` and the scratch; the kernels below them
allocate nothing and trust their caller. Threads: any; no GIL while they run. Explicit signatures compile the kernels at
import.

The moving mean is van Herk's two sums, each of them only ever added to:

    rows      | a b c d e | f g h i j |           window 5, block 5
    at h:         └─────┘   └───┘                 mean of d e (suffix of the block before) and f g h

Nothing departs from a running sum, so a 1e150 is gone without a trace as soon as the window has passed it, and the
rounding error never accumulates. Two additions an element, and counting; a block without a gap needs no counts: it is
tried first, and done over if its sums turn out NaN.
Source: van Herk, "A fast algorithm for local minimum and maximum filters", 1992, with + for max.
"""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

# Series abreast. Wide tiles win: with 4,000 the prefetcher sees long rows, with 256 the same code takes twice the time,
# though its block would fit the second-level cache. A long window takes fewer, or its scratch leaves the third level.
_TILE_MAX = 4096
_TILE_MIN = 512
_SCRATCH_ELEMENTS = 1 << 20
_LOOK_ROWS = 16  # rows after which a block that was taken for whole is looked at for NaN

_MATRIX_IN = types.Array(types.float64, 2, "C", readonly=True)
_MATRIX = types.float64[:, ::1]


def move_mean(
    a: NDArray[np.float64], window: int, min_count: int = 1, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The mean of the last `window` rows of each series, this row included; NaN samples are left out.

    a            float64[time, series], C order; may be read-only
    window       rows, 1 or more; the first rows see as many as there are
    min_count    samples a window needs, 1 to `window`; NaN below that
    out          float64[time, series] to write to, not `a`; allocated if None; returned

    Infinities give infinities, or NaN when both signs meet, for the windows they are in and no others.
    ValueError quotes what is out of range.
    """
    out = _checked_out(a, out)
    if window < 1:
        raise ValueError(f"window {window} is below 1 row")
    if not 1 <= min_count <= window:
        raise ValueError(f"min_count {min_count} is outside 1 to window {window}")
    window = min(window, max(1, len(a)))
    tile = min(_TILE_MAX, max(_TILE_MIN, _SCRATCH_ELEMENTS // window), max(1, a.shape[1]))
    _move_mean(a, window, min_count, np.empty((window + 1, tile)), np.empty(tile), out)
    return out


def move_ewma(a: NDArray[np.float64], alpha: float, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The exponentially weighted mean: weight (1 - alpha)^k for a sample k rows ago, normalised by the weights seen.

    Rows without a sample age what was seen and repeat the mean; NaN until the first sample. `alpha` in (0, 1].
    Arrays as in `move_mean`. ValueError quotes what is out of range.
    """
    out = _checked_out(a, out)
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha {alpha} is outside 0 (not included) to 1")
    state = np.zeros((2, a.shape[1]))
    state[0] = np.nan
    _move_ewma(a, alpha, state, out)
    return out


def _checked_out(a: NDArray[np.float64], out: NDArray[np.float64] | None) -> NDArray[np.float64]:
    for name, array in (("a", a), ("out", out)):
        if array is not None and (array.ndim != 2 or array.dtype != np.float64 or not array.flags.c_contiguous):
            raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, not float64[time, series] in C order")
    if out is None:
        return np.empty_like(a)
    if out.shape != a.shape or np.may_share_memory(a, out):
        raise ValueError(f"out {list(out.shape)} must have the shape of a {list(a.shape)} and memory of its own")
    return out


# Rows come as one-dimensional slices: a row of a sliced matrix has a stride of its own, and nothing vectorises. Loops
# touch at most five arrays: LLVM gives up where it must tell more apart.


@njit(nogil=True, error_model="numpy")
def _sum_forward(row, prefix, suffix, count, out):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        total = prefix[i] + row[i]
        prefix[i] = total
        out[i] = (total + suffix[i]) / count


@njit(nogil=True, error_model="numpy")
def _sum_backward(row, after, suffix):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        suffix[i] = after[i] + row[i]


@njit(nogil=True, error_model="numpy")
def _seen_count(row, count):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        count[i] += 1.0 if row[i] == row[i] else 0.0


@njit(nogil=True, error_model="numpy")
def _seen_move(row, gone, count):  # type: ignore[no-untyped-def]
    """Counts may be subtracted from: whole numbers below 2^53 are exact."""
    for i in range(len(row)):
        came = 1.0 if row[i] == row[i] else 0.0
        count[i] += came - (1.0 if gone[i] == gone[i] else 0.0)


@njit(nogil=True, error_model="numpy")
def _seen_forward(row, prefix, suffix, count, min_count, out):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        total = prefix[i] + (row[i] if row[i] == row[i] else 0.0)
        prefix[i] = total
        mean = (total + suffix[i]) / count[i]
        out[i] = mean if count[i] >= min_count else np.nan


@njit(nogil=True, error_model="numpy")
def _seen_backward(row, after, suffix):  # type: ignore[no-untyped-def]
    for i in range(len(row)):
        suffix[i] = after[i] + (row[i] if row[i] == row[i] else 0.0)


@njit(nogil=True, error_model="numpy")
def _nan_count(row):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(len(row)):
        n += row[i] != row[i]
    return n


@njit(nogil=True, error_model="numpy")
def _mean_whole(a, block, window, min_count, first, stop, sums, out):  # type: ignore[no-untyped-def]
    """One block of one tile, down and up again, as if no sample were missing; False if one was, or infinities met."""
    width = stop - first
    prefix = sums[0, :width]
    prefix[:] = 0.0
    for t in range(block, min(block + window, len(a))):
        count = min(t + 1, window) if t + 1 >= min_count else np.nan
        k = t - block + 1 if block > 0 else window
        _sum_forward(a[t, first:stop], prefix, sums[k, :width], count, out[t, first:stop])
        if (t - block) % _LOOK_ROWS == 0 and _nan_count(prefix) > 0:
            return False
    if _nan_count(prefix) > 0:
        return False
    if block + window < len(a):
        for k in range(window - 1, 0, -1):
            _sum_backward(a[block + k, first:stop], sums[k + 1, :width], sums[k, :width])
    return True


@njit(nogil=True, error_model="numpy")
def _mean_gaps(a, block, window, min_count, first, stop, sums, count, out):  # type: ignore[no-untyped-def]
    """One block of one tile with samples missing; True if the next one may be taken for whole again.

    count    float64[stop - first], samples in the window that ended before the block; moves along
    """
    width = stop - first
    prefix = sums[0, :width]
    prefix[:] = 0.0
    for t in range(block, min(block + window, len(a))):
        row = a[t, first:stop]
        if t >= window:
            _seen_move(row, a[t - window, first:stop], count)
        else:
            _seen_count(row, count)
        k = t - block + 1 if block > 0 else window
        _seen_forward(row, prefix, sums[k, :width], count, min_count, out[t, first:stop])
    if block + window < len(a):
        for k in range(window - 1, 0, -1):
            _seen_backward(a[block + k, first:stop], sums[k + 1, :width], sums[k, :width])
    return count.min() == window and _nan_count(prefix) == 0


@njit(
    types.void(_MATRIX_IN, types.int64, types.int64, _MATRIX, types.float64[::1], _MATRIX),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _move_mean(
    a: NDArray[np.float64],
    window: int,
    min_count: int,
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Tile by tile of series, block by block of `window` rows, so that a block is still in cache on its way back.

    sums      float64[window + 1, tile]: the suffixes of the block before from each of its rows on; row 0 is the prefix
              of this block, row `window` the empty suffix, all that the first block has
    counts    float64[tile], samples in the window
    """
    time, series = a.shape
    for first in range(0, series, len(counts)):
        stop = min(first + len(counts), series)
        count = counts[: stop - first]
        sums[window, :] = 0.0
        whole = True
        for block in range(0, time, window):
            if whole:
                whole = _mean_whole(a, block, window, min_count, first, stop, sums, out)
                if whole:
                    continue
                count[:] = window if block > 0 else 0.0
            whole = _mean_gaps(a, block, window, min_count, first, stop, sums, count, out)


@njit(
    types.void(_MATRIX_IN, types.float64, _MATRIX, _MATRIX),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _move_ewma(a: NDArray[np.float64], alpha: float, state: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """state: float64[2, series], mean (NaN to start) and sum of weights (0 to start), the last ones when it returns.

    The mean moves towards each sample instead of being a quotient of two sums, which would vanish in a long gap.
    """
    keep = 1.0 - alpha
    mean, weight = state[0], state[1]
    for t in range(len(a)):
        for i in range(a.shape[1]):
            x = a[t, i]
            seen = x == x
            weight[i] = keep * weight[i] + (1.0 if seen else 0.0)
            moved = mean[i] + (x - mean[i]) / weight[i] if mean[i] == mean[i] else x
            mean[i] = moved if seen else mean[i]
            out[t, i] = mean[i]

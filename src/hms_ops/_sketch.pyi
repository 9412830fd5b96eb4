"""Sketches: how the samples of a timer, histogram or distribution were spread, in a few dozen bytes.

A sketch is immutable bytes, in memory and on disk the same; b"" is the sketch of no samples. Base-2 exponential buckets
of schema 4, at most 320 in use, beyond that halved: an estimated sample is within 2.17 % of the true one (4.33 % after
one halving, 8.6 % after two). Merging is exact: in any order, of any parts, the same bytes (but for the rounding of
weights that are no integers). Pure functions, any thread. ValueError for bytes that are no sketch; TypeError for what
is no bytes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

def from_values(values: ArrayLike, weights: ArrayLike | None = None) -> bytes:
    """The sketch of float64[n] finite samples, each counted `weights` times (float64[n], finite, above zero).

    ValueError for other values or weights.
    """

def merge(blobs: list[bytes]) -> bytes:
    """The sketch of all samples of all blobs."""

def merge_groups(data: bytes, offsets: ArrayLike, group_offset: ArrayLike) -> tuple[bytes, NDArray[np.int64]]:
    """Merge k sketches group by group, without the GIL: (data, offsets int64[g + 1]) of the g merged ones.

    data and offsets int64[k + 1]: the i-th is data[offsets[i]:offsets[i + 1]]. group_offset int64[g + 1]: group j has
    the sketches group_offset[j] to group_offset[j + 1] − 1. An empty group makes an empty sketch. ValueError for
    offsets that do not ascend or reach beyond.
    """

def quantiles_of_groups(
    data: bytes, offsets: ArrayLike, group_offset: ArrayLike, quantiles: ArrayLike
) -> NDArray[np.float64]:
    """float64[g, q]: the quantiles of each group's samples, as `merge_groups` and `quantiles` one after the other."""

def quantiles(blob: bytes, quantiles: ArrayLike) -> NDArray[np.float64]:
    """float64[q]: the samples at these quantiles, interpolated as numpy does by default; NaN when the sketch is empty.

    quantiles: float64[q], each 0 to 1, ValueError otherwise. Estimates may lie outside the true least and greatest
    sample by the error named above: whoever knows those clamps.
    """

def share_le(blob: bytes, value: float) -> float:
    """The part, 0 to 1, of the samples that are `value` or less; NaN when the sketch is empty or `value` is NaN.

    Exact at a bucket's bound, in between as if the bucket's samples were spread evenly by their logarithm: whoever
    knows the least and the greatest sample takes 0 below the one and 1 from the other on.
    """

def count(blob: bytes) -> float:
    """How many samples, weights summed."""

def buckets(blob: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(upper bound float64[b], count float64[b]) of the buckets in use, ascending; zeros have the bound 0.

    A positive bucket includes its upper bound, a negative one its lower; the greatest bound may be infinite.
    """

def schema(blob: bytes) -> int:
    """4 (estimates within 2.17 %) down to −4; each halving takes one off and doubles the error."""

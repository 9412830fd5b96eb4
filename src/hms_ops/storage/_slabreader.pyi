"""Bits of a slab as rows. All may be given hostile bytes: whatever they hold, nothing outside is touched.

data: the slab; entries: uint32[frames, 4], its entries; payloads_at: what their offsets count from; params: uint8[m,
FRAME_PARAM_BYTES], unpacked frames of the key; where: int32[frames], the row of params for each entry, -1 where the key
has none. ValueError for arrays that do not fit each other.
"""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

FRAME_PARAM_BYTES: int
"""The unpacked parameters of one frame."""

def unpack(packed: Buffer, params: NDArray[np.uint8]) -> bool:
    """Fill `params`, uint8[FRAME_PARAM_BYTES]; False for bytes that are no parameters of a frame."""

def rows(
    data: Buffer,
    entries: NDArray[np.uint32],
    payloads_at: int,
    params: NDArray[np.uint8],
    where: NDArray[np.int32],
    ids: NDArray[np.uint32],
    columns: NDArray[np.float64],
) -> int:
    """Fill ids uint32[k] and columns float64[6, k]; how many, or -1 - the entry that is damaged."""

def fold(
    data: Buffer,
    entries: NDArray[np.uint32],
    payloads_at: int,
    params: NDArray[np.uint8],
    where: NDArray[np.int32],
    columns: NDArray[np.float64],
) -> int:
    """Merge all rows into columns float64[6, n] by id; how many, or -1 - the entry that is damaged or beyond n."""

def frame(
    data: Buffer,
    entries: NDArray[np.uint32],
    payloads_at: int,
    number: int,
    params: NDArray[np.uint8],
    where: int,
    out: NDArray[np.float64],
) -> int:
    """Fill out float64[6, 512], COUNT 0 where there is no row; how many rows, or -1 when the frame is damaged."""

def chosen(
    data: Buffer,
    entries: NDArray[np.uint32],
    payloads_at: int,
    params: NDArray[np.uint8],
    ids: NDArray[np.uint32],
    places: NDArray[np.int64],
    columns: NDArray[np.float64],
    at: int,
) -> int:
    """Write the rows of ids uint32[k] (ascending) from `at` on; the new end, or -1 - the entry that is damaged.

    params has a row for each frame of ids, in their order. places int64[room]: positions among ids; columns
    float64[6, room]; room for k rows behind `at`.
    """

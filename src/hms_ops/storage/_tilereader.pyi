"""Bits of a tile as rows, series by series."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

def frame(
    raw: Buffer,
    mask: int,
    all_steps: int,
    span: tuple[int, int],
    block_start: int,
    step_seconds: int,
    first_id: int,
    steps: NDArray[np.int64],
    ids: NDArray[np.uint32],
    columns: NDArray[np.float64],
    at: int,
) -> int:
    """Write rows of a frame from `at` on; the new end, or -1 when the frame is damaged or its rows find no room.

    raw: the frame, unpacked; hostile bytes are no danger. mask: bit i for series first_id + i. span: numbers of steps
    in the block, the end excluded. steps int64[room], ids uint32[room], columns float64[6, room]. Without the GIL.
    """

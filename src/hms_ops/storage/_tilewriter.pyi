"""The rows of a few series as bits, each series by itself."""

import numpy as np
from numpy.typing import NDArray

def room(steps: int) -> int:
    """The bytes that a frame of so many steps takes at most."""

def frame(columns: NDArray[np.float64], first: int, out: NDArray[np.uint8]) -> tuple[int, int]:
    """Write the frame of series `first` to first + 7 of float64[6, steps, n] to `out`; (bytes, rows).

    ValueError for another shape, and for an `out` smaller than room(steps). Without the GIL.
    """

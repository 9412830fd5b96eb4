"""What a slab's writer keeps of each id, and rows as bits."""

import numpy as np
from numpy.typing import NDArray

PACKED_PARAM_BYTES: int
"""The most that `params_of` writes."""

class Writer:
    """Parameters and what was learnt for ids 0 … n - 1, where n grows with the columns given. One thread at a time."""

    @property
    def frames(self) -> int:
        """Of all ids seen so far."""

    def renew(self, columns: NDArray[np.float64]) -> None:
        """Make the parameters of a key of this step, float64[6, n]; without the GIL."""

    def is_strange(self, columns: NDArray[np.float64]) -> bool:
        """Whether so many rows of ids that the last key does not know, now or since, are better met by a key."""

    def params_of(self, frame: int, out: NDArray[np.uint8]) -> int:
        """Write the parameters of a frame's ids as they are packed, and return the bytes; 0 when it has none."""

    def rows(
        self, columns: NDArray[np.float64], out: NDArray[np.uint8], entries: NDArray[np.uint32]
    ) -> tuple[int, int]:
        """Write the frames of a step to `out`, uint8[room(n)], their entries to uint32[frames, 4]; (frames, bytes)."""

def room(n: int) -> int:
    """The bytes that the rows of n ids take at most."""

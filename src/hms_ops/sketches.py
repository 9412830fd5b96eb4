"""Sketches of many series side by side: the form in which they leave the store, are packed on disk and come back.

A sketch is the exponential histogram of one series in one step, as the bytes that `_sketch` documents; here they are
opaque. Made by the store (`take_sketches`) and by storage; plain values, nothing is shared with the store.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hms_ops.storage._gather import pick_blobs


@dataclass(frozen=True, slots=True)
class Sketches:
    """k sketches; the i-th is data[offsets[i]:offsets[i + 1]], of series ids[i] (an id, a slot or a place, as its maker
    says) in the step that starts at steps[i], Unix seconds."""

    ids: NDArray[np.uint32]
    steps: NDArray[np.int64]
    offsets: NDArray[np.int64]
    data: bytes

    def __len__(self) -> int:
        return len(self.ids)

    def blob(self, i: int) -> bytes:
        return self.data[int(self.offsets[i]) : int(self.offsets[i + 1])]

    def chosen(self, index: NDArray[np.intp]) -> "Sketches":
        """Those at `index`, in its order."""
        if len(index) == len(self) and (index[1:] > index[:-1]).all():
            return self
        data, offsets = pick_blobs(self.data, self.offsets, index)
        return Sketches(self.ids[index], self.steps[index], offsets, data)


def no_sketches() -> Sketches:
    return Sketches(np.empty(0, np.uint32), np.empty(0, np.int64), np.zeros(1, np.int64), b"")


def joined(parts: list[Sketches]) -> Sketches:
    """The parts one after another."""
    if not parts:
        return no_sketches()
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Sketches(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.steps for part in parts]),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        b"".join([part.data for part in parts]),
    )

"""Gathering rows of history: many slabs and tiles in, one row for each (step, place) out, in order and merged.

`merge.fold` does the same by sorting; here each row goes to its cell of a grid (step × series) at once, so a page of 64
series over a day costs a few ms. Used block by block: `begin`, any number of `take`s in the order the rows were
written, `end`; what `end` puts out goes behind what came before, so blocks that ascend give rows that ascend.

Rows are merge.py's. Counts and sums add, m2 by Chan's merge, `last` is that of the row taken later. Rows with a count
that is not above 0, of other ids or of steps outside the grid are left out, so hostile input writes nowhere else.

Memory: 48 bytes a cell of the grid, at most `cells_max` of them, and 64 bytes a row of the result. The GIL is released
for 4,096 rows and more. An object belongs to one thread.
"""

from hms_ops.storage.merge import Integers
from hms_ops.storage.row import Columns, Ids

cells_max: int

class Gather:
    def __init__(self, ids: Ids, step_seconds: int, rows_expected: int = 0) -> None:
        """ids uint32[n] ascending, each once; the places are those in it. ValueError: a step of no seconds."""

    def begin(self, first_step: int, steps: int) -> None:
        """An empty grid of `steps` steps from `first_step` (Unix seconds) on; what was taken and not ended is dropped.

        ValueError for more than `cells_max` cells, MemoryError.
        """

    def take(self, steps: Integers, ids: Ids, columns: Columns) -> None:
        """Rows with their ids, in any order, fastest by id: int64[k], uint32[k], float64[6, k]. ValueError: shapes."""

    def take_places(self, steps: Integers, places: Integers, columns: Columns) -> None:
        """The same with their places among the ids, int64[k]."""

    def end(self) -> int:
        """Put out the rows of the grid by (step, place) and empty it; returns how many."""

    def result(self) -> tuple[Integers, Integers, Columns]:
        """All rows put out: steps int64[k], places int64[k], columns float64[6, k] (a view: a row of it is contiguous,
        the whole may not be). Afterwards the object is not to be used any more."""

def fold_rows(places: Integers, rows: Columns, columns: Columns) -> None:
    """Merge rows float64[6, k], in their order, into columns float64[6, n] at places int64[k]; count 0 is empty there.

    Places outside and rows without a count are left out. ValueError: shapes.
    """

def pick_blobs(data: bytes, offsets: Integers, index: Integers) -> tuple[bytes, Integers]:
    """(data, offsets) of the blobs at `index`, in its order; the i-th is data[offsets[i]:offsets[i + 1]].

    ValueError for one that is not there.
    """

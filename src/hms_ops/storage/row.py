"""The row: what one series did in one step. Plain names and types, shared by all of storage.

Many rows are columns float64[6, k] in the order of FIELDS: how many samples, their sum, the sum of their squared
distances from the mean, the smallest, the largest, and the latest. A row with count 0 is no row.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FIELDS: Final = ("count", "sum", "m2", "min", "max", "last")
"""The columns, in the order of the store's: `columns[COUNT]`, `columns[SUM]`…"""

COUNT, SUM, M2, MIN, MAX, LAST = range(len(FIELDS))

Ids = NDArray[np.uint32]
Columns = NDArray[np.float64]

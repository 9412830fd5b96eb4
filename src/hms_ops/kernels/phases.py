"""The numbers of the state kernel (`kernels/states.py`), shared with the book (`alert/states/instances.py`).

Apart from the kernel so that making a book imports no numba. They are frozen into the kernel's cached machine code,
which does not see edits here: a number keeps its meaning. `alert/states/state.py` has the words, in the same order.
"""

from typing import Final

# phases
INACTIVE: Final = 0
PENDING: Final = 1
FIRING: Final = 2
RECOVERING: Final = 3

# what NODATA reads NULL as
NODATA_KEEP: Final = 0
NODATA_OK: Final = 1
NODATA_ALERT: Final = 2

# events
NO_EVENT: Final = 0
TOLD_PENDING: Final = 1
TOLD_FIRING: Final = 2
TOLD_RESOLVED: Final = 3

# rows of `clocks`, in Unix seconds but for EPISODE
SINCE: Final = 0
CLOCK_START: Final = 1
STEPPED: Final = 2
EPISODE: Final = 3
ENDED: Final = 4
CLOCKS: Final = 5

# bits of `marks`
RESTORED: Final = 1  # it comes from before a restart and waits for windows that are wholly known
STALE: Final = 2  # it fired before the engine was away for long, and has not been FALSE since
STILL: Final = 4  # its clock stood still at the last step
CHANGED: Final = 8  # what is on disk of it is out of date

# columns of `timings`, one row for each rule
FOR: Final = 0
KEEP: Final = 1
NODATA: Final = 2
HAS_RECOVER: Final = 3
TIMINGS: Final = 4

# rows of `told`, one column for each event
TOLD_PLACE: Final = 0
TOLD_EVENT: Final = 1
TOLD_SINCE: Final = 2
TOLD: Final = 3

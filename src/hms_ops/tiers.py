"""The steps that the store keeps of every series, as the kernels, the tick and the readers of its columns see them.

Plain values, so that who needs no kernel does not import numba for them; the native core has its own (_store.pxd).
"""

from typing import Final

TIER_SECONDS: Final = (1, 10, 60)  # how long a step of each tier is
SLOTS: Final = 64  # steps kept in each tier
KEPT_STEPS: Final = 61  # of them readable while the next ones are written, above the seconds
WINDOW_SECONDS_MAX: Final = 3600  # the longest window that the tiers cover

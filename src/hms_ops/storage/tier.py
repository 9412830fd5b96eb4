"""The tiers of history: how long a step is, a block of steps, and a partition of blocks. Plain values.

A step is what a row stands for. The steps of a block are slabs until it closes, tiles afterwards; a partition is what
retention gives up at once. All begin at whole multiples of their length since 1970, UTC.
"""

from typing import Final, NamedTuple


class Tier(NamedTuple):
    """Lengths in seconds; each is a multiple of the one before."""

    name: str
    step_seconds: int
    block_seconds: int
    partition_seconds: int

    @property
    def block_steps(self) -> int:
        return self.block_seconds // self.step_seconds

    def block_start(self, second: int) -> int:
        return second - second % self.block_seconds

    def partition_start(self, second: int) -> int:
        return second - second % self.partition_seconds


TEN_SECONDS: Final = 0
MINUTE: Final = 1
HOUR: Final = 2

TIERS: Final = (
    Tier("10s", 10, 3_600, 21_600),
    Tier("1m", 60, 21_600, 259_200),
    Tier("1h", 3_600, 604_800, 2_419_200),
)

"""What a measurement returns and how long it may take."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pace:
    """How long to measure. rounds: repeats whose median counts; seconds: of one round under load."""

    rounds: int
    seconds: float
    # A minute of clock ticks and the like are cut down to this part, so that a harness can be tried in a minute.
    share: float = 1.0

    def part(self, n: int, least: int = 1) -> int:
        """`n` at full pace, fewer at a quick one."""
        return max(least, round(n * self.share))


FULL: Final = Pace(rounds=7, seconds=2.0)
QUICK: Final = Pace(rounds=2, seconds=0.3, share=0.1)


@dataclass(frozen=True)
class Figure:
    """One row of the table: what was measured, what it should be at most, and what it stands beside.

    name: its key in results.json. rounds: the measured values in `unit`; their median is the figure. at_most: the
    target, None when the row is there to compare. beside, beside_rounds: the limit or contender measured in the same
    run, in the same unit. ratio_at_most: a target that is a multiple of it. note: what belongs to the figure.
    """

    name: str
    what: str
    unit: str
    rounds: Sequence[float]
    at_most: float | None = None
    beside: str = ""
    beside_rounds: Sequence[float] = ()
    ratio_at_most: float | None = None
    note: str = ""

    @property
    def measured(self) -> float:
        return statistics.median(self.rounds)

    @property
    def limit(self) -> float:
        """The median of what it stands beside; NaN without one."""
        return statistics.median(self.beside_rounds) if self.beside_rounds else math.nan

    @property
    def ratio(self) -> float:
        """measured / limit; NaN without one, or when the limit is 0."""
        return self.measured / self.limit if self.beside_rounds and self.limit else math.nan

    @property
    def is_met(self) -> bool | None:
        """Whether every target is reached; None when there is none."""
        if self.at_most is None and self.ratio_at_most is None:
            return None
        reached = self.at_most is None or self.measured <= self.at_most
        return reached and (self.ratio_at_most is None or self.ratio <= self.ratio_at_most)

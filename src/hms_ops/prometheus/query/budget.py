"""What one query may cost: numbers held, numbers read through windows, and time; what one listing may hold. Over one
of them it is refused.

Counted over the whole query, whatever its parts. Its time begins when it is asked, so that what has waited for all of
it is not begun. Threads: the query's own; a `Patience` is ended by whoever waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.prometheus.query.refused import LIMIT, TIMEOUT, UNAVAILABLE, Refused

SERIES_MAX: Final = 10_000  # of one selector, and of an answer
CELLS_MAX: Final = 10_000_000  # numbers of all selectors: rows and times of each series
LISTED_MAX: Final = 50_000  # names, values or series in one listing; Grafana asks for 40,000
WORK_MAX: Final = 400_000_000  # numbers that windows look at, each as often as it is in one


@dataclass(slots=True)
class Patience:
    """Who waits for an answer. begun_ns: since when; is_over: not any more; is_stopping: whether the server ends."""

    is_stopping: Callable[[], bool] = lambda: False
    begun_ns: int = field(default_factory=steady_ns)
    is_over: bool = False


class Budget:
    """Spent by what reads and what evaluates. Refused at once where the time is over already."""

    def __init__(self, seconds_max: float, patience: Patience | None = None) -> None:
        self._seconds_max = seconds_max
        self._patience = patience or Patience()
        self._end_ns = self._patience.begun_ns + int(seconds_max * SECOND_NS)
        self._cells = 0
        self._work = 0
        self.check_time()

    def room(self) -> int:
        """How many more numbers may be held."""
        return CELLS_MAX - self._cells

    def hold(self, cells: int) -> None:
        """Numbers that are about to be held."""
        self._cells += cells
        if self._cells > CELLS_MAX:
            raise Refused(
                LIMIT,
                f"the query reads more than {CELLS_MAX:,} samples and values: choose fewer series, a shorter "
                "range or a longer step",
            )
        self.check_time()

    def work(self, cells: int) -> None:
        """Numbers that windows are about to look at."""
        self._work += cells
        if self._work > WORK_MAX:
            raise Refused(
                LIMIT,
                f"the windows of the query hold more than {WORK_MAX:,} samples together: choose fewer series, shorter "
                "windows or a longer step",
            )
        self.check_time()

    def series(self, count: int) -> None:
        """How many series a selector or an answer has."""
        if count > SERIES_MAX:
            raise Refused(LIMIT, f"{count:,} series, {SERIES_MAX:,} are allowed: choose by labels, or aggregate")
        self.check_time()

    def is_full(self, count: int, limit: int) -> bool:
        """Whether a listing of so many has all it may hold: then it is cut at its limit, or refused where it has none
        that is less."""
        self.check_time()
        if count <= LISTED_MAX:
            return False
        if 0 < limit <= LISTED_MAX:
            return True
        raise Refused(
            LIMIT,
            f"more than {LISTED_MAX:,} would be listed: ask with match[], or with a limit of {LISTED_MAX:,} at most",
        )

    def check_time(self) -> None:
        if self._patience.is_over:
            raise Refused(UNAVAILABLE, "nobody waits for the answer any more")
        if self._patience.is_stopping():
            raise Refused(UNAVAILABLE, "the engine stops")
        if steady_ns() > self._end_ns:
            raise Refused(TIMEOUT, f"the query took longer than {self._seconds_max:g} s")

"""The sealer: a thread that makes tiles of the blocks of history that have closed, and gives disk back.

Beside the writer (recorder.py) and never in its way; what sealing is stands in storage/seal.py. A block that cannot be
sealed is told once, tried again each time, and costs the other blocks nothing.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hms_ops.clock import SECOND_NS
from hms_ops.errors import StorageError

if TYPE_CHECKING:
    from hms_ops.storage.history import History

log = logging.getLogger("hms_ops.history")

SEALING_SECONDS: Final = 10.0


class Sealer:
    """now_ns: the store's clock."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.history: History | None = None  # none: nothing is on disk
        self._now_ns = now_ns
        self._stopped = threading.Event()
        self._problems: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """The thread's life; ends soon after `stop`."""
        while not self._stopped.wait(SEALING_SECONDS):
            try:
                self.seal_due()
            except Exception:
                log.exception("the sealer failed; it goes on")

    def stop(self) -> None:
        self._stopped.set()

    def seal_due(self) -> None:
        """Seal every block that is due."""
        if self.history is None:
            return
        due = self._due(self.history)
        self._problems = {block: problem for block, problem in self._problems.items() if block in due}
        for tier, block in due:
            if self._stopped.is_set():
                return
            try:
                self.history.seal(tier, block, self._stopped.is_set)
                self._problems.pop((tier, block), None)
            except StorageError as error:
                self._tell((tier, block), str(error))

    def counters(self) -> dict[str, int]:
        return {"blocks_not_sealed": len(self._problems)}

    @property
    def problem(self) -> str:
        """Why a block is not sealed, or ""."""
        return next(iter(self._problems.values()), "")

    def _due(self, history: "History") -> list[tuple[int, int]]:
        try:
            return history.sealable(self._now_ns() // SECOND_NS)
        except StorageError as error:
            self._tell((-1, -1), str(error))
            return []

    def _tell(self, block: tuple[int, int], problem: str) -> None:
        if self._problems.get(block) != problem:
            log.error("a block of history is not sealed, its slabs stay: %s", problem)
        self._problems[block] = problem

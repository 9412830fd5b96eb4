"""Whether an action has helped: runs that are watched until their alert has cleared, or their time is up.

`action.py` asks once a second; `is_cleared` is the book's word. Times are ns, Unix. Not thread-safe but for `watch`
and `count`: the actions' thread decides. Limits: VERIFIES_MAX runs; what finds no room is told so and not watched.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hms_ops.alert.actions.run import Run
from hms_ops.clock import SECOND_NS

LOGGER: Final = logging.getLogger("hms_ops.alert")

VERIFIES_MAX: Final = 1_000
NO_ROOM: Final = f"not watched: {VERIFIES_MAX} runs are being watched already"

IsCleared = Callable[[str, Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a watched run, so many seconds after it."""

    run: Run
    is_cleared: bool
    outcome: str
    after_seconds: float


@dataclass(frozen=True, slots=True)
class Verify:
    """A run whose effect is being watched."""

    run: Run
    started_ns: int
    deadline_ns: int


class Verifying:
    """All of them."""

    def __init__(self, is_cleared: IsCleared) -> None:
        self._is_cleared = is_cleared
        self._lock = threading.Lock()
        self._verifies: list[Verify] = []

    @property
    def count(self) -> int:
        return len(self._verifies)

    def watch(self, run: Run, started_ns: int, deadline_ns: int) -> bool:
        """False when there is no room."""
        with self._lock:
            if len(self._verifies) >= VERIFIES_MAX:
                return False
            self._verifies.append(Verify(run, started_ns, deadline_ns))
            return True

    def decided(self, now_ns: int) -> list[Verdict]:
        """Those that are over, and are watched no more."""
        with self._lock:
            watched = list(self._verifies)
        found = [(verify, self._has_cleared(verify)) for verify in watched]
        over = [(verify, has) for verify, has in found if has or now_ns >= verify.deadline_ns]
        with self._lock:
            for verify, _ in over:
                self._verifies.remove(verify)
        return [self._verdict(verify, has, now_ns) for verify, has in over]

    def _verdict(self, verify: Verify, has_cleared: bool, now_ns: int) -> Verdict:
        limit = (verify.deadline_ns - verify.started_ns) / SECOND_NS
        outcome = "cleared" if has_cleared else f"not cleared within {limit:g} s"
        return Verdict(verify.run, has_cleared, outcome, round((now_ns - verify.started_ns) / SECOND_NS, 3))

    def _has_cleared(self, verify: Verify) -> bool:
        alert = verify.run.alert
        try:
            return self._is_cleared(alert.name, alert.tags)
        except Exception:
            LOGGER.exception("asking whether %s has cleared failed", alert.name)
            return False

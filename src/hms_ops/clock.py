"""The only module that reads a clock; everything else is handed `now_ns`.

Time is the monotonic clock anchored to wall time once, so that a step of the wall clock can neither fire nor resolve
an alert. `WallAnchor.step_ns()` says how far the wall has moved away since; the engine re-anchors and logs it.
`ManualClock` stands in wherever a clock is asked for: tests move an hour in a loop.
"""

import time
from typing import Protocol

SECOND_NS = 1_000_000_000
MANUAL_POLL_SECONDS = 0.01


def monotonic_ns() -> int:
    """For durations and deadlines; its zero means nothing."""
    return time.monotonic_ns()


def thread_seconds() -> float:
    """CPU time of the calling thread."""
    return time.thread_time()


def steady_ns() -> int:
    """The monotonic clock, in ns since some moment: for deadlines and costs, whatever happens to the wall's time."""
    return time.monotonic_ns()


class Clock(Protocol):
    """What the engine needs to know of time."""

    def now_ns(self) -> int:
        """int64 Unix nanoseconds, never going back except where `reanchor` moved them."""

    def sleep_until_ns(self, deadline_ns: int, wake: "Waitable") -> bool:
        """Wait for the deadline or for `wake`; True when woken."""


class Waitable(Protocol):
    """The part of threading.Event that a clock needs."""

    def wait(self, timeout: float | None = None) -> bool: ...


class WallAnchor:
    """The monotonic clock plus the offset to wall time that held when it was anchored.

    Thread-safe: the offset is one int, replaced whole.
    """

    def __init__(self) -> None:
        self.offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() + self.offset_ns

    def step_ns(self) -> int:
        """How far the wall clock is ahead of this one, in ns; a step of NTP or of an operator shows here."""
        return time.time_ns() - self.now_ns()

    def reanchor(self) -> int:
        """Take the wall's time as it is now; returns the step in ns."""
        step_ns = self.step_ns()
        self.offset_ns += step_ns
        return step_ns

    def sleep_until_ns(self, deadline_ns: int, wake: Waitable) -> bool:
        return wake.wait(max(0.0, (deadline_ns - self.now_ns()) / SECOND_NS))


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ns: int = 1_700_000_000 * SECOND_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, seconds: float) -> int:
        """Move on by `seconds`; returns the new time in ns."""
        self._now_ns += round(seconds * SECOND_NS)
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int, wake: Waitable) -> bool:
        """Wait until a test has moved the clock there, but no longer than that would really take."""
        real_end = time.monotonic() + (deadline_ns - self._now_ns) / SECOND_NS
        while self._now_ns < deadline_ns and time.monotonic() < real_end:
            if wake.wait(MANUAL_POLL_SECONDS):
                return True
        return False

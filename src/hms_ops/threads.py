"""The engine's threads: all are made here, each has a name, is a daemon, and is waited for at a stop.

Daemons, because a thread that hangs (in somebody's handler, on a disk) must not keep a program from ending; the engine
stops them at the interpreter's exit. A thread never waits for itself: a handler may stop the engine it runs in.
"""

import threading
from collections.abc import Callable
from typing import Final

from hms_ops.clock import SECOND_NS, steady_ns

StartThread = Callable[[str, Callable[[], None]], threading.Thread]

LAST_SECONDS: Final = 0.01  # a little, when a deadline is over: what has ended already is seen


class Threads:
    """Those of one engine that run."""

    def __init__(self) -> None:
        self._running: list[threading.Thread] = []

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Run `target` in a new thread."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._running = [known for known in self._running if known.is_alive()] + [thread]
        return thread

    def join(self, end_ns: int, *names: str) -> list[str]:
        """Wait for the threads of these names until `end_ns` of steady_ns; returns those that still run."""
        found = [thread for thread in self._running if thread.name in names]
        for thread in found:
            wait_for(thread, left_seconds(end_ns))
        return [thread.name for thread in found if thread.is_alive()]

    def forget(self) -> None:
        """In a forked child, where none of them runs."""
        self._running = []


def wait_for(thread: threading.Thread, seconds: float) -> None:
    """Join, unless it is this very thread."""
    if thread is not threading.current_thread():
        thread.join(seconds)


def left_seconds(end_ns: int) -> float:
    """Until an end on steady_ns; LAST_SECONDS at least."""
    return max(LAST_SECONDS, (end_ns - steady_ns()) / SECOND_NS)

"""Signals as values that the main thread waits for, instead of code that runs between two of its instructions.

A handler that sets a threading.Event can meet the main thread inside that Event's lock and wait for itself for ever. So
the handlers here do nothing; the interpreter writes each signal's number into a socket pair, and `wait` reads it.
"""

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any


def interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM like Ctrl-C, while a command starts or copies and has its clean-up in `finally`."""
    raise KeyboardInterrupt


class Signals:
    """`with Signals(SIGTERM, SIGHUP) as signals: signals.wait(1.0)`; main thread only."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self.numbers = numbers
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup_fd = -1

    def __enter__(self) -> "Signals":
        self._wakeup_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in self.numbers:
            self._handlers[number] = signal.signal(number, lambda number, frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._read.close()
        self._write.close()

    def wait(self, timeout_seconds: float | None = None) -> list[int]:
        """The signals that came, in order; [] when none came in time."""
        ready, _, _ = select.select([self._read], [], [], timeout_seconds)
        return [number for number in self._read.recv(4096) if number in self.numbers] if ready else []

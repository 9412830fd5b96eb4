"""The gate: many may change what is stored, each for a moment; a pause keeps all of them out."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._is_paused = False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Waits while there is a pause. Not to be entered twice by one thread: a pause may come in between."""
        with self._condition:
            self._condition.wait_for(lambda: not self._is_paused)
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody is changing anything inside; waits for those that are, and for another pause."""
        with self._condition:
            self._condition.wait_for(lambda: not self._is_paused)
            self._is_paused = True
            self._condition.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._condition:
                self._is_paused = False
                self._condition.notify_all()

"""Functions that want to be told of something as it happens: the engine's events, the sealed seconds.

Whoever tells calls them one after the other in its own thread; one that raises is logged and costs the others nothing.
The list is replaced, never changed, so that telling needs no lock.
"""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("hms_ops.watchers")


class Watchers(Generic[T]):
    """Those of one sort of news."""

    def __init__(self) -> None:
        self._watchers: tuple[Callable[[T], object], ...] = ()

    def add(self, watcher: Callable[[T], object]) -> Callable[[], None]:
        """Tell `watcher` from now on, until the returned function is called."""
        self._watchers = (*self._watchers, watcher)

        def end() -> None:
            self._watchers = tuple(known for known in self._watchers if known is not watcher)

        return end

    def tell(self, news: T) -> None:
        for watcher in self._watchers:
            try:
                watcher(news)
            except Exception:
                log.exception("the watcher %r failed", watcher)

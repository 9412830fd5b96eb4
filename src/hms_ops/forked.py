"""What is left of an engine in a forked child: a client.

The hook here tells an engine of a fork; it makes a `Child`. Samples go to the parent's listener as any client's would;
what a datagram cannot carry (alerts, descriptions, raw datagrams) is counted as dropped, and so is everything where the
parent has no listener. Nothing here touches what the parent uses: the store's memory in the child is a copy that only
counts.
"""

import importlib
import os
import weakref
from typing import Protocol

from hms_ops._ring import Store


class Forkable(Protocol):
    """An engine, as a fork sees it."""

    def become_client(self) -> None: ...


# One hook for all engines: a hook cannot be taken back, and would keep each engine's memory for ever.
_engines: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def follow_forks(engine: Forkable) -> None:
    """From now on, tell the engine in each child that it is one."""
    _engines.add(engine)


def _prepare_fork() -> None:
    """Import in the parent what its children need: another thread may hold an import's lock while it forks."""
    if _engines:
        importlib.import_module("hms_ops.client")


def _become_clients() -> None:
    for engine in list(_engines):
        engine.become_client()


os.register_at_fork(before=_prepare_fork, after_in_child=_become_clients)


class Child:
    """A client of the parent's listener at `url`, or a count of what was dropped."""

    def __init__(self, store: Store, url: str | None) -> None:
        from hms_ops.client import Client

        self.dropped = 0  # besides samples: what a client's datagrams cannot carry
        self._store = store
        self._client = Client(url) if url is not None else None
        store.set_forward(self._client.metric if self._client is not None else None)

    def flush(self) -> None:
        if self._client is not None:
            self._client.flush()

    def counters(self) -> dict[str, int]:
        """`dropped` in all, and what the client says of its own."""
        sent = self._client.counters() if self._client is not None else {}
        lost = sum(count for name, count in sent.items() if name.startswith("dropped"))
        return {**sent, "dropped": self.dropped + self._store.counters()["dropped_after_fork"] + lost}

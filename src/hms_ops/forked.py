"""What is left of an engine in a forked child: a client.

The hook here tells an engine of a fork; it makes a `Child`. Samples go to the parent's listener as any client's would,
raw datagrams as they are, at once; descriptions, which no datagram carries, are counted as dropped, and so is
everything where the parent has no listener. Nothing here touches what the parent uses: the store's memory in the child
is a copy that only counts.
"""

import importlib
import os
import threading
import weakref
from typing import Any, Protocol

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
        from hms_ops.client.transport import Transport

        self._store = store
        self._client = Client(url) if url is not None else None
        self._raw = Transport(url) if url is not None else None
        self.forget()
        store.set_forward(self._client.metric if self._client is not None else None)

    def forget(self) -> None:
        """In a child of this one: count anew, with a socket and a lock of its own; the client does so by itself."""
        self.dropped = 0  # besides samples: descriptions, and datagrams without a listener
        self._sending = threading.RLock()  # a signal's handler may emit as well
        if self._raw is not None:
            self._raw.forget()

    def ingest(self, datagram: Any) -> None:
        """Send it on as it is. Waits briefly for a listener whose queue is full; TypeError for what is no buffer."""
        data = bytes(memoryview(datagram))
        with self._sending:
            if self._raw is None:
                self.dropped += 1
            else:
                self._raw.send([(data, 1)])

    def flush(self) -> None:
        if self._client is not None:
            self._client.flush()

    def counters(self) -> dict[str, int]:
        """`dropped` in all, what the client says of its own, and the `raw` datagrams that were sent as they are."""
        sent = self._client.counters() if self._client is not None else {}
        lost = self.dropped + self._store.counters()["dropped_after_fork"] + sent.get("dropped", 0)
        if self._raw is not None:
            sent["raw"] = self._raw.sent
            lost += self._raw.dropped_busy + self._raw.dropped_unreachable
        return {**sent, "dropped": lost}

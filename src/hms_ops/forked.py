"""What is left of an engine in a forked child: a client.

The engine makes a `Child` in its after-fork hook. Samples go to the parent's listener as any client's would; what a
datagram cannot carry (alerts, descriptions, raw datagrams) is counted as dropped, and so is everything where the parent
has no listener. Nothing here touches what the parent uses: the store's memory in the child is a copy that only counts.
"""

from hms_ops._ring import Store


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

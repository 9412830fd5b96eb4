"""A client of the live stream that reads what it is told to read, and a slow, obvious twin of what it should get."""

import json
import math
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

NUMBERS = ("value", "count", "sum", "min", "max", "last")


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    id: str
    kind: str
    data: dict[str, Any]

    @property
    def second(self) -> int:
        return int(self.id.split(".")[0])


@dataclass
class Following:
    """An open stream. comments: those that were read over."""

    answer: HTTPResponse
    connection: HTTPConnection
    comments: int = 0
    retry: int = 0
    seen: list[Event] = field(default_factory=list)

    def next(self, kind: str | None = None) -> Event:
        """The next event, of that kind: others are read over. EOFError at the end."""
        while True:
            event = self._read()
            self.seen.append(event)
            if kind in (None, event.kind):
                return event

    def take(self, count: int) -> list[Event]:
        return [self.next() for _ in range(count)]

    def until_second(self, second: int) -> list[Event]:
        """All events until the cells of a second, these included."""
        found = [self.next()]
        while not (found[-1].kind == "cells" and found[-1].data["time"] >= second):
            found.append(self.next())
        return found

    def _read(self) -> Event:
        parts: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode()
            if not line:
                raise EOFError
            if line == "\n" and "data" in parts:
                return Event(parts["id"], parts["event"], json.loads(parts["data"]))
            name, _, rest = line.rstrip("\n").partition(": ")
            self.comments += line.startswith(":")
            if name == "retry":
                self.retry = int(rest)
            elif name:
                parts[name] = rest


@contextmanager
def following(
    address: tuple[str, int],
    query: str = "",
    last_event_id: str = "",
    receive_bytes: int = 0,
    tls: ssl.SSLContext | None = None,
    token: str = "",
) -> Iterator[Following]:
    """Open a stream; its head has been read. receive_bytes: of the socket, so that little lies there unread."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(30)
    sock.connect(address)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    connection = HTTPConnection(*address)
    connection.sock = sock
    try:
        headers = {"Last-Event-ID": last_event_id, "Authorization": f"Bearer {token}" if token else ""}
        sent = {name: text for name, text in headers.items() if text}
        connection.request("GET", f"/v1/stream{query}", headers=sent)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield Following(answer, connection)
    finally:
        connection.close()


@dataclass(frozen=True)
class Sent:
    """A sample as it was sent."""

    metric: str
    kind: str
    value: Any
    tags: tuple[tuple[str, str], ...] = ()
    rate: float = 1.0

    @property
    def line(self) -> bytes:
        code = {"counter": "c", "gauge": "g", "timer": "ms", "histogram": "h", "distribution": "d", "set": "s"}[
            self.kind
        ]
        rate = f"|@{self.rate!r}" if self.rate != 1 else ""
        tags = "|#" + ",".join(f"{key}:{value}" for key, value in self.tags) if self.tags else ""
        return f"{self.metric}:{self.value}|{code}{rate}{tags}\n".encode()


def cells_of(sent: Iterable[Sent], pooled: bool) -> dict[tuple[str, Any], dict[str, Any]]:
    """The cells of samples of one second, by metric and tags (None when pooled), one sample after the other."""
    groups: dict[tuple[str, Any], list[Sent]] = defaultdict(list)
    for one in sent:
        groups[one.metric, None if pooled else one.tags].append(one)
    return {key: cell_of(some) for key, some in groups.items()}


def cell_of(some: list[Sent]) -> dict[str, Any]:
    kind = some[0].kind
    if kind == "set":
        count = float(len({one.value for one in some}))
        return {"kind": kind, "value": count, "count": count, "sum": 0.0, "min": None, "max": None, "last": None}
    # A gauge's sample counts once, however it was sampled.
    weights = [1.0 if kind == "gauge" else 1.0 / one.rate for one in some]
    total = math.fsum(one.value * weight for one, weight in zip(some, weights, strict=True))
    lasts = {one.tags: one.value for one in some}
    last = math.fsum(lasts.values()) / len(lasts)
    count = math.fsum(weights)
    value = {"counter": total, "gauge": last}.get(kind, total / count)
    values = [one.value for one in some]
    return {
        "kind": kind,
        "value": value,
        "count": count,
        "sum": total,
        "min": min(values),
        "max": max(values),
        "last": last,
    }


def by_key(event: Event) -> dict[tuple[str, Any], dict[str, Any]]:
    """The cells of an event by metric and tags, each of them once."""
    found = {}
    for cell in event.data["cells"]:
        tags = None if cell["tags"] is None else tuple(sorted(cell["tags"].items()))
        assert (cell["metric"], tags) not in found
        found[cell["metric"], tags] = {name: cell[name] for name in ("kind", *NUMBERS)}
    return found

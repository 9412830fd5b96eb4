"""Listeners on loopback with threads of their own, and senders that count what they sent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hms_ops._ring import Store
from hms_ops.collector.listener import Listener, ListenerConfig, open_listeners
from hms_ops.quantity import Address

LOOPBACK = Address("127.0.0.1", 0)


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def start(listeners: list[Listener]) -> None:
    for number, listener in enumerate(listeners):
        listener.start(start_thread, number)


def stop(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.stop()
    for listener in listeners:
        listener.close(10.0)


@contextlib.contextmanager
def listening(store: Store, *, is_started: bool = True, handed_over: tuple[socket.socket, ...] = (), udp: int = 1,
              unix: Path | None = None, **settings: Any) -> Iterator[list[Listener]]:  # fmt: skip
    """Listeners that receive until the block ends; `udp` sockets on one free port."""
    config = ListenerConfig(udp=(LOOPBACK,) if udp else (), unix=unix, sockets_each=udp or 1, **settings)
    listeners = open_listeners(store, config, handed_over)
    try:
        if is_started:
            start(listeners)
        yield listeners
    finally:
        stop(listeners)


class Sender:
    """A socket that counts the datagrams it sent."""

    def __init__(self, target: Listener) -> None:
        family = socket.AF_UNIX if target.path else target.sock.family
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.connect(target.sock.getsockname())
        self.sent = 0

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.sock.send(data)
            self.sent += 1

    def close(self) -> None:
        self.sock.close()

"""A real engine with a real HTTP server on a free port, on a manual clock, and a client that asks it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hms_ops.clock import ManualClock
from hms_ops.engine import Engine
from hms_ops.http.server import Server
from hms_ops.http.tls import TlsFiles
from hms_ops.http.token import Token, plain_token


@dataclass
class Serving:
    """The engine, the address its server has, and a client on it."""

    engine: Engine
    address: tuple[str, int]
    client: httpx.Client
    server: Server

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.client.get(path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.client.post(path, **given)

    def refused(self, reason: str) -> int:
        return self.server.tally[reason]


@contextmanager
def serving(**config: Any) -> Iterator[Serving]:
    """An engine that `advance` ticks; nothing on disk, no UDP."""
    engine = Engine(udp=None, http="127.0.0.1:0", data_dir=None, config=config, clock=ManualClock())
    with engine:
        assert engine.http_address is not None
        assert engine.account.server is not None
        host, port = engine.http_address
        with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False) as client:
            yield Serving(engine, (host, port), client, engine.account.server)


@contextmanager
def server_of(
    engine: Engine,
    host: str = "127.0.0.1",
    tokens: tuple[str | Token, ...] = (),
    tls: TlsFiles | None = None,
    is_insecure: bool = True,
) -> Iterator[tuple[Server, str]]:
    """A server of its own for an engine, and its URL; it is stopped, and its threads end. tokens: secrets in full, or
    as engine.yaml has them."""
    threads: list[threading.Thread] = []
    known = tuple(plain_token(token) if isinstance(token, str) else token for token in tokens)
    server = Server(engine, host, 0, known, tls, is_insecure)
    _, port = server.start(starter(threads))
    try:
        yield server, f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.stop(4.0)
        assert [thread.name for thread in threads if thread.is_alive()] == []


def starter(threads: list[threading.Thread]) -> Callable[[str, Callable[[], None]], threading.Thread]:
    """What the engine hands over to make threads."""

    def start(name: str, target: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(name=name, target=target, daemon=True))
        threads[-1].start()
        return threads[-1]

    return start


def exchange(address: tuple[str, int], sent: bytes) -> bytes:
    """What comes back for raw bytes: an answer's head at least, or all there is when the server closes before."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65_536)):
            received += chunk
        return received

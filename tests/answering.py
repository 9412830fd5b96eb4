"""A real HTTP server on loopback that answers as a test wants: with a status, late, broken, or a byte at a time."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as the server got it."""

    path: str
    headers: dict[str, str]
    document: Any
    method: str = "POST"


@dataclass
class Answering:
    """The server: `answers` are sent one per request, the last one again and again. Each is the bytes of an answer, or
    one of "hang", "reset" and "drip"."""

    url: str
    answers: list[bytes | str]
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def next_answer(self) -> bytes | str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def status(code: int, body: str = "", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} Said"] + [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


OK = status(200, "thanks")


@contextmanager
def answering(*answers: bytes | str) -> Iterator[Answering]:
    """A server that gives these answers, on a free port; hanging connections are let go at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Answering(f"http://127.0.0.1:{listener.getsockname()[1]}", list(answers) or [OK])
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(server, connection), name="answering-one")
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, name="answering")
    acceptor.start()
    try:
        yield server
    finally:
        server.released.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)


def serve(server: Answering, connection: socket.socket) -> None:
    with connection:
        answer = server.next_answer()
        try:
            server.requests.append(read_request(connection))
            if answer == "hang":
                server.released.wait(30)
            elif answer == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            elif answer == "drip":
                drip(server, connection)
            else:
                assert isinstance(answer, bytes)
                connection.sendall(answer)
        except (OSError, ValueError):
            pass  # the client left, or what it sent is no request


def drip(server: Answering, connection: socket.socket) -> None:
    """A header that never ends, a byte every 20 ms: each read succeeds, the whole never does."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not server.released.wait(0.02):
        connection.sendall(b"x")


def read_request(connection: socket.socket) -> Request:
    with connection.makefile("rb") as stream:
        method, path, _ = stream.readline().decode().split(" ", 2)
        headers = {}
        for line in iter(stream.readline, b"\r\n"):
            name, _, text = line.decode().partition(":")
            headers[name] = text.strip()
        body = stream.read(int(headers.get("Content-Length", 0)))
        return Request(path, headers, json.loads(body) if body else None, method)

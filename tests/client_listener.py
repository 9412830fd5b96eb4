"""A socket that receives what a client sends, bound where the system pleases."""

import json
import socket
import time
from pathlib import Path


class Listener:
    """UDP on a free port of loopback, or a Unix datagram socket at `path`."""

    def __init__(self, path: Path | None = None, receive_bytes: int = 4 * 1024 * 1024) -> None:
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.url = f"unix://{path}" if path else f"udp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.datagrams: list[bytes] = []

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def receive(self, count: int, deadline_seconds: float = 10.0) -> list[str]:
        """The next samples until there are `count`; fails when they do not come."""
        samples: list[str] = []
        end = time.monotonic() + deadline_seconds
        while len(samples) < count:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                samples += self._next()
            except TimeoutError:
                raise AssertionError(f"{len(samples)} of {count} samples came: {samples[:20]}") from None
        return samples

    def drain(self) -> list[str]:
        """All samples that have arrived."""
        samples: list[str] = []
        self.socket.setblocking(False)
        while True:
            try:
                samples += self._next()
            except BlockingIOError:
                return samples

    def _next(self) -> list[str]:
        datagram = self.socket.recv(65_535)
        self.datagrams.append(datagram)
        text = datagram.decode()
        return [json.dumps(one) for one in json.loads(text)] if text.startswith("[") else text.split("\n")

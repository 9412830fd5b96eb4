"""Receivers that behave badly, for pagekill.py: real HTTP servers on loopback that remember what they accepted.

Each kind misbehaves for some notifications, chosen by a hash of their key, the first time or two, and takes them then:
what it does is the same in every run. `calm` ends all of that.

    fine        200
    failing     500 once or twice
    busy        429 with Retry-After: 1
    hanging     no answer until the client leaves
    resetting   reads the request and resets the connection
    dripping    a header that never ends, a byte every 20 ms
    gone        410, for good: a dead letter

A request counts as accepted when the whole answer 200 was written: whether the client lived to read it is another
matter, and what duplicates are made of.
"""

import itertools
import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

KINDS: Final = ("fine", "failing", "busy", "hanging", "resetting", "dripping", "gone")
DRIP_SECONDS: Final = 0.02
BARRIER: Final = "/barrier"

Fact = tuple[str, str, int]  # name of the alert, "firing" or "resolved", episode


@dataclass(frozen=True)
class Accepted:
    """One notification that was taken: by whom, its key, the alerts in it, after how many kills. place: in what order,
    counted before the answer, behind which the client may be faster than we are."""

    kind: str
    key: str
    facts: tuple[Fact, ...]
    generation: int
    place: int


class Pager(ThreadingHTTPServer):
    """One receiver, or, of kind "actions", the action service."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kind: str, pagers: "Pagers") -> None:
        self.kind = kind
        self.pagers = pagers
        self.active = 0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.pagers.lock:
            self.active += 1
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            super().finish_request(request, client_address)
        except OSError:
            pass  # the client was killed
        finally:
            with self.pagers.lock:
                self.active -= 1


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Pager
    timeout = 30

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return  # the client was killed while it sent
        if self.server.kind == "actions":
            self.run_action(json.loads(body))
            return
        key = self.headers["Idempotency-Key"]
        facts = tuple(map(fact_of, json.loads(body)["alerts"]))
        misdeed = self.server.pagers.misdeed(self.server.kind, key)
        if misdeed is not None:
            misdeed(self)
            return
        place = next(self.server.pagers.places)
        if self.answer(200):
            self.server.pagers.accept(self.server.kind, key, facts, place)

    def run_action(self, asked: dict[str, Any]) -> None:
        """Whatever arrives has run, however it is answered."""
        run = (asked["template"], asked["alert"]["name"], asked["alert"]["episode"])
        self.server.pagers.ran(run)
        misdeed = (answer_200, fail, hang, reset)[stable_hash(run[0]) % 4]
        misdeed(self)

    def answer(self, status: int, **headers: str) -> bool:
        """Whether all of it could be written."""
        try:
            self.send_response(status)
            for name, text in {"Content-Length": "0", "Connection": "close", **headers}.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            return True
        except OSError:
            return False

    def client_left(self) -> bool:
        ready, _, _ = select.select([self.connection], [], [], 0)
        if not ready:
            return False
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def log_message(self, *_: Any) -> None:
        pass


def answer_200(handler: Handler) -> None:
    handler.answer(200)


def fail(handler: Handler) -> None:
    handler.answer(500)


def refuse(handler: Handler) -> None:
    handler.answer(410)


def put_off(handler: Handler) -> None:
    handler.answer(429, Retry_After="1")


def hang(handler: Handler) -> None:
    while not handler.client_left() and not handler.server.pagers.is_calm.wait(DRIP_SECONDS):
        pass


def reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def drip(handler: Handler) -> None:
    handler.connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.pagers.is_calm.wait(DRIP_SECONDS):
        handler.connection.sendall(b"x")


# kind → (misdeed, how many attempts it is done to, for one in how many notifications)
MISDEEDS: Final[dict[str, tuple[Callable[[Handler], None], int, int]]] = {
    "failing": (fail, 2, 3),
    "busy": (put_off, 1, 12),
    "hanging": (hang, 1, 16),
    "resetting": (reset, 2, 3),
    "dripping": (drip, 1, 16),
    "gone": (refuse, 1 << 30, 4),
}


class Pagers:
    """All receivers and the action service, and what they have seen."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_calm = threading.Event()
        self.generation = 0
        self.accepted: list[Accepted] = []
        self.refused: set[tuple[str, str]] = set()  # kind and key of what was answered 410
        self.runs: Counter[tuple[str, str, int]] = Counter()
        self.places = itertools.count()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self.servers = [Pager(kind, self) for kind in (*KINDS, "actions")]
        self._threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in self.servers]
        for thread in self._threads:
            thread.start()

    @property
    def urls(self) -> dict[str, str]:
        return {server.kind: server.url for server in self.servers}

    def misdeed(self, kind: str, key: str) -> Callable[[Handler], None] | None:
        """What is done to this attempt instead of taking it."""
        if kind not in MISDEEDS:
            return None
        misdeed, attempts_max, one_in = MISDEEDS[kind]
        if kind != "gone" and self.is_calm.is_set():
            return None
        with self.lock:
            self._attempts[kind, key] += 1
            attempts = self._attempts[kind, key]
            if stable_hash(key) % one_in or attempts > attempts_max:
                return None
            if misdeed is refuse:
                self.refused.add((kind, key))
        return misdeed

    def accept(self, kind: str, key: str, facts: tuple[Fact, ...], place: int) -> None:
        with self.lock:
            self.accepted.append(Accepted(kind, key, facts, self.generation, place))

    def ran(self, run: tuple[str, str, int]) -> None:
        with self.lock:
            self.runs[run] += 1

    def settle(self, seconds: float = 15.0) -> None:
        """Behind a kill: until all that the dead process sent has been dealt with. A connection of ours that is
        answered says that those before it were taken from the queue."""
        for server in self.servers:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=seconds) as connection:
                connection.sendall(f"GET {BARRIER} HTTP/1.0\r\n\r\n".encode())
                while connection.recv(4096):
                    pass
        end = time.monotonic() + seconds
        while any(server.active for server in self.servers):
            assert time.monotonic() < end, "a receiver does not come to an end with a client that is dead"
            time.sleep(0.002)

    def close(self) -> None:
        self.is_calm.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def paging() -> Iterator[Pagers]:
    pagers = Pagers()
    try:
        yield pagers
    finally:
        pagers.close()


def fact_of(alert: dict[str, Any]) -> Fact:
    """An alert of Alertmanager's version-4 payload."""
    return alert["labels"]["alertname"], alert["status"], int(alert["annotations"]["episode"])


def stable_hash(text: str) -> int:
    """The same in every process."""
    return int.from_bytes(text.encode()[-4:], "little") * 2_654_435_761 % (1 << 32) >> 8

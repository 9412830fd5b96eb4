"""Engines for tests: on a manual clock with nothing but memory, or real ones; and what they leave behind."""

import socket
import threading
import weakref
from pathlib import Path
from typing import Any

from hms_ops import Engine
from hms_ops.clock import ManualClock, WallAnchor

NOW = 1_700_000_000  # where a ManualClock begins, Unix seconds


def manual(now: float = NOW, **settings: Any) -> Engine:
    """An engine that `advance` ticks; not started. `config` is left to the caller."""
    given: dict[str, Any] = {"udp": None, "data_dir": None, "clock": ManualClock(int(now * 1e9))}
    return Engine(**{**given, **settings})


def feed(engine: Engine, name: str, value: float, seconds: int, **options: Any) -> None:
    """One sample in each of so many seconds."""
    for _ in range(seconds):
        engine.metric(name, value, **options)
        engine.advance(1)


def send(engine: Engine, *datagrams: bytes) -> None:
    assert engine.udp_address is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, engine.udp_address)


_of_others: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()  # that ran before this test began


def forget_threads() -> None:
    """What runs now is not this test's: a receiver of the test before may still hang."""
    _of_others.clear()
    _of_others.update(threading.enumerate())


def engine_threads() -> list[str]:
    """The names of all threads that engines of this test have made and that run."""
    ours = ("hms-", "notify-", "actions")
    running = (thread for thread in threading.enumerate() if thread not in _of_others)
    return sorted(thread.name for thread in running if thread.name.startswith(ours))


def is_free(port: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def rules_file(directory: Path, text: str) -> Path:
    """rules.yaml with that text, and an engine.yaml beside it that names it."""
    rules = directory / "rules.yaml"
    rules.write_text(text)
    (directory / "engine.yaml").write_text(f"rules: [{rules}]\n")
    return rules


class MovedClock(WallAnchor):
    """A clock whose wall can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_ns = 0

    def move(self, seconds: float) -> None:
        self.moved_ns += int(seconds * 1e9)

    def step_ns(self) -> int:
        return super().step_ns() + self.moved_ns

    def is_followed_by(self, engine: Engine) -> bool:
        """By its clock, and by its store a moment later: what is sent from now on has the new time."""
        second_ns = 1_000_000_000
        return abs(self.step_ns()) < second_ns and abs(engine.store.now_ns() - self.now_ns()) < second_ns

"""The life of a child: read a request, handle it, answer, until nobody wants any more. The package has the protocol.

One thread, in the child. What a library prints goes nowhere near the protocol: descriptor 1 is pointed at 2 first.
Errors: a handler that raises has failed for this time. Limits: REQUEST_BYTES_MAX, DETAIL_CHARS_MAX; a request that is
not done GRACE_SECONDS after its time ends the process, whoever still watches.
"""

import json
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

REQUEST_BYTES_MAX: Final = 1024 * 1024  # without `seconds`
DETAIL_CHARS_MAX: Final = 200
IDLE_SECONDS_MAX: Final = 300.0
POLL_SECONDS: Final = 5.0  # how late a child notices that its engine is gone without having hung up
GRACE_SECONDS: Final = 5.0

Handle = Callable[[dict[str, Any]], dict[str, Any]]


def serve(handle: Handle) -> None:
    """Answer requests until the engine hangs up or forgets about us."""
    channel = take_channel()
    engine = os.getppid()
    waiting = b""
    while True:
        if b"\n" not in waiting and not is_readable(channel, engine):
            channel.sendall(b'{"bye": true}\n')
            return
        if b"\n" not in waiting:
            piece = channel.recv(65_536)
            waiting += piece
            if not piece or len(waiting) > REQUEST_BYTES_MAX + 1000:
                return
            continue
        line, _, waiting = waiting.partition(b"\n")
        channel.sendall(json.dumps(answer(handle, json.loads(line))).encode() + b"\n")


def take_channel() -> socket.socket:
    """Our end of the socket, out of the way of everything that reads or prints."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return channel


def is_readable(channel: socket.socket, engine: int) -> bool:
    """Wait for a request; False when none came for long, or the engine is no longer our parent."""
    waited = 0.0
    while waited < IDLE_SECONDS_MAX and os.getppid() == engine:
        if select.select([channel], [], [], POLL_SECONDS)[0]:
            return True
        waited += POLL_SECONDS
    return False


def answer(handle: Handle, request: dict[str, Any]) -> dict[str, Any]:
    """The handler's answer. A hang ends the process: SIGALRM is not handled."""
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + GRACE_SECONDS)
    try:
        return handle(request)
    except Exception as error:
        return outcome("retry", f"{type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def outcome(became: str, detail: str, after_seconds: float | None = None) -> dict[str, Any]:
    """What is answered: the detail as one printable line."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(detail.split()))
    return {"outcome": became, "detail": line[:DETAIL_CHARS_MAX], "after_seconds": after_seconds}

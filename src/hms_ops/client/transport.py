"""Datagrams to the engine: one non-blocking socket, UDP or Unix.

    udp://HOST:PORT    datagrams of at most 1,432 bytes: an Ethernet frame less the headers of IPv6, UDP and a tunnel
    unix:///PATH       datagrams of at most 8,192 bytes

Owned by the flusher's lock: one thread at a time. Host names are resolved here and therefore never in a thread that
emits; a name that fails is asked again after RETRY_SECONDS. Nothing is raised: a datagram is sent, or the reason it
was not is counted. A receiver whose queue is full is waited for, once and briefly per call.
"""

import contextlib
import errno
import os
import select
import socket
import time
from typing import Final, NamedTuple

UDP_DATAGRAM_BYTES: Final = 1432
UNIX_DATAGRAM_BYTES: Final = 8192
DEFAULT_PORT: Final = 8125
DEFAULT_URL: Final = "udp://127.0.0.1:8125"
RETRY_SECONDS: Final = 1.0
FULL_WAIT_SECONDS: Final = 0.1
SEND_BUFFER_BYTES: Final = 1024 * 1024

_FULL = (errno.EAGAIN, errno.ENOBUFS)


class Target(NamedTuple):
    """Where a URL points. `path` is set for a Unix socket, `host` and `port` for UDP."""

    host: str
    port: int
    path: str
    datagram_bytes: int


def parse_url(url: str) -> Target:
    """The target of `udp://host:port` or `unix:///path`; ValueError quotes what is wrong."""
    from urllib.parse import unquote, urlsplit  # a tenth of what importing the client may cost

    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Target("", 0, unquote(parts.path), UNIX_DATAGRAM_BYTES)
    if parts.scheme == "udp" and parts.hostname and not parts.path.strip("/"):
        return Target(parts.hostname, _port(url, parts.port), "", UDP_DATAGRAM_BYTES)
    raise ValueError(f"{url!r} is neither udp://HOST:PORT nor unix:///PATH")


def _port(url: str, port: int | None) -> int:
    if port == 0:
        raise ValueError(f"{url!r}: port 0 cannot be sent to")
    return DEFAULT_PORT if port is None else port


class Transport:
    """Sends datagrams to one target and counts samples: `sent`, `dropped_busy`, `dropped_unreachable`.

    `url` None is HMS_OPS_URL, read at the first send; if that is wrong, it is logged once and all samples are dropped.
    """

    def __init__(self, url: str | None) -> None:
        self._socket: socket.socket | None = None
        self._target = None if url is None else parse_url(url)
        self._is_configured = url is not None
        self.forget()

    def forget(self) -> None:
        """Without a socket and with counters at 0: what a forked child starts with; the parent's socket stays open."""
        self.close()
        self.sent = 0
        self.datagrams = 0
        self.dropped_busy = 0
        self.dropped_unreachable = 0
        self._tried_at = -RETRY_SECONDS

    def target(self) -> Target | None:
        if not self._is_configured:
            self._is_configured = True
            self._target = _target_of_environment()
        return self._target

    def datagram_bytes(self) -> int:
        target = self.target()
        return target.datagram_bytes if target else UDP_DATAGRAM_BYTES

    def send(self, parts: list[tuple[bytes, int]]) -> None:
        """Send (datagram, samples in it) pairs. Waits at most FULL_WAIT_SECONDS in all for a full receiver."""
        wait_seconds = FULL_WAIT_SECONDS
        for datagram, samples in parts:
            connected = self._socket or self._connect()
            if connected is None:
                self.dropped_unreachable += samples
            elif not self._send(connected, datagram, samples, wait_seconds):
                wait_seconds = 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self.close()  # a service that ends without close() is no reason for a ResourceWarning

    def _send(self, connected: socket.socket, datagram: bytes, samples: int, wait_seconds: float) -> bool:
        """False when the receiver stayed full, so that the caller waits no more."""
        try:
            if not _send_or_wait(connected, datagram, wait_seconds):
                self.dropped_busy += samples
                return False
        except OSError:
            self.dropped_unreachable += samples
            self._reconnect_later()
            return True
        self.sent += samples
        self.datagrams += 1
        return True

    def _reconnect_later(self) -> None:
        """A Unix listener that comes back is another socket, a name may have moved: connect anew, once a second."""
        if time.monotonic() - self._tried_at >= RETRY_SECONDS:
            self.close()

    def _connect(self) -> socket.socket | None:
        target, now = self.target(), time.monotonic()
        if target is None or now - self._tried_at < RETRY_SECONDS:
            return None
        self._tried_at = now
        with contextlib.suppress(OSError, UnicodeError):  # UnicodeError: a host name that is none
            self._socket = _connected(target)
        return self._socket


def _target_of_environment() -> Target | None:
    url = os.environ.get("HMS_OPS_URL") or DEFAULT_URL
    try:
        return parse_url(url)
    except ValueError as error:
        import logging  # only here: emitting never logs, and most hosts never come by

        logging.getLogger("hms_ops.client").error("HMS_OPS_URL: %s; metrics are dropped", error)
        return None


def _send_or_wait(connected: socket.socket, datagram: bytes, wait_seconds: float) -> bool:
    """True when sent, False when a queue is full and stayed so for `wait_seconds`."""
    if _try_send(connected, datagram):
        return True
    return wait_seconds > 0 and _is_writable(connected, wait_seconds) and _try_send(connected, datagram)


def _try_send(connected: socket.socket, datagram: bytes) -> bool:
    try:
        connected.send(datagram)
    except OSError as error:
        if error.errno in _FULL:
            return False
        raise
    return True


def _is_writable(connected: socket.socket, wait_seconds: float) -> bool:
    poll = select.poll()  # not select(), which cannot watch descriptors over 1,023
    poll.register(connected, select.POLLOUT)
    return bool(poll.poll(wait_seconds * 1000))


def _connected(target: Target) -> socket.socket:
    """A connected non-blocking socket; OSError when the name does not resolve or nobody listens on the path."""
    if target.path:
        return _open(socket.AF_UNIX, target.path)
    resolved = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    # IPv4 first: "localhost" is ::1 as well, and an engine listens on 127.0.0.1 unless told otherwise.
    family, _, _, _, address = min(resolved, key=lambda one: one[0] != socket.AF_INET)
    return _open(family, address)


def _open(family: int, address: str | tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        opened.connect(address)
    except BaseException:
        opened.close()
        raise
    return opened

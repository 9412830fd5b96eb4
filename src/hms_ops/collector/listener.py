"""Listeners: a datagram socket, a thread that receives on it, and what the kernel dropped in front of it.

The engine opens them with `open_listeners`; each gets a thread of its own and a row in the ledger. The loop itself is
`_udp.Loop`, sockets are opened in `sockets.py`. Errors of opening are StartErrors of one line and leave nothing open;
afterwards nothing is raised, `Listener.problem()` says what ended a loop.

Receive buffer: as much as asked for by SO_RCVBUFFORCE (needs CAP_NET_ADMIN), else by SO_RCVBUF up to
net.core.rmem_max; what was granted is read back. Kernel drops are read from SO_MEMINFO, 32 bits that wrap, and widened
here, so they must be read at least once in 2^32 drops: the tick does.
"""

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hms_ops._ring import Store
from hms_ops.collector._udp import Loop
from hms_ops.collector.sockets import open_udp, open_unix
from hms_ops.errors import StartError
from hms_ops.quantity import Address
from hms_ops.threads import StartThread

SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
MEMINFO_DROPS: Final = 8
STOP_POLL_SECONDS: Final = 0.1

# What the kernel charges for a datagram of 1,432 bytes, and how many of them a fast sender sends in a ms: the stall
# that a buffer covers is told for this load, 14 million lines a second.
DATAGRAM_CHARGE_BYTES: Final = 2304
DATAGRAMS_PER_MS: Final = 350


log = logging.getLogger("hms_ops.collector")


@dataclass(frozen=True)
class ListenerConfig:
    """Where to listen: `udp` addresses with `sockets_each`, a `unix` path, and what is asked of every socket."""

    udp: tuple[Address, ...] = ()
    unix: Path | None = None
    sockets_each: int = 1
    buffer_bytes: int = 64 << 20
    datagram_bytes: int = 65_507


@dataclass
class Listener:
    """One open socket with its loop. `name` is its row in the ledger; an inherited socket outlives us."""

    name: str
    sock: socket.socket
    loop: Loop
    is_inherited: bool = False
    path: Path | None = None
    _thread: threading.Thread | None = field(default=None, repr=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _drops_seen: int = 0
    _drops: int = 0
    _is_closed: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        self._drops_seen = read_drops(self.sock)

    def start(self, start_thread: StartThread, number: int) -> None:
        """Receive, in a thread of its own and without the GIL, until `stop`."""
        self._thread = start_thread(f"hms-listener-{number}", self.loop.run)

    def stop(self) -> None:
        """Let the thread take what is queued and end."""
        self.loop.stop()
        if not self.is_inherited:
            # Wakes a blocked receive in 0.3 ms; a socket without a peer says ENOTCONN and wakes all the same.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RD)

    def close(self, wait_seconds: float) -> None:
        """Wait for the thread; then the last count of drops, then the socket, unless it is inherited."""
        if self._thread is not None:
            self._thread.join(wait_seconds)
            if self._thread.is_alive():  # its descriptor must not become another file's
                log.warning("%s did not end within %.1f s; its socket is left open", self.name, wait_seconds)
                return
        self.kernel_drops()
        self._is_closed = True
        if not self.is_inherited:
            self.sock.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """In a forked child: let go of the descriptor, touch nothing the parent uses."""
        self._is_closed = True
        self.sock.close()

    def kernel_drops(self) -> int:
        """Datagrams the kernel dropped since the socket was opened by us."""
        with self._counting:
            if not self._is_closed:
                now = read_drops(self.sock)
                self._drops += (now - self._drops_seen) & 0xFFFFFFFF
                self._drops_seen = now
            return self._drops

    def buffer_bytes(self) -> int:
        """What was granted, as the kernel counts it (it doubles what is asked for, for its own overhead)."""
        return 0 if self._is_closed else self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def stall_ms(self) -> float:
        """How long the loop may stall at 14 M lines/s before the kernel drops."""
        return self.buffer_bytes() / DATAGRAM_CHARGE_BYTES / DATAGRAMS_PER_MS

    def problem(self) -> str:
        """What ended the loop although nobody stopped it, or ""."""
        return f"{self.name}: {os.strerror(self.loop.error)}; restart the engine" if self.loop.error else ""

    @property
    def address(self) -> tuple[str, int] | None:
        """(host, port) of a UDP socket."""
        if self._is_closed or self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = self.sock.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """Where a client of this host sends to; "" for a Unix socket without a path."""
        if (address := self.address) is not None:
            return f"udp://{Address(*address)}"
        path = self.path or ("" if self._is_closed else self.sock.getsockname())
        return f"unix://{quote(str(Path(path).absolute()))}" if path and isinstance(path, str | Path) else ""


def open_listeners(store: Store, config: ListenerConfig, handed_over: Sequence[socket.socket] = ()) -> list[Listener]:
    """A listener for each socket handed over or else each UDP address, and for the Unix path. None receives yet.

    StartError: nothing stays open, but for what was handed over.
    """
    with contextlib.ExitStack() as opened:
        found = [take_over(store, sock, number, config) for number, sock in enumerate(handed_over)]
        for address in config.udp if not handed_over else ():
            socks = open_udp(address, config.sockets_each)
            for sock in socks:
                opened.callback(sock.close)
            found += [make_listener(store, sock, config, number=number) for number, sock in enumerate(socks)]
        if config.unix is not None:
            sock = open_unix(config.unix)
            opened.callback(config.unix.unlink, missing_ok=True)
            opened.callback(sock.close)
            found.append(make_listener(store, sock, config, path=config.unix))
        opened.pop_all()
    return found


def take_over(store: Store, sock: socket.socket, number: int, config: ListenerConfig) -> Listener:
    """A listener on a socket that somebody else bound. StartError for what is no datagram socket."""
    if sock.type != socket.SOCK_DGRAM:
        raise StartError(f"socket {number} that was handed over is no datagram socket; use ListenDatagram= in its unit")
    return make_listener(store, sock, config, number=number, is_inherited=True)


def make_listener(
    store: Store,
    sock: socket.socket,
    config: ListenerConfig,
    *,
    path: Path | None = None,
    is_inherited: bool = False,
    number: int = 0,
) -> Listener:
    """A listener on an open socket, with its row in the ledger; its loop has not begun."""
    sock.setblocking(True)
    ask_for_buffer(sock, config.buffer_bytes)
    # As struct timeval: Python's own timeouts would make the descriptor non-blocking.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(STOP_POLL_SECONDS * 1e6)))
    name = listener_name(sock, path) + (f"#{number}" if number else "")
    try:
        loop = Loop(store, sock.fileno(), store.add_input(name), config.datagram_bytes)
    except ValueError as error:
        raise StartError(f"{name}: {error}; listen on fewer sockets") from None
    return Listener(name, sock, loop, is_inherited, path)


def listener_name(sock: socket.socket, path: Path | None) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{path or sock.getsockname()}"
    return f"udp:{Address(*sock.getsockname()[:2])}"


def read_drops(sock: socket.socket) -> int:
    """SK_MEMINFO_DROPS, 32 bits; 0 where the kernel has no SO_MEMINFO."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 9 * 4)
    except OSError:
        return 0
    return int(struct.unpack("9I", raw)[MEMINFO_DROPS]) if len(raw) == 36 else 0


def ask_for_buffer(sock: socket.socket, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def source_text(raw: bytes) -> str:
    """The sender of a reject, from its sockaddr: host:port, or "" without one."""
    family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{int.from_bytes(raw[2:4], 'big')}"
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{int.from_bytes(raw[2:4], 'big')}"
    return ""

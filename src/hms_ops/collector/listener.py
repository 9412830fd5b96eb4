"""Ingest sockets: opened, measured and closed here; the loop that reads them is `_udp.Loop`.

The engine makes one `Listener` for each socket and gives each a thread of its own. Errors of opening are StartErrors of
one line; afterwards nothing is raised, `Listener.problem()` says what ended a loop.

Receive buffer: as much as asked for by SO_RCVBUFFORCE (needs CAP_NET_ADMIN), else by SO_RCVBUF up to
net.core.rmem_max; what was granted is read back. Kernel drops are read from SO_MEMINFO, 32 bits that wrap, and widened
here, so they must be read at least once in 2^32 drops: the tick does.
"""

import contextlib
import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hms_ops._ring import Store
from hms_ops.collector._udp import Loop
from hms_ops.errors import StartError
from hms_ops.quantity import Address

SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
MEMINFO_DROPS: Final = 8
STOP_POLL_SECONDS: Final = 0.1

# What the kernel charges for a datagram of 1,432 bytes, and how many of them a fast sender sends in a ms: the stall
# that a buffer covers is told for this load, 14 million lines a second.
DATAGRAM_CHARGE_BYTES: Final = 2304
DATAGRAMS_PER_MS: Final = 350


@dataclass
class Listener:
    """One open socket with its loop. `name` is its row in the ledger; an inherited socket outlives us."""

    name: str
    sock: socket.socket
    loop: Loop
    is_inherited: bool = False
    path: Path | None = None
    _drops_seen: int = 0
    _drops: int = 0
    _stopped: bool = field(default=False, repr=False)

    def run(self) -> None:
        """The body of its thread: receives, without the GIL, until `stop`."""
        self.loop.run()

    def stop(self) -> None:
        """Let `run` take what is queued and return."""
        self.loop.stop()
        if not self.is_inherited:
            # Wakes a blocked receive in 0.3 ms; a socket without a peer says ENOTCONN and wakes all the same.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """After its thread has ended: the last count of drops, then the socket."""
        self.kernel_drops()
        self._stopped = True
        self.sock.close()
        if self.path is not None and not self.is_inherited:
            self.path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """In a forked child: let go of the descriptor, touch nothing the parent uses."""
        self._stopped = True
        self.sock.close()

    def kernel_drops(self) -> int:
        """Datagrams the kernel dropped since the socket was opened by us."""
        if not self._stopped:
            now = read_drops(self.sock)
            self._drops += (now - self._drops_seen) & 0xFFFFFFFF
            self._drops_seen = now
        return self._drops

    def buffer_bytes(self) -> int:
        """What was granted, as the kernel counts it (it doubles what is asked for, for its own overhead)."""
        return 0 if self._stopped else self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def stall_ms(self) -> float:
        """How long the loop may stall at 14 M lines/s before the kernel drops."""
        return self.buffer_bytes() / DATAGRAM_CHARGE_BYTES / DATAGRAMS_PER_MS

    def problem(self) -> str:
        """What ended the loop although nobody stopped it, or ""."""
        return f"{self.name}: {os.strerror(self.loop.error)}; restart the engine" if self.loop.error else ""

    @property
    def address(self) -> tuple[str, int] | None:
        """(host, port) of a UDP socket."""
        if self._stopped or self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = self.sock.getsockname()[:2]
        return str(host), int(port)


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


def open_udp(address: Address, count: int) -> list[socket.socket]:
    """`count` sockets bound to one address; port 0 takes a free one. StartError when it is in use or not ours.

    Sockets share a port by SO_REUSEPORT, which would also let two engines share it without a word: so a plain bind
    proves first that the port is free.
    """
    first = bind_udp(address, shared=False)
    if count == 1:
        return [first]
    found = Address(address.host, first.getsockname()[1])
    first.close()
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(bind_udp(found, shared=True))
    except StartError:
        for sock in opened:
            sock.close()
        raise
    return opened


def bind_udp(address: Address, shared: bool) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise StartError(f"udp {address}: {error.strerror or error}; name an address of this host") from None
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise StartError(f"udp {address}: {bind_problem(error)}") from None
    return sock


def bind_problem(error: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: "another program receives there; stop it, or choose another address with --udp HOST:PORT",
        errno.EACCES: "not allowed for this user; choose a port above 1023",
        errno.EADDRNOTAVAIL: "no address of this host; choose one that `ip address` shows",
    }
    why = os.strerror(error.errno) if error.errno else str(error)
    return f"{why}; {remedies.get(error.errno or 0, 'choose another address with --udp HOST:PORT')}"


def open_unix(path: Path) -> socket.socket:
    """A Unix datagram socket at `path`; a socket nobody receives on is replaced, a live one is a StartError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        remove_dead_socket(path)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise StartError(f"unix {path}: {error.strerror or error}; choose another path in `unix`") from None
    return sock


def remove_dead_socket(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "another program receives there")


def make_listener(
    store: Store,
    sock: socket.socket,
    *,
    buffer_bytes: int,
    datagram_bytes: int,
    path: Path | None = None,
    is_inherited: bool = False,
    number: int = 0,
) -> Listener:
    """A listener on an open socket, with its row in the ledger; its loop has not begun."""
    sock.setblocking(True)
    ask_for_buffer(sock, buffer_bytes)
    # As struct timeval: Python's own timeouts would make the descriptor non-blocking.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(STOP_POLL_SECONDS * 1e6)))
    name = listener_name(sock, path) + (f"#{number}" if number else "")
    loop = Loop(store, sock.fileno(), store.add_input(name), datagram_bytes)
    listener = Listener(name, sock, loop, is_inherited, path)
    listener._drops_seen = read_drops(sock)
    return listener


def listener_name(sock: socket.socket, path: Path | None) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{path or sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"udp:{host}:{port}"


def source_text(raw: bytes) -> str:
    """The sender of a reject, from its sockaddr: host:port, or "" without one."""
    family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{int.from_bytes(raw[2:4], 'big')}"
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{int.from_bytes(raw[2:4], 'big')}"
    return ""

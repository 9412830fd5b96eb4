"""Opens the sockets that listeners receive on; each problem is a StartError of one line that says what to do.

UDP: one socket per address, or several that share it. Unix: a datagram socket at a path; a dead one there is replaced.
Not here: sockets that systemd hands over (systemd.py), buffers and drops (listener.py).
"""

import errno
import os
import socket
import stat
from pathlib import Path

from hms_ops.errors import StartError
from hms_ops.quantity import Address


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

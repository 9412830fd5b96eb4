"""What systemd and the daemon say to each other: sockets handed over, READY, WATCHDOG and STOPPING.

`cli/run.py` calls it; under anything but systemd every call does nothing. Sockets: `inherited()` gives what LISTEN_FDS
passes from descriptor 3 on, once, since the variables are taken out of the environment so that no child believes they
are meant for it. Notices: one datagram each to $NOTIFY_SOCKET; a lost one is no error, systemd's own timeouts decide.
Source: sd_listen_fds(3), sd_notify(3), systemd 252.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Final

FIRST_FD: Final = 3

Environment = MutableMapping[str, str]


def inherited(environment: Environment = os.environ, first_fd: int = FIRST_FD) -> list[socket.socket]:
    """The sockets passed to this process, as datagram or stream sockets; [] when there are none or they are not ours.

    Raises ValueError for a LISTEN_FDS that is no number, and OSError for a descriptor that is no socket.
    """
    passed_to, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not count or passed_to != str(os.getpid()):
        return []
    if not count.isdecimal() or int(count) > 64:
        raise ValueError(f"LISTEN_FDS is {count!r}; systemd sets a whole number up to 64")
    return [adopt(fd) for fd in range(first_fd, first_fd + int(count))]


def adopt(fd: int) -> socket.socket:
    """The socket behind a descriptor, closed on exec from here on."""
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def notify(state: str, environment: Environment = os.environ) -> bool:
    """Tell systemd, as in `notify("READY=1\\nSTATUS=receiving")`; False when nobody listens."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    # A leading @ stands for the abstract name space, whose names begin with a zero byte.
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.sendto(state.encode(), target)
    except OSError:
        return False
    return True


def watchdog_seconds(environment: Environment = os.environ) -> float | None:
    """How often WATCHDOG=1 is due, half of what systemd waits; None when this process is not watched."""
    microseconds, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (watched and watched != str(os.getpid())):
        return None
    return int(microseconds) / 2e6

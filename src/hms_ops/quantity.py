"""Durations, sizes and addresses as people write them, for the configuration and the command line.

`10s`, `500ms`, `48h` are float seconds; `64MiB`, `10GB`, `4096` are bytes; `127.0.0.1:8125`, `[::1]:8125` are a host
and a port. Each reader raises ValueError with the text quoted and the form that is wanted.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

DURATION_UNITS: Final[dict[str, float]] = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
SIZE_UNITS: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
AMOUNT: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s?([A-Za-z]*)\Z")
PORT: Final = re.compile(r"[0-9]{1,5}\Z")


class Address(NamedTuple):
    """Where a socket is bound; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """localhost, 127.0.0.0/8 or ::1, without asking a resolver."""
    from ipaddress import ip_address  # what only emits need not import it

    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def reachable_text(host: str) -> str:
    """Why HTTP is not opened on a host that is not loopback, without tokens."""
    return (
        f"HTTP on {host} can be reached from other machines and no token is asked for; "
        "set http_tokens, or bind 127.0.0.1"
    )


def clear_text(host: str) -> str:
    """Why HTTP is not opened on a host that is not loopback, without TLS."""
    return (
        f"HTTP on {host} can be reached from other machines and tokens would go there in clear; set http_tls, or "
        "http_insecure: true where something else keeps the wire secret, or bind 127.0.0.1"
    )


def parse_duration(text: str) -> float:
    """`10s` as float seconds; ValueError unless it is a number with one of the units ms, s, m, h, d, w."""
    amount = AMOUNT.match(text)
    if amount is None or amount[2] not in DURATION_UNITS:
        raise ValueError(f"{text!r} is no duration; write a number and a unit, as in 500ms, 10s, 3m, 1h, 7d or 1w")
    return float(amount[1]) * DURATION_UNITS[amount[2]]


def duration_text(seconds: float) -> str:
    """Seconds in the largest unit that leaves a whole number; less than a week is written in hours: 172800 is `48h`."""
    for unit in ("w", "d", "h", "m", "s"):
        is_long_enough = seconds >= DURATION_UNITS["w" if unit == "d" else unit]
        if is_long_enough and seconds % DURATION_UNITS[unit] == 0:
            return f"{seconds / DURATION_UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def parse_size(text: str) -> int:
    """`64MiB` as bytes; ValueError unless it is a number with a unit of bytes or none."""
    amount = AMOUNT.match(text)
    if amount is None or amount[2] not in SIZE_UNITS:
        raise ValueError(f"{text!r} is no size; write a number of bytes or one with a unit, as in 64MiB or 10GB")
    return round(float(amount[1]) * SIZE_UNITS[amount[2]])


def size_text(size_bytes: int) -> str:
    """Bytes in the largest binary unit that leaves a whole number."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes >= SIZE_UNITS[unit] and size_bytes % SIZE_UNITS[unit] == 0:
            return f"{size_bytes // SIZE_UNITS[unit]}{unit}"
    return str(size_bytes)


def parse_address(text: str) -> Address:
    """`host:port` as an Address; IPv6 hosts stand in brackets. ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_host = bool(bare) and not any(c.isspace() or c in "/[]@" for c in bare) and (":" not in bare or bare != host)
    if not colon or not is_host or not PORT.match(port) or int(port) > 65_535:
        raise ValueError(f"{text!r} is no address; write host:port, as in 127.0.0.1:8125 (port 0 takes a free one)")
    return Address(bare, int(port))


def as_address(text: str | Address) -> Address:
    """An address that may be text yet; ValueError as `parse_address`."""
    return text if isinstance(text, Address) else parse_address(text)


def as_addresses(named: str | Sequence[str | Address] | None) -> tuple[Address, ...]:
    """One address, several, or none; ValueError as `parse_address`."""
    return tuple(map(as_address, () if named is None else (named,) if isinstance(named, str) else named))

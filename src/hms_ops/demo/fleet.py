"""The rest of the agency: six services on six hosts each, 180 series that live beside the story.

    gateway, auth, forms, mail, search, payments   ×   requests (counter), latency_ms (timer), errors (counter),
                                                       cpu (gauge), memory_mb (gauge), by host

Their levels follow the hour of the day and a slow wave of each host's own, so that a day of history has a shape. Pure:
`level` is what live service and seeded history both go by. Standard library only: the services start fast.
"""

import math
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

SERVICES: Final = ("gateway", "auth", "forms", "mail", "search", "payments")
HOSTS: Final = tuple(f"{city}-{number}" for city in ("denver", "ogden", "austin") for number in (1, 2))
DAY: Final = 86_400
BUSIEST_HOUR: Final = 15  # UTC: late morning in the middle of the country
TICKS_PER_SECOND: Final = 20
Wave = Callable[[Any], Any]


class Signal(NamedTuple):
    """A metric of every service. busy: how much of its level goes with the day. noise: deviation, of the level."""

    name: str
    letter: str
    unit: str
    help: str
    level: float
    busy: float
    noise: float


SIGNALS: Final = (
    Signal("requests", "c", "", "requests answered", 40.0, 0.8, 0.15),
    Signal("latency_ms", "ms", "ms", "time to answer a request", 35.0, 0.35, 0.12),
    Signal("errors", "c", "", "requests that failed", 0.4, 0.6, 0.9),
    Signal("cpu", "g", "percent", "use of the processors", 38.0, 0.5, 0.06),
    Signal("memory_mb", "g", "MB", "memory in use", 2_100.0, 0.08, 0.01),
)


class Member(NamedTuple):
    """One series of the fleet."""

    service: str
    host: str
    signal: Signal

    @property
    def metric(self) -> str:
        return f"{self.service}.{self.signal.name}"


MEMBERS: Final = tuple(Member(service, host, signal) for service in SERVICES for signal in SIGNALS for host in HOSTS)


def level(member: Member, now: Any, sin: Wave = math.sin, cos: Wave = math.cos) -> Any:
    """What the series is about at a Unix second; at many of them with an array and numpy's functions."""
    own = zlib.crc32(f"{member.metric} {member.host}".encode()) / 2**32  # the same in every run
    day = cos((now / DAY - BUSIEST_HOUR / 24) * math.tau)
    wave = sin((now / (1_800 + 5_400 * own) + own) * math.tau)
    signal = member.signal
    return signal.level * (0.75 + 0.5 * own) * (1 + signal.busy * 0.5 * day + 0.06 * wave)


def spread(member: Member, now: float, chance: random.Random) -> float:
    """One sample; a count is whole."""
    about = level(member, now)
    value = max(0.0, chance.gauss(about, about * member.signal.noise))
    return float(round(value)) if member.signal.letter == "c" else round(value, 2)


def lines(tick: int, now: float, chance: random.Random) -> Iterator[str]:
    """The samples of one of the TICKS_PER_SECOND parts of a second: each series sends one a second."""
    for member in MEMBERS[tick % TICKS_PER_SECOND :: TICKS_PER_SECOND]:
        yield f"{member.metric}:{spread(member, now, chance):g}|{member.signal.letter}|#host:{member.host}"

"""One simulated service, a process of its own: `python -m hms_ops.demo.service finance|db|portal|fleet HOST:PORT`.

Sends a datagram every TICK_SECONDS, each service in another format, as its metrics would come from different teams:

    finance   StatsD    finance.api_ms (timer, by agency), finance.claims (counter, by agency)     240 samples/s
    db        JSON      db.write_ms (timer), db.replicas (gauge)                                   220 samples/s
    portal    msgpack   portal.users (set), portal.queue (gauge)                                   140 samples/s
    fleet     StatsD    180 series of six other services, see fleet.py                             180 samples/s

Standard input is how the demo directs it: a cue a line, see `load.py`; the end of input ends it, so that no service
outlives the demo, however that dies. Sending never waits, and what can't be sent is lost, as with any UDP client.
Imports the standard library and msgpack only: they start in a tenth of a second.
"""

import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgpack

from hms_ops.demo import fleet
from hms_ops.demo.load import Load, cued

TICK_SECONDS: Final = 0.05
# After a stall the missed datagrams are sent at once, but no more than these.
CATCH_UP_SECONDS: Final = 0.5
AGENCIES: Final = ("irs", "ssa", "va")
SPREAD: Final = 0.04

Datagram = Callable[[Load, float, random.Random], bytes]


def spread(level: float, chance: random.Random) -> float:
    """A value around `level`, with a deviation of SPREAD of it; never 0, which no latency is."""
    return round(max(0.1, chance.gauss(level, level * SPREAD)), 2)


def finance_datagram(load: Load, now: float, chance: random.Random) -> bytes:
    """Lines of DogStatsD: three API calls and the claims they paid, for each agency."""
    api_ms = 30.0 + load.write_ms(now)
    lines = [
        line
        for agency in AGENCIES
        for line in (
            *(f"finance.api_ms:{spread(api_ms, chance)}|ms|#agency:{agency}" for _ in range(3)),
            f"finance.claims:{chance.randint(1, 9)}|c|#agency:{agency}",
        )
    ]
    return "\n".join(lines).encode()


def db_datagram(load: Load, now: float, chance: random.Random) -> bytes:
    """A JSON array: ten writes, and how many replicas there are."""
    level = load.write_ms(now)
    samples: list[dict[str, Any]] = [
        {"metric": "db.write_ms", "value": spread(level, chance), "kind": "timer"} for _ in range(10)
    ]
    samples.append({"metric": "db.replicas", "value": int(load.replicas.at(now)), "kind": "gauge"})
    return json.dumps(samples).encode()


def portal_datagram(load: Load, now: float, chance: random.Random) -> bytes:
    """A msgpack array: who is on the portal, and how many wait."""
    work = load.work(now)
    samples: list[dict[str, Any]] = [
        {"metric": "portal.users", "value": f"citizen-{chance.randrange(int(400 * work))}", "kind": "set"}
        for _ in range(6)
    ]
    samples.append({"metric": "portal.queue", "value": round(40 * work**3), "kind": "gauge"})
    packed: bytes = msgpack.packb(samples)
    return packed


def fleet_datagram(load: Load, now: float, chance: random.Random) -> bytes:
    """Lines of StatsD: the part of the fleet whose turn it is. The rush is none of its business."""
    seconds = time.time()
    return "\n".join(fleet.lines(int(seconds / TICK_SECONDS), seconds, chance)).encode()


SERVICES: Final[dict[str, Datagram]] = {
    "finance": finance_datagram,
    "db": db_datagram,
    "portal": portal_datagram,
    "fleet": fleet_datagram,
}


class Cues:
    """The lines of a file descriptor, as they come."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._rest = b""

    def within(self, seconds: float) -> Iterator[str]:
        """The cues that come within `seconds`; EOFError at the end of input."""
        if not select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            return
        data = os.read(self.descriptor, 4096)
        if not data:
            raise EOFError
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from (line.decode("ascii", "replace") for line in lines)


def serve(name: str, address: tuple[str, int], cues: Cues) -> None:
    """Send to `address` until the cues end; ValueError for a cue nobody knows."""
    load, chance, datagram = Load(), random.Random(name), SERVICES[name]
    next_tick = time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        while True:
            try:
                for cue in cues.within(next_tick - time.monotonic()):
                    load = cued(load, cue, time.monotonic())
            except EOFError:
                return
            now = time.monotonic()
            if now >= next_tick:
                emit(sender, datagram(load, now, chance), address)
                next_tick = max(next_tick + TICK_SECONDS, now - CATCH_UP_SECONDS)


def emit(sender: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
    """Fire and forget: a metric that cannot leave must not stop a service."""
    with suppress(OSError):
        sender.sendto(datagram, address)


def main(arguments: list[str]) -> int:
    """The process; 2 for wrong usage."""
    match arguments:
        case [name, address] if name in SERVICES:
            host, _, port = address.rpartition(":")
            if port.isdecimal() and 0 < int(port) < 65_536:
                serve(name, (host.strip("[]"), int(port)), Cues(sys.stdin.fileno()))
                return 0
    print(f"usage: python -m hms_ops.demo.service {'|'.join(SERVICES)} HOST:PORT", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

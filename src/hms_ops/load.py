"""The sender of a benchmark, as a process of its own: `python -m hms_ops.load '{"host": …, "port": …, …}'`.

`bench.py` and `benchmarks/` start one through `Sender`. It makes its datagrams, says so, waits for a line on standard
input, sends, and says what it sent, so that nothing but sending falls into what is measured:

    → {"event": "prepared"}
    ← newline
    → {"event": "sent", "datagrams": …, "lines": …, "seconds": …, "failed": …}

Pinned to `cpu` when one is given: the kernel hands a loopback datagram over on the sender's core.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

# Beyond what a core's caches hold, so that a datagram is read from memory as it would be from a network card.
DATAGRAMS = 8_192
# Enough that nearly all of a million series come once.
DATAGRAMS_MANY_SERIES = 65_536
MANY_SERIES = 4096 * 40
IN_ORDER_SERIES_MAX = 4096


@dataclass(frozen=True)
class Plan:
    """What to send, where and how. lines_per_s 0 is as fast as the socket takes them; cpu None is not pinned."""

    host: str
    port: int
    seconds: float
    series: int = 1000
    datagram_bytes: int = 1432
    line_format: str = "statsd"
    lines_per_s: float = 0.0
    cpu: int | None = None

    @property
    def datagrams(self) -> int:
        return DATAGRAMS_MANY_SERIES if self.series > MANY_SERIES else DATAGRAMS

    @property
    def is_in_order(self) -> bool:
        """Few series come one after the other; many in random order, so that caches are of as little use as in life."""
        return self.series <= IN_ORDER_SERIES_MAX


@dataclass(frozen=True)
class Sent:
    """What left the sender, by its own count."""

    datagrams: int
    lines: int
    seconds: float
    failed: int


class Sender:
    """A sending process. `begin()` lets it go, `sent()` waits until it is done."""

    def __init__(self, plan: Plan) -> None:
        arguments = [sys.executable, "-m", "hms_ops.load", json.dumps(asdict(plan))]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read("prepared")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def sent(self) -> Sent:
        """Wait for the end. RuntimeError when it ended otherwise."""
        return Sent(**self._read("sent"))

    def _read(self, event: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        if said.pop("event", None) != event:
            raise RuntimeError(f"the sending process ended before it was {event}; its error is on standard error")
        return said


def send(plan: Plan) -> None:
    """The body of the process."""
    from hms_ops._load import Load

    if plan.cpu is not None:
        os.sched_setaffinity(0, {plan.cpu})
    load = Load(plan.line_format, plan.series, plan.datagram_bytes, plan.datagrams, plan.is_in_order)
    print(json.dumps({"event": "prepared"}), flush=True)
    if not sys.stdin.readline():
        return
    sent = Sent(*load.send(plan.host, plan.port, plan.seconds, plan.lines_per_s))
    print(json.dumps({"event": "sent", **asdict(sent)}), flush=True)


if __name__ == "__main__":
    send(Plan(**json.loads(sys.argv[1])))

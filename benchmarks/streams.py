"""Live streams beside a listener under load: what they cost it, and how fresh what they say is.

CLIENTS streams in a process of their own, each of METRICS metrics by its own choice out of a hundred, so that no two
ask for the same; a third process sends. The lag of a second is from its end to the receipt of its last cell, by the
clock of this machine; every client must have every second once, without a gap.

    python -m benchmarks.streams '{"http": "127.0.0.1:8126", …}'     the clients' process, which `Followers` starts
"""

import json
import random
import re
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.figure import Figure, Pace
from hms_ops.bench import BenchError, Daemon, cores, plan_for, receive, settings_for

CLIENTS = 200
METRICS = 50
OF_METRICS = 100  # that Load's format `tags` sends
SERIES = 10_000
LINES_PER_S = 1_000_000.0
SECONDS = 12
WARM_UP_SECONDS = 2.0
SETTLE_SECONDS = 2.0
READ_BYTES = 65_536
LAG_MS_AT_MOST = 2_000.0
CELLS = re.compile(rb'data: \{"time":(\d+),"cells":(.*?),"left_out":(\d+)\}\n\n', re.DOTALL)
GAP = b"event: gap\n"


class Followers:
    """The clients' process. Entering waits until all streams are open; `end()` returns what they saw."""

    def __init__(self, http: str, clients: int, metrics: int) -> None:
        given = json.dumps({"http": http, "clients": clients, "metrics": metrics})
        command = [sys.executable, "-m", "benchmarks.streams", given]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the clients' process ended early; its error is on standard error")
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass
class Client:
    """One stream: what is read and not yet an event, and the lag of each second in ms."""

    connection: socket.socket
    rest: bytes = b""
    gaps: int = 0
    cells: int = 0
    left_out: int = 0
    lag_ms: dict[int, float] = field(default_factory=dict)

    def take(self, data: bytes, now: float) -> None:
        """Chunks of HTTP may lie anywhere in the text; events are small enough to come in one each."""
        text = self.rest + data
        end = 0
        for match in CELLS.finditer(text):
            second = int(match[1])
            if second in self.lag_ms:
                raise BenchError(f"second {second} came twice")
            self.lag_ms[second] = (now - second - 1) * 1e3
            self.cells += match[2].count(b'"metric"')
            self.left_out += int(match[3])
            end = match.end()
        self.gaps += text.count(GAP, 0, end)
        self.rest = text[end:]


def open_stream(http: str, metrics: list[str]) -> socket.socket:
    host, _, port = http.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    query = "&".join(f"metric={name}" for name in metrics)
    connection.sendall(f"GET /v1/stream?{query} HTTP/1.1\r\nHost: {http}\r\n\r\n".encode())
    return connection


def follow(http: str, clients: int, metrics: int) -> None:
    """The body of the clients' process: open, say so, read until a line comes on standard input, say what was seen."""
    chance = random.Random(0)
    names = [f"service{n:02}.api_ms" for n in range(OF_METRICS)]
    every = [Client(open_stream(http, chance.sample(names, metrics))) for _ in range(clients)]
    waiting = selectors.DefaultSelector()
    for client in every:
        client.connection.setblocking(False)
        waiting.register(client.connection, selectors.EVENT_READ, client)
    waiting.register(sys.stdin, selectors.EVENT_READ, None)
    print(json.dumps({"open": len(every)}), flush=True)
    while read_once(waiting):
        pass
    print(json.dumps(seen_by(every)), flush=True)


def read_once(waiting: selectors.BaseSelector) -> bool:
    """Read what is there; False when the parent says that it is enough."""
    for key, _ in waiting.select():
        if key.data is None:
            return False
        data = key.data.connection.recv(READ_BYTES)
        if not data:
            raise BenchError("a stream ended")
        key.data.take(data, time.time())
    return True


def seen_by(clients: list[Client]) -> dict[str, Any]:
    """Lags of all seconds of all clients, from the first one that all have."""
    first = max(min(client.lag_ms) for client in clients)
    last = min(max(client.lag_ms) for client in clients)
    lags = [client.lag_ms.get(second) for client in clients for second in range(first, last + 1)]
    return {
        "lag_ms": [lag for lag in lags if lag is not None],
        "missing": lags.count(None),
        "seconds": last + 1 - first,
        "gaps": sum(client.gaps for client in clients),
        "cells": sum(client.cells for client in clients),
        "left_out": sum(client.left_out for client in clients),
    }


def one_run(seconds: float, clients: int = CLIENTS) -> dict[str, Any]:
    """What the clients saw, and the listener's loss, CPU and lines meanwhile. BenchError when a second is missing."""
    sender_cpu, _ = cores()
    with Daemon(settings_for(SERIES)) as daemon:
        shape: dict[str, Any] = {"series": SERIES, "line_format": "tags", "lines_per_s": LINES_PER_S}
        receive(daemon, plan_for(daemon, WARM_UP_SECONDS, sender_cpu, **shape))
        with Followers(daemon.http, clients, METRICS) as followers:
            run = receive(daemon, plan_for(daemon, seconds, sender_cpu, **shape))
            time.sleep(SETTLE_SECONDS)  # until the last second is out
            seen = followers.end()
    if seen["missing"] or seen["left_out"] or not seen["cells"]:
        raise BenchError(f"{seen['missing']} seconds missing, {seen['left_out']} cells left out of {seen['cells']}")
    return {**seen, "loss": run.loss, "lines_per_s": run.lines_per_s, "cpu_ns_per_line": run.cpu_ns_per_line}


def measure(pace: Pace) -> list[Figure]:
    run = one_run(pace.part(SECONDS, 3))
    p50, p95 = np.percentile(run["lag_ms"], [50, 95])
    beside = f"{CLIENTS} live streams of {METRICS} metrics each"
    note = f"{run['lines_per_s'] / 1e6:.2f} M lines/s, {run['seconds']} s, {run['cells']:,} cells, {run['gaps']} gaps"
    return [
        Figure("streams.loss", f"listener's loss beside {beside}", "%", [run["loss"] * 100], at_most=0.0, note=note),
        Figure(
            "streams.lag",
            f"end of a second to its cells in a browser's socket, {beside}, p95",
            "ms",
            [float(p95)],
            at_most=LAG_MS_AT_MOST,
            note=f"p50 {p50:.0f} ms, longest {max(run['lag_ms']):.0f} ms; "
            f"{run['cpu_ns_per_line']:.0f} ns of the daemon's CPU a line, streams and ticks included",
        ),
    ]


if __name__ == "__main__":
    follow(**json.loads(sys.argv[1]))

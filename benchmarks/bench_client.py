"""What one metric costs the service that emits it, against the clients it would otherwise use.

    python -m pytest benchmarks/bench_client.py

Each contender emits SAMPLES timings in a tight loop to a UDP socket that another process drains. `ns_per_sample` is
what the calling code waits; `cpu_ns_per_sample` is all the CPU the process spends until the last sample has left,
threads and kernel included. A round counts only if every sample was sent, and the drain has to have received some.
Import times are of whole fresh processes, less that of bare Python.
"""

import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from datadog.dogstatsd.base import DogStatsd
from statsd import StatsClient

from hms_ops.client import Client

SAMPLES = 20_000
ROUNDS = 15
IMPORTS = 15

_DRAIN = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
lines = 0
while (datagram := sock.recv(65_535)) != b"end":
    lines += datagram.strip().count(b"\\n") + 1
print(lines, flush=True)
"""


class Drain(NamedTuple):
    """A process that receives and counts. `port`: where."""

    process: subprocess.Popen[str]
    port: int


class Contender(NamedTuple):
    """`emit` is called with (name, value); `flush` sends what is buffered and says how many samples were lost."""

    emit: Callable[[str, float], Any]
    flush: Callable[[], int]
    close: Callable[[], Any]


@pytest.fixture
def drain() -> Iterator[Drain]:
    process = subprocess.Popen([sys.executable, "-c", _DRAIN], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    port = int(process.stdout.readline())
    yield Drain(process, port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
        while process.poll() is None:  # the first may find the buffer full
            ending.sendto(b"end", ("127.0.0.1", port))
            time.sleep(0.01)
    assert int(process.stdout.readline()) > 0, "the drain received nothing"
    process.stdout.close()


def _ours(port: int) -> Contender:
    client = Client(f"udp://127.0.0.1:{port}")
    return Contender(client.metric, partial(_flush_ours, client), client.close)


def _ours_tagged(port: int) -> Contender:
    client = Client(f"udp://127.0.0.1:{port}")
    emit = partial(client.metric, tags={"agency": "irs"})
    return Contender(emit, partial(_flush_ours, client), client.close)


def _ours_timed(port: int) -> Contender:
    client = Client(f"udp://127.0.0.1:{port}")

    def emit(name: str, _: float) -> None:
        with client.timed(name):
            pass

    return Contender(emit, partial(_flush_ours, client), client.close)


def _flush_ours(client: Client) -> int:
    client.flush()
    return client.counters()["dropped"]


def _datadog(port: int, buffered: bool) -> Contender:
    client = DogStatsd("127.0.0.1", port, disable_buffering=not buffered, flush_interval=0.1, disable_telemetry=True)
    return Contender(client.timing, partial(_flush_datadog, client), client.stop)


def _flush_datadog(client: DogStatsd) -> int:
    client.flush()
    return int(client.packets_dropped)


def _statsd(port: int) -> Contender:
    client = StatsClient("127.0.0.1", port)
    return Contender(client.timing, lambda: 0, client.close)


CONTENDERS: dict[str, Callable[[int], Contender]] = {
    "ours": _ours,
    "ours, one tag": _ours_tagged,
    "ours, with timed()": _ours_timed,
    "datadogpy buffered": lambda port: _datadog(port, buffered=True),
    "datadogpy unbuffered": lambda port: _datadog(port, buffered=False),
    "statsd": _statsd,
}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.benchmark(group="emit one metric")
def test_emit(benchmark: Any, drain: Drain, contender: str) -> None:
    emit, flush, close = CONTENDERS[contender](drain.port)
    values = [n * 0.37 for n in range(SAMPLES)]
    cpu_ns: list[int] = []

    def loop() -> None:
        for value in values:
            emit("finance.api_ms", value)

    def before() -> None:
        assert flush() == 0, "samples were lost"
        cpu_ns.append(time.process_time_ns())

    before()  # names, sockets and threads are ready
    benchmark.pedantic(loop, setup=before, rounds=ROUNDS, warmup_rounds=1)
    before()
    close()
    per_round = statistics.median(end - start for start, end in pairwise(cpu_ns[1:]))
    ns = statistics.median(benchmark.stats.stats.data) / SAMPLES * 1e9
    benchmark.extra_info.update(
        ns_per_sample=round(ns),
        cpu_ns_per_sample=round(per_round / SAMPLES),
        samples_per_second=round(1e9 / ns),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(f"\n{contender}: {benchmark.extra_info}")


def _start_seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


@pytest.mark.parametrize("module", ["hms_ops", "hms_ops.client", "datadog.dogstatsd", "statsd"])
@pytest.mark.benchmark(group="import")
def test_import(benchmark: Any, module: str) -> None:
    bare: list[float] = []

    def before() -> None:
        bare.append(_start_seconds("pass"))  # in turn with the import, so that a busy machine slows both

    benchmark.pedantic(_start_seconds, (f"import {module}",), setup=before, rounds=IMPORTS)
    above_ms = (statistics.median(benchmark.stats.stats.data) - statistics.median(bare)) * 1e3
    benchmark.extra_info.update(ms_above_bare_python=round(above_ms, 1))
    print(f"\nimport {module}: {above_ms:.1f} ms above bare Python")

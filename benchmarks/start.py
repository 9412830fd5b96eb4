"""Until it receives, until it is ready, and what importing costs: whole fresh processes, from their first instruction.

Receiving: a datagram every ms from before the start; the first that is not refused was taken by the kernel for us. When
the engine is ready, its ledger must have each one since, or "receiving" was only a promise.
Imports: of fresh processes in turn with bare Python, so that a busy machine slows both.
"""

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.figure import Figure, Pace
from hms_ops.bench import BenchError, Daemon

RECEIVING_MS_AT_MOST = 700.0
READY_MS_AT_MOST = 1_500.0
COLD_MS_AT_MOST = 20_000.0
IMPORTS = {"hms_ops": 40.0, "hms_ops.client": 30.0}
KNOCK_SECONDS = 0.001
DATAGRAM = b"start.knock:1|c"


class Knocker:
    """Sends a datagram each ms to a port from a thread of its own, and notes which were not refused."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.first_taken_ns = 0
        self.taken = 0
        self._thread.start()

    def _run(self) -> None:
        # On loopback a refusal is there as soon as the datagram is sent; the socket reports it with the next call.
        while not self._stopping.is_set():
            sent_ns = time.monotonic_ns()
            if self._is_taken():
                self.first_taken_ns = self.first_taken_ns or sent_ns
                self.taken += 1
            self._stopping.wait(KNOCK_SECONDS)

    def _is_taken(self) -> bool:
        try:
            self._socket.send(DATAGRAM)
        except ConnectionRefusedError:
            return False
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def one_start() -> tuple[float, float]:
    """ms from the start of the process until it receives, and until it is ready."""
    port = free_port()
    knocker = Knocker(port)
    with tempfile.TemporaryDirectory() as data_dir:
        with Daemon(data_dir=Path(data_dir), udp=f"127.0.0.1:{port}") as daemon:
            knocker.stop()
            row = daemon.settled(knocker.taken)
            if row["samples"] != knocker.taken:
                raise BenchError(f"{knocker.taken} datagrams were taken since the start, {row['samples']} counted")
        return ms_between(daemon.started_ns, knocker.first_taken_ns), ms_between(daemon.started_ns, daemon.ready_ns)


def one_cold_start() -> float:
    """ms until it is ready with nothing in numba's cache."""
    with tempfile.TemporaryDirectory() as cache, Daemon(environment={"NUMBA_CACHE_DIR": cache}) as daemon:
        compiled = sum(1 for _ in Path(cache).rglob("*.nbc"))
        if not compiled:
            raise BenchError("nothing was compiled into an empty cache; the start was not cold")
        return ms_between(daemon.started_ns, daemon.ready_ns)


def ms_between(begun_ns: int, ended_ns: int) -> float:
    return (ended_ns - begun_ns) / 1e6


def measure(pace: Pace) -> list[Figure]:
    """Warm starts, then cold ones."""
    one_start()
    starts = [one_start() for _ in range(pace.rounds)]
    return [
        Figure(
            "start.receiving",
            "start to receiving, warm caches",
            "ms",
            [receiving for receiving, _ in starts],
            at_most=RECEIVING_MS_AT_MOST,
            note="every datagram since was counted",
        ),
        Figure(
            "start.ready", "start to ready, warm caches", "ms", [ready for _, ready in starts], at_most=READY_MS_AT_MOST
        ),
        Figure(
            "start.cold",
            "start to ready on a new machine (no compiled kernels)",
            "ms",
            [one_cold_start() for _ in range(pace.part(2))],
            at_most=COLD_MS_AT_MOST,
        ),
    ]


def ms_of_python(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - begun) * 1e3


def measure_imports(pace: Pace) -> list[Figure]:
    """Above bare Python."""
    figures = []
    for module, ms_at_most in IMPORTS.items():
        pairs = [(ms_of_python("pass"), ms_of_python(f"import {module}")) for _ in range(2 * pace.rounds + 1)]
        bare = statistics.median(ms for ms, _ in pairs)
        figures.append(
            Figure(
                f"import.{module}",
                f"import {module}, above bare Python",
                "ms",
                [ms - bare for _, ms in pairs],
                at_most=ms_at_most,
                note=f"bare Python {bare:.0f} ms",
            )
        )
    return figures

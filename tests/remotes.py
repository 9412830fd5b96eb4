"""Real servers that take remote write, each on a free port of loopback with a directory of its own.

`victoria(directory)` and `prometheus(directory)` run until their `with` ends; they may be stopped, killed and started
again on what they had. Without the program the test is skipped, and says how to get it.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

READY_SECONDS = 30.0
MISSING = "no {0} on the PATH: make servers, or apt-get install {0}"


@dataclass
class Server:
    """One server; `command` is how it is started, with its data where it was."""

    port: int
    command: list[str]
    ready: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        return f"{self.base}/api/v1/write"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None, f"{self.command[0]} ended at once"
            assert time.monotonic() < end, f"{self.command[0]} was not ready within {READY_SECONDS:g} s"
            time.sleep(0.02)

    def stop(self, *, is_killed: bool = False) -> None:
        """End it, in order or as a crash does."""
        if self.process is not None:
            (self.process.kill if is_killed else self.process.terminate)()
            self.process.wait(READY_SECONDS)
            self.process = None

    def is_ready(self) -> bool:
        try:
            return bool(self._get(self.ready) is not None)
        except OSError:
            return False

    def ask(self, path: str, **given: Any) -> Any:
        """The data of an answer of the query API."""
        return json.loads(self._get(f"{path}?{urlencode(given, doseq=True)}"))["data"]

    def samples(self, selector: str, at: int, seconds: int) -> dict[str, list[tuple[int, float]]]:
        """The raw samples, in ms, of (at − seconds, at]: {name{labels}: [(time, value)]}, labels sorted."""
        found = self.ask("/api/v1/query", query=f"{selector}[{seconds}s]", time=at)["result"]
        return {key_of(one["metric"]): [(round(t * 1000), float(v)) for t, v in one["values"]] for one in found}

    def flush(self) -> None:
        """Make what was written visible to queries at once."""
        if "victoria" in self.command[0]:
            self._get("/internal/force_flush")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.base + path, timeout=30) as answer:
            return bytes(answer.read())


def key_of(labels: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{inner}}}" if inner else "")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(MISSING.format(name))
    return found


@contextmanager
def victoria(directory: Path, *more: str) -> Iterator[Server]:
    """VictoriaMetrics, with samples sent twice taken once."""
    port = free_port()
    command = [
        program("victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={directory}",
        "-retentionPeriod=100y",
        "-dedup.minScrapeInterval=1ms",
        "-search.disableCache",
        *more,
    ]
    with running(Server(port, command, "/health")) as server:
        yield server


@contextmanager
def prometheus(directory: Path) -> Iterator[Server]:
    """Prometheus as a receiver of remote write."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prometheus.yml").write_text("global: {}\n")
    command = [
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--log.level=error",
    ]
    with running(Server(port, command, "/-/ready")) as server:
        yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()

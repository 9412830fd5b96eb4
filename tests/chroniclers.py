"""A data directory with a known past, what a remote must hold after it was sent, and a receiver that does as told."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from tests.reference import remote_write
from tests.remotes import key_of

from hms_ops import kinds
from hms_ops.clock import ManualClock
from hms_ops.remote.encode import FIELDS
from hms_ops.remote.labels import outer_metric
from hms_ops.remote.sender import Remote
from hms_ops.remote.settings import remote_from
from hms_ops.series import SeriesInfo
from hms_ops.storage.store import Storage, open_storage
from hms_ops.storage.tier import TIERS

START = 1_699_999_200  # a whole hour
Samples = dict[str, list[tuple[int, float]]]


@dataclass
class Chronicle:
    """The storage, its series (ids are places + 1), and every sample a remote of `tier` has to get."""

    storage: Storage
    series: list[SeriesInfo]
    tier: int
    clock: ManualClock
    expected: Samples = field(default_factory=dict)

    def write(self, step: int, columns: Any, *, is_patch: bool = False) -> None:
        """Rows float64[6, n] of all series; COUNT 0 for none. `expected` gains them as they are."""
        tier, n = self.tier, len(self.series)
        if is_patch:
            rows = (np.full(n, step), np.arange(1, n + 1, dtype=np.uint32), columns)
            self.storage.history.append_patch(tier, rows)
            return
        dense = np.zeros((6, n + 1))
        dense[:, 1:] = columns
        self.storage.history.append(tier, step, dense)
        time_ms = (step + TIERS[tier].step_seconds) * 1000 - 1
        for place in np.flatnonzero(columns[0]).tolist():
            info = self.series[place]
            for name, column in FIELDS:
                labels = {"__name__": f"{outer_metric(info.name, False)}_{name}", **info.tags}
                self.expected.setdefault(key_of(labels), []).append((time_ms, float(columns[column, place])))

    def fill(self, first: int, steps: int, seed: int = 1) -> None:
        """So many steps from `first` on; the clock ends behind them. Every tenth row or so is missing."""
        random = np.random.default_rng(seed)
        seconds = TIERS[self.tier].step_seconds
        for step in range(first, first + steps * seconds, seconds):
            low = random.integers(-50, 50, len(self.series)) / 4
            count = random.integers(1, 5, len(self.series)) * (random.random(len(self.series)) > 0.1)
            self.write(step, np.array([count, low * count + 3, low * 0, low, low + 6, low + 1]))
        self.set_time(first + steps * seconds + 60)

    def set_time(self, second: int) -> None:
        self.clock.advance(second - self.clock.now_ns() / 1e9)

    def seal(self, now: int) -> None:
        for tier, block in self.storage.history.sealable(now):
            self.storage.history.seal(tier, block)

    def remote(self, url: str, name: str = "vm", **more: Any) -> Remote:
        given = {"url": url, "tier": TIERS[self.tier].name, "labels": {}, **more}
        return Remote(remote_from(name, given), self.storage, self.clock, backoff_seconds=0.001)


@contextmanager
def chronicle(directory: Path, series: int = 100, tier: int = 0) -> Iterator[Chronicle]:
    storage = open_storage(directory)
    known = [
        SeriesInfo(f"svc{n % 7}.load", {"host": f"h{n:04}", "zone": "z" * (n % 3)}, kinds.GAUGE) for n in range(series)
    ]
    known.sort(key=lambda info: (info.name, info.tags["host"]))
    ids = storage.catalogue.ids_for(known, START)
    assert ids.tolist() == list(range(1, series + 1))
    for info in known:  # an empty tag is no label outside
        if not info.tags["zone"]:
            del info.tags["zone"]
    try:
        yield Chronicle(storage, known, tier, ManualClock(START * 1_000_000_000))
    finally:
        storage.close()


def drain(remote: Remote, rounds_max: int = 10_000) -> None:
    """Send until there is nothing more, or nothing goes."""
    for _ in range(rounds_max):
        if not remote.send_next():
            return
    raise AssertionError(f"still not done after {rounds_max} rounds")


# ---- a receiver that does as it is told

Judge = Callable[[remote_write.Series], int]


@dataclass
class Receiver:
    """What came, in order: (headers, path, series); `statuses` are answered first, then what `judge` says."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    judge: Judge = lambda series: 204
    headers: dict[str, str] = field(default_factory=dict)
    came: list[tuple[dict[str, str], str, remote_write.Series]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    hangs: threading.Event | None = None

    def accepted(self) -> Samples:
        """The samples of requests that were answered 2xx, as Chronicle.expected has them."""
        found: Samples = {}
        for (_, _, series), status in zip(self.came, self.answered, strict=True):
            if status < 300:
                for labels, samples in series.items():
                    found.setdefault(key_of(dict(labels)), []).extend(samples)
        return found


@contextmanager
def receiver(statuses: Sequence[int] = (), judge: Judge = lambda series: 204, **headers: str) -> Iterator[Receiver]:
    told = Receiver(statuses=list(statuses), judge=judge, headers=headers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            series = remote_write.decode(body)
            if told.hangs is not None:
                told.hangs.wait(30)
            status = told.statuses.pop(0) if told.statuses else told.judge(series)
            told.came.append((dict(self.headers), self.path, series))
            told.answered.append(status)
            self.answer(status, b"" if status == 204 else json.dumps({"said": status}).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            for name, value in told.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_port}/api/v1/write"
        try:
            yield told
        finally:
            if told.hangs is not None:
                told.hangs.set()
            server.shutdown()
            thread.join()

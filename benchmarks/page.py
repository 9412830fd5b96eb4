"""From the first breaching datagram to the webhook received, `FOR 0s`: what a page costs in time.

RULES rules of one daemon breach within a second, each at a moment of its own, so that every phase of the tick is met; a
real HTTP server in this process receives. A wave of breaches is followed by a wave of recoveries, then the next wave
has rules of its own: one that came and went so often would be told as flapping. Each
rule has its own URL and with it its own lane of the outbox, and notifies three receivers besides that take connections
and never answer. Every breach must be paged exactly once.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from benchmarks.figure import Figure, Pace
from hms_ops.bench import BenchError, Daemon

RULES = 50
WAVES = 6
WAVE_SECONDS = 1.0
CALM, BREACH = 1, 500
HANGING = 3
P99_MS_AT_MOST = 2_000.0
DEADLINE_SECONDS = 20.0


@dataclass
class Pages:
    """What the receiver got: {(alert, status): its monotonic times in ns}."""

    times_ns: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, document: dict[str, Any]) -> None:
        now_ns = time.monotonic_ns()
        with self.arrived:
            for alert in document["alerts"]:
                key = alert["labels"]["alertname"], alert["status"]
                self.times_ns.setdefault(key, []).append(now_ns)
            self.arrived.notify_all()

    def wait_for(self, names: list[str], status: str, count: int) -> None:
        """Until each name has `count` of the status. BenchError when that does not happen."""
        with self.arrived:
            done = self.arrived.wait_for(
                lambda: all(len(self.times_ns.get((name, status), [])) >= count for name in names), DEADLINE_SECONDS
            )
        if not done:
            late = [name for name in names if len(self.times_ns.get((name, status), [])) < count]
            raise BenchError(f"{len(late)} of {len(names)} pages {status!r} never came, {late[0]} for one")


class Server(ThreadingHTTPServer):
    """Fifty pages may come at once; beyond the default backlog of 5 each would wait a second for its next SYN."""

    request_queue_size = 2 * RULES


@contextmanager
def receiver() -> Iterator[tuple[str, Pages]]:
    """(URL, Pages) of an HTTP server on a free port."""
    pages = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pages.add(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        server.shutdown()


@contextmanager
def hanging() -> Iterator[list[str]]:
    """URLs of HANGING receivers that take connections into their backlog and never read."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=4 * RULES) for _ in range(HANGING)]
    try:
        yield [f"webhook:http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def rule(n: int, url: str, stuck: list[str]) -> dict[str, Any]:
    """One that fires and resolves with its gauge's last value."""
    return {"alert": f"page.rule{n}", "if": f"last(page.gauge{n}) > 200", "notify": [*stuck, f"webhook:{url}/{n}"]}


def send_wave(sock: socket.socket, wave: int, value: int) -> list[int]:
    """One datagram a gauge, evenly over WAVE_SECONDS; when each was sent, in ns."""
    begun = time.monotonic()
    sent_ns = []
    for n in rules_of(wave):
        # A pace, not a wait for something to happen.
        time.sleep(max(0.0, begun + n % RULES * WAVE_SECONDS / RULES - time.monotonic()))
        sent_ns.append(time.monotonic_ns())
        sock.send(b"page.gauge%d:%d|g" % (n, value))
    return sent_ns


def rules_of(wave: int) -> range:
    return range(wave * RULES, (wave + 1) * RULES)


def latencies_ms(waves: int) -> list[list[float]]:
    """One list a wave, of RULES latencies."""
    found = []
    with (
        receiver() as (url, pages),
        hanging() as stuck,
        Daemon({"rules": [rule(n, url, stuck) for n in range(RULES * waves)]}) as daemon,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(daemon.udp_address)
        for wave in range(waves):
            names = [f"page.rule{n}" for n in rules_of(wave)]
            send_wave(sock, wave, CALM)
            sent_ns = send_wave(sock, wave, BREACH)
            pages.wait_for(names, "firing", 1)
            came_ns = [pages.times_ns[name, "firing"][0] for name in names]
            found.append([(came - sent) / 1e6 for came, sent in zip(came_ns, sent_ns, strict=True)])
            send_wave(sock, wave, CALM)
            pages.wait_for(names, "resolved", 1)
    if any(len(times) != 1 for times in pages.times_ns.values()):
        raise BenchError("an episode a rule, but some were paged more often")
    return found


def measure(pace: Pace) -> list[Figure]:
    waves = latencies_ms(pace.part(WAVES, 2))
    all_ms = np.concatenate(waves)
    p50, p99 = np.percentile(all_ms, [50, 99])
    return [
        Figure(
            "page.p99",
            "first breaching datagram to webhook received, FOR 0s, three other receivers hanging, p99",
            "ms",
            [float(p99)],
            at_most=P99_MS_AT_MOST,
            note=f"p50 {p50:.0f} ms, longest {all_ms.max():.0f} ms, {all_ms.size} episodes",
        )
    ]

"""Ten thousand alerts in a second: how many pages that makes, how soon the first is there, and what the ticks cost.

One engine with a rule that has an alert for each of ALERTS hosts, and three routes to receivers of their own: a pager,
a team that groups by region, and one that hangs. All hosts breach between two ticks. Every page is checked: one a route
and group, all alerts counted in it.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.figure import Figure, Pace
from hms_ops import Engine
from hms_ops.bench import BenchError

ALERTS = 10_000
REGIONS = 5
SECONDS = 5.0
DEADLINE_SECONDS = 30.0
TICK_MS_AT_MOST = 1_000.0  # on time: the next tick must not be late


@dataclass
class Pages:
    """What came: (path, monotonic seconds, document)."""

    found: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, path: str, document: dict[str, Any]) -> None:
        with self.arrived:
            self.found.append((path, time.monotonic(), document))
            self.arrived.notify_all()

    def of(self, path: str) -> list[tuple[str, float, dict[str, Any]]]:
        return [page for page in self.found if page[0].startswith(path)]


@contextmanager
def receiver() -> Iterator[tuple[str, Pages]]:
    pages, released = Pages(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.startswith("/hangs"):
                released.wait(DEADLINE_SECONDS)
            pages.add(self.path, document)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        released.set()
        server.shutdown()


def configuration(url: str) -> dict[str, Any]:
    rule = {"alert": "host.hot", "if": "last(storm.heat) > 200", "group_by": ["host", "region"]}
    routes = [
        {"route": "pager", "match": {"severity": "page"}, "notify": [f"webhook:{url}/pager"], "continue": True},
        {
            "route": "teams",
            "match": {"severity": "page"},
            "group_by": ["alertname", "region"],
            "notify": [f"webhook:{url}/teams"],
            "continue": True,
        },
        {"route": "stuck", "match": {"severity": "page"}, "notify": [f"webhook:{url}/hangs"]},
    ]
    return {"rules": [rule], "routes": routes}


def storm() -> tuple[float, int, float]:
    """(seconds from breach to the first page, pages, the dearest tick in ms)."""
    with receiver() as (url, pages), Engine(udp=None, data_dir=None, config=configuration(url)) as engine:
        handles = [
            engine.series("storm.heat", kind="gauge", tags={"host": f"h{n}", "region": f"r{n % REGIONS}"})
            for n in range(ALERTS)
        ]
        for handle in handles:
            handle.add(1.0)
        wait_for_tick(engine, 2)
        begun = time.monotonic()
        for handle in handles:
            handle.add(500.0)
        dearest = 0.0
        while time.monotonic() < begun + SECONDS:
            dearest = max(dearest, float(engine.account.signs()["engine.tick_ms"]))
            time.sleep(0.05)
        with pages.arrived:
            done = pages.arrived.wait_for(lambda: bool(pages.of("/pager")), DEADLINE_SECONDS)
        if not done:
            raise BenchError("no page came")
        check(pages)
        return pages.of("/pager")[0][1] - begun, len(pages.of("/pager")) + len(pages.of("/teams")), dearest


def check(pages: Pages) -> None:
    """One page a route and group, and every alert counted."""
    for path, groups in (("/pager", 1), ("/teams", REGIONS)):
        found = [document for _, _, document in pages.of(path)]
        told = sum(len(document["alerts"]) + document["truncatedAlerts"] for document in found)
        if len(found) > groups * 2 or told < ALERTS:
            raise BenchError(f"{len(found)} pages to {path} of {groups} groups tell of {told} alerts")


def wait_for_tick(engine: Engine, ticks: int) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    wanted = int(engine.counters()["tick"]["count"]) + ticks
    while int(engine.counters()["tick"]["count"]) < wanted:
        if time.monotonic() > end:
            raise BenchError("the engine does not tick")
        time.sleep(0.05)


def measure(pace: Pace) -> list[Figure]:
    runs = [storm() for _ in range(pace.part(3))]
    counts = sorted({pages for _, pages, _ in runs})
    return [
        Figure(
            "storm.tick",
            f"dearest tick while {ALERTS:,} alerts fire at once, a receiver hanging",
            "ms",
            [dearest for _, _, dearest in runs],
            at_most=TICK_MS_AT_MOST,
            note=f"{' to '.join(map(str, {counts[0], counts[-1]}))} pages for two routes with one and five groups",
        ),
        Figure(
            "storm.page",
            f"{ALERTS:,} alerts at once to the first page",
            "ms",
            [seconds * 1000 for seconds, _, _ in runs],
            at_most=2_000.0,
        ),
    ]

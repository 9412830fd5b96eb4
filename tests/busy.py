"""An engine with something on every page: live metrics, alerts, anomalies, deliveries that failed, actions, SLOs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.answering import answering, status

from hms_ops import Engine

SEND_SECONDS = 0.1
BOARD = """
title: The rush
columns: 2
panels:
  - {title: Database, kind: light, alert: db.slow}
  - {title: Now, kind: number, expr: "avg(db.write_ms, 3s)", unit: ms, good_below: 150}
  - {title: Write latency, metric: db.write_ms, unit: ms, range: 1m}
  - {title: Calls, exprs: ["rate(finance.api_ms, 10s) GROUP BY agency"], unit: /s, range: 5m}
  - {title: By agency, kind: table, expr: "avg(finance.api_ms, 1m) GROUP BY agency", unit: ms}
  - {kind: alerts}
  - {kind: text, title: What to do, text: Call the database team.}
"""
STATUS = {"title": "Tax services", "services": [{"name": "refunds", "label": "Refund payments", "outage": ["db.slow"]}]}


def rules(receiver: str) -> dict[str, Any]:
    annotations = {"runbook": "https://runbooks.example/db", "summary": "The database is slow"}
    return {
        "rules": [
            {
                "alert": "db.slow",
                "if": "avg(db.write_ms, 3s) > 200",
                "for": "1s",
                "recover": "< 150",
                "annotations": annotations,
                "notify": [f"webhook:{receiver}"],
            },
            {"alert": "queue.long", "if": "last(portal.queue) > 10", "for": "30m", "severity": "ticket"},
            {"alert": "agency.slow", "if": "avg(finance.api_ms, 5s) > 90", "group_by": ["agency"], "notify": ["log:"]},
            {"alert": "never", "if": "avg(db.write_ms) > 99999", "notify": ["log:"]},
        ],
        "anomalies": [
            {
                "anomaly": "db.anomaly",
                "metric": "db.write_ms",
                "factor": 2,
                "window": "10m",
                "min_samples": 5,
                "severity": "ticket",
                "notify": ["log:"],
            }
        ],
        "slos": [
            {
                "slo": "finance.latency",
                "objective": 99,
                "good": "finance.api_ms <= 200",
                "window": "1d",
                "notify": ["log:"],
                "tickets": ["log:"],
            }
        ],
    }


@dataclass
class Busy:
    """levels: metric → what it is sent as; changed by the test, sent ten times a second."""

    engine: Engine
    levels: dict[str, float] = field(default_factory=lambda: {"db.write_ms": 120.0, "portal.queue": 40.0})
    end: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        assert self.engine.http_address is not None
        return f"http://127.0.0.1:{self.engine.http_address[1]}"

    def feed(self) -> None:
        assert self.engine.udp_address is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(self.engine.udp_address)
            tick = 0
            while not self.end.wait(SEND_SECONDS):
                for datagram in self.datagrams(tick):
                    sender.send(datagram)
                tick += 1

    def datagrams(self, tick: int) -> Iterator[bytes]:
        write_ms, queue = self.levels["db.write_ms"], self.levels["portal.queue"]
        yield f"db.write_ms:{write_ms + tick % 5}|ms\nportal.queue:{queue}|g\ndb.replicas:1|g".encode()
        for agency in ("irs", "ssa", "va"):
            yield f"finance.api_ms:{80 + tick % 7}|ms|#agency:{agency}\nfinance.claims:2|c|#agency:{agency}".encode()
        yield f"portal.users:citizen-{tick % 50}|s".encode()
        if tick % 20 == 0:
            yield b"broken line\nbad.value:nan|g"


@contextmanager
def busy(place: Path, **settings: Any) -> Iterator[Busy]:
    """A real engine on free ports that is fed until the block ends. Its webhook is refused, so it has dead letters."""
    boards = place / "boards"
    boards.mkdir(parents=True)
    (boards / "rush.yaml").write_text(BOARD)
    with answering(status(400, "no")) as receiver, answering(status(200, "{}")) as actions:
        config = {
            **rules(receiver.url),
            "actions": {
                "url": actions.url,
                "run": [{"on": "db.anomaly", "act": {"template": "infra.scale-db", "input": {"replicas": 2}}}],
            },
            "dashboards": [str(boards)],
            "status": STATUS,
            **settings,
        }
        with Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=place / "data", config=config) as engine:
            made = Busy(engine)
            thread = threading.Thread(target=made.feed, name="busy-feed")
            thread.start()
            try:
                yield made
            finally:
                made.end.set()
                thread.join()

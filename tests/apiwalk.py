"""A running engine in which something of everything has happened, and a call for each route.

For tests that compare what the API says of itself with what it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from hms_ops.clock import ManualClock
from hms_ops.engine import Engine

RULES = """
rules:
  - ALERT slow WHEN avg(api_ms) > 200 GROUP BY agency NOTIFY webhook:http://127.0.0.1:1/x
  - {alert: mild, if: last(depth) > 5, for: 1m, keep: 2m, recover: < 3, tags: {team: a}, annotations: {summary: deep}}
slos:
  - {slo: pay, objective: 99%, good: 'api_ms < 100ms', window: 30d}
anomalies:
  - {anomaly: odd, metric: api_ms}
actions:
  - {on: slow, act: {command: [/bin/true]}}
"""

BOARD = b"""
title: Wall
panels:
  - {title: Latency, metric: api_ms, unit: ms, range: 15m}
  - {title: Depth, kind: number, expr: last(depth), good_below: 5}
  - {title: Slow, kind: light, alert: slow}
  - {title: All, kind: alerts, width: 2}
  - {title: Note, kind: text, text: Look here}
"""


@dataclass(frozen=True)
class Call:
    """One request to a route: its path as the document has it, and what is put in. status: what is to be answered."""

    method: str
    path: str
    status: int = 200
    fill: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    form: dict[str, str] | None = None

    @property
    def url(self) -> str:
        return self.path.format(**self.fill)


def calls(directory: Path) -> list[Call]:
    """A call for each operation, in an order in which each finds what it needs; the test fills in `{silence}`."""
    slow, mild = {"name": "slow"}, {"name": "mild"}
    return [
        Call("GET", "/healthz"),
        Call("GET", "/readyz"),
        Call("GET", "/metrics"),
        Call("GET", "/v1/ledger"),
        Call("GET", "/v1/query", query={"expr": "avg(api_ms) GROUP BY agency"}),
        Call("GET", "/v1/query", query={"expr": "avg(api_ms)", "start": 1_700_000_000, "points": 5}),
        Call("GET", "/v1/query", query={"expr": "avg(api_ms)", "format": "csv"}),
        Call("GET", "/v1/series"),
        Call("GET", "/v1/metrics"),
        Call("GET", "/v1/tags", query={"metric": "api_ms"}),
        Call("GET", "/v1/cardinality"),
        Call("GET", "/v1/rejects"),
        Call("GET", "/v1/alerts"),
        Call("POST", "/v1/alerts", 201, json={"alert": "posted", "if": "avg(api_ms) > 1", "for": "1m"}),
        Call("DELETE", "/v1/alerts/{name}", fill={"name": "posted"}),
        Call("POST", "/v1/alerts/{name}/fire", 202, fill={"name": "hand"}, json={"value": 3, "tags": {"a": "b"}}),
        Call("POST", "/v1/alerts/{name}/ack", fill=slow, json={"who": "ann", "for": "1h", "comment": "mine"}),
        Call("GET", "/v1/alerts"),
        Call("GET", "/v1/alerts/{name}/explain", fill=slow),
        Call("GET", "/v1/alerts/{name}/explain", fill=mild),
        Call("POST", "/v1/alerts/{name}/unack", fill=slow),
        Call("POST", "/v1/alerts/{name}/silence", 201, fill=slow, json={"for": "1h"}),
        Call("GET", "/v1/silences"),
        Call("POST", "/v1/alerts/{name}/unsilence", fill=slow),
        Call("POST", "/v1/silences", 201, json={"match": {"agency": "irs"}, "for": 60}),
        Call("DELETE", "/v1/silences/{id}", fill={"id": "{silence}"}),
        Call("GET", "/v1/dead-letters"),
        Call("POST", "/v1/dead-letters/{id}/resend", 404, fill={"id": "0" * 32}),
        Call("POST", "/v1/notifications/test", json={"receiver": "log:"}),
        Call("POST", "/v1/events", json={"event": "esq.violation", "tags": {"agency": "irs"}}),
        Call("GET", "/v1/events", query={"limit": 1000}),
        Call("GET", "/v1/actions"),
        Call("POST", "/v1/actions/stop", json={"who": "ann", "reason": "maintenance"}),
        Call("POST", "/v1/actions/resume"),
        Call("GET", "/v1/slos"),
        Call("GET", "/v1/audit"),
        Call("GET", "/v1/audit/export"),
        Call("POST", "/v1/ingest", content=b"x:1|c\ny:nan|g"),
        Call("POST", "/v1/describe", json={"metric": "api_ms", "unit": "ms", "help": "how long"}),
        Call("GET", "/v1/export", query={"match": "api_ms"}),
        Call("POST", "/v1/import", content=b""),
        Call("POST", "/v1/backup", 201, json={"directory": str(directory / "copy")}),
        Call("DELETE", "/v1/series", query={"match": "gone"}),
        Call("GET", "/openapi.json"),
        Call("GET", "/docs"),
        Call("GET", "/docs/style.css"),
        Call("GET", "/v1/session"),
        Call("DELETE", "/v1/session"),
        Call("POST", "/v1/session", json={"token": "whatever"}),
        Call("GET", "/v1/dashboards"),
        Call("PUT", "/v1/dashboards/{name}", fill={"name": "wall"}, content=BOARD),
        Call("GET", "/v1/dashboards/{name}", fill={"name": "wall"}),
        Call("GET", "/status"),
        Call("GET", "/status.json"),
        Call("GET", "/status.css"),
        Call("GET", "/status.js"),
        Call("GET", "/badge/{name}.svg", fill={"name": "pay"}),
        Call("GET", "/hms-status.js"),
        *prometheus_calls(),
        Call("POST", "/v1/csp-reports", 204, content=b"{}"),
    ]


def prometheus_calls() -> list[Call]:
    span = {"start": "1700000000", "end": "1700000030", "step": "10"}
    both = [
        ("query", {"query": "avg(api_ms)"}),
        ("query_range", {"query": "depth", **span}),
        ("query_exemplars", {"query": "depth", "start": "1700000000", "end": "1700000030"}),
        ("format_query", {"query": "depth>1"}),
        ("labels", {}),
        ("series", {"match[]": "depth"}),
    ]
    alone = ["metadata", "rules", "alerts", "status/buildinfo"]
    return [
        *(Call("GET", f"/api/v1/{name}", query=dict(given)) for name, given in both),
        *(Call("POST", f"/api/v1/{name}", form=dict(given)) for name, given in both),
        *(Call("GET", f"/api/v1/{name}") for name in alone),
        Call("GET", "/api/v1/label/{name}/values", fill={"name": "__name__"}),
    ]


@contextmanager
def lived(directory: Path) -> Iterator[tuple[Engine, httpx.Client]]:
    """The engine, and a client on it."""
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    (directory / "boards").mkdir()
    services = [{"name": "pay", "label": "Payments", "outage": ["slow"]}]
    config = {
        "rules": [str(rules)],
        "dashboards": [str(directory / "boards")],
        "status": {"title": "Taxes", "services": services},
    }
    clock = ManualClock()
    engine = Engine(udp=None, http="127.0.0.1:0", data_dir=directory / "data", config=config, clock=clock)
    with engine:
        for second in range(30):
            engine.ingest(b"api_ms:%d|ms|#agency:irs\ndepth:7|g\ngone:1|c\nuser:ann|s\nbad" % (250 + second))
            engine.advance(1)
        assert engine.http_address is not None
        host, port = engine.http_address
        with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=30) as client:
            yield engine, client

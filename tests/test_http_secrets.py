"""What a token with the scope `read` is shown, and every screen with it, holds no credentials: one is planted in each
place that may have some, and all that can be read is searched for it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.answering import answering, status
from tests.apiwalk import calls
from tests.streaming import following

from hms_ops.clock import ManualClock
from hms_ops.engine import Engine
from hms_ops.events import shown

SECRET = "SECRETTOKEN123"
RECEIVER = f"webhook:http://ann:{SECRET}@127.0.0.1:1/services/{SECRET}?key={SECRET}"
RULES = f"""
rules:
  - {{alert: slow, if: avg(api_ms) > 200, notify: ['{RECEIVER}']}}
  - ALERT sentence WHEN avg(api_ms) > 100 NOTIFY {RECEIVER}
slos:
  - {{slo: pay, objective: 99%, good: 'api_ms < 100ms', window: 30d}}
actions:
  - {{on: slow, act: {{template: scale, input: {{password: {SECRET}}}}}}}
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """All that can be read, by what was asked for."""
    directory = tmp_path_factory.mktemp("secrets")
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    with answering(status(200, "{}")) as service:
        config: dict[str, Any] = {"rules": [str(rules)], "actions": {"url": service.url}}
        engine = Engine(udp=None, http="127.0.0.1:0", data_dir=directory / "data", config=config, clock=ManualClock())
        with engine:
            assert engine.http_address is not None
            host, port = engine.http_address
            with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=30) as client:
                yield read(engine, client, directory)
        assert SECRET in str(service.requests), "the service itself is told"


def read(engine: Engine, client: httpx.Client, directory: Path) -> dict[str, str]:
    assert engine.http_address is not None
    with following(engine.http_address, "?events=alert,anomaly,action") as stream:
        for second in range(10):
            engine.ingest(b"api_ms:%d|ms|#agency:irs\ndepth:7|g" % (250 + second))
            engine.advance(1)
        end = time.monotonic() + 10
        while engine.action_runs()[0]["state"] == "intent" and time.monotonic() < end:
            time.sleep(0.01)
        engine.advance(1)
        events = [stream.next("action") for _ in range(2)]
    found = {"the stream": json.dumps([event.data for event in events])}
    for call in calls(directory):
        if call.method == "GET" and call.path != "/v1/dashboards/{name}" and "{silence}" not in call.fill.values():
            answer = client.get(call.url, params=call.query)
            found[f"{call.url} {call.query}"] = answer.text
    found["/v1/alerts/sentence/explain"] = client.get("/v1/alerts/sentence/explain").text
    return found


def test_something_has_happened_with_what_is_secret(told: dict[str, str]) -> None:
    assert json.loads(told["/v1/actions {}"])["runs"][0]["notify"] == ["webhook:http://127.0.0.1:1/services/***"]
    assert [event["event"] for event in json.loads(told["the stream"])] == ["intent", "outcome"]
    assert "told to webhook:http://127.0.0.1:1/services/***" in told["/v1/alerts/slow/explain {}"]
    assert '"kind":"action"' in told["/v1/events {'limit': 1000}"]


def test_nothing_that_is_read_holds_a_secret(told: dict[str, str]) -> None:
    assert [asked for asked, answer in told.items() if SECRET in answer] == []


def test_what_an_older_engine_wrote_of_an_input_is_not_shown() -> None:
    record = {"kind": "action", "time_ns": 5_000_000_000, "event": "intent", "request": {"input": {"password": SECRET}}}
    reported = {"kind": "event", "time_ns": 5_000_000_000, "request": "GET /"}
    assert shown([record, reported]) == [
        {"time": 5.0, "kind": "action", "event": "intent"},
        {"time": 5.0, "kind": "event", "request": "GET /"},
    ]

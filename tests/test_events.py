"""Events of others: security findings move a counter, feed rules, and stand in the journal beside alerts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engines import manual

from hms_ops import Engine
from hms_ops.events import EVENTS_MAX, read_event, read_events

VIOLATION = {"event": "esq.violation", "severity": "high", "tags": {"agency": "irs"}, "text": "token in a log"}


def test_an_event_counts_once_unless_it_says_otherwise() -> None:
    event = read_event(VIOLATION)
    assert (event.metric, event.count, event.tags) == ("esq.violation_count", 1.0, {"agency": "irs"})
    assert read_event({"event": "esq.violation_count", "count": 3}).metric == "esq.violation_count"


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, "the key 'event' is missing"),
        ({"event": ""}, "expected text"),
        ({"event": "a b"}, "holds blanks"),
        ({"event": "a", "count": 0}, "above 0"),
        ({"event": "a", "count": True}, "above 0"),
        ({"event": "a", "count": 1e12}, "at most"),
        ({"event": "a", "tags": {"x": 1}}, "expected text"),
        ({"event": "a", "tags": {str(n): "v" for n in range(33)}}, "more than 32"),
        ({"event": "a", "txt": "b"}, "did you mean 'text'"),
        ({"event": "a", "time": "now"}, "Unix seconds"),
        ("esq.violation", "keys with values"),
    ],
)
def test_a_wrong_event_is_refused_with_its_reason(given: Any, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        read_event(given)


def test_a_wrong_event_costs_its_neighbours_nothing() -> None:
    found, problems = read_events([VIOLATION, {"event": "a b"}, VIOLATION])
    assert len(found) == 2
    assert problems == [problems[0]]
    assert problems[0].startswith("event 1: event: ")


def test_a_list_is_bounded() -> None:
    with pytest.raises(ValueError, match="1,001 events are more than 1,000"):
        read_events([VIOLATION] * (EVENTS_MAX + 1))


def test_an_event_fires_a_rule_and_stands_beside_the_alert(tmp_path: Path) -> None:
    rule = {"alert": "esq.breach", "if": "increase(esq.violation_count, 10s) >= 2", "group_by": "agency"}
    with manual(data_dir=tmp_path, config={"rules": [rule]}) as engine:
        engine.report(read_events([VIOLATION, VIOLATION])[0], "10.0.0.7")
        engine.advance(2)
        assert [(alert.name, dict(alert.tags)) for alert in engine.alerts()] == [("esq.breach", {"agency": "irs"})]
    with manual(data_dir=tmp_path) as again:
        kinds = [event["kind"] for event in again.events(kinds=("event", "alert"))]
        assert kinds[:3] == ["event", "event", "alert"]
        told = again.events(kinds=("event",))[0]
        assert (told["name"], told["source"], told["text"]) == ("esq.violation", "10.0.0.7", "token in a log")


def test_events_arrive_and_are_listed_over_http(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    with Engine(udp=None, http="127.0.0.1:0", data_dir=tmp_path) as engine:
        assert engine.http_address is not None
        base = "http://{}:{}/v1/events".format(*engine.http_address)
        answer = httpx.post(base, json=[VIOLATION, {"event": "a b"}])
        assert answer.json()["accepted"] == 1
        assert answer.json()["rejected"] == 1
        assert httpx.post(base, json={"event": ""}).status_code == 400
        assert httpx.post(base, content=b"{").status_code == 400

        def listed() -> list[str]:
            found = httpx.get(base, params={"kind": "event", "limit": 5}).json()["events"]
            return [event["name"] for event in found]

        wait_until(lambda: listed() == ["esq.violation"])
        assert engine.value("sum(esq.violation_count)") != 0

"""Anomalies and self-healing through the whole engine: episodes, what they start, and what they never tell."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.answering import answering, status
from tests.engines import feed, manual, rules_file

from hms_ops import Engine
from hms_ops.anomalies import is_among
from hms_ops.errors import ConfigError

WaitUntil = Callable[..., None]

ODD = {"anomaly": "db.anomaly", "metric": "db.write_ms", "factor": 2, "window": "10m", "min_difference": 20}
SCALE = {"on": "db.anomaly", "act": {"template": "infra.scale-db", "input": {"replicas": 2}}, "cooldown": "10m"}


def odd_engine(notify: str = "log:", action_url: str = "", **settings: Any) -> Engine:
    """An engine on a manual clock that watches db.write_ms, and scales when it is odd."""
    actions = {"url": action_url, "run": [SCALE]} if action_url else {}
    config = {"anomalies": [{**ODD, "notify": [notify]}], **({"actions": actions} if actions else {})}
    return manual(config=config, **settings)


def events_of(engine: Engine, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    engine.watch(lambda event: found.append(event) if event["kind"] == kind else None)
    return found


def test_a_second_above_twice_its_mean_starts_an_episode_that_is_held_and_ends() -> None:
    with odd_engine() as engine:
        events = events_of(engine, "anomaly")
        feed(engine, "db.write_ms", 100.0, 60)
        assert events == []
        feed(engine, "db.write_ms", 300.0, 6)
        feed(engine, "db.write_ms", 100.0, 30)
        assert [event["state"] for event in events] == ["started", "held", "ended"]
        assert {event["baseline"] for event in events} == {100.0}
        assert (events[0]["metric"], events[0]["value"], events[0]["tags"]) == ("db.write_ms", 300.0, {})


def test_guards_keep_it_from_flooding() -> None:
    with odd_engine() as engine:
        events = events_of(engine, "anomaly")
        feed(engine, "db.write_ms", 100.0, 5)
        feed(engine, "db.write_ms", 300.0, 1)  # fewer than ten samples before
        engine.advance(700)
        feed(engine, "db.write_ms", 5.0, 60)
        feed(engine, "db.write_ms", 15.0, 5)  # less than 20 above
        engine.advance(700)
        feed(engine, "db.write_ms", -100.0, 60)
        feed(engine, "db.write_ms", 100.0, 5)  # a baseline that is not positive
        assert events == []


def test_every_series_has_episodes_of_its_own_and_one_alert_each() -> None:
    with odd_engine() as engine:
        for second in range(70):
            for zone in ("east", "west", "north"):
                is_odd = second >= 60 and zone != "north"
                engine.metric("db.write_ms", 400.0 if is_odd else 100.0, tags={"zone": zone})
            engine.advance(1)
        firing = [(alert.name, alert.state, alert.tags["zone"]) for alert in engine.alerts()]
        assert sorted(firing) == [("db.anomaly", "firing", "east"), ("db.anomaly", "firing", "west")]
        assert engine.value("last(db.anomaly)") == 1.0


def test_the_page_is_sent_and_the_end_is_told_to_nobody_but_the_log() -> None:
    with answering() as server:
        with odd_engine(notify=f"webhook:{server.url}") as engine:
            alerts = events_of(engine, "alert")
            feed(engine, "db.write_ms", 100.0, 60)
            feed(engine, "db.write_ms", 300.0, 6)
            feed(engine, "db.write_ms", 100.0, 60)
            assert [event["state"] for event in alerts] == ["firing", "resolved"]
            assert engine.alerts() == []
        assert [request.document["status"] for request in server.requests] == ["firing"]


def test_an_action_runs_only_once_the_anomaly_is_held(wait_until: WaitUntil) -> None:
    with answering() as server, odd_engine(action_url=server.url) as engine:
        actions = events_of(engine, "action")
        feed(engine, "db.write_ms", 100.0, 60)
        feed(engine, "db.write_ms", 300.0, 1)
        feed(engine, "db.write_ms", 100.0, 30)  # odd, but for one second only
        assert actions == []
        feed(engine, "db.write_ms", 300.0, 2)
        assert server.requests == []
        feed(engine, "db.write_ms", 300.0, 6)
        wait_until(lambda: [event["event"] for event in actions] == ["intent", "outcome"])
        (request,) = server.requests
        assert request.path == "/v1/run"
        assert request.document["template"] == "infra.scale-db"
        assert request.document["input"] == {"replicas": 2}
        assert request.document["alert"]["name"] == "db.anomaly"
        feed(engine, "db.write_ms", 100.0, 30)
        wait_until(lambda: actions[-1]["event"] == "verified")
        assert actions[-1]["outcome"] == "cleared"


def test_an_action_that_fails_is_not_repeated(wait_until: WaitUntil) -> None:
    with answering(status(500)) as server, odd_engine(action_url=server.url) as engine:
        actions = events_of(engine, "action")
        feed(engine, "db.write_ms", 100.0, 60)
        feed(engine, "db.write_ms", 300.0, 30)
        wait_until(lambda: len(actions) == 2)
        assert "500" in actions[1]["outcome"]
        feed(engine, "db.write_ms", 100.0, 30)
        feed(engine, "db.write_ms", 400.0, 10)  # another episode, within the cooldown
        wait_until(lambda: len(actions) == 3)
        assert actions[2]["event"] == "refused"
        assert len(server.requests) == 1


def test_an_alert_of_a_rule_starts_its_action_at_once(wait_until: WaitUntil) -> None:
    run = {"on": "slow", "act": {"template": "t"}}
    with answering() as server, manual(config={"actions": {"url": server.url, "run": [run]}}) as engine:
        engine.alert("slow", if_="last(a) > 1")
        feed(engine, "a", 5.0, 1)
        wait_until(lambda: len(server.requests) == 1)


def test_the_stop_switch_of_the_configuration_refuses_every_action(wait_until: WaitUntil) -> None:
    run = {"on": "slow", "act": {"template": "t"}}
    config = {"actions": {"url": "http://127.0.0.1:9", "stop": True, "run": [run]}}
    with manual(config=config) as engine:
        actions = events_of(engine, "action")
        engine.alert("slow", if_="last(a) > 1")
        feed(engine, "a", 5.0, 1)
        wait_until(lambda: [event["event"] for event in actions] == ["refused"])
        assert "stop switch" in actions[0]["reason"]


def test_a_reload_that_changes_an_anomaly_rule_ends_its_episodes(tmp_path: Path) -> None:
    text = "anomalies: [{anomaly: odd, metric: a, min_difference: %d}]\n"
    rules = rules_file(tmp_path, text % 20)
    with manual(config=tmp_path / "engine.yaml") as engine:
        feed(engine, "a", 100.0, 60)
        feed(engine, "a", 400.0, 3)
        assert [alert.name for alert in engine.alerts()] == ["odd"]
        engine.reload()  # nothing changed
        assert [alert.name for alert in engine.alerts()] == ["odd"]
        rules.write_text(text % 1000)
        engine.reload()
        assert engine.alerts() == []
        feed(engine, "a", 400.0, 3)
        assert engine.alerts() == []


def test_series_that_go_take_their_episode_along() -> None:
    with odd_engine() as engine:
        feed(engine, "db.write_ms", 100.0, 60)
        feed(engine, "db.write_ms", 400.0, 3)
        assert len(engine.alerts()) == 1
        engine.advance(70 * 60)  # idle for 65 minutes: the slot is given back
        assert engine.alerts() == []


def test_a_share_of_seconds_keeps_lone_outliers_from_starting_an_episode() -> None:
    common = {"metric": "a", "on": "max", "min_difference": 20}
    anomalies = [{**common, "anomaly": "any"}, {**common, "anomaly": "most", "min_share": 0.6}]
    with manual(config={"anomalies": anomalies}) as engine:
        started = events_of(engine, "anomaly")
        feed(engine, "a", 100.0, 60)
        feed(engine, "a", 400.0, 1)
        feed(engine, "a", 100.0, 20)
        assert {event["name"] for event in started} == {"any"}
        feed(engine, "a", 400.0, 3)
        assert {event["name"] for event in started} == {"any", "most"}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("min_share", 0, "0 is too small: above 0 is wanted"),
        ("min_share", 1.2, "1.2 is too large: at most 1 is wanted"),
        ("min_share", "most", "expected a number, found 'most'"),
        ("window", "2h", "2h is too large: at most 3600 is wanted"),
    ],
)
def test_a_guard_out_of_range_is_refused_with_its_key(key: str, value: object, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: {text}"):
        manual(config={"anomalies": [{**ODD, key: value}]})


def test_a_series_that_is_born_ends_no_episode_of_another() -> None:
    with manual(config={"anomalies": [{"anomaly": "odd", "metric": "*", "min_difference": 20}]}) as engine:
        for second in range(66):
            for name in ("a", "b", "c"):
                engine.metric(name, 500.0 if second >= 60 and name != "b" else 100.0)
            engine.metric(f"new{second}", 1.0)
            engine.advance(1)
        assert sorted(alert.tags["metric"] for alert in engine.alerts()) == ["a", "c"]


def test_an_episode_is_found_among_a_million_series_without_a_pass_over_them() -> None:
    slots = np.arange(0, 2_000_000, 2, dtype=np.int32)
    begun = time.process_time()
    found = [is_among(slot, slots) for slot in range(-2, 1000)]
    assert time.process_time() - begun < 0.1  # a thousand sets of them would take a minute
    assert found == [slot >= 0 and slot % 2 == 0 for slot in range(-2, 1000)]
    assert [is_among(slot, slots) for slot in (1_999_998, 1_999_999, 2_000_000)] == [True, False, False]
    assert not is_among(0, slots[:0])


def test_all_series_can_be_watched_but_for_those_that_have_no_values() -> None:
    with manual(config={"anomalies": [{"anomaly": "odd", "metric": "*", "min_difference": 20}]}) as engine:
        for second in range(65):
            engine.metric("a", 500.0 if second >= 60 else 100.0)
            engine.metric("b", 100.0)
            engine.ingest(b"u:%d|s" % second)
            engine.advance(1)
        assert [dict(alert.tags) for alert in engine.alerts()] == [{"metric": "a"}]

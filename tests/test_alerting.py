"""Alerting from end to end: the founding document's examples as written, and what people do about alerts.

Real receivers on loopback, a real disk, a manual clock.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.answering import Answering, answering, status
from tests.engines import NOW, feed, manual

from hms_ops import Alert, Engine
from hms_ops.errors import ConfigError

WaitUntil = Callable[..., None]

FOUNDING = """
rules:
  - alert: finance.latency_high
    if: avg(finance.api_ms) > 200
    for: 3m
    notify: [sms:+1-555-ONCALL]
anomalies:
  - {anomaly: finance.anomaly, metric: finance.api_ms, factor: 2, window: 10m}
actions:
  - {on: finance.anomaly, act: {template: infra.scale-db, input: {replicas: 2}}}
"""


def texts(server: Answering) -> list[str]:
    return [request.document["text"] for request in server.requests if "text" in request.document]


def statuses(server: Answering) -> list[str]:
    """Of a webhook's notifications."""
    return [request.document["status"] for request in server.requests]


def states(engine: Engine) -> dict[str, str]:
    return {alert.name: alert.state for alert in engine.alerts()}


# ---- the founding document


def test_the_founding_documents_rules_run_as_written_in_yaml(tmp_path: Path, wait_until: WaitUntil) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(FOUNDING)
    with answering(status(200, '{"id": 1}')) as gateway, answering(status(200, '{"state": "done"}')) as service:
        config: dict[str, Any] = {"rules": [str(rules)], "receivers": {"sms": {"url": gateway.url}}}
        config["actions"] = {"url": service.url}
        with manual(config=config) as engine:
            feed(engine, "finance.api_ms", 110.0, 60, kind="timer")
            feed(engine, "finance.api_ms", 260.0, 250, kind="timer")
            assert states(engine)["finance.latency_high"] == "firing"
            wait_until(lambda: len(texts(gateway)) == 1 and len(service.requests) == 1)
            feed(engine, "finance.api_ms", 110.0, 90, kind="timer")
            assert "finance.latency_high" not in states(engine)
            wait_until(lambda: len(texts(gateway)) == 2)
        assert gateway.requests[0].document["to"] == "+1555662255"
        assert texts(gateway)[0].startswith("FIRING finance.latency_high")
        assert texts(gateway)[1].startswith("RESOLVED finance.latency_high")
        asked = service.requests[0]
        assert (asked.path, asked.document["template"]) == ("/v1/run", "infra.scale-db")
        assert asked.document["input"] == {"replicas": 2}
        assert asked.document["alert"]["name"] == "finance.anomaly"


def test_the_founding_documents_scripts_run_as_written_in_python(wait_until: WaitUntil) -> None:
    scaled: list[Alert] = []
    with (
        answering(status(200, "{}")) as gateway,
        manual(config={"receivers": {"sms": {"url": gateway.url}}}) as engine,
    ):
        engine.alert("finance.latency_high", if_="avg(finance.api_ms) > 200", for_="3m", notify=["sms:+1-555-0100"])

        @engine.on_metric("finance.api_ms")
        def detect(value: float) -> None:
            if value > 2 * engine.mean("finance.api_ms", "10m"):
                engine.alert_now("finance.anomaly", value=value)

        @engine.on_alert("finance.anomaly")
        def scale_up(alert: Alert) -> None:
            scaled.append(alert)

        feed(engine, "finance.api_ms", 100.0, 30, kind="timer")
        feed(engine, "finance.api_ms", 480.0, 1, kind="timer")
        wait_until(lambda: "finance.anomaly" in states(engine))
        engine.advance(1)
        wait_until(lambda: len(scaled) == 1)
        feed(engine, "finance.api_ms", 300.0, 260, kind="timer")
        wait_until(lambda: len(texts(gateway)) == 1)
    assert scaled[0].value == 480.0


# ---- people


@pytest.fixture
def hot(tmp_path: Path) -> dict[str, Any]:
    return {"alert": "hot", "if": "last(heat) > 100", "for": "0s"}


def escalating(server: Answering, hot: dict[str, Any]) -> dict[str, Any]:
    levels = [
        {"after": "0s", "notify": [f"webhook:{server.url}/one"]},
        {"after": "1m", "notify": [f"webhook:{server.url}/two"]},
    ]
    return {"rules": [{**hot, "policy": "night"}], "policies": [{"policy": "night", "levels": levels}]}


def paths(server: Answering) -> list[str]:
    return [request.path for request in server.requests]


def test_nobody_acknowledges_and_the_next_level_is_told(hot: dict[str, Any], wait_until: WaitUntil) -> None:
    with answering() as server, manual(config=escalating(server, hot)) as engine:
        feed(engine, "heat", 200.0, 2)
        wait_until(lambda: paths(server) == ["/one"])
        feed(engine, "heat", 200.0, 62)
        wait_until(lambda: paths(server) == ["/one", "/two"])


def test_an_acknowledgement_stops_the_next_level(hot: dict[str, Any], tmp_path: Path, wait_until: WaitUntil) -> None:
    with answering() as server, manual(config=escalating(server, hot), data_dir=tmp_path) as engine:
        feed(engine, "heat", 200.0, 2)
        wait_until(lambda: paths(server) == ["/one"])
        assert engine.acknowledge("hot", who="ann", comment="looking") == 1
        assert engine.acknowledge("cold", who="ann") == 0
        feed(engine, "heat", 200.0, 120)
        assert paths(server) == ["/one"]
        entry = next(entry for entry in engine.audit_log() if entry["what"] == "acknowledge")
        assert (entry["who"], entry["subject"], entry["detail"]["comment"]) == ("ann", "hot", "looking")
        assert any(decision["name"] == "hot" for decision in engine.explain_alert("hot"))


def test_a_silence_takes_hold_and_ends(hot: dict[str, Any], wait_until: WaitUntil) -> None:
    with answering() as server, manual(config={"rules": [{**hot, "notify": f"webhook:{server.url}"}]}) as engine:
        silence = engine.silence('alertname="hot"', seconds=60, who="bob", comment="a drill")
        feed(engine, "heat", 200.0, 30)
        assert states(engine) == {"hot": "firing"}
        assert server.requests == []
        assert [known.id for known in engine.silences()] == [silence.id]
        assert engine.end_silence(silence.id, who="bob")
        assert not engine.end_silence(silence.id, who="bob")
        feed(engine, "heat", 200.0, 40)
        wait_until(lambda: statuses(server) == ["firing"])


def test_a_dead_letter_is_kept_and_sent_again(hot: dict[str, Any], tmp_path: Path, wait_until: WaitUntil) -> None:
    with answering(status(404, "gone"), status(200)) as server:
        config = {"rules": [{**hot, "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 200.0, 2)
            wait_until(lambda: len(engine.dead_letters()) == 1)
            letter = engine.dead_letters()[0]
            assert engine.resend(letter["id"], who="ann")
            assert not engine.resend("nothing", who="ann")
            wait_until(lambda: len(server.requests) == 2)
        keys = {request.headers["Idempotency-Key"] for request in server.requests}
        assert len(keys) == 1


def test_a_receiver_can_be_tried() -> None:
    with answering(status(200, "ok"), status(500, "no")) as server, manual() as engine:
        assert engine.test_notify(f"webhook:{server.url}", who="ann").startswith("delivered: HTTP 200")
        assert engine.test_notify(f"webhook:{server.url}", who="ann").startswith("retry: HTTP 500")
        with pytest.raises(ValueError, match="no receiver 'nobody' is configured"):
            engine.test_notify("webhook:nobody")


# ---- restarts


def test_a_restart_pages_nobody_again_and_the_resolve_arrives(
    hot: dict[str, Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    with answering() as server:
        config = {"rules": [{**hot, "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 200.0, 5, kind="gauge")
            wait_until(lambda: statuses(server) == ["firing"])
            before = engine.alerts()[0]
        with manual(now=NOW + 30, config=config, data_dir=tmp_path) as engine:
            after = engine.alerts()[0]
            assert (after.episode, after.since, after.state) == (before.episode, before.since, "firing")
            assert [decision["reason"] for decision in engine.explain_alert("hot")] == ["first"]
            engine.advance(5)
            assert states(engine) == {"hot": "firing"}
            feed(engine, "heat", 200.0, 5, kind="gauge")
            assert statuses(server) == ["firing"]
            feed(engine, "heat", 50.0, 5, kind="gauge")
            wait_until(lambda: statuses(server) == ["firing", "resolved"])


def test_what_could_not_leave_before_the_end_leaves_after_it(
    hot: dict[str, Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    with answering(status(500), status(500), status(200)) as server:
        config = {"rules": [{**hot, "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 200.0, 2, kind="gauge")
            wait_until(lambda: len(server.requests) >= 1)
        with manual(now=NOW + 60, config=config, data_dir=tmp_path) as engine:
            wait_until(lambda: engine.advance(2) or engine.counters()["notifications"]["delivered"] == 1)
            assert engine.counters()["notifications"]["waiting"] == 0
        assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


def test_a_posted_rule_is_there_after_a_restart_until_it_is_removed(tmp_path: Path) -> None:
    given = {"alert": "posted", "if": "last(heat) > 100", "for": "1m", "annotations": {"summary": "{value}"}}
    with manual(data_dir=tmp_path) as engine:
        engine.post_rule(given, "ann")
        with pytest.raises(ConfigError, match="did you mean 'for'"):
            engine.post_rule({**given, "fro": "1m"})
    with manual(data_dir=tmp_path) as engine:
        rule = engine.rules()[0]
        assert (rule.name, rule.for_seconds, dict(rule.annotations)) == ("posted", 60.0, {"summary": "{value}"})
        assert engine.remove_rule("posted", "ann")
        assert not engine.remove_rule("posted", "ann")
    with manual(data_dir=tmp_path) as engine:
        assert engine.rules() == []
        assert {"rule", "rule-removed", "start", "stop"} <= {entry["what"] for entry in engine.audit_log()}


def test_a_silence_and_an_acknowledgement_survive_a_restart(
    hot: dict[str, Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    with answering() as server:
        config = escalating(server, hot)
        with manual(config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 200.0, 2)
            wait_until(lambda: paths(server) == ["/one"])
            engine.acknowledge("hot", who="ann")
            engine.silence('alertname="cold"', seconds=3600, who="bob", comment="")
        with manual(now=NOW + 10, config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 200.0, 120)
            assert len(engine.silences()) == 1
            assert paths(server) == ["/one"]


# ---- what must not cost a page


def test_tags_that_are_no_text_cost_nobody_a_page(tmp_path: Path, wait_until: WaitUntil) -> None:
    rule = {"alert": "hot", "if": "last(heat) > 100"}
    with answering() as server:
        config = {"rules": [{**rule, "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            engine.alert_now("shard.lost", 1.0, tags={"shard": 3}, ttl=2)  # type: ignore[dict-item]
            feed(engine, "heat", 200.0, 5)
            wait_until(lambda: statuses(server) == ["firing"])
            assert "shard.lost" not in states(engine)


def test_a_record_that_cannot_be_made_costs_nobody_a_page(
    tmp_path: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(second: int) -> None:
        raise RuntimeError("planted")

    with answering() as server:
        config = {"rules": [{"alert": "hot", "if": "last(heat) > 100", "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            monkeypatch.setattr(engine.duty.book, "changes", fail)
            feed(engine, "heat", 200.0, 2)
            wait_until(lambda: statuses(server) == ["firing"])
            monkeypatch.undo()


def test_an_action_that_a_stop_ends_calls_a_human_after_the_restart(tmp_path: Path, wait_until: WaitUntil) -> None:
    rules = tmp_path / "rules.yaml"
    with answering() as server:
        rules.write_text(
            f"rules: [{{alert: hot, if: last(heat) > 100, notify: ['webhook:{server.url}']}}]\n"
            "actions: [{on: hot, act: {command: [sleep, '60'], timeout: 50s}}]\n"
        )
        given: dict[str, Any] = {"config": {"rules": [str(rules)]}, "data_dir": tmp_path / "data"}
        with manual(**given) as engine:
            feed(engine, "heat", 200.0, 2, kind="gauge")
            wait_until(lambda: engine.counters()["actions"]["running"] == 1)
        with manual(now=NOW + 30, **given) as engine:
            feed(engine, "heat", 200.0, 2, kind="gauge")
            wait_until(lambda: any("action_failed" in str(request.document) for request in server.requests))


@pytest.mark.parametrize("for_", ["0s", "15m"])
def test_an_action_that_was_not_offered_yet_is_offered_after_a_crash(
    tmp_path: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, for_: str
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"rules: [{{alert: hot, if: last(heat) > 100, for: {for_}}}]\n"
        "actions: [{on: hot, act: {template: infra.scale-db}}]\n"
    )
    with answering(status(200, "{}")) as service:
        config = {"rules": [str(rules)], "actions": {"url": service.url}}
        with manual(config=config, data_dir=tmp_path / "data") as engine:
            monkeypatch.setattr(engine.duty._sequel, "offer", lambda alert: None)
            feed(engine, "heat", 200.0, 3 if for_ == "0s" else 910, kind="gauge")
            assert states(engine) == {"hot": "firing"}
        with manual(now=engine.clock.now_ns() / 1e9 + 5, config=config, data_dir=tmp_path / "data") as engine:
            wait_until(lambda: len(service.requests) == 1)


def test_a_wall_clock_that_is_set_escalates_nothing(hot: dict[str, Any], wait_until: WaitUntil) -> None:
    with answering() as server, manual(config=escalating(server, hot)) as engine:
        feed(engine, "heat", 200.0, 2)
        wait_until(lambda: paths(server) == ["/one"])

        def an_hour_on() -> int:
            engine.clock.advance(3600)  # type: ignore[attr-defined]
            engine.duty.keeper.settle(0.2)  # a turn is due, and has to wait
            return 3600

        engine.duty.move_clocks(an_hour_on)
        engine.duty.keeper.settle()
        assert paths(server) == ["/one"]


def test_a_disk_that_hangs_holds_no_page_back(
    tmp_path: Path, hot: dict[str, Any], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hms_ops.committing.COMMIT_SECONDS_MAX", 0.2)
    released = threading.Event()
    with answering() as server:
        config = {"rules": [{**hot, "notify": f"webhook:{server.url}"}]}
        with manual(config=config, data_dir=tmp_path) as engine:
            feed(engine, "heat", 1.0, 2, kind="gauge")
            assert engine.account.storage is not None
            commit = engine.account.storage.state.commit

            def hang(write: Any) -> Any:
                released.wait(30)
                return commit(write)

            monkeypatch.setattr(engine.account.storage.state, "commit", hang)
            feed(engine, "heat", 200.0, 2, kind="gauge")
            wait_until(lambda: statuses(server) == ["firing"])
            assert any("the disk has not answered" in problem for problem in engine.health())
            released.set()
            engine.advance(2)
            wait_until(lambda: not engine.health())
        with manual(now=NOW + 10, config=config, data_dir=tmp_path) as engine:
            assert states(engine) == {"hot": "firing"}
            feed(engine, "heat", 200.0, 3, kind="gauge")
        assert statuses(server) == ["firing"]


def test_an_alert_that_the_dispatcher_fails_on_is_paged_and_costs_its_neighbours_nothing(
    hot: dict[str, Any], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering() as server:
        rules = [{**hot, "alert": name, "notify": f"webhook:{server.url}/{name}"} for name in ("good", "odd", "other")]
        with manual(config={"rules": rules}) as engine:
            dispatcher = engine.duty.keeper.dispatcher
            take = dispatcher._episodes.take

            def fail(alert: Alert, now: float) -> None:
                if alert.name == "odd":
                    raise RuntimeError("planted")
                take(alert, now)

            monkeypatch.setattr(dispatcher._episodes, "take", fail)
            feed(engine, "heat", 200.0, 2)
            wait_until(lambda: sorted(paths(server)) == ["/good", "/odd", "/other"])
            feed(engine, "heat", 200.0, 3)
            assert len(server.requests) == 3
            assert engine.counters()["keeper"]["errors"] == 1

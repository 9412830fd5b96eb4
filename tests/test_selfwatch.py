"""The engine watches itself: its own losses are alerts like any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering
from tests.engines import manual

from hms_ops.alert.rulefile import RuleFile
from hms_ops.errors import StorageError
from hms_ops.selfwatch import self_rules, with_self_watch

OWN = {"alert": "engine.full", "if": "last(engine.series) > 1000000"}


def firing(engine: Any) -> list[str]:
    return [alert.name for alert in engine.alerts() if alert.state == "firing"]


def test_every_sign_that_the_rules_read_is_published() -> None:
    with manual(self_metrics=True) as engine:
        engine.advance(2)
        signs = set(engine.account.signs())
        for name, (_, plan) in engine.duty.rulebook.plans.items():
            assert {reading.source.metric for reading in plan.readings} <= signs, name
        assert firing(engine) == []


def test_a_rule_of_ones_own_takes_the_place_of_a_built_in_one() -> None:
    with manual(self_metrics=True, config={"rules": [OWN]}) as engine:
        sources = {rule.name: rule.source for rule in engine.rules()}
        assert sources["engine.full"].startswith("config")
        assert sources["engine.late"] == "self-watch"
    assert len(with_self_watch(RuleFile()).rules) == len(self_rules()) > 5


def test_self_watch_can_be_turned_off_and_needs_the_signs() -> None:
    for engine in (manual(self_metrics=True, config={"self_watch": False}), manual()):
        with engine:
            assert engine.rules() == []


def test_series_beyond_the_limit_are_an_alert() -> None:
    with manual(self_metrics=True, config={"limits": {"series": 64}}) as engine:
        engine.advance(2)
        for number in range(200):
            engine.metric(f"many.series{number}", 1.0)
        engine.advance(2)
        assert "engine.full" in firing(engine)


def test_a_disk_that_takes_nothing_is_an_alert_and_pages_leave_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    with answering() as server:
        rule = {"alert": "hot", "if": "last(heat) > 100", "notify": [f"webhook:{server.url}/hot"]}
        with manual(self_metrics=True, data_dir=tmp_path, config={"rules": [rule]}) as engine:
            engine.advance(2)
            assert engine.account.storage is not None

            def refuse(changes: object) -> None:
                raise StorageError("no space left on device")

            monkeypatch.setattr(engine.account.storage.alerting, "commit", refuse)
            for _ in range(14):
                engine.metric("heat", 200.0, kind="gauge")
                engine.advance(1)
            assert {"hot", "engine.not_writing"} <= set(firing(engine))
            assert any("alert states are not kept" in problem for problem in engine.health())
            wait_until(lambda: bool(server.requests))
            monkeypatch.undo()
            engine.advance(2)
            assert not any("alert states are not kept" in problem for problem in engine.health())
        with manual(data_dir=tmp_path, now=1_700_000_020, config={"rules": [rule]}) as again:
            assert "hot" in firing(again)


def test_a_rule_that_cannot_be_evaluated_is_an_alert_after_three_ticks() -> None:
    with manual(self_metrics=True, config={"rules": [{"alert": "members", "if": "avg(users) > 1"}]}) as engine:
        engine.ingest(b"users:ann|s")
        engine.advance(2)
        assert engine.duty.judging.failing_count == 0
        engine.advance(4)
        assert engine.duty.judging.failing_count == 1
        assert "engine.rule_failing" in firing(engine)

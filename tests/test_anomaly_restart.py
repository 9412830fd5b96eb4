"""Anomalies across a restart: they go on as if nothing had happened, or end with the reason; a reload likewise."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering
from tests.engines import NOW, feed, manual, rules_file

from hms_ops import Engine
from hms_ops._ring import Store
from hms_ops.alert.rule import AnomalyRule
from hms_ops.anomalies import Anomalies, Desk
from hms_ops.anomaly.waiting import TABLE
from hms_ops.change import Change
from hms_ops.refill import EVERY_SERIES_MAX, metrics_wanted
from hms_ops.storage.store import open_storage

WaitUntil = Callable[..., None]

METRIC = "db.write_ms"
ODD = {"anomaly": "db.anomaly", "metric": METRIC, "min_difference": 20, "notify": ["log:"]}
STORY = [100.0] * 60 + [300.0] * 12 + [100.0] * 8
CUT = 66  # in the middle of it


def engine_on(directory: Path, second: int, *rules: dict[str, Any], **more: Any) -> Engine:
    return manual(now=NOW + second, data_dir=directory, config={"anomalies": list(rules or [ODD]), **more})


class Told:
    """What engines of one data directory told, one after the other: seconds since the story began."""

    def __init__(self) -> None:
        self.anomalies: list[tuple[int, str, float | None, float | None]] = []
        self.alerts: list[tuple[int, str, int]] = []
        self.reasons: list[str] = []

    def watch(self, engine: Engine) -> Engine:
        engine.watch(self.note)
        return engine

    def note(self, event: dict[str, Any]) -> None:
        if event["kind"] == "anomaly":
            self.anomalies.append((event["second"] - NOW, event["state"], event["value"], event["baseline"]))
            self.reasons += [event["reason"]] if event["state"] == "ended" else []
        if event["kind"] == "alert":
            self.alerts.append((event["time_ns"] // 1_000_000_000 - NOW, event["state"], event["episode"]))

    @property
    def states(self) -> list[str]:
        return [state for _, state, *_ in self.anomalies]


def lived(
    directory: Path,
    story: Sequence[float],
    restarts: Sequence[int] = (),
    rules: Sequence[dict[str, Any]] = (),
    **more: Any,
) -> Told:
    """What is told of a story whose engine is stopped and started anew before those seconds of it."""
    told = Told()
    for begin, end in zip([0, *restarts], [*restarts, len(story)], strict=True):
        with told.watch(engine_on(directory, begin, *rules, **more)) as engine:
            for value in story[begin:end]:
                feed(engine, METRIC, value, 1)
    return told


def cut_off_at(directory: Path, second: int = CUT) -> Told:
    """A first life that is over in the middle of the anomaly."""
    return lived(directory, STORY[:second])


def journal_of(engine: Engine) -> list[str]:
    return [event["state"] for event in engine.events() if event["kind"] == "anomaly"]


# ---- it goes on


def test_restarts_in_the_midst_of_an_anomaly_change_nothing_that_is_told(tmp_path: Path, wait_until: WaitUntil) -> None:
    told: dict[str, Told] = {}
    for name, restarts in (("plain", ()), ("restarted", (59, 61, 62, 66, 73, 75))):
        with answering() as server:
            run = {"on": "db.anomaly", "act": {"template": "infra.scale-db"}, "cooldown": "1s"}
            actions = {"url": server.url, "run": [run]}
            told[name] = lived(tmp_path / name, STORY, restarts, actions=actions)
            wait_until(lambda server=server: server.requests)
            assert len(server.requests) == 1, "an action runs once for its episode"
    assert told["plain"].states == ["started", "held", "ended"]
    assert told["restarted"].anomalies == told["plain"].anomalies
    assert told["restarted"].alerts == told["plain"].alerts
    assert len({episode for _, _, episode in told["plain"].alerts}) == 1


def test_an_action_that_a_held_anomaly_did_not_reach_runs_after_the_restart(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    cut_off_at(tmp_path)
    with answering() as server:
        actions = {"url": server.url, "run": [{"on": "db.anomaly", "act": {"template": "infra.scale-db"}}]}
        for second in (CUT, CUT + 1):
            with engine_on(tmp_path, second, actions=actions) as engine:
                feed(engine, METRIC, 300.0, 1)
                wait_until(lambda: server.requests)
        assert len(server.requests) == 1


@pytest.mark.parametrize("metric", [METRIC, "*"])
def test_what_was_before_a_restart_is_in_the_baseline_of_after(tmp_path: Path, metric: str) -> None:
    """The series rose a minute before: of the run's own seconds alone, 150 would be nothing special."""
    story = [50.0] * 120 + [90.0] * 60 + [150.0] * 4
    rules = [{**ODD, "metric": metric, "window": "2m"}]
    plain = lived(tmp_path / "plain", story, rules=rules)
    restarted = lived(tmp_path / "restarted", story, [120], rules=rules)
    assert plain.states == restarted.states == ["started", "held"]
    assert restarted.anomalies == [pytest.approx(event) for event in plain.anomalies]


def test_all_series_of_a_large_history_are_not_put_back_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    one, every = AnomalyRule("one", METRIC), AnomalyRule("every", "*")
    assert metrics_wanted({METRIC}, [one], EVERY_SERIES_MAX + 1) == {METRIC}
    assert metrics_wanted({METRIC}, [one, every], EVERY_SERIES_MAX) is None
    assert caplog.text == ""
    assert metrics_wanted({METRIC}, [one, every], EVERY_SERIES_MAX + 1) == {METRIC}
    assert "the anomaly rules on every metric know nothing of before this start" in caplog.text


def test_after_a_crash_it_goes_on_from_its_last_transition(tmp_path: Path) -> None:
    with engine_on(tmp_path / "data", 0) as engine:
        for value in STORY[:CUT]:
            feed(engine, METRIC, value, 1)
        engine.duty.settle()
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
        (episode,) = [alert.episode for alert in engine.alerts()]
    told = Told()
    with told.watch(engine_on(tmp_path / "crashed", CUT + 45)) as engine:
        feed(engine, METRIC, 300.0, 400)
        assert [alert.episode for alert in engine.alerts()] == [episode], "it is repeated before its ttl is over"
        assert told.anomalies == told.alerts == []
        feed(engine, METRIC, 100.0, 5)
        assert (told.states, [state for _, state, _ in told.alerts]) == (["ended"], ["resolved"])


def test_one_that_ended_while_the_engine_was_down_gets_its_end(tmp_path: Path, wait_until: WaitUntil) -> None:
    cut_off_at(tmp_path)
    told = Told()
    with told.watch(engine_on(tmp_path, CUT + 40)) as engine:
        feed(engine, METRIC, 100.0, 20)
        assert (told.states, told.reasons) == (["ended"], ["back to normal"])
        assert engine.alerts() == []
        wait_until(lambda: journal_of(engine) == ["started", "held", "ended"])


def test_its_ten_minutes_do_not_run_while_nobody_judges(tmp_path: Path) -> None:
    cut_off_at(tmp_path)
    told = Told()
    with told.watch(engine_on(tmp_path, CUT + 1800)) as engine:
        feed(engine, METRIC, 300.0, 30)
        assert told.anomalies == told.alerts == []
        assert engine.counters()["anomalies"]["resumed"] == 1


def test_one_whose_series_is_silent_waits_for_it_and_its_alert_lasts(tmp_path: Path) -> None:
    rule = {**ODD, "metric": "*"}
    with engine_on(tmp_path, 0, rule) as engine:
        for value in STORY[:CUT]:
            feed(engine, METRIC, value, 1)
    told = Told()
    with told.watch(engine_on(tmp_path, CUT + 2, rule)) as engine:
        engine.advance(600)
        assert [dict(alert.tags) for alert in engine.alerts()] == [{"metric": METRIC}]
        feed(engine, METRIC, 100.0, 5)
        assert (told.states, told.reasons) == (["ended"], ["back to normal"])


def test_a_reload_keeps_the_episodes_of_rules_that_look_for_the_same(tmp_path: Path) -> None:
    text = "anomalies:\n- {anomaly: odd, metric: a, min_difference: 20}\n- {anomaly: other, metric: a, factor: %d}\n"
    rules = rules_file(tmp_path, text % 2)
    told = Told()
    with told.watch(manual(config=tmp_path / "engine.yaml")) as engine:
        feed(engine, "a", 100.0, 60)
        feed(engine, "a", 400.0, 2)
        rules.write_text(text % 3)
        engine.reload()
        assert [alert.name for alert in engine.alerts()] == ["odd"]
        assert told.states == ["started", "started", "ended"]
        assert told.reasons == ["its rule was changed"]
        feed(engine, "a", 400.0, 1)
        assert sorted(told.states[3:]) == ["held", "started"]


# ---- it cannot go on


@pytest.mark.parametrize(
    ("second", "rules", "reason"),
    [
        (CUT + 5, [{**ODD, "anomaly": "another"}], "its rule is gone"),
        (CUT + 5, [{**ODD, "factor": 1.5}], "its rule was changed"),
        (CUT + 4000, [ODD], "the engine was away for 1 h 6 min"),
    ],
)
def test_one_that_cannot_go_on_ends_with_the_reason(
    tmp_path: Path, wait_until: WaitUntil, second: int, rules: list[dict[str, Any]], reason: str
) -> None:
    cut_off_at(tmp_path)
    told = Told()
    with told.watch(engine_on(tmp_path, second, *rules)) as engine:
        engine.advance(1)
        assert (told.states, told.reasons) == (["ended"], [reason])
        assert [state for _, state, _ in told.alerts] == ["resolved"]
        wait_until(lambda: journal_of(engine) == ["started", "held", "ended"])
        assert engine.counters()["anomalies"]["cut_off"] == 1
    with engine_on(tmp_path, second + 5) as engine:
        engine.advance(2)
        assert engine.counters()["anomalies"]["cut_off"] == engine.counters()["anomalies"]["episodes"] == 0


def test_a_series_that_does_not_come_back_within_an_hour_is_gone(tmp_path: Path) -> None:
    cut_off_at(tmp_path)
    storage = open_storage(tmp_path)
    records = storage.alerting.load(TABLE)
    storage.close()
    fired: list[int] = []
    ended: list[tuple[int, str]] = []
    told: list[dict[str, Any]] = []
    anomalies = Anomalies(
        Store(),
        Desk(
            lambda episode, end, why: fired.append(end),
            lambda e, why: ended.append((fired[-1], why)),
            print,
            told.append,
        ),
    )
    anomalies.restore(records, NOW + CUT, NOW + CUT + 20)
    rule = AnomalyRule("db.anomaly", METRIC, min_difference=20.0)
    anomalies.watch((rule,), anomalies.detector_of((rule,)), NOW + CUT + 19)
    seconds = [NOW + CUT + 20 + away for away in (0, 1, 2000, 3599, 3600, 3601)]
    for end in seconds:
        anomalies.judge(end)
    assert fired == seconds[:4], "it is repeated as that of a series that is silent"
    assert ended == [(seconds[3], "the series is gone")]
    assert [(event["state"], event["second"]) for event in told] == [("ended", seconds[4] - 1)]
    assert anomalies.changes()[-1].record is None
    assert anomalies.counters()["episodes"] == 0


def test_a_damaged_record_is_set_aside_and_counted(tmp_path: Path) -> None:
    cut_off_at(tmp_path)
    storage = open_storage(tmp_path)
    ((key, record),) = storage.alerting.load(TABLE).items()
    wrong: list[dict[str, Any]] = [
        {},
        {**record, "judged": 0},
        {**record, "baseline": float("nan")},
        {**record, "since": -1},
        {**record, "rule": "db"},
        {**record, "metric": "another"},
    ]
    storage.alerting.commit([Change(TABLE, f"wrong{n}", one) for n, one in enumerate(wrong)])
    storage.close()
    with engine_on(tmp_path, CUT) as engine:
        feed(engine, METRIC, 300.0, 1)
        counters = engine.counters()["anomalies"]
        assert (counters["damaged"], counters["resumed"]) == (len(wrong), 1)
    storage = open_storage(tmp_path)
    assert list(storage.alerting.load(TABLE)) == [key]
    storage.close()

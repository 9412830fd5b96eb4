"""Self-healing: which runs happen, what is sent, what is recorded, and that nothing runs twice.

The runner is stepped by hand on a manual clock against a real action service; one test runs its thread.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.answering import OK, Answering, answering, status

from hms_ops.alert.actions import guards, runqueue
from hms_ops.alert.actions.action import ActionRunner
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import ActionRule
from hms_ops.clock import SECOND_NS, ManualClock, WallAnchor

SCALE = ActionRule("db.anomaly", "infra.scale-db", {"replicas": 2}, cooldown_seconds=600, verify_seconds=120)


def anomaly(episode: int = 1, name: str = "db.anomaly", **tags: str) -> Alert:
    return Alert(name, "firing", 480.0, tags, 1_700_000_000.0, "ticket", episode)


class RunnerUnderTest:
    """A runner for one rule, its clock, the records it made, and what it is told of alerts that have cleared."""

    def __init__(self, server: Answering | None, *rules: ActionRule) -> None:
        self.clock = ManualClock()
        self.records: list[dict[str, Any]] = []
        self.has_cleared = False
        self.runner = ActionRunner(
            rules or (SCALE,), self.clock, self.records.append, self._is_cleared, base_url=server.url if server else ""
        )

    def _is_cleared(self, name: str, tags: Mapping[str, str]) -> bool:
        return self.has_cleared

    def offer(self, alert: Alert) -> int:
        """Offer, and step until nothing is queued."""
        queued = self.runner.offer(alert)
        while self.runner.counts()["queued"]:
            self.runner.step()
        return queued

    def events(self) -> list[str]:
        return [record["event"] for record in self.records]

    def said(self, event: str) -> list[str]:
        return [str(record.get("outcome", record.get("reason"))) for record in self.records if record["event"] == event]

    def balance(self) -> int:
        counts = self.runner.counts()
        return counts["offered"] - sum(counts[name] for name in ("refused", "succeeded", "failed", "dry", "queued"))


def test_an_anomaly_runs_its_template_once() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        assert under_test.offer(anomaly(agency="irs")) == 1
    (request,) = server.requests
    key = request.headers["Idempotency-Key"]
    assert request.path == "/v1/run"
    assert request.document == {
        "template": "infra.scale-db",
        "input": {"replicas": 2},
        "alert": {
            "name": "db.anomaly",
            "state": "firing",
            "value": 480.0,
            "tags": {"agency": "irs"},
            "since": 1_700_000_000.0,
            "severity": "ticket",
            "episode": 1,
        },
        "idempotency_key": key,
    }
    assert (under_test.events(), under_test.said("outcome")) == (["intent", "outcome"], ["HTTP 200 thanks"])
    assert {record["key"] for record in under_test.records} == {key}
    assert under_test.balance() == 0


def test_the_intent_is_recorded_before_anything_leaves() -> None:
    with answering(OK) as server:
        seen: list[tuple[str, int]] = []
        runner = ActionRunner(
            [SCALE],
            ManualClock(),
            lambda record: seen.append((record["event"], len(server.requests))),
            lambda name, tags: False,
            base_url=server.url,
        )
        runner.offer(anomaly())
        runner.step()
    assert seen == [("intent", 0), ("outcome", 1)]


def test_a_run_whose_intent_cannot_be_recorded_does_not_happen() -> None:
    def record(entry: dict[str, Any]) -> None:
        raise OSError("disk full")

    with answering(OK) as server:
        runner = ActionRunner([SCALE], ManualClock(), record, lambda name, tags: False, base_url=server.url)
        runner.offer(anomaly())
        runner.step()
    assert (server.requests, runner.counts()["failed"]) == ([], 1)


def test_one_episode_runs_once_however_often_it_is_offered() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, cooldown_seconds=0))
        assert [under_test.offer(anomaly()) for _ in range(3)] == [1, 0, 0]
    assert len(server.requests) == 1
    assert under_test.said("refused") == ["it ran for this episode already"] * 2
    assert under_test.balance() == 0


def test_the_cooldown_holds_the_next_episode_back() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly(1))
        under_test.clock.advance(599)
        assert under_test.offer(anomaly(2)) == 0
        under_test.clock.advance(1)
        assert under_test.offer(anomaly(3)) == 1
    assert under_test.said("refused") == ["it ran 599 s ago, the cooldown is 600 s"]


def test_no_more_runs_an_hour_than_the_limit() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, cooldown_seconds=0, limit_per_hour=2))
        queued = []
        for episode in range(1, 7):
            queued.append(under_test.offer(anomaly(episode)))
            under_test.clock.advance(900)
    assert queued == [1, 1, 0, 0, 1, 1]
    assert under_test.said("refused") == ["it ran 2 times within an hour, which is its limit"] * 2


def test_a_dry_run_records_and_sends_nothing() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, dry_run=True))
        under_test.offer(anomaly())
    assert (server.requests, under_test.events()) == ([], ["intent", "outcome"])
    assert (under_test.records[0]["dry_run"], under_test.said("outcome")) == (True, ["dry run: nothing was sent"])


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(500, "boom"), "HTTP 500 boom"),
        (status(429, Retry_After="1"), "HTTP 429"),
        (status(404), "HTTP 404"),
        ("reset", "unknown: no answer: "),
    ],
)
def test_a_run_that_fails_is_not_repeated(answer: bytes | str, outcome: str) -> None:
    with answering(answer, OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly())
        under_test.clock.advance(3600)
        under_test.runner.step()
    assert len(server.requests) == 1
    assert under_test.said("outcome")[0].startswith(outcome)
    assert (under_test.runner.counts()["failed"], under_test.runner.counts()["verifying"]) == (1, 0)


def test_nobody_listening_is_recorded_as_not_run() -> None:
    with answering() as server:
        url = server.url
    under_test = RunnerUnderTest(None, replace(SCALE, url=url))
    under_test.offer(anomaly())
    assert under_test.said("outcome")[0].startswith("not run: cannot connect: ")


def test_without_an_action_service_nothing_runs_and_the_record_says_what_to_set() -> None:
    under_test = RunnerUnderTest(None)
    under_test.offer(anomaly())
    assert under_test.said("outcome") == ["not run: no action service is configured (actions.url)"]


def test_an_alert_that_clears_in_time_is_recorded_as_cleared() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly())
        under_test.runner.step()
        under_test.clock.advance(45)
        under_test.has_cleared = True
        under_test.runner.step()
    assert under_test.said("verified") == ["cleared"]
    assert under_test.records[-1]["after_seconds"] == 45.0


def test_an_alert_that_does_not_clear_is_recorded_too() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly())
        for _ in range(3):
            under_test.clock.advance(60)
            under_test.runner.step()
    assert under_test.said("verified") == ["not cleared within 120 s"]


def test_verifying_needs_no_question_when_it_is_not_wanted() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, verify_seconds=0))
        under_test.offer(anomaly())
    assert under_test.runner.counts()["verifying"] == 0


def test_a_question_that_raises_counts_as_not_cleared() -> None:
    def ask(name: str, tags: Mapping[str, str]) -> bool:
        raise RuntimeError("a bug")

    with answering(OK) as server:
        clock, records = ManualClock(), list[dict[str, Any]]()
        runner = ActionRunner([SCALE], clock, records.append, ask, base_url=server.url)
        runner.offer(anomaly())
        runner.step()
        clock.advance(121)
        runner.step()
    assert records[-1]["outcome"] == "not cleared within 120 s"


def test_the_stop_switch_stops_new_runs_and_queued_ones() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, cooldown_seconds=0))
        under_test.runner.offer(anomaly(1))
        under_test.runner.halt("ana")
        under_test.runner.step()
        under_test.offer(anomaly(2))
        under_test.runner.resume()
        under_test.offer(anomaly(3))
    assert under_test.said("refused") == ["the stop switch is set by ana"] * 2
    assert (len(server.requests), under_test.balance()) == (1, 0)


@pytest.mark.parametrize("state", ["pending", "resolved"])
def test_only_a_firing_alert_runs_anything(state: Any) -> None:
    assert RunnerUnderTest(None).offer(replace(anomaly(), state=state)) == 0


def test_another_alert_runs_nothing() -> None:
    assert RunnerUnderTest(None).offer(anomaly(name="web.anomaly")) == 0


def test_each_group_has_runs_of_its_own() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server, replace(SCALE, cooldown_seconds=0))
        assert [under_test.offer(anomaly(agency=agency)) for agency in ("irs", "ssa", "irs")] == [1, 1, 0]
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 2


def test_a_full_queue_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runqueue, "QUEUE_MAX", 1)
    under_test = RunnerUnderTest(None, replace(SCALE, cooldown_seconds=0))
    assert [under_test.runner.offer(anomaly(episode)) for episode in (1, 2)] == [1, 0]
    assert (under_test.said("refused"), under_test.balance()) == (["1 runs are waiting already"], 0)


def test_remembered_episodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "RUNS_KEPT_MAX", 2)
    under_test = RunnerUnderTest(None, replace(SCALE, cooldown_seconds=0, limit_per_hour=100))
    assert [under_test.offer(anomaly(episode)) for episode in (1, 2, 3, 3, 1)] == [1, 1, 1, 0, 1]


def test_a_run_that_fails_and_one_that_does_not_clear_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    RunnerUnderTest(None).offer(anomaly())
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly())
        under_test.clock.advance(SCALE.verify_seconds)
        under_test.runner.step()
    name = "action db.anomaly -> infra.scale-db"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", f"{name} failed: not run: no action service is configured (actions.url)"),
        ("ERROR", f"{name} ran, but db.anomaly has not cleared within 120 s"),
    ]


def test_new_rules_take_over_and_the_cooldown_goes_on() -> None:
    with answering(OK) as server:
        under_test = RunnerUnderTest(server)
        under_test.offer(anomaly(1))
        under_test.runner.replace_rules([replace(SCALE, input={"replicas": 4})])
        assert under_test.offer(anomaly(2)) == 0


def test_the_worker_runs_and_stops_in_time(wait_until: Callable[..., None]) -> None:
    def start(name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    clock, records = WallAnchor(), list[dict[str, Any]]()
    with answering(OK) as server:
        runner = ActionRunner([SCALE], clock, records.append, lambda name, tags: True, base_url=server.url)
        runner.start(start)
        runner.offer(anomaly())
        wait_until(lambda: len(records) == 3)
        assert [record["event"] for record in records] == ["intent", "outcome", "verified"]
        assert runner.stop(clock.now_ns() + 5 * SECOND_NS) is True
    assert runner.offer(anomaly(2)) == 0
    assert records[-1]["reason"] == "the engine stopped"


def test_stop_does_not_wait_for_a_hanging_service_and_records_what_is_left(wait_until: Callable[..., None]) -> None:
    threads: list[threading.Thread] = []

    def start(name: str, target: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(target=target, name=name, daemon=True))
        threads[-1].start()
        return threads[-1]

    clock, records = WallAnchor(), list[dict[str, Any]]()
    rule = replace(SCALE, cooldown_seconds=0)
    with answering("hang") as server:
        runner = ActionRunner([rule], clock, records.append, lambda name, tags: True, base_url=server.url)
        runner.start(start)
        runner.offer(anomaly(1))
        wait_until(lambda: server.requests)
        runner.offer(anomaly(2))
        assert runner.stop(clock.now_ns() + SECOND_NS // 10) is False
        assert records[-1]["reason"] == "the engine stopped"
    threads[0].join(15)
    assert not threads[0].is_alive()

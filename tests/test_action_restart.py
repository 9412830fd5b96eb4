"""Actions across restarts, hanging services and hanging commands: nothing runs twice, and a human hears of the rest."""

import json
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.answering import OK, answering, status
from tests.ticking import Disk

from hms_ops.alert.actions import guards
from hms_ops.alert.actions.action import ActionRunner
from hms_ops.alert.actions.run import Run
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import ActionRule
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock, ManualClock, WallAnchor
from hms_ops.errors import StorageError

SCALE = ActionRule("db.anomaly", "infra.scale-db", {"replicas": 2}, cooldown_seconds=0, verify_seconds=120)
HOUR = 3600


def anomaly(episode: int = 1, name: str = "db.anomaly", **tags: str) -> Alert:
    return Alert(name, "firing", 480.0, tags, 1_700_000_000.0, "ticket", episode)


class RunsDisk(Disk):
    """A disk that can be full, or end the engine's life in the middle of a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.tables["runs"] = {}
        self.error: Exception | None = None

    def commit(self, changes: Sequence[Change]) -> None:
        if self.error is not None:
            raise self.error
        super().commit(changes)

    def state(self) -> list[tuple[str, str]]:
        return [(record["state"], record.get("verified", "-")) for record in self.tables["runs"].values()]


class Engine:
    """A runner on a disk; `restart` makes another one of what the disk has."""

    def __init__(self, url: str = "", *rules: ActionRule, disk: RunsDisk | None = None) -> None:
        self.url, self.rules = url, rules or (SCALE,)
        self.disk = disk or RunsDisk()
        self.clock: Clock = ManualClock()
        self.records: list[dict[str, Any]] = []
        self.handed_over: list[tuple[str, int, str]] = []
        self.has_cleared = False
        self.is_told = True
        self.notes: list[tuple[str, str, str, str, dict[str, Any]]] = []
        self.restart()

    def restart(self) -> None:
        self.runner = ActionRunner(
            self.rules,
            self.clock,
            self.records.append,
            self._is_cleared,
            base_url=self.url,
            on_failed=lambda run, why: self.handed_over.append((run.rule.name, run.alert.episode, why)),
            is_told=lambda: self.is_told,
            audit=self._note,
        )
        self.runner.open(self.disk.commit)
        self.runner.restore(self.disk.tables["runs"], self.disk.tables["marks"].get("halted"))

    def _note(self, what: str, who: str, subject: str, source: str, outcome: str = "ok", **detail: Any) -> None:
        self.notes.append((what, who, subject, outcome, detail))

    def _is_cleared(self, name: str, tags: Mapping[str, str]) -> bool:
        return self.has_cleared

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)
        self.runner.step()

    def offer(self, alert: Alert) -> int:
        queued = self.runner.offer(alert)
        while self.runner.counts()["queued"]:
            self.runner.step()
        return queued

    def said(self, event: str) -> list[str]:
        return [str(record.get("outcome", record.get("reason"))) for record in self.records if record["event"] == event]


# ---- what a restart finds


def test_an_episode_that_ran_before_a_restart_does_not_run_again() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        assert engine.offer(anomaly(agency="irs")) == 1
        engine.restart()
        assert engine.offer(anomaly(agency="irs")) == 0
        assert engine.offer(anomaly(2, agency="irs")) == 1
    assert len(server.requests) == 2
    assert engine.said("refused") == ["it ran for this episode already"]


class Killed(BaseException):
    """The engine is gone."""


@pytest.mark.parametrize("command", [(), ("true",)])
def test_an_intent_without_an_outcome_is_unknown_and_never_repeated(command: tuple[str, ...]) -> None:
    rule = replace(SCALE, template="" if command else SCALE.template, command=command)
    with answering(OK) as server:
        engine = Engine(server.url, rule)
        begun = engine.disk.commit

        def die_after_the_intent(changes: Sequence[Change]) -> None:
            begun(changes)
            raise Killed

        engine.runner.open(die_after_the_intent)
        with pytest.raises(Killed):
            engine.offer(anomaly())
        assert server.requests == []
        engine.restart()
        assert (engine.disk.state(), engine.runner.counts()["unknown"]) == ([("unknown", "-")], 1)
        assert engine.handed_over == [(rule.name, 1, "unknown: the engine ended before it knew")]
        for _ in range(3):
            engine.runner.step()
            assert engine.offer(anomaly()) == 0
            engine.restart()
    assert server.requests == []
    assert len(engine.handed_over) == 1  # once, not at every start


def test_the_cooldown_and_the_hourly_count_survive() -> None:
    rule = replace(SCALE, cooldown_seconds=600, limit_per_hour=2)
    with answering(OK) as server:
        engine = Engine(server.url, rule)
        engine.offer(anomaly(1))
        engine.restart()
        assert engine.offer(anomaly(2)) == 0
        engine.advance(700)
        assert engine.offer(anomaly(3)) == 1
        engine.restart()
        engine.advance(700)
        assert engine.offer(anomaly(4)) == 0
        engine.advance(HOUR)
        engine.restart()
        assert engine.offer(anomaly(5)) == 1
    assert engine.said("refused") == [
        "it ran 0 s ago, the cooldown is 600 s",
        "it ran 2 times within an hour, which is its limit",
    ]
    assert len(server.requests) == 3


def test_what_was_being_verified_is_watched_on() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1))
        engine.advance(60)
        engine.restart()
        assert engine.runner.counts()["verifying"] == 1
        engine.advance(59)
        assert engine.said("verified") == []
        engine.advance(1)
    assert engine.said("verified") == ["not cleared within 120 s"]
    assert engine.handed_over == [(SCALE.name, 1, "not cleared within 120 s")]
    assert engine.disk.state() == [("succeeded", "not cleared within 120 s")]
    engine.restart()
    assert (engine.runner.counts()["verifying"], len(engine.handed_over)) == (0, 1)


def test_what_cleared_while_it_was_away_has_cleared() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1))
        engine.restart()
        engine.has_cleared = True
        engine.advance(500)
    assert (engine.said("verified"), engine.handed_over) == (["cleared"], [])
    assert engine.runner.counts()["cleared"] == 1


def test_the_stop_switch_survives_and_so_does_its_release() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.runner.halt("ana", "the database is being moved")
        engine.restart()
        assert engine.offer(anomaly(1)) == 0
        assert engine.said("refused") == ["the stop switch is set by ana: the database is being moved"]
        engine.runner.resume("ana")
        engine.restart()
        assert engine.offer(anomaly(2)) == 1


def test_the_switch_of_the_configuration_is_not_kept() -> None:
    engine = Engine()
    engine.runner.halt("the configuration (actions.stop)", is_kept=False)
    engine.restart()
    assert engine.runner.halted_by == ""


def test_a_run_of_a_rule_that_is_gone_is_known_and_watched_still() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1))
        engine.rules = (replace(SCALE, template="infra.other"),)
        engine.restart()
        engine.advance(120)
    assert engine.handed_over == [(SCALE.name, 1, "not cleared within 120 s")]


WRONG: list[Any] = [{}, {"state": "burning"}, {"time": "yesterday"}, {"time": float("nan")}, {"action": 5}, {"tags": 5}]
WRONG += [{"verify_until": "soon"}, {"verify_until": float("nan")}, {"verify_from": None}, "text", None]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_record_that_cannot_be_read_is_counted_and_removed(wrong: Any) -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1))
        engine.offer(anomaly(2))
        key = next(iter(engine.disk.tables["runs"]))
        patched = {**engine.disk.tables["runs"][key], **wrong} if wrong and isinstance(wrong, dict) else wrong
        engine.disk.tables["runs"][key] = patched
        engine.restart()
        engine.runner.step()
        assert engine.runner.counts()["damaged"] == 1
        assert key not in engine.disk.tables["runs"]
        assert engine.offer(anomaly(2)) == 0


def test_the_oldest_runs_are_forgotten_on_disk_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "RUNS_KEPT_MAX", 2)
    with answering(OK) as server:
        engine = Engine(server.url, replace(SCALE, limit_per_hour=100, verify_seconds=0))
        for episode in range(1, 6):
            engine.offer(anomaly(episode))
    assert sorted(record["episode"] for record in engine.disk.tables["runs"].values()) == [4, 5]


def test_an_alert_without_a_value_is_on_record_as_json_has_it() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(replace(anomaly(1), value=math.nan))
        engine.restart()
        engine.advance(120)
    assert json.loads(json.dumps(engine.runner.list_runs(), allow_nan=False))[0]["value"] is None
    assert len(engine.handed_over) == 1


# ---- a disk that refuses


def test_without_a_record_of_the_intent_nothing_runs_and_a_human_hears_of_it() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.disk.error = StorageError("the disk is full")
        engine.offer(anomaly())
        assert server.requests == []
        assert engine.handed_over == [(SCALE.name, 1, "not run: the intent could not be recorded")]
        engine.disk.error = None
        engine.offer(anomaly(2))
    assert [record["episode"] for record in engine.disk.tables["runs"].values()] == [2]


def test_an_outcome_that_the_disk_refuses_is_kept_as_soon_as_it_takes_it() -> None:
    with answering(OK) as server:
        engine = Engine(server.url, replace(SCALE, verify_seconds=0))
        commit, commits = engine.disk.commit, list[int]()

        def refuse_the_second(changes: Sequence[Change]) -> None:
            commits.append(len(changes))
            if len(commits) == 2:
                raise StorageError("the disk is full")
            commit(changes)

        engine.runner.open(refuse_the_second)
        engine.offer(anomaly())
        assert (engine.disk.state(), engine.runner.counts()["unsettled"]) == ([("intent", "-")], 1)
        engine.advance(1)
    assert (engine.disk.state(), engine.runner.counts()["unsettled"]) == ([("succeeded", "-")], 0)


# ---- lists


def test_runs_are_listed_newest_first() -> None:
    with answering(OK, status(500, "boom")) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1, agency="irs"))
        engine.offer(anomaly(2))
        engine.restart()
    second, first = engine.runner.list_runs()
    assert (second["episode"], second["state"], second["outcome"]) == (2, "failed", "HTTP 500 boom")
    assert (first["episode"], first["state"], first["tags"], first["verified"]) == (
        1,
        "succeeded",
        {"agency": "irs"},
        "",
    )
    assert first["key"] in engine.disk.tables["runs"]
    assert len(engine.runner.list_runs(1)) == 1


def test_the_key_of_a_run_is_its_actions_its_alerts_and_its_episodes() -> None:
    with answering(OK) as server:
        engine = Engine(server.url, SCALE, replace(SCALE, template="infra.other"))
        for alert in (anomaly(1), anomaly(2), anomaly(1, agency="irs")):
            assert engine.offer(alert) == 2
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 6


# ---- a human's turn


@pytest.mark.parametrize(("answer", "why"), [(status(500, "boom"), "HTTP 500 boom"), ("reset", "unknown: no answer")])
def test_a_run_that_failed_is_handed_over(answer: bytes | str, why: str) -> None:
    with answering(answer) as server:
        engine = Engine(server.url)
        engine.offer(anomaly())
    ((name, episode, told),) = engine.handed_over
    assert (name, episode, told.startswith(why)) == (SCALE.name, 1, True)
    assert engine.runner.counts()["escalated"] == 1


def test_a_handler_that_raises_is_logged_and_costs_nothing() -> None:
    def fail(run: Run, why: str) -> None:
        raise RuntimeError("a bug")

    records: list[dict[str, Any]] = []
    runner = ActionRunner([SCALE], ManualClock(), records.append, lambda name, tags: False, on_failed=fail)
    runner.offer(anomaly())
    runner.step()
    assert ([record["event"] for record in records], runner.counts()["escalated"]) == (["intent", "outcome"], 0)


def test_refused_and_dry_runs_are_not_handed_over() -> None:
    engine = Engine("", replace(SCALE, dry_run=True))
    engine.offer(anomaly())
    engine.offer(anomaly())
    assert engine.handed_over == []


def kill_after_commit(engine: Engine, number: int) -> None:
    """The engine dies as soon as the disk has the commit of this number, counted from 1."""
    commit, commits = engine.disk.commit, list[int]()

    def die(changes: Sequence[Change]) -> None:
        commit(changes)
        commits.append(len(changes))
        if len(commits) == number:
            raise Killed

    engine.runner.open(die)


def owed(engine: Engine) -> list[str]:
    return [record.get("owed", "-") for record in engine.disk.tables["runs"].values()]


def test_a_kill_between_the_outcome_and_its_hand_over_costs_nobody_the_call() -> None:
    with answering(status(500, "boom")) as server:
        engine = Engine(server.url)
        kill_after_commit(engine, 2)
        with pytest.raises(Killed):
            engine.offer(anomaly())
        assert (engine.disk.state(), engine.handed_over) == ([("failed", "-")], [])
        engine.restart()
        assert engine.handed_over == [(SCALE.name, 1, "HTTP 500 boom")]
        engine.advance(1)
        assert owed(engine) == [""]
        engine.restart()
    assert (len(engine.handed_over), len(server.requests)) == (1, 1)


def test_a_kill_between_the_verdict_and_its_hand_over_costs_nobody_the_call() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly())
        kill_after_commit(engine, 1)
        with pytest.raises(Killed):
            engine.advance(120)
        assert (engine.disk.state(), engine.handed_over) == ([("succeeded", "not cleared within 120 s")], [])
        engine.restart()
        engine.advance(1)
        engine.restart()
    assert engine.handed_over == [(SCALE.name, 1, "not cleared within 120 s")]


def test_a_kill_between_unknown_and_its_hand_over_costs_nobody_the_call() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        kill_after_commit(engine, 1)
        with pytest.raises(Killed):
            engine.offer(anomaly())
        commit = engine.disk.commit

        def die(changes: Sequence[Change]) -> None:
            commit(changes)
            raise Killed

        engine.disk.commit = die  # type: ignore[method-assign]
        with pytest.raises(Killed):
            engine.restart()
        assert (engine.disk.state(), engine.handed_over) == ([("unknown", "-")], [])
        engine.disk.commit = commit  # type: ignore[method-assign]
        engine.restart()
        engine.advance(1)
        engine.restart()
    assert engine.handed_over == [(SCALE.name, 1, "unknown: the engine ended before it knew")]


def test_a_call_that_is_not_on_disk_yet_is_made_again_at_a_start_only() -> None:
    with answering(status(500, "boom")) as server:
        engine = Engine(server.url)
        engine.is_told = False
        engine.offer(anomaly())
        for _ in range(3):
            engine.advance(1)
        assert (len(engine.handed_over), engine.runner.counts()["owed"]) == (1, 1)
        engine.restart()
        assert len(engine.handed_over) == 2
        engine.is_told = True
        engine.advance(1)
        assert (owed(engine), engine.runner.counts()["owed"]) == ([""], 0)
        engine.restart()
    assert len(engine.handed_over) == 2


# ---- the audit log


def test_runs_stand_in_the_audit_log_and_refusals_do_not() -> None:
    with answering(OK) as server:
        engine = Engine(server.url)
        engine.offer(anomaly(1, agency="irs"))
        engine.offer(anomaly(1, agency="irs"))
        engine.has_cleared = True
        engine.advance(7)
    assert [(what, who, subject, outcome) for what, who, subject, outcome, _ in engine.notes] == [
        ("action-intent", "the engine", SCALE.name, "begun"),
        ("action-outcome", "the engine", SCALE.name, "HTTP 200 thanks"),
        ("action-verified", "the engine", SCALE.name, "cleared"),
    ]
    assert engine.notes[0][4]["alert"] == "db.anomaly"
    assert engine.notes[0][4]["tags"] == {"agency": "irs"}
    assert engine.notes[2][4]["after_seconds"] == 7


def test_an_audit_log_that_raises_costs_no_run() -> None:
    def fail(*about: Any, **detail: Any) -> None:
        raise OSError("the disk is full")

    with answering(OK) as server:
        engine = Engine(server.url)
        engine.runner.audit = fail
        engine.offer(anomaly())
    assert engine.said("outcome") == ["HTTP 200 thanks"]


def test_the_switch_of_the_configuration_stands_in_the_audit_log_at_each_start(working: Callable[..., Any]) -> None:
    engine = working("", is_halted=True)
    assert engine.notes == [("actions-stop", "the configuration (actions.stop)", "actions", "ok", {})]


# ---- commands


HEAL = ActionRule("db.anomaly", command=(sys.executable, "-c", "print('healed')"), cooldown_seconds=0)


def test_a_command_runs_and_its_output_is_on_record() -> None:
    engine = Engine("", HEAL)
    assert engine.offer(anomaly()) == 1
    assert engine.said("outcome") == ["exit code 0: healed"]
    assert engine.records[0]["command"] == list(HEAL.command)
    assert engine.runner.list_runs()[0]["output"] == "healed\n"


def test_a_command_that_fails_is_a_failed_run() -> None:
    engine = Engine("", replace(HEAL, command=("false",)))
    engine.offer(anomaly())
    assert (engine.said("outcome"), len(engine.handed_over)) == (["exit code 1"], 1)


def test_a_dry_run_of_a_command_starts_nothing(tmp_path: Path) -> None:
    engine = Engine("", replace(HEAL, command=("touch", str(tmp_path / "ran")), dry_run=True))
    engine.offer(anomaly())
    assert not (tmp_path / "ran").exists()


# ---- workers


@pytest.fixture
def working() -> Any:
    """Makes engines whose runners work; all are stopped at the end."""
    started: list[Engine] = []

    def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def start(url: str, *rules: ActionRule, is_halted: bool = False) -> Engine:
        engine = Engine(url, *rules)
        engine.clock = WallAnchor()
        engine.restart()
        if is_halted:
            engine.runner.halt("the configuration (actions.stop)", is_kept=False)
        engine.runner.start(start_thread)
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.runner.stop(engine.clock.now_ns() + 15 * SECOND_NS)


def test_a_service_that_hangs_holds_back_its_own_action_only(
    working: Callable[..., Engine], wait_until: Callable[..., None]
) -> None:
    with answering("hang") as hanging, answering(OK) as quick:
        slow = replace(SCALE, template="slow", url=hanging.url)
        engine = working(quick.url, slow, SCALE)
        engine.runner.offer(anomaly(1))
        wait_until(lambda: hanging.requests and quick.requests)
        engine.runner.offer(anomaly(2))
        wait_until(lambda: engine.runner.counts()["succeeded"] == 2)
        wait_until(lambda: engine.runner.counts()["running"] == 1)  # a request is out before its run is over
        assert (len(quick.requests), len(hanging.requests)) == (2, 1)  # one after the other
        assert engine.runner.counts()["queued"] == 1
        hanging.released.set()


def test_commands_that_hang_delay_no_service(working: Callable[..., Engine], wait_until: Callable[..., None]) -> None:
    hangs = [replace(HEAL, command=("sleep", str(600 + n))) for n in range(6)]
    with answering(OK) as server:
        engine = working(server.url, *hangs, SCALE)
        engine.runner.offer(anomaly(1))
        wait_until(lambda: server.requests)
        wait_until(lambda: engine.runner.counts()["commands"] == 4)
        assert engine.runner.counts()["queued"] == 2
        assert engine.runner.stop(engine.clock.now_ns()) is True
    assert sorted(engine.said("outcome")) == ["HTTP 200 thanks"] + ["killed: the engine stopped"] * 4
    assert engine.said("refused") == ["the engine stopped"] * 2
    counts = engine.runner.counts()
    assert counts["offered"] == sum(counts[name] for name in ("refused", "succeeded", "failed", "dry", "queued"))


def test_the_runs_of_one_action_keep_their_order(
    working: Callable[..., Engine], wait_until: Callable[..., None]
) -> None:
    with answering(OK) as server:
        engine = working(server.url, replace(SCALE, limit_per_hour=100))
        for episode in range(1, 31):
            engine.runner.offer(anomaly(episode))
        wait_until(lambda: len(server.requests) == 30)
    assert [request.document["alert"]["episode"] for request in server.requests] == list(range(1, 31))


def test_workers_end_when_nothing_waits(working: Callable[..., Engine], wait_until: Callable[..., None]) -> None:
    with answering(OK) as server:
        engine = working(server.url)
        engine.runner.offer(anomaly(1))
        wait_until(lambda: engine.runner.counts()["succeeded"] == 1)
        wait_until(lambda: not any(thread.name == "actions-service" for thread in threading.enumerate()))
        engine.runner.offer(anomaly(2))
        wait_until(lambda: engine.runner.counts()["succeeded"] == 2)

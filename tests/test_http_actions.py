"""Actions over HTTP and on the command line: what ran, what came of it, the stop switch that outlives a restart."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.answering import answering, status

from hms_ops import Engine

WaitUntil = Callable[..., None]


def address(engine: Engine) -> str:
    assert engine.http_address is not None
    return "http://{}:{}".format(*engine.http_address)


def cli(engine: Engine, *arguments: str) -> tuple[int, Any]:
    """(exit code, what it printed as JSON)."""
    command = [sys.executable, "-m", "hms_ops", "actions", *arguments, "--url", address(engine), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def configuration(url: str) -> dict[str, Any]:
    action = {"on": "hot", "act": {"template": "infra.scale-db", "input": {"replicas": 2}}, "cooldown": "0s"}
    return {"actions": {"url": url, "run": [action]}}


def test_a_run_is_listed_with_its_outcome(tmp_path: Path, wait_until: WaitUntil) -> None:
    with (
        answering(status(200, "{}")) as service,
        Engine(udp=None, http="127.0.0.1:0", data_dir=tmp_path, config=configuration(service.url)) as engine,
    ):
        engine.alert_now("hot", 1.0, tags={"host": "a"})
        wait_until(lambda: len(service.requests) == 1)
        wait_until(lambda: engine.action_runs()[0]["state"] != "intent")
        code, found = cli(engine, "list")
        assert code == 0
        assert found["actions"][0]["template"] == "infra.scale-db"
        assert (found["runs"][0]["alert"], found["runs"][0]["tags"]) == ("hot", {"host": "a"})
        assert "input" not in found["actions"][0]


def test_the_stop_switch_holds_over_a_restart_and_is_audited(tmp_path: Path, wait_until: WaitUntil) -> None:
    with answering(status(200, "{}")) as service:
        given: dict[str, Any] = {"udp": None, "http": "127.0.0.1:0", "data_dir": tmp_path}
        with Engine(**given, config=configuration(service.url)) as engine:
            code, answer = cli(engine, "stop", "--reason", "moving house", "--who", "ann")
            assert code == 0
            assert "ann" in answer["stopped_by"]
        with Engine(**given, config=configuration(service.url)) as engine:
            assert "moving house" in httpx.get(address(engine) + "/v1/actions").json()["stopped_by"]
            assert cli(engine, "list")[0] == 1
            engine.alert_now("hot", 1.0)
            wait_until(lambda: engine.counters()["actions"]["refused"] == 1)
            assert service.requests == []
            assert cli(engine, "resume", "--who", "ann")[1]["stopped_by"] == ""
            engine.alert_now("hot", 1.0, tags={"host": "b"})
            wait_until(lambda: len(service.requests) == 1)
            told = [(entry["what"], entry["who"]) for entry in engine.audit_log()]
            assert ("actions-stop", "ann") in told
            assert ("actions-resume", "ann") in told


@pytest.mark.parametrize("given", [{"why": "x"}, {"reason": ""}, {"who": " "}])
def test_a_wrong_switch_is_refused(given: dict[str, str]) -> None:
    with Engine(udp=None, http="127.0.0.1:0", data_dir=None) as engine:
        assert httpx.post(address(engine) + "/v1/actions/stop", json=given).status_code == 400
        assert engine.duty.actions.halted_by == ""

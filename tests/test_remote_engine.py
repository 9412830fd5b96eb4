"""An engine with remotes: what it counts arrives, queries go there, and a range that begins before local history."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.chroniclers import receiver
from tests.engines import NOW, engine_threads, manual
from tests.remotes import Server, victoria
from tests.serving import server_of, serving

from hms_ops import Engine
from hms_ops.errors import HmsOpsError

START = NOW // 60 * 60 + 60


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Server]:
    with victoria(tmp_path / "vm") as running:
        yield running


def with_remote(url: str, data_dir: Path | None, **more: Any) -> Engine:
    remote = {"url": url, "tier": "10s", "delay": "0s", "labels": {"engine": "ours"}, **more}
    return manual(data_dir=data_dir, config={"remote": {"vm": remote}})


def fill(engine: Engine, seconds: int) -> None:
    for second in range(seconds):
        for agency in ("irs", "ssa"):
            engine.metric("api.ms", 10.0 + second % 7, kind="gauge", tags={"agency": agency})
        engine.advance(1)


def sent(engine: Engine) -> bool:
    """Everything on disk that is settled has been sent."""
    counters = engine.counters()
    return counters["history"]["waiting"] == 0 and counters["remote vm"]["behind_seconds"] == 0


def test_what_an_engine_counts_is_at_its_remote(tmp_path: Path, vm: Server, wait_until: Callable[..., None]) -> None:
    with with_remote(vm.write_url, tmp_path / "data") as engine:
        fill(engine, 125)
        wait_until(lambda: sent(engine) and engine.counters()["remote vm"]["samples"] > 0, 20)
        assert engine.health() == []
        vm.flush()
        local = engine.query("avg(api.ms) GROUP BY agency", START, START + 60, 10, source="local")
        remote = engine.query("avg(api.ms) GROUP BY agency", START, START + 60, 10, source="remote")
        assert remote == local
        assert len(local["series"]) == 2
        now = engine.query("max(api.ms)", source="remote")["series"][0]["points"]
        assert len(now) == 1
    assert engine_threads() == []


def test_percentiles_of_a_fleet_are_read_off_the_buckets_sent(
    tmp_path: Path, vm: Server, wait_until: Callable[..., None]
) -> None:
    with with_remote(vm.write_url, tmp_path / "data", tier="1m") as engine:
        latencies = np.random.default_rng(3).lognormal(3, 0.5, 200)
        for latency in latencies:
            engine.metric("call_ms", float(latency), kind="timer")
            engine.advance(1)
        wait_until(lambda: sent(engine) and engine.counters()["remote vm"]["samples"] > 0, 20)
        vm.flush()
        (remote,) = engine.query("p90(call_ms)", START, START + 120, 60, source="remote")["series"]
        minutes = latencies[START - NOW : START - NOW + 120].reshape(2, 60)
        assert [value for _, value in remote["points"]] == pytest.approx(np.quantile(minutes, 0.9, axis=1), rel=0.3)


def test_a_range_that_begins_before_local_history_continues_at_the_remote(
    tmp_path: Path, vm: Server, wait_until: Callable[..., None]
) -> None:
    with with_remote(vm.write_url, tmp_path / "old") as before:
        fill(before, 125)
        wait_until(lambda: sent(before) and before.counters()["remote vm"]["samples"] > 0, 20)
        vm.flush()
        known = before.query("max(api.ms) GROUP BY agency", START, START + 50, 10)["series"]
    later = manual(
        NOW + 600,
        data_dir=tmp_path / "new",
        config={"remote": {"vm": {"url": vm.write_url, "tier": "10s", "labels": {"engine": "ours"}}}},
    )
    with later as engine:
        fill(engine, 45)
        answer = engine.query("max(api.ms) GROUP BY agency", START, step=10)
        assert [one["tags"] for one in answer["series"]] == [{"agency": "irs"}, {"agency": "ssa"}]
        for ours, theirs in zip(answer["series"], known, strict=True):
            assert ours["points"][:5] == theirs["points"]
            assert ours["points"][-1][0] >= NOW + 600
        few = engine.query("max(api.ms) GROUP BY agency", START, points=40)
        assert (few["step"], few["series"][0]["points"][0][0] < NOW + 600) == (20, True)
        local = engine.query("max(api.ms) GROUP BY agency", START, step=10, source="local")
        assert local["series"][0]["points"][0][0] >= NOW + 600
        vm.stop()
        partial = engine.query("max(api.ms) GROUP BY agency", START, step=10)
        assert partial["series"] == local["series"]
        assert "does not answer" in partial["remote"]
        with pytest.raises(HmsOpsError, match="does not answer"):
            engine.query("max(api.ms)", START, source="remote")


def test_late_samples_of_steps_that_were_sent_are_counted(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    with receiver() as there, with_remote(there.url, tmp_path / "data") as engine:
        fill(engine, 60)
        wait_until(lambda: sent(engine) and there.came, 20)
        engine.ingest(b'{"metric":"api.ms","value":5,"kind":"gauge","time":%d}' % (START - 50))
        fill(engine, 15)
        wait_until(lambda: engine.counters()["remote vm"]["late_not_sent"] == 1, 20)


def test_a_remote_without_a_data_directory_is_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    with with_remote("http://127.0.0.1:1/api/v1/write", None) as engine:
        assert "nothing is sent to `remote`" in caplog.text
        assert engine.health() == ["no remote is sent to: history needs a data directory (data_dir)"]


def test_a_remote_that_is_down_is_a_problem_and_stops_nothing(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    with with_remote("http://127.0.0.1:1/api/v1/write", tmp_path / "data") as engine:
        fill(engine, 25)
        wait_until(lambda: any("cannot connect" in problem for problem in engine.health()), 20)
        assert engine.counters()["remote vm"]["samples"] == 0
        fill(engine, 5)
    assert engine_threads() == []


@pytest.mark.parametrize(("source", "problem"), [("remote", "no remote to ask"), ("cloud", "must be local or remote")])
def test_a_source_that_is_not_there_is_refused(source: str, problem: str) -> None:
    with manual() as engine:
        fill(engine, 1)
        with pytest.raises(ValueError, match=problem):
            engine.query("avg(api.ms)", source=source)


def test_a_remote_that_does_not_answer_over_http_is_a_bad_gateway() -> None:
    with serving(remote={"vm": {"url": "http://127.0.0.1:1/api/v1/write"}}) as served:
        fill(served.engine, 2)
        answer = served.get("/v1/query", params={"expr": "max(api.ms)", "source": "remote"})
        assert (answer.status_code, "remote vm does not answer" in answer.json()["detail"]) == (502, True)
        assert served.get("/v1/query", params={"expr": "max(api.ms)", "source": "cloud"}).status_code == 400
        assert served.get("/v1/query", params={"expr": "max(api.ms)", "source": "local"}).status_code == 200


def test_what_remotes_count_is_in_the_metrics(tmp_path: Path) -> None:
    with receiver() as there, with_remote(there.url, tmp_path / "data") as engine, server_of(engine) as (_, url):
        fill(engine, 15)
        text = httpx.get(f"{url}/metrics", trust_env=False).text
        assert 'hms_ops_remote_samples{remote="vm"}' in text
        assert 'hms_ops_remote_behind_seconds{remote="vm"}' in text

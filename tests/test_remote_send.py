"""Remotes: local history is sent whole, once or twice the same, to real servers and through every kind of failure."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.chroniclers import START, Chronicle, chronicle, drain, receiver
from tests.reference import remote_write
from tests.remotes import Server, prometheus, victoria

from hms_ops.alert.receivers.post import Answer
from hms_ops.remote.link import is_wrong_place
from hms_ops.remote.sender import Remote
from hms_ops.storage.history import HistoryConfig
from hms_ops.storage.store import open_storage
from hms_ops.storage.tier import TIERS

HOUR = 3600
EVERYTHING = '{__name__=~".+"}'
SERVERS = {"victoria": victoria, "prometheus": prometheus}


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Chronicle]:
    with chronicle(tmp_path / "data") as made:
        yield made


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with SERVERS[request.param](tmp_path / request.param) as running:
        yield running


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Server]:
    with victoria(tmp_path / "vm") as running:
        yield running


def stored(server: Server) -> dict[str, list[tuple[int, float]]]:
    server.flush()
    return server.samples(EVERYTHING, at=START + 10 * HOUR, seconds=11 * HOUR)


# ---- real servers


def test_steps_of_an_open_block_arrive_bit_for_bit(past: Chronicle, server: Server) -> None:
    past.fill(START, 30)
    drain(past.remote(server.write_url))
    assert stored(server) == past.expected


def test_sealed_and_open_blocks_arrive_whole_and_in_order(past: Chronicle, server: Server) -> None:
    past.fill(START, 2 * 360 + 40)
    past.seal(START + 2 * HOUR + 900)
    assert [block.is_sealed for block in past.storage.history.blocks(0)] == [True, True, False]
    remote = past.remote(server.write_url)
    drain(remote)
    assert stored(server) == past.expected
    assert remote.counters()["refused_requests"] == 0


def test_a_block_that_is_sealed_halfway_is_gone_on_with(past: Chronicle, server: Server) -> None:
    past.fill(START, 100)
    remote = past.remote(server.write_url)
    drain(remote)
    past.fill(START + 1000, 300, seed=2)
    past.seal(START + HOUR + 900)
    drain(remote)
    assert stored(server) == past.expected
    assert remote.counters()["samples"] == sum(map(len, past.expected.values()))


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("is_sealed", [False, True], ids=["steps", "tiles"])
def test_a_server_that_goes_away_in_the_middle_has_the_same_rows_in_the_end(
    past: Chronicle, server: Server, is_killed: bool, is_sealed: bool
) -> None:
    past.fill(START, 400)
    if is_sealed:
        past.seal(START + HOUR + 900)
    remote = past.remote(server.write_url, batch_samples=2_000)
    for _ in range(2):
        assert remote.send_next()
    server.stop(is_killed=is_killed)
    while not any("cannot connect" in problem for problem in remote.problems()):
        assert remote.send_next()
    past.fill(START + 4000, 50, seed=3)
    server.start()
    drain(remote)
    past.fill(START + 4500, 50, seed=4)
    drain(remote)
    assert stored(server) == past.expected
    assert remote.problems() == []
    assert remote.counters()["resent_steps"] > 0


def test_live_steps_go_on_after_an_outage_without_a_refusal_that_costs(past: Chronicle, server: Server) -> None:
    remote = past.remote(server.write_url, batch_samples=100)
    for n in range(12):
        past.fill(START + 10 * n, 1, seed=n)
        if n == 5:
            server.stop()
            remote.send_next()
        if n == 8:
            server.start()
        if n < 5 or n > 7:
            drain(remote)
    assert stored(server) == past.expected
    assert remote.counters()["refused_samples"] == 0


def test_two_remotes_get_the_same_each_at_its_own_pace(past: Chronicle, vm: Server) -> None:
    past.fill(START, 20)
    with receiver() as other:
        one, two = past.remote(vm.write_url, "one"), past.remote(other.url, "two")
        drain(one)
        past.fill(START + 200, 20, seed=2)
        drain(two)
        drain(one)
        assert stored(vm) == past.expected
        assert other.accepted() == past.expected


@pytest.mark.parametrize("tier", [1, 2])
def test_coarser_tiers_are_sent_as_well(tmp_path: Path, vm: Server, tier: int) -> None:
    with chronicle(tmp_path / "data", 70, tier) as past:
        past.fill(START, 8)
        drain(past.remote(vm.write_url))
        assert stored(vm) == past.expected


# ---- the cursor


def test_after_a_restart_nothing_is_sent_again(tmp_path: Path) -> None:
    with receiver() as there, chronicle(tmp_path / "data") as past:
        past.fill(START, 20)
        thread, remote = running(past.remote(there.url))
        wait_for(lambda: remote.counters()["behind_seconds"] == 0 and there.came)
        remote.stop()
        thread.join(10)
        sent = len(there.came)
        again = past.remote(there.url)
        assert not again.send_next()
        past.fill(START + 200, 5, seed=2)
        drain(again)
        assert len(there.came) > sent
        assert there.accepted() == past.expected


def test_a_remote_by_another_name_begins_with_the_oldest(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 5)
        drain(past.remote(there.url, "first"))
        there.came.clear()
        there.answered.clear()
        drain(past.remote(there.url, "second"))
        assert there.accepted() == past.expected


def test_a_step_is_sent_only_when_it_is_settled(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 1)
        past.set_time(START + 19)
        remote = past.remote(there.url, delay="10s")
        assert not remote.send_next()
        past.set_time(START + 20)
        drain(remote)
        assert there.accepted() == past.expected


def test_a_sample_that_comes_before_its_step_is_sent_is_in_it(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 1)
        late = np.tile([[2.0], [10.0], [0.0], [5.0], [5.0], [5.0]], 100)
        past.write(START, late, is_patch=True)
        remote = past.remote(there.url)
        remote.late(0, np.array([START]))
        drain(remote)
        counts = {key: samples[0][1] for key, samples in there.accepted().items() if "_count" in key}
        rows = past.storage.history.read_columns(0, np.arange(1, 101), START, START + 10)
        assert sorted(counts.values()) == sorted(rows[2][0].tolist())
        assert remote.counters()["late_not_sent"] == 0


def test_what_comes_after_its_step_was_sent_is_counted(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 3)
        remote = past.remote(there.url)
        drain(remote)
        remote.late(0, np.array([START, START + 10, START + 1000]))
        remote.late(1, np.array([START]))
        assert remote.counters()["late_not_sent"] == 2


def test_what_expired_before_it_was_sent_is_counted(tmp_path: Path) -> None:
    with receiver() as there, chronicle(tmp_path / "data") as past:
        past.fill(START, 10)
        remote = past.remote(there.url)
        drain(remote)
        later = START + 100 * HOUR
        past.fill(later - 25 * HOUR, 1, seed=3)  # a clock that leaps is believed after a day
        past.fill(later, 5, seed=2)
        past.storage.history.retain(past.clock.now_ns())
        drain(remote)
        assert there.accepted() == past.expected
        kept = HistoryConfig().keep_seconds[0]
        assert remote.counters()["expired_steps"] == (later + 50 + 60 - kept - (START + 100)) // 10


def test_a_clock_that_is_set_back_takes_the_cursor_along(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START + 48 * HOUR, 3)
        remote = past.remote(there.url)
        drain(remote)
        past.fill(START, 3, seed=2)
        drain(remote)
        times = {time for samples in there.accepted().values() for time, _ in samples}
        assert (START + 10) * 1000 - 1 not in times  # before the clock that is set now
        past.fill(START + 120, 3, seed=3)
        drain(remote)
        assert (START + 130) * 1000 - 1 in {t for samples in there.accepted().values() for t, _ in samples}


def test_what_is_written_after_the_clock_was_set_back_by_less_than_a_block_is_sent(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START + 1800, 100)
        remote = past.remote(there.url)
        drain(remote)
        begin = START + 1900
        past.set_time(begin)
        for step in range(begin, begin + 600, 10):
            past.fill(step, 1, seed=step)
            past.set_time(step + 10)
            remote.late(0, np.array([step]))
            if step == begin + 100:
                drain(remote)
                assert "the clock was set back" in remote.problems()[0]
        past.set_time(begin + 620)
        drain(remote)
        accepted = there.accepted()
        for step in range(begin, begin + 600, 10):
            rows = past.storage.history.read_columns(0, np.arange(1, 101), step, step + 10)
            time_ms = (step + 10) * 1000 - 1
            sent = [samples for key, samples in accepted.items() if "_count" in key]
            assert sorted(rows[2][0].tolist()) == sorted(
                dict(samples)[time_ms] for samples in sent if time_ms in dict(samples)
            )
        counters = remote.counters()
        assert (counters["late_not_sent"], counters["clock_set_back"] > 0) == (0, True)


def test_a_clock_that_is_set_back_while_a_sealed_block_is_sent_costs_no_tile(tmp_path: Path) -> None:
    with receiver() as there, chronicle(tmp_path / "data", 200) as past:
        past.fill(START, 360)
        past.seal(START + HOUR + 900)
        past.set_time(START + HOUR + 900)
        remote = past.remote(there.url)
        assert remote.send_next()
        past.set_time(START + 1800)
        drain(remote)
        past.set_time(START + HOUR + 60)
        drain(remote)
        accepted = there.accepted()
        assert accepted.keys() == past.expected.keys()
        assert all(set(accepted[key]) == set(past.expected[key]) for key in accepted)


def test_late_rows_of_a_sealed_block_are_counted_by_their_tile(tmp_path: Path) -> None:
    with receiver() as there, chronicle(tmp_path / "data", 200) as past:
        past.fill(START, 360)
        past.seal(START + HOUR + 900)
        past.set_time(START + HOUR + 900)
        remote = past.remote(there.url)
        assert remote.send_next()
        steps = np.array([START, START + 100, START + 100, START + HOUR])
        remote.late(0, steps, np.array([1, 63, 64, 1]))
        assert remote.counters()["late_not_sent"] == 2
        remote.late(0, steps)
        assert remote.counters()["late_not_sent"] == 5, "whose they are is not known: all may have been sent"
        drain(remote)


def test_the_rest_of_a_step_after_a_restart_is_counted_before_anything_is_sent(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 3)
        remote = past.remote(there.url)
        drain(remote)
        remote._save(is_due=False)
        again = past.remote(there.url)
        again.late(0, np.array([START + 20]))
        assert again.counters()["late_not_sent"] == 1


# ---- refusals and failures


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 425, 429, 500, 502, 503, 599])
def test_what_may_pass_is_tried_again(past: Chronicle, status: int) -> None:
    with receiver([status, status]) as there:
        past.fill(START, 10)
        remote = past.remote(there.url)
        drain(remote)
        assert there.accepted() == past.expected
        assert (remote.counters()["retries"], there.answered[:3]) == (2, [status, status, 204])


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_refusal_is_counted_and_not_tried_again(past: Chronicle, status: int) -> None:
    with receiver(judge=lambda series: status) as there:
        past.fill(START, 2)
        remote = past.remote(there.url)
        drain(remote)
        counters = remote.counters()
        assert (counters["retries"], counters["samples"]) == (0, 0)
        assert counters["refused_samples"] == sum(map(len, past.expected.values()))
        assert f"HTTP {status}" in remote.problems()[0]
        came = len(there.came)
        assert not remote.send_next()
        assert len(there.came) == came


@pytest.mark.parametrize("status", [302, 401, 403, 404])
def test_a_wrong_token_or_url_skips_nothing_and_says_what_to_mend(past: Chronicle, status: int) -> None:
    with receiver(judge=lambda series: status) as there:
        past.fill(START, 40)
        thread, remote = running(past.remote(there.url, batch_samples=1000))
        wait_for(lambda: remote.counters()["retries"] > 2)
        (problem,) = remote.problems()
        assert all(said in problem for said in (f"HTTP {status}", "mend the credentials or the URL", "s wait"))
        there.judge = lambda series: 204
        wait_for(lambda: remote.counters()["behind_seconds"] == 0)
        counters = remote.counters()
        remote.stop()
        thread.join(10)
        assert there.accepted() == past.expected
        assert (counters["refused_requests"], counters["refused_samples"], remote.problems()) == (0, 0, [])


def test_a_header_that_cannot_be_sent_skips_nothing() -> None:
    assert is_wrong_place(Answer(400, "the URL or a header is wrong", sent=False))
    assert not is_wrong_place(Answer(400))


def test_one_row_that_is_refused_costs_no_other(past: Chronicle) -> None:
    bad = past.series[37].tags["host"]

    def judge(series: remote_write.Series) -> int:
        return 400 if any(("host", bad) in labels for labels in series) else 204

    with receiver(judge=judge) as there:
        past.fill(START, 1)
        remote = past.remote(there.url)
        drain(remote)
        fine = {key: samples for key, samples in past.expected.items() if f'host="{bad}"' not in key}
        assert there.accepted() == fine
        assert remote.counters()["refused_samples"] == len(past.expected) - len(fine)


def test_a_server_that_refuses_everything_is_not_asked_for_ever(past: Chronicle) -> None:
    with receiver(judge=lambda series: 400) as there:
        past.fill(START, 200)
        drain(past.remote(there.url, batch_samples=1000))
        assert len(there.came) < 300


def test_retry_after_is_honoured(past: Chronicle) -> None:
    with receiver([503], Retry_After="30") as there:
        past.fill(START, 1)
        thread, remote = running(past.remote(there.url))
        wait_for(lambda: remote.counters()["retries"] == 1)
        remote.stop()  # else it would wait
        thread.join(10)
        assert not thread.is_alive()
        assert len(there.came) == 1


def test_a_remote_that_hangs_is_let_go_at_a_stop(past: Chronicle) -> None:
    with receiver() as there:
        there.hangs = threading.Event()
        past.fill(START, 1)
        thread, remote = running(past.remote(there.url))
        wait_for(lambda: remote._link._connection is not None and remote._link._connection.sock is not None)
        remote.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_a_remote_that_is_not_there_is_a_problem(past: Chronicle) -> None:
    past.fill(START, 10)
    remote = past.remote("http://127.0.0.1:1/api/v1/write")
    assert remote.send_next(), "nobody is there, and there is more"
    assert remote.counters()["retries"] > 0
    assert "wait to be sent" in remote.problems()[0]


# ---- who we are


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        ({"bearer_token": "s3cret"}, "Authorization", "Bearer s3cret"),
        ({"username": "u", "password": "p"}, "Authorization", "Basic dTpw"),
        ({"tenant": "fleet"}, "X-Scope-OrgID", "fleet"),
        ({"headers": {"X-Own": "yes"}}, "X-Own", "yes"),
        ({}, "Content-Encoding", "snappy"),
        ({}, "Content-Type", "application/x-protobuf"),
        ({}, "X-Prometheus-Remote-Write-Version", "0.1.0"),
    ],
)
def test_a_request_says_who_sends_it(past: Chronicle, settings: dict[str, Any], header: str, value: str) -> None:
    with receiver() as there:
        past.fill(START, 1)
        drain(past.remote(there.url, **settings))
        assert there.came[0][0][header] == value


def test_the_path_of_a_cluster_is_kept(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 1)
        drain(past.remote(there.url.replace("/api/v1/write", "/insert/7/prometheus/api/v1/write?a=b")))
        assert there.came[0][1] == "/insert/7/prometheus/api/v1/write?a=b"


def test_a_deleted_series_is_not_sent(past: Chronicle) -> None:
    with receiver() as there:
        past.fill(START, 2)
        gone = past.series[5]
        past.storage.catalogue.delete([past.storage.catalogue.series_of(np.array([6], np.uint32))[0]], START)
        remote = past.remote(there.url)
        drain(remote)
        assert not any(gone.tags["host"] in key for key in there.accepted())
        assert len(there.accepted()) == len(past.expected) - 5


def test_a_closed_storage_ends_nothing(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "data")
    with chronicle(tmp_path / "other") as past, receiver() as there:
        made = past.remote(there.url)
        remote = Remote(made.config, storage, past.clock)
        storage.close()
        thread, _ = running(remote)
        wait_for(lambda: "history cannot be read" in "".join(remote.problems()))
        remote.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_the_tiers_are_those_of_storage() -> None:
    assert [tier.name for tier in TIERS] == ["10s", "1m", "1h"]


# ---- waiting


def running(remote: Remote) -> tuple[threading.Thread, Remote]:
    thread = threading.Thread(target=remote.run, name="remote", daemon=True)
    thread.start()
    return thread, remote


def wait_for(condition: Callable[[], object]) -> None:
    import time

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.005)

"""The dead man's switch against a real server: beats while all is well, silence otherwise, and what went wrong."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.answering import Answering, answering, status

from hms_ops import heartbeat
from hms_ops.clock import SECOND_NS, ManualClock
from hms_ops.heartbeat import Heartbeat, HeartbeatConfig
from hms_ops.secret import Secret

WaitUntil = Callable[..., None]


class Stepped(ManualClock):
    """A manual clock that moves only when the test says so, however long that takes; `asleep_ns` is until when."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep_ns = 0

    def sleep_until_ns(self, deadline_ns: int, wake: object) -> bool:
        assert isinstance(wake, threading.Event)
        self.asleep_ns = deadline_ns
        while self.now_ns() < deadline_ns:
            if wake.wait(0.002):
                return True
        return False


@contextmanager
def running(server: Answering, clock: ManualClock, is_well: Callable[[], bool]) -> Iterator[Heartbeat]:
    made = Heartbeat(server.url + "/ping/secret-1", 60.0, is_well, clock)
    thread = threading.Thread(target=made.run, name="heartbeat")
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_it_beats_at_once_and_then_every_so_often(wait_until: WaitUntil) -> None:
    clock = Stepped()
    with answering() as server, running(server, clock, lambda: True) as made:
        for count in (1, 2, 3):
            wait_until(lambda count=count: made.counters()["sent"] == count)
            due_ns = 1_700_000_000 * SECOND_NS + count * 60 * SECOND_NS
            wait_until(lambda due_ns=due_ns: clock.asleep_ns == due_ns)
            clock.advance(60.0)
        wait_until(lambda: made.counters()["sent"] == 4)
        assert made.problem == ""
    assert {(request.method, request.path) for request in server.requests} == {("GET", "/ping/secret-1")}


def test_it_is_silent_while_the_engine_is_not_well(wait_until: WaitUntil) -> None:
    clock, well = Stepped(), [True]
    with answering() as server, running(server, clock, lambda: well[0]) as made:
        wait_until(lambda: made.counters()["sent"] == 1)
        well[0] = False
        clock.advance(60.0)
        wait_until(lambda: made.counters()["skipped"] == 1)
        well[0] = True
        clock.advance(60.0)
        wait_until(lambda: made.counters() == {"sent": 2, "failed": 0, "skipped": 1})
    assert len(server.requests) == 2


def test_beats_that_were_due_while_one_hung_are_left_out(wait_until: WaitUntil) -> None:
    clock = Stepped()
    with answering() as server, running(server, clock, lambda: True) as made:
        wait_until(lambda: made.counters()["sent"] == 1 and clock.asleep_ns > 0)
        clock.advance(60.0 * 10 + 7)
        wait_until(lambda: made.counters()["sent"] == 2)
        wait_until(lambda: clock.asleep_ns == (1_700_000_000 + 660) * SECOND_NS)


def test_a_clock_that_was_set_back_does_not_silence_it(wait_until: WaitUntil) -> None:
    clock = Stepped()

    def well() -> bool:
        clock.advance(-7200.0)
        return True

    with answering() as server, running(server, clock, well) as made:
        wait_until(lambda: made.counters()["sent"] == 1 and clock.asleep_ns > 0)
        assert 0 < clock.asleep_ns - clock.now_ns() <= 60 * SECOND_NS


def test_who_cannot_tell_whether_he_is_well_is_not(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise RuntimeError("no")

    with answering() as server:
        made = Heartbeat(server.url, 60.0, broken, ManualClock())
        made.beat()
    assert made.counters() == {"sent": 0, "failed": 0, "skipped": 1}
    assert server.requests == []
    assert "cannot tell" in caplog.text


def test_a_beat_that_is_refused_is_a_problem_until_one_arrives(caplog: pytest.LogCaptureFixture) -> None:
    with answering(status(404, "who?"), status(503), status(200)) as server:
        made = Heartbeat(server.url + "/secret-1", 60.0, lambda: True, ManualClock(), "POST")
        with caplog.at_level(logging.INFO):
            made.beat()
            assert made.problem == "the heartbeat does not arrive: HTTP 404 who?"
            made.beat()
            assert made.problem == "the heartbeat does not arrive: HTTP 503"
            made.beat()
    assert made.problem == ""
    assert made.counters() == {"sent": 1, "failed": 2, "skipped": 0}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "secret-1" not in caplog.text
    assert server.requests[0].method == "POST"


def test_a_server_that_hangs_holds_it_no_longer_than_half_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "POST_SECONDS_MAX", 0.3)
    with answering("hang") as server:
        made = Heartbeat(server.url, 60.0, lambda: True, ManualClock())
        began = time.monotonic()
        made.beat()
        assert time.monotonic() - began < 8  # without a bound of its own: 10
    assert made.problem == "the heartbeat does not arrive: no answer: timed out"


def test_its_settings_hide_the_url() -> None:
    config = HeartbeatConfig(Secret("https://hc-ping.com/uuid-1", "***"))
    assert "uuid-1" not in repr(config)
    assert config.problem() == ""
    assert HeartbeatConfig(Secret("ftp://x", "***")).problem().startswith("url has to begin")
    assert HeartbeatConfig().problem() == ""

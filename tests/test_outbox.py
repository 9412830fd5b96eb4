"""The outbox: what waits, what comes again, what dies, and that nobody waits for anybody else.

Lanes are stepped by hand on a manual clock against real servers; the outbox runs its real threads.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
from tests.answering import OK, Answering, answering, status

from hms_ops.alert.delivery import lane as lane_module
from hms_ops.alert.delivery import outbox
from hms_ops.alert.delivery.lane import (
    BACKOFF_SECONDS_MAX,
    IDLE_SECONDS,
    IsFiring,
    Lane,
    always_firing,
    backoff_seconds,
)
from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers import Route, Target, parse_target, route
from hms_ops.alert.states.state import Event
from hms_ops.clock import SECOND_NS, ManualClock, WallAnchor

WaitUntil = Callable[..., None]


def note(
    receiver: str, state: Event = "firing", episode: int = 1, name: str = "db.slow", key: str = "key-1"
) -> Notification:
    return Notification((Alert(name, state, 215.0, {}, 0.0, episode=episode),), receiver, key)


class LaneUnderTest:
    """A lane to one server, its clock, and the outcomes it told."""

    def __init__(self, server: Answering, is_firing: IsFiring = always_firing) -> None:
        self.clock = ManualClock()
        self.receiver = f"webhook:{server.url}/hook"
        self.told: list[Outcome] = []
        served_by = route(parse_target(self.receiver), {})
        self.lane = Lane(served_by, self.clock, self._tell, chance=lambda: 0.5, is_firing=is_firing)

    def _tell(self, notification: Notification, outcome: Outcome) -> None:
        self.told.append(outcome)

    def put(self, state: Event = "firing", episode: int = 1, name: str = "db.slow") -> None:
        assert self.lane.put(note(self.receiver, state, episode, name))

    def step(self) -> float:
        """One step; the seconds until the next."""
        return (self.lane.step() - self.clock.now_ns()) / SECOND_NS

    def balance(self) -> int:
        """What the counters leave open, less what waits: 0 when the books are closed."""
        counters = self.lane.counters
        settled = counters.delivered + counters.dead + counters.dropped + counters.cancelled
        return counters.queued - settled - self.lane.waiting_count


def test_a_notification_leaves_with_the_first_step() -> None:
    with answering(OK) as server:
        lane = LaneUnderTest(server)
        lane.put()
        assert lane.step() == 0
    assert lane.told == [Delivered("HTTP 200 thanks")]
    assert server.requests[0].headers["Idempotency-Key"] == "key-1"
    assert (lane.lane.waiting_count, lane.balance()) == (0, 0)


def test_an_empty_lane_sleeps() -> None:
    with answering() as server:
        assert LaneUnderTest(server).step() == IDLE_SECONDS


def test_a_failing_receiver_is_tried_again_after_a_growing_wait_with_the_same_key() -> None:
    with answering(status(500), status(500), "reset", OK) as server:
        lane = LaneUnderTest(server)
        lane.put()
        waits = []
        for _ in range(3):
            lane.step()
            waits.append(lane.step())
            assert lane.balance() == 0
            lane.clock.advance(waits[-1])
        lane.step()
    assert waits == [1.0, 2.0, 4.0]
    assert {request.headers["Idempotency-Key"] for request in server.requests} == {"key-1"}
    assert (lane.lane.counters.retried, lane.lane.counters.delivered, len(server.requests)) == (3, 1, 4)


def test_the_wait_has_full_jitter_between_one_second_and_five_minutes() -> None:
    assert [backoff_seconds(attempts, 0.0) for attempts in (1, 5, 50)] == [1.0, 1.0, 1.0]
    assert [backoff_seconds(attempts, 0.999) for attempts in (1, 2, 3)] == pytest.approx([1.998, 3.996, 7.992])
    assert backoff_seconds(10_000, 1.0) == BACKOFF_SECONDS_MAX


def test_retry_after_pauses_the_whole_receiver() -> None:
    with answering(status(429, Retry_After="30"), OK) as server:
        lane = LaneUnderTest(server)
        lane.put(name="a")
        lane.put(name="b")
        lane.step()
        assert lane.step() == 30
        lane.clock.advance(29.9)
        lane.step()
        assert len(server.requests) == 1
        lane.clock.advance(0.1)
        lane.step()
        lane.step()
    assert (lane.lane.counters.delivered, lane.balance()) == (2, 0)


def test_a_receiver_that_asks_for_years_is_tried_again_after_an_hour() -> None:
    with answering(status(503, Retry_After="999999999")) as server:
        lane = LaneUnderTest(server)
        lane.put()
        lane.step()
        assert lane.step() == 3600


def test_a_permanent_refusal_is_a_dead_letter_at_once() -> None:
    with answering(status(404, "gone")) as server:
        lane = LaneUnderTest(server)
        lane.put()
        lane.step()
    assert lane.told == [Dead("HTTP 404 gone")]
    assert (lane.lane.counters.dead, lane.lane.waiting_count, lane.balance()) == (1, 0, 0)


def test_after_a_day_it_is_dead() -> None:
    with answering(status(503)) as server:
        lane = LaneUnderTest(server)
        lane.put()
        while lane.lane.waiting_count:
            lane.step()
            lane.clock.advance(3600)
    assert 23 <= len(server.requests) <= 25
    assert isinstance(lane.told[-1], Dead)
    assert lane.told[-1].reason.startswith("undelivered for 24 h after")
    assert lane.balance() == 0


def test_one_notification_that_fails_does_not_hold_up_the_next() -> None:
    with answering(status(500), OK) as server:
        lane = LaneUnderTest(server)
        lane.put(name="poison")
        lane.put(name="fine")
        lane.step()
        lane.step()
    assert [request.document["alerts"][0]["labels"]["alertname"] for request in server.requests] == ["poison", "fine"]
    assert lane.lane.counters.delivered == 1


def test_a_resolve_never_overtakes_its_page_and_the_late_page_says_so() -> None:
    with answering(status(500), OK) as server:
        lane = LaneUnderTest(server)
        lane.put("firing")
        lane.step()
        lane.put("resolved")
        lane.step()
        assert len(server.requests) == 1
        lane.clock.advance(60)
        lane.step()
        lane.step()
    assert [request.document["status"] for request in server.requests] == ["firing", "firing", "resolved"]
    notes = [request.document["alerts"][0]["annotations"].get("note", "") for request in server.requests]
    assert notes == ["", "delivered late: the alert has resolved meanwhile", ""]


def test_a_late_page_says_that_its_alert_has_resolved_though_no_resolve_is_on_its_way() -> None:
    firing = {1, 2}
    with answering(status(500), OK, OK, OK) as server:
        lane = LaneUnderTest(server, lambda alert: alert.episode in firing)
        for episode in (1, 2, 3):
            lane.put(episode=episode, name=f"n{episode}")
        lane.step()
        firing.discard(1)
        lane.step()
        lane.clock.advance(60)
        lane.step()
        lane.step()
    notes = [request.document["alerts"][0]["annotations"].get("note", "") for request in server.requests]
    late = "delivered late: the alert has resolved meanwhile"
    assert notes == ["", "", late, late]  # the second is not late, of the third nobody was told in time


def test_the_resolve_of_a_dead_page_still_leaves() -> None:
    with answering(status(400), OK) as server:
        lane = LaneUnderTest(server)
        lane.put("firing")
        lane.put("resolved")
        lane.step()
        lane.step()
    assert (lane.lane.counters.dead, lane.lane.counters.delivered) == (1, 1)


def test_a_full_lane_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "LANE_WAITING_MAX", 2)
    with answering() as server:
        lane = LaneUnderTest(server)
        assert [lane.lane.put(note(lane.receiver, episode=n)) for n in range(4)] == [True, True, False, False]
    assert (lane.lane.counters.queued, lane.lane.counters.dropped, lane.balance()) == (4, 2, 0)


def test_a_receiver_that_raises_has_failed_for_this_time() -> None:
    def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
        raise RuntimeError("a bug")

    told: list[Outcome] = []
    lane = Lane(Route(Target("log", ""), send), ManualClock(), lambda _, outcome: told.append(outcome))
    lane.put(note("log:"))
    lane.step()
    assert told == [Retry("RuntimeError: a bug")]


def test_a_callback_that_raises_costs_nothing() -> None:
    def fail(notification: Notification, outcome: Outcome) -> None:
        raise RuntimeError("a bug")

    lane = Lane(route(parse_target("log:"), {}), ManualClock(), fail)
    lane.put(note("log:"))
    lane.step()
    assert lane.counters.delivered == 1


# ---- with its threads


class Running:
    """An outbox on the real clock, with the threads it started and what it told."""

    def __init__(self) -> None:
        self.clock = WallAnchor()
        self.threads: list[threading.Thread] = []
        self.told: list[tuple[str, Outcome]] = []
        self.outbox = Outbox(self.clock, self._start, on_outcome=self._tell)

    def _start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def _tell(self, notification: Notification, outcome: Outcome) -> None:
        self.told.append((notification.receiver, outcome))

    def after(self, seconds: float) -> int:
        return self.clock.now_ns() + int(seconds * SECOND_NS)


@pytest.fixture
def running() -> Iterator[Running]:
    under_test = Running()
    yield under_test
    under_test.outbox.stop(under_test.after(5))
    for thread in under_test.threads:
        thread.join(15)


def test_a_page_is_delivered_by_its_receivers_own_thread(running: Running, wait_until: WaitUntil) -> None:
    with answering() as server:
        assert running.outbox.put(note(f"webhook:{server.url}/hook?token=secret"))
        wait_until(lambda: running.told)
    assert [thread.name for thread in running.threads] == [f"notify-webhook:{server.url}/hook?***"]
    counters = running.outbox.counters()
    assert counters == {**dict.fromkeys(counters, 0), "queued": 1, "delivered": 1}


def test_a_hanging_receiver_delays_no_other(running: Running, wait_until: WaitUntil) -> None:
    with answering("hang") as hanging, answering("drip") as dripping, answering(OK) as fine:
        for server in (hanging, dripping, fine):
            running.outbox.put(note(f"webhook:{server.url}"))
        wait_until(lambda: hanging.requests and dripping.requests and running.told, deadline_seconds=5)
        assert [receiver for receiver, _ in running.told] == [f"webhook:{fine.url}"]
        assert running.outbox.counters()["waiting"] == 2


def test_a_receiver_that_fails_is_logged_once_and_again_when_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    with answering(status(503), status(503), OK) as server, caplog.at_level("INFO", "hms_ops.alert"):
        lane = LaneUnderTest(server)
        lane.put()
        for _ in range(2):
            lane.step()
            lane.clock.advance(10)
        shown = f"receiver webhook:{server.url}/hook"
        assert lane.lane.problem().startswith(f"{shown} has failed for 20 s: HTTP 503")
        lane.step()
        assert lane.lane.problem() == ""
    first, last = [record.message for record in caplog.records if record.message.startswith("receiver")]
    assert first.startswith(f"{shown} fails and is tried again: HTTP 503")
    assert last == f"{shown} answers again after 20 s"


def test_a_receiver_that_fails_stands_in_problems(running: Running, wait_until: WaitUntil) -> None:
    with answering(status(503)) as server:
        running.outbox.put(note(f"webhook:{server.url}"))
        wait_until(lambda: running.outbox.problems())
        (problem,) = running.outbox.problems()
    assert problem.startswith(f"receiver webhook:{server.url} has failed for ")


def test_drain_waits_for_what_can_leave(running: Running) -> None:
    with answering() as server:
        for episode in range(50):
            running.outbox.put(note(f"webhook:{server.url}", episode=episode))
        assert running.outbox.drain(running.after(10)) == 0
    assert running.outbox.counters()["delivered"] == 50


def test_drain_ends_at_its_deadline_and_says_what_is_left(running: Running) -> None:
    with answering("hang") as server:
        running.outbox.put(note(f"webhook:{server.url}"))
        assert running.outbox.drain(running.after(0.2)) == 1


def test_stop_leaves_a_hanging_worker_behind(running: Running, wait_until: WaitUntil) -> None:
    with answering("hang") as server:
        running.outbox.put(note(f"webhook:{server.url}"))
        wait_until(lambda: server.requests)
        assert running.outbox.stop(running.after(0.1)) is False


def test_after_stop_what_comes_is_dropped_and_counted(running: Running) -> None:
    assert running.outbox.stop(running.after(1)) is True
    assert running.outbox.put(note("log:")) is False
    assert running.outbox.counters()["dropped"] == 1


def test_a_wrong_receiver_is_dropped_and_counted(running: Running) -> None:
    assert running.outbox.put(note("nowhere:x")) is False
    assert running.outbox.counters() | {"queued": 1, "dropped": 1} == running.outbox.counters()


def test_too_many_receivers_that_wait_are_dropped_counted_and_told(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LANES_MAX", 1)
    with answering("hang") as server:
        assert [running.outbox.put(note(receiver)) for receiver in (f"webhook:{server.url}", "log:")] == [True, False]
        assert running.outbox.counters()["dropped"] == 1
        assert running.outbox.problems() == [
            "1 notifications were dropped, the last because notifications wait for 1 receivers already"
        ]


def test_a_receiver_with_nothing_waiting_makes_room_for_another(
    running: Running, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(outbox, "LANES_MAX", 2)
    for number in range(10):
        assert running.outbox.put(note(f"sms:+1-555-{number:04}"))
        assert running.outbox.drain(running.after(5)) == 0
    wait_until(lambda: sum(thread.is_alive() for thread in running.threads) <= 2)
    counters = running.outbox.counters()
    assert (counters["queued"], counters["delivered"], counters["dropped"]) == (10, 10, 0)
    assert running.outbox.problems() == []


def test_an_idle_receivers_worker_ends_and_comes_again(
    running: Running, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(outbox, "LANE_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(lane_module, "IDLE_SECONDS", 0.05)
    for _ in range(2):
        assert running.outbox.put(note("log:"))
        wait_until(lambda: not any(thread.is_alive() for thread in running.threads))
    assert (len(running.threads), running.outbox.counters()["delivered"]) == (2, 2)


def test_a_pause_that_was_asked_for_outlives_what_waited() -> None:
    with answering(status(429, Retry_After="30")) as server:
        lane = LaneUnderTest(server)
        lane.put()
        lane.step()
    now_ns = lane.clock.now_ns()
    lane.lane.cancel({item.id for queue in lane.lane._groups.values() for item in queue})
    assert [lane.lane.is_empty(now_ns + seconds * SECOND_NS) for seconds in (29, 30)] == [False, True]


def test_a_forked_child_sends_nothing(running: Running) -> None:
    with answering() as server:
        running.outbox.put(note(f"webhook:{server.url}"))
        assert running.outbox.drain(running.after(5)) == 0
        reading, writing = os.pipe()
        child = fork_quietly()
        if child == 0:
            os.write(writing, b"1" if running.outbox.put(note(f"webhook:{server.url}")) else b"0")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 1) == b"0"
        os.close(reading)
        os.close(writing)
    assert len(server.requests) == 1


def fork_quietly() -> int:
    """Fork although threads run: that it is safe is what the test is about."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def test_what_waits_leaves_as_soon_as_the_receiver_answers_again() -> None:
    with answering(status(500), status(500), OK) as server:
        lane = LaneUnderTest(server)
        lane.put(name="one")
        lane.put(name="two")
        lane.step()
        lane.step()
        assert lane.lane.waiting_count == 2
        lane.put(name="three")
        lane.step()
        assert len(server.requests) == 3
        while lane.step() == 0:
            pass
    assert (len(server.requests), lane.lane.waiting_count, lane.balance()) == (5, 0, 0)


def test_who_knows_that_a_receiver_answers_can_say_so() -> None:
    with answering(status(500), OK) as server:
        lane = LaneUnderTest(server)
        lane.put()
        assert lane.step() == 0
        assert lane.step() > 0
        lane.lane.hasten()
        assert lane.step() == 0
    assert lane.told[-1] == Delivered("HTTP 200 thanks")

"""The outbox over restarts: what was committed arrives or is a dead letter, once, in its order, with its age.

Outboxes are stepped by hand on a manual clock, over real tables on disk and to real servers; where threads matter they
run. tests/pagekill.py kills real processes.
"""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import OK, Answering, answering, status
from tests.disks import frozen

from hms_ops.alert.delivery import deadletters, lane, settling
from hms_ops.alert.delivery.lane import late_note
from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.notification import Alert, Notification, Outcome
from hms_ops.alert.states.state import Event
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, ManualClock, WallAnchor
from hms_ops.errors import StorageError
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

WaitUntil = Callable[..., None]
GONE = status(410, "gone")
NOW = 1_700_000_000.0


def alert(name: str = "db.slow", state: Event = "firing", episode: int = 1, **tags: str) -> Alert:
    return Alert(name, state, 215.0, tags, NOW, episode=episode)


def note(receiver: str, key: str, *alerts: Alert, group: str = "", created: float = NOW) -> Notification:
    return Notification(alerts or (alert(),), receiver, key, group=group, created=created)


class Stepped:
    """An outbox over tables on disk whose workers do not run: `step` is all that happens."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.store = AlertStore(Environment(path, databases=STATE_DATABASES))
        self.clock = clock
        self.told: list[tuple[str, Outcome]] = []
        self.workers: list[str] = []
        self.outbox = Outbox(clock, self._start, on_outcome=self._tell, store=self.store)

    def _start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        self.workers.append(name)
        return threading.Thread(target=target, name=name)

    def _tell(self, notification: Notification, outcome: Outcome) -> None:
        self.told.append((notification.idempotency_key, outcome))

    def put(self, *notifications: Notification) -> list[bool]:
        """As the keeper does: one transaction, then all into their lanes."""
        self.store.commit([self.outbox.changes_for(notification) for notification in notifications])
        return [self.outbox.put(notification) for notification in notifications]

    def step(self) -> None:
        """One attempt of each lane, and what the worker for what is left would do."""
        for one in list(self.outbox._lanes.values()):
            one.step()
        self.outbox._settler.flush()

    def run(self) -> None:
        """Until nothing waits, moving the clock."""
        for _ in range(1000):
            if not self.outbox.counters()["waiting"]:
                return
            self.step()
            self.clock.advance(10)
        raise AssertionError("it goes on for ever")

    def waiting_on_disk(self) -> list[str]:
        return sorted(record["notification"]["idempotency_key"] for record in self.store.load("outbox").values())

    def balance(self) -> int:
        counts = self.outbox.counters()
        return counts["queued"] - sum(counts[one] for one in ("delivered", "dead", "dropped", "cancelled", "waiting"))

    def close(self) -> None:
        self.store.environment.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(int(NOW) * SECOND_NS)


@pytest.fixture
def start(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[[], Stepped]]:
    """Each call is a start of the engine over the same tables; the one before is gone, as after a kill."""
    opened: list[Stepped] = []

    def again() -> Stepped:
        for before in opened:
            before.close()
        opened.append(Stepped(tmp_path / "state", clock))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


Start = Callable[[], Stepped]


def received(server: Answering) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in server.requests]


def test_what_waited_leaves_after_a_restart_in_its_order_with_its_key(start: Start) -> None:
    with answering(OK) as server:
        first = start()
        url = f"webhook:{server.url}"
        first.put(*(note(url, f"key-{n}", group="g") for n in range(12)))
        first.step()
        second = start()
        assert second.outbox.restore() == 11
        second.put(note(url, "key-12", group="g"))
        third = start()
        assert third.outbox.restore() == 12
        assert third.outbox.counters()["restored"] == 12
        third.run()
        assert received(server) == [f"key-{n}" for n in range(13)]
        assert third.waiting_on_disk() == []
        assert third.balance() == 0
        assert third.outbox.restore() == 0


def test_a_delivered_one_is_off_the_disk_before_the_next_is_sent(start: Start) -> None:
    """The receiver looks into the tables while it is being sent the next."""
    stepped = start()
    seen: list[list[str]] = []

    class Looking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(stepped.waiting_on_disk())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Looking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"webhook:http://127.0.0.1:{server.server_port}"
        stepped.put(note(url, "a"), note(url, "b"), note(url, "c"))
        stepped.run()
        server.shutdown()
        thread.join(5)
    assert seen == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_its_24_hours_go_on_over_restarts(start: Start, clock: ManualClock) -> None:
    with answering(status(503)) as server:
        first = start()
        url = f"webhook:{server.url}"
        first.put(note(url, "a", group="g"), note(url, "b", group="h", created=NOW - 3600))
        first.step()
        clock.advance(23.5 * 3600)
        second = start()
        assert second.outbox.restore() == 2
        second.step()
        second.step()
        assert received(server) == ["a", "a"], "b is 24.5 hours old: nobody is told of yesterday"
        assert [letter["reason"] for letter in second.outbox.dead_letters()] == [
            "undelivered for 24 h after 0 attempts: the engine was not there to send it"
        ]
        clock.advance(3600)
        third = start()
        third.outbox.restore()
        third.step()
        assert len(server.requests) == 2
        assert len(third.outbox.dead_letters()) == 2
        assert third.waiting_on_disk() == []


def test_a_clock_that_was_set_back_keeps_a_notification_for_24_hours_and_no_longer(
    start: Start, clock: ManualClock
) -> None:
    with answering(status(503)) as server:
        first = start()
        first.put(note(f"webhook:{server.url}", "a", created=NOW + 10 * 86_400))
        second = start()
        second.outbox.restore()
        clock.advance(24 * 3600 + 1)
        second.step()
        assert second.outbox.counters()["dead"] == 1


# ---- dead letters


def test_what_is_sent_late_after_a_restart_or_by_hand_says_that_it_is_over(start: Start, clock: ManualClock) -> None:
    with answering(status(500), GONE, OK) as server:
        first = start()
        page = note(f"webhook:{server.url}", "a")
        first.put(page)
        first.step()
        clock.advance(3)
        for wait_seconds in (0, 60):
            later = start()
            later.outbox.is_firing = lambda alert: False
            later.outbox.restore()
            clock.advance(wait_seconds)
            later.outbox.resend(page.id)
            later.step()
    notes = [request.document["alerts"][0]["annotations"].get("note", "") for request in server.requests]
    assert notes == ["", *["delivered late: the alert has resolved meanwhile"] * 2]


def test_a_dead_letter_stays_over_restarts_and_is_sent_when_asked(start: Start, clock: ManualClock) -> None:
    with answering(GONE, GONE, OK) as server:
        first = start()
        page = note(f"webhook:{server.url}/hook?token=secret", "a", alert(agency="irs"))
        first.put(page)
        first.step()
        (letter,) = first.outbox.dead_letters()
        assert letter == {
            "id": page.id,
            "reason": "HTTP 410 gone",
            "died": NOW,
            "attempts": 1,
            "name": "db.slow",
            "receiver": f"webhook:{server.url}/hook?***",
            "state": "firing",
            "tags": {"agency": "irs"},
            "severity": "page",
            "episode": 1,
            "why": "first",
            "created": NOW,
            "alerts": 1,
            "summary": letter["summary"],
            "can_resend": True,
        }
        assert "FIRING db.slow" in letter["summary"]
        assert "secret" not in str(letter)
        second = start()
        second.outbox.restore()
        assert second.outbox.dead_letters() == [letter]
        assert second.outbox.resend("nobody") is False
        assert second.outbox.resend(page.id) is True
        assert second.outbox.resend(page.id) is False, "it is on its way"
        assert second.waiting_on_disk() == ["a"]
        second.step()
        assert len(second.outbox.dead_letters()) == 1, "it died again"
        clock.advance(30 * 86_400)
        third = start()
        third.outbox.restore()
        assert third.outbox.resend(page.id) is True
        fourth = start()
        assert fourth.outbox.restore() == 1, "it has another 24 hours, and a restart within them is survived"
        fourth.run()
        assert received(server) == ["a", "a", "a"]
        assert fourth.outbox.dead_letters() == []
        assert (fourth.store.load("dead"), fourth.store.load("outbox")) == ({}, {})
        assert fourth.balance() == 0


def test_beyond_the_bound_the_oldest_dead_letters_expire(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadletters, "DEAD_LETTERS_MAX", 3)
    with answering(GONE) as server:
        first = start()
        for n in range(5):
            first.put(note(f"webhook:{server.url}", f"{n}"))
            first.step()
            first.clock.advance(1)
        counters = first.outbox.counters()
        assert (counters["dead"], counters["dead_letters"], counters["dead_letters_expired"]) == (5, 3, 2)
        second = start()
        second.outbox.restore()
        left = [note(f"webhook:{server.url}", f"{n}").id for n in (2, 3, 4)]
        assert [letter["id"] for letter in second.outbox.dead_letters()] == left
        assert sorted(second.store.load("dead")) == sorted(left)


def test_a_record_that_cannot_be_read_is_a_dead_letter_that_cannot_be_sent(start: Start) -> None:
    first = start()
    odd: list[dict[str, Any]] = [
        {},
        {"notification": {"alerts": []}, "queued": 1.0, "number": 3},
        {"notification": first.outbox.changes_for(note("log:", "a")).record["notification"]},  # type: ignore[index]
        {"notification": "text", "queued": "late", "number": "first"},
    ]
    first.store.commit([Change("outbox", f"odd {n}", record) for n, record in enumerate(odd)])
    first.put(note("log:", "good"))
    second = start()
    assert second.outbox.restore() == 1
    letters = second.outbox.dead_letters()
    assert sorted(letter["id"] for letter in letters) == [f"odd {n}" for n in range(4)]
    assert {letter["reason"] for letter in letters} == {"its record cannot be read"}
    assert second.outbox.resend("odd 0") is False
    assert second.waiting_on_disk() == ["good"]
    third = start()
    third.outbox.restore()
    assert len(third.outbox.dead_letters()) == 4


def test_what_is_dropped_is_a_dead_letter(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LANE_WAITING_MAX", 1)
    with answering(OK) as server:
        first = start()
        url = f"webhook:{server.url}"
        assert first.put(note(url, "a"), note(url, "b"), note("nowhere:x", "c")) == [True, False, False]
        assert "notify-settling" in first.workers
        first.step()
        assert first.waiting_on_disk() == []
        reasons = [letter["reason"] for letter in first.outbox.dead_letters()]
        assert reasons[0] == f"dropped: 1 wait for {url}"
        assert reasons[1].startswith("dropped: receiver 'nowhere:x' has no scheme")
        assert first.outbox.dead_letters()[1]["receiver"] == "nowhere:x"
        second = start()
        assert second.outbox.restore() == 0
        assert sorted(letter["reason"] for letter in second.outbox.dead_letters()) == sorted(reasons)
        assert second.outbox.resend(note(url, "b").id) is True
        second.run()
        assert received(server) == ["a", "b"]
        assert first.balance() == second.balance() == 0


# ---- cancelling


def test_cancelled_ones_do_not_leave_after_a_restart_either(start: Start) -> None:
    with answering(OK) as server:
        first = start()
        url = f"webhook:{server.url}"
        pages = [note(url, key, group="g") for key in "abcd"]
        first.put(*pages)
        assert first.outbox.cancel([pages[0].id, pages[2].id, "nobody"]) == 2
        assert first.waiting_on_disk() == ["b", "d"]
        assert first.outbox.cancel([pages[0].id]) == 0
        second = start()
        second.outbox.restore()
        second.run()
        assert received(server) == ["b", "d"]
        assert (first.outbox.counters()["cancelled"], first.balance(), second.balance()) == (2, 0, 0)


@pytest.mark.parametrize(("answer", "delivered", "cancelled"), [(OK, 1, 0), (status(503), 0, 1), (GONE, 0, 1)])
def test_one_that_is_being_sent_when_it_is_cancelled_is_not_tried_again(
    tmp_path: Path, wait_until: WaitUntil, answer: bytes, delivered: int, cancelled: int
) -> None:
    arrived, go = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            arrived.set()
            go.wait(10)
            self.connection.sendall(answer)

        def log_message(self, *_: Any) -> None:
            pass

    stepped = Stepped(tmp_path / "state", ManualClock(int(NOW) * SECOND_NS))
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = note(f"webhook:http://127.0.0.1:{server.server_port}", "a")
        stepped.put(page)
        sending = threading.Thread(target=stepped.step)
        sending.start()
        assert arrived.wait(10)
        assert stepped.outbox.cancel([page.id]) == 0
        go.set()
        sending.join(10)
        server.shutdown()
        thread.join(5)
    counters = stepped.outbox.counters()
    assert (counters["delivered"], counters["cancelled"], counters["waiting"]) == (delivered, cancelled, 0)
    assert stepped.outbox.dead_letters() == []
    assert (stepped.waiting_on_disk(), stepped.balance()) == ([], 0)
    stepped.close()


# ---- notes


def test_a_late_page_says_what_has_become_of_its_alerts() -> None:
    one, two = alert(agency="irs"), alert(agency="ssa")
    page, pair = note("log:", "a", one), note("log:", "b", one, two)
    resolve = note("log:", "c", alert(state="resolved", agency="irs"))
    assert late_note(page, [note("log:", "d", two)]) == "", "a newer page of the group is no resolve"
    assert late_note(page, [resolve]) == "delivered late: the alert has resolved meanwhile"
    assert late_note(pair, [resolve]) == "delivered late: 1 of its 2 alerts have resolved meanwhile"
    both = [resolve, note("log:", "d", alert(state="resolved", agency="ssa"))]
    assert late_note(pair, both) == "delivered late: its 2 alerts have resolved meanwhile"
    assert late_note(page, [note("log:", "e", alert(state="resolved", episode=2, agency="irs"))]) == ""
    many = Notification((one,), "log:", "f", left_out=9)
    assert late_note(many, [resolve]) == "delivered late: 1 of its 10 alerts have resolved meanwhile"
    assert late_note(resolve, [resolve]) == ""


def test_a_page_that_waited_over_a_restart_says_that_its_alert_resolved(start: Start) -> None:
    with answering(status(500), OK) as server:
        first = start()
        url = f"webhook:{server.url}"
        first.put(note(url, "a", alert(), group="g"))
        first.step()
        first.put(note(url, "b", alert(state="resolved"), group="g"))
        second = start()
        second.outbox.restore()
        second.run()
        assert received(server) == ["a", "a", "b"]
        told = server.requests[1].document["alerts"][0]["annotations"]["note"]
        assert told == "delivered late: the alert has resolved meanwhile"


# ---- a disk that refuses


def test_on_a_disk_that_refuses_pages_leave_and_are_settled_when_it_is_well(start: Start, tmp_path: Path) -> None:
    with answering(OK, GONE, OK) as server:
        stepped = start()
        url = f"webhook:{server.url}"
        stepped.put(*(note(url, key) for key in "abc"))
        with frozen(tmp_path / "state"):
            stepped.run()
            assert received(server) == ["a", "b", "c"]
            assert stepped.waiting_on_disk() == ["a", "b", "c"]
            (problem,) = stepped.outbox.problems()
            assert problem.startswith("4 settled notifications are not on disk, a restart would repeat them: ")
            assert stepped.outbox.counters()["unsettled"] == 4
            assert stepped.workers.count("notify-settling") == 1
            assert len(stepped.outbox.dead_letters()) == 1
        assert stepped.outbox._settler.flush() is True
        assert (stepped.waiting_on_disk(), len(stepped.store.load("dead"))) == ([], 1)
        assert stepped.outbox.problems() == []
        assert stepped.balance() == 0


def test_what_is_left_is_bounded_and_what_is_forgotten_counted(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LEFT_MAX", 2)
    with answering(OK) as server:
        stepped = start()
        stepped.put(*(note(f"webhook:{server.url}", key) for key in "abcd"))
        with frozen(tmp_path / "state"):
            stepped.run()
        counters = stepped.outbox.counters()
        assert (counters["unsettled"], counters["unsettled_forgotten"]) == (2, 2)
        assert stepped.outbox.problems()[0].startswith("4 settled notifications")
        stepped.step()
        assert stepped.waiting_on_disk() == ["a", "b"], "a restart sends these again, with their keys"


def test_what_is_left_is_written_by_a_worker_of_its_own(
    tmp_path: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "TRY_AGAIN_SECONDS", 0.02)
    threads: list[threading.Thread] = []

    def begin(name: str, target: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(target=target, name=name, daemon=True))
        threads[-1].start()
        return threads[-1]

    store = AlertStore(Environment(tmp_path / "state", databases=STATE_DATABASES))
    clock = WallAnchor()
    under_test = Outbox(clock, begin, store=store)
    page = note("log:", "a", created=0.0)
    store.commit([under_test.changes_for(page)])
    with frozen(tmp_path / "state"):
        under_test.put(page)
        wait_until(lambda: under_test.counters()["unsettled"] == 1)
    wait_until(lambda: under_test.counters()["unsettled"] == 0)
    assert store.load("outbox") == {}
    wait_until(lambda: not any(thread.is_alive() for thread in threads if thread.name == "notify-settling"))
    assert under_test.stop(clock.now_ns() + 5 * SECOND_NS)
    store.environment.close()


def test_records_that_the_disk_refused_are_written_later_unless_they_were_settled(start: Start, tmp_path: Path) -> None:
    """As the keeper does: pages leave all the same; what was delivered meanwhile must not come back."""
    with answering(OK, status(503)) as server:
        stepped = start()
        pages = [note(f"webhook:{server.url}", key) for key in "ab"]
        with frozen(tmp_path / "state"):
            records = [stepped.outbox.changes_for(page) for page in pages]
            with pytest.raises(StorageError):
                stepped.store.commit(records)
            stepped.outbox.keep(records)
            for page in pages:
                stepped.outbox.put(page)
            stepped.step()
            stepped.step()
            assert received(server) == ["a", "b"]
        assert stepped.outbox._settler.flush() is True
        assert stepped.waiting_on_disk() == ["b"]
        again = start()
        assert again.outbox.restore() == 1


def test_a_dead_letter_with_text_that_utf8_cannot_hold_is_kept_too(start: Start) -> None:
    with answering(GONE) as server:
        stepped = start()
        stepped.outbox.put(note(f"webhook:{server.url}", "a", alert(agency="\ud800")))
        stepped.step()
        (record,) = stepped.store.load("dead").values()
        assert record["notification"]["alerts"][0]["tags"] == {"agency": "?"}
        assert stepped.outbox.counters()["unsettled"] == 0


def test_what_is_put_behind_the_stop_is_sent_at_the_next_start(tmp_path: Path) -> None:
    clock, sent = WallAnchor(), []

    def begin(name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def tell(notification: Notification, outcome: Outcome) -> None:
        sent.append(notification.idempotency_key)

    store = AlertStore(Environment(tmp_path / "state", databases=STATE_DATABASES))
    stopped = Outbox(clock, begin, on_outcome=tell, store=store)
    stopped.stop(clock.now_ns() + SECOND_NS)
    page = note("log:", "a", created=0.0)
    store.commit([stopped.changes_for(page)])
    assert stopped.put(page) is True
    assert stopped.counters()["dropped"] == 0
    again = Outbox(clock, begin, on_outcome=tell)
    assert again.restore() == 0
    again.open(store)
    assert again.restore() == 1
    assert again.drain(clock.now_ns() + 5 * SECOND_NS) == 0
    assert again.stop(clock.now_ns() + 5 * SECOND_NS)
    assert sent == ["a"]
    store.environment.close()


# ---- any course of things

RECEIVERS = 3
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(st.integers(0, RECEIVERS - 1), st.integers(0, 2)), max_size=4)),
        st.tuples(st.just("step"), st.just([])),
        st.tuples(st.just("restart"), st.just([])),
        st.tuples(st.just("advance"), st.just([])),
        st.tuples(st.just("cancel"), st.lists(st.tuples(st.integers(0, 30), st.just(0)), max_size=2)),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_whatever_happens_each_is_delivered_once_in_order_or_dead_or_cancelled(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[tuple[int, int]]]]
) -> None:
    """Between attempts an engine may end at any time; a kill in the middle of one is pagekill's."""
    clock, path = ManualClock(int(NOW) * SECOND_NS), tmp_path_factory.mktemp("any") / "state"
    answers = [[OK], [status(500), OK, "reset", OK], [GONE, OK]]
    with answering(*answers[0]) as one, answering(*answers[1]) as two, answering(*answers[2]) as three:
        servers = (one, two, three)
        stepped, made, cancelled, dead = Stepped(path, clock), [], set(), 0
        for what, arguments in steps:
            if what == "put":
                new = [
                    note(f"webhook:{servers[to].url}", f"{len(made) + n}", group=f"{group}")
                    for n, (to, group) in enumerate(arguments)
                ]
                made += new
                assert all(stepped.put(*new))
            elif what == "step":
                stepped.step()
            elif what == "advance":
                clock.advance(7)
            elif what == "cancel":
                ids = {made[n].id for n, _ in arguments if n < len(made)}
                before = set(stepped.store.load("outbox"))
                assert stepped.outbox.cancel(ids) == len(ids & before)
                cancelled |= ids & before
            else:
                assert stepped.balance() == 0
                dead += stepped.outbox.counters()["dead"]
                stepped.close()
                stepped = Stepped(path, clock)
                stepped.outbox.restore()
        stepped.run()
        dead += stepped.outbox.counters()["dead"]
        assert stepped.balance() == 0
        letters = {letter["id"] for letter in stepped.outbox.dead_letters()}
        assert stepped.store.load("outbox") == {}
        stepped.close()
        for number, server in enumerate(servers):
            mine = [one for one in made if one.receiver == f"webhook:{server.url}"]
            keys = received(server)
            expected = {page.idempotency_key for page in mine if page.id not in cancelled}
            assert expected <= set(keys)
            assert set(keys) <= {page.idempotency_key for page in mine}
            if number == 0:
                assert len(keys) == len(set(keys)) == len(expected), "one that answers is told once"
                for group in {page.group for page in mine}:
                    order = [page.idempotency_key for page in mine if page.group == group]
                    told = [key for key in keys if key in order]
                    assert told == sorted(told, key=order.index)
        assert len(letters) == dead <= 1
        assert not letters & cancelled


def test_many_lanes_settle_at_once(tmp_path: Path) -> None:
    clock, threads = WallAnchor(), []

    def begin(name: str, target: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(target=target, name=name, daemon=True))
        threads[-1].start()
        return threads[-1]

    store = AlertStore(Environment(tmp_path / "state", databases=STATE_DATABASES))
    under_test = Outbox(clock, begin, store=store)
    pages = [note(f"sms:+1-555-{number % 32:04}", f"{number}", created=0.0) for number in range(320)]
    store.commit([under_test.changes_for(page) for page in pages])
    for page in pages:
        under_test.put(page)
    assert under_test.drain(clock.now_ns() + 30 * SECOND_NS) == 0
    assert under_test.counters()["delivered"] == 320
    assert store.load("outbox") == {}
    assert store.counters()["transactions"] < 321
    assert under_test.stop(clock.now_ns() + 10 * SECOND_NS)
    store.environment.close()


def test_a_forked_child_neither_restores_nor_sends_again(start: Start) -> None:
    stepped = start()
    stepped.put(note("log:", "a"))
    stepped.outbox._pid += 1  # what a child sees
    assert stepped.outbox.restore() == 0
    assert stepped.outbox.cancel([note("log:", "a").id]) == 0
    assert stepped.outbox.resend("a") is False
    assert stepped.outbox.put(note("log:", "b")) is False

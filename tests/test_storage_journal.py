"""The journal: what happened stays, in order, bounded, and readable after a kill."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hms_ops.storage.environment import Environment
from hms_ops.storage.journal import EVENT_BYTES_MAX, Journal


def opened(path: Path, events_max: int = 1000) -> Journal:
    return Journal(Environment(path, databases=4), events_max)


@pytest.fixture
def journal(tmp_path):
    journal = opened(tmp_path / "state")
    yield journal
    journal.environment.close()


def event(time_ns: int, kind: str = "alert", **more: object) -> dict[str, object]:
    return {"time_ns": time_ns, "kind": kind, **more}


def test_events_come_back_oldest_first_after_a_restart(tmp_path):
    journal = opened(tmp_path / "state")
    journal.append(event(20, "alert", name="finance.latency_high", state="firing", value=215.5))
    journal.append(event(10, "start"), event(30, "action", tags={"agency": "irs"}))
    journal.environment.close()
    journal = opened(tmp_path / "state")
    assert journal.tail(10) == [
        event(10, "start"),
        event(20, "alert", name="finance.latency_high", state="firing", value=215.5),
        event(30, "action", tags={"agency": "irs"}),
    ]
    journal.environment.close()


def test_the_tail_is_the_newest_of_the_kinds_and_the_time_asked_for(journal):
    journal.append(*(event(time, kind) for time in range(10) for kind in ("alert", "reject")))
    assert journal.tail(2) == [event(9, "alert"), event(9, "reject")]
    assert journal.tail(2, kinds={"alert"}) == [event(8, "alert"), event(9, "alert")]
    assert journal.tail(100, kinds=("reject",), since_ns=8) == [event(8, "reject"), event(9, "reject")]
    assert journal.tail(100, since_ns=10) == []
    assert journal.tail(100, kinds=["start"]) == []
    assert journal.tail(0) == []


def test_events_of_one_nanosecond_keep_their_order_across_restarts(tmp_path):
    for number in range(3):
        journal = opened(tmp_path / "state")
        journal.append(event(5, number=2 * number), event(5, number=2 * number + 1))
        journal.environment.close()
    journal = opened(tmp_path / "state")
    assert [found["number"] for found in journal.tail(10)] == [0, 1, 2, 3, 4, 5]
    journal.environment.close()


def test_beyond_the_limit_the_oldest_go_and_are_counted(tmp_path):
    journal = opened(tmp_path / "state", events_max=10)
    for time in range(25):
        journal.append(event(time))
    journal.append(*(event(time) for time in range(100, 105)))
    assert [found["time_ns"] for found in journal.tail(100)] == [*range(20, 25), *range(100, 105)]
    assert journal.counters() == {"stored": 10, "appended": 30, "expired": 20, "damaged": 0}
    journal.environment.close()


def test_a_damaged_event_is_skipped_and_counted(journal):
    journal.append(event(1), event(2), event(3))
    database = journal.environment.database(b"journal")

    def damage(transaction: object) -> None:
        with transaction.cursor(database) as cursor:
            cursor.first()
            cursor.next()
            transaction.put(bytes(cursor.key()), bytes(cursor.value())[:-1] + b"\0", db=database)

    journal.environment.commit(damage)
    assert journal.tail(10) == [event(1), event(3)]
    assert journal.counters()["damaged"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"kind": "alert"},
        {"time_ns": 5},
        {"time_ns": 5, "kind": ""},
        {"time_ns": 5.5, "kind": "alert"},
        {"time_ns": -1, "kind": "alert"},
        {"time_ns": 5, "kind": 3},
        {"time_ns": 5, "kind": "alert", "text": "x" * EVENT_BYTES_MAX},
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_an_event_that_is_none_is_refused_with_those_beside_it(journal, bad):
    with pytest.raises(ValueError, match="an event"):
        journal.append(event(1), bad)
    assert journal.tail(10) == []


def test_threads_may_append_and_read_at_once(journal):
    def work(number: int) -> None:
        for place in range(20):
            journal.append(event(place, writer=number))
            journal.tail(5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = journal.tail(1000)
    assert len(found) == 80
    assert all(sum(entry["writer"] == number for entry in found) == 20 for number in range(4))


WRITER = """
import sys
from pathlib import Path
from hms_ops.storage.environment import Environment
from hms_ops.storage.journal import Journal
journal = Journal(Environment(Path(sys.argv[1]), databases=4), events_max=1000)
number = journal.counters()["stored"]
while True:
    journal.append({"time_ns": number, "kind": "alert", "text": "x" * 500})
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_loses_no_acknowledged_event(tmp_path):
    for wanted in (3, 10, 1, 20):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "state")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline() for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        last = [int(line) for line in lines if line.endswith("\n")][-1]
        journal = opened(tmp_path / "state")
        times = [found["time_ns"] for found in journal.tail(1000)]
        assert times == list(range(len(times)))
        assert times[-1] in (last, last + 1)
        journal.environment.close()

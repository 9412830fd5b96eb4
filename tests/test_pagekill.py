"""The harness pagekill.py: what it takes for lost, doubled or out of order, and, briefly, its runs and planted faults.
`make pagekill` is the long run."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.pagekill import Book, Lost, Tables, tables_of
from tests.pagers import KINDS, Accepted, Fact, Pagers, paging, stable_hash
from tests.pagevictim import notifications

from hms_ops.alert.notification import notification_record
from hms_ops.change import TABLES

HARNESS = Path(__file__).with_name("pagekill.py")


@pytest.fixture
def pagers() -> Iterator[Pagers]:
    with paging() as servers:
        yield servers


@pytest.fixture
def book(pagers: Pagers) -> Book:
    return Book(pagers, {f"webhook:{url}": kind for kind, url in pagers.urls.items()})


def sent(book: Book, kind: str, n: int) -> tuple[str, Fact, dict[str, Any]]:
    """(key, what it tells, its record) of the n-th transition's notification to one receiver."""
    one = next(one for one in notifications(n, book.pagers.urls) if book.kinds[one.receiver] == kind)
    alert = one.alert
    return one.idempotency_key, (alert.name, alert.state, alert.episode), notification_record(one)


def tables(**of: list[dict[str, Any]]) -> Tables:
    rows = {table: {str(n): {"notification": record} for n, record in enumerate(of.get(table, []))} for table in TABLES}
    return rows


def accept(book: Book, kind: str, n: int, key: str = "") -> None:
    its_key, fact, _ = sent(book, kind, n)
    book.pagers.accept(kind, key or its_key, (fact,), next(book.pagers.places))


def due(book: Book, kind: str, n: int) -> set[tuple[str, Fact]]:
    return {(kind, sent(book, kind, n)[1])}


def test_what_is_accepted_waiting_or_dead_is_not_lost(book: Book) -> None:
    accept(book, "fine", 0)
    records = {"outbox": [sent(book, "busy", 0)[2]], "dead": [sent(book, "gone", 0)[2]]}
    expected = {one for kind in ("fine", "busy", "gone") for one in due(book, kind, 0)}
    book.look(tables(**records), expected)
    assert book.untold() == list(due(book, "busy", 0))


def nobody_is_told(book: Book) -> None:
    book.look(tables(), due(book, "fine", 0))


def dead_letter_vanishes(book: Book) -> None:
    accept(book, "fine", 1)
    book.look(tables(), due(book, "fine", 0) | due(book, "fine", 1))


def two_are_repeated_by_one_kill(book: Book) -> None:
    for n in (0, 2):
        accept(book, "fine", n)
    book.look(tables(outbox=[sent(book, "fine", 0)[2], sent(book, "fine", 2)[2]]), set())


def told_twice_without_a_kill(book: Book) -> None:
    accept(book, "fine", 0)
    accept(book, "fine", 0)
    book.look(tables(), set())


def told_twice_by_one_kill(book: Book) -> None:
    accept(book, "fine", 0)
    book.look(tables(outbox=[sent(book, "fine", 0)[2]]), set())
    accept(book, "fine", 0)
    book.look(tables(), set())
    accept(book, "fine", 0)
    book.look(tables(), set())


def another_key(book: Book) -> None:
    accept(book, "fine", 0)
    accept(book, "fine", 0, key="another")
    book.look(tables(), set())


def another_key_on_disk(book: Book) -> None:
    accept(book, "fine", 0, key="another")
    book.look(tables(outbox=[sent(book, "fine", 0)[2]]), set())


def the_end_comes_first(book: Book) -> None:
    accept(book, "fine", 1)
    accept(book, "fine", 0)
    book.look(tables(), set())


def an_action_runs_twice(book: Book) -> None:
    for _ in range(2):
        book.pagers.ran(("heal", "part.0", 1))
    book.look(tables(), set())


WRONG: list[tuple[Callable[[Book], None], str]] = [
    (nobody_is_told, "nobody is told"),
    (dead_letter_vanishes, "nobody is told"),
    (two_are_repeated_by_one_kill, "repeats 2 notifications to fine"),
    (told_twice_without_a_kill, "told 2 times"),
    (told_twice_by_one_kill, "told 3 times"),
    (another_key, "under 2 keys"),
    (another_key_on_disk, "under 2 keys"),
    (the_end_comes_first, "before it was paged"),
    (an_action_runs_twice, "more than once"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=lambda case: getattr(case, "__name__", None))
def test_what_is_wrong_is_found(book: Book, wrong: Callable[[Book], None], said: str) -> None:
    with pytest.raises(Lost, match=said):
        wrong(book)


def test_one_repeat_for_each_kill_is_allowed(book: Book) -> None:
    for _ in range(3):
        accept(book, "fine", 0)
        book.look(tables(outbox=[sent(book, "fine", 0)[2]]), due(book, "fine", 0))
    assert book.duplicates() == 2


def test_the_tables_of_a_process_that_died_before_they_were_there_are_empty(tmp_path: Path) -> None:
    assert tables_of(tmp_path) == {table: {} for table in TABLES}


# ---- the receivers


def post(pagers: Pagers, kind: str, key: str, seconds: float = 20.0) -> int:
    """The status of a whole answer within so many seconds, 0 for none."""
    alert = {"labels": {"alertname": "a"}, "status": "firing", "annotations": {"episode": "1"}}
    body = json.dumps({"alerts": [alert]})
    lines = ("POST / HTTP/1.1", "Host: x", f"Idempotency-Key: {key}", f"Content-Length: {len(body)}", "", body)
    host, _, port = pagers.urls[kind].removeprefix("http://").partition(":")
    received, end = b"", time.monotonic() + seconds
    with socket.create_connection((host, int(port))) as connection, suppress(OSError):
        connection.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in received:
            connection.settimeout(max(0.001, end - time.monotonic()))
            if time.monotonic() > end or not (piece := connection.recv(65_536)):
                return 0
            received += piece
    return int(received.split()[1]) if b"\r\n\r\n" in received else 0


def key_of(one_in: int, is_hit: bool) -> str:
    return next(f"{n:032x}" for n in range(10_000) if (stable_hash(f"{n:032x}") % one_in == 0) is is_hit)


@pytest.mark.parametrize(
    ("kind", "one_in", "answers"),
    [
        ("failing", 3, [500, 500, 200]),
        ("busy", 12, [429, 200]),
        ("hanging", 16, [0, 200]),
        ("resetting", 3, [0, 0, 200]),
        ("dripping", 16, [0, 200]),
        ("gone", 4, [410, 410, 410]),
    ],
)
def test_a_receiver_misbehaves_as_its_kind_does(pagers: Pagers, kind: str, one_in: int, answers: list[int]) -> None:
    key = key_of(one_in, True)
    assert [post(pagers, kind, key, 20.0 if answer else 0.3) for answer in answers] == answers
    assert post(pagers, kind, key_of(one_in, False)) == 200
    pagers.settle()
    assert [one.kind for one in pagers.accepted] == [kind] * (answers[-1:] == [200]) + [kind]


def test_calm_receivers_take_all_but_what_is_refused_for_good(pagers: Pagers) -> None:
    pagers.is_calm.set()
    found = {kind: post(pagers, kind, key_of(48, True)) for kind in KINDS}
    assert found == {**dict.fromkeys(KINDS, 200), "gone": 410}
    assert len(pagers.accepted) == len(KINDS) - 1
    assert pagers.accepted[0] == Accepted("fine", key_of(48, True), (("a", "firing", 1),), 0, 0)


# ---- the harness


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(HARNESS), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.slow
def test_kills_lose_no_page_and_planted_faults_are_found(tmp_path: Path) -> None:
    done = harness("--what", "parts", "--kills", "6", "--plant", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none lost" in done.stdout
    assert done.stdout.count(": found: ") == 5
    assert list(tmp_path.iterdir()) == []

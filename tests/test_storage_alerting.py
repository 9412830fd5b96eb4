"""The tables of alerting: all of a commit or nothing, shared transactions, bounds that are counted, kills and disks."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.disks import fill, mounted

from hms_ops.change import KEY_BYTES_MAX, TABLES, Change
from hms_ops.errors import StorageError
from hms_ops.storage import alerting
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment, EnvironmentClosed
from hms_ops.storage.store import STATE_DATABASES, open_storage


def opened(path: Path) -> AlertStore:
    return AlertStore(Environment(path, databases=STATE_DATABASES))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlertStore]:
    store = opened(tmp_path / "state")
    yield store
    store.environment.close()


def put(key: str, table: str = "instances", **record: object) -> Change:
    return Change(table, key, record)


def taken(key: str, table: str = "instances") -> Change:
    return Change(table, key, None)


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path / "state")
    store.commit(
        [put("a", value=215.5, tags={"agency": "irs"}, since=1_700_000_000), put("b", "outbox", alerts=[1, 2])]
    )
    store.commit([put("é" * 100, "marks", second=5), taken("a"), put("a", state="firing")])
    store.environment.close()
    store = opened(tmp_path / "state")
    assert store.load("instances") == {"a": {"state": "firing"}}
    assert store.load("outbox") == {"b": {"alerts": [1, 2]}}
    assert store.load("marks") == {"é" * 100: {"second": 5}}
    assert store.load("silences") == {}
    store.environment.close()


def test_changes_of_one_commit_are_written_in_their_order(store: AlertStore) -> None:
    store.commit([put("a", n=1), put("a", n=2), taken("b"), put("b", n=3), put("c", n=4), taken("c")])
    assert store.load("instances") == {"a": {"n": 2}, "b": {"n": 3}}


def test_tables_do_not_know_each_other(store: AlertStore) -> None:
    store.commit([put("same", table, of=table) for table in TABLES])
    assert {table: store.load(table) for table in TABLES} == {table: {"same": {"of": table}} for table in TABLES}
    store.commit([taken("same", "dead")])
    assert [table for table in TABLES if not store.load(table)] == ["dead"]


@pytest.mark.parametrize(
    "wrong",
    [
        Change("nowhere", "a", {}),
        Change("instances", "", {}),
        Change("instances", "x" * (KEY_BYTES_MAX + 1), None),
        Change("instances", "\ud800", {}),
    ],
    ids=str,
)
def test_what_is_no_change_is_refused_with_those_beside_it(store: AlertStore, wrong: Change) -> None:
    with pytest.raises(ValueError, match=r"table|key|record|surrogates"):
        store.commit([put("good"), wrong])
    assert store.load("instances") == {}
    assert store.counters()["commits"] == 0


def test_text_that_no_utf8_can_hold_is_kept_with_a_mark_in_its_place(store: AlertStore) -> None:
    store.commit([put("a", tags={"k\ud800": ["x\udfffy", 1]}, plain="é"), put("b")])
    assert store.load("instances") == {"a": {"tags": {"k?": ["x?y", 1]}, "plain": "é"}, "b": {}}


def test_nothing_to_commit_costs_no_transaction(store: AlertStore) -> None:
    store.commit([])
    assert store.counters()["transactions"] == 0


def test_a_damaged_record_is_skipped_and_counted(store: AlertStore) -> None:
    store.commit([put("a"), put("b", n=1), put("c")])
    database = store.environment.database(b"instances")

    def damage(transaction: object) -> None:
        data = bytearray(transaction.get(b"b", db=database))
        data[-1] ^= 1
        transaction.put(b"b", bytes(data), db=database)
        transaction.put(b"\xff\xfe", bytes(data), db=database)

    store.environment.commit(damage)
    assert list(store.load("instances")) == ["a", "c"]
    assert store.counters()["damaged"] == 2


# ---- bounds


def test_a_full_table_refuses_new_keys_only_and_counts_them(store: AlertStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "RECORDS_MAX", 3)
    store.commit([put(key, n=0) for key in "abcd"] + [put("x", "outbox")])
    assert (list(store.load("instances")), list(store.load("outbox"))) == (["a", "b", "c"], ["x"])
    store.commit([put("e"), taken("a"), put("b", n=1), put("f", n=1), put("g")])
    assert store.load("instances") == {"b": {"n": 1}, "c": {"n": 0}, "f": {"n": 1}}
    counters = store.counters()
    assert (counters["refused"], counters["instances"]) == (3, 3)
    assert store.problems() == ["3 records of alerting are not kept on disk: tables are full or records too long"]


def test_a_table_that_takes_too_many_bytes_is_full(store: AlertStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "TABLE_BYTES_MAX", 64 * 1024)
    for number in range(100):
        store.commit([put(f"{number:03}", text="x" * 2000)])
    stored = len(store.load("instances"))
    assert 16 <= stored <= 64
    assert store.counters()["refused"] == 100 - stored
    store.commit([put("000", text="shorter")])
    assert store.load("instances")["000"] == {"text": "shorter"}


def test_a_record_that_is_too_long_is_left_out_and_the_others_are_written(store: AlertStore) -> None:
    store.commit([put("a"), put("long", text="x" * alerting.RECORD_BYTES_MAX), put("b")])
    assert list(store.load("instances")) == ["a", "b"]
    assert {"too_long": 1, "refused": 0, "changes": 2}.items() <= store.counters().items()


@pytest.mark.parametrize("text", ["", "x" * alerting.RECORD_BYTES_MAX], ids=["full", "too long"])
def test_an_intent_that_cannot_be_kept_fails_its_commit_whole(
    store: AlertStore, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    if not text:
        monkeypatch.setattr(alerting, "RECORDS_MAX", 0)
    with pytest.raises(StorageError, match="runs"):
        store.commit([put("mark", "marks"), put("run", "runs", text=text)])
    assert (store.load("runs"), store.load("marks")) == ({}, {})
    assert store.counters()["refused"] == 1


# ---- threads


def test_commits_of_many_threads_share_transactions_and_each_is_there_when_it_returns(store: AlertStore) -> None:
    missing: list[str] = []

    def work(number: int) -> None:
        for place in range(20):
            key = f"{number}-{place}"
            store.commit([put(key, n=place), put(key, "marks")])
            with store.environment.read() as transaction:
                if transaction.get(key.encode(), db=store.environment.database(b"instances")) is None:
                    missing.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counters = store.counters()
    assert missing == []
    assert (counters["commits"], counters["changes"], len(store.load("marks"))) == (320, 640, 320)
    assert counters["transactions"] < 320


@contextmanager
def held_up(store: AlertStore) -> Iterator[Callable[[Callable[[], None]], None]]:
    """While the disk is slow: the first commit waits for it, and each that is begun by the function given queues."""
    threads = [threading.Thread(target=store.commit, args=([put("first", "marks")],))]
    waiting: list[int] = []

    def begin(commit: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=commit))
        threads[-1].start()
        waiting.append(1)
        wait_for(lambda: len(store._queue) == len(waiting))

    with store.environment._writing:
        threads[0].start()
        wait_for(lambda: store._is_led and not store._queue)
        yield begin
    for thread in threads:
        thread.join(30)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_commits_that_waited_are_written_in_one_transaction_in_the_order_they_came(store: AlertStore) -> None:
    with held_up(store) as begin:
        for number in range(20):
            begin(partial(store.commit, [put("last", n=number)]))
    assert store.load("instances") == {"last": {"n": 19}}
    assert store.counters()["transactions"] == 2


def test_one_commit_of_a_shared_transaction_may_fail_alone(store: AlertStore) -> None:
    errors: list[Exception] = []

    def bad() -> None:
        try:
            store.commit([put("run", "runs", text="x" * alerting.RECORD_BYTES_MAX)])
        except StorageError as error:
            errors.append(error)

    with held_up(store) as begin:
        begin(bad)
        begin(partial(store.commit, [put("good")]))
    assert (len(errors), list(store.load("instances")), store.load("runs")) == (1, ["good"], {})


def test_a_transaction_that_is_broken_off_leaves_nobody_waiting(store: AlertStore) -> None:
    """As by Ctrl-C in the thread that writes for the others."""

    def broken(write: object) -> None:
        raise KeyboardInterrupt

    whole = store.environment.commit
    store.environment.commit = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        store.commit([put("mine")])
    store.environment.commit = whole  # type: ignore[method-assign]
    store.commit([put("other")])
    assert list(store.load("instances")) == ["other"]


# ---- disks


def test_a_closed_store_says_so(store: AlertStore) -> None:
    store.environment.close()
    with pytest.raises(EnvironmentClosed):
        store.commit([put("a")])


def test_a_full_disk_is_an_error_for_all_who_shared_it_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        store = opened(disk / "state")
        store.commit([put("before")])
        filler = fill(disk)
        failed: list[str] = []

        def attempt(number: int) -> None:
            try:
                store.commit([put(f"{number}", text="x" * 100_000)])
            except StorageError as error:
                failed.append(str(error))

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(failed) == 4
        assert store.counters()["errors"] == 4
        filler.unlink()
        store.commit([put("after")])
        assert list(store.load("instances")) == ["after", "before"]
        store.environment.close()


def test_the_map_grows_under_a_commit_that_does_not_fit(tmp_path: Path) -> None:
    store = AlertStore(Environment(tmp_path / "state", databases=STATE_DATABASES, map_bytes=1 << 20))
    store.commit([put(f"{number}", text="x" * 50_000) for number in range(100)])
    assert len(store.load("instances")) == 100
    assert store.counters()["changes"] == 100
    store.environment.close()


WRITER = """
import sys
from pathlib import Path
from hms_ops.change import Change
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
store = AlertStore(Environment(Path(sys.argv[1]), databases=32))
number = store.load("marks").get("number", {"n": -1})["n"] + 1
while True:
    store.commit([Change(table, f"{number}", {"n": number}) for table in ("instances", "outbox", "groups")]
                 + [Change("marks", "number", {"n": number})])
    print(number, flush=True)
    number += 1
"""


def test_a_kill_loses_no_commit_and_tears_none(tmp_path: Path) -> None:
    for wanted in (2, 7, 1, 15):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "state")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        last = [int(line) for line in lines if line.endswith("\n")][-1]
        store = opened(tmp_path / "state")
        there = {table: set(store.load(table)) for table in ("instances", "outbox", "groups")}
        number = store.load("marks")["number"]["n"]
        assert number in (last, last + 1)
        assert all(keys == {str(n) for n in range(number + 1)} for keys in there.values())
        store.environment.close()


OPERATIONS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(TABLES), st.sampled_from(["a", "b", "ü", "x" * 200]), st.none() | st.integers(0, 9)),
        max_size=6,
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(OPERATIONS)
def test_any_commits_leave_what_a_dict_would_hold(
    tmp_path_factory: pytest.TempPathFactory, operations: list[list[tuple[str, str, int | None]]]
) -> None:
    path = tmp_path_factory.mktemp("model") / str(random.random())
    store, model = opened(path), {table: {} for table in TABLES}
    for changes in operations:
        store.commit([Change(t, k, None if n is None else {"n": n}) for t, k, n in changes])
        for table, key, n in changes:
            model[table].pop(key, None)
            if n is not None:
                model[table][key] = {"n": n}
    store.environment.close()
    store = opened(path)
    assert {table: store.load(table) for table in TABLES} == model
    store.environment.close()


def test_a_data_directory_holds_tables_and_audit_and_says_what_it_counts(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    storage.alerting.commit([put("a", "outbox", n=1)])
    storage.audit.append(who="cio", what="ack", time_ns=5)
    assert storage.counters()["alerting"]["outbox"] == 1
    assert storage.counters()["audit"]["stored"] == 1
    storage.close()
    assert "alerting" in storage.counters()
    storage = open_storage(tmp_path)
    assert storage.alerting.load("outbox") == {"a": {"n": 1}}
    assert storage.audit.tail(5)[0]["who"] == "cio"
    assert storage.problems() == []
    storage.close()

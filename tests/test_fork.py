"""After a fork the child's store is dead: calls are forwarded or counted as dropped, and the parent notices nothing."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.receiving import Sender, listening
from tests.stores import make_store, row, value_of

from hms_ops import kinds
from hms_ops._ring import InProcess, Store

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def in_child(work: Callable[[], object], deadline_seconds: float = 20.0) -> bool:
    """Run `work` in a forked child; True when it returned, False when it raised. Fails the test when it hangs."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"child: {error!r}\n".encode())
            os._exit(1)
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hung")


@pytest.fixture
def busy_store() -> Iterator[Store]:
    """A store under load from a listener, calls and a tick, so that forks meet its mutex held."""
    store = Store(1000)
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.is_set():
            store.seal(store.now_ns() // 1_000_000_000 - 1)
            store.ingest(b"wire:1|c\n" * 500)

    def send() -> None:
        while not is_over.is_set():
            sender.send(b"load:1|c\n" * 150)

    with listening(store) as [listener]:
        sender = Sender(listener)
        threads = [threading.Thread(target=target) for target in (tick, send)]
        for thread in threads:
            thread.start()
        try:
            yield store
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
            sender.close()


def test_no_child_of_150_hangs_under_load(busy_store: Store) -> None:
    series = busy_store.handle("shared", kinds.COUNTER)
    metric = InProcess(busy_store)
    metric.metric("named", 1.0)

    def work() -> None:
        series.add(1.0)
        series.add_many(np.ones(10))
        metric.metric("named", 1.0)
        metric.metric("new", 1.0, tags={"a": "b"})
        busy_store.ingest(b"x:1|c")
        busy_store.ledger_rows()
        assert busy_store.counters()["dropped_after_fork"] == 14
        assert busy_store.dead

    for _ in range(150):
        assert in_child(work)
    series.add(1.0)
    busy_store.flush()
    assert busy_store.counters()["dropped_after_fork"] == 0
    assert row(busy_store)["bad"] == {}


def test_the_parents_store_does_not_change_by_what_a_child_does() -> None:
    store = make_store()
    series = store.handle("a", kinds.GAUGE)
    series.add(1.0)  # waits in the buffer while the child is born

    def work() -> None:
        for _ in range(5000):
            series.add(2.0)
        store.ingest(b"a:3|g")
        InProcess(store).metric("b", 1.0)
        assert row(store)["samples"] == 0, "what waited belongs to the parent"

    assert in_child(work)
    assert value_of(store, "a") == 1.0
    assert row(store)["samples"] == 1
    assert store.metrics() == ["a"]


def test_a_child_forwards_its_calls_where_it_is_told_to() -> None:
    store = make_store()
    series = store.handle("latency", kinds.TIMER, {"a": "b"})
    metric = InProcess(store)
    metric.metric("known", 1.0)
    read, write = os.pipe()

    def forward(name: str, value: float, kind: str | None, tags: dict[str, str] | None) -> None:
        os.write(write, f"{name} {value:g} {kind} {tags}\n".encode())

    store.set_forward(forward)

    def work() -> None:
        series.add(1.5)
        series.add_many([2.0, 3.0])
        metric.metric("known", 4.0)
        metric.metric("fresh", 5.0, kind="counter", tags={"t": "u"})
        assert store.counters()["dropped_after_fork"] == 0

    assert in_child(work)
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.read().splitlines() == [
            "latency 1.5 timer {'a': 'b'}",
            "latency 2 timer {'a': 'b'}",
            "latency 3 timer {'a': 'b'}",
            "known 4 None None",
            "fresh 5 counter {'t': 'u'}",
        ]


def test_a_childs_exit_leaves_the_parents_socket_open(wait_until: Callable[..., None]) -> None:
    store = make_store()
    with listening(store) as [listener]:
        sender = Sender(listener)
        assert in_child(listener.abandon)
        assert in_child(lambda: None)
        sender.send(b"after:1|g")
        wait_until(lambda: value_of(store, "after") == 1.0)
        assert isinstance(listener.sock, socket.socket)
        sender.close()


def test_a_grandchild_is_as_dead_as_its_parent() -> None:
    store = make_store()

    def child() -> None:
        assert in_child(lambda: _assert_dead(store))
        _assert_dead(store)

    assert in_child(child)
    assert not store.dead


def test_a_store_made_in_a_child_is_alive() -> None:
    make_store()

    def work() -> None:
        store: Any = make_store()
        assert store.ingest(b"a:1|c") == 1
        assert not store.dead

    assert in_child(work)


def _assert_dead(store: Store) -> None:
    assert store.dead
    assert store.ingest(b"a:1|c") == 0

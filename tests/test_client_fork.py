"""After a fork both processes emit, nothing is sent twice, and no lock stays locked."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from tests.client_listener import Listener

from hms_ops.client import Client

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

CHILD_SECONDS = 20


@pytest.fixture
def listener():
    with Listener() as opened:
        yield opened


@pytest.fixture
def client(listener):
    with Client(listener.url, flush_interval_seconds=0.02) as opened:
        yield opened


def _in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child: 0 if its result is true. A child that hangs is ended by SIGALRM."""
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_both_processes_emit_after_a_fork(client, listener):
    client.metric("before", 1)
    listener.receive(1)

    def emit_in_child() -> bool:
        client.metric("child", 1)
        client.flush()
        return client.counters()["sent"] == 1

    assert _in_child(emit_in_child) == 0
    client.metric("parent", 1)
    assert sorted(listener.receive(2)) == ["child:1|g", "parent:1|g"]


def test_the_child_has_a_flusher_of_its_own(client, listener):
    client.metric("before", 1)
    listener.receive(1)
    read, write = os.pipe()

    def emit_until_told() -> bool:
        client.metric("child", 1)  # and no flush: its thread has to do it
        return os.read(read, 1) == b"x"

    waiter = threading.Thread(target=lambda: (listener.receive(1), os.write(write, b"x")))
    waiter.start()
    assert _in_child(emit_until_told) == 0
    waiter.join()
    os.close(read)
    os.close(write)


def test_what_the_parent_buffered_is_sent_once(listener):
    with Client(listener.url, flush_interval_seconds=60) as client:
        for n in range(10):
            client.metric("parent", n)

        def flush_in_child() -> bool:
            client.flush()
            return client.counters() == dict.fromkeys(client.counters(), 0)

        assert _in_child(flush_in_child) == 0
        assert listener.drain() == []
    assert listener.receive(10) == [f"parent:{n}|g" for n in range(10)]


def test_locks_held_by_other_threads_at_the_fork_are_free_in_the_child(client, listener):
    client.metric("before", 1)
    listener.receive(1)

    def emit_and_flush() -> bool:
        for n in range(1_000):
            client.metric("child", n)
        client.flush()
        return client.counters()["sent"] == 1_000

    with client._flusher._sending, client._buffer._sealing, client._flusher._starting:
        assert _in_child(emit_and_flush) == 0


def test_a_fork_while_threads_emit_harms_neither_process(client, listener):
    stop = threading.Event()
    emitted = [0] * 4

    def emit(number: int) -> None:
        while not stop.is_set():
            client.metric("parent", number)
            emitted[number] += 1

    threads = [threading.Thread(target=emit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    def emit_in_child() -> bool:
        for _ in range(100):
            client.metric("child", 1)
        client.flush()
        counters = client.counters()
        return counters["sent"] + counters["dropped"] == 100

    codes = [_in_child(emit_in_child) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()
    client.flush()
    counters = client.counters()
    assert codes == [0] * 10
    assert counters["sent"] + counters["dropped"] == sum(emitted)


def test_a_grandchild_emits_too(client, listener):
    client.metric("before", 1)
    listener.receive(1)

    def emit_in_grandchild() -> bool:
        client.metric("grandchild", 1)
        client.flush()
        return True

    def fork_again() -> bool:
        client.metric("child", 1)
        code = _in_child(emit_in_grandchild)
        client.flush()
        return code == 0

    assert _in_child(fork_again) == 0
    assert sorted(listener.receive(2)) == ["child:1|g", "grandchild:1|g"]


def test_a_client_closed_before_the_fork_stays_closed(listener):
    client = Client(listener.url)
    client.close()

    def emit_in_child() -> bool:
        client.metric("child", 1)
        return client.counters()["dropped_closed"] == 1

    assert _in_child(emit_in_child) == 0


def _work(client: Client, number: int) -> None:
    client.metric("worker", number)  # and no flush: multiprocessing skips atexit


def test_workers_of_multiprocessing_send_what_they_buffered(listener):
    with Client(listener.url, flush_interval_seconds=60) as client:
        client.metric("parent", 1)
        client.flush()
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=_work, args=(client, number)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(CHILD_SECONDS)
        assert [worker.exitcode for worker in workers] == [0] * 4
        assert sorted(listener.receive(5)) == ["parent:1|g", *(f"worker:{number}|g" for number in range(4))]


def test_a_child_that_exits_normally_sends_what_it_buffered(listener):
    code = f"""
import os
from hms_ops.client import Client
client = Client({listener.url!r}, flush_interval_seconds=60)
client.metric("parent", 1)
if os.fork():
    os.wait()
else:
    client.metric("child", 1)
"""
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(listener.receive(2)) == ["child:1|g", "parent:1|g"]

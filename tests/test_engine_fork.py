"""After a fork the child's engine is a client: what it emits reaches its parent or is counted, nothing else happens."""

import gc
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engines import engine_threads, feed, manual

from hms_ops import Engine
from hms_ops.errors import ForkedError, StartError

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

WaitUntil = Callable[..., None]
CHILD_SECONDS = 20


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child; a child that hangs is ended by SIGALRM."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        result: Any = "died"
        try:
            result = work()
        except BaseException as error:
            result = f"raised {error!r}"
        finally:
            os.write(write, pickle.dumps(result))
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        data = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return pickle.loads(data)


def emit_everything(engine: Engine, held: Any) -> dict[str, int]:
    """Seven samples from a child, by every call that emits; its counters afterwards."""
    engine.metric("from.child", 1.0, kind="counter")
    engine.metric("from.child", 1.0, kind="counter", tags={"zone": "east"})
    held.add(1.0)
    held.add_many([1.0, 1.0])
    engine.series("from.child", kind="counter").add(1.0)
    engine.series("fresh.in.child", kind="counter", tags={"zone": "west"}).add(1.0)
    engine.stop()  # sends what waits
    return engine.counters()["forked"]


def test_what_a_child_emits_arrives_at_its_parents_listener(wait_until: WaitUntil) -> None:
    with Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=None) as engine:
        held = engine.series("from.child", kind="counter")
        held.add(1.0)
        counters = in_child(lambda: emit_everything(engine, held))
        assert counters["sent"] == 7
        assert counters["dropped"] == 0
        wait_until(lambda: engine.value("sum(from.child)") == 7.0)
        wait_until(lambda: engine.value("sum(fresh.in.child)") == 1.0)
        assert engine.health() == []
        assert engine.ledger()["samples"] == 8


def test_a_unix_listener_serves_children_as_well(tmp_path: Path, wait_until: WaitUntil) -> None:
    with Engine(udp=None, data_dir=None, config={"unix": str(tmp_path / "in.sock")}) as engine:
        held = engine.series("from.child", kind="counter")
        assert in_child(lambda: emit_everything(engine, held))["sent"] == 7
        wait_until(lambda: engine.value("sum(from.child)") == 6.0)
    assert not (tmp_path / "in.sock").exists()


def test_without_a_listener_what_a_child_emits_is_counted_as_dropped() -> None:
    with manual() as engine:
        held = engine.series("from.child", kind="counter")
        assert in_child(lambda: emit_everything(engine, held)) == {"dropped": 7}
        feed(engine, "a", 1.0, 1)
        assert engine.ledger()["samples"] == 1


def test_an_engine_that_was_not_started_drops_and_cannot_be_started_in_a_child() -> None:
    engine = manual()

    def use() -> tuple[str, int]:
        engine.metric("a", 1.0)
        try:
            engine.start()
        except StartError as error:
            return str(error), engine.counters()["forked"]["dropped"]
        return "started", 0

    told, dropped = in_child(use)
    assert "made before a fork" in told
    assert dropped == 1
    with engine:
        engine.advance(1)


def test_questions_and_rules_are_refused_in_a_child() -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        calls: dict[str, Callable[[], object]] = {
            "mean": lambda: engine.mean("a", "1m"),
            "value": lambda: engine.value("avg(a)"),
            "query": lambda: engine.query("avg(a)"),
            "recent": lambda: engine.recent("a"),
            "history": lambda: engine.history("a", 0, 10),
            "delete": lambda: engine.delete("a"),
            "export": lambda: engine.export(),
            "import_rows": lambda: engine.import_rows([]),
            "backup": lambda: engine.backup("/nowhere"),
            "alert": lambda: engine.alert("a.high", if_="avg(a) > 1"),
            "alert_now": lambda: engine.alert_now("a.strange", 1.0),
            "alerts": engine.alerts,
            "ledger": engine.ledger,
            "reload": engine.reload,
            "on_metric": lambda: engine.on_metric("a"),
            "on_alert": lambda: engine.on_alert("a"),
            "watch": lambda: engine.watch(print),
        }

        def ask(call: Callable[[], object]) -> str:
            try:
                call()
            except ForkedError as error:
                return str(error)
            return "answered"

        told = in_child(lambda: {name: ask(call) for name, call in calls.items()})
        assert {name for name, text in told.items() if "ask the engine over HTTP" not in text} == set()


def test_what_a_client_cannot_carry_is_counted_and_never_raised() -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:

        def use() -> int:
            engine.describe("a", unit="ms")
            return int(engine.counters()["forked"]["dropped"])

        assert in_child(use) == 1


@pytest.mark.parametrize("is_unix", [False, True])
def test_a_datagram_goes_to_the_parents_listener_as_it_is(tmp_path: Path, wait_until: WaitUntil, is_unix: bool) -> None:
    config = {"unix": str(tmp_path / "in.sock")} if is_unix else {}
    with Engine(udp=None if is_unix else "127.0.0.1:0", data_dir=None, config=config) as engine:

        def use() -> list[int]:
            engine.ingest(b"a:1|c\na:2|c")
            engine.ingest(bytearray(b'{"name":"b","value":5,"kind":"counter"}'))
            engine.ingest(memoryview(b"rubbish"))
            engine.ingest(b"a" * 70_000_000)  # no datagram is as long
            with pytest.raises(TypeError):
                engine.ingest("a:1|c")
            own = engine.counters()["forked"]
            return [own["raw"], own["dropped"], in_child(use_again)]

        def use_again() -> int:
            engine.ingest(b"a:4|c")
            return int(engine.counters()["forked"]["raw"])

        assert in_child(use) == [3, 1, 1]
        wait_until(lambda: engine.value("sum(a)") == 7.0)
        wait_until(lambda: engine.value("sum(b)") == 5.0)
        assert engine.ledger()["received"] == 4


def test_a_datagram_without_a_listener_or_after_its_end_is_counted_as_dropped() -> None:
    with manual() as engine:

        def use() -> int:
            engine.ingest(b"a:1|c")
            return int(engine.counters()["forked"]["dropped"])

        assert in_child(use) == 1
        assert engine.ledger()["received"] == 0


def test_the_child_touches_neither_sockets_nor_store_of_its_parent(tmp_path: Path, wait_until: WaitUntil) -> None:
    with Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=tmp_path) as engine:
        engine.metric("a", 1.0)

        def leave() -> tuple[list[str], object, object]:
            for _ in range(100):
                engine.metric("a", 2.0)
            engine.stop()
            engine.__exit__(None, None, None)
            gc.collect()
            return engine_threads(), engine.udp_address, engine.http_address

        assert in_child(leave) == (["hms-ops-client"], None, None)
        assert engine.http_address is not None
        with socket.create_connection(engine.http_address, timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        wait_until(lambda: engine.ledger()["samples"] == 101)
        before = engine.counters()["tick"]["count"]
        wait_until(lambda: engine.counters()["tick"]["count"] > before)


def test_a_child_does_not_keep_the_port_or_the_directory_of_a_parent_that_stopped(tmp_path: Path) -> None:
    engine = Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=tmp_path).start()
    assert engine.udp_address is not None
    assert engine.http_address is not None
    udp, http = engine.udp_address[1], engine.http_address[1]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        os.read(read, 1)
        os._exit(0)
    try:
        engine.stop()
        with Engine(udp=f"127.0.0.1:{udp}", http=f"127.0.0.1:{http}", data_dir=tmp_path):
            pass
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def test_a_child_can_have_an_engine_of_its_own() -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as parent:

        def own() -> list[float]:
            with manual() as engine:
                engine.alert("high", if_="last(a) > 1")
                feed(engine, "a", 5.0, 2)
                parent.metric("a", 100.0)
                return [engine.mean("a", "10s"), float(len(engine.alerts()))]

        assert in_child(own) == [5.0, 1.0]


def test_no_child_of_many_hangs_whatever_its_parent_does(wait_until: WaitUntil) -> None:
    stop = threading.Event()
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        held = engine.series("busy", kind="counter")
        assert engine.udp_address is not None
        address = engine.udp_address

        def keep_busy() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                while not stop.is_set():
                    sender.sendto(b"\n".join(b"busy%d:1|c" % number for number in range(30)), address)
                    held.add_many([1.0] * 100)
                    engine.value("sum(busy)")

        busy = threading.Thread(target=keep_busy, name="busy")
        busy.start()
        try:
            for _ in range(30):

                def emit() -> int:
                    engine.metric("from.child", 1.0, kind="counter")
                    engine.series("fresh.in.child", kind="counter").add(1.0)
                    engine.stop()
                    return int(engine.counters()["forked"]["sent"])

                assert in_child(emit) == 2
        finally:
            stop.set()
            busy.join()
        wait_until(lambda: engine.value("sum(from.child)") == 30.0)
        wait_until(lambda: engine.value("sum(fresh.in.child)") == 30.0)


def work_in_a_process(engine: Engine) -> None:
    for _ in range(10):
        engine.metric("from.process", 1.0, kind="counter")


def test_processes_of_multiprocessing_are_clients_too(wait_until: WaitUntil) -> None:
    context = multiprocessing.get_context("fork")
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        processes = [context.Process(target=work_in_a_process, args=(engine,)) for _ in range(3)]
        begun = time.monotonic()
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert time.monotonic() - begun < 10
        wait_until(lambda: engine.value("sum(from.process)") == 30.0)


def test_a_grandchild_is_a_client_as_well(wait_until: WaitUntil) -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        held = engine.series("from.child", kind="counter")
        counters = in_child(lambda: in_child(lambda: emit_everything(engine, held)))
        assert counters["sent"] == 7
        wait_until(lambda: engine.value("sum(from.child)") == 6.0)

"""The workers of the HTTP server: in order, bounded, and nothing done for whoever does not wait any more."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from tests.serving import Serving, server_of, serving, starter

from hms_ops.http import promwork
from hms_ops.http.answer import Problem
from hms_ops.http.worker import Worker
from hms_ops.prometheus.query import budget, reader

WaitUntil = Callable[..., None]


@pytest.fixture
def worker() -> Iterator[Worker]:
    threads: list[threading.Thread] = []
    made = Worker("test-worker", 2)
    made.start(starter(threads))
    yield made
    assert made.stop(5)


class Client:
    """A request whose client leaves when it is told to."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.request = Request({"type": "http", "headers": []}, self._receive)
        self._is_begun = False

    async def _receive(self) -> Any:
        if not self._is_begun:
            self._is_begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def held(worker: Worker) -> tuple[threading.Event, "asyncio.Task[bool]"]:
    """A call that runs until the event is set."""
    begun, released = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return released.wait(10)

    task = asyncio.create_task(worker.run(hold))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    return released, task


def test_what_waits_for_a_client_that_has_left_is_not_begun_and_makes_room(worker: Worker) -> None:
    async def story() -> None:
        released, first = await held(worker)
        client, calls = Client(), list[int]()
        waiting = [asyncio.create_task(worker.run(lambda: calls.append(1), client.request)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="2 requests wait already"):
            await worker.run(lambda: calls.append(2))
        client.leaves.set()
        for found in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(found, ClientDisconnect)
        later = asyncio.create_task(worker.run(lambda: calls.append(3)))
        await asyncio.sleep(0)
        released.set()
        await asyncio.gather(first, later)
        assert calls == [3]

    asyncio.run(story())


def test_what_is_cancelled_is_not_begun_and_makes_room(worker: Worker) -> None:
    async def story() -> None:
        released, first = await held(worker)
        calls: list[int] = []
        waiting = [asyncio.create_task(worker.run(lambda: calls.append(1))) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        later = asyncio.create_task(worker.run(lambda: calls.append(3)))
        await asyncio.sleep(0)
        released.set()
        await asyncio.gather(first, later)
        assert calls == [3]

    asyncio.run(story())


def test_what_runs_for_a_client_that_has_left_ends_without_a_word(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        client, released = Client(), threading.Event()

        def fail() -> None:
            released.wait(10)
            raise RuntimeError("nobody wants to know")

        task = asyncio.create_task(worker.run(fail, client.request))
        await asyncio.sleep(0.01)
        client.leaves.set()
        with pytest.raises(ClientDisconnect):
            await task
        released.set()
        assert await worker.run(lambda: 5) == 5

    asyncio.run(story())
    assert caplog.records == []


def test_at_the_end_what_waits_is_refused_and_what_runs_is_answered(worker: Worker) -> None:
    async def story() -> None:
        released, first = await held(worker)
        waiting = asyncio.create_task(worker.run(lambda: 1))
        await asyncio.sleep(0)
        worker.refuse()
        for refused in (waiting, worker.run(lambda: 2)):
            with pytest.raises(Problem, match="the engine stops"):
                await refused
        released.set()
        assert await first

    asyncio.run(story())


# ---- queries


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving() as made:
        made.engine.metric("depth", 1.0, kind="gauge")
        made.engine.advance(12)
        yield made


class Held:
    """PromQL queries that read nothing until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.released = 0, threading.Event()
        read = reader.Reader.read

        def held(of: reader.Reader, *given: Any, **more: Any) -> Any:
            self.begun += 1
            self.released.wait(10)
            return read(of, *given, **more)

        monkeypatch.setattr(reader.Reader, "read", held)


def leave_a_query(site: Serving) -> socket.socket:
    connection = socket.create_connection(site.address, timeout=10)
    connection.sendall(b"GET /api/v1/query?query=depth HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


def test_queries_of_clients_that_have_left_are_not_begun(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    queries, worker = Held(monkeypatch), site.server.site.promql
    first = leave_a_query(site)
    wait_until(lambda: queries.begun == 1)
    others = [leave_a_query(site) for _ in range(3)]
    wait_until(lambda: len(worker._waiting) == 3)
    for other in others:
        other.close()
    wait_until(lambda: len(worker._waiting) == 0)
    queries.released.set()
    assert b"200 OK" in first.recv(1000)
    assert queries.begun == 1
    first.close()


def test_a_query_that_runs_ends_when_its_client_leaves(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    ended: list[str] = []
    queried = promwork.queried

    def watched(*given: Any) -> Any:
        try:
            return queried(*given)
        except Exception as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(promwork, "queried", watched)
    queries = Held(monkeypatch)
    client = leave_a_query(site)
    wait_until(lambda: queries.begun == 1)
    client.close()
    wait_until(lambda: site.refused("client-left") == 1)
    queries.released.set()
    wait_until(lambda: ended == ["nobody waits for the answer any more"])


def test_the_time_of_a_query_begins_when_it_is_asked(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    queries = Held(monkeypatch)
    first = leave_a_query(site)
    wait_until(lambda: queries.begun == 1)
    answers: list[httpx.Response] = []
    given = {"query": "depth", "timeout": "0.05"}
    second = threading.Thread(target=lambda: answers.append(site.get("/api/v1/query", params=given)))
    second.start()
    wait_until(lambda: len(site.server.site.promql._waiting) == 1)
    time.sleep(0.06)
    queries.released.set()
    second.join(10)
    assert answers[0].json()["error"] == "the query took longer than 0.05 s"
    assert queries.begun == 1
    first.close()


def test_at_a_stop_waiting_queries_are_told_and_the_running_one_ends(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    queries, answers = Held(monkeypatch), list[httpx.Response]()
    with server_of(site.engine) as (server, url):

        def ask() -> None:
            answers.append(httpx.get(f"{url}/api/v1/query?query=depth", trust_env=False, timeout=10))

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        wait_until(lambda: queries.begun == 1 and len(server.site.promql._waiting) == 3)
        stopping = threading.Thread(target=server.stop, args=(4.0,))
        stopping.start()
        wait_until(lambda: len(answers) == 3)
        queries.released.set()
        for thread in (*asking, stopping):
            thread.join(10)
    assert [answer.status_code for answer in answers] == [503] * 4
    assert [answer.json()["error"].startswith("the engine stops") for answer in answers] == [True] * 4
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert site.refused("promql-unavailable") == 0, "the other server's own"


def test_a_budget_asks_whether_somebody_waits() -> None:
    patience = budget.Patience()
    one = budget.Budget(30, patience)
    patience.is_over = True
    with pytest.raises(ValueError, match="nobody waits"):
        one.check_time()

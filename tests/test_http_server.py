"""The server's life and bounds: ports, threads, deadlines, clients that are slow, broken, or too many."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.serving import Serving, exchange, server_of, serving, starter

from hms_ops.errors import StartError
from hms_ops.http import connection as bounds
from hms_ops.http.answer import Problem
from hms_ops.http.guard import HEAD_BYTES_MAX
from hms_ops.http.server import Server

GET = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_BODY = b"POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na:1"
STOPPED_SECONDS = 5.0  # of a stop of 1 s on a busy machine; who waits for a client waits for 10 s and more


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def address_of(url: str) -> tuple[str, int]:
    found = httpx.URL(url)
    assert found.port is not None
    return found.host, found.port


def closed_by_server(connection: socket.socket) -> bool:
    """Whether the server ends the connection within the socket's timeout; what it sends before is dropped."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def ask_for_much(site: Serving, monkeypatch: pytest.MonkeyPatch, url: str, client: socket.socket) -> None:
    """Have an answer under way that no kernel buffers whole, and read nothing of it."""
    monkeypatch.setattr(site.engine, "ledger", lambda: {"much": "x" * 20_000_000})
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(address_of(url))
    client.sendall(GET.replace(b"/readyz", b"/v1/ledger"))
    assert client.recv(10) == b"HTTP/1.1 2"


def test_port_0_is_a_free_port_known_at_once(site: Serving) -> None:
    with server_of(site.engine) as (_, first), server_of(site.engine) as (_, second):
        assert first != second
        assert httpx.get(f"{first}/readyz", trust_env=False).status_code == 200


def test_a_port_in_use_is_an_error_before_any_thread(site: Serving) -> None:
    threads: list[threading.Thread] = []
    with pytest.raises(StartError, match=r"http 127.0.0.1:\d+: Address already in use; another program listens"):
        Server(site.engine, *site.address).start(starter(threads))
    assert threads == []


@pytest.mark.parametrize(
    ("host", "said"),
    [("192.0.2.1", "no address of this host"), ("no-such-host.invalid", "name an address of this host")],
)
def test_an_address_this_host_has_not_is_an_error_with_a_remedy(site: Serving, host: str, said: str) -> None:
    with pytest.raises(StartError, match=said):
        Server(site.engine, host, 0, ("a-token",)).start(starter([]))


def test_a_port_is_free_again_after_a_stop(site: Serving) -> None:
    with server_of(site.engine) as (_, url):
        httpx.get(f"{url}/readyz", trust_env=False)
    server = Server(site.engine, *address_of(url))
    threads: list[threading.Thread] = []
    assert server.start(starter(threads)) == address_of(url)
    server.stop(4.0)
    assert {thread.name for thread in threads} == {
        "hms-http",
        "hms-http-promql",
        "hms-http-public",
        "hms-http-reads",
        "hms-http-writes",
        "hms-http-operations",
        "hms-stream",
    }
    assert not any(thread.is_alive() for thread in threads)


def test_a_server_stops_at_once_before_and_after_it_served(site: Serving) -> None:
    for _ in range(3):
        begun = time.monotonic()
        with server_of(site.engine):
            pass
        assert time.monotonic() - begun < STOPPED_SECONDS
    Server(site.engine, "127.0.0.1", 0).stop(1.0)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        HALF_A_BODY,
        GET,
        GET * 100,
    ],
    ids=["silent", "half a head", "half a body", "kept alive", "pipelined"],
)
def test_a_client_that_hangs_does_not_hold_the_stop(site: Serving, sent: bytes) -> None:
    with server_of(site.engine) as (server, url), socket.create_connection(address_of(url), timeout=10) as client:
        client.sendall(sent)
        httpx.get(f"{url}/readyz", trust_env=False)
        begun = time.monotonic()
        server.stop(1.0)
        assert time.monotonic() - begun < STOPPED_SECONDS
        assert closed_by_server(client)


def test_a_client_that_never_reads_does_not_hold_the_stop(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with server_of(site.engine) as (server, url), socket.socket() as client:
        ask_for_much(site, monkeypatch, url, client)
        begun = time.monotonic()
        server.stop(1.0)
        assert time.monotonic() - begun < STOPPED_SECONDS


def test_a_call_that_hangs_does_not_hold_the_stop(
    site: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release, begun = threading.Event(), threading.Event()

    def hang() -> list[object]:
        begun.set()
        release.wait(30)
        return []

    monkeypatch.setattr(site.engine, "rejects", hang)
    threads: list[threading.Thread] = []
    server = Server(site.engine, "127.0.0.1", 0)
    address = server.start(starter(threads))
    with socket.create_connection(address) as client:
        client.sendall(GET.replace(b"/readyz", b"/v1/rejects"))
        assert begun.wait(10)
        start = time.monotonic()
        server.stop(1.0)
        assert time.monotonic() - start < STOPPED_SECONDS
    assert "did not end within" in caplog.text
    release.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_an_answer_under_way_is_finished_before_the_stop(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    release, begun = threading.Event(), threading.Event()

    def slow() -> list[object]:
        begun.set()
        release.wait(30)
        return []

    monkeypatch.setattr(site.engine, "rejects", slow)
    with server_of(site.engine) as (server, url), socket.create_connection(address_of(url), timeout=10) as client:
        client.sendall(GET.replace(b"/readyz", b"/v1/rejects"))
        assert begun.wait(10)
        stopping = threading.Thread(target=server.stop, args=(8.0,))
        stopping.start()
        release.set()
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        stopping.join(8)
        assert not stopping.is_alive()


@pytest.mark.parametrize(
    ("constant", "sent", "reason"),
    [
        ("HEAD_SECONDS", b"", "head-timeout"),
        ("HEAD_SECONDS", b"GET / HTTP/1.1\r\nHost: local", "head-timeout"),
        ("HEAD_SECONDS", b"\r\n\r\n", "head-timeout"),
        (
            "BODY_SECONDS",
            b"POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na:1",
            "body-timeout",
        ),
    ],
    ids=["silent", "half a head", "empty lines", "half a body"],
)
def test_a_slow_client_is_cut_and_counted(
    site: Serving,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
    constant: str,
    sent: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr(bounds, constant, 0.1)
    with server_of(site.engine) as (server, url), socket.create_connection(address_of(url), timeout=10) as client:
        client.sendall(sent)
        assert closed_by_server(client)
        wait_until(lambda: server.tally[reason] == 1)


def test_a_head_that_comes_a_byte_at_a_time_gets_no_more_time(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.3)
    with server_of(site.engine) as (server, url), socket.create_connection(address_of(url), timeout=0.02) as client:
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            try:
                client.sendall(b"\r\n" if time.monotonic() - begun < 0.1 else b"x")
                if not client.recv(1):
                    break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        assert time.monotonic() - begun < 5
        assert server.tally["head-timeout"] + server.tally["malformed"] == 1


def test_a_client_that_does_not_read_its_answer_is_cut(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(bounds, "STALL_SECONDS", 0.2)
    with server_of(site.engine) as (server, url), socket.socket() as client:
        ask_for_much(site, monkeypatch, url, client)
        wait_until(lambda: server.tally["stalled"] == 1)
        assert closed_by_server(client)


def test_a_kept_connection_is_not_cut_while_it_is_used(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.4)  # within which a busy machine's client has sent its head
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.4)
    release = threading.Event()
    monkeypatch.setattr(site.engine, "rejects", lambda: [release.wait(0.6)][:0])
    with server_of(site.engine) as (server, url), httpx.Client(trust_env=False) as client:
        for _ in range(2):
            assert client.get(f"{url}/v1/rejects").status_code == 200
        assert server.tally["head-timeout"] + server.tally["body-timeout"] == 0


def test_a_head_without_end_is_refused_in_bounded_memory(site: Serving) -> None:
    before = site.refused("head-too-large")
    with socket.create_connection(site.address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: ")
        received = b""
        try:
            for _ in range(10_000):
                client.sendall(b"x" * HEAD_BYTES_MAX)
        except (ConnectionResetError, BrokenPipeError):
            pass
        else:
            pytest.fail("160 MiB of head were taken")
        try:
            received = client.recv(100)
        except ConnectionResetError:
            received = b"HTTP/1.1 431 "  # the reset overtook the answer
    assert received.startswith(b"HTTP/1.1 431 ")
    assert site.refused("head-too-large") == before + 1


@pytest.mark.parametrize("cut", [1, 7, len(GET), 1000, 100_000])
def test_pipelined_requests_are_all_answered_wherever_they_are_cut(site: Serving, cut: int) -> None:
    sent = GET * 100
    with socket.create_connection(site.address, timeout=10) as client:
        for start in range(0, len(sent), cut):
            client.sendall(sent[start : start + cut])
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 100:
            chunk = client.recv(65_536)
            assert chunk
            answers += chunk


def test_a_flood_of_pipelined_requests_is_cut_before_it_holds_the_loop(
    site: Serving, wait_until: Callable[..., None]
) -> None:
    before = site.refused("pipelined")
    with socket.create_connection(site.address, timeout=10) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(GET * 50_000)
        assert closed_by_server(client)
    wait_until(lambda: site.refused("pipelined") == before + 1)


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_url_that_is_too_long_is_refused_with_a_problem(site: Serving, pieces: int) -> None:
    before = site.refused("url-too-long")
    sent = b"GET /v1/series?prefix=" + b"x" * (2 * HEAD_BYTES_MAX) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    size = -(-len(sent) // pieces)
    with socket.create_connection(site.address, timeout=10) as client:
        for start in range(0, len(sent), size):
            try:
                client.sendall(sent[start : start + size])
            except (ConnectionResetError, BrokenPipeError):
                break
            time.sleep(0.002 if pieces > 1 else 0)
        if pieces == 1:
            head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 414 ")
            assert b"content-type: application/problem+json" in head
            assert json.loads(body)["type"] == "urn:hms-ops:problem:url-too-long"
    assert site.refused("url-too-long") + site.refused("head-too-large") >= before + 1


def test_what_is_no_http_is_answered_with_a_problem_and_counted(site: Serving) -> None:
    before = site.refused("malformed")
    assert_problem(exchange(site.address, b"\x00\x01\r\n\r\n"), 400, "malformed")
    assert site.refused("malformed") == before + 1


@pytest.mark.parametrize("problem", [bounds.FULL, bounds.HEAD_TOO_LARGE, bounds.URL_TOO_LONG, bounds.PIPELINED])
def test_what_never_reaches_a_route_is_told_as_every_refusal_is(problem: Problem) -> None:
    assert_problem(bounds.raw_answer(problem), problem.status, problem.kind)


def assert_problem(answer: bytes, status: int, kind: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert lines[b"content-type"] == b"application/problem+json"
    assert (lines[b"cache-control"], lines[b"connection"]) == (b"no-store", b"close")
    assert int(lines[b"content-length"]) == len(body)
    document = json.loads(body)
    assert (document["type"], document["status"]) == (f"urn:hms-ops:problem:{kind}", status)


def test_a_large_head_in_one_piece_is_refused_with_a_problem(site: Serving) -> None:
    answer = site.get("/readyz", headers={"X-Large": "x" * HEAD_BYTES_MAX})
    assert (answer.status_code, answer.json()["type"]) == (431, "urn:hms-ops:problem:head-too-large")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"x" * 100_000,
    ],
    ids=lambda sent: repr(sent[:20]),
)
def test_what_is_no_http_is_answered_and_closed(site: Serving, sent: bytes) -> None:
    answer = exchange(site.address, sent)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 404")
    assert site.get("/readyz").status_code == 200


def test_connections_beyond_the_bound_are_told_to_come_again(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(bounds, "CONNECTIONS_MAX", 2)
    with server_of(site.engine) as (server, url):
        held = [socket.create_connection(address_of(url), timeout=10) for _ in range(2)]
        for client in held:  # at work
            client.sendall(b"GET /v1/stream?metric=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert exchange(address_of(url), b"").startswith(b"HTTP/1.1 503 ")
        assert server.tally["connections"] == 1
        held.pop().close()
        wait_until(lambda: exchange(address_of(url), GET).startswith(b"HTTP/1.1 200 "))
        held.pop().close()


def is_served(client: socket.socket) -> bool:
    """Ask on an open connection, and read the answer to its end."""
    client.sendall(GET)
    answer = b""
    while not answer.endswith(b"}"):
        answer += client.recv(65_536)
    return answer.startswith(b"HTTP/1.1 200 ")


def test_who_asks_for_nothing_the_longest_makes_room_for_a_probe(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(bounds, "CONNECTIONS_MAX", 3)
    with server_of(site.engine) as (server, url):
        known, *strangers = (socket.create_connection(address_of(url), timeout=10) for _ in range(3))
        assert is_served(known)
        strangers[1].sendall(b"GET / HTTP/1.1\r\n")  # half a head
        wait_until(lambda: len(server._connections()) == 3)
        assert exchange(address_of(url), GET).startswith(b"HTTP/1.1 200 ")
        assert server.tally["made-room"] == 1
        with contextlib.suppress(ConnectionResetError):
            assert strangers[0].recv(1) == b"", "the one that waited longest"
        assert is_served(known)
        for client in (known, *strangers):
            client.close()


def test_websockets_are_not_spoken(site: Serving) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    answer = exchange(site.address, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + upgrade)
    assert not answer.startswith(b"HTTP/1.1 101 ")


def test_small_answers_do_not_wait_for_an_acknowledgement(site: Serving) -> None:
    spent = []
    for _ in range(50):
        begun = time.monotonic()
        site.get("/readyz")
        spent.append(time.monotonic() - begun)
    assert sorted(spent)[25] < 0.035  # with Nagle's algorithm on, 40 ms each


def test_the_host_programs_logging_is_left_alone(site: Serving, caplog: pytest.LogCaptureFixture) -> None:
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "")
    before = [(logging.getLogger(name).handlers, logging.getLogger(name).level) for name in names]
    access = logging.getLogger("uvicorn.access").propagate
    with caplog.at_level(logging.INFO, "uvicorn.access"), server_of(site.engine) as (_, url):
        httpx.get(f"{url}/readyz", trust_env=False)
        exchange(address_of(url), b"\x00\r\n\r\n")
    assert [(logging.getLogger(name).handlers, logging.getLogger(name).level) for name in names] == before
    assert logging.getLogger("uvicorn.access").propagate == access
    assert [record for record in caplog.records if record.name == "uvicorn.access"] == []


def test_a_forked_child_lets_go_of_the_sockets_and_the_parent_serves_on(site: Serving) -> None:
    with server_of(site.engine) as (server, url), httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/readyz").status_code == 200
        ours = {number for number in map(int, os.listdir("/proc/self/fd")) if is_socket_of(number, address_of(url)[1])}
        assert len(ours) >= 2  # the listener and the connection's end
        child = os.fork()
        if child == 0:
            server.abandon()
            os._exit(sum(is_socket_of(number, address_of(url)[1]) for number in ours))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.get(f"{url}/readyz").status_code == 200
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200


def is_socket_of(number: int, port: int) -> bool:
    """Whether a file descriptor is a TCP socket whose own port is this one."""
    try:
        with socket.socket(fileno=os.dup(number)) as found:
            return found.family == socket.AF_INET and bool(found.getsockname()[1] == port)
    except OSError:
        return False

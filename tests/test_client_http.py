"""Alerts and queries against a real HTTP server that answers as told and remembers what it was asked."""

import json
import math
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hms_ops.client import Client, RequestError, Unreachable


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: tuple[int, bytes] = (200, b"{}")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server():
    with Server() as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.fixture
def client(server):
    with Client("udp://127.0.0.1:9", http=server.address) as opened:
        yield opened


def test_an_alert_is_posted_with_the_keys_of_a_rule_file(client, server):
    client.alert(
        "finance.latency_high", if_="avg(finance.api_ms) > 200", for_="3m", notify=["sms:+1-555-0100"], severity="page"
    )
    [(method, path, headers, body)] = server.asked
    assert (method, path, headers["Content-Type"]) == ("POST", "/v1/alerts", "application/json")
    assert json.loads(body) == {
        "alert": "finance.latency_high",
        "if": "avg(finance.api_ms) > 200",
        "for": "3m",
        "notify": ["sms:+1-555-0100"],
        "severity": "page",
    }


def test_every_key_of_a_rule_can_be_said(client, server):
    keys = {"if_": "x > 1", "for_": "1m", "keep": "2m", "recover": "x < 1", "where": "a = 'b'", "group_by": ["a"]}
    client.alert("r", **keys, nodata="alert", severity="info", notify=[])
    assert list(json.loads(server.asked[0][3])) == [
        "alert", "if", "for", "keep", "recover", "where", "group_by", "nodata", "severity", "notify",
    ]  # fmt: skip


def test_an_alert_is_fired_by_name(client, server):
    client.alert_now("finance.anomaly", value=480.0)
    client.alert_now("a/b c?")
    assert [(path, json.loads(body)) for _, path, _, body in server.asked] == [
        ("/v1/alerts/finance.anomaly/fire", {"value": 480.0}),
        ("/v1/alerts/a%2Fb%20c%3F/fire", {}),
    ]


def test_a_query_answers_with_what_the_engine_said(client, server):
    answer = {"expr": "avg(x)", "step": 10, "series": [{"metric": "x", "tags": {}, "points": [[10, None]]}]}
    server.answer = (200, json.dumps(answer).encode())
    assert client.query("avg(x) > 2", start=1.5, end=2, step="10s") == answer
    assert client.query("x") == answer
    assert [path for _, path, *_ in server.asked] == [
        "/v1/query?expr=avg%28x%29+%3E+2&start=1.5&end=2&step=10s",
        "/v1/query?expr=x",
    ]


def test_a_token_is_shown_as_a_bearer(server):
    with Client("udp://127.0.0.1:9", http=server.address + "/", token="secret") as client:
        client.query("x")
    assert server.asked[0][2]["Authorization"] == "Bearer secret"


def test_the_environment_says_whom_to_ask(server, monkeypatch):
    monkeypatch.setenv("HMS_OPS_HTTP", server.address)
    with Client() as client:
        client.query("x")
    assert len(server.asked) == 1


def test_proxies_of_the_environment_are_not_asked(client, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client.query("x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 503])
def test_a_refusal_carries_what_the_engine_said(client, server, status):
    server.answer = (status, "no metric ‘x’\n".encode())
    with pytest.raises(RequestError, match=f"HTTP {status}: no metric ‘x’") as caught:
        client.query("x")
    assert (caught.value.status, caught.value.text) == (status, "no metric ‘x’")


@pytest.mark.parametrize("answer", [b"<html>", b'{"a":', b"\xff"])
def test_an_answer_that_is_no_json_is_an_error(client, server, answer):
    server.answer = (200, answer)
    with pytest.raises(RequestError, match="not JSON"):
        client.query("x")


def test_an_empty_answer_is_none(client, server):
    server.answer = (200, b"")
    assert client.alert_now("x") is None


def test_no_engine_is_unreachable_and_says_where():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client("udp://127.0.0.1:9", http=address) as client, pytest.raises(Unreachable, match=address):
        client.query("x")


@pytest.mark.parametrize(
    "address", ["http://no-such-host.invalid:1", "http://127.0.0.1:99999", "http://", "http://a b"]
)
def test_an_address_that_leads_nowhere_is_unreachable(address):
    with Client("udp://127.0.0.1:9", http=address) as client, pytest.raises(Unreachable):
        client.query("x")


def test_an_engine_that_keeps_silent_is_unreachable_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client("udp://127.0.0.1:9", http=address, http_timeout_seconds=0.1) as client:  # noqa: SIM117
            with pytest.raises(Unreachable, match="timed out"):
                client.query("x")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_json_does_not_have_is_refused_before_it_is_sent(client, server, value):
    with pytest.raises(ValueError, match="JSON"):
        client.alert_now("x", value=value)
    assert server.asked == []

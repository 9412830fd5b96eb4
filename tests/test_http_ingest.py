"""`POST /v1/ingest`: every format, packed and plain; what is too large or damaged; the ledger's difference."""

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import httpx
import msgpack
import pytest
from tests.serving import Serving, exchange, serving

from hms_ops.http import site as site_module
from hms_ops.http.answer import Problem
from hms_ops.http.ingest import BODY_BYTES_MAX, GZIP_MEMBERS_MAX, UNPACKED_BYTES_MAX, is_gzip, unpacked
from hms_ops.http.site import Bodies

DOCUMENT = {"metric": "in.doc", "value": 2, "kind": "counter"}
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def fine(datagrams: int, samples: int) -> dict[str, object]:
    return {
        "received": datagrams,
        "accepted": datagrams,
        "rejected": {},
        "values": samples,
        "samples": samples,
        "bad": {},
    }


@pytest.mark.parametrize(
    ("body", "datagrams", "samples"),
    [
        (b"in.a:1|c", 1, 1),
        (b"in.a:1|c\nin.b:2:3|ms|#zone:east\n", 1, 3),
        (json.dumps(DOCUMENT).encode(), 1, 1),
        (json.dumps([DOCUMENT] * 5).encode(), 1, 5),
        (json.dumps(DOCUMENT, indent=2).encode(), 1, 1),
        (b"\n".join([json.dumps(DOCUMENT).encode()] * 3), 3, 3),
        (b"\r\n".join([json.dumps(DOCUMENT).encode()] * 3) + b"\r\n", 3, 3),
        (msgpack.packb(DOCUMENT), 1, 1),
        (msgpack.packb([DOCUMENT] * 20), 1, 20),
        (b"_e{5,4}:title|text", 1, 0),
    ],
    ids=[
        "statsd",
        "statsd lines",
        "json",
        "json array",
        "indented json",
        "json lines",
        "crlf",
        "map",
        "array",
        "event",
    ],
)
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gzip"])
def test_a_body_of_any_format_enters_the_store(
    site: Serving, body: bytes, datagrams: int, samples: int, is_packed: bool
) -> None:
    before = site.engine.ledger()["inputs"]["http"]
    answer = site.post(
        "/v1/ingest", content=gzip.compress(body) if is_packed else body, headers=GZIP if is_packed else {}
    )
    after = site.engine.ledger()["inputs"]["http"]
    assert answer.status_code == 200
    assert answer.json() == fine(datagrams, samples)
    assert after["received"] - before["received"] == datagrams
    assert after["samples"] - before["samples"] == samples


def test_what_was_sent_can_be_asked_for(site: Serving) -> None:
    site.post("/v1/ingest", content=b"in.sum:1|c\nin.sum:2|c\n")
    site.engine.advance(1)
    assert site.engine.value("sum(in.sum, 10s)") == 3.0


def test_a_bad_line_costs_itself_alone(site: Serving) -> None:
    answer = site.post("/v1/ingest", content=b"in.a:1|c\nno value\nin.a:nan|c\nin.a:2|c\n")
    assert answer.status_code == 200
    assert answer.json() == {**fine(1, 2), "values": 4, "bad": {"syntax": 1, "nan": 1}}


def test_a_bad_json_line_costs_itself_alone(site: Serving) -> None:
    lines = [json.dumps(DOCUMENT).encode(), b'{"metric":', json.dumps(DOCUMENT).encode()]
    answer = site.post("/v1/ingest", content=b"\n".join(lines))
    assert answer.status_code == 200
    assert answer.json() == {**fine(3, 2), "accepted": 2, "rejected": {"json_syntax": 1}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 60_000,
        b"no value",
        b"a:nan|c\nb:0x10|c",
        b'{"metric":"a","value":NaN}',
        b"\xdd\xff\xff\xff\xff\xff",
    ],
    ids=["empty", "brace", "brackets", "line", "bad values", "nan", "4 billion elements"],
)
def test_a_body_of_which_nothing_can_be_read_is_400_with_the_reasons(site: Serving, body: bytes) -> None:
    answer = site.post("/v1/ingest", content=body)
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["type"] == "urn:hms-ops:problem:unreadable"
    assert problem["ledger"]["received"] == 1
    assert problem["ledger"]["samples"] == 0
    reasons = {**problem["ledger"]["rejected"], **problem["ledger"]["bad"]}
    assert all(reason in problem["detail"] for reason in reasons)


def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_not(site: Serving) -> None:
    line = b"in.large:1|c\n"
    body = line * (BODY_BYTES_MAX // len(line))
    body += b"\n" * (BODY_BYTES_MAX - len(body))
    assert site.post("/v1/ingest", content=body).json()["samples"] == BODY_BYTES_MAX // len(line)
    before = site.engine.ledger(), site.refused("body-too-large")
    answer = site.post("/v1/ingest", content=body + b"\n")
    assert (answer.status_code, answer.json()["limit"]) == (413, BODY_BYTES_MAX)
    assert (site.engine.ledger(), site.refused("body-too-large")) == (before[0], before[1] + 1)


def test_a_body_without_a_length_is_bounded_as_it_arrives(site: Serving) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 1):
            yield b"x" * 65_536

    answer = site.post("/v1/ingest", content=chunks())
    assert answer.status_code == 413
    assert site.server.site.bodies.held_bytes == 0


def test_a_length_that_is_announced_too_large_is_refused_before_the_body(site: Serving) -> None:
    head = b"POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n"
    assert exchange(site.address, head).startswith(b"HTTP/1.1 413 ")


def test_a_gzip_bomb_is_refused_in_bounded_memory(site: Serving) -> None:
    bomb = gzip.compress(bytes(UNPACKED_BYTES_MAX + 1))
    assert len(bomb) < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match="1,048,576 bytes"):
            unpacked(bomb, 1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 3 * 1024 * 1024
    finally:
        tracemalloc.stop()
    answer = site.post("/v1/ingest", content=bomb, headers=GZIP)
    assert (answer.status_code, answer.json()["limit"]) == (413, UNPACKED_BYTES_MAX)


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_gzip_of_one_or_more_members_is_unpacked_up_to_the_bound(size: int) -> None:
    content = bytes(range(256)) * 4
    assert unpacked(gzip.compress(content[:size]), 1000) == content[:size]
    assert unpacked(gzip.compress(content[:size]) + gzip.compress(content[size:1000]), 1000) == content[:1000]
    with pytest.raises(Problem, match="larger than 1,000"):
        unpacked(gzip.compress(content[:size]) + gzip.compress(content[size:1001]), 1000)


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"", "cut short"),
        (b"a:1|c", "not gzip"),
        (zlib.compress(b"a:1|c"), "not gzip"),
        (gzip.compress(b"a:1|c")[:-1], "cut short"),
        (gzip.compress(b"a:1|c")[:12], "cut short"),
        (gzip.compress(b"a:1|c")[:-5] + b"\xff" * 5, "not gzip"),
        (gzip.compress(b"a:1|c") + b"trailing", "not gzip"),
        (gzip.compress(b"") * (GZIP_MEMBERS_MAX + 1), "members"),
    ],
    ids=["empty", "plain", "zlib", "cut", "cut head", "checksum", "trailing", "members"],
)
def test_damaged_gzip_is_refused(site: Serving, packed: bytes, said: str) -> None:
    before = site.engine.ledger()
    answer = site.post("/v1/ingest", content=packed, headers=GZIP)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert site.engine.ledger() == before


@pytest.mark.parametrize("encoding", ["", "identity", " Identity ", "gzip", "GZIP", "x-gzip"])
def test_known_encodings_are_told_apart_in_any_case(encoding: str) -> None:
    assert is_gzip(encoding) == ("gzip" in encoding.lower())


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip,identity", "x" * 1000])
def test_unknown_encodings_are_refused(site: Serving, encoding: str) -> None:
    answer = site.post("/v1/ingest", content=b"a:1|c", headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:hms-ops:problem:encoding")


def test_bodies_beyond_the_memory_for_all_of_them_are_told_to_come_again() -> None:
    bodies = Bodies(100)
    bodies.take(60)
    with pytest.raises(Problem) as refused:
        bodies.take(41)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    bodies.take(40)
    bodies.give_back(60)
    bodies.take(60)


def test_calls_beyond_those_that_may_wait_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(site_module, "CALLS_WAITING_MAX", 1)
    with serving() as crowded:
        begun, release = threading.Event(), threading.Event()
        decode = crowded.engine.ingest_body

        def slow(body: bytes) -> dict[str, object]:
            begun.set()
            assert release.wait(10)
            return decode(body)

        monkeypatch.setattr(crowded.engine, "ingest_body", slow)
        answers: list[httpx.Response] = []

        def post() -> None:
            url = str(crowded.client.base_url.join("/v1/ingest"))
            answers.append(httpx.post(url, content=b"a:1|c", trust_env=False))

        threads = [threading.Thread(target=post) for _ in range(3)]
        threads[0].start()
        assert begun.wait(10)
        for thread in threads[1:]:
            thread.start()
        # One is decoded, one waits, one is refused; probes answer meanwhile.
        wait_until(lambda: answers)
        assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "1")
        assert crowded.get("/healthz").status_code == 200
        release.set()
        for thread in threads:
            thread.join(10)
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
        assert crowded.refused("busy") == 1
        assert crowded.server.site.bodies.held_bytes == 0


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(
    site: Serving, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    before = site.engine.ledger()
    with socket.create_connection(site.address) as connection:
        connection.sendall(b"POST /v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\na:1|c")
        wait_until(lambda: site.server.site.bodies.held_bytes == 5)
    wait_until(lambda: site.server.site.bodies.held_bytes == 0)
    assert site.engine.ledger() == before
    assert [record for record in caplog.records if record.name.startswith("hms_ops.http")] == []

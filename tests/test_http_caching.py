"""ETag and 304, gzip, Vary and Cache-Control, HEAD: how answers leave, over real HTTP."""

import asyncio
import gzip
import http.client
import json
import random
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.serving import Serving, server_of, serving

from hms_ops.http.delivery import PACKED_BYTES_MIN, PIECE_BYTES, PRIVATE, Delivery, accepted, is_known

PACKED = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        for n in range(3000):
            made.engine.ingest(b"many.m%d:1|g|#host:h%d" % (n, n % 7))
        made.engine.advance(2)
        yield made


def raw(site: Serving, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer with its body as it is on the wire; names of headers with _ for -."""
    connection = http.client.HTTPConnection(*site.address, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("headers", [PACKED, PLAIN])
@pytest.mark.parametrize("path", ["/v1/series?limit=2000", "/v1/ledger", "/v1/alerts", "/openapi.json"])
def test_what_has_not_changed_is_answered_304(site: Serving, path: str, headers: dict[str, str]) -> None:
    first = site.get(path, headers=headers)
    tag = first.headers["etag"]
    assert (first.status_code, tag.startswith('"')) == (200, True)
    again = site.get(path, headers={**headers, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert again.headers["cache-control"] == first.headers["cache-control"] == PRIVATE
    assert "content-length" not in again.headers
    assert "content-type" not in again.headers


def test_a_tag_is_of_the_content_and_of_its_encoding(site: Serving) -> None:
    packed = site.get("/v1/series", headers=PACKED).headers["etag"]
    plain = site.get("/v1/series", headers=PLAIN).headers["etag"]
    assert packed == plain[:-1] + '-gzip"'
    assert site.get("/v1/series", headers=PLAIN).headers["etag"] == plain
    # Whoever changes the encoding has the content all the same.
    assert site.get("/v1/series", headers={**PLAIN, "If-None-Match": packed}).status_code == 304
    assert site.get("/v1/series", headers={**PACKED, "If-None-Match": plain}).status_code == 304


def test_a_tag_changes_with_the_content() -> None:
    with serving() as site:
        site.engine.ingest(b"a:1|g")
        before = site.get("/v1/series").headers["etag"]
        site.engine.ingest(b"b:1|g")
        after = site.get("/v1/series", headers={"If-None-Match": before})
        assert (after.status_code, after.headers["etag"] != before) == (200, True)


@pytest.mark.parametrize("condition", ["*", 'W/{}, "x"', '"a", {}', "{}"])
def test_every_form_of_the_condition_is_read(site: Serving, condition: str) -> None:
    tag = site.get("/v1/series").headers["etag"]
    assert site.get("/v1/series", headers={"If-None-Match": condition.format(tag)}).status_code == 304


@pytest.mark.parametrize("headers", [PACKED, PLAIN])
@pytest.mark.parametrize("path", ["/", "/readyz", "/hms-status.js", "/status.css", "/docs/style.css"])
def test_a_304_has_the_tag_of_its_200_whoever_tagged_it(site: Serving, path: str, headers: dict[str, str]) -> None:
    first = site.get(path, headers=headers)
    assert (first.status_code, first.headers["etag"][0]) == (200, '"')
    again = site.get(path, headers={**headers, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["etag"]) == (304, first.headers["etag"])
    assert again.headers["vary"].lower().count("accept-encoding") == 1
    assert "content-encoding" not in again.headers
    part = first.headers["etag"].replace('"', "")
    assert site.get(path, headers={**headers, "If-None-Match": f'"zzz{part}zzz"'}).status_code == 200


@pytest.mark.parametrize("condition", ['"none"', "", "series", '"'])
def test_another_condition_is_answered_in_full(site: Serving, condition: str) -> None:
    assert site.get("/v1/series", headers={"If-None-Match": condition}).status_code == 200
    assert not is_known('"abc"', [condition])


def test_large_answers_are_packed_and_say_so(site: Serving) -> None:
    answer, body = raw(site, "/v1/series?limit=3000", Accept_Encoding="gzip, br")
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    vary = {one.strip().lower() for one in ",".join(answer.headers.get_all("vary")).split(",")}
    assert vary == {"accept-encoding", "authorization", "cookie"}
    content = gzip.decompress(body)
    assert len(content) > 3 * PIECE_BYTES  # it came in pieces
    plain, whole = raw(site, "/v1/series?limit=3000", Accept_Encoding="identity")
    assert plain.headers["content-encoding"] is None
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert json.loads(content) == json.loads(whole)
    assert len(body) < len(content) / 5


@pytest.mark.parametrize("encodings", ["", "br", "gzip;q=0", "br, gzip; q=0.0", "GZIP;q=0"])
def test_what_is_not_accepted_is_not_packed(site: Serving, encodings: str) -> None:
    answer, _ = raw(site, "/v1/series?limit=3000", Accept_Encoding=encodings)
    assert answer.headers["content-encoding"] is None
    assert "-gzip" not in answer.headers["etag"]


def test_a_small_answer_is_not_packed(site: Serving) -> None:
    answer, body = raw(site, "/readyz", Accept_Encoding="gzip")
    assert len(body) < PACKED_BYTES_MIN
    assert (answer.headers["content-encoding"], answer.headers["etag"].endswith('-gzip"')) == (None, False)


def test_a_gzip_that_is_wanted_stays_in_the_header() -> None:
    assert accepted("gzip;q=0.5, br;q=0") == "gzip;q=0.5, br;q=0"
    assert accepted("br, gzip;q=0, deflate") == "br, deflate"


@pytest.mark.parametrize("path", ["/v1/series?limit=3000", "/v1/ledger", "/healthz", "/metrics", "/openapi.json"])
@pytest.mark.parametrize("headers", [PACKED, PLAIN])
def test_head_answers_as_get_without_the_body(site: Serving, path: str, headers: dict[str, str]) -> None:
    asked = {name.replace("-", "_"): value for name, value in headers.items()}
    got, _ = raw(site, path, **asked)
    head, body = raw(site, path, "HEAD", **asked)
    assert (head.status, body) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # it counts this request
        assert head.headers["etag"] == got.headers["etag"]
    assert head.headers["content-encoding"] == got.headers["content-encoding"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/query?expr=avg(", "/v1/query?expr=avg(nobody)"])
def test_refusals_are_never_kept(site: Serving, path: str) -> None:
    answer = site.get(path)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


def test_a_session_is_never_kept(site: Serving) -> None:
    answer = site.get("/v1/session")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in answer.headers


def test_an_answer_to_post_has_no_tag(site: Serving) -> None:
    answer = site.post("/v1/ingest", content=b"tagless:1|c")
    assert (answer.status_code, answer.headers["cache-control"], "etag" in answer.headers) == (200, "no-store", False)


def test_one_that_may_not_ask_is_not_told_that_nothing_changed() -> None:
    with serving() as site, server_of(site.engine, tokens=("secret",)) as (_, url):
        tag = httpx.get(f"{url}/v1/series", headers={"Authorization": "Bearer secret"}, trust_env=False).headers["etag"]
        answer = httpx.get(f"{url}/v1/series", headers={"If-None-Match": tag}, trust_env=False)
        assert answer.status_code == 401


# ---- the layer by itself


async def exchanged(app: object, headers: dict[str, str], turns: list[float]) -> list[Message]:
    """What an application's answer becomes; `turns` gets a time whenever the event loop had one for others."""
    sent: list[Message] = []
    is_over = asyncio.Event()

    async def others() -> None:
        while not is_over.is_set():
            turns.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    task = asyncio.create_task(others())
    await Delivery(app)(scope, receive, send)  # type: ignore[arg-type]
    is_over.set()
    await task
    return sent


def answering(body: bytes, media_type: str = "application/json") -> object:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def test_packing_a_megabyte_leaves_turns_to_others() -> None:
    content = json.dumps([random.Random(5).random() for _ in range(1)] * 10 + list(range(150_000))).encode()
    assert len(content) > 1_000_000
    turns: list[float] = []
    sent = asyncio.run(exchanged(answering(content), {"accept-encoding": "gzip"}, turns))
    assert gzip.decompress(b"".join(message.get("body", b"") for message in sent[1:])) == content
    assert len(turns) > len(content) // PIECE_BYTES


def test_events_are_sent_at_once_and_as_they_are() -> None:
    came: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        came.append(len(sent))
        await send({"type": "http.response.body", "body": b"data: 1\n\n" * 500, "more_body": True})
        came.append(len(sent))
        await send({"type": "http.response.body", "body": b""})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody asks for the body")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(Delivery(app)(scope, receive, send))
    assert came == [1, 2]
    assert [message.get("body") for message in sent] == [None, b"data: 1\n\n" * 500, b""]
    assert [name for name, _ in sent[0]["headers"]] == [b"content-type"]


def test_what_is_packed_already_is_left_alone() -> None:
    body = gzip.compress(b"x" * 100_000) * 100

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/css"), (b"content-encoding", b"gzip")]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    sent = asyncio.run(exchanged(app, {"accept-encoding": "gzip"}, []))
    assert b"".join(message.get("body", b"") for message in sent[1:]) == body
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(body)).encode()

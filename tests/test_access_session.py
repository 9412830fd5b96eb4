"""Sessions of browsers over real HTTP: the cookie, what it may, forged requests, failed log-ins, the audit log."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving import Serving, exchange, server_of, serving

import hms_ops
from hms_ops.clock import ManualClock
from hms_ops.engine import Engine
from hms_ops.http import session as module
from hms_ops.http.attempts import ADDRESS_FAILED_MAX, ALL_FAILED_MAX, TOLD_MAX, Attempts, Bucket, group_of
from hms_ops.http.caller import COOKIE, COOKIE_SECURE
from hms_ops.http.server import Server
from hms_ops.http.sessions import SESSION_SECONDS, SESSIONS_MAX, SESSIONS_TOKEN_MAX, Sessions, key_of
from hms_ops.http.token import EVERYTHING, Token, digest_of

ANN = "hmsops_ann-0123456789-0123456789-0123456789"
BOB = "hmsops_bob-0123456789-0123456789-0123456789"
NOW = 1_700_000_000.0
HOUR = 3600.0
TOKENS = (
    Token(digest_of(ANN), "ann", EVERYTHING),
    Token(digest_of(BOB), "bob", frozenset(["read"]), expires=NOW + HOUR),
    Token(digest_of("a-secret-in-full-without-name")),
)


class Browser:
    """A client that keeps cookies and sends Origin, as a browser does for what changes something."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.client = httpx.Client(base_url=url, trust_env=False)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        own = {} if method == "GET" else {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        return self.client.request(method, path, headers=own | given.pop("headers", {}), **given)

    def log_in(self, text: str = ANN) -> httpx.Response:
        return self.ask("POST", "/v1/session", json={"token": text})

    @property
    def cookie(self) -> str:
        return str(self.client.cookies.get(COOKIE, ""))


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


@contextmanager
def browsing(engine: Engine) -> Iterator[Browser]:
    with server_of(engine, tokens=TOKENS) as (server, url):
        browser = Browser(server, url)
        with browser.client:
            yield browser


@pytest.fixture
def browser(site: Serving) -> Iterator[Browser]:
    with browsing(site.engine) as made:
        yield made


@pytest.fixture(scope="module")
def shared(site: Serving) -> Iterator[Browser]:
    """For tests that leave nothing but a session, which the next one's log-in ends."""
    with browsing(site.engine) as made:
        yield made


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:hms-ops:problem:")


# ---- who asks


def test_on_loopback_without_tokens_everybody_is_let_in(site: Serving) -> None:
    document = site.get("/v1/session").json()
    assert document.pop("version")
    assert document.pop("host")
    everything = ["ingest", "read", "silence", "admin"]
    assert document == {"user": None, "scopes": everything, "needs_login": False, "expires": None, "status_page": False}
    answer = site.post("/v1/session", json={"token": "whatever"})
    assert (answer.status_code, answer.json()["needs_login"], "set-cookie" in answer.headers) == (200, False, False)


def test_a_stranger_is_told_that_a_token_is_needed_and_nothing_else(browser: Browser) -> None:
    assert browser.ask("GET", "/v1/session").json() == {
        "user": None, "scopes": [], "needs_login": True, "expires": None,
        "version": "", "host": "", "status_page": False,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/docs", "/healthz", "/readyz", "/v1/session", "/status"])
def test_a_stranger_is_not_told_the_version_anywhere(browser: Browser, path: str) -> None:
    answer = browser.ask("GET", path)
    assert hms_ops.__version__ not in answer.text
    assert hms_ops.__version__ not in str(answer.headers)


def test_a_bearer_is_told_its_name_scopes_and_end(browser: Browser) -> None:
    document = browser.ask("GET", "/v1/session", headers={"Authorization": f"Bearer {BOB}"}).json()
    assert (document["user"], document["scopes"], document["expires"]) == ("bob", ["read"], NOW + HOUR)
    document = browser.ask(
        "GET", "/v1/session", headers={"Authorization": "Bearer a-secret-in-full-without-name"}
    ).json()
    assert (document["user"], document["needs_login"]) == (None, False)


# ---- the cookie


def test_a_token_gives_a_cookie_that_no_script_reads_and_no_other_site_sends(browser: Browser) -> None:
    answer = browser.log_in()
    (line,) = answer.headers.get_list("set-cookie")
    value, *attributes = line.split("; ")
    assert sorted(one.lower() for one in attributes) == [
        "httponly",
        f"max-age={SESSION_SECONDS:.0f}",
        "path=/",
        "samesite=strict",
    ]
    assert value == f"{COOKIE}={browser.cookie}"
    assert ANN not in line
    assert len(browser.cookie) == 43
    document = answer.json()
    assert (document["user"], document["needs_login"], document["expires"]) == ("ann", False, NOW + SESSION_SECONDS)
    assert browser.ask("GET", "/v1/session").json() == document
    assert browser.ask("GET", "/v1/ledger").status_code == 200
    assert browser.ask("POST", "/v1/describe", json={"metric": "a", "unit": "ms"}).status_code == 200


def test_the_engine_keeps_neither_the_token_nor_the_id(browser: Browser) -> None:
    browser.log_in()
    held = repr(vars(browser.server.entrance)) + repr(vars(browser.server.entrance.sessions))
    assert browser.cookie not in held
    assert ANN not in held
    assert list(browser.server.entrance.sessions._known) == [key_of(browser.cookie)]


def test_a_session_has_the_scopes_of_its_token_and_ends_with_it(browser: Browser) -> None:
    answer = browser.log_in(BOB)
    assert answer.json()["expires"] == NOW + HOUR
    assert "Max-Age=3600" in answer.headers["set-cookie"]
    assert browser.ask("GET", "/v1/ledger").status_code == 200
    assert problem(browser.ask("POST", "/v1/actions/stop", json={})) == (403, "scope")


def test_behind_a_proxy_that_takes_tls_off_the_cookie_is_secure(browser: Browser) -> None:
    answer = browser.ask(
        "POST", "/v1/session", json={"token": ANN}, headers={"Origin": browser.url.replace("http:", "https:")}
    )
    line = answer.headers["set-cookie"]
    assert line.startswith(COOKIE_SECURE + "=")
    assert "; Secure" in line
    id = line.partition(";")[0].partition("=")[2]
    browser.client.cookies.clear()
    assert browser.ask("GET", "/v1/ledger", headers={"Cookie": f"{COOKIE_SECURE}={id}"}).status_code == 200


def test_logging_out_ends_the_session_on_the_server_too(browser: Browser) -> None:
    browser.log_in()
    id = browser.cookie
    answer = browser.ask("DELETE", "/v1/session")
    assert (answer.status_code, answer.json()["needs_login"]) == (200, True)
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert browser.cookie == ""
    stolen = browser.ask("GET", "/v1/ledger", headers={"Cookie": f"{COOKIE}={id}"})
    assert problem(stolen) == (401, "session-ended")


def test_logging_in_again_ends_the_session_before(browser: Browser) -> None:
    browser.log_in()
    first = browser.cookie
    browser.log_in(BOB)
    assert browser.cookie != first
    assert len(browser.server.entrance.sessions) == 1
    assert problem(browser.ask("GET", "/v1/ledger", headers={"Cookie": f"{COOKIE}={first}"})) == (401, "session-ended")


def test_an_id_that_was_set_by_somebody_else_is_not_taken_over(browser: Browser) -> None:
    """Session fixation: the id of a session is always the engine's own."""
    browser.client.cookies.set(COOKIE, "chosen-by-somebody-else")
    answer = browser.log_in()
    assert "chosen-by-somebody-else" not in answer.headers["set-cookie"]


def test_a_session_ends_by_the_clock() -> None:
    with serving() as site, browsing(site.engine) as browser:
        browser.log_in()
        assert browser.ask("GET", "/v1/ledger").status_code == 200
        assert isinstance(site.engine.clock, ManualClock)
        site.engine.clock.advance(SESSION_SECONDS - 1)
        assert browser.ask("GET", "/v1/ledger").status_code == 200
        site.engine.clock.advance(1)
        assert problem(browser.ask("GET", "/v1/ledger")) == (401, "session-ended")
        assert browser.ask("GET", "/v1/session").json()["needs_login"]
        browser.log_in()
        assert len(browser.server.entrance.sessions) == 1


def test_a_token_that_is_taken_away_takes_its_sessions_along(browser: Browser) -> None:
    browser.log_in()
    caller = browser.server.entrance.by_session(browser.cookie)
    assert browser.server.entrance.is_still(caller)
    browser.server.renew(TOKENS[1:], None)
    assert problem(browser.ask("GET", "/v1/ledger")) == (401, "session-ended")
    assert not browser.server.entrance.is_still(caller)


def test_a_token_with_fewer_scopes_leaves_its_sessions_fewer(browser: Browser) -> None:
    browser.log_in()
    caller = browser.server.entrance.by_session(browser.cookie)
    browser.server.renew((Token(digest_of(ANN), "ann", frozenset(["ingest"])),), None)
    assert problem(browser.ask("GET", "/v1/ledger")) == (403, "scope")
    assert not browser.server.entrance.is_still(caller)


def test_what_somebody_may_still_is_asked_by_streams(browser: Browser) -> None:
    entrance = browser.server.entrance
    caller = entrance.by_token(BOB)
    assert entrance.is_still(caller)
    entrance.now = lambda: NOW + HOUR
    assert not entrance.is_still(caller)
    assert not entrance.is_still(entrance.by_token("unknown"))


@pytest.mark.parametrize("end", ["log-out", "expiry", "withdrawn", "fewer scopes"])
def test_a_stream_ends_within_a_second_of_the_right_to_it(end: str) -> None:
    with serving() as site, browsing(site.engine) as browser:
        browser.log_in(BOB)
        # A client of its own: another connection, as a browser's stream has.
        with (
            httpx.Client(base_url=browser.url, trust_env=False, cookies=dict(browser.client.cookies)) as watching,
            watching.stream("GET", "/v1/stream?metric=a") as answer,
        ):
            lines = answer.iter_lines()
            assert next(lines) == "retry: 1000"
            if end == "log-out":
                browser.ask("DELETE", "/v1/session")
            elif end == "expiry":
                browser.server.entrance.now = lambda: NOW + HOUR
            else:
                kept = Token(digest_of(BOB), "bob", frozenset(["ingest"]))
                browser.server.renew((TOKENS[0], *([kept] if end == "fewer scopes" else [])), None)
            site.engine.advance(3)
            assert [line for line in lines if line.startswith("data: ")] == []


# ---- forged requests

FORGED = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://localhost:8126"},
    {"Origin": "OURS/"},
    {"Origin": "OURS.evil.example"},
    {"Origin": "OURS", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "OURS", "Sec-Fetch-Site": "same-site"},
    {"Origin": "OURS", "Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin"},
    {},
]


@pytest.mark.parametrize("headers", FORGED, ids=str)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/actions/stop"), ("DELETE", "/v1/session"), ("DELETE", "/v1/series?match=a")]
)
def test_what_a_session_changes_must_come_from_our_own_page(
    shared: Browser, site: Serving, method: str, path: str, headers: dict[str, str]
) -> None:
    shared.log_in()
    given = {name: value.replace("OURS", shared.url) for name, value in headers.items()}
    answer = shared.client.request(method, path, headers=given)
    assert problem(answer) == (403, "origin")
    assert site.engine.duty.actions.halted_by == ""
    assert len(shared.server.entrance.sessions) == 1


@pytest.mark.parametrize("site_of", ["cross-site", "same-site"])
def test_a_session_is_not_read_by_pages_of_others(browser: Browser, site_of: str) -> None:
    browser.log_in()
    assert problem(browser.client.get("/v1/ledger", headers={"Sec-Fetch-Site": site_of})) == (403, "origin")
    assert browser.client.get("/v1/ledger", headers={"Sec-Fetch-Site": "none"}).status_code == 200


LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/ledger", "/healthz"])
def test_who_is_logged_in_may_follow_a_link_from_a_sibling_host(browser: Browser, path: str) -> None:
    browser.log_in()
    assert browser.client.get(path, headers=LINK | {"Sec-Fetch-Site": "same-site"}).status_code == 200


@pytest.mark.parametrize("path", ["/badge/all.svg", "/status.json", "/hms-status.js", "/openapi.json", "/healthz"])
def test_a_page_of_a_sibling_host_shows_what_is_public_whoever_is_logged_in(browser: Browser, path: str) -> None:
    given = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    stranger = browser.client.get(path, headers=given)
    browser.log_in()
    answer = browser.client.get(path, headers=given)
    assert (answer.status_code, answer.content) == (stranger.status_code, stranger.content)
    assert answer.status_code != 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "path", ["/v1/ledger", "/v1/session", "/metrics", "/api/v1/query?query=1", "/badge/../v1/ledger"]
)
def test_what_is_no_link_reads_nothing_of_a_session(browser: Browser, path: str, headers: dict[str, str]) -> None:
    browser.log_in()
    answer = browser.client.get(path, headers=headers | {"Sec-Fetch-Site": "same-site"})
    assert problem(answer) == (403, "origin")


def test_a_link_changes_nothing(browser: Browser) -> None:
    browser.log_in()
    answer = browser.client.request("DELETE", "/v1/session", headers=LINK | {"Sec-Fetch-Site": "same-site"})
    assert problem(answer) == (403, "origin")


def test_a_page_of_another_origin_cannot_log_a_browser_in(browser: Browser) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.client.post("/v1/session", json={"token": ANN}, headers=headers)
        assert problem(answer) == (403, "origin")
    assert len(browser.server.entrance.sessions) == 0


def test_a_program_with_a_bearer_token_needs_no_origin(browser: Browser) -> None:
    given = {"Authorization": f"Bearer {ANN}"}
    assert browser.client.post("/v1/ingest", content=b"a:1|c", headers=given).status_code == 200


# ---- heads that mean harm


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Cookie: hms-ops-session=ID",), 200),
        (("Cookie: a=b; hms-ops-session=ID; c=d",), 200),
        (("Cookie: hms-ops-session=ID; hms-ops-session=ID",), 401),
        (("Cookie: hms-ops-session=ID", "Cookie: hms-ops-session=other"),  401),
        (("Cookie: hms-ops-session=other; hms-ops-session=ID",), 401),
        (("Cookie: hms-ops-session=other; __Host-hms-ops-session=ID",), 200),
        (("Cookie: hms-ops-session=ID; __Host-hms-ops-session=other",), 401),
        (("Cookie: HMS-OPS-SESSION=ID",), 401),
        (('Cookie: hms-ops-session="ID"',), 401),
        (("Cookie: hms-ops-session=ID,x",), 401),
        (("Cookie: hms-ops-session=ID=",), 401),
        (("Cookie: hms-ops-session=",), 401),
        (("Cookie: hms-ops-session",), 401),
        (("Cookie: hms-ops-session=\xff\xfe",), 401),
        (("Cookie: hms-ops-session=" + "x" * 10_000,), 401),
        (("Cookie: hms-ops-session=ID" + "; a=b" * 4_000,), 431),
        (("Cookie: hms-ops-session=ID", "Authorization: Bearer wrong"), 401),
        (("Cookie: hms-ops-session=ID", "Authorization: Bearer"), 401),
        (("Cookie: hms-ops-session=ID", "Authorization: Bearer a", "Authorization: Bearer b"), 401),
        (("Cookie: hms-ops-session=ID", "Authorization: Basic YTpi"), 200),
        (("Cookie: hms-ops-session=ID", "Authorization: Basic YTpi", "Authorization: Basic YTpi"), 401),
        (("Cookie: hms-ops-session=ID", "Origin: null"), 403),
        (("Cookie: hms-ops-session=ID", "Origin: http://evil.example"), 403),
        (("Cookie: hms-ops-session=ID", "Sec-Fetch-Site: cross-site"), 403),
        (("Cookie: hms-ops-session=ID", "X-Forwarded-Proto: https", "X-Forwarded-For: 1.2.3.4"), 200),
        ((f"Authorization: Bearer {ANN}",), 200),
        ((f"Authorization: bearer   {ANN}  ",), 200),
        ((f"Authorization: Bearer {ANN}", f"Authorization: Bearer {ANN}"), 401),
        ((f"Authorization: Bearer {ANN}, Bearer {ANN}",), 401),
        ((f"Authorization: Bearer {ANN}\xff",), 401),
        ((f"Authorization: Token {ANN}",), 401),
        ((f"Cookie: hms-ops-session={ANN}",), 401),
        (("Authorization: Bearer ID",), 401),
    ],
    ids=lambda value: str(value)[:70],
)  # fmt: skip
def test_a_head_is_taken_for_what_it_says_once(shared: Browser, lines: tuple[str, ...], status: int) -> None:
    shared.log_in()
    port = httpx.URL(shared.url).port or 0
    head = "\r\n".join([f"GET /v1/ledger HTTP/1.1\r\nHost: 127.0.0.1:{port}", *lines]).replace("ID", shared.cookie)
    answer = exchange(("127.0.0.1", port), head.encode("latin-1") + b"\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\xff" not in answer


BAD_BODIES = [
    *(b"", b"{}", b"[]", b"null", b'"x"', b"{", b"\xff\xfe", b'{"Token": "x"}', b'{"token": "x", "more": 1}'),
    *(b'{"token": null}', b'{"token": ""}', b'{"token": 7}', b'{"token": ["x"]}'),
    b'{"token": "' + b"x" * 5000 + b'"}',
]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_body_that_is_no_token_is_told_so_and_counts_as_no_attempt(shared: Browser, body: bytes) -> None:
    answer = shared.ask("POST", "/v1/session", content=body)
    assert answer.status_code == 400
    assert len(shared.server.entrance.attempts) == 0


@pytest.mark.parametrize("text", ["wrong", "\u2603" * 100, "a\nb", "\0", ANN + "x", ANN[:-1], ANN.upper()])
def test_a_wrong_token_is_refused_and_not_said_again(browser: Browser, text: str) -> None:
    answer = browser.log_in(text)
    assert problem(answer) == (401, "token")
    assert "set-cookie" not in answer.headers
    assert text not in answer.text


# ---- failed log-ins


def test_after_many_failures_an_address_waits_even_with_the_right_token() -> None:
    with serving() as site, browsing(site.engine) as browser:
        statuses = [browser.log_in(f"wrong-{n}").status_code for n in range(ADDRESS_FAILED_MAX + 5)]
        assert statuses == [401] * ADDRESS_FAILED_MAX + [429] * 5
        refused = browser.log_in()
        assert problem(refused) == (429, "log-ins")
        assert int(refused.headers["retry-after"]) >= 1
        assert (browser.server.tally["log-in-failed"], browser.server.tally["log-ins"]) == (ADDRESS_FAILED_MAX, 6)
        # Programs and sessions go on.
        assert browser.ask("GET", "/v1/ledger", headers={"Authorization": f"Bearer {ANN}"}).status_code == 200
        assert isinstance(site.engine.clock, ManualClock)
        site.engine.clock.advance(int(refused.headers["retry-after"]))
        assert browser.log_in().status_code == 200


def test_a_flood_of_log_ins_is_bounded_in_answers_memory_and_audit() -> None:
    with serving() as site, browsing(site.engine) as browser:
        statuses: list[int] = []

        def flood(number: int) -> None:
            with httpx.Client(base_url=browser.url, trust_env=False) as client:
                statuses.extend(
                    client.post("/v1/session", json={"token": f"guess-{number}-{n}"}).status_code for n in range(50)
                )

        threads = [threading.Thread(target=flood, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(statuses), set(statuses)) == (400, {401, 429})
        assert statuses.count(401) == ADDRESS_FAILED_MAX
        assert len(browser.server.entrance.attempts) == 1


def test_the_bound_of_all_addresses_holds_whatever_their_number() -> None:
    attempts = Attempts(addresses_max=100)
    tried = 0
    for n in range(10_000):
        address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        if not attempts.wait_seconds(address, 0.0):
            attempts.failed(address, 0.0)
            tried += 1
    assert tried == ALL_FAILED_MAX
    assert len(attempts) <= 100
    assert attempts.wait_seconds("192.0.2.1", 0.0) > 0
    assert attempts.wait_seconds("192.0.2.1", 1.0) == 0.0


def test_the_audit_log_hears_of_some_failures_and_of_how_many_there_were() -> None:
    attempts = Attempts()
    told = []
    for n in range(1_000):
        attempts.failed(f"10.0.{n >> 8}.{n & 255}", 0.0)
        told.append(attempts.to_tell(0.0))
    assert (sum(told), len([one for one in told if one])) == (TOLD_MAX, TOLD_MAX)
    attempts.failed("10.0.0.1", 60.0)
    assert attempts.to_tell(60.0) == 1_000 - TOLD_MAX + 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "no address", True),
    ],
)
def test_addresses_that_one_subscriber_has_are_one(one: str, other: str, is_same: bool) -> None:
    assert (group_of(one) == group_of(other)) == is_same


def test_a_bucket_empties_evenly_and_a_clock_set_back_does_not_fill_it() -> None:
    bucket = Bucket(2, 10.0)
    bucket.fill(0.0)
    bucket.fill(0.0)
    assert bucket.wait_seconds(0.0) == pytest.approx(5.0)
    assert bucket.wait_seconds(4.0) == pytest.approx(1.0)
    assert bucket.wait_seconds(5.0) == 0.0
    assert bucket.wait_seconds(-1_000.0) == pytest.approx(5.0)


# ---- bounds of sessions


def test_sessions_are_bounded_and_the_oldest_goes() -> None:
    sessions = Sessions(sessions_max=10, token_max=10)
    ids = [sessions.begin(bytes([n]), None, 0.0)[0] for n in range(12)]
    assert (len(sessions), sessions.evicted) == (10, 2)
    assert [sessions.find(id, 0.0) is not None for id in ids] == [False] * 2 + [True] * 10


def test_one_token_cannot_push_others_out() -> None:
    assert SESSIONS_TOKEN_MAX * 4 <= SESSIONS_MAX
    sessions = Sessions(sessions_max=10, token_max=3)
    mine, _ = sessions.begin(b"mine", None, 0.0)
    for _ in range(100):
        sessions.begin(b"theirs", None, 0.0)
    assert sessions.find(mine, 0.0) is not None
    assert len(sessions) == 4


def test_sessions_that_have_ended_make_room_first() -> None:
    sessions = Sessions(sessions_max=2)
    sessions.begin(b"a", 10.0, 0.0)
    kept, _ = sessions.begin(b"b", None, 0.0)
    sessions.begin(b"c", None, 20.0)
    assert sessions.evicted == 0
    assert sessions.find(kept, 20.0) is not None


# ---- the audit log


def test_the_audit_log_has_log_ins_failures_log_outs_and_who_did_what(tmp_path: Path) -> None:
    engine = Engine(udp=None, http=None, data_dir=tmp_path / "data", clock=ManualClock())
    with engine, browsing(engine) as browser:
        browser.log_in("wrong")
        browser.log_in()
        engine.alert_now("finance.down")
        engine.advance(2)
        assert browser.ask("POST", "/v1/alerts/finance.down/ack", json={"comment": "looking"}).status_code == 200
        given = {"Authorization": f"Bearer {ANN}"}
        stopped = browser.client.post("/v1/actions/stop", json={"who": "somebody.else"}, headers=given)
        assert stopped.status_code == 200
        browser.ask("DELETE", "/v1/session")
        records = [(one["what"], one["who"], one["source"], one["outcome"]) for one in engine.audit_log(20)]
    address = "HTTP 127.0.0.1"
    assert [record for record in records if record[0] not in ("start", "stop")] == [
        ("log-in", address, address, "refused"),
        ("log-in", "ann", address, "ok"),
        ("acknowledge", f"ann, {address}", f"ann, {address}", "ok"),
        ("actions-stop", "somebody.else (ann)", f"ann, {address}", "ok"),
        ("log-out", "ann", f"ann, {address}", "ok"),
    ]


def test_who_has_a_name_cannot_sign_with_anothers_alone(browser: Browser, site: Serving) -> None:
    """What a named token says of itself stands beside its name, in every place that people look at."""
    browser.log_in()
    site.engine.alert_now("signed.alert")
    site.engine.advance(1)
    said = {"who": "director"}
    acknowledged = browser.ask("POST", "/v1/alerts/signed.alert/ack", json=said).json()
    made = browser.ask("POST", "/v1/silences", json={"match": {"alertname": "x"}, "for": 60, **said}).json()
    assert (acknowledged["who"], made["who"]) == ("director (ann)", "director (ann)")
    (row,) = [one for one in browser.ask("GET", "/v1/alerts").json()["alerts"] if one["name"] == "signed.alert"]
    assert row["acknowledged"]["who"] == "director (ann)"
    ended = browser.ask("DELETE", f"/v1/silences/{made['id']}", params={"who": "ann"})
    assert ended.status_code == 200
    assert browser.ask("POST", "/v1/alerts/signed.alert/unack", json={"who": "ann"}).json()["who"] == "ann"


def test_counters_tell_of_sessions_and_log_ins(browser: Browser) -> None:
    browser.log_in()
    browser.log_in("wrong")
    counters = browser.server.counters()
    assert counters | {"tokens": 3, "sessions": 1, "log_ins": 1, "log_ins_failed": 1, "log_outs": 0} == counters
    assert json.dumps(counters)
    assert module.ROUTES[0].path == "/v1/session"

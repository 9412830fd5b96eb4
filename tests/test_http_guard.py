"""Who is turned away: foreign hosts and origins, missing tokens, an open address; as a pure function and over HTTP."""

from collections.abc import Iterator

import httpx
import pytest
from starlette.datastructures import Headers
from tests.serving import Serving, exchange, server_of, serving

from hms_ops.config import load
from hms_ops.errors import ConfigError, StartError
from hms_ops.http.access import Access, access_of
from hms_ops.http.entrance import Entrance
from hms_ops.http.guard import HEAD_BYTES_MAX, refusal
from hms_ops.http.scopes import needed, scope_refusal
from hms_ops.http.token import plain_token

LOOPBACK = Access()
KNOWN = [plain_token("first-token"), plain_token("second-token")]
OPEN = access_of("0.0.0.0", "0.0.0.0", "ops-1", KNOWN, is_insecure=True)
TOKEN = ("authorization", "Bearer first-token")


RAW_DOTS = b"GET /healthz/../v1/ledger HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def kind_of(access: Access, *headers: tuple[str, str], path: str = "/v1/ledger") -> str | None:
    """The reason the GET is refused for, None when it is not; path: a route's own."""
    given = Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in headers])
    caller = Entrance(access, lambda: 0.0).identify(given, is_tls=False)
    problem = refusal(access, given) or scope_refusal(caller, needed("GET", path))
    return None if problem is None else problem.kind


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8126",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:8126",
        "127.1.2.3:9",
        "[::1]",
        "[::1]:8126",
        "[0:0:0:0:0:0:0:1]",
    ],
)
def test_loopback_is_ours_whatever_the_port(host: str) -> None:
    assert kind_of(LOOPBACK, ("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "evil.example",
        "evil.example:8126",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.1:8126.evil.example",
        "127.0.0.1@evil.example",
        "evil.example/127.0.0.1",
        "10.0.0.5",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::1",
        "::1",
        "[::ffff:10.0.0.5]",
        "[fe80::1%eth0]",
        "localhost:port",
        "localhost:",
        "localhost\n",
        "loc\xe4lhost",
        "a" * 5000,
    ],
)
def test_any_other_host_is_refused_on_loopback(host: str) -> None:
    assert kind_of(LOOPBACK, ("host", host)) == "host"


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert kind_of(LOOPBACK) == "host"
    assert kind_of(LOOPBACK, ("host", "localhost"), ("host", "localhost")) == "host"


@pytest.mark.parametrize("origin", ["http://localhost:8126", "https://localhost:8126", "HTTP://LOCALHOST:8126"])
def test_our_own_origin_passes(origin: str) -> None:
    assert kind_of(LOOPBACK, ("host", "localhost:8126"), ("origin", origin)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:8127",
        "http://127.0.0.1:8126",
        "http://localhost:8126.evil.example",
        "http://localhost:8126/",
        "file://",
        "chrome-extension://localhost:8126",
        "localhost:8126",
    ],
)
def test_any_other_origin_is_refused(origin: str) -> None:
    assert kind_of(LOOPBACK, ("host", "localhost:8126"), ("origin", origin)) == "origin"


def test_two_origins_are_refused() -> None:
    ours = ("origin", "http://localhost")
    assert kind_of(LOOPBACK, ("host", "localhost"), ours, ours) == "origin"


@pytest.mark.parametrize("host", ["localhost", "ops-1:8126", "OPS-1", "10.0.0.5:8126", "[fd00::5]:8126", "0.0.0.0"])
def test_an_open_address_is_asked_for_by_any_address_or_its_name(host: str) -> None:
    assert kind_of(OPEN, ("host", host), TOKEN) is None


@pytest.mark.parametrize("host", ["evil.example", "ops-1.evil.example", "ops-2", ""])
def test_an_open_address_is_not_asked_for_by_other_names(host: str) -> None:
    assert kind_of(OPEN, ("host", host), TOKEN) == "host"


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
def test_names_of_a_proxy_or_an_alias_are_ours_where_they_are_given(bound: str) -> None:
    access = access_of(bound, bound, "ops-1", KNOWN, names=["ops.agency.gov"], has_tls=True)
    assert kind_of(access, ("host", "OPS.agency.gov:8443"), TOKEN) is None
    assert kind_of(access, ("host", "ops.agency.gov"), ("origin", "https://ops.agency.gov"), TOKEN) is None
    assert kind_of(access, ("host", "ops.agency.gov"), ("origin", "https://agency.gov"), TOKEN) == "origin"
    for host in ("agency.gov", "x.ops.agency.gov", "ops.agency.gov.evil.example", "opsxagency.gov"):
        assert kind_of(access, ("host", host), TOKEN) == "host"


@pytest.mark.parametrize(
    "names", ["x", [""], ["a b"], ["a:1"], ["*"], ["*.gov"], ["a/b"], [7], [None], ["a" * 64], ["."]]
)
def test_names_that_are_none_are_refused(names: object) -> None:
    with pytest.raises(ConfigError, match="host names without ports"):
        load({"http_names": names})
    assert load({"http_names": ["OPS.Agency.gov", "ops_1"]}).http_names == ("ops.agency.gov", "ops_1")


@pytest.mark.parametrize("given", ["Bearer first-token", "bearer second-token", "BEARER  first-token "])
def test_each_token_opens(given: str) -> None:
    assert kind_of(OPEN, ("host", "localhost"), ("authorization", given)) is None


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer first-toke",
        "Bearer first-tokens",
        "Bearer FIRST-TOKEN",
        "Bearer first-token,second-token",
        "Basic first-token",
        "first-token",
        "Bearer first-tok\xe9n",
        "Bearer " + "x" * 10_000,
    ],
)
def test_anything_else_is_no_token(given: str) -> None:
    assert kind_of(OPEN, ("host", "localhost"), ("authorization", given)) == "token"


def test_two_authorizations_are_none() -> None:
    assert kind_of(OPEN, ("host", "localhost"), TOKEN, TOKEN) == "token"


def test_probes_need_no_token_but_a_host_of_ours() -> None:
    for path in ("/healthz", "/readyz"):
        assert kind_of(OPEN, ("host", "localhost"), path=path) is None
        assert kind_of(OPEN, ("host", "evil.example"), path=path) == "host"
    assert kind_of(OPEN, ("host", "localhost"), path="/healthz/../v1/ledger") == "token"


def test_a_path_with_dots_is_no_probe_over_http(site: Serving) -> None:
    with server_of(site.engine, "0.0.0.0", ("a-good-token",)) as (_, url):
        answer = exchange(("127.0.0.1", httpx.URL(url).port or 0), RAW_DOTS)
        assert answer.startswith(b"HTTP/1.1 404 ")


def test_a_head_that_is_too_large_is_refused() -> None:
    host = ("host", "localhost")
    assert kind_of(LOOPBACK, host, ("x", "a" * (HEAD_BYTES_MAX - 22))) is None
    assert kind_of(LOOPBACK, host, ("x", "a" * (HEAD_BYTES_MAX - 21))) == "head-too-large"


@pytest.mark.parametrize(("host", "bound"), [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("ops-1", "10.0.0.5")])
def test_an_address_others_can_reach_is_not_opened_without_a_token(host: str, bound: str) -> None:
    with pytest.raises(StartError, match="set http_tokens, or bind"):
        access_of(host, bound, "ops-1", [])


@pytest.mark.parametrize(("host", "bound"), [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("ops-1", "10.0.0.5")])
def test_an_address_others_can_reach_is_not_opened_without_tls_unless_it_is_said(host: str, bound: str) -> None:
    with pytest.raises(StartError, match="set http_tls, or http_insecure: true"):
        access_of(host, bound, "ops-1", KNOWN)
    assert access_of(host, bound, "ops-1", KNOWN, has_tls=True).insecure == ""
    assert "http_insecure" in access_of(host, bound, "ops-1", KNOWN, is_insecure=True).insecure
    with pytest.raises(StartError, match="set http_tokens"):
        access_of(host, bound, "ops-1", [], has_tls=True, is_insecure=True)


def test_the_engine_does_not_start_on_an_open_address_without_tokens(site: Serving) -> None:
    with pytest.raises(StartError, match="token"), server_of(site.engine, "0.0.0.0"):
        pytest.fail("it started")


def test_a_page_of_another_host_is_refused_over_http(site: Serving) -> None:
    before = site.refused("host"), site.engine.ledger()
    answer = site.post("/v1/ingest", content=b"evil:1|c", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:hms-ops:problem:host")
    assert (site.refused("host"), site.engine.ledger()) == (before[0] + 1, before[1])


def test_a_post_of_another_origin_is_refused_over_http(site: Serving) -> None:
    before = site.refused("origin"), site.engine.ledger()
    answer = site.post("/v1/ingest", content=b"evil:1|c", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:hms-ops:problem:origin")
    assert (site.refused("origin"), site.engine.ledger()) == (before[0] + 1, before[1])


def test_a_refusal_prints_no_control_bytes(site: Serving) -> None:
    answer = exchange(site.address, b"GET / HTTP/1.1\r\nHost: \xff\xfe<script>\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"\xff" not in answer


def test_an_absolute_target_does_not_stand_in_for_the_host(site: Serving) -> None:
    answer = exchange(site.address, b"GET http://localhost/v1/ledger HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_with_tokens_only_those_who_have_one_are_answered(site: Serving) -> None:
    with server_of(site.engine, "0.0.0.0", ("a-good-token",)) as (server, url), httpx.Client(trust_env=False) as client:
        refused = client.get(f"{url}/v1/ledger")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="hms-ops"')
        assert "a-good-token" not in refused.text
        given = {"Authorization": "Bearer a-good-token"}
        assert client.get(f"{url}/v1/ledger", headers=given).json() == site.engine.ledger()
        assert client.get(f"{url}/healthz").json() == {"status": "ok"}
        assert client.get(f"{url}/healthz", headers=given).json() == {"status": "ok", "problems": []}
        assert server.tally["token"] == 1


def test_tokens_are_asked_for_on_loopback_too(site: Serving) -> None:
    with server_of(site.engine, "127.0.0.1", ("a-good-token",)) as (_, url):
        assert httpx.get(f"{url}/v1/ledger", trust_env=False).status_code == 401


def test_nobody_can_say_whose_request_it_is(site: Serving) -> None:
    forwarded = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Host": "localhost", "Host": "evil.example"}
    assert site.get("/v1/ledger", headers=forwarded).status_code == 403

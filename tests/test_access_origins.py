"""Pages of other origins: those that are named may ask with a token, others may not, and cookies never count."""

from collections.abc import Iterator

import httpx
import pytest

from hms_ops import Engine
from hms_ops.errors import ConfigError, StartError

PORTAL = "https://portal.agency.gov"
TOKEN = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"
CONFIG = {"http_origins": [PORTAL], "http_tokens": [TOKEN]}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Engine(udp=None, http="127.0.0.1:0", data_dir=None, config=CONFIG) as engine:
        assert engine.http_address is not None
        yield f"http://127.0.0.1:{engine.http_address[1]}"


def headers(origin: str = PORTAL, **more: str) -> dict[str, str]:
    return {"Origin": origin, "Sec-Fetch-Site": "cross-site", **more}


def test_a_named_page_asks_with_a_token_and_may_read_the_answer(url: str) -> None:
    answer = httpx.get(f"{url}/v1/ledger", headers=headers(Authorization=f"Bearer {TOKEN}"))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    posted = httpx.post(f"{url}/v1/ingest", content=b"a:1|c", headers=headers(Authorization=f"Bearer {TOKEN}"))
    assert posted.status_code == 200


def test_a_browser_asks_first_and_is_told(url: str) -> None:
    asked = headers(**{"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"})
    answer = httpx.options(f"{url}/v1/dashboards/x", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert "PUT" in answer.headers["access-control-allow-methods"]


def test_without_a_token_a_named_page_is_nobody(url: str) -> None:
    assert httpx.get(f"{url}/v1/ledger", headers=headers()).status_code == 401


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"{PORTAL}.evil.example", "http://portal.agency.gov"]
)
def test_other_pages_are_refused_and_may_not_read(url: str, origin: str) -> None:
    answer = httpx.get(f"{url}/v1/ledger", headers=headers(origin, Authorization=f"Bearer {TOKEN}"))
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    asked = headers(origin, **{"Access-Control-Request-Method": "GET"})
    assert "access-control-allow-origin" not in httpx.options(f"{url}/v1/ledger", headers=asked).headers


def test_a_cookie_from_another_page_never_counts(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        assert client.post("/v1/session", json={"token": TOKEN}).status_code == 200
        assert client.get("/v1/ledger").status_code == 200
        assert client.get("/v1/ledger", headers=headers()).status_code in (401, 403)
        assert client.post("/v1/actions/stop", json={}, headers=headers()).status_code in (401, 403)


def test_a_stream_is_followed_from_a_named_page(url: str) -> None:
    asked = headers(Authorization=f"Bearer {TOKEN}")
    with httpx.stream("GET", f"{url}/v1/stream?metric=-", headers=asked) as answer:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PORTAL
        assert next(answer.iter_lines()).startswith("retry:")


def test_origins_without_tokens_do_not_start() -> None:
    with pytest.raises(StartError, match="needs http_tokens"):
        Engine(udp=None, http="127.0.0.1:0", data_dir=None, config={"http_origins": [PORTAL]}).start()


@pytest.mark.parametrize("origin", ["portal.agency.gov", "https://portal.agency.gov/x", "*", "ftp://a", 3])
def test_what_is_no_origin_is_refused(origin: object) -> None:
    with pytest.raises(ConfigError, match="origins without a path"):
        Engine(udp=None, data_dir=None, config={"http_origins": [origin]})


def test_people_have_names_with_blanks(url: str) -> None:
    """The stop switch is pulled by Ann Miller, too."""
    asked = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"{url}/v1/actions/stop", json={"who": "Ann Miller", "reason": "x"}, headers=asked)
    assert (answer.status_code, answer.json()["stopped_by"]) == (200, "Ann Miller: x")
    assert httpx.post(f"{url}/v1/actions/resume", json={"who": "Ann Miller"}, headers=asked).status_code == 200

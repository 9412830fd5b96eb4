"""The paths the server answers, each asked over real HTTP: probes, books, lists, the page, and what is not there."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256

import httpx
import pytest
from tests.serving import Serving, server_of, serving

from hms_ops.clock import ManualClock
from hms_ops.engine import Engine


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, object]:
    """The problem document of an answer, its form checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert {"type": document["type"], "status": document["status"]} == {
        "type": f"urn:hms-ops:problem:{kind}",
        "status": status,
    }
    assert answer.status_code == status
    assert document["title"]
    assert document["detail"]
    return document


def test_a_running_engine_is_healthy_and_ready(site: Serving) -> None:
    assert site.get("/healthz").json() == {"status": "ok", "problems": []}
    assert site.get("/readyz").json() == {"status": "ready"}


def test_an_engine_that_does_not_receive_yet_is_not_ready() -> None:
    engine = Engine(udp=None, data_dir=None, clock=ManualClock())
    with server_of(engine) as (_, url):
        answer = httpx.get(f"{url}/readyz", trust_env=False)
    assert (answer.status_code, answer.json()) == (503, {"status": "starting"})


def test_a_rule_that_cannot_be_evaluated_degrades_and_is_no_reason_to_restart() -> None:
    with serving() as broken:
        broken.engine.ingest(b"people:ann|s\n")
        broken.engine.alert("people.many", if_="avg(people) > 1")
        broken.engine.advance(2)
        answer = broken.get("/healthz")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert "people.many" in answer.json()["problems"][0]
        assert "unhealthy" in broken.get("/").text


def test_the_ledger_is_the_engines(site: Serving) -> None:
    site.engine.ingest(b"ledger.a:1|c\nledger.a:nan|c\n")
    site.engine.ingest(b"{")
    answer = site.get("/v1/ledger")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == site.engine.ledger()
    assert answer.json()["bad"]["nan"] >= 1
    assert answer.json()["rejected"]["json_syntax"] >= 1


def test_series_are_listed_by_prefix(site: Serving) -> None:
    site.engine.ingest(b"list.a:1|c|#zone:east\nlist.b:2|ms\nother.c:1|g\n")
    answer = site.get("/v1/series", params={"prefix": "list."})
    assert answer.json() == {
        "series": [
            {"metric": "list.a", "tags": {"zone": "east"}, "kind": "counter", "unit": "", "help": ""},
            {"metric": "list.b", "tags": {}, "kind": "timer", "unit": "", "help": ""},
        ],
        "is_complete": True,
    }


def test_a_list_of_series_that_was_cut_says_so(site: Serving) -> None:
    site.engine.ingest(b"cut.a:1|c\ncut.b:1|c\ncut.c:1|c\n")
    assert site.get("/v1/series", params={"prefix": "cut.", "limit": 2}).json()["is_complete"] is False
    assert site.get("/v1/series", params={"prefix": "cut.", "limit": 3}).json()["is_complete"] is True
    assert site.get("/v1/series", params={"prefix": "nobody.has.sent.this"}).json()["series"] == []


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "1e3", "", "ten", "९", "9" * 5000])
def test_a_limit_out_of_bounds_is_refused(site: Serving, limit: str) -> None:
    assert "1 to 10,000" in str(problem(site.get("/v1/series", params={"limit": limit}), 400, "parameter")["detail"])


def test_an_unknown_parameter_is_refused_with_the_nearest_name(site: Serving) -> None:
    assert "prefix" in str(problem(site.get("/v1/series?prefx=a"), 400, "parameter")["detail"])


def test_a_parameter_given_twice_is_refused(site: Serving) -> None:
    assert "twice" in str(problem(site.get("/v1/series?limit=1&limit=2"), 400, "parameter")["detail"])


def test_rejects_show_what_was_turned_away_and_why(site: Serving) -> None:
    site.engine.ingest(b"rejected.\x1b]0;owned\x07:1|c\n")
    newest = site.get("/v1/rejects").json()["rejects"][0]
    assert set(newest) == {"time", "input", "reason", "source", "text"}
    assert newest["input"] == "in-process"
    assert newest["time"] == site.engine.clock.now_ns() / 1e9


def test_the_page_runs_no_script_and_loads_nothing(site: Serving) -> None:
    answer = site.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "later version" in answer.text
    assert not re.search(r"<script|<img|<link|\ssrc=|\son\w+=|javascript:|https?:", answer.text)
    style = re.search("<style>(.*)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "unsafe" not in policy


def test_every_link_of_the_page_answers(site: Serving) -> None:
    links = re.findall('href="([^"]*)"', site.get("/").text)
    assert len(links) >= 7
    assert {link: site.get(link).status_code for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'onmouseover='x", "&lt;b&gt;", "\u202etxt"],
)
def test_the_page_escapes_what_strangers_sent(site: Serving, hostile: str) -> None:
    site.engine.alert_now("page.alert", value=1.0, tags={"who": hostile}, ttl=1)
    text = site.get("/").text
    site.engine.advance(2)
    assert "page.alert" in text
    assert hostile not in text
    assert "<img" not in text
    assert "<script" not in text


def test_answers_stay_out_of_caches_and_other_origins(site: Serving) -> None:
    for path in ("/", "/v1/ledger", "/metrics", "/nowhere"):
        headers = site.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v1/ledger/x", "/%2e%2e/etc/passwd", "/v1/slos/x"])
def test_a_path_that_is_not_there_is_a_problem(site: Serving, path: str) -> None:
    problem(site.get(path), 404, "no-such-path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/v1/ledger", "GET"), ("POST", "/v1/query", "GET"), ("GET", "/v1/ingest", "POST"), ("PUT", "/", "GET")],
)
def test_a_method_that_is_not_taken_is_a_problem_that_lists_those_that_are(
    site: Serving, method: str, path: str, allowed: str
) -> None:
    answer = site.client.request(method, path)
    problem(answer, 405, "method")
    assert allowed in answer.headers["allow"]


def test_what_the_engine_did_not_expect_is_logged_and_says_nothing_of_itself(
    site: Serving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., None],
) -> None:
    monkeypatch.setattr(site.engine, "ledger", lambda: {"secret": object()})
    answer = site.get("/v1/ledger")
    assert "object" not in str(problem(answer, 500, "internal"))
    assert "Traceback" not in answer.text
    assert answer.headers["connection"] == "close"
    wait_until(lambda: "hms_ops.http.connection" in {record.name for record in caplog.records})
    monkeypatch.undo()
    assert site.get("/v1/ledger").status_code == 200

"""The paths the server answers, each asked over real HTTP: probes, books, lists, the dashboard, what is not there."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.serving import Serving, server_of, serving

from hms_ops.clock import ManualClock
from hms_ops.engine import Engine
from hms_ops.http import screens
from hms_ops.http.screens import asset_of


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
            {"metric": "list.b", "tags": {}, "kind": "timer", "unit": "ms", "help": ""},
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


def test_the_dashboard_is_at_the_root_or_a_problem_says_that_it_is_not_built(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = {name: asset_of(name, b"<!doctype html>") for name in ("index.html", "assets/app-1.js")}
    monkeypatch.setattr(screens, "assets", lambda: built)
    answer = site.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (answer.text, answer.headers["cache-control"]) == ("<!doctype html>", "no-cache")
    assert answer.headers["content-security-policy"] == screens.POLICY
    assert site.get("/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert "immutable" in site.get("/assets/app-1.js").headers["cache-control"]
    problem(site.get("/assets/app-2.js"), 404, "no-such-path")
    monkeypatch.setattr(screens, "assets", dict)
    assert "make ui" in str(problem(site.get("/"), 503, "no-dashboard")["detail"])


def test_answers_stay_out_of_caches_and_other_origins(site: Serving) -> None:
    kept = "private, no-cache"  # a browser may keep it, and asks again each time
    for path, caching in (
        ("/v1/ledger", kept),
        ("/metrics", kept),
        ("/nowhere", "no-store"),
        ("/v1/query", "no-store"),
    ):
        headers = site.get(path).headers
        assert headers["cache-control"] == caching
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

"""`/api/v1` over HTTP: what Grafana's data source sends, in the bytes it sends it, what promtool asks, and what is
refused in Prometheus' words."""

import json
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.engines import NOW
from tests.promtool import PROMTOOL
from tests.serving import Serving, exchange, serving

from hms_ops.prometheus.query import budget, reader

SECONDS = 130
END = NOW + SECONDS


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    """A timer with a tag that is no label as it stands, a counter, a gauge, a rule that fires and one that does not."""
    with serving() as served:
        engine = served.engine
        engine.alert(
            "db.slow", if_="avg(finance.api_ms) > 50", for_="10s", keep="1m", tags={"team": "db"},
            annotations={"summary": "{value} ms in {team}"},
        )  # fmt: skip
        engine.alert("db.fast", if_="avg(finance.api_ms) < 0")
        engine.describe("finance.api_ms", unit="ms", help="API latency")
        for second in range(SECONDS):
            for agency in ("irs", "ssa"):
                tags = {"agency": agency, "us-state": "NY"}
                engine.metric("finance.api_ms", 100.0 + second % 7, kind="timer", tags=tags)
                engine.metric("orders", 2.0, kind="counter", tags={"agency": agency})
            engine.metric("queue.depth", second % 10, kind="gauge")
            engine.advance(1)
        yield served


def data(served: Serving, path: str, **given: Any) -> Any:
    answer = served.get(f"/api/v1/{path}", params=given)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["status"] == "success"
    return document["data"]


def error(served: Serving, path: str, **given: Any) -> tuple[int, str, str]:
    answer = served.get(f"/api/v1/{path}", params=given)
    document = answer.json()
    assert document.keys() == {"status", "errorType", "error"}
    assert (document["status"], answer.headers["content-type"]) == ("error", "application/json")
    return answer.status_code, document["errorType"], document["error"]


# ---- what Grafana sends


def grafana(served: Serving, method: str, path: str, form: str = "") -> tuple[int, Any]:
    """One request as Grafana's server sends it, byte by byte; what it answers."""
    host, port = served.address
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "User-Agent: Grafana/11.4.0",
        f"Content-Length: {len(form)}" if form else "",
        "Content-Type: application/x-www-form-urlencoded" if form else "",
        "X-Dashboard-Title: Refund rush",
        "X-Dashboard-Uid: hms-ops-refund-rush",
        "X-Datasource-Uid: hms-ops",
        "X-Grafana-Org-Id: 1",
        "X-Panel-Id: 5",
        "X-Panel-Plugin-Id: timeseries",
        "X-Query-Group-Id: 5d3dbba4-04cb-4a53-9d97-3c6ef2e4a4a6",
        "Authorization: Bearer ",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    raw = "\r\n".join([*filter(None, head), "", form]).encode()
    answer = exchange_all(served.address, raw)
    before, _, body = answer.partition(b"\r\n\r\n")
    return int(before.split()[1]), json.loads(body)


def exchange_all(address: tuple[str, int], raw: bytes) -> bytes:
    import socket

    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(raw)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_the_health_check_of_the_data_source_succeeds(served: Serving) -> None:
    """Save & test: 1+1 at the fourth second of 1970, then what Prometheus this is."""
    status, answer = grafana(served, "POST", "/api/v1/query", "query=1%2B1&time=4")
    assert (status, answer["data"]) == (200, {"resultType": "scalar", "result": [4, "2"]})
    status, answer = grafana(served, "GET", "/api/v1/status/buildinfo")
    assert (status, answer["data"]["version"]) == (200, "2.55.1")
    assert "features" not in answer["data"], "with features Grafana would take it for Mimir"


def test_a_panel_is_asked_by_form(served: Serving) -> None:
    query = urllib.parse.quote_plus('sum by (agency) (rate(orders_total{agency=~".*"}[1m0s]))')
    form = f"end={END}&query={query}&start={NOW + 60}&step=15&timeout=30s"
    status, answer = grafana(served, "POST", "/api/v1/query_range", form)
    assert status == 200
    assert [one["metric"] for one in answer["data"]["result"]] == [{"agency": "irs"}, {"agency": "ssa"}]
    assert all(text == "2" for one in answer["data"]["result"] for _, text in one["values"])
    form = f"query={query}&time={END}.123"
    status, answer = grafana(served, "POST", "/api/v1/query", form)
    assert [one["value"] for one in answer["data"]["result"]] == [[END + 0.123, "2"]] * 2
    status, answer = grafana(served, "POST", "/api/v1/query_exemplars", f"end={END}&query={query}&start={NOW}")
    assert (status, answer) == (200, {"status": "success", "data": []})


def test_the_query_editor_finds_names_labels_and_values(served: Serving) -> None:
    span = f"start={NOW}&end={END}"
    _, answer = grafana(served, "GET", f"/api/v1/label/__name__/values?limit=40000&{span}")
    assert {"finance_api_ms", "finance_api_ms_p95", "orders_total", "queue_depth_last", "db_slow"} <= {*answer["data"]}
    _, answer = grafana(served, "POST", "/api/v1/labels", f"limit=40000&match%5B%5D=finance_api_ms_bucket&{span}")
    assert answer["data"] == ["__name__", "agency", "le", "us_state"]
    match = urllib.parse.quote('finance_api_ms{agency=~"i.*"}')
    _, answer = grafana(served, "GET", f"/api/v1/label/agency/values?limit=40000&match%5B%5D={match}&{span}")
    assert answer["data"] == ["irs"]
    _, answer = grafana(served, "POST", "/api/v1/series", f"match%5B%5D={match}&limit=40000&{span}")
    assert answer["data"] == [{"__name__": "finance_api_ms", "agency": "irs", "us_state": "NY"}]
    _, answer = grafana(served, "GET", "/api/v1/metadata?limit=40000")
    assert answer["data"]["finance_api_ms"] == [
        {"type": "gauge", "help": "finance.api_ms in ms: mean of each row.", "unit": "ms"}
    ]
    assert answer["data"]["orders_total"][0]["type"] == "counter"


def test_the_alerting_pages_find_rules_and_alerts(served: Serving) -> None:
    _, answer = grafana(served, "GET", "/api/v1/rules")
    (group,) = answer["data"]["groups"]
    fires, rests = group["rules"]
    assert (fires["name"], fires["state"], fires["type"], fires["health"]) == ("db.slow", "firing", "alerting", "ok")
    assert (fires["duration"], fires["keepFiringFor"], fires["labels"]) == (10, 60, {"team": "db", "severity": "page"})
    assert fires["query"] == "avg(finance.api_ms) > 50"
    assert (rests["state"], rests["alerts"]) == ("inactive", [])
    (alert,) = fires["alerts"]
    assert alert["labels"] == {"alertname": "db.slow", "severity": "page", "team": "db"}
    assert alert["annotations"]["summary"].endswith(" ms in db")
    assert alert["activeAt"].startswith("2023-11-14T22:13:2")
    _, answer = grafana(served, "GET", "/api/v1/alerts")
    assert answer["data"]["alerts"] == [alert]
    assert data(served, "rules", type="record") == {"groups": []}
    (group,) = data(served, "rules", **{"rule_name[]": "db.fast"})["groups"]
    assert [rule["name"] for rule in group["rules"]] == ["db.fast"]
    assert data(served, "rules", exclude_alerts="true")["groups"][0]["rules"][0]["alerts"] == []


# ---- what is given


@pytest.mark.parametrize("time", [str(END), f"{END}.5", "2023-11-14T22:15:30Z", "2023-11-14T17:15:30.250-05:00", ""])
def test_times_are_unix_seconds_or_rfc_3339(served: Serving, time: str) -> None:
    found = data(served, "query", query="sum(queue_depth_count)", **({"time": time} if time else {}))
    assert found["result"][0]["value"][1] == "10"
    assert END <= found["result"][0]["value"][0] < END + 1


@pytest.mark.parametrize("step", ["30", "30.0", "30s", "30000ms"])
def test_a_step_is_seconds_or_a_duration(served: Serving, step: str) -> None:
    found = data(served, "query_range", query="time()", start=NOW, end=NOW + 100, step=step)
    assert [t for t, _ in found["result"][0]["values"]] == [NOW, NOW + 30, NOW + 60, NOW + 90]


def test_parameters_come_in_the_query_string_a_form_or_both(served: Serving) -> None:
    answer = served.post("/api/v1/query?time=5", data={"query": "1 + 2"})
    assert answer.json()["data"]["result"] == [5, "3"]
    answer = served.post("/api/v1/query?query=7", data={"query": "1 + 2", "time": "5", "nocache": "1"})
    assert answer.json()["data"]["result"] == [5, "3"], (
        "the form comes first, as in Go; what nobody knows is passed over"
    )


def test_a_limit_cuts_and_says_so(served: Serving) -> None:
    answer = served.get("/api/v1/query", params={"query": "finance_api_ms", "limit": "1"}).json()
    assert (len(answer["data"]["result"]), answer["warnings"]) == (1, ["results truncated due to limit"])
    answer = served.get("/api/v1/series", params={"match[]": "orders", "limit": "1"}).json()
    assert (len(answer["data"]), answer["warnings"]) == (1, ["results truncated due to limit"])
    assert "warnings" not in served.get("/api/v1/labels", params={"limit": "100"}).json()


def test_a_label_of_any_letters_is_asked_by_its_escaped_name(served: Serving) -> None:
    assert data(served, "label/us_state/values") == ["NY"]
    assert data(served, "label/U__us__state/values") == ["NY"]
    assert data(served, "label/le/values", **{"match[]": 'finance_api_ms_bucket{le=~"64|128"}'}) == ["128", "64"]


def test_format_query(served: Serving) -> None:
    assert data(served, "format_query", query="sum(x)by(y)") == "sum by (y) (x)"


# ---- what is refused

REFUSED = [
    ("query", {"query": ""}, 400, "bad_data", 'invalid parameter "query": parse error: no expression found in input'),
    ("query", {"query": "rate(x"}, 400, "bad_data", "unclosed left parenthesis"),
    (
        "query",
        {"query": "rate(db.write_ms[5m])"},
        400,
        "bad_data",
        "for db.write_ms write db_write_ms (a metric",
    ),
    ("query", {"query": 'sum by (a.b) (x{c="d.e"})'}, 400, "bad_data", "for a.b write a_b "),
    ("query", {"query": "x + 1.5.2"}, 400, "bad_data", "bad number or duration syntax: 1.5."),
    ("query", {"query": "nothing_known(x)"}, 400, "bad_data", "unknown function with name 'nothing_known'"),
    ("query", {"query": "rate(x)"}, 400, "bad_data", "expected type matrix"),
    ("query", {"query": 'x{a=~"("}'}, 400, "bad_data", "illegal regex"),
    ("query", {"query": "1", "time": "noon"}, 400, "bad_data", 'invalid parameter "time": cannot parse "noon" to'),
    ("query", {"query": "1", "time": "1e99"}, 400, "bad_data", "valid timestamp"),
    ("query", {"query": "1", "timeout": "soon"}, 400, "bad_data", 'invalid parameter "timeout"'),
    ("query", {"query": "1", "timeout": "-1"}, 400, "bad_data", 'invalid parameter "timeout": a negative timeout'),
    ("query", {"query": "1", "limit": "-1"}, 400, "bad_data", "limit must be a non-negative number"),
    ("query_range", {"query": "1", "start": "0", "end": "9", "step": "0"}, 400, "bad_data", "zero or negative query"),
    ("query_range", {"query": "1", "start": "9", "end": "0", "step": "1"}, 400, "bad_data", "before start time"),
    ("query_range", {"query": "1", "start": "0", "end": "11000", "step": "1"}, 400, "bad_data", "exceeded maximum"),
    ("query_range", {"query": "1", "start": "0", "end": "9"}, 400, "bad_data", 'invalid parameter "step"'),
    ("query_range", {"query": "x[5m]", "start": "0", "end": "9", "step": "1"}, 400, "bad_data", "must be Scalar or"),
    ("series", {}, 400, "bad_data", "no match[] parameter provided"),
    ("series", {"match[]": "sum(x)"}, 400, "bad_data", "is no series selector"),
    ("labels", {"match[]": "{}"}, 400, "bad_data", "at least one non-empty matcher"),
    ("labels", {"start": "x"}, 400, "bad_data", 'invalid parameter "start"'),
    ("rules", {"type": "x"}, 400, "bad_data", 'not supported value "x"'),
    (
        "query",
        {"query": "sum(label_replace(x, 'a', '$1', 'b', '(.*)'))"},
        422,
        "execution",
        "1:5: label_replace is not",
    ),
    ("query", {"query": "1 +\n  deriv(x[5m])"}, 422, "execution", "2:3: deriv is not supported"),
    (
        "query",
        {"query": "# deriv\nabsent(x{a='deriv'}) + deriv(x[5m])"},
        422,
        "execution",
        "2:24: deriv is not supported",
    ),
    ("query", {"query": "x / on (a) group_left (b) y"}, 422, "execution", "1:12: group_left is not supported"),
    ("query", {"query": "max_over_time(x[5m:10s])"}, 422, "execution", "1:16: a subquery is not supported"),
    ("query", {"query": "x @ 5"}, 422, "execution", "1:3: @ is not supported"),
    ("query", {"query": "count_values('a', x)"}, 422, "execution", "1:1: count_values is not supported"),
    ("query", {"query": 'x{a="b" or c="d"}'}, 422, "execution", "1:9: or is not supported: matchers joined by"),
    (
        "query",
        {"query": "ALERTS{alertstate='firing'}"},
        422,
        "execution",
        "1:1: ALERTS is not supported: alerts are no",
    ),
    ("query", {"query": "orders_total"}, 422, "execution", "orders_total is a counter's running total, which is not"),
    ("query", {"query": "rate(finance_api_ms[1m])"}, 422, "execution", "ask for rate(finance_api_ms_count[5m])"),
    ("query", {"query": "delta(orders_total[1m])"}, 422, "execution", "ask for increase(orders_total[5m])"),
    ("query", {"query": "sum_over_time(orders[1m])"}, 422, "execution", "ask for increase(orders[5m])"),
    ("query", {"query": "finance_api_ms_sum + on (us_state) finance_api_ms_count"}, 422, "execution", "many-to-many"),
    ("query", {"query": 'rate({__name__=~"finance_api_ms_(sum|count)"}[1m])'}, 422, "execution", "same labelset"),
    ("query", {"query": "(" * 101 + "1" + ")" * 101}, 422, "execution", "nested deeper than 100 levels"),
]


@pytest.mark.parametrize(("path", "given", "status", "sort", "words"), REFUSED)
def test_what_is_refused_says_why_in_prometheus_form(
    served: Serving, path: str, given: dict[str, str], status: int, sort: str, words: str
) -> None:
    found = error(served, path, **given)
    assert found[:2] == (status, sort)
    assert words in found[2]


def test_a_query_that_is_too_long_for_the_parser_is_refused(served: Serving) -> None:
    answer = served.post("/api/v1/query", data={"query": "-" * 9000 + "1"})
    assert (answer.status_code, "8,192 are allowed" in answer.json()["error"]) == (422, True)
    for query in (
        "-" * 8190 + "x",
        "#\r" + "-" * 8180 + "x",
        "(" * 4000 + "x" + ")" * 4000,
        "abs(" * 1600 + "x" + ")" * 1600,
        "x" + "+x" * 4000,
    ):
        answer = served.post("/api/v1/query", data={"query": query})
        assert (answer.status_code, "1,000 are allowed" in answer.json()["error"]) == (422, True)
    for query in ("-" * 999 + "x", "(" * 999 + "x" + ")" * 999, "x" + "+x" * 999, "topk(" * 120 + "1,x)" + ",x)" * 119):
        answer = served.post("/api/v1/query", data={"query": query})
        assert (answer.status_code, answer.json()["status"]) in ((422, "error"), (400, "error"))


def test_refusals_are_counted_under_their_reason(served: Serving) -> None:
    before = served.refused("promql-unsupported"), served.refused("promql-bad-data")
    error(served, "query", query="deriv(x[5m])")
    error(served, "query", query="(")
    assert (served.refused("promql-unsupported"), served.refused("promql-bad-data")) == (before[0] + 1, before[1] + 1)
    assert 'hms_ops_http_refused_total{reason="promql-limit"}' in served.get("/metrics").text


def test_a_form_that_is_no_text_or_too_long_is_refused(served: Serving) -> None:
    answer = served.post("/api/v1/query", content=b"query=\xff\xfe")
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    answer = served.post("/api/v1/query", content=b"query=" + b"1" * 100_000)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    answer = served.post("/api/v1/query", content=b"&".join(b"a=1" for _ in range(2000)))
    assert (answer.status_code, "1,000 fields" in answer.json()["error"]) == (400, True)


def test_what_costs_too_much_is_refused_and_counted(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served.refused("promql-limit")
    monkeypatch.setattr(budget, "SERIES_MAX", 1)
    assert error(served, "query", query="orders")[0] == 422
    monkeypatch.undo()
    monkeypatch.setattr(budget, "CELLS_MAX", 1)
    assert "more than 1 samples and values" in error(served, "query", query="orders")[2]
    monkeypatch.undo()
    monkeypatch.setattr(budget, "WORK_MAX", 10)
    assert "hold more than 10 samples together" in error(served, "query", query="increase(orders[2m])")[2]
    monkeypatch.undo()
    monkeypatch.setattr(reader, "SKETCHES_MAX", 1)
    assert "percentiles and buckets" in error(served, "query", query="finance_api_ms_p95")[2]
    assert served.refused("promql-limit") == before + 4


LISTINGS = (
    ("series", {"match[]": '{__name__!=""}'}),
    ("series", {"match[]": ["finance_api_ms_bucket", "orders"]}),
    ("label/__name__/values", {}),
    ("label/__name__/values", {"match[]": '{__name__!=""}'}),
    ("label/le/values", {}),
    ("metadata", {}),
)


@pytest.mark.parametrize(("path", "asked"), LISTINGS, ids=str)
def test_a_listing_holds_no_more_than_its_bound(
    served: Serving, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(budget, "LISTED_MAX", 5)
    before = served.refused("promql-limit")
    for limit in ("0", "6"):
        status, sort, words = error(served, path, **asked, limit=limit)
        assert (status, sort, "more than 5 would be listed" in words) == (422, "execution", True)
    assert served.refused("promql-limit") == before + 2
    answer = served.get(f"/api/v1/{path}", params={**asked, "limit": "4"}).json()
    assert len(answer["data"]) == 4
    assert path == "metadata" or answer["warnings"] == ["results truncated due to limit"]


def test_the_names_of_a_listing_that_is_cut_are_the_first_ones(
    served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = data(served, "label/__name__/values")
    monkeypatch.setattr(budget, "LISTED_MAX", 5)
    assert data(served, "label/__name__/values", limit="3") == names[:3]
    assert list(data(served, "metadata", limit="3")) == names[:3]


def test_what_would_be_too_many_rows_is_read_by_longer_ones_and_says_so(
    served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "CELLS_MAX", 40)
    answer = served.get("/api/v1/query", params={"query": "sum(increase(orders_total[2m]))"}).json()
    assert answer["infos"] == ["read by minute, since there are so many series over so long a range"]
    assert float(answer["data"]["result"][0]["value"][1]) == pytest.approx(480)


def test_a_query_that_takes_too_long_is_a_timeout(served: Serving) -> None:
    assert error(served, "query", query="sum(orders)", timeout="0") == (
        503,
        "timeout",
        "the query took longer than 0 s",
    )


def test_without_promql_parser_it_is_said_how_to_get_it(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "promql_parser", None)
    status, sort, words = error(served, "query", query="1+1")
    assert (status, sort) == (501, "not_implemented")
    assert "pip install 'hms-ops[server]'" in words
    assert data(served, "label/agency/values") == ["irs", "ssa"], "what needs no parser is answered"


def test_what_takes_no_form_takes_no_post(served: Serving) -> None:
    assert served.post("/api/v1/metadata", data={}).status_code == 405
    assert b" 404 " in exchange(served.address, b"GET /api/v1/targets HTTP/1.1\r\nHost: localhost\r\n\r\n")


# ---- promtool


def promtool(*words: str) -> str:
    done = subprocess.run([PROMTOOL, "query", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not PROMTOOL, reason="no promtool here: make servers, or apt-get install prometheus")
def test_promtool_asks_as_it_asks_prometheus(served: Serving) -> None:
    base = "http://{}:{}".format(*served.address)
    assert promtool("instant", base, "sum(rate(orders_total[1m]))", "--time", str(END)) == f"{{}} => 4 @[{END}]\n"
    found = promtool("range", base, "orders_sum{agency='irs'}", "--start", str(NOW), "--end", str(END), "--step", "60s")
    assert found == f'orders_sum{{agency="irs"}} =>\n20 @[{NOW + 60}]\n20 @[{NOW + 120}]\n'
    span = ("--start", str(NOW), "--end", str(END))
    assert promtool("series", base, "--match", "orders_total{agency='irs'}", *span) == (
        '{__name__="orders_total", agency="irs"}\n'
    )
    assert promtool("labels", base, "agency", *span) == "irs\nssa\n"


def test_the_server_starts_without_promql_parser() -> None:
    code = "import sys; sys.modules['promql_parser'] = None; import hms_ops.http.routes"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_twenty_panels_at_once_are_all_answered(served: Serving) -> None:
    with ThreadPoolExecutor(20) as pool:
        form = {"query": "sum(rate(orders_total[1m]))", "start": NOW + 60, "end": END, "step": 1}
        answers = list(pool.map(lambda _: served.post("/api/v1/query_range", data=form), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1

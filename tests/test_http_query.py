"""`GET /v1/query`: the contract's answer, nulls, every wrong parameter, unknown metrics and expressions."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.serving import Serving, serving

from hms_ops.asked import POINTS_MAX, STEPS, step_of_points
from hms_ops.csvtext import csv_text
from hms_ops.errors import StorageError

SECONDS = 40


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    """40 s of values: `q_ms` 1, 2, 3, … on east, ten times that on west; `q.gap` in the first second only."""
    with serving() as made:
        made.engine.ingest(b"q.gap:5|ms\nq.gauge:7|g\n")
        for value in range(1, SECONDS + 1):
            made.engine.ingest(f"q_ms:{value}|ms|#zone:east\nq_ms:{value * 10}|ms|#zone:west\n".encode())
            made.engine.advance(1)
        yield made


def asked(site: Serving, **given: Any) -> Any:
    answer = site.get("/v1/query", params=given)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content, parse_constant=pytest.fail)


def refused(site: Serving, status: int, kind: str, **given: Any) -> dict[str, Any]:
    answer = site.get("/v1/query", params=given)
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["type"]) == (status, f"urn:hms-ops:problem:{kind}")
    return document


def now(site: Serving) -> float:
    return site.engine.clock.now_ns() / 1e9


def test_the_value_now_is_one_point(site: Serving) -> None:
    answer = asked(site, expr="max(q_ms, 10s)")
    assert set(answer) == {"expr", "step", "series"}
    assert answer["expr"] == "max(q_ms, 10s)"
    (series,) = answer["series"]
    assert set(series) == {"metric", "tags", "points"}
    assert [value for _, value in series["points"]] == [400.0]


@pytest.mark.parametrize("step", ["10", "10.0", "10s"])
def test_a_range_has_a_point_for_each_step(site: Serving, step: str) -> None:
    answer = asked(site, expr="count(q_ms)", start=now(site) - 30, end=now(site), step=step)
    assert answer["step"] == 10
    (series,) = answer["series"]
    times = [time for time, _ in series["points"]]
    assert times == sorted(times)
    assert {later - earlier for earlier, later in pairwise(times)} == {10}
    assert sum(value for _, value in series["points"]) >= 60


def test_groups_are_series_with_their_tags(site: Serving) -> None:
    answer = asked(site, expr="max(q_ms, 1s) GROUP BY zone")
    assert {series["tags"]["zone"]: series["points"][0][1] for series in answer["series"]} == {
        "east": 40.0,
        "west": 400.0,
    }


def test_a_bare_selector_is_per_series(site: Serving) -> None:
    assert len(asked(site, expr="q_ms")["series"]) == 2


def test_what_is_unknown_is_null_and_never_nan(site: Serving) -> None:
    text = site.get("/v1/query", params={"expr": "avg(q.gap, 5s)"}).text
    assert "NaN" not in text
    assert [value for series in json.loads(text)["series"] for _, value in series["points"]] in ([None], [])
    expr = "avg(q.gap) / (avg(q_ms) - avg(q_ms))"
    answer = site.get("/v1/query", params={"expr": expr, "start": now(site) - 30, "step": 10})
    assert answer.status_code == 200
    assert not any(word in answer.text for word in ("NaN", "nan", "Infinity", "inf"))


def test_an_expression_is_answered_as_it_was_asked(site: Serving) -> None:
    assert asked(site, expr="avg( q_ms )   >  0")["expr"] == "avg( q_ms )   >  0"


@pytest.mark.parametrize(
    ("expr", "line", "column"),
    [
        ("avg(", 1, 5),
        ("avg(q_ms", 1, 9),
        ("avg(q_ms)) > 1", 1, 10),
        ("avg(q_ms)\n > > 1", 2, 4),
        ("p99(q_ms, 5m", 1, 13),
        ("nope(q_ms)", 1, 1),
    ],
)
def test_a_wrong_expression_names_its_place(site: Serving, expr: str, line: int, column: int) -> None:
    problem = refused(site, 400, "expression", expr=expr)
    assert {"type", "title", "status", "detail", "line", "column"} == set(problem)
    assert (problem["line"], problem["column"]) == (line, column)
    assert "\n" not in problem["detail"]


@pytest.mark.parametrize("expr", ["(" * 10_000, "avg(q_ms)" + " + 1" * 3_000, "-" * 10_000, "\x00", "\u202e", "😀"])
def test_an_expression_that_is_too_much_is_refused(site: Serving, expr: str) -> None:
    answer = site.get("/v1/query", params={"expr": expr})
    assert answer.status_code in (400, 414, 431)
    assert site.get("/healthz").status_code == 200


def test_a_metric_nobody_has_sent_is_404_with_the_nearest(site: Serving) -> None:
    problem = refused(site, 404, "unknown-metric", expr="avg(q_mss)")
    assert problem["nearest"][0] == "q_ms"
    assert "q_mss" in problem["detail"]
    refused(site, 404, "unknown-metric", expr="avg(q_mss)", start=now(site) - 30)


@pytest.mark.parametrize("given", [{}, {"expr": ""}, {"expr": "  "}, {"start": "1"}])
def test_without_an_expression_there_is_no_answer(site: Serving, given: dict[str, str]) -> None:
    assert "expr" in refused(site, 400, "parameter", **given)["detail"]


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "-1", "-inf", "1e400", "1700000000000", "0x10", "1,5"])
def test_a_time_that_is_none_is_refused(site: Serving, name: str, text: str) -> None:
    assert refused(site, 400, "parameter", expr="avg(q_ms)", **{name: text})["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize("text", ["", "0", "-10", "nan", "inf", "ten", "10 seconds", "1e9", "10x", "s"])
def test_a_step_that_is_none_is_refused(site: Serving, text: str) -> None:
    given = {"expr": "avg(q_ms)", "start": now(site) - 30, "step": text}
    assert refused(site, 400, "parameter", **given)["detail"].startswith("step: ")


@pytest.mark.parametrize(
    "given",
    [
        {"step": "10"},
        {"end": "1700000000"},
        {"start": "1700000030", "end": "1700000010"},
        {"start": "1700000000", "step": "0.5"},
        {"start": "1", "end": "1700000010", "step": "1"},
    ],
    ids=["step alone", "end alone", "backwards", "half a second", "too many points"],
)
def test_a_range_that_cannot_be_is_refused_by_the_engine(site: Serving, given: dict[str, str]) -> None:
    refused(site, 400, "query", expr="avg(q_ms)", **given)


def test_a_misspelt_or_repeated_parameter_is_refused(site: Serving) -> None:
    assert "'step'" in refused(site, 400, "parameter", expr="avg(q_ms)", stpe="10s")["detail"]
    answer = site.get("/v1/query?expr=avg(q_ms)&expr=max(q_ms)")
    assert (answer.status_code, answer.json()["detail"]) == (400, "the parameter 'expr' is given twice")


def test_a_disk_that_cannot_be_read_is_503(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise StorageError("the disk has been writing for 5 s; try later")

    monkeypatch.setattr(site.engine, "query", fail)
    assert refused(site, 503, "storage", expr="avg(q_ms)")["detail"] == "the disk has been writing for 5 s; try later"


def test_an_answer_comes_as_csv_where_it_is_asked_for(site: Serving) -> None:
    given = {"expr": "max(q_ms) GROUP BY zone", "start": now(site) - 30, "step": "10"}
    answer = site.get("/v1/query", params={**given, "format": "csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.text == csv_text(asked(site, **given))
    assert answer.text.splitlines()[0] == "time,metric,zone,value"
    assert asked(site, **given, format="json") == asked(site, **given)


@pytest.mark.parametrize("text", ["", "xml", "CSV", "csv,json"])
def test_a_format_that_is_none_is_refused(site: Serving, text: str) -> None:
    assert "none of json, csv" in refused(site, 400, "parameter", expr="q_ms", format=text)["detail"]


def test_what_is_refused_is_a_problem_in_csv_too(site: Serving) -> None:
    refused(site, 400, "expression", expr="avg(", format="csv")
    refused(site, 404, "unknown-metric", expr="avg(q_mss)", format="csv")


@pytest.mark.parametrize(("points", "step"), [(60, 1), (40, 1), (39, 2), (20, 2), (9, 5), (5, 10), (2, 20), (1, 60)])
def test_points_choose_the_step_of_what_is_kept(site: Serving, points: int, step: int) -> None:
    end = int(now(site))
    answer = asked(site, expr="max(q_ms)", start=end - 40, end=end, points=points)
    (series,) = answer["series"]
    assert answer["step"] == step
    assert len(series["points"]) <= points
    assert max(value for _, value in series["points"]) == 400.0


def test_a_step_of_points_is_the_smallest_that_is_kept_and_makes_few_enough() -> None:
    for span in (1, 59, 60, 3600, 86_399, 31 * 86_400, 900 * 86_400):
        for start in (1_700_000_000, 1_700_000_007):
            for kept in (1, 10, 60, 3600):
                for points in (1, 7, 300, POINTS_MAX):
                    step = step_of_points(start, start + span, points, kept)
                    assert step % kept == 0
                    assert count_of(start, start + span, step) <= points
                    finer = [one for one in STEPS if one % kept == 0 and one < step]
                    assert not finer or count_of(start, start + span, finer[-1]) > points


def count_of(start: int, end: int, step: int) -> int:
    return -(-end // step) - start // step


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points": 10}, "need a start"),
        ({"points": 10, "step": 10, "start": 1_700_000_000}, "give one of them"),
        ({"points": 0, "start": 1_700_000_000}, "1 to 11,000"),
        ({"points": POINTS_MAX + 1, "start": 1_700_000_000}, "1 to 11,000"),
    ],
)
def test_points_that_cannot_be_are_a_problem(site: Serving, given: dict[str, Any], said: str) -> None:
    answer = site.get("/v1/query", params={"expr": "max(q_ms)", **given})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]

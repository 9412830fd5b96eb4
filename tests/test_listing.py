"""What screens look up: metrics, their tags, and what makes series many; over real HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import manual
from tests.serving import Serving, server_of, serving

from hms_ops.census import OVERFLOW_TAG, VALUES_LISTED, Census, counted_of
from hms_ops.clock import ManualClock
from hms_ops.engine import Engine


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving(limits={"series": 200}) as made:
        yield made


def test_metrics_are_listed_by_name_with_their_kind_and_their_series(site: Serving) -> None:
    site.engine.ingest(b"b.api_ms:5|ms|#host:a\nb.api_ms:5|ms|#host:b\na.count:1|c\nc.people:ann|s")
    document = site.get("/v1/metrics").json()
    assert [(one["metric"], one["kind"], one["series"]) for one in document["metrics"]] == [
        ("a.count", "counter", 1),
        ("b.api_ms", "timer", 2),
        ("c.people", "set", 1),
    ]
    assert document["is_complete"] is True


def test_a_prefix_chooses_and_a_limit_says_that_it_cut(site: Serving) -> None:
    site.engine.ingest(b"\n".join(b"web.m%d:1|g" % n for n in range(5)) + b"\nwea:1|g\nwec:1|g")
    document = site.get("/v1/metrics", params={"prefix": "web.", "limit": "3"}).json()
    assert [one["metric"] for one in document["metrics"]] == ["web.m0", "web.m1", "web.m2"]
    assert document["is_complete"] is False
    assert site.get("/v1/metrics", params={"prefix": "web.", "limit": "5"}).json()["is_complete"] is True
    assert site.get("/v1/metrics", params={"prefix": "x"}).json() == {"metrics": [], "is_complete": True}


def test_a_unit_is_known_without_a_data_directory_and_a_rules_gauge_is_told_apart(site: Serving) -> None:
    site.engine.ingest(b"api_ms:250|ms")
    site.engine.describe("api_ms", unit="ms")
    site.engine.alert("api.slow", if_="avg(api_ms) > 200")
    site.engine.advance(3)
    found = {one["metric"]: one for one in site.get("/v1/metrics").json()["metrics"]}
    assert (found["api_ms"]["unit"], found["api_ms"]["rule"]) == ("ms", False)
    assert (found["api.slow"]["kind"], found["api.slow"]["rule"]) == ("gauge", True)


def test_metrics_of_an_earlier_run_are_listed_with_what_was_said_of_them(tmp_path: Path) -> None:
    with Engine(udp=None, data_dir=tmp_path, clock=ManualClock()) as engine:
        engine.ingest(b"old.size:1|g|#host:a")
        engine.describe("old.size", unit="bytes", help="how large it was")
        engine.advance(30)
    with Engine(udp=None, data_dir=tmp_path, clock=ManualClock()) as engine, server_of(engine) as (_, url):
        (found,), _ = engine.census.metrics("old.", 10)
        assert (found["kind"], found["unit"], found["help"]) == ("gauge", "bytes", "how large it was")
        assert engine.census.tags("old.size") == [{"tag": "host", "values": ["a"], "count": 1}]
        assert url


def test_tags_of_a_metric_have_their_first_values_and_their_count(site: Serving) -> None:
    many = b"\n".join(b"m:1|g|#user:%03d,zone:z%d" % (n, n % 2) for n in range(150))
    site.engine.ingest(many + b"\nm:1|g")
    zone = {"tag": "zone", "values": ["z0", "z1"], "count": 2}
    user = {"tag": "user", "values": [f"{n:03d}" for n in range(VALUES_LISTED)], "count": 150}
    assert site.get("/v1/tags", params={"metric": "m"}).json() == {"metric": "m", "tags": [user, zone]}


def test_tags_of_a_metric_nobody_sent_are_a_problem_that_names_the_nearest(site: Serving) -> None:
    site.engine.ingest(b"finance.api_ms:1|ms")
    answer = site.get("/v1/tags", params={"metric": "finance.apims"})
    assert (answer.status_code, answer.json()["nearest"]) == (404, ["finance.api_ms"])
    assert site.get("/v1/tags").status_code == 400


def test_cardinality_names_the_metrics_and_tags_that_make_series_many(site: Serving) -> None:
    site.engine.ingest(
        b"\n".join(b"big:1|g|#user:u%d,host:h%d" % (n, n % 3) for n in range(50)) + b"\nsmall:1|g|#host:q"
    )
    document = site.get("/v1/cardinality").json()
    assert (document["series"], document["limit"], document["overflowed"]) == (51, 200, 0)
    assert document["metrics"] == [
        {"metric": "big", "series": 50, "tags": [{"tag": "user", "values": 50}, {"tag": "host", "values": 3}]},
        {"metric": "small", "series": 1, "tags": [{"tag": "host", "values": 1}]},
    ]
    assert document["tags"] == [
        {"tag": "user", "values": 50, "series": 50},
        {"tag": "host", "values": 4, "series": 51},
    ]
    limited = site.get("/v1/cardinality?limit=1").json()
    assert [one["metric"] for one in limited["metrics"]] == ["big"]
    assert [one["tag"] for one in limited["tags"]] == ["user"]
    assert limited["series"] == 51


def test_what_found_no_room_is_counted_and_is_no_series_of_its_own(site: Serving) -> None:
    site.engine.ingest(b"\n".join(b"flood:1|c|#id:%d" % n for n in range(300)))
    document = site.get("/v1/cardinality").json()
    assert (document["series"], document["overflowed"]) == (200, 100)
    assert OVERFLOW_TAG not in [one["tag"] for one in document["tags"]]
    tags = site.get("/v1/tags?metric=flood").json()["tags"]
    assert [(one["tag"], one["count"]) for one in tags] == [("id", 200)]


def test_a_count_is_kept_for_a_multiple_of_what_it_took(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 1000, 8999, 9000, 9001, 9002])  # one look at the clock before a count and one after it
    monkeypatch.setattr("hms_ops.census.steady_ns", lambda: next(ticks))
    census: Census = site.engine.census
    site.engine.ingest(b"a:1|g")
    assert census.cardinality(10)["series"] == 1
    site.engine.ingest(b"b:1|g")
    assert census.cardinality(10)["series"] == 1
    assert census.cardinality(10)["series"] == 2
    assert census._count() is census._counted


def test_the_count_agrees_with_a_slow_one(site: Serving) -> None:
    site.engine.ingest(b"\n".join(b"m%d:1|g|#a:%d,b:%d" % (n % 7, n % 11, n % 13) for n in range(180)))
    infos = [site.engine.store.series(slot) for slot in range(site.engine.store.series_count)]
    counted = counted_of(site.engine.store, 0)
    for one in counted.tags:
        assert one["values"] == len({info.tags[one["tag"]] for info in infos if one["tag"] in info.tags})
    for metric in counted.metrics:
        assert metric["series"] == sum(info.name == metric["metric"] for info in infos)
    assert counted.series == len(infos)


@pytest.mark.parametrize("path", ["/v1/metrics?limit=0", "/v1/metrics?limit=20001", "/v1/cardinality?limit=1001"])
def test_a_limit_out_of_range_is_a_problem(site: Serving, path: str) -> None:
    answer = site.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "whole number" in answer.json()["detail"]


def test_a_metric_has_the_representative_number_of_its_last_second(site: Serving) -> None:
    site.engine.alert("api.slow", if_="max(api_ms) > 200")
    site.engine.advance(2)
    site.engine.ingest(b"api_ms:100|ms|#h:a\napi_ms:300|ms|#h:b\nhits:2|c|#h:a\nhits:5|c|#h:b")
    site.engine.ingest(b"depth:1|g\ndepth:7|g\nlevel:1|g|#h:a\nlevel:4|g|#h:b\nuser:ann|s\nuser:bob|s\nuser:ann|s")
    site.engine.advance(1)
    values = {one["metric"]: one["value"] for one in site.get("/v1/metrics").json()["metrics"]}
    assert values == {
        "api.slow": values["api.slow"],
        "api_ms": 200.0,
        "depth": 7.0,
        "hits": 7.0,
        "level": 2.5,
        "user": 2.0,
    }
    site.engine.advance(1)
    later = {one["metric"]: one["value"] for one in site.get("/v1/metrics").json()["metrics"]}
    assert later == dict.fromkeys(values, None) | {"api.slow": 1.0}


def test_a_unit_that_nobody_has_told_is_what_the_name_ends_in_or_a_timers() -> None:
    with manual() as engine:
        engine.metric("db.write_ms", 3.0)
        engine.metric("db.rows", 3.0)
        engine.metric("db.wait", 3.0, kind="timer")
        engine.metric("disk.used_bytes", 3.0)
        engine.describe("disk.used_bytes", unit="KiB")
        engine.advance(1)
        listed, _ = engine.census.metrics("", 10)
        units = {one["metric"]: one["unit"] for one in listed}
    assert units == {"db.rows": "", "db.wait": "ms", "db.write_ms": "ms", "disk.used_bytes": "KiB"}

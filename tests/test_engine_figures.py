"""Percentiles and shares through the whole engine: values, rules, ranges of memory and disk, over HTTP and a shell."""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines import NOW, manual
from tests.serving import Serving, serving
from tests.test_figures import RANKS, SHAPES, assert_quantile, random_values

from hms_ops import Engine
from hms_ops.errors import ExpressionError

Floats = NDArray[np.float64]
Fed = list[tuple[int, Floats]]  # the samples of each second


def now_of(engine: Engine) -> int:
    return int(engine.clock.now_ns() // 1_000_000_000)


def play(engine: Engine, shape: str, seconds: int, a_second: int = 8, agency: str = "irs", seed: int = 1) -> Fed:
    """So many samples of `api_ms` in each second, and the clock moves on."""
    rng = np.random.default_rng(seed)
    handle = engine.series("api_ms", kind="timer", tags={"agency": agency})
    fed: Fed = []
    for _ in range(seconds):
        values = random_values(shape, rng, a_second)
        fed.append((now_of(engine), values))
        handle.add_many(values)
        engine.advance(1)
    return fed


def between(fed: Fed, start: int, end: int) -> Floats:
    return np.concatenate([values for second, values in fed if start <= second < end])


def points_of(engine: Engine, expr: str, start: int, end: int | None = None, step: int | None = None) -> dict[int, Any]:
    """{t: value} of an answer with one series."""
    [series] = engine.query(expr, start, end, step)["series"]
    return dict(series["points"])


# ---- the value now


@pytest.mark.parametrize("shape", SHAPES)
def test_the_value_now_is_numpys_within_half_a_bucket(shape: str) -> None:
    with manual() as engine:
        fed = play(engine, shape, 133)
        end = now_of(engine)
        for seconds in (60, 120):
            values = between(fed, (end - seconds) // 10 * 10, end)
            for name, rank in RANKS.items():
                assert_quantile(engine.value(f"{name}(api_ms, {seconds}s)"), values, rank)


def test_the_second_that_is_not_sealed_is_in_no_window() -> None:
    with manual() as engine:
        play(engine, "one value", 15)
        engine.metric("api_ms", 1e6, kind="timer", tags={"agency": "irs"})
        assert engine.value("quantile(api_ms, 1)") == 12.5
        engine.advance(1)
        assert engine.value("quantile(api_ms, 1)") == 1e6


def test_a_percentile_of_what_nobody_sent_is_null_and_of_a_gauge_an_error() -> None:
    with manual() as engine:
        engine.metric("depth", 5.0, kind="gauge")
        engine.advance(1)
        assert math.isnan(engine.value("p99(nothing)"))
        with pytest.raises(ExpressionError, match="timers, histograms and distributions have percentiles"):
            engine.value("p99(depth)")


def test_histograms_and_distributions_have_percentiles_too() -> None:
    with manual() as engine:
        for name, kind in (("a", "histogram"), ("b", "distribution")):
            engine.series(name, kind=kind).add_many(np.arange(1.0, 1001.0))
        engine.advance(1)
        for name in "ab":
            assert engine.value(f"p99({name})") == pytest.approx(990.01, rel=0.0218)


def test_a_samples_rate_is_its_weight() -> None:
    with manual() as engine:
        engine.ingest(b"api_ms:10|ms|@0.01\napi_ms:1000|ms")
        engine.advance(1)
        assert engine.value("p50(api_ms)") == pytest.approx(10, rel=0.0218)
        assert engine.value("share_gt(api_ms, 500)") == pytest.approx(1 / 101)


# ---- rules


def test_a_rule_on_a_percentile_fires_and_resolves() -> None:
    with manual() as engine:
        engine.alert("slow", if_="p90(api_ms, 10s) > 200", for_="3s")
        engine.alert("few", if_="share_gt(api_ms, 200ms, 10s) > 5%")
        handle = engine.series("api_ms", kind="timer")
        states = []
        for second in range(60):
            handle.add_many(np.full(20, 100.0))
            handle.add_many(np.full(3 if 10 <= second < 30 else 0, 900.0))
            engine.advance(1)
            states.append({alert.name: alert.state for alert in engine.alerts()})
        firing = [name for name in ("slow", "few") if any(state.get(name) == "firing" for state in states)]
        assert firing == ["slow", "few"]
        assert states[9] == states[-1] == {}
        assert states[12].get("slow") != "firing"


# ---- ranges


@pytest.mark.parametrize("on_disk", [False, True])
def test_each_point_is_the_percentile_of_its_step(tmp_path: Path, on_disk: bool) -> None:
    with manual(data_dir=tmp_path if on_disk else None) as engine:
        fed = play(engine, "lognormal", 247)
        end = now_of(engine)
        for step in (10, 60, 120):
            found = points_of(engine, "p90(api_ms)", NOW, end, step)
            assert list(found) == list(range(NOW - NOW % step, end, step))
            for t, value in found.items():
                assert_quantile(value, between(fed, t, t + step), 0.9)


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_older_than_ten_minutes_is_answered_by_minute(tmp_path: Path, on_disk: bool) -> None:
    with manual(data_dir=tmp_path if on_disk else None) as engine:
        fed = play(engine, "bimodal", 1_500, a_second=4)
        end = now_of(engine)
        answer = engine.query("p50(api_ms)", NOW, end, 10)
        assert answer["step"] == 60
        [series] = answer["series"]
        assert len(series["points"]) == len(range(NOW - NOW % 60, end, 60))
        for t, value in series["points"]:
            assert_quantile(value, between(fed, t, t + 60), 0.5)
        assert engine.query("p50(api_ms)", end - 500, end, 10)["step"] == 10
        assert engine.query("avg(api_ms)", NOW, end, 10)["step"] == (10 if on_disk else 60)
        assert_quantile(points_of(engine, "p99(api_ms)", NOW, end, 86_400).popitem()[1], between(fed, NOW, end), 0.99)


def test_a_restart_keeps_the_percentiles_of_closed_minutes_and_of_the_open_one(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        fed = play(engine, "pareto", 155)
    with manual(NOW + 155, data_dir=tmp_path) as engine:
        assert points_of(engine, "rate(api_ms)", NOW, None, 60)[NOW + 100] == 55 * 8 / 55
        fed += play(engine, "pareto", 70, seed=2)
        for t, value in points_of(engine, "p99(api_ms)", NOW, None, 60).items():
            assert_quantile(value, between(fed, t, t + 60), 0.99)
        counts = points_of(engine, "count(api_ms)", NOW, None, 60)
        assert counts == {t: len(between(fed, t, t + 60)) for t in counts}


def test_groups_and_shares_of_a_range() -> None:
    with manual() as engine:
        other = engine.series("api_ms", kind="timer", tags={"agency": "ssa"})
        for second in range(60):
            other.add_many(np.full(5, 2000.0 if second < 30 else 1.0))
            play(engine, "uniform", 1, seed=second)
        answer = engine.query("share_gt(api_ms, 1500ms) GROUP BY agency", NOW, None, 10)
        [irs, ssa] = [dict(series["points"]) for series in answer["series"]]
        assert [value for _, value in sorted(ssa.items())] == [1, 1, 1, 0, 0, 0]
        assert set(irs.values()) == {0}
        pooled = points_of(engine, "share_gt(api_ms, 1.5s)", NOW, None, 10)
        assert pooled[NOW] == pytest.approx(5 / 13)
        both = points_of(engine, "p50(api_ms) + max(api_ms) - quantile(0.5, api_ms)", NOW, None, 10)
        assert both == pytest.approx(points_of(engine, "max(api_ms)", NOW, None, 10))


def test_a_step_without_samples_is_null_in_a_range() -> None:
    with manual() as engine:
        play(engine, "one value", 10)
        engine.advance(20)
        play(engine, "one value", 10)
        assert points_of(engine, "p99(api_ms)", NOW, None, 10) == {NOW: 12.5, NOW + 30: 12.5}
        with_zero = points_of(engine, "coalesce(p99(api_ms), 0)", NOW, None, 10)
        assert list(with_zero.values()) == [12.5, 0, 0, 12.5]


def test_an_increase_is_what_was_counted_however_long_the_step(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        rng = np.random.default_rng(3)
        counts = rng.integers(0, 50, 300).tolist()
        for count in counts:
            engine.ingest(f"hits:{count}|c".encode())
            engine.advance(1)
        for step in (10, 20, 60, 300):
            found = points_of(engine, "increase(hits)", NOW, None, step)
            assert found == {t: sum(counts[max(0, t - NOW) : t - NOW + step]) for t in found}
            assert sum(found.values()) == sum(counts[: (NOW + 300) // step * step - NOW])
            assert found == points_of(engine, "sum(hits)", NOW, None, step)
        assert engine.value("increase(hits, 5m)") == sum(counts)
        with pytest.raises(ExpressionError, match="hits is a counter, of which there is no p99"):
            engine.query("p99(hits)", NOW)


# ---- over HTTP and on the command line


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        for value in range(1, 41):
            made.engine.ingest(f"q_ms:{value}|ms|#zone:east\nq_ms:{value * 10}|ms|#zone:west\n".encode())
            made.engine.ingest(b"q.gauge:7|g")
            made.engine.advance(1)
        yield made


def test_http_answers_percentiles(site: Serving) -> None:
    answer = site.get("/v1/query", params={"expr": "p50(q_ms, 2m) GROUP BY zone"}).json()
    found = {series["tags"]["zone"]: series["points"][0][1] for series in answer["series"]}
    assert found == {"east": pytest.approx(20.5, rel=0.0218), "west": pytest.approx(205, rel=0.0218)}
    start = site.engine.clock.now_ns() / 1e9 - 60
    ranged = site.get("/v1/query", params={"expr": "p99(q_ms)", "start": start, "step": 10}).json()
    assert ranged["series"][0]["points"][-1][1] == pytest.approx(400, rel=0.03)


def test_http_says_which_kinds_have_percentiles(site: Serving) -> None:
    for given in ({}, {"start": site.engine.clock.now_ns() / 1e9 - 60}):
        answer = site.get("/v1/query", params={"expr": "1 + p99(q.gauge)", **given})
        assert answer.status_code == 400
        assert answer.json()["column"] == 9
        assert "timers, histograms and distributions have percentiles" in answer.json()["detail"]


def asked(site: Serving, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-c", "from hms_ops.cli.main import main; main()", "query"]
    url = f"http://{site.address[0]}:{site.address[1]}"
    return subprocess.run([*program, *arguments, "--url", url], capture_output=True, text=True, timeout=60)


def test_the_command_line_asks_for_percentiles(site: Serving) -> None:
    done = asked(site, "p50(q_ms, 2m) GROUP BY zone", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["zone"] for row in rows] == ["east", "west"]
    assert float(rows[0]["value"]) == pytest.approx(20.5, rel=0.0218)
    [series] = json.loads(asked(site, "quantile(0.5, q_ms, 2m) WHERE zone = east", "--json").stdout)["series"]
    assert series["points"][0][1] == float(rows[0]["value"])
    refused = asked(site, "p99(q.gauge)")
    assert refused.returncode == 1
    assert "timers, histograms and distributions have percentiles" in refused.stderr

"""The alert language as PromQL: what real servers answer is what the engine answers, expression by expression.

An engine's memory is sent to a real VictoriaMetrics and a real Prometheus; both are asked the lowered expression.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.engines import NOW, manual
from tests.remotes import Server, prometheus, victoria

from hms_ops import Engine, _sketch, kinds
from hms_ops.alert.language.grammar import parse_query
from hms_ops.errors import ExpressionError, RemoteError
from hms_ops.remote.encode import Encoder, Rows
from hms_ops.remote.link import Link
from hms_ops.remote.lower import lower, lower_query
from hms_ops.remote.promql import Outside
from hms_ops.remote.reading import RemoteReading, guessed_kind
from hms_ops.remote.sender import HEADERS
from hms_ops.remote.settings import remote_from
from hms_ops.sketches import Sketches
from hms_ops.storage import merge

START = NOW // 60 * 60 + 60
MINUTES = 12
END = START + 60 * MINUTES
AGENCIES: Final = ("irs", "ssa")
HOSTS: Final = ("a", "b", 'c"\\')
KINDS = {"orders": kinds.COUNTER, "queue.depth": kinds.GAUGE, "api_ms": kinds.TIMER, "sparse": kinds.GAUGE}


LATENCIES: Final = np.random.default_rng(7).lognormal(4, 0.8, (2, END + 1 - NOW))


def filled() -> Engine:
    """An engine with twelve minutes of a counter, gauges and a timer, with silences in between."""
    engine = manual().start()
    random = np.random.default_rng(8)
    for second in range(NOW, END + 1):
        for place, agency in enumerate(AGENCIES):
            if second // 60 % 4 != 3:
                engine.metric("orders", 2, kind="counter", tags={"agency": agency})
            latency = float(LATENCIES[place, second - NOW])
            engine.metric("api_ms", latency, kind="timer", tags={"agency": agency, "us-st": "NY"})
        for host in HOSTS:
            engine.metric("queue.depth", float(random.integers(0, 50)), kind="gauge", tags={"host": host})
        if second % 300 < 10:
            engine.metric("sparse", second % 7, kind="gauge")
        engine.advance(1)
    return engine


def sketches(first_id: int) -> Sketches:
    """Those of the timer's series, by minute."""
    minutes = [(place, START + 60 * n) for place in range(2) for n in range(MINUTES)]
    blobs = [_sketch.from_values(LATENCIES[place, step - NOW : step - NOW + 60]) for place, step in minutes]
    ids = np.array([first_id + place for place, _ in minutes], np.uint32)
    offsets = np.cumsum([0, *map(len, blobs)])
    return Sketches(ids, np.array([step for _, step in minutes]), offsets, b"".join(blobs))


def send(engine: Engine, url: str) -> None:
    """All whole minutes of all metrics, as a remote of the tier 1m would."""
    series = [known for metric in KINDS for known in engine.past.known(metric)]
    steps, places, columns = engine.past.rows(series, START, END, 60)
    steps, places, columns = merge.fold(steps - steps % 60, places, columns)
    rows = Rows(steps, places.astype(np.uint32), columns).sorted()
    encoder = Encoder(
        lambda ids: [series[n].info for n in ids.tolist()], {"engine": "here"}, False, lambda metric: None, 5_000
    )
    first = next(n for n, known in enumerate(series) if known.info.name == "api_ms")
    link = Link(url, {}, 10)
    for request in encoder.requests(rows, 60, sketches(first)):
        answer = link.post(request.body, HEADERS)
        assert answer.is_success, answer
    link.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = filled()
    yield engine
    engine.stop()


@pytest.fixture(scope="module", params=["victoria", "prometheus"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Engine
) -> Iterator[Server]:
    run = victoria if request.param == "victoria" else prometheus
    with run(tmp_path_factory.mktemp(request.param)) as server:
        send(engine, server.write_url)
        server.flush()
        yield server


def reading(server: Server, **more: Any) -> RemoteReading:
    config = remote_from("there", {"url": server.write_url, "labels": {"engine": "here"}, **more})
    return RemoteReading(config, lambda metric: KINDS.get(metric, guessed_kind(metric)))


def close(left: float | None, right: float | None, relative: float) -> bool:
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=relative, abs_tol=1e-9)


def assert_same(local: dict[str, Any], remote: dict[str, Any], relative: float = 1e-9) -> None:
    ours = {tuple(sorted(one["tags"].items())): dict(map(tuple, one["points"])) for one in local["series"]}
    theirs = {tuple(sorted(one["tags"].items())): dict(map(tuple, one["points"])) for one in remote["series"]}
    assert theirs.keys() == ours.keys()
    for tags, points in ours.items():
        for t, value in points.items():
            assert close(value, theirs[tags].get(t), relative), (tags, t, value, theirs[tags].get(t))


EXACT = [
    "avg(api_ms)",
    "avg(api_ms) GROUP BY agency",
    "min(queue.depth) GROUP BY host",
    "max(queue.depth) - min(queue.depth)",
    "sum(api_ms) / count(queue.depth) * 100",
    "count(queue.depth) WHERE host IN (a, b) OR host = none",
    "max(queue.depth) WHERE NOT (host = a OR host LIKE 'b%')",
    'max(queue.depth{host="c\\"\\\\"})',
    'avg(queue.depth{host=~"[ab]"}) GROUP BY host',
    "avg(api_ms) WHERE 'us-st' = NY GROUP BY 'us-st', agency",
    "avg(api_ms) > 70 GROUP BY agency",
    "avg(api_ms) > 0.07s OR max(queue.depth) < 49",
    "avg(api_ms) BETWEEN 60 AND 80",
    "NOT avg(api_ms) BETWEEN 60 AND 80 AND max(queue.depth) >= 49",
    "avg(api_ms) > 70 UNLESS max(queue.depth) = 49",
    "max(sparse) > 3",
    "max(sparse) IS NULL",
    "max(sparse) IS NOT NULL AND avg(api_ms) > 0",
    "max(sparse) > 3 AND avg(api_ms) > 0",
    "max(sparse) > 3 OR avg(api_ms) < 0",
    "ABSENT(sparse)",
    "coalesce(max(sparse), -1)",
    "clamp(avg(api_ms), 60, 80)",
    "abs(-avg(api_ms)) + sqrt(sum(queue.depth)) - ln(count(api_ms))",
    "coalesce(avg(api_ms) / min(sparse), -1)",
    "7 % 4 * avg(queue.depth) % 10",
    "last(queue.depth) GROUP BY host",
]


@pytest.mark.parametrize("expression", EXACT)
def test_what_is_exact_is_answered_as_by_the_engine(engine: Engine, server: Server, expression: str) -> None:
    local = engine.query(expression, START, END, 60)
    assert local["series"], "an expression with an answer is wanted"
    assert_same(local, reading(server).query(expression, START, END, 60))


WINDOWED = [
    "moving_mean(api_ms, 5m)",
    "increase(orders, 3m)",
    "rate(orders, 2m) GROUP BY agency",
    "max(queue.depth, 4m) - max(queue.depth)",
    "sum(api_ms, 5m) / count(api_ms, 2m)",
]


@pytest.mark.parametrize("expression", WINDOWED)
def test_windows_end_with_the_step_there_too(engine: Engine, server: Server, expression: str) -> None:
    whole = START + 240  # what lies before START was not sent
    assert_same(engine.query(expression, whole, END, 60), reading(server).query(expression, whole, END, 60))


@pytest.mark.parametrize("expression", ["avg(api_ms)", "max(queue.depth) GROUP BY host", "avg(api_ms) > 70"])
def test_a_longer_step_is_the_same_too(engine: Engine, server: Server, expression: str) -> None:
    first = START // 180 * 180 + 180
    last = END // 180 * 180
    assert_same(engine.query(expression, first, last, 180), reading(server).query(expression, first, last, 180))


# The engine knows that a counter was silent before the range; the remote once it has seen it, for 65 minutes.
SILENT = ["sum(orders)", "rate(orders) GROUP BY agency", "count(orders) > 0", "increase(orders) + 0", "last(orders)"]


@pytest.mark.parametrize("expression", SILENT)
def test_a_silent_counter_counts_nothing(engine: Engine, server: Server, expression: str) -> None:
    assert_same(engine.query(expression, START, END, 60), reading(server).query(expression, START, END, 60))


@pytest.mark.parametrize("rank", [0.5, 0.9, 0.95])
def test_percentiles_are_read_off_the_buckets(server: Server, rank: float) -> None:
    (pooled,) = reading(server).query(f"quantile(api_ms, {rank})", START, END, 60)["series"]
    grouped = reading(server).query(f"p{rank * 100:.0f}(api_ms) GROUP BY agency", START, END, 60)["series"]
    assert [one["tags"]["agency"] for one in grouped] == list(AGENCIES)
    for values, points in ((LATENCIES, pooled["points"]), *zip(LATENCIES, (g["points"] for g in grouped), strict=True)):
        assert len(points) == MINUTES
        for t, value in points:
            assert value == pytest.approx(
                np.quantile(values[..., t - NOW : t - NOW + 60], rank), rel=0.42
            )  # a bucket is 41 % wide


def test_a_share_at_a_bound_is_exact_and_between_two_is_close(server: Server) -> None:
    for threshold, error in ((64, 1e-9), (75, 0.06)):
        (series,) = reading(server).query(f"share_le(api_ms, {threshold})", START, END, 60)["series"]
        (above,) = reading(server).query(f"share_gt(api_ms, {threshold})", START, END, 60)["series"]
        for (t, share), (_, rest) in zip(series["points"], above["points"], strict=True):
            assert share == pytest.approx((LATENCIES[:, t - NOW : t - NOW + 60] <= threshold).mean(), abs=error)
            assert share + rest == pytest.approx(1)


def test_each_series_for_itself_has_the_labels_it_was_sent_with(engine: Engine, server: Server) -> None:
    answer = reading(server).query("queue.depth", START, END, 60)
    assert [one["tags"] for one in answer["series"]] == [{"engine": "here", "host": h} for h in HOSTS]
    own = reading(server).series("max(api_ms) GROUP BY *", START, END, 60, only_own=True)
    assert [tags for _, tags, _ in own] == [{"agency": a, "us_st": "NY"} for a in ("irs", "ssa")]


def test_the_value_now_is_that_of_the_newest_whole_step(engine: Engine, server: Server) -> None:
    local = engine.query("avg(api_ms)", START, END, 60)["series"][0]["points"][-1]
    (series,) = reading(server).query("avg(api_ms)", None, END + 59, None)["series"]
    assert series["points"][0][0] == local[0]
    assert series["points"][0][1] == pytest.approx(local[1])


def test_another_engines_samples_are_left_out_where_only_ours_are_asked_for(server: Server) -> None:
    config = remote_from("there", {"url": server.write_url, "labels": {"engine": "elsewhere"}})
    assert RemoteReading(config).series("avg(api_ms)", START, END, 60, only_own=True) == []


# ---- what cannot be asked


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("stddev(api_ms)", "deviation"),
        ("1 > 2 GROUP BY host", "no groups"),
        ("max(x) WHERE host =~ '(?=a)b'", "RE2"),
        ("clamp(avg(x), min(y), 3)", "constants as bounds"),
        ("p99(queue.depth)", "is a gauge"),
        ("share_le(api_ms, 1000000000)", "beyond the buckets"),
        ("avg(api_ms) > 5KiB", "is compared with"),
        ("ewma(x, 5m)", "no function for ewma"),
        ("first(x, 5m)", "no function for first"),
        ("delta(a / b, 5m)", "no function for delta"),
        ("burn_rate(nobody, 1h)", "no objective 'nobody'"),
    ],
)
def test_what_promql_cannot_say_is_said_to_be_unsupported(expression: str, why: str) -> None:
    lowered = lower_query(parse_query(expression), Outside(kind=lambda metric: KINDS.get(metric, guessed_kind(metric))))
    assert lowered.grade.startswith("unsupported: ")
    assert why in lowered.grade


def test_many_alternatives_of_a_where_are_refused() -> None:
    where = " AND ".join(f"(a{n} = x OR b{n} = y)" for n in range(5))
    assert "alternatives" in lower_query(parse_query(f"max(x) WHERE {where}")).grade


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("avg(x, 90s)", "a window of 90 s is made 120 s"),
        ("rate(x)", "x is taken for a counter"),
        ("last(queue.depth)", "the greatest last value"),
        ("delta(queue.depth, 10m)", "has no delta"),
        ("share_le(api_ms, 200)", "interpolated"),
        ("ABSENT(x) GROUP BY host", "groups are those seen"),
        ("p99(api_ms)", "half powers of two"),
        ("avg(a / b, 5m)", "avg folds steps of 60 s"),
        ("share_gt(a / b, 5, 5m) OFFSET 1h", "share_gt folds steps of 60 s"),
        ("p90(api_ms * 2, 10m)", "p90 folds steps of 60 s"),
        ("changes(queue.depth, 10m)", "changes folds steps of 60 s"),
        ("zscore(api_ms, 1h) GROUP BY host", "zscore folds steps of 60 s"),
        ("ANOMALY(api_ms, factor=3, window=30m) GROUP BY host", "steps of 60 s"),
    ],
)
def test_what_is_only_approximate_says_why(expression: str, note: str) -> None:
    lowered = lower_query(parse_query(expression), Outside(kind=lambda metric: KINDS.get(metric, guessed_kind(metric))))
    assert lowered.is_possible
    assert lowered.grade.startswith("approximate: ")
    assert note in lowered.grade


def test_a_tier_without_sketches_has_no_percentiles() -> None:
    assert "choose" not in lower_query(parse_query("p99(api_ms)"), Outside(60)).grade
    assert "the tier 1m or 1h" in lower_query(parse_query("p99(api_ms)"), Outside(10)).grade


def test_dotted_names_are_matched_as_they_were_sent() -> None:
    lowered = lower_query(parse_query("max(a.b{c=d})".replace("=d", '="d"')), Outside(keeps_dots=True))
    assert lowered.promql == 'max(max_over_time({__name__="a.b_max",c="d"}[60s]))'


@pytest.mark.parametrize(
    ("start", "step", "problem"),
    [(END, 60, "empty"), (START, 30, "a multiple"), (0, 60, "more than 11000 points")],
)
def test_a_range_that_cannot_be_is_refused(start: float, step: float, problem: str) -> None:
    remote = RemoteReading(remote_from("there", {"url": "http://127.0.0.1:1/api/v1/write"}))
    with pytest.raises(ValueError, match=problem):
        remote.query("avg(x)", start, END, step)
    with pytest.raises(ExpressionError):
        remote.query("avg(", START, END, 60)


def test_a_remote_that_does_not_answer_is_named(tmp_path: Path) -> None:
    remote = RemoteReading(remote_from("there", {"url": "http://127.0.0.1:1/api/v1/write"}))
    with pytest.raises(RemoteError, match=re.escape("remote there does not answer: cannot connect")):
        remote.query("avg(x)", START, END, 60)


@pytest.mark.parametrize(
    "expression",
    [
        "avg(a / b, 5m)",
        "share_gt(a / b, 5, 5m) OFFSET 1h",
        "zscore(api_ms, 1h)",
        "ANOMALY(api_ms)",
        "burn_rate(api, 6h)",
    ],
)
@pytest.mark.parametrize("group_by", [(), ("host",), ("*",)])
def test_what_is_lowered_is_promql(expression: str, group_by: tuple[str, ...]) -> None:
    promql_parser = pytest.importorskip("promql_parser", reason="not installed: the extra [server]")
    outside = Outside(kind=lambda metric: KINDS.get(metric, guessed_kind(metric)), objective=lambda name: 0.999)
    lowered = lower(parse_query(expression).expression, None, group_by, outside)
    for text in filter(None, (lowered.promql, lowered.false)):
        promql_parser.parse(text)
    assert lowered.promql


def test_an_anomaly_compares_the_last_step_with_the_mean_before_it() -> None:
    lowered = lower(parse_query("ANOMALY(x_ms, factor=3, window=30m)").expression, outside=Outside(60))
    now = "(sum(sum_over_time(x_ms_sum[60s])) / sum(sum_over_time(x_ms_count[60s])))"
    before = now.replace("[60s]", "[1800s] offset 60s")
    assert lowered.promql == f"{now} > (3 * {before})"

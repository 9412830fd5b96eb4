"""PromQL over `/api/v1`: what a real Prometheus answers that was sent this engine's rows is what the engine answers.

The rows of nine minutes go to a Prometheus and a VictoriaMetrics by remote write, as a remote of the tier 10s would
send them (buckets by minute, since that tier has none), and both are asked the same as the engine.
"""

import json
import math
import random
import urllib.error
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.engines import NOW, manual
from tests.remotes import Server, prometheus, victoria

from hms_ops import Engine, kinds
from hms_ops.http.answer import Json
from hms_ops.prometheus.query import given
from hms_ops.prometheus.query.answer import instant_answer, range_answer
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.known import Known
from hms_ops.prometheus.query.reader import Reader
from hms_ops.prometheus.query.refused import Refused
from hms_ops.remote.encode import Encoder, Rows
from hms_ops.remote.link import Link
from hms_ops.remote.sender import HEADERS
from hms_ops.series import SeriesInfo
from hms_ops.sketches import Sketches
from hms_ops.storage import merge

MINUTES = NOW // 60 * 60 + 60
END = MINUTES + 480
BY_ROWS = ("api.ms", "orders", "queue.depth", "steps", "sparse")


def filled() -> Engine:
    """A timer, counters, gauges (one a running total that begins anew), one that is silent for long."""
    engine, random = manual().start(), np.random.default_rng(5)
    for second in range(NOW, END):
        for agency in ("irs", "ssa"):
            tags = {"agency": agency, "us-state": "NY"}
            engine.metric("api.ms", float(random.lognormal(4, 0.5)), kind="timer", tags=tags)
            engine.metric("lat_ms", float(random.lognormal(4, 0.5)), kind="timer", tags=tags)
            engine.metric("orders", 3, kind="counter", tags={"agency": agency})
        for host in ("a", 'b"\\'):
            engine.metric("queue.depth", float(random.integers(-5, 50)), kind="gauge", tags={"host": host})
        engine.metric("steps", float((second - NOW) % 173 * 7), kind="gauge")
        if second % 400 < 15:
            engine.metric("sparse", second % 7, kind="gauge")
        engine.advance(1)
    return engine


def send(engine: Engine, url: str) -> None:
    """Rows of 10 s of most, rows of a minute with buckets of one, and the orders as Prometheus counts: running."""
    link = Link(url, {}, 10)
    series = [known for metric in BY_ROWS for known in engine.past.known(metric)]
    infos = [known.info for known in series]
    steps, places, columns = engine.past.rows(series, NOW, END, 10)
    post(link, infos, Rows(steps, places.astype(np.uint32), columns), 10)
    orders = columns[:, places == next(n for n, info in enumerate(infos) if info.name == "orders")]
    at = steps[places == next(n for n, info in enumerate(infos) if info.name == "orders")]
    running = np.tile(np.cumsum(orders[merge.SUM]), (6, 1))
    post(link, [SeriesInfo("running", {}, kinds.GAUGE)], Rows(at, np.zeros(len(at), np.uint32), running), 10)
    timers = engine.past.known("lat_ms")
    steps, places, columns = engine.past.rows(timers, MINUTES, END, 60)
    steps, places, columns = merge.fold(steps - steps % 60, places, columns)
    sketches = engine.past.sketches(timers, MINUTES, END, 60)
    post(link, [known.info for known in timers], Rows(steps, places.astype(np.uint32), columns), 60, sketches)
    link.close()


def post(link: Link, infos: list[SeriesInfo], rows: Rows, seconds: int, sketches: Sketches | None = None) -> None:
    encoder = Encoder(lambda ids: [infos[n] for n in ids.tolist()], {}, False, lambda metric: None, 5_000)
    for request in encoder.requests(rows.sorted(), seconds, sketches):
        assert link.post(request.body, HEADERS).is_success


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = filled()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Server]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        send(engine, server.write_url)
        yield server


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Server]:
    with victoria(tmp_path_factory.mktemp("victoria")) as server:
        send(engine, server.write_url)
        server.flush()
        yield server


def reader_of(engine: Engine) -> Reader:
    names = Known().names(engine.past, engine.operations.descriptions)
    return Reader(engine.past, names, engine.described_unit, Budget(30))


def by_range(engine: Engine, query: str, start: int, end: int, step: int) -> list[dict[str, Any]]:
    asked = given.ranged({"query": [query], "start": [str(start)], "end": [str(end)], "step": [str(step)]})
    found: list[dict[str, Any]] = json.loads(Json(range_answer(asked, reader_of(engine))).body)["result"]
    return found


def numbers(result: list[dict[str, Any]]) -> dict[Any, dict[float, float]]:
    return {
        tuple(sorted(one["metric"].items())): {t: float(text) for t, text in one.get("values") or [one["value"]]}
        for one in result
    }


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], relative: float = 1e-9) -> None:
    mine, other = numbers(ours), numbers(theirs)
    assert mine.keys() == other.keys()
    for labels, values in other.items():
        assert mine[labels].keys() == values.keys(), labels
        for t, value in values.items():
            found = mine[labels][t]
            same = math.isclose(found, value, rel_tol=relative, abs_tol=1e-9) or (found != found and value != value)
            assert same, (labels, t, found, value)


SAME = [
    "1 + 1",
    "time() / 10 ^ 9",
    "-2 ^ 2 % 3 + 1 / 0",
    "vector(1) == bool 1",
    "pi() > bool 3",
    "api_ms_sum",
    "queue_depth_last",
    "sparse_last",
    'queue_depth_last{host=~"a|b.*", host!="a"}',
    'queue_depth_last{host!~"a"}',
    'api_ms_max{agency="irs", us_state!="", nothing=""}',
    '{__name__=~"queue_depth_(min|max)", host="a"}',
    "queue_depth_last offset 1m",
    "queue_depth_last offset -20s",
    "sum_over_time(api_ms_sum[1m])",
    "sum_over_time(api_ms_sum[1m]) / sum_over_time(api_ms_count[1m])",
    "sum by (agency) (sum_over_time(api_ms_sum[2m])) / sum by (agency) (sum_over_time(api_ms_count[2m]))",
    "sum_over_time(api_ms_sum[35s] offset 15s)",
    "count_over_time(sparse_last[3m])",
    "avg_over_time(queue_depth_last[95s])",
    "min_over_time(queue_depth_min[1m]) - max_over_time(queue_depth_max[1m])",
    "last_over_time(sparse_last[7m])",
    "present_over_time(sparse_last[1m])",
    "stddev_over_time(queue_depth_last[2m])",
    "stdvar_over_time(steps_last[2m])",
    "quantile_over_time(0.3, queue_depth_last[2m])",
    "quantile_over_time(1.5, queue_depth_last[1m])",
    "rate(steps_last[1m])",
    "rate(steps_last[5m])",
    "increase(steps_last[150s])",
    "irate(steps_last[1m])",
    "delta(queue_depth_last[1m])",
    "delta(sparse_last[8m])",
    "rate(sparse_last[20s])",
    "sum(queue_depth_last)",
    "sum by (host) (queue_depth_last)",
    "sum without (host) ({__name__=~'queue_depth_m.+'})",
    "avg by (nothing) (api_ms_sum)",
    "min(queue_depth_min)",
    "max by (agency) (api_ms_max)",
    "count(api_ms_count)",
    "group by (agency) (api_ms_count)",
    "stddev(queue_depth_last)",
    "stdvar by (us_state) (api_ms_sum)",
    "quantile(0.25, queue_depth_last)",
    "topk(1, api_ms_sum)",
    "topk(1.9, api_ms_sum)",
    "topk(0.5, api_ms_sum) or sum(api_ms_sum)",
    "bottomk by (agency) (-1, api_ms_sum) or sum(api_ms_sum)",
    "topk(1e9, api_ms_sum)",
    "bottomk by (agency) (1, {__name__=~'api_ms_(min|max)'})",
    "count by (__name__) ({__name__=~'queue_depth_.*'})",
    "queue_depth_last > 20",
    "20 < queue_depth_last",
    "queue_depth_last > bool 20",
    "queue_depth_last == queue_depth_max",
    "queue_depth_last != bool queue_depth_max",
    "api_ms_sum * on (agency) orders_count",
    "api_ms_sum - ignoring (us_state) orders_sum",
    "orders_sum and on (agency) api_ms_sum{agency='irs'}",
    "queue_depth_last unless queue_depth_last > 10",
    "sparse_last or queue_depth_last{host='a'}",
    "sparse_last or vector(0)",
    "sum(nothing_at_all) or vector(0)",
    "absent(nothing{a='b', c=~'d'})",
    "absent(sparse_last)",
    "scalar(sum(queue_depth_last)) + 1",
    "-queue_depth_last",
    "abs(queue_depth_last)",
    "ceil(queue_depth_last / 7) + floor(queue_depth_last / 7)",
    "round(queue_depth_last / 7)",
    "round(queue_depth_last, 5)",
    "clamp(queue_depth_last, 5, 20)",
    "clamp_min(queue_depth_last, 5) + clamp_max(queue_depth_last, 20)",
    "sqrt(abs(queue_depth_last)) + exp(queue_depth_last / 50) - sin(queue_depth_last) + deg(queue_depth_last)",
    "ln(queue_depth_last)",
    "log2(api_ms_sum) + log10(api_ms_sum) + sgn(-api_ms_sum)",
    "queue_depth_last / 0",
    "queue_depth_last % 7",
    "queue_depth_last ^ 2 atan2 3",
    "(queue_depth_last - queue_depth_last) / (queue_depth_last - queue_depth_last)",
    "sum(sum by (host) (queue_depth_last) > 10)",
]


@pytest.mark.parametrize(("start", "step"), [(MINUTES, 60), (NOW + 47, 17), (END - 31, 1)], ids=["even", "odd", "fine"])
@pytest.mark.parametrize("query", SAME)
def test_prometheus_answers_the_same(engine: Engine, theirs: Server, query: str, start: int, step: int) -> None:
    expected = theirs.ask("/api/v1/query_range", query=query, start=start, end=END, step=step)["result"]
    assert expected or "sparse" in query, "an expression with an answer is wanted"
    assert_same(by_range(engine, query, start, END, step), expected)


@pytest.mark.parametrize("query", [*SAME, "sort_desc(queue_depth_last)", "queue_depth_last[45s]", '"words"'])
def test_prometheus_answers_the_same_at_one_time(engine: Engine, theirs: Server, query: str) -> None:
    expected = theirs.ask("/api/v1/query", query=query, time=END)
    asked = given.instant({"query": [query], "time": [str(END)]}, 0)
    ours = json.loads(Json(instant_answer(asked, reader_of(engine))).body)
    assert ours["resultType"] == expected["resultType"]
    if ours["resultType"] in ("scalar", "string"):
        assert ours["result"] == expected["result"]
    else:
        assert_same(ours["result"], expected["result"])
    if query.startswith("sort"):
        assert [one["metric"] for one in ours["result"]] == [one["metric"] for one in expected["result"]]


@pytest.mark.parametrize("count", ["1/0", "-1/0", "1e19"])
def test_a_number_of_elements_that_no_integer_holds_is_refused_as_there(
    engine: Engine, theirs: Server, count: str
) -> None:
    query = f"topk({count}, api_ms_sum)"
    span = {"query": query, "start": END - 60, "end": END, "step": 60}
    assert outcome(partial(by_server, theirs, span)) is None
    assert outcome(partial(by_range, engine, query, END - 60, END, 60)) is None


class Grammar:
    """Expressions at random, of what both sides have. Left out is where they differ on purpose: what a timer's names
    are, `atan2`, whose result keeps its name in old Prometheus, and bounds that are no numbers."""

    vectors = (
        "queue_depth_last", "api_ms_sum", 'api_ms_max{agency="irs"}', "orders_count", "steps_last", "sparse_last",
        '{__name__=~"queue_depth_m.*"}', "nothing", 'api_ms_count{agency!="irs"}',
    )  # fmt: skip
    gauges = ("queue_depth_last", "steps_last", "sparse_last", "api_ms_last", 'queue_depth_min{host="a"}')
    over_time = ("sum", "avg", "min", "max", "count", "last", "present", "stddev", "stdvar")
    folds = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
    grouping = ("", "by (agency) ", "by (host) ", "without (agency) ", "by (__name__) ", "without (host, us_state) ")
    matching = ("", "", "on (agency) ", "ignoring (us_state) ", "on () ", "ignoring (host) ")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def any(self, *options: str) -> str:
        return self.random.choice(options)

    def scalar(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.7:
            return self.any("1", "0", "-3", "2.5", "0.1", "1e9", "time()", "pi()")
        one, other = self.scalar(depth - 1), self.scalar(depth - 1)
        return self.any(
            f"({one} {self.any('+', '-', '*', '/', '%', '^')} {other})",
            f"({one} {self.any('<', '>', '==', '!=', '>=', '<=')} bool {other})",
            f"scalar({self.vector(depth - 1)})",
        )

    def window(self, name: str) -> str:
        return f"{name}[{self.any('10s', '25s', '1m', '95s', '3m', '7m')}]{self.offset()}"

    def offset(self) -> str:
        return self.any("", "", "", " offset 30s", " offset 1m", " offset -20s")

    def vector(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.15:
            return self.any(*self.vectors) + self.offset()
        inner, other, number = self.vector(depth - 1), self.vector(depth - 1), self.scalar(1)
        return self.any(
            f"{self.any(*self.over_time)}_over_time({self.window(self.any(*self.vectors))})",
            f"{self.any('rate', 'increase', 'delta', 'irate')}({self.window(self.any(*self.gauges))})",
            f"quantile_over_time({number}, {self.window(self.any(*self.vectors))})",
            f"{self.any(*self.folds)} {self.any(*self.grouping)}({inner})",
            f"quantile {self.any(*self.grouping)}({number}, {inner})",
            f"{self.any('abs', 'ceil', 'floor', 'sqrt', 'ln', 'sgn', 'exp', 'round', '-')}({inner})",
            f"clamp({inner}, -5, 20)",
            f"absent({inner})",
            f"({inner} {self.any('+', '-', '*', '/', '%', '^', '>', '<', '== bool', '!=')} {number})",
            f"({inner} {self.any('+', '-', '/', '>', '> bool', '==')} {self.any(*self.matching)}{other})",
            f"({inner} {self.any('and', 'or', 'unless')} {self.any(*self.matching)}{other})",
        )


def by_server(server: Server, span: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.ask("/api/v1/query_range", **span)["result"]
    return found


def outcome(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """None for an expression that is refused, as two elements with the same labels are."""
    try:
        return ask()
    except (Refused, urllib.error.HTTPError):
        return None


@pytest.mark.parametrize("seed", range(8))
def test_prometheus_answers_the_same_whatever_is_put_together(engine: Engine, theirs: Server, seed: int) -> None:
    grammar = Grammar(seed)
    for _ in range(60):
        query, step = grammar.vector(4), grammar.random.choice([1, 7, 60])
        # A third begins before all history, or ends behind it.
        first = MINUTES - 900 if grammar.random.random() < 1 / 3 else MINUTES
        start = first + grammar.random.randrange(1_100 if first < MINUTES else 200)
        end = min(END, start + 12 * step)
        span = {"query": query, "start": start, "end": end, "step": step}
        expected = outcome(partial(by_server, theirs, span))
        ours = outcome(partial(by_range, engine, query, start, end, step))
        assert (ours is None) == (expected is None), query
        if ours is not None and expected is not None and not is_deviation_of_none(query, ours):
            assert_same(ours, expected, 1e-6)


def is_deviation_of_none(query: str, result: list[dict[str, Any]]) -> bool:
    """The deviation of one value that is no number: NaN here and in Prometheus 3, 0 before."""
    return "std" in query and any(text in ("NaN", "+Inf") for one in result for _, text in one["values"])


BUCKETS = [
    "sum by (le) (sum_over_time(lat_ms_bucket[2m]))",
    "histogram_quantile(0.95, sum by (le) (sum_over_time(lat_ms_bucket[2m])))",
    "histogram_quantile(0.5, sum by (le, agency) (sum_over_time(lat_ms_bucket{us_state='NY'}[1m])))",
    "histogram_quantile(-1, sum by (le) (sum_over_time(lat_ms_bucket[1m])))",
    'sum_over_time(lat_ms_bucket{le=~"64|[+]Inf"}[3m])',
]


@pytest.mark.parametrize("query", BUCKETS)
def test_buckets_and_their_percentiles_are_the_same(engine: Engine, theirs: Server, query: str) -> None:
    expected = theirs.ask("/api/v1/query_range", query=query, start=MINUTES + 180, end=END, step=60)["result"]
    assert expected
    assert_same(by_range(engine, query, MINUTES + 180, END, 60), expected)


@pytest.mark.parametrize("window", ["30s", "1m", "4m"])
@pytest.mark.parametrize("function", ["rate", "increase", "irate"])
def test_a_steady_counter_counts_what_prometheus_counts_of_its_running_total(
    engine: Engine, theirs: Server, function: str, window: str
) -> None:
    start, step = NOW + 300, 7
    query = f"{function}(running_last[{window}])"
    expected = theirs.ask("/api/v1/query_range", query=query, start=start, end=END, step=step)["result"]
    for name in ("orders_total", "orders", "orders_sum"):
        ours = by_range(engine, f'sum({function}({name}{{agency="irs"}}[{window}]))', start, END, step)
        assert_same(ours, expected)


ALSO_VICTORIA = [
    "sum by (agency) (sum_over_time(orders_sum[2m])) / 120",
    "sum by (agency) (sum_over_time(api_ms_sum[1m])) / sum by (agency) (sum_over_time(api_ms_count[1m]))",
    "max by (agency) (max_over_time(api_ms_max[1m]))",
    "histogram_quantile(0.95, sum by (le) (sum_over_time(lat_ms_bucket[2m])))",
    "sum(last_over_time(queue_depth_last[5m]))",
]


@pytest.mark.parametrize("query", ALSO_VICTORIA)
def test_a_dashboard_shows_the_same_on_victoriametrics(engine: Engine, vm: Server, query: str) -> None:
    start = MINUTES + 120
    expected = vm.ask("/api/v1/query_range", query=query, start=start, end=END, step=60, nocache=1)["result"]
    assert expected
    assert_same(by_range(engine, query, start, END, 60), expected, 1e-6)

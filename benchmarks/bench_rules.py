"""What rules cost: one to parse and compile, a hundred and ten thousand of them at a tick, and one more series.

    python -m pytest benchmarks/bench_rules.py

Fleets have 100,000 series of 100 metrics (10 agencies × 100 hosts each) or of 1,000 (10 × 10), with a sample in every
second of the last minute. A tick's limit is 100 ms, with 10,000 rules and with 10 million rule–series pairs.
`ns_per_pair` divides by these pairs, however many of them share work. The contender of an evaluation
is the same hundred averages in numpy over the same columns, one rule after the other.
"""

import os
import platform
import statistics
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.evaluate import RuleSet
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.plan import compile_statement

METRICS, AGENCIES = 100, 10
SERIES = 100_000
PER_METRIC = SERIES // METRICS
FIRST = 1_700_000_000 - 1_700_000_000 % 60
END = FIRST + 60 * 20 + 47  # in the middle of a minute, so that windows are made of all kinds of steps
ROUNDS = 15

RULE = (
    "ALERT finance.latency WHEN avg(finance.api_ms, 5m) > 200ms AND count(finance.api_ms, 5m) > 10 "
    "WHERE agency IN (irs, ssa) GROUP BY agency RECOVER < 150ms FOR 3m NOTIFY sms:+1-555-0100"
)
SEED_RULE = "avg(finance.api_ms) > 200"


class Series(NamedTuple):
    name: str
    tags: dict[str, str]


class Fleet:
    """A store of SERIES timers of so many metrics; slot = metric × series of each + agency × hosts + host. What windows
    read is filled."""

    def __init__(self, metrics: int = METRICS) -> None:
        self.per_metric = SERIES // metrics
        hosts = self.per_metric // AGENCIES
        self.cols = np.zeros((3, 6, 64, SERIES))
        self.mean = np.random.default_rng(0).uniform(50, 150, SERIES)
        rows = [(0, s % 64) for s in range(END - 60, END)]
        rows += [(1, s // 10 % 64) for s in range(END - 610, END // 10 * 10, 10)]
        rows += [(2, s // 60 % 64) for s in range(FIRST, END // 60 * 60, 60)]
        for tier, slot in rows:
            step = (1, 10, 60)[tier]
            self.cols[tier, 0, slot] = step
            self.cols[tier, 1, slot] = self.mean * step
            self.cols[tier, 3:, slot] = self.mean
        self.last_value, self.last_second = self.mean, np.full(SERIES, END - 1)
        self.first_second, self.sealed_second = FIRST, END - 1
        self.events: list[tuple[int, bool]] = []
        self.tags = [{"agency": str(n // hosts % AGENCIES), "host": str(n % hosts)} for n in range(SERIES)]

    def slots(self, name: str) -> NDArray[np.int32]:
        start = int(name[1:]) * self.per_metric
        return np.arange(start, start + self.per_metric, dtype=np.int32)

    def series(self, slot: int) -> Series:
        return Series(f"m{slot // self.per_metric}", self.tags[slot])

    def metric_kind(self, name: str) -> int:
        return kinds.TIMER

    def metrics(self) -> list[str]:
        return [f"m{n}" for n in range(SERIES // self.per_metric)]

    def changes(self, cursor: int) -> tuple[int, list[tuple[int, bool]]]:
        return len(self.events), self.events[cursor:]


class GrowingFleet(Fleet):
    """One whose metrics lack their last few series, which `bear` gives them one by one, a metric after the other."""

    def __init__(self, metrics: int = METRICS, unborn: int = 10) -> None:
        super().__init__(metrics)
        self.metric_count = metrics
        self.is_born = (np.arange(SERIES) % self.per_metric) < self.per_metric - unborn

    def slots(self, name: str) -> NDArray[np.int32]:
        slots = super().slots(name)
        return slots[self.is_born[slots]]

    def bear(self) -> None:
        metric = len(self.events) % self.metric_count
        slot = int(np.flatnonzero(~self.is_born[metric * self.per_metric :])[0]) + metric * self.per_metric
        self.is_born[slot] = True
        self.events.append((slot, True))


def fleet(metrics: int = METRICS) -> Fleet:
    return made_once(metrics)


@cache
def made_once(metrics: int) -> Fleet:
    return Fleet(metrics)


def rules_of(*texts: str, metrics: int = METRICS, store: Fleet | None = None) -> RuleSet:
    rules = RuleSet(store or fleet(metrics))
    rules.replace({f"rule{n}": compile_statement(parse_statement(text)) for n, text in enumerate(texts)})
    return rules


def tell(benchmark: Any, **more: float) -> float:
    seconds = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        {name: round(number, 3) for name, number in more.items()},
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    shown = " · ".join(f"{name} {number:,.3g}" for name, number in more.items())
    print(f"\n{benchmark.name}: {seconds * 1e6:,.0f} µs" + (f" · {shown}" if shown else ""))
    return seconds


@pytest.mark.benchmark(group="parse and compile a rule")
@pytest.mark.parametrize("text", [SEED_RULE, RULE], ids=["short", "long"])
def test_parse_and_compile(benchmark: Any, text: str) -> None:
    plan = benchmark.pedantic(lambda: compile_statement(parse_statement(text)), rounds=200, iterations=10)
    assert len(plan.readings) == 1
    assert tell(benchmark) <= 200e-6


def numpy_averages() -> NDArray[np.float64]:
    """The hundred averages over 60 s, one metric after the other, from seconds alone."""
    store = fleet()
    slots = [s % 64 for s in range(END - 60, END)]
    means = []
    for metric in range(METRICS):
        part = slice(metric * PER_METRIC, (metric + 1) * PER_METRIC)
        count = store.cols[0, 0][slots, part].sum(axis=0)
        means.append(store.cols[0, 1][slots, part].sum(axis=0).sum() / count.sum())
    return np.array(means)


@pytest.mark.benchmark(group="a tick of 100 rules over 100,000 series")
def test_a_hundred_averages_in_numpy(benchmark: Any) -> None:
    benchmark.pedantic(numpy_averages, rounds=ROUNDS, warmup_rounds=1)
    tell(benchmark)


SHAPES = {
    "100 rules, one instance each": [f"avg(m{n}) > 100" for n in range(100)],
    "100 rules, GROUP BY agency": [f"avg(m{n}) > 100 GROUP BY agency" for n in range(100)],
    "100 rules, GROUP BY *": [f"avg(m{n}) > 100 GROUP BY *" for n in range(100)],
    "100 rules of four windows": [f"avg(m{n}, {('10s', '1m', '5m', '15m')[n % 4]}) > 100" for n in range(100)],
    "10,000 rules, one instance each": [f"avg(m{n % 100}) > {n}" for n in range(10_000)],
    "10,000 rules, GROUP BY agency": [f"max(m{n % 100}) > {n} GROUP BY agency" for n in range(10_000)],
    "10,000 rules of their own series": [
        f"avg(m{n % 100}{{host!='{n // 100}'}}) > 100 AND count(m{n % 100}{{host!='{n // 100}'}}) > 0"
        for n in range(10_000)
    ],
    "10,000 rules, a WHERE each": [
        f"avg(m{n % 100}, 5m) > 100 WHERE host != '{n // 100}' AND agency != '{n % 7}'" for n in range(10_000)
    ],
    "300 rules against ten minutes ago": [
        f"avg(m{n % 100}{{agency='{n // 100}'}}, 1m) > 1.5 * avg(m{n % 100}{{agency='{n // 100}'}}, 1m) OFFSET 10m"
        for n in range(300)
    ],
}
WHOLE_METRICS = ("100 rules, one instance each", "100 rules of four windows", "10,000 rules, one instance each")
OF_1000_METRICS = {
    "10,000 rules of 1,000 metrics": [f"max(m{n % 1000}, {('1m', '5m')[n % 2]}) > {n}" for n in range(10_000)],
    "1,000 rules of 1,000 metrics, GROUP BY *": [f"avg(m{n}) > 100 GROUP BY *" for n in range(1_000)],
}


@pytest.mark.benchmark(group="a tick of many rules over 100,000 series")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_tick(benchmark: Any, shape: str) -> None:
    rules = rules_of(*SHAPES[shape])
    found = rules.evaluate()
    assert not found.problems
    if shape in WHOLE_METRICS:
        metric = np.array([int(text[5 : text.index(")")].split(",")[0]) for text in SHAPES[shape]])
        np.testing.assert_allclose(found.value, fleet().mean.reshape(METRICS, -1).mean(axis=1)[metric])
    benchmark.pedantic(rules.evaluate, rounds=ROUNDS, warmup_rounds=1)
    seconds = statistics.median(benchmark.stats.stats.data)
    pairs = len(SHAPES[shape]) * PER_METRIC
    tell(benchmark, ns_per_pair=seconds / pairs * 1e9, instances=len(found.keys))
    assert seconds <= (0.1 if len(SHAPES[shape]) > 100 else 0.03)


@pytest.mark.benchmark(group="a tick of many rules over 100,000 series")
@pytest.mark.parametrize("shape", OF_1000_METRICS)
def test_a_tick_over_many_metrics(benchmark: Any, shape: str) -> None:
    rules = rules_of(*OF_1000_METRICS[shape], metrics=1000)
    found = rules.evaluate()
    assert not found.problems
    benchmark.pedantic(rules.evaluate, rounds=ROUNDS, warmup_rounds=1)
    seconds = statistics.median(benchmark.stats.stats.data)
    tell(benchmark, ns_per_pair=seconds / (len(OF_1000_METRICS[shape]) * 100) * 1e9, instances=len(found.keys))
    assert seconds <= 0.1


@pytest.mark.benchmark(group="binding 10,000 rules to 100,000 series")
@pytest.mark.parametrize("shape", ["10,000 rules, one instance each", "10,000 rules, a WHERE each"])
def test_binding(benchmark: Any, shape: str) -> None:
    def first_evaluation() -> int:
        return len(rules_of(*SHAPES[shape]).evaluate().keys)

    assert benchmark.pedantic(first_evaluation, rounds=3) == 10_000
    tell(benchmark)


@pytest.mark.benchmark(group="a tick in which a series is born")
@pytest.mark.parametrize(
    "shape",
    [
        "100 rules, GROUP BY *",
        "10,000 rules, one instance each",
        "10,000 rules, GROUP BY agency",
        "10,000 rules of their own series",
        "10,000 rules, a WHERE each",
    ],
)
def test_a_tick_with_a_new_series(benchmark: Any, shape: str) -> None:
    store = GrowingFleet()
    rules = rules_of(*SHAPES[shape], store=store)
    rules.evaluate()

    def tick() -> None:
        store.bear()
        rules.evaluate()

    benchmark.pedantic(tick, rounds=ROUNDS, warmup_rounds=1)
    assert tell(benchmark) <= 0.1

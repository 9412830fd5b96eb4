"""What a tick of 10,000 rules over 100,000 series costs, states included; and one rule to parse and compile.

A tick is `RuleSet.evaluate` and `Book.advance` with what it came to, on the fleets of bench_rules.py: rules that share
all windows, that have 100,000 instances, that read series of their own (10 million rule–series pairs), and that choose
by a WHERE each. Every shape is checked to be evaluated whole before it is timed. In the ticks of `rules.born-…` a
series is born that the store did not have before, of another metric each time.
"""

import statistics
import time
from typing import Final

from benchmarks.apart import apart
from benchmarks.bench_rules import END, OF_1000_METRICS, RULE, SEED_RULE, SHAPES, GrowingFleet, fleet, rules_of
from benchmarks.bench_states import INSTANCES, turning
from benchmarks.figure import Figure, Pace
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.plan import compile_statement
from hms_ops.alert.rule import rule_of
from hms_ops.alert.states.book import Book

TICK_MS_AT_MOST: Final = 100.0
CROWD_MS_AT_MOST: Final = 1000.0  # a tick must end in its second
RULE_US_AT_MOST: Final = 200.0
ALL_SHAPES: Final = SHAPES | OF_1000_METRICS
WANTED: Final = {
    "shared": "10,000 rules, one instance each",
    "grouped": "10,000 rules, GROUP BY agency",
    "pairs": "10,000 rules of their own series",
    "where": "10,000 rules, a WHERE each",
    "metrics": "10,000 rules of 1,000 metrics",
}
WANTED_BORN: Final = {
    "pairs": "10,000 rules of their own series",
    "where": "10,000 rules, a WHERE each",
    "instance": "100 rules, GROUP BY *",  # the only ones of which it is a new instance
}


def ticks_ms(shape: str, rounds: int, is_born: bool = False) -> dict[str, list[float]]:
    """{"ms": of each tick, "instances": [how many]}. is_born: a series is, before each tick."""
    texts = ALL_SHAPES[shape]
    metrics = 1000 if shape in OF_1000_METRICS else 100
    store = GrowingFleet(metrics) if is_born else fleet(metrics)
    rules = rules_of(*texts, store=store)
    statements = [parse_statement(f"ALERT rule{n} WHEN {text} FOR 1m") for n, text in enumerate(texts)]
    book = Book([rule_of(statement, "benchmark") for statement in statements])
    book.warm()
    found = rules.evaluate()
    assert not found.problems
    costs = []
    for n in range(rounds + 2):
        if isinstance(store, GrowingFleet):
            store.bear()
        begun = time.perf_counter()
        found = rules.evaluate()
        book.advance(found.keys, found.condition, found.recover, found.value, END + n, whole=found.whole)
        costs.append((time.perf_counter() - begun) * 1e3)
    return {"ms": costs[2:], "instances": [float(len(found.keys))]}


def crowds_ms(rounds: int) -> dict[str, list[float]]:
    """{"ms": of a tick in which 100,000 instances fire, "records": of making their records, which the keeper does}."""
    ticks, records = [], []
    for _ in range(rounds):
        (ticking, seen), _ = turning(INSTANCES)()
        begun = time.perf_counter()
        assert ticking.tick(seen) == INSTANCES
        states = ticking.book.take_changes(ticking.second)
        ticks.append((time.perf_counter() - begun) * 1e3)
        assert len(states.make()) == INSTANCES + 1  # and the mark of being alive
        records.append((time.perf_counter() - begun) * 1e3 - ticks[-1])
    return {"ms": ticks, "records": records}


def parse_and_compile_us(text: str, rounds: int) -> list[float]:
    costs = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(20):
            compile_statement(parse_statement(text))
        costs.append((time.perf_counter() - begun) / 20 * 1e6)
    return costs


def measure(pace: Pace) -> list[Figure]:
    figures = []
    for name, shape in WANTED.items():
        found = apart(ticks_ms, shape=shape, rounds=pace.part(15, 3))
        figures.append(
            Figure(
                f"rules.{name}",
                f"tick of {shape}, states included, 100,000 series",
                "ms",
                found["ms"],
                at_most=TICK_MS_AT_MOST,
                note=f"dearest {max(found['ms']):.0f} ms, {found['instances'][0]:,.0f} instances",
            )
        )
    for name, shape in WANTED_BORN.items():
        found = apart(ticks_ms, shape=shape, rounds=pace.part(40, 5), is_born=True)
        figures.append(
            Figure(
                f"rules.born-{name}",
                f"tick in which a series is born, of {shape}, states included",
                "ms",
                found["ms"],
                at_most=TICK_MS_AT_MOST,
                note=f"dearest {max(found['ms']):.0f} ms, {found['instances'][0]:,.0f} instances",
            )
        )
    found = apart(crowds_ms, rounds=pace.part(7, 2))
    records = statistics.median(found["records"])
    note = f"dearest {max(found['ms']):.0f} ms; making their records, on another thread, {records:.0f}"
    what = "states and events of a tick in which 100,000 instances fire"
    figures.append(Figure("rules.crowd", what, "ms", found["ms"], at_most=CROWD_MS_AT_MOST, note=f"{note} ms"))
    for name, text in (("short", SEED_RULE), ("long", RULE)):
        costs = parse_and_compile_us(text, pace.part(50, 5))
        what = f"parse and compile a {name} rule"
        figures.append(Figure(f"rules.compile-{name}", what, "µs", costs, at_most=RULE_US_AT_MOST))
    return figures

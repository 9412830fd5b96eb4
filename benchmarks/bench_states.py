"""What the book of alerts costs a tick: 100,000 instances that are quiet, pending or firing, and many that turn.

    python -m pytest benchmarks/bench_states.py

The contender of a tick is the reference: `alert.state.step`, one instance after the other. Each run checks what the
book told. `changes` is what making the records for the disk takes of the same tick; writing them is another thread's.
"""

import os
import platform
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hms_ops.alert.rule import Rule, rule_from_keys
from hms_ops.alert.states.book import Book
from hms_ops.alert.states.instance import Key
from hms_ops.alert.states.state import INACTIVE, Timing, step

INSTANCES = 100_000
KEYS: list[Key] = [("slow", (("agency", f"a{n % 10}"), ("host", f"host-{n}"))) for n in range(INSTANCES)]
BEGIN = 1_700_000_000
ROUNDS = 15
Floats = NDArray[np.float64]


def rule(hold: str) -> Rule:
    made, _ = rule_from_keys({"alert": "slow", "if": "avg(a) > 200", "for": hold, "notify": ["log:"]}, "benchmark")
    assert made is not None
    return made


class Ticking:
    """A book whose instances all see the same, or the first so many of them."""

    def __init__(self, hold: str) -> None:
        self.book = Book([rule(hold)])
        self.second = BEGIN
        self.value = np.full(INSTANCES, 215.0)

    def tick(self, condition: Floats) -> int:
        self.second += 1
        return len(self.book.advance(KEYS, condition, 1.0 - condition, self.value, self.second))


def first(count: int) -> Floats:
    return (np.arange(INSTANCES) < count).astype(np.float64)


def tell(benchmark: Any, each: int) -> float:
    seconds = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        ns_per_instance=round(seconds / each * 1e9, 1),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(f"\n{benchmark.name}: {seconds * 1e3:,.2f} ms · {seconds / each * 1e9:,.0f} ns an instance")
    return seconds


TICKS = {
    "quiet": ("1h", 0.0, 0.0),
    "pending": ("1h", 1.0, 1.0),
    "no data": ("1h", 1.0, np.nan),
    "firing": ("0s", 1.0, 1.0),
}


@pytest.mark.benchmark(group="a tick of 100,000 instances")
@pytest.mark.parametrize("what", TICKS)
def test_a_tick(benchmark: Any, what: str) -> None:
    hold, before, now = TICKS[what]
    ticking = Ticking(hold)
    ticking.tick(np.full(INSTANCES, before))
    seen = np.full(INSTANCES, now)
    assert benchmark.pedantic(lambda: ticking.tick(seen), rounds=ROUNDS, warmup_rounds=2) == 0
    assert ticking.book.live_count == (0 if what == "quiet" else INSTANCES)
    assert tell(benchmark, INSTANCES) <= 0.005


@pytest.mark.benchmark(group="a tick of 100,000 instances")
def test_a_tick_of_pending_ones_by_the_reference(benchmark: Any) -> None:
    timing = Timing(for_seconds=3600)
    states = [step(INACTIVE, 1.0, 0.0, timing, BEGIN)[0]] * INSTANCES

    def tick() -> int:
        return sum(step(state, 1.0, 0.0, timing, BEGIN + 1)[1] is not None for state in states)

    assert benchmark.pedantic(tick, rounds=3) == 0
    tell(benchmark, INSTANCES)


def turning(count: int) -> Callable[[], tuple[tuple[Ticking, Floats], dict[str, Any]]]:
    """A setup: a quiet book, and what makes so many of its instances fire at once."""

    def setup() -> tuple[tuple[Ticking, Floats], dict[str, Any]]:
        ticking = Ticking("0s")
        ticking.tick(np.zeros(INSTANCES))
        return (ticking, first(count)), {}

    return setup


@pytest.mark.benchmark(group="instances that fire at once")
@pytest.mark.parametrize(("count", "at_most"), [(10_000, 0.1), (100_000, 1.0)])
def test_firing_at_once(benchmark: Any, count: int, at_most: float) -> None:
    told = benchmark.pedantic(lambda ticking, seen: ticking.tick(seen), setup=turning(count), rounds=5)
    assert told == count
    assert tell(benchmark, count) <= at_most


@pytest.mark.benchmark(group="records of instances that fired at once")
@pytest.mark.parametrize(("count", "at_most"), [(10_000, 0.15), (100_000, 1.5)])
def test_their_records(benchmark: Any, count: int, at_most: float) -> None:
    def setup() -> tuple[tuple[Ticking], dict[str, Any]]:
        (ticking, seen), _ = turning(count)()
        ticking.tick(seen)
        return (ticking,), {}

    made = benchmark.pedantic(lambda ticking: len(ticking.book.changes(ticking.second)), setup=setup, rounds=5)
    assert made == count + 1  # and the mark of being alive
    assert tell(benchmark, count) <= at_most


@pytest.mark.benchmark(group="a restart with 100,000 that fire")
def test_a_restart(benchmark: Any) -> None:
    (ticking, seen), _ = turning(INSTANCES)()
    ticking.tick(seen)
    records = {
        change.key: change.record for change in ticking.book.changes(ticking.second) if change.table == "instances"
    }

    def restart() -> Book:
        book = Book([rule("0s")])
        assert (
            book.restore({key: record or {} for key, record in records.items()}, ticking.second, ticking.second) == []
        )
        return book

    assert benchmark.pedantic(restart, rounds=3).live_count == INSTANCES
    tell(benchmark, INSTANCES)

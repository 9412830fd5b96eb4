"""Percentiles in the store: windows hold exactly their seconds' samples, whatever way those came, in bounded memory.

`Twin` keeps every sample; a window of the store is right when its sketch is, byte for byte, that of the twin's samples.
"""

import gc
import itertools
import json
import math
import os
import random
import threading
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.stores import NOW, SECOND_NS, cell, make_store, move_to

from hms_ops import _sketch, kinds
from hms_ops._ring import Store

WINDOWS = (1, 7, 10, 15, 60, 299, 600, 601, 900, 1800, 3600)


def tick(store: Store, now: int) -> None:
    """What the tick does for sketches: seal, merge late samples, close steps."""
    move_to(store, now)
    store.merge_late()
    for tier, seconds in ((1, 10), (2, 60)):
        for step in range(store.rolled_end(tier) // seconds, now // seconds):
            store.set_rolled(tier, step)


def tick_through(store: Store, now: int) -> None:
    for second in range(store.sealed_second + 2, now + 1):
        tick(store, second)


def sketch_of(store: Store, name: str, seconds: int) -> bytes:
    end = store.sealed_second + 1
    slots = store.slots(name)
    return store.sketch_groups(slots, [0, len(slots)], end - seconds, end)[0]


def count_of(store: Store, name: str, seconds: int = 3600) -> float:
    return _sketch.count(sketch_of(store, name, seconds))


def lost(store: Store) -> int:
    return store.counters()["sketch_samples_lost"]


class Twin:
    """Every sample of every series as (second, value, weight)."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[int, float, float]]] = {}

    def add(self, name: str, second: int, values: Iterable[float], weight: float = 1.0) -> None:
        self.samples.setdefault(name, []).extend((second, value, weight) for value in values)

    def sketch(self, name: str, start: int, end: int) -> bytes:
        chosen = [(value, weight) for second, value, weight in self.samples.get(name, []) if start <= second < end]
        return _sketch.from_values([value for value, _ in chosen], [weight for _, weight in chosen])

    def begin(self, end: int, seconds: int) -> int:
        """A window's start, rounded down."""
        step = 10 if seconds <= 600 else 60
        return (end - seconds) // step * step


def assert_windows_are_the_twins(store: Store, twin: Twin, windows: Iterable[int] = WINDOWS) -> None:
    end = store.sealed_second + 1
    for name, seconds in itertools.product(twin.samples, windows):
        expected = twin.sketch(name, twin.begin(end, seconds), end)
        assert sketch_of(store, name, seconds) == expected, (name, seconds)
    assert lost(store) == 0


# ---- windows ----


@pytest.mark.parametrize("per_second", [0.2, 1, 5, 7, 63, 64, 65, 200])
def test_a_window_holds_exactly_its_seconds_at_any_rate(per_second: float) -> None:
    store, twin, order = make_store(), Twin(), random.Random(int(per_second * 10))
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 95):
        n = int(per_second) if per_second >= 1 else order.random() < per_second
        values = [order.lognormvariate(4, 0.6) for _ in range(n)]
        for value in values:
            series.add(value)
        twin.add("latency", second, values)
        tick(store, second + 1)
        assert_windows_are_the_twins(store, twin, (1, 10, 13, 60))
    assert_windows_are_the_twins(store, twin)


def test_an_hour_of_windows_is_exact_and_takes_less_than_12_kilobytes() -> None:
    store, twin, rng = make_store(), Twin(), np.random.default_rng(5)
    series, most = store.handle("latency", kinds.TIMER), 0
    for second in range(NOW, NOW + 3700):
        values = rng.lognormal(math.log(120), 0.6, 5).tolist()
        for value in values:
            series.add(value)
        twin.add("latency", second, values)
        most = max(most, store.counters()["sketch_bytes"])
        tick(store, second + 1)
        most = max(most, store.counters()["sketch_bytes"])
    assert_windows_are_the_twins(store, twin)
    assert most <= 12_000


def test_quantiles_are_within_2_2_percent_of_the_raw_samples() -> None:
    store, rng, values = make_store(), np.random.default_rng(6), list[NDArray[np.float64]]()
    series = store.handle("latency", kinds.HISTOGRAM)
    for second in range(NOW, NOW + 130):
        values.append(rng.pareto(1.5, 40) + 0.1)
        for value in values[-1].tolist():
            series.add(value)
        tick(store, second + 1)
    quantiles, end = [0.5, 0.9, 0.99, 0.999, 0.0, 1.0], NOW + 130
    found, start = store.sketch_quantiles(store.slots("latency"), [0, 1], end - 60, end, quantiles)
    exact = np.quantile(np.concatenate(values[-60:]), quantiles)
    assert start == end - 60
    assert np.abs(found[0] / exact - 1).max() <= 0.022


def test_a_window_begins_at_a_whole_step() -> None:
    store = make_store()
    store.handle("latency", kinds.TIMER)
    tick_through(store, NOW + 1234)
    end, slots = NOW + 1234, store.slots("latency")
    starts = [store.sketch_quantiles(slots, [0, 1], end - seconds, end, [0.5])[1] for seconds in (1, 600, 601, 1000)]
    assert starts == [NOW + 1230, NOW + 630, NOW + 580, NOW + 220]
    assert [start % 60 for start in starts[2:]] == [0, 0]
    assert store.sketch_quantiles(slots, [0, 1], end - 3600, end, [0.5])[1] == NOW - 20  # a minute began


def test_the_open_second_is_in_no_window_though_its_samples_left_the_ring() -> None:
    store = make_store()
    series = store.handle("latency", kinds.TIMER)
    for value in range(1, 1001):
        series.add(value)
    assert count_of(store, "latency") == 0
    store.set_now_ns((NOW + 1) * SECOND_NS)
    for value in range(1, 501):
        series.add(value)
    assert count_of(store, "latency") == 0
    store.seal(NOW)
    assert count_of(store, "latency") == 1000
    store.set_now_ns((NOW + 2) * SECOND_NS)
    store.seal(NOW + 1)
    assert count_of(store, "latency") == 1500


def test_a_window_that_ended_a_second_ago_leaves_the_second_since_out() -> None:
    """Another thread may have read `sealed_second` just before the tick sealed the next one."""
    store = make_store()
    series, slots = store.handle("latency", kinds.TIMER), store.slots("latency")
    for second in range(NOW, NOW + 30):
        series.add_many(np.full(300, 5.0))
        series.add_many(np.full(40, 7.0))
        end = store.sealed_second  # and the second after that has come, too
        if end > NOW and 0 < end % 10 < 9:  # the step of a 9 has closed, and counts whole
            assert _sketch.count(store.sketch_groups(slots, [0, 1], end - 1, end)[0]) == 340 * (end % 10)
        tick(store, second + 1)


@pytest.mark.parametrize("n", [1, 10, 64, 100])
def test_what_came_before_the_tick_closed_a_step_belongs_to_the_next_one(n: int) -> None:
    store, twin = make_store(), Twin()
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 70):
        store.set_now_ns(second * SECOND_NS)  # to the nanosecond
        for value in range(n):
            series.add(value + 1.0)
        store.flush()
        twin.add("latency", second, [value + 1.0 for value in range(n)])
        store.seal(second - 1)
        for tier, seconds in ((1, 10), (2, 60)):
            for step in range(store.rolled_end(tier) // seconds, second // seconds):
                store.set_rolled(tier, step)
        if second > NOW:
            assert_windows_are_the_twins(store, twin, (1, 10, 60))


def test_ten_thousand_samples_in_a_second_are_all_counted() -> None:
    store, twin = make_store(), Twin()
    values = np.random.default_rng(8).lognormal(3, 1, 10_000).tolist()
    for start in range(0, len(values), 50):
        store.ingest("".join(f"latency:{value!r}|ms\n" for value in values[start : start + 50]).encode())
    twin.add("latency", NOW, values)
    tick(store, NOW + 1)
    assert_windows_are_the_twins(store, twin)


@pytest.mark.parametrize("ring_samples", [2, 16, 64, 65_536])
def test_rings_of_any_size_give_the_same_sketches(ring_samples: int) -> None:
    store, twin, order = make_store(10, ring_samples=ring_samples), Twin(), random.Random(9)
    series = store.handle("latency", kinds.DISTRIBUTION)
    for second in range(NOW, NOW + 25):
        values = [order.uniform(1, 9) for _ in range(order.choice([0, 1, 3, 100, 7000]))]
        for value in values:
            series.add(value)
        twin.add("latency", second, values)
        tick(store, second + 1)
        assert_windows_are_the_twins(store, twin, (1, 10, 20))


@pytest.mark.parametrize("stall", [2, 9, 10, 25, 59])
def test_a_late_tick_loses_nothing_and_mixes_nothing(stall: int) -> None:
    store, twin, order = make_store(), Twin(), random.Random(stall)
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 200):
        values = [order.uniform(1, 9) for _ in range(order.choice([1, 30, 90]))]
        for value in values:
            series.add(value)
        store.flush()
        twin.add("latency", second, values)
        store.set_now_ns((second + 1) * SECOND_NS)
        if not NOW + 70 <= second < NOW + 70 + stall - 1:
            tick(store, second + 1)
            assert_windows_are_the_twins(store, twin, (1, 10, 60, 120))


def test_what_no_tick_closes_for_long_is_given_up_and_counted() -> None:
    store = make_store()
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 500):
        store.set_now_ns(second * SECOND_NS)
        series.add_many(np.full(100, 5.0))
    assert store.counters()["sketch_bytes"] < 75 * 1024
    tick(store, NOW + 500)
    assert lost(store) + count_of(store, "latency") == 500 * 100


# ---- kinds, groups ----


def test_timers_histograms_and_distributions_have_percentiles_and_nothing_else_has() -> None:
    store = make_store()
    store.ingest(b"a:5|ms\nb:5|h\nc:5|d\ncounter:5|c\ngauge:5|g\nset:5|s")
    store.ingest(b'{"metric":"inferred_ms","value":5}')
    tick(store, NOW + 1)
    counts = {name: count_of(store, name) for name in store.metrics()}
    assert counts == {"a": 1, "b": 1, "c": 1, "inferred_ms": 1, "counter": 0, "gauge": 0, "set": 0}


def test_samples_before_a_metric_became_a_timer_are_in_no_sketch() -> None:
    store = make_store()
    store.ingest(b'[{"metric":"latency","value":5},{"metric":"latency","value":6}]')
    store.ingest(b"latency:7|ms")
    tick(store, NOW + 1)
    assert sketch_of(store, "latency", 10) == _sketch.from_values([7.0])
    tick(store, NOW + 10)
    assert sketch_of(store, "latency", 10) == _sketch.from_values([7.0])


def test_a_timer_that_was_only_thought_one_becomes_a_counter_and_gives_its_memory_back() -> None:
    store = make_store()
    store.ingest(b'{"metric":"spent_ms","value":5}')
    tick(store, NOW + 10)
    store.ingest(b"spent_ms:7|c")
    tick_through(store, NOW + 3800)
    assert count_of(store, "spent_ms") == 0
    assert store.counters()["sketch_bytes"] == 0


def test_the_members_of_a_group_are_pooled() -> None:
    store = make_store()
    for host, value in itertools.product(range(6), range(1, 20)):
        store.ingest(f"latency:{value * (host + 1)}|ms|#host:h{host}".encode())
    tick(store, NOW + 1)
    slots = store.slots("latency")
    groups, end = [0, 2, 2, 6], NOW + 1
    found, _ = store.sketch_quantiles(slots, groups, NOW, end, [0.5, 1.0])
    blobs = store.sketch_groups(slots, groups, NOW, end)
    for group, hosts in enumerate(([0, 1], [], [2, 3, 4, 5])):
        expected = _sketch.from_values([float(value * (host + 1)) for host in hosts for value in range(1, 20)])
        assert blobs[group] == expected
        np.testing.assert_array_equal(found[group], _sketch.quantiles(expected, [0.5, 1.0]))


@pytest.mark.parametrize("second", [NOW, NOW + 5, NOW + 100])
def test_a_window_of_no_seconds_is_empty(second: int) -> None:
    store = make_store()
    store.handle("latency", kinds.TIMER).add_many(np.full(100, 5.0))
    tick_through(store, NOW + 7)
    assert store.sketch_groups([0], [0, 1], second, second) == [b""]


def test_the_first_minute_is_whole_though_the_store_began_in_its_midst() -> None:
    store, twin = make_store(), Twin()
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 1500):
        series.add(float(second % 7 + 1))
        twin.add("latency", second, [float(second % 7 + 1)])
        tick(store, second + 1)
    for start in range(NOW - 20, NOW + 800, 60):
        assert store.sketch_groups([0], [0, 1], start, start + 60)[0] == twin.sketch("latency", start, start + 60)


def test_slots_that_nobody_has_are_empty() -> None:
    store = make_store()
    found, _ = store.sketch_quantiles([0, 5, -1, 1_000_000], [0, 1, 2, 3, 4], NOW, NOW + 1, [0.5])
    assert np.isnan(found).all()
    assert store.sketch_groups([7], [0, 1], NOW, NOW + 1) == [b""]
    assert store.sketch_groups([], [0], NOW, NOW + 1) == []
    assert store.sketch_quantiles([], [0, 0], NOW, NOW + 1, [])[0].shape == (1, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store: store.sketch_groups([0], [0, 1], NOW, NOW - 1), "a window of -1 s"),
        (lambda store: store.sketch_groups([0], [0, 1], NOW, NOW + 3601), "a window of 3601 s"),
        (lambda store: store.sketch_groups([0], [0, 2], NOW, NOW + 1), "group_offset"),
        (lambda store: store.sketch_groups([0], [], NOW, NOW + 1), "group_offset"),
        (lambda store: store.sketch_groups([0, 1], [0, 2, 1], NOW, NOW + 1), "group_offset"),
        (lambda store: store.sketch_quantiles([0], [-1, 1], NOW, NOW + 1, [0.5]), "group_offset"),
        (lambda store: store.sketch_quantiles([0], [0, 1], NOW, NOW + 1, [1.5]), "quantiles"),
        (lambda store: store.sketch_quantiles([0], [0, 1], NOW + 5, NOW + 1, [0.5]), "a window of -4 s"),
        (lambda store: store.take_sketches(0, 1), "tier 0"),
        (lambda store: store.take_sketches(3, 1), "tier 3"),
    ],
)
def test_a_bad_argument_is_an_error_that_says_so(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call(make_store())


# ---- samples that are special ----


def test_a_sample_of_a_rate_counts_as_many() -> None:
    store, twin = make_store(), Twin()
    for second in range(NOW, NOW + 12):
        store.ingest(b"latency:5|ms|@0.1\nlatency:7|ms\nlatency:9|ms|@0.5")
        twin.add("latency", second, [5.0], 10.0)
        twin.add("latency", second, [7.0])
        twin.add("latency", second, [9.0], 2.0)
        tick(store, second + 1)
        assert_windows_are_the_twins(store, twin, (1, 10, 60))
    assert cell(store, "latency", NOW)[0] == 13


def test_many_samples_of_a_rate_leave_the_ring_in_order() -> None:
    store, twin = make_store(), Twin()
    for i in range(300):
        is_sampled = i % 3 == 0
        store.ingest(b"latency:%d|ms%s" % (i + 1, b"|@0.25" if is_sampled else b""))
        twin.add("latency", NOW, [float(i + 1)], 4.0 if is_sampled else 1.0)
    tick(store, NOW + 1)
    assert_windows_are_the_twins(store, twin)


def test_subscribed_series_are_counted_once() -> None:
    store, twin = make_store(), Twin()
    store.subscribe("latency")
    for i in range(200):
        store.ingest(b"latency:%d|ms" % (i + 1))
    twin.add("latency", NOW, [float(i + 1) for i in range(200)])
    tick(store, NOW + 1)
    assert_windows_are_the_twins(store, twin)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_add_many_counts_all_of_them(n: int) -> None:
    store, twin = make_store(), Twin()
    series = store.handle("latency", kinds.TIMER)
    values = np.random.default_rng(n).lognormal(2, 1, n)
    for _ in range(3):
        series.add(4.0)
        series.add_many(values)
    twin.add("latency", NOW, [4.0] * 3 + values.tolist() * 3)
    tick(store, NOW + 1)
    assert_windows_are_the_twins(store, twin)


def stamped(name: str, value: float, second: float) -> bytes:
    return json.dumps({"metric": name, "kind": "timer", "value": value, "time": second}).encode()


@pytest.mark.parametrize("age", [0, 1, 2, 9, 11, 59, 61, 130, 595, 605, 700, 1300])
def test_a_late_sample_is_in_every_window_that_holds_its_second(age: int) -> None:
    store, twin = make_store(), Twin()
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 1500):
        series.add(5.0)
        twin.add("latency", second, [5.0])
        tick(store, second + 1)
    for i in range(3):
        store.ingest(stamped("latency", 100.0 + i, NOW + 1500 - age))
        store.ingest(b"latency:6|ms")
        twin.add("latency", NOW + 1500 - age, [100.0 + i])
        twin.add("latency", NOW + 1500, [6.0])
    for end in (NOW + 1501, NOW + 1502, NOW + 1503):
        tick(store, end)
        assert_windows_are_the_twins(store, twin)
    tick_through(store, NOW + 1580)
    assert_windows_are_the_twins(store, twin)


def test_a_late_sample_makes_the_sketch_of_a_step_that_had_none() -> None:
    store, twin = make_store(), Twin()
    store.ingest(b"latency:5|ms")
    twin.add("latency", NOW, [5.0])
    tick_through(store, NOW + 300)
    for second in (NOW + 150, NOW + 95, NOW + 200, NOW + 95, NOW + 290):
        store.ingest(stamped("latency", 9.0, second))
        twin.add("latency", second, [9.0])
    tick(store, NOW + 301)
    assert_windows_are_the_twins(store, twin, (60, 120, 299, 600, 3600))
    assert list(store.take_sketches(1, (NOW + 150) // 10).ids) == [0]


def test_a_stamp_of_a_time_to_come_waits_for_it() -> None:
    store, twin = make_store(), Twin()
    store.ingest(stamped("latency", 9.0, NOW + 5))
    twin.add("latency", NOW + 5, [9.0])
    for end in range(NOW + 1, NOW + 25):
        tick(store, end)
        assert_windows_are_the_twins(store, twin, (1, 10, 20))


Operation = tuple[str, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "weigh", "many", "late", "tick", "tick", "stall"]),
            st.integers(0, 2),
            st.integers(1, 150),
        ),
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_in_whatever_order_windows_are_the_twins(operations: list[Operation]) -> None:
    store, twin, now, value = make_store(10, ring_samples=16), Twin(), NOW, itertools.count(1)
    series = [store.handle(f"s{i}", kinds.TIMER) for i in range(3)]
    for what, i, n in operations:
        values = [float(next(value) % 97 + 1) for _ in range(n % 40 + 1)]
        if what == "add":
            for x in values:
                series[i].add(x)
            store.flush()
            twin.add(f"s{i}", now, values)
        elif what == "weigh":
            for x in values:
                store.ingest(b"s%d:%d|ms|@0.5" % (i, x))
            twin.add(f"s{i}", now, values, 2.0)
        elif what == "many":
            series[i].add_many(values)
            twin.add(f"s{i}", now, values)
        elif what == "late":
            second = max(NOW, now - n)
            store.ingest(stamped(f"s{i}", values[0], second))
            twin.add(f"s{i}", second, values[:1])
        else:
            now += 1 if what == "tick" else n % 50 + 1
            tick(store, now)
            assert_windows_are_the_twins(store, twin, (1, 10, 60, 300, 700))
    tick(store, now + 1)
    assert_windows_are_the_twins(store, twin, (1, 10, 60, 300, 700))


# ---- for the disk ----


def test_the_sketches_of_a_closed_step_are_taken_by_slot() -> None:
    store, twin = make_store(), Twin()
    for second in range(NOW, NOW + 120):
        for name in range(150):
            if (second + name) % 25 == 0:
                store.ingest(b"t%d:%d|ms" % (name, second % 17 + 1))
                twin.add(f"t{name}", second, [float(second % 17 + 1)])
        tick(store, second + 1)
    for tier, seconds in ((1, 10), (2, 60)):
        step = store.rolled_end(tier) // seconds - 1
        taken = store.take_sketches(tier, step)
        found = {store.series(slot).name: taken.blob(i) for i, slot in enumerate(taken.ids.tolist())}
        window = step * seconds, (step + 1) * seconds
        assert found == {name: blob for name in twin.samples if (blob := twin.sketch(name, *window))}
        assert set(taken.steps.tolist()) == {step * seconds}
        assert (np.diff(taken.ids.astype(np.int64)) > 0).all()
        assert len(store.take_sketches(tier, step + 1)) == 0
        assert len(store.take_sketches(tier, step - 61)) == 0


# ---- memory ----


def test_a_silent_series_gives_its_memory_back() -> None:
    store = make_store()
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 30):
        series.add_many(np.arange(1.0, 200.0))
        tick(store, second + 1)
    tick_through(store, NOW + 700)
    assert len(store.take_sketches(1, NOW // 10)) == 0
    assert count_of(store, "latency") == 30 * 199
    tick_through(store, NOW + 3900)
    assert store.counters()["sketch_bytes"] == 0


def test_a_released_slot_takes_its_sketches_with_it() -> None:
    store = make_store()
    store.ingest(b"latency:5|ms\n" * 100)
    tick_through(store, NOW + 15)
    store.ingest(b"latency:5|ms\n" * 100)
    assert store.counters()["sketch_bytes"] > 0
    assert store.release_idle(0, 10, NOW + 20) == 1
    assert store.counters()["sketch_bytes"] == 0
    store.ingest(b"other:7|ms")
    tick_through(store, NOW + 20)
    assert store.slot("other") == 0
    assert sketch_of(store, "other", 60) == _sketch.from_values([7.0])


def test_a_forgotten_series_that_somebody_holds_begins_anew() -> None:
    store = make_store()
    series = store.handle("latency", kinds.TIMER)
    series.add_many(np.full(100, 5.0))
    tick_through(store, NOW + 15)
    series.add_many(np.full(100, 5.0))
    series.add(5.0)
    store.forget("latency")
    assert store.counters()["sketch_bytes"] == 0
    series.add(7.0)
    tick_through(store, NOW + 20)
    assert sketch_of(store, "latency", 60) == _sketch.from_values([7.0])


def test_beyond_the_bound_samples_are_lost_to_percentiles_alone() -> None:
    store = make_store(sketch_bytes_max=4000)
    rng = np.random.default_rng(11)
    for second in range(NOW, NOW + 70):
        for name in range(50):
            store.handle(f"t{name}", kinds.TIMER).add_many(rng.lognormal(3, 2, 70))
        tick(store, second + 1)
        assert store.counters()["sketch_bytes"] <= 4000
    kept = sum(count_of(store, f"t{name}") for name in range(50))
    assert lost(store) >= 50 * 70 * 70 - kept > 0
    assert cell(store, "t49", NOW + 69)[0] == 70
    found, _ = store.sketch_quantiles(store.slots("t49"), [0, 1], NOW, NOW + 70, [0.5])
    assert np.isnan(found).all()


def test_without_any_memory_every_sample_is_lost_to_percentiles_and_counted() -> None:
    store = make_store(sketch_bytes_max=0)
    series = store.handle("latency", kinds.TIMER)
    for second in range(NOW, NOW + 20):
        series.add(5.0)
        store.ingest(b"latency:5|ms|@0.5")
        store.ingest(stamped("latency", 5.0, second - 1))
        series.add_many(np.full(70, 5.0))
        tick(store, second + 1)
    assert lost(store) == 20 * 73
    assert count_of(store, "latency") == 0
    assert store.counters()["sketch_bytes"] == 0


def test_the_store_names_the_bound_of_its_memory() -> None:
    assert make_store(sketch_bytes_max=10**9).bytes_reserved - make_store(sketch_bytes_max=0).bytes_reserved == 10**9


def test_a_clock_that_is_set_begins_windows_anew() -> None:
    store = Store(10, offset_ns=0)
    series = store.handle("latency", kinds.TIMER)
    now = store.now_ns() // SECOND_NS
    series.add_many(np.full(100, 5.0))
    for value in (5.0, 6.0):
        series.add(value)
    store.flush()
    store.reanchor(-1000 * SECOND_NS)
    assert store.counters()["sketch_bytes"] == 0
    series.add(7.0)
    store.flush()
    now = store.now_ns() // SECOND_NS
    store.seal(now)
    assert sketch_of(store, "latency", 10) == _sketch.from_values([7.0])
    assert lost(store) == 0


def test_a_store_that_is_collected_frees_its_sketches() -> None:
    for _ in range(3):
        store = make_store()
        store.handle("latency", kinds.TIMER).add_many(np.arange(1.0, 5000.0))
        tick(store, NOW + 10)
        del store
        gc.collect()


# ---- threads and forks ----


def test_listeners_readers_and_the_tick_at_once_lose_nothing() -> None:
    store = Store(100)
    is_over, problems = threading.Event(), list[str]()

    def read() -> None:
        while not is_over.is_set():
            end = store.sealed_second + 1
            found, _ = store.sketch_quantiles(np.arange(4), [0, 2, 4], end - 60, end, [0.0, 0.5, 1.0])
            if not (np.isnan(found) | ((found > 0.97) & (found < 103))).all():
                problems.append(str(found))
            store.take_sketches(1, store.rolled_end(1) // 10 - 1)

    def send(host: int) -> None:
        for i in range(2000):
            store.ingest(b"latency:%d|ms|#host:h%d\n" % (i % 100 + 1, host) * 20)

    readers = [threading.Thread(target=read) for _ in range(2)]
    senders = [threading.Thread(target=send, args=(host,)) for host in range(4)]
    for thread in readers + senders:
        thread.start()
    while any(thread.is_alive() for thread in senders):
        run_tick(store)
    is_over.set()
    for thread in readers + senders:
        thread.join()
    store.seal(store.now_ns() // SECOND_NS)
    assert problems == []
    assert count_of(store, "latency") == 4 * 2000 * 20
    assert lost(store) == 0


def run_tick(store: Store) -> None:
    now = store.now_ns() // SECOND_NS
    if now - 1 > store.sealed_second:
        store.seal(now - 1)
        store.merge_late()
        for tier, seconds in ((1, 10), (2, 60)):
            for step in range(store.rolled_end(tier) // seconds, now // seconds):
                store.set_rolled(tier, step)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_no_percentiles_and_its_parent_keeps_its_own() -> None:
    store = make_store()
    store.handle("latency", kinds.TIMER).add_many(np.arange(1.0, 500.0))
    tick(store, NOW + 10)
    before = sketch_of(store, "latency", 10)
    child = os.fork()
    if child == 0:
        found, _ = store.sketch_quantiles([0], [0, 1], NOW, NOW + 10, [0.5])
        blobs = store.sketch_groups([0], [0, 1], NOW, NOW + 10)
        is_empty = blobs == [b""] and bool(np.isnan(found).all()) and len(store.take_sketches(1, NOW // 10)) == 0
        del store
        gc.collect()
        os._exit(0 if is_empty else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sketch_of(store, "latency", 10) == before != b""

"""Percentiles in the store: windows hold exactly their seconds' samples, of the series that have any."""

import itertools
import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.sketching import (
    Twin,
    assert_windows_are_the_twins,
    close_steps,
    count_of,
    lost,
    sketch_of,
    tick,
    tick_through,
)
from tests.stores import NOW, SECOND_NS, make_store

from hms_ops import _sketch, kinds

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
        close_steps(store, second)
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

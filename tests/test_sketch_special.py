"""Percentiles of samples that come another way: of a rate, stamped, many at once; and sketches for the disk."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sketching import (
    Twin,
    assert_windows_are_the_twins,
    stamped,
    tick,
    tick_through,
)
from tests.stores import NOW, cell, make_store

from hms_ops import kinds

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

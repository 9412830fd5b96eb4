"""Sketches in bounded memory, given back when they are of no use, among threads and in forked children."""

import gc
import os
import threading

import numpy as np
import pytest
from tests.sketching import (
    close_steps,
    count_of,
    lost,
    sketch_of,
    stamped,
    tick,
    tick_through,
)
from tests.stores import NOW, SECOND_NS, cell, make_store

from hms_ops import _sketch, kinds
from hms_ops._ring import Store

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


def test_listeners_readers_the_tick_and_who_deletes_at_once_lose_nothing() -> None:
    store = Store(100)
    is_over, problems = threading.Event(), list[str]()

    def read() -> None:
        while not is_over.is_set():
            end = store.sealed_second + 1
            found, _ = store.sketch_quantiles(np.arange(5), [0, 2, 5], end - 60, end, [0.0, 0.5, 1.0])
            if not (np.isnan(found) | ((found > 0.97) & (found < 103))).all():
                problems.append(str(found))
            store.take_sketches(1, store.rolled_end(1) // 10 - 1)

    def send(host: int) -> None:
        for i in range(2000):
            store.ingest(b"latency:%d|ms|#host:h%d\n" % (i % 100 + 1, host) * 20)

    def forget() -> None:
        while not is_over.is_set():
            store.forget("gone", {"host": "h9"})
            store.ingest(b"gone:5|ms|#host:h9\n" * 100)

    readers = [threading.Thread(target=target) for target in (read, read, forget)]
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
        close_steps(store, now)


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

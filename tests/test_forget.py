"""A series that is forgotten: gone from the store at once, and nothing of it is in whoever comes next."""

import math
import threading
from collections.abc import Callable

import numpy as np
import pytest
from tests.stores import NOW, SECOND_NS, cell, make_store, move_to, value_of

from hms_ops import _sketch, kinds
from hms_ops.kernels.rollup import rollup_step

TAGS = {"zone": "a"}


def test_a_forgotten_series_is_gone_and_its_slot_is_given_back() -> None:
    store = make_store()
    store.ingest(b"x:1:2|ms|#zone:a\nx:5|ms")
    slot = store.slot("x", TAGS)
    assert store.forget("x", TAGS) == slot
    assert (store.slot("x", TAGS), store.series_live, store.slots("x").tolist()) == (-1, 1, [store.slot("x")])
    assert store.changes(0)[1][-1] == (slot, False)
    assert store.metrics() == ["x"]
    assert value_of(store, "x") == 5.0, "its neighbour stays"
    with pytest.raises(KeyError):
        store.series(slot)


def test_a_metric_whose_last_series_is_forgotten_may_come_back_with_another_kind() -> None:
    store = make_store()
    store.ingest(b"x:1|ms")
    store.forget("x")
    assert (store.metrics(), store.metric_kind("x")) == ([], kinds.UNKNOWN)
    assert store.ingest(b"x:1|c") == 1
    assert store.metric_kind("x") == kinds.COUNTER


@pytest.mark.parametrize("line", [b"y:7|g", b"x:7|ms|#zone:a"], ids=["another", "itself"])
def test_nothing_of_it_is_left_for_the_next_owner_of_its_slot(line: bytes) -> None:
    store = make_store()
    store.ingest(b"x:1:2:3|ms|#zone:a")
    move_to(store, NOW + 10)
    rollup_step(store.cols, 1, NOW // 10, store.series_count)
    slot = store.forget("x", TAGS)
    store.ingest(line)
    assert store.all_slots().tolist() == [slot]
    assert not store.cols[:, 0, :, slot].any()
    assert store.recent(slot)[1].tolist() == [7.0]
    assert store.last_second[slot] == 0


def test_a_series_that_a_program_holds_is_emptied_and_stays() -> None:
    store = make_store()
    held = store.handle("x", kinds.GAUGE, TAGS)
    held.add(3.0)
    move_to(store, NOW + 1)
    slot = store.forget("x", TAGS)
    assert store.slot("x", TAGS) == slot
    assert math.isnan(value_of(store, "x", TAGS))
    assert not store.cols[:, 0, :, slot].any()
    held.add(4.0)
    move_to(store, NOW + 2)
    assert cell(store, "x", NOW + 1, TAGS) == (1.0, 4.0, 0.0, 4.0, 4.0, 4.0)


def test_a_gauge_that_was_emptied_has_no_last_value_to_add_to() -> None:
    store = make_store()
    held = store.handle("x", kinds.GAUGE)
    held.add(100.0)
    store.forget("x")
    store.ingest(b"x:+5|g")
    assert value_of(store, "x") == 5.0


def test_late_samples_that_wait_for_a_forgotten_series_reach_nobody() -> None:
    store = make_store()
    store.set_now_ns((NOW + 30) * SECOND_NS)
    held = store.handle("x", kinds.GAUGE)
    store.ingest(b"x:1|g|T%d" % (NOW + 10))
    store.forget("x")
    move_to(store, NOW + 31)
    assert store.merge_late() is None or not len(store.merge_late() or ())
    assert not store.cols[:, 0, :, store.slot("x")].any()
    assert store.counters()["late_lost"] == 1
    del held


def test_sets_give_their_memory_back() -> None:
    store = make_store()
    store.ingest(b"x:a:b:c|s|#zone:a")
    assert store.counters()["set_bytes"] > 0
    store.forget("x", TAGS)
    assert store.counters()["set_bytes"] == 0


@pytest.mark.parametrize("name", ["", "y", "x" * 300], ids=["empty", "unknown", "too long"])
def test_what_is_not_there_is_minus_one_and_changes_nothing(name: str) -> None:
    store = make_store()
    store.ingest(b"x:1|c")
    before = store.changes_count
    assert store.forget(name) == store.forget("x", TAGS) == -1
    assert store.changes_count == before


def test_the_overflow_keeps_its_slot_so_that_the_next_sample_finds_it() -> None:
    store = make_store(series_max=1)
    store.ingest(b"a:1|c\na:2|c|#zone:a")
    overflow = {"__overflow__": "true"}
    slot = store.slot("a", overflow)
    assert slot >= 0
    assert store.forget("a", overflow) == slot
    store.ingest(b"a:4|c|#zone:b")
    assert value_of(store, "a", overflow) == 4.0


def test_calls_that_wait_in_the_buffer_are_forgotten_too() -> None:
    store = make_store()
    held = store.handle("x", kinds.GAUGE)
    held.add(9.0)
    store.forget("x")
    assert np.isnan(value_of(store, "x"))


@pytest.mark.parametrize("is_held", [False, True])
def test_percentiles_give_their_memory_back(is_held: bool) -> None:
    store = make_store()
    held = store.handle("x", kinds.TIMER, TAGS) if is_held else None
    store.ingest(b"\n".join(b"x:%d|ms|#zone:a" % n for n in range(500)))
    move_to(store, NOW + 10)
    rollup_step(store.cols, 1, NOW // 10, store.series_count)
    store.set_rolled(1, NOW // 10)
    assert store.counters()["sketch_bytes"] > 0
    slot = store.forget("x", TAGS)
    assert store.counters()["sketch_bytes"] == 0
    groups = store.sketch_groups(np.array([slot], np.int32), np.array([0, 1]), NOW, NOW + 10)
    assert groups == [b""]
    store.ingest(b"x:7|ms|#zone:a")
    move_to(store, NOW + 11)
    groups = store.sketch_groups(np.array([store.slot("x", TAGS)], np.int32), np.array([0, 1]), NOW, NOW + 11)
    assert _sketch.count(groups[0]) == 1.0
    assert (held is not None) == is_held


def test_series_are_forgotten_while_others_receive_seal_and_roll() -> None:
    """Four threads on one store; whoever comes after must find it whole."""
    store = make_store(series_max=200)
    is_done = threading.Event()
    failed: list[BaseException] = []

    def work(step: Callable[[int], object]) -> None:
        number = 0
        try:
            while not is_done.is_set():
                step(number)
                number += 1
        except BaseException as error:
            failed.append(error)

    def tick(number: int) -> None:
        now = NOW + number + 1
        store.set_now_ns(now * SECOND_NS)
        store.clear_ahead(now + 2)
        store.seal(now - 1)
        store.merge_late()
        for tier, seconds in ((1, 10), (2, 60)):
            if now % seconds == 0:
                rollup_step(store.cols, tier, now // seconds - 1, store.series_count)
                store.set_rolled(tier, now // seconds - 1)
        store.release_idle(0, 200, now - 5)

    def receive(number: int) -> None:
        kind = (b"ms", b"s", b"c", b"g")[number % 4]
        store.ingest(b"\n".join(b"m%d.%s:%d|%s|#n:%d" % (number % 4, kind, n, kind, n % 25) for n in range(60)))

    def forget(number: int) -> None:
        kind = ("ms", "s", "c", "g")[number % 4]
        store.forget(f"m{number % 4}.{kind}", {"n": str(number % 25)})

    threads = [threading.Thread(target=work, args=(step,)) for step in (tick, receive, forget, forget)]
    for thread in threads:
        thread.start()
    is_done.wait(1.5)
    is_done.set()
    for thread in threads:
        thread.join(20)
    assert failed == []
    for number in range(100):
        forget(number)
    counters = store.counters()
    assert (counters["series"], counters["set_bytes"], counters["sketch_bytes"]) == (0, 0, 0)
    assert store.metrics() == []
    assert store.ingest(b"x:1|c") == 1

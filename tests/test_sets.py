"""Distinct members: exact while few, within four standard errors when many, bounded in memory."""

import gc
import threading
import time

import numpy as np
import pytest
from tests.stores import NOW, SECOND_NS, bad_of, make_store, move_to, row

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.distinct import estimate

STANDARD_ERROR = 1.04 / 2**7  # of 2^14 registers; the hash's key differs from run to run, so tests allow four of them


def distinct(store: Store, name: str, seconds: range) -> float:
    steps = np.array(list(seconds), np.int64)
    return float(store.distinct(store.slots(name), np.zeros(len(steps), np.int64), steps))


def add_members(store: Store, name: str, first: int, n: int) -> None:
    for start in range(first, first + n, 1000):
        members = ":".join(f"user{i}" for i in range(start, min(start + 1000, first + n)))
        store.ingest(f"{name}:{members}|s".encode())


@pytest.mark.parametrize("n", [0, 1, 2, 100, 511, 512])
def test_few_members_are_counted_exactly(n: int) -> None:
    store = make_store()
    store.ingest(b"users:warm|s\n")
    move_to(store, NOW + 1)
    for _ in range(3):
        add_members(store, "users", 0, n)
    move_to(store, NOW + 2)
    assert distinct(store, "users", range(NOW + 1, NOW + 2)) == n


@pytest.mark.parametrize("n", [513, 2000, 10_000, 100_000])
def test_many_members_are_counted_within_four_standard_errors(n: int) -> None:
    store = make_store()
    add_members(store, "users", 0, n)
    add_members(store, "users", 0, n)
    move_to(store, NOW + 1)
    assert distinct(store, "users", range(NOW, NOW + 1)) == pytest.approx(n, rel=4 * STANDARD_ERROR)


def test_members_are_merged_across_seconds_and_series() -> None:
    store = make_store()
    for second in range(5):
        store.set_now_ns((NOW + second) * SECOND_NS)
        add_members(store, "users", 50 * second, 100)
        store.ingest(b"users:user%d:extra|s|#a:b" % second)
    store.seal(NOW + 4)
    assert distinct(store, "users", range(NOW, NOW + 1)) == 101
    assert distinct(store, "users", range(NOW, NOW + 5)) == 301
    assert distinct(store, "users", range(NOW + 5, NOW + 9)) == 0


def test_sparse_and_dense_seconds_merge() -> None:
    store = make_store()
    add_members(store, "users", 0, 5000)
    move_to(store, NOW + 1)
    add_members(store, "users", 5000, 100)
    move_to(store, NOW + 2)
    assert distinct(store, "users", range(NOW, NOW + 2)) == pytest.approx(5100, rel=4 * STANDARD_ERROR)


def test_a_second_is_forgotten_when_its_slot_comes_round() -> None:
    store = make_store()
    for second in range(130):
        store.ingest(b"users:u%d|s" % second)
        move_to(store, NOW + second + 1)
    assert distinct(store, "users", range(NOW + 70, NOW + 130)) == 60
    assert distinct(store, "users", range(NOW, NOW + 60)) == 0


def test_a_late_tick_seals_the_members_too() -> None:
    store = make_store()
    for second in range(5):
        store.set_now_ns((NOW + second) * SECOND_NS)
        store.ingest(b"users:u%d|s" % second)
    store.seal(NOW + 4)
    assert distinct(store, "users", range(NOW, NOW + 5)) == 5


def test_sketches_roll_into_ten_seconds_and_a_minute() -> None:
    store = make_store()
    for second in range(60):
        add_members(store, "users", second, 10)
        move_to(store, NOW + second + 1)
        if (NOW + second + 1) % 10 == 0:
            store.set_rolled(1, (NOW + second) // 10)
        if (NOW + second + 1) % 60 == 0:
            store.set_rolled(2, (NOW + second) // 60)
    slots, one = store.slots("users"), np.ones(1, np.int64)
    assert store.distinct(slots, one, np.array([NOW // 10], np.int64)) == 19
    assert store.distinct(slots, 2 * one, np.array([NOW // 60], np.int64)) == 49
    assert store.rolled_end(2) == NOW // 60 * 60 + 60


def test_the_same_member_is_one_in_every_format() -> None:
    store = make_store()
    store.ingest(b"users:42|s")
    store.ingest(b'[{"metric":"users","kind":"set","value":42},{"metric":"users","kind":"set","value":"42"}]')
    store.ingest(b"\x83\xa6metric\xa5users\xa4kind\xa3set\xa5value\x2a")
    store.ingest(b'{"metric":"users","value":42}')
    store.handle("users", kinds.SET).add(42.0)
    store.handle("users").add_many([42.0, 42.0])
    assert row(store)["samples"] == 8
    move_to(store, NOW + 1)
    assert distinct(store, "users", range(NOW, NOW + 1)) == 1


def test_numbers_without_a_kind_are_hashed_like_any_member() -> None:
    store = make_store()
    store.ingest(b"users:0|s")
    store.handle("users").add_many(np.arange(20_000.0))
    move_to(store, NOW + 1)
    assert distinct(store, "users", range(NOW, NOW + 1)) == pytest.approx(20_000, rel=4 * STANDARD_ERROR)


def test_memory_is_bounded_and_what_it_turns_away_is_counted() -> None:
    store = make_store(set_bytes_max=64 * 1024)
    for i in range(100):
        store.ingest(b"s%d:a:b|s" % i)
    assert store.counters()["set_bytes"] <= 64 * 1024
    counters = row(store)
    assert counters["bad"] == {"set_memory_full": 200 - counters["samples"]}
    assert 0 < counters["samples"] < 200


def test_a_sketch_that_may_not_become_dense_says_so() -> None:
    store = make_store(set_bytes_max=14 * 1024)
    add_members(store, "users", 0, 600)
    assert row(store)["bad"] == {"set_memory_full": 600 - row(store)["samples"]}
    assert row(store)["samples"] >= 256


def test_released_sets_give_their_memory_back() -> None:
    store = make_store()
    for life in range(5):
        add_members(store, "users", 0, 1000)
        add_members(store, "others", 0, 10)
        move_to(store, NOW + 1000 * life + 10)
        assert store.counters()["set_bytes"] > 16_384
        assert store.release_idle(0, 10, NOW + 1000 * life + 5) == 2
        assert store.counters()["set_bytes"] == 0
        store.set_now_ns((NOW + 1000 * life + 1000) * SECOND_NS)


@pytest.mark.parametrize(("offset", "reason"), [(-3601, "time_too_old"), (601, "time_too_far_ahead")])
def test_a_members_timestamp_is_judged(offset: int, reason: str) -> None:
    assert bad_of(b"users:a|s|T%d" % (NOW + offset)) == {reason: 1}


def test_a_store_with_sets_in_a_reference_cycle_is_freed_in_good_order() -> None:
    for _ in range(20):
        store = make_store()
        add_members(store, "users", 0, 600)
        holder: list[object] = [store, store.handle("users")]
        holder.append(holder)
    del holder, store
    gc.collect()


def test_a_set_has_no_samples_in_its_cells() -> None:
    store = make_store()
    store.ingest(b"users:a|s")
    move_to(store, NOW + 1)
    assert (store.cols[0, 0] == 0).all()
    assert store.last_second[0] == NOW
    assert len(store.recent(0)[1]) == 0


def test_the_estimate_of_no_members_is_zero_and_of_full_registers_is_finite() -> None:
    assert estimate(np.zeros(1 << 14, np.uint8)) == 0.0
    assert np.isfinite(estimate(np.full(1 << 14, 50, np.uint8)))


def test_rolling_many_sets_lets_others_in_between() -> None:
    store = make_store(6_000)
    for i in range(5_000):
        store.ingest(b"s%d:1:2:3|s" % i)
    move_to(store, NOW + 10)
    waits: list[float] = []
    rolling = threading.Thread(target=store.set_rolled, args=(1, NOW // 10))
    rolling.start()
    while rolling.is_alive():
        before = time.perf_counter()
        store.ingest(b"c:1|c")
        waits.append(time.perf_counter() - before)
    rolling.join()
    assert len(waits) > 5, "the GIL is free meanwhile"
    for name in ("s0", "s2500", "s4999"):
        assert store.distinct([store.slot(name)], np.array([1]), np.array([NOW // 10])) == 3.0

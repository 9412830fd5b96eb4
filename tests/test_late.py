"""Stamped samples outside the open second: queued, bounded, and merged by the tick where they belong."""

import numpy as np
import pytest
from tests.stores import NOW, SECOND_NS, bad_of, books_are_balanced, cell, make_store, move_to, row

from hms_ops._ring import Store


def roll(store: Store, tier: int, step: int) -> None:
    """Sum up a closed step of a tier as the rollup kernel would; count and sum are enough here."""
    finer = [(step * 10 + i) % 64 for i in range(10)] if tier == 1 else [(step * 6 + i) % 64 for i in range(6)]
    for field in (0, 1):
        store.cols[tier, field, step % 64] = store.cols[tier - 1, field, finer].sum(axis=0)
    store.set_rolled(tier, step)


def tick(store: Store, now: int) -> None:
    move_to(store, now)
    if now % 10 == 0:
        roll(store, 1, now // 10 - 1)
    if now % 60 == 0:
        roll(store, 2, now // 60 - 1)


def run_until(store: Store, now: int) -> None:
    for second in range(store.sealed_second + 2, now + 1):
        tick(store, second)


def test_a_stamp_in_the_open_second_is_an_ordinary_sample() -> None:
    store = make_store(now=NOW + 0.7)
    assert store.ingest(b'{"metric":"x","value":5,"time":%d.25}' % NOW) == 1
    assert store.counters()["late_waiting"] == 0
    assert list(store.recent(0)[0]) == [NOW * SECOND_NS + 250_000_000]
    move_to(store, NOW + 1)
    assert cell(store, "x", NOW)[:2] == (1.0, 5.0)


def test_a_late_sample_waits_for_the_tick_and_lands_in_its_second() -> None:
    store = make_store()
    store.ingest(b"x:10:20|ms")
    move_to(store, NOW + 5)
    store.ingest(b"x:40|ms|@0.5|T%d" % NOW)
    assert store.counters()["late_waiting"] == 1
    assert cell(store, "x", NOW)[0] == 2.0
    merged = store.merge_late()
    assert merged is not None
    assert [len(column) for column in merged] == [0] * 4, "its 10-s step is still open"
    count, total, m2, low, high, last = cell(store, "x", NOW)
    assert (count, total, low, high, last) == (4.0, 110.0, 10.0, 40.0, 20.0)
    assert m2 == pytest.approx(float(np.var([10, 20, 40, 40]) * 4))
    assert store.counters()["late_merged"] == 1
    assert store.merge_late() is None


def test_a_late_sample_of_a_silent_second_makes_the_second() -> None:
    store = make_store()
    store.ingest(b"x:1|c")
    move_to(store, NOW + 8)
    store.ingest(b"x:7|c|T%d" % (NOW + 3))
    store.merge_late()
    assert cell(store, "x", NOW + 3) == (1.0, 7.0, 0.0, 7.0, 7.0, 7.0)
    assert (store.last_value[0], store.last_second[0]) == (7.0, NOW + 3)


def test_a_late_sample_is_merged_into_every_tier_that_has_closed_its_step() -> None:
    store = make_store()
    store.ingest(b"x:1|c")
    start = NOW
    run_until(store, start + 130)
    store.ingest(b"x:5|c|T%d" % (start + 65))
    listed = store.merge_late()
    assert listed is not None
    assert [column.tolist() for column in listed] == [[0], [start + 65], [5.0], [1.0]], "it may be on disk"
    assert cell(store, "x", start + 65, tier=1)[:2] == (1.0, 5.0)
    assert cell(store, "x", start + 65, tier=2)[:2] == (1.0, 5.0)
    assert cell(store, "x", start + 130 - 64)[0] == 0.0, "its second has left the first tier"


def test_a_late_sample_of_an_open_step_reaches_the_tiers_once() -> None:
    store = make_store()
    store.ingest(b"x:1|c")
    run_until(store, NOW + 18)
    store.ingest(b"x:5|c|T%d" % (NOW + 12))
    store.merge_late()
    run_until(store, NOW + 40)
    assert cell(store, "x", NOW + 12)[:2] == (1.0, 5.0)
    assert cell(store, "x", NOW + 12, tier=1)[:2] == (1.0, 5.0)
    assert cell(store, "x", NOW, tier=2)[:2] == (2.0, 6.0)


def test_an_hour_old_is_taken_and_a_second_more_is_not() -> None:
    store = make_store()
    store.ingest(b"x:1|c")
    run_until(store, NOW + 3700)
    now = NOW + 3700
    assert store.ingest(b"x:5|c|T%d" % (now - 3600)) == 1
    assert bad_of(b"x:5|c|T%d" % (now - 3601), store) == {"time_too_old": 1}
    store.merge_late()
    assert cell(store, "x", now - 3600, tier=2)[:2] == (1.0, 5.0)
    assert cell(store, "x", now - 3600, tier=1)[:2] == (0.0, 0.0), "ten minutes are all that the second tier keeps"


def test_a_sample_from_the_future_waits_for_its_second() -> None:
    store = make_store()
    store.ingest(b"x:5|c|T%d\nx:6|c|T%d" % (NOW + 3, NOW + 600))
    assert bad_of(b"x:5|c|T%d" % (NOW + 601), store) == {"time_too_far_ahead": 1}
    for second in range(1, 4):
        move_to(store, NOW + second)
        store.merge_late()
        assert store.counters()["late_waiting"] == 2
    store.ingest(b"x:1|c")
    move_to(store, NOW + 4)
    store.merge_late()
    assert cell(store, "x", NOW + 3)[:2] == (2.0, 6.0)
    assert store.counters()["late_waiting"] == 1


def test_the_queue_is_bounded_and_what_it_turns_away_is_counted() -> None:
    store = make_store(late_max=10)
    move_to(store, NOW + 5)
    store.ingest(b"\n".join(b"x:%d|c|T%d" % (i, NOW + 1) for i in range(25)))
    counters = row(store)
    assert counters["bad"] == {"late_queue_full": 15}
    assert counters["samples"] == 10
    assert books_are_balanced(counters)
    store.merge_late()
    assert cell(store, "x", NOW + 1)[:2] == (10.0, 45.0)
    assert store.ingest(b"x:1|c|T%d" % NOW) == 1


def test_a_late_sample_of_a_series_that_has_gone_is_not_given_to_its_heir() -> None:
    store = make_store(4)
    store.ingest(b"old:1|c")
    move_to(store, NOW + 50)
    store.ingest(b"old:7|c|T%d" % (NOW + 40))
    store.release_idle(0, 4, NOW + 45)
    store.ingest(b"heir:1|c")
    assert store.slot("heir") == 0
    store.merge_late()
    assert (store.counters()["late_merged"], store.counters()["late_lost"]) == (0, 1)
    move_to(store, NOW + 51)
    assert cell(store, "heir", NOW + 40)[0] == 0.0
    assert cell(store, "heir", NOW + 50)[:2] == (1.0, 1.0)


def test_the_order_of_late_and_punctual_samples_does_not_matter_for_the_sums() -> None:
    source = np.random.default_rng(5)
    store, plain = make_store(), make_store()
    stamps = source.integers(0, 30, 500)
    values = source.integers(0, 1000, 500)
    for second in range(30):
        plain.set_now_ns((NOW + second) * SECOND_NS)
        for value in values[stamps == second]:
            plain.ingest(b"x:%d|ms" % value)
    move_to(plain, NOW + 30)
    move_to(store, NOW + 15)
    store.ingest(b"\n".join(b"x:%d|ms|T%d" % (value, NOW + stamp) for stamp, value in zip(stamps, values, strict=True)))
    move_to(store, NOW + 30)
    store.merge_late()
    for second in range(30):
        got, expected = cell(store, "x", NOW + second), cell(plain, "x", NOW + second)
        assert got[:2] + got[3:5] == expected[:2] + expected[3:5]
        assert got[2] == pytest.approx(expected[2], rel=1e-9)


def test_a_late_sample_is_seen_by_the_ring_and_by_subscribers_when_it_arrives() -> None:
    store = make_store(late_max=2)
    store.subscribe("x")
    store.ingest(b"x:1|c")
    move_to(store, NOW + 5)
    store.ingest(b"x:2|c|T%d\nx:3|c|T%d\nx:4|c\nx:5|c|T%d" % (NOW + 1, NOW + 9, NOW + 1))
    assert row(store)["bad"] == {"late_queue_full": 1}
    times, values = store.recent(store.slot("x"))
    assert values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (times // SECOND_NS).tolist() == [NOW, NOW + 1, NOW + 9, NOW + 5]
    assert store.take_subscribed()[1].tolist() == [1.0, 2.0, 3.0, 4.0]
    store.merge_late()
    assert len(store.recent(0)[1]) == 4, "once is enough"


def test_a_delta_adds_to_the_last_punctual_value_and_cannot_be_late() -> None:
    store = make_store(now=NOW + 5)
    store.ingest(b"x:10|g\nx:70|g|T%d\nx:+1|g\nx:+1|g|T%d\nx:-1|g|T%d\nx:+1|g|T%d" % (NOW, NOW, NOW + 8, NOW + 5))
    assert store.recent(0)[1].tolist() == [10.0, 70.0, 11.0, 12.0]
    assert row(store)["bad"] == {"time": 2}


def test_what_a_set_clock_or_a_stop_leaves_waiting_is_counted_as_lost() -> None:
    store = make_store()
    store.ingest(b"x:1|c|T%d\nx:2|c|T%d" % (NOW + 5, NOW + 6))
    store.reanchor(0)
    assert (store.counters()["late_waiting"], store.counters()["late_lost"]) == (0, 2)
    store.ingest(b"x:1|c|T%d\nx:2|c|T%d" % (NOW, NOW + 100))
    store.ingest(b"x:1|c|T%d" % (NOW + 1))
    move_to(store, NOW + 3)
    store.merge_late()
    store.drop_late()
    counters = store.counters()
    assert (counters["late_waiting"], counters["late_merged"], counters["late_lost"]) == (0, 1, 3)

"""Cells, sealing, rings and in-process calls, second by second on a manual clock."""

import enum
import gc
import math
import os
import resource
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.cells import StoreTwin
from tests.stores import NOW, SECOND_NS, books_are_balanced, cell, make_store, move_to, row, value_of

from hms_ops import kinds
from hms_ops._ring import InProcess, Series, Store

# ---- cells and columns ----


def test_a_second_is_sealed_as_count_sum_m2_min_max_and_last() -> None:
    store = make_store()
    store.ingest(b"x:3:1:2|ms")
    assert cell(store, "x", NOW) == (0.0,) * 6, "the open second is nobody's business"
    move_to(store, NOW + 1)
    assert cell(store, "x", NOW) == (3.0, 6.0, 2.0, 1.0, 3.0, 2.0)
    assert (store.last_value[0], store.last_second[0]) == (2.0, NOW)


def test_a_silent_second_counts_nothing() -> None:
    store = make_store()
    for second in range(130):
        if second % 2:
            store.ingest(b"x:1|c")
        move_to(store, NOW + second + 1)
    counts = [cell(store, "x", NOW + second)[0] for second in range(130 - 60, 130)]
    assert counts == [0.0, 1.0] * 30


def test_sealing_twice_changes_nothing() -> None:
    store = make_store()
    store.ingest(b"x:1:2|c")
    move_to(store, NOW + 1)
    before = store.cols.copy()
    store.seal(NOW)
    assert np.array_equal(before, store.cols)


def test_a_receiver_ahead_of_the_tick_spills_its_seconds() -> None:
    store = make_store()
    for second in range(5):
        store.set_now_ns((NOW + second) * SECOND_NS)
        store.ingest(b"x:%d:%d|ms" % (second, second + 10))
    store.set_now_ns((NOW + 5) * SECOND_NS)
    store.seal(NOW + 4)
    for second in range(5):
        assert cell(store, "x", NOW + second) == (2.0, 2 * second + 10, 50.0, second, second + 10, second + 10)
    assert store.counters()["seconds_lost"] == 0


def test_a_tick_late_by_70_seconds_keeps_the_last_60_and_counts_what_it_lost() -> None:
    store = make_store()
    for second in range(70):
        store.set_now_ns((NOW + second) * SECOND_NS)
        store.ingest(b"x:%d|c" % second)
    store.set_now_ns((NOW + 70) * SECOND_NS)
    store.seal(NOW + 69)
    assert store.counters()["seconds_lost"] == 10
    for second in range(10, 70):
        assert cell(store, "x", NOW + second)[:2] == (1.0, second)


def test_a_cell_older_than_the_columns_shows_up_in_no_other_second() -> None:
    """Its row belongs to the second 64 later by now; a late tick and a late receiver both meet this."""
    for second in (64, 65, 128, 200):
        for is_spilled in (False, True):
            store = make_store()
            store.ingest(b"x:7|g\ny:8|g")
            store.set_now_ns((NOW + second) * SECOND_NS)
            store.ingest(b"y:9|g")
            store.set_now_ns((NOW + second + 1) * SECOND_NS)
            if is_spilled:
                store.ingest(b"x:1|g")
            store.seal(NOW + second)
            assert [cell(store, "x", NOW + s)[0] for s in range(second - 59, second + 1)] == [0.0] * 60
            assert [cell(store, "y", NOW + s)[0] for s in range(second - 59, second + 1)] == [0.0] * 59 + [1.0]
            assert store.last_second[0] == NOW, "its last value is still known"
            assert store.last_value[0] == 7.0


def test_the_column_ahead_is_cleared_before_anybody_needs_it() -> None:
    store = make_store()
    for second in range(200):
        store.ingest(b"x:1|c" if second % 3 == 0 else b"y:1|c")
        move_to(store, NOW + second + 1)
        store.clear_ahead(NOW + second + 3)
        for back in range(min(60, second + 1)):
            assert cell(store, "x", NOW + second - back)[0] == ((second - back) % 3 == 0)


def test_a_clock_that_was_set_begins_all_windows_anew() -> None:
    for step_seconds in (-86_400, -5, 5, 86_400):
        store = Store(10, offset_ns=NOW * SECOND_NS)
        store.ingest(b"x:1|c\nlate:1|c|T%d" % (store.now_ns() // SECOND_NS + 300))
        store.seal(store.now_ns() // SECOND_NS)
        store.reanchor((NOW + step_seconds) * SECOND_NS)
        now = store.now_ns() // SECOND_NS
        assert (store.first_second, store.sealed_second) == (now, now - 1)
        assert store.counters()["late_waiting"] == 0
        assert list(store.last_second[:2]) == [0, 0]
        store.ingest(b"x:5|c")
        store.seal(now + 1)
        assert cell(store, "x", now)[1] + cell(store, "x", now + 1)[1] == 5.0
        assert row(store)["samples"] == 3


def test_stddev_survives_an_offset_of_a_billion() -> None:
    store = make_store()
    values = 1e9 + np.random.default_rng(1).normal(0, 1, 1000)
    for value in values:
        store.ingest(f"x:{float(value)!r}|h".encode())
    series = store.handle("y", kinds.HISTOGRAM)
    series.add_many(values[:500])
    series.add_many(values[500:])
    move_to(store, NOW + 1)
    exact = float(((values - 1e9 - (values - 1e9).mean()) ** 2).sum())
    assert cell(store, "x", NOW)[2] == pytest.approx(exact, rel=1e-6)
    assert cell(store, "y", NOW)[2] == pytest.approx(exact, rel=1e-6)


def test_weights_count_and_sum_but_not_for_gauges() -> None:
    store = make_store()
    store.ingest(b"c:2|c|@0.5\nh:2:4|h|@0.25\ng:2|g|@0.5")
    move_to(store, NOW + 1)
    assert cell(store, "c", NOW)[:2] == (2.0, 4.0)
    assert cell(store, "h", NOW) == (8.0, 24.0, 8.0, 2.0, 4.0, 4.0)
    assert cell(store, "g", NOW)[:2] == (1.0, 2.0)


def test_the_ring_keeps_the_latest_samples_with_their_times() -> None:
    store = make_store(ring_samples=8)
    for i in range(20):
        store.set_now_ns(NOW * SECOND_NS + i)
        store.ingest(b"x:%d|g" % i)
    times, values = store.recent(0)
    assert list(values) == list(range(12, 20))
    assert list(times) == [NOW * SECOND_NS + i for i in range(12, 20)]
    values[:] = 0
    assert store.recent(0)[1][0] == 12.0, "a copy"


@pytest.mark.parametrize(
    "setting",
    [
        *[{"series_max": 0}, {"series_max": 1 << 25}, {"ring_samples": 48}, {"ring_samples": 1}, {"late_max": 0}],
        *[{"pending_max": 0}, {"pending_max": 1 << 17}, {"subscribed_max": 100}],
    ],
)
def test_a_setting_out_of_range_is_named(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Store(**setting)


LINES = st.lists(
    st.builds(
        lambda name, value, kind, rest: f"{name}:{value!r}|{kind}{rest}".encode(),
        st.sampled_from(["a", "b", "a_ms", "ü"]),
        st.floats(-1e6, 1e6),
        st.sampled_from(["c", "g", "ms", "h"]),
        st.sampled_from(["", "|@0.5", "|#t:1", "|#t:1,u:2", "|#u:2,t:1", "|@0.1|#t:1"]),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(LINES, min_size=1, max_size=6))
def test_cells_and_rings_equal_the_twins(seconds: list[list[bytes]]) -> None:
    store, twin = make_store(), StoreTwin()
    for second, lines in enumerate(seconds):
        now_ns = (NOW + second) * SECOND_NS
        store.set_now_ns(now_ns)
        for line in lines:
            store.ingest(line)
            twin.feed(line, now_ns)
    move_to(store, NOW + len(seconds))
    assert row(store)["bad"] == dict(twin.tally.bad)
    for (name, tags), series in twin.series.items():
        found = {key.decode(): value.decode() for key, value in tags}
        slot = store.slot(name.decode(), found)
        assert list(store.recent(slot)[1]) == [value for _, value in series.ring[-64:]]
        for second in range(len(seconds)):
            got = cell(store, name.decode(), NOW + second, found)
            expected = series.cells.get(NOW + second)
            if expected is None:
                assert got[0] == 0
                continue
            assert got[:2] + got[3:] == (expected.count, expected.sum, expected.min, expected.max, expected.last)
            assert got[2] == pytest.approx(expected.m2, rel=1e-9, abs=1e-6)


# ---- in-process calls ----


@pytest.fixture
def store() -> Store:
    return make_store()


@pytest.fixture
def metric(store: Store) -> InProcess:
    return InProcess(store)


def test_a_call_is_a_datagram_of_one_value(store: Store, metric: InProcess) -> None:
    metric.metric("a", 1.0)
    metric.metric("a", 2, kind="gauge", tags={"k": "v"})
    store.handle("a", kinds.GAUGE).add(3.0)
    counters = row(store)
    assert [counters[key] for key in ("received", "accepted", "values", "samples")] == [3, 3, 3, 3]
    assert list(store.recent(store.slot("a"))[1]) == [1.0, 3.0]
    assert value_of(store, "a", {"k": "v"}) == 2.0


def test_add_many_is_a_datagram_of_n_values(store: Store) -> None:
    series = store.handle("a", kinds.TIMER, {"k": "v"})
    series.add_many(np.arange(100.0))
    series.add_many([1, 2, 3])
    series.add_many(np.arange(10, dtype=np.int32)[::-2])
    series.add_many([])
    counters = row(store)
    assert [counters[key] for key in ("received", "accepted", "values", "samples")] == [4, 4, 108, 108]
    move_to(store, NOW + 1)
    assert cell(store, "a", NOW, {"k": "v"})[:2] == (108.0, 4950.0 + 6.0 + 25.0)
    assert list(store.recent(0)[1][-5:]) == [9.0, 7.0, 5.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("value", "reason"), [(math.nan, "nan"), (math.inf, "infinite"), (-math.inf, "infinite"), (1e151, "magnitude")]
)
def test_a_value_that_is_none_is_counted_and_its_neighbours_stay(
    store: Store, metric: InProcess, value: float, reason: str
) -> None:
    metric.metric("a", value)
    store.handle("a").add(value)
    store.handle("a").add_many([1.0, value, 2.0])
    counters = row(store)
    assert counters["bad"] == {reason: 3}
    assert counters["samples"] == 2
    assert books_are_balanced(counters)
    move_to(store, NOW + 1)
    assert cell(store, "a", NOW) == (2.0, 3.0, 0.5, 1.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("name", "tags", "reason"),
    [
        ("", None, "name_empty"),
        ("n" * 201, None, "name_too_long"),
        ("a\nb", None, "control_byte"),
        ("a\ud800", None, "utf8"),
        ("__overflow__", None, "name_reserved"),
        ("a", {"": "v"}, "tag"),
        ("a", {"__k": "v"}, "tag_reserved"),
        ("a", {"k": "\0"}, "control_byte"),
        ("a", {"k": "\ud800"}, "utf8"),
        ("a", {"k\udfff": "v"}, "utf8"),
        ("a", {"k": "v" * 5000}, "tags_too_long"),
        ("a", {f"k{i}": "v" for i in range(33)}, "too_many_tags"),
    ],
)
def test_a_bad_name_or_tag_is_counted_and_never_raised(
    store: Store, metric: InProcess, name: str, tags: dict[str, str] | None, reason: str
) -> None:
    for _ in range(2):
        metric.metric(name, 1.0, tags=tags)
    assert row(store)["bad"] == {reason: 2}
    assert books_are_balanced(row(store))
    assert store.series_live == 0
    with pytest.raises(ValueError, match=reason):
        store.handle(name, 0, tags)


class Color(str, enum.Enum):  # noqa: UP042  (StrEnum has a str() of its own)
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "true"), (False, "false"), (1.0, "1.0"), (np.int64(7), "7"), (Color.RED, "red"), ("1", "1")],
)
def test_tags_of_other_types_are_spelled_out(metric: InProcess, store: Store, value: Any, text: str) -> None:
    others: list[Any] = [1, True, 1.0, "1"]
    for other in others:
        metric.metric("x", 1.0, tags={"t": other})
    metric.metric("x", 5.0, tags={"t": value})
    store.flush()
    assert store.recent(store.slot("x", {"t": text}))[1][-1] == 5.0
    assert len(store.slots("x")) == 3 + (text not in ("1", "true", "1.0"))


@pytest.mark.parametrize("tags", [{"x": ["l"]}, {"x": None}, {"x": b"b"}, {None: "x"}, {"x": 10**5000}, ["x"], "x", 7])
def test_what_is_no_tag_is_counted_and_never_raised(metric: InProcess, store: Store, tags: Any) -> None:
    metric.metric("x", 1.0, tags=tags)
    assert row(store)["bad"] == {"tag": 1}
    assert books_are_balanced(row(store))


def test_a_programmers_mistake_is_raised(store: Store, metric: InProcess) -> None:
    with pytest.raises(ValueError, match="'gague' is none of counter, gauge"):
        metric.metric("a", 1.0, kind="gague")
    with pytest.raises(ValueError, match="'gague' is none of counter, gauge"):
        metric.metric("a", 1.0, kind="gague", tags={"a": "b"})
    with pytest.raises(ValueError, match="is none of counter, gauge"):
        metric.metric("a", 1.0, kind=["gauge"], tags={"a": "b"})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        store.ingest("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="input 7"):
        store.ingest(b"a:1|c", 7)
    with pytest.raises(TypeError, match=r"engine\.series"):
        Series()
    with pytest.raises(KeyError):
        store.recent(5)


@pytest.mark.parametrize("data", [b"a:1|c", bytearray(b"a:1|c"), memoryview(b"a:1|c"), memoryview(b"xa:1|c")[1:]])
def test_any_buffer_can_be_ingested(store: Store, data: bytes) -> None:
    assert store.ingest(data) == 1


def test_a_kind_conflict_of_a_call_is_counted(store: Store, metric: InProcess) -> None:
    metric.metric("a", 1.0, kind="counter")
    metric.metric("a", 1.0, kind="gauge")
    store.handle("a", kinds.GAUGE).add_many([1.0, 2.0])
    assert row(store)["bad"] == {"kind_conflict": 3}


def test_calls_of_inferred_kind_are_settled_by_an_explicit_one(store: Store, metric: InProcess) -> None:
    inferred = store.handle("a")
    inferred.add(1.0)
    inferred.add_many([1.0, 2.0])
    metric.metric("a", 2.0, kind="counter")
    inferred.add(3.0)
    inferred.add_many([4.0])
    assert row(store)["samples"] == 6
    assert store.metric_kind("a") == kinds.COUNTER


def test_every_reader_sees_the_calls_that_wait_in_the_buffer(store: Store) -> None:
    series = store.handle("a", kinds.COUNTER)
    series.add(1.0)
    assert row(store)["samples"] == 1
    series.add(2.0)
    assert list(store.recent(0)[1]) == [1.0, 2.0]
    series.add(3.0)
    move_to(store, NOW + 1)
    series.add(4.0)
    store.flush()
    move_to(store, NOW + 2)
    assert [cell(store, "a", NOW)[1], cell(store, "a", NOW + 1)[1]] == [6.0, 4.0], "the tick takes the third"


def test_beyond_the_cap_calls_fold_into_overflow_and_do_not_stick_to_it() -> None:
    store = make_store(2)
    metric = InProcess(store)
    for i in range(50):
        metric.metric(f"m{i}", 1.0, kind="counter")
        metric.metric("m0", 1.0, kind="counter", tags={"i": str(i)})
    assert row(store)["samples"] == 100
    move_to(store, NOW + 1)
    assert store.cols[0, 0, NOW % 64].sum() == 100.0
    metric.forget()
    store.set_now_ns((NOW + 8000) * SECOND_NS)
    store.release_idle(0, 100, NOW + 4000)
    metric.metric("m49", 5.0, kind="counter")
    assert value_of(store, "m49") == 5.0


def test_threads_lose_no_call(store: Store) -> None:
    metric = InProcess(store)
    shared = store.handle("shared", kinds.COUNTER)

    def work(number: int) -> None:
        own = store.handle(f"own{number}", kinds.COUNTER)
        for i in range(3000):
            shared.add(1.0)
            own.add(1.0)
            metric.metric("named", 1.0, kind="counter", tags={"n": str(i % 10)})
            store.ingest(b"wire:1|c")
        own.add_many(np.ones(100))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        store.seal(NOW - 1)
        store.ledger_rows()
    move_to(store, NOW + 1)
    assert row(store)["samples"] == 4 * (4 * 3000 + 100)
    assert store.cols[0, 0, NOW % 64].sum() == 4 * (4 * 3000 + 100)


def test_a_finalizer_that_emits_while_the_store_is_read_cannot_deadlock(store: Store) -> None:
    metric = InProcess(store)
    for i in range(200):
        store.ingest(b"m:1|g|#i:%d" % i)
    emitted = []

    class Emits:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            emitted.append(1)
            metric.metric(f"gone{len(emitted) % 50}", 1.0)

    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for _ in range(50):
            Emits()
            store.changes(0)
            Emits()
            store.series(5)
            Emits()
            store.metrics()
            store.slots("m")
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert len(emitted) == 150


# ---- on_metric and reserved names ----


def test_subscribed_metrics_queue_each_value(store: Store) -> None:
    store.subscribe("a")
    store.ingest(b"a:1|g\nb:9|g\na:2|g|#t:x")
    store.handle("a", kinds.GAUGE).add_many([3.0, 4.0])
    slots, values = store.take_subscribed()
    assert list(values) == [1.0, 2.0, 3.0, 4.0]
    assert [store.series(int(slot)).tags for slot in slots] == [{}, {"t": "x"}, {}, {}]
    assert len(store.take_subscribed()[1]) == 0
    store.subscribe("a", False)
    store.ingest(b"a:5|g")
    assert len(store.take_subscribed()[1]) == 0


def test_a_full_queue_of_values_drops_the_oldest_and_counts_them() -> None:
    store = make_store(subscribed_max=8)
    store.subscribe("a")
    store.ingest(b"a:" + b":".join(b"%d" % i for i in range(20)) + b"|c")
    assert list(store.take_subscribed()[1]) == list(range(12, 20))
    assert store.counters()["subscribed_dropped"] == 12


def test_a_reserved_name_is_written_by_the_engine_alone(store: Store) -> None:
    store.reserve("rule.latency")
    store.ingest(b"rule.latency:1|g\nrule.latency:2|g|#a:b")
    InProcess(store).metric("rule.latency", 3.0)
    InProcess(store, 0).metric("rule.latency", 1.0)
    assert row(store)["bad"] == {"name_reserved": 3}
    assert row(store, "self")["samples"] == 1
    assert value_of(store, "rule.latency") == 1.0
    store.reserve("rule.latency", False)
    assert store.ingest(b"rule.latency:5|g") == 1


def test_arrays_outlive_their_store() -> None:
    store = make_store()
    store.ingest(b"x:5|g")
    move_to(store, NOW + 1)
    cols, last_value = store.cols, store.last_value
    del store
    gc.collect()
    assert cols[0, 1, NOW % 64, 0] == last_value[0] == 5.0


def test_an_in_process_call_belongs_to_the_second_it_was_made_in() -> None:
    store = make_store()
    second = store.now_ns() // 1_000_000_000
    series = store.handle("calls")
    series.add(1.0)
    store.flush()
    series.add(2.0)  # waits in the buffer when the second closes
    store.set_now_ns((second + 1) * 1_000_000_000 + 3_000_000)
    store.seal(second)
    assert store.cols[0, 1, second % 64, store.slot("calls")] == 3.0


def test_an_in_process_call_does_not_turn_back_a_cell_that_a_listener_has_turned() -> None:
    store = make_store()
    second = store.now_ns() // 1_000_000_000
    series = store.handle("calls")
    series.add(1.0)
    store.flush()
    series.add(2.0)
    store.set_now_ns((second + 1) * 1_000_000_000 + 3_000_000)
    store.ingest_tally(b"calls:4|g", 1)  # a listener's batch, which drains nothing
    store.seal(second)
    store.set_now_ns((second + 2) * 1_000_000_000)
    store.seal(second + 1)
    sums = [float(store.cols[0, 1, moment % 64, store.slot("calls")]) for moment in (second, second + 1)]
    assert sums == [1.0, 6.0]


def test_a_large_body_lets_others_in_between_and_enters_the_ledger_whole() -> None:
    assert any(longest_wait() < 0.1 for _ in range(5))  # a machine that stands still only adds to it


def longest_wait() -> float:
    """Seconds that a line waits at most while a large body is taken, which are as many as the body takes where it lets
    nobody in."""
    store = make_store()
    body = threading.Thread(target=store.ingest_tally, args=(b"a:1|c\n" * 3_000_000, store.add_input("http")))
    waits: list[float] = []
    partial: list[int] = []
    body.start()
    while body.is_alive():
        before = time.perf_counter()
        store.ingest(b"b:1|c")
        waits.append(time.perf_counter() - before)
        partial.append(row(store, "http")["samples"])
    body.join()
    assert set(partial) <= {0, 3_000_000}
    move_to(store, NOW + 1)
    assert cell(store, "a", NOW)[0] == 3_000_000
    return max(waits)


@pytest.mark.parametrize("line", [b"a:" + b":".join([b"1"] * 4_000_000) + b"|c", b"a:1|c\n" * 1_000_000])
def test_a_large_body_of_lines_takes_no_more_memory_than_its_text(line: bytes) -> None:
    store = make_store()
    with ThreadPoolExecutor(1) as pool:
        before = peak_bytes()
        tally = pool.submit(store.ingest_tally, line, 1).result()
    assert tally["samples"] == tally["values"] == line.count(b":1")
    assert peak_bytes() - before < 2 * len(line) + (8 << 20)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_shortest_elements_fit_however_many_they_are() -> None:
    element = msgpack.packb({"name": "x", "value": 1})
    assert len(element) == 15
    store = make_store()
    data = b"\xdd" + struct.pack(">I", 100_000) + element * 100_000
    assert store.ingest_tally(data, 1)["samples"] == 100_000
    json = b"[" + b",".join([b'{"name":"x","value":1}'] * 100_000) + b"]"
    assert store.ingest_tally(json, 1)["samples"] == 100_000


def test_a_large_document_that_ends_badly_stores_nothing() -> None:
    store = make_store()
    assert store.ingest_tally(b"[" + b'{"name":"x","value":1},' * 50_000 + b"]", 1)["samples"] == 0
    assert store.metrics() == []


def test_a_handle_asked_for_in_a_forked_child_only_forwards() -> None:
    store = make_store()
    known = store.handle("known", kinds.COUNTER)
    known.add(1.0)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        failure = b"an exception"
        try:
            sent: list[Any] = []
            store.set_forward(lambda *call: sent.append(call))
            for name in ("known", "new"):
                series = store.handle(name, kinds.COUNTER, {"a": "b"})
                series.add(2.0)
                series.add_many([3.0, 4.0])
                del series
            calls = [(name, value, "counter", {"a": "b"}) for name in ("known", "new") for value in (2.0, 3.0, 4.0)]
            store.set_forward(None)
            store.handle("new").add(1.0)
            is_right = sent == calls and store.series_live == 1 and store.counters()["dropped_after_fork"] == 1
            failure = b"" if is_right else repr((sent, store.series_live, store.counters())).encode()
        finally:
            os.write(write, failure)
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as pipe:
        assert pipe.read() == b""


def test_metric_counts_what_is_no_number_and_takes_texts_as_members(store: Store, metric: InProcess) -> None:
    for odd in ("x", None, [1], object()):
        metric.metric("m", odd)
    metric.metric("m", 10**400)
    assert row(store)["bad"] == {"number": 4, "magnitude": 1}
    for member in ("alice", "bob", "alice"):
        metric.metric("people", member, kind="set", tags={"zone": "east"})
    assert row(store)["samples"] == 3
    assert store.metric_kind("people") == kinds.SET

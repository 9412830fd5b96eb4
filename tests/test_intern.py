"""Names to series: spellings, the cap and what lies beyond it, and slots that are given back."""

import gc
import itertools

import numpy as np
import pytest
from tests.stores import NOW, SECOND_NS, bad_of, books_are_balanced, cell, make_store, move_to, row, value_of

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.series import SeriesInfo

IDLE_SECONDS = 65 * 60


def full_store(series_max: int = 10) -> Store:
    """`series_max` series of one metric, each with a few samples."""
    store = make_store(series_max)
    for i in range(series_max):
        store.ingest(b"known:%d|g|#id:%d\nknown:%d|g|#id:%d" % (i, i, i + 100, i))
    assert store.series_live == series_max
    return store


# ---- spellings ----


def test_all_permutations_of_tags_are_one_series() -> None:
    store = make_store()
    tags = ["a:1", "b:2", "c:3", "d:4"]
    for order in itertools.permutations(tags):
        assert store.ingest(f"m:1|c|#{','.join(order)}".encode()) == 1
    assert store.series_live == 1
    assert store.series(0) == SeriesInfo("m", {"a": "1", "b": "2", "c": "3", "d": "4"}, kinds.COUNTER)
    assert len(store.recent(0)[1]) == 24


def test_only_eight_spellings_of_a_series_are_kept() -> None:
    store = make_store()
    for order in itertools.permutations(["a:1", "b:2", "c:3", "d:4"]):
        store.ingest(f"m:1|c|#{','.join(order)}".encode())
    assert store.counters()["aliases_refused"] == 24 - 8
    before = store.counters()["name_bytes"]
    for i in range(1000):
        store.ingest(b"m:1|c|#a:1,b:2,c:3,d:4" + b"," * i)
    assert store.counters()["name_bytes"] == before, "endless spellings take no memory"
    assert store.series_live == 1


def test_of_two_tags_with_one_key_the_later_counts() -> None:
    store = make_store()
    store.ingest(b"m:1|c|#a:1,a:2\nm:1|c|#a:2")
    assert [store.series(slot).tags for slot in store.slots("m")] == [{"a": "2"}]


def test_names_that_share_bytes_with_tags_are_other_series() -> None:
    store = make_store()
    lines = [b"m:1|g", b"m:1|g|#a", b"m:1|g|#a:b", b"m|#a:1|g", b"ma:1|g", b"m:1|g|#ab", b"m:1|g|#a,b", b"m:1|g|#a:,b:"]
    assert sum(store.ingest(line) for line in lines if line != b"m|#a:1|g") == 7
    assert store.series_live == 6, "#a,b and #a:,b: are the same tags"


def test_the_untagged_series_and_each_tagged_one_are_found_by_name_and_tags() -> None:
    store = make_store()
    store.ingest(b"m:1|g\nm:2|g|#a:x\nm:3|g|#a:y\nn:4|g")
    assert [int(slot) for slot in store.slots("m")] == [0, 1, 2]
    assert [store.slot("m"), store.slot("m", {}), store.slot("m", {"a": "y"}), store.slot("m", {"a": "z"})] == [
        0,
        0,
        2,
        -1,
    ]
    assert store.slots("unknown").tolist() == store.slots("").tolist() == store.slots("x" * 300).tolist() == []
    assert store.slot("") == store.slot("x" * 300) == -1
    assert store.metrics() == ["m", "n"]
    with pytest.raises(KeyError):
        store.series(77)


def test_changes_tell_what_was_born_and_what_is_gone() -> None:
    store = make_store()
    store.ingest(b"a:1|g\nb:1|g")
    cursor, changes = store.changes(0)
    assert changes == [(0, True), (1, True)]
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    assert store.release_idle(0, 1, NOW + IDLE_SECONDS) == 1
    cursor, changes = store.changes(cursor)
    assert changes == [(0, False)]
    assert store.changes(cursor) == (cursor, [])


def test_a_reader_that_slept_through_the_changes_gets_every_live_series() -> None:
    store = make_store(4)
    for i in range(20_000):
        store.ingest(b"m%d:1|g" % i)
        store.set_now_ns((NOW + 10 * i + 10) * SECOND_NS)
        store.release_idle(0, 4, NOW + 10 * i + 5)
    store.ingest(b"alive:1|g")
    _, changes = store.changes(1)
    assert [store.series(slot).name for slot, born in changes if born] == ["alive"]


# ---- kinds ----


@pytest.mark.parametrize(
    ("name", "kind"),
    [("api_ms", kinds.TIMER), ("_ms", kinds.GAUGE), ("ms", kinds.GAUGE), ("load", kinds.GAUGE), ("x_ms_", kinds.GAUGE)],
)
def test_a_kind_is_inferred_from_the_name(name: str, kind: int) -> None:
    store = make_store()
    store.ingest(f'{{"metric":"{name}","value":1}}'.encode())
    assert store.metric_kind(name) == store.series(0).kind == kind


def test_the_first_explicit_kind_settles_an_inferred_one_for_all_series_of_the_metric() -> None:
    store = make_store()
    store.ingest(b'[{"metric":"m","value":1},{"metric":"m","value":1,"tags":{"a":"b"}},{"metric":"n","value":1}]')
    store.ingest(b"m:5|c|#a:b")
    assert [store.series(slot).kind for slot in range(3)] == [kinds.COUNTER, kinds.COUNTER, kinds.GAUGE]
    assert bad_of(b"m:5|g", store) == {"kind_conflict": 1}
    assert store.ingest(b'{"metric":"m","value":1,"tags":{"new":"one"}}') == 1
    assert store.series(3).kind == kinds.COUNTER


@pytest.mark.parametrize(("first", "second"), list(itertools.product(["ms", "h", "d"], repeat=2)))
def test_timers_histograms_and_distributions_get_along(first: str, second: str) -> None:
    store = make_store()
    assert store.ingest(f"m:1|{first}\nm:2|{second}".encode()) == 2
    assert store.metric_kind("m") == {"ms": kinds.TIMER, "h": kinds.HISTOGRAM, "d": kinds.DISTRIBUTION}[first]


@pytest.mark.parametrize(
    ("first", "second"), [(a, b) for a, b in itertools.product(["c", "g", "ms", "s"], repeat=2) if a != b]
)
def test_another_kind_is_a_conflict_and_touches_nothing(first: str, second: str) -> None:
    store = make_store()
    store.ingest(f"m:1|{first}".encode())
    assert bad_of(f"m:7|{second}".encode(), store) == {"kind_conflict": 1}
    assert bad_of(f"m:7|{second}|#a:b".encode(), store) == {"kind_conflict": 1}, "in another series too"
    if first != "s":
        assert value_of(store, "m") == 1.0


def test_a_gauge_that_turns_out_to_be_a_set_leaves_nothing_behind() -> None:
    store = make_store()
    store.ingest(b'{"metric":"m","value":7}')
    store.ingest(b"m:anna|s")
    for second in range(1, 4):
        move_to(store, NOW + second)
        store.ingest(b"m:bob|s")
    move_to(store, NOW + 4)
    assert [cell(store, "m", NOW + second)[0] for second in range(1, 4)] == [0.0, 0.0, 0.0]


def test_settle_kind_is_what_an_explicit_sample_would_do() -> None:
    store = make_store()
    assert not store.settle_kind("m", kinds.COUNTER), "nobody knows it yet"
    store.ingest(b'{"metric":"m","value":1}')
    assert store.settle_kind("m", kinds.COUNTER)
    assert store.settle_kind("m", kinds.COUNTER)
    assert not store.settle_kind("m", kinds.GAUGE)


# ---- the cap ----


def test_beyond_the_cap_existing_series_are_untouched_bit_for_bit() -> None:
    store, twin = full_store(), full_store()
    for i in range(500):
        store.ingest(b"known:%d|g|#id:new%d\nunknown%d:1|c\nother_ms:5|ms|#x:%d" % (i, i, i, i))
    for one in (store, twin):
        move_to(one, NOW + 1)
    assert np.array_equal(store.cols[0, :, NOW % 64, :10], twin.cols[0, :, NOW % 64, :10])
    for slot in range(10):
        assert store.series(slot) == twin.series(slot)
        assert np.array_equal(store.recent(slot)[1], twin.recent(slot)[1])


def test_beyond_the_cap_counts_stay_right() -> None:
    store = full_store()
    for i in range(500):
        store.ingest(b"known:%d|g|#id:new%d\nunknown%d:2|c\nother_ms:5|ms|#x:%d" % (i, i, i, i))
    counters = row(store)
    assert (counters["values"], counters["samples"], counters["bad"]) == (1520, 1520, {})
    assert store.counters()["overflow_samples"] == 1500
    move_to(store, NOW + 1)
    assert cell(store, "known", NOW, {"__overflow__": "true"})[:2] == (500.0, sum(range(500)))
    assert cell(store, "__overflow__", NOW, {"kind": "counter"})[:2] == (500.0, 1000.0)
    assert cell(store, "__overflow__", NOW, {"kind": "timer"})[:2] == (500.0, 2500.0)
    assert store.metrics() == ["__overflow__", "known"]


def test_a_sample_of_an_existing_series_is_stored_however_full_the_store_is() -> None:
    store = full_store()
    store.ingest(b"known:1|g|#id:another\nknown:77|g|#id:3\nknown:78|g|#,id:3,")
    assert list(store.recent(3)[1]) == [3.0, 103.0, 77.0, 78.0]


@pytest.mark.parametrize("kind", ["c", "g", "ms", "h", "d", "s"])
def test_there_is_an_overflow_series_for_each_kind(kind: str) -> None:
    store = full_store()
    assert store.ingest(f"stranger:1|{kind}\nstranger2:1|{kind}|#a:b".encode()) == 2
    assert [store.series(int(slot)).kind for slot in store.slots("__overflow__")] == [
        {"c": 1, "g": 2, "ms": 3, "h": 4, "d": 5, "s": 6}[kind]
    ]


def test_strangers_never_become_spellings_of_the_overflow_series() -> None:
    store = full_store()
    store.ingest(b"stranger:1|c|#a:b\nknown:1|g|#id:new")
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    assert store.release_idle(0, 100, NOW + IDLE_SECONDS) == 11, "the known metric's overflow series goes too"
    store.ingest(b"stranger:1|c|#a:b\nknown:1|g|#id:new")
    assert store.slot("stranger", {"a": "b"}) >= 0
    assert store.slot("known", {"id": "new"}) >= 0


def test_overflow_series_take_no_place_of_the_cap() -> None:
    store = full_store()
    store.ingest(b"a:1|c\nb:1|g\nc:1|ms\nd:1|h\ne:1|d\nf:1|s\nknown:1|g|#id:new")
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    store.release_idle(0, 100, NOW + IDLE_SECONDS)
    for i in range(10):
        store.ingest(b"fresh%d:1|g" % i)
    assert [value_of(store, f"fresh{i}") for i in range(10)] == [1.0] * 10
    store.ingest(b"eleventh:1|g")
    assert store.slot("eleventh") == -1


def test_more_overflowing_metrics_than_there_are_places_for_lose_no_sample() -> None:
    store = make_store(1200)
    for i in range(1200):
        store.ingest(b"m%d:1|c" % i)
    for i in range(1200):
        store.ingest(b"m%d:1|c|#a:b" % i)
    store.ingest(b"stranger:1|g")
    assert row(store)["samples"] == 2401
    move_to(store, NOW + 1)
    assert store.cols[0, 0, NOW % 64].sum() == 2401.0


def test_names_so_long_that_their_texts_fill_the_arena_are_counted() -> None:
    store = make_store(200)
    tags = b",".join(b"%d:" % i + b"v" * 120 for i in range(30))
    for i in range(200):
        store.ingest(b"m%d:1|c|#" % i + tags)
    counters = row(store)
    assert books_are_balanced(counters)
    move_to(store, NOW + 1)
    assert store.cols[0, 0, NOW % 64].sum() == counters["samples"]


def test_aliases_leave_room_for_every_series_below_the_cap() -> None:
    store = make_store(3000)
    for i in range(1500):
        for order in (b"a:1,b:2,c:3", b"b:2,a:1,c:3", b"c:3,b:2,a:1", b"a:1,c:3,b:2", b"b:2,c:3,a:1", b"c:3,a:1,b:2",
                      b",a:1,b:2,c:3", b"a:1,,b:2,c:3"):  # fmt: skip
            store.ingest(b"m%d:1|c|#" % i + order)
    for i in range(1500, 3000):
        store.ingest(b"m%d:1|c|#a:1" % i)
    assert store.series_live == 3000
    assert store.counters()["overflow_samples"] == 0


@pytest.mark.parametrize("name", ["__overflow__", "__overflow__.x"])
def test_nobody_else_writes_overflow_names(name: str) -> None:
    assert bad_of(f"{name}:1|g".encode()) == {"name_reserved": 1}
    with pytest.raises(ValueError, match="name_reserved"):
        make_store().handle(name)


# ---- slots given back ----


def test_a_series_idle_for_65_minutes_gives_its_slot_back() -> None:
    store = make_store()
    store.ingest(b"old:1|g\nbusy:1|g")
    for minute in range(0, 66, 5):
        move_to(store, NOW + 60 * minute)
        store.ingest(b"busy:2|g")
        assert store.release_idle(0, 100, NOW + 60 * minute - IDLE_SECONDS) == 0
    move_to(store, NOW + IDLE_SECONDS + 1)
    assert store.release_idle(0, 100, NOW + 1) == 1
    assert store.slot("old") == -1
    assert store.metrics() == ["busy"]
    assert store.metric_kind("old") == kinds.UNKNOWN, "its kind is forgotten with it"
    with pytest.raises(KeyError):
        store.series(0)


def test_a_slot_used_again_shows_nothing_of_its_former_life() -> None:
    store = make_store(4)
    for second in range(5):
        store.ingest(b"old:%d|g|#a:b" % second)
        move_to(store, NOW + second + 1)
    assert store.release_idle(0, 10, NOW + 100) == 1
    store.ingest(b"g:+5|g")
    slot = store.slot("g")
    assert slot == 0
    assert store.series(0) == SeriesInfo("g", {}, kinds.GAUGE)
    assert list(store.recent(0)[1]) == [5.0], "no delta on a stranger's value"
    assert (store.cols[:, 0, :, 0] == 0).all()
    assert store.last_second[0] == 0
    assert store.slot("old", {"a": "b"}) == -1
    move_to(store, NOW + 6)
    assert cell(store, "g", NOW + 5) == (1.0, 5.0, 0.0, 5.0, 5.0, 5.0)
    assert [cell(store, "g", NOW + second)[0] for second in range(5)] == [0.0] * 5


def test_a_released_spelling_is_learned_again() -> None:
    store = make_store(4)
    for life in range(50):
        store.ingest(b"a:1|g|#x:1,y:2\na:1|g|#y:2,x:1\nb%d:1|g" % life)
        assert store.series_live == 2
        store.set_now_ns((NOW + 10 * life + 10) * SECOND_NS)
        assert store.release_idle(0, 10, NOW + 10 * life + 5) == 2
    assert store.metrics() == []
    store.ingest(b"a:1|g|#y:2,x:1")
    assert value_of(store, "a", {"x": "1", "y": "2"}) == 1.0


def test_memory_does_not_grow_with_lives() -> None:
    store = make_store(8)
    used = []
    for life in range(300):
        for i in range(8):
            store.ingest(b"life%03d.%d:1|g|#tag:%03d" % (life, i, life))
        used.append(store.counters()["name_bytes"])
        store.set_now_ns((NOW + 10 * life + 10) * SECOND_NS)
        store.release_idle(0, 100, NOW + 10 * life + 5)
    assert used[0] == used[-1]
    assert store.counters()["series_released"] == 2400


def test_a_pinned_series_keeps_its_slot_until_the_handle_goes() -> None:
    store = make_store()
    series = store.handle("pinned", kinds.GAUGE)
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    assert store.release_idle(0, 10, NOW + IDLE_SECONDS) == 0
    series.add(1.0)
    assert value_of(store, "pinned") == 1.0
    del series
    store.set_now_ns((NOW + 3 * IDLE_SECONDS) * SECOND_NS)
    assert store.release_idle(0, 10, NOW + 2 * IDLE_SECONDS) == 1


def test_a_handle_in_a_reference_cycle_lets_go_of_its_slot_too() -> None:
    store = make_store()

    class Service:
        def __init__(self) -> None:
            self.cycle = self
            self.series = store.handle("pinned", kinds.GAUGE)

    Service()
    gc.collect()
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    assert store.release_idle(0, 10, NOW + IDLE_SECONDS) == 1


def test_a_value_that_waits_in_the_buffer_keeps_its_series_alive() -> None:
    store = make_store()
    series = store.handle("waiting", kinds.GAUGE)
    store.set_now_ns((NOW + IDLE_SECONDS + 2) * SECOND_NS)
    series.add(1.0)
    del series
    assert store.release_idle(0, 10, NOW + IDLE_SECONDS) == 0
    assert value_of(store, "waiting") == 1.0


def test_many_series_that_come_and_go_at_random_are_never_mixed_up() -> None:
    source = np.random.default_rng(3)
    store = make_store(64)
    now = NOW
    for _ in range(400):
        now += 1
        move_to(store, now)
        for i in source.integers(0, 200, 12):
            store.ingest(b"m%d:%d|g|#id:%d" % (i % 7, i, i))
        store.release_idle(0, 100, now - 4)
        for slot in range(store.series_count):
            try:
                info = store.series(slot)
            except KeyError:
                continue
            assert store.slot(info.name, info.tags) == slot
            if "id" in info.tags:
                assert set(store.recent(slot)[1]) <= {float(info.tags["id"])}


@pytest.mark.parametrize("is_kept", [False, True])
def test_longer_names_find_room_where_shorter_ones_were(is_kept: bool) -> None:
    store = make_store(1000)
    kept = [store.handle(f"kept{i}" + "k" * (i % 150)) for i in range(100 if is_kept else 0)]
    for life in range(10):
        now = NOW + 10 * life
        store.set_now_ns(now * SECOND_NS)
        for i in range(1000 - len(kept)):
            store.ingest(b"m%03d.%s:1|g|#tag:%s" % (i, b"n" * (10 + 18 * life), b"t" * (30 * life)))
        assert store.series_live == 1000
        store.seal(now)
        store.release_idle(0, store.capacity, now + 1)
        assert store.series_live == len(kept)
    assert store.counters()["overflow_samples"] == 0
    del kept
    store.release_idle(0, store.capacity, NOW + 1000)
    assert store.counters()["name_bytes"] == 64, "all joined again, the first line is nobody's"


def test_names_of_random_lengths_come_and_go_and_are_never_mixed_up() -> None:
    store = make_store(300)
    source = np.random.default_rng(11)
    live: dict[str, int] = {}
    for step in range(60):
        now = NOW + step
        store.set_now_ns(now * SECOND_NS)
        for _ in range(80):
            name = f"{source.integers(400)}" + "x" * int(source.integers(190))
            tags = "t" * int(source.choice([1, 30, 3000]))
            if len(live) < 300 or f"{name}|#a:{tags}" in live:
                store.ingest(f"{name}:1|g|#a:{tags}".encode())
                live[f"{name}|#a:{tags}"] = now
        store.release_idle(0, store.capacity, now - 4)
        live = {key: last for key, last in live.items() if last >= now - 4}
        assert store.series_live == len(live)
        assert {f"{info.name}|#a:{info.tags['a']}" for info in map(store.series, store.all_slots().tolist())} == set(
            live
        )
    assert store.counters()["overflow_samples"] == 0

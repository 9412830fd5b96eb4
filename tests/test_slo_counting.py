"""Good samples counted natively as they arrive, against a plain count of the same samples by second."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgpack
import numpy as np
import pytest
from tests.stores import COUNT, IN_PROCESS, NOW, SECOND_NS, SUM, make_store, move_to

from hms_ops import kinds
from hms_ops._ring import Store

Goal = tuple[float, float, bool]
INF = math.inf
BELOW_200: Goal = (-INF, 200.0, False)
GOODS = 8  # of sums_of_second: the first goal's column


def sums(store: Store, column: int, second: int, name: str = "x_ms") -> float:
    slots = store.slots(name)
    return float(store.sums_of_second(column, second, slots, [0, len(slots)])[0])


def judging(*goals: Goal, kind: int = kinds.TIMER, **settings: int) -> Store:
    """A store in the first second that is wholly counted."""
    store = make_store(**settings)
    since = store.judge("x_ms", goals, kind)
    assert since == NOW + 1
    move_to(store, since)
    return store


def counted(store: Store, goals: int = 1) -> list[float]:
    """Seal the open second; (all, good by each goal) of it."""
    second = store.now_ns() // SECOND_NS
    move_to(store, second + 1)
    return [sums(store, column, second) for column in (COUNT, *range(GOODS, GOODS + goals))]


# ---- every way in


def packed(store: Store) -> None:
    store.ingest(b"x_ms:100:200:201:1e9|ms")


def weighted(store: Store) -> None:
    store.ingest(b"x_ms:100|ms|@0.5\nx_ms:300|ms|@0.5")


def json_array(store: Store) -> None:
    store.ingest(json.dumps([{"metric": "x_ms", "value": value} for value in (200, 200.0000001)]).encode())


def msgpack_array(store: Store) -> None:
    store.ingest(msgpack.packb([{"name": "x_ms", "value": 1, "tags": {"a": "b"}}, {"name": "x_ms", "value": 300}]))


def calls(store: Store) -> None:
    handle = store.handle("x_ms", kinds.TIMER)
    for value in (1.0, 500.0, math.nan):
        handle.add(value)


def many(store: Store) -> None:
    store.handle("x_ms").add(1.0)
    store.handle("x_ms").add_many([1.0, 200.0, 201.0, 999.0] * 50)


def large_body(store: Store) -> None:
    store.ingest(b"\n".join([b"x_ms:%d|ms" % (value % 400) for value in range(20_000)]))


def stamped_in_time(store: Store) -> None:
    store.ingest(b"x_ms:5|ms|T%d\nx_ms:500|ms|T%d" % (NOW + 1, NOW + 1))


@pytest.mark.parametrize(
    ("put", "expected"),
    [
        (packed, [4, 2]),
        (weighted, [4, 2]),
        (json_array, [2, 1]),
        (msgpack_array, [2, 1]),
        (calls, [2, 1]),
        (many, [201, 101]),
        (large_body, [20_000, 20_000 * 201 / 400]),
        (stamped_in_time, [2, 1]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_sample_counts_whichever_way_it_comes(put: Callable[[Store], None], expected: Sequence[float]) -> None:
    store = judging(BELOW_200)
    put(store)
    assert counted(store) == expected
    assert counted(store) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("goal", "good"),
    [
        (BELOW_200, {1, 199, 200}),
        ((-INF, math.nextafter(200, -INF), False), {1, 199}),
        ((200.0, INF, False), {200, 201, 999}),
        ((math.nextafter(200, INF), INF, False), {201, 999}),
        ((200.0, 200.0, False), {200}),
        ((200.0, 200.0, True), {1, 199, 201, 999}),
        ((199.0, 201.0, False), {199, 200, 201}),
        ((199.0, 201.0, True), {1, 999}),
        ((INF, -INF, False), set()),
    ],
)
def test_a_goal_is_an_interval_or_what_lies_outside(goal: Goal, good: set[int]) -> None:
    values = (1, 199, 200, 201, 999)
    store = judging(goal)
    store.ingest(b"x_ms:" + b":".join(b"%d" % value for value in values) + b"|ms")
    assert counted(store) == [len(values), len(good)]


def test_goals_of_one_metric_count_side_by_side() -> None:
    goals = [(-INF, float(bound), False) for bound in (1, 2, 3, 4, 5, 6)]
    store = judging(*goals)
    store.ingest(b"x_ms:1:2:3:4:5:6|ms|#host:a\nx_ms:6|ms|#host:b")
    assert counted(store, goals=6) == [7, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("kind", [kinds.COUNTER, kinds.GAUGE, kinds.HISTOGRAM, kinds.DISTRIBUTION])
def test_any_kind_of_numbers_is_counted(kind: int) -> None:
    letter = {kinds.COUNTER: "c", kinds.GAUGE: "g", kinds.HISTOGRAM: "h", kinds.DISTRIBUTION: "d"}[kind]
    store = judging(BELOW_200, kind=kind)
    store.ingest(f"x_ms:100|{letter}\nx_ms:300|{letter}|@0.1".encode())
    assert counted(store) == ([2, 1] if kind == kinds.GAUGE else [11, 1])


def test_a_gauges_delta_is_judged_by_what_it_comes_to() -> None:
    store = judging(BELOW_200, kind=kinds.GAUGE)
    store.ingest(b"x_ms:190|g\nx_ms:+20|g\nx_ms:-20|g")
    assert counted(store) == [3, 2]


def test_groups_are_summed_apart_and_a_series_counts_from_its_first_sample() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1|ms|#host:a\nx_ms:500:1|ms|#host:b\nx_ms:7|ms")
    move_to(store, NOW + 2)
    slots = [store.slot("x_ms", {"host": host}) for host in "ab"]
    good = store.sums_of_second(GOODS, NOW + 1, slots, [0, 1, 2])
    total = store.sums_of_second(COUNT, NOW + 1, slots, [0, 1, 2])
    assert (good.tolist(), total.tolist()) == ([1, 1], [1, 2])


def test_samples_beyond_the_cap_on_series_are_counted_in_the_overflow() -> None:
    store = make_store(2)
    store.ingest(b"x_ms:1|ms|#host:a")
    store.judge("x_ms", [BELOW_200])
    move_to(store, NOW + 1)
    store.ingest(b"y:1|g\nx_ms:1|ms|#host:b\nx_ms:500|ms|#host:c\nx_ms:2|ms|#host:a")
    assert counted(store) == [3, 2]


# ---- when goals come and go


def test_samples_of_before_are_not_counted_and_the_first_whole_second_is_told() -> None:
    store = make_store()
    store.ingest(b"x_ms:1|ms")
    assert store.judge("x_ms", [BELOW_200]) == NOW + 1
    store.ingest(b"x_ms:1:500|ms")
    move_to(store, NOW + 1)
    assert sums(store, COUNT, NOW) == 3
    store.ingest(b"x_ms:1:500|ms")
    assert counted(store) == [2, 1]


def test_a_goal_that_is_added_leaves_its_neighbour_as_it_is() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1:500|ms")
    assert store.judge("x_ms", [BELOW_200, (-INF, 1000.0, False)]) == NOW + 2
    store.ingest(b"x_ms:1:500|ms")
    assert counted(store) == [4, 2]
    store.ingest(b"x_ms:1:500|ms")
    assert counted(store, goals=2) == [2, 1, 2]


def test_goals_that_end_leave_a_metric_as_any_other_and_their_place_to_the_next() -> None:
    store = judging(BELOW_200)
    store.judge("x_ms", None)
    store.ingest(b"x_ms:1|ms")
    assert counted(store)[0] == 1
    for number in range(1023):
        store.judge(f"m{number}", [BELOW_200])
    with pytest.raises(ValueError, match="1023 metrics may have some"):
        store.judge("one.more", [BELOW_200])
    store.judge("m7", None)
    store.judge("m7", None)
    store.judge("one.more", [BELOW_200])


def test_a_slot_that_changes_hands_begins_anew() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1|ms")
    slot = store.slot("x_ms")
    assert store.forget("x_ms") == slot
    store.ingest(b"y_ms:1|ms\nx_ms:1:500|ms")
    assert store.slot("y_ms") == slot
    assert counted(store) == [2, 1]


def test_a_series_that_is_held_and_forgotten_counts_from_then_on() -> None:
    store = judging(BELOW_200)
    held = store.handle("x_ms")
    held.add(1.0)
    store.flush()
    store.forget("x_ms")
    held.add(2.0)
    held.add(500.0)
    assert counted(store) == [2, 1]


@pytest.mark.parametrize(
    ("name", "goals", "message"),
    [
        ("", [BELOW_200], "0 bytes"),
        ("n" * 201, [BELOW_200], "201 bytes"),
        ("x", [BELOW_200] * 7, "7 goals"),
    ],
)
def test_what_cannot_be_judged_is_an_error(name: str, goals: list[Goal], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_store().judge(name, goals)


@pytest.mark.parametrize(
    ("column", "second"), [(6, NOW), (7, NOW), (8, NOW), (14, NOW), (COUNT, NOW + 1), (COUNT, NOW - 61)]
)
def test_a_second_or_a_column_that_is_not_there_is_an_error(column: int, second: int) -> None:
    store = make_store()
    move_to(store, NOW + 1)
    with pytest.raises(ValueError, match="none of"):
        store.sums_of_second(column, second, [0], [0, 1])


def test_memory_for_goals_is_reserved_when_they_come() -> None:
    store = make_store()
    before = store.bytes_reserved
    store.judge("x_ms", [])
    store.judge("x_ms", [BELOW_200])
    assert store.bytes_reserved - before >= 64 * store.capacity * (8 + 1)
    reserved = store.bytes_reserved
    store.judge("y_ms", [BELOW_200])
    assert store.bytes_reserved == reserved


# ---- late samples, late ticks, a clock that was set


def listed(store: Store, second: int) -> list[tuple[int, float, float]]:
    slots, seconds, values, weights = store.take_judged(second)
    assert set(slots.tolist()) <= set(store.slots("x_ms").tolist())
    return list(zip((seconds - NOW).tolist(), values.tolist(), weights.tolist(), strict=True))


def test_a_late_sample_is_summed_into_its_second_or_listed_once_that_was_taken() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1|ms")
    move_to(store, NOW + 3)
    late = b"x_ms:1|ms|T%d\nx_ms:500|ms|@0.5|T%d\nx_ms:3|ms|T%d" % (NOW + 1, NOW + 1, NOW + 2)
    store.ingest(late)
    store.merge_late()
    assert [sums(store, column, NOW + 1) for column in (COUNT, GOODS)] == [4, 2]
    assert [sums(store, column, NOW + 2) for column in (COUNT, GOODS)] == [1, 1]
    assert listed(store, NOW + 2) == []
    store.ingest(late)
    store.merge_late()
    assert listed(store, NOW + 2) == [(1, 1.0, 1.0), (1, 500.0, 2.0), (2, 3.0, 1.0)]
    assert listed(store, NOW + 2) == []
    assert store.counters()["judged_lost"] == 0


def test_what_is_late_by_more_than_is_kept_is_listed() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1|ms")
    move_to(store, NOW + 1000)
    store.ingest(b"x_ms:9|ms|T%d" % (NOW + 5))
    store.merge_late()
    assert listed(store, NOW) == [(5, 9.0, 1.0)]


def test_a_metric_without_goals_can_have_its_late_samples_listed() -> None:
    store = judging(kind=kinds.COUNTER)
    store.ingest(b"x_ms:1|c")
    move_to(store, NOW + 3)
    store.take_judged(NOW + 2)
    store.ingest(b"x_ms:4|c|@0.5|T%d" % (NOW + 1))
    store.merge_late()
    assert listed(store, NOW + 2) == [(1, 4.0, 2.0)]
    assert sums(store, SUM, NOW + 1) == 9.0


def test_a_list_that_nobody_takes_is_bounded_and_counted() -> None:
    store = judging(BELOW_200, late_max=4)
    store.ingest(b"x_ms:1|ms")
    move_to(store, NOW + 3)
    store.take_judged(NOW + 2)
    for _ in range(2):
        store.ingest(b"\n".join([b"x_ms:4|ms|T%d" % (NOW + 1)] * 4))
        store.merge_late()
    assert store.counters()["judged_lost"] == 4
    assert len(listed(store, NOW + 2)) == 4


def test_a_series_that_is_gone_is_on_no_list() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1|ms")
    move_to(store, NOW + 3)
    store.take_judged(NOW + 2)
    store.ingest(b"x_ms:4|ms|T%d" % (NOW + 1))
    store.merge_late()
    store.forget("x_ms")
    assert listed(store, NOW + 2) == []


@pytest.mark.parametrize("behind", [1, 2, 30, 59])
def test_a_tick_that_is_late_finds_each_second_by_itself(behind: int) -> None:
    store = judging(BELOW_200)
    for second in range(NOW + 1, NOW + 1 + behind):
        store.set_now_ns(second * SECOND_NS)
        store.ingest(b"x_ms:1|ms|#host:a\n" * (second - NOW) + b"x_ms:500|ms|#host:a")
    move_to(store, NOW + 1 + behind)
    for second in range(NOW + 1, NOW + 1 + behind):
        assert [sums(store, column, second) for column in (COUNT, GOODS)] == [second - NOW + 1, second - NOW]


def test_a_clock_that_was_set_begins_both_counts_anew() -> None:
    store = judging(BELOW_200)
    store.ingest(b"x_ms:1:1:500|ms")
    store.set_now_ns((NOW - 5000) * SECOND_NS)
    store.reanchor(0)
    store.ingest(b"x_ms:1:500|ms")
    assert counted(store) == [2, 1]


def random_samples(rng: random.Random) -> tuple[bytes, list[tuple[int, int, float]]]:
    """A datagram of some lines, and (stamp or 0, value, weight) of each sample in it."""
    lines, samples = [], []
    for _ in range(rng.randint(1, 8)):
        host, rate = rng.randint(0, 3), rng.choice((1.0, 1.0, 0.5, 0.1))
        values = [rng.randint(0, 400) for _ in range(rng.choice((1, 1, 3)))]
        stamp = NOW + rng.randint(1, 90) if rng.random() < 0.2 else 0
        line = f"x_ms:{':'.join(map(str, values))}|ms|#host:{host}"
        lines.append(line + (f"|@{rate}" if rate < 1 else "") + (f"|T{stamp}" if stamp else ""))
        samples += [(stamp, value, 1 / rate) for value in values]
    return "\n".join(lines).encode(), samples


@pytest.mark.parametrize("seed", range(30))
def test_a_random_minute_counts_as_a_plain_count_does(seed: int) -> None:
    """Samples of all sorts over 90 seconds, ticks that come late now and then, sums taken after each."""
    rng = random.Random(seed)
    goals = [BELOW_200, (100.0, 300.0, True)]
    store = judging(*goals)
    wanted: dict[tuple[int, int], float] = defaultdict(float)
    found: dict[tuple[int, int], float] = defaultdict(float)
    taken = NOW
    for now in range(NOW + 1, NOW + 110):
        store.set_now_ns(now * SECOND_NS)
        for _ in range(rng.randint(0, 4)):
            data, samples = random_samples(rng)
            store.ingest(data, IN_PROCESS)
            for stamp, value, weight in samples:
                for column, is_counted in enumerate((True, value <= 200, not 100 <= value <= 300)):
                    wanted[stamp or now, column] += weight * is_counted
        if rng.random() < 0.7 or now > NOW + 100:
            store.seal(now - 1)
            store.merge_late()
            for second in range(taken + 1, now):
                for column, of in enumerate((COUNT, GOODS, GOODS + 1)):
                    found[second, column] += sums(store, of, second)
            taken = now - 1
            for second, number, weight in listed(store, taken):
                for column, is_counted in enumerate((True, number <= 200, not 100 <= number <= 300)):
                    found[NOW + second, column] += weight * is_counted
    last = max(second for second, _ in found)
    assert {key: n for key, n in found.items() if n} == pytest.approx(
        {key: n for key, n in wanted.items() if n and key[0] <= last}
    )
    assert np.sum(list(found.values())) > 1000

"""What the live stream is made of, without HTTP: names, cells of a second, the ring of events, a client's queue, and
what the feed does when time does not go as it should."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.stores import COUNT, LAST, MAX, MIN, NOW, SUM, make_store, move_to

from hms_ops import kinds
from hms_ops._ring import Store
from hms_ops.stream import members, outflow, ring, table
from hms_ops.stream.documents import Told
from hms_ops.stream.feed import Feed, Follower
from hms_ops.stream.frame import Frame, Place, cells_frame, place_of
from hms_ops.stream.outflow import Outflow
from hms_ops.stream.ring import Ring
from hms_ops.stream.table import Table
from hms_ops.stream.wanted import Names, Wanted, names_of, wanted_of

ALL = frozenset({"alert", "anomaly", "action"})


# ---- names


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], Names()),
        (["b", "a", "a"], Names(("a", "b"))),
        (["*"], Names(prefixes=("",))),
        (["a*", "ab*", "b*"], Names(prefixes=("a", "b"))),
        (["a.*", "a.b", "*"], Names(("a.b",), ("",))),
        (["a*b"], Names(("a*b",))),
    ],
)
def test_names_are_told_from_beginnings(patterns: list[str], names: Names) -> None:
    assert names_of(patterns) == names


def test_known_names_are_found_by_name_and_by_beginning() -> None:
    known = sorted(["a", "a.b", "a.\U0010fffe", "ab", "b", "__overflow__", "é"])
    assert names_of(["a.*", "b", "none"]).among(known) == ["a.b", "a.\U0010fffe", "b"]
    assert names_of(["*"]).among(known) == [name for name in known if name != "__overflow__"]
    assert names_of(["__overflow__"]).among(known) == ["__overflow__"]


def test_streams_that_ask_for_the_same_are_equal() -> None:
    assert wanted_of(["b", "a", "a"], []) == wanted_of(["a", "b"], [])
    assert wanted_of([], []) == wanted_of(["*"], [])
    assert hash(wanted_of(["a"], ["b"])) != hash(wanted_of(["b"], ["a"]))


# ---- cells


def table_of(store: Store, *wanted: Wanted, rules: frozenset[str] = frozenset()) -> Table:
    made = Table(store, lambda: rules)
    made.want(wanted)
    return made


def cells(data: bytes) -> dict[tuple[str, Any], dict[str, Any]]:
    found = {}
    for cell in json.loads(data)["cells"]:
        tags = None if cell["tags"] is None else tuple(sorted(cell["tags"].items()))
        found[cell["metric"], tags] = {name: value for name, value in cell.items() if name not in ("metric", "tags")}
    return found


def slow_cells(
    store: Store, second: int, metrics: Sequence[str], pooled: bool
) -> dict[tuple[str, Any], dict[str, Any]]:
    """Series by series out of the columns, one number after the other."""
    groups: dict[tuple[str, Any], list[int]] = {}
    for name in metrics:
        for slot in store.slots(name).tolist():
            if store.cols[0, COUNT, second % 64, slot]:
                key = None if pooled else tuple(sorted(store.series(slot).tags.items()))
                groups.setdefault((name, key), []).append(slot)
    return {key: slow_cell(store, second, slots) for key, slots in groups.items()}


def slow_cell(store: Store, second: int, slots: list[int]) -> dict[str, Any]:
    count, total, lows, highs, lasts = (
        [float(store.cols[0, field, second % 64, slot]) for slot in slots] for field in (COUNT, SUM, MIN, MAX, LAST)
    )
    kind = store.series(slots[0]).kind
    last = sum(lasts) / len(lasts)
    value = sum(total) if kind == kinds.COUNTER else last if kind == kinds.GAUGE else sum(total) / sum(count)
    numbers = {"value": value, "count": sum(count), "sum": sum(total), "last": last}
    numbers |= {"min": min(lows), "max": max(highs)}
    return {"kind": kinds.NAMES[kind], **{name: pytest.approx(number) for name, number in numbers.items()}}


def test_cells_are_right_however_series_come_go_and_change_hands() -> None:
    """A few hundred seconds in which series are born, forgotten and given others' slots all the time."""
    chance, store = random.Random(7), make_store(series_max=60)
    names = [f"m{n}" for n in range(8)]
    codes = ["c", "g", "ms"]
    pooled, split = wanted_of(["m0", "m1", "m2*", "m3", "m9"], []), wanted_of([], ["m1", "m4", "m*"])
    made = table_of(store, pooled, split)
    for step in range(300):
        for _ in range(chance.randrange(30)):
            n = chance.randrange(8)
            store.ingest(b"m%d:%d|%b|#t:%d\n" % (n, chance.randrange(100), codes[n % 3].encode(), chance.randrange(9)))
        move_to(store, NOW + step + 1)
        texts = made.texts(NOW + step)
        found = {"pooled": cells(texts[pooled].data), "split": cells(texts[split].data)}
        assert found == {
            "pooled": slow_cells(store, NOW + step, names[:4], True),
            "split": slow_cells(store, NOW + step, names, False),
        }
        assert texts[pooled].cells == len(found["pooled"])
        for _ in range(chance.randrange(6)):
            store.forget(chance.choice(names), {"t": str(chance.randrange(9))})


def test_a_series_whose_slot_is_given_away_while_it_is_read_lends_its_name_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, wanted = make_store(), wanted_of([], ["old", "new"])
    made = table_of(store, wanted)
    store.ingest(b"old:1|c\n")
    move_to(store, NOW + 1)
    whole, tries = table.pool, 0

    def pool_and_lose(*given: Any) -> Any:
        nonlocal tries
        tries += 1
        found = whole(*given)
        if tries == 1:
            slot = store.forget("old")
            store.ingest(b"new:9|c\n")
            assert store.slot("new") == slot
        return found

    monkeypatch.setattr(table, "pool", pool_and_lose)
    assert cells(made.texts(NOW)[wanted].data) == {}
    move_to(store, NOW + 2)
    assert [name for name, _ in cells(made.texts(NOW + 1)[wanted].data)] == ["new"]


def test_a_flood_of_new_series_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CHANGES_MAX", 10)
    store, wanted = make_store(), wanted_of(["a*"], [])
    made = table_of(store, wanted)
    store.ingest(b"".join(b"a%d:1|c\n" % n for n in range(100)))
    move_to(store, NOW + 1)
    assert len(cells(made.texts(NOW)[wanted].data)) == 100


def test_only_the_first_metrics_by_name_are_followed_and_those_that_are_gone_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "METRICS_MAX", 5)
    store, wanted = make_store(), wanted_of([], [])
    made = table_of(store, wanted)
    store.ingest(b"".join(b"a%d:1|c\n" % n for n in range(9)))
    move_to(store, NOW + 1)
    assert [name for name, _ in cells(made.texts(NOW)[wanted].data)] == ["a0", "a1", "a2", "a3", "a4"]
    for n in range(8):
        store.forget(f"a{n}")
    store.ingest(b"a8:1|c\nb:1|c\n")
    move_to(store, NOW + 2)
    assert [name for name, _ in cells(made.texts(NOW + 1)[wanted].data)] == ["a8", "b"]


def test_what_one_stream_names_in_full_is_not_lost_to_anothers_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "METRICS_MAX", 5)
    store, mine = make_store(), wanted_of(["zz.mine"], [])
    made = table_of(store, mine)
    made.want((mine, wanted_of(["*"], [])))
    store.ingest(b"".join(b"a%d:1|c\n" % n for n in range(9)) + b"zz.mine:1|c\n")
    move_to(store, NOW + 1)
    assert [name for name, _ in cells(made.texts(NOW)[mine].data)] == ["zz.mine"]


def test_a_rules_gauge_is_the_greatest_of_its_instances() -> None:
    store, wanted = make_store(), wanted_of(["hot", "cold"], [])
    made = table_of(store, wanted, rules=frozenset({"hot"}))
    store.ingest(b"hot:1|g|#h:a\nhot:0|g|#h:b\nhot:0|g|#h:c\ncold:1|g|#h:a\ncold:0|g|#h:b\n")
    move_to(store, NOW + 1)
    found = cells(made.texts(NOW)[wanted].data)
    assert (found["hot", None]["value"], found["cold", None]["value"]) == (1.0, 0.5)


def test_a_late_sample_is_in_the_past_that_was_not_sent_yet_and_not_twice() -> None:
    store, wanted = make_store(), wanted_of(["a"], [])
    store.ingest(b"a:1|c\n")
    move_to(store, NOW + 1)
    store.ingest(b"a:5|c|T%d\n" % NOW)
    store.merge_late()
    made = table_of(store, wanted)
    assert cells(made.text(NOW, wanted).data)["a", None]["sum"] == 6.0
    assert made.text(NOW, wanted) is made.text(NOW, wanted), "from the cache"


def test_sets_are_estimated_over_all_series_and_those_beyond_the_bound_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, wanted = make_store(), wanted_of([], [])
    made = table_of(store, wanted)
    store.ingest(b"u:ann|s|#z:1\nu:bob|s|#z:2\nu:ann|s|#z:2\n" + b"".join(b"s%d:x|s\n" % n for n in range(9)))
    move_to(store, NOW + 1)
    assert cells(made.texts(NOW)[wanted].data)["u", None]["value"] == 2.0
    monkeypatch.setattr(table, "SETS_MAX", 4)
    store.ingest(b"".join(b"s%d:x|s\n" % n for n in range(9)) + b"plain:1|c\n")
    move_to(store, NOW + 2)
    text = made.texts(NOW + 1)[wanted]
    assert (text.cells, json.loads(text.data)["left_out"]) == (5, 5)
    assert ("plain", None) in cells(text.data)


def test_the_texts_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CACHE_BYTES_MAX", 1000)
    store, wanted = make_store(), wanted_of(["a"], [])
    made = table_of(store, wanted)
    for n in range(100):
        move_to(store, NOW + n + 1)
        made.texts(NOW + n)
    assert made._cache_bytes == sum(len(text.data) for text in made._cache.values()) <= 1000


# ---- ids, ring, queue


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1700000005.42.9f86d081", Place(1_700_000_005, 42, "9f86d081")),
        ("1.2.9f86d081\n", None),
        ("1.2", None),
        ("", None),
        ("1" * 13 + ".2.9f86d081", None),
    ],
)
def test_an_id_comes_back_as_it_was(text: str, place: Place | None) -> None:
    assert place_of(text) == place
    assert place is None or place.text == text


def test_the_ring_says_how_many_events_it_has_forgotten() -> None:
    events = Ring()
    for n in range(ring.EVENTS_MAX + 5):
        events.add("alert" if n % 2 else "action", {"n": n}, NOW, "0" * 8)
    assert events.sequence == ring.EVENTS_MAX + 5
    assert (events.missing(0), events.missing(5), events.missing(events.sequence)) == (5, 0, 0)
    assert len(events.after(5, ALL)) == ring.EVENTS_MAX
    assert len(events.after(5, {"alert"})) == ring.EVENTS_MAX // 2
    assert events.after(events.sequence, ALL) == []


def frame(second: int, cells: int = 1, size: int = 10) -> Frame:
    return Frame(b"x" * size, Place(second, 0, "0" * 8), second, cells)


def test_a_queue_that_is_full_drops_its_oldest_into_one_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "FRAMES_MAX", 3)
    counts: Counter[str] = Counter()

    async def run() -> list[bytes]:
        queue = Outflow(lambda: 1.0, lambda: None, counts)
        for second in range(10):
            queue.put(frame(second, cells=second))
        found = [await queue.next() for _ in range(4)]
        queue.put(frame(10))
        return [data for data in [*found, await queue.next()] if data]

    gap, *rest = asyncio.run(run())
    head, _, data = gap.partition(b"data: ")
    assert head == b"id: 6.0.00000000\nevent: gap\n"
    assert json.loads(data) == {
        "time": 1.0,
        "from": 0,
        "to": 6,
        "reason": "slow",
        "cells_lost": 21,
        "events_lost": 0,
    }
    assert len(rest) == 4
    assert counts == {"frames_dropped": 7, "frames_sent": 4, "gaps": 1}


def test_a_queue_is_bounded_in_bytes_and_takes_one_frame_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "BYTES_MAX", 100)

    counts: Counter[str] = Counter()

    async def run() -> list[bytes]:
        queue = Outflow(lambda: 1.0, lambda: None, counts)
        queue.put(frame(1, size=1000))
        sent = [await queue.next() or b""]
        for second in range(5):
            queue.put(frame(second, size=40))
        return [*sent, *[await queue.next() or b"" for _ in range(3)]]

    large, gap, *rest = asyncio.run(run())
    assert (len(large), [len(data) for data in rest]) == (1000, [40, 40])
    assert b"event: gap" in gap
    assert counts == {"frames_dropped": 3, "frames_sent": 3, "gaps": 1}


def test_a_comment_that_is_dropped_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "FRAMES_MAX", 1)

    async def run() -> bytes | None:
        queue = Outflow(lambda: 1.0, lambda: None, Counter())
        queue.put(Frame(b": alive\n\n"))
        queue.put(frame(1))
        return await queue.next()

    assert asyncio.run(run()) == b"x" * 10


# ---- the feed when time does not go as it should


class Desk:
    """A feed of one store, its followers, and what each was sent."""

    def __init__(self, store: Store) -> None:
        self.sent: dict[int, list[Frame]] = {}
        self.table = Table(store, lambda: frozenset())
        self.feed = Feed(store, self.table, self._post)

    def follow(self, place: Place | None = None, since: int | None = None) -> Follower:
        queue = Outflow(lambda: 0.0, lambda: None, Counter())
        follower = Follower(wanted_of(["a"], []), ALL, queue, place, since)
        self.sent[id(queue)] = []
        self.feed.want([follower])
        self.feed.join([follower])
        return follower

    def of(self, follower: Follower) -> list[tuple[str, dict[str, Any]]]:
        """(kind, document) of all that came since the last call."""
        frames, self.sent[id(follower.outflow)] = self.sent[id(follower.outflow)], []
        parts = b"".join(one.data for one in frames).decode().split("\n\n")
        lines = [part.split("\n") for part in parts if part]
        return [(line[1].removeprefix("event: "), json.loads(line[2].removeprefix("data: "))) for line in lines]

    def _post(self, batch: Sequence[tuple[Outflow, Frame]], second: int) -> None:
        for queue, one in batch:
            self.sent[id(queue)].append(one)


def test_seconds_that_were_overwritten_before_they_were_read_are_a_gap() -> None:
    store = make_store()
    desk = Desk(store)
    follower = desk.follow()
    move_to(store, NOW + 200)
    desk.feed.take_seconds()
    (kind, gap), *rest = desk.of(follower)
    assert (kind, gap["from"], gap["to"], gap["reason"]) == ("gap", NOW, NOW + 139, "too-old")
    assert [document["time"] for _, document in rest] == list(range(NOW + 140, NOW + 200))


def test_a_second_that_a_late_tick_has_lost_to_the_open_one_is_not_sent() -> None:
    """The tick stands still: a listener writes over the oldest seconds that are kept."""
    store = make_store()
    desk = Desk(store)
    move_to(store, NOW + 60)
    store.set_now_ns((NOW + 100) * 10**9)
    store.ingest(b"a:1|c\n")
    assert desk.feed.kept_from() == NOW + 37
    follower = desk.follow(since=NOW)
    desk.feed.catch_up(follower)
    assert [document["time"] for _, document in desk.of(follower)] == list(range(NOW + 37, NOW + 60))


def test_a_clock_that_is_set_back_begins_a_new_epoch() -> None:
    store = make_store()
    desk = Desk(store)
    follower = desk.follow()
    move_to(store, NOW + 50)
    desk.feed.take_seconds()
    desk.feed.tell([Told("alert", {"name": "before"})])
    before, place = desk.of(follower), Place(NOW + 49, 1, desk.feed.epoch)
    store.set_now_ns((NOW - 1000) * 10**9)
    store.reanchor(0)
    desk.feed.take_seconds()
    store.ingest(b"a:7|c\n")
    move_to(store, NOW - 999)
    desk.feed.take_seconds()
    assert len(before) == 51
    (kind, _), (_, document) = desk.of(follower)
    assert kind == "gap"
    assert (document["time"], document["cells"][0]["sum"]) == (NOW - 1000, 7.0)
    assert desk.feed.epoch != place.epoch
    late = desk.follow(place)
    desk.feed.catch_up(late)
    assert [kind for kind, _ in desk.of(late)] == ["gap"], "and nothing of before is told again"


def test_a_clock_that_is_set_forward_leaves_a_gap() -> None:
    store = make_store()
    desk = Desk(store)
    follower = desk.follow()
    store.set_now_ns((NOW + 5000) * 10**9)
    store.reanchor(0)
    move_to(store, NOW + 5001)
    desk.feed.take_seconds()
    (kind, gap), (_, document) = desk.of(follower)
    assert (kind, gap["from"], gap["to"]) == ("gap", NOW, NOW + 4999)
    assert document["time"] == NOW + 5000


def test_events_that_were_lost_before_they_were_numbered_are_a_gap_that_counts_them() -> None:
    store = make_store()
    desk = Desk(store)
    follower = desk.follow()
    desk.feed.tell([Told("alert", {"name": "x"})], lost=7)
    (kind, gap), (other, _) = desk.of(follower)
    assert (kind, gap["events_lost"], gap["reason"], other) == ("gap", 7, "slow", "alert")
    late = desk.follow(Place(desk.feed.second, 0, desk.feed.epoch))
    desk.feed.catch_up(late)
    assert [(kind, document.get("events_lost")) for kind, document in desk.of(late)] == [("gap", 7), ("alert", None)]


def test_events_are_told_behind_the_cells_of_their_second_when_they_are_told_again() -> None:
    store = make_store()
    desk = Desk(store)
    desk.follow()
    begin = Place(desk.feed.second, 0, desk.feed.epoch)
    for n in range(5):
        move_to(store, NOW + n + 1)
        desk.feed.take_seconds()
        desk.feed.tell([Told("alert", {"n": n})])
    late = desk.follow(begin)
    desk.feed.catch_up(late)
    found = [document.get("time", document.get("n")) for _, document in desk.of(late)]
    assert found == [value for n in range(5) for value in (NOW + n, n)]


def test_a_long_past_comes_in_slices_and_a_follower_that_is_too_slow_for_it_has_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hms_ops.stream.feed.SLICE_BYTES", 1000)
    store = make_store()
    desk = Desk(store)
    for n in range(60):
        store.ingest(b"a:1|c\n")
        move_to(store, NOW + n + 1)
    follower = desk.follow(since=NOW)
    desk.feed.catch_up(follower)
    first = [document["time"] for _, document in desk.of(follower)]
    assert first == list(range(NOW, NOW + len(first)))
    assert 1 < len(first) < 20
    assert not follower.is_live
    move_to(store, NOW + 100)
    desk.feed.take_seconds()
    while not follower.is_live:
        desk.feed.catch_up(follower)
    (kind, gap), *rest = desk.of(follower)
    assert (kind, gap["from"], gap["to"]) == ("gap", NOW + len(first), NOW + 39)
    assert [document["time"] for _, document in rest] == list(range(NOW + 40, NOW + 100))


def test_cells_that_cannot_be_gathered_are_a_gap_and_the_next_second_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store()
    desk = Desk(store)
    follower = desk.follow()
    whole = desk.table.texts

    def fail(second: int) -> Any:
        if second == NOW:
            raise RuntimeError("planted")
        return whole(second)

    monkeypatch.setattr(desk.table, "texts", fail)
    move_to(store, NOW + 2)
    desk.feed.take_seconds()
    assert [kind for kind, _ in desk.of(follower)] == ["gap", "cells"]
    assert desk.feed.counts["errors"] == 1
    assert "planted" in caplog.text


def test_a_past_that_cannot_be_had_is_a_gap_and_the_follower_is_live(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store()
    desk = Desk(store)
    desk.follow()
    desk.feed.tell([Told("alert", {"n": 1})])
    move_to(store, NOW + 3)
    desk.feed.take_seconds()
    late = desk.follow(Place(NOW, 0, desk.feed.epoch))
    with monkeypatch.context() as patched:
        patched.setattr(desk.feed.ring, "after", lambda *_: [][1])
        desk.feed.catch_up(late)
    (kind, gap), *rest = desk.of(late)
    assert (kind, gap["from"], gap["to"], gap["events_lost"], rest) == ("gap", NOW + 1, NOW + 2, 1, [])
    assert desk.feed.counts["errors"] == 1
    assert "the past of a stream could not be sent" in caplog.text
    move_to(store, NOW + 4)
    desk.feed.take_seconds()
    assert [(kind, document["time"]) for kind, document in desk.of(late)] == [("cells", NOW + 3)]


def test_a_frame_says_what_is_lost_with_it() -> None:
    one = cells_frame(Place(5, 2, "0" * 8), b"{}", 3)
    assert (one.data, one.first, one.cells) == (b"id: 5.2.00000000\nevent: cells\ndata: {}\n\n", 5, 3)
    assert np.isfinite(one.events)

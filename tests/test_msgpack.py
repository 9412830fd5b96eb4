"""msgpack documents: every width of every type, lengths that lie, and the members of the JSON form."""

import itertools
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.decode import decode
from tests.stores import NOW, bad_of, books_are_balanced, cell, make_store, move_to, rejected_of, row, value_of

TAGS_32 = {f"k{i}": "v" for i in range(32)}


def element(**members: Any) -> bytes:
    """A packed map on top of a metric and a value; None leaves a member out."""
    parts = {"metric": "m", "value": 1} | members
    return bytes(msgpack.packb({key: value for key, value in parts.items() if value is not None}))


def raw(value: bytes) -> bytes:
    """An element whose value is these bytes."""
    return b"\x82\xa6metric\xa1m\xa5value" + value


def nested(levels: int) -> Any:
    inner: Any = 1
    for _ in range(levels):
        inner = [inner]
    return inner


GOOD = element()

MUST_ACCEPT = [
    element(),
    element(metric=None, name="m"),
    element(kind="timer", tags={"agency": "irs"}, time=NOW + 0.5, rate=0.1),
    element(tags={}),
    element(tags={"n": 1, "f": 0.5, "s": "", "t": True}),
    element(tags=TAGS_32),
    element(time=msgpack.Timestamp(NOW)),
    element(time=msgpack.Timestamp(NOW, 500_000_000)),
    element(kind="set", value="anna"),
    element(kind="set", value=42),
    element(metric="größe"),
    element(metric="n" * 200),
    element(value=1e150),
    element(other=[1, {"a": b"x"}], more=msgpack.Timestamp(1)),
    element(deep=nested(15)),
    b"\x91" + GOOD,
    b"\x90",
    b"\xdc\x00\x01" + GOOD,
    b"\xdd\x00\x00\x00\x02" + GOOD + GOOD,
    b"\xde\x00\x02" + GOOD[1:],
    b"\xdf\x00\x00\x00\x02" + GOOD[1:],
    b"\x82\xd9\x06metric\xa1m\xda\x00\x05value\x01",
    b"\x82\xdb\x00\x00\x00\x06metric\xa1m\xa5value\x01",
    b"\x83\xa6metric\xa1m\xa5value\x01\xa4kind\xc0",
    b"\x83\xa6metric\xa1m\xa5value\x01\x05\x06",
]

MUST_REJECT = [
    (b"\x81", "msgpack_length"),
    (b"\x91", "msgpack_length"),
    (b"\x82\xa6metric\xa1m\xa5value", "msgpack_length"),
    (b"\x82\xa6metric\xa1m\xa5valu", "msgpack_length"),
    (b"\xdd\xff\xff\xff\xff\x00", "msgpack_length"),
    (b"\xdf\xff\xff\xff\xff\x00", "msgpack_length"),
    (b"\xdd\x80\x00\x00\x00\x00", "msgpack_length"),
    (b"\xdc\xff", "msgpack_length"),
    (b"\xdf\x00\x00\x00", "msgpack_length"),
    (raw(b"\xdb\xff\xff\xff\xff"), "msgpack_length"),
    (raw(b"\xd9\x05abc"), "msgpack_length"),
    (raw(b"\xc6\xff\xff\xff\xffa"), "msgpack_length"),
    (raw(b"\xc9\xff\xff\xff\xff\x01"), "msgpack_length"),
    (raw(b"\xc7\x04\xff\x00"), "msgpack_length"),
    (raw(b"\xd8\xff" + b"\x00" * 15), "msgpack_length"),
    (raw(b"\xcb\x00\x00"), "msgpack_length"),
    (raw(b"\xcf\x00\x00"), "msgpack_length"),
    (raw(b"\xdd\xff\xff\xff\xff"), "msgpack_length"),
    (raw(b"\xdf\x7f\xff\xff\xff"), "msgpack_length"),
    (b"\x92" + GOOD, "msgpack_length"),
    (raw(b"\xc1"), "msgpack_syntax"),
    (b"\x81\xc1\x01", "msgpack_syntax"),
    (b"\x91\xc1", "msgpack_syntax"),
    (GOOD + b"\x00", "msgpack_trailing"),
    (GOOD + GOOD, "msgpack_trailing"),
    (b"\x90\x90", "msgpack_trailing"),
    (b"\x80\n", "msgpack_trailing"),
    (element(deep=nested(16)), "nesting"),
    (bytes(msgpack.packb(nested(17))), "nesting"),
    (b"\x91" * 60_000, "nesting"),
    (b"\x81\xa1a" * 20_000, "nesting"),
    (b"\x83\xa6metric\xa1m\xa6metric\xa1n\xa5value\x01", "duplicate_key"),
    (b"\x83\xa6metric\xa1m\xa4name\xa1n\xa5value\x01", "duplicate_key"),
]

BAD_ELEMENTS = [
    (b"\x80", "name_missing"),
    (element(metric=None), "name_missing"),
    (element(metric=1), "name_missing"),
    (element(metric=b"m"), "name_missing"),
    (b"\x81\xa6metric\xa1m", "value_missing"),
    (element(metric=""), "name_empty"),
    (element(metric="n" * 201), "name_too_long"),
    (element(metric="a\0b"), "control_byte"),
    (element(metric="\x9b"), "control_byte"),
    (element(tags={"a": "\n"}), "control_byte"),
    (b"\x82\xa6metric\xa1\xff\xa5value\x01", "utf8"),
    (b"\x83\xa6metric\xa1m\xa5value\x01\xa4tags\x81\xa1a\xa2\xc3\x28", "utf8"),
    (element(value="12"), "number"),
    (raw(b"\xc0"), "number"),
    (element(value=True), "number"),
    (element(value=[1]), "number"),
    (element(value=b"1"), "number"),
    (element(value=float("nan")), "nan"),
    (element(value=float("inf")), "infinite"),
    (element(value=float("-inf")), "infinite"),
    (raw(b"\xca\x7f\xc0\x00\x00"), "nan"),
    (element(value=1.1e150), "magnitude"),
    (element(kind="timers"), "kind"),
    (element(kind=1), "kind"),
    (element(kind="set", value=""), "set_member"),
    (element(tags=["a:b"]), "tag"),
    (element(tags={"a": [1]}), "tag"),
    (element(tags={1: "a"}), "tag"),
    (element(tags={"": "a"}), "tag"),
    (element(tags={"__x": "a"}), "tag_reserved"),
    (element(tags=TAGS_32 | {"one": "more"}), "too_many_tags"),
    (element(tags={"k": "v" * 4096}), "tags_too_long"),
    (element(rate=0), "rate"),
    (element(rate=1.5), "rate"),
    (element(rate=float("nan")), "rate"),
    (element(rate="1"), "rate"),
    (element(time="now"), "time"),
    (element(time=1e300), "time"),
    (element(time=float("nan")), "time"),
    (element(time=msgpack.ExtType(5, b"abcd")), "time"),
    (b"\x83\xa6metric\xa1m\xa5value\x01\xa4time\xc7\x05\xffabcde", "time"),
    (element(time=0), "time_too_old"),
    (element(time=NOW - 3601), "time_too_old"),
    (element(time=msgpack.Timestamp(-1)), "time_too_old"),
    (element(time=msgpack.Timestamp(NOW + 601)), "time_too_far_ahead"),
    (b"\x01", "element"),
    (b"\xa1m", "element"),
    (b"\x91" + GOOD, "element"),
]

# Every way to write a number, with what Python reads there.
NUMBERS = [
    (b"\x00", 0.0),
    (b"\x7f", 127.0),
    (b"\xff", -1.0),
    (b"\xe0", -32.0),
    (b"\xcc\xff", 255.0),
    (b"\xcd\xff\xff", 65535.0),
    (b"\xce\xff\xff\xff\xff", 4294967295.0),
    (b"\xcf" + b"\xff" * 8, float(2**64 - 1)),
    (b"\xcf" + struct.pack(">Q", 2**53 + 1), float(2**53 + 1)),
    (b"\xcf" + struct.pack(">Q", 2**63 + 1025), float(2**63 + 1025)),
    (b"\xd0\x80", -128.0),
    (b"\xd1\x80\x00", -32768.0),
    (b"\xd2\x80\x00\x00\x00", -2147483648.0),
    (b"\xd3\x80" + b"\x00" * 7, -(2.0**63)),
    (b"\xca" + struct.pack(">f", 0.1), struct.unpack("f", struct.pack("f", 0.1))[0]),
    (b"\xcb" + struct.pack(">d", 0.1), 0.1),
    (b"\xcb" + struct.pack(">d", 5e-324), 5e-324),
    (b"\xcb" + struct.pack(">d", -0.0), -0.0),
]


def is_list(data: bytes) -> bool:
    return 0x90 <= data[0] <= 0x9F or data[0] in (0xDC, 0xDD)


@pytest.mark.parametrize("data", MUST_ACCEPT, ids=lambda data: repr(data)[:60])
def test_good_documents_are_taken(data: bytes) -> None:
    store = make_store()
    loaded = msgpack.unpackb(data, strict_map_key=False)
    expected = len(loaded) if is_list(data) else 1
    assert store.ingest(data) == expected
    counters = row(store)
    assert (counters["accepted"], counters["values"], counters["bad"]) == (1, expected, {})


@pytest.mark.parametrize(("data", "reason"), MUST_REJECT, ids=lambda part: repr(part)[:60])
def test_broken_documents_are_rejected_whole(data: bytes, reason: str) -> None:
    assert rejected_of(data) == {reason: 1}
    if reason in ("msgpack_length", "msgpack_syntax", "duplicate_key"):
        assert sum(rejected_of(b"\x92" + GOOD + data).values()) == 1, "with what was good before the fault"


@pytest.mark.parametrize(("data", "reason"), BAD_ELEMENTS, ids=lambda part: repr(part)[:60])
def test_an_element_without_sense_is_one_bad_value_and_costs_no_neighbour(data: bytes, reason: str) -> None:
    store = make_store()
    assert store.ingest(b"\x93" + GOOD + data + GOOD) == 2
    assert row(store)["bad"] == {reason: 1}
    assert row(store)["values"] == 3


def test_the_tables_of_bad_input_are_longer() -> None:
    assert min(len(MUST_REJECT), len(BAD_ELEMENTS)) >= len(MUST_ACCEPT)


@pytest.mark.parametrize(
    "data", MUST_ACCEPT + [data for data, _ in MUST_REJECT if len(data) < 1000] + [data for data, _ in BAD_ELEMENTS]
)
def test_the_slow_twin_judges_as_we_do(data: bytes) -> None:
    if not (0x80 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF):
        data = b"\x91" + data
    store = make_store()
    store.ingest(data)
    found = decode(data)
    assert found.is_rejected == bool(row(store)["rejected"])
    assert len(found.samples) + sum(found.bad.values()) == row(store)["values"]


@pytest.mark.parametrize(("packed", "value"), NUMBERS, ids=lambda part: repr(part))
def test_every_width_of_number_is_read_exactly(packed: bytes, value: float) -> None:
    store = make_store()
    assert store.ingest(raw(packed)) == 1
    assert struct.pack("d", value_of(store, "m")) == struct.pack("d", value)


def test_a_header_of_four_billion_elements_in_six_bytes_costs_nothing() -> None:
    assert rejected_of(b"\xdd\xff\xff\xff\xff\x00") == {"msgpack_length": 1}
    assert bad_of(b"\x91\x01") == {"element": 1}


def test_a_document_cut_anywhere_is_rejected() -> None:
    data = element(kind="timer", tags={"a": "b", "n": 5}, time=msgpack.Timestamp(NOW, 5), rate=0.5, other=[1.5, b"xx"])
    assert make_store().ingest(data) == 1
    for n in range(1, len(data)):
        assert rejected_of(data[:n]) == {"msgpack_length": 1}


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["metric", "value", "kind", "tags", "time", "rate"]))[::23]
)
def test_members_come_in_any_order(order: tuple[str, ...]) -> None:
    members = {"metric": "m", "value": 2, "kind": "counter", "tags": {"a": "b"}, "time": NOW, "rate": 0.5}
    store = make_store()
    assert store.ingest(msgpack.packb({key: members[key] for key in order})) == 1
    move_to(store, NOW + 1)
    assert cell(store, "m", NOW, {"a": "b"}) == (2.0, 4.0, 0.0, 2.0, 2.0, 2.0)


def test_tags_name_the_same_series_in_every_format_and_order() -> None:
    store = make_store()
    store.ingest(b"m:1|g|#b:2,a:x")
    store.ingest(b'{"metric":"m","value":2,"tags":{"a":"x","b":2}}')
    store.ingest(element(value=3, tags={"b": 2, "a": "x"}))
    store.ingest(element(value=4, tags={"a": "x", "b": "2"}))
    assert store.series_live == 1
    assert list(store.recent(0)[1]) == [1.0, 2.0, 3.0, 4.0]


def test_true_and_false_in_tags_are_spelled_as_in_json() -> None:
    store = make_store()
    store.ingest(b'{"metric":"m","value":1,"tags":{"a":true,"b":false}}')
    store.ingest(element(value=2, tags={"b": False, "a": True}))
    assert store.series_live == 1
    assert store.series(0).tags == {"a": "true", "b": "false"}


def test_numbers_in_many_new_tags_of_one_body_are_all_spelled() -> None:
    elements = [{"metric": "m", "value": 1, "tags": {"id": 10**18 + i, "x": i + 0.1}} for i in range(3000)] * 2
    store = make_store(5000)
    assert store.ingest(msgpack.packb(elements)) == 6000
    assert store.series_live == 3000
    assert store.slot("m", {"id": str(10**18 + 2999), "x": f"{2999.1:.17g}"}) >= 0


PACKED = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=6,
)
ELEMENTS = st.dictionaries(
    st.sampled_from(["metric", "value", "kind", "tags", "time", "rate", "other", 5]),
    PACKED | st.sampled_from(["m", "timer", "set", 1, 0.5, NOW, {"a": "b"}, {"k": 1, "l": 0.5}]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(ELEMENTS, max_size=5) | ELEMENTS, st.binary(max_size=3), st.integers(0, 100))
def test_random_documents_are_judged_as_the_twin_judges_them(document: Any, junk: bytes, at: int) -> None:
    data = msgpack.packb(document)
    for text in (data, data[:at] + junk + data[at:], data[:at], data[:at] + junk + data[at + len(junk) :]):
        if not text or not (0x80 <= text[0] <= 0x9F or 0xDC <= text[0] <= 0xDF):
            continue
        store = make_store()
        store.ingest(text)
        counters, found = row(store), decode(text)
        assert bool(counters["rejected"]) == found.is_rejected
        assert counters["values"] == len(found.samples) + sum(found.bad.values())
        assert counters["ignored"] == dict(found.ignored)
        assert books_are_balanced(counters)


IN_A_COMMA_LOCALE = """
import locale, msgpack, numpy as np
from tests.stores import NOW, make_store, move_to

locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert locale.localeconv()["decimal_point"] == ","
store = make_store()
store.ingest(msgpack.packb({"name": "a", "value": 1.5, "tags": {"n": 0.5}}))
assert store.slot("a", {"n": "0.5"}) >= 0
for data in (b"s:1.5|s", b'{"name":"s","value":1.5}', msgpack.packb({"name": "s", "kind": "set", "value": 1.5})):
    assert store.ingest(data) == 1
move_to(store, NOW + 1)
assert store.distinct(store.slots("s"), np.array([0]), np.array([NOW])) == 1.0
assert "%.1f" % 0.5 == "0.5" and locale.str(0.5) == "0,5"
"""


def test_numbers_are_spelled_alike_whatever_the_locale_of_the_process_is(tmp_path: Path) -> None:
    made = tmp_path / "de_DE.UTF-8"
    if shutil.which("localedef"):
        subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", made], capture_output=True, check=False)
    if not made.exists():
        pytest.skip("no sources of locales here")
    subprocess.run(
        [sys.executable, "-c", IN_A_COMMA_LOCALE],
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "LOCPATH": str(tmp_path)},
    )

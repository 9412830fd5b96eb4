"""StatsD and DogStatsD lines: what is taken, what is refused and why, and that lines do not know of each other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.decode import decode
from tests.stores import NOW, bad_of, cell, make_store, move_to, rejected_of, row, value_of

TAGS_32 = b",".join(b"k%d:v" % i for i in range(32))
LONGEST_NAME = b"n" * 200

MUST_ACCEPT = [
    (b"finance.api_ms:240.5|ms", {"finance.api_ms": 240.5}),
    (b"requests:1|c", {"requests": 1.0}),
    (b"load:-0.5|g", {"load": -0.5}),
    (b"size:1e3|h", {"size": 1000.0}),
    (b"size:.5|d", {"size": 0.5}),
    (b"size:5.|d", {"size": 5.0}),
    (b"a:1|g\n", {"a": 1.0}),
    (b"a:1|g\r\n", {"a": 1.0}),
    (b"\n\n\na:1|g\n\nb:2|g\n", {"a": 1.0, "b": 2.0}),
    (b"\r\na:1|g\r\n\r\n", {"a": 1.0}),
    (b"packed:1:2:3|ms", {"packed": 3.0}),
    (b"packed:1:2:3|ms|@0.5|#a:b", {}),
    (b"a:1|c|@0.1", {"a": 1.0}),
    (b"a:1|c|@1", {"a": 1.0}),
    (b"a:1|h|@1e-9", {"a": 1.0}),
    (b"a:1|g|#", {"a": 1.0}),
    (b"a:1|g|#,,,", {"a": 1.0}),
    (b"a:1|g|#agency:irs", {}),
    (b"a:1|g|#flag", {}),
    (b"a:1|g|#url:http://x:80/", {}),
    (b"a:1|g|#" + TAGS_32, {}),
    (b"a:1|c|#agency:irs|@0.5|c:ab12|e:x", {}),
    (b"a:1|c|c:in-1234|T1700000000", {"a": 1.0}),
    (b"a:1|c|newer:thing|another", {"a": 1.0}),
    (LONGEST_NAME + b":1|g", {LONGEST_NAME.decode(): 1.0}),
    ("größe:1|g".encode(), {"größe": 1.0}),
    (b"with space and |bar:1|g", {"with space and |bar": 1.0}),
    (b"a:+1|c", {"a": 1.0}),
    (b"a:1e150|g", {"a": 1e150}),
    (b"a:-1e150|g", {"a": -1e150}),
    (b"a:0e999999999|g", {"a": 0.0}),
    (b"a:1E+2|g", {"a": 100.0}),
    (b"_exotic:1|g", {"_exotic": 1.0}),
    (b"a:" + b"0" * 400 + b"7|g", {"a": 7.0}),
    (b"a:0." + b"3" * 400 + b"|g", {"a": 1 / 3}),
    (b"a:1|g|#" + b"k:" + b"v" * 4000, {}),
]

MUST_REJECT = [
    (b"x", "syntax"),
    (b"x:1", "syntax"),
    (b"no colon|g", "syntax"),
    (b"\r\r", "syntax"),
    (b"a:1|g|", "syntax"),
    (b"a:1|g||#a:b", "syntax"),
    (b"a:1|", "kind"),
    (b"a:1|q", "kind"),
    (b"a:1|m", "kind"),
    (b"a:1|msx", "kind"),
    (b"a:1|gg", "kind"),
    (b"a:1|G", "kind"),
    (b"a:1||@0.5", "kind"),
    (b"a:nan|g", "nan"),
    (b"a:-NaN|g", "nan"),
    (b"a:inf|g", "infinite"),
    (b"a:-Infinity|g", "infinite"),
    (b"a:1.000000000000001e150|g", "magnitude"),
    (b"a:-1e400|g", "magnitude"),
    (b"a:" + b"9" * 400 + b"|g", "magnitude"),
    (b"a:0x10|g", "number"),
    (b"a:0x1p4|c", "number"),
    (b"a:|g", "number"),
    (b"a: 1|g", "number"),
    (b"a:1_000|g", "number"),
    (b"a:1,5|g", "number"),
    (b"a:1e|g", "number"),
    (b"a:--1|g", "number"),
    (b"a:.|g", "number"),
    (b"a:\xd9\xa1|g", "number"),
    (b":1|g", "name_empty"),
    (b"n" * 201 + b":1|g", "name_too_long"),
    (b"a\tb:1|g", "control_byte"),
    (b"a\x00b:1|g", "control_byte"),
    (b"a\x7f:1|g", "control_byte"),
    (b"a\xc2\x85b:1|g", "control_byte"),
    (b"a:1|g|#k:v\x1b[31m", "control_byte"),
    (b"a\xff:1|g", "utf8"),
    (b"a\xc0\xaf:1|g", "utf8"),
    (b"a\xed\xa0\x80:1|g", "utf8"),
    (b"a\xf4\x90\x80\x80:1|g", "utf8"),
    (b"a:1|g|#k:\xe2\x82", "utf8"),
    (b"a:1|g|#" + TAGS_32 + b",one:more", "too_many_tags"),
    (b"a:1|g|#k:" + b"v" * 4096, "tags_too_long"),
    (b"a:1|c|@0.5|#k:" + b"v" * 4096, "tags_too_long"),
    (b"a:1|g|#__overflow__:true", "tag_reserved"),
    (b"a:1|g|#__x", "tag_reserved"),
    (b"a:1|g|#:value", "tag"),
    (b"a:1|c|@0", "rate"),
    (b"a:1|c|@1.5", "rate"),
    (b"a:1|c|@-0.1", "rate"),
    (b"a:1|c|@nan", "rate"),
    (b"a:1|c|@", "rate"),
    (b"a:1|c|@0.5x", "rate"),
    (b"a:1|g|Tsoon", "time"),
    (b"a:1|g|T0", "time"),
    (b"a:1|g|T-5", "time"),
    (b"a:1|g|T1e300", "time"),
    (b"a:1|g|T%d" % (NOW - 3601), "time_too_old"),
    (b"a:1|g|T%d" % (NOW + 601), "time_too_far_ahead"),
    (b"a:1|g|T16999999930", "time_too_far_ahead"),  # more ns than an int64 holds
    (b"a:|s", "set_member"),
    (b"__overflow__:1|g", "name_reserved"),
]


@pytest.mark.parametrize(("data", "values"), MUST_ACCEPT, ids=lambda part: repr(part)[:40])
def test_good_lines_are_taken(data: bytes, values: dict[str, float]) -> None:
    store = make_store()
    taken = store.ingest(data)
    counters = row(store)
    assert taken == counters["samples"] == counters["values"] > 0
    assert counters["bad"] == {}
    assert {name: value_of(store, name) for name in values} == values


@pytest.mark.parametrize(("line", "reason"), MUST_REJECT, ids=lambda part: repr(part)[:40])
def test_bad_lines_are_counted_under_their_reason(line: bytes, reason: str) -> None:
    assert bad_of(line) == {reason: 1}


@pytest.mark.parametrize(("line", "reason"), MUST_REJECT, ids=lambda part: repr(part)[:40])
def test_a_bad_line_never_costs_its_neighbours(line: bytes, reason: str) -> None:
    store = make_store()
    assert store.ingest(b"before:1|g\n" + line + b"\nafter:2|g") == 2
    assert (value_of(store, "before"), value_of(store, "after")) == (1.0, 2.0)
    assert row(store)["bad"] == {reason: 1}


def test_the_tables_are_as_long_as_each_other_or_bad_is_longer() -> None:
    assert len(MUST_REJECT) >= len(MUST_ACCEPT)


@pytest.mark.parametrize(("data", "values"), MUST_ACCEPT, ids=lambda part: repr(part)[:40])
def test_the_slow_twin_takes_what_we_take(data: bytes, values: dict[str, float]) -> None:
    found = decode(data)
    assert len(found.samples) == row(filled(data))["samples"]
    assert not found.bad


def filled(*datagrams: bytes):  # type: ignore[no-untyped-def]
    store = make_store()
    for data in datagrams:
        store.ingest(data)
    return store


def test_an_empty_datagram_is_rejected() -> None:
    assert rejected_of(b"") == {"empty": 1}


@pytest.mark.parametrize("byte", range(256))
def test_a_one_byte_datagram_is_either_rejected_or_one_value_or_nothing(byte: int) -> None:
    counters = row(filled(bytes([byte])))
    assert counters["received"] == 1
    assert counters["samples"] == 0
    assert counters["accepted"] + sum(counters["rejected"].values()) == 1
    assert counters["values"] == sum(counters["bad"].values()) <= 1


def test_a_datagram_of_65507_bytes_is_taken_whole() -> None:
    line = b"requests:1|c\n"
    data = (line * 5100)[:65_507]
    store = make_store()
    lines = data.split(b"\n")
    assert store.ingest(data) == sum(one == line[:-1] for one in lines)
    packed = (b"p:" + b"1:" * 40_000)[:65_503] + b"1|c"
    assert store.ingest(packed) == packed.count(b":")


def test_a_sample_rate_of_a_billionth_costs_one_sample_with_that_weight() -> None:
    store = make_store()
    assert store.ingest(b"x:1|h|@1e-9") == 1
    move_to(store, NOW + 1)
    weight = 1 / 1e-9
    assert cell(store, "x", NOW) == (weight, weight, 0.0, 1.0, 1.0, 1.0)
    assert len(store.recent(store.slot("x"))[0]) == 1


def test_packed_values_are_values_each_and_share_rate_and_tags() -> None:
    store = make_store()
    assert store.ingest(b"x:1:2:oops:4:|h|@0.5|#a:b") == 3
    assert row(store)["bad"] == {"number": 2}
    assert row(store)["values"] == 5
    move_to(store, NOW + 1)
    assert cell(store, "x", NOW, {"a": "b"})[:2] == (6.0, 14.0)


def test_events_and_checks_are_counted_and_are_no_values() -> None:
    store = make_store()
    assert store.ingest(b"_e{5,4}:title|text\n_sc|redis|0|#a:b\n_sc|plain\na:1|g\n_e{1,1}:a|b|#c:d") == 1
    counters = row(store)
    assert counters["ignored"] == {"event": 2, "check": 2}
    assert (counters["values"], counters["bad"]) == (1, {})


def test_unknown_sections_are_ignored_and_counted() -> None:
    store = make_store()
    assert store.ingest(b"a:1|c|zz|#k:v|future:1") == 1
    assert row(store)["ignored"] == {"section": 2}


def test_of_repeated_sections_the_last_counts() -> None:
    store = make_store()
    store.ingest(b"a:1|c|#a:b|#c:d|@0.5|@0.25")
    move_to(store, NOW + 1)
    assert cell(store, "a", NOW, {"c": "d"})[0] == 4.0


def test_signs_mean_deltas_unless_the_store_says_absolute() -> None:
    lines = b"g:10|g\ng:+5|g\ng:-3|g"
    assert list(filled(lines).recent(0)[1]) == [10.0, 15.0, 12.0]
    absolute = make_store(signs_are_deltas=False)
    absolute.ingest(lines)
    assert list(absolute.recent(0)[1]) == [10.0, 5.0, -3.0]


def test_a_delta_without_a_value_starts_at_zero_and_only_gauges_know_deltas() -> None:
    store = filled(b"g:-3|g\ng:+1|g\nc:5|c\nc:-3|c")
    assert value_of(store, "g") == -2.0
    assert list(store.recent(store.slot("c"))[1]) == [5.0, -3.0]


def test_a_delta_that_leaves_the_range_is_refused_and_changes_nothing() -> None:
    store = filled(b"g:1e150|g\ng:+1e150|g")
    assert row(store)["bad"] == {"magnitude": 1}
    assert value_of(store, "g") == 1e150


def test_a_weighted_value_that_leaves_the_range_is_refused() -> None:
    assert bad_of(b"x:1e145|h|@1e-9") == {"magnitude": 1}
    assert bad_of(b"x:1e145|g|@1e-9") == {}, "a gauge's weight is 1"


def test_tags_of_exactly_4096_bytes_are_judged_the_same_with_and_without_a_rate() -> None:
    tags = b"#k:" + b"v" * 4090 + b",,,,"
    for line in (b"a:1|c|" + tags, b"a:1|c|@0.5|" + tags):
        assert bad_of(line) == {}
        assert bad_of(line + b",") == {"tags_too_long": 1}


def test_each_bad_packed_value_is_counted() -> None:
    store = make_store()
    assert store.ingest(b"a:" + b":x" * 32_750 + b"|c") == 0
    assert row(store)["bad"] == {"number": 32_751}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([line for line, _ in MUST_REJECT] + [data for data, _ in MUST_ACCEPT]), max_size=8),
       st.data())  # fmt: skip
def test_any_split_of_lines_into_datagrams_gives_the_same_ring_and_columns(
    lines: list[bytes], data: st.DataObject
) -> None:
    one, many = make_store(), make_store()
    one.ingest(b"\n".join(lines) or b"\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=3)))
    for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        many.ingest(b"\n".join(lines[start:end]) or b"\n")
    assert row(one)["bad"] == row(many)["bad"]
    assert row(one)["values"] == row(many)["values"]
    assert one.series_count == many.series_count
    for slot in range(one.series_count):
        assert one.series(slot) == many.series(slot)
        assert list(one.recent(slot)[1]) == list(many.recent(slot)[1])
    for store in (one, many):
        move_to(store, NOW + 1)
    assert (one.cols[0, :, NOW % 64] == many.cols[0, :, NOW % 64]).all()

"""JSON documents: strict syntax, whole or not at all; elements that make no sense are one bad value each."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.decode import decode
from tests.stores import NOW, bad_of, books_are_balanced, cell, make_store, move_to, rejected_of, row, value_of

GOOD = b'{"metric":"good","value":1}'
TAGS_32 = b",".join(b'"k%d":"v"' % i for i in range(32))


def element(**members: str) -> bytes:
    """An element of raw JSON texts, on top of a metric and a value."""
    parts = {"metric": '"m"', "value": "1"} | members
    return ("{" + ",".join(f'"{key}":{text}' for key, text in parts.items() if text) + "}").encode()


MUST_ACCEPT = [
    element(),
    element(kind='"timer"', tags='{"agency":"irs"}', time=f"{NOW}.5", rate="0.1"),
    element(metric="", name='"m"'),
    element(kind="null", tags="null", time="null", rate="null"),
    element(kind='"ms"'),
    element(tags="{}"),
    element(tags='{"n":1,"t":true,"f":false,"s":""}'),
    element(tags="{" + TAGS_32.decode() + "}"),
    element(value="-0.0"),
    element(value="1E+2"),
    element(value="1e150"),
    element(value="0." + "1" * 400),
    element(kind='"set"', value='"anna"'),
    element(kind='"set"', value="42"),
    element(kind='"set"', value='"a\\u00e9\\n"'),
    element(metric='"\\u006d"'),
    element(metric='"größe"'),
    element(metric='"\\ud83d\\ude00"'),
    element(metric='"a\\/b\\\\c\\"d"'),
    element(metric='"' + "n" * 200 + '"'),
    element(x="1", y='{"deep":[1,{"er":null}]}', z='"\\t"'),
    element(deep="[" * 15 + "]" * 15),
    b" \t\r\n".join([b"{", b'"metric"', b":", b'"m"', b",", b'"value"', b":", b"1", b"}", b""]),
    b"[" + GOOD + b"]",
    b"[ " + GOOD + b" , " + GOOD + b" ]\n",
    b"[]",
    b"[ ]",
    b'{"\\u0076alue":1,"metric":"m"}',
    element(**{f"u{i}": "1" for i in range(64)}),
]

MUST_REJECT = [
    (b"{", "json_syntax"),
    (b"[", "json_syntax"),
    (b"{]", "json_syntax"),
    (b"[}", "json_syntax"),
    (b'{"metric"', "json_syntax"),
    (b'{"metric":', "json_syntax"),
    (b'{"metric":"m","value":1', "json_syntax"),
    (b'{"metric":"m","value":1,}', "json_syntax"),
    (b'{"metric":"m" "value":1}', "json_syntax"),
    (b'{"metric":"m","value"=1}', "json_syntax"),
    (b"{'metric':'m','value':1}", "json_syntax"),
    (b'{metric:"m"}', "json_syntax"),
    (b"[" + GOOD, "json_syntax"),
    (b"[" + GOOD + b",]", "json_syntax"),
    (b"[" + GOOD + b" " + GOOD + b"]", "json_syntax"),
    (element(value="NaN"), "json_syntax"),
    (element(value="Infinity"), "json_syntax"),
    (element(value="-Infinity"), "json_syntax"),
    (element(value="+1"), "json_syntax"),
    (element(value="01"), "json_syntax"),
    (element(value="1."), "json_syntax"),
    (element(value=".5"), "json_syntax"),
    (element(value="1e"), "json_syntax"),
    (element(value="0x10"), "json_syntax"),
    (element(value="-"), "json_syntax"),
    (element(value="nul"), "json_syntax"),
    (element(value="truE"), "json_syntax"),
    (element(metric='"a\nb"'), "json_syntax"),
    (element(metric='"a\\x41"'), "json_syntax"),
    (element(metric='"\\u12G4"'), "json_syntax"),
    (element(metric='"\\ud800"'), "json_syntax"),
    (element(metric='"\\udc00\\ud800"'), "json_syntax"),
    (element(metric='"\\ud800\\u0041"'), "json_syntax"),
    (b'{"metric":"m","value":1,"x":"\\', "json_syntax"),
    (b'{"metric":"m","value":1,"x":"\\u12', "json_syntax"),
    (b'{"metric":"a","metric":"b","value":1}', "duplicate_key"),
    (b'{"metric":"a","name":"b","value":1}', "duplicate_key"),
    (b'{"metric":"a","value":1,"value":1}', "duplicate_key"),
    (b'{"metric":"a","value":1,"\\u0076alue":1}', "duplicate_key"),
    (element(tags='{"a":"1","a":"2"}'), "duplicate_key"),
    (element(x="1")[:-1] + b',"x":2}', "duplicate_key"),
    (element(x='{"a":1,"a":2}'), "duplicate_key"),
    (GOOD + b"x", "json_trailing"),
    (GOOD + GOOD, "json_trailing"),
    (GOOD + b"\n" + GOOD, "json_trailing"),
    (GOOD + b"\x00", "json_trailing"),
    (b"[]]", "json_trailing"),
    (element(deep="[" * 16 + "]" * 16), "nesting"),
    (b"[" * 17 + b"]" * 17, "nesting"),
    (b"[" * 60_000, "nesting"),
    (element(**{f"u{i}": "1" for i in range(65)}), "too_large"),
    (b'{"a":' * 9_000, "nesting"),
    (b'{"metric":"\xff","value":1}', "utf8"),
    (b'{"metric":"\xc0\x80","value":1}', "utf8"),
    (b'{"metric":"\xed\xa0\x80","value":1}', "utf8"),
    (b'{"metric":"m","value":1,"\xf5\x80\x80\x80":1}', "utf8"),
    (b'{"metric":"m\\n\xff","value":1}', "utf8"),
]

BAD_ELEMENTS = [
    (b"{}", "name_missing"),
    (element(metric=""), "name_missing"),
    (element(metric="1"), "name_missing"),
    (element(metric="null"), "name_missing"),
    (element(value=""), "value_missing"),
    (element(metric='""'), "name_empty"),
    (element(metric='"' + "n" * 201 + '"'), "name_too_long"),
    (element(metric='"a\\u0000b"'), "control_byte"),
    (element(metric='"a\\tb"'), "control_byte"),
    (element(metric='"\\u0085"'), "control_byte"),
    (element(metric='"\x7f"'), "control_byte"),
    (element(tags='{"a":"\\u001b[0m"}'), "control_byte"),
    (element(tags='{"\\n":"a"}'), "control_byte"),
    (element(value='"12"'), "number"),
    (element(value="null"), "number"),
    (element(value="true"), "number"),
    (element(value="[1]"), "number"),
    (element(value='{"a":1}'), "number"),
    (element(value="1e151"), "magnitude"),
    (element(value="-1e400"), "magnitude"),
    (element(value="9" * 400), "magnitude"),
    (element(kind='"timers"'), "kind"),
    (element(kind='""'), "kind"),
    (element(kind="1"), "kind"),
    (element(kind='"set"', value='""'), "set_member"),
    (element(tags="[]"), "tag"),
    (element(tags='"a:b"'), "tag"),
    (element(tags='{"a":null}'), "tag"),
    (element(tags='{"a":{}}'), "tag"),
    (element(tags='{"a":["b"]}'), "tag"),
    (element(tags='{"":"b"}'), "tag"),
    (element(tags='{"__overflow__":"true"}'), "tag_reserved"),
    (element(tags='{"\\u005f_x":"true"}'), "tag_reserved"),
    (element(tags="{" + TAGS_32.decode() + ',"one":"more"}'), "too_many_tags"),
    (element(tags='{"k":"' + "v" * 4096 + '"}'), "tags_too_long"),
    (element(rate="0"), "rate"),
    (element(rate="1.01"), "rate"),
    (element(rate="-1"), "rate"),
    (element(rate='"0.5"'), "rate"),
    (element(rate="1e999"), "rate"),
    (element(time='"now"'), "time"),
    (element(time="1e300"), "time"),
    (element(time=f"{NOW}000"), "time"),
    (element(time="0"), "time_too_old"),
    (element(time="1e-300"), "time_too_old"),
    (element(time="-5"), "time_too_old"),
    (element(time=f"{NOW - 3601}"), "time_too_old"),
    (element(time=f"{NOW + 601}"), "time_too_far_ahead"),
    (element(time="16999999930"), "time_too_far_ahead"),
    (element(time="-16999999930"), "time_too_old"),
    (b"1", "element"),
    (b'"text"', "element"),
    (b"null", "element"),
    (b"[" + GOOD + b"]", "element"),
]


@pytest.mark.parametrize("data", MUST_ACCEPT, ids=lambda data: repr(data)[:60])
def test_good_documents_are_taken(data: bytes) -> None:
    store = make_store()
    taken = store.ingest(data)
    counters = row(store)
    expected = len(loaded) if isinstance(loaded := json.loads(data), list) else 1
    assert (taken, counters["accepted"], counters["values"]) == (expected, 1, expected)
    assert counters["bad"] == counters["rejected"] == {}


@pytest.mark.parametrize(("data", "reason"), MUST_REJECT, ids=lambda part: repr(part)[:60])
def test_broken_documents_are_rejected_whole(data: bytes, reason: str) -> None:
    assert rejected_of(data) == {reason: 1}
    if reason != "nesting":
        assert sum(rejected_of(b"[" + GOOD + b"," + data + b"]").values()) == 1, "with what was good before the fault"


@pytest.mark.parametrize(("data", "reason"), BAD_ELEMENTS, ids=lambda part: repr(part)[:60])
def test_an_element_without_sense_is_one_bad_value_and_costs_no_neighbour(data: bytes, reason: str) -> None:
    store = make_store()
    assert store.ingest(b"[" + GOOD + b"," + data + b"," + GOOD + b"]") == 2
    assert row(store)["bad"] == {reason: 1}
    assert row(store)["values"] == 3
    if data.startswith(b"{"):
        assert bad_of(data) == {reason: 1}, "alone as well"


def test_the_tables_of_bad_input_are_longer() -> None:
    assert min(len(MUST_REJECT), len(BAD_ELEMENTS)) >= len(MUST_ACCEPT)


@pytest.mark.parametrize("data", MUST_ACCEPT + [data for data, _ in MUST_REJECT if len(data) < 1000])
def test_the_slow_twin_judges_as_we_do(data: bytes) -> None:
    store = make_store()
    taken = store.ingest(data)
    found = decode(data)
    assert found.is_rejected == bool(row(store)["rejected"])
    assert len(found.samples) == taken


MEMBERS = {"metric": '"m"', "value": "2", "kind": '"counter"', "tags": '{"a":"b"}', "time": str(NOW), "rate": "0.5"}


@pytest.mark.parametrize("order", list(itertools.permutations(MEMBERS))[::17])
def test_members_come_in_any_order(order: tuple[str, ...]) -> None:
    store = make_store()
    assert store.ingest(("{" + ",".join(f'"{key}":{MEMBERS[key]}' for key in order) + "}").encode()) == 1
    move_to(store, NOW + 1)
    assert cell(store, "m", NOW, {"a": "b"}) == (2.0, 4.0, 0.0, 2.0, 2.0, 2.0)


def test_escaped_names_are_the_names_they_spell() -> None:
    store = make_store()
    store.ingest(b'[{"metric":"\\u00e9\\ud83d\\ude00\\/","value":1},{"metric":"\xc3\xa9\xf0\x9f\x98\x80/","value":2}]')
    assert store.metrics() == ["é😀/"]
    assert list(store.recent(0)[1]) == [1.0, 2.0]


def test_escaped_tags_name_the_same_series_as_plain_ones() -> None:
    store = make_store()
    store.ingest(b'{"metric":"m","value":1,"tags":{"\\u0061":"\\u00fc","n":1.50,"b":true}}')
    store.ingest('{"tags":{"b":"true","n":"1.50","a":"ü"},"metric":"m","value":2}'.encode())
    assert store.series_live == 1
    assert value_of(store, "m", {"a": "ü", "n": "1.50", "b": "true"}) == 2.0


def test_unknown_members_are_ignored_and_counted() -> None:
    store = make_store()
    assert store.ingest(b'[{"metric":"m","value":1,"host":"a","x":{"y":1}},{"metric":"m","value":1,"z":null}]') == 2
    assert row(store)["ignored"] == {"member": 3}


def test_a_rejected_document_takes_its_counts_back() -> None:
    store = make_store()
    store.ingest(b'[{"metric":"m","value":1,"x":1},{"metric":"m","value":"bad"},{]')
    counters = row(store)
    assert (counters["values"], counters["bad"], counters["ignored"]) == (0, {}, {})
    assert counters["rejected"] == {"json_syntax": 1}
    assert [reject["reason"] for reject in store.rejects()] == ["json_syntax"]


def test_a_document_of_65507_bytes_full_of_escapes_is_taken() -> None:
    name = "\\u0061" * 190
    elements = ",".join(f'{{"metric":"{name}{i}","value":{i}}}' for i in range(52))
    data = f"[{elements}]".encode()
    assert 50_000 < len(data) <= 65_507
    store = make_store()
    assert store.ingest(data) == 52
    assert value_of(store, "a" * 190 + "51") == 51.0


@pytest.mark.parametrize("elements", [1000, 20_000])
def test_a_large_body_full_of_escapes_is_taken(elements: int) -> None:
    body = ",".join(f'{{"metric":"a\\/b","value":{i},"text":"\\u00e9\\u00e9\\u00e9\\u00e9"}}' for i in range(elements))
    store = make_store()
    assert store.ingest(f"[{body}]".encode()) == elements
    assert store.metrics() == ["a/b"]


def test_many_new_tags_with_escapes_in_one_body_are_all_read() -> None:
    slashes = "\\/" * 100
    body = ",".join(f'{{"metric":"m","value":1,"tags":{{"k":"{slashes}{i}"}}}}' for i in range(900))
    store = make_store()
    assert store.ingest(f"[{body}]".encode()) == 900
    assert store.series_live == 900


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ELEMENTS = st.dictionaries(
    st.sampled_from(["metric", "value", "kind", "tags", "time", "rate", "other"]),
    JSON_VALUES | st.sampled_from(["m", "timer", "set", 1, 0.5, NOW, {"a": "b"}, {"k": 1, "l": True}]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(ELEMENTS, max_size=5) | ELEMENTS, st.booleans(), st.binary(max_size=3), st.integers(0, 200))
def test_random_documents_are_judged_as_the_twin_judges_them(
    document: Any, ascii_only: bool, junk: bytes, at: int
) -> None:
    data = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for text in (data, data[:at] + junk + data[at:], data[:at]):
        if text[:1] not in (b"{", b"["):
            continue
        store = make_store()
        store.ingest(text)
        counters, found = row(store), decode(text)
        assert bool(counters["rejected"]) == found.is_rejected
        assert counters["values"] == len(found.samples) + sum(found.bad.values())
        assert counters["ignored"] == dict(found.ignored)
        assert books_are_balanced(counters)

"""The bytes a client puts on the wire: lines, documents, datagrams."""

import json
import math
from decimal import Decimal
from enum import Enum
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.client.wire import clean_name, clean_tags, cut, frame, gauge_document, kind_of, member, number


class Agency(str, Enum):  # noqa: UP042  # the kind whose str() is not its content
    IRS = "irs"


@pytest.mark.parametrize(
    ("name", "kind", "tags", "rate", "line"),
    [
        ("finance.api_ms", None, None, 1, "finance.api_ms:V|ms"),
        ("queue_depth", None, None, 1, "queue_depth:V|g"),
        ("hits", "counter", None, 1, "hits:V|c"),
        ("size", "histogram", None, 1, "size:V|h"),
        ("size", "distribution", None, 1, "size:V|d"),
        ("visitors", "set", None, 1, "visitors:V|s"),
        ("hits", "counter", {}, 1, "hits:V|c"),
        ("hits", "counter", {"agency": "irs"}, 0.1, "hits:V|c|@0.1|#agency:irs"),
        ("hits", "counter", {"b": "2", "a": "1"}, 1, "hits:V|c|#a:1,b:2"),
        ("hits", "counter", {"n": 1, "f": 0.5, "b": True, "e": Agency.IRS}, 1, "hits:V|c|#b:true,e:irs,f:0.5,n:1"),
        ("a:b|c#d@e\nf", "gauge", None, 1, "a_b_c_d_e_f:V|g"),
        ("{json}", "gauge", None, 1, "_json}:V|g"),
        ("[array", "gauge", None, 1, "_[array:V|g"),
        ("\u0710syriac", "gauge", None, 1, "_\u0710syriac:V|g"),
        ("größe", "gauge", {"straße": "süd"}, 1, "größe:V|g|#straße:süd"),
        ("hits", "counter", {"path": "/a,b|c:d\n"}, 1, "hits:V|c|#path:/a_b_c:d_"),
        ("hits", "counter", {"k:e,y|": "v"}, 1, "hits:V|c|#k_e_y_:v"),
        ("half\ud800", "gauge", None, 1, "half?:V|g"),
    ],
)
def test_a_series_has_one_line(name, kind, tags, rate, line):
    head, tail, _ = frame(name, kind, tags, rate)
    assert f"{head}V{tail}" == line


@pytest.mark.parametrize(
    ("name", "kind", "tags", "rate"),
    [
        ("", None, None, 1),
        ("x" * 201, None, None, 1),
        ("ü" * 101, None, None, 1),
        (b"bytes", None, None, 1),
        (1, None, None, 1),
        (None, None, None, 1),
        ("hits", "c", None, 1),
        ("hits", "countr", None, 1),
        ("hits", "", None, 1),
        ("hits", None, {"": "x"}, 1),
        ("hits", None, {"__overflow__": "x"}, 1),
        ("hits", None, {1: "x"}, 1),
        ("hits", None, {"a": None}, 1),
        ("hits", None, {"a": ["list"]}, 1),
        ("hits", None, {"a": b"bytes"}, 1),
        ("hits", None, {f"k{n}": "v" for n in range(33)}, 1),
        ("hits", None, ["a:b"], 1),
        ("hits", None, "a:b", 1),
        ("hits", None, None, "0.5"),
    ],
)
def test_a_series_the_engine_would_reject_is_refused(name, kind, tags, rate):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        frame(name, kind, tags, rate)


def test_a_name_of_200_bytes_passes():
    assert clean_name("ü" * 100) == "ü" * 100


def test_32_tags_pass():
    assert len(clean_tags({f"k{n}": "v" for n in range(32)})) == 32


def test_a_kind_is_inferred_from_the_name():
    assert [kind_of(name, None) for name in ("db.write_ms", "ms", "_ms", "queue")] == [
        "timer",
        "gauge",
        "timer",
        "gauge",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "1"), (False, "0"), (0.1, "0.1"), (1e150, "1e+150"), (Decimal("1.5"), "1.5"), (-2, "-2")],
)
def test_a_number_is_written_shortest(value, text):
    assert repr(number(value)) == text


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 1.1e150, 10**400, "1", b"1", None, [1], {}, object(), 1j]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        number(value)


def test_numpy_scalars_are_numbers():
    numpy = pytest.importorskip("numpy")
    values = [numpy.float64(1.5), numpy.float32(0.5), numpy.int64(7), numpy.bool_(True)]
    assert [repr(number(value)) for value in values] == ["1.5", "0.5", "7", "1.0"]


def test_members_of_a_set_are_strings_or_numbers():
    assert [member(value) for value in ("citizen", 17, 1.5, "a:b|c\n", Agency.IRS)] == [
        "citizen",
        "17",
        "1.5",
        "a_b_c_",
        "irs",
    ]


@pytest.mark.parametrize("value", ["", None, b"x", math.nan, ["x"]])
def test_what_is_no_member_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        member(value)


def test_a_gauge_below_zero_is_a_document():
    document = gauge_document("outside:c", -5.5, {"city": 'a"b'}, 0.5)
    assert json.loads(document) == {
        "metric": "outside_c", "value": -5.5, "kind": "gauge", "tags": {"city": 'a"b'}, "rate": 0.5,
    }  # fmt: skip


def test_lines_and_documents_never_share_a_datagram():
    block = b'a:1|g\nb:2|g\n{"metric":"c"}\n{"metric":"d"}\ne:{3}|s'
    assert cut(block, 1432).parts == [(b"a:1|g\nb:2|g", 2), (b'[{"metric":"c"},{"metric":"d"}]', 2), (b"e:{3}|s", 1)]


@pytest.mark.parametrize("long", [b"x" * 21, b'{"' + b"x" * 20, b"x" * 200])
@pytest.mark.parametrize("around", [b"%s", b"a:1|g\n%s", b"%s\na:1|g", b"a:1|g\n%s\nb:2|g", b"%s\n%s"])
def test_a_line_too_long_for_any_datagram_costs_only_itself(long, around):
    block = around.replace(b"%s", long)
    lines = block.split(b"\n")
    parts, oversize = cut(block, 20)
    assert oversize == lines.count(long)
    assert b"\n".join(datagram for datagram, _ in parts).split(b"\n") == (
        [line for line in lines if line != long] or [b""]
    )


def test_no_bytes_make_no_datagram():
    assert cut(b"", 1432) == ([], 0)


@given(
    st.lists(st.sampled_from([b"a:1|g", b"bb:22|c", b"c" * 30, b'{"x":1}', b'{"yyyyyy":22}', b"d" * 31])), st.just(30)
)
def test_any_lines_arrive_in_order_in_datagrams_that_fit(lines, bytes_max):
    parts, oversize = cut(b"\n".join(lines), bytes_max)
    arrived: list[bytes] = []
    for datagram, samples in parts:
        assert len(datagram) <= bytes_max
        if datagram.startswith(b"["):
            inside = [json.dumps(one, separators=(",", ":")).encode() for one in json.loads(datagram)]
        else:
            inside = datagram.split(b"\n")
        assert len(inside) == samples
        arrived += inside
    assert arrived == [line for line in lines if len(line) <= bytes_max]
    assert oversize == len(lines) - len(arrived)


@given(st.lists(st.integers(1, 25), min_size=1), st.integers(25, 60))
def test_datagrams_are_packed_full(lengths, bytes_max):
    parts, _ = cut(b"\n".join(b"x" * length for length in lengths), bytes_max)
    for (datagram, _), (following, _) in pairwise(parts):
        first_of_following = following.split(b"\n")[0]
        assert len(datagram) + 1 + len(first_of_following) > bytes_max

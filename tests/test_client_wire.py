"""The bytes a client puts on the wire: lines, documents, datagrams."""

import json
import math
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.client.wire import clean_tags, cut, frame, gauge_document, kind_of, member, number

GOLDEN = json.loads((Path(__file__).parent / "golden" / "client_wire.json").read_text())  # js/client is held to it too


class Agency(str, Enum):  # noqa: UP042  # the kind whose str() is not its content
    IRS = "irs"


@pytest.mark.parametrize(
    ("name", "kind", "tags", "rate", "line"),
    [
        *(tuple(one.values()) for one in GOLDEN["lines"]),
        ("hits", "counter", {"e": Agency.IRS}, 1, "hits:V|c|#e:irs"),
    ],
)
def test_a_series_has_one_line(name, kind, tags, rate, line):
    head, tail, _ = frame(name, kind, tags, rate)
    assert f"{head}V{tail}" == line


@pytest.mark.parametrize(
    ("name", "kind", "tags", "rate"),
    [
        *(tuple(one.values()) for one in GOLDEN["refused"]),
        (b"bytes", None, None, 1),
        ("hits", None, {1: "x"}, 1),
        ("hits", None, {"a": b"bytes"}, 1),
    ],
)
def test_a_series_the_engine_would_reject_is_refused(name, kind, tags, rate):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        frame(name, kind, tags, rate)


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
    [*GOLDEN["numbers"], (Decimal("1.5"), "1.5")],
)
def test_a_number_is_written_shortest(value, text):
    assert repr(number(value)) == text


@pytest.mark.parametrize(
    "value", [*GOLDEN["refused_numbers"], math.nan, math.inf, -math.inf, 10**400, b"1", object(), 1j]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        number(value)


def test_numpy_scalars_are_numbers():
    numpy = pytest.importorskip("numpy")
    values = [numpy.float64(1.5), numpy.float32(0.5), numpy.int64(7), numpy.bool_(True)]
    assert [repr(number(value)) for value in values] == ["1.5", "0.5", "7", "1.0"]


@pytest.mark.parametrize(("value", "text"), [*GOLDEN["members"], (Agency.IRS, "irs")])
def test_members_of_a_set_are_strings_or_numbers(value, text):
    assert member(value) == text


@pytest.mark.parametrize("value", [*GOLDEN["refused_members"], b"x", math.nan])
def test_what_is_no_member_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        member(value)


@pytest.mark.parametrize("case", GOLDEN["documents"])
def test_a_gauge_below_zero_is_a_document(case):
    document = gauge_document(case["name"], case["value"], case["tags"], case["rate"])
    assert json.loads(document) == case["document"]


@pytest.mark.parametrize("case", GOLDEN["datagrams"])
def test_samples_are_packed_into_datagrams(case):
    parts, oversize = cut("\n".join(case["lines"]).encode(), case["bytes_max"])
    assert [[datagram.decode(), samples] for datagram, samples in parts] == case["parts"]
    assert oversize == case["oversize"]


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

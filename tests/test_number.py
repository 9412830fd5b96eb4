"""Numbers on the wire are Python's float() bit for bit, or refused."""

import random
import struct
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stores import bad_of, make_store, value_of

from hms_ops._ring import Store

# Where parsers go wrong: halfway cases, subnormals, the ends of the short exact path, many digits, long zeros.
HARD = [
    "0", "-0", "+0", "00012", "1.", ".5", "-.5e1", "1e0", "1E-0", "1e+005",
    "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995", "900719925474099267e-2",
    "9007199254740993.0000000000000000000000000000000000001",
    "1e22", "1e23", "9007199254740992e22", "9007199254740993e22", "123456789e-22", "123456789e-23", "8.41e21",
    "9999999999999999999", "18446744073709551615", "18446744073709551616", "99999999999999999999",
    "0.1", "0.2", "0.3", "1.1", "123.456", "2.675", "1.7976931348623157e100", "4.35", "0.000001",
    "5e-324", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-323",
    "2.2250738585072011e-308", "2.2250738585072012e-308", "2.2250738585072014e-308", "1e-400", "0e-400", "0e400",
    "1.00000000000000011102230246251565404236316680908203124",
    "1.00000000000000011102230246251565404236316680908203125",
    "1.00000000000000011102230246251565404236316680908203126",
    "6.0221407600000000000000000000000000001e23", "3.14159265358979323846264338327950288419716939937510",
    "1e150", "-1e150", "0.1e151", "1" + "0" * 150, "0" * 300 + "1", "0." + "0" * 300 + "1", "1" + "0" * 400 + "e-400",
    "7.2057594037927933e16", "8.5e-17", "1e-5", "1234567890123456789e-19", "12345678901234567890e-20",
]  # fmt: skip

# Python reads some of these, the wire does not: separators, blanks, hex, other digits.
NOT_NUMBERS = {
    "number": [
        *["", " ", " 1", "1 ", "1_000", "0x10", "0X1p3", "1e", "1e+", "e5", ".", "-", "+", "+-1", "1.2.3", "1..2"],
        *["1-", "١", "1f", "1d0", "true", "NA", "i", "n", "1,000", "½", "1e5.5", "0b1", "#1", "-x"],
    ],
    "nan": ["nan", "NaN", "-nan", "+NAN", "nan(1)", "nano"],
    "infinite": ["inf", "-Inf", "+INFINITY", "infra"],
    "magnitude": ["1e151", "-1.0000000000000002e150", "1e308", "1e309", "1e99999999999", "9" * 151],
}  # fmt: skip


@pytest.fixture(scope="module")
def store() -> Store:
    return make_store(100)


def parse(store: Store, text: str) -> float:
    """Through a StatsD counter (whose sign is no delta)."""
    assert store.ingest(f"x:{text}|c".encode()) == 1, text
    return value_of(store, "x")


def parse_json(store: Store, text: str) -> float:
    assert store.ingest(f'{{"metric":"y","kind":"counter","value":{text}}}'.encode()) == 1, text
    return value_of(store, "y")


def double(pattern: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", pattern))[0]
    return value


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[:30])
def test_hard_numbers_equal_pythons(store: Store, text: str) -> None:
    assert bits(parse(store, text)) == bits(float(text))
    if text[0] not in "+.0" and not text.startswith("-.") and not text.endswith("."):
        assert bits(parse_json(store, text)) == bits(float(text))


@pytest.mark.parametrize(
    ("reason", "text"), [(reason, text) for reason, texts in NOT_NUMBERS.items() for text in texts]
)
def test_what_is_no_number_is_refused_under_its_reason(reason: str, text: str) -> None:
    assert bad_of(f"x:{text}|c".encode()) == {reason: 1}


@settings(deadline=None, max_examples=500)
@given(st.floats(-1e150, 1e150))
def test_every_float_comes_back_from_its_shortest_spelling(store: Store, value: float) -> None:
    assert bits(parse(store, repr(value))) == bits(value)
    assert bits(parse_json(store, repr(value))) == bits(value)


@settings(deadline=None, max_examples=500)
@given(st.integers(0, 10**25), st.integers(-350, 130), st.sampled_from(["", "-", "+"]), st.integers(0, 26))
def test_digits_and_exponents_of_any_length_are_rounded_as_python_does(
    store: Store, mantissa: int, exponent: int, sign: str, point: int
) -> None:
    digits = str(mantissa)
    point = min(point, len(digits))
    text = f"{sign}{digits[:point]}.{digits[point:]}e{exponent - len(digits) + point}"
    if abs(float(text)) <= 1e150:
        assert bits(parse(store, text)) == bits(float(text))


def test_halfway_cases_round_to_even(store: Store) -> None:
    """The exact middle between two doubles, and a hair beside it, at random places."""
    source = random.Random(1)
    for _ in range(500):
        low = source.randrange(1, 0x5F00 << 48)
        with localcontext(prec=1200):
            middle = (Decimal(double(low)) + Decimal(double(low + 1))) / 2
        for text in (str(middle), f"{middle:f}", f"{middle:f}" + ("1" if "." in f"{middle:f}" else ".01")):
            assert bits(parse(store, text)) == bits(float(text)), text


def test_random_decimals_equal_pythons(store: Store) -> None:
    source = random.Random(2)
    texts = [f"{source.uniform(-1e6, 1e6):.{source.randrange(20)}f}" for _ in range(4000)]
    texts += [f"{source.randrange(10**19)}e{source.randrange(-40, 40)}" for _ in range(4000)]
    assert store.ingest(b"many:" + ":".join(texts[:60]).encode() + b"|c") == 60
    for text in texts:
        assert bits(parse(store, text)) == bits(float(text)), text

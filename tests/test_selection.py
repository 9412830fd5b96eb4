"""Selectors that stand alone: which series they choose, and what is none."""

import pytest

from hms_ops.alert.selection import EVERYTHING, parse_selection
from hms_ops.errors import ExpressionError
from hms_ops.series import SeriesInfo

SERIES = [
    SeriesInfo("finance.api_ms", {"agency": "irs", "code": "500"}),
    SeriesInfo("finance.api_ms", {"agency": "ssa", "code": "200"}),
    SeriesInfo("finance.api_ms", {}),
    SeriesInfo("finance-old", {"agency": "irs"}),
    SeriesInfo("rate", {"host": "db-1"}),
]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("finance.api_ms", [0, 1, 2]),
        ('finance.api_ms{agency="irs"}', [0]),
        ('finance.api_ms{agency=""}', [2]),
        ('finance.api_ms{agency!="irs", code=~"2.."}', [1]),
        ("finance.api_ms{}", [0, 1, 2]),
        ('"finance.api_ms" { code =~ "5.." }', [0]),
        ("finance-old", [3]),
        ("'finance-old'", [3]),
        ("rate", [4]),
        ('{agency="irs"}', [0, 3]),
        ('{__name__=~"finance.*"}', [0, 1, 2, 3]),
        ('{__name__!="rate", agency=""}', [2]),
        ("finance", []),
        ('finance.api_ms{__name__="rate"}', []),
    ],
)
def test_a_selector_chooses(text: str, chosen: list[int]) -> None:
    selection = parse_selection(text)
    assert [n for n, info in enumerate(SERIES) if selection.accepts(info)] == chosen
    names = selection.metrics(["finance-old", "finance.api_ms", "rate"])
    assert {SERIES[n].name for n in chosen} <= set(names)


def test_nothing_given_is_everything() -> None:
    assert all(map(EVERYTHING.accepts, SERIES))
    assert EVERYTHING.metrics(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a metric or `{` is missing"),
        ("{}", "no metric and no matcher"),
        ('x{agency="irs"', "is missing"),
        ('x{agency="irs"} WHERE y = 1', "stands where the end is expected"),
        ("x[5m]", "stands where the end is expected"),
        ("avg(x)", "stands where the end is expected"),
        ("x > 5", "stands where the end is expected"),
        ('x{agency=~"("}', "is no pattern"),
        ('x{agency~"irs"}', "one of"),
        ('{"irs"}', "after tag"),
        ("''", "a metric or `{`"),
        ("5", "a metric or `{`"),
        ("x y", "the end is expected"),
        ('x{a="b"}{c="d"}', "the end is expected"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ExpressionError, match="line 1, column") as caught:
        parse_selection(text)
    assert said in str(caught.value)

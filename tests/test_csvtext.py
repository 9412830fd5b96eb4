"""Answers as CSV: columns, nulls, quoting, numbers that come back as they were."""

import csv
import io
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.csvtext import csv_text, utc_text


def answer_of(*series: tuple[dict[str, str], list[list[float | None]]], metric: str = "x") -> dict[str, Any]:
    return {
        "expr": metric,
        "step": 60,
        "series": [{"metric": metric, "tags": tags, "points": points} for tags, points in series],
    }


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_row_is_a_point_and_a_null_is_an_empty_field() -> None:
    text = csv_text(answer_of(({"agency": "irs"}, [[1_700_000_040, 212.5], [1_700_000_100, None]])))
    assert text == ("time,metric,agency,value\n2023-11-14T22:14:00Z,x,irs,212.5\n2023-11-14T22:15:00Z,x,irs,\n")


def test_an_answer_without_series_is_a_header() -> None:
    assert csv_text(answer_of()) == "time,metric,value\n"


def test_the_tags_of_all_series_are_columns_and_one_that_is_missing_is_empty() -> None:
    rows = rows_of(csv_text(answer_of(({"zone": "b"}, [[0, 1]]), ({"agency": "irs"}, [[0, 2]]), ({}, [[0, 3]]))))
    assert rows[0] == ["time", "metric", "agency", "zone", "value"]
    assert [row[2:] for row in rows[1:]] == [["", "b", "1"], ["irs", "", "2"], ["", "", "3"]]


def test_a_tag_that_is_called_as_a_column_is_told_apart() -> None:
    rows = rows_of(csv_text(answer_of(({"time": "noon", "value": "high"}, [[0, 1]]))))
    assert rows == [["time", "metric", "tag:time", "tag:value", "value"], [utc_text(0), "x", "noon", "high", "1"]]


@pytest.mark.parametrize("text", ["a,b", 'say "no"', "a\nb", "a\r\nb", "=1+1", " ", "ü", "\u202e", "'", '"', '""', ","])
def test_texts_come_back_as_they_were(text: str) -> None:
    rows = rows_of(csv_text(answer_of(({text: text}, [[0, 1]]), metric=text)))
    assert rows[0][2] == text
    assert rows[1][1:3] == [text, text]


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_back_bit_for_bit(values: list[float | None]) -> None:
    points = [[60 * n, value] for n, value in enumerate(values)]
    read = [float(row[-1]) if row[-1] else None for row in rows_of(csv_text(answer_of(({}, points))))[1:]]
    assert read == values
    assert [math.copysign(1, v) for v in read if v is not None] == [
        math.copysign(1, v) for v in values if v is not None
    ]

"""Rows as text: what is written reads back to the bit, what is wrong is refused by its line and costs nothing else."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage import csvrows, openmetrics
from hms_ops.storage.exchange import LINE_BYTES_MAX, RowsReader
from hms_ops.storage.intake import ERRORS_KEPT, FIELDS, Batch, RowRefused, Tally
from hms_ops.storage.tier import TIERS

NOW = 1_700_000_000
GOOD = f"api_ms,agency=irs,timer,10s,{NOW},3,725.5,12.25,120,480.5,125"
Row = tuple[str, tuple[tuple[str, str], ...], int, int, int, tuple[float, ...]]

# Names and tags as the decoders let them in.
PRINTED = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
NAME = st.text(PRINTED, min_size=1, max_size=20)
KEY = NAME.filter(lambda key: not key.startswith("__"))
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@st.composite
def rows(draw: st.DrawFn, tier: int) -> Row:
    low, last, high = sorted(draw(st.tuples(FINITE, FINITE, FINITE)))
    count = draw(st.floats(1e-9, 1e15))
    m2 = draw(st.floats(0, 1e300))
    step = draw(st.integers(0, NOW // 3600)) * 3600
    tags = tuple(sorted(draw(st.dictionaries(KEY, st.text(PRINTED, max_size=20), max_size=4)).items()))
    return draw(NAME), tags, draw(st.sampled_from(range(6))), tier, step, (count, draw(FINITE), m2, low, high, last)


def read(text: str | bytes, settled_end: int = NOW + 86_400, pieces: int = 1) -> tuple[Tally, list[Batch], RowsReader]:
    data = text.encode() if isinstance(text, str) else text
    tally = Tally()
    reader = RowsReader(tally, [settled_end] * 3)
    size = max(1, -(-len(data) // pieces))
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    reader.finish()
    return tally, reader.take(), reader


def rows_in(batches: Iterable[Batch]) -> set[Row]:
    """The rows with their numbers as bits, so that -0.0 is not 0.0."""
    found = set()
    for batch in batches:
        for place, step, values in zip(batch.places.tolist(), batch.steps.tolist(), batch.columns.T, strict=True):
            info = batch.series[place]
            bits = tuple(value.hex() for value in values.tolist())
            found.add((info.name, tuple(sorted(info.tags.items())), info.kind, batch.tier, step, bits))
    return found


def expected(given_rows: Iterable[Row]) -> set[Any]:
    return {(*row[:5], tuple(float(value).hex() for value in row[5])) for row in given_rows}


def csv_of(given_rows: Iterable[Row]) -> str:
    text = csvrows.HEADER + "\n"
    for name, tags, kind, tier, step, values in given_rows:
        info = SeriesInfo(name, dict(tags), kind)
        text += "".join(csvrows.lines(info, tier, np.array([step]), np.array(values)[:, None]))
    return text


def openmetrics_of(given_rows: Iterable[Row], tier: int = 0, **about: str) -> str:
    """As an export writes it: metric by metric, and series by series in each family."""
    metrics: dict[str, list[Row]] = {}
    for row in given_rows:
        metrics.setdefault(row[0], []).append(row)
    text, prefixes = "", set()
    for name, of_metric in metrics.items():
        prefix = openmetrics.spelled(name)
        prefix = openmetrics.exactly(name) if prefix in prefixes else prefix
        prefixes.add(prefix)

        def series(of_metric: list[Row] = of_metric) -> Iterator[openmetrics.SeriesRows]:
            for one, tags, kind, _, step, values in of_metric:
                yield SeriesInfo(one, dict(tags), kind), np.array([step]), np.array(values)[:, None]

        described = {"kind": of_metric[0][2], "unit": "", "help": "", **about}
        text += "".join(openmetrics.families(name, tier, described, prefix, series))
    return text + openmetrics.END + "\n"


def distinct(given_rows: Iterable[Row], one_kind: bool = False) -> list[Row]:
    """One row for each series and step; one kind for each metric."""
    kind: dict[str, int] = {}
    found = {}
    for row in given_rows:
        used = kind.setdefault(row[0], row[2]) if one_kind else row[2]
        found[(row[0], row[1], used, row[4])] = (*row[:2], used, *row[3:])
    return list(found.values())


# ---- what is written reads back


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 7))
def test_csv_reads_back_to_the_bit_whatever_the_names_and_however_it_is_cut(data: st.DataObject, pieces: int) -> None:
    tier = data.draw(st.sampled_from(range(3)))
    written = distinct(data.draw(st.lists(rows(tier), max_size=8)))
    tally, batches, _ = read(csv_of(written), pieces=pieces)
    assert (tally.errors, tally.rows) == ([], len(written))
    assert rows_in(batches) == expected(written)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 7))
def test_openmetrics_reads_back_to_the_bit_whatever_the_names(data: st.DataObject, pieces: int) -> None:
    tier = data.draw(st.sampled_from(range(3)))
    written = distinct(data.draw(st.lists(rows(tier), max_size=8)), one_kind=True)
    tally, batches, _ = read(openmetrics_of(written, tier), pieces=pieces)
    assert (tally.errors, tally.rows) == ([], len(written))
    assert rows_in(batches) == expected(written)


@settings(deadline=None, max_examples=40)
@given(st.lists(rows(1), min_size=1, max_size=6))
def test_a_strangers_parser_reads_the_same_openmetrics(written: list[Row]) -> None:
    written = sorted(distinct(written, one_kind=True))
    samples = [
        sample for family in text_string_to_metric_families(openmetrics_of(written, 1)) for sample in family.samples
    ]
    assert len(samples) == len(FIELDS) * len(written)
    sums = {float(sample.value) for sample in samples if sample.name.endswith("_sum")}
    assert sums == {float(row[5][1]) for row in written}


def test_openmetrics_looks_like_what_remote_write_sends() -> None:
    row: Row = (
        "finance.api_ms",
        (("agency", 'i"r\\s'), ("http.code", "500")),
        kinds.TIMER,
        0,
        NOW,
        (3, 6, 2, 1, 3, 2.5),
    )
    text = openmetrics_of([row], unit="ms", help='API "latency"')
    assert text.splitlines()[:3] == [
        "# TYPE finance_api_ms_count gauge",
        r"# HELP finance_api_ms_count count of each 10s, timer \"finance.api_ms\", unit \"ms\", "
        r"help \"API \\\"latency\\\"\"",
        rf'finance_api_ms_count{{agency="i\"r\\s",U__http_2e_code="500"}} 3 {NOW}',
    ]
    _, batches, reader = read(text)
    assert rows_in(batches) == expected([row])
    assert reader.described == [("finance.api_ms", "ms", 'API "latency"')]


def test_metrics_of_one_spelling_are_told_apart() -> None:
    written: list[Row] = [(name, (), kinds.GAUGE, 0, NOW, (1, 2, 0, 2, 2, 2)) for name in ("a.b", "a_b", "a-b")]
    text = openmetrics_of(written)
    assert "\na_b_sum 2" in text
    assert "\nU__a__b_sum 2" in text
    assert "\nU__a_2d_b_sum 2" in text
    assert rows_in(read(text)[1]) == expected(written)


# ---- what is wrong


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ("", "fields", "1 fields, 11 are wanted"),
        (GOOD + ",1", "fields", "12 fields"),
        (GOOD.removesuffix(",125"), "fields", "10 fields"),
        (f'"api_ms,agency=irs,timer,10s,{NOW},1,1,0,1,1,1', "quote", "quotes do not match"),
        (f'"a"b,,gauge,10s,{NOW},1,1,0,1,1,1', "quote", "quotes do not match"),
        (GOOD.replace("api_ms", ""), "name_empty", "no name"),
        (GOOD.replace("api_ms", "x" * 201), "name_too_long", "201 bytes, 200 are allowed"),
        (GOOD.replace("api_ms", "é" * 101), "name_too_long", "202 bytes"),
        (GOOD.replace("api_ms", "a\tb"), "control_byte", "control character"),
        (GOOD.replace("irs", "i\x00s"), "control_byte", "control character"),
        (GOOD.replace("agency=irs", "agency"), "tag", "no list of key=value"),
        (GOOD.replace("agency=irs", "agency=irs;"), "tag", "no list of key=value"),
        (GOOD.replace("agency=irs", "agency=irs;;zone=a"), "tag", "no list of key=value"),
        (GOOD.replace("agency=irs", "a=b=c"), "tag", "no list of key=value"),
        (GOOD.replace("agency=irs", "a=\\"), "tag", "no list of key=value"),
        (GOOD.replace("agency=irs", "=irs"), "tag", "no key"),
        (GOOD.replace("agency=irs", "a=1;a=2"), "tag", "'a' stands there twice"),
        (GOOD.replace("agency", "__name__"), "tag_reserved", "begins with __"),
        (GOOD.replace("agency=irs", "__overflow__=false"), "tag_reserved", "begins with __"),
        (GOOD.replace("agency=irs", ";".join(f"k{n}=" for n in range(33))), "too_many_tags", "33 tags"),
        (GOOD.replace("irs", "x" * 4096), "tags_too_long", "more than 4096 bytes"),
        (GOOD.replace("timer", "timr"), "kind", "'timr' is no kind"),
        (GOOD.replace("timer", "set"), "kind", "'set' is no kind that has rows"),
        (GOOD.replace("10s", "20s"), "step", "'20s' is no step; there are 10s, 1m, 1h"),
        (GOOD.replace(str(NOW), f"{NOW}.5"), "time", "no time in whole Unix seconds"),
        (GOOD.replace(str(NOW), f"-{NOW}"), "time", "no time in whole"),
        (GOOD.replace(str(NOW), f"{NOW}000"), "time", "no time in whole"),
        (GOOD.replace(str(NOW), "١٧"), "time", "no time in whole"),
        (GOOD.replace(str(NOW), f"{NOW + 1}"), "time", "does not begin a step"),
        (GOOD.replace("10s", "1m"), "time", "does not begin a step"),
        (GOOD.replace(str(NOW), f"{NOW + 86_400}"), "too_new", "has not ended"),
        (GOOD.replace(",3,", ",0,"), "empty", "not above 0"),
        (GOOD.replace(",3,", ",-1,"), "empty", "not above 0"),
        (GOOD.replace("725.5", "nan"), "number", "'nan' is no number"),
        (GOOD.replace("725.5", "inf"), "number", "'inf' is no number"),
        (GOOD.replace("725.5", "1e999"), "number", "not finite"),
        (GOOD.replace("725.5", "0x10"), "number", "'0x10' is no number"),
        (GOOD.replace("725.5", "1_000"), "number", "'1_000' is no number"),
        (GOOD.replace("725.5", " 1"), "number", "' 1' is no number"),
        (GOOD.replace("725.5", ""), "number", "'' is no number"),
        (GOOD.replace("725.5", "1-2"), "number", "'1-2' is no number"),
        (GOOD.replace(",120,", ",126,"), "order", "min ≤ last ≤ max"),
        (GOOD.replace("480.5", "1"), "order", "min ≤ last ≤ max"),
        (GOOD.replace("12.25", "-1"), "order", "m2 is negative"),
    ],
)  # fmt: skip
def test_a_bad_line_of_csv_is_counted_by_its_reason_and_costs_itself_alone(line: str, reason: str, said: str) -> None:
    after = GOOD.replace(str(NOW), str(NOW + 10))
    tally, batches, _ = read("\n".join([csvrows.HEADER, GOOD, line, after, ""]))
    assert (tally.rows, dict(tally.bad)) == (3, {reason: 1})
    assert tally.errors[0].startswith("line 3: ")
    assert said in tally.errors[0]
    assert sorted(batches[0].steps.tolist()) == [NOW, NOW + 10]


def test_bytes_that_are_no_text_cost_their_line() -> None:
    tally, batches, _ = read(f"{csvrows.HEADER}\n{GOOD}\n".encode() + b"\xff\xfe,\n")
    assert dict(tally.bad) == {"utf8": 1}
    assert len(batches[0].steps) == 1


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    reader = RowsReader(Tally(), [NOW] * 3)
    reader.feed(f"{csvrows.HEADER}\n".encode())
    for _ in range(100):
        reader.feed(b"x" * LINE_BYTES_MAX)
        assert len(reader._rest) <= LINE_BYTES_MAX
    reader.finish()
    assert set(reader.tally.bad) == {"fields"}


def test_a_row_that_stands_there_twice_counts_once_and_carriage_returns_are_read() -> None:
    tally, batches, _ = read("\r\n".join([csvrows.HEADER, GOOD, GOOD.replace("725.5", "700"), ""]))
    assert (dict(tally.bad), len(batches[0].steps)) == ({"duplicate": 1}, 1)
    assert batches[0].columns[1, 0] == 725.5
    assert tally.errors == ["line 3: the same series and step stand in an earlier line"]


def test_only_the_first_errors_are_told_and_all_are_counted() -> None:
    tally, _, _ = read("\n".join([csvrows.HEADER, *["bad"] * 1000]))
    assert (tally.bad["fields"], len(tally.errors)) == (1000, ERRORS_KEPT)


@pytest.mark.parametrize(
    "text", ["metric,value\nx,1\n", "\n", "x:1|c\n", '{"a":1}\n', "\ufeff" + csvrows.HEADER, "# HELP x y\n"]
)
def test_a_file_of_another_sort_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(ValueError, match="this is no export"):
        read(text)


SAMPLES = openmetrics_of(
    [("a", (), kinds.GAUGE, 0, NOW, (1, 2, 0, 2, 2, 2)), ("b", (), kinds.GAUGE, 0, NOW, (1, 3, 0, 3, 3, 3))]
)


@pytest.mark.parametrize(
    ("before", "after", "bad"),
    [
        (f"a_sum 2 {NOW}", f"a_sum 2 {NOW}.5", {"time": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", f"a_sum NaN {NOW}", {"number": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", "a_sum 2", {"syntax": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", f"a_sum{{x=1}} 2 {NOW}", {"syntax": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", f'a_sum{{x="1",}} 2 {NOW}', {"syntax": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", f'a_sum{{x="1",x="2"}} 2 {NOW}', {"tag": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}", f"c_sum 2 {NOW}", {"family": 1, "incomplete": 1}),
        (f"a_sum 2 {NOW}\n", "", {"incomplete": 1}),
        (f"a_sum 2 {NOW}\n", f"\na_sum 2 {NOW}\n", {"syntax": 1}),
        ("# TYPE a_sum gauge", "# TYPE a_sum counter", {"syntax": 1, "family": 1, "incomplete": 1}),
        ("# HELP a_sum sum of each 10s", "# HELP a_sum sum of some 10s", {"family": 2, "incomplete": 1}),
        ("# TYPE a_sum gauge", "#TYPE a_sum gauge", {"syntax": 2, "family": 1, "incomplete": 1}),
        ("# EOF", f"a_sum 2 {NOW}", {"family": 1}),
        ("# EOF", f"# EOF\na_sum 2 {NOW}", {"syntax": 1}),
    ],
)  # fmt: skip
def test_a_bad_line_of_openmetrics_costs_its_own_row(before: str, after: str, bad: dict[str, int]) -> None:
    assert before in SAMPLES
    tally, batches, _ = read(SAMPLES.replace(before, after, 1))
    assert dict(tally.bad) == bad
    found = {info.name for batch in batches for info in (batch.series[p] for p in batch.places.tolist())}
    assert "b" in found
    assert ("a" in found) == ("incomplete" not in bad)


def test_openmetrics_of_others_is_no_export_of_ours() -> None:
    tally, batches, _ = read("# TYPE up gauge\n# HELP up Whether it is up.\nup 1 1700000000\n# EOF\n")
    assert (dict(tally.bad), batches) == ({"family": 2}, [])


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_but_that_they_are_no_export(data: bytes) -> None:
    for head in (csvrows.HEADER.encode() + b"\n", SAMPLES.encode().removesuffix(b"# EOF\n")):
        tally, batches, _ = read(head + data)
        assert tally.rows == sum(len(batch.steps) for batch in batches) + tally.bad.total()


@given(st.text(PRINTED, min_size=1, max_size=30))
def test_every_name_has_a_legal_spelling_that_reads_back(name: str) -> None:
    assert openmetrics.unspelled(openmetrics.exactly(name)) == name
    assert all(c.isascii() and (c.isalnum() or c == "_") for c in openmetrics.spelled(name))


def test_numbers_keep_every_bit() -> None:
    for value in (0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 123456789012345680.0, math.pi):
        text = csvrows.number_text(value)
        assert csvrows.read_number(text).hex() == value.hex()


def test_each_tier_has_its_name_in_the_file() -> None:
    written: list[Row] = [("a", (), 2, tier, 3600 * 400_000, (1, 2, 0, 2, 2, 2)) for tier in range(len(TIERS))]
    batches = read(csv_of(written))[1]
    assert [batch.tier for batch in batches] == [2, 1, 0], "the coarsest first"
    assert rows_in(batches) == expected(written)


def test_a_refusal_has_its_reason() -> None:
    with pytest.raises(RowRefused) as caught:
        csvrows.read_tags("a")
    assert caught.value.reason == "tag"

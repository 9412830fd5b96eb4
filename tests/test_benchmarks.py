"""The harness of the figures: what counts as met, how the table is written, that it sees a fault. It times nothing."""

from pathlib import Path

import pytest
from benchmarks.figure import Figure
from benchmarks.ledger import difference
from benchmarks.report import merged, number_text, read_results, write_readme, write_results
from benchmarks.sizing import STORAGE, bytes_of_series, size_text, write_storage
from benchmarks.tick import quantile_ms

MACHINE: dict[str, str | int] = {"cpu": "c", "cores": 2, "kernel": "6", "python": "3.11", "date": "2026-01-01"}
ROW = {
    "arrived": 10,
    "received": 8,
    "kernel_drops": 2,
    "accepted": 7,
    "rejected": {"empty": 1},
    "values": 9,
    "samples": 6,
    "bad": {"number": 3},
}


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        (Figure("a", "a", "ns", [1, 2, 90], at_most=2), True),
        (Figure("a", "a", "ns", [1, 3, 90], at_most=2), False),
        (Figure("a", "a", "ns", [2], beside="b", beside_rounds=[1], ratio_at_most=2), True),
        (Figure("a", "a", "ns", [2.1], at_most=3, beside="b", beside_rounds=[1], ratio_at_most=2), False),
        (Figure("a", "a", "ns", [2]), None),
    ],
)
def test_a_figure_is_met_when_its_median_reaches_every_target(figure: Figure, is_met: bool | None) -> None:
    assert figure.is_met is is_met


def test_the_table_is_written_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- figures:begin -->\nold\n<!-- figures:end -->\nafter\n")
    for _ in range(2):  # written over itself it is the same
        write_readme(MACHINE, [Figure("a", "a | b", "ns", [1234.5], at_most=2_000)], readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- figures:begin -->\n")
    assert text.endswith("\n<!-- figures:end -->\nafter\n")
    assert r"| a \| b | ≤ 2,000 | 1,234 ns |" in text
    assert "old" not in text


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing\n")
    with pytest.raises(ValueError, match="figures:begin"):
        write_readme(MACHINE, [], readme)
    assert readme.read_text() == "nothing\n"


def test_figures_measured_again_replace_their_rows_and_leave_the_others(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    old = [Figure("tick.1", "t", "ms", [1.0]), Figure("decode.1", "d", "ns", [1.0])]
    write_results(MACHINE, old, results)
    found = merged(read_results(results), [Figure("tick.1", "t", "ms", [2.0])], ["decode", "tick"])
    assert [(figure.name, figure.measured) for figure in found] == [("decode.1", 1.0), ("tick.1", 2.0)]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.4213, "0.421"), (49.12, "49.1"), (1180.4, "1,180"), (float("nan"), "")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number_text(value) == text


def test_books_that_close_differ_by_nothing() -> None:
    assert difference(ROW, 10) == 0


@pytest.mark.parametrize("key", ["received", "kernel_drops", "accepted", "values", "samples"])
def test_one_that_is_missing_anywhere_is_seen(key: str) -> None:
    assert difference({**ROW, key: ROW[key] - 1}, 10) > 0  # type: ignore[operator]


def test_a_datagram_that_never_arrived_is_seen() -> None:
    assert difference(ROW, 11) == 1


def test_a_quantile_lies_in_its_bin() -> None:
    import numpy as np

    bins = np.zeros(40, np.uint64)
    bins[10], bins[20] = 999, 1
    assert 2**10 < quantile_ms(bins, 0.5) * 1e6 < 2**11
    assert quantile_ms(bins, 0.999) * 1e6 <= 2**11
    assert 2**20 < quantile_ms(bins, 1.0) * 1e6 <= 2**21


def bytes_figures() -> list[Figure]:
    sizes = {"10s": 2.0, "1m": 3.0, "1h": 5.0, "sketch.1m": 50.0, "sketch.1h": 150.0}
    return [Figure(f"history-bytes.{name}", name, "bytes", [size]) for name, size in sizes.items()]


def test_the_sizes_of_a_series_are_those_of_all_its_steps() -> None:
    rows, sketches = bytes_of_series(bytes_figures())
    assert rows == [17_280 * 2.0, 43_200 * 3.0, 9_600 * 5.0]
    assert sketches == 43_200 * 50.0 + 9_600 * 150.0


def test_sizes_and_figures_of_history_are_written_into_its_page(tmp_path: Path) -> None:
    page = tmp_path / "storage.md"
    page.write_text(STORAGE.read_text())
    for _ in range(2):
        write_storage(MACHINE, [Figure("tick.1", "a tick", "ms", [1.0]), *bytes_figures()], page)
    text = page.read_text()
    assert "| 1,000 | 35 MB | 130 MB | 48 MB | 180 MB | 392 MB |" in text
    assert "| 10s |" in text
    assert "a tick" not in text
    assert text.startswith("# What is stored")
    assert text.rstrip().endswith("<!-- figures:end -->")


def test_sizes_wait_until_their_bytes_were_measured(tmp_path: Path) -> None:
    page = tmp_path / "storage.md"
    page.write_text(STORAGE.read_text())
    write_storage(MACHINE, [Figure("history-read.one", "a read", "ms", [1.0])], page)
    assert "a read" in page.read_text()
    sizes = [
        text.partition("sizing:begin")[2].partition("sizing:end")[0] for text in map(Path.read_text, (page, STORAGE))
    ]
    assert sizes[0] == sizes[1]


def test_a_page_without_markers_or_figures_that_are_not_there_are_errors(tmp_path: Path) -> None:
    page = tmp_path / "storage.md"
    page.write_text("<!-- figures:begin -->\n<!-- figures:end -->\n")
    with pytest.raises(ValueError, match="sizing:begin"):
        write_storage(MACHINE, bytes_figures(), page)
    with pytest.raises(KeyError):
        bytes_of_series(bytes_figures()[:2])


@pytest.mark.parametrize(("size", "text"), [(0, "0 MB"), (3.4e6, "3.4 MB"), (9.9e10, "99 GB"), (2.5e11, "250 GB")])
def test_a_size_is_told_in_two_digits(size: float, text: str) -> None:
    assert size_text(size) == text

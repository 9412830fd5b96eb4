"""What is written into docs/storage.md: history's figures, and how much disk it takes, from the bytes of a row and of a
sketch as measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.figure import Figure
from benchmarks.report import ROOT, write_readme
from hms_ops.storage.history import HistoryConfig
from hms_ops.storage.tier import MINUTE, TIERS

STORAGE: Final = ROOT / "docs" / "storage.md"
BEGIN, END = "<!-- sizing:begin -->", "<!-- sizing:end -->"
SERIES: Final = (1_000, 10_000, 100_000, 1_000_000)
LATENCIES: Final = 0.05
"""Of the series have percentiles."""


def bytes_of_series(figures: Sequence[Figure]) -> tuple[list[float], float]:
    """(of a series' rows in each tier at its default retention, of the sketches of one with percentiles).

    KeyError when a figure of `history-bytes` is not there.
    """
    measured = {figure.name: figure.measured for figure in figures}
    rows, sketches = [], 0.0
    for number, (tier, seconds) in enumerate(zip(TIERS, HistoryConfig().keep_seconds, strict=True)):
        steps = seconds // tier.step_seconds
        rows.append(steps * measured[f"history-bytes.{tier.name}"])
        if number >= MINUTE:
            sketches += steps * measured[f"history-bytes.sketch.{tier.name}"]
    return rows, sketches


def table(figures: Sequence[Figure]) -> str:
    """Markdown."""
    rows, sketches = bytes_of_series(figures)
    lines = [
        "| series | 48 h of 10 s | 30 d of minutes | 400 d of hours | percentiles of 5 % of them | together |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for series in SERIES:
        parts = [*(series * one for one in rows), series * LATENCIES * sketches]
        lines.append("| " + " | ".join([f"{series:,}", *map(size_text, [*parts, sum(parts)])]) + " |")
    fitting = HistoryConfig().bytes_max / (sum(rows) + LATENCIES * sketches)
    lines += [
        "",
        f"`history.bytes` of {HistoryConfig().bytes_max >> 30} GiB, the default, holds {fitting:,.0f} such series.",
    ]
    return "\n".join(lines)


def size_text(size: float) -> str:
    """12 MB, 3.4 GB."""
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB")
    return f"{size / unit:.2g} {name}" if size < 100 * unit else f"{size / unit:,.0f} {name}"


def write_storage(about: Mapping[str, Any], figures: Sequence[Figure], path: Path = STORAGE) -> None:
    """Put history's figures, and the sizes once their bytes are measured, between the markers; ValueError without."""
    found = [figure for figure in figures if figure.name.startswith("history-")]
    if not found:
        return
    write_readme(about, found, path)
    if not {f"history-bytes.{tier.name}" for tier in TIERS} <= {figure.name for figure in found}:
        return  # only others were measured so far
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} … {END} to write the sizes between")
    path.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")

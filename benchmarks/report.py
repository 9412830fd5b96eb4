"""Figures as a table: on the terminal, in README.md between its markers, and raw in results.json."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.machine import text_of

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results.json"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
HEADINGS = ("what", "target", "measured", "limit or contender, same run", "ratio", "met")
MET = {True: "yes", False: "**no**", None: ""}


def number_text(value: float) -> str:
    """Three digits that count: 0, 0.42, 5.3, 49.1, 1,180."""
    if value == 0 or math.isnan(value):
        return "0" if value == 0 else ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def target_text(figure: Figure) -> str:
    parts = [f"≤ {number_text(figure.at_most)}"] if figure.at_most is not None else []
    if figure.ratio_at_most is not None:
        parts.append(f"≤ {figure.ratio_at_most:g} ×")
    return ", ".join(parts)


def row_of(figure: Figure) -> tuple[str, ...]:
    """The cells of one row, in the order of HEADINGS."""
    beside = f"{figure.beside}: {number_text(figure.limit)}" if figure.beside else ""
    measured = f"{number_text(figure.measured)} {figure.unit}".strip()
    note = f"; {figure.note}" if figure.note else ""
    return figure.what + note, target_text(figure), measured, beside, number_text(figure.ratio), MET[figure.is_met]


def table(figures: Sequence[Figure]) -> str:
    """Markdown."""
    rows = [HEADINGS, ("---", "---:", "---:", "---", "---:", "---"), *map(row_of, figures)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def line_of(figure: Figure) -> str:
    """One line for a terminal, as soon as it is measured."""
    what, target, measured, beside, ratio, _ = row_of(figure)
    verdict = {True: "met", False: "NOT MET", None: ""}[figure.is_met]
    compared = f" | {beside}, ratio {ratio}" if beside and ratio else f" | {beside}" if beside else ""
    return f"{measured:>26}  {target:<14} {verdict:<8} {what}{compared}"


def section(about: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """What stands between the markers."""
    return f"{BEGIN}\nMedians, on {text_of(dict(about))}.\n\n{table(figures)}\n{END}"


def write_readme(about: Mapping[str, Any], figures: Sequence[Figure], readme: Path = README) -> None:
    """Put the table between the markers. ValueError when they are not there."""
    text = readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} has no {BEGIN} … {END} to write the figures between")
    readme.write_text(before + section(about, figures) + after)


def write_results(about: Mapping[str, Any], figures: Sequence[Figure], path: Path = RESULTS) -> None:
    """Raw: every round of every figure."""
    found = {"machine": dict(about), "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(found, indent=1, default=float) + "\n")


def read_results(path: Path = RESULTS) -> list[Figure]:
    """The figures of the last run, [] without one."""
    return [Figure(**figure) for figure in json.loads(path.read_text())["figures"]] if path.exists() else []


def merged(old: Sequence[Figure], new: Sequence[Figure], order: Sequence[str]) -> list[Figure]:
    """The new figures, and the old ones that were not measured again; `order` are the names' beginnings, in order."""
    found = {figure.name: figure for figure in (*old, *new)}
    return sorted(found.values(), key=lambda figure: order.index(figure.name.split(".")[0]))

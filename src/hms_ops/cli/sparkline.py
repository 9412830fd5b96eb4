"""A series as one line of blocks, `▁▂▃▅▇█  ▂▁`: each column as high as its mean stands between the least and the most.

Columns stand for equal spans of the whole range that was asked for, so the lines of several series are aligned in time;
a blank is a span without a value. On a terminal that has no blocks, ASCII characters of about that height.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hms_ops.cli.options import series_text

BLOCKS: Final = "▁▂▃▄▅▆▇█"
PLAIN: Final = "_.,-=+*#"
WIDTH_MIN: Final = 10


def sparklines(
    answer: Mapping[str, Any], start: float, end: float, width: int, ramp: str = BLOCKS
) -> list[tuple[str, ...]]:
    """(name, line, "least to most") of each series over [start, end); lines are at most `width` wide altogether."""
    names = [series_text(str(series["metric"] or answer["expr"]), series["tags"]) for series in answer["series"]]
    points = [[(t, v) for t, v in series["points"] if v is not None] for series in answer["series"]]
    ranges = [_range_text([value for _, value in some]) for some in points]
    room = width - max(map(len, names), default=0) - max(map(len, ranges), default=0) - 4
    step = answer["step"]
    first = start - start % step
    cells = max(1, math.ceil((end - first) / step))
    columns = min(cells, max(WIDTH_MIN, room))
    lines = [line_of(some, first, step * cells / columns, columns, ramp) for some in points]
    return list(zip(names, lines, ranges, strict=True))


def ramp_of(encoding: str | None) -> str:
    """The characters that an output of this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def line_of(points: Sequence[tuple[float, float]], first: float, span: float, columns: int, ramp: str) -> str:
    found: list[list[float]] = [[] for _ in range(columns)]
    for t, value in points:
        found[min(columns - 1, max(0, int((t - first) / span)))].append(value)
    means = [math.fsum(value / len(some) for value in some) if some else math.nan for some in found]
    seen = [mean for mean in means if not math.isnan(mean)]
    low, high = min(seen, default=0.0), max(seen, default=0.0)
    return "".join(" " if math.isnan(mean) else ramp[_height(mean, low, high, len(ramp))] for mean in means)


def _height(value: float, low: float, high: float, levels: int) -> int:
    """0 to levels - 1; a line that never changes stands in the lower half."""
    span = high / 2 - low / 2  # halves, for the whole may be more than a float holds
    if span <= 0:
        return levels // 2 - 1
    return min(levels - 1, int((value / 2 - low / 2) / span * levels))


def _range_text(values: Sequence[float]) -> str:
    return f"{min(values):.6g} to {max(values):.6g}" if values else ""

"""The columns of the live view's tables, and what stands in their cells, fitted into a screen's width.

What a name leaves of the width is the last minute's, in up to 60 blocks of equal spans; a name that leaves less than
MINUTE_MIN is cut in its middle. Below NARROW columns the kind is left out: an ssh session has 80.
Everything from outside is shown escaped and never as markup.
"""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from hms_ops.cli.board import SECONDS_KEPT, Board, Row, figure, spark
from hms_ops.cli.sparkline import BLOCKS
from hms_ops.escape import printable

NARROW: Final = 100
NAME_MIN: Final = 16
MINUTE_MIN: Final = 11  # its title
PADDING: Final = 2  # of each cell, as DataTable has it
SCROLLBAR: Final = 2
LIGHT_SHOWN: Final = {
    "firing": ("◆ firing", "bold white on red"),
    "pending": ("▲ pending", "yellow"),
    "fine": ("● fine", "green"),
    "": ("", ""),
}
METRIC_TITLES: Final = ("Light", "Metric", "Kind", "Rate/s", "Last", "p95", "Last minute")
SERIES_TITLES: Final = ("Series", "Rate/s", "Last", "Last minute")

Cells = list[Text]


def titles(is_narrow: bool) -> tuple[str, ...]:
    return tuple(title for title in METRIC_TITLES if not (is_narrow and title == "Kind"))


def metric_rows(rows: Sequence[Row], board: Board, width: int) -> list[tuple[str, Cells]]:
    """(metric, its cells) in the columns of `titles`, as wide as the screen where that is wide enough."""
    is_narrow = width < NARROW
    return fitted(rows, [metric_cells(row, is_narrow) for row in rows], titles(is_narrow), board, width)


def metric_cells(row: Row, is_narrow: bool) -> Cells:
    kind = [] if is_narrow else [Text(row.kind)]
    return [
        Text(*LIGHT_SHOWN.get(row.light, ("", ""))),
        plain(row.metric),
        *kind,
        *figures(row),
        right(row.p95, row.unit),
    ]


def series_rows(rows: Sequence[Row], board: Board, width: int) -> list[tuple[str, Cells]]:
    """(series, its cells) in SERIES_TITLES."""
    return fitted(rows, [[plain(row.metric), *figures(row)] for row in rows], SERIES_TITLES, board, width)


def fitted(
    rows: Sequence[Row], cells: list[Cells], shown: Sequence[str], board: Board, width: int
) -> list[tuple[str, Cells]]:
    """Each row's cells with its minute behind them, and its name cut where it must be."""
    widths = [max(len(title), *(some[at].cell_len for some in cells), 0) for at, title in enumerate(shown[:-1])]
    name = next(at for at, title in enumerate(shown) if title in ("Metric", "Series"))
    room = width - SCROLLBAR - PADDING * len(shown) - sum(widths) + widths[name]  # the name's and the minute's
    widest = max(NAME_MIN, min(widths[name], room - MINUTE_MIN))
    columns = max(MINUTE_MIN, min(SECONDS_KEPT, room - widest))
    for some in cells:
        some[name] = cut(some[name], widest)
    lines = [Text(spark(row.points, board.second, BLOCKS, columns)) for row in rows]
    return [(row.metric, [*some, line]) for row, some, line in zip(rows, cells, lines, strict=True)]


def cut(text: Text, width: int) -> Text:
    """The text without its middle where it is wider: both ends of a name tell."""
    if text.cell_len <= width:
        return text
    left, right = text.copy(), text.copy()
    left.truncate((width - 1) // 2)
    while right.cell_len > width - 1 - left.cell_len:
        right = right[1:]
    return Text.assemble(left, "…", right)


def figures(row: Row) -> Cells:
    return [right(row.rate), right(row.value, row.unit)]


def right(value: float | None, unit: str = "") -> Text:
    return Text(figure(value, unit), justify="right")


def plain(text: str) -> Text:
    return Text(printable(text))

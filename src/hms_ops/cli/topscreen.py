"""The live view of `top`: a table of all metrics, brought up to date each second; Enter shows one metric's series.

Threads: one follows the stream and feeds the board, one asks for percentiles, units and lights every few seconds; the
screen is textual's own. Everything from outside is shown escaped and never as markup.
"""

import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from hms_ops.cli.board import SORTS, Board
from hms_ops.cli.columns import NARROW, SERIES_TITLES, Cells, metric_rows, series_rows, titles
from hms_ops.cli.following import Event, follow
from hms_ops.cli.options import series_text
from hms_ops.cli.reach import RequestRefused
from hms_ops.cli.top import ALL_KEPT, P95_MAX, learn, percentiles
from hms_ops.errors import HmsOpsError
from hms_ops.escape import printable

ROWS_MAX: Final = 500
LEARN_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.2  # the screen looks for news; the threads never touch it
RETRY_SECONDS: Final = 2.0
MAIN_ONLY: Final = frozenset({"filter", "sort", "pause", "open", "unfilter"})


class Followed:
    """A board that a thread keeps up to date. said: how the connection is, in words."""

    def __init__(self, url: str, seen: Callable[[Event], Event] = lambda event: event, **wanted: Any) -> None:
        self.board = Board()
        self.said = "connecting"
        self._url = url
        self._seen = seen
        self._wanted = wanted
        self._end = threading.Event()
        self._is_new = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="hms-top-stream", daemon=True).start()

    def stop(self) -> None:
        self._end.set()

    def has_news(self) -> bool:
        """Whether something has come since this was asked last."""
        is_new = self._is_new.is_set()
        self._is_new.clear()
        return is_new

    def _follow(self) -> None:
        while not self._end.is_set():
            since = self.board.second + 1 if self.board.second else ALL_KEPT
            try:
                for event in follow(self._url, events="", since=since, **self._wanted):
                    if self._end.is_set():
                        return
                    self.board.take(self._seen(event))
                    self.said = "live"
                    self._is_new.set()
                self.said = "the engine has ended the stream; trying again"
            except RequestRefused as error:
                self.said = f"refused: {error}"
            except HmsOpsError as error:
                self.said = str(error)
            self._is_new.set()
            self._end.wait(RETRY_SECONDS)


class MetricScreen(Screen[None]):
    """The series of one metric."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "Back")]

    def __init__(self, url: str, metric: str) -> None:
        super().__init__()
        self._metric = metric
        self._followed = Followed(url, by_series, series=metric)

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{printable(self._metric)}: its series"), id="head")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(DataTable).add_columns(*SERIES_TITLES)
        self._followed.start()
        self.set_interval(LOOK_SECONDS, self.look)

    def on_unmount(self) -> None:
        self._followed.stop()

    def on_resize(self) -> None:
        self.show()

    def look(self) -> None:
        if self._followed.has_news():
            self.show()

    def show(self) -> None:
        board = self._followed.board
        rows = board.rows(sort="rate")[:ROWS_MAX]
        fill(self.query_one(DataTable), series_rows(rows, board, self.size.width))


class Top(App[None]):
    """All metrics."""

    TITLE = "HMS-OPS"
    AUTO_FOCUS = "DataTable"
    CSS = """
    #head { height: 1; padding: 0 1; text-style: bold; }
    #filter { display: none; }
    #filter.shown { display: block; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        # Before the table sees it, so that what is typed on at once is in the field.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("s", "sort", "Sort"),
        Binding("p", "pause", "Pause"),
        Binding("enter", "open", "Series", show=True, priority=False),
        Binding("escape", "unfilter", "Clear filter", show=False),
    ]

    def __init__(self, url: str, filter_: str = "", sort: str = "name") -> None:
        super().__init__()
        self._url = url
        self._filter = filter_
        self._sort = sort
        self._is_paused = False
        self._followed = Followed(url)
        self._end = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static("", id="head")
        with Vertical():
            yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Input(self._filter, placeholder="part of a metric's name; Enter to go back to the table", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        self._followed.start()
        self.set_interval(LOOK_SECONDS, self.look)
        threading.Thread(target=self._learn, name="hms-top-learn", daemon=True).start()

    def on_unmount(self) -> None:
        self._followed.stop()
        self._end.set()

    def look(self) -> None:
        if self._followed.has_news():
            self.show()

    def show(self) -> None:
        """Bring the head and, unless paused, the table up to date."""
        board = self._followed.board
        rows = board.rows(self._filter, self._sort)
        self.query_one("#head", Static).update(self._head(board, len(rows)))
        if not self._is_paused:
            table, width = self.query_one(DataTable), self.size.width
            shown = titles(width < NARROW)
            if shown != tuple(str(column.label) for column in table.columns.values()):
                table.clear(columns=True)
                table.add_columns(*shown)
            fill(table, metric_rows(rows[:ROWS_MAX], board, width))

    def on_resize(self) -> None:
        self.show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is about the metrics' table is asleep behind a metric's series; a / in the field is a letter."""
        if action in MAIN_ONLY and len(self.screen_stack) > 1:
            return False
        return not (action == "filter" and isinstance(self.focused, Input))

    def action_filter(self) -> None:
        field = self.query_one(Input)
        field.add_class("shown")
        self.screen.set_focus(field)

    def action_unfilter(self) -> None:
        self.query_one(Input).value = ""
        self._leave_filter()

    def action_sort(self) -> None:
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.show()

    def action_pause(self) -> None:
        self._is_paused = not self._is_paused
        self.show()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._filter = event.value
        self.show()

    def on_input_submitted(self) -> None:
        self._leave_filter()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        if event.row_key.value is not None and not isinstance(self.screen, MetricScreen):
            self.push_screen(MetricScreen(self._url, event.row_key.value))

    def _leave_filter(self) -> None:
        self.query_one(Input).remove_class("shown")
        self.query_one(DataTable).focus()
        self.show()

    def _head(self, board: Board, count: int) -> Text:
        parts = [f"HMS-OPS {self._url}", self._followed.said, f"{count:,} metrics", f"by {self._sort}"]
        parts += [f"filter {self._filter!r}"] if self._filter else []
        parts += [f"{board.gaps} gaps"] if board.gaps else []
        parts += [f"{board.left_out:,} left out"] if board.left_out else []
        head = Text(printable("  ·  ".join(parts)))
        # First what must not be cut off on a narrow screen.
        for is_so, text, style in (
            (board.firing, f"{board.firing} firing", "bold white on red"),
            (self._is_paused, "PAUSED", "bold"),
        ):
            head = Text.assemble((text, style), "  ·  ", head) if is_so else head
        return head

    def _learn(self) -> None:
        board = self._followed.board
        while not self._end.is_set():
            try:
                learn(board, self._url)
                board.p95 = percentiles(self._url, board.timers(board.rows(self._filter, self._sort), P95_MAX))
            except HmsOpsError:
                pass  # the stream's own thread says how the connection is
            self._end.wait(LEARN_SECONDS)


def by_series(event: Event) -> Event:
    """Cells under the text of their series, for a board, which keeps metrics by name."""
    if event["type"] != "cells":
        return event
    cells = [{**cell, "metric": series_text(cell["metric"], cell["tags"] or {})} for cell in event["cells"]]
    return {**event, "cells": cells}


def fill(table: "DataTable[Any]", rows: list[tuple[str, Cells]]) -> None:
    """The rows by their keys, the first of each: cells are changed in place, so that cursor and scroll stay."""
    keys = [key for key, _ in rows]
    if keys != [key.value for key in table.rows]:
        chosen = table.cursor_row
        table.clear()
        for key, cells in rows:
            table.add_row(*cells, key=key)
        table.move_cursor(row=min(chosen, max(0, len(rows) - 1)))
        return
    columns = list(table.columns)
    for key, cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            table.update_cell(key, column, cell, update_width=True)

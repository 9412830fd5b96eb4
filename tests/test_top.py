"""`top`: rows made of the stream's events, the stream's lines, and the command against a real engine."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from hms_ops import Engine
from hms_ops.cli import board as boards
from hms_ops.cli.board import Board, figure, spark
from hms_ops.cli.following import events_of
from hms_ops.cli.main import call
from hms_ops.cli.sparkline import BLOCKS

SECOND = 1_700_000_000


def cell(metric: str, value: float | None, count: float = 1.0, kind: str = "gauge") -> dict[str, Any]:
    return {"metric": metric, "tags": None, "kind": kind, "value": value, "count": count}


def cells(second: int, *given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "cells", "time": second, "cells": list(given)}


def filled() -> Board:
    board = Board()
    for second in range(SECOND, SECOND + 20):
        board.take(cells(second, cell("b.ms", second - SECOND, 5, "timer"), cell("a", 7.0)))
    board.take(cells(SECOND + 20, cell("c", None, 2)))
    return board


def test_rows_are_of_the_last_minute() -> None:
    rows = {row.metric: row for row in filled().rows()}
    assert list(rows) == ["a", "b.ms", "c"]
    assert (rows["b.ms"].value, rows["b.ms"].rate, rows["b.ms"].kind) == (19.0, 4.5, "timer")
    assert rows["b.ms"].points[0] == (SECOND, 0)
    assert rows["c"].value is None
    board = filled()
    board.take(cells(SECOND + 200, cell("a", 1.0)))
    assert [row.metric for row in board.rows()] == ["a"]


def test_a_second_that_comes_again_counts_once() -> None:
    board = filled()
    board.take(cells(SECOND + 19, cell("a", 7.0), cell("b.ms", 19.0, 5, "timer")))
    assert {row.metric: row.rate for row in board.rows()}["b.ms"] == 4.5


@pytest.mark.parametrize(
    ("sort", "names"), [("name", "a b.ms c"), ("value", "b.ms a c"), ("rate", "b.ms a c"), ("p95", "a b.ms c")]
)
def test_rows_are_sorted(sort: str, names: str) -> None:
    board = filled()
    board.p95 = {"a": 9.0}
    assert [row.metric for row in board.rows(sort=sort)] == names.split()


def test_rows_are_filtered_without_regard_to_case() -> None:
    assert [row.metric for row in filled().rows("B.M")] == ["b.ms"]


def test_metrics_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "METRICS_MAX", 1)
    board = filled()
    assert len(board.rows()) == 1
    assert board.left_out > 0


def test_a_metric_has_the_worst_light_of_the_rules_that_read_it() -> None:
    board = filled()
    rules = [{"alert": "slow", "if": "avg(b.ms, 10s) > 200"}, {"alert": "odd", "if": "last(a) + max(b.ms) > 1"}]
    alerts = [{"name": "slow", "state": "pending"}, {"name": "slow", "state": "firing"}]
    board.learn_alerts({"alerts": alerts, "rules": rules})
    assert {row.metric: row.light for row in board.rows()} == {"a": "fine", "b.ms": "firing", "c": ""}
    assert board.firing == 1
    assert [row.metric for row in board.rows(sort="light")] == ["b.ms", "a", "c"]


def test_a_minute_is_drawn_with_its_holes() -> None:
    assert spark([(SECOND - 2, 0.0), (SECOND, 10.0)], SECOND, BLOCKS) == " " * 57 + "▁ █"
    narrow = [spark([(SECOND - 40, 0.0), (SECOND, 10.0)], end, BLOCKS, width=5) for end in (SECOND + 3, SECOND + 4)]
    assert narrow == [" ▁  █", "▁  █ "]  # blocks of 12 s, which begin at multiples of 12


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (3.0, "3 ms"), (12345.0, "12.35 kms"), (1.5e6, "1.5 Mms"), (0.12345, "0.1235 ms")]
)
def test_figures_are_short(value: float | None, text: str) -> None:
    assert figure(value, "ms") == text


def test_events_are_read_from_lines() -> None:
    lines = b': alive\n\nretry: 1000\n\nid: 1\nevent: cells\ndata: {"time":1,\ndata: "cells":[]}\n\n'
    lines += b"event: x\ndata: [\n\nevent: gap\r\ndata:{}\r\n\r\n"
    assert list(events_of(lines.splitlines(keepends=True))) == [
        {"type": "cells", "time": 1, "cells": []},
        {"type": "gap"},
    ]


@pytest.fixture
def engine() -> Iterator[Engine]:
    config = {"rules": ["ALERT slow WHEN avg(db.write_ms, 1m) > 100"]}
    with Engine(udp=None, http="127.0.0.1:0", data_dir=None, config=config) as engine:
        yield engine


def url_of(engine: Engine) -> str:
    assert engine.http_address is not None
    return f"http://127.0.0.1:{engine.http_address[1]}"


def test_once_prints_what_there_is(engine: Engine, capsys: Any, wait_until: Callable[..., None]) -> None:
    for value in (240.0, 250.0):
        engine.metric("db.write_ms", value, kind="timer")
    engine.metric("queue\x1b[2J", 3.0)
    engine.describe("db.write_ms", unit="ms")
    wait_until(lambda: any(alert.state == "firing" for alert in engine.alerts()))
    assert call(["top", "--once", "--url", url_of(engine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["LIGHT", "METRIC", "KIND", "RATE/S", "LAST", "P95", "LAST", "MINUTE"]
    row = next(line for line in lines if "db.write_ms" in line)
    assert row.split()[:6] == ["firing", "db.write_ms", "timer", "0.2", "245", "ms"]
    assert "\x1b" not in "".join(lines)
    assert call(["top", "--json", "--filter", "db.", "--url", url_of(engine)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["metric"] for one in document["metrics"]] == ["db.write_ms"]
    assert 240 <= document["metrics"][0]["p95"] <= 256
    assert call(["top", "--once", "--filter", "nothing", "--url", url_of(engine)]) == 1


def test_no_engine_is_exit_code_4() -> None:
    assert CliRunner().invoke is not None
    assert call(["top", "--once", "--url", "http://127.0.0.1:1"]) == 4


async def pressed(app: Any, pilot: Any, condition: Callable[[], object]) -> None:
    for _ in range(400):
        await pilot.pause(0.025)
        if condition():
            return
    raise AssertionError("the screen did not come to it")


def test_the_live_view_follows_filters_sorts_and_opens(engine: Engine) -> None:
    pytest.importorskip("textual")
    import asyncio

    from textual.widgets import DataTable, Static

    from hms_ops.cli.topscreen import MetricScreen, Top

    for host in ("a", "b"):
        engine.metric("db.write_ms", 5.0, kind="timer", tags={"host": host})
    engine.metric("portal.queue", 3.0)

    async def use() -> None:
        app = Top(url_of(engine))
        async with app.run_test(size=(140, 40)) as pilot:
            table = app.query_one(DataTable)
            await pressed(app, pilot, lambda: {"db.write_ms", "portal.queue"} <= {key.value for key in table.rows})
            await pressed(app, pilot, lambda: "live" in str(app.query_one("#head", Static).render()))
            await pilot.press("slash", *"portal")
            await pressed(app, pilot, lambda: [key.value for key in table.rows] == ["portal.queue"])
            await pilot.press("enter", "escape")
            await pressed(app, pilot, lambda: len(table.rows) > 1)
            await pilot.press("s", "s", "p")
            await pressed(app, pilot, lambda: "PAUSED" in str(app.query_one("#head", Static).render()))
            table.move_cursor(row=[key.value for key in table.rows].index("db.write_ms"))
            await pilot.press("enter")
            await pressed(app, pilot, lambda: isinstance(app.screen, MetricScreen))
            inner = app.screen.query_one(DataTable)
            wanted = {"db.write_ms{host=a}", "db.write_ms{host=b}"}
            await pressed(app, pilot, lambda: {key.value for key in inner.rows} == wanted)
            await pilot.press("enter")  # there is nothing below a series
            await pilot.pause(0.2)
            assert app.screen.query_one(DataTable) is inner
            await pilot.press("escape")
            await pressed(app, pilot, lambda: not isinstance(app.screen, MetricScreen))

    asyncio.run(use())


@pytest.mark.parametrize("width", [80, 99, 100, 120, 200])
@pytest.mark.parametrize("name", ["cpu", "finance.refunds.api.of_the_agency_ms", "x" * 200, "漢" * 60], ids=len)
def test_rows_fit_into_a_screen(name: str, width: int) -> None:
    pytest.importorskip("rich")
    from hms_ops.cli.columns import NARROW, PADDING, SCROLLBAR, metric_rows, titles

    board = Board()
    for second in range(SECOND, SECOND + 70):
        board.take(cells(second, cell(name, 1234.5, 5, "distribution"), cell("b", 1.0)))
    board.p95 = {name: 1254.0}
    rows = metric_rows(board.rows(), board, width)
    assert [len(texts) for _, texts in rows] == [len(titles(width < NARROW))] * 2
    columns = [
        max(len(title), *(texts[at].cell_len for _, texts in rows)) for at, title in enumerate(titles(width < NARROW))
    ]
    assert sum(columns) + PADDING * len(columns) + SCROLLBAR <= width
    shown = dict(rows)[name]
    assert shown[-2].plain == "1254"
    assert 10 <= shown[-1].cell_len <= 60
    assert " " not in shown[-1].plain.strip()
    begin, _, end = shown[1].plain.partition("…")
    assert name.startswith(begin.rstrip())  # half of a wide letter is a blank
    assert name.endswith(end)


def test_keys_typed_in_one_go_are_not_lost(engine: Engine) -> None:
    pytest.importorskip("textual")
    import asyncio

    from textual.events import Key
    from textual.widgets import DataTable, Input

    from hms_ops.cli.topscreen import MetricScreen, Top

    engine.metric("db.write_ms", 5.0, kind="timer")
    engine.metric("portal.queue", 3.0)

    async def use() -> None:
        app = Top(url_of(engine))
        async with app.run_test(size=(80, 24)) as pilot:
            table = app.query_one(DataTable)
            await pressed(app, pilot, lambda: {"db.write_ms", "portal.queue"} <= {key.value for key in table.rows})
            for key in ("slash", *"portal", "enter"):
                app.post_message(Key(key, key if len(key) == 1 else {"slash": "/", "enter": "\r"}[key]))
            await pressed(app, pilot, lambda: [key.value for key in table.rows] == ["portal.queue"])
            assert app.query_one(Input).value == "portal"
            await pressed(app, pilot, lambda: app.focused is table)
            await pilot.press("enter")
            await pressed(app, pilot, lambda: isinstance(app.screen, MetricScreen))
            await pilot.press("slash", "s", "q")  # there is nothing to filter here, and q ends it from anywhere
            assert app._exit

    asyncio.run(use())

"""`top`: every metric live in the terminal; `--once` prints it and ends, for pipes."""

import sys
import time
from typing import Any, Final

import click

from hms_ops.cli.board import SORTS, Board, Row, figure, spark
from hms_ops.cli.following import follow
from hms_ops.cli.options import json_option, show_json, show_table, url_option
from hms_ops.cli.reach import get
from hms_ops.cli.sparkline import ramp_of
from hms_ops.errors import HmsOpsError, UnknownMetricError

ALL_KEPT: Final = 0  # since when: a stream begins with the oldest second that is in memory
CATCH_UP_SECONDS: Final = 1.0
P95_MAX: Final = 50
NO_TEXTUAL: Final = "the live view needs textual (pip install 'hms-ops[top]'); --once does without"


@click.command()
@click.option("--once", is_flag=True, help="Print once and end; also where output is no terminal.")
@click.option("--filter", "filter_", default="", help="Only metrics whose name holds this text.")
@click.option("--sort", type=click.Choice(SORTS), default="name", show_default=True, help="The largest first.")
@click.option(
    "--limit", type=click.IntRange(1, 5000), default=100, show_default=True, help="With --once: so many rows."
)
@url_option
@json_option
def top(once: bool, filter_: str, sort: str, limit: int, url: str, as_json: bool) -> int:
    """Every metric live: rate, last value, p95, the last minute, and the light of the rules that read it.

    Keys: / filter, s sort, Enter one metric's series, p pause, q quit. Exits 1 when --once finds nothing.

    \b
    Examples:
      hms-ops-engine top
      hms-ops-engine top --once --sort rate --limit 20
      hms-ops-engine top --once --filter finance --json | jq '.metrics[].p95'
    """
    if not (once or as_json) and sys.stdout.isatty():
        return live(url, filter_, sort)
    board = Board()
    read_minute(board, url)
    rows = board.rows(filter_, sort)[:limit]
    board.p95.update(percentiles(url, board.timers(rows, P95_MAX)))
    rows = board.rows(filter_, sort)[:limit]
    if as_json:
        show_json({"time": board.second, "firing": board.firing, "metrics": [row_document(row) for row in rows]})
    elif rows:
        show_rows(rows, board.second)
    else:
        click.echo("nothing found", err=True)
    return int(not rows)


def live(url: str, filter_: str, sort: str) -> int:
    try:
        from hms_ops.cli.topscreen import Top
    except ImportError:
        raise click.ClickException(NO_TEXTUAL) from None
    get(url, "/readyz")  # an engine that is not there is an error here, and no empty screen
    Top(url, filter_, sort).run()
    return 0


def read_minute(board: Board, url: str) -> None:
    """The last minute, which the engine has in memory, and what it knows of metrics and alerts."""
    learn(board, url)
    begun = time.monotonic()
    for event in follow(url, events="", since=ALL_KEPT):
        board.take(event)
        # Sealed seconds come at once, then one a second. The two clocks are not compared: they may differ.
        if time.monotonic() - begun > CATCH_UP_SECONDS:
            return


def learn(board: Board, url: str) -> None:
    """Units and lights, which change seldom."""
    board.learn_units(get(url, "/v1/metrics", limit=20_000, timeout_seconds=30.0)["metrics"])
    board.learn_alerts(get(url, "/v1/alerts", timeout_seconds=30.0))


def percentiles(url: str, metrics: list[str]) -> dict[str, float]:
    """The p95 over a minute of each metric that has one now."""
    found: dict[str, float] = {}
    for metric in metrics:
        try:
            answer = get(url, "/v1/query", expr=f"p95({metric}, 1m)", timeout_seconds=30.0)
        except (UnknownMetricError, HmsOpsError):
            continue  # of a name that is no word of the language, or gone meanwhile
        for series in answer["series"]:
            if series["points"] and series["points"][-1][1] is not None:
                found[metric] = series["points"][-1][1]
    return found


def row_document(row: Row) -> dict[str, Any]:
    named = row._asdict()
    return {**named, "points": [list(point) for point in row.points], "light": row.light or None}


def show_rows(rows: list[Row], second: int) -> None:
    ramp = ramp_of(sys.stdout.encoding)
    head = ("LIGHT", "METRIC", "KIND", "RATE/S", "LAST", "P95", "LAST MINUTE")
    show_table(
        [
            head,
            *(
                (
                    row.light or "-",
                    row.metric,
                    row.kind,
                    figure(row.rate),
                    figure(row.value, row.unit),
                    figure(row.p95, row.unit),
                    spark(row.points, second, ramp),
                )
                for row in rows
            ),
        ]
    )

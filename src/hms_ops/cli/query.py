"""`query`: an expression of the alert language, asked of a running engine."""

import sys
import time
from shutil import get_terminal_size
from typing import Any

import click

from hms_ops.cli.options import DURATION, json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import RequestRefused, get
from hms_ops.csvtext import csv_text, utc_text
from hms_ops.escape import printable_lines


@click.command()
@click.argument("expression", metavar="EXPR")
@click.option("--since", type=DURATION, help="From so long ago until now; without it, the value now.")
@click.option("--step", type=DURATION, help="Distance of the points, with --since.")
@click.option("--source", type=click.Choice(["local", "remote"]), help="Ask the engine's own history, or its remote.")
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV: time, metric, a column for each tag, value.")
@click.option(
    "--sparkline/--no-sparkline", default=None, help="Each series as a line of blocks too; default: on a terminal."
)
@url_option
@json_option
def query(
    expression: str,
    since: float | None,
    step: float | None,
    source: str | None,
    as_csv: bool,
    sparkline: bool | None,
    url: str,
    as_json: bool,
) -> int:
    """Evaluate EXPR, now or over a time.

    Exits 1 when nothing was found, when nobody has sent the metric, or when EXPR is a condition and true now.

    \b
    Examples:
      hms-ops-engine query 'p99(finance.api_ms, 10m)'
      hms-ops-engine query 'max(finance.api_ms) GROUP BY agency' --since 1h --step 1m
      hms-ops-engine query 'rate(web.requests) GROUP BY zone' --since 7d --csv > requests.csv
      hms-ops-engine query 'avg(finance.api_ms) > 200' || echo 'too slow, or unknown'
    """
    from hms_ops.alert.language.grammar import parse_query
    from hms_ops.alert.language.tree import CONDITIONS

    for option, is_given in (("--step", step is not None), ("--sparkline", bool(sparkline))):
        if is_given and since is None:
            raise click.UsageError(f"{option} needs --since")
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    is_condition = isinstance(parse_query(expression).expression, CONDITIONS)
    end = time.time()
    start = None if since is None else end - since
    answer = ask(url, expr=expression, start=start, end=None if start is None else end, step=step, source=source)
    if as_json:
        show_json(answer)
    elif as_csv:
        text = csv_text(answer)
        click.echo(printable_lines(text) if sys.stdout.isatty() else text, nl=False)
    else:
        show(answer)
        if start is not None and (sys.stdout.isatty() if sparkline is None else sparkline):
            show_sparklines(answer, start, end)
    if "remote" in answer:
        click.echo(f"only what is kept here: {printable_lines(str(answer['remote']))}", err=True)
    values = last_values(answer)
    if not values:
        click.echo("nothing found", err=True)
    return int(not values or (is_condition and any(values)))


def ask(url: str, **given: object) -> Any:
    """The engine's answer; what it refuses for want of the metric is exit code 1 with its proposals."""
    try:
        return get(url, "/v1/query", timeout_seconds=30.0, **given)
    except RequestRefused as refused:
        near = refused.body.get("nearest") if isinstance(refused.body, dict) else None
        text = str(refused)
        if near and "did you mean" not in text:
            text += f"; did you mean {', '.join(map(str, near))}?"
        raise click.ClickException(text) from None


def last_values(answer: Any) -> list[float]:
    """The newest value of each series that has one."""
    lasts = [[value for _, value in series["points"] if value is not None][-1:] for series in answer["series"]]
    return [value for last in lasts for value in last]


def show(answer: Any) -> None:
    """One line per point; a single point per series goes without its time."""
    rows = []
    for series in answer["series"]:
        name = series_text(str(series["metric"] or answer["expr"]), series["tags"])
        points = series["points"]
        for when, value in points:
            stamp = () if len(points) == 1 else (utc_text(when),)
            rows.append((*stamp, name, "null" if value is None else f"{value:.6g}"))
    # Series of one point and of several have rows of different width.
    for width in sorted({len(row) for row in rows}):
        show_table([row for row in rows if len(row) == width])


def show_sparklines(answer: Any, start: float, end: float) -> None:
    """Below the points, as wide as the terminal."""
    from hms_ops.cli.sparkline import ramp_of, sparklines

    if answer["series"]:
        show_table(sparklines(answer, start, end, get_terminal_size().columns, ramp_of(sys.stdout.encoding)))

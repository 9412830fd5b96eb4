"""`query`: an expression of the alert language, asked of a running engine."""

import time
from typing import Any

import click

from hms_ops.cli.options import DURATION, json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import RequestRefused, get


@click.command()
@click.argument("expression", metavar="EXPR")
@click.option("--since", type=DURATION, help="From so long ago until now; without it, the value now.")
@click.option("--step", type=DURATION, help="Distance of the points, with --since.")
@url_option
@json_option
def query(expression: str, since: float | None, step: float | None, url: str, as_json: bool) -> int:
    """Evaluate EXPR, now or over a time.

    Exits 1 when nothing was found, when nobody has sent the metric, or when EXPR is a condition and true now.

    \b
    Examples:
      hms-ops-engine query 'avg(finance.api_ms, 10m)'
      hms-ops-engine query 'max(finance.api_ms, 1m) GROUP BY agency' --since 1h --step 1m
      hms-ops-engine query 'avg(finance.api_ms) > 200' || echo 'too slow, or unknown'
    """
    from hms_ops.alert.grammar import parse_query
    from hms_ops.alert.tree import CONDITIONS

    if step is not None and since is None:
        raise click.UsageError("--step needs --since")
    is_condition = isinstance(parse_query(expression).expression, CONDITIONS)
    answer = ask(url, expression, since, step)
    if as_json:
        show_json(answer)
    else:
        show(answer)
    values = last_values(answer)
    if not values:
        click.echo("nothing found", err=True)
    return int(not values or (is_condition and any(values)))


def ask(url: str, expression: str, since: float | None, step: float | None) -> Any:
    """The engine's answer; what it refuses for want of the metric is exit code 1 with its proposals."""
    now = time.time()
    start, end = (None, None) if since is None else (now - since, now)
    try:
        return get(url, "/v1/query", expr=expression, start=start, end=end, step=step, timeout_seconds=30.0)
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
            stamp = () if len(points) == 1 else (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),)
            rows.append((*stamp, name, "null" if value is None else f"{value:.6g}"))
    # Series of one point and of several have rows of different width.
    for width in sorted({len(row) for row in rows}):
        show_table([row for row in rows if len(row) == width])

"""`series`: which series there are, what is known of their metrics, and their deletion."""

from typing import Any, Final

import click

from hms_ops.cli.options import json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import delete as delete_at
from hms_ops.cli.reach import get, post

LISTED_MAX: Final = 10_000
DELETE_SECONDS: Final = 600.0


@click.group()
def series() -> None:
    """Which series there are; describe and delete them.

    \b
    Examples:
      hms-ops-engine series list 'finance.api_ms{agency="irs"}'
      hms-ops-engine series describe finance.api_ms --unit ms --help-text 'API latency'
      hms-ops-engine series delete '{host="db-1"}'
    """


@series.command(name="list")
@click.argument("selector", required=False)
@click.option(
    "--limit", type=click.IntRange(1, LISTED_MAX), default=1000, show_default=True, help="List at most so many."
)
@url_option
@json_option
def list_(selector: str | None, limit: int, url: str, as_json: bool) -> int:
    """List series, all or those of SELECTOR, with kind, unit and help. Exits 1 when there are none.

    \b
    Examples:
      hms-ops-engine series list
      hms-ops-engine series list '{__name__=~"finance\\..*", agency!=""}' --json
    """
    answer = get(url, "/v1/series", match=checked(selector), limit=limit, timeout_seconds=30.0)
    found = answer["series"]
    if as_json:
        show_json(answer)
    elif found:
        show_table([("SERIES", "KIND", "UNIT", "HELP"), *map(row_of, found)])
    else:
        click.echo("nothing found", err=True)
    if not answer["is_complete"]:
        click.echo(f"there are more than {limit:,}; choose by a selector, or raise --limit", err=True)
    return int(not found)


@series.command()
@click.argument("metric")
@click.option("--unit", help="Such as ms, bytes, percent; rules read it.")
@click.option("--help-text", "text", help="What the metric says, in a line.")
@url_option
@json_option
def describe(metric: str, unit: str | None, text: str | None, url: str, as_json: bool) -> None:
    """Keep unit and help of METRIC; what is not given stays.

    \b
    Example:
      hms-ops-engine series describe finance.api_ms --unit ms
    """
    if unit is None and text is None:
        raise click.UsageError("give --unit, --help-text, or both")
    given = {"metric": metric, "unit": unit, "help": text}
    answer = post(url, "/v1/describe", {key: value for key, value in given.items() if value is not None})
    if as_json:
        show_json(answer)
    else:
        show_table([("METRIC", "UNIT", "HELP"), (metric, answer["unit"], answer["help"])])


@series.command()
@click.argument("selector")
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@url_option
@json_option
def delete(selector: str, dry_run: bool, url: str, as_json: bool) -> int:
    """Delete the series of SELECTOR: from queries at once, from disk with the partitions their rows are in.

    A series that is sent again begins anew. The journal keeps who deleted what. Exits 1 when there are none.

    \b
    Examples:
      hms-ops-engine series delete 'finance.api_ms{agency="irs"}' --dry-run
      hms-ops-engine series delete '{host="db-1"}'
    """
    checked(selector)
    if dry_run:
        listed = get(url, "/v1/series", match=selector, limit=LISTED_MAX, timeout_seconds=DELETE_SECONDS)
        answer = {"deleted": 0, "series": listed["series"]}
    else:
        answer = delete_at(url, "/v1/series", match=selector, timeout_seconds=DELETE_SECONDS)
    if as_json:
        show_json(answer)
    elif dry_run and answer["series"]:
        show_table([row_of(one) for one in answer["series"]])
    else:
        click.echo(f"deleted {answer['deleted']:,} series")
    return int(not answer["series"])


def checked(selector: str | None) -> str | None:
    """The selector; ExpressionError with its place before anybody is asked."""
    from hms_ops.alert.selection import parse_selection

    if selector is not None:
        parse_selection(selector)
    return selector


def row_of(one: Any) -> tuple[str, ...]:
    return series_text(one["metric"], one["tags"]), one["kind"], one["unit"], one["help"]

"""`slo`: service level objectives of a running engine, and OpenSLO files as ours."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from hms_ops.cli.options import json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import get

FAILING: Final = ("burning", "exhausted")
HOUR: Final = "3600"
ANSWER_SECONDS: Final = 60.0  # burn rates over days are read from history


@click.group()
def slo() -> None:
    """Service level objectives: what is promised, what is kept, what is left of the error budget.

    \b
    Examples:
      hms-ops-engine slo status
      hms-ops-engine slo status finance.api_latency --failing || page-somebody
      hms-ops-engine slo import openslo/*.yaml > config/rules/slos.yaml
    """


@slo.command(name="list")
@url_option
@json_option
def list_(url: str, as_json: bool) -> int:
    """List the SLOs in force. Exits 1 when there are none.

    \b
    Example:
      hms-ops-engine slo list
    """
    found = slos_of(url, None)
    about = ("slo", "objective", "good", "window_seconds", "group_by", "source")
    if as_json:
        show_json({"slos": [{key: one[key] for key in about} for one in found]})
    elif found:
        show_table([("SLO", "OBJECTIVE", "GOOD", "WINDOW", "GROUP BY", "SOURCE"), *map(list_row, found)])
    else:
        click.echo("there are no SLOs", err=True)
    return int(not found)


@slo.command()
@click.argument("name", required=False)
@click.option("--failing", is_flag=True, help="Only what burns or is exhausted; exits 1 when there is any.")
@url_option
@json_option
def status(name: str | None, failing: bool, url: str, as_json: bool) -> int:
    """What is kept of each SLO, or of NAME: compliance over its window, budget left, burn rate of the last hour, state.
    Exits 1 when there is nothing to show.

    \b
    Examples:
      hms-ops-engine slo status
      hms-ops-engine slo status finance.api_latency --json
      hms-ops-engine slo status --failing && echo 'all promises are kept'
    """
    found = slos_of(url, name)
    if failing:
        found = [one | {"groups": failing_groups(one)} for one in found if failing_groups(one)]
    rows = [status_row(one, group) for one in found for group in one["groups"]]
    if as_json:
        show_json({"slos": found})
    elif rows:
        show_table([("STATE", "SLO", "OBJECTIVE", "KEPT", "BUDGET LEFT", "BURN 1H", "EVENTS"), *rows])
    else:
        click.echo("no SLO is failing" if failing else "there is nothing to show", err=not failing)
    return int(bool(rows) if failing else not rows)


@slo.command(name="import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def import_(files: tuple[Path, ...], as_json: bool) -> int:
    """Write OpenSLO v1 files as a rule file of ours, on standard output.

    Files may refer to each other's indicators. Each objective says how well it was taken over: exact, approximate with
    the reasons, or unsupported; it then stands as a comment. Exits 1 when any is unsupported.

    \b
    Example:
      hms-ops-engine slo import openslo/*.yaml > config/rules/slos.yaml
    """
    from hms_ops.alert.openslo import import_files, rule_file, summary

    made = import_files(files)
    if as_json:
        about = ("name", "grade", "keys", "reasons", "source")
        show_json({"slos": [{key: getattr(one, key) for key in about} for one in made]})
    else:
        sys.stdout.write(rule_file(made))
        click.echo(summary(made), err=True)
    return int(any(one.grade == "unsupported" for one in made))


def slos_of(url: str, name: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(url, "/v1/slos", timeout_seconds=ANSWER_SECONDS, name=name)["slos"]
    return found


def failing_groups(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [group for group in one["groups"] if group["state"] in FAILING]


def list_row(one: dict[str, Any]) -> tuple[str, ...]:
    window = f"{one['window_seconds'] / 86400:g}d"
    return one["slo"], f"{one['objective']:g} %", one["good"], window, ", ".join(one["group_by"]), one["source"]


def status_row(one: dict[str, Any], group: dict[str, Any]) -> tuple[str, ...]:
    burn, kept = group["burn"][HOUR], group["compliance"]
    return (
        group["state"],
        series_text(one["slo"], group["tags"]),
        f"{one['objective']:g} %",
        "" if kept is None else f"{100 * kept:.6g} %",
        f"{100 * group['budget']:.4g} %",
        "" if burn is None else f"{burn:.3g}",
        f"{group['total']:.15g}",
    )

"""`actions`: which self-healing jobs ran and what came of them, and the stop switch of all."""

import getpass
import time
from typing import Any

import click

from hms_ops.cli.options import json_option, show_json, show_table, url_option
from hms_ops.cli.reach import get, post


@click.group()
def actions() -> None:
    """Self-healing actions: what ran, and the stop switch.

    \b
    Examples:
      hms-ops-engine actions list
      hms-ops-engine actions stop --reason 'the database is being moved'
    """


@actions.command(name="list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many runs.")
@url_option
@json_option
def list_(limit: int, url: str, as_json: bool) -> int:
    """List the latest runs, newest first; exits 1 when all actions are stopped.

    \b
    Examples:
      hms-ops-engine actions list
      hms-ops-engine actions list --limit 100 --json
    """
    found = get(url, "/v1/actions", limit=limit)
    if as_json:
        show_json(found)
        return int(bool(found["stopped_by"]))
    if found["stopped_by"]:
        click.echo(f"all actions are stopped by {found['stopped_by']}")
    if found["runs"]:
        show_table([("TIME", "ACTION", "STATE", "OUTCOME"), *map(row_of, found["runs"])])
    else:
        click.echo(f"no runs yet; {len(found['actions'])} actions are configured")
    return int(bool(found["stopped_by"]))


def row_of(run: dict[str, Any]) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run["time"]))
    outcome = ", ".join(filter(None, (str(run["outcome"]), helped(run))))
    return when, str(run["action"]), str(run["state"]), outcome


def helped(run: dict[str, Any]) -> str:
    """What became of the alert after an action that succeeded: it is looked at for as long as `verify` says."""
    if run.get("verified"):
        return str(run["verified"])
    return "not verified yet" if run.get("verify_until") else ""


@actions.command()
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option("--who", default=getpass.getuser, help="On whose behalf.  [you]")
@url_option
@json_option
def stop(reason: str, who: str, url: str, as_json: bool) -> None:
    """Stop every action until `actions resume`, over restarts too.

    \b
    Example:
      hms-ops-engine actions stop --reason 'the database is being moved'
    """
    given = {"who": who} | ({"reason": reason} if reason else {})
    answer = post(url, "/v1/actions/stop", given)
    show_json(answer) if as_json else click.echo(f"all actions are stopped by {answer['stopped_by']}")


@actions.command()
@click.option("--who", default=getpass.getuser, help="On whose behalf.  [you]")
@url_option
@json_option
def resume(who: str, url: str, as_json: bool) -> None:
    """Let actions run again.

    \b
    Example:
      hms-ops-engine actions resume
    """
    answer = post(url, "/v1/actions/resume", {"who": who})
    show_json(answer) if as_json else click.echo("actions run again")

"""`alerts`: what is pending and firing."""

import time
from typing import Any, NoReturn

import click

from hms_ops.cli.options import json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import get


@click.group()
def alerts() -> None:
    """What is pending and firing.

    \b
    Example:
      hms-ops-engine alerts list
    """


@alerts.command(name="list")
@click.option("--firing", is_flag=True, help="Only those that fire; exits 1 when there are any.")
@url_option
@json_option
def list_(firing: bool, url: str, as_json: bool) -> int:
    """List alerts, those that fire first.

    \b
    Examples:
      hms-ops-engine alerts list
      hms-ops-engine alerts list --firing && echo 'all is well'
    """
    found = [alert for alert in alerts_of(get(url, "/v1/alerts")) if not firing or alert["state"] == "firing"]
    if as_json:
        show_json({"alerts": found})
    elif found:
        show_table([("STATE", "ALERT", "VALUE", "SINCE"), *map(row_of, sorted(found, key=order_of))])
    else:
        click.echo("no alert is " + ("firing" if firing else "pending or firing"))
    return int(firing and bool(found))


def alerts_of(answer: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = answer["alerts"] if isinstance(answer, dict) else answer
    return listed


def order_of(alert: dict[str, Any]) -> tuple[bool, str]:
    return alert["state"] != "firing", str(alert["name"])


def row_of(alert: dict[str, Any]) -> tuple[str, ...]:
    value = alert.get("value")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(alert["since"])) if alert.get("since") else ""
    name = series_text(str(alert["name"]), alert.get("tags") or {})
    return str(alert["state"]), name, "" if value is None else f"{value:.6g}", since


def not_yet(command: str) -> NoReturn:
    raise click.ClickException(f"alerts {command} is not in this version; alerts list is")


@alerts.command()
@click.argument("name")
@json_option
def ack(name: str, as_json: bool) -> None:
    """Acknowledge an alert (not in this version)."""
    not_yet("ack")


@alerts.command()
@click.argument("name")
@json_option
def silence(name: str, as_json: bool) -> None:
    """Silence an alert (not in this version)."""
    not_yet("silence")


@alerts.command()
@click.argument("name")
@json_option
def unsilence(name: str, as_json: bool) -> None:
    """End a silence (not in this version)."""
    not_yet("unsilence")


@alerts.command()
@click.argument("name")
@json_option
def explain(name: str, as_json: bool) -> None:
    """Why a page went out, or did not (not in this version)."""
    not_yet("explain")

"""`emit`: one sample, as a service would send it."""

import math
from typing import Any

import click

from hms_ops.cli.options import TAG, json_option, show_json
from hms_ops.cli.reach import post
from hms_ops.errors import Unreachable
from hms_ops.kinds import NUMBERS


# A negative value must not be taken for an option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value")
@click.option("--kind", type=click.Choice(list(NUMBERS)), help="What it measures; without it, the engine's own guess.")
@click.option("--tag", "tags", type=TAG, multiple=True, help="A tag; can be given several times.")
@click.option(
    "--to",
    default="udp://127.0.0.1:8125",
    show_default=True,
    envvar="HMS_OPS_URL",
    help="udp://HOST:PORT, unix:///PATH or http://HOST:PORT.",
)
@json_option
def emit(name: str, value: str, kind: str | None, tags: tuple[tuple[str, str], ...], to: str, as_json: bool) -> int:
    """Send one sample. UDP does not say whether it arrived; http:// does.

    \b
    Examples:
      hms-ops-engine emit finance.api_ms 240 --kind timer --tag agency:irs
      hms-ops-engine emit queue.depth -5 --kind gauge --to http://127.0.0.1:8126
      hms-ops-engine emit visitors alice --kind set
    """
    if not name or not name.isprintable():
        raise click.BadParameter(f"{name!r} is no name of a metric; give one, as in finance.api_ms", param_hint="NAME")
    sample = {"metric": name, "value": value if kind == "set" else number(value), "tags": dict(tags)}
    if kind is not None:
        sample["kind"] = kind
    sent, why = send_http(to, sample) if to.startswith(("http://", "https://")) else send_datagram(to, sample)
    if as_json:
        show_json({"to": to, "sent": sent, "error": why or None})
    elif sent:
        click.echo(f"sent 1 sample to {to}")
    if why and not as_json:
        raise click.ClickException(why)
    return int(not sent)


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise click.BadParameter(f"{text!r} is no finite number; only --kind set takes text", param_hint="VALUE")
    return value


def send_datagram(to: str, sample: dict[str, Any]) -> tuple[int, str]:
    """(samples handed to the network, why not)."""
    from hms_ops.client import Client

    try:
        client = Client(to)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    with client:
        client.metric(sample["metric"], sample["value"], sample.get("kind"), sample["tags"])
        client.flush()
        counters = client.counters()
    if counters["dropped_unreachable"]:
        raise Unreachable(f"no engine receives at {to}; start one with hms-ops-engine run, or correct --to")
    if counters["dropped_invalid"]:
        return 0, "the sample is invalid: its name, a tag or its value cannot be sent, or it fits into no datagram"
    reasons = [key.removeprefix("dropped_") for key, count in counters.items() if count and key.startswith("dropped_")]
    return counters["sent"], f"dropped: {', '.join(reasons)}" if reasons else ""


def send_http(to: str, sample: dict[str, Any]) -> tuple[int, str]:
    """(samples the engine took, why not)."""
    ledger = post(to, "/v1/ingest", sample)
    reasons = {**ledger.get("bad", {}), **ledger.get("rejected", {})}
    said = ", ".join(reason for reason, count in reasons.items() if count)
    return int(ledger.get("samples", 0)), f"the engine refused it: {said}" if said else ""

"""`demo`; the story itself is hms_ops.demo."""

import click

from hms_ops.cli.options import json_option


@click.command()
@click.option("--headless", is_flag=True, help="No dashboard, end when the story is told.")
@click.option(
    "--seconds", type=click.FloatRange(30, 3600), default=60.0, show_default=True, help="Length of the story."
)
@json_option
def demo(headless: bool, seconds: float, as_json: bool) -> int:
    """The refund rush: services send, latency climbs, a page goes out, an action heals.

    Exits 0 only if the whole story happened.

    \b
    Examples:
      hms-ops-engine demo
      hms-ops-engine demo --headless --seconds 60 --json
    """
    from hms_ops.demo import main

    return main(headless=headless, seconds=seconds, as_json=as_json)

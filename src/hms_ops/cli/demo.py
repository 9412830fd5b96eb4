"""`demo`; the story itself is hms_ops.demo."""

from pathlib import Path

import click

from hms_ops.cli.options import json_option


@click.command()
@click.option("--headless", is_flag=True, help="End when the story is told, after 60 s at the latest.")
@click.option("--seconds", type=click.FloatRange(1, 86_400), help="End after so long.  [default: 60 with --headless]")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Keep history there.")
@json_option
def demo(headless: bool, seconds: float | None, data_dir: Path | None, as_json: bool) -> int:
    """The refund rush: services send, latency climbs, a page goes out, an action heals.

    Exits 0 only if the whole story happened. With --json, one line per event on standard output:
    {"t": 21.4, "event": "breach", …}, then pending, firing, page_delivered, anomaly, action, recovered, resolved.

    \b
    Examples:
      hms-ops-engine demo
      hms-ops-engine demo --headless
      hms-ops-engine demo --headless --seconds 60 --json
    """
    from hms_ops.demo.main import run

    return run(headless=headless, seconds=seconds, as_json=as_json, data_dir=data_dir)

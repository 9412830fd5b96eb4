"""`bench`; what is measured and how is hms_ops.bench."""

import click

from hms_ops.cli.options import json_option, show_json


@click.command()
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="How long to send.")
@click.option("--series", type=click.IntRange(1, 16_000_000), default=1000, show_default=True, help="Different series.")
@click.option("--datagram-bytes", type=click.IntRange(64, 65_507), default=1432, show_default=True)
@click.option(
    "--format",
    "line_format",
    type=click.Choice(["statsd", "json", "msgpack"]),
    default="statsd",
    show_default=True,
    help="What to send.",
)
@json_option
def bench(seconds: float, series: int, datagram_bytes: int, line_format: str, as_json: bool) -> None:
    """Measure what this machine receives: one sender over loopback, as fast as it can.

    \b
    Examples:
      hms-ops-engine bench
      hms-ops-engine bench --series 100000 --format msgpack --json
    """
    from hms_ops.bench import measure

    figures = measure(seconds=seconds, series=series, datagram_bytes=datagram_bytes, line_format=line_format)
    if as_json:
        show_json(figures)
        return
    click.echo(
        f"{figures['lines_per_s'] / 1e6:.2f} M lines/s, {figures['ns_per_line']:.0f} ns a line, "
        f"{figures['cpu_ns_per_line']:.0f} ns of CPU a line, {figures['loss']:.2%} lost"
    )
    click.echo(
        f"{figures['datagrams']:,} datagrams of {figures['format']} in {figures['seconds']:.1f} s, "
        f"{figures['series']:,} series"
    )

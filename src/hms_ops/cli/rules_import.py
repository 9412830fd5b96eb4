"""`rules import`: rule files of Prometheus as ours."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hms_ops.cli.options import DURATION, json_option, show_json

if TYPE_CHECKING:
    from hms_ops.prometheus.rulesfile import Imported


def need_promql() -> None:
    """A word instead of a traceback where the package that parses PromQL is not installed."""
    from importlib.util import find_spec

    if find_spec("promql_parser") is None:
        raise click.ClickException("promql-parser is not installed; install it: pip install 'hms-ops[server]'")


@click.command(name="import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--interval", type=DURATION, default=60.0, metavar="DURATION", help="Between two samples.  [1m]")
@click.option("--dots", is_flag=True, help="Call metrics a.b where Prometheus has a_b.")
@json_option
def import_(files: tuple[Path, ...], interval: float, dots: bool, as_json: bool) -> int:
    """Write the alerts of Prometheus rule files as a rule file of ours, on standard output.

    Recording rules are read by their expressions. Each rule says how well it was taken over: exact, approximate with
    the reasons, or unsupported; it then stands as a comment. Exits 1 when any is unsupported.

    \b
    Examples:
      hms-ops-engine rules import prometheus.rules.yml > ours.yaml
      hms-ops-engine rules import alerts/*.yaml --interval 15s --json
    """
    need_promql()
    from hms_ops.prometheus.rulesfile import import_groups, read_groups
    from hms_ops.prometheus.vector import Scope
    from hms_ops.prometheus.written import rule_file, summary
    from hms_ops.yamlfile import load_file

    origins = [rule for file in files for rule in read_groups(load_file(file))]
    made = import_groups(origins, Scope(interval_seconds=max(1, round(interval)), has_dots=dots))
    if as_json:
        show_json([answer(one) for one in made])
    else:
        sys.stdout.write(rule_file(made))
        click.echo(summary(made), err=True)
    return int(any(one.grade == "unsupported" for one in made))


def answer(one: "Imported") -> dict[str, Any]:
    origin = one.origin
    return {
        "alert": origin.alert,
        "record": origin.record,
        "source": origin.source,
        "grade": one.grade,
        "rule": None if one.keys is None else dict(one.keys),
        "notes": [note._asdict() for note in one.notes],
        "text_notes": list(one.text_notes),
    }

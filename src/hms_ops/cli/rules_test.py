"""`rules test`: unit tests of rules, in promtool's format and in ours."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hms_ops.cli.options import json_option, show_json
from hms_ops.cli.rules_import import need_promql
from hms_ops.escape import printable_lines

if TYPE_CHECKING:
    from hms_ops.prometheus.outcomes import Outcome


@click.command(name="test")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit 1 as well when something is unsupported.")
@click.option("--verbose", "-v", is_flag=True, help="Print what passed, too.")
@json_option
def test(files: tuple[Path, ...], strict: bool, verbose: bool, as_json: bool) -> int:
    """Run unit tests of rules on this engine's own compiler, kernels and state machine.

    FILE is a test file of promtool, as it is, whose rule files may be Prometheus' or ours; or one of ours, with the
    keys rules, series and expect (docs/alerts.md). Exits 1 when an expectation fails. What cannot be said here is
    named as unsupported and not judged.

    \b
    Examples:
      hms-ops-engine rules test tests/*_test.yaml
      hms-ops-engine rules test web.test.yml --strict --json
    """
    need_promql()
    from hms_ops.prometheus.outcomes import counts
    from hms_ops.prometheus.run import outcomes_of

    made = {file: list(outcomes_of(file)) for file in files}
    everything = [outcome for found in made.values() for outcome in found]
    if as_json:
        show_json([{"file": str(file), **outcome._asdict()} for file, found in made.items() for outcome in found])
    else:
        for file, found in made.items():
            show(file, found, verbose)
    totals = counts(everything)
    return int(totals["failed"] > 0 or (strict and totals["unsupported"] > 0))


def show(file: Path, outcomes: "list[Outcome]", verbose: bool) -> None:
    need_promql()
    from hms_ops.prometheus.outcomes import counts

    for outcome in outcomes:
        if verbose or outcome.result != "passed":
            for line in outcome.lines():
                click.echo(printable_lines(line), err=outcome.result != "passed")
    text = ", ".join(f"{count} {result}" for result, count in counts(outcomes).items())
    click.echo(f"{printable_lines(str(file))}: {text}")

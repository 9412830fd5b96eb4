"""`rules export`: rule files as PromQL; and reading the rules of files, for the other commands of `rules`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from hms_ops.cli.options import json_option, show_json
from hms_ops.errors import ConfigError

if TYPE_CHECKING:
    from hms_ops.alert.language.desugar import Objectives
    from hms_ops.alert.rule import Rule
    from hms_ops.remote.promql import Outside

STEPS: Final = {"10s": 10, "1m": 60, "1h": 3600}


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tier", type=click.Choice(list(STEPS)), default=None, help="Whose rows are sent.  [the remote's, 1m]")
@click.option("--dotted-names", is_flag=True, default=None, help="Metrics keep their dots (VictoriaMetrics only).")
@click.option("--url", default=None, help="An engine to ask for the kinds of metrics; without one they are guessed.")
@json_option
def export(files: tuple[Path, ...], tier: str | None, dotted_names: bool | None, url: str | None, as_json: bool) -> int:
    """Write rules as PromQL: a rule file for vmalert, Prometheus or Mimir, on standard output.

    FILE is a rule file, or a configuration with its rules and its first remote. Exits 1 when a rule cannot be said in
    PromQL; it then stands as a comment, with the reason.

    \b
    Examples:
      hms-ops-engine rules export config/rules/*.yaml --tier 1m
      hms-ops-engine rules export /etc/hms-ops/engine.yaml --json
    """
    from hms_ops.remote.export import exported, rule_file

    read = read_all(files)
    outside = outside_of(read, tier, dotted_names, url)
    made = [exported(rule, outside) for rule in read.rules]
    if as_json:
        show_json([{"alert": one.rule.name, "promql": one.promql, "lowering": one.grade} for one in made])
    else:
        sys.stdout.write(rule_file(read.rules, outside))
    impossible = [one.rule.name for one in made if not one.promql]
    if impossible:
        click.echo(
            f"{len(impossible)} of {len(made)} rules cannot be said in PromQL: {', '.join(impossible)}", err=True
        )
    return int(bool(impossible))


class Read(NamedTuple):
    """The rules of all files, those of SLOs among them; the first remote of a configuration; objectives by name."""

    rules: "list[Rule]"
    remote: Any
    objective: "Objectives"


def read_all(files: tuple[Path, ...]) -> Read:
    """All files, each checked as check-config does. ConfigError."""
    from hms_ops.cli.check_config import check

    checked = [check(file) for file in files]
    problems = [problem for one in checked for problem in one.problems]
    if problems:
        raise ConfigError(*problems)
    remotes = [remote for one in checked if one.config is not None for remote in one.config.remote]
    found = [one.rules for one in checked if one.rules is not None]
    objectives = {slo.name: slo.share for one in found for slo in one.slos}
    rules = [rule for one in found for rule in (*one.rules, *one.slo_rules)]
    return Read(rules, next(iter(remotes), None), objectives.get)


def outside_of(read: Read, tier: str | None, dotted: bool | None, url: str | None) -> "Outside":
    from hms_ops.cli.known import Running
    from hms_ops.remote.promql import Outside
    from hms_ops.remote.reading import guessed_kind

    remote = read.remote
    step_seconds = STEPS[tier or (remote.tier if remote is not None else "1m")]
    is_dotted = dotted if dotted is not None else remote is not None and remote.dotted_names
    if url is None:
        return Outside(step_seconds, is_dotted, guessed_kind, objective=read.objective)
    running = Running(url)
    return Outside(step_seconds, is_dotted, running.kind, running.unit, objective=read.objective)

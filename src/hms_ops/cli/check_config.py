"""`check-config`: everything that a start would refuse, without a start, and what a linter makes of the rules."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hms_ops.cli.options import json_option, show_json
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.escape import printable_lines

if TYPE_CHECKING:
    from hms_ops.alert.rule import AnomalyRule, Rule
    from hms_ops.alert.rulefile import RuleFile
    from hms_ops.cli.known import Running
    from hms_ops.config import Config
    from hms_ops.rulebook import Plans
    from hms_ops.yamlfile import Node

INVALID = 3
ANY_SHARE = 0.5  # of an objective that stands in another file: any will do to see whether a rule compiles


class Checked(NamedTuple):
    """What was found in one file; `config` where it is an engine's configuration."""

    file: str
    kind: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rules: "RuleFile | None" = None
    config: "Config | None" = None


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--print", "print_", is_flag=True, help="Print what holds: configuration and rules, secrets as ***.")
@click.option("--url", default=None, help="An engine to ask which metrics there are, and how often they come.")
@json_option
def check_config(files: tuple[Path, ...], print_: bool, url: str | None, as_json: bool) -> int:
    """Check configuration and rule files, and the rule files a configuration names. With --print, what holds.

    Exits 3 when any is invalid: a line for each problem says what, why, and what to do. Rules that load and do not do
    what they seem to are warned of; with --url also those whose metrics nobody sends, or too seldom for their windows.

    \b
    Examples:
      hms-ops-engine check-config config/engine.yaml config/rules/*.yaml
      hms-ops-engine check-config /etc/hms-ops/engine.yaml --print
      hms-ops-engine check-config config/rules/*.yaml --url 127.0.0.1:8126
    """
    if not files and not print_:
        raise click.UsageError("give a FILE to check, or --print for the defaults")
    checked = together([check(file, running_at(url)) for file in files])
    if as_json:
        show_json(answer(checked, print_))
    else:
        show(checked, print_)
    return INVALID if any(one.problems for one in checked) else 0


def running_at(url: str | None) -> "Running | None":
    from hms_ops.cli.known import Running

    return None if url is None else Running(url)


def check(file: Path, running: "Running | None" = None) -> Checked:
    """One file. `running`: the engine that knows the metrics."""
    from hms_ops.alert.rulefile import read_roots
    from hms_ops.config import load_node
    from hms_ops.yamlfile import load_file

    kind, config, rules = "config", None, None
    try:
        root = load_file(file)
        if is_rule_file(root):
            kind, rules = "rules", read_roots([root], [])
        else:
            config = load_node(root, file.parent)
            rules = config.load_rules()
        check_compiling(rules, is_whole=kind == "config")
    except ConfigError as error:
        return Checked(str(file), kind, problems=error.problems, config=config)
    # A rule file alone cannot know the profiles of the configuration it will be part of.
    warnings = [*rules.warnings(config.profiles(), config.action_url()), *config.warnings(root)] if config else []
    warnings += linted(rules, running, is_whole=kind == "config")
    return Checked(str(file), kind, (), tuple(warnings), rules, config)


def together(checked: list[Checked]) -> list[Checked]:
    """With warnings of names that a rule file takes from elsewhere, and none of the files has."""
    files = [one.rules for one in checked if one.rules is not None]
    policies = {policy.name for file in files for policy in file.policies}
    watching = {rule.name for file in files for rule in (*file.rules, *file.slo_rules)}
    watching |= {rule.name for file in files for rule in file.anomalies}

    def missing(rules: "RuleFile") -> Iterator[str]:
        for rule in rules.rules:
            if rule.policy and rule.policy not in policies:
                where = f"{rule.source}: {rule.name}"
                yield f"{where}: no policy {rule.policy!r} in the files checked, so it does not escalate"
        for action in rules.actions:
            if action.on not in watching:
                yield f"{action.source}: no rule or anomaly {action.on!r} in the files checked; it waits for alert_now"

    return [
        one._replace(warnings=(*one.warnings, *missing(one.rules))) if one.kind == "rules" and one.rules else one
        for one in checked
    ]


def nobodys(rules: "RuleFile") -> list[str]:
    """Rules that name nobody where no route or policy could: of a whole configuration only."""
    if rules.routes or rules.policies:
        return []
    watching: list[Rule | AnomalyRule] = [*rules.rules, *rules.anomalies]
    return [
        f"{part.source}: {part.name}: no receiver, route or policy: the log only"
        for part in watching
        if not part.notify
    ]


def check_compiling(rules: "RuleFile", *, is_whole: bool) -> None:
    """A sentence may be of the language and still be nothing that can be evaluated, as a start finds too. is_whole:
    objectives that are not here are nowhere; a rule file alone may name those of others."""
    from hms_ops.alert.plan import compile_rule
    from hms_ops.rulebook import shares_of

    shares, problems, plans = shares_of(rules), list[str](), {}
    for rule in (*rules.rules, *rules.slo_rules):
        try:
            plan = compile_rule(
                rule.condition,
                rule.recover,
                rule.where,
                rule.group_by,
                text=rule.text,
                objective=lambda name: shares.get(name, None if is_whole else ANY_SHARE),
            )
            plans[rule.name] = rule, plan
        except ExpressionError as error:
            problems.append(f"{rule.source}: {rule.name}: {error}")
    problems += taken_metrics(rules, plans)
    if problems:
        raise ConfigError(*problems)


def taken_metrics(rules: "RuleFile", plans: "Plans") -> list[str]:
    """Rules whose gauge would take the place of a metric that others read or write."""
    from hms_ops.rulebook import published_by, read_by

    read, published = read_by(plans, rules.anomalies), published_by(rules)
    said = {name: f"the rule {reader!r} reads the metric of that name" for name, reader in read.items()}
    said |= {name: f"the SLO {slo!r} publishes the metric of that name" for name, slo in published.items()}
    watching: list[Rule | AnomalyRule] = [*rules.rules, *rules.anomalies]
    return [
        f"{rule.source}: {rule.name}: {said[rule.name]}, and each rule writes a gauge of its name; choose another name"
        for rule in watching
        if rule.name in said
    ]


def linted(rules: "RuleFile", running: "Running | None", *, is_whole: bool) -> list[str]:
    from hms_ops.alert.language.lint import lint

    policies = {policy.name for policy in rules.policies} if is_whole else None
    if running is None:
        return lint(rules.rules, policies=policies) + (nobodys(rules) if is_whole else [])
    published = {metric for slo in rules.slos for metric in slo.published}
    return lint(
        rules.rules,
        metrics=lambda metric: metric in published or running.seen(metric),
        gap_seconds=running.gap_seconds,
        unit=running.unit,
        policies=policies,
    )


def is_rule_file(root: "Node") -> bool:
    """A file with nothing but a rule file's keys; `rules` that are paths, or `actions` with a url, are an engine's."""
    from hms_ops.alert.rulefile import SECTIONS
    from hms_ops.config import is_pattern

    if not isinstance(root.value, dict) or not root.value or not set(root.value) <= set(SECTIONS):
        return False
    rules, actions = root.get("rules"), root.get("actions")
    if actions is not None and isinstance(actions.value, dict):
        return False
    return rules is None or not isinstance(rules.value, list) or not any(map(is_pattern, rules.elements()))


def effective_of(checked: list[Checked]) -> dict[str, Any] | None:
    """The configuration that holds with the last of the files that is one; the defaults without any file."""
    from hms_ops.config import Config, effective

    configs = [one.config for one in checked if one.config is not None]
    if configs or not checked:
        return effective(configs[-1] if configs else Config())
    return None


def documents_of(checked: list[Checked]) -> dict[str, list[dict[str, Any]]]:
    """The rules of all rule files as they hold, defaults written out, what may be secrets of receivers left out."""
    from hms_ops.alert.receivers import parse_target
    from hms_ops.http.actions import rule_document as action_document
    from hms_ops.http.alerts import rule_document

    files = [one.rules for one in checked if one.kind == "rules" and one.rules is not None]
    found = {
        "rules": [rule_document(rule) for file in files for rule in (*file.rules, *file.slo_rules)],
        "anomalies": [
            asdict(rule) | {"notify": [parse_target(receiver).shown for receiver in rule.notify]}
            for file in files
            for rule in file.anomalies
        ],
        "actions": [action_document(action) for file in files for action in file.actions],
    }
    return {section: documents for section, documents in found.items() if documents}


def answer(checked: list[Checked], print_: bool) -> dict[str, Any]:
    files = [
        {
            "file": one.file,
            "kind": one.kind,
            "valid": not one.problems,
            "problems": one.problems,
            "warnings": one.warnings,
        }
        for one in checked
    ]
    shown = {"config": effective_of(checked), **documents_of(checked)} if print_ else {}
    return {"valid": not any(one.problems for one in checked), "files": files, **shown}


def show(checked: list[Checked], print_: bool) -> None:
    for one in checked:
        for problem in one.problems:
            click.echo(printable_lines(problem), err=True)
        for warning in one.warnings:
            click.echo(f"warning: {printable_lines(warning)}", err=True)
        if not print_ and one.rules is not None:
            counts = counts_of(one.rules)
            click.echo(f"{printable_lines(one.file)}: fine, {counts}")
    for document in (effective_of(checked), documents_of(checked)) if print_ else ():
        if document:
            import yaml

            click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=False).rstrip())


def counts_of(rules: "RuleFile") -> str:
    """`2 rules, 1 slo`: what is in it."""
    from hms_ops.alert.rulefile import SECTIONS

    found = [(len(getattr(rules, section)), section.replace("_", " ")) for section in SECTIONS]
    return ", ".join(f"{count} {name if count > 1 else one_of(name)}" for count, name in found if count) or "no rules"


def one_of(name: str) -> str:
    return name.removesuffix("ies") + "y" if name.endswith("ies") else name.removesuffix("s")

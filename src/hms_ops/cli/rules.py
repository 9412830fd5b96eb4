"""`rules`: what can be done with rules besides loading them; each command stands in a file of its own."""

import click

from hms_ops.cli.rules_explain import explain
from hms_ops.cli.rules_export import export
from hms_ops.cli.rules_import import import_
from hms_ops.cli.rules_replay import replay
from hms_ops.cli.rules_test import test


@click.group()
def rules() -> None:
    """Understand rules, take them over from Prometheus, and give them to it.

    \b
    Examples:
      hms-ops-engine rules explain config/rules/refund-rush.yaml
      hms-ops-engine rules export config/engine.yaml > hms-ops.rules.yaml
      hms-ops-engine rules export config/rules/*.yaml --json
    """


for command in (explain, export, import_, test, replay):
    rules.add_command(command)

"""The rules by which the engine watches itself: selfwatch.yaml, over its own vital signs (`engine.*`).

They are rules like any other: seen, silenced, routed and replaced by one of the same name in a file. The engine adds
them where it publishes its signs.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from hms_ops.alert.rule import Rule
from hms_ops.alert.rulefile import RuleFile, load_rules

SELF_RULES: Final = Path(__file__).with_name("selfwatch.yaml")
SOURCE: Final = "self-watch"


def with_self_watch(file: RuleFile) -> RuleFile:
    """The rules of files and, behind them, those of self-watch whose names they do not have."""
    taken = {rule.name for rule in file.rules} | {rule.name for rule in file.anomalies}
    return replace(file, rules=(*file.rules, *(rule for rule in self_rules() if rule.name not in taken)))


@cache
def self_rules() -> tuple[Rule, ...]:
    return tuple(replace(rule, source=SOURCE) for rule in load_rules([SELF_RULES]).rules)

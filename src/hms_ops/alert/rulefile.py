"""Rule files: YAML with the sections below, read whole or not at all.

    rules:
      - alert: finance.latency_high
        if: avg(finance.api_ms) > 200
        for: 3m
        notify: [sms:+1-555-0100]
      - ALERT db.slow WHEN max(db.write_ms, 5m) > 200ms FOR 3m NOTIFY webhook:ops
    anomalies:
      - {anomaly: finance.anomaly, metric: finance.api_ms, factor: 2, window: 10m}
    actions:
      - {on: finance.anomaly, act: {template: infra.scale-db, input: {replicas: 2}}, cooldown: 10m}
    slos:
      - {slo: finance.api_latency, objective: 99.9, good: finance.api_ms <= 200, window: 30d}
    routes, inhibitions, mute_times, policies: who is told, see routing.py

`load_rules` reads several files as one: names must not repeat across them. Any problem anywhere and nothing is loaded;
the ConfigError then holds all problems of all files, each with `file:line`, those of an expression on the line of
their key and with a caret. The readers of each section's keys are tables in the module of what it makes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from hms_ops.alert.dispatch.escalation import Policy, policy_from_keys
from hms_ops.alert.dispatch.inhibition import Inhibition, inhibition_from_keys
from hms_ops.alert.dispatch.mutetime import MuteTime, mute_time_from_keys
from hms_ops.alert.dispatch.routing import Route, Routing, route_from_keys
from hms_ops.alert.keys import KeyProblem
from hms_ops.alert.notification import Profile
from hms_ops.alert.receivers import warning_of
from hms_ops.alert.rule import (
    ActionRule,
    AnomalyRule,
    Rule,
    action_from_keys,
    anomaly_from_keys,
    rule_from_keys,
    rule_from_sentence,
)
from hms_ops.alert.slo import Slo, slo_from_keys
from hms_ops.errors import ConfigError
from hms_ops.yamlfile import Node, load_file, unknown_keys

RULES_MAX: Final = 10_000
SENTENCE: Final = re.compile(r"ALERT\s", re.IGNORECASE)
SENTENCE_SHOWN_MAX: Final = 300  # characters of a sentence that is said back with quotes


class Named(Protocol):
    """What a section holds: it has a name and knows where it stands."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...


Part = TypeVar("Part", bound=Named)
FromSentence = Callable[[str, str], tuple[Part | None, list[KeyProblem]]]
FromKeys = Callable[[Mapping[str, Any], str], tuple[Part | None, list[KeyProblem]]]


@dataclass(frozen=True)
class RuleFile:
    """What one or several rule files say, in their order."""

    rules: tuple[Rule, ...] = ()
    anomalies: tuple[AnomalyRule, ...] = ()
    actions: tuple[ActionRule, ...] = ()
    slos: tuple[Slo, ...] = ()
    routes: tuple[Route, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    mute_times: tuple[MuteTime, ...] = ()
    policies: tuple[Policy, ...] = ()

    @cached_property
    def routing(self) -> Routing:
        """Who is told."""
        return Routing(self.routes, self.inhibitions, self.mute_times, self.policies)

    @cached_property
    def slo_rules(self) -> tuple[Rule, ...]:
        """The burn-rate alerts of its SLOs."""
        return tuple(rule for slo in self.slos for rule in slo.rules())

    def warnings(self, profiles: Mapping[str, Profile], action_url: str = "") -> list[str]:
        """What loads, but not as its author may think: `file:line: …` each. action_url: of the action service."""
        told = self.unserved(profiles) + [warning for slo in self.slos for warning in slo.warnings()]
        return told + self._waiting_actions() + ([] if action_url else self._homeless_actions())

    def unserved(self, profiles: Mapping[str, Profile]) -> list[str]:
        """The receivers that are not served as written: their notifications go to the log."""
        watching: list[Rule | AnomalyRule] = [*self.rules, *self.slo_rules, *self.anomalies]
        wanted = [(part.source, receiver) for part in watching for receiver in dict.fromkeys(part.notify)]
        wanted += self.routing.receivers()
        warnings = {receiver: warning_of(receiver, profiles) for receiver in {receiver for _, receiver in wanted}}
        told = (f"{source}: {warnings[receiver]}" for source, receiver in wanted if warnings[receiver])
        return list(dict.fromkeys(told))

    def _waiting_actions(self) -> list[str]:
        watching: list[Named] = [*self.rules, *self.slo_rules, *self.anomalies]
        names = {part.name for part in watching}
        return [
            f"{action.source}: no rule or anomaly here is named {action.on!r}; the action waits for alert_now"
            for action in self.actions
            if action.on not in names
        ]

    def _homeless_actions(self) -> list[str]:
        return [
            f"{action.source}: actions.url is not set: the action {action.name!r} cannot run; set it"
            for action in self.actions
            if not action.url and not action.dry_run and not action.command
        ]


def load_rules(paths: Iterable[str | Path], *more: Node) -> RuleFile:
    """The rules of all files, and of roots that are read already; ConfigError with all problems: nothing is loaded."""
    problems: list[str] = []
    roots: list[Node] = []
    for path in paths:
        try:
            roots.append(load_file(path))
        except ConfigError as error:
            problems += error.problems
    return read_roots([*roots, *more], problems)


def read_roots(roots: Iterable[Node], problems: list[str]) -> RuleFile:
    """What all roots say together; ConfigError with these problems and all that are found."""
    parts: dict[str, list[Any]] = {name: [] for name in SECTIONS}
    for root in roots:
        if root.value is not None and not isinstance(root.value, dict):
            problems.append(root.expected("the keys rules, anomalies and actions"))
            continue
        problems += unknown_keys(root, tuple(SECTIONS))
        for name, (from_keys, from_sentence) in SECTIONS.items():
            parts[name] += read_section(root.get(name), problems, from_keys, from_sentence)
    file = RuleFile(**{name: tuple(found) for name, found in parts.items()})
    problems += repeated_names([*file.rules, *file.slo_rules, *file.anomalies]) + repeated_names(file.actions)
    problems += repeated_names(file.slos) + file.routing.problems()
    if len(file.rules) > RULES_MAX:
        problems.append(f"{file.rules[RULES_MAX].source}: more than {RULES_MAX:,} rules")
    if problems:
        raise ConfigError(*problems)
    return file


SECTIONS: Final[dict[str, tuple[FromKeys[Any], FromSentence[Any] | None]]] = {
    "rules": (rule_from_keys, rule_from_sentence),
    "anomalies": (anomaly_from_keys, None),
    "actions": (action_from_keys, None),
    "slos": (slo_from_keys, None),
    "routes": (route_from_keys, None),
    "inhibitions": (inhibition_from_keys, None),
    "mute_times": (mute_time_from_keys, None),
    "policies": (policy_from_keys, None),
}


def read_section(
    section: Node | None,
    problems: list[str],
    from_keys: FromKeys[Part],
    from_sentence: FromSentence[Part] | None = None,
) -> list[Part]:
    """The parts of one section that can be read; what cannot is added to `problems`."""
    if section is None or section.value is None:
        return []
    if not isinstance(section.value, list):
        problems.append(section.expected("a list"))
        return []
    return read_entries(section.elements(), problems, from_keys, from_sentence)


def read_entries(
    nodes: Iterable[Node],
    problems: list[str],
    from_keys: FromKeys[Part],
    from_sentence: FromSentence[Part] | None = None,
) -> list[Part]:
    parts = []
    for node in nodes:
        part, found = read_part(node, from_keys, from_sentence)
        problems += [place(node, problem) for problem in found]
        if part is not None:
            parts.append(part)
    return parts


def read_part(
    node: Node, from_keys: FromKeys[Part], from_sentence: FromSentence[Part] | None
) -> tuple[Part | None, list[KeyProblem]]:
    if isinstance(node.value, dict):
        split = split_sentence(node.value) if from_sentence is not None else ""
        return (None, [KeyProblem("", split)]) if split else from_keys(node.value, node.where)
    if isinstance(node.value, str) and from_sentence is not None:
        return from_sentence(node.value, node.where)
    return None, [KeyProblem("", f"expected keys with values, found {node.kind}")]


def split_sentence(keys: Mapping[str, Any]) -> str:
    """What is wrong with keys that are a sentence: `ALERT … NOTIFY log:` without quotes is a key to YAML. Else ""."""
    key = next(iter(keys), "")
    if not SENTENCE.match(key):
        return ""
    why = "a sentence that holds a colon before a blank or the end is a key to YAML; quote it whole"
    value = keys[key]
    if len(keys) > 1 or isinstance(value, dict | list):
        return why
    whole = (f"{key}:" if value is None else f"{key}: {value}").replace("'", "''")
    return f"{why}: - '{whole}'" if len(whole) <= SENTENCE_SHOWN_MAX else why


def place(node: Node, problem: KeyProblem) -> str:
    """The problem with the `file:line` of its key, or of the whole entry."""
    child = node.get(problem.key) if problem.key and isinstance(node.value, dict) else None
    if child is None:
        return node.problem(problem.message)
    unknown = problem.message.startswith("unknown key")
    return child.problem(problem.message if unknown else f"{problem.key}: {problem.message}")


def repeated_names(parts: Iterable[Named]) -> list[str]:
    first: dict[str, str] = {}
    problems = []
    for part in parts:
        if part.name in first:
            problems.append(f"{part.source}: {part.name!r} stands in {first[part.name]} already; rename or remove one")
        first.setdefault(part.name, part.source)
    return problems

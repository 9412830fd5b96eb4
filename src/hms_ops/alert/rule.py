"""What is watched and what is done about it: rules, anomaly rules and actions, as frozen values.

A rule comes from a rule file, from `engine.alert(…)`, or later over HTTP, in keys or as one sentence; all three end
here. `evaluate.py` evaluates the trees, `state.py` judges what they come to, the outbox takes `notify`.
Errors: `rule_from_keys` returns every problem with its key; `rule_from_arguments` raises them as one ConfigError.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from hms_ops.alert.keys import (
    NOT_BLANK,
    KeyProblem,
    Read,
    at_most,
    duration_from,
    number_from,
    one_of,
    read_duration,
    read_flag,
    read_keys,
    read_mapping,
    read_name,
    read_receivers,
    read_text,
)
from hms_ops.alert.language.grammar import parse_group_by, parse_recover, parse_statement, parse_where
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.language.tree import Condition, Statement, Tags
from hms_ops.alert.language.wording import format
from hms_ops.alert.receivers import is_http
from hms_ops.alert.states.state import NODATA_POLICIES, Nodata
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.reader import Reader, takes

DEFAULT_SEVERITY: Final = "page"
COMMAND_SECONDS_MAX: Final = 3600


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule.

    text: the condition as it was written. group_by: tags; () is one instance over all series, ("*",) one per series.
    notify: receivers' URLs; () leaves it to the routes, and without a route to the log. every_seconds: how often it is
    judged. policy: the name of its escalation policy, "" leaves that to the policies' own matchers. tags: go with each
    of its alerts, for routes and receivers. annotations: texts for people, with `{name}`s (alert/template.py).
    source: `file:line`, or what else it came from.
    """

    name: str
    condition: Condition
    text: str
    for_seconds: float = 0.0
    keep_seconds: float = 0.0
    recover: Condition | None = None
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    nodata: Nodata = "keep"
    severity: str = DEFAULT_SEVERITY
    notify: tuple[str, ...] = ()
    every_seconds: float = 1.0
    policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def shown(self) -> str:
        """The condition as people are told of it: a sentence's other clauses may hold receivers' credentials."""
        return format(self.condition) if "NOTIFY" in self.text.upper() else self.text

    def looks_for_same(self, other: "Rule") -> bool:
        """True when both have the same instances in the same conditions; timing, severity and receivers may differ."""
        return (self.condition, self.recover, self.where, self.group_by) == (
            other.condition,
            other.recover,
            other.where,
            other.group_by,
        )


@dataclass(frozen=True, slots=True)
class AnomalyRule:
    """A series is strange when it exceeds `factor` times its own moving mean of the window before.

    metric: "*" is every series that has a mean. on: what is judged, the second's mean or its max (any single value).
    min_share: with `on: max`, the share of the last 5 judged seconds that must exceed before an episode starts; 0.2 is
    any one of them. min_samples in the window, min_difference in the metric's unit: guards without which it floods.
    ttl_seconds: the alert ends so long after the last strange second.
    """

    name: str
    metric: str
    factor: float = 2.0
    window_seconds: float = 600.0
    on: str = "mean"
    min_share: float = 0.2
    min_samples: int = 10
    min_difference: float = 0.0
    severity: str = DEFAULT_SEVERITY
    notify: tuple[str, ...] = ()
    ttl_seconds: float = 300.0
    source: str = field(default="", compare=False)  # a line that moved is no change


@takes(oneOf=[{"type": "string"}, {"type": "array", "items": {"type": "string", "minLength": 1}}])
def read_group_by(value: Any) -> tuple[str, ...]:
    """Tags, as a list or as the language has them, parted by commas, or `*`."""
    if isinstance(value, str):
        return parse_group_by(value)
    if not isinstance(value, list | tuple) or not all(isinstance(tag, str) and tag for tag in value) or "*" in value:
        raise ValueError(f"expected tags such as [agency, region], or '*' alone, found {value!r}")
    return tuple(dict.fromkeys(value))


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What to run when the alert or anomaly `on` fires: a template of the action service, or a local command.

    url: base of the action service, "" is the configured one. command: program and arguments, () for a template;
    killed after timeout_seconds.
    """

    on: str
    template: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    cooldown_seconds: float = 600.0
    limit_per_hour: int = 6
    dry_run: bool = False
    verify_seconds: float = 120.0
    source: str = ""
    command: tuple[str, ...] = ()
    timeout_seconds: float = 30.0

    @property
    def name(self) -> str:
        return f"{self.on} -> {self.template or ' '.join(self.command)}"


@takes(type="object", additionalProperties={"type": ["string", "number", "boolean"]})
def read_texts(value: Any) -> dict[str, str]:
    """Texts by name, such as tags and annotations; numbers and truth are taken as they are written."""
    texts = {}
    for name, text in read_mapping(value).items():
        if not isinstance(text, str | int | float):
            raise ValueError(f"{name}: expected text, found {text!r}")
        texts[read_name(name)] = str(text).lower() if isinstance(text, bool) else str(text)
    return texts


def read_url(value: Any) -> str:
    url = read_text(value)
    if not is_http(url) or not url.isprintable() or " " in url:
        raise ValueError(f"expected http://host:port of the action service, found {url!r}")
    return url


def read_act(value: Any) -> dict[str, Any]:
    """The template or the command to run, and its input."""
    given = read_mapping(value)
    values, problems = read_keys(given, ACT_READERS, required=() if "command" in given else ("template",))
    problems += [
        KeyProblem(key, f"{key!r} does not go with {with_!r}; remove one of the two")
        for key, with_ in (("command", "template"), ("timeout", "template"))
        if key in given and with_ in given
    ]
    if problems:
        raise ValueError("; ".join(describe(problem) for problem in problems))
    return {"timeout_seconds" if key == "timeout" else key: value for key, value in values.items()}


def read_command(value: Any) -> tuple[str, ...]:
    """A program and its arguments; no shell reads them."""
    if not isinstance(value, list | tuple) or not all(isinstance(part, str | int | float) for part in value):
        raise ValueError(f"expected a program and its arguments, such as [/usr/local/bin/heal, db], found {value!r}")
    parts = tuple(str(part) for part in value)
    if not parts or not parts[0] or any("\0" in part for part in parts):
        raise ValueError(f"expected a program and its arguments, found {value!r}")
    return parts


@takes(type="string", pattern=NOT_BLANK)
def read_statement(value: Any) -> Statement:
    return parse_statement(read_text(value))


@takes(type="string", pattern=NOT_BLANK)
def read_where(value: Any) -> Tags:
    return parse_where(read_text(value))


@takes(**duration_from(1).schema)
def read_every(value: Any) -> float:
    seconds = duration_from(1)(value)
    if problems := every_problems(seconds):
        raise ValueError(problems[0])
    return seconds


RULE_READERS: Final[dict[str, Reader[Any]]] = {
    "alert": read_name.about("The rule's name, and of the gauge it publishes.", example="finance.latency_high"),
    "if": read_statement.about(
        "The condition, or a whole sentence of the alert language.", example="avg(finance.api_ms, 5m) > 200"
    ),
    "for": read_duration.about("How long the condition must hold before the alert fires.", example="3m"),
    "keep": read_duration.about("How long the alert goes on firing after the condition ended.", example="5m"),
    # `< 150` borrows the left side of the condition, so it is read after that
    "recover": read_text.about("The condition under which it recovers.", example="< 150"),
    "where": read_where.about("Which series, by their tags.", example='agency = "irs"'),
    "group_by": read_group_by.about("Tags that make an instance each; * for each series.", example=["agency"]),
    "nodata": one_of(NODATA_POLICIES).about("What it means that nothing is sent."),
    "severity": read_name.about("A word for routes and receivers.", example="page"),
    "notify": read_receivers.about("Who is told.", example=["sms:+1-555-0100"]),
    "every": read_every.about("How often it is judged, in whole seconds.", example="1s"),
    "policy": read_name.about("The name of its escalation policy."),
    "tags": read_texts.about("Tags that go with each of its alerts.", example={"team": "finance"}),
    "annotations": read_texts.about("Texts for people.", example={"summary": "{name} is {value}"}),
}

ANOMALY_READERS: Final[dict[str, Read]] = {
    "anomaly": read_name,
    "metric": read_name,
    "factor": number_from(1, above=True),
    "window": at_most(3600, duration_from(10)),
    "on": one_of(("mean", "max")),
    "min_share": at_most(1, number_from(0, above=True)),
    "min_samples": number_from(1, whole=True),
    "min_difference": number_from(0),
    "severity": read_name,
    "notify": read_receivers,
    "ttl": duration_from(1),
}

ACT_READERS: Final[dict[str, Read]] = {
    "template": read_name,
    "input": read_mapping,
    "command": read_command,
    "timeout": at_most(COMMAND_SECONDS_MAX, duration_from(1)),
}

ACTION_READERS: Final[dict[str, Read]] = {
    "on": read_name,
    "act": read_act,
    "url": read_url,
    "cooldown": read_duration,
    "limit_per_hour": number_from(1, whole=True),
    "dry_run": read_flag,
    "verify": read_duration,
}

# The keys of a rule that a sentence may hold too, and where its tree has them.
CLAUSES: Final[dict[str, str]] = {
    "alert": "name",
    "for": "for_seconds",
    "keep": "keep_seconds",
    "recover": "recover",
    "where": "where",
    "group_by": "group_by",
    "nodata": "nodata",
    "severity": "severity",
    "notify": "notify",
    "every": "every_seconds",
    "policy": "policy",
}
# The keys of a rule that a sentence has no clause for.
KEYS_ONLY: Final = ("tags", "annotations")


def rule_from_keys(given: Mapping[str, Any], source: str) -> tuple[Rule | None, list[KeyProblem]]:
    """The rule that the keys of a rule file describe, or None and all that is wrong with them.

    `if` is a condition or a whole sentence; a clause may stand in the sentence or under its key, not in both.
    """
    values, problems = read_keys(given, RULE_READERS, required=("if",))
    statement = values.pop("if", None)
    if statement is None:
        return None, problems
    problems += [
        KeyProblem(key, f"{key!r} stands in the sentence and as a key; remove one of the two")
        for key in values
        if key in CLAUSES and getattr(statement, CLAUSES[key])
    ]
    problems += check_sentence(statement)
    if "alert" not in given and statement.name is None:
        problems.append(KeyProblem("", "the key 'alert' is missing: the rule needs a name"))
    if "recover" in values:
        try:
            values["recover"] = parse_recover(values["recover"], statement.condition)
        except ExpressionError as error:
            problems.append(KeyProblem("recover", str(error)))
    if problems:
        return None, problems
    apart = {key: values.pop(key) for key in KEYS_ONLY if key in values}
    written = replace(statement, **{CLAUSES[key]: value for key, value in values.items()})
    return replace(rule_of(written, source), **apart), []


def check_sentence(statement: Statement) -> list[KeyProblem]:
    """What a sentence may say in the language, and a rule cannot mean."""
    problems = []
    if statement.every_seconds is not None:
        problems += [KeyProblem("if", f"EVERY {problem}") for problem in every_problems(statement.every_seconds)]
    checked: dict[str, Any] = {"alert": statement.name, "severity": statement.severity, "notify": statement.notify}
    found = read_keys({key: value for key, value in checked.items() if value}, RULE_READERS)[1]
    return problems + [KeyProblem("if", problem.message) for problem in found]


def every_problems(seconds: float) -> list[str]:
    """Why a rule cannot be judged that often."""
    if seconds < 1:
        return ["is at least 1s: the engine judges once a second"]
    whole = math.ceil(seconds)
    return [] if whole == seconds else [f"{duration_text(seconds)} is no whole number of seconds; {whole}s is the next"]


def rule_of(statement: Statement, source: str) -> Rule:
    return Rule(
        name=statement.name or "",
        condition=statement.condition,
        text=statement.text,
        for_seconds=statement.for_seconds or 0.0,
        keep_seconds=statement.keep_seconds or 0.0,
        recover=statement.recover,
        where=statement.where,
        group_by=statement.group_by,
        nodata=cast(Nodata, (statement.nodata or "keep").lower()),
        severity=statement.severity or DEFAULT_SEVERITY,
        notify=statement.notify,
        every_seconds=statement.every_seconds or 1.0,
        policy=statement.policy or "",
        source=source,
    )


def rule_from_sentence(text: str, source: str) -> tuple[Rule | None, list[KeyProblem]]:
    """The rule of `ALERT name WHEN condition …`."""
    return rule_from_keys({"if": text}, source)


def rule_from_arguments(name: str, arguments: Mapping[str, Any], source: str) -> Rule:
    """The rule of `engine.alert(name, if_=…, for_=…, notify=[…])`; ConfigError names every wrong argument."""
    given = {"alert": name, **{key.rstrip("_"): value for key, value in arguments.items()}}
    rule, problems = rule_from_keys(given, source)
    if rule is None:
        raise ConfigError(*(f"{source}: {as_arguments(describe(problem))}" for problem in problems))
    return rule


def as_arguments(text: str) -> str:
    """A proposal of a key as Python takes it: `for_`, where `for` is a word of Python's own."""
    for word in ("for", "if"):
        text = text.replace(f"did you mean {word!r}?", f"did you mean {word + '_'!r}?")
    return text


def anomaly_from_keys(given: Mapping[str, Any], source: str) -> tuple[AnomalyRule | None, list[KeyProblem]]:
    """The anomaly rule that the keys describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, ANOMALY_READERS, required=("anomaly", "metric"))
    if problems:
        return None, problems
    renamed = {"anomaly": "name", "window": "window_seconds", "ttl": "ttl_seconds"}
    return AnomalyRule(**{renamed.get(key, key): value for key, value in values.items()}, source=source), []


def action_from_keys(given: Mapping[str, Any], source: str) -> tuple[ActionRule | None, list[KeyProblem]]:
    """The action that the keys describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, ACTION_READERS, required=("on", "act"))
    if problems:
        return None, problems
    renamed = {"cooldown": "cooldown_seconds", "verify": "verify_seconds"}
    values |= values.pop("act")
    return ActionRule(**{renamed.get(key, key): value for key, value in values.items()}, source=source), []


def describe(problem: KeyProblem) -> str:
    return f"{problem.key}: {problem.message}" if problem.key else problem.message

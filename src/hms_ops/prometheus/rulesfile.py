"""Prometheus rule files: read with their lines, and each alert as a rule of ours.

    groups:                                             rules:
    - name: web                                         - alert: HighErrorRate
      rules:                                              if: rate(errors_total[5m]) > 5
      - alert: HighErrorRate                              for: 10m
        expr: sum by (job) (rate(errors_total[5m])) > 5   group_by: [job]
        for: 10m                                          nodata: ok
        labels: {severity: page, team: web}               severity: page
                                                          tags: {team: web}

`read_groups` takes plain rule files and PrometheusRule resources of the operator (`spec: {groups: …}`), as
vmalert's, which have the same keys. `import_groups` takes all groups together: recording rules of one file may be read
by alerts of another. Prometheus ends an alert as soon as its expression has no element, so `nodata` is `ok`.
An alert's name is used once here: the second one of a name gets its severity, or a number, behind it.

Errors: ConfigError for what is no rule file; a rule that cannot be said is an Imported without a rule.
Not here: the expression (promql.py), writing (written.py).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from hms_ops.alert.keys import NAME_BYTES_MAX
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.language.tree import GROUP_BY_ALL
from hms_ops.alert.language.wording import format
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.rule import Rule, describe, rule_from_keys
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.prometheus import exported
from hms_ops.prometheus.durations import seconds_of
from hms_ops.prometheus.gotemplate import annotation
from hms_ops.prometheus.promql import parsed, translate
from hms_ops.prometheus.selection import reads
from hms_ops.prometheus.vector import GRADES, Grade, Note, Recorded, Scope, Unsupported, Vector
from hms_ops.yamlfile import Node, load_text

SEVERITY: Final = "severity"


@dataclass(frozen=True, slots=True)
class PrometheusRule:
    """One rule as its file has it. `for` and `keep_firing_for` in seconds; source: `file:line`."""

    group: str
    expr: str
    source: str
    alert: str = ""
    record: str = ""
    for_seconds: float = 0.0
    keep_seconds: float = 0.0
    interval_seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """A Prometheus rule and what became of it: `keys` are those of our rule, None for one that cannot be said.

    notes: why the expression is not exact, by node. text_notes: what annotations and labels lost, which changes no
    alert. exact_texts: the annotations that say the same. inlined: a recording rule whose readers have its expression.
    """

    origin: PrometheusRule
    rule: Rule | None = None
    keys: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    text_notes: tuple[str, ...] = ()
    exact_texts: frozenset[str] = frozenset()
    inlined: bool = False

    @property
    def name(self) -> str:
        return self.origin.alert or self.origin.record

    @property
    def grade(self) -> Grade:
        return max((note.grade for note in self.notes), key=GRADES.index, default="exact")


# ---- reading


def import_rules(text: str, source: str, scope: Scope | None = None) -> list[Imported]:
    """The rules of one file's text."""
    return import_groups(read_groups(load_text(text, source)), scope)


def read_groups(root: Node) -> list[PrometheusRule]:
    """The rules of a file in their order; ConfigError with all that is wrong."""
    problems: list[str] = []
    rules: list[PrometheusRule] = []
    place = root.get("spec") if isinstance(root.value, dict) and "spec" in root.value else root
    groups = place.get("groups") if place is not None and isinstance(place.value, dict) else None
    if groups is None or not isinstance(groups.value, list):
        raise ConfigError(root.problem("no Prometheus rule file: the key 'groups' with a list is missing"))
    for group in groups.elements():
        try:
            rules += read_group(group)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return rules


def read_group(group: Node) -> Iterator[PrometheusRule]:
    name, interval, rules = group.get("name"), group.get("interval"), group.get("rules")
    seconds = 0.0 if interval is None else duration(interval)
    for rule in rules.elements() if rules is not None else ():
        yield read_rule(rule, str(name.value) if name is not None else "", seconds)


def read_rule(node: Node, group: str, interval_seconds: float) -> PrometheusRule:
    names = {key: text(node, key) for key in ("alert", "record", "expr")}
    if not names["expr"] or bool(names["alert"]) == bool(names["record"]):
        raise ConfigError(node.problem("a rule has an expr, and one of alert and record"))
    waits = {key: node.get(key) for key in ("for", "keep_firing_for")}
    seconds = {key: 0.0 if child is None else duration(child) for key, child in waits.items()}
    return PrometheusRule(
        group=group,
        source=node.where,
        for_seconds=seconds["for"],
        keep_seconds=seconds["keep_firing_for"],
        interval_seconds=interval_seconds,
        labels=texts(node.get("labels")),
        annotations=texts(node.get("annotations")),
        **names,
    )


def text(node: Node, key: str) -> str:
    child = node.get(key)
    return "" if child is None or child.value is None else str(child.value).strip()


def texts(node: Node | None) -> dict[str, str]:
    return {} if node is None else {key: plain(child.value) for key, child in node.items()}


def plain(value: Any) -> str:
    """A scalar as YAML has it in a place for text."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def duration(node: Node) -> float:
    try:
        return seconds_of(plain(node.value))
    except ValueError as error:
        raise ConfigError(node.problem(str(error))) from None


# ---- importing


def import_groups(rules: Iterable[PrometheusRule], scope: Scope | None = None) -> list[Imported]:
    """Our rule for each, in their order; their names are made unique."""
    origins = list(rules)
    scope = known(origins, scope or Scope())
    names = unique_names(origins)
    return [
        recording(origin, scope) if origin.record else imported(origin, name, scope)
        for origin, name in zip(origins, names, strict=True)
    ]


def known(origins: Iterable[PrometheusRule], scope: Scope) -> Scope:
    """The scope with the recording rules, and the metrics that any rule reads as counters."""
    recorded: dict[str, Recorded] = {}
    counters = set(scope.counters)
    for origin in origins:
        try:
            expression = parsed(origin.expr)
        except Unsupported:
            continue
        counters |= {read.metric for read in reads(expression) if read.is_counted}
        if origin.record and origin.record not in scope.fed:
            labels = origin.labels if origin.record not in recorded else {"recorded": "twice"}
            recorded[origin.record] = Recorded(expression, labels)
    return replace(scope, counters=frozenset(counters - recorded.keys()), recorded={**recorded, **scope.recorded})


def recording(origin: PrometheusRule, scope: Scope) -> Imported:
    """A recording rule is no rule here; it is fine when its expression can take the place of its name."""
    try:
        notes = expression(origin, scope)[1]
    except Unsupported as error:
        return Imported(origin, notes=error.notes)
    recorded = scope.recorded.get(origin.record)
    if recorded is not None and recorded.labels:
        return Imported(origin, notes=(Note(origin.record, "unsupported", "recorded with labels, or several times"),))
    return Imported(origin, notes=notes, inlined=True)


def expression(origin: PrometheusRule, scope: Scope) -> tuple[Vector, tuple[Note, ...]]:
    return translate(parsed(origin.expr), scope)


def imported(origin: PrometheusRule, name: str, scope: Scope) -> Imported:
    """An alert as a rule of ours."""
    try:
        if exported.MARK in origin.annotations:
            return taken_back(origin, name, scope)
        vector, notes = expression(origin, scope)
        keys, text_notes, exact = keys_of(origin, name, vector)
        return Imported(origin, compiled(keys, origin.source), keys, notes, text_notes, exact)
    except Unsupported as error:
        return Imported(origin, notes=error.notes)


def taken_back(origin: PrometheusRule, name: str, scope: Scope) -> Imported:
    """A rule that this engine exported, as it was."""
    held = exported.parts_of(parsed(origin.expr))
    scope = replace(scope, is_exported=True)
    vector, notes = translate(held.condition, scope)
    end, more = translate(held.end, scope)
    bare = {key: text for key, text in origin.annotations.items() if key not in exported.OWN}
    keys, text_notes, exact = keys_of(replace(origin, annotations=bare), name, vector)
    keys["nodata"] = held.nodata
    if end.condition() != exported.opposite(vector.condition()):
        keys["recover"] = format(end.condition())
    return Imported(origin, compiled(keys, origin.source), keys, (*notes, *more), text_notes, exact)


def compiled(keys: Mapping[str, Any], source: str) -> Rule:
    """The rule of the keys, once the engine's own readers and compiler have taken it."""
    rule, problems = rule_from_keys(keys, source)
    if rule is None:
        raise Unsupported(*(Note("", "unsupported", describe(problem)) for problem in problems))
    try:
        compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text)
    except ExpressionError as error:
        raise Unsupported(Note(str(keys["if"]), "unsupported", error.message)) from None
    return rule


def keys_of(
    origin: PrometheusRule, name: str, vector: Vector
) -> tuple[dict[str, Any], tuple[str, ...], frozenset[str]]:
    """The keys of our rule, what its texts lost, and which annotations did not."""
    keys: dict[str, Any] = {"alert": name, "if": format(vector.condition())}
    for key, seconds in (
        ("for", origin.for_seconds),
        ("keep", origin.keep_seconds),
        ("every", origin.interval_seconds),
    ):
        if seconds:
            keys[key] = duration_text(seconds)
    if vector.group_by:
        keys["group_by"] = "*" if vector.group_by == GROUP_BY_ALL else list(vector.group_by)
    keys["nodata"] = "ok"
    notes: list[str] = [] if name == origin.alert else [f"the alert {origin.alert!r} is called {name} here"]
    tags = {**dict(vector.labels), **labels_of(origin, notes)}
    shared = [label for label in vector.group_by or () if label in tags]
    notes += [f"label {label}: the series' own is told here, Prometheus tells the rule's" for label in shared]
    severity = tags.pop(SEVERITY, "")
    if severity:
        keys["severity"] = severity
    if tags:
        keys["tags"] = tags
    made = {key: annotation(template) for key, template in origin.annotations.items() if template}
    notes += [f"annotation {key}: {note}" for key, one in made.items() for note in one.notes]
    if made:
        keys["annotations"] = {key: one.text for key, one in made.items()}
    return keys, tuple(notes), frozenset(key for key, one in made.items() if one.is_exact)


def labels_of(origin: PrometheusRule, notes: list[str]) -> dict[str, str]:
    """The labels that a rule fixes; a template in one would need evaluating."""
    fixed = {}
    for label, value in origin.labels.items():
        if "{{" in value:
            notes.append(f"label {label}: {value!r} is a template; labels are fixed here")
        else:
            fixed[label] = value
    return fixed


def unique_names(origins: Iterable[PrometheusRule]) -> list[str]:
    """A name for each alert that no other has: its severity behind it, else a number."""
    given = list(origins)
    counts = Counter(origin.alert for origin in given)
    taken: set[str] = {""}
    numbers: dict[str, Iterator[int]] = {}
    names = []
    for origin in given:
        name = spelled(origin.alert)
        if name in taken and counts[origin.alert] > 1:
            name = spelled(f"{origin.alert}.{origin.labels.get(SEVERITY) or 2}")
        while name and name in taken:
            name = f"{spelled(origin.alert)}.{next(numbers.setdefault(origin.alert, count(2)))}"
        taken.add(name)
        names.append(name)
    return names


def spelled(name: str) -> str:
    """A name without what names here may not hold."""
    bare = re.sub(r"[^\w.:-]+", "_", name).strip("_").encode()[: NAME_BYTES_MAX // 2]
    return bare.decode(errors="ignore")

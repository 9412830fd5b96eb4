"""Rules as a Prometheus rule file, for vmalert, Prometheus or Mimir's ruler, over what remote write sends.

    ALERT slow WHEN avg(api_ms) > 200 RECOVER < 150 FOR 3m KEEP 1m   ──►  alert: slow
                                                                          expr: TRUE or (firing unless recovered)
                                                                          for: 3m    keep_firing_for: 1m

Our alerts end when their condition is FALSE (or RECOVER is TRUE), not when data is missing; Prometheus' end as soon as
the expression has no element. So the expression holds what is firing already, as ALERTS says, until the end is there.
NODATA ok ends it without data, NODATA alert fires without. The value of an alert that is only held is 1.
keep_firing_for needs Prometheus 2.42, vmalert 1.90.

Each rule says how well it was lowered: a comment before it and the annotation `hms_ops_lowering`. Rules that are
unsupported stand as comments. Receivers, inhibition and actions stay the engine's: Alertmanager has its own.
"""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from hms_ops.alert.language.tree import GROUP_BY_ALL, Absent, selectors
from hms_ops.alert.rule import Rule
from hms_ops.remote.labels import outer_tag
from hms_ops.remote.lower import lower
from hms_ops.remote.matchers import Impossible, quoted
from hms_ops.remote.promql import Lowered, Outside

GROUP: Final = "hms-ops"


class Exported(NamedTuple):
    """A rule and what became of it: `promql` is the whole expression of the rule, "" when it is unsupported."""

    rule: Rule
    promql: str
    grade: str


def exported(rule: Rule, outside: Outside) -> Exported:
    """One rule; its expression with the hold."""
    condition = lower(rule.condition, rule.where, rule.group_by, outside)
    recover = lower(rule.recover, rule.where, rule.group_by, outside) if rule.recover is not None else None
    for part in filter(None, (condition, recover)):
        if not part.is_possible:
            return Exported(rule, "", part.grade)
    notes = dict.fromkeys((*condition.notes, *(recover.notes if recover else ())))
    try:
        promql = f"({condition.promql}) or {held(rule, condition, recover, outside)}"
    except Impossible as error:
        return Exported(rule, "", f"unsupported: {error}")
    if rule.nodata == "alert":
        promql, notes = with_nodata(rule, promql, condition, outside, notes)
    return Exported(rule, promql, Lowered(promql, "", tuple(notes)).grade)


def held(rule: Rule, condition: Lowered, recover: Lowered | None, outside: Outside) -> str:
    """What fires already and has not come to its end."""
    firing = f'ALERTS{{alertname={quoted(rule.name)},alertstate="firing"}}'
    own = ", ".join(map(outer_tag, rule.group_by))
    if rule.group_by == GROUP_BY_ALL:
        firing = f"max without (alertname, alertstate, severity) ({firing})"
    else:
        firing = f"max by ({own}) ({firing})" if own else f"max({firing})"
    end = recover.promql if recover is not None else condition.false
    text = f"({firing} unless ({end}))"
    if rule.nodata == "ok":
        text = f"({text} and (({condition.promql}) or ({condition.false})))"
    return text


def with_nodata(
    rule: Rule, promql: str, condition: Lowered, outside: Outside, notes: dict[str, None]
) -> tuple[str, dict[str, None]]:
    """TRUE as well where the condition is NULL: for groups, those seen lately."""
    known = f"({condition.promql}) or ({condition.false})"
    if not rule.group_by:
        return f"({promql}) or absent({known})", notes
    series = next(selectors(rule.condition), None)
    if series is None:
        return promql, {**notes, "NODATA alert needs a metric": None}
    seen = lower(Absent(series), rule.where, rule.group_by, outside)
    return f"({promql}) or (({seen.promql} or {seen.false}) unless ({known}))", notes | dict.fromkeys(seen.notes)


def rule_file(rules: Iterable[Rule], outside: Outside) -> str:
    """The YAML of a rule file with one group, each value a JSON string: no text needs another escape."""
    lines = ["# Made by hms-ops-engine rules export.", "groups:", f"- name: {GROUP}", "  rules:"]
    made = [exported(rule, outside) for rule in rules]
    for one in made:
        lines += rule_lines(one)
    if not any(one.promql for one in made):
        lines[3] = "  rules: []"
    return "\n".join([*lines, ""])


def rule_lines(one: Exported) -> list[str]:
    rule = one.rule
    comment = [f"  # {comment_text(rule.name)}: {comment_text(one.grade)}"]
    if not one.promql:
        return [*comment, f"  #   {comment_text(rule.shown)}"]
    lines = [*comment, f"  - alert: {json.dumps(rule.name)}", f"    expr: {json.dumps(one.promql)}"]
    for key, seconds in (("for", rule.for_seconds), ("keep_firing_for", rule.keep_seconds)):
        if seconds:
            lines.append(f"    {key}: {round(seconds * 1000)}ms")
    return [
        *lines,
        "    labels:",
        f"      severity: {json.dumps(rule.severity)}",
        "    annotations:",
        f"      hms_ops_rule: {json.dumps(template_text(rule.shown))}",
        f"      hms_ops_lowering: {json.dumps(one.grade)}",
    ]


def comment_text(text: str) -> str:
    return " ".join(text.split())


def template_text(text: str) -> str:
    """Annotations are Go templates: two braces would open one."""
    return text.replace("{{", "{ {")

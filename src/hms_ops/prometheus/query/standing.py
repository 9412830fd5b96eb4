"""Rules and alerts in Prometheus' form, for `/api/v1/rules` and `/api/v1/alerts`.

A rule's query is its condition in our language: Grafana shows it, and asks nobody to evaluate it. Rules are grouped by
the file they stand in. Pure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.alert.template import render
from hms_ops.prometheus.query.answer import number_text

NEVER: Final = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the rules is asked for; empty for all."""

    names: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    is_recording: bool = False
    with_alerts: bool = True


def rule_groups(
    rules: Sequence[Rule], alerts: Sequence[Alert], problems: Mapping[str, str], now: float, wanted: Wanted
) -> list[dict[str, Any]]:
    """problems: of rules that cannot be evaluated, by name."""
    groups: dict[str, dict[str, Any]] = {}
    for rule in () if wanted.is_recording else rules:
        file = file_of(rule)
        if not is_wanted(rule, file, wanted):
            continue
        group = groups.setdefault(file, group_of(file, now))
        own = [alert for alert in alerts if alert.name == rule.name and alert.state != "resolved"]
        group["rules"].append(rule_document(rule, own, problems.get(rule.name, ""), now, wanted.with_alerts))
    return list(groups.values())


def is_wanted(rule: Rule, file: str, wanted: Wanted) -> bool:
    asked = ((wanted.names, rule.name), (wanted.groups, group_name(file)), (wanted.files, file))
    return all(not names or name in names for names, name in asked)


def file_of(rule: Rule) -> str:
    """The file of `file:line`; of a rule that came another way, that way."""
    file, _, line = rule.source.rpartition(":")
    return file if file and line.isdecimal() else rule.source


def group_name(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".yaml").removesuffix(".yml")


def group_of(file: str, now: float) -> dict[str, Any]:
    return {
        "name": group_name(file),
        "file": file,
        "rules": [],
        "interval": 1,
        "limit": 0,
        "evaluationTime": 0,
        "lastEvaluation": time_text(now),
    }


def rule_document(rule: Rule, alerts: Sequence[Alert], problem: str, now: float, with_alerts: bool) -> dict[str, Any]:
    return {
        "state": state_of(alerts),
        "name": rule.name,
        "query": rule.shown,
        "duration": rule.for_seconds,
        "keepFiringFor": rule.keep_seconds,
        "labels": {**rule.tags, "severity": rule.severity},
        "annotations": dict(rule.annotations),
        "alerts": [alert_document(alert) for alert in alerts] if with_alerts else [],
        "health": "err" if problem else "ok",
        **({"lastError": problem} if problem else {}),
        "evaluationTime": 0,
        "lastEvaluation": time_text(now),
        "type": "alerting",
    }


def state_of(alerts: Iterable[Alert]) -> str:
    states = {alert.state for alert in alerts}
    return next((state for state in ("firing", "pending") if state in states), "inactive")


def alert_document(alert: Alert) -> dict[str, Any]:
    return {
        "labels": alert.labels,
        "annotations": {name: render(text, alert) for name, text in alert.annotations.items()},
        "state": alert.state,
        "activeAt": time_text(alert.since),
        "value": number_text(alert.value),
    }


def time_text(seconds: float) -> str:
    """RFC 3339 in UTC."""
    if not (math.isfinite(seconds) and seconds > 0):
        return NEVER
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

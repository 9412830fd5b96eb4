"""One run of an action: what is asked of the service or handed to the command, and its record on disk.

Made by `action.py`, which decides and carries out. A run's key is the hash of action, alert and episode, so that the
same run is found again after a restart; services get it as their idempotency key. Plain values.

A record (table "runs", key: the run's):

    action, alert, tags, alert_key, episode, severity, since, value, time     of any; value: none for NaN; time: Unix
                seconds of the intent
    state       intent | succeeded | failed | dry | unknown
    outcome     in words, once it is known
    output      what a command printed, its beginning
    verified    "" while it is being watched, else what came of it; only where it was to be verified
    verify_until, verify_from     Unix seconds, likewise
    owed        why a human is to be called; "" once that is on its way for certain, missing where nobody is
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hms_ops.alert.notification import Alert, digest
from hms_ops.alert.rule import ActionRule

State = Literal["intent", "succeeded", "failed", "dry", "unknown"]

STATES: Final = ("intent", "succeeded", "failed", "dry", "unknown")


@dataclass(frozen=True, slots=True)
class Run:
    """One run on its way."""

    rule: ActionRule
    alert: Alert
    key: str

    @property
    def name(self) -> str:
        """What records call the action: the template, or the command."""
        return self.rule.template or " ".join(self.rule.command)


def run_of(rule: ActionRule, alert: Alert, origin: str) -> Run:
    """origin tells engines apart, whose episodes number alike."""
    return Run(rule, alert, digest(["run", origin, rule.name, alert.key, alert.episode]))


def request_of(run: Run) -> dict[str, Any]:
    """What the action service is sent, and a command gets on its standard input."""
    alert = run.alert
    return {
        "template": run.rule.template,
        "input": dict(run.rule.input),
        "alert": {
            "name": alert.name,
            "state": alert.state,
            "value": finite_or_none(alert.value),
            "tags": dict(alert.tags),
            "since": alert.since,
            "severity": alert.severity,
            "episode": alert.episode,
        },
        "idempotency_key": run.key,
    }


def finite_or_none(value: float) -> float | None:
    """As JSON has it."""
    return value if math.isfinite(value) else None


def input_of(run: Run) -> bytes:
    return json.dumps(request_of(run)).encode()


def environment_of(run: Run, path: str) -> dict[str, str]:
    """All that a command finds in its environment."""
    alert = run.alert
    told = {
        "ACTION": run.rule.name,
        "ALERT": alert.name,
        "EPISODE": str(alert.episode),
        "SEVERITY": alert.severity,
        "VALUE": f"{alert.value:.17g}" if math.isfinite(alert.value) else "",
        "KEY": run.key,
    }
    return {"PATH": path, **{f"HMS_OPS_{name}": text.replace("\0", "") for name, text in told.items()}}


def record_of(run: Run, time: float) -> dict[str, Any]:
    """The record of its intent."""
    alert = run.alert
    return {
        "action": run.rule.name,
        "alert": alert.name,
        "tags": dict(alert.tags),
        "alert_key": alert.key,
        "episode": alert.episode,
        "severity": alert.severity,
        "notify": list(alert.notify),
        "policy": alert.policy,
        "rule_tags": dict(alert.rule_tags),
        "since": alert.since,
        "value": finite_or_none(alert.value),
        "time": time,
        "state": "intent",
        "outcome": "",
    }


def run_of_record(key: str, record: Mapping[str, Any], rule: ActionRule | None) -> Run:
    """The run that a record is of; without its rule nothing but its name is known of that. ValueError, KeyError or
    TypeError for what is no record of a run."""
    if record["state"] not in STATES or not math.isfinite(float(record["time"])):
        raise ValueError(f"state is one of {', '.join(STATES)}, found {record['state']!r}")
    alert = Alert(
        str(record["alert"]),
        "firing",
        math.nan if record["value"] is None else float(record["value"]),
        {str(tag): str(value) for tag, value in record["tags"].items()},
        float(record["since"]),
        str(record["severity"]),
        int(record["episode"]),
        notify=tuple(map(str, record.get("notify", ()))),
        policy=str(record.get("policy", "")),
        rule_tags={str(tag): str(value) for tag, value in record.get("rule_tags", {}).items()},
    )
    if not isinstance(record["action"], str):
        raise TypeError(f"action is a name, found {record['action']!r}")
    on, _, what = record["action"].partition(" -> ")
    return Run(rule or ActionRule(on, what), alert, key)

"""One alert instance in plain values: its key, what its rule says of it, and the Alert that others see.

An instance is a rule (or the name of an `alert_now`) and the tags of a group. Used by `instances.py` and `unruled.py`,
which keep them, and by `restart.py`, which reads them back. Nothing here waits, fails or has a clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from hms_ops.alert.language.wording import format, format_tags
from hms_ops.alert.notification import Alert, GroupTags, digest
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.state import AlertState, Event, Timing

Key = tuple[str, GroupTags]  # a rule's name and the tags of a group, sorted

NULL: Final = math.nan


@dataclass(frozen=True, slots=True)
class Facts:
    """What every alert of a rule says alike; of an `alert_now`, what its caller said."""

    severity: str = "page"
    rule_text: str = ""
    notify: tuple[str, ...] = ()
    policy: str = ""
    rule_tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def facts_of(rule: Rule) -> Facts:
    return Facts(rule.severity, rule.shown, rule.notify, rule.policy, rule.tags, rule.annotations)


def timing_of(rule: Rule) -> Timing:
    every = max(1, math.ceil(rule.every_seconds))
    return Timing(rule.for_seconds, rule.keep_seconds, rule.nodata, rule.recover is not None, every)


def looks_of(rule: Rule) -> str:
    """Names what a rule looks for: the same for rules of which `looks_for_same` is true, across restarts too."""
    recover = "" if rule.recover is None else format(rule.recover)
    where = "" if rule.where is None else format_tags(rule.where)
    return digest([format(rule.condition), recover, where, rule.group_by])


def id_of(key: Key) -> str:
    """Its key on disk: the same as `Alert.key`, in half the time, since a tick may want 100,000."""
    tags = ", ".join([f"[{quoted(tag)}, {quoted(value)}]" for tag, value in key[1]])
    return sha256(f"[{quoted(key[0])}, [{tags}]]".encode()).hexdigest()[:32]


def word_of(state: AlertState) -> Event:
    return "firing" if state.is_firing else "pending"


def make_alert(
    key: Key,
    facts: Facts,
    state: Event,
    value: float,
    since: int,
    episode: int,
    reason: str = "",
    until: int = 0,
) -> Alert:
    """The public face of an instance; while pending it has no episode, only a resolved one has `until`."""
    return Alert(
        key[0],
        state,
        value,
        dict(key[1]),
        float(since),
        facts.severity,
        0 if state == "pending" else episode,
        reason,
        facts.rule_text,
        float(until),
        facts.notify,
        facts.policy,
        facts.rule_tags,
        facts.annotations,
    )

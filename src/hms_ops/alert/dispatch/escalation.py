"""Escalation policies: who is told, and after how long, while nobody acknowledges an alert or it is not resolved.

    policies:
      - policy: congressional-sla
        match: {sla: congressional}
        severity: page
        levels:
          - {after: 0s, notify: [sms:+1-555-0100]}
          - {after: 15m, notify: [sms:+1-555-0101], until: ack}
          - {after: 1h, notify: [email:cio@agency.example], until: resolve}
        repeat: 2               # so many more rounds when nobody acknowledges
        repeat_after: 10m       # from the last level to the next round, or to the last resort
        ack_timeout: 2h         # acknowledged and still firing: it starts again
        last_resort: [sms:+1-555-0199]

`after` counts from the beginning of the round. A level that is `until: ack` (the default) is told no more once the
alert is acknowledged; one that is `until: resolve` is told all the same. A policy is chosen by the alert's own
`policy`, else the first whose `match` and `severity` hold; one that has neither is chosen by name only. What starts
again counts `after` anew, so an `ack_timeout` should be longer than the `after` of a level that must be told in time.

Pure: a policy is laid out as its rungs, `(seconds from the start, level, receivers)`, and where an alert stands is when
it started and which rung is next. The dispatcher asks and keeps it. Bounds: LEVELS_MAX, ROUNDS_MAX.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

from hms_ops.alert.dispatch.matching import Matchers, read_match
from hms_ops.alert.keys import (
    KeyProblem,
    Read,
    at_most,
    duration_from,
    number_from,
    one_of,
    read_duration,
    read_keys,
    read_mapping,
    read_name,
    read_receivers,
)
from hms_ops.alert.notification import Alert

LEVELS_MAX: Final = 20
ROUNDS_MAX: Final = 100
REPEAT_AFTER_SECONDS: Final = 300.0
ENDS: Final = ("ack", "resolve")


class Level(NamedTuple):
    after_seconds: float
    notify: tuple[str, ...]
    until: str = "ack"


class Rung(NamedTuple):
    """One telling: seconds from the start of the escalation, the level's number from 1 on, whom, and until when."""

    offset_seconds: float
    level: int
    notify: tuple[str, ...]
    until: str


@dataclass(frozen=True, slots=True)
class Policy:
    """repeat: rounds after the first. ack_timeout_seconds: inf for none. matchers None and no severities: by name only.
    last_resort is one level more, after all rounds."""

    name: str
    levels: tuple[Level, ...]
    matchers: Matchers | None = None
    severities: tuple[str, ...] = ()
    repeat: int = 0
    repeat_after_seconds: float = REPEAT_AFTER_SECONDS
    ack_timeout_seconds: float = math.inf
    last_resort: tuple[str, ...] = ()
    source: str = ""
    rungs: tuple[Rung, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rungs", tuple(laid_out(self)))

    def is_for(self, labels: Mapping[str, str]) -> bool:
        if self.matchers is None and not self.severities:
            return False
        is_severe = not self.severities or labels["severity"] in self.severities
        return is_severe and (self.matchers is None or self.matchers.accept(labels))


def laid_out(policy: Policy) -> Iterable[Rung]:
    round_seconds = policy.levels[-1].after_seconds + policy.repeat_after_seconds
    for number in range(policy.repeat + 1):
        for place, level in enumerate(policy.levels, 1):
            yield Rung(number * round_seconds + level.after_seconds, place, level.notify, level.until)
    if policy.last_resort:
        yield Rung((policy.repeat + 1) * round_seconds, len(policy.levels) + 1, policy.last_resort, "ack")


class Escalation(NamedTuple):
    """Where an alert stands: began, in Unix seconds; the index of the next rung. paused: since when it stands still
    because the alert is held back, 0.0 while it does not."""

    policy: str
    began: float
    next: int = 0
    paused: float = 0.0


def chosen(policies: Mapping[str, Policy], alert: Alert, labels: Mapping[str, str]) -> Policy | None:
    """The alert's policy: by its name, else the first that is for such alerts."""
    if alert.policy:
        return policies.get(alert.policy)
    return next((policy for policy in policies.values() if policy.is_for(labels)), None)


def skipped(policy: Policy, escalation: Escalation, is_acked: bool) -> Escalation:
    """The same, with its next rung one that is still to be told."""
    place = escalation.next
    while is_acked and place < len(policy.rungs) and policy.rungs[place].until == "ack":
        place += 1
    return escalation if place == escalation.next else escalation._replace(next=place)


def due_at(policy: Policy, escalation: Escalation) -> float:
    """When the next rung is told; inf when there is none, or while it stands still."""
    if escalation.paused or escalation.next >= len(policy.rungs):
        return math.inf
    return escalation.began + policy.rungs[escalation.next].offset_seconds


def paused(escalation: Escalation, now: float) -> Escalation:
    return escalation if escalation.paused else escalation._replace(paused=now)


def resumed(escalation: Escalation, now: float) -> Escalation:
    """Going on as if the time it stood still had not been."""
    if not escalation.paused:
        return escalation
    return escalation._replace(began=escalation.began + now - escalation.paused, paused=0.0)


# ---- keys


def read_level(value: Any) -> Level:
    values, problems = read_keys(read_mapping(value), LEVEL_READERS, required=("notify",))
    if problems:
        raise ValueError("; ".join(f"{problem.key} {problem.message}".strip() for problem in problems))
    return Level(values.get("after", 0.0), values["notify"], values.get("until", "ack"))


def read_levels(value: Any) -> tuple[Level, ...]:
    """Levels in the order of their `after`."""
    if not isinstance(value, list) or not 1 <= len(value) <= LEVELS_MAX:
        raise ValueError(f"expected 1 to {LEVELS_MAX} levels, such as [{{after: 15m, notify: [sms:+1-555-0100]}}]")
    levels = tuple(map(read_level, value))
    for number, (before, level) in enumerate(pairwise(levels), 2):
        if level.after_seconds < before.after_seconds:
            raise ValueError(f"level {number} comes before level {number - 1}: `after` counts from the beginning")
    return levels


def read_some_receivers(value: Any) -> tuple[str, ...]:
    receivers = read_receivers(value)
    if not receivers:
        raise ValueError("expected at least one receiver, such as sms:+1-555-0100")
    return receivers


def read_severities(value: Any) -> tuple[str, ...]:
    return tuple(map(read_name, value)) if isinstance(value, list) else (read_name(value),)


LEVEL_READERS: Final[dict[str, Read]] = {
    "after": read_duration,
    "notify": read_some_receivers,
    "until": one_of(ENDS),
}
POLICY_READERS: Final[dict[str, Read]] = {
    "policy": read_name,
    "match": read_match,
    "severity": read_severities,
    "levels": read_levels,
    "repeat": at_most(ROUNDS_MAX, number_from(0, whole=True)),
    "repeat_after": duration_from(1),
    "ack_timeout": duration_from(1),
    "last_resort": read_some_receivers,
}
_FIELDS: Final = {
    "policy": "name",
    "match": "matchers",
    "severity": "severities",
    "repeat_after": "repeat_after_seconds",
    "ack_timeout": "ack_timeout_seconds",
}


def policy_from_keys(given: Mapping[str, Any], source: str) -> tuple[Policy | None, list[KeyProblem]]:
    """The policy that the keys describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, POLICY_READERS, required=("policy", "levels"))
    if problems:
        return None, problems
    return Policy(**{_FIELDS.get(key, key): value for key, value in values.items()}, source=source), []


def escalation_record(escalation: Escalation | None) -> list[Any] | None:
    return None if escalation is None else list(escalation)


def escalation_of_record(record: Any) -> Escalation | None:
    if record is None:
        return None
    policy, began, place, since = record
    return Escalation(str(policy), float(began), int(place), float(since))

"""What leaves the engine: alerts, the notifications made of them, and what a receiver answered.

`book.py` makes alerts, the dispatcher groups them into notifications, `outbox.py` carries these, `receivers/` send them
and return an `Outcome`. Values only: frozen, thread-safe, nothing waits or fails here. Both have a record, the plain
map that is kept on disk.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hms_ops.alert.states.state import Event
from hms_ops.escape import printable

GroupTags = tuple[tuple[str, str], ...]  # sorted by tag
EpisodeKey = tuple[str, GroupTags, int]  # name, group, episode

NUMBERS: Final[dict[Event, int]] = {"firing": 1, "resolved": 2}
"""The number of a notification within its episode; a resolve is no duplicate of its page."""

TOLD_MAX: Final = 20  # groups named in a summary; the rest is counted


@dataclass(frozen=True, slots=True)
class Alert:
    """One instance of a rule as others see it.

    state: pending, firing or resolved. value: of the expression, NaN when unknown. tags: of the group. since: Unix
    seconds when the condition became true. episode: numbers the firing, 0 while pending. reason: why it resolved, or
    what `alert_now` was told. rule_text: the condition as written. until: Unix seconds when it resolved, 0 before.
    notify, policy, rule_tags, annotations: of its rule; annotations are templates, see alert/template.py.
    """

    name: str
    state: Event
    value: float
    tags: Mapping[str, str]
    since: float
    severity: str = "page"
    episode: int = 0
    reason: str = ""
    rule_text: str = ""
    until: float = 0.0
    notify: tuple[str, ...] = ()
    policy: str = ""
    rule_tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> GroupTags:
        return tuple(sorted(self.tags.items()))

    @property
    def key(self) -> str:
        """32 hex digits that name the instance, the same in every episode."""
        return digest([self.name, self.group])

    @property
    def labels(self) -> dict[str, str]:
        """What routes, silences and inhibitions match: its tags, its rule's, `alertname` and `severity`."""
        return {**self.rule_tags, **self.tags, "alertname": self.name, "severity": self.severity}


@dataclass(frozen=True, slots=True)
class Notification:
    """Alerts on their way to one receiver, together.

    alerts: at least one, those that fire first. left_out: how many more the group has that are not listed.
    idempotency_key: the same for every attempt, across restarts. group: the key of the group it was made of; the
    notifications of one group leave in their order. group_tags: what its alerts have in common. why: the dispatcher's
    reason (first, new in group, repeat, resolved, escalation, flapping, storm, test). level: of the escalation, 0 for
    none. created: Unix seconds. note: added by the outbox, as when the alert resolved meanwhile.
    """

    alerts: tuple[Alert, ...]
    receiver: str
    idempotency_key: str
    note: str = ""
    group: str = ""
    group_tags: Mapping[str, str] = field(default_factory=dict)
    why: str = "first"
    level: int = 0
    left_out: int = 0
    created: float = 0.0

    @property
    def alert(self) -> Alert:
        """The first of them, who stands for all where only one can be shown."""
        return self.alerts[0]

    @property
    def state(self) -> Literal["firing", "resolved"]:
        """Firing as long as any of its alerts fires."""
        return "firing" if any(alert.state == "firing" for alert in self.alerts) else "resolved"

    @property
    def id(self) -> str:
        """32 hex digits that name this notification to this receiver: its key in the outbox."""
        return digest([self.receiver, self.idempotency_key])

    @property
    def dedup_key(self) -> str:
        """What pager services call one incident: the episode of its first alert."""
        return digest([self.alert.name, self.alert.group, self.alert.episode])

    @property
    def order_key(self) -> str:
        """The notifications of one group leave in their order; those without a group by their episode."""
        return self.group or self.dedup_key


@dataclass(frozen=True, slots=True)
class Profile:
    """The credentials and settings of a receiver or gateway, from the configuration; none of it ever shows in a repr or
    a log. options: what else its scheme takes, such as user and password of a mail server."""

    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after_seconds` is what the receiver asked for, None when it did not say."""

    reason: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Never: trying again would change nothing."""

    reason: str


Outcome = Delivered | Retry | Dead


def notifications_of(alert: Alert, receivers: tuple[str, ...], origin: str) -> list[Notification]:
    """What is sent for one alert event: nothing while pending, else one notification for each receiver.

    A rule that notifies nobody notifies the log. `origin` tells engines apart, whose episodes number alike.
    """
    number = NUMBERS.get(alert.state)
    if number is None:
        return []
    key = idempotency_key(origin, alert, number)
    return [Notification((alert,), receiver, key) for receiver in dict.fromkeys(receivers or ("log:",))]


def summary(notification: Notification) -> str:
    """The one line that people read: state, name, group, value, condition, reason; of several alerts how many."""
    alert = notification.alert
    if len(notification.alerts) + notification.left_out > 1:
        return printable(f"{summary_of_many(notification)}{noted(notification)}")
    parts = (
        f"{alert.state.upper()} {alert.name}",
        group_text(alert),
        f"value {value_text(alert)}",
        f"[{alert.rule_text}]" if alert.rule_text else "",
        f"- {alert.reason}" if alert.reason else "",
    )
    return printable(" ".join(part for part in parts if part) + noted(notification))


def value_text(alert: Alert) -> str:
    """As people read it; an alert about missing data has no value."""
    return "unknown" if math.isnan(alert.value) else f"{alert.value:.6g}"


def noted(notification: Notification) -> str:
    return f" ({notification.note})" if notification.note else ""


def group_text(alert: Alert) -> str:
    group = ", ".join(f"{tag}={value}" for tag, value in alert.group)
    return f"({group})" if group else ""


def summary_of_many(notification: Notification) -> str:
    """FIRING finance.latency_high: 12 firing, 3 resolved: (agency=irs) 240, (agency=ssa) 310 and 13 more"""
    alerts = notification.alerts
    firing = sum(alert.state == "firing" for alert in alerts)
    names = list(dict.fromkeys(alert.name for alert in alerts))
    more_names = f" and {len(names) - 3} more rules" if len(names) > 3 else ""
    told = [f"{group_text(alert) or alert.name} {value_text(alert)}" for alert in alerts[:TOLD_MAX]]
    left = len(alerts) - len(told) + notification.left_out
    counts = f"{firing:,} firing" if firing else ""
    counts += (", " if counts else "") + f"{len(alerts) - firing:,} resolved" if firing < len(alerts) else ""
    rest = f" and {left:,} more" if left else ""
    return f"{notification.state.upper()} {', '.join(names[:3])}{more_names}: {counts}: {', '.join(told)}{rest}"


def idempotency_key(origin: str, alert: Alert, number: int) -> str:
    """32 hex digits that are the same for every attempt at one notification, across restarts too."""
    return digest([origin, alert.name, alert.group, alert.episode, number])


def digest(parts: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(parts), ensure_ascii=True).encode()).hexdigest()[:32]


# ---- records


def alert_record(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "state": alert.state,
        "value": alert.value,
        "tags": dict(alert.tags),
        "since": alert.since,
        "severity": alert.severity,
        "episode": alert.episode,
        "reason": alert.reason,
        "rule_text": alert.rule_text,
        "until": alert.until,
        "notify": list(alert.notify),
        "policy": alert.policy,
        "rule_tags": dict(alert.rule_tags),
        "annotations": dict(alert.annotations),
    }


def alert_of_record(record: Mapping[str, Any]) -> Alert:
    """ValueError, KeyError or TypeError for a map that is no alert's record."""
    return Alert(
        name=str(record["name"]),
        state=record["state"],
        value=float(record.get("value", math.nan)),
        tags=dict(record["tags"]),
        since=float(record["since"]),
        severity=str(record["severity"]),
        episode=int(record["episode"]),
        reason=str(record["reason"]),
        rule_text=str(record["rule_text"]),
        until=float(record["until"]),
        notify=tuple(record["notify"]),
        policy=str(record["policy"]),
        rule_tags=dict(record["rule_tags"]),
        annotations=dict(record["annotations"]),
    )


def notification_record(notification: Notification) -> dict[str, Any]:
    return {
        "alerts": [alert_record(alert) for alert in notification.alerts],
        "receiver": notification.receiver,
        "idempotency_key": notification.idempotency_key,
        "group": notification.group,
        "group_tags": dict(notification.group_tags),
        "why": notification.why,
        "level": notification.level,
        "left_out": notification.left_out,
        "created": notification.created,
    }


def notification_of_record(record: Mapping[str, Any]) -> Notification:
    """ValueError, KeyError or TypeError for a map that is no notification's record."""
    alerts = tuple(map(alert_of_record, record["alerts"]))
    if not alerts:
        raise ValueError("a notification has at least one alert")
    return Notification(
        alerts=alerts,
        receiver=str(record["receiver"]),
        idempotency_key=str(record["idempotency_key"]),
        group=str(record["group"]),
        group_tags=dict(record["group_tags"]),
        why=str(record["why"]),
        level=int(record["level"]),
        left_out=int(record["left_out"]),
        created=float(record["created"]),
    )

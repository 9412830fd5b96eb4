"""What leaves the engine: alerts, the notifications made of them, and what a receiver answered.

`book.py` makes alerts, `outbox.py` carries notifications, `receivers/` send them and return an `Outcome`. Values only:
frozen, thread-safe, nothing waits or fails here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hms_ops.alert.state import Event
from hms_ops.escape import printable

GroupTags = tuple[tuple[str, str], ...]  # sorted by tag
EpisodeKey = tuple[str, GroupTags, int]  # name, group, episode

NUMBERS: Final[dict[Event, int]] = {"firing": 1, "resolved": 2}
"""The number of a notification within its episode; a resolve is no duplicate of its page."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One instance of a rule as others see it.

    state: pending, firing or resolved. value: of the expression, NaN when unknown. tags: of the group. since: Unix
    seconds when the condition became true. episode: numbers the firing, 0 while pending. reason: why it resolved, or
    what `alert_now` was told. rule_text: the condition as written.
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
    until: float = 0.0  # Unix seconds when it resolved; 0 before

    @property
    def group(self) -> GroupTags:
        return tuple(sorted(self.tags.items()))


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert on its way to one receiver. `note` is added by the outbox, as when the alert resolved meanwhile."""

    alert: Alert
    receiver: str
    idempotency_key: str
    note: str = ""

    @property
    def episode_key(self) -> EpisodeKey:
        """The notifications of one episode leave in their order."""
        return self.alert.name, self.alert.group, self.alert.episode


@dataclass(frozen=True, slots=True)
class Profile:
    """The credentials of a receiver or gateway, from the configuration; headers never show in a repr or a log."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


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
    return [Notification(alert, receiver, key) for receiver in dict.fromkeys(receivers or ("log:",))]


def summary(notification: Notification) -> str:
    """The one line that people read: state, name, group, value, condition, reason."""
    alert = notification.alert
    group = ", ".join(f"{tag}={value}" for tag, value in alert.group)
    parts = (
        f"{alert.state.upper()} {alert.name}",
        f"({group})" if group else "",
        f"value {alert.value:.6g}",
        f"[{alert.rule_text}]" if alert.rule_text else "",
        f"- {alert.reason}" if alert.reason else "",
        f"({notification.note})" if notification.note else "",
    )
    return printable(" ".join(part for part in parts if part))


def idempotency_key(origin: str, alert: Alert, number: int) -> str:
    """32 hex digits that are the same for every attempt at one notification, across restarts too."""
    parts = json.dumps([origin, alert.name, alert.group, alert.episode, number], ensure_ascii=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]

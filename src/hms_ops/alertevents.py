"""Alerts and notifications as events: what watchers, the journal and the live stream see of them.

Plain values in, plain maps out; the engine adds `time_ns`. Events of others are events.py's.
"""

from typing import Any

import numpy as np

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Alert, Delivered, Notification, Outcome, Retry


def alert_event(alert: Alert) -> dict[str, Any]:
    """A transition of an alert."""
    value = None if np.isnan(alert.value) else alert.value
    return {
        "kind": "alert",
        "name": alert.name,
        "state": alert.state,
        "value": value,
        "tags": dict(alert.tags),
        "since": alert.since,
        "episode": alert.episode,
        "severity": alert.severity,
        "reason": alert.reason,
    }


def notification_event(notification: Notification, outcome: Outcome) -> dict[str, Any]:
    """What became of an attempt; the receiver as people may see it."""
    word = "delivered" if isinstance(outcome, Delivered) else "retry" if isinstance(outcome, Retry) else "dead"
    alert = notification.alert
    return {
        "kind": "notification",
        "receiver": shown_receiver(notification.receiver),
        "outcome": word,
        "detail": outcome.detail if isinstance(outcome, Delivered) else outcome.reason,
        "why": notification.why,
        "alerts": len(notification.alerts) + notification.left_out,
        "name": alert.name,
        "state": notification.state,
        "tags": dict(alert.tags),
        "episode": alert.episode,
    }

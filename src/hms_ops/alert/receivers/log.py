"""`log:`: one structured line per notification through `logging`, on the logger `hms_ops.alert`.

Also takes what has no receiver of its own yet, so that nothing is lost in silence; the line then names the target it
was meant for. The record's attribute `alert` holds the facts of the first alert as a dict, for handlers that write
JSON, with `alerts`, how many the line tells of.
"""

import logging
from typing import Any, Final

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Delivered, Notification, Outcome, Profile, summary

LOGGER: Final = logging.getLogger("hms_ops.alert")


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Log at WARNING when firing, at INFO when resolved."""
    level = logging.WARNING if notification.state == "firing" else logging.INFO
    extra = {"alert": facts(notification)}
    LOGGER.log(level, "%s receiver=%s", summary(notification), shown_receiver(notification.receiver), extra=extra)
    return Delivered("logged")


def facts(notification: Notification) -> dict[str, Any]:
    alert = notification.alert
    return {
        "name": alert.name,
        "state": notification.state,
        "value": alert.value,
        "tags": dict(alert.tags),
        "since": alert.since,
        "severity": alert.severity,
        "episode": alert.episode,
        "alerts": len(notification.alerts) + notification.left_out,
        "why": notification.why,
        "receiver": shown_receiver(notification.receiver),
        "idempotency_key": notification.idempotency_key,
    }

"""`webhook:http://host/path`: one POST with Alertmanager's version-4 payload.

Whatever takes Alertmanager's webhooks takes ours. `webhook:NAME` sends to the URL of the profile NAME, with its
headers. The header `Idempotency-Key` is the same for every attempt at one notification.
Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from hms_ops.alert.notification import Alert, Notification, Outcome, Profile, summary
from hms_ops.alert.receivers.post import outcome_of, post_json

NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero time, which Alertmanager sends for an alert that has not ended


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """POST to the URL of the profile if there is one, else to `address`."""
    url = profile.url if profile else address
    headers = {**(profile.headers if profile else {}), "Idempotency-Key": notification.idempotency_key}
    return outcome_of(post_json(url, payload(notification), headers))


def payload(notification: Notification) -> dict[str, Any]:
    """The version-4 document; all values of labels and annotations are text, as Prometheus has them."""
    alert = notification.alert
    labels = {**alert.tags, "alertname": alert.name, "severity": alert.severity}
    annotations = annotations_of(notification)
    return {
        "version": "4",
        "groupKey": f"{{}}/{{}}:{{alertname={json.dumps(alert.name)}}}",
        "truncatedAlerts": 0,
        "status": alert.state,
        "receiver": notification.receiver.partition(":")[0],
        "groupLabels": {"alertname": alert.name},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [
            {
                "status": alert.state,
                "labels": labels,
                "annotations": annotations,
                "startsAt": rfc3339(alert.since),
                "endsAt": rfc3339(alert.until) if alert.state == "resolved" else NEVER,
                "generatorURL": "",
                "fingerprint": fingerprint(alert),
            }
        ],
    }


def annotations_of(notification: Notification) -> dict[str, str]:
    alert = notification.alert
    facts = {
        "summary": summary(notification),
        "value": f"{alert.value:.6g}",
        "condition": alert.rule_text,
        "reason": alert.reason,
        "note": notification.note,
        "episode": str(alert.episode),
    }
    return {name: text for name, text in facts.items() if text}


def fingerprint(alert: Alert) -> str:
    """16 hex digits that name the instance, the same in every notification of it."""
    return hashlib.sha256(json.dumps([alert.name, alert.group]).encode()).hexdigest()[:16]


def rfc3339(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""`webhook:http://host/path`: one POST with Alertmanager's version-4 payload, all alerts of the notification in it.

Whatever takes Alertmanager's webhooks takes ours. `webhook:NAME` sends to the URL of the profile NAME, with its
headers. The header `Idempotency-Key` is the same for every attempt at one notification. Labels are the alert's tags and
its rule's, annotations those of its rule, filled in, beside what we know: summary, value, condition, reason, episode.
Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hms_ops.alert.notification import Alert, Notification, Outcome, Profile, summary
from hms_ops.alert.receivers.post import outcome_of, post_json
from hms_ops.alert.template import annotations_of, rfc3339
from hms_ops.escape import printable

NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero time, which Alertmanager sends for an alert that has not ended


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """POST to the URL of the profile if there is one, else to `address`."""
    url = profile.url if profile else address
    headers = {**(profile.headers if profile else {}), "Idempotency-Key": notification.idempotency_key}
    return outcome_of(post_json(url, payload(notification), headers))


def payload(notification: Notification) -> dict[str, Any]:
    """The version-4 document; all values of labels and annotations are text, as Prometheus has them."""
    entries = [entry(alert, notification) for alert in notification.alerts]
    group_labels = dict(notification.group_tags) or {"alertname": notification.alert.name}
    return {
        "version": "4",
        "groupKey": group_key(notification.group, group_labels),
        "truncatedAlerts": notification.left_out,
        "status": notification.state,
        "receiver": receiver_name(notification.receiver),
        "groupLabels": group_labels,
        "commonLabels": common([each["labels"] for each in entries]),
        "commonAnnotations": common([each["annotations"] for each in entries]),
        "externalURL": "",
        "alerts": entries,
    }


def entry(alert: Alert, notification: Notification) -> dict[str, Any]:
    """One alert as the payload lists it."""
    return {
        "status": "resolved" if alert.state == "resolved" else "firing",
        "labels": alert.labels,
        "annotations": all_annotations(alert, notification),
        "startsAt": rfc3339(alert.since),
        "endsAt": rfc3339(alert.until) if alert.state == "resolved" else NEVER,
        "generatorURL": "",
        "fingerprint": fingerprint(alert),
    }


def all_annotations(alert: Alert, notification: Notification) -> dict[str, str]:
    """What we know of the alert, and over it what its rule says."""
    alone = Notification((alert,), notification.receiver, notification.idempotency_key, notification.note)
    facts = {
        "summary": summary(alone),
        "value": "" if math.isnan(alert.value) else f"{alert.value:.6g}",
        "condition": printable(alert.rule_text),
        "reason": printable(alert.reason),
        "note": notification.note,
        "episode": str(alert.episode),
        **annotations_of(alert),
    }
    return {name: text for name, text in facts.items() if text}


def common(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all have, with the same value."""
    first, *others = maps
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def group_key(group: str, labels: Mapping[str, str]) -> str:
    """Opaque to who gets it, and the same for all notifications of one group."""
    told = ", ".join(f"{name}={json.dumps(text)}" for name, text in sorted(labels.items()))
    return f"{{}}/{{{group}}}:{{{told}}}"


def receiver_name(receiver: str) -> str:
    """The name of the profile; of a URL, which may hold secrets, only that it is one."""
    scheme, _, address = receiver.partition(":")
    return scheme if not address or "/" in address else address


def fingerprint(alert: Alert) -> str:
    """16 hex digits that name the instance, the same in every notification of it."""
    return hashlib.sha256(json.dumps([alert.name, alert.group]).encode()).hexdigest()[:16]

"""`alertmanager:http://am:9093`, or `alertmanager:NAME`: alerts pushed to an Alertmanager, as Prometheus pushes them.

    receivers:
      am: {url: "http://am:9093", headers: {Authorization: "Bearer ${env:AM_TOKEN}"}, alertmanager: {hold: 8h}}

Where an organisation has its routes there. All alerts of a notification go in one `POST /api/v2/alerts`; the same again
changes nothing. An Alertmanager forgets a firing alert at its `endsAt`, so we say `hold` from now (8 h; the group's
repeat, 4 h by default, has to be shorter) and the resolve says when it ended. Its labels are the alert's tags, with `_`
for each character that Prometheus has not in a name; empty ones are left out, which means the same there.
Source: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.notification import Alert, Notification, Outcome, Profile
from hms_ops.alert.receivers.post import REAL_TIME, outcome_of, post_json
from hms_ops.alert.receivers.webhook import all_annotations
from hms_ops.alert.template import rfc3339
from hms_ops.clock import SECOND_NS
from hms_ops.setting import duration, setting

PATH: Final = "/api/v2/alerts"
ODD: Final = re.compile(r"[^A-Za-z0-9_]|\A(?=[0-9])")


@dataclass(frozen=True)
class AlertmanagerPeer:
    """The section `alertmanager` of a profile."""

    hold_seconds: float = setting(28_800.0, duration("1m", "7d"), key="hold")

    def problem(self, url: str) -> str:
        return "" if url else "has no url beside it; give the address of the Alertmanager"


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Push to the Alertmanager of the profile if there is one, else to that at `address`."""
    peer = profile.options.get("alertmanager") if profile else None
    hold_seconds = (peer if isinstance(peer, AlertmanagerPeer) else AlertmanagerPeer()).hold_seconds
    url = (profile.url if profile else address).rstrip("/")
    document = document_of(notification, REAL_TIME.now_ns() / SECOND_NS, hold_seconds)
    headers = {**(profile.headers if profile else {}), "Idempotency-Key": notification.idempotency_key}
    return outcome_of(post_json(url + PATH, document, headers))


def document_of(notification: Notification, now: float, hold_seconds: float) -> list[dict[str, Any]]:
    return [
        {
            "labels": named(alert.labels),
            "annotations": named(all_annotations(alert, notification)),
            "startsAt": rfc3339(alert.since),
            "endsAt": rfc3339(end_of(alert, now, hold_seconds)),
        }
        for alert in notification.alerts
    ]


def end_of(alert: Alert, now: float, hold_seconds: float) -> float:
    """When it ended, or until when it counts as firing unless we say so again."""
    if alert.state == "resolved":
        return max(alert.until or now, alert.since)
    return now + hold_seconds


def named(texts: Mapping[str, str]) -> dict[str, str]:
    """The same under names that Prometheus can have; of two that become one, the last in order stays."""
    return {ODD.sub("_", name): texts[name] for name in sorted(texts) if texts[name]}

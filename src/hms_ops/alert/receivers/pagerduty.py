"""`pagerduty:` or `pagerduty:NAME`: incidents by PagerDuty's Events API v2.

    receivers:
      pagerduty: {pagerduty: {routing_key: "${env:PAGERDUTY_KEY}"}}

One event for each alert of the notification, whose `dedup_key` is its episode: the firing opens an incident, a repeat
changes nothing, the resolve closes it, in whatever group they come. Of more than EVENTS_MAX alerts the rest is one more
incident under the key of the group, closed when the group is. All events share one deadline; those that were taken are
sent again when a later one has to be, which their keys make harmless.
Source: https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Outcome, Profile, Retry, summary
from hms_ops.alert.receivers.message import usual_title
from hms_ops.alert.receivers.post import POST_SECONDS_MAX, REAL_TIME, outcome_of, post_json, remaining_seconds
from hms_ops.alert.receivers.webhook import all_annotations
from hms_ops.alert.template import cut, rfc3339
from hms_ops.clock import SECOND_NS
from hms_ops.escape import printable
from hms_ops.secret import HIDDEN_TEXT, Secret
from hms_ops.setting import setting

API_URL: Final = "https://events.pagerduty.com/v2/enqueue"
EVENTS_MAX: Final = 20
SUMMARY_CHARS_MAX: Final = 1024  # theirs
SEVERITIES: Final = {
    "page": "critical",
    "critical": "critical",
    "error": "error",
    "ticket": "warning",
    "warning": "warning",
    "info": "info",
}


@dataclass(frozen=True)
class PagerdutyService:
    """The section `pagerduty` of a profile; its `url` may be another region's."""

    routing_key: Secret | None = setting(None, HIDDEN_TEXT)

    def problem(self, url: str) -> str:
        return "" if self.routing_key else "has no routing_key; give that of the service's integration"


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Send the events one after another; the first that has to come again ends it."""
    service = profile.options.get("pagerduty") if profile else None
    if profile is None or not isinstance(service, PagerdutyService) or service.routing_key is None:
        return Dead("no service of PagerDuty is configured; set receivers.pagerduty")
    deadline_ns = REAL_TIME.now_ns() + int(POST_SECONDS_MAX * SECOND_NS)
    refused = []
    events = events_of(notification)
    for event in events:
        document = {"routing_key": service.routing_key.value, **event}
        outcome = post(profile, document, deadline_ns)
        if isinstance(outcome, Retry):
            return outcome
        refused += [outcome] if isinstance(outcome, Dead) else []
    return refused[0] if refused else Delivered(f"{len(events)} events taken")


def post(profile: Profile, document: dict[str, Any], deadline_ns: int) -> Outcome:
    try:
        return outcome_of(
            post_json(profile.url or API_URL, document, profile.headers, remaining_seconds(deadline_ns)),
        )
    except TimeoutError:
        return Retry(f"not all events were taken within {POST_SECONDS_MAX:g} s")


def events_of(notification: Notification) -> list[dict[str, Any]]:
    """Those of its alerts, and of the group where not all are listed or all is over."""
    events = [event_of(alert, notification) for alert in notification.alerts[:EVENTS_MAX]]
    is_whole = notification.left_out == 0 and len(notification.alerts) <= EVENTS_MAX
    if not notification.group or (is_whole and notification.state == "firing"):
        return events
    return [*events, group_event(notification)]


def event_of(alert: Alert, notification: Notification) -> dict[str, Any]:
    alone = replace(notification, alerts=(alert,), left_out=0)
    if alert.state == "resolved":
        return {"event_action": "resolve", "dedup_key": alone.dedup_key}
    return {
        "event_action": "trigger",
        "dedup_key": alone.dedup_key,
        "client": "HMS-OPS",
        "payload": {
            "summary": cut(usual_title(alone), SUMMARY_CHARS_MAX),
            "source": source_of(alert),
            "severity": SEVERITIES.get(alert.severity, "error"),
            "timestamp": rfc3339(alert.since),
            "class": alert.name,
            "custom_details": {**printable_labels(alert), **all_annotations(alert, alone)},
        },
    }


def group_event(notification: Notification) -> dict[str, Any]:
    """The incident of all that have none of their own."""
    if notification.state == "resolved":
        return {"event_action": "resolve", "dedup_key": notification.group}
    severity = SEVERITIES.get(notification.alert.severity, "error")
    payload = {"summary": cut(summary(notification), SUMMARY_CHARS_MAX), "source": "hms-ops", "severity": severity}
    return {"event_action": "trigger", "dedup_key": notification.group, "client": "HMS-OPS", "payload": payload}


def printable_labels(alert: Alert) -> dict[str, str]:
    """Nothing is matched by them where they go: people read them."""
    return {printable(name): printable(text) for name, text in alert.labels.items()}


def source_of(alert: Alert) -> str:
    """What is unwell, as far as its tags tell."""
    labels = printable_labels(alert)
    return next((labels[tag] for tag in ("host", "instance", "service") if labels.get(tag)), "hms-ops")

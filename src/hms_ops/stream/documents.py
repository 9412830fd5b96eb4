"""The engine's events as the stream tells them: documents of alerts, anomalies and actions.

    alert                     {…as in GET /v1/alerts…, "time", "change": "pending" | "firing" | "resolved"}
    audit of ack, silence …   the same of each alert concerned, "change": "acknowledged" | "silenced" | …, "by"
    anomaly                   {"time", "name", "state", "metric", "tags", "value", "expected", "score"}
    action                    {"time", …the record of the run…}

What people did is told of the alerts that are live then, ALERTS_TOLD_MAX at most; where none is, or more are, one
document has the name alone (of a silence the name it matches, "" when it may be several) and what was done.
The engine tells of no alert that was pending and is not any more; `Pending` notices, PENDING_MAX of them.
Threads: the hub's. Questions to the engine may wait for a step of its dispatcher.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hms_ops.alert.notification import Alert, GroupTags
from hms_ops.clock import SECOND_NS
from hms_ops.http.alerts import alert_document, standing_document

if TYPE_CHECKING:
    from hms_ops.engine import Engine

ALERTS_TOLD_MAX: Final = 100
PENDING_MAX: Final = 1_000
LIVE_MAX: Final = 10_000  # beyond, the live alerts are too many to be looked through each second

Event = Mapping[str, Any]
Standings = Mapping[str, Mapping[str, Any]]

CHANGES: Final = {
    "acknowledge": "acknowledged",
    "unacknowledge": "unacknowledged",
    "silence": "silenced",
    "unsilence": "unsilenced",
}
KINDS: Final = ("alert", "anomaly", "action")  # of the stream
COMMENTS: Final = ("comment", "until", "ends", "matchers")  # of an audit entry, told as they are


class Told(NamedTuple):
    """An event of the stream."""

    kind: str
    document: dict[str, Any]


def is_told(event: Event) -> bool:
    """Whether the stream tells of an event of the engine."""
    return event["kind"] in KINDS or (event["kind"] == "audit" and event["what"] in CHANGES)


class Documents:
    """The documents of one engine's events, in their order."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._pending = Pending()

    def of(self, events: Iterable[Event]) -> list[Told]:
        every = list(events)
        is_about_alerts = any(event["kind"] in ("alert", "audit") for event in every)
        standings = self._engine.alert_standings() if is_about_alerts else {}
        return [told for event in every for told in self._told(event, standings)]

    def gone(self) -> list[Told]:
        """Alerts that were pending and are not live any more."""
        if not self._pending.by_key or self._engine.duty.book.live_count > LIVE_MAX:
            return []
        now = self._engine.clock.now_ns() / SECOND_NS
        left = self._pending.left(self._engine.alerts())
        return [
            Told("alert", {**document, "state": "inactive", "time": now, "change": "inactive"}) for document in left
        ]

    def _told(self, event: Event, standings: Standings) -> Iterator[Told]:
        time = event["time_ns"] / SECOND_NS
        if event["kind"] == "alert":
            document = self._alert(event, standings)
            self._pending.follow(document)
            yield Told("alert", {**document, "time": time, "change": event["state"]})
        elif event["kind"] == "audit":
            for document in self._done(event, standings):
                yield Told("alert", {**document, "time": time, "change": CHANGES[event["what"]], "by": event["by"]})
        elif event["kind"] == "anomaly":
            yield Told("anomaly", {"time": time, **anomaly_document(event)})
        else:
            record = {key: value for key, value in event.items() if key not in ("kind", "time_ns", "time")}
            yield Told("action", {"time": time, **record})

    def _alert(self, event: Event, standings: Standings) -> dict[str, Any]:
        planned = self._engine.duty.rulebook.plans.get(event["name"])
        alert = Alert(
            event["name"],
            event["state"],
            math.nan if event["value"] is None else event["value"],
            event["tags"],
            event["since"],
            severity=event["severity"],
            episode=event["episode"],
            reason=event["reason"],
            rule_text=planned[0].shown if planned is not None else "",
        )
        return full_document(alert, standings)

    def _done(self, event: Event, standings: Standings) -> list[dict[str, Any]]:
        """What people did, by alert."""
        name, concerns = self._concerned(event)
        found = [alert for alert in self._engine.alerts() if concerns(alert)]
        did = {key: event[key] for key in COMMENTS if key in event}
        if 0 < len(found) <= ALERTS_TOLD_MAX:
            return [full_document(alert, standings) | did for alert in found]
        tags = {"tags": dict(event["tags"])} if event.get("tags") else {}
        return [{"name": name, **tags, **did, "alerts": len(found)}]

    def _concerned(self, event: Event) -> tuple[str, Callable[[Alert], bool]]:
        """(the name of the alerts it is about, whether it is about one)."""
        name, tags = event["subject"], (event.get("tags") or {}).items()
        if event["what"] in ("acknowledge", "unacknowledge"):
            return name, lambda alert: alert.name == name and alert.state == "firing" and tags <= alert.labels.items()
        matchers = next((one.matchers for one in self._engine.silences() if one.id == name), None)
        if matchers is None:
            return "", lambda alert: False
        return matchers.alertname, lambda alert: matchers.accept(alert.labels)


class Pending:
    """The alerts that were told as pending and not as anything else since, with their documents."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, GroupTags], dict[str, Any]] = {}

    def follow(self, document: dict[str, Any]) -> None:
        key = document["name"], tuple(sorted(document["tags"].items()))
        if document["state"] != "pending":
            self.by_key.pop(key, None)
        elif len(self.by_key) < PENDING_MAX:
            self.by_key[key] = document

    def left(self, live: Iterable[Alert]) -> list[dict[str, Any]]:
        """The documents of those that are not among the live ones; they are forgotten."""
        there = {(alert.name, alert.group) for alert in live}
        return [self.by_key.pop(key) for key in self.by_key.keys() - there]


def full_document(alert: Alert, standings: Standings) -> dict[str, Any]:
    return alert_document(alert) | standing_document(alert, standings)


def anomaly_document(event: Event) -> dict[str, Any]:
    """A rule on every metric has the metric's name among the tags. score: how many times the mean the value is."""
    tags = dict(event["tags"])
    value, expected = event["value"], event["baseline"]
    return {
        "name": event["name"],
        "state": event["state"],
        "metric": tags.pop("metric", "*") if event["metric"] == "*" else event["metric"],
        "tags": tags,
        "value": value,
        "expected": expected,
        "score": value / expected if expected else None,
    }

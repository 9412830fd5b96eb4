"""Alertmanager and PagerDuty: what is pushed, which alerts become one, and what a real Alertmanager makes of it."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.alertmanagers import alertmanager as running
from tests.answering import answering, status

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Profile, Retry
from hms_ops.alert.receivers import alertmanager, pagerduty, parse_target, route, webhook
from hms_ops.alert.receivers.alertmanager import AlertmanagerPeer
from hms_ops.alert.receivers.pagerduty import EVENTS_MAX, PagerdutyService
from hms_ops.secret import Secret

ALERT = Alert(
    "db.slow",
    "firing",
    3.5,
    {"host": "a", "db-name": "orders", "0x": "", "zone": "é"},
    since=1_700_000_000.0,
    episode=7,
    rule_text="avg(db.s) > 1",
    rule_tags={"team": "tax"},
    annotations={"summary": "{host} is slow"},
)
OTHER = replace(ALERT, tags={"host": "b"}, severity="ticket", episode=8)
ONE = Notification((ALERT,), "alertmanager:am", "k" * 32)
GROUP = replace(ONE, alerts=(ALERT, OTHER), group="g" * 32)


def ended(alert: Alert) -> Alert:
    return replace(alert, state="resolved", until=1_700_000_300.0)


# ---- alertmanager


def test_all_alerts_of_a_notification_are_pushed_at_once() -> None:
    profile = Profile("", {"X-Key": "x"}, {"alertmanager": AlertmanagerPeer(3600.0)})
    with answering(status(200)) as server:
        outcome = alertmanager.send(
            "am", replace(GROUP, alerts=(ALERT, ended(OTHER))), replace(profile, url=server.url)
        )
    assert outcome == Delivered("HTTP 200")
    (request,) = server.requests
    assert (request.path, request.headers["X-Key"]) == ("/api/v2/alerts", "x")
    first, second = request.document
    assert first["labels"] == {
        "alertname": "db.slow",
        "severity": "page",
        "host": "a",
        "db_name": "orders",
        "zone": "é",
        "team": "tax",
    }
    assert first["annotations"]["summary"] == "a is slow"
    assert (first["startsAt"], second["endsAt"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:18:20.000Z")


def test_a_firing_alert_holds_until_it_is_pushed_again_and_a_resolve_ends_it() -> None:
    assert alertmanager.end_of(ALERT, 1_700_000_500.0, 60.0) == 1_700_000_560.0
    assert alertmanager.end_of(ended(ALERT), 1_700_000_500.0, 60.0) == 1_700_000_300.0
    assert alertmanager.end_of(replace(ended(ALERT), until=0.0), 1_700_000_500.0, 60.0) == 1_700_000_500.0


def test_a_url_without_a_profile_is_pushed_to() -> None:
    with answering(status(200)) as server:
        served_by = route(parse_target(f"alertmanager:{server.url}/prefix/"), {})
        assert served_by.warning == ""
        assert isinstance(served_by.send(served_by.target.address, ONE, None), Delivered)
    assert server.requests[0].path == "/prefix/api/v2/alerts"


@pytest.mark.parametrize(("name", "expected"), [("a.b", "a_b"), ("0x", "_0x"), ("_", "_"), ("é", "_"), ("a:b", "a_b")])
def test_names_are_made_such_as_prometheus_has(name: str, expected: str) -> None:
    assert alertmanager.named({name: "x"}) == {expected: "x"}


def alerts_at(base: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{base}/api/v2/alerts", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


def test_a_real_alertmanager_takes_a_firing_and_its_resolve(tmp_path: Path) -> None:
    now = time.time()
    firing = replace(ALERT, since=now - 100)
    with running(tmp_path) as base:
        profile = Profile(base, options={"alertmanager": AlertmanagerPeer()})
        for _ in range(2):  # the same again changes nothing
            assert isinstance(alertmanager.send("am", replace(ONE, alerts=(firing, OTHER)), profile), Delivered)
        found = {alert["labels"]["host"]: alert for alert in alerts_at(base)}
        assert set(found) == {"a", "b"}
        assert found["a"]["status"]["state"] == "active"
        assert found["a"]["labels"]["db_name"] == "orders"
        assert found["a"]["annotations"]["summary"] == "a is slow"
        resolved = replace(firing, state="resolved", until=now - 1)
        assert isinstance(alertmanager.send("am", replace(ONE, alerts=(resolved,)), profile), Delivered)
        assert [alert["labels"]["host"] for alert in alerts_at(base)] == ["b"]


def test_a_real_alertmanager_refuses_what_has_no_labels_for_good(tmp_path: Path) -> None:
    with running(tmp_path) as base:
        nameless = replace(ONE, alerts=(Alert("", "firing", 1.0, {}, time.time(), severity=""),))
        assert isinstance(alertmanager.send(base, nameless, None), Dead)


def shape(value: Any) -> Any:
    """The keys and types of a document; of lists, those of the first element. Labels may have any keys."""
    if isinstance(value, dict):
        return {
            key: "texts" if key.lower().endswith(("labels", "annotations")) else shape(part)
            for key, part in value.items()
        }
    return [shape(value[0])] if isinstance(value, list) else type(value).__name__


def test_our_webhooks_have_the_shape_of_a_real_alertmanagers(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    with answering() as server:
        settings = (
            "route: {receiver: hook, group_by: [alertname], group_wait: 500ms}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{server.url}'}}]}}]\n"
        )
        with running(tmp_path, settings) as base:
            now = time.time()
            group = replace(GROUP, alerts=(replace(ALERT, since=now), replace(OTHER, since=now)))
            alertmanager.send(base, group, None)
            wait_until(lambda: server.requests)
        theirs = server.requests[0].document
    ours = webhook.payload(replace(group, group_tags={"alertname": "db.slow"}))
    assert shape(ours) == shape(theirs)
    for name in ("version", "status", "groupLabels", "truncatedAlerts"):
        assert ours[name] == theirs[name]
    sent, got = ({alert["labels"]["host"]: alert for alert in each["alerts"]} for each in (ours, theirs))
    assert set(got) == {"a", "b"}
    assert got["a"]["annotations"] == alertmanager.named(sent["a"]["annotations"])


# ---- pagerduty

TAKEN = status(202, '{"status":"success"}')


def by_key(url: str) -> Profile:
    return Profile(url, {}, {"pagerduty": PagerdutyService(Secret("key-1", "***"))})


def test_each_alert_is_an_incident_by_its_episode() -> None:
    with answering(TAKEN) as server:
        assert pagerduty.send("", GROUP, by_key(server.url)) == Delivered("2 events taken")
    first, second = (request.document for request in server.requests)
    assert (first["routing_key"], first["event_action"]) == ("key-1", "trigger")
    assert (first["dedup_key"], second["dedup_key"]) == (ONE.dedup_key, replace(ONE, alerts=(OTHER,)).dedup_key)
    payload = first["payload"]
    assert (payload["summary"], payload["source"], payload["class"]) == ("FIRING a is slow", "a", "db.slow")
    assert (payload["severity"], second["payload"]["severity"]) == ("critical", "warning")
    assert payload["timestamp"] == "2023-11-14T22:13:20.000Z"
    assert payload["custom_details"]["team"] == "tax"


def test_a_resolve_closes_the_incident_of_its_firing_in_whatever_group_it_comes() -> None:
    (opened,) = pagerduty.events_of(ONE)
    mixed = pagerduty.events_of(replace(GROUP, alerts=(OTHER, ended(ALERT))))
    assert mixed[1] == {"event_action": "resolve", "dedup_key": opened["dedup_key"]}
    assert len(mixed) == 2


def test_what_is_left_out_is_one_incident_of_the_group_which_ends_with_it() -> None:
    many = replace(GROUP, alerts=tuple(replace(ALERT, tags={"host": str(n)}) for n in range(EVENTS_MAX + 5)))
    for storm in (many, replace(GROUP, left_out=9)):
        last = pagerduty.events_of(storm)[-1]
        assert (last["event_action"], last["dedup_key"]) == ("trigger", "g" * 32)
    assert len(pagerduty.events_of(many)) == EVENTS_MAX + 1
    over = pagerduty.events_of(replace(GROUP, alerts=(ended(ALERT), ended(OTHER))))
    assert over[-1] == {"event_action": "resolve", "dedup_key": "g" * 32}
    assert {event["event_action"] for event in over} == {"resolve"}


def test_an_event_that_has_to_come_again_brings_all_again() -> None:
    with answering(TAKEN, status(429, Retry_After="3"), TAKEN) as server:
        assert pagerduty.send("", GROUP, by_key(server.url)) == Retry("HTTP 429", 3.0)
        assert isinstance(pagerduty.send("", GROUP, by_key(server.url)), Delivered)
    keys = [request.document["dedup_key"] for request in server.requests]
    assert (len(keys), len(set(keys))) == (4, 2)


def test_an_event_that_is_refused_keeps_no_other_from_leaving() -> None:
    with answering(status(400, "bad"), TAKEN) as server:
        assert pagerduty.send("", GROUP, by_key(server.url)) == Dead("HTTP 400 bad")
    assert len(server.requests) == 2


def test_all_events_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagerduty, "POST_SECONDS_MAX", 0.3)
    with answering("hang") as server:
        began = time.monotonic()
        assert isinstance(pagerduty.send("", GROUP, by_key(server.url)), Retry)
        assert time.monotonic() - began < 8  # an event's own is 10


def test_pagerduty_takes_the_profile_of_its_name_or_the_common_one() -> None:
    profiles = {"pagerduty": by_key("http://h/"), "desk": by_key("http://d/")}
    assert route(parse_target("pagerduty:"), profiles).profile is profiles["pagerduty"]
    assert route(parse_target("pagerduty:desk"), profiles).profile is profiles["desk"]
    assert "no receiver 'x' is configured" in route(parse_target("pagerduty:x"), profiles).warning

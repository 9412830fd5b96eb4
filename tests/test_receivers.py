"""Receivers against real servers: what they send, and what they make of every answer."""

import logging
import math
import select
import socket
import threading
import time
from dataclasses import replace

import pytest
from tests.answering import OK, answering, status

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import (
    Alert,
    Dead,
    Delivered,
    Notification,
    Outcome,
    Profile,
    Retry,
    notifications_of,
    summary,
)
from hms_ops.alert.receivers import SCHEMES, Target, log, parse_target, route, sms, webhook
from hms_ops.alert.receivers.mail import MailServer
from hms_ops.alert.receivers.post import Answer, outcome_of, post_json

FIRING = Alert(
    "finance.latency_high",
    "firing",
    215.4,
    {"region": "us-east", "agency": "irs"},
    since=1_700_000_000.0,
    episode=1_700_000_180,
    rule_text="avg(finance.api_ms) > 200",
)
RESOLVED = Alert(
    "finance.latency_high", "resolved", 140.0, {}, 1_700_000_000.0, episode=1_700_000_180, until=1_700_000_300.0
)


def notification(alert: Alert = FIRING, receiver: str = "log:") -> Notification:
    return Notification((alert,), receiver, "k" * 32)


# ---- what leaves


def test_a_webhook_carries_alertmanagers_payload() -> None:
    with answering() as server:
        outcome = webhook.send(server.url + "/hook?a=b", notification(receiver="webhook:x"), None)
    (request,) = server.requests
    assert outcome == Delivered("HTTP 200 thanks")
    assert (request.path, request.headers["Idempotency-Key"]) == ("/hook?a=b", "k" * 32)
    labels = {"alertname": "finance.latency_high", "severity": "page", "region": "us-east", "agency": "irs"}
    document = request.document
    assert (document["version"], document["status"], document["commonLabels"]) == ("4", "firing", labels)
    (alert,) = document["alerts"]
    assert (alert["status"], alert["labels"]) == ("firing", labels)
    assert (alert["startsAt"], alert["endsAt"]) == ("2023-11-14T22:13:20.000Z", "0001-01-01T00:00:00Z")
    assert alert["annotations"]["condition"] == "avg(finance.api_ms) > 200"
    assert alert["annotations"]["value"] == "215.4"
    assert set(document) == {
        "version",
        "groupKey",
        "truncatedAlerts",
        "status",
        "receiver",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "alerts",
    }


def test_a_webhook_carries_all_alerts_of_its_group() -> None:
    other = replace(FIRING, state="resolved", until=1_700_000_300.0, tags={"region": "us-west", "agency": "irs"})
    third = replace(FIRING, rule_tags={"team": "tax"}, annotations={"summary": "{agency} is slow", "runbook": "r"})
    group = Notification(
        (FIRING, other, third), "webhook:pager", "k", group="g1", group_tags={"agency": "irs"}, left_out=4
    )
    document = webhook.payload(group)
    assert (document["status"], document["truncatedAlerts"], document["receiver"]) == ("firing", 4, "pager")
    assert [alert["status"] for alert in document["alerts"]] == ["firing", "resolved", "firing"]
    assert document["groupLabels"] == {"agency": "irs"}
    assert document["groupKey"] == '{}/{g1}:{agency="irs"}'
    assert document["commonLabels"] == {"alertname": "finance.latency_high", "severity": "page", "agency": "irs"}
    assert document["commonAnnotations"] == {
        "value": "215.4",
        "condition": "avg(finance.api_ms) > 200",
        "episode": "1700000180",
    }
    told = document["alerts"][2]
    assert (told["labels"]["team"], told["annotations"]["summary"]) == ("tax", "irs is slow")
    assert told["annotations"]["runbook"] == "r"


def test_an_unknown_value_is_not_told_as_a_number() -> None:
    (alert,) = webhook.payload(notification(replace(FIRING, value=math.nan)))["alerts"]
    assert "value" not in alert["annotations"]


def test_the_payload_names_no_url_that_may_be_secret() -> None:
    assert webhook.payload(notification(receiver="webhook:https://u:p@h/secret"))["receiver"] == "webhook"


def test_a_resolved_alert_says_when_it_ended() -> None:
    (alert,) = webhook.payload(notification(RESOLVED))["alerts"]
    assert (alert["status"], alert["endsAt"]) == ("resolved", "2023-11-14T22:18:20.000Z")


def test_the_fingerprint_names_the_instance_and_not_its_state() -> None:
    firing = webhook.fingerprint(Alert("x", "firing", 1.0, {"a": "b", "c": "d"}, 1.0, episode=7))
    resolved = webhook.fingerprint(Alert("x", "resolved", 9.0, {"c": "d", "a": "b"}, 2.0, episode=8))
    other = webhook.fingerprint(Alert("x", "firing", 1.0, {"a": "b"}, 1.0))
    assert firing == resolved != other


def test_a_webhooks_profile_gives_its_url_and_headers() -> None:
    with answering() as server:
        profile = Profile(server.url + "/secret", {"Authorization": "Bearer t"})
        assert isinstance(webhook.send("pager", notification(), profile), Delivered)
    assert (server.requests[0].path, server.requests[0].headers["Authorization"]) == ("/secret", "Bearer t")


def test_user_and_password_in_a_url_are_basic_authorization() -> None:
    with answering() as server:
        webhook.send(server.url.replace("//", "//ops:p%40ss@"), notification(), None)
    assert server.requests[0].headers["Authorization"] == "Basic b3BzOnBAc3M="


def test_a_text_message_goes_to_the_gateway() -> None:
    with answering() as server:
        outcome = sms.send("+1-555-0100", notification(), Profile(server.url + "/sms", {"X-Token": "t"}))
    (request,) = server.requests
    assert isinstance(outcome, Delivered)
    assert (request.path, request.headers["X-Token"], request.headers["Idempotency-Key"]) == ("/sms", "t", "k" * 32)
    assert request.document == {
        "to": "+15550100",
        "text": "FIRING finance.latency_high (agency=irs, region=us-east) value 215.4 [avg(finance.api_ms) > 200]",
        "idempotency_key": "k" * 32,
    }


def test_letters_in_a_number_are_the_keys_of_a_phone() -> None:
    assert sms.dialled("+1-555-ONCALL") == "+1555662255"


def test_the_log_gets_one_line_and_the_facts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hms_ops.alert"):
        assert log.send("", notification(receiver="sms:+1"), None) == Delivered("logged")
        log.send("", notification(RESOLVED), None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0].startswith("FIRING finance.latency_high")
    assert caplog.messages[0].endswith("receiver=sms:+1")
    assert caplog.records[0].alert["tags"] == {"region": "us-east", "agency": "irs"}  # type: ignore[attr-defined]


def test_control_characters_of_strangers_print_escaped() -> None:
    told = summary(notification(Alert("x\n\x1b[2J", "firing", 1.0, {"a": "\u202eb"}, 0.0)))
    assert told == "FIRING x\\x0a\\x1b[2J (a=\\u202eb) value 1"


def test_each_receiver_gets_its_notification_once_with_one_key() -> None:
    made = notifications_of(FIRING, ("sms:+1", "log:", "sms:+1"), "engine-1")
    assert [item.receiver for item in made] == ["sms:+1", "log:"]
    assert len({item.idempotency_key for item in made}) == 1


def test_page_resolve_episode_group_and_engine_have_keys_of_their_own() -> None:
    alerts = [
        FIRING,
        RESOLVED,
        Alert(FIRING.name, "firing", 1.0, FIRING.tags, 0.0, episode=9),
        Alert(FIRING.name, "firing", 1.0, {}, 0.0, episode=FIRING.episode),
    ]
    keys = [notifications_of(alert, (), "engine-1")[0].idempotency_key for alert in alerts]
    keys.append(notifications_of(FIRING, (), "engine-2")[0].idempotency_key)
    assert len(set(keys)) == 5


def test_a_pending_alert_notifies_nobody_and_a_rule_without_receivers_the_log() -> None:
    assert notifications_of(Alert("x", "pending", 1.0, {}, 0.0), ("sms:+1",), "e") == []
    assert [item.receiver for item in notifications_of(FIRING, (), "e")] == ["log:"]


# ---- what comes back


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(200, "thanks"), Delivered("HTTP 200 thanks")),
        (status(202), Delivered("HTTP 202")),
        (status(204), Delivered("HTTP 204")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nshort", Delivered("HTTP 200 short")),
        (status(500, "oops\r\n\x1b"), Retry("HTTP 500 oops ?")),
        (status(503, Retry_After="7"), Retry("HTTP 503", 7.0)),
        (status(429, Retry_After="120"), Retry("HTTP 429", 120.0)),
        (status(429, Retry_After="soon"), Retry("HTTP 429")),
        (status(429, Retry_After="-5"), Retry("HTTP 429")),
        (
            status(429, Date="Tue, 14 Nov 2023 22:13:20 GMT", Retry_After="Tue, 14 Nov 2023 22:14:20 GMT"),
            Retry("HTTP 429", 60.0),
        ),
        (status(408), Retry("HTTP 408")),
        (status(400, "no"), Dead("HTTP 400 no")),
        (status(401), Dead("HTTP 401")),
        (status(404), Dead("HTTP 404")),
        (status(302, Location="http://169.254.169.254/"), Dead("HTTP 302")),
    ],
)
def test_an_answer_decides_what_becomes_of_it(answer: bytes, expected: Outcome) -> None:
    with answering(answer) as server:
        assert webhook.send(server.url, notification(), None) == expected
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", ["reset", b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500]
)
def test_a_broken_answer_comes_again(answer: bytes | str) -> None:
    with answering(answer) as server:
        outcome = webhook.send(server.url, notification(), None)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("no answer: ")


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_a_server_that_never_ends_its_answer_costs_no_more_than_the_deadline(answer: str) -> None:
    with answering(answer) as server:
        began = time.monotonic()
        told = post_json(server.url, {}, {}, seconds_max=0.3)
        assert time.monotonic() - began < 8  # without a bound of its own: 10
    assert (told.status, told.error, told.sent) == (0, "no answer: timed out", True)
    assert isinstance(outcome_of(told), Retry)


def test_a_body_that_drips_does_not_undo_a_status() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\nhalf") as server:
        assert post_json(server.url, {}, {}, seconds_max=0.3).is_success


def test_nobody_listening_is_known_not_to_have_been_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = post_json(f"http://127.0.0.1:{taken.getsockname()[1]}", {}, {})
    assert (told.status, told.sent) == (0, False)
    assert told.error.startswith("cannot connect: ")
    assert isinstance(outcome_of(told), Retry)


def test_a_plain_server_behind_https_comes_again() -> None:
    with answering() as server:
        told = post_json(server.url.replace("http:", "https:"), {}, {}, seconds_max=1.0)
    assert told.error.startswith("cannot connect: ")


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http://", "http://h:99999/", "nonsense", "http://127.0.0.1:1/\r\nX: y"]
)
def test_a_wrong_url_is_dead_at_once(url: str) -> None:
    told = post_json(url, {}, {})
    assert isinstance(outcome_of(told), Dead) or told.error.startswith("cannot connect")


def test_a_line_break_in_a_header_is_dead_at_once_and_reaches_nobody() -> None:
    with answering() as server:
        told = post_json(server.url, {}, {"X": "a\r\nEvil: yes"})
    assert isinstance(outcome_of(told), Dead)
    assert server.requests == [] or "Evil" not in server.requests[0].headers


def test_a_body_in_a_segment_of_its_own_is_read() -> None:
    head, body = b"HTTP/1.1 400 Said\r\nConnection: close\r\nContent-Length: 12\r\n\r\n", b"no such desk"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(head)
                # Time for the client to have read the headers by themselves; it says nothing more.
                select.select([connection], [], [], 0.05)
                connection.sendall(body)

        thread = threading.Thread(target=answer, name="answering-late")
        thread.start()
        answered = post_json(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, {})
        thread.join()
    assert (answered.status, answered.body) == (400, "no such desk")


def test_long_answers_are_cut() -> None:
    with answering(status(500, "x" * 100_000)) as server:
        assert len(str(post_json(server.url, {}, {}))) == 200


def test_an_answer_prints_its_error_when_there_is_no_status() -> None:
    assert str(Answer(error="timed out")) == "timed out"


# ---- targets

TARGETS = [
    ("sms:+1-555-0100", Target("sms", "+1-555-0100")),
    ("sms:+1-555-ONCALL", Target("sms", "+1-555-ONCALL")),
    ("log", Target("log", "")),
    ("log:", Target("log", "")),
    ("webhook:http://h:80/p?q=1", Target("webhook", "http://h:80/p?q=1")),
    ("webhook:https://h", Target("webhook", "https://h")),
    ("webhook:pager", Target("webhook", "pager")),
    ("email:a@b.gov", Target("email", "a@b.gov")),
    ("slack:#ops", Target("slack", "#ops")),
]

NO_TARGETS = [
    "",
    ":",
    "http://h/",
    "smss:+1-555-0100",
    "sms:",
    "sms:+",
    "sms:;reboot",
    "webhook:",
    "webhook:http://",
    "webhook:http://h:port/",
    "webhook:http://a b/",
    "webhook:http://[::1/",
    "webhook:file:///etc/passwd",
    "log:\n",
    "slack:" + "x" * 1000,
]


@pytest.mark.parametrize(("text", "target"), TARGETS)
def test_a_receivers_url_is_taken_apart(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", NO_TARGETS)
def test_a_wrong_receiver_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="receiver '"):
        parse_target(text)


SHOWN = [
    ("webhook:https://u:p@h:1/x?token=t", "webhook:https://h:1/x?***"),
    ("webhook:https://hooks.slack.com/services/T0/B0/SECRET?a=b", "webhook:https://hooks.slack.com/services/***"),
    ("webhook:https://hc-ping.com/8f6a1e9c-54f7-4b1e-8d0a-1c3f5b7d9e11", "webhook:https://hc-ping.com/***"),
    ("webhook:http://h", "webhook:http://h"),
    ("webhook:http://h/", "webhook:http://h/"),
    ("webhook:http://[::1]:80/x#SECRET", "webhook:http://[::1]:80/x?***"),
    ("alertmanager:http://h/a/", "alertmanager:http://h/a"),
    ("log:http://u:SECRET@h/x", "log:http://h/x"),
    ("sms:+1-555-0100", "sms:+1-555-0100"),
    ("email:a@b.gov", "email:a@b.gov"),
    ("mcp:repair#infra/heal", "mcp:repair#infra/heal"),
    ("log:", "log:"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_a_shown_target_holds_no_secrets(text: str, shown: str) -> None:
    assert parse_target(text).shown == shown_receiver(text) == shown
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "webook:http://u:SECRET@h/x",
        "webhook:http://u:SECRET@ho st/x",
        "webhook:http://u:SECR/ET@h/x",
        "webhook:http://u:SECRET@h:port/x",
        "webhook:http:/u:SECRET@h",
        "slack:https://hooks/services/SECRET",
        "http://u:SECRET@h/x",
        "webhook:http://u:SECRET@h/x\n",
        "webhook:http://[SECRET@h/x",
    ],
)
def test_a_receiver_that_is_refused_does_not_show_its_secrets(text: str) -> None:
    with pytest.raises(ValueError, match="receiver '") as refused:
        parse_target(text)
    assert "SECR" not in str(refused.value)
    assert "SECR" not in shown_receiver(text)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token=SECRET one", {}),
        ("?token=SECRET\u20ac", {}),
        ("?token=SECRET\x7f", {}),
        ("", {"Authorization": "Bearer SECRET\nmore"}),
        ("", {"Authorization": "Bearer SECRET\u20ac"}),
    ],
)
def test_what_cannot_be_sent_is_refused_without_being_quoted(query: str, headers: dict[str, str]) -> None:
    with answering(OK) as server:
        told = post_json(f"{server.url}/x{query}", {}, headers)
        assert server.requests == []
    assert isinstance(outcome_of(told), Dead)
    assert (told.sent, "SECRET" in str(told)) == (False, False)


@pytest.mark.parametrize(
    "url", ["http://u:SECR/ET@h/", "http://h:SECRET/", "http://SECRET h/", "http://SECRET..h/", "SECRET"]
)
def test_a_wrong_url_is_refused_without_being_quoted(url: str) -> None:
    told = post_json(url, {}, {})
    assert (told.sent, told.status, "SECR" in str(told)) == (False, 400, False)


def test_every_scheme_is_served_by_its_profile() -> None:
    profiles = {name: Profile("http://h/") for name in ("sms", "pager", "slack")} | {
        "email": Profile(options={"email": MailServer("h", sender="a@b")})
    }
    for text, target in TARGETS:
        served_by = route(parse_target(text), profiles)
        assert (served_by.warning, served_by.send) == ("", SCHEMES[target.scheme].send)


def test_a_text_message_without_a_gateway_goes_to_the_log_with_a_warning() -> None:
    served_by = route(parse_target("sms:+1-555-0100"), {})
    assert (served_by.send, "no SMS gateway is configured" in served_by.warning) == (log.send, True)


def test_a_profile_hides_its_credentials() -> None:
    assert "secret" not in repr(Profile("https://h/?t=secret", {"Authorization": "secret"}))

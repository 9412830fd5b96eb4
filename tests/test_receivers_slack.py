"""Slack, by the API and by incoming webhooks, against a real HTTP server: what it gets, what its answers mean."""

import json
from dataclasses import replace

import pytest
from tests.answering import answering, status

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers import parse_target, route, slack
from hms_ops.alert.receivers.slack import SlackAccount
from hms_ops.secret import Secret

ALERT = Alert("db.slow", "firing", 3.5, {"host": "a"}, since=1_700_000_000.0, episode=7, rule_text="avg(db.s) > 1")
FIRING = Notification((ALERT,), "slack:#ops", "k" * 32)


def by_token(url: str) -> Profile:
    return Profile(url, {"X-Team": "t"}, {"slack": SlackAccount(Secret("xoxb-1", "***"))})


def said(**answer: object) -> bytes:
    return status(200, json.dumps(answer))


def test_a_token_posts_to_the_channel_that_is_written() -> None:
    with answering(said(ok=True, channel="C1", ts="1700000000.1")) as server:
        assert slack.send("#ops", FIRING, by_token(server.url + "/api/chat.postMessage")) == Delivered(
            "posted as 1700000000.1"
        )
    (request,) = server.requests
    assert request.path == "/api/chat.postMessage"
    assert (request.headers["Authorization"], request.headers["X-Team"]) == ("Bearer xoxb-1", "t")
    document = request.document
    assert document["channel"] == "#ops"
    assert document["text"] == "FIRING db.slow (host=a) value 3.5 [avg(db.s) &gt; 1]"
    (detail,) = document["attachments"]
    assert detail["color"] == "#c0392b"
    assert "condition: avg(db.s) &gt; 1" in detail["text"]
    payload = document["metadata"]["event_payload"]
    assert payload == {"idempotency_key": "k" * 32, "episode": FIRING.dedup_key}


def test_a_webhook_gets_the_same_message_without_a_channel() -> None:
    with answering(status(200, "ok")) as server:
        outcome = slack.send("#ops", FIRING, Profile(server.url + "/services/T/B/x"))
    assert outcome == Delivered("HTTP 200 ok")
    assert not {"channel", "metadata"} & set(server.requests[0].document)
    assert server.requests[0].document["text"].startswith("FIRING db.slow")


def test_no_tag_of_a_stranger_calls_a_channel_or_hides_a_link() -> None:
    sly = replace(ALERT, tags={"host": "<!channel> <http://evil|fine> &amp;"})
    document = slack.document_of(FIRING, slack.message_of(replace(FIRING, alerts=(sly,)), None))
    shown = document["text"] + document["attachments"][0]["text"]
    assert "<" not in shown
    assert "&lt;!channel&gt;" in shown
    assert "&amp;amp;" in shown


def test_a_resolve_has_another_colour() -> None:
    resolved = replace(FIRING, alerts=(replace(ALERT, state="resolved"),))
    assert slack.document_of(resolved, slack.message_of(resolved, None))["attachments"][0]["color"] == "#27ae60"


def test_a_long_text_is_cut_before_slack_cuts_it() -> None:
    long = replace(ALERT, reason="<" * 20_000)
    document = slack.document_of(FIRING, slack.message_of(replace(FIRING, alerts=(long,)), None))
    assert document["attachments"][0]["text"].count("&lt;") <= slack.TEXT_CHARS_MAX
    assert document["attachments"][0]["text"].endswith("…")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(ok=False, error="channel_not_found"), Dead("Slack: channel_not_found")),
        (said(ok=False, error="invalid_auth"), Dead("Slack: invalid_auth")),
        (said(ok=False, error="ratelimited"), Retry("Slack: ratelimited")),
        (said(ok=False, error="internal_error"), Retry("Slack: internal_error")),
        (said(ok=False), Dead("Slack: no error named")),
        (said(ok="true", error="x"), Dead("Slack: x")),
        (status(200, "<html>log in</html>"), Retry("Slack's answer is no JSON: HTTP 200 <html>log in</html>")),
        (status(200, "[1]"), Retry("Slack's answer is no JSON: HTTP 200 [1]")),
        (status(200, '{"ok":true'), Retry("""Slack's answer is no JSON: HTTP 200 {"ok":true""")),
        (status(429, Retry_After="30"), Retry("HTTP 429", 30.0)),
        (status(503), Retry("HTTP 503")),
        (status(404), Dead("HTTP 404")),
    ],
)
def test_the_api_says_in_its_json_what_became_of_it(answer: bytes, expected: Outcome) -> None:
    with answering(answer) as server:
        assert slack.send("#ops", FIRING, by_token(server.url)) == expected


def test_a_success_that_quotes_a_long_message_is_a_success() -> None:
    with answering(said(ok=True, ts="1", message="x" * 100_000)) as server:
        assert isinstance(slack.send("#ops", FIRING, by_token(server.url)), Delivered)


def test_a_channel_takes_the_profile_of_its_name_before_the_common_one() -> None:
    own, common = Profile("http://own/"), Profile("http://common/")
    assert route(parse_target("slack:#ops"), {"ops": own, "slack": common}).profile is own
    assert route(parse_target("slack:#dev"), {"ops": own, "slack": common}).profile is common
    assert route(parse_target("slack:ops"), {"ops": own}).profile is own


def test_without_an_account_it_is_dead_and_never_leaves() -> None:
    assert isinstance(slack.send("#ops", FIRING, None), Dead)

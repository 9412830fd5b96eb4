"""`slack:#ops`: a message in a Slack channel.

    receivers:
      slack: {slack: {token: "${env:SLACK_TOKEN}"}}       # a bot's token: any channel it may write to
      ops: {url: "${env:SLACK_OPS_WEBHOOK}"}              # an incoming webhook: the one channel it was made for

`slack:#ops` takes the profile `ops` where there is one, else `slack`. With a token the API's `chat.postMessage` is
called, which answers 200 to all and says in its JSON whether it was so: `ok`, or an `error` of which PASSING_ERRORS
come again. A webhook answers by status. Slack has no idempotency key: a page whose answer got lost may stand there
twice. Source: https://docs.slack.dev/reference/methods/chat.postMessage and
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.notification import Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers.message import Message, message_of
from hms_ops.alert.receivers.post import ANSWER_BYTES_MAX, REASON_CHARS_MAX, Answer, outcome_of, post_json
from hms_ops.alert.template import cut
from hms_ops.secret import HIDDEN_TEXT, Secret
from hms_ops.setting import setting

API_URL: Final = "https://slack.com/api/chat.postMessage"
TEXT_CHARS_MAX: Final = 3000  # what an attachment shows without folding is less, what is cut by Slack is more
COLOURS: Final = {"firing": "#c0392b", "resolved": "#27ae60"}

CUT_SUCCESS: Final = re.compile(rb'\s*\{\s*"ok"\s*:\s*true\b')

# Errors of the API that time can cure, as its reference describes them; all others want another setting.
PASSING_ERRORS: Final = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "internal_error",
        "fatal_error",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)


@dataclass(frozen=True)
class SlackAccount:
    """The section `slack` of a profile, whose `url` is an incoming webhook's, or with a token another API's."""

    token: Secret | None = setting(None, HIDDEN_TEXT)

    def problem(self, url: str) -> str:
        return "" if self.token or url else "has neither a token nor a url; give one"


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Post to the channel `address`."""
    account = profile.options.get("slack") if profile else None
    document = document_of(notification, message_of(notification, profile))
    if profile is not None and isinstance(account, SlackAccount) and account.token is not None:
        headers = {**profile.headers, "Authorization": f"Bearer {account.token.value}"}
        document |= {"channel": address, "metadata": metadata_of(notification)}
        return outcome_of_api(post_json(profile.url or API_URL, document, headers))
    if profile is None or not profile.url:
        return Dead("no Slack account is configured; set receivers.slack")
    return outcome_of(post_json(profile.url, document, profile.headers))


def document_of(notification: Notification, message: Message) -> dict[str, Any]:
    """`text` is what a phone shows; the attachment has the details beside a bar of colour."""
    detail = {"color": COLOURS[notification.state], "text": escaped(message.text), "mrkdwn_in": []}
    return {
        "text": escaped(message.title),
        "attachments": [detail],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def metadata_of(notification: Notification) -> dict[str, Any]:
    """What people do not see and programs may: the same in every attempt. Webhooks take none."""
    payload = {"idempotency_key": notification.idempotency_key, "episode": notification.dedup_key}
    return {"event_type": "hms_ops_alert", "event_payload": payload}


def escaped(text: str) -> str:
    """Slack's three special characters; without them no tag of a stranger mentions a channel or hides a link."""
    return cut(text, TEXT_CHARS_MAX).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def outcome_of_api(answer: Answer) -> Outcome:
    """The API's answer: its JSON counts where the status is a success."""
    if not answer.is_success:
        return outcome_of(answer)
    said = said_by(answer)
    if said is None:
        return Retry(f"Slack's answer is no JSON: {answer}"[:REASON_CHARS_MAX], answer.retry_after_seconds)
    if said.get("ok") is True:
        return Delivered(f"posted as {said.get('ts', '?')}"[:REASON_CHARS_MAX])
    error = str(said.get("error", "no error named"))[:REASON_CHARS_MAX]
    if error in PASSING_ERRORS:
        return Retry(f"Slack: {error}", answer.retry_after_seconds)
    return Dead(f"Slack: {error}")


def said_by(answer: Answer) -> dict[str, Any] | None:
    """The answer's JSON. A success quotes the message and may be longer than what is read: its beginning says it."""
    if CUT_SUCCESS.match(answer.content):
        return {"ok": True, "ts": "?"} if len(answer.content) >= ANSWER_BYTES_MAX else json_of(answer.content)
    return json_of(answer.content)


def json_of(content: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(content)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None

"""`apprise:NAME`: any of the services apprise knows, by the URL of the profile NAME; and `sms:` through one of them.

    receivers:
      desk: {apprise: {url: "discord://${env:DISCORD}"}}
      sms: {apprise: {url: "twilio://${env:TWILIO}@+15550111/{to}"}}      # {to}: the number that is written

Sent by a process of its own (`child.py`), with `hms_ops/children/by_apprise.py` at the other end. Services of apprise
have no idempotency key: a message whose answer got lost may arrive twice. One URL a profile, since a part of several
that failed could not come again without the others.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from hms_ops.alert.notification import Dead, Notification, Outcome, Profile
from hms_ops.alert.receivers.child import APPRISE
from hms_ops.alert.receivers.message import Message, message_of
from hms_ops.alert.receivers.post import POST_SECONDS_MAX
from hms_ops.secret import HIDDEN_TEXT, Secret
from hms_ops.setting import setting

TO: Final = "{to}"


@dataclass(frozen=True)
class AppriseService:
    """The section `apprise` of a profile."""

    url: Secret | None = setting(None, HIDDEN_TEXT)

    def problem(self, url: str) -> str:
        if self.url is None or "://" not in self.url.value:
            return "has no url; give one of apprise's, such as discord://…"
        return "has a url beside it; write it into apprise: {url: …}" if url else ""


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Send the message by the service of the profile."""
    return send_to("", notification, profile, message_of(notification, profile))


def send_to(number: str, notification: Notification, profile: Profile | None, message: Message) -> Outcome:
    """The same, with a number or name put into the service's URL where it says `{to}`."""
    service = profile.options.get("apprise") if profile else None
    if not isinstance(service, AppriseService) or service.url is None:
        return Dead("no service of apprise is configured; set receivers.NAME.apprise.url")
    request = {
        "url": service.url.value.replace(TO, quote(number, safe="")),
        "title": message.title,
        "body": message.text,
        "kind": "failure" if notification.state == "firing" else "success",
    }
    return APPRISE.ask(request, POST_SECONDS_MAX)

"""`sms:+1-555-0100`: a text message, by POST of JSON to the gateway in the configuration, or by a service of apprise.

    receivers: {sms: {url: "https://gateway/sms", headers: {Authorization: "${env:SMS_TOKEN}"}}}
    receivers: {sms: {apprise: {url: "twilio://${env:TWILIO}@+15550111/{to}"}}}

The gateway gets `{"to": "+15550100", "text": …, "idempotency_key": …}` and the header `Idempotency-Key`. Letters in a
number mean the keys of a phone, so `+1-555-ONCALL` is +1555662255. The text is the notification in one line, or the
profile's `template.text`. Without a profile the log takes the message, see `receivers.route`.
"""

from typing import Final

from hms_ops.alert.notification import Dead, Notification, Outcome, Profile, summary
from hms_ops.alert.receivers import apprise
from hms_ops.alert.receivers.message import Message, message_of, template_of
from hms_ops.alert.receivers.post import outcome_of, post_json
from hms_ops.alert.template import cut

TEXT_CHARS_MAX: Final = 480  # three parts of a long text message
KEYPAD: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999", " -().")


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """POST the one-line summary to the gateway for the number in `address`."""
    if profile is None:
        return Dead("no SMS gateway is configured; set receivers.sms.url")
    text = text_of(notification, profile)
    if "apprise" in profile.options:
        return apprise.send_to(dialled(address), notification, profile, Message("", text))
    document = {"to": dialled(address), "text": text, "idempotency_key": notification.idempotency_key}
    headers = {**profile.headers, "Idempotency-Key": notification.idempotency_key}
    return outcome_of(post_json(profile.url, document, headers))


def text_of(notification: Notification, profile: Profile) -> str:
    is_worded = bool(template_of(profile).text)
    return cut(message_of(notification, profile).text if is_worded else summary(notification), TEXT_CHARS_MAX)


def dialled(number: str) -> str:
    """The number as a gateway wants it: `+` and digits."""
    return number.upper().translate(KEYPAD)

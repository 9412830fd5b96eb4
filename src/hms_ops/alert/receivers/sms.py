"""`sms:+1-555-0100`: a text message, by POST of JSON to the gateway in the configuration.

    receivers: {sms: {url: "https://gateway/sms", headers: {Authorization: "${env:SMS_TOKEN}"}}}

The gateway gets `{"to": "+15550100", "text": …, "idempotency_key": …}` and the header `Idempotency-Key`. Letters in a
number mean the keys of a phone, so `+1-555-ONCALL` is +1555662255. Without a gateway the log takes the message, see
`receivers.route`.
"""

from typing import Final

from hms_ops.alert.notification import Dead, Notification, Outcome, Profile, summary
from hms_ops.alert.receivers.post import outcome_of, post_json

TEXT_CHARS_MAX: Final = 480  # three parts of a long text message
KEYPAD: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999", " -().")


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """POST the one-line summary to the gateway for the number in `address`."""
    if profile is None:
        return Dead("no SMS gateway is configured; set receivers.sms.url")
    document = {
        "to": dialled(address),
        "text": summary(notification)[:TEXT_CHARS_MAX],
        "idempotency_key": notification.idempotency_key,
    }
    headers = {**profile.headers, "Idempotency-Key": notification.idempotency_key}
    return outcome_of(post_json(profile.url, document, headers))


def dialled(number: str) -> str:
    """The number as a gateway wants it: `+` and digits."""
    return number.upper().translate(KEYPAD)

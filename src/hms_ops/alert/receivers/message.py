"""A notification as people read it: a title of one line and a text of a few, for mail, chats and phones.

What holds, first found: the receiver's `template: {title, text}`; for the title of a single alert, its annotation
`summary`, with the state before it; else `notification.summary`. The text lists the alerts, ALERTS_MAX at most, each
with its facts and its other annotations; what is left out is counted in the last line. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hms_ops.alert.notification import Alert, Notification, Profile, group_text, noted, summary, value_text
from hms_ops.alert.template import annotations_of, cut, fit, render_message, rfc3339
from hms_ops.escape import printable

ALERTS_MAX: Final = 20
TITLE_CHARS_MAX: Final = 250
TEXT_CHARS_MAX: Final = 8000


@dataclass(frozen=True, slots=True)
class Template:
    """A receiver's own wording; "" leaves the usual one."""

    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """title: one line, without control characters. text: lines, without them too."""

    title: str
    text: str


def message_of(notification: Notification, profile: Profile | None) -> Message:
    template = template_of(profile)
    title = render_message(template.title, notification) if template.title else usual_title(notification)
    text = render_message(template.text, notification) if template.text else usual_text(notification)
    return Message(cut(printable(" ".join(title.split())), TITLE_CHARS_MAX), cut(fit(text), TEXT_CHARS_MAX))


def template_of(profile: Profile | None) -> Template:
    found = profile.options.get("template") if profile else None
    return found if isinstance(found, Template) else Template()


def usual_title(notification: Notification) -> str:
    """`FIRING irs answers in 215 ms`, or the summary where a rule has no annotation of that name."""
    told = annotations_of(notification.alert).get("summary", "")
    if not told or len(notification.alerts) + notification.left_out > 1:
        return summary(notification)
    return f"{notification.state.upper()} {told}{noted(notification)}"


def usual_text(notification: Notification) -> str:
    paragraphs = [summary(notification), *map(paragraph, notification.alerts[:ALERTS_MAX])]
    left = len(notification.alerts) - ALERTS_MAX if len(notification.alerts) > ALERTS_MAX else 0
    if left + notification.left_out:
        paragraphs.append(f"and {left + notification.left_out:,} more")
    return "\n\n".join(paragraphs)


def paragraph(alert: Alert) -> str:
    """One alert: what, since when, and what its rule says about it."""
    facts = facts_of(alert)
    head = " ".join(part for part in (alert.state.upper(), alert.name, group_text(alert)) if part)
    return "\n".join([printable(head), *(f"  {name}: {text}" for name, text in facts.items())])


def facts_of(alert: Alert) -> Mapping[str, str]:
    """What stands below an alert's head; only what there is."""
    facts = {
        "value": value_text(alert),
        "condition": printable(alert.rule_text),
        "since": rfc3339(alert.since),
        "until": rfc3339(alert.until) if alert.until else "",
        "severity": printable(alert.severity),
        "reason": printable(alert.reason),
        **{printable(name): text for name, text in annotations_of(alert).items()},
    }
    return {name: text for name, text in facts.items() if text}

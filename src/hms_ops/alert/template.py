"""Texts for people with the facts of an alert in them: `{agency} answers in {value} ms`.

A rule's annotations and a receiver's `template` come here from the configuration, the facts from alerts, whose tags
are strangers' texts. So nothing is evaluated: a name in braces is looked up in one table of texts and replaced, once;
what a value contains is not looked at again. Source of the idea: no `str.format`, whose `{a.__class__}` reaches
anything.

    {name} {state} {value} {severity} {since} {until} {reason} {rule} {group} {episode} {policy}     facts
    {agency}                             the tag `agency` of the alert, else of its rule; facts come before tags
    {tag.state}                          a tag whose name is a fact's
    {{ and }}                            braces as they are
    {anything else}                      stays as it is written; `unknown_names` is what a linter warns of

`message_values` has what holds for a notification of several alerts. Numbers have six digits, times are RFC 3339 in
UTC. Control characters in values are escaped; the template may have lines, and `fit` is for what else is in it. The
receiver is shown as everywhere, without its secrets.
Limits, each shown by a final `…`: VALUE_CHARS_MAX of one value, TEXT_CHARS_MAX of the result. Pure; raises nothing.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Alert, Notification, group_text, summary, value_text
from hms_ops.escape import printable, printable_lines

VALUE_CHARS_MAX: Final = 500
TEXT_CHARS_MAX: Final = 8000
TAB_COLUMNS: Final = 4

NAME: Final = re.compile(r"\{\{|\}\}|\{([^{}\s]{1,200})\}")
BRACES: Final = {"{{": "{", "}}": "}"}
FACTS: Final = (
    "name",
    "state",
    "value",
    "severity",
    "since",
    "until",
    "reason",
    "rule",
    "group",
    "episode",
    "policy",
)
MESSAGE_FACTS: Final = ("summary", "count", "firing", "resolved", "left_out", "receiver", "note", "why")
TAG: Final = "tag."


def render(text: str, alert: Alert) -> str:
    """The text with the facts and tags of one alert in it."""
    return fill(text, values_of(alert))


def render_message(text: str, notification: Notification) -> str:
    """The text with the facts of a notification, and those of its first alert, in it."""
    return fill(text, message_values(notification))


def annotations_of(alert: Alert) -> dict[str, str]:
    """The annotations of the alert's rule, filled in. They may have lines; rules come over HTTP too, so no more."""
    if not alert.annotations:
        return {}
    values = values_of(alert)
    return {name: fit(fill(text, values)) for name, text in alert.annotations.items()}


def names_in(text: str) -> list[str]:
    """The names the text asks for, each once, in their order."""
    return list(dict.fromkeys(found[1] for found in NAME.finditer(text) if found[1]))


def unknown_names(text: str, tags: Iterable[str], facts: Iterable[str] = FACTS) -> list[str]:
    """The names nothing will be put in for, where an alert has these tags at most: for a linter."""
    known = {*facts, *tags, *(f"{TAG}{tag}" for tag in tags)}
    return [name for name in names_in(text) if name not in known]


def values_of(alert: Alert) -> dict[str, str]:
    """Name → text, facts over tags over the rule's tags."""
    tags = {**alert.rule_tags, **alert.tags}
    return {**tags, **{f"{TAG}{tag}": text for tag, text in tags.items()}, **facts_of(alert)}


def facts_of(alert: Alert) -> dict[str, str]:
    return {
        "name": alert.name,
        "state": alert.state,
        "value": value_text(alert),
        "severity": alert.severity,
        "since": rfc3339(alert.since),
        "until": rfc3339(alert.until) if alert.until else "",
        "reason": alert.reason,
        "rule": alert.rule_text,
        "group": group_text(alert),
        "episode": str(alert.episode),
        "policy": alert.policy,
    }


def message_values(notification: Notification) -> dict[str, str]:
    """Those of the first alert, and what is true of them all; `state` is the notification's."""
    firing = sum(alert.state == "firing" for alert in notification.alerts)
    return {
        **values_of(notification.alert),
        "state": notification.state,
        "summary": summary(notification),
        "count": str(len(notification.alerts) + notification.left_out),
        "firing": str(firing),
        "resolved": str(len(notification.alerts) - firing),
        "left_out": str(notification.left_out),
        "receiver": shown_receiver(notification.receiver),
        "note": notification.note,
        "why": notification.why,
    }


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each known name by its value; everything else stays."""

    def put(found: re.Match[str]) -> str:
        if found[1] is None:
            return BRACES[found[0]]
        value = values.get(found[1])
        return found[0] if value is None else cut(printable(value[: VALUE_CHARS_MAX + 1]), VALUE_CHARS_MAX)

    # The text is a stranger's as soon as rules come over HTTP: bounded before it is searched, and after.
    return cut(NAME.sub(put, text[: TEXT_CHARS_MAX + 1]), TEXT_CHARS_MAX)


def fit(text: str) -> str:
    """Lines that are fit to print, whoever wrote the template."""
    return printable_lines(text.expandtabs(TAB_COLUMNS))


def cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def rfc3339(unix_seconds: float) -> str:
    """`2023-11-14T22:13:20.000Z`; "" for what is no time of this calendar."""
    try:
        told = datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")

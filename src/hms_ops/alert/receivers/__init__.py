"""Receivers: where a notification goes, written as a URL. One module each, with one function

    send(address, notification, profile) -> Outcome

that blocks for at most `post.POST_SECONDS_MAX`, raises nothing and keeps nothing. `outbox.py` calls them from one
worker per receiver. `SENDERS` is the whole list; a scheme in `LATER` can be written already and goes to the log, with
a warning when the rules are loaded.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hms_ops.alert.notification import Notification, Outcome, Profile
from hms_ops.alert.receivers import log, sms, webhook
from hms_ops.yamlfile import nearest

Send = Callable[[str, Notification, Profile | None], Outcome]

SENDERS: Final[dict[str, Send]] = {"webhook": webhook.send, "sms": sms.send, "log": log.send}
LATER: Final = ("email", "slack", "mcp")

TARGET_CHARS_MAX: Final = 1000
PHONE_NUMBER: Final = re.compile(r"\+?[0-9A-Za-z][0-9A-Za-z ().-]{1,30}\Z")
PROFILE_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,99}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver's URL, taken apart: `sms:+1-555-0100` is scheme "sms", address "+1-555-0100"."""

    scheme: str
    address: str

    @property
    def shown(self) -> str:
        """For logs and the names of threads: without user, password and query, which may be secrets."""
        if not self.address.startswith(("http://", "https://")):
            return f"{self.scheme}:{self.address}"
        place = urlsplit(self.address)
        host = place.netloc.rpartition("@")[2]
        return f"{self.scheme}:{place.scheme}://{host}{place.path}{'?***' if place.query else ''}"


@dataclass(frozen=True, slots=True)
class Route:
    """A target with the function that serves it, and what its owner should be told about that."""

    target: Target
    send: Send
    profile: Profile | None = None
    warning: str = ""


def parse_target(text: str) -> Target:
    """A receiver's URL taken apart and checked; ValueError quotes it and says what is wanted."""
    scheme, _, address = text.partition(":")
    if len(text) > TARGET_CHARS_MAX or not text.isprintable():
        raise ValueError(f"receiver {text[:60]!r}… is too long or holds control characters")
    if scheme not in SENDERS and scheme not in LATER:
        raise ValueError(f"receiver {text!r} has no scheme we know; {nearest(scheme, (*SENDERS, *LATER))}")
    check = CHECKS.get(scheme)
    if check is not None:
        check(text, address)
    return Target(scheme, address)


def route(target: Target, profiles: Mapping[str, Profile]) -> Route:
    """Who serves the target. What cannot be served as written goes to the log, and `warning` says so."""
    if target.scheme in LATER:
        return logged(target, f"{target.scheme} is not in this version")
    profile = profiles.get(profile_name(target))
    if target.scheme == "sms" and profile is None:
        return logged(target, "no SMS gateway is configured (receivers.sms.url)")
    if target.scheme == "webhook" and profile is None and not is_http(target.address):
        return logged(target, f"no receiver {target.address!r} is configured")
    return Route(target, SENDERS[target.scheme], profile)


def warning_of(receiver: str, profiles: Mapping[str, Profile]) -> str:
    """What the owner of a rule should know when it is loaded: why the receiver is not served as written, or ""."""
    return route(parse_target(receiver), profiles).warning


def logged(target: Target, why: str) -> Route:
    return Route(target, log.send, warning=f"{target.shown}: {why}; its notifications go to the log")


def profile_name(target: Target) -> str:
    """`webhook:ops` has the profile `ops`; all of `sms:` share the gateway `sms`."""
    return target.address if target.scheme == "webhook" else target.scheme


def is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def check_webhook(text: str, address: str) -> None:
    if not is_http(address):
        if not PROFILE_NAME.match(address):
            raise ValueError(f"receiver {text!r} wants webhook:http://host/path, or a configured receiver's name")
        return
    try:
        place = urlsplit(address)
        is_complete = bool(place.hostname) and place.port != 0
    except ValueError as error:
        raise ValueError(f"receiver {text!r} holds no good URL: {error}") from None
    if not is_complete or " " in address:
        raise ValueError(f"receiver {text!r} wants webhook:http://host/path")


def check_sms(text: str, address: str) -> None:
    if not PHONE_NUMBER.match(address):
        raise ValueError(f"receiver {text!r} wants a phone number, such as sms:+1-555-0100")


CHECKS: Final[dict[str, Callable[[str, str], None]]] = {"webhook": check_webhook, "sms": check_sms}

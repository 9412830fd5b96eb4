"""Receivers: where a notification goes, written as a URL. One module each, with one function

    send(address, notification, profile) -> Outcome

that ends by a deadline of its own, raises nothing and keeps nothing. `outbox.py` calls them from one worker per
receiver. `SCHEMES` is the whole list. A receiver whose profile or package is missing goes to the log, with a warning
when the rules are loaded.

What a profile is for: one with a section (`email: {…}`) for that receiver, one with a `url` alone for whatever is
reached by a URL: webhook, sms, slack, mcp, alertmanager. See `hms_ops/profiles.py`.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Notification, Outcome, Profile
from hms_ops.alert.receivers import alertmanager, apprise, log, mail, mcp, pagerduty, slack, sms, webhook
from hms_ops.yamlfile import nearest

Send = Callable[[str, Notification, Profile | None], Outcome]

TARGET_CHARS_MAX: Final = 1000
QUOTED_CHARS_MAX: Final = 60  # of a wrong one
PHONE_NUMBER: Final = re.compile(r"\+?[0-9A-Za-z][0-9A-Za-z ().-]{1,30}\Z")
PROFILE_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,99}\Z", re.ASCII)
CHANNEL: Final = re.compile(r"[#@]?[\w.-]{1,80}\Z")
TOOL: Final = re.compile(r"[A-Za-z_][\w.-]{0,99}#[\w./:-]{1,128}\Z", re.ASCII)
PAGERDUTY: Final = re.compile(r"([A-Za-z_][\w.-]{0,99})?\Z", re.ASCII)
URL_ALONE: Final = "url"  # the use of a profile without a section


@dataclass(frozen=True, slots=True)
class Scheme:
    """One sort of receiver. check: raises ValueError for a wrong address. names: of the profiles that may serve an
    address, best first. uses: which profiles can. missing: what to say when none is there. serves_urls: an http URL as
    the address needs no profile."""

    send: Send
    check: Callable[[str, str], None]
    names: Callable[[str], tuple[str, ...]]
    uses: tuple[str, ...]
    missing: str
    serves_urls: bool = False
    package: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver's URL, taken apart: `sms:+1-555-0100` is scheme "sms", address "+1-555-0100"."""

    scheme: str
    address: str

    @property
    def shown(self) -> str:
        """Without what may be its secrets, see address.py."""
        return shown_receiver(f"{self.scheme}:{self.address}")


@dataclass(frozen=True, slots=True)
class Route:
    """A target with the function that serves it, and what its owner should be told about that."""

    target: Target
    send: Send
    profile: Profile | None = None
    warning: str = ""


def parse_target(text: str) -> Target:
    """A receiver's URL taken apart and checked; ValueError quotes it as it may be shown and says what is wanted."""
    scheme, _, address = text.partition(":")
    if len(text) > TARGET_CHARS_MAX or not text.isprintable():
        raise ValueError(f"receiver {quoted(text)} is too long or holds control characters")
    if scheme not in SCHEMES:
        raise ValueError(f"receiver {quoted(text)} has no scheme we know; {nearest(scheme, SCHEMES)}")
    SCHEMES[scheme].check(text, address)
    return Target(scheme, address)


def route(target: Target, profiles: Mapping[str, Profile]) -> Route:
    """Who serves the target. What cannot be served as written goes to the log, and `warning` says so."""
    scheme = SCHEMES[target.scheme]
    profile = next((profiles[name] for name in scheme.names(target.address) if name in profiles), None)
    why = hindrance(scheme, target, profile)
    if why:
        return Route(target, log.send, warning=f"{target.shown}: {why}; its notifications go to the log")
    return Route(target, scheme.send, profile)


def warning_of(receiver: str, profiles: Mapping[str, Profile]) -> str:
    """What the owner of a rule should know when it is loaded: why the receiver is not served as written, or ""."""
    return route(parse_target(receiver), profiles).warning


def hindrance(scheme: Scheme, target: Target, profile: Profile | None) -> str:
    """Why the scheme cannot serve the target with this profile, or ""."""
    if profile is None:
        is_served = not scheme.uses or (scheme.serves_urls and is_http(target.address))
        return "" if is_served else scheme.missing.format(name=next(iter(scheme.names(target.address)), ""))
    use = use_of(profile)
    if use not in scheme.uses:
        return "its profile has only a url" if use == URL_ALONE else f"its profile is for {use}"
    package = SCHEMES[use].package if use in SCHEMES else scheme.package  # an SMS by apprise needs apprise
    if package and importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed (pip install 'hms-ops[{EXTRAS[package]}]')"
    return ""


def use_of(profile: Profile) -> str:
    """The section a profile has, or that it is a URL alone."""
    return next((name for name in profile.options if name in SCHEMES), URL_ALONE)


def is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


# ---- addresses


def check_url(text: str, address: str) -> None:
    """A URL, or the name of a profile that has one."""
    scheme = text.partition(":")[0]
    if not is_http(address):
        if not PROFILE_NAME.match(address):
            raise ValueError(
                f"receiver {quoted(text)} wants {scheme}:http://host/path, or a configured receiver's name"
            )
        return
    try:
        place = urlsplit(address)
        is_complete = bool(place.hostname) and place.port != 0
    except ValueError:  # whose text quotes what may be a password
        raise ValueError(f"receiver {quoted(text)} holds no good URL: its host or its port is wrong") from None
    if not is_complete or " " in address:
        raise ValueError(f"receiver {quoted(text)} wants {scheme}:http://host/path")


def check_by(pattern: re.Pattern[str], wanted: str) -> Callable[[str, str], None]:
    def check(text: str, address: str) -> None:
        if not pattern.match(address):
            raise ValueError(f"receiver {quoted(text)} wants {wanted}")

    return check


def quoted(text: str) -> str:
    told = shown_receiver(text)
    return f"'{told}'" if len(told) <= QUOTED_CHARS_MAX else f"'{told[:QUOTED_CHARS_MAX]}'…"


def check_nothing(text: str, address: str) -> None:
    """`log:` takes any address; it stands in the line."""


def by_scheme(name: str) -> Callable[[str], tuple[str, ...]]:
    """All addresses share the profile that is named as their scheme."""
    return lambda address: (name,)


def by_address(address: str) -> tuple[str, ...]:
    return (address,)


def by_channel(address: str) -> tuple[str, ...]:
    return (address.lstrip("#@"), "slack")


NO_PROFILE: Final = "no receiver {name!r} is configured"
SCHEMES: Final[dict[str, Scheme]] = {
    "webhook": Scheme(webhook.send, check_url, by_address, (URL_ALONE,), NO_PROFILE, serves_urls=True),
    "sms": Scheme(
        sms.send,
        check_by(PHONE_NUMBER, "a phone number, such as sms:+1-555-0100"),
        by_scheme("sms"),
        (URL_ALONE, "apprise"),
        "no SMS gateway is configured (receivers.sms.url)",
    ),
    "email": Scheme(
        mail.send,
        check_by(mail.MAILBOX, "an address, such as email:ops@agency.gov"),
        by_scheme("email"),
        ("email",),
        "no mail server is configured (receivers.email.email)",
    ),
    "slack": Scheme(
        slack.send,
        check_by(CHANNEL, "a channel, such as slack:#ops, or a configured receiver's name"),
        by_channel,
        (URL_ALONE, "slack"),
        "no Slack account is configured (receivers.slack)",
    ),
    "mcp": Scheme(
        mcp.send,
        check_by(TOOL, "mcp:SERVER#TOOL, a configured server and one of its tools"),
        lambda address: (address.partition("#")[0],),
        (URL_ALONE, "mcp"),
        "no MCP server {name!r} is configured",
        package="mcp",
    ),
    "apprise": Scheme(
        apprise.send,
        check_by(PROFILE_NAME, "the name of a configured receiver with an apprise URL"),
        by_address,
        ("apprise",),
        NO_PROFILE,
        package="apprise",
    ),
    "alertmanager": Scheme(
        alertmanager.send, check_url, by_address, (URL_ALONE, "alertmanager"), NO_PROFILE, serves_urls=True
    ),
    "pagerduty": Scheme(
        pagerduty.send,
        check_by(PAGERDUTY, "nothing, or the name of a configured receiver with a routing key"),
        lambda address: (address or "pagerduty",),
        ("pagerduty",),
        NO_PROFILE,
    ),
    "log": Scheme(log.send, check_nothing, by_scheme("log"), (), ""),
}
EXTRAS: Final = {"apprise": "notify", "mcp": "mcp"}  # of our own package, by theirs

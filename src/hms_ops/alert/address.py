"""A receiver's URL as it may be shown: in logs, health, decisions, dead letters, names of threads, templates, errors.

    webhook:https://user:password@hooks.slack.com/services/T0/B0/SECRET      as written
    webhook:https://hooks.slack.com/services/***                             as shown

Of an http URL its scheme, host and port, and the first part of its path stay, that one only if it is as short as a
word; `/***` and `?***` say that there is more. User and password go without a mark. Other addresses (a number, a
mailbox, a channel, a profile's name) are no secrets and stay; one that only looks like a URL is hidden whole.
Pure; raises nothing. Control characters are escaped.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from hms_ops.escape import printable

HIDDEN: Final = "***"
PART_CHARS_MAX: Final = 20  # of a path: a longer one may be a key, as in https://hc-ping.com/UUID
SHOWN_CHARS_MAX: Final = 300
URLISH: Final = re.compile(r"/.*@|//|:.*@|\?")  # what may hold a password or a token, however badly it is written


@lru_cache(maxsize=1024)
def shown_receiver(receiver: str) -> str:
    """The receiver without what may be its secrets."""
    scheme, colon, address = receiver.partition(":")
    if not URLISH.search(address):
        return printable(receiver[:SHOWN_CHARS_MAX])
    return printable(f"{scheme[:PART_CHARS_MAX]}{colon}{shown_url(address)}"[:SHOWN_CHARS_MAX])


def shown_url(url: str) -> str:
    """An http URL's beginning; `***` for what is none."""
    try:
        place = urlsplit(url)
        host, port = place.hostname, place.port
    except ValueError:
        return HIDDEN
    if place.scheme not in ("http", "https") or not host or "@" in place.path:
        return HIDDEN  # an @ behind a slash: perhaps a password that has a slash in it
    at = f"[{host}]" if ":" in host else host
    first, _, more = place.path.removeprefix("/").partition("/")
    is_word = len(first) <= PART_CHARS_MAX
    path = f"/{first if is_word else HIDDEN}" if place.path else ""
    path += f"/{HIDDEN}" if more and is_word else ""
    is_told = path.endswith(HIDDEN) or not place.query + place.fragment
    return f"{place.scheme}://{at}{'' if port is None else f':{port}'}{path}{'' if is_told else f'?{HIDDEN}'}"

"""Sends one message through apprise, in a process of its own.

    → {"url": "discord://…", "title": "…", "body": "…", "kind": "failure" | "success", "seconds": 10.0}

What came of it is told by apprise's result and, where it failed, by its warnings: most services name the HTTP status
(`error=404`), which decides as everywhere; without one it comes again. No piece of the URL, which holds the
credentials, is repeated in the detail. A URL that apprise does not know is dead.
"""

import logging
import re
from typing import Any, Final

import apprise

from hms_ops.children.serving import outcome, serve

LOGGER: Final = logging.getLogger("apprise")
STATUS: Final = re.compile(r"\berror\s*[=:]\s*([1-5][0-9]{2})\b")
PASSING_STATUS: Final = (408, 425, 429)
SECRET_CHARS_MIN: Final = 4  # shorter pieces of a path are words of every message; user and password are hidden always
HIDDEN: Final = "***"
PARTS: Final = re.compile(r"[/:@?&=,#\s]+")


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Send it; see the module for what is asked and answered."""
    url, seconds = request["url"], request["seconds"]
    warnings = Warnings()
    LOGGER.addHandler(warnings)
    try:
        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="HMS-OPS", app_desc="HMS-OPS", async_mode=False))
        if not service.add(url):
            return outcome("dead", hidden(warnings.last or "apprise does not know this URL", url))
        kind = apprise.NotifyType.SUCCESS if request["kind"] == "success" else apprise.NotifyType.FAILURE
        text = apprise.NotifyFormat.TEXT
        is_sent = service.notify(request["body"], request["title"], kind, text, timeout=seconds)
    finally:
        LOGGER.removeHandler(warnings)
    return outcome("delivered", "apprise sent it") if is_sent else failed(hidden(warnings.last, url))


def failed(told: str) -> dict[str, Any]:
    """What the last warning makes of a failure."""
    found = STATUS.search(told)
    status = int(found[1]) if found else 0
    is_permanent = 400 <= status < 500 and status not in PASSING_STATUS
    return outcome("dead" if is_permanent else "retry", told or "apprise could not send it")


def hidden(told: str, url: str) -> str:
    """The message without the pieces of the URL."""
    rest = url.partition("://")[2]
    pieces = {piece for piece in re.split(PARTS, rest) if len(piece) >= SECRET_CHARS_MIN}
    pieces |= {piece for piece in re.split(PARTS, rest.rpartition("@")[0]) if piece}
    for piece in sorted(pieces, key=len, reverse=True):
        told = told.replace(piece, HIDDEN)
    return told


class Warnings(logging.Handler):
    """Keeps the last warning: apprise says why it failed nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


if __name__ == "__main__":
    serve(handle)

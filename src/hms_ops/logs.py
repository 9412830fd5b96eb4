"""The daemon's log lines on standard error: plain text for people, JSON for machines.

`configure()` is called once by `cli/run.py`; every other module only asks `logging.getLogger("hms_ops.…")`. Names and
tags come from strangers, so control characters are escaped in both formats: nothing in a log line can forge another
line or move a terminal's cursor. Fields passed as `extra={"fields": {…}}` become JSON members or `key=value`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from hms_ops.escape import printable

# Journald reads a level from this prefix: sd-daemon(3).
PRIORITY: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def stamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormat(logging.Formatter):
    """`2026-01-02T03:04:05.678Z info    hms_ops.engine  what happened key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        message = printable(" ".join([record.getMessage(), *(f"{k}={v!r}" for k, v in fields_of(record).items())]))
        line = f"{stamp(record)} {record.levelname.lower():<7} {record.name}  {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JournalFormat(TextFormat):
    """Text with journald's level in front and without the time, which the journal keeps itself."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITY.get(record.levelno, 6)}>" + super().format(record).split(" ", 1)[1]


class JsonFormat(logging.Formatter):
    """One object a line: time, level, logger, message, and the record's fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            **fields_of(record),
            "time": stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(log_format: str, level: str, stream: TextIO | None = None, in_journal: bool = False) -> logging.Handler:
    """Send `hms_ops.*` records to `stream`, standard error by default; a second call replaces the first."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormat() if log_format == "json" else JournalFormat() if in_journal else TextFormat())
    logger = logging.getLogger("hms_ops")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    return handler

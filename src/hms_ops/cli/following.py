"""The live stream of an engine, as `top` follows it: server-sent events over one GET.

    for event in follow(url, since=…): …          {"type": "cells", "time": …, "cells": […]}, or another event

Errors: Unreachable and RequestRefused as of every request; the end of the stream ends the loop.
Source: WHATWG HTML, section 9.2 (the lines), docs/stream.md (the events).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

from hms_ops.cli.reach import opened

# The engine says that it is alive every 10 s.
SILENCE_SECONDS: Final = 25.0
LINE_BYTES_MAX: Final = 16 * 1024 * 1024

Event = dict[str, Any]


def follow(url: str, timeout_seconds: float = SILENCE_SECONDS, **parameters: Any) -> Iterator[Event]:
    """Events as they come; a parameter that is a list is given several times."""
    path = "/v1/stream?" + urlencode(parameters, doseq=True)
    with opened(url, path, None, timeout_seconds, None) as response:
        yield from events_of(iter(lambda: response.readline(LINE_BYTES_MAX), b""))


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream's lines; what is no JSON object is left out."""
    name, data = "", b""
    for line in lines:
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data += value
        elif not line.strip():
            if data and (event := parsed(data)) is not None:
                yield {**event, "type": name}
            name, data = "", b""


def parsed(data: bytes) -> Event | None:
    try:
        event = json.loads(data)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None

"""Durations as Prometheus writes them: `1h30m`, `5m`, `90s`, `1d`, `500ms`, a bare `0`."""

import re
from typing import Final

UNITS: Final = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
WHOLE: Final = re.compile(r"(?:[0-9]+(?:ms|[ywdhms]))+")
PART: Final = re.compile(r"([0-9]+)(ms|[ywdhms])")


def seconds_of(text: str) -> float:
    """The seconds of a duration; ValueError quotes what is none."""
    text = text.strip()
    if text in ("", "0"):
        return 0.0
    if not WHOLE.fullmatch(text):
        raise ValueError(f"expected a duration such as 30s, 5m or 1h30m, found {text!r}")
    return sum(int(count) * UNITS[unit] for count, unit in PART.findall(text))

"""What stands in a request to `/api/v1`, read as Prometheus reads it: times, durations, steps, limits.

Times are Unix seconds with a fraction, or RFC 3339; inside they are int64 milliseconds. Errors: Refused(BAD_DATA).
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops.asked import POINTS_MAX
from hms_ops.prometheus.durations import seconds_of
from hms_ops.prometheus.query.refused import BAD_DATA, Refused, bad_parameter

SECONDS_MAX: Final = 1 << 36
QUERY_SECONDS_MAX: Final = 30.0  # one query; `timeout` may ask for less

Given = Mapping[str, Sequence[str]]
Times = NDArray[np.int64]


class Asked(NamedTuple):
    """One query: its text, the times it is evaluated at, and for how long at most."""

    text: str
    times: Times
    seconds_max: float


def instant(given: Given, now: float) -> Asked:
    """`/api/v1/query`."""
    time = now if not one(given, "time") else _time(given, "time")
    return Asked(one(given, "query"), np.array([round(time * 1000)]), _timeout(given))


def ranged(given: Given) -> Asked:
    """`/api/v1/query_range`: start, start + step, … up to the end, which may be one of them."""
    start, end, step = _time(given, "start"), _time(given, "end"), round(_duration(given, "step") * 1000)
    if end < start:
        raise bad_parameter("end", "end timestamp must not be before start time")
    if step <= 0:
        raise bad_parameter(
            "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    first, last = round(start * 1000), round(end * 1000)
    if (last - first) // step >= POINTS_MAX:
        raise Refused(
            BAD_DATA,
            f"exceeded maximum resolution of {POINTS_MAX:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        )
    return Asked(one(given, "query"), np.arange(first, last + 1, step), _timeout(given))


def checked_span(given: Given) -> None:
    """start and end of a listing: they must be times. What is listed is all that memory and disk know."""
    for name in ("start", "end"):
        if one(given, name):
            _time(given, name)


def limit(given: Given, name: str = "limit") -> int:
    """How many at most; 0 for no limit."""
    text = one(given, name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise bad_parameter(name, f"{name} must be a non-negative number")
    return int(text)


def one(given: Given, name: str) -> str:
    """A parameter's value, the first where there are several; "" for none."""
    values = given.get(name, ())
    return values[0] if values else ""


def _time(given: Given, name: str) -> float:
    text = one(given, name)
    seconds = _number(text)
    if math.isnan(seconds):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(text)
            seconds = moment.timestamp() if moment.tzinfo is not None else math.nan
    if not abs(seconds) < SECONDS_MAX:
        raise bad_parameter(name, f'cannot parse "{text[:60]}" to a valid timestamp')
    return seconds


def _duration(given: Given, name: str) -> float:
    text = one(given, name)
    seconds = _number(text)
    if math.isnan(seconds) and text:
        with suppress(ValueError):
            seconds = seconds_of(text)
    if not abs(seconds) < SECONDS_MAX:
        raise bad_parameter(name, f'cannot parse "{text[:60]}" to a valid duration')
    return seconds


def _timeout(given: Given) -> float:
    if not one(given, "timeout"):
        return QUERY_SECONDS_MAX
    seconds = _duration(given, "timeout")
    if seconds < 0:
        raise bad_parameter("timeout", "a negative timeout is not accepted. Try a positive duration")
    return min(QUERY_SECONDS_MAX, seconds)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

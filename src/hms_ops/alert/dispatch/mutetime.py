"""Mute times: when alerts are not told. Weekly ranges on the clock of a named time zone, or one maintenance window.

    mute_times:
      - mute_time: nights
        zone: America/New_York
        weekly: [mon-fri 22:00-06:00, sat-sun]        # also sat,sun 12:00-24:00, or 01:00-02:00 for every day
        match: {severity: ticket}
      - mute_time: db-upgrade                         # a maintenance window
        zone: America/New_York
        from: 2026-11-28 22:00
        until: 2026-11-29 02:00
        match: {service: db}

A mute time with `match` holds for all alerts that match; one without for the routes that name it in `mute`. A range
that ends before it begins runs past midnight and belongs to the day it begins on. Ranges are what a clock on the wall
shows: an hour that a change of summer time repeats is muted twice, one that it skips not at all. Local times of `from`
and `until` that occur twice mean the first; an offset may be written (2026-11-28T22:00-05:00).

Pure: `is_muted(now)` and `next_change(now)` are functions of Unix seconds. What is muted is told, if it still fires,
when the mute ends; that is the dispatcher's. Bound: RANGES_MAX.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hms_ops.alert.dispatch.matching import Matchers, read_match
from hms_ops.alert.keys import KeyProblem, Read, read_keys, read_name, read_text

RANGES_MAX: Final = 50
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60
LOOK_AHEAD_DAYS: Final = 9  # a week and the days around it: within it each range begins and ends

_RANGE: Final = re.compile(r"(?:(?P<days>[a-z,\- ]*[a-z]))?\s*(?:(?P<start>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d))?\Z")


class WeeklyRange(NamedTuple):
    """Minutes of the day [start, end) on these days, 0 for Monday; past midnight when end <= start."""

    days: frozenset[int]
    start: int = 0
    end: int = DAY_MINUTES

    def holds(self, weekday: int, minute: int) -> bool:
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        is_evening = weekday in self.days and minute >= self.start
        return is_evening or ((weekday - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class MuteTime:
    """starts, ends: Unix seconds of a maintenance window, -inf and inf otherwise. Without ranges the window is muted
    whole; with both it is the ranges within the window. matchers None: only for routes that name it."""

    name: str
    zone: ZoneInfo
    ranges: tuple[WeeklyRange, ...] = ()
    starts: float = -math.inf
    ends: float = math.inf
    matchers: Matchers | None = None
    source: str = ""

    def is_muted(self, now: float) -> bool:
        if not self.starts <= now < self.ends:
            return False
        if not self.ranges:
            return True
        local = datetime.fromtimestamp(now, self.zone)
        minute = local.hour * 60 + local.minute
        return any(weekly.holds(local.weekday(), minute) for weekly in self.ranges)

    def next_change(self, now: float) -> float:
        """The next second from which `is_muted` says something else; inf when there is none within nine days."""
        before, is_muted = now, self.is_muted(now)
        for after in sorted(moment for moment in self._moments(now) if moment > now):
            if self.is_muted(after) != is_muted:
                return self._first_change(before, after, is_muted)
            before = after
        return math.inf

    def _moments(self, now: float) -> list[float]:
        """Where it may change: both ends of the window and of each range, and both readings of an hour that repeats."""
        found = [at for at in (self.starts, self.ends) if math.isfinite(at)]
        if not self.ranges:
            return found
        begin = now if now >= self.starts or not math.isfinite(self.starts) else self.starts
        today = datetime.fromtimestamp(begin, self.zone).date()
        minutes = {minute for weekly in self.ranges for minute in (weekly.start, weekly.end)}
        for day in range(-1, LOOK_AHEAD_DAYS):
            found += (at for minute in minutes for at in readings(today + timedelta(day), minute, self.zone))
        return found

    def _first_change(self, before: float, after: float, is_muted: bool) -> float:
        """A whole second; between the two it changes once, mostly at `after`, earlier where the clock was set on."""
        low, high = math.floor(before), math.ceil(after)
        if self.is_muted(high - 1) == is_muted:
            return float(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.is_muted(middle) == is_muted else (low, middle)
        return float(high)


def readings(day: date, minute: int, zone: ZoneInfo) -> list[float]:
    """Unix seconds of a minute of a local day, as both folds read it."""
    local = datetime.combine(day, time()) + timedelta(minutes=minute)
    return [local.replace(fold=fold, tzinfo=zone).timestamp() for fold in (0, 1)]


# ---- keys


def read_zone(value: Any) -> ZoneInfo:
    name = read_text(value)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone of this host; write one such as America/New_York or UTC") from None


def read_minute(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > DAY_MINUTES:
        raise ValueError(f"{text!r} is no time of day; write 00:00 to 24:00")
    return hour * 60 + minute


def read_days(text: str) -> frozenset[int]:
    """`mon-fri`, `sat,sun`, `fri-mon`; every day for none."""
    days: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{part!r} is no day; write {', '.join(DAYS)} or a range such as mon-fri")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(days or range(7))


def read_weekly(value: Any) -> WeeklyRange:
    text = read_text(value).lower()
    match = _RANGE.match(text)
    if match is None:
        raise ValueError(f"{value!r} is no weekly range; write mon-fri 22:00-06:00, sat-sun, or 01:00-02:00")
    days = read_days(match["days"] or "")
    if match["start"] is None:
        return WeeklyRange(days)
    start, end = read_minute(match["start"]), read_minute(match["end"])
    if start == end:
        raise ValueError(f"{value!r} is empty: it ends when it begins")
    return WeeklyRange(days, start, end)


def read_ranges(value: Any) -> tuple[WeeklyRange, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= RANGES_MAX:
        raise ValueError(f"expected 1 to {RANGES_MAX} weekly ranges such as mon-fri 22:00-06:00, found {value!r}")
    return tuple(map(read_weekly, texts))


def read_moment(value: Any) -> datetime:
    """A local time, or one with its offset."""
    try:
        if isinstance(value, datetime):
            return value
        return datetime.fromisoformat(read_text(value))
    except ValueError:
        raise ValueError(f"{value!r} is no time; write 2026-11-28 22:00, in the zone of `zone`") from None


MUTE_TIME_READERS: Final[dict[str, Read]] = {
    "mute_time": read_name,
    "zone": read_zone,
    "weekly": read_ranges,
    "from": read_moment,
    "until": read_moment,
    "match": read_match,
}


def mute_time_from_keys(given: Mapping[str, Any], source: str) -> tuple[MuteTime | None, list[KeyProblem]]:
    """The mute time that the keys describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, MUTE_TIME_READERS, required=("mute_time",))
    zone = values.get("zone", ZoneInfo("UTC"))
    starts, ends = unix_seconds(values.get("from"), zone, -math.inf), unix_seconds(values.get("until"), zone, math.inf)
    if not problems and "weekly" not in values and "until" not in values:
        problems.append(KeyProblem("", "it never ends: write `weekly` ranges, or `from` and `until`"))
    if not problems and not starts < ends:
        problems.append(KeyProblem("until", "it ends before it begins"))
    if problems:
        return None, problems
    return MuteTime(values["mute_time"], zone, values.get("weekly", ()), starts, ends, values.get("match"), source), []


def unix_seconds(moment: datetime | None, zone: ZoneInfo, default: float) -> float:
    if moment is None:
        return default
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC).timestamp()

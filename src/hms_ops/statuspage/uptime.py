"""How long services were out, day by day, from the gauges that their rules publish.

A rule's gauge is 1 while it fires; it is sampled when it changes and once a minute, so a minute has a row as long as
the engine ran. A minute counts as out when a rule of the service fired in any part of it. Days whose minutes are no
longer kept are read by the hour: its mean is the share of it. What nobody watched is unknown and counts for neither.

Data: rows as `Engine.history` gives them, in; `Day` out. Days are UTC.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np

DAYS: Final = 90
MINUTE_DAYS: Final = 30  # what history keeps by the minute, by default
MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400
NS: Final = 1_000_000_000

Shares = dict[int, float]
ReadRows = Callable[[str, int, int, str], Any]  # a rule's rows of a span by step; None for a rule never seen


@dataclass(frozen=True, slots=True)
class Day:
    """watched, out: seconds of the day."""

    date: date
    watched: float
    out: float

    @property
    def share(self) -> float | None:
        """Of the watched time, how much it worked; None when nobody watched."""
        return 1.0 - self.out / self.watched if self.watched else None


def shares_of(rules: Iterable[str], start: int, end: int, step: str, read: ReadRows) -> Shares:
    """Unix second of a step → how much of it a rule fired, 0 to 1, the most of all rules; only steps that were seen."""
    shares: Shares = {}
    for rule in rules:
        rows = read(rule, start, end, step)
        if rows is None:
            continue
        fired = rows["max"] > 0 if step == "1m" else rows["sum"] / np.maximum(rows["count"], 1)
        for second, share in zip((rows["time"] // NS).tolist(), fired.tolist(), strict=True):
            shares[second] = max(shares.get(second, 0.0), float(share))
    return shares


def days_of(rules: tuple[str, ...], now: int, read: ReadRows) -> list[Day]:
    """The last DAYS days with today, oldest first."""
    today = now // DAY * DAY
    by_minute = today - (MINUTE_DAYS - 1) * DAY
    first = today - (DAYS - 1) * DAY
    watched: dict[int, float] = defaultdict(float)
    out: dict[int, float] = defaultdict(float)
    for start, end, step, seconds in ((first, by_minute, "1h", HOUR), (by_minute, now, "1m", MINUTE)):
        for second, share in shares_of(rules, start, end, step, read).items():
            watched[second // DAY * DAY] += seconds
            out[second // DAY * DAY] += share * seconds
    return [Day(date_of(day), watched[day], out[day]) for day in range(first, today + 1, DAY)]


def date_of(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date()


def uptime_of(days: Iterable[Day]) -> float | None:
    """The share of the watched time; None when nobody watched."""
    listed = list(days)
    watched = math.fsum(day.watched for day in listed)
    return 1.0 - math.fsum(day.out for day in listed) / watched if watched else None


@dataclass(frozen=True, slots=True)
class Incident:
    """A service that was out or degraded. start, end: Unix seconds; end is None while it lasts."""

    service: str
    state: str
    start: float
    end: float | None


def incidents_of(events: Iterable[Mapping[str, Any]], watching: Mapping[str, list[tuple[str, str]]]) -> list[Incident]:
    """Newest first, from alert events, oldest first. watching: rule → (service, state) of those it speaks for.

    Instances and rules of one service and state that overlap are one incident.
    """
    open_: dict[tuple[str, str], tuple[float, set[Any]]] = {}
    done: list[Incident] = []
    for event in events:
        instance = (event["name"], tuple(sorted(event.get("tags", {}).items())))
        at = event["time_ns"] / NS
        for place in watching.get(event["name"], ()):
            if event["state"] == "firing":
                open_.setdefault(place, (at, set()))[1].add(instance)
            elif place in open_ and event["state"] == "resolved":
                start, firing = open_[place]
                firing.discard(instance)
                if not firing:
                    del open_[place]
                    done.append(Incident(*place, start, at))
    still = [Incident(*place, start, None) for place, (start, _) in open_.items()]
    return sorted([*done, *still], key=lambda incident: incident.start, reverse=True)


def words_of_day(day: date) -> str:
    return f"{day.day}\N{NO-BREAK SPACE}{day:%b}\N{NO-BREAK SPACE}{day.year}"


def words_of_time(second: float) -> str:
    moment = datetime.fromtimestamp(second, UTC)
    return f"{words_of_day(moment.date())}, {moment:%H:%M}\N{NO-BREAK SPACE}UTC"


def words_of_span(seconds: float) -> str:
    span = timedelta(seconds=max(MINUTE, round(seconds / MINUTE) * MINUTE))
    hours, minutes = divmod(int(span.total_seconds()) // MINUTE, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute")]
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts if count)

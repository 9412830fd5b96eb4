"""How long services were out, day by day, from the gauges that their rules publish.

A rule's gauge is 1 while it fires; it is sampled when it changes and once a minute, so a minute has a row as long as
the engine ran. A minute counts as out when a rule of the service fired in any part of it. Days whose minutes are no
longer kept are read by the hour: its mean is the share of it. What nobody watched is unknown and counts for neither.

Data: rows as `Engine.history` gives them, in; `Day` out. Days are UTC.
"""

import math
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
STEPS: Final = {"1m": MINUTE, "1h": HOUR}

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


def past_days(rules: tuple[str, ...], now: int, read: ReadRows) -> list[Day]:
    """The days before today, oldest first: DAYS - 1 of them."""
    today = now // DAY * DAY
    by_minute = today - (MINUTE_DAYS - 1) * DAY
    older = days_between(rules, today - (DAYS - 1) * DAY, by_minute, "1h", read)
    return older + days_between(rules, by_minute, today, "1m", read)


def today(rules: tuple[str, ...], now: int, read: ReadRows) -> Day:
    """Today, as far as it has come."""
    begun = now // DAY * DAY
    return days_between(rules, begun, begun + DAY, "1m", read)[0]


def days_between(rules: Iterable[str], start: int, end: int, step: str, read: ReadRows) -> list[Day]:
    """The days of [start, end), both midnights, by the steps in which a rule fired, the most of all rules."""
    seconds = STEPS[step]
    shares = np.full((end - start) // seconds, np.nan)
    for rule in rules:
        rows = read(rule, start, end, step)
        if rows is None:
            continue
        fired = rows["max"] > 0 if step == "1m" else rows["sum"] / np.maximum(rows["count"], 1)
        places = (rows["time"] // NS - start) // seconds
        shares[places] = np.fmax(shares[places], fired)
    by_day = shares.reshape(-1, DAY // seconds)
    watched, out = (~np.isnan(by_day)).sum(axis=1) * seconds, np.nansum(by_day, axis=1) * seconds
    return [
        Day(date_of(start + number * DAY), float(seen), float(lost))
        for number, (seen, lost) in enumerate(zip(watched, out, strict=True))
    ]


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

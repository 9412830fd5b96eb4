"""What `top` shows: the metrics of the last minute, gathered from the stream, as rows.

`Board` takes events and documents and makes rows; it knows neither sockets nor screens. A minute is kept of each
metric, METRICS_MAX metrics at most; what comes beyond is counted in `left_out`.
"""

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hms_ops.cli.sparkline import line_of

METRICS_MAX: Final = 5_000
SECONDS_KEPT: Final = 60
RATE_SECONDS: Final = 10
SORTS: Final = ("name", "value", "rate", "p95", "light")
LIGHTS: Final = ("firing", "pending", "fine", "")
WORD: Final = re.compile(r"[^\s(){}\[\],<>=!+*/%\"']+")
PERCENTILE_KINDS: Final = ("timer", "histogram", "distribution")


class Row(NamedTuple):
    """One metric. rate: samples a second over RATE_SECONDS. value: of the newest second. p95 over a minute, None where
    there is none. points: (second, value), oldest first. light: the worst state of the rules that read it, "" for none.
    """

    metric: str
    kind: str
    unit: str
    rate: float
    value: float | None
    p95: float | None
    points: list[tuple[int, float]]
    light: str


@dataclass
class Kept:
    kind: str
    cells: deque[tuple[int, float, float | None]] = field(default_factory=lambda: deque(maxlen=SECONDS_KEPT))
    """(second, count, value)"""


class Board:
    """May be fed by one thread and read by another."""

    def __init__(self) -> None:
        self.second = 0
        self.left_out = 0
        self.gaps = 0
        self.firing = 0
        self.p95: dict[str, float] = {}
        self._units: dict[str, str] = {}
        self._kept: dict[str, Kept] = {}
        self._lights: dict[str, str] = {}
        self._guard = threading.Lock()

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the stream."""
        if event["type"] == "gap":
            self.gaps += 1
        if event["type"] != "cells":
            return
        second = int(event["time"])
        self.second = max(self.second, second)
        with self._guard:
            for cell in event["cells"]:
                self._keep(cell, second)

    def _keep(self, cell: Mapping[str, Any], second: int) -> None:
        kept = self._kept.get(cell["metric"])
        if kept is None:
            if len(self._kept) >= METRICS_MAX:
                self.left_out += 1
                return
            kept = self._kept[cell["metric"]] = Kept(cell["kind"])
        if not kept.cells or kept.cells[-1][0] < second:  # a second that comes again is the same
            kept.cells.append((second, cell["count"], cell["value"]))

    def learn_units(self, metrics: Iterable[Mapping[str, Any]]) -> None:
        """The metrics of /v1/metrics."""
        self._units = {metric["metric"]: metric["unit"] for metric in metrics}

    def learn_alerts(self, document: Mapping[str, Any]) -> None:
        """/v1/alerts: the worst state of the rules that read a metric, by the words of their expressions."""
        states: dict[str, str] = {}
        for alert in document["alerts"]:
            states[alert["name"]] = min(states.get(alert["name"], ""), alert["state"], key=rank)
        self.firing = sum(state == "firing" for state in states.values())
        lights: dict[str, str] = {}
        for rule in document["rules"]:
            state = states.get(rule["alert"], "")
            for word in {rule["alert"], *WORD.findall(rule["if"])}:
                lights[word] = min(lights.get(word, ""), state if state in LIGHTS[:2] else "fine", key=rank)
        self._lights = lights

    def rows(self, filter_: str = "", sort: str = "name") -> list[Row]:
        """Those of the last minute whose name holds `filter_`, in the order of `sort`, the largest first."""
        wanted = filter_.casefold()
        with self._guard:
            rows = [self._row(name) for name in self._kept if wanted in name.casefold()]
        return sorted((row for row in rows if row.points or row.rate), key=ORDERS[sort])

    def timers(self, rows: Iterable[Row], limit: int) -> list[str]:
        """The first metrics of the rows that have percentiles."""
        return [row.metric for row in rows if row.kind in PERCENTILE_KINDS][:limit]

    def _row(self, name: str) -> Row:
        kept, first = self._kept[name], self.second - SECONDS_KEPT
        recent = [cell for cell in kept.cells if cell[0] > first]
        samples = sum(count for second, count, _ in recent if second > self.second - RATE_SECONDS)
        points = [(second, value) for second, _, value in recent if value is not None]
        value = points[-1][1] if points else None
        light = self._lights.get(name, "")
        unit = self._units.get(name, "")
        return Row(name, kept.kind, unit, samples / RATE_SECONDS, value, self.p95.get(name), points, light)


def rank(light: str) -> int:
    """The worst first."""
    return LIGHTS.index(light) if light in LIGHTS else len(LIGHTS)


def largest(figure: Callable[[Row], float | None]) -> Callable[[Row], tuple[bool, float, str]]:
    def order(row: Row) -> tuple[bool, float, str]:
        value = figure(row)
        return value is None, -(value or 0.0), row.metric

    return order


ORDERS: Final[dict[str, Callable[[Row], Any]]] = {
    "name": lambda row: row.metric,
    "value": largest(lambda row: row.value),
    "rate": largest(lambda row: row.rate),
    "p95": largest(lambda row: row.p95),
    "light": lambda row: (rank(row.light), row.metric),
}


def spark(points: Sequence[tuple[int, float]], end: int, ramp: str, width: int = SECONDS_KEPT) -> str:
    """The last minute as up to `width` blocks of as many whole seconds each, between their least and most; a blank
    where there was no sample. Blocks begin at multiples of their span, so that they move and do not flicker."""
    span = math.ceil(SECONDS_KEPT / width)
    columns = math.ceil(SECONDS_KEPT / span)
    first = (end // span + 1 - columns) * span
    return line_of([point for point in points if point[0] >= first], first, span, columns, ramp)


def figure(value: float | None, unit: str = "") -> str:
    """A number as a person reads it: four digits, and its unit."""
    if value is None:
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scale = 1e3 if letter == "k" else size
            return f"{value / scale:.4g} {letter}{unit}".rstrip()
    return f"{value:.4g} {unit}".rstrip()

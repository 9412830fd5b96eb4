"""Which goals the store counts a metric's samples against: at which place each stands, and since when it counts.

Several SLOs may share a goal, and a metric has several goals; a goal keeps its place while it is wanted, so that a
reload disturbs no other one's counting. Fed by `objectives.py`, carried out by `Store.judge`. A metric without goals is
judged too: its late samples are listed, which a ratio of counters needs.

Limits: GOALS_MAX goals of one metric, METRICS_MAX metrics; one too many is a ValueError and nothing has changed.
Threads: its owner's lock.
"""

import math
from collections.abc import Collection, Mapping
from typing import Final

from hms_ops._ring import Store
from hms_ops.alert.slo import Goal

GOALS_MAX: Final = 6
METRICS_MAX: Final = 1023
COLUMN: Final = 8  # of Store.sums_of_second: the goods of a metric's first goal

_HOLE: Final = Goal(math.inf, -math.inf, False)  # takes nothing


class Goals:
    """The goals of one store, by metric."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, list[Goal]] = {}
        self._since: dict[tuple[str, Goal | None], int] = {}

    def replace(self, wanted: Mapping[str, Collection[Goal]]) -> None:
        """Judge these metrics against these goals, and no others. ValueError: nothing has changed."""
        check(wanted)
        for metric in self._places.keys() - wanted.keys():
            self._store.judge(metric, None)
            del self._places[metric]
        for metric, goals in wanted.items():
            places = placed(self._places.get(metric, []), goals)
            if places != self._places.get(metric):
                self._judge(metric, places)
        live = {(metric, goal) for metric, goals in wanted.items() for goal in (None, *goals)}
        self._since = {key: second for key, second in self._since.items() if key in live}

    def column(self, metric: str, goal: Goal) -> int:
        """Of `Store.sums_of_second`."""
        return COLUMN + self._places[metric].index(goal)

    def since(self, metric: str, goal: Goal | None = None) -> int:
        """The first second that is counted wholly."""
        return self._since[metric, goal]

    def begin_anew(self, second: int) -> None:
        """The clock was set: all count from this second on."""
        self._since = dict.fromkeys(self._since, second)

    def _judge(self, metric: str, places: list[Goal]) -> None:
        before = self._places.get(metric)
        since = self._store.judge(metric, places)
        if before is None:
            self._since[metric, None] = since
        for at, goal in enumerate(places):
            if before is None or at >= len(before) or before[at] != goal:
                self._since[metric, goal] = since
        self._places[metric] = places


def check(wanted: Mapping[str, Collection[Goal]]) -> None:
    for metric, goals in wanted.items():
        if len(goals) > GOALS_MAX:
            raise ValueError(f"metric {metric!r} has {len(goals)} different goals, {GOALS_MAX} are allowed")
    if len(wanted) > METRICS_MAX:
        raise ValueError(f"{len(wanted)} metrics are counted against goals, {METRICS_MAX} are allowed")


def placed(before: list[Goal], wanted: Collection[Goal]) -> list[Goal]:
    """Those that stay at their places, new ones in the gaps between them and then behind."""
    places = [goal if goal in wanted else _HOLE for goal in before]
    for goal in sorted(set(wanted) - set(before)):
        if _HOLE in places:
            places[places.index(_HOLE)] = goal
        else:
            places.append(goal)
    while places and places[-1] == _HOLE:
        places.pop()
    return places

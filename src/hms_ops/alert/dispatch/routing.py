"""Routes: who is told of which alerts besides those the alert names itself, in what groups, and how often.

    routes:
      - route: irs
        match: {agency: irs}
        notify: [slack:#irs-ops]
        group_by: [alertname, region]     # one notification for all alerts with the same values; [] for all of them
        wait: 30s                         # before the first notification of a group, for others to join
        interval: 5m                      # between notifications of what is new in a group
        repeat: 4h                        # while nothing changes
        mute: [nights]                    # mute times that hold for this route
        continue: true                    # later routes are asked too

An alert goes to its own receivers and to those of the first route that matches, and on while a route says `continue`;
who has none at all, and no policy, goes to the log. The first route that matches says how the alert is grouped, for its
own receivers too; without one the defaults hold. Severity `page` does not wait (see `dispatcher.py`).

`Routing` is all of it together: routes, inhibitions, mute times and policies, as frozen values that the configuration
and rule files fill and the dispatcher reads. Bound: ROUTES_MAX of each sort.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hms_ops.alert.dispatch.escalation import Policy, chosen
from hms_ops.alert.dispatch.inhibition import Inhibition
from hms_ops.alert.dispatch.matching import EVERY_ALERT, Matchers, read_match
from hms_ops.alert.dispatch.mutetime import MuteTime
from hms_ops.alert.keys import (
    KeyProblem,
    Read,
    duration_from,
    read_duration,
    read_flag,
    read_keys,
    read_name,
    read_receivers,
)
from hms_ops.alert.notification import Alert

ROUTES_MAX: Final = 1000
WAIT_SECONDS: Final = 30.0
INTERVAL_SECONDS: Final = 300.0
REPEAT_SECONDS: Final = 4 * 3600.0
GROUP_BY: Final = ("alertname",)
GROUP_BY_ALL: Final = ("*",)  # each alert is a group of its own
LOG: Final = "log:"


@dataclass(frozen=True, slots=True)
class Route:
    """name "" is the default, for alerts that no route matches. group_by () is one group for all."""

    name: str
    matchers: Matchers = EVERY_ALERT
    notify: tuple[str, ...] = ()
    group_by: tuple[str, ...] = GROUP_BY
    wait_seconds: float = WAIT_SECONDS
    interval_seconds: float = INTERVAL_SECONDS
    repeat_seconds: float = REPEAT_SECONDS
    mute: tuple[str, ...] = ()
    is_continuing: bool = False
    source: str = ""

    def group_labels(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """What the alerts of one group have in common."""
        tags = sorted(labels) if self.group_by == GROUP_BY_ALL else self.group_by
        return tuple((tag, labels.get(tag, "")) for tag in tags)


DEFAULT_ROUTE: Final = Route("")


class Target(NamedTuple):
    """One receiver of an alert, and the route by which it is grouped."""

    route: Route
    receiver: str


@dataclass(frozen=True)
class Routing:
    """All that decides who is told when; names are unique within each sort."""

    routes: tuple[Route, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    mute_times: tuple[MuteTime, ...] = ()
    policies: tuple[Policy, ...] = ()
    by_name: Mapping[str, Route] = field(init=False, compare=False, repr=False)
    mutes: Mapping[str, MuteTime] = field(init=False, compare=False, repr=False)
    policy: Mapping[str, Policy] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {route.name: route for route in (DEFAULT_ROUTE, *self.routes)})
        object.__setattr__(self, "mutes", {mute.name: mute for mute in self.mute_times})
        object.__setattr__(self, "policy", {policy.name: policy for policy in self.policies})

    def targets(self, alert: Alert, labels: Mapping[str, str]) -> list[Target]:
        """Every receiver of an alert once, its own first; none where a policy says alone who is told."""
        matching = list(self._matching(labels))
        first = matching[0] if matching else DEFAULT_ROUTE
        found = dict.fromkeys(alert.notify, first)
        for route in matching:
            for receiver in route.notify:
                found.setdefault(receiver, route)
        if not found and chosen(self.policy, alert, labels) is None:
            found = {LOG: first}
        return [Target(route, receiver) for receiver, route in found.items()]

    def first(self, labels: Mapping[str, str]) -> Route:
        """The route by which an alert's own receivers are told."""
        return next(self._matching(labels), DEFAULT_ROUTE)

    def _matching(self, labels: Mapping[str, str]) -> Iterator[Route]:
        for route in self.routes:
            if route.matchers.accept(labels):
                yield route
                if not route.is_continuing:
                    return

    def receivers(self) -> list[tuple[str, str]]:
        """(source, receiver) of every route, level and last resort, for warnings."""
        found = [(route.source, receiver) for route in self.routes for receiver in route.notify]
        for policy in self.policies:
            told = [receiver for level in policy.levels for receiver in level.notify]
            found += [(policy.source, receiver) for receiver in dict.fromkeys((*told, *policy.last_resort))]
        return found

    def problems(self) -> list[str]:
        """Names that nothing bears and names that stand twice: `file:line: what` each."""
        found = [
            f"{route.source}: {route.name}: no mute time is named {name!r}; it would never mute"
            for route in self.routes
            for name in route.mute
            if name not in self.mutes
        ]
        for parts in (self.routes, self.inhibitions, self.mute_times, self.policies):
            found += repeated(parts)
        return found


def repeated(parts: Iterable[Route | Inhibition | MuteTime | Policy]) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for number, part in enumerate(parts):
        if part.name in first:
            found.append(f"{part.source}: {part.name!r} stands in {first[part.name]} already; rename or remove one")
        first.setdefault(part.name, part.source)
        if number == ROUTES_MAX:
            found.append(f"{part.source}: more than {ROUTES_MAX:,} of one sort")
    return found


# ---- keys


def read_group_tags(value: Any) -> tuple[str, ...]:
    """Tags, or `*` for each alert alone; [] for all alerts of the route in one group."""
    tags = [value] if isinstance(value, str) else value
    if not isinstance(tags, list) or ("*" in tags and len(tags) > 1):
        raise ValueError(f"expected tags such as [alertname, agency], or '*' alone, found {value!r}")
    return tuple(dict.fromkeys(map(read_name, tags)))


def read_names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise ValueError(f"expected names, found {value!r}")
    return tuple(dict.fromkeys(map(read_name, names)))


ROUTE_READERS: Final[dict[str, Read]] = {
    "route": read_name,
    "match": read_match,
    "notify": read_receivers,
    "group_by": read_group_tags,
    "wait": read_duration,
    "interval": duration_from(1),
    "repeat": duration_from(60),
    "mute": read_names,
    "continue": read_flag,
}
_FIELDS: Final = {
    "route": "name",
    "match": "matchers",
    "wait": "wait_seconds",
    "interval": "interval_seconds",
    "repeat": "repeat_seconds",
    "continue": "is_continuing",
}


def route_from_keys(given: Mapping[str, Any], source: str) -> tuple[Route | None, list[KeyProblem]]:
    """The route that the keys describe, or None and all that is wrong with them. Without `match` all alerts match."""
    values, problems = read_keys(given, ROUTE_READERS, required=("route",))
    if problems:
        return None, problems
    return Route(**{_FIELDS.get(key, key): value for key, value in values.items()}, source=source), []

"""A dispatcher on a clock of its own, with the tables its records would be in."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hms_ops.alert.dispatch.dispatcher import Command, Dispatch, Dispatcher
from hms_ops.alert.dispatch.routing import Routing
from hms_ops.alert.notification import Alert, Notification

START = 1_700_000_000.0


def alert(name: str = "db.slow", tags: Mapping[str, str] | None = None, **more: Any) -> Alert:
    """A page that fires, told to sms:1, unless `more` says otherwise."""
    given: dict[str, Any] = {"state": "firing", "value": 240.0, "since": START, "episode": 1, "notify": ("sms:+1111",)}
    return Alert(name=name, tags=dict(tags or {}), **(given | more))


class Desk:
    """`now` moves by `at` and `run`; what was told is in `told`, and `tables` hold what is on disk."""

    def __init__(self, routing: Routing | None = None, origin: str = "test") -> None:
        self.routing = routing or Routing()
        self.origin = origin
        self.dispatcher = Dispatcher(self.routing, origin=origin)
        self.now = START
        self.told: list[Notification] = []
        self.decisions: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.tables: dict[str, dict[str, Any]] = {"groups": {}, "members": {}, "silences": {}}

    def step(self, *events: Alert, commands: Sequence[Command] = ()) -> list[Notification]:
        made = self.dispatcher.step(self.now, events, commands)
        self.keep(made)
        return made.notifications

    def keep(self, made: Dispatch) -> None:
        for change in made.changes:
            if change.record is None:
                self.tables[change.table].pop(change.key, None)
            else:
                self.tables[change.table][change.key] = change.record
        self.told += made.notifications
        self.decisions += made.decisions
        self.cancelled += made.cancelled

    def at(self, seconds: float, *events: Alert, commands: Sequence[Command] = ()) -> list[Notification]:
        """What is told from now to `seconds` after the start, where these events and commands come."""
        until = START + seconds
        before = len(self.told)
        while -math.inf < (due := self.dispatcher.next_due()) < until:
            self.now = max(self.now, due)
            self.step()
        self.now = until
        self.step(*events, commands=commands)
        return self.told[before:]

    def restart(self) -> None:
        """The dispatcher that a restarted engine has."""
        self.dispatcher = Dispatcher(self.routing, origin=self.origin)
        self.dispatcher.restore(self.tables, self.now)

    def reasons(self) -> list[str]:
        return [f"{one['decision']}: {one['reason']}" for one in self.decisions]


def brief(told: Sequence[Notification]) -> list[tuple[str, str, str]]:
    """(receiver, state, why) of each."""
    return [(one.receiver, one.state, one.why) for one in told]

"""Why somebody was told of an alert, or was not: the dispatcher's decisions, for `alerts explain` and the journal.

A decision is a plain map, its keys stable:

    time       Unix seconds
    name       of the alert; tags, state and episode with it; tags is None where many alerts were decided at once
    decision   told, held, not told, acknowledged, released, escalation, silence, flapping
    reason     first, new in group, repeat, resolved, silenced by ID, muted by NAME, inhibited by NAME,
               acknowledged by WHO, flapping, nothing new, storm, escalation level N, left to policy NAME, …
    receiver   without secrets, "" where it is about none; alerts: how many it is about

Each goes out with the step that made it (the journal keeps them all) and stays in memory: the last DECISIONS_MAX of
each name, of the NAMES_MAX names that were decided about last. Alerts of one group beyond ALERTS_TOLD_MAX in one step
are one decision.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Alert

DECISIONS_MAX: Final = 50
NAMES_MAX: Final = 2000
ALERTS_TOLD_MAX: Final = 100

Decision = dict[str, Any]


class Decisions:
    """`taken` are those since the last `take`."""

    def __init__(self) -> None:
        self.taken: list[Decision] = []
        self.count = 0
        self._by_name: OrderedDict[str, deque[Decision]] = OrderedDict()

    def take(self) -> list[Decision]:
        taken, self.taken = self.taken, []
        return taken

    def add(self, now: float, alert: Alert, decision: str, reason: str, receiver: str = "") -> None:
        self._keep(
            {
                "time": now,
                "name": alert.name,
                "tags": dict(alert.tags),
                "state": alert.state,
                "episode": alert.episode,
                "decision": decision,
                "reason": reason,
                "receiver": shown_receiver(receiver),
                "alerts": 1,
            }
        )

    def add_many(self, now: float, alerts: list[Alert], decision: str, reason: str, receiver: str = "") -> None:
        """One for each alert, or one for each of their names when they are too many."""
        if len(alerts) <= ALERTS_TOLD_MAX:
            for alert in alerts:
                self.add(now, alert, decision, reason, receiver)
            return
        counts: dict[str, list[Alert]] = {}
        for alert in alerts:
            counts.setdefault(alert.name, []).append(alert)
        for named in counts.values():
            self.add(now, named[0], decision, reason, receiver)
            self.taken[-1].update(tags=None, alerts=len(named))

    def of(self, name: str, tags: Mapping[str, str] | None = None) -> list[Decision]:
        """What was decided about a name, newest last; with tags about alerts that have these among others."""
        wanted = set((tags or {}).items())
        return [
            dict(decision)
            for decision in self._by_name.get(name, ())
            if decision["tags"] is None or wanted <= decision["tags"].items()
        ]

    def _keep(self, decision: Decision) -> None:
        self.count += 1
        self.taken.append(decision)
        name = decision["name"]
        kept = self._by_name.get(name)
        if kept is None:
            kept = self._by_name[name] = deque(maxlen=DECISIONS_MAX)
            if len(self._by_name) > NAMES_MAX:
                self._by_name.popitem(last=False)
        kept.append(decision)
        self._by_name.move_to_end(name)

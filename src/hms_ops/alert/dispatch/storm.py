"""How much one receiver is told in a minute: NOTIFICATIONS_MAX notifications, then one summary of the rest.

The dispatcher asks `Budget.spend` before it sends. What is over is not lost: its alerts count as told, and at the end
of the minute one notification, the storm's, tells of all of them. Machines need no such care: receivers of the schemes
in UNLIMITED are told everything.

Bound: a summary lists ALERTS_LISTED_MAX alerts and counts the others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NOTIFICATIONS_MAX: Final = 30
MINUTE_SECONDS: Final = 60.0
ALERTS_LISTED_MAX: Final = 100
UNLIMITED: Final = ("log", "alertmanager")


@dataclass(slots=True)
class Budget:
    """begun: when the minute began. waiting: keys of alerts the summary lists; more: how many it only counts."""

    receiver: str
    begun: float
    sent: int = 0
    more: int = 0
    waiting: dict[str, None] = field(default_factory=dict)

    def is_over(self, now: float) -> bool:
        return now >= self.begun + MINUTE_SECONDS

    def spend(self, now: float) -> bool:
        """Take one notification from the minute's; False when it has none left."""
        if self.is_over(now) and not self.waiting:
            self.begun, self.sent = now, 0
        if self.sent >= NOTIFICATIONS_MAX or self.waiting:
            return False
        self.sent += 1
        return True

    def wait(self, keys: list[str]) -> None:
        """These alerts are told with the summary."""
        for key in keys:
            if key in self.waiting:
                continue
            if len(self.waiting) < ALERTS_LISTED_MAX:
                self.waiting[key] = None
            else:
                self.more += 1

    def summary_at(self) -> float:
        return self.begun + MINUTE_SECONDS if self.waiting else math.inf

    def begin_after_summary(self, now: float) -> None:
        """A new minute, which the summary has begun."""
        self.begun, self.sent, self.more = now, 1, 0
        self.waiting = {}


def is_limited(receiver: str) -> bool:
    return receiver.partition(":")[0] not in UNLIMITED


def budget_record(budget: Budget) -> dict[str, Any]:
    return {
        "receiver": budget.receiver,
        "begun": budget.begun,
        "sent": budget.sent,
        "more": budget.more,
        "waiting": list(budget.waiting),
    }


def budget_of_record(record: Mapping[str, Any]) -> Budget:
    """ValueError, KeyError or TypeError for a map that is no budget's record."""
    waiting = dict.fromkeys(map(str, record["waiting"]))
    return Budget(str(record["receiver"]), float(record["begun"]), int(record["sent"]), int(record["more"]), waiting)

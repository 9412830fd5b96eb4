"""What the parts of the dispatcher work on together: the routing, the board, the timers, what holds back, what was
decided, and what the step has come to so far. One per dispatcher, touched under its lock only.
"""

from typing import Final

from hms_ops.alert.dispatch.decision import Decisions
from hms_ops.alert.dispatch.flapping import forgotten_at
from hms_ops.alert.dispatch.grouping import Board, Group, Member
from hms_ops.alert.dispatch.holding import Holding
from hms_ops.alert.dispatch.routing import DEFAULT_ROUTE, Route, Routing
from hms_ops.alert.dispatch.timers import Timers
from hms_ops.alert.notification import Notification

COUNTERS: Final = ("notifications", "storms", "silences_refused", "members_refused", "damaged")


class Desk:
    """origin: tells engines apart, whose episodes number alike. is_freed: something that held alerts back has ended.
    endings: when what holds alerts back may end, which comes before all else that is due, so that they are looked at
    once, however many silences end together; timers: all else."""

    def __init__(self, routing: Routing, origin: str) -> None:
        self.origin = origin
        self.routing = routing
        self.board = Board()
        self.holding = Holding(routing)
        self.decisions = Decisions()
        self.timers = Timers()
        self.endings = Timers()
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.notifications: list[Notification] = []
        self.cancelled: list[str] = []
        self.is_freed = False

    def settings(self, group: Group) -> Route | None:
        """The group's route; None when it has been removed."""
        return DEFAULT_ROUTE if group.level else self.routing.by_name.get(group.route)

    def reason(self, member: Member, group: Group, why: str, now: float) -> str:
        """What holds the member back in this group; "" for nothing. The page that it flaps is not held by flapping."""
        route = self.settings(group)
        heeds_ack = not group.level or self.until(group) == "ack"
        found = self.holding.reason(member, now, route.mute if route else (), heeds_ack=heeds_ack)
        return "" if found == why == "flapping" else found

    def until(self, group: Group) -> str:
        """What ends the telling of a level's group: ack or resolve."""
        policy = self.routing.policy.get(group.route)
        levels = policy.levels if policy else ()
        return levels[group.level - 1].until if 0 < group.level <= len(levels) else "ack"

    def cancel(self, group: Group) -> None:
        """What of the group waits in the outbox and tells that something fires must not leave any more."""
        self.cancelled += group.ids
        group.ids = []
        self.board.touch_group(group)

    def forget_in_time(self, member: Member, now: float) -> None:
        """A resolved alert that is in no group goes when its flapping is of no interest any more."""
        if not member.is_firing and not member.places:
            self.timers.set("forget", member.key, max(now, forgotten_at(member.flaps)))

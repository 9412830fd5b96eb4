"""Groups that are due, made into notifications: when, of which alerts, with which reason, under which key.

`Teller` is the dispatcher's part between a group and the outbox. A notification lists ALERTS_LISTED_MAX alerts at most,
what is new first, and counts the others in `left_out`. A receiver that has had its minute's notifications gets the rest
as one summary, the storm's (storm.py). When a group is due stands in `dispatcher.py`.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.grouping import Group, Member
from hms_ops.alert.dispatch.routing import DEFAULT_ROUTE
from hms_ops.alert.dispatch.storm import (
    ALERTS_LISTED_MAX,
    Budget,
    budget_of_record,
    budget_record,
    is_limited,
)
from hms_ops.alert.notification import Alert, Notification, digest
from hms_ops.change import Change

GAP_SECONDS: Final = 2.0  # between pages of one group
PAGES_AT_ONCE: Final = 3  # of one group so close together; after these one in AGAIN_SECONDS
AGAIN_SECONDS: Final = 30.0
BUDGETS_MAX: Final = 1000  # above it those whose minute is over are forgotten
WHYS: Final = ("flapping", "escalation", "first", "new in group", "repeat", "resolved")  # the first of them is said


class Teller:
    """The groups' moments, and the budgets of their receivers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._budgets: dict[str, Budget] = {}
        self._changed: dict[str, None] = {}  # receivers whose budget has changed

    # ---- when

    def queue(self, member: Member, group: Group, why: str, now: float) -> None:
        """The member is to be told when the group is due."""
        desk = self._desk
        desk.board.move(member, group, "pending", why)
        due = self._due(member, group, why, now)
        if due < group.due:
            group.due = due
            desk.board.touch_group(group)
        self.wait_for(group)

    def _due(self, member: Member, group: Group, why: str, now: float) -> float:
        route = self._desk.settings(group) or DEFAULT_ROUTE
        if member.is_urgent or group.level:
            if not group.sent or (why == "resolved" and not group.firing):
                return now
            if why == "resolved":
                return max(now, group.sent + AGAIN_SECONDS)
            return max(now, group.sent + GAP_SECONDS, group.paced - (PAGES_AT_ONCE - 1) * AGAIN_SECONDS)
        due = now + route.wait_seconds
        return max(due, group.sent + route.interval_seconds) if group.sent else due

    def _repeat_at(self, group: Group) -> float:
        route = self._desk.settings(group)
        if route is None or group.level or not group.sent or not group.told:
            return math.inf
        return group.sent + route.repeat_seconds

    def wait_for(self, group: Group) -> None:
        """Be called when the group has something to tell."""
        desk = self._desk
        due = min(group.due, self._repeat_at(group)) if group.key in desk.board.groups else math.inf
        desk.timers.set("group", group.key, due)

    def told_at(self, member: Member) -> float | None:
        """When the first of the groups it waits in is due; None when it waits in none."""
        groups = self._desk.board.groups
        waiting = (groups[key].due for key, place in member.places.items() if place.status == "pending")
        return min(waiting, default=None)

    # ---- telling

    def flush(self, key: str, now: float) -> None:
        """Tell what the group has pending, or repeat what it has told."""
        board = self._desk.board
        group = board.groups[key]
        is_repeat = now >= self._repeat_at(group)
        group.due = math.inf
        board.touch_group(group)
        pending = ordered(board.members[key] for key in group.pending)
        whys = {member.key: member.places[group.key].why for member in pending}
        new = self._kept(pending, whys, group, now)
        if is_repeat:
            told = ordered(board.members[key] for key in group.told)
            self._kept(told, dict.fromkeys(group.told, "repeat"), group, now)
        if new or (is_repeat and group.told):
            self._tell(group, new, why_of(whys[member.key] for member in new), now)
        self.wait_for(group)

    def _kept(self, members: list[Member], whys: Mapping[str, str], group: Group, now: float) -> list[Member]:
        """Those that nothing holds back; the others are held from now on."""
        kept: list[Member] = []
        held: dict[str, list[Alert]] = {}
        for member in members:
            why = whys[member.key]
            reason = self._desk.reason(member, group, why, now)
            if reason:
                self._desk.board.move(member, group, "held", why)
                held.setdefault(reason, []).append(member.alert)
            else:
                kept.append(member)
        for reason, alerts in held.items():
            self._desk.decisions.add_many(now, alerts, "held", reason, group.receiver)
        return kept

    def _tell(self, group: Group, new: list[Member], why: str, now: float) -> None:
        desk = self._desk
        others = [desk.board.members[key] for key in group.told]
        said = f"escalation level {group.level}" if why == "escalation" else why
        sent_id = ""
        told = new or ordered(others)
        if self._may_tell(group.receiver, now):
            shown, left_out = listed(new, others, lambda member: bool(desk.reason(member, group, "repeat", now)))
            notification = notification_of(desk.origin, group, shown, left_out, why, now)
            self._send(notification)
            sent_id = notification.id if all(member.is_firing for member in new) else ""  # an end is not cancelled
        else:
            said = "storm"
            self._put_off(group.receiver, [member.key for member in told])
        group.note_sent(now, sent_id)
        group.paced = max(group.paced, now) + AGAIN_SECONDS
        desk.decisions.add_many(now, [member.alert for member in told], "told", said, group.receiver)
        for member in new:
            self._settle(member, group, now)

    def _send(self, notification: Notification) -> None:
        self._desk.notifications.append(notification)
        self._desk.counts["notifications"] += 1

    def _settle(self, member: Member, group: Group, now: float) -> None:
        """The group's receiver knows how the member stands."""
        board = self._desk.board
        if member.is_firing:
            board.move(member, group, "told", "").told = member.alert.episode
        else:
            board.leave(member, group)
            self._desk.forget_in_time(member, now)

    def release(self, now: float) -> None:
        """Queue what nothing holds back any more."""
        board = self._desk.board
        for group in sorted((group for group in board.groups.values() if group.held), key=lambda group: group.key):
            for member in ordered(board.members[key] for key in group.held):
                self._release(member, group, now)

    def release_one(self, member: Member, now: float) -> None:
        """The same of one member, without a walk over all the others."""
        for group, place in self._desk.board.groups_of(member):
            if place.status == "held":
                self._release(member, group, now)

    def _release(self, member: Member, group: Group, now: float) -> None:
        why = why_again(member, group)
        if not self._desk.reason(member, group, why, now):
            self.queue(member, group, why, now)

    # ---- budgets

    def _may_tell(self, receiver: str, now: float) -> bool:
        if not is_limited(receiver):
            return True
        if len(self._budgets) >= BUDGETS_MAX:
            self._forget_budgets(now)
        budget = self._budgets.setdefault(receiver, Budget(receiver, now))
        self._changed[receiver] = None
        return budget.spend(now)

    def _put_off(self, receiver: str, keys: list[str]) -> None:
        budget = self._budgets[receiver]
        budget.wait(keys)
        self._desk.timers.set("storm", receiver, budget.summary_at())

    def sum_up(self, receiver: str, now: float) -> None:
        """Tell a receiver what it was not told in the minute that is over."""
        budget = self._budgets[receiver]
        members = [self._desk.board.members[key] for key in budget.waiting if key in self._desk.board.members]
        if members:
            self._send(storm_of(self._desk.origin, budget, members, now))
            self._desk.counts["storms"] += 1
        budget.begin_after_summary(now)
        self._changed[receiver] = None

    def _forget_budgets(self, now: float) -> None:
        for receiver in [one.receiver for one in self._budgets.values() if one.is_over(now) and not one.waiting]:
            del self._budgets[receiver]
            self._changed[receiver] = None

    # ---- records

    def changes(self) -> list[Change]:
        found = [
            Change("groups", budget_key(receiver), budget_record(self._budgets[receiver]) if known else None)
            for receiver in self._changed
            for known in [receiver in self._budgets]
        ]
        self._changed = {}
        return found

    def take_record(self, record: Mapping[str, Any]) -> None:
        """A budget as `changes` gave it; ValueError, KeyError or TypeError when it is none."""
        budget = budget_of_record(record)
        self._budgets[budget.receiver] = budget

    def wait_anew(self) -> None:
        """The timers of all groups and budgets, from what they are."""
        for group in self._desk.board.groups.values():
            self.wait_for(group)
        for budget in self._budgets.values():
            self._desk.timers.set("storm", budget.receiver, budget.summary_at())

    def move_clocks(self, seconds: float) -> None:
        for group in self._desk.board.groups.values():
            group.sent += seconds if group.sent else 0.0
            group.paced += seconds if group.sent else 0.0
            group.due += seconds
            self._desk.board.touch_group(group)
        for budget in self._budgets.values():
            budget.begun += seconds
            self._changed[budget.receiver] = None


BUDGET_PREFIX: Final = "receiver-"


def budget_key(receiver: str) -> str:
    """Its key in the table of groups; a receiver's URL may be longer than a key, and secret."""
    return BUDGET_PREFIX + digest([receiver])


def why_of(whys: Iterable[str]) -> str:
    """The one reason of a notification that has several."""
    return min(whys, key=WHYS.index, default="repeat")


def why_again(member: Member, group: Group) -> str:
    """The reason with which a member that was held is told."""
    place = member.places[group.key]
    if not member.is_firing:
        return "resolved"
    if place.why == "escalation" or (place.why == "flapping" and member.flaps.is_flapping):
        return place.why
    if place.told == member.alert.episode:
        return "repeat"
    return "new in group" if group.sent else "first"


def ordered(members: Iterable[Member]) -> list[Member]:
    return sorted(members, key=lambda member: member.order)


def listed(
    new: Sequence[Member], others: Sequence[Member], is_held: Callable[[Member], bool]
) -> tuple[list[Member], int]:
    """The members a notification lists, those that fire first, and how many more there are: `new`, in their order, then
    the oldest of the others that are not held."""
    found = list(new[:ALERTS_LISTED_MAX])
    room = ALERTS_LISTED_MAX - len(found)
    left_out = len(new) - len(found) + max(0, len(others) - room)
    oldest = heapq.nsmallest(room, others, key=lambda member: member.order)
    found += [member for member in oldest if not is_held(member)]
    return sorted(found, key=lambda member: not member.is_firing), left_out


def notification_of(
    origin: str, group: Group, members: Sequence[Member], left_out: int, why: str, now: float
) -> Notification:
    """The group's next notification. Its key says which of the group's it is and of which episode."""
    group.number += 1
    first = members[0].alert
    parts = [origin, group.key, group.born, group.number, first.name, first.group, first.episode, first.state]
    return Notification(
        alerts=tuple(member.alert for member in members),
        receiver=group.receiver,
        idempotency_key=digest(parts),
        group=group.key,
        group_tags=dict(group.labels),
        why=why,
        level=group.level,
        left_out=left_out,
        created=now,
    )


def storm_of(origin: str, budget: Budget, members: Iterable[Member], now: float) -> Notification:
    """The summary of what one receiver was not told one by one."""
    shown = sorted(members, key=lambda member: (not member.is_firing, member.order))
    return Notification(
        alerts=tuple(member.alert for member in shown),
        receiver=budget.receiver,
        idempotency_key=digest([origin, "storm", budget.receiver, budget.begun]),
        group=digest(["storm", budget.receiver]),
        why="storm",
        left_out=budget.more,
        created=now,
    )

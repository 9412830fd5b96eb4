"""An alert's episodes: it begins to fire and is put into its groups, ends, flaps, and is forgotten.

    firing   ─► member ─► flaps? ─► groups its routes lead to ─► teller, climber
    resolved ─► member ─► those of its groups who were told that it fires ─► teller

A part of the dispatcher, which calls it under its lock and holds the rest. Pure but for the desk's tables.
"""

import math

from hms_ops.alert.dispatch.climbing import Climber
from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.flapping import STEP_SECONDS, changed, ends_at, has_ended, is_beginning
from hms_ops.alert.dispatch.grouping import Group, Member, Place
from hms_ops.alert.dispatch.routing import LOG, Target
from hms_ops.alert.dispatch.telling import Teller
from hms_ops.alert.notification import Alert


class Episodes:
    """Of all alerts of one dispatcher."""

    def __init__(self, desk: Desk, teller: Teller, climber: Climber) -> None:
        self._desk = desk
        self._board = desk.board
        self._teller = teller
        self._climber = climber

    def take(self, alert: Alert, now: float) -> None:
        """An event of the book."""
        if alert.state == "firing":
            self._begin(alert, now)
        elif alert.state == "resolved":
            self._end(alert, now)

    def _begin(self, alert: Alert, now: float) -> None:
        """An alert fires."""
        member = self._member(alert, now)
        if member is None:
            return
        is_known = bool(member.places) or member.escalation is not None
        if is_known and member.is_firing and member.alert.episode == alert.episode:
            self._desk.decisions.add(now, alert, "not told", "nothing new")
            return
        self._change(member, alert, now)
        self._desk.holding.sources.begin(member.key, member.labels)
        self._desk.timers.set("forget", member.key, math.inf)
        why = self._flap(member)
        for group, _ in self._board.groups_of(member):
            self._board.move(member, group, "left", "")
        targets = self._desk.routing.targets(alert, member.labels)
        for target in targets:
            group = self.group_of(member, target, now)
            self._teller.queue(member, group, why or ("new in group" if group.sent else "first"), now)
        self._climber.start(member, now)
        if not targets and member.escalation is not None:
            self._desk.decisions.add(now, alert, "escalation", f"left to policy {member.escalation.policy}")

    def _end(self, alert: Alert, now: float) -> None:
        """An alert has resolved: those who were told that it fires are told."""
        member = self._board.members.get(alert.key)
        if member is None or not member.is_firing:
            self._desk.decisions.add(now, alert, "not told", "nothing new")
            return
        is_quiet = alert.notify == (LOG,) != member.alert.notify  # an anomaly's end is for the log alone
        self._desk.is_freed |= self._desk.holding.sources.end(member.key, member.labels)
        self._change(member, alert, now)
        if member.flaps.is_flapping:
            self._desk.endings.set("flaps", member.key, ends_at(member.flaps))
        if is_quiet:
            log = self.group_of(member, Target(self._desk.routing.first(member.labels), LOG), now)
            self._board.move(member, log, "pending", "resolved")
        self._tell_end(member, is_quiet, now)
        self._desk.forget_in_time(member, now)

    def _change(self, member: Member, alert: Alert, now: float) -> None:
        """The alert has begun or ceased to fire: what belonged to its episode is over."""
        self._climber.stop(member)
        self._desk.timers.set("ack", member.key, math.inf)
        member.ack = None
        member.take(alert)
        member.flaps = changed(member.flaps, now)
        self._board.touch(member)

    def _tell_end(self, member: Member, is_quiet: bool, now: float) -> None:
        told: set[str] = set()
        for group, place in self._board.groups_of(member):
            group.firing.discard(member.key)
            if group.level and not group.firing:
                self._desk.cancel(group)
            reason = untold_end(member, group, place, is_quiet) or ("nothing new" if group.receiver in told else "")
            if reason:
                self._desk.decisions.add(now, member.alert, "not told", reason, group.receiver)
                self._board.leave(member, group)
                self._teller.wait_for(group)
            else:
                told.add(group.receiver)
                self._teller.queue(member, group, "resolved", now)

    def _member(self, alert: Alert, now: float) -> Member | None:
        key = alert.key
        member = self._board.members.get(key) or self._board.add(key, alert)
        if member is None:
            self._desk.counts["members_refused"] += 1
            self._desk.decisions.add(now, alert, "not told", "too many alerts")
        return member

    def group_of(self, member: Member, target: Target, now: float) -> Group:
        """The group that a route puts the alert in, for one receiver."""
        route, receiver = target
        return self._board.group(route.name, route.group_labels(member.labels), receiver, 0, now)

    # ---- flapping

    def _flap(self, member: Member) -> str:
        """Note whether the alert flaps; returns the reason for its one page about that."""
        is_new = is_beginning(member.flaps)
        if is_new:
            member.flaps = member.flaps._replace(is_flapping=True)
        if member.flaps.is_flapping:
            self._desk.endings.set("flaps", member.key, ends_at(member.flaps))
        return "flapping" if is_new else ""

    def calm(self, key: str, now: float) -> None:
        """The alert flaps no more, or is looked at again later."""
        member = self._board.members[key]
        if not has_ended(member.flaps, now):
            self._desk.endings.set("flaps", key, max(ends_at(member.flaps), now + STEP_SECONDS))
            return
        member.flaps = member.flaps._replace(is_flapping=False)
        self._board.touch(member)
        self._desk.decisions.add(now, member.alert, "released", "flapping ended")
        self._teller.release_one(member, now)
        self._climber.resume_one(member, now)

    def forget(self, key: str, now: float) -> None:
        """It is over for so long that nobody asks."""
        member = self._board.members[key]
        if not member.is_firing and not member.places:
            self._board.forget(member)


def untold_end(member: Member, group: Group, place: Place, is_quiet: bool) -> str:
    """Why a receiver is not told of an end; "" when it is."""
    if is_quiet:
        return "" if group.receiver == LOG and not group.level else "the end of an anomaly is no news"
    is_page = member.is_urgent and place.status == "pending" and not group.level
    return "" if place.told or is_page else "resolved before it was told"

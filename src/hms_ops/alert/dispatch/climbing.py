"""Alerts going up the levels of their policies: the dispatcher's part that `escalation.py` has the arithmetic for.

A level that is due is told through a group of its own, so that all alerts of the same policy and level go out together
and its receivers hear of the end. While something holds an alert back its escalation stands still, and goes on from
there. Whoever takes an acknowledgement back, or lets it run out, starts it again from the first level.
"""

import math
from typing import Final

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.dispatch.acknowledgement import Acked
from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.escalation import Escalation, Policy, Rung, chosen, due_at, paused, resumed, skipped
from hms_ops.alert.dispatch.grouping import Member
from hms_ops.alert.dispatch.telling import Teller

LATE_SECONDS: Final = 60.0  # a level told so late moves those after it: an engine that was away wakes nobody too early


class Climber:
    """The escalations of all members."""

    def __init__(self, desk: Desk, teller: Teller) -> None:
        self._desk = desk
        self._teller = teller

    def start(self, member: Member, now: float) -> None:
        """Begin at the first level of the policy that is for the alert, if there is one."""
        policy = chosen(self._desk.routing.policy, member.alert, member.labels)
        if policy is None:
            if member.alert.policy:
                self._desk.decisions.add(now, member.alert, "escalation", f"no policy is named {member.alert.policy!r}")
            return
        member.escalation = Escalation(policy.name, now)
        self._wait(member, policy)

    def stop(self, member: Member) -> None:
        member.escalation = None
        self._desk.timers.set("escalate", member.key, math.inf)

    def fit(self, member: Member, now: float) -> None:
        """The policies are new: start anew where another one is for the alert."""
        policy = chosen(self._desk.routing.policy, member.alert, member.labels)
        known = member.escalation.policy if member.escalation else ""
        if known != (policy.name if policy else ""):
            self.stop(member)
            self.start(member, now)
            self._desk.board.touch(member)
        elif policy is not None:
            self._wait(member, policy)

    def climb(self, key: str, now: float) -> None:
        """Tell the levels that are due."""
        member = self._desk.board.members[key]
        policy = self.policy_of(member)
        while policy is not None and member.escalation is not None:
            escalation = skipped(policy, member.escalation, member.ack is not None)
            due = due_at(policy, escalation)
            if due > now:
                member.escalation = escalation
                break
            member.escalation = self._tell(member, policy, escalation, due, now)
        self._desk.board.touch(member)
        if policy is not None:
            self._wait(member, policy)

    def _tell(self, member: Member, policy: Policy, escalation: Escalation, due: float, now: float) -> Escalation:
        rung = policy.rungs[escalation.next]
        reason = self._desk.holding.reason(member, now, heeds_ack=False)
        if reason:
            said = f"escalation level {rung.level} waits: {reason}"
            self._desk.decisions.add(now, member.alert, "held", said)
            return paused(escalation, now)
        self._queue(member, policy, rung, now)
        late = now - due if now - due > LATE_SECONDS else 0.0
        return escalation._replace(next=escalation.next + 1, began=escalation.began + late)

    def _queue(self, member: Member, policy: Policy, rung: Rung, now: float) -> None:
        board = self._desk.board
        labels = self._desk.routing.first(member.labels).group_labels(member.labels)
        told = {group.receiver for group, _ in board.groups_of(member) if not group.level}
        for receiver in rung.notify:
            if rung.offset_seconds == 0 and receiver in told:
                self._desk.decisions.add(now, member.alert, "not told", "nothing new", receiver)
                continue
            group = board.group(policy.name, labels, receiver, rung.level, now)
            self._teller.queue(member, group, "escalation", now)

    def resume(self, now: float) -> None:
        """Let go on what nothing holds back any more."""
        for member in sorted(self._desk.board.firing(), key=lambda member: member.order):
            self.resume_one(member, now)

    def resume_one(self, member: Member, now: float) -> None:
        if member.escalation is None or not member.escalation.paused:
            return
        if not self._desk.holding.reason(member, now, heeds_ack=False):
            member.escalation = resumed(member.escalation, now)
            self._desk.board.touch(member)
            self.wait(member)

    # ---- acknowledgements

    def acknowledge(self, member: Member, acked: Acked) -> None:
        """Take the acknowledgement; it ends by the policy's `ack_timeout` at the latest."""
        policy = self.policy_of(member)
        until = min(acked.until, acked.at + policy.ack_timeout_seconds if policy else math.inf)
        member.ack = Acked(acked.who, acked.comment, acked.at, until)
        self._desk.timers.set("ack", member.key, until)
        self._desk.board.touch(member)
        self.wait(member)

    def restart(self, member: Member, now: float, reason: str) -> None:
        """Nobody has the alert in hand any more: its receivers are told again, and the first level is next."""
        desk = self._desk
        member.ack = None
        desk.timers.set("ack", member.key, math.inf)
        desk.decisions.add(now, member.alert, "released", reason)
        for group, place in desk.board.groups_of(member):
            if group.level:
                desk.board.move(member, group, "left", "")
            elif place.status in ("told", "held"):
                self._teller.queue(member, group, "repeat" if place.told else "first", now)
        if member.escalation is not None:
            member.escalation = Escalation(member.escalation.policy, now)
        desk.board.touch(member)
        self.wait(member)

    # ---- timers

    def policy_of(self, member: Member) -> Policy | None:
        escalation = member.escalation
        return None if escalation is None else self._desk.routing.policy.get(escalation.policy)

    def wait(self, member: Member) -> None:
        """Be called when the member's next level is due."""
        policy = self.policy_of(member)
        if policy is not None:
            self._wait(member, policy)

    def _wait(self, member: Member, policy: Policy) -> None:
        assert member.escalation is not None
        escalation = skipped(policy, member.escalation, member.ack is not None)
        self._desk.timers.set("escalate", member.key, due_at(policy, escalation))

    def next_level(self, member: Member) -> dict[str, object] | None:
        """Whom the policy tells next, and when; None when nobody."""
        policy = self.policy_of(member)
        if policy is None or member.escalation is None:
            return None
        escalation = skipped(policy, member.escalation, member.ack is not None)
        due = due_at(policy, escalation)
        if due == math.inf:
            return None
        rung = policy.rungs[escalation.next]
        return {
            "policy": policy.name,
            "level": rung.level,
            "at": due,
            "notify": [shown_receiver(one) for one in rung.notify],
        }

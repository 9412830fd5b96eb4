"""How firing alerts stand with people: who has acknowledged them, what holds them back, whom their policy tells next.

A part of the dispatcher, which asks under its lock. Plain values out.
"""

import math
from typing import Any, Final

from hms_ops.alert.dispatch.climbing import Climber
from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.grouping import Member
from hms_ops.alert.dispatch.telling import Teller, ordered

STANDINGS_MAX: Final = 10_000


class Standings:
    """Of all alerts of one dispatcher."""

    def __init__(self, desk: Desk, teller: Teller, climber: Climber) -> None:
        self._desk = desk
        self._board = desk.board
        self._teller = teller
        self._climber = climber

    def acks(self) -> list[dict[str, Any]]:
        """The acknowledgements in force."""
        acked = ordered(member for member in self._board.firing() if member.ack is not None)
        return [{"name": one.alert.name, "tags": dict(one.alert.tags), **ack_document(one)} for one in acked]

    def all(self, now: float) -> dict[str, dict[str, Any]]:
        """By Alert.key, of the alerts of which there is something to say."""
        found: dict[str, dict[str, Any]] = {}
        is_holding = self._desk.holding.is_holding()
        for member in self._board.firing():
            if not (is_holding or member.stands_out):
                continue
            standing = self._standing(member, now)
            if len(found) < STANDINGS_MAX and any(standing.values()):
                found[member.key] = standing
        return found

    def _standing(self, member: Member, now: float) -> dict[str, Any]:
        silence = self._desk.holding.silences.active(member.labels, now)
        return {
            "acknowledged": None if member.ack is None else ack_document(member),
            "silenced_by": "" if silence is None else silence.id,
            "held_by": self._desk.holding.reason(member, now),
            "told_at": self._teller.told_at(member),
            "next_escalation": self._climber.next_level(member),
        }


def ack_document(member: Member) -> dict[str, Any]:
    ack = member.ack
    assert ack is not None
    until = None if ack.until == math.inf else ack.until
    return {"who": ack.who, "comment": ack.comment, "at": ack.at, "until": until}

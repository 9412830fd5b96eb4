"""What holds an alert back from being told: inhibitions, silences, mute times, an acknowledgement, flapping.

Asked by the dispatcher before anybody is told, in this order; the answer is the reason, as decisions and `alerts
explain` show it, or "". An end of an alert that was told is held by mute times and flapping only: who silences an alert
or takes it on still wants to hear that it is over.
"""

from collections.abc import Iterable, Mapping

from hms_ops.alert.dispatch.grouping import Member
from hms_ops.alert.dispatch.inhibition import Sources
from hms_ops.alert.dispatch.routing import Routing
from hms_ops.alert.dispatch.silence import Silences


class Holding:
    """The silences, the inhibitions' sources and the mute times in force."""

    def __init__(self, routing: Routing) -> None:
        self.silences = Silences()
        self.sources = Sources(routing.inhibitions)
        self._routing = routing
        self._muted: dict[str, bool] = {}

    def replace(self, routing: Routing, firing: Iterable[Member]) -> None:
        """Other routes, inhibitions and mute times; `look` is due."""
        self._routing = routing
        self._muted = {}
        self.sources = Sources(routing.inhibitions)
        for member in firing:
            self.sources.begin(member.key, member.labels)

    def look(self, name: str, now: float) -> float:
        """Note whether this mute time holds now; returns when that changes."""
        mute = self._routing.mutes[name]
        self._muted[name] = mute.is_muted(now)
        return mute.next_change(now)

    def is_holding(self) -> bool:
        """Whether there may be anything that holds alerts back, but for what stands with the alert itself."""
        return len(self.silences) > 0 or any(self._muted.values()) or bool(self._routing.inhibitions)

    def reason(self, member: Member, now: float, route_mutes: Iterable[str] = (), *, heeds_ack: bool = True) -> str:
        """Why the alert is not told now, "" when nothing holds it."""
        if member.is_firing:
            if inhibition := self.sources.inhibiting(member.labels):
                return f"inhibited by {inhibition}"
            if (silence := self.silences.active(member.labels, now)) is not None:
                return f"silenced by {silence.id}"
        if mute := self._muting(member.labels, route_mutes):
            return f"muted by {mute}"
        if member.is_firing and member.ack is not None and heeds_ack:
            return f"acknowledged by {member.ack.who}"
        return "flapping" if member.flaps.is_flapping else ""

    def _muting(self, labels: Mapping[str, str], route_mutes: Iterable[str]) -> str:
        for name, is_muted in self._muted.items():
            if is_muted and (name in route_mutes or self._is_for(name, labels)):
                return name
        return ""

    def _is_for(self, name: str, labels: Mapping[str, str]) -> bool:
        matchers = self._routing.mutes[name].matchers
        return matchers is not None and matchers.accept(labels)

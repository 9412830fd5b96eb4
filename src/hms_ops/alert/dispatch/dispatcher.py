"""The dispatcher: alert events and people's commands in, notifications with their reasons out. No threads, no clock, no
I/O; the same events at the same times give the same notifications, across restarts too.

    event ─► member ─► its groups (routing) ─► due? ─► held back? (holding) ─► budget (storm) ─► notification
                └─► the levels of its policy (climbing) ─┘

The keeper calls `step` with what has happened and again at `next_due`, commits `changes` with the notifications in one
transaction, and only then lets these leave; `restore` takes the same records back after a restart. What the engine's
other threads ask (`explain`, `silences`, `acks`, `standings`, `counters`) may be asked from any of them.

When a group is due. Severity `page` does not wait: the first notification of a group leaves in the step of its alert;
what is new in a group that was told already GAP_SECONDS after that at the latest, unless PAGES_AT_ONCE came close
together: then one in AGAIN_SECONDS; an end at once when nothing else fires in the group. Others wait `wait` for
company, then `interval` between notifications. While nothing changes, every `repeat`.

    entry        alert                               →  (Alertmanager's table)
    none         firing                              send: first
    none         resolved before it was told         do not; a page's is told all the same
    told         nothing new, within `repeat`        do not
    told         nothing new, `repeat` is over       send: repeat
    told         another alert fires in the group    send: new in group
    told         resolved                            send: resolved, to those who were told that it fires
    told         silenced, and the silence ends      send: repeat

What is held back (holding.py) stays in its group and is told as soon as nothing holds it, if it still fires. An
acknowledgement stops the levels of the alert's policy that are `until: ack`, and cancels what waits in the outbox of
groups that have none but acknowledged alerts. An end cancels the levels' only: a page that could not leave still does.

Parts: `desk` (what they share), `episodes` (begin, end, flap), `telling` (groups and budgets), `climbing` (policies),
`hushing` (silences), `holding`, `standing` (what is answered).
Bounds and counters: those of grouping, silence, storm and decision; see `counters`.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from hms_ops.alert.dispatch.acknowledgement import Ack, Acked, Unack
from hms_ops.alert.dispatch.climbing import Climber
from hms_ops.alert.dispatch.decision import Decision
from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.episodes import Episodes
from hms_ops.alert.dispatch.flapping import STEP_SECONDS, ends_at, forgotten_at
from hms_ops.alert.dispatch.grouping import Group, Member, group_of_record, member_of_record
from hms_ops.alert.dispatch.hushing import Hush
from hms_ops.alert.dispatch.routing import Routing
from hms_ops.alert.dispatch.silence import AddSilence, EndSilence, Silence
from hms_ops.alert.dispatch.standing import Standings
from hms_ops.alert.dispatch.telling import AGAIN_SECONDS, BUDGET_PREFIX, Teller, ordered
from hms_ops.alert.notification import Alert, Notification
from hms_ops.change import Change

__all__ = ["AGAIN_SECONDS", "Command", "Dispatch", "Dispatcher"]

ORPHANED: Final = "its state was lost in a restart"

Command: TypeAlias = Ack | Unack | AddSilence | EndSilence
Tables: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]


LOGGER: Final = logging.getLogger("hms_ops.alert")


class Dispatch(NamedTuple):
    """What one step came to. cancelled: ids of notifications that must not leave any more; decisions: decision.py.
    failed: events that a mistake of ours kept from being dispatched; the caller tells their own receivers."""

    notifications: list[Notification]
    changes: list[Change]
    decisions: list[Decision]
    cancelled: list[str]
    failed: Sequence[Alert] = ()


class Dispatcher:
    """One for an engine. origin: tells engines apart, whose episodes number alike."""

    def __init__(self, routing: Routing, *, origin: str) -> None:
        self._lock = threading.Lock()
        self._desk = desk = Desk(routing, origin)
        self._board = desk.board
        self._teller = Teller(desk)
        self._climber = Climber(desk, self._teller)
        self._hush = Hush(desk, self._teller)
        self._episodes = Episodes(desk, self._teller, self._climber)
        self._standings = Standings(desk, self._teller, self._climber)
        self._mutes_due: dict[str, float] = {}
        self._is_rerouted = True  # the routing is new: `step` looks at all of it
        self._handlers: Final[dict[str, Callable[[str, float], None]]] = {
            "ack": self._time_out,
            "escalate": self._climber.climb,
            "flaps": self._episodes.calm,
            "forget": self._episodes.forget,
            "group": self._teller.flush,
            "mute": self._look,
            "silence": self._hush.turn,
            "storm": self._teller.sum_up,
        }

    # ---- what the keeper calls

    def replace(self, routing: Routing) -> None:
        """Other routes, mute times, inhibitions and policies; the next step takes them."""
        with self._lock:
            self._is_rerouted |= routing != self._desk.routing  # rules change more often than routes
            self._desk.routing = routing

    def step(self, now: float, events: Sequence[Alert], commands: Sequence[Command] = ()) -> Dispatch:
        """Take events in their order, then commands, which may be about them, then do what is due; `now` in Unix
        seconds."""
        with self._lock:
            if self._is_rerouted:
                self._reroute(now)
            for name in [name for name, due in self._mutes_due.items() if due <= now]:
                self._look(name, now)
            failed = [alert for alert in events if not tried(self._episodes.take, alert, now)]
            for command in commands:
                tried(self._obey, command, now)
            tried(self._work, now)
            return self._result()._replace(failed=failed)

    def next_due(self) -> float:
        """When `step` wants to be called again, in Unix seconds; inf when nothing is waited for, -inf for at once."""
        with self._lock:
            return -math.inf if self._is_rerouted else min(self._desk.timers.next(), self._desk.endings.next())

    def restore(self, tables: Tables, now: float) -> None:
        """Take the records of "groups", "members" and "silences", before the first step. What cannot be read is left
        out and counted as damaged."""
        with self._lock:
            table = tables.get("groups", {})
            budgets = {key: record for key, record in table.items() if key.startswith(BUDGET_PREFIX)}
            groups = {key: record for key, record in table.items() if key not in budgets}
            members = tables.get("members", {})
            for record in budgets.values():
                self._guarded(self._teller.take_record, record)
            for record in tables.get("silences", {}).values():
                self._guarded(self._hush.take_record, record)
            self._board.restore(
                filter(None, (self._guarded(group_of_record, key, record) for key, record in groups.items())),
                filter(None, (self._guarded(member_of_record, key, record) for key, record in members.items())),
            )
            self._wait_anew(now)
            self._is_rerouted = True

    def catch_up(self, firing: Iterable[Alert], now: float) -> list[Alert]:
        """After `restore`: the events that are missing here, given all alerts that the book has firing, for `step`.

        One transaction keeps both, so there are none, unless records are damaged: then an alert nobody was told of is
        told, and one that no rule knows any more does not fire, repeat and escalate for ever.
        """
        with self._lock:
            known = {alert.key: alert for alert in firing}
            members = self._board.members
            untold = [alert for key, alert in known.items() if key not in members or not members[key].is_firing]
            orphans = ordered(member for member in self._board.firing() if member.key not in known)
            return untold + [replace(one.alert, state="resolved", until=now, reason=ORPHANED) for one in orphans]

    def move_clocks(self, seconds: float) -> None:
        """The wall clock was set forward by `seconds` (back, below 0): what waits goes on waiting as long as before.
        Silences and mute times are on the wall clock and stay."""
        with self._lock:
            self._teller.move_clocks(seconds)
            for member in self._board.members.values():
                shift(member, seconds)
                self._board.touch(member)
            self._wait_anew(None)
            self._is_rerouted = True

    # ---- what anybody may ask

    def explain(self, name: str, tags: Mapping[str, str] | None = None) -> list[Decision]:
        """The decisions about an alert that are still in memory, newest last."""
        with self._lock:
            return self._desk.decisions.of(name, tags)

    def silences(self, now: float) -> list[Silence]:
        """All that are remembered: active and coming ones first, then those that ended, the latest first."""
        with self._lock:
            found = list(self._desk.holding.silences)
        return sorted(found, key=lambda one: (one.state(now) == "ended", -one.ends, one.id))

    def has_silence(self, id: str) -> bool:
        """Whether it was taken, and is not forgotten."""
        with self._lock:
            return self._desk.holding.silences.get(id) is not None

    def acks(self) -> list[dict[str, Any]]:
        """The acknowledgements in force."""
        with self._lock:
            return self._standings.acks()

    def firing_count(self, name: str, tags: Mapping[str, str] | None = None) -> int:
        """How many alerts fire that an acknowledgement of this name and these tags would be for."""
        with self._lock:
            return len(self._board.named(name, tags))

    def standings(self, now: float) -> dict[str, dict[str, Any]]:
        """By Alert.key: who has acknowledged it, what holds it back, when those are told who wait for their group, and
        whom its policy tells next; of the alerts of which there is something to say, STANDINGS_MAX at most."""
        with self._lock:
            return self._standings.all(now)

    def counters(self) -> dict[str, int]:
        """Sizes now, and what was told, refused or damaged since the start."""
        with self._lock:
            members = self._board.members.values()
            return {
                "members": len(members),
                "groups": len(self._board.groups),
                "groups_folded": self._board.folded,
                "silences": len(self._desk.holding.silences),
                "acknowledged": sum(member.ack is not None for member in members),
                "flapping": sum(member.flaps.is_flapping for member in members),
                "held": sum(len(group.held) for group in self._board.groups.values()),
                "decisions": self._desk.decisions.count,
                **self._desk.counts,
            }

    # The lock is held from here on.
    # ---- commands

    def _obey(self, command: Command, now: float) -> None:
        if isinstance(command, AddSilence):
            self._hush.add(command.silence, now)
        elif isinstance(command, EndSilence):
            self._hush.end(command, now)
        elif isinstance(command, Ack):
            self._acknowledge(command, now)
        else:
            for member in self._board.named(command.name, command.tags):
                if member.ack is not None:
                    self._climber.restart(member, now, f"acknowledgement taken back by {command.who}")

    def _acknowledge(self, command: Ack, now: float) -> None:
        members = self._board.named(command.name, command.tags)
        said = f"by {command.who}: {command.comment}".rstrip(": ")
        groups: dict[str, Group] = {}
        for member in members:
            self._climber.acknowledge(member, Acked(command.who, command.comment, now, command.until))
            groups.update((group.key, group) for group, _ in self._board.groups_of(member))
        self._desk.decisions.add_many(now, [member.alert for member in members], "acknowledged", said)
        for group in groups.values():
            is_ended_by_ack = not group.level or self._desk.until(group) == "ack"
            if is_ended_by_ack and all(self._board.members[key].ack is not None for key in group.firing):
                self._desk.cancel(group)

    def _time_out(self, key: str, now: float) -> None:
        member = self._board.members[key]
        if member.ack is not None:
            self._climber.restart(member, now, f"the acknowledgement of {member.ack.who} has timed out")

    # ---- what is due

    def _work(self, now: float) -> None:
        while True:
            due = self._desk.endings.pop(now)
            if due is None and self._desk.is_freed:
                self._desk.is_freed = False
                self._teller.release(now)
                self._climber.resume(now)
            due = due or self._desk.timers.pop(now)
            if due is None:
                return
            self._handlers[due.kind](due.key, now)

    def _result(self) -> Dispatch:
        desk = self._desk
        changes = self._board.changes() + self._teller.changes() + self._hush.changes()
        made = Dispatch(desk.notifications, changes, desk.decisions.take(), desk.cancelled)
        desk.notifications, desk.cancelled = [], []
        return made

    # ---- the routing

    def _reroute(self, now: float) -> None:
        """The routing is new, or we have just started: everything is looked at once."""
        self._is_rerouted = False
        self._desk.holding.replace(self._desk.routing, self._board.firing())
        self._desk.endings.drop(("mute",))
        self._mutes_due = {}
        for name in self._desk.routing.mutes:
            self._look(name, now)
        for member in ordered(self._board.firing()):
            self._rejoin(member, now)
            self._climber.fit(member, now)
        for group in self._board.groups.values():
            self._teller.wait_for(group)
        self._desk.is_freed = True

    def _rejoin(self, member: Member, now: float) -> None:
        """Put a firing alert into the groups that its routes lead to now, and take it out of the others."""
        targets = self._desk.routing.targets(member.alert, member.labels)
        wanted = {group.key: group for group in (self._episodes.group_of(member, target, now) for target in targets)}
        for group, place in self._board.groups_of(member):
            if group.level or group.key in wanted:
                continue
            if place.told:
                self._board.move(member, group, "left", "")
            else:
                self._board.leave(member, group)
        for key, group in wanted.items():
            if key not in member.places:
                self._teller.queue(member, group, "new in group" if group.sent else "first", now)

    def _look(self, name: str, now: float) -> None:
        """Note whether a mute time holds now, and when that changes."""
        due = self._mutes_due[name] = self._desk.holding.look(name, now)
        self._desk.endings.set("mute", name, due)
        self._desk.is_freed = True

    # ---- records

    def _guarded(self, read: Callable[..., Any], *given: Any) -> Any:
        """What `read` makes of a record; None for one that is damaged, which is counted."""
        try:
            return read(*given)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._desk.counts["damaged"] += 1
            return None

    def _wait_anew(self, now: float | None) -> None:
        """All timers, from what the records say; the silences' when there is a `now`, they are on the wall clock."""
        self._teller.wait_anew()
        if now is not None:
            self._hush.wait_anew(now)
        timers, endings = self._desk.timers, self._desk.endings
        for member in self._board.members.values():
            timers.set("ack", member.key, member.ack.until if member.ack else math.inf)
            endings.set("flaps", member.key, ends_at(member.flaps) if member.flaps.is_flapping else math.inf)
            is_over = not member.is_firing and not member.places
            timers.set("forget", member.key, forgotten_at(member.flaps) if is_over else math.inf)
            self._climber.wait(member)


def shift(member: Member, seconds: float) -> None:
    """The member on a clock that was set forward by so much."""
    if member.ack is not None:
        ack = member.ack
        member.ack = Acked(ack.who, ack.comment, ack.at + seconds, ack.until + seconds)
    if member.escalation is not None:
        one = member.escalation
        member.escalation = one._replace(began=one.began + seconds, paused=one.paused + seconds if one.paused else 0.0)
    member.flaps = member.flaps._replace(step=member.flaps.step + round(seconds / STEP_SECONDS))


def tried(work: Callable[..., None], *arguments: Any) -> bool:
    """Whether one piece of work was done: one that fails is a mistake of ours, and costs its neighbours nothing."""
    try:
        work(*arguments)
    except Exception:
        LOGGER.exception("the dispatcher failed in one of its parts")
        return False
    return True

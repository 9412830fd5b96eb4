"""Alerts in groups: what one receiver is told together, and what it was told of each.

A `Member` is one alert, a `Group` the alerts one receiver is told of in one notification: of one route with the same
values of its `group_by` tags, or of one level of an escalation policy. Where a member stands in a group is its `Place`:

    pending   to be told when the group is due           told   its receiver knows that it fires
    held      something holds it back, see holding.py    left   told, and no route leads here any more

A `Board` has all of them, by key, with the indexes that make a change cost what changed: a group of ten thousand is not
walked for one of them. Members and groups are records on disk, a member's with its places, so that one alert's change
rewrites neither the group nor its neighbours. `changes` gives those since the last call; the dispatcher's thread only.

Bounds: MEMBERS_MAX (beyond: refused and counted; the book has no more than half as many), GROUPS_MAX (beyond: alerts
of a route share one group for each receiver, counted as folded), IDS_MAX of notifications that may still be cancelled.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hms_ops.alert.dispatch.acknowledgement import Acked, acked_of_record, acked_record
from hms_ops.alert.dispatch.escalation import Escalation, escalation_of_record, escalation_record
from hms_ops.alert.dispatch.flapping import CALM, Flaps, flaps_of_record, flaps_record
from hms_ops.alert.notification import Alert, GroupTags, alert_of_record, alert_record, digest
from hms_ops.change import Change

MEMBERS_MAX: Final = 200_000
GROUPS_MAX: Final = 50_000
IDS_MAX: Final = 8
URGENT: Final = "page"  # the severity that does not wait

Status = Literal["pending", "held", "told", "left"]
STATUSES: Final[tuple[Status, ...]] = ("pending", "held", "told", "left")


@dataclass(slots=True)
class Place:
    """told: the episode its receiver was told of, 0 for none; why: the reason it is pending or held for."""

    status: Status = "pending"
    told: int = 0
    why: str = ""


@dataclass(slots=True)
class Member:
    """One alert as the dispatcher knows it; `labels` are its alert's, made once."""

    key: str
    alert: Alert
    labels: Mapping[str, str]
    places: dict[str, Place] = field(default_factory=dict)
    ack: Acked | None = None
    escalation: Escalation | None = None
    flaps: Flaps = CALM

    @property
    def is_firing(self) -> bool:
        return self.alert.state == "firing"

    @property
    def is_urgent(self) -> bool:
        return self.alert.severity == URGENT

    @property
    def stands_out(self) -> bool:
        """Whether there is more to say of it than that those it concerns were told."""
        is_told = all(place.status == "told" for place in self.places.values())
        return self.ack is not None or self.escalation is not None or self.flaps.is_flapping or not is_told

    @property
    def order(self) -> tuple[float, str]:
        """The oldest first, and in one order always."""
        return self.alert.since, self.key

    def take(self, alert: Alert) -> None:
        self.alert = alert
        self.labels = alert.labels


@dataclass(slots=True)
class Group:
    """level: 0 for a route's, else the level of the policy `route`. born: Unix seconds; with `number`, the
    notifications it has made, it names each of them for ever. sent: when the last one was made, 0 for none. paced: when
    as many would have been made at one in AGAIN_SECONDS. due: when what is pending is to be told. ids: of notifications
    of firing alerts that may wait in the outbox still."""

    key: str
    route: str
    labels: GroupTags
    receiver: str
    level: int
    born: float
    number: int = 0
    sent: float = 0.0
    paced: float = 0.0
    due: float = math.inf
    ids: list[str] = field(default_factory=list)
    by_status: dict[Status, set[str]] = field(default_factory=lambda: {status: set() for status in STATUSES})
    firing: set[str] = field(default_factory=set)

    @property
    def pending(self) -> set[str]:
        return self.by_status["pending"]

    @property
    def held(self) -> set[str]:
        return self.by_status["held"]

    @property
    def told(self) -> set[str]:
        return self.by_status["told"]

    @property
    def is_empty(self) -> bool:
        return not any(self.by_status.values())

    def note_sent(self, now: float, notification_id: str) -> None:
        self.sent = now
        if notification_id:
            self.ids = [*self.ids, notification_id][-IDS_MAX:]


class Board:
    """All members and groups."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.groups: dict[str, Group] = {}
        self.folded = 0
        self._by_name: dict[str, dict[str, None]] = {}  # an alert's name → its members' keys
        self._index: dict[tuple[str, GroupTags, str, int], Group] = {}
        self._changed_members: dict[str, None] = {}
        self._changed_groups: dict[str, None] = {}

    # ---- members

    def add(self, key: str, alert: Alert) -> Member | None:
        """A new member; None when there is no room for it."""
        if len(self.members) >= MEMBERS_MAX:
            return None
        member = self.members[key] = Member(key, alert, alert.labels)
        self._by_name.setdefault(alert.name, {})[key] = None
        return member

    def forget(self, member: Member) -> None:
        del self.members[member.key]
        named = self._by_name[member.alert.name]
        del named[member.key]
        if not named:
            del self._by_name[member.alert.name]
        self.touch(member)

    def touch(self, member: Member) -> None:
        """Its record has changed."""
        self._changed_members[member.key] = None

    def firing(self) -> Iterator[Member]:
        return (member for member in self.members.values() if member.is_firing)

    def named(self, name: str, tags: Mapping[str, str] | None = None) -> list[Member]:
        """The firing alerts of a name that have these labels among others, in their order."""
        wanted = set((tags or {}).items())
        members = (self.members[key] for key in self._by_name.get(name, ()))
        found = (member for member in members if member.is_firing and wanted <= member.labels.items())
        return sorted(found, key=lambda member: member.order)

    # ---- groups

    def group(self, route: str, labels: GroupTags, receiver: str, level: int, now: float) -> Group:
        """The group of these, a new one if need be."""
        known = self._index.get((route, labels, receiver, level))
        if known is not None:
            return known
        if len(self.groups) >= GROUPS_MAX and labels:
            self.folded += 1
            return self.group(route, (), receiver, level, now)
        key = digest(["policy" if level else "route", route, labels, receiver, level])
        group = Group(key, route, labels, receiver, level, born=now)
        self._enter(group)
        return group

    def _enter(self, group: Group) -> None:
        self.groups[group.key] = group
        self._index[group.route, group.labels, group.receiver, group.level] = group
        self.touch_group(group)

    def touch_group(self, group: Group) -> None:
        self._changed_groups[group.key] = None

    def groups_of(self, member: Member) -> list[tuple[Group, Place]]:
        """The member's groups, those of routes before those of levels."""
        found = [(self.groups[key], place) for key, place in member.places.items()]
        return sorted(found, key=lambda pair: (pair[0].level, pair[0].key))

    def move(self, member: Member, group: Group, status: Status, why: str) -> Place:
        """Give the member this place in the group."""
        place = member.places.get(group.key)
        if place is None:
            place = member.places[group.key] = Place()
        else:
            group.by_status[place.status].discard(member.key)
        place.status, place.why = status, why
        group.by_status[status].add(member.key)
        if member.is_firing:
            group.firing.add(member.key)
        self.touch(member)
        return place

    def leave(self, member: Member, group: Group) -> None:
        """Take the member out; a group without members goes."""
        place = member.places.pop(group.key)
        group.by_status[place.status].discard(member.key)
        group.firing.discard(member.key)
        self.touch(member)
        if group.is_empty:
            del self.groups[group.key]
            del self._index[group.route, group.labels, group.receiver, group.level]
            self.touch_group(group)

    # ---- records

    def changes(self) -> list[Change]:
        """The records that have changed since the last call."""
        found = [
            Change("members", key, member_record(self.members[key]) if key in self.members else None)
            for key in self._changed_members
        ]
        found += [
            Change("groups", key, group_record(self.groups[key]) if key in self.groups else None)
            for key in self._changed_groups
        ]
        self._changed_members, self._changed_groups = {}, {}
        return found

    def restore(self, groups: Iterable[Group], members: Iterable[Member]) -> None:
        """Take what was on disk; a place in a group that is not there is dropped, as is a group without members."""
        for group in groups:
            self._enter(group)
        for member in members:
            self.members[member.key] = member
            self._by_name.setdefault(member.alert.name, {})[member.key] = None
            for key in [key for key in member.places if key not in self.groups]:
                del member.places[key]
            for key, place in member.places.items():
                self.groups[key].by_status[place.status].add(member.key)
                if member.is_firing:
                    self.groups[key].firing.add(member.key)
        self._changed_groups = {}
        for group in [group for group in self.groups.values() if group.is_empty]:
            del self.groups[group.key]
            del self._index[group.route, group.labels, group.receiver, group.level]
            self.touch_group(group)


def member_record(member: Member) -> dict[str, Any]:
    return {
        "alert": alert_record(member.alert),
        "places": {key: [place.status, place.told, place.why] for key, place in member.places.items()},
        "ack": acked_record(member.ack),
        "escalation": escalation_record(member.escalation),
        "flaps": flaps_record(member.flaps),
    }


def member_of_record(key: str, record: Mapping[str, Any]) -> Member:
    """ValueError, KeyError or TypeError for a map that is no member's record."""
    alert = alert_of_record(record["alert"])
    places = {str(group): place_of_record(place) for group, place in record["places"].items()}
    return Member(
        key=key,
        alert=alert,
        labels=alert.labels,
        places=places,
        ack=acked_of_record(record["ack"]),
        escalation=escalation_of_record(record["escalation"]),
        flaps=flaps_of_record(record["flaps"]),
    )


def place_of_record(record: Any) -> Place:
    status, told, why = record
    if status not in STATUSES:
        raise ValueError(f"{status!r} is none of {', '.join(STATUSES)}")
    return Place(status, int(told), str(why))


def group_record(group: Group) -> dict[str, Any]:
    return {
        "route": group.route,
        "labels": [list(pair) for pair in group.labels],
        "receiver": group.receiver,
        "level": group.level,
        "born": group.born,
        "number": group.number,
        "sent": group.sent,
        "paced": group.paced,
        "due": group.due,
        "ids": list(group.ids),
    }


def group_of_record(key: str, record: Mapping[str, Any]) -> Group:
    """ValueError, KeyError or TypeError for a map that is no group's record."""
    return Group(
        key=key,
        route=str(record["route"]),
        labels=tuple((str(tag), str(value)) for tag, value in record["labels"]),
        receiver=str(record["receiver"]),
        level=int(record["level"]),
        born=float(record["born"]),
        number=int(record["number"]),
        sent=float(record["sent"]),
        paced=float(record.get("paced", 0.0)),
        due=float(record["due"]),
        ids=list(map(str, record["ids"])),
    )

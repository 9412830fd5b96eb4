"""Silences as they come and go: the dispatcher's part between people's commands and `silence.py`'s values.

When a silence ends, by itself or by hand, what it had silenced and still fires is told, told once before or not: a
silence is a promise to look again. Ended ones are forgotten after a week, or earlier when there is no room.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hms_ops.alert.dispatch.desk import Desk
from hms_ops.alert.dispatch.grouping import Member
from hms_ops.alert.dispatch.silence import (
    REMEMBERED_SECONDS,
    SILENCES_MAX,
    EndSilence,
    Silence,
    ended,
    silence_of_record,
    silence_record,
)
from hms_ops.alert.dispatch.telling import Teller, ordered
from hms_ops.change import Change


class Hush:
    """The silences' begin and end."""

    def __init__(self, desk: Desk, teller: Teller) -> None:
        self._desk = desk
        self._teller = teller
        self._changed: dict[str, None] = {}

    def add(self, silence: Silence, now: float) -> None:
        """Take a silence; one too many is refused and counted."""
        silences = self._desk.holding.silences
        if len(silences) >= SILENCES_MAX and silences.get(silence.id) is None:
            oldest = silences.oldest_ended(now)
            if oldest is None:
                self._desk.counts["silences_refused"] += 1
                return
            self._drop(oldest.id)
        self._put(silence)
        self.turn(silence.id, now)

    def end(self, command: EndSilence, now: float) -> None:
        known = self._desk.holding.silences.get(command.id)
        if known is not None and known.state(now) != "ended":
            self._put(ended(known, now, command.who))
            self.turn(command.id, now)

    def turn(self, key: str, now: float) -> None:
        """The silence begins, ends or is forgotten, whatever the time says; and be called when it does next."""
        silence = self._desk.holding.silences.get(key)
        if silence is None:
            return
        state = silence.state(now)
        if state == "active":
            reason = f"silenced by {silence.id}: {silence.who}, {silence.comment}".rstrip(", ")
            self._decide(self._silenced(silence), now, reason)
        elif state == "ended" and not silence.is_over:
            self._put(replace(silence, is_over=True))
            self._tell_again(silence, now)
        elif state == "ended" and now >= silence.ends + REMEMBERED_SECONDS:
            self._drop(key)
        self._wait(key, now)

    def _tell_again(self, silence: Silence, now: float) -> None:
        self._desk.is_freed = True
        if silence.starts >= silence.ends:
            return  # it had not begun
        by = f" by {silence.ended_by}" if silence.ended_by else ""
        members = self._silenced(silence)
        self._decide(members, now, f"silence {silence.id} ended{by}")
        for member in members:
            for group, place in self._desk.board.groups_of(member):
                if place.status == "told" and not group.level:
                    self._teller.queue(member, group, "repeat", now)

    def _silenced(self, silence: Silence) -> list[Member]:
        board, name = self._desk.board, silence.matchers.alertname
        members = board.named(name) if name else board.firing()
        return ordered(member for member in members if silence.matchers.accept(member.labels))

    def _decide(self, members: list[Member], now: float, reason: str) -> None:
        self._desk.decisions.add_many(now, [member.alert for member in members], "silence", reason)

    def _put(self, silence: Silence) -> None:
        self._desk.holding.silences.put(silence)
        self._changed[silence.id] = None

    def _drop(self, key: str) -> None:
        self._desk.holding.silences.drop(key)
        self._desk.endings.set("silence", key, math.inf)
        self._changed[key] = None

    def _wait(self, key: str, now: float) -> None:
        silence = self._desk.holding.silences.get(key)
        if silence is not None:
            forgotten = silence.ends + REMEMBERED_SECONDS
            due = forgotten if silence.is_over else silence.starts if now < silence.starts else silence.ends
            self._desk.endings.set("silence", key, due)

    # ---- records

    def changes(self) -> list[Change]:
        silences = self._desk.holding.silences
        found = [
            Change("silences", key, None if silence is None else silence_record(silence))
            for key in self._changed
            for silence in [silences.get(key)]
        ]
        self._changed = {}
        return found

    def take_record(self, record: Mapping[str, Any]) -> None:
        """A silence as `changes` gave it; ValueError, KeyError or TypeError when it is none."""
        self._desk.holding.silences.put(silence_of_record(record))

    def wait_anew(self, now: float) -> None:
        for silence in self._desk.holding.silences:
            self._wait(silence.id, now)

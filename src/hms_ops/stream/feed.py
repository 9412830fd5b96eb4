"""What a turn of the hub sends: new seconds and events to those who follow live, the past to those who catch up.

A follower that joins with a place, or since a second, first gets what memory has of the time until now, a slice at a
time and the next one when its queue is empty, so that neither a slow client nor many at once hold up the live ones.
Cells and events are sent in the order in which they were: an event goes behind the cells of the second it came after.

Memory keeps KEPT_SECONDS sealed seconds; a row that was overwritten meanwhile is noticed after it was read. What cannot
be had is told in one `gap`. A clock that was set back begins a new epoch; one set forward leaves a gap.
Threads: the hub's.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hms_ops._ring import Store
from hms_ops.clock import SECOND_NS
from hms_ops.stream.documents import Told
from hms_ops.stream.frame import ALIVE, Frame, Place, cells_frame, gap_frame, together
from hms_ops.stream.outflow import Outflow
from hms_ops.stream.ring import Kept, Ring
from hms_ops.stream.table import Table, Text
from hms_ops.stream.wanted import Wanted
from hms_ops.tiers import SLOTS

log = logging.getLogger("hms_ops.stream")

KEPT_SECONDS: Final = 60
SLICE_BYTES: Final = 256 * 1024
ERRORS_LOGGED: Final = 10

Post = Callable[[Sequence[tuple[Outflow, Frame]], int], None]


@dataclass(eq=False, slots=True)
class Follower:
    """One client as the hub sees it. kinds: of the events it wants. place: where it was before, None for a new one.
    since: the second it wants cells from, None for those to come. second, sequence: what it was sent while it catches
    up; when it is live, the feed's are its own."""

    wanted: Wanted
    kinds: frozenset[str]
    outflow: Outflow
    place: Place | None = None
    since: int | None = None
    second: int = 0
    sequence: int = 0
    is_live: bool = False
    debts: list[Frame] = field(default_factory=list)  # gaps, before anything else


class Feed:
    """second: the last one that was sent. counts: written by the hub's thread only."""

    def __init__(self, store: Store, table: Table, post: Post) -> None:
        self.epoch = secrets.token_hex(4)
        self.second = int(store.sealed_second)
        self.ring = Ring()
        self.live: list[Follower] = []
        self.counts: Counter[str] = Counter(gaps=0, errors=0)
        self._store = store
        self._table = table
        self._post = post

    # ---- who follows

    def join(self, followers: Iterable[Follower]) -> list[Follower]:
        """Take new ones; returns those that have to catch up."""
        behind = []
        for follower in followers:
            if not self.live:
                self._look_up()
            self._begin(follower)
            if follower.debts or follower.second < self.second or follower.sequence < self.ring.sequence:
                behind.append(follower)
            else:
                self._go_live(follower)
        return behind

    def want(self, followers: Iterable[Follower]) -> None:
        """All that follow, live or not."""
        self._table.want(follower.wanted for follower in followers)

    def _begin(self, follower: Follower) -> None:
        """Where it goes on, and what it has missed for good."""
        kept, place = self.kept_from(), follower.place
        follower.second, follower.sequence = self.second, self.ring.sequence
        if place is not None and place.epoch == self.epoch:
            self._go_on(follower, place, kept)
        elif place is not None:  # of another run: what happened since this one began is new to it
            follower.second = min(max(place.second, kept - 1), self.second)
            follower.sequence = self.ring.began
            is_hole = follower.second > place.second
            self._owe(follower, place.second + is_hole, follower.second if is_hole else place.second)
        if follower.since is not None:
            follower.second = min(max(follower.since, kept) - 1, self.second)

    def _go_on(self, follower: Follower, place: Place, kept: int) -> None:
        missing = self.ring.missing(place.sequence)
        follower.second = min(max(place.second, kept - 1), self.second)
        follower.sequence = min(place.sequence + missing, self.ring.sequence)
        if missing or follower.second > place.second:
            self._owe(follower, place.second + 1, max(follower.second, place.second + 1), events_lost=missing)

    def _owe(self, follower: Follower, first: int, last: int, events_lost: int = 0) -> None:
        place = Place(follower.second, follower.sequence, self.epoch)
        follower.debts.append(self._gap(place, first, last, "too-old", events_lost))

    def _gap(self, place: Place, first: int, last: int, reason: str, events_lost: int = 0) -> Frame:
        self.counts["gaps"] += 1
        return gap_frame(place, self._now(), first, last, reason, events_lost=events_lost)

    def _go_live(self, follower: Follower) -> None:
        follower.is_live = True
        self.live.append(follower)

    # ---- seconds

    def kept_from(self) -> int:
        """The oldest sealed second that memory has. A listener in the open second overwrites what lies SLOTS before."""
        overwritten = self._store.now_ns() // SECOND_NS - SLOTS
        return int(max(self._store.first_second, self._store.sealed_second - KEPT_SECONDS + 1, overwritten + 1))

    def take_seconds(self) -> bool:
        """Send what was sealed since the last turn; whether there was anything."""
        before, sealed = self.second, self._look_up()
        if sealed == before:
            return False
        self._pass_over(min(self.kept_from(), sealed + 1) - 1)
        for second in range(self.second + 1, sealed + 1):
            self._send_second(second)
        return True

    def _look_up(self) -> int:
        """The sealed second; where nobody is live, it is where we are."""
        sealed = int(self._store.sealed_second)
        if sealed < self.second:
            self._begin_anew(sealed)
        if not self.live:
            self.second = sealed
        return sealed

    def _send_second(self, second: int) -> None:
        try:
            texts = self._table.texts(second)
        except Exception:
            self._fail(f"the cells of second {second}")
            texts = {}
        if not texts or second < self.kept_from():
            self._pass_over(second)
            return
        self.second = second
        place = self._place()
        frames = {wanted: cells_frame(place, text.data, text.cells) for wanted, text in texts.items()}
        self._post([(one.outflow, frames[one.wanted]) for one in self.live], second)

    def _pass_over(self, last: int) -> None:
        """The seconds up to `last` cannot be had any more."""
        first = self.second + 1
        if last < first:
            return
        self.second = last
        if self.live:
            self._tell_all(self._gap(self._place(), first, last, "too-old"))

    def _begin_anew(self, sealed: int) -> None:
        """The wall clock was set back: seconds come that were there before, under the same numbers."""
        self.epoch = secrets.token_hex(4)
        self.ring.forget()
        self._table.forget()
        self.second = sealed
        if self.live:
            self._tell_all(self._gap(self._place(), sealed, sealed, "too-old"))

    # ---- events

    def tell(self, told: Iterable[Told], lost: int = 0) -> None:
        """Send events, numbered and encoded; `lost` of them, older ones, were dropped before they came here."""
        if lost:
            self.ring.skip(lost)
        if lost and self.live:
            self._tell_all(self._gap(self._place(), self.second, self.second, "slow", lost))
        kept = [self.ring.add(kind, document, self.second, self.epoch) for kind, document in told]
        frames = {kinds: frame_of(kept, kinds) for kinds in {one.kinds for one in self.live}} if kept else {}
        batch = [(one.outflow, frame) for one in self.live if (frame := frames.get(one.kinds)) is not None]
        if batch:
            self._post(batch, 0)

    def beat(self) -> None:
        self._tell_all(Frame(ALIVE))

    # ---- the past

    def catch_up(self, follower: Follower) -> None:
        """Send the next slice of what a follower has missed; at its end it is live. So it is where its past cannot be
        had: who is neither live nor sent anything asks for no more, and would wait for ever."""
        second, sequence = follower.second, follower.sequence
        frames, follower.debts = follower.debts, []
        try:
            past = self._past(follower)
        except Exception:
            self._fail("the past of a stream")
            past = [self._past_lost(second, self.ring.sequence - sequence)]
            follower.second, follower.sequence = self.second, self.ring.sequence
        if follower.second == self.second:
            self._go_live(follower)
        if frames or past:
            self._post([(follower.outflow, together([*frames, *past]))], 0)

    def _past(self, follower: Follower) -> list[Frame]:
        """A slice of it; the events behind the last second are in the last slice."""
        frames: list[Frame] = []
        size = 0
        while follower.second < self.second and size < SLICE_BYTES:
            frames += self._past_second(follower)
            size += len(frames[-1].data)
        if follower.second == self.second:
            frames += self._past_events(follower, self.second + 1)
        return frames

    def _past_lost(self, second: int, events: int) -> Frame:
        """All since a second that was sent."""
        return self._gap(self._place(), min(second + 1, self.second), self.second, "too-old", events)

    def _past_second(self, follower: Follower) -> list[Frame]:
        """The next second of a follower, with the events before it; a gap when it is not kept any more."""
        second = follower.second + 1
        text = self._past_text(second, follower.wanted)
        kept = self.kept_from()
        if text is None or second < kept:
            follower.second = min(max(kept - 1, second), self.second)
            return [
                self._gap(Place(follower.second, follower.sequence, self.epoch), second, follower.second, "too-old")
            ]
        frames = self._past_events(follower, second)
        follower.second = second
        return [*frames, cells_frame(Place(second, follower.sequence, self.epoch), text.data, text.cells)]

    def _past_text(self, second: int, wanted: Wanted) -> Text | None:
        try:
            return self._table.text(second, wanted)
        except Exception:
            self._fail(f"the cells of second {second}")
            return None

    def _past_events(self, follower: Follower, before: int) -> list[Frame]:
        """The events a follower has not, of the seconds before one; it has them now."""
        frames = []
        if missing := self.ring.missing(follower.sequence):  # it has been catching up for long
            follower.sequence += missing
            place = Place(follower.second, follower.sequence, self.epoch)
            frames.append(self._gap(place, follower.second, follower.second, "too-old", missing))
        every = [kept.frame for kept in self.ring.after(follower.sequence, follower.kinds)]
        found = [frame for frame in every if frame.first < before]
        if before > self.second:
            follower.sequence = self.ring.sequence
        elif found and (place_after := found[-1].place) is not None:
            follower.sequence = place_after.sequence
        return frames + found

    # ---- small things

    def _place(self) -> Place:
        return Place(self.second, self.ring.sequence, self.epoch)

    def _now(self) -> float:
        return self._store.now_ns() / SECOND_NS

    def _tell_all(self, frame: Frame) -> None:
        if self.live:
            self._post([(one.outflow, frame) for one in self.live], 0)

    def _fail(self, what: str) -> None:
        self.counts["errors"] += 1
        if self.counts["errors"] <= ERRORS_LOGGED:
            log.exception("%s could not be sent", what)


def frame_of(kept: Sequence[Kept], kinds: frozenset[str]) -> Frame | None:
    """The events of these kinds, as one frame; None without any."""
    frames = [one.frame for one in kept if one.kind in kinds]
    return together(frames) if frames else None

"""The stream on the wire: server-sent events, their ids, and the pieces that travel to clients.

    retry: 1000                       once, first

    id: 1700000005.42.9f86d081        SECOND.SEQUENCE.EPOCH
    event: cells
    data: {"time":1700000005,…}

    : alive                           a comment, now and then

An id says what its reader has: the cells of all seconds up to SECOND, the events up to number SEQUENCE, of the engine's
run EPOCH. So any id of a stream is a place to go on from, whatever the stream to come asks for.
Source: HTML Living Standard, section 9.2 "Server-sent events".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hms_ops.http.answer import plain

RETRY: Final = b"retry: 1000\n\n"
ALIVE: Final = b": alive\n\n"
ID: Final = re.compile(r"([0-9]{1,12})\.([0-9]{1,15})\.([0-9a-f]{8})\Z")

ENCODE: Final = msgspec.json.Encoder(enc_hook=plain).encode


@dataclass(frozen=True, slots=True)
class Place:
    """What a reader has: cells up to a second, events up to a number, of one run of an engine."""

    second: int
    sequence: int
    epoch: str

    @property
    def text(self) -> str:
        return f"{self.second}.{self.sequence}.{self.epoch}"


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for a client, and what is lost when they are dropped: so many cells and events, after which it is at
    `place`. None: a comment, which nobody misses. first: the second they begin with."""

    data: bytes
    place: Place | None = None
    first: int = 0
    cells: int = 0
    events: int = 0


def place_of(text: str) -> Place | None:
    """What an id says; None for what is no id of ours."""
    match = ID.match(text)
    return Place(int(match[1]), int(match[2]), match[3]) if match else None


def event_text(place: Place, event: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.text.encode(), event.encode(), data)


def cells_frame(place: Place, data: bytes, cells: int) -> Frame:
    return Frame(event_text(place, "cells", data), place, place.second, cells)


def gap_frame(
    place: Place, time: float, first: int, last: int, reason: str, *, cells_lost: int = 0, events_lost: int = 0
) -> Frame:
    """A `gap`: what is not sent of the seconds first to last. Its id is the place after it."""
    document: dict[str, Any] = {
        "time": time,
        "from": min(first, last),
        "to": last,
        "reason": reason,
        "cells_lost": cells_lost,
        "events_lost": events_lost,
    }
    return Frame(event_text(place, "gap", ENCODE(document)), place, first, cells_lost, events_lost)


def together(frames: Iterable[Frame]) -> Frame:
    """Frames that follow each other as one; at least one."""
    every = list(frames)
    cells, events = sum(one.cells for one in every), sum(one.events for one in every)
    return Frame(b"".join([one.data for one in every]), every[-1].place, every[0].first, cells, events)

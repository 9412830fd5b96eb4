"""Acknowledgements: somebody has said that an alert is theirs, so that nobody else is woken for it.

One belongs to one episode of one alert and ends with it, when its time is up, or when it is taken back. Values and
commands only; what follows from them is the dispatcher's and `escalation.py`'s.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ack:
    """The command. tags: those the alert must have, among others; None is all that fire under the name. until: Unix
    seconds when it ends if the alert still fires, inf for the policy's `ack_timeout` alone."""

    name: str
    who: str
    comment: str = ""
    at: float = 0.0
    tags: Mapping[str, str] | None = None
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class Unack:
    """The command to take it back."""

    name: str
    who: str
    comment: str = ""
    at: float = 0.0
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Acked:
    """An acknowledgement in force."""

    who: str
    comment: str
    at: float
    until: float = math.inf


def acked_record(acked: Acked | None) -> list[Any] | None:
    return None if acked is None else [acked.who, acked.comment, acked.at, acked.until]


def acked_of_record(record: Any) -> Acked | None:
    if record is None:
        return None
    who, comment, at, until = record
    return Acked(str(who), str(comment), float(at), float(until))

"""Flapping: an alert that fires and resolves again and again, told once and then left alone until it has calmed down.

After Nagios: of the last 21 outcomes it is looked at how many differ from the one before, the newest weighing 1.2, the
oldest 0.8. Above 50 % the alert flaps, below 25 % it no longer does. There is an outcome every 10 s, which differs when
the alert began or ceased to fire within them, and one more for each further time that it did: what comes and goes every
second flaps after five rounds, not after two minutes.

Pure: `Flaps` is a bit for each of the last 20 changes and the number of the newest 10-s step; kept by the dispatcher
with the alert, and gone 200 s after its last change.
"""

import math
from typing import Any, Final, NamedTuple

STEP_SECONDS: Final = 10
CHANGES: Final = 20  # between 21 outcomes
BEGINS_ABOVE: Final = 0.50
ENDS_BELOW: Final = 0.25
WEIGHTS: Final = tuple(1.2 - 0.4 * age / (CHANGES - 1) for age in range(CHANGES))  # by age, the newest first
_ALL: Final = (1 << CHANGES) - 1


class Flaps(NamedTuple):
    """changes: bit n is set when the outcome of n steps before `step` differed. step: Unix seconds // 10."""

    changes: int = 0
    step: int = 0
    is_flapping: bool = False


CALM: Final = Flaps()


def aged(flaps: Flaps, step: int) -> Flaps:
    """The same, seen from a later step; a clock that was set back changes nothing."""
    passed = max(0, step - flaps.step)
    changes = (flaps.changes << passed) & _ALL if passed < CHANGES else 0
    return Flaps(changes, max(step, flaps.step), flaps.is_flapping)


def changed(flaps: Flaps, now: float) -> Flaps:
    """After an alert began or ceased to fire."""
    older = aged(flaps, int(now // STEP_SECONDS))
    is_further = older.changes & 1
    return older._replace(changes=(older.changes << is_further | 1) & _ALL)


def share(flaps: Flaps) -> float:
    """How much it flaps, 0 … 1."""
    if flaps.changes <= 1:
        return flaps.changes * WEIGHTS[0] / CHANGES  # by far the most
    return sum(WEIGHTS[age] for age in range(CHANGES) if flaps.changes >> age & 1) / CHANGES


def is_beginning(flaps: Flaps) -> bool:
    return not flaps.is_flapping and share(flaps) > BEGINS_ABOVE


def has_ended(flaps: Flaps, now: float) -> bool:
    return share(aged(flaps, int(now // STEP_SECONDS))) < ENDS_BELOW


def ends_at(flaps: Flaps) -> float:
    """When it will have calmed down if nothing more changes, in Unix seconds."""
    for passed in range(1, CHANGES + 1):
        if share(aged(flaps, flaps.step + passed)) < ENDS_BELOW:
            return float((flaps.step + passed) * STEP_SECONDS)
    return math.inf  # cannot be: after 20 steps nothing is left


def forgotten_at(flaps: Flaps) -> float:
    """When nothing of it is left."""
    return float((flaps.step + CHANGES) * STEP_SECONDS) if flaps.changes else 0.0


def flaps_record(flaps: Flaps) -> list[Any]:
    return list(flaps)


def flaps_of_record(record: Any) -> Flaps:
    changes, step, is_flapping = record
    return Flaps(int(changes) & _ALL, int(step), bool(is_flapping))

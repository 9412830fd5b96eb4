"""The kinds of a metric, as the small integers that the native core, the kernels and the files share.

Numbers, not an enum: they are compared in native loops and stored on disk, so they never change.
Semantics of each kind: DESIGN, the table "Kinds", repeated in docs/metrics.md.
"""

from typing import Final

UNKNOWN: Final = 0
COUNTER: Final = 1
GAUGE: Final = 2
TIMER: Final = 3
HISTOGRAM: Final = 4
DISTRIBUTION: Final = 5
SET: Final = 6

NAMES: Final[tuple[str, ...]] = ("unknown", "counter", "gauge", "timer", "histogram", "distribution", "set")
WITH_SKETCH: Final = (TIMER, HISTOGRAM, DISTRIBUTION)  # those whose percentiles are kept
NUMBERS: Final[dict[str, int]] = {name: number for number, name in enumerate(NAMES) if number}


def kind_number(name: str) -> int:
    """The number of a kind's name; ValueError lists the names there are."""
    try:
        return NUMBERS[name]
    except KeyError:
        raise ValueError(f"kind {name!r} is none of {', '.join(NUMBERS)}") from None

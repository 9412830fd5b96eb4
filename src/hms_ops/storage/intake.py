"""Rows that come in from a file: checked one by one, counted by what is wrong with them, gathered into batches.

    csvrows, openmetrics ──add(line, place, …)──► Intake ──take()──► batches ──► exchange.Importer

A row that is wrong costs itself and nothing else: it is counted under its reason (`bad`), and the first ERRORS_KEPT are
told with their line. Names and tags are held to what the decoders let in; `__overflow__` may come back from an export.

Reasons: fields, quote, utf8, name_empty, name_too_long, control_byte, tag, tag_reserved, too_many_tags, tags_too_long,
kind, step, number, time, too_new (its step has not ended, or is still on its way to disk), empty (count not above 0),
order (not min ≤ last ≤ max, or a negative m2), duplicate; of OpenMetrics also syntax, family, value, incomplete.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage import merge
from hms_ops.storage.tier import TIERS

ERRORS_KEPT: Final = 20
NAME_BYTES_MAX: Final = 200
TAGS_MAX: Final = 32
TAGS_BYTES_MAX: Final = 4096
OVERFLOW_TAG: Final = ("__overflow__", "true")
FIELDS: Final = ("count", "sum", "m2", "min", "max", "last")
TIER_NUMBERS: Final = {tier.name: number for number, tier in enumerate(TIERS)}


class RowRefused(ValueError):
    """One row, or line, cannot be taken; `reason` is what it is counted under."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Batch:
    """k rows of one tier. steps int64[k], places int64[k] among `series`, columns float64[6, k]; no row twice."""

    tier: int
    series: list[SeriesInfo]
    steps: merge.Integers
    places: merge.Integers
    columns: NDArray[np.float64]


class Tally:
    """What became of a file's rows. `bad` counts by reason; `errors` are the first ones, with their lines."""

    def __init__(self) -> None:
        self.rows = self.written = self.present = 0
        self.bad: Counter[str] = Counter()
        self.errors: list[str] = []

    def refuse(self, line: int, reason: str, text: str) -> None:
        """One row, by its line."""
        self.count(1, reason, f"line {line}: {text}")

    def count(self, rows: int, reason: str, text: str) -> None:
        if rows:
            self.bad[reason] += rows
            if len(self.errors) < ERRORS_KEPT:
                self.errors.append(text)

    def document(self) -> dict[str, object]:
        """rows = written + present (there already) + the sum of bad."""
        return {
            "rows": self.rows,
            "written": self.written,
            "present": self.present,
            "bad": dict(self.bad),
            "errors": self.errors,
        }


class Intake:
    """The rows read so far. settled_ends: by tier; a row's step must have ended by then, Unix seconds."""

    def __init__(self, tally: Tally, settled_ends: Sequence[int]) -> None:
        self.tally = tally
        self._settled_ends = np.array(settled_ends, np.int64)
        self._known: dict[tuple[str, tuple[tuple[str, str], ...], int], int] = {}
        self._series: list[SeriesInfo] = []
        self._begin()

    def _begin(self) -> None:
        self._lines, self._tiers, self._places, self._steps = (array("q") for _ in range(4))
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._lines)

    def place(self, name: str, tags: Mapping[str, str], kind: int) -> int:
        """The number of a series among those met. RowRefused when no sample could have its name or tags."""
        key = (name, tuple(sorted(tags.items())), kind)
        place = self._known.get(key)
        if place is None:
            check_series(name, tags)
            place = self._known[key] = len(self._series)
            self._series.append(SeriesInfo(name, dict(key[1]), kind))
        return place

    def add(self, line: int, place: int, tier: int, step: int, values: tuple[float, ...]) -> None:
        """One row, its six values in the order of FIELDS; whether they are sound is looked at in `take`."""
        self._lines.append(line)
        self._places.append(place)
        self._tiers.append(tier)
        self._steps.append(step)
        self._values.extend(values)

    def take(self) -> list[Batch]:
        """The sound rows since the last call, a batch for each tier, the coarsest first."""
        lines, tiers, places, steps = (
            np.array(column, np.int64) for column in (self._lines, self._tiers, self._places, self._steps)
        )
        columns = np.array(self._values).reshape(len(lines), len(FIELDS)).T
        self._begin()
        self.tally.rows += len(lines)
        is_sound = self._checked(lines, tiers, places, steps, columns)
        found = []
        for tier in sorted(set(tiers[is_sound].tolist()), reverse=True):
            index = np.flatnonzero(is_sound & (tiers == tier))
            found.append(Batch(tier, self._series, steps[index], places[index], columns[:, index]))
        return found

    def _checked(
        self,
        lines: merge.Integers,
        tiers: merge.Integers,
        places: merge.Integers,
        steps: merge.Integers,
        columns: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Which rows are sound; the others are counted under the first reason that holds."""
        seconds = np.array([tier.step_seconds for tier in TIERS])[tiers]
        count, _, m2, low, high, last = columns
        is_ordered = (low <= last) & (last <= high) & (m2 >= 0)
        order = np.lexsort((np.arange(len(steps)), steps, places, tiers))
        same = np.zeros(len(steps), bool)
        keys = np.stack([tiers, places, steps])[:, order]
        same[order[1:]] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        is_sound = np.ones(len(lines), bool)
        for reason, text, is_bad in (
            ("time", "its time does not begin a step", (steps % seconds != 0) | (steps < 0)),
            ("too_new", "its step has not ended, or is not on disk yet", steps + seconds > self._settled_ends[tiers]),
            ("number", "a number is not finite", ~np.isfinite(columns).all(axis=0)),
            ("empty", "its count is not above 0", ~(count > 0)),
            ("order", "its values are not min ≤ last ≤ max, or its m2 is negative", ~is_ordered),
            ("duplicate", "the same series and step stand in an earlier line", same),
        ):
            for line in lines[is_sound & is_bad].tolist():
                self.tally.refuse(line, reason, text)
            is_sound &= ~is_bad
        return is_sound


def check_series(name: str, tags: Mapping[str, str]) -> None:
    """RowRefused unless the decoders would let such a series in."""
    size = len(name.encode())
    if not size:
        raise RowRefused("name_empty", "it has no name")
    if size > NAME_BYTES_MAX:
        raise RowRefused("name_too_long", f"its name has {size} bytes, {NAME_BYTES_MAX} are allowed")
    if len(tags) > TAGS_MAX:
        raise RowRefused("too_many_tags", f"it has {len(tags)} tags, {TAGS_MAX} are allowed")
    if sum(len(key.encode()) + len(value.encode()) + 2 for key, value in tags.items()) > TAGS_BYTES_MAX:
        raise RowRefused("tags_too_long", f"its tags have more than {TAGS_BYTES_MAX} bytes")
    if any(map(has_control, (name, *tags, *tags.values()))):
        raise RowRefused("control_byte", "its name or a tag holds a control character")
    for item in tags.items():
        if not item[0]:
            raise RowRefused("tag", "a tag has no key")
        if item[0].startswith("__") and item != OVERFLOW_TAG:
            raise RowRefused("tag_reserved", f"the tag {item[0][:50]!r} begins with __")


def has_control(text: str) -> bool:
    return any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def read_kind(text: str) -> int:
    """RowRefused for what is no kind, and for sets, which have no rows."""
    if text in kinds.NAMES and text != "set":
        return kinds.NAMES.index(text)
    raise RowRefused("kind", f"{text[:50]!r} is no kind that has rows")


def read_time(text: str) -> int:
    """Unix seconds, whole."""
    if text.isascii() and text.isdecimal() and len(text) <= 12:
        return int(text)
    raise RowRefused("time", f"{text[:50]!r} is no time in whole Unix seconds")


def read_number(text: str) -> float:
    """A decimal number as Python and JSON write it: no blanks, no NaN, no infinity."""
    try:
        if text.isascii() and not text.strip("0123456789.+-eE"):
            return float(text)
    except ValueError:
        pass
    raise RowRefused("number", f"{text[:50]!r} is no number")


def number_text(value: float) -> str:
    """The shortest text that reads back as the same float64; whole numbers without a fraction."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text

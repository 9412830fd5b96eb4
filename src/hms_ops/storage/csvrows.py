"""Rows as CSV: one line for each series and step, every column of a stored row, exactly.

    metric,tags,kind,step,time,count,sum,m2,min,max,last
    finance.api_ms,agency=irs;zone=a,timer,10s,1700000000,3,725.5,12.25,120,480.5,125

`tags` are `key=value` with `;` between, by key; `\\`, `;` and `=` have a `\\` before them. `time` is where the step
begins, Unix seconds; `m2` is Σ weight × (value − mean)². Numbers are the shortest decimals that read
back as the same float64. Fields are quoted after RFC 4180 where they hold a comma or a quote; no field holds a line
break, so a line is a row whatever its neighbours look like. Lines end in LF; CR LF is read as well.

Written by `lines`, read by `read_lines` into an Intake. The header must be there, for a file is told by it.
"""

import csv
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage import merge
from hms_ops.storage.intake import (
    FIELDS,
    TIER_NUMBERS,
    Intake,
    RowRefused,
    number_text,
    read_kind,
    read_number,
    read_time,
)
from hms_ops.storage.tier import TIERS

COLUMNS: Final = ("metric", "tags", "kind", "step", "time", *FIELDS)
HEADER: Final = ",".join(COLUMNS)

_ESCAPED: Final = str.maketrans({"\\": "\\\\", ";": "\\;", "=": "\\="})
_TAG: Final = re.compile(r"((?:[^\\;=]|\\.)*)=((?:[^\\;=]|\\.)*)(;|\Z)")
_ESCAPE: Final = re.compile(r"\\(.)")


def lines(info: SeriesInfo, tier: int, steps: merge.Integers, columns: NDArray[np.float64]) -> Iterator[str]:
    """The lines of a series' rows, steps int64[k], columns float64[6, k], each with its line feed."""
    name = f"{_field(info.name)},{_field(tags_text(info.tags))},{kinds.NAMES[info.kind]},{TIERS[tier].name},"
    for step, values in zip(steps.tolist(), columns.T.tolist(), strict=True):
        yield f"{name}{step},{','.join(map(number_text, values))}\n"


def read_line(text: str, number: int, intake: Intake, places: dict[tuple[str, str, str], int]) -> None:
    """One line into the intake. RowRefused when it is no row. places: what the intake answered for each name before."""
    fields = text.split(",") if '"' not in text else _unquoted(text)
    if len(fields) != len(COLUMNS):
        raise RowRefused("fields", f"it has {len(fields)} fields, {len(COLUMNS)} are wanted: {HEADER}")
    key = (fields[0], fields[1], fields[2])
    place = places.get(key)
    if place is None:
        place = places[key] = intake.place(fields[0], read_tags(fields[1]), read_kind(fields[2]))
    tier = TIER_NUMBERS.get(fields[3])
    if tier is None:
        raise RowRefused("step", f"{fields[3][:50]!r} is no step; there are {', '.join(TIER_NUMBERS)}")
    intake.add(number, place, tier, read_time(fields[4]), tuple(map(read_number, fields[5:])))


def tags_text(tags: dict[str, str]) -> str:
    return ";".join(f"{key.translate(_ESCAPED)}={value.translate(_ESCAPED)}" for key, value in sorted(tags.items()))


def read_tags(text: str) -> dict[str, str]:
    """RowRefused for what `tags_text` does not write."""
    tags: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _TAG.match(text, at)
        if match is None or (match[3] and match.end() == len(text)):
            raise RowRefused("tag", f"{text[:50]!r} is no list of key=value with ; between")
        key, value = (_ESCAPE.sub(r"\1", part) for part in match.group(1, 2))
        if key in tags:
            raise RowRefused("tag", f"the tag {key[:50]!r} stands there twice")
        tags[key] = value
        at = match.end()
    return tags


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text


def _unquoted(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise RowRefused("quote", f"its quotes do not match: {error}") from None

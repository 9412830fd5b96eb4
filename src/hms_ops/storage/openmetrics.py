"""Rows as OpenMetrics text 1.0: six families of gauges for each metric, one for each column of a row.

    # TYPE finance_api_ms_count gauge
    # HELP finance_api_ms_count count of each 10s, timer \\"finance.api_ms\\", unit \\"ms\\"
    finance_api_ms_count{agency="irs"} 3 1700000000
    …                                           (then _sum, _m2, _min, _max, _last)
    # EOF

What remote write sends has the same names, so that a file fed to Prometheus or VictoriaMetrics continues it. Names are
OpenMetrics': what is no letter, digit or `_` becomes `_`; the metric's own name, kind, step, unit and help stand in
HELP, as JSON texts. Two metrics of one spelling, and tags that have none, are written after Prometheus' scheme
"values": `U__` before, `__` for `_`, `_2e_` for a dot. A file has one tier, for the names do not tell them apart. The
times are where the steps begin, ascending within a series; all series of a family stand together.

Written by `families`, read by a Reader into an Intake: a metric's samples are held until its last family was read,
SAMPLES_MAX of each family, and a row needs all six.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

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

SAMPLES_MAX: Final = 4_000_000
END: Final = "# EOF"

SeriesRows = tuple[SeriesInfo, merge.Integers, NDArray[np.float64]]

_LEGAL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_UNESCAPES: Final = {"n": "\n", "\\": "\\", '"': '"'}
_BACKSLASH: Final = re.compile(r"\\(.)", re.DOTALL)
_JSON: Final = r'("(?:[^"\\]|\\.)*")'
_ABOUT: Final = re.compile(rf"(\w+) of each (\w+), (\w+) {_JSON}(?:, unit {_JSON})?(?:, help {_JSON})?\Z")
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+) ([^ ]+)\Z")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(,|\Z)')
_VALUE: Final = re.compile(r"__|_([0-9a-f]{1,6})_")


def families(
    name: str, tier: int, about: Mapping[str, Any], prefix: str, series: Callable[[], Iterable[SeriesRows]]
) -> Iterator[str]:
    """The text of one metric. about: {kind, unit, help} as the catalogue has it; prefix: `spelled(name)`, or its exact
    spelling where another metric has that; series: its rows, asked for once for each family."""
    described = f"of each {TIERS[tier].name}, {kinds.NAMES[about['kind']]} {_quoted(name)}"
    described += "".join(f", {key} {_quoted(about[key])}" for key in ("unit", "help") if about[key])
    for column, field in enumerate(FIELDS):
        family = f"{prefix}_{field}"
        yield f"# TYPE {family} gauge\n# HELP {family} {f'{field} {described}'.translate(_ESCAPES)}\n"
        for info, steps, columns in series():
            head = family + _labels(info.tags)
            pairs = zip(columns[column].tolist(), steps.tolist(), strict=True)
            yield "".join([f"{head} {number_text(value)} {step}\n" for value, step in pairs])


def spelled(name: str) -> str:
    """A metric's name as OpenMetrics can say it; `exactly` where that is taken."""
    text = _FOREIGN.sub("_", name)
    return text if _LEGAL.match(text) and not text.startswith("U__") else exactly(name)


def exactly(name: str) -> str:
    """Prometheus' escaping scheme "values", which `unspelled` reads back."""
    parts = ["U__"]
    for place, c in enumerate(name):
        is_legal = c.isascii() and (c.isalpha() or (c.isdigit() and place > 0))
        parts.append(c if is_legal else "__" if c == "_" else f"_{ord(c):x}_")
    return "".join(parts)


def unspelled(label: str) -> str:
    if not label.startswith("U__"):
        return label
    return _VALUE.sub(lambda match: "_" if match[1] is None else chr(min(int(match[1], 16), 0x10FFFF)), label[3:])


def _labels(tags: Mapping[str, str]) -> str:
    pairs = [
        f'{key if _LEGAL.match(key) and not key.startswith("U__") else exactly(key)}="{value.translate(_ESCAPES)}"'
        for key, value in sorted(tags.items())
    ]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unescaped(text: str) -> str:
    return _BACKSLASH.sub(lambda match: _UNESCAPES.get(match[1], match[0]), text)


def read_labels(text: str) -> dict[str, str]:
    """The tags between the braces. RowRefused for what is no list of labels."""
    tags: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None or (match[3] and match.end() == len(text)):
            raise RowRefused("syntax", f"{text[at : at + 50]!r} is no list of labels")
        key = unspelled(match[1])
        if key in tags:
            raise RowRefused("tag", f"the label {key[:50]!r} stands there twice")
        tags[key] = _unescaped(match[2])
        at = match.end()
    return tags


class _Family:
    """The samples of one column of one metric: places and steps of the series, and lines."""

    def __init__(self) -> None:
        self.lines, self.places, self.steps = array("q"), array("q"), array("q")
        self.values = array("d")

    def sorted(self) -> tuple[merge.Integers, merge.Integers, NDArray[np.float64]]:
        """(keys ascending, their lines, their values); of several of one key the first."""
        keys = np.array(self.places, np.int64) << 40 | np.array(self.steps, np.int64)
        keys, first = np.unique(keys, return_index=True)
        return keys, np.array(self.lines, np.int64)[first], np.array(self.values)[first]


class Reader:
    """Reads a file line by line. described: (name, unit, help) of the metrics whose HELP has either."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._about: tuple[str, int, int] | None = None  # metric, tier and kind that is being gathered
        self._families: dict[str, _Family] = {}
        self._places: dict[str, int] = {}  # by what stands between the braces
        self._typed = self._current = self._field = ""
        self._is_ended = False
        self.described: list[tuple[str, str, str]] = []

    def read_line(self, text: str, number: int) -> None:
        """RowRefused when it cannot stand here."""
        if self._is_ended:
            raise RowRefused("syntax", f"nothing may follow {END}")
        if not text.startswith("#"):
            self._sample(text, number)
        elif text == END:
            self._is_ended = True
            self.end()
        else:
            self._comment(text)

    def end(self) -> None:
        """The file, or a metric, has ended: what was gathered becomes rows."""
        if self._about is not None and self._families:
            self._gather(self._about[1])
        self._families, self._places, self._about = {}, {}, None

    def _comment(self, text: str) -> None:
        word, *rest = [*text.split(" ", 3)[1:], ""] if text.startswith("# ") else [""]
        rest = rest[:-1]
        if word == "TYPE" and len(rest) == 2:
            self._typed, self._current = (rest[0] if rest[1] == "gauge" else ""), ""
        elif word == "HELP" and len(rest) == 2 and rest[0] == self._typed:
            self._help(rest[0], _unescaped(rest[1]))
        else:
            raise RowRefused("syntax", f"{text[:50]!r} is not TYPE or HELP of a family, nor {END}")

    def _help(self, family: str, text: str) -> None:
        match = _ABOUT.match(text)
        if match is None or match[1] not in FIELDS or match[2] not in TIER_NUMBERS:
            raise RowRefused("family", f"the family {family[:50]!r} is none that an export has written: see its HELP")
        name, unit, words = (_json(part) for part in match.group(4, 5, 6))
        about = (name, TIER_NUMBERS[match[2]], read_kind(match[3]))
        if about != self._about:
            self.end()
            self._about = about
            if unit or words:
                self.described.append((name, unit, words))
        self._current, self._field = family, match[1]
        self._families.setdefault(match[1], _Family())

    def _sample(self, text: str, number: int) -> None:
        match = _SAMPLE.match(text)
        if match is None:
            raise RowRefused("syntax", f"{text[:50]!r} is no sample: name{{labels}} value time")
        if match[1] != self._current or self._about is None:
            raise RowRefused("family", f"{match[1][:50]!r} does not stand in a family that an export has written")
        family, labels = self._families[self._field], match[2] or ""
        if len(family.lines) >= SAMPLES_MAX:
            raise RowRefused("family", f"the family has more than {SAMPLES_MAX:,} samples; export fewer at once")
        place = self._places.get(labels)
        if place is None:
            place = self._intake.place(self._about[0], read_labels(labels), self._about[2])
            self._places[labels] = place
        value, step = read_number(match[3]), read_time(match[4])
        family.lines.append(number)
        family.places.append(place)
        family.steps.append(step)
        family.values.append(value)

    def _gather(self, tier: int) -> None:
        """The rows that have all six; the others are refused, once each."""
        columns = [self._families.get(field, _Family()).sorted() for field in FIELDS]
        every, counts = np.unique(np.concatenate([keys for keys, _, _ in columns]), return_counts=True)
        whole = every[counts == len(FIELDS)]
        lines = dict(zip(*(np.concatenate([part[n] for part in columns[::-1]]).tolist() for n in (0, 1)), strict=True))
        for key in every[counts < len(FIELDS)].tolist():
            self._intake.tally.rows += 1
            self._intake.tally.refuse(lines[key], "incomplete", "its row has not all six samples")
        values = np.stack([values[np.searchsorted(keys, whole)] for keys, _, values in columns], axis=1)
        for key, row in zip(whole.tolist(), values.tolist(), strict=True):
            self._intake.add(lines[key], key >> 40, tier, key & ((1 << 40) - 1), tuple(row))


def _json(text: str | None) -> str:
    try:
        return str(json.loads(text)) if text else ""
    except ValueError:
        raise RowRefused("family", f"{text!r:.60} is no text") from None

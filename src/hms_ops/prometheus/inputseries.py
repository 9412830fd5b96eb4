"""Samples as promtool's unit tests write them: `0+10x30 _x5 7 stale`.

    7          one sample              _       no sample              stale    the series ends here
    0+10x3     0 10 20 30              _x3     three times none       1x3      1 1 1 1
    9-2x2      9 7 5

A staleness marker is read as silence: this engine has none, and keeps a gauge's last value for five minutes.
Errors: ValueError quotes what cannot be read; Histograms for native histograms, which series here have not.
Limit: SAMPLES_MAX of one series.
"""

import math
import re
from typing import Any, Final, NamedTuple

from hms_ops.prometheus.promql import parsed
from hms_ops.prometheus.selection import OPERATORS, kind, matchers_of, name_of
from hms_ops.prometheus.vector import Unsupported

SAMPLES_MAX: Final = 1_000_000
STALE: Final = "stale"
NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
ONE: Final = re.compile(rf"[-+]?(?:{NUMBER}|[iI]nf|NaN)")
REPEATED: Final = re.compile(rf"([-+]?{NUMBER})(?:([-+]{NUMBER}))?x([0-9]+)")
NOTHING: Final = re.compile(r"_(?:x([0-9]+))?")


class Histograms(ValueError):
    """The samples are native histograms."""


class Values(NamedTuple):
    """The samples of a series, one an interval, None for none; the places of its staleness markers."""

    samples: list[float | None]
    stale: tuple[int, ...] = ()


def read_values(text: str) -> Values:
    """The samples of a text."""
    if "{{" in text:
        raise Histograms("native histograms are unsupported; a timer has percentiles here")
    samples: list[float | None] = []
    stale: list[int] = []
    for word in text.split():
        if word == STALE:
            stale.append(len(samples))
        samples += read_word(word)
        if len(samples) > SAMPLES_MAX:
            raise ValueError(f"a series has more than {SAMPLES_MAX:,} samples")
    return Values(samples, tuple(stale))


def read_word(word: str) -> list[float | None]:
    if word == STALE:
        return [None]
    if ONE.fullmatch(word):
        value = float(word)
        if not math.isfinite(value):
            raise ValueError(f"{word} is no sample: values are finite")
        return [value]
    if (gap := NOTHING.fullmatch(word)) is not None:
        return [None] * bounded(gap[1] or "1")
    repeated = REPEATED.fullmatch(word)
    if repeated is None:
        raise ValueError(f"expected samples such as 7, 0+10x30, _ or stale, found {word!r}")
    first, step = float(repeated[1]), float(repeated[2] or 0)
    return [first + step * n for n in range(bounded(repeated[3]) + 1)]


def bounded(count: str) -> int:
    if len(count) > 9 or int(count) > SAMPLES_MAX:
        raise ValueError(f"x{count[:20]} makes more than {SAMPLES_MAX:,} samples")
    return int(count)


def read_series(text: str) -> tuple[str, dict[str, str]]:
    """Metric and labels of `metric{label="value"}`; the metric may be missing, then it is ""."""
    if text.strip() in ("", "{}"):
        return "", {}
    if text.lstrip().startswith("{") and "__name__" not in text:
        text = f"nameless{text}"  # the parser wants a matcher that is not empty; labels alone name no metric
        return "", read_series(text)[1]
    try:
        node: Any = parsed(text)
    except Unsupported as error:
        raise ValueError(str(error)) from None
    labels = matchers_of(node) if kind(node) == "VectorSelector" else ()
    if kind(node) != "VectorSelector" or any(match.op != OPERATORS["MatchOp.Equal"] for match in labels):
        raise ValueError(f'expected a series such as up{{job="web"}}, found {text!r}')
    return name_of(node), {match.tag: match.values[0] for match in labels if match.values[0]}

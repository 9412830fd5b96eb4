"""What one stream asks for: metrics pooled, metrics by series, each by name or by the beginning of names.

Values: two streams that ask for the same are equal, so that the hub gathers and encodes for both at once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ALL: Final = "*"
HIDDEN: Final = "__overflow__"  # what the store folds into it has no name of its own; who names it in full sees it
LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Names:
    """Metrics by name, and by beginnings, both sorted and each once."""

    exact: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def among(self, known: Sequence[str]) -> list[str]:
        """Those of the known names, which are sorted, that are meant; sorted."""
        found = {name for name in self.exact if is_among(name, known)}
        for prefix in self.prefixes:
            begin, end = bisect_left(known, prefix), bisect_left(known, prefix + LAST)
            found.update(name for name in known[begin:end] if not name.startswith(HIDDEN))
        return sorted(found)


@dataclass(frozen=True, slots=True)
class Wanted:
    """pooled: one cell a second of all series of each metric. by_series: a cell of each series."""

    pooled: Names
    by_series: Names


def wanted_of(metrics: Iterable[str], series: Iterable[str]) -> Wanted:
    """From the parameters `metric` and `series` as they are given; neither asks for all metrics pooled."""
    pooled, by_series = names_of(metrics), names_of(series)
    if pooled == by_series == Names():
        pooled = Names(prefixes=("",))
    return Wanted(pooled, by_series)


def names_of(patterns: Iterable[str]) -> Names:
    """A trailing `*` takes all that begin so."""
    found = set(patterns)
    prefixes = shortest({pattern[:-1] for pattern in found if pattern.endswith(ALL)})
    return Names(tuple(sorted(name for name in found if not name.endswith(ALL))), prefixes)


def shortest(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Without those that another one covers, sorted."""
    kept: list[str] = []
    for prefix in sorted(prefixes):
        if not (kept and prefix.startswith(kept[-1])):
            kept.append(prefix)
    return tuple(kept)


def is_among(name: str, known: Sequence[str]) -> bool:
    at = bisect_left(known, name)
    return at < len(known) and known[at] == name

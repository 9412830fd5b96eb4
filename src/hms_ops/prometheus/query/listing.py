"""What there is, for who writes queries: names of labels, their values, series, and what each metric is.

All that memory and disk know, whatever span of time is asked for. `le` and the name are labels like any others.
A listing ends at its limit, and says so in `warnings`; one of more than LISTED_MAX is refused. Errors: Refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final

from hms_ops import kinds
from hms_ops.alert.plan import UnitLookup
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.choosing import Choice, Everything, choice_of
from hms_ops.prometheus.query.instant import key_of
from hms_ops.prometheus.query.names import BUCKET, RANKS, TOTAL, VALUE, Family, Names
from hms_ops.prometheus.query.parsing import selector_of
from hms_ops.prometheus.selection import NAME
from hms_ops.remote.encode import bound_text, bounds_of
from hms_ops.remote.labels import LE

TRUNCATED: Final = "results truncated due to limit"

EVERYTHING: Final = Choice("", (), (), ())
WORDS: Final[Mapping[str, str]] = {
    "count": "samples in each row",
    "sum": "sum of the samples in each row",
    "min": "least sample of each row",
    "max": "greatest sample of each row",
    "last": "last sample of each row",
    BUCKET: "samples up to `le` in each row",
    TOTAL: "the counter itself, for rate and increase",
    **{field: f"percentile {100 * rank:g} of each row" for field, rank in RANKS.items()},
}


@dataclass(frozen=True, slots=True)
class Directory:
    """One look at everything that has a name. help: what people said of a metric, "" for nothing."""

    everything: Everything
    names: Names
    unit: UnitLookup
    help: Callable[[str], str]
    budget: Budget

    def label_names(self, matches: Sequence[str]) -> list[str]:
        found: set[str] = set()
        for choice in choices_of(matches):
            for families in by_metric(self._families(choice)).values():
                has_rows = False
                for _, labels in choice.series(families[0], self.everything):
                    found.update(labels)
                    has_rows = True
                self.budget.check_time()
                if has_rows:
                    found.update((NAME, LE) if any(family.field == BUCKET for family in families) else (NAME,))
        return sorted(found)

    def label_values(self, label: str, matches: Sequence[str], limit: int) -> list[str]:
        """At most `limit` are of interest; 0 for all."""
        if label == NAME and not matches:
            return self._names(limit)
        found: set[str] = set()
        for choice in choices_of(matches):
            for families in by_metric(self._families(choice)).values():
                for value in self._values(label, choice, families):
                    found.add(value)
                    if self.budget.is_full(len(found), limit):
                        return sorted(found)
                self.budget.check_time()
        return sorted(found)

    def _names(self, limit: int) -> list[str]:
        """The first of all names, one more than the limit where there are more."""
        names = self.names.families
        if self.budget.is_full(len(names), limit):
            return nsmallest(limit + 1, names)
        return sorted(names)

    def _families(self, choice: Choice) -> list[Family]:
        found = choice.families(self.names)
        self.budget.check_time()
        return found

    def _values(self, label: str, choice: Choice, families: Sequence[Family]) -> Iterable[str]:
        if label == LE:
            return (bound for one in families if one.field == BUCKET for bound in self._bounds(choice, one))
        if label == NAME:
            return (one.name for one in families if next(choice.series(one, self.everything), None) is not None)
        return (labels[label] for _, labels in choice.series(families[0], self.everything) if label in labels)

    def _bounds(self, choice: Choice, family: Family) -> list[str]:
        if next(choice.series(family, self.everything), None) is None:
            return []
        bounds = bounds_of(family.metric, self.unit(family.metric))
        return [text for text in (*map(bound_text, bounds), "+Inf") if choice.has_bound(text)]

    def series(self, matches: Sequence[str], limit: int) -> list[dict[str, str]]:
        """The labels of the series that are chosen, each once; one more than the limit where there are more."""
        found: dict[Any, dict[str, str]] = {}
        for labels in self._series(choices_of(matches)):
            found.setdefault(key_of(labels), labels)
            if self.budget.is_full(len(found), limit) or 0 < limit < len(found):
                break
        return [found[key] for key in sorted(found)]

    def _series(self, choices: Iterable[Choice]) -> Iterator[dict[str, str]]:
        for choice in choices:
            for family in self._families(choice):
                bounds = [{LE: text} for text in self._bounds(choice, family)] if family.field == BUCKET else [{}]
                for _, labels in choice.series(family, self.everything):
                    yield from ({NAME: family.name, **labels, **bound} for bound in bounds)

    def metadata(self, metric: str, limit: int) -> dict[str, list[dict[str, str]]]:
        """What each name is; of a metric without its name because of others, with those it has."""
        families = self.names.families
        chosen = [metric] if metric else self._names(limit)[: limit or None]
        hidden: dict[str, list[Family]] = {}
        for family in self.names.hidden:
            hidden.setdefault(family.name, []).append(family)
        return {
            name: [
                {
                    "type": type_of(families[name]),
                    "help": self._help(families[name], hidden),
                    "unit": self._unit(families[name]),
                }
            ]
            for name in chosen
            if name in families
        }

    def _unit(self, family: Family) -> str:
        return "" if family.field in ("count", BUCKET) else self.unit(family.metric) or ""

    def _help(self, family: Family, hidden: Mapping[str, list[Family]]) -> str:
        """What people said of it, what it is here, and whose name it might be taken for."""
        unit, said = self.unit(family.metric) or "", self.help(family.metric)
        told = f"{said} " if said else ""
        told += f"{family.metric}{f' in {unit}' if unit else ''}: {word_of(family)}."
        for other in hidden.get(family.name, ()):
            told += f" The {other.field} of {other.metric} has no name of its own, since this one has it."
        return told


def choices_of(matches: Sequence[str]) -> list[Choice]:
    return [choice_of(selector_of(text)) for text in matches] or [EVERYTHING]


def by_metric(families: Iterable[Family]) -> dict[str, list[Family]]:
    """The families of each metric, the one with buckets first: `le` is asked of that one only."""
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.metric, []).append(family)
    return {metric: sorted(each, key=lambda one: one.field != BUCKET) for metric, each in found.items()}


def type_of(family: Family) -> str:
    return "counter" if family.is_added else "gauge"


def word_of(family: Family) -> str:
    if family.field != VALUE:
        return WORDS[family.field]
    if family.kind == kinds.COUNTER:
        return "a counter; by itself increments per second"
    return "mean of each row" if family.kind in kinds.WITH_SKETCH else "last sample of each row"

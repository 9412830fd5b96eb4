"""Selectors: which names and which series one of PromQL's chooses, as labels outside.

    {__name__=~"finance_.*", agency!=""}   ──►   families of the table, and of each the series whose labels match

A label that a series has not is empty. Patterns are tag patterns (alert/patterns.py): whole values, and no slower for
being hostile. Errors: Refused(BAD_DATA) for a pattern that is none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.patterns import matcher
from hms_ops.past import Past
from hms_ops.prometheus.query.names import BUCKET, Family, Names
from hms_ops.prometheus.query.refused import BAD_DATA, Refused
from hms_ops.prometheus.selection import NAME, OPERATORS
from hms_ops.remote.labels import LE, outer_labels
from hms_ops.roster import Known

Labels = Mapping[str, str]
Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """One selector: the tests of the metric's name, those of labels, and those of `le`, which no tag is."""

    exact: str
    names: Sequence[Test]
    labels: Sequence[tuple[str, Test]]
    bounds: Sequence[Test]

    def families(self, names: Names) -> list[Family]:
        if self.exact:
            found = names.named(self.exact)
            return [found] if found is not None and self.has_name(found.name, self.exact) else []
        return [family for name, family in names.families.items() if self.has_name(name)]

    def has_name(self, *names: str) -> bool:
        return any(all(test(name) for test in self.names) for name in names)

    def accepts(self, labels: Labels) -> bool:
        return all(test(labels.get(name, "")) for name, test in self.labels)

    def has_bound(self, bound: str) -> bool:
        return all(test(bound) for test in self.bounds)

    def series(self, family: Family, everything: "Everything") -> Iterator[tuple[Known, Labels]]:
        """The family's series that match, with their labels but the name and `le`."""
        if family.field != BUCKET and not self.has_bound(""):
            return
        for known, labels in everything.of(family.metric):
            if self.accepts(labels):
                yield known, labels


class Everything:
    """The series of each metric with their labels, looked up once for all of its names; one for each request."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._found: dict[str, list[tuple[Known, Labels]]] = {}

    def of(self, metric: str) -> list[tuple[Known, Labels]]:
        found = self._found.get(metric)
        if found is None:
            found = [(known, outer_labels(known.info.tags, {})) for known in self._past.known(metric)]
            self._found[metric] = found
        return found


def choice_of(selector: Any) -> Choice:
    """The choice of the parser's VectorSelector."""
    named: list[tuple[str, str]] = [("=", str(selector.name))] if selector.name else []
    labels, bounds = [], []
    for match in selector.matchers.matchers:
        operator = OPERATORS[str(match.op)]
        if match.name == NAME:
            named.append((operator, match.value))
        elif match.name == LE:
            bounds.append(test_of(operator, match.value))
        else:
            labels.append((match.name, test_of(operator, match.value)))
    exact = next((value for operator, value in named if operator == "="), "")
    return Choice(exact, [test_of(*one) for one in named], labels, bounds)


def test_of(operator: str, value: str) -> Test:
    return TESTS[operator](value)


def _pattern(value: str) -> Test:
    try:
        return matcher(value)
    except ValueError as error:
        raise Refused(BAD_DATA, f'invalid parameter "query": the pattern "{value[:100]}" {error}') from None


def _no_pattern(value: str) -> Test:
    test = _pattern(value)
    return lambda text: not test(text)


TESTS: Final[Mapping[str, Callable[[str], Test]]] = {
    "=": lambda value: value.__eq__,
    "!=": lambda value: value.__ne__,
    "=~": _pattern,
    "!~": _no_pattern,
}

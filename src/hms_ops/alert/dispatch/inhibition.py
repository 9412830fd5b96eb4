"""Inhibition: while one alert fires, others that follow from it are not told.

    inhibitions:
      - inhibition: site-down
        source: {alertname: site.down}
        target: severity=~"page|ticket"
        equal: [site]                      # labels that both must have alike

An alert never inhibits itself, and one that is a source and a target of the same inhibition is not held back by others
of its kind, or they would silence each other. `Sources` remembers which sources fire, by the values of `equal`, so that
a target costs one look-up for each inhibition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.dispatch.matching import Matchers, read_match
from hms_ops.alert.keys import KeyProblem, Read, read_keys, read_name

EQUAL_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert of `sources` fires, those of `targets` with the same `equal` labels are held back."""

    name: str
    sources: Matchers
    targets: Matchers
    equal: tuple[str, ...] = ()
    source: str = ""

    def values_of(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(tag, "") for tag in self.equal)


class Sources:
    """The firing sources of all inhibitions: for each, by the values of its `equal` labels, the alerts' keys."""

    def __init__(self, inhibitions: Sequence[Inhibition] = ()) -> None:
        self._inhibitions = tuple(inhibitions)
        self._firing: list[dict[tuple[str, ...], set[str]]] = [{} for _ in self._inhibitions]

    def begin(self, key: str, labels: Mapping[str, str]) -> None:
        """An alert fires."""
        for inhibition, firing in zip(self._inhibitions, self._firing, strict=True):
            if inhibition.sources.accept(labels):
                firing.setdefault(inhibition.values_of(labels), set()).add(key)

    def end(self, key: str, labels: Mapping[str, str]) -> bool:
        """An alert fires no more; True when others may be free by it."""
        is_source = False
        for inhibition, firing in zip(self._inhibitions, self._firing, strict=True):
            if not inhibition.sources.accept(labels):
                continue
            values = inhibition.values_of(labels)
            left = firing.get(values, set())
            left.discard(key)
            if not left:
                firing.pop(values, None)
                is_source = True
        return is_source

    def inhibiting(self, labels: Mapping[str, str]) -> str:
        """The name of the first inhibition that holds an alert of these labels back; "" for none."""
        for inhibition, firing in zip(self._inhibitions, self._firing, strict=True):
            if firing and inhibition.values_of(labels) in firing and is_only_target(inhibition, labels):
                return inhibition.name
        return ""


def is_only_target(inhibition: Inhibition, labels: Mapping[str, str]) -> bool:
    return inhibition.targets.accept(labels) and not inhibition.sources.accept(labels)


def read_equal(value: Any) -> tuple[str, ...]:
    tags = [value] if isinstance(value, str) else value
    if not isinstance(tags, list) or len(tags) > EQUAL_MAX:
        raise ValueError(f"expected up to {EQUAL_MAX} tags such as [site], found {value!r}")
    return tuple(dict.fromkeys(map(read_name, tags)))


INHIBITION_READERS: Final[dict[str, Read]] = {
    "inhibition": read_name,
    "source": read_match,
    "target": read_match,
    "equal": read_equal,
}
_FIELDS: Final = {"inhibition": "name", "source": "sources", "target": "targets"}


def inhibition_from_keys(given: Mapping[str, Any], source: str) -> tuple[Inhibition | None, list[KeyProblem]]:
    """The inhibition that the keys describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, INHIBITION_READERS, required=("inhibition", "source", "target"))
    if problems:
        return None, problems
    return Inhibition(**{_FIELDS.get(key, key): value for key, value in values.items()}, source=source), []

"""What a PromQL expression is in the alert language, and how well: the values that the translation hands on.

Made by `promql.py`, `calls.py` and `aggregation.py`, read by `rulesfile.py` and the runner of tests. A PromQL vector
has an element for each set of labels that passed its filters; here that is a number for each group, and a guard:

    a / (b > 0) > 0.5      value  a / b        guard  a / b > 0.5 AND b > 0        group_by  ("*",)

Frozen values, no threads. Errors: Unsupported, gathered by node, never raised to a person.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from hms_ops.alert.language.tree import GROUP_BY_ALL, Arith, Compare, Condition, IsNull, Junction, Number

Grade: TypeAlias = Literal["exact", "approximate", "unsupported"]
GRADES: Final[tuple[Grade, ...]] = ("exact", "approximate", "unsupported")
NODE_CHARACTERS_MAX: Final = 120


class Note(NamedTuple):
    """Why a node of the PromQL expression is not said exactly. node: its text."""

    node: str
    grade: Grade
    reason: str

    @property
    def text(self) -> str:
        return f"{self.node}: {self.reason}" if self.node else self.reason


class Unsupported(ValueError):
    """One or several nodes that the language cannot say."""

    def __init__(self, *notes: Note) -> None:
        super().__init__("; ".join(note.text for note in notes))
        self.notes = notes


class Recorded(NamedTuple):
    """A recording rule, whose expression takes the place of its name. expression: the parser's tree."""

    expression: Any
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known around an expression. interval_seconds: how far apart a series' samples are. has_dots: metrics are
    called `a.b` here where Prometheus has `a_b`. counters: metrics that some expression reads as counters. recorded:
    the recording rules by name. fed: names that are series
    although they are recorded too, as in a test. labels: which labels the series of a metric have, None unless that is
    known, as in a test: only then can it be said what `without` and `ignoring` leave. is_exported: `rules export` wrote
    the expression."""

    interval_seconds: int = 60
    has_dots: bool = False
    counters: frozenset[str] = frozenset()
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    fed: frozenset[str] = frozenset()
    labels: Callable[[str], frozenset[str]] | None = None
    is_exported: bool = False

    def series_labels(self, metrics: Iterable[str]) -> frozenset[str] | None:
        """The labels of the series of all these metrics together."""
        if self.labels is None:
            return None
        return frozenset[str]().union(*map(self.labels, metrics))


@dataclass(frozen=True, slots=True)
class Vector:
    """value: of each group. guard: where there is an element; None: where the value is not NULL. group_by: None for a
    constant, () for one element without labels, ("*",) for one a series. labels: what the expression itself adds."""

    value: Arith
    guard: Condition | None = None
    group_by: tuple[str, ...] | None = GROUP_BY_ALL
    labels: tuple[tuple[str, str], ...] = ()

    def condition(self) -> Condition:
        """TRUE where the vector has an element."""
        if self.guard is not None:
            return self.guard
        if isinstance(self.value, Number):
            return Compare("=", self.value, self.value)
        return IsNull(self.value, negated=True)


def both(first: Condition | None, second: Condition | None) -> Condition | None:
    """Two guards as one."""
    if first is None or second is None:
        return second if first is None else first
    return Junction("AND", first, second)


def text_of(node: Any) -> str:
    """The text of a node of the parser's tree, on one line."""
    text = " ".join(str(node.prettify()).split())
    return text if len(text) <= NODE_CHARACTERS_MAX else text[: NODE_CHARACTERS_MAX - 1] + "…"


def unsupported(node: Any, reason: str) -> Unsupported:
    return Unsupported(Note(text_of(node), "unsupported", reason))

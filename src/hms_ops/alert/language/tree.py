"""The tree of the alert language: frozen values, equal when they mean the same text.

Built by `grammar.py` and `tags.py`, written back to text by `wording.py`, compiled by `plan.py`. `at` is the offset in
the text where a node begins, for error messages only; it takes no part in equality.

Three sorts of node: `Arith` has a number, `Condition` is TRUE, FALSE or NULL, `Tags` chooses series by their tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

GROUP_BY_ALL: Final = ("*",)  # GROUP BY *: one instance per series


def _at() -> int:
    """The field `at` of a node: not compared, not shown."""
    return field(default=0, compare=False, repr=False)


# ---- tags


@dataclass(frozen=True, slots=True)
class TagMatch:
    """`tag op value`; op is one of = != =~ !~ IN LIKE and "NOT IN". A tag a series has not is the empty text."""

    tag: str
    op: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TagNot:
    operand: "Tags"


@dataclass(frozen=True, slots=True)
class TagAnd:
    left: "Tags"
    right: "Tags"


@dataclass(frozen=True, slots=True)
class TagOr:
    left: "Tags"
    right: "Tags"


Tags: TypeAlias = TagMatch | TagNot | TagAnd | TagOr


# ---- numbers


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written; `unit` is its suffix or ""."""

    value: float
    unit: str = ""
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of a metric; without `window_seconds` the rule's default holds. Bare, its value is `last`."""

    metric: str
    matchers: tuple[TagMatch, ...] = ()
    window_seconds: float | None = None
    offset_seconds: float | None = None
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Option:
    """`name=value` of a call; a duration is a number of seconds."""

    name: str
    value: Number | str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over the samples of a window. The window and offset of a selector stand in the selector, wherever they
    were written; those below belong to calculations (which the grammar has and no back end evaluates yet)."""

    function: str
    series: "Arith"
    parameters: tuple[Number, ...] = ()
    options: tuple[Option, ...] = ()
    window_seconds: float | None = None
    offset_seconds: float | None = None
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Scalar:
    """A function over numbers: abs ln sqrt clamp coalesce."""

    function: str
    arguments: tuple["Arith", ...]
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Arith"
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`; op is one of + - * / %."""

    op: str
    left: "Arith"
    right: "Arith"
    at: int = _at()


Arith: TypeAlias = Number | Selector | Aggregate | Scalar | Negative | Binary


# ---- conditions


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; op is one of > >= < <= = != (== and <> read as the last two)."""

    op: str
    left: Arith
    right: Arith
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Between:
    """`left BETWEEN low AND high`, both ends included."""

    left: Arith
    low: Arith
    high: Arith
    negated: bool = False
    at: int = _at()


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Arith
    negated: bool = False
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Absent:
    """TRUE when no matching series had a sample in its window; never NULL, but in a rule soon after a start
    (alert/doubt.py)."""

    series: Selector
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Anomaly:
    series: Selector
    options: tuple[Option, ...] = ()
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Condition"
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Junction:
    """`left op right`; op is AND, OR or UNLESS. `a UNLESS b` is a, FALSE while b is TRUE: a NULL holds nothing back."""

    op: str
    left: "Condition"
    right: "Condition"
    at: int = _at()


Condition: TypeAlias = Compare | Between | IsNull | Absent | Anomaly | Not | Junction
CONDITIONS: Final = (Compare, Between, IsNull, Absent, Anomaly, Not, Junction)


# ---- whole texts


@dataclass(frozen=True, slots=True)
class Statement:
    """A rule. None and () mean that the clause is not written; the defaults are the rule's."""

    condition: Condition
    name: str | None = None
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    recover: Condition | None = None
    for_seconds: float | None = None
    keep_seconds: float | None = None
    every_seconds: float | None = None
    nodata: str | None = None
    severity: str | None = None
    policy: str | None = None
    notify: tuple[str, ...] = ()
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """What `engine.value()` and `/v1/query` take."""

    expression: Condition | Arith
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    text: str = field(default="", compare=False, repr=False)


def first_left(condition: Condition) -> Arith | None:
    """The left side of the first comparison in a condition: the value a page shows. None where nothing is compared."""
    if isinstance(condition, Compare | Between):
        return condition.left
    if isinstance(condition, IsNull):
        return condition.operand
    if isinstance(condition, Not):
        return first_left(condition.operand)
    if isinstance(condition, Junction):
        left = first_left(condition.left)
        return first_left(condition.right) if left is None else left
    return None


def children(node: Condition | Arith) -> tuple[Condition | Arith, ...]:
    """The parts a condition or a calculation is made of, from left to right."""
    match node:
        case Aggregate(series=inner) | Absent(series=inner) | Anomaly(series=inner):
            return (inner,)
        case Negative(operand=operand) | IsNull(operand=operand) | Not(operand=operand):
            return (operand,)
        case Scalar(arguments=arguments):
            return arguments
        case Between(left=left, low=low, high=high):
            return (left, low, high)
        case Binary(left=left, right=right) | Compare(left=left, right=right) | Junction(left=left, right=right):
            return (left, right)
    return ()


def valued(node: Condition | Arith) -> tuple[Condition | Arith, ...]:
    """The children that have a value of their own: not the selector that only chooses the series of a node."""
    chooses = isinstance(node, Absent | Anomaly) or (isinstance(node, Aggregate) and isinstance(node.series, Selector))
    return () if chooses else children(node)


def selectors(node: Condition | Arith) -> Iterator[Selector]:
    """Every series that a node reads, from left to right."""
    if isinstance(node, Selector):
        yield node
    for child in children(node):
        yield from selectors(child)

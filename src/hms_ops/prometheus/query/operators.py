"""Operators between two values: numbers with numbers, vectors with numbers, vectors with vectors one to one.

    a / b                    elements with the same labels but the name
    a / on (agency) b        with the same of these labels; `ignoring`, but these
    a > b, a > bool b        the left side's elements where it is so; 1 and 0
    a and b, a or b, a unless b

Errors: Refused, with the operator, where one side has several elements for one set of labels. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hms_ops.prometheus.query.instant import (
    Instant,
    Key,
    Labels,
    Scalar,
    Value,
    are_nameless,
    check_apart,
    key_of,
    merged,
    nameless,
    renamed,
    unique,
)
from hms_ops.prometheus.query.pointwise import CALCULATIONS, COMPARISONS
from hms_ops.prometheus.query.slots import Floats
from hms_ops.prometheus.selection import NAME

SETS: Final = ("and", "or", "unless")
MANY: Final = (
    'found duplicate series for the match group on the {side} hand-side of "{operator}"; many-to-many matching not '
    "allowed: matching labels must be unique on one side"
)


@dataclass(frozen=True, slots=True)
class Matching:
    """names: the labels of `on`, or of `ignoring`. Called with labels it is what these are matched by."""

    names: tuple[str, ...] = ()
    is_on: bool = False

    def __call__(self, labels: Labels) -> Key:
        if self.is_on:
            return tuple(sorted((name, labels[name]) for name in self.names if labels.get(name)))
        return key_of(labels, (NAME, *self.names))

    def labels(self, own: Labels, keeps_name: bool) -> dict[str, str]:
        """Those of a result, of the left side's."""
        kept = dict(own) if keeps_name else nameless(own)
        if self.is_on:
            return {name: value for name, value in kept.items() if name in self.names}
        return {name: value for name, value in kept.items() if name not in self.names}


def combined(operator: str, is_bool: bool, matching: Matching, left: Value, right: Value) -> Value:
    """The value of `left operator right`."""
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(_function(operator)(left.values, right.values).astype(float))
    if isinstance(left, Instant) and isinstance(right, Instant):
        if operator in SETS:
            return SET_OPERATORS[operator](matching, left, right)
        return _matched(operator, is_bool, matching, left, right)
    if isinstance(left, Instant) and isinstance(right, Scalar):
        return _with_number(operator, is_bool, left, left.values, right.values)
    assert isinstance(left, Scalar)  # the parser lets no text through
    assert isinstance(right, Instant)
    return _with_number(operator, is_bool, right, left.values, right.values)


def _function(operator: str) -> Callable[[Any, Any], Any]:
    return CALCULATIONS.get(operator) or COMPARISONS[operator]


def _with_number(operator: str, is_bool: bool, of: Instant, left: Floats, right: Floats) -> Instant:
    found = _function(operator)(left, right)
    if operator in CALCULATIONS or is_bool:
        return renamed(of, np.broadcast_to(found, of.values.shape).astype(float))
    return of.alike(of.values, of.there & found)


def _matched(operator: str, is_bool: bool, matching: Matching, left: Instant, right: Instant) -> Instant:
    """One to one. The right side has one element for each key wherever the left side has any, the left side one of
    those that are matched."""
    wanted = right.alike(right.values, right.there & left.there.any(axis=0))
    right = merged(wanted, matching, MANY.format(side="right", operator=operator))
    places = {key: rows[0] for key, rows in right.matched(matching).rows.items()}
    pairs = [(row, places[key]) for row, key in enumerate(left.matched(matching).keys) if key in places]
    one, other = left.rows([row for row, _ in pairs]), right.rows([row for _, row in pairs])
    keeps = operator in COMPARISONS and not is_bool
    found, there = _function(operator)(one.values, other.values), one.there & other.there
    made = one.alike(one.values if keeps else found.astype(float), there & found if keeps else there)
    check_apart(made, matching, MANY.format(side="left", operator=operator))
    if matching == Matching() and (keeps or are_nameless(one.labels)):
        return unique(made)
    return unique(Instant([matching.labels(own, keeps) for own in one.labels], made.values, made.there))


# ---- and, or, unless


def _covered(matching: Matching, left: Instant, right: Instant) -> Any:
    """bool[left's elements, times]: where the right side has an element for the same labels."""
    by_key: dict[Key, Any] = {}
    for key, there in zip(right.matched(matching).keys, right.there, strict=True):
        by_key[key] = by_key[key] | there if key in by_key else there
    none = np.zeros(left.there.shape[1], bool)
    rows = [by_key.get(key, none) for key in left.matched(matching).keys]
    return np.array(rows, bool).reshape(left.there.shape)


def _and(matching: Matching, left: Instant, right: Instant) -> Instant:
    return left.alike(left.values, left.there & _covered(matching, left, right))


def _unless(matching: Matching, left: Instant, right: Instant) -> Instant:
    return left.alike(left.values, left.there & ~_covered(matching, left, right))


def _or(matching: Matching, left: Instant, right: Instant) -> Instant:
    more = _unless(matching, right, left)
    more = more.rows(np.flatnonzero(more.there.any(axis=1)).tolist())
    if not more.labels:
        return unique(left)
    joined = Instant(
        [*left.labels, *more.labels],
        np.concatenate([left.values, more.values]),
        np.concatenate([left.there, more.there]),
    )
    return unique(joined)


SET_OPERATORS: Final = {"and": _and, "or": _or, "unless": _unless}

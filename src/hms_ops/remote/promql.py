"""PromQL as text: what is known of the other side, an expression with how well it came out, and how parts are joined.

Plain values and functions, used by lower.py, aggregates.py and export.py. Texts are never parsed back; `is_atom` only
looks at brackets, quotes and operators of what was made here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from hms_ops.alert.language.desugar import Objectives, none_known
from hms_ops.alert.plan import UnitLookup, no_units
from hms_ops.remote.labels import NAME, outer_metric
from hms_ops.remote.matchers import Alternative, Impossible, quoted

NO_KIND: Final = -1

Value: TypeAlias = str | float  # a vector's text, or a constant


@dataclass(frozen=True, slots=True)
class Lowered:
    """promql: the expression, "" when it is unsupported. false: of a condition, where it is FALSE. notes: why it is
    approximate, or unsupported."""

    promql: str
    false: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        return bool(self.promql)

    @property
    def grade(self) -> str:
        """`exact`, `approximate: …` or `unsupported: …`."""
        if not self.notes:
            return "exact"
        return f"{'approximate' if self.promql else 'unsupported'}: {'; '.join(self.notes)}"


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of the remote and of the metrics: step_seconds of its tier, names, kinds, described units, matchers
    for every selector (an engine's own label), for range queries the seconds each point covers, and the objectives of
    service levels."""

    step_seconds: int = 60
    keeps_dots: bool = False
    kind: Callable[[str], int] = lambda metric: NO_KIND
    unit: UnitLookup = no_units
    more: Alternative = ()
    over_seconds: int | None = None
    objective: Objectives = none_known


def selector_text(metric: str, labels: Alternative) -> str:
    is_plain = outer_metric(metric, keeps_dots=False) == metric
    matchers = labels if is_plain else (f"{NAME}={quoted(metric)}", *labels)
    return (metric if is_plain else "") + (f"{{{','.join(matchers)}}}" if matchers else "")


def inside(value: Value) -> str:
    """As an operand: a calculation in parentheses, a call or a constant as it is."""
    if isinstance(value, float):
        return text_of(value)
    return value if is_atom(value) else f"({value})"


def is_atom(text: str) -> bool:
    """A text that one pair of parentheses ends, with no operator outside."""
    depth = 0
    is_quoted = False
    for place, sign in enumerate(text):
        if sign == '"' and text[place - 1] != "\\":
            is_quoted = not is_quoted
        if is_quoted:
            continue
        depth += (sign in "([{") - (sign in ")]}")
        if (depth == 0 and sign in "+-*/%<>=!") or (depth == 0 and sign == " " and _is_operator(text[place:])):
            return False
    return True


def _is_operator(text: str) -> bool:
    return text.startswith((" or ", " and ", " unless "))


def text_of(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise Impossible("a constant that is no number")

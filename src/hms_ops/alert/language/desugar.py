"""Forms that stand for longer ones: trees in, trees out.

    ANOMALY(x, factor=2, window=10m)   avg(x[1s]) > 2 * avg(x[10m] OFFSET 1s)
    burn_rate(n, 1h)                   (1 - increase(n.good, 1h) / increase(n.total, 1h)) / (1 - objective)

    avg(x) / y                         avg(x[1m]) / y[1m]

The first is the score of the moving-mean detector without its memory of episodes: the second's mean against the mean of
the window before it, group by group. The last is what a rule means, and what a query over a range is asked instead, to
see what the rule does. Errors: ValueError with what is wrong; the compiler adds the column.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeAlias

from hms_ops.alert.language.tree import (
    Aggregate,
    Anomaly,
    Arith,
    Binary,
    Compare,
    Negative,
    Number,
    Option,
    Scalar,
    Selector,
)

Objectives: TypeAlias = Callable[[str], float | None]
"""The objective of a service level by its name, a share such as 0.999; None for an unknown one."""

ANOMALY_FACTOR: Final = 2.0
ANOMALY_WINDOW_SECONDS: Final = 600.0
_OPTIONS: Final = ("factor", "window")


def none_known(name: str) -> float | None:
    """Objectives of somebody who has none."""
    return None


def anomaly_condition(node: Anomaly) -> Compare:
    """Whether the last second is more than `factor` times the mean of the window before it."""
    series, at = node.series, node.at
    options = _numbers(node.options)
    factor = options.get("factor", ANOMALY_FACTOR)
    window = options.get("window", series.window_seconds or ANOMALY_WINDOW_SECONDS)
    if factor <= 0:
        raise ValueError(f"factor is {factor:g}; it must be more than 0")
    now = Selector(series.metric, series.matchers, 1.0, series.offset_seconds, series.at)
    before = Selector(series.metric, series.matchers, window, (series.offset_seconds or 0.0) + 1.0, series.at)
    mean = Aggregate("avg", before, at=at)
    return Compare(">", Aggregate("avg", now, at=at), Binary("*", Number(factor, at=at), mean, at), at)


def burn_rate(node: Aggregate, objectives: Objectives, names: Iterable[str] = ()) -> Arith:
    """How many times faster than its objective allows a service level loses its budget."""
    series, at = node.series, node.at
    if not isinstance(series, Selector):
        raise ValueError("burn_rate reads a service level by its name, as in burn_rate(finance.api, 1h)")
    objective = objectives(series.metric)
    if objective is None:
        near = difflib.get_close_matches(series.metric, list(names), n=1)
        hint = f"did you mean {near[0]}?" if near else "name one of `slos:`"
        raise ValueError(f"there is no objective {series.metric!r}; {hint}")
    if not 0 < objective < 1:
        raise ValueError(f"the objective of {series.metric} is {objective:g}; a share between 0 and 1 is needed")
    good, total = (
        Aggregate(
            "increase",
            Selector(f"{series.metric}.{what}", series.matchers, series.window_seconds, series.offset_seconds, at),
            at=at,
        )
        for what in ("good", "total")
    )
    lost = Binary("-", Number(1.0, at=at), Binary("/", good, total, at), at)
    return Binary("/", lost, Number(1.0 - objective, at=at), at)


def with_windows(node: Arith, seconds: float) -> Arith:
    """The same with all its windows written, `seconds` where none is; inside a calculation that is folded there are
    none."""
    match node:
        case Selector(window_seconds=None) | Aggregate(series=Scalar() | Negative() | Binary(), window_seconds=None):
            return replace(node, window_seconds=seconds)
        case Aggregate(series=Selector() as series):
            return replace(node, series=with_windows(series, seconds))
        case Scalar(arguments=arguments):
            return replace(node, arguments=tuple(with_windows(one, seconds) for one in arguments))
        case Negative(operand=operand):
            return replace(node, operand=with_windows(operand, seconds))
        case Binary(left=left, right=right):
            return replace(node, left=with_windows(left, seconds), right=with_windows(right, seconds))
    return node


def _numbers(options: Iterable[Option]) -> dict[str, float]:
    found: dict[str, float] = {}
    for option in options:
        if option.name not in _OPTIONS:
            raise ValueError(f"ANOMALY has no option `{option.name}`; there are {' and '.join(_OPTIONS)}")
        if not isinstance(option.value, Number):
            raise ValueError(f"the option `{option.name}` takes a number")
        found[option.name] = option.value.value
    return found

"""Conditions and calculations in plain words, for people who read a rule: `rules explain`.

    avg(finance.api_ms, 5m) > 200ms     the average of finance.api_ms over 5m is more than 200ms

One table for each sort of node. Texts only, pure; what the words promise is what plan.py compiles.
"""

from typing import Final

from hms_ops.alert.language.functions import percentile_rank
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.language.tree import (
    CONDITIONS,
    GROUP_BY_ALL,
    Absent,
    Aggregate,
    Anomaly,
    Arith,
    Between,
    Binary,
    Compare,
    Condition,
    IsNull,
    Junction,
    Negative,
    Not,
    Number,
    Option,
    Scalar,
    Selector,
    TagMatch,
    Tags,
)
from hms_ops.alert.language.wording import format, format_tags
from hms_ops.alert.plan import DEFAULT_WINDOW_SECONDS

_COMPARED: Final = {
    ">": "is more than",
    ">=": "is at least",
    "<": "is less than",
    "<=": "is at most",
    "=": "is",
    "!=": "is not",
}
# What a function says of `{x}` (its series) in `{d}` (its window); `{n}` is the number beside the metric.
_AGGREGATED: Final = {
    "avg": "the average of {x} over {d}",
    "min": "the least {x} in {d}",
    "max": "the greatest {x} in {d}",
    "sum": "the sum of {x} over {d}",
    "count": "the number of samples of {x} in {d}",
    "rate": "{x} a second over {d}",
    "increase": "how much {x} counted in {d}",
    "delta": "how much {x} changed over {d}",
    "stddev": "the standard deviation of {x} over {d}",
    "first": "the first {x} in {d}",
    "last": "the last {x}",
    "moving_mean": "the moving mean of {x} over {d}",
    "ewma": "the exponentially weighted mean of {x} over {d}",
    "zscore": "how many standard deviations {x} is off its mean of {d}",
    "changes": "how often {x} changed in {d}",
    "quantile": "the quantile {n} of {x} over {d}",
    "share_gt": "the share of {x} above {n} over {d}",
    "share_le": "the share of {x} at or below {n} over {d}",
    "burn_rate": "how many times faster than allowed {x} spent its error budget over {d}",
}
_CALCULATED: Final = {"+": "plus", "-": "minus", "*": "times", "/": "divided by", "%": "modulo"}
_JOINED: Final = {"AND": "and", "OR": "or", "UNLESS": "unless"}
_TAG_TESTS: Final = {"=": "is", "!=": "is not", "=~": "matches", "!~": "does not match", "LIKE": "is like"}


def phrase(node: Condition | Arith) -> str:
    """A node in words."""
    return condition_phrase(node) if isinstance(node, CONDITIONS) else number_phrase(node)


def condition_phrase(node: Condition) -> str:
    match node:
        case Junction(operator, left, right):
            return f"{_part(left, operator)}, {_JOINED[operator]} {_part(right, operator)}"
        case Not(operand):
            return f"it is not so that {condition_phrase(operand)}"
        case Compare(operator, left, right):
            return f"{number_phrase(left)} {_COMPARED[operator]} {number_phrase(right)}"
        case Between(left, low, high, negated):
            words = "is not from" if negated else "is from"
            return f"{number_phrase(left)} {words} {number_phrase(low)} to {number_phrase(high)}"
        case IsNull(operand, negated):
            return f"{number_phrase(operand)} is {'known' if negated else 'unknown'}"
        case Absent(series):
            return f"no sample of {_series(series)} came in {_window(series.window_seconds)}{_ago(series)}"
        case Anomaly(series, options):
            return f"{_series(series)} is strange{_settings(options)}"


def _part(node: Condition, operator: str) -> str:
    """One side of a junction; another junction in it is set apart."""
    words = condition_phrase(node)
    return f"({words})" if isinstance(node, Junction) and node.op != operator else words


def number_phrase(node: Arith) -> str:
    match node:
        case Number():
            return format(node)
        case Selector():
            return f"the last {_series(node)}{_ago(node)}"
        case Aggregate():
            return aggregate_phrase(node)
        case Scalar(function, arguments):
            return f"{function}({', '.join(map(number_phrase, arguments))})"
        case Negative(operand):
            return f"minus {_operand(operand)}"
        case Binary(operator, left, right):
            return f"{_operand(left)} {_CALCULATED[operator]} {_operand(right)}"


def _operand(node: Arith) -> str:
    words = number_phrase(node)
    return f"({words})" if isinstance(node, Binary | Negative) else words


def aggregate_phrase(node: Aggregate) -> str:
    rank = percentile_rank(node.function)
    pattern = _AGGREGATED[node.function] if rank is None else f"the percentile {node.function[1:]} of {{x}} over {{d}}"
    if isinstance(node.series, Selector):
        inside, window, ago = _series(node.series), node.series.window_seconds, _ago(node.series)
    else:
        inside, window, ago = f"({number_phrase(node.series)})", node.window_seconds, _offset(node.offset_seconds)
    number = format(node.parameters[0]) if node.parameters else ""
    return (
        pattern.replace("{d}", _window(window)).replace("{n}", number).replace("{x}", inside)
        + ago
        + _settings(node.options)
    )


def _series(series: Selector) -> str:
    """A metric with its matchers, without window and offset."""
    return format(Selector(series.metric, series.matchers))


def _window(seconds: float | None) -> str:
    return duration_text(DEFAULT_WINDOW_SECONDS if seconds is None else seconds)


def _ago(series: Selector) -> str:
    return _offset(series.offset_seconds)


def _offset(seconds: float | None) -> str:
    return f", {duration_text(seconds)} ago" if seconds else ""


def _settings(options: tuple[Option, ...]) -> str:
    told = (f"{one.name} {one.value if isinstance(one.value, str) else format(one.value)}" for one in options)
    return f" ({', '.join(told)})" if options else ""


# ---- tags


def tags_phrase(where: Tags) -> str:
    """A tag expression in words; one that is joined stays as it is written."""
    if isinstance(where, TagMatch) and where.op in _TAG_TESTS:
        return f"whose {where.tag} {_TAG_TESTS[where.op]} {where.values[0] or 'empty'}"
    if isinstance(where, TagMatch):
        return f"whose {where.tag} is {'one' if where.op == 'IN' else 'none'} of {', '.join(where.values)}"
    return f"with {format_tags(where)}"


def groups_phrase(group_by: tuple[str, ...]) -> str:
    if not group_by:
        return "one alert for all series together"
    return "one alert for each series" if group_by == GROUP_BY_ALL else f"one alert for each {' and '.join(group_by)}"

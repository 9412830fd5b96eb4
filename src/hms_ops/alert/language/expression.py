"""Reads conditions and calculations by recursive descent into the tree of `tree.py`; a part of `grammar.py`.

A parenthesis opens a calculation or a condition; only its content tells. So both are read by the same descent, and
`require_condition` and `require_arith` say afterwards whether what came is what may stand there.

    read_expression   OR over AND, UNLESS over NOT over predicates      a > 1 AND (b < 2 OR NOT ABSENT(c))
    read_arith        + - over * / % over factors                       -avg(x, 5m) * (100 - y)
    _atom             number, call, selector, parenthesis
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from hms_ops.alert.language import tokens
from hms_ops.alert.language.functions import NAMES, Function, function_named
from hms_ops.alert.language.tags import read_matchers
from hms_ops.alert.language.tokens import Cursor
from hms_ops.alert.language.tree import (
    CONDITIONS,
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
    selectors,
)
from hms_ops.alert.language.units import NUMBER_UNITS

METRIC_BYTES_MAX: Final = 200
COMPARISONS: Final = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=", "==": "=", "!=": "!=", "<>": "!="}
CONDITION_WORDS: Final = ("AND", "OR", "UNLESS", "BETWEEN", "IS", "NOT")

Expression: TypeAlias = Condition | Arith


# ---- conditions


def require_condition(cursor: Cursor, node: Expression) -> Condition:
    """The node, which must be a condition; called when the next token is the first after it."""
    if isinstance(node, CONDITIONS):
        return node
    raise cursor.unexpected("a comparison such as `> 200`", CONDITION_WORDS)


def require_arith(cursor: Cursor, node: Expression) -> Arith:
    """The node, which must be a number."""
    if isinstance(node, CONDITIONS):
        raise cursor.error("a number is expected here, this is a condition", node.at)
    return node


def read_expression(cursor: Cursor) -> Expression:
    left = _conjunction(cursor)
    while cursor.token.key == "OR":
        left = _joined(cursor, left, _conjunction)
    return left


def _conjunction(cursor: Cursor) -> Expression:
    left = _negation(cursor)
    while cursor.token.key in ("AND", "UNLESS"):
        left = _joined(cursor, left, _negation)
    return left


def _joined(cursor: Cursor, left: Expression, read_right: Callable[[Cursor], Expression]) -> Junction:
    left_condition = require_condition(cursor, left)
    cursor.count()
    sign = cursor.take()
    right = require_condition(cursor, read_right(cursor))
    return Junction(sign.key, left_condition, right, left_condition.at)


def _negation(cursor: Cursor) -> Expression:
    sign = cursor.accept("NOT")
    if sign is None:
        return _predicate(cursor)
    cursor.count()
    return Not(require_condition(cursor, _predicate(cursor)), sign.at)


def _predicate(cursor: Cursor) -> Expression:
    if cursor.token.key == "ABSENT":
        return _absent(cursor)
    if cursor.token.key == "ANOMALY":
        return _anomaly(cursor)
    left = read_arith(cursor)
    if cursor.token.key in COMPARISONS:
        return _compare(cursor, require_arith(cursor, left))
    if cursor.token.key == "IS":
        return _is_null(cursor, require_arith(cursor, left))
    if cursor.token.key in ("BETWEEN", "NOT"):
        return _between(cursor, require_arith(cursor, left))
    return left


def _compare(cursor: Cursor, left: Arith) -> Compare:
    cursor.count()
    sign = cursor.take()
    right = require_arith(cursor, read_arith(cursor))
    if cursor.token.key in COMPARISONS:
        raise cursor.error("comparisons do not chain; write `x BETWEEN low AND high`, or join them with AND")
    return Compare(COMPARISONS[sign.key], left, right, left.at)


def _is_null(cursor: Cursor, operand: Arith) -> IsNull:
    cursor.count()
    cursor.take()
    negated = cursor.accept("NOT") is not None
    cursor.expect("NULL")
    return IsNull(operand, negated, operand.at)


def _between(cursor: Cursor, left: Arith) -> Between:
    cursor.count()
    negated = cursor.accept("NOT") is not None
    cursor.expect("BETWEEN")
    low = require_arith(cursor, read_arith(cursor))
    cursor.expect("AND")
    return Between(left, low, require_arith(cursor, read_arith(cursor)), negated, left.at)


def _absent(cursor: Cursor) -> Absent:
    word = cursor.take()
    cursor.expect("(")
    series = _selector(cursor)
    cursor.expect(")")
    return Absent(series, word.at)


def _anomaly(cursor: Cursor) -> Anomaly:
    word = cursor.take()
    cursor.expect("(")
    series = _selector(cursor)
    options: list[Option] = []
    while cursor.accept(","):
        options.append(_option(cursor))
    cursor.expect(")")
    return Anomaly(series, tuple(options), word.at)


# ---- calculations


def read_arith(cursor: Cursor) -> Expression:
    left = _product(cursor)
    while cursor.token.key in ("+", "-"):
        left = _binary(cursor, left, _product)
    return left


def _product(cursor: Cursor) -> Expression:
    left = _factor(cursor)
    while cursor.token.key in ("*", "/", "%"):
        left = _binary(cursor, left, _factor)
    return left


def _binary(cursor: Cursor, left: Expression, read_right: Callable[[Cursor], Expression]) -> Binary:
    left_number = require_arith(cursor, left)
    cursor.count()
    sign = cursor.take()
    return Binary(sign.key, left_number, require_arith(cursor, read_right(cursor)), left_number.at)


def _factor(cursor: Cursor) -> Expression:
    sign = cursor.accept("-")
    if sign is None:
        return _atom(cursor)
    cursor.count()
    return Negative(require_arith(cursor, _atom(cursor)), sign.at)


def _atom(cursor: Cursor) -> Expression:
    cursor.count()
    token = cursor.token
    if token.kind == tokens.NUMBER:
        return _number(cursor)
    if token.key == "(":
        return _parenthesis(cursor)
    if token.kind == tokens.WORD and token.key not in tokens.KEYWORDS:
        word = cursor.take()
        if cursor.token.key == "(":
            return _call(cursor, word)
        return _selector_of(cursor, word.text, word.at)
    if token.key == "NULL":
        raise cursor.error("nothing equals NULL; write `x IS NULL`")
    return _selector(cursor)


def _parenthesis(cursor: Cursor) -> Expression:
    cursor.take()
    cursor.enter()
    inside = read_expression(cursor)
    if cursor.token.key != ")":
        raise cursor.unexpected("`)`", CONDITION_WORDS)
    cursor.take()
    cursor.leave()
    return inside


def _number(cursor: Cursor) -> Number:
    token = cursor.token
    value, unit = cursor.number()
    if unit not in NUMBER_UNITS:
        if tokens.duration_seconds(token.text) is not None:
            raise cursor.error(f"{tokens.shown(token.text)} is a duration; a number is expected here", token.at)
        known = " ".join(name for name in NUMBER_UNITS if name)
        raise cursor.error(f"{tokens.shown(unit)} is no unit; there are {known}", token.at)
    return Number(value, unit, token.at)


def _selector(cursor: Cursor) -> Selector:
    """A selector that is no call, bare or quoted."""
    token = cursor.token
    if token.kind == tokens.STRING or (token.kind == tokens.WORD and token.key not in tokens.KEYWORDS):
        cursor.take()
        metric = tokens.unquoted(token.text) if token.kind == tokens.STRING else token.text
        return _selector_of(cursor, metric, token.at)
    if token.key in tokens.KEYWORDS:
        raise cursor.error(f"a number, a metric or a function is missing before `{token.key}`")
    raise cursor.unexpected("a number, a metric or a function")


def _selector_of(cursor: Cursor, metric: str, at: int) -> Selector:
    """The matchers, window and offset behind a metric's name."""
    if not metric or len(metric.encode("utf-8", "replace")) > METRIC_BYTES_MAX:
        raise cursor.error(f"a metric's name has 1 to {METRIC_BYTES_MAX} bytes", at)
    matchers = read_matchers(cursor) if cursor.token.key == "{" else ()
    window = None
    if cursor.accept("["):
        start = cursor.token.at
        window = positive(cursor, cursor.duration("a window such as 5m"), start)
        cursor.expect("]")
    return Selector(metric, matchers, window, _offset(cursor), at)


def _offset(cursor: Cursor) -> float | None:
    return cursor.duration() if cursor.accept("OFFSET") else None


def positive(cursor: Cursor, seconds: float, at: int) -> float:
    if seconds > 0:
        return seconds
    raise cursor.error("a duration longer than nothing is expected here", at)


# ---- calls


def _call(cursor: Cursor, word: tokens.Token) -> Aggregate | Scalar:
    function = function_named(word.text.lower())
    if function is None:
        raise cursor.error(f"there is no function {tokens.shown(word.text)}{tokens.nearest(word.text, NAMES)}", word.at)
    cursor.take()
    cursor.enter()
    call = _aggregate(cursor, word, function) if function.is_aggregate else _scalar(cursor, word, function)
    cursor.leave()
    return call


def _scalar(cursor: Cursor, word: tokens.Token, function: Function) -> Scalar:
    arguments = [require_arith(cursor, read_arith(cursor))]
    while cursor.accept(","):
        arguments.append(require_arith(cursor, read_arith(cursor)))
    if cursor.token.key != ")":
        raise cursor.unexpected("`,` or `)`")
    least, most = function.arguments
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise cursor.error(f"{word.text.lower()} takes {wanted} numbers, here are {len(arguments)}", word.at)
    cursor.take()
    return Scalar(word.text.lower(), tuple(arguments), word.at)


def _aggregate(cursor: Cursor, word: tokens.Token, function: Function) -> Aggregate:
    series = require_arith(cursor, read_arith(cursor))
    window: float | None = None
    parameters: list[Number] = []
    options: list[Option] = []
    number = _signed(series) if function.arguments[1] and cursor.token.key == "," else None
    if number is not None:  # quantile(0.99, x) is quantile(x, 0.99)
        cursor.take()
        parameters.append(number)
        series = require_arith(cursor, read_arith(cursor))
    while cursor.accept(","):
        at = cursor.token.at
        if cursor.token.kind == tokens.WORD:
            options.append(_option(cursor))
        elif len(parameters) < function.arguments[1]:
            parameters.append(_parameter(cursor))
        elif window is None and not (isinstance(series, Selector) and series.window_seconds is not None):
            window = positive(cursor, cursor.duration("a window such as 5m"), at)
        else:
            raise cursor.error("the window is given a second time", at)
    if cursor.token.key != ")":
        raise cursor.unexpected("`,` or `)`", CONDITION_WORDS)
    if len(parameters) < function.arguments[0]:
        raise cursor.error(f"{word.text.lower()} takes a number beside the metric, as in {function.example}", word.at)
    if not isinstance(series, Selector) and next(selectors(series), None) is None:
        raise cursor.error(f"{word.text.lower()} reads a metric, here is none", series.at)
    cursor.take()
    at = cursor.token.at
    offset = _offset(cursor)
    if isinstance(series, Selector):
        if offset is not None and series.offset_seconds is not None:
            raise cursor.error("OFFSET is given a second time", at)
        series = _narrowed(series, window, offset)
        window = offset = None
    return Aggregate(word.text.lower(), series, tuple(parameters), tuple(options), window, offset, word.at)


def _parameter(cursor: Cursor) -> Number:
    """A number beside the metric, which may be less than 0."""
    sign = cursor.accept("-")
    number = _number(cursor)
    return number if sign is None else Number(-number.value, number.unit, sign.at)


def _signed(node: Arith) -> Number | None:
    """The number that a calculation is, None for any other."""
    if isinstance(node, Negative) and isinstance(node.operand, Number):
        return Number(-node.operand.value, node.operand.unit, node.at)
    return node if isinstance(node, Number) else None


def _narrowed(series: Selector, window: float | None, offset: float | None) -> Selector:
    return Selector(
        series.metric,
        series.matchers,
        series.window_seconds if window is None else window,
        series.offset_seconds if offset is None else offset,
        series.at,
    )


def _option(cursor: Cursor) -> Option:
    name = cursor.name("an option").lower()
    cursor.expect("=")
    token = cursor.token
    if token.kind == tokens.STRING:
        return Option(name, tokens.unquoted(cursor.take().text))
    if token.kind != tokens.NUMBER:
        raise cursor.unexpected("a number, a duration or a quoted text")
    _, suffix = tokens.split_number(token.text)
    if suffix in NUMBER_UNITS:
        return Option(name, _number(cursor))
    return Option(name, Number(cursor.duration(), "s", token.at))

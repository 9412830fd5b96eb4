"""The grammar of the alert language (ALERTS section 1), read by recursive descent into the tree of `tree.py`.

Text in, tree out: `parse_statement` (a rule as one sentence), `parse_condition`, `parse_recover`, `parse_where`,
`parse_group_by`, `parse_duration` (a rule in keys), `parse_query` (value() and /v1/query). Whatever the text, the answer
is a tree or an ExpressionError with line and column, never another exception, in time linear in its length.

A parenthesis opens a calculation or a condition; only its content tells. So both are read by the same descent, and
`_condition` and `_arith` say afterwards whether what came is what may stand there.

Normal forms, so that equal meanings give equal trees: `avg(x, 5m)` is `avg(x[5m])`, an OFFSET belongs to the selector,
`==` is `=`, `<>` is `!=`, and `RECOVER < 150` has the left side of the condition's first comparison.
"""

from typing import Final

from hms_ops.alert import tokens
from hms_ops.alert.functions import NAMES, Function, function_named
from hms_ops.alert.tags import read_matchers, read_tags
from hms_ops.alert.tokens import Cursor
from hms_ops.alert.tree import (
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
    Query,
    Scalar,
    Selector,
    Statement,
    Tags,
    first_left,
)
from hms_ops.alert.units import NUMBER_UNITS

METRIC_BYTES_MAX: Final = 200
COMPARISONS: Final = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=", "==": "=", "!=": "!=", "<>": "!="}
_COMPARISON_WORDS: Final = ("AND", "OR", "UNLESS", "BETWEEN", "IS", "NOT")


# ---- entry points


def parse_statement(text: str) -> Statement:
    """A rule as one sentence: `ALERT name WHEN condition FOR 3m NOTIFY sms:+1-555-0100`."""
    cursor = Cursor(text)
    name = cursor.name("an alert") if cursor.accept("ALERT") else None
    cursor.accept("WHEN")
    condition = _condition(cursor, _disjunction(cursor))
    clauses: dict[str, object] = {}
    while cursor.token.key in _CLAUSES:
        field, read = _CLAUSES[cursor.token.key]
        if field in clauses:
            raise cursor.error(f"{cursor.token.key} stands here a second time")
        cursor.take()
        clauses[field] = read(cursor, condition)
    cursor.finish(*_CLAUSES, *_COMPARISON_WORDS)
    return Statement(condition, name, text=text, **clauses)  # type: ignore[arg-type]


def parse_condition(text: str) -> Condition:
    """The `if` of a rule in keys."""
    cursor = Cursor(text)
    condition = _condition(cursor, _disjunction(cursor))
    cursor.finish(*_COMPARISON_WORDS)
    return condition


def parse_recover(text: str, condition: Condition) -> Condition:
    """The `recover` of a rule in keys: a condition, or `< 150` for the left side of the rule's own."""
    cursor = Cursor(text)
    recover = _recover(cursor, condition)
    cursor.finish(*_COMPARISON_WORDS)
    return recover


def parse_where(text: str) -> Tags:
    """The `where` of a rule in keys: a tag expression."""
    cursor = Cursor(text)
    where = read_tags(cursor)
    cursor.finish("AND", "OR")
    return where


def parse_group_by(text: str) -> tuple[str, ...]:
    """The `group_by` of a rule in keys: `*` or tags with commas."""
    cursor = Cursor(text)
    group_by = _group_tags(cursor)
    cursor.finish()
    return group_by


def parse_duration(text: str) -> float:
    """A duration alone, in seconds."""
    cursor = Cursor(text)
    seconds = cursor.duration()
    cursor.finish()
    return seconds


def parse_query(text: str) -> Query:
    """A condition or a calculation, with WHERE and GROUP BY."""
    cursor = Cursor(text)
    expression = _disjunction(cursor)
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    while clause := cursor.accept("WHERE", "GROUP"):
        if where is not None if clause.key == "WHERE" else group_by:
            raise cursor.error(f"{clause.key} stands here a second time", clause.at)
        if clause.key == "WHERE":
            where = read_tags(cursor)
        else:
            group_by = _group_by(cursor)
    cursor.finish("WHERE", "GROUP", *_COMPARISON_WORDS)
    return Query(expression, where, group_by, text)


# ---- clauses


def _where(cursor: Cursor, condition: Condition) -> Tags:
    return read_tags(cursor)


def _group_by(cursor: Cursor, condition: Condition | None = None) -> tuple[str, ...]:
    cursor.expect("BY")
    return _group_tags(cursor)


def _group_tags(cursor: Cursor) -> tuple[str, ...]:
    if cursor.accept("*"):
        return GROUP_BY_ALL
    tags: list[str] = []
    while not tags or cursor.accept(","):
        at = cursor.token.at
        tag = cursor.name("a tag")
        if tag in tags:
            raise cursor.error(f"tag {tokens.shown(tag)} stands here a second time", at)
        if tag == "*":
            raise cursor.error("a tag cannot be named *", at)
        tags.append(tag)
    return tuple(tags)


def _recover(cursor: Cursor, condition: Condition) -> Condition:
    if cursor.token.key not in COMPARISONS:
        return _condition(cursor, _disjunction(cursor))
    sign = cursor.take()
    left = first_left(condition)
    if left is None:
        raise cursor.error(f"RECOVER {sign.text} needs a condition that compares something", sign.at)
    return Compare(COMPARISONS[sign.key], left, _arith(cursor, _sum(cursor)), sign.at)


def _seconds(cursor: Cursor, condition: Condition) -> float:
    return cursor.duration()


def _every(cursor: Cursor, condition: Condition) -> float:
    at = cursor.token.at
    return _positive(cursor, cursor.duration(), at)


def _nodata(cursor: Cursor, condition: Condition) -> str:
    policy = cursor.token.text.lower()
    if policy not in ("keep", "ok", "alert"):
        raise cursor.unexpected("keep, ok or alert", ("keep", "ok", "alert"))
    cursor.take()
    return policy


def _name(cursor: Cursor, condition: Condition) -> str:
    return cursor.name("a name")


def _notify(cursor: Cursor, condition: Condition) -> tuple[str, ...]:
    targets = [cursor.target()]
    while cursor.accept(","):
        targets.append(cursor.target())
    return tuple(targets)


_CLAUSES: Final = {
    "WHERE": ("where", _where),
    "GROUP": ("group_by", _group_by),
    "RECOVER": ("recover", _recover),
    "FOR": ("for_seconds", _seconds),
    "KEEP": ("keep_seconds", _seconds),
    "EVERY": ("every_seconds", _every),
    "NODATA": ("nodata", _nodata),
    "SEVERITY": ("severity", _name),
    "POLICY": ("policy", _name),
    "NOTIFY": ("notify", _notify),
}


# ---- conditions


def _condition(cursor: Cursor, node: Condition | Arith) -> Condition:
    """The node, which must be a condition; called when the next token is the first after it."""
    if isinstance(node, CONDITIONS):
        return node
    raise cursor.unexpected("a comparison such as `> 200`", _COMPARISON_WORDS)


def _arith(cursor: Cursor, node: Condition | Arith) -> Arith:
    """The node, which must be a number."""
    if isinstance(node, CONDITIONS):
        raise cursor.error("a number is expected here, this is a condition", node.at)
    return node


def _disjunction(cursor: Cursor) -> Condition | Arith:
    left = _conjunction(cursor)
    while cursor.token.key == "OR":
        left = _joined(cursor, left, _conjunction)
    return left


def _conjunction(cursor: Cursor) -> Condition | Arith:
    left = _negation(cursor)
    while cursor.token.key in ("AND", "UNLESS"):
        left = _joined(cursor, left, _negation)
    return left


def _joined(cursor: Cursor, left: Condition | Arith, read_right) -> Junction:  # type: ignore[no-untyped-def]
    left_condition = _condition(cursor, left)
    cursor.count()
    sign = cursor.take()
    right = _condition(cursor, read_right(cursor))
    return Junction(sign.key, left_condition, right, left_condition.at)


def _negation(cursor: Cursor) -> Condition | Arith:
    sign = cursor.accept("NOT")
    if sign is None:
        return _predicate(cursor)
    cursor.count()
    return Not(_condition(cursor, _predicate(cursor)), sign.at)


def _predicate(cursor: Cursor) -> Condition | Arith:
    if cursor.token.key == "ABSENT":
        return _absent(cursor)
    if cursor.token.key == "ANOMALY":
        return _anomaly(cursor)
    left = _sum(cursor)
    if cursor.token.key in COMPARISONS:
        return _compare(cursor, _arith(cursor, left))
    if cursor.token.key == "IS":
        return _is_null(cursor, _arith(cursor, left))
    if cursor.token.key in ("BETWEEN", "NOT"):
        return _between(cursor, _arith(cursor, left))
    return left


def _compare(cursor: Cursor, left: Arith) -> Compare:
    cursor.count()
    sign = cursor.take()
    right = _arith(cursor, _sum(cursor))
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
    low = _arith(cursor, _sum(cursor))
    cursor.expect("AND")
    return Between(left, low, _arith(cursor, _sum(cursor)), negated, left.at)


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


def _sum(cursor: Cursor) -> Condition | Arith:
    left = _product(cursor)
    while cursor.token.key in ("+", "-"):
        left = _binary(cursor, left, _product)
    return left


def _product(cursor: Cursor) -> Condition | Arith:
    left = _factor(cursor)
    while cursor.token.key in ("*", "/", "%"):
        left = _binary(cursor, left, _factor)
    return left


def _binary(cursor: Cursor, left: Condition | Arith, read_right) -> Binary:  # type: ignore[no-untyped-def]
    left_number = _arith(cursor, left)
    cursor.count()
    sign = cursor.take()
    return Binary(sign.key, left_number, _arith(cursor, read_right(cursor)), left_number.at)


def _factor(cursor: Cursor) -> Condition | Arith:
    sign = cursor.accept("-")
    if sign is None:
        return _atom(cursor)
    cursor.count()
    return Negative(_arith(cursor, _atom(cursor)), sign.at)


def _atom(cursor: Cursor) -> Condition | Arith:
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


def _parenthesis(cursor: Cursor) -> Condition | Arith:
    cursor.take()
    cursor.enter()
    inside = _disjunction(cursor)
    if cursor.token.key != ")":
        raise cursor.unexpected("`)`", _COMPARISON_WORDS)
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
        window = _positive(cursor, cursor.duration("a window such as 5m"), start)
        cursor.expect("]")
    return Selector(metric, matchers, window, _offset(cursor), at)


def _offset(cursor: Cursor) -> float | None:
    return cursor.duration() if cursor.accept("OFFSET") else None


def _positive(cursor: Cursor, seconds: float, at: int) -> float:
    if seconds > 0:
        return seconds
    raise cursor.error("a duration longer than nothing is expected here", at)


# ---- calls


def _call(cursor: Cursor, word: tokens.Token) -> Aggregate | Scalar:
    function = function_named(word.text.lower())
    if function is None:
        raise cursor.error(
            f"there is no function {tokens.shown(word.text)}{tokens.nearest(word.text, NAMES)}", word.at
        )
    cursor.take()
    cursor.enter()
    call = _aggregate(cursor, word, function) if function.is_aggregate else _scalar(cursor, word, function)
    cursor.leave()
    return call


def _scalar(cursor: Cursor, word: tokens.Token, function: Function) -> Scalar:
    arguments = [_arith(cursor, _sum(cursor))]
    while cursor.accept(","):
        arguments.append(_arith(cursor, _sum(cursor)))
    if cursor.token.key != ")":
        raise cursor.unexpected("`,` or `)`")
    least, most = function.arguments
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise cursor.error(f"{word.text.lower()} takes {wanted} numbers, here are {len(arguments)}", word.at)
    cursor.take()
    return Scalar(word.text.lower(), tuple(arguments), word.at)


def _aggregate(cursor: Cursor, word: tokens.Token, function: Function) -> Aggregate:
    series = _arith(cursor, _sum(cursor))
    window: float | None = None
    parameters: list[Number] = []
    options: list[Option] = []
    while cursor.accept(","):
        at = cursor.token.at
        if cursor.token.kind == tokens.WORD:
            options.append(_option(cursor))
        elif len(parameters) < function.arguments[1]:
            parameters.append(_number(cursor))
        elif window is None and not (isinstance(series, Selector) and series.window_seconds is not None):
            window = _positive(cursor, cursor.duration("a window such as 5m"), at)
        else:
            raise cursor.error("the window is given a second time", at)
    if cursor.token.key != ")":
        raise cursor.unexpected("`,` or `)`", _COMPARISON_WORDS)
    cursor.take()
    at = cursor.token.at
    offset = _offset(cursor)
    if isinstance(series, Selector):
        if offset is not None and series.offset_seconds is not None:
            raise cursor.error("OFFSET is given a second time", at)
        series = _narrowed(series, window, offset)
        window = offset = None
    return Aggregate(word.text.lower(), series, tuple(parameters), tuple(options), window, offset, word.at)


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
    return Option(name, Number(cursor.duration(), "duration", token.at))

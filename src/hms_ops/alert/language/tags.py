"""Choosing series by their tags: the grammar of matchers and of WHERE, and the test a series' tags must pass.

    finance.api_ms{agency="irs", code=~"5.."}          matchers: a tuple of TagMatch, all must hold
    WHERE agency = irs AND NOT (code LIKE "5%" OR region IN (us-east, us-west))

A tag that a series has not is the empty text, as in Prometheus; patterns match the whole value; LIKE knows % and _.
`accepts` gives a plain function dict → bool, called only when series come, never at a tick.
Patterns are Python's, matched so that neither they nor values can be made slow on purpose (patterns.py).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from hms_ops.alert.language import tokens
from hms_ops.alert.language.tokens import Cursor
from hms_ops.alert.language.tree import TagAnd, TagMatch, TagNot, TagOr, Tags
from hms_ops.alert.patterns import matcher

PATTERN_CHARACTERS_MAX: Final = 256
COMPARISONS: Final = ("=", "!=", "=~", "!~")
_SAME: Final = {"==": "=", "<>": "!="}

Test: TypeAlias = Callable[[Mapping[str, str]], bool]


def read_matchers(cursor: Cursor) -> tuple[TagMatch, ...]:
    """`{tag op string, …}`, from the brace on; it may be empty."""
    cursor.expect("{")
    matchers: list[TagMatch] = []
    while not cursor.accept("}"):
        if matchers:
            cursor.expect(",")
        tag = cursor.name("a tag")
        matchers.append(_compared(cursor, tag, COMPARISONS))
        if cursor.token.key not in (",", "}"):
            raise cursor.unexpected("`,` or `}`")
    return tuple(matchers)


def read_tags(cursor: Cursor) -> Tags:
    """A tag expression: OR over AND over NOT over comparisons."""
    left = _conjunction(cursor)
    while cursor.accept("OR"):
        cursor.count()
        left = TagOr(left, _conjunction(cursor))
    return left


def _conjunction(cursor: Cursor) -> Tags:
    left = _negation(cursor)
    while cursor.accept("AND"):
        cursor.count()
        left = TagAnd(left, _negation(cursor))
    return left


def _negation(cursor: Cursor) -> Tags:
    cursor.count()
    if cursor.accept("NOT"):
        return TagNot(_test(cursor))
    return _test(cursor)


def _test(cursor: Cursor) -> Tags:
    if cursor.accept("("):
        cursor.enter()
        inside = read_tags(cursor)
        cursor.expect(")")
        cursor.leave()
        return inside
    tag = cursor.name("a tag")
    if cursor.accept("NOT"):
        cursor.expect("IN")
        return TagMatch(tag, "NOT IN", _values(cursor))
    if cursor.accept("IN"):
        return TagMatch(tag, "IN", _values(cursor))
    if cursor.accept("LIKE"):
        return TagMatch(tag, "LIKE", (_value(cursor),))
    return _compared(cursor, tag, (*COMPARISONS, "IN", "NOT IN", "LIKE"))


def _compared(cursor: Cursor, tag: str, allowed: tuple[str, ...]) -> TagMatch:
    """The rest of `tag op value`; a pattern must be a good one."""
    op = _SAME.get(cursor.token.key, cursor.token.key)
    if op not in COMPARISONS:
        raise cursor.unexpected(f"one of {' '.join(allowed)} after tag {tokens.shown(tag)}", allowed)
    cursor.take()
    at = cursor.token.at
    value = _value(cursor)
    if op in ("=~", "!~"):
        _check_pattern(cursor, value, at)
    return TagMatch(tag, op, (value,))


def _check_pattern(cursor: Cursor, pattern: str, at: int) -> None:
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise cursor.error(f"the pattern has {len(pattern)} characters, {PATTERN_CHARACTERS_MAX} are allowed", at)
    try:
        matcher(pattern)
    except ValueError as error:
        raise cursor.error(f"the pattern {tokens.shown(pattern)} {error}", at) from None


def _values(cursor: Cursor) -> tuple[str, ...]:
    cursor.expect("(")
    values = [_value(cursor)]
    while cursor.accept(","):
        values.append(_value(cursor))
    if cursor.token.key != ")":
        raise cursor.unexpected("`,` or `)`")
    cursor.take()
    return tuple(values)


def _value(cursor: Cursor) -> str:
    """A tag's value: quoted, or bare when it is one word or number."""
    token = cursor.token
    if token.kind == tokens.STRING:
        return tokens.unquoted(cursor.take().text)
    if token.kind in (tokens.JOINED, tokens.NUMBER) or (token.kind == tokens.WORD and token.key not in tokens.KEYWORDS):
        return cursor.take().text
    raise cursor.unexpected('a value such as "irs"')


# ---- the test


def accepts(matchers: tuple[TagMatch, ...], where: Tags | None) -> Test | None:
    """The test for a selector's matchers and a WHERE together; None when every series passes."""
    tests = [_matched(match) for match in matchers]
    if where is not None:
        tests.append(_tested(where))
    if len(tests) <= 1:
        return tests[0] if tests else None
    return lambda tags: all(test(tags) for test in tests)


def _tested(where: Tags) -> Test:
    if isinstance(where, TagMatch):
        return _matched(where)
    if isinstance(where, TagNot):
        inner = _tested(where.operand)
        return lambda tags: not inner(tags)
    left, right = _tested(where.left), _tested(where.right)
    if isinstance(where, TagAnd):
        return lambda tags: left(tags) and right(tags)
    return lambda tags: left(tags) or right(tags)


def _matched(match: TagMatch) -> Test:
    tag, op, values = match.tag, match.op, match.values
    if op in ("=", "IN"):
        return lambda tags: tags.get(tag, "") in values
    if op in ("!=", "NOT IN"):
        return lambda tags: tags.get(tag, "") not in values
    # values repeat over thousands of series, so each pattern remembers its answers
    matches = lru_cache(maxsize=4096)(_like(values[0]) if op == "LIKE" else matcher(values[0]))
    if op == "!~":
        return lambda tags: not matches(tags.get(tag, ""))
    return lambda tags: matches(tags.get(tag, ""))


def _like(like: str) -> Callable[[str], bool]:
    pattern = re.compile(_like_pattern(like), re.DOTALL)
    return lambda value: pattern.fullmatch(value) is not None


def _like_pattern(like: str) -> str:
    """LIKE as a pattern. Each part between two % matches as early as it can and never again (atomic), which is right
    for LIKE and keeps many % from taking for ever."""
    first, *parts = ["".join("." if c == "_" else re.escape(c) for c in part) for part in like.split("%")]
    if not parts:
        return first
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + ".*" + parts[-1]

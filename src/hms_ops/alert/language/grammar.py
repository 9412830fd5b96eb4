"""The grammar of the alert language (ALERTS section 1): whole texts and their clauses.

Text in, tree out: `parse_statement` (a rule as one sentence), `parse_condition`, `parse_recover`, `parse_where`,
`parse_group_by`, `parse_duration` (a rule in keys), `parse_query` (value() and /v1/query). Whatever the text, the
answer is a tree or an ExpressionError with line and column, never another exception, in time linear in its length.
Conditions and calculations are read in `expression.py`, tag expressions in `tags.py`, tokens in `tokens.py`.

Normal forms, so that equal meanings give equal trees: `avg(x, 5m)` is `avg(x[5m])`, an OFFSET belongs to the selector,
`==` is `=`, `<>` is `!=`, and `RECOVER < 150` has the left side of the condition's first comparison.
"""

from collections.abc import Callable
from typing import Final

from hms_ops.alert.language import tokens
from hms_ops.alert.language.expression import (
    COMPARISONS,
    CONDITION_WORDS,
    positive,
    read_arith,
    read_expression,
    require_arith,
    require_condition,
)
from hms_ops.alert.language.tags import read_tags
from hms_ops.alert.language.tokens import Cursor
from hms_ops.alert.language.tree import GROUP_BY_ALL, Compare, Condition, Query, Statement, Tags, first_left

# ---- entry points


def parse_statement(text: str) -> Statement:
    """A rule as one sentence: `ALERT name WHEN condition FOR 3m NOTIFY sms:+1-555-0100`."""
    cursor = Cursor(text)
    name = cursor.name("an alert") if cursor.accept("ALERT") else None
    cursor.accept("WHEN")
    condition = require_condition(cursor, read_expression(cursor))
    clauses: dict[str, object] = {}
    while cursor.token.key in _CLAUSES:
        field, read = _CLAUSES[cursor.token.key]
        if field in clauses:
            raise cursor.error(f"{cursor.token.key} stands here a second time")
        cursor.take()
        clauses[field] = read(cursor, condition)
    cursor.finish(*_CLAUSES, *CONDITION_WORDS)
    return Statement(condition, name, text=text, **clauses)  # type: ignore[arg-type]


def parse_condition(text: str) -> Condition:
    """The `if` of a rule in keys."""
    cursor = Cursor(text)
    condition = require_condition(cursor, read_expression(cursor))
    cursor.finish(*CONDITION_WORDS)
    return condition


def parse_recover(text: str, condition: Condition) -> Condition:
    """The `recover` of a rule in keys: a condition, or `< 150` for the left side of the rule's own."""
    cursor = Cursor(text)
    recover = _recover(cursor, condition)
    cursor.finish(*CONDITION_WORDS)
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
    expression = read_expression(cursor)
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    while clause := cursor.accept("WHERE", "GROUP"):
        if where is not None if clause.key == "WHERE" else group_by:
            raise cursor.error(f"{clause.key} stands here a second time", clause.at)
        if clause.key == "WHERE":
            where = read_tags(cursor)
        else:
            group_by = _group_by(cursor)
    cursor.finish("WHERE", "GROUP", *CONDITION_WORDS)
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
        return require_condition(cursor, read_expression(cursor))
    sign = cursor.take()
    left = first_left(condition)
    if left is None:
        raise cursor.error(f"RECOVER {sign.text} needs a condition that compares something", sign.at)
    right = require_arith(cursor, read_arith(cursor))
    if cursor.token.key in CONDITION_WORDS:
        raise cursor.error(
            f"`{sign.text} …` stands alone; with {cursor.token.key}, write both sides of each comparison"
        )
    return Compare(COMPARISONS[sign.key], left, right, sign.at)


def _seconds(cursor: Cursor, condition: Condition) -> float:
    return cursor.duration()


def _every(cursor: Cursor, condition: Condition) -> float:
    at = cursor.token.at
    return positive(cursor, cursor.duration(), at)


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


_CLAUSES: Final[dict[str, tuple[str, Callable[[Cursor, Condition], object]]]] = {
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

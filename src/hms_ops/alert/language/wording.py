"""Writes a tree of the alert language back to text: the same tree parses from it.

Used where a rule is shown or stored; words in capitals, one blank between parts, parentheses only where needed.
"""

from typing import Final

from hms_ops.alert.language.tokens import DURATION_SECONDS_MAX, duration_text, is_bare, is_bare_target, quoted
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
    Query,
    Scalar,
    Selector,
    Statement,
    TagAnd,
    TagMatch,
    TagNot,
    Tags,
)

_PRECEDENCE: Final = {"OR": 1, "AND": 2, "UNLESS": 2, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6}
_NOT: Final = 3
_PREDICATE: Final = 4
_FACTOR: Final = 7
_ATOM: Final = 8


def format(tree: Statement | Query | Condition | Arith) -> str:
    """The text of a statement, a query, a condition or a calculation."""
    if isinstance(tree, Statement):
        return _statement(tree)
    if isinstance(tree, Query):
        return " ".join([_expression(tree.expression), *_selection(tree.where, tree.group_by)])
    return _expression(tree)


def format_tags(where: Tags) -> str:
    """The text of a tag expression."""
    if isinstance(where, TagMatch):
        return _tag_match(where)
    if isinstance(where, TagNot):
        return f"NOT {_tags_inside(where.operand, TagMatch)}"
    if isinstance(where, TagAnd):
        return f"{_tags_inside(where.left, TagMatch, TagNot, TagAnd)} AND {_tags_inside(where.right, TagMatch, TagNot)}"
    return f"{format_tags(where.left)} OR {_tags_inside(where.right, TagMatch, TagNot, TagAnd)}"


def _tags_inside(where: Tags, *bare: type) -> str:
    text = format_tags(where)
    return text if isinstance(where, bare) else f"({text})"


def _tag_match(match: TagMatch) -> str:
    if match.op in ("IN", "NOT IN"):
        return f"{_name(match.tag)} {match.op} ({', '.join(map(quoted, match.values))})"
    return f"{_name(match.tag)} {match.op} {quoted(match.values[0])}"


def _name(text: str) -> str:
    return text if is_bare(text) else quoted(text)


# ---- clauses


def _selection(where: Tags | None, group_by: tuple[str, ...]) -> list[str]:
    parts = [] if where is None else [f"WHERE {format_tags(where)}"]
    if group_by:
        parts.append("GROUP BY " + ("*" if group_by == GROUP_BY_ALL else ", ".join(map(_name, group_by))))
    return parts


def _statement(rule: Statement) -> str:
    parts = [] if rule.name is None else [f"ALERT {_name(rule.name)} WHEN"]
    parts += [_expression(rule.condition), *_selection(rule.where, rule.group_by)]
    if rule.recover is not None:
        parts.append(f"RECOVER {_expression(rule.recover)}")
    seconds = (("FOR", rule.for_seconds), ("KEEP", rule.keep_seconds), ("EVERY", rule.every_seconds))
    parts += [f"{word} {duration_text(value)}" for word, value in seconds if value is not None]
    if rule.nodata is not None:
        parts.append(f"NODATA {rule.nodata}")
    names = (("SEVERITY", rule.severity), ("POLICY", rule.policy))
    parts += [f"{word} {_name(name)}" for word, name in names if name is not None]
    if rule.notify:
        targets = (target if is_bare_target(target) else quoted(target) for target in rule.notify)
        parts.append("NOTIFY " + ", ".join(targets))
    return " ".join(parts)


# ---- expressions


def _expression(node: Condition | Arith) -> str:
    if isinstance(node, CONDITIONS):
        return _condition(node)
    return _arith(node)


def _condition(node: Condition) -> str:
    match node:
        case Junction(op, left, right):
            level = _PRECEDENCE[op]
            return f"{_inside(left, level)} {op} {_inside(right, level + 1)}"
        case Not(operand):
            return f"NOT {_inside(operand, _PREDICATE)}"
        case Compare(op, left, right):
            return f"{_arith(left)} {op} {_arith(right)}"
        case Between(left, low, high, negated):
            return f"{_arith(left)} {'NOT ' * negated}BETWEEN {_arith(low)} AND {_arith(high)}"
        case IsNull(operand, negated):
            return f"{_arith(operand)} IS {'NOT ' * negated}NULL"
        case Absent(series):
            return f"ABSENT({_selector(series)})"
        case Anomaly(series, options):
            return f"ANOMALY({', '.join([_selector(series), *map(_option, options)])})"


def _arith(node: Arith) -> str:
    match node:
        case Number():
            return _number(node)
        case Selector():
            return _selector(node)
        case Aggregate():
            return _aggregate(node)
        case Scalar(function, arguments):
            return f"{function}({', '.join(map(_arith, arguments))})"
        case Negative(operand):
            return f"-{_inside(operand, _ATOM)}"
        case Binary(op, left, right):
            level = _PRECEDENCE[op]
            return f"{_inside(left, level)} {op} {_inside(right, level + 1)}"


def _inside(node: Condition | Arith, level: int) -> str:
    """The text of a part, in parentheses if it binds less than `level`."""
    text = _expression(node)
    return text if _precedence(node) >= level else f"({text})"


def _precedence(node: Condition | Arith) -> int:
    match node:
        case Binary(op) | Junction(op):
            return _PRECEDENCE[op]
        case Not():
            return _NOT
        case Negative():
            return _FACTOR
        case Compare() | Between() | IsNull() | Absent() | Anomaly():
            return _PREDICATE
    return _ATOM


def _number(number: Number) -> str:
    whole = number.value == int(number.value) and abs(number.value) < 1e15
    return f"{int(number.value) if whole else number.value!r}{number.unit}"


def _selector(series: Selector) -> str:
    text = _name(series.metric)
    if series.matchers:
        text += "{" + ", ".join(f"{_name(m.tag)}{m.op}{quoted(m.values[0])}" for m in series.matchers) + "}"
    if series.window_seconds is not None:
        text += f"[{duration_text(series.window_seconds)}]"
    return text + _offset(series.offset_seconds)


def _aggregate(call: Aggregate) -> str:
    parts = [_arith(call.series), *map(_number, call.parameters)]
    if call.window_seconds is not None:
        parts.append(duration_text(call.window_seconds))
    parts += map(_option, call.options)
    return f"{call.function}({', '.join(parts)}){_offset(call.offset_seconds)}"


def _offset(seconds: float | None) -> str:
    return "" if seconds is None else f" OFFSET {duration_text(seconds)}"


def _option(option: Option) -> str:
    if isinstance(option.value, str):
        return f"{_name(option.name)}={quoted(option.value)}"
    return f"{_name(option.name)}={_option_number(option.value)}"


def _option_number(number: Number) -> str:
    """Seconds as the duration they most likely were; `ms` is a unit of its own there."""
    if number.unit != "s" or not 1 <= number.value <= DURATION_SECONDS_MAX:
        return _number(number)
    text = duration_text(number.value)
    return _number(number) if text.endswith("ms") else text

"""The series of a selector as PromQL has them: a metric's matchers and the WHERE around it, as label matchers.

PromQL has only AND between matchers, so a WHERE becomes its alternatives (disjunctive normal form), each a selector of
its own, joined by `or`: no series is in the union twice. Errors: Impossible for more than ALTERNATIVES_MAX, and for a
pattern that Go's RE2 has not.
"""

import json
import re
from itertools import product
from typing import Final

from hms_ops.alert.language.tree import TagAnd, TagMatch, TagNot, TagOr, Tags
from hms_ops.remote.labels import outer_tag

ALTERNATIVES_MAX: Final = 16
# Looking around, named backreferences, numbered ones, atomic groups and possessive repeats.
NOT_RE2: Final = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|\\[1-9]|(?<!\\)[*+?}]\+")
LIKE_SIGNS: Final = {"%": ".*", "_": "."}
OPPOSITE: Final = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~", "IN": "NOT IN", "NOT IN": "IN"}

Alternative = tuple[str, ...]


class Impossible(ValueError):
    """PromQL cannot say it; the text says why."""


def alternatives(matchers: tuple[TagMatch, ...], where: Tags | None, more: Alternative = ()) -> list[Alternative]:
    """Lists of label matchers; a series that any of them matches whole is chosen."""
    own = (*more, *(matcher_text(match) for match in matchers))
    return [own + alternative for alternative in ([()] if where is None else normal(where, is_negated=False))]


def normal(where: Tags, *, is_negated: bool) -> list[Alternative]:
    """The alternatives of a tag expression, or of its opposite."""
    if isinstance(where, TagNot):
        return normal(where.operand, is_negated=not is_negated)
    if isinstance(where, TagMatch):
        return [(matcher_text(where, is_negated),)]
    left, right = normal(where.left, is_negated=is_negated), normal(where.right, is_negated=is_negated)
    if isinstance(where, TagOr if is_negated else TagAnd):
        found = [one + other for one, other in product(left, right)]
    else:
        assert isinstance(where, TagOr | TagAnd)
        found = left + right
    if len(found) > ALTERNATIVES_MAX:
        raise Impossible(f"WHERE has more than {ALTERNATIVES_MAX} alternatives")
    return found


def matcher_text(match: TagMatch, is_negated: bool = False) -> str:
    """`label="value"` and its like."""
    label = outer_tag(match.tag)
    if match.op == "LIKE":
        pattern = "".join(LIKE_SIGNS.get(sign) or re.escape(sign) for sign in match.values[0])
        return f"{label}{'!~' if is_negated else '=~'}{quoted(pattern)}"
    op = OPPOSITE[match.op] if is_negated else match.op
    if op in ("IN", "NOT IN"):
        pattern = "|".join(map(re.escape, match.values))
        return f"{label}{'=~' if op == 'IN' else '!~'}{quoted(pattern)}"
    if op in ("=~", "!~") and NOT_RE2.search(match.values[0]):
        raise Impossible(f"the pattern {match.values[0]!r} has what Go's RE2 has not")
    return f"{label}{op}{quoted(match.values[0])}"


def quoted(text: str) -> str:
    """A PromQL string."""
    return json.dumps(text, ensure_ascii=False)

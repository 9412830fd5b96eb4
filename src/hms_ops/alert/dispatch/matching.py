"""Which alerts are meant: matchers over an alert's labels, as routes, silences, inhibitions and policies have them.

    match: {agency: irs, severity: page}                   equal, all of them
    match: alertname=~"db\\..*", agency!=irs                as the language has matchers, braces or not
    match: ['agency=irs', 'code=~"5.."']                   the same as a list

Labels are `Alert.labels`: its tags, its rule's tags, `alertname` and `severity`; a label an alert has not is the empty
text. Read by `read_match` for a file and for HTTP; ValueError or ExpressionError say what is wrong. The bound is
MATCHERS_MAX. The grammar of matchers and its test are `tags.py`'s.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hms_ops.alert.language.tags import COMPARISONS, Test, accepts, read_matchers
from hms_ops.alert.language.tokens import Cursor, is_bare, quoted
from hms_ops.alert.language.tree import TagMatch

MATCHERS_MAX: Final = 32
VALUE_CHARACTERS_MAX: Final = 1000

_STRING: Final = "|".join(rf"{q}(?:[^{q}\\]|\\.)*{q}" for q in "\"'`")
_MATCHER: Final = re.compile(
    rf"\s*(?P<tag>[\w.:/-]+|{_STRING})\s*(?P<op>=~|!~|!=|<>|==|=)\s*(?P<value>{_STRING}|[^\s,\"'`{{}}]+)\s*(?:,|$)"
)


@dataclass(frozen=True, slots=True)
class Matchers:
    """All of `matches` must hold; without any, every alert passes."""

    matches: tuple[TagMatch, ...] = ()
    test: Test | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", accepts(self.matches, None))

    def accept(self, labels: Mapping[str, str]) -> bool:
        return self.test is None or self.test(labels)

    @property
    def alertname(self) -> str:
        """The only name that can pass, "" when several can."""
        named = [match.values[0] for match in self.matches if match.tag == "alertname" and match.op == "="]
        return named[0] if named else ""

    @property
    def text(self) -> str:
        """`{alertname="db.slow", agency=~"i.*"}`: what `parse_matchers` reads."""
        shown = (f"{name_text(match.tag)}{match.op}{quoted(match.values[0])}" for match in self.matches)
        return "{" + ", ".join(shown) + "}"


EVERY_ALERT: Final = Matchers()


def name_text(tag: str) -> str:
    return tag if is_bare(tag) else quoted(tag)


def equal_to(labels: Mapping[str, str]) -> Matchers:
    """The matchers that want exactly these values."""
    return Matchers(tuple(TagMatch(tag, "=", (labels[tag],)) for tag in sorted(labels)))


def parse_matchers(text: str) -> Matchers:
    """Matchers as the language writes them, with or without braces. Words of the language, as `severity`, need no
    quotes here. ValueError for what is no matcher, ExpressionError for a pattern that is none."""
    inside = text.strip()
    if inside.startswith("{") and inside.endswith("}"):
        inside = inside[1:-1]
    parts = []
    at = 0
    while inside[at:].strip():
        match = _MATCHER.match(inside, at)
        if match is None:
            raise ValueError(f'{inside[at : at + 60]!r} is no matcher; write tag=value, tag!=value, or tag=~"pattern"')
        tag, op, value = (match[group] for group in ("tag", "op", "value"))
        parts.append(f"{literal(tag)}{op}{literal(value)}")
        at = match.end()
    cursor = Cursor("{" + ",".join(parts) + "}")
    matches = read_matchers(cursor)
    cursor.finish("{")
    return bounded(matches)


def literal(text: str) -> str:
    return text if text[0] in "\"'`" else quoted(text)


def bounded(matches: tuple[TagMatch, ...]) -> Matchers:
    if len(matches) > MATCHERS_MAX:
        raise ValueError(f"{len(matches)} matchers are more than {MATCHERS_MAX}")
    return Matchers(matches)


def read_match(value: Any) -> Matchers:
    """The matchers of a mapping, a text, or a list of texts; at least one."""
    if isinstance(value, Mapping):
        found = bounded(tuple(equality(tag, given) for tag, given in value.items()))
    elif isinstance(value, str):
        found = parse_matchers(value)
    elif isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        found = parse_matchers(", ".join(text.strip().strip("{}") for text in value))
    else:
        raise ValueError(f'expected matchers such as {{agency: irs}} or agency=~"i.*", found {value!r}')
    if not found.matches:
        raise ValueError("no matcher at all would match every alert; write at least one, as in {severity: page}")
    return found


def equality(tag: Any, value: Any) -> TagMatch:
    if not isinstance(tag, str) or not tag.strip() or not isinstance(value, str | int | float):
        raise ValueError(f"expected tag: value, found {tag!r}: {value!r}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > VALUE_CHARACTERS_MAX:
        raise ValueError(f"{tag}: the value is longer than {VALUE_CHARACTERS_MAX} characters")
    return TagMatch(tag, "=", (text,))


def matchers_record(matchers: Matchers) -> list[list[str]]:
    return [[match.tag, match.op, match.values[0]] for match in matchers.matches]


def matchers_of_record(record: Iterable[Any]) -> Matchers:
    """ValueError for what is no record of matchers."""
    matches = []
    for tag, op, value in record:
        if op not in COMPARISONS:
            raise ValueError(f"{op!r} compares nothing")
        matches.append(TagMatch(str(tag), op, (str(value),)))
    return bounded(tuple(matches))

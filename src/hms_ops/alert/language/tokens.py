"""Splits a text of the alert language into tokens, and says where and why it is wrong.

Feeds the grammar (`tags.py`, `grammar.py`), which reads one token ahead. Nothing raises here for bad characters: they
become BAD tokens, so that the grammar may look ahead past them (a NOTIFY target is no token at all) and only complains
about what it really reads. Every complaint is an ExpressionError with line and column.

    ALERT db.slow WHEN avg(db.write_ms, 5m) > 200ms NOTIFY sms:+1-555-0100
    ^word ^word   ^    ^  ^^word      ^^num ^ ^number      ^ not tokens: `Cursor.target`

A `-` joins two idents only without blanks, and subtraction wants one. What could be read both ways, as `x-1`, is a
JOINED token: good as a tag's value, refused as arithmetic.

Limits: TEXT_CHARACTERS_MAX, DEPTH_MAX and NODES_MAX keep every walk over the tree inside Python's stack.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from hms_ops.errors import ExpressionError

TEXT_CHARACTERS_MAX: Final = 8_192
DEPTH_MAX: Final = 32  # parentheses within parentheses
NODES_MAX: Final = 256  # of one tree; chains such as a + b + c + … lean left, so this bounds their depth too
MAGNITUDE_MAX: Final = 1e150  # as for samples: squares stay finite
DURATION_SECONDS_MAX: Final = 10 * 366 * 86_400.0

WORD, JOINED, NUMBER, STRING, SIGN, BAD, END = "word", "joined", "number", "string", "sign", "bad", "end"

_CLAUSES = ("ALERT", "WHEN", "WHERE", "GROUP", "BY", "RECOVER", "FOR", "KEEP", "EVERY", "NODATA", "SEVERITY", "POLICY")
_OPERATORS = ("AND", "OR", "NOT", "UNLESS", "BETWEEN", "IS", "NULL", "ABSENT", "ANOMALY", "IN", "LIKE", "OFFSET")
KEYWORDS: Final = frozenset((*_CLAUSES, "NOTIFY", *_OPERATORS))
DURATION_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

_UNPRINTED = "\x00-\x1f\x7f\x85\u2028\u2029"
_STRINGS = "|".join(rf"{q}(?:[^{q}\\{_UNPRINTED}]|\\[^{_UNPRINTED}])*{q}" for q in "\"'`")
_SCANNER = re.compile(
    rf"""\s*(?:
      (?P<word>[^\W\d]\w*(?:[.:-]\w+)*)
    | (?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:%|[^\W\d_]\w*)?)
    | (?P<string>{_STRINGS})
    | (?P<sign><=|>=|==|!=|<>|=~|!~|=(?![<>])|[<>+\-*/%(),{{}}\[\]])
    | (?P<bad>&&|\|\||=>|=<|.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER_PARTS = re.compile(r"([0-9]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(.*)", re.DOTALL)
_DURATION = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:ms|[smhdw]))+")
_DURATION_PART = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)(ms|[smhdw])")
_TARGET = re.compile(r"[^\s,\"'`\\]+")
_JOINED = re.compile(r"-\d")
_INSTEAD = {"&&": "AND", "||": "OR", "!": "NOT", "=>": ">=", "=<": "<=", ";": "a blank"}


class Token(NamedTuple):
    """One token; `key` is what the grammar compares: a word in capitals, a sign, else nothing."""

    kind: str
    text: str
    key: str
    at: int
    end: int


def shown(text: str) -> str:
    """Text in backquotes, cut to 60 characters, with whatever does not print made visible."""
    cut = text if len(text) <= 60 else text[:57] + "…"
    return "`" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + "`"


def nearest(word: str, options: Iterable[str]) -> str:
    """`; did you mean …?` for the option that looks most like the word, or nothing."""
    spellings = {option.lower(): option for option in options if option.lower() != word.lower()}
    found = difflib.get_close_matches(word.lower(), spellings, n=1)
    return f"; did you mean `{spellings[found[0]]}`?" if found else ""


def error_at(text: str, at: int, message: str) -> ExpressionError:
    """The error of a text at an offset, as line and column (both from 1)."""
    lines = (text[: min(at, len(text.rstrip()))] + "^").splitlines()
    return ExpressionError(message, text, len(lines), len(lines[-1]))


def unquoted(literal: str) -> str:
    """The text a quoted string stands for: a backslash escapes a quote or a backslash and is itself before others,
    so that patterns such as "5\\d\\d" need no doubling."""
    return re.sub(r"\\([\\\"'`])", r"\1", literal[1:-1])


def quoted(text: str) -> str:
    """The quoted string that stands for a text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_bare(text: str) -> bool:
    """Whether a name may be written without quotes."""
    match = _SCANNER.fullmatch(text)
    return match is not None and match["word"] == text and not _JOINED.search(text) and text.upper() not in KEYWORDS


def is_bare_target(text: str) -> bool:
    """Whether a NOTIFY target may be written without quotes."""
    return _TARGET.fullmatch(text) is not None


class Cursor:
    """A place in a text: `token` is the one to be read next. Also counts what is limited: depth and nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > TEXT_CHARACTERS_MAX:
            raise ExpressionError(
                f"the text has {len(text)} characters, {TEXT_CHARACTERS_MAX} are allowed", text[:60], 1, 1
            )
        self.end = len(text.rstrip())
        self.depth = 0
        self.nodes = 0
        self.token = self._scan(0)

    def _scan(self, at: int) -> Token:
        match = _SCANNER.match(self.text, at, self.end)
        if match is None or match.lastgroup is None:
            return Token(END, "", "", self.end, self.end)
        kind = match.lastgroup
        start, end = match.span(kind)
        text = self.text[start:end]
        if kind == SIGN:
            return Token(SIGN, text, text, start, end)
        if kind != WORD:
            return Token(kind, text, "", start, end)
        if "-" in text and _JOINED.search(text):
            return Token(JOINED, text, "", start, end)
        return Token(WORD, text, text.upper() if text.isascii() else "", start, end)

    def take(self) -> Token:
        """Read the token and go on to the next."""
        token = self.token
        self.token = self._scan(token.end)
        return token

    def accept(self, *keys: str) -> Token | None:
        """Read the token if it is one of these words or signs."""
        return self.take() if self.token.key in keys and self.token.key else None

    def expect(self, key: str) -> Token:
        """Read exactly this word or sign."""
        if self.token.key != key:
            raise self.unexpected(f"`{key}`", (key,))
        return self.take()

    def finish(self, *options: str) -> None:
        """The text must end here; `options` are the words that could have stood here."""
        if self.token.kind != END:
            raise self.unexpected("the end", options)

    def error(self, message: str, at: int | None = None) -> ExpressionError:
        """An error at an offset, or at the next token."""
        return error_at(self.text, self.token.at if at is None else at, message)

    def unexpected(self, wanted: str, options: Iterable[str] = ()) -> ExpressionError:
        """The error for a next token that cannot stand here."""
        token = self.token
        if token.kind == END:
            return self.error(f"{wanted} is missing")
        if token.kind == BAD and token.text in "\"'`":
            return self.error("this quote is not closed on its line")
        if token.text in _INSTEAD:
            return self.error(f"{shown(token.text)} is not of this language; write {_INSTEAD[token.text]}")
        if token.kind == JOINED:
            return self.error(f"{shown(token.text)} is a name or a subtraction: quote it, or put blanks around `-`")
        hint = nearest(token.text, options) if token.kind == WORD else ""
        return self.error(f"{shown(token.text)} stands where {wanted} is expected{hint}")

    def count(self) -> None:
        """One more node of the tree."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise self.error(f"the expression has more than {NODES_MAX} parts")

    def enter(self) -> None:
        """One level of parentheses deeper; `leave` ends it."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.error(f"parentheses stand deeper than {DEPTH_MAX} levels")

    def leave(self) -> None:
        self.depth -= 1

    def name(self, what: str) -> str:
        """A name that stands alone, bare or quoted: of an alert, a severity, a policy, a tag."""
        token = self.token
        if token.kind == STRING and len(token.text) > 2:
            return unquoted(self.take().text)
        if token.kind == JOINED or (token.kind == WORD and token.key not in KEYWORDS):
            return self.take().text
        if token.key in KEYWORDS:
            raise self.error(f"{shown(token.text)} is a word of the language; quote it to use it as {what}")
        raise self.unexpected(what)

    def number(self) -> tuple[float, str]:
        """A number and its suffix ("" for none)."""
        token = self.token
        if token.kind != NUMBER:
            raise self.unexpected("a number")
        digits, suffix = split_number(token.text)
        if not digits <= MAGNITUDE_MAX:
            raise self.error(f"{shown(token.text)} is larger than {MAGNITUDE_MAX:g}")
        self.take()
        return digits, suffix

    def duration(self, what: str = "a duration such as 3m") -> float:
        """A duration, in seconds: 500ms, 10s, 3m, 1h30m, 7d, 1w."""
        token = self.token
        if token.kind != NUMBER:
            raise self.unexpected(what)
        seconds = duration_seconds(token.text)
        if seconds is None:
            raise self.error(f"{shown(token.text)} is no duration; write it as 500ms, 10s, 3m, 1h, 7d or 1w")
        if seconds > DURATION_SECONDS_MAX:
            raise self.error(f"{shown(token.text)} is longer than ten years")
        self.take()
        return seconds

    def target(self) -> str:
        """A receiver's URL, up to the next comma or blank, or quoted."""
        if self.token.kind == STRING and len(self.token.text) > 2:
            return unquoted(self.take().text)
        match = _TARGET.match(self.text, self.token.at, self.end)
        if match is None:
            raise self.unexpected("a receiver such as webhook:http://host/path")
        self.token = self._scan(match.end())
        return match[0]


def split_number(text: str) -> tuple[float, str]:
    """The value and the suffix of a NUMBER token."""
    match = _NUMBER_PARTS.match(text)
    assert match is not None  # the pattern matches every text
    return float(match[1]), match[2]


def duration_seconds(text: str) -> float | None:
    """The seconds of a duration, or None if the text is none."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(digits) * DURATION_SECONDS[unit] for digits, unit in _DURATION_PART.findall(text))


def duration_text(seconds: float) -> str:
    """The shortest text of a duration that reads back as the same float."""
    for unit in ("w", "d", "h", "m", "s", "ms"):
        count = seconds / DURATION_SECONDS[unit]
        if count == int(count) and 0 < count < 1e15 and int(count) * DURATION_SECONDS[unit] == seconds:
            return f"{int(count)}{unit}"
    return f"{seconds!r}s" if seconds else "0s"

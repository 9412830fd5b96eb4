"""Patterns of tag values that take no longer for being hostile: `matcher(pattern)` tests a whole value, as fullmatch.

    .*-prod-.*       Python's `re`: at most SIMPLE_REPEATS repetitions, none within another, so n² steps at the worst
    (a|ab|b)*c       an automaton: its states are sets of places in the pattern, found when first needed, one step a
                     character however the pattern is made

Values come from strangers, and `re` holds the GIL: on forty letters the second pattern alone would stop the engine for
hours. What an automaton cannot do (looking around, references, inline flags) is refused beside many repetitions. A `$`
is the end of the value; `re` lets it stand before a last line break as well.

Errors: ValueError with what is wrong. Limits: PLACES_MAX places, which `{…}` multiplies; SETS_MAX sets are kept, then
they are found anew. Source: Thompson, "Regular Expression Search Algorithm", 1968. Threads: any; two may find a set
at once.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final, TypeAlias

SIMPLE_REPEATS: Final = 2
FEW: Final = 4  # a repetition of so many at most is an option
REPEATED_MAX: Final = 1_000
OPTION: Final = -1
OPTIONS: Final = 6
PLACES_MAX: Final = 4_000
SETS_MAX: Final = 2_000

Test: TypeAlias = Callable[[str], bool]
Places: TypeAlias = frozenset[int]

_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT)
_ALL_REPEATS: Final = (*_REPEATS, sre.POSSESSIVE_REPEAT)
_SINGLE: Final = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)
_BEGINNINGS: Final = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_ENDS: Final = (sre.AT_END, sre.AT_END_STRING)
_CATEGORIES: Final[dict[Any, Test]] = {
    sre.CATEGORY_DIGIT: str.isdecimal,
    sre.CATEGORY_NOT_DIGIT: lambda one: not one.isdecimal(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda one: not one.isspace(),
    sre.CATEGORY_WORD: lambda one: one.isalnum() or one == "_",
    sre.CATEGORY_NOT_WORD: lambda one: not (one.isalnum() or one == "_"),
}


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Test:
    """Whether a whole value matches. ValueError for what is no pattern, or could take for ever."""
    try:
        compiled, tree = re.compile(pattern, re.DOTALL), _parser.parse(pattern, re.DOTALL)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"is no pattern: {error}") from None
    if is_simple(tree):
        return lambda value: compiled.fullmatch(value) is not None
    if compiled.flags & ~(re.DOTALL | re.UNICODE):
        raise ValueError("has flags beside many repetitions, which can take for ever to match")
    return Automaton(tree).matches


def is_simple(tree: Iterable[Any]) -> bool:
    """Few repetitions, and nothing that can vary within one."""
    depths = list(_choices(tree, 0))
    return depths.count(0) <= SIMPLE_REPEATS and depths.count(OPTION) <= OPTIONS and max(depths, default=0) <= 0


def _choices(items: Iterable[Any], depth: int) -> Iterable[int]:
    """In how many repetitions each other one and each choice stands; OPTION for a short one, or a choice, in none."""
    for op, given in items:
        if op in _ALL_REPEATS:
            low, high, body = given
            is_fixed = high == low and len(body) == 1 and body[0][0] in _SINGLE
            is_long = high > FEW and not is_fixed
            if low > REPEATED_MAX and not is_fixed:
                yield depth + 1  # `re` goes round all of them, though the body be empty
            elif is_long or (depth and high != low):
                yield depth
            elif high != low:
                yield OPTION
            yield from _choices(body, depth + is_long)
        elif op is sre.BRANCH:
            yield depth or OPTION
            for body in given[1]:
                yield from _choices(body, depth)
        elif op is sre.SUBPATTERN:
            yield from _choices(given[3], depth)
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _choices(given[1], depth)
        elif op is sre.ATOMIC_GROUP:
            yield from _choices(given, depth)


class Automaton:
    """A pattern as places: before a character that has a test, or a fork. Place 0 is its end."""

    def __init__(self, tree: Iterable[Any]) -> None:
        self._tests: list[Test | None] = [None]  # of a place before a character
        self._next: list[tuple[int, ...]] = [()]
        self._only: list[str] = [""]  # "begin" or "end": a place that is passed only there
        self._work = 0  # of building: what is repeated may be empty, and make no places
        start = self._sequence(tree, 0)
        self._begin = self._closed([start], "begin")
        self._moves: dict[Places, dict[str, Places]] = {}

    def matches(self, value: str) -> bool:
        here = self._begin
        for one in value:
            moves = self._moves.get(here)
            if moves is None:
                if len(self._moves) >= SETS_MAX:
                    self._moves = {}
                moves = self._moves.setdefault(here, {})
            after = moves.get(one)
            if after is None:
                after = self._move(here, one)
                if len(moves) < SETS_MAX:
                    moves[one] = after
            if not after:
                return False
            here = after
        return 0 in here or 0 in self._closed(here, "begin end" if not value else "end")

    def _move(self, here: Places, one: str) -> Places:
        taken = (place for place in here if (test := self._tests[place]) is not None and test(one))
        return self._closed((target for place in taken for target in self._next[place]), "")

    def _closed(self, places: Iterable[int], passes: str) -> Places:
        """These places and all that are reached without a character."""
        found: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in found:
                continue
            found.add(place)
            only = self._only[place]
            if self._tests[place] is None and (not only or only in passes):
                waiting += self._next[place]
        return frozenset(found)

    # ---- building, from the end to the beginning

    def _place(self, test: Test | None, *targets: int, only: str = "") -> int:
        if len(self._next) >= PLACES_MAX:
            raise ValueError(f"has more than {PLACES_MAX} places; repeat less in it")
        self._tests.append(test)
        self._next.append(targets)
        self._only.append(only)
        return len(self._next) - 1

    def _sequence(self, items: Iterable[Any], after: int) -> int:
        self._work += 1
        if self._work > 2 * PLACES_MAX:
            raise ValueError(f"has more than {PLACES_MAX} places; repeat less in it")
        for op, given in reversed(list(items)):
            after = self._item(op, given, after)
        return after

    def _item(self, op: Any, given: Any, after: int) -> int:
        if op is sre.SUBPATTERN and not given[1] and not given[2]:
            return self._sequence(given[3], after)
        if op is sre.BRANCH:
            return self._place(None, *(self._sequence(body, after) for body in given[1]))
        if op in _REPEATS:
            return self._repeated(given[0], given[1], given[2], after)
        if op is sre.AT and given in (*_BEGINNINGS, *_ENDS):
            return self._place(None, after, only="begin" if given in _BEGINNINGS else "end")
        return self._place(_test_of(op, given), after)

    def _repeated(self, low: int, high: int, body: Any, after: int) -> int:
        if high == sre.MAXREPEAT:
            loop = self._place(None)
            self._next[loop] = (self._sequence(body, loop), after)
            after = loop
        else:
            end = after
            for _ in range(high - low):
                after = self._place(None, self._sequence(body, after), end)
        for _ in range(low):
            after = self._sequence(body, after)
        return after


def _test_of(op: Any, given: Any) -> Test:
    """The test of one character."""
    if op is sre.LITERAL:
        wanted = chr(given)
        return lambda one: one == wanted
    if op is sre.NOT_LITERAL:
        other = chr(given)
        return lambda one: one != other
    if op is sre.ANY:
        return lambda one: True
    if op is sre.IN:
        is_negated = bool(given) and given[0][0] is sre.NEGATE
        tests = [_member(kind, what) for kind, what in given[is_negated:]]
        return lambda one: any(test(one) for test in tests) != is_negated
    raise ValueError("looks around or refers back beside many repetitions, which can take for ever to match")


def _member(kind: Any, what: Any) -> Test:
    if kind is sre.RANGE:
        low, high = chr(what[0]), chr(what[1])
        return lambda one: low <= one <= high
    if kind is sre.CATEGORY and what in _CATEGORIES:
        return _CATEGORIES[what]
    return _test_of(kind, what)

"""Patterns of tag values: as Python's `re` has them, and quick on values made to be slow."""

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hms_ops.alert.patterns import PLACES_MAX, SETS_MAX, Automaton, is_simple, matcher

HOSTILE = [
    ("(a|a)*b", "a" * 4000),
    ("(a|ab|b)*c", "ab" * 2000),
    ("(a+)+b", "a" * 4000),
    ("(.*)*x", "y" * 4000),
    (".*a.*a.*a.*a.*b", "a" * 4000),
    ("(?:a?){60}a{60}", "a" * 59),
    ("a?" * 40 + "a" * 40, "a" * 39),
    ("(?:aa?){30}b", "a" * 50),
    ("(?:a|aa)" * 30 + "b", "a" * 45),
    ("([a-z]+-)*[0-9]+", "abc-" * 1000),
    ("(x+x+)+y", "x" * 4000),
]


@pytest.mark.parametrize(("pattern", "value"), HOSTILE)
def test_a_hostile_value_costs_a_step_a_character(pattern: str, value: str) -> None:
    test = matcher(pattern)
    begun = time.process_time()
    assert not test(value)
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize(
    ("pattern", "is_by_re"),
    [
        ("5..", True),
        ("us-.*", True),
        (".*-prod-.*", True),
        ("(us|eu)-(east|west)-[0-9]+", True),
        ("[a-z]{8}", True),
        ("https?-.*", True),
        ("(a|b)*", True),
        ("(ab){9}", True),
        ("(a|bc)*", False),
        ("(a+)+", False),
        ("(a?){60}", False),
        ("a?" * 7, False),
        ("(a|bc)" * 7, False),
        ("|".join(f"host-{n}" for n in range(40)), True),
        (".*a.*b.*c", False),
    ],
)
def test_plain_patterns_are_left_to_re(pattern: str, is_by_re: bool) -> None:
    assert is_simple(re._parser.parse(pattern)) is is_by_re  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "is no pattern"),
        ("a{99999999999}", "is no pattern"),
        ("(a+)+(?=b)", "looks around or refers back"),
        (r"(a+)+\1", "looks around or refers back"),
        ("(?i)(a+)+", "has flags"),
        ("((a{50}){50}b*){50}", f"more than {PLACES_MAX} places"),
        ("(((){9999}){9999}){9999}", f"more than {PLACES_MAX} places"),
        ("(?:){99999999}", f"more than {PLACES_MAX} places"),
    ],
)
def test_what_could_take_for_ever_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        matcher(pattern)


def test_a_look_ahead_alone_is_left_to_re() -> None:
    test = matcher("(?!test).*")
    assert [test("prod"), test("test-1")] == [True, False]


def test_sets_are_bounded() -> None:
    automaton = Automaton(re._parser.parse("(.*a.{11})*b"))  # type: ignore[attr-defined]
    value = "".join("ab"[(n * n // 7) % 2] for n in range(6000))
    assert not automaton.matches(value + "c")
    assert len(automaton._moves) <= SETS_MAX


ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", r"\D", "[a-c0-9]", "-", "", r"\.", "^", "$"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{0,}", "{2,3}"])),
    ),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None)
@given(PATTERNS, st.text("ab-.1 _", max_size=7))
def test_an_automaton_says_what_re_says(pattern: str, value: str) -> None:
    try:
        tree = re._parser.parse(pattern, re.DOTALL)  # type: ignore[attr-defined]
        compiled = re.compile(pattern, re.DOTALL)
    except (re.error, Warning):
        assume(False)
    try:
        automaton = Automaton(tree)
    except ValueError:  # it repeats too much
        assume(False)
    assert automaton.matches(value) is (compiled.fullmatch(value) is not None)

"""The expressions that /docs shows: each is one, and every function is among them."""

import re

import pytest

from hms_ops.alert.language.functions import NAMES
from hms_ops.alert.language.grammar import parse_query
from hms_ops.http.docspage import language_section
from hms_ops.http.languagepage import EXAMPLES


@pytest.mark.parametrize("example", [example for example, _ in EXAMPLES])
def test_every_example_is_an_expression(example: str) -> None:
    parse_query(example)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_is_shown(name: str) -> None:
    said = " ".join(f"{example} {meaning}" for example, meaning in EXAMPLES)
    assert re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", said)


def test_the_section_is_a_table_that_can_be_linked_to() -> None:
    section = language_section()
    assert 'id="language"' in section
    assert section.count("<tr ") == len(EXAMPLES) + 1

"""The fuzzer of the language: a short run, and that it finds what is planted. The long run: fuzz_language.py."""

import random

import pytest
from tests import fuzz_language


def test_a_few_thousand_texts_are_trees_or_errors_with_a_place() -> None:
    found, good = fuzz_language.run(3000, seed=1)
    assert found == ""
    assert 600 < good < 2700  # good texts and bad ones are both many


@pytest.mark.parametrize("fault", ["raise", "misplace", "lose"])
def test_a_planted_fault_is_found(fault: str) -> None:
    found, _ = fuzz_language.run(3000, seed=2, parse_statement=fuzz_language.PLANTS[fault])
    assert found.startswith("seed 2, text ")


def test_a_parser_that_hangs_is_interrupted_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_language, "SECONDS_MAX", 0.3)
    found, _ = fuzz_language.run(3000, seed=3, parse_statement=fuzz_language.PLANTS["hang"])
    assert "takes longer than 0.3 s" in found


def test_a_seed_makes_the_same_texts() -> None:
    first, second = (random.Random("7/0") for _ in range(2))
    assert [fuzz_language.text(first) for _ in range(300)] == [fuzz_language.text(second) for _ in range(300)]

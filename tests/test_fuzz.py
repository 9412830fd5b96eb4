"""The fuzzer itself: it finds what is planted, and shows the same for the same seed. `make fuzz` is the long run."""

import random

from tests import fuzz


def test_store_and_twin_agree_on_a_few_thousand_datagrams() -> None:
    assert fuzz.run(4000, seed=1, planted=False) == ""


def test_a_planted_fault_is_found() -> None:
    assert "got" in fuzz.run(3000, seed=2, planted=True)


def test_a_seed_makes_the_same_datagrams() -> None:
    first, second = (random.Random("7/0") for _ in range(2))
    assert [fuzz.datagram(first) for _ in range(500)] == [fuzz.datagram(second) for _ in range(500)]

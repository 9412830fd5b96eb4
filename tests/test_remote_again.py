"""What is sent again after a connection failed: from where, cut how, and which refusals cost nothing."""

import numpy as np
import pytest

from hms_ops.clock import SECOND_NS
from hms_ops.remote.again import RESEND_SECONDS, Again
from hms_ops.remote.encode import Rows
from hms_ops.remote.feed import Chunk, Position


def chunk(first: int, end: int, tile: int = 0) -> Chunk:
    """Rows of the steps of 10 s from first to end."""
    steps = np.arange(first, end, 10)
    return Chunk(Rows(steps, np.ones(len(steps), np.uint32), np.zeros((6, len(steps)))), Position(end, tile))


def accepted(*ends: int, at_seconds: int = 0) -> Again:
    again = Again()
    for before, after in zip((0, *ends), ends, strict=False):
        again.accepted(at_seconds * SECOND_NS, Position(before), Position(after))
    return again


def test_without_a_failure_nothing_is_bound() -> None:
    assert accepted(10, 20).bound(Position(20)) is None


def test_after_a_failure_chunks_come_again_as_they_were_cut() -> None:
    again = accepted(10, 30, 40)
    assert again.failed(Position(40), Position(70), 0) == Position(0)
    assert [again.bound(Position(step)) for step in (0, 10, 20, 30, 40, 60, 70)] == [10, 30, 30, 40, 70, 70, None]


def test_only_what_was_accepted_lately_comes_again() -> None:
    again = accepted(10)
    again.accepted((RESEND_SECONDS + 1) * SECOND_NS, Position(10), Position(20))
    assert again.failed(Position(20), Position(30), 0) == Position(10)


def test_with_nothing_accepted_the_chunk_itself_comes_again() -> None:
    assert Again().failed(Position(50), Position(60), 3) == Position(50)


@pytest.mark.parametrize(
    ("position", "end", "request_", "is_known"),
    [
        (0, 10, 5, True),
        (10, 40, 0, True),
        (40, 70, 1, True),
        (40, 70, 2, False),
        (70, 80, 0, False),
        (30, 50, 0, False),
    ],
)
def test_what_was_accepted_before_is_known(position: int, end: int, request_: int, is_known: bool) -> None:
    again = accepted(10, 40)
    again.failed(Position(40), Position(70), 2)
    assert again.is_known(chunk(position, end), Position(position), request_) == is_known


def test_of_a_sealed_block_the_tiles_accepted_are_known() -> None:
    again = Again()
    again.accepted(0, Position(0, 0), Position(0, 1))
    assert again.failed(Position(0, 1), Position(0, 2), 1) == Position(0, 0)
    assert again.is_known(chunk(0, 3600, 1), Position(0, 0), 7)
    assert again.is_known(chunk(0, 3600, 2), Position(0, 1), 0)
    assert not again.is_known(chunk(0, 3600, 2), Position(0, 1), 1)
    assert not again.is_known(chunk(0, 3600, 3), Position(0, 2), 0)


def test_a_second_failure_on_the_way_forgets_nothing_of_the_first() -> None:
    again = accepted(10, 20)
    again.failed(Position(20), Position(30), 1)
    again.accepted(0, Position(0), Position(10))
    assert again.failed(Position(10), Position(20), 0) == Position(0)
    assert [again.bound(Position(step)) for step in (0, 10, 20, 30)] == [10, 20, 30, None]
    assert again.is_known(chunk(10, 20), Position(10), 0)
    assert again.is_known(chunk(20, 30), Position(20), 0)
    assert not again.is_known(chunk(20, 30), Position(20), 1)

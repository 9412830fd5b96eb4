"""A restart at any tick changes nothing: neither which transitions happen and when, nor who is told."""

from pathlib import Path

import pytest
from tests.restarting import differences, judged, record_hour

from hms_ops.alert.evaluate import Evaluation

SECONDS = 900


@pytest.fixture(scope="module")
def recorded() -> list[Evaluation]:
    return record_hour(SECONDS)


def test_the_recording_has_something_to_lose(recorded: list[Evaluation], tmp_path: Path) -> None:
    log = judged(recorded, tmp_path / "plain", 0)
    assert {state for _, _, _, state, _, _ in log.transitions} == {"pending", "firing", "resolved"}
    assert len(log.transitions) > 20
    assert {why for _, _, why, _, _ in log.notifications} >= {"first", "resolved"}


@pytest.mark.parametrize("every", [1, 7])
def test_the_log_with_restarts_equals_the_log_without(recorded: list[Evaluation], tmp_path: Path, every: int) -> None:
    plain = judged(recorded, tmp_path / "plain", 0)
    restarted = judged(recorded, tmp_path / "restarted", every)
    assert restarted.restarts == SECONDS // every
    assert list(differences(plain, restarted)) == []


def test_a_lost_state_would_be_noticed(recorded: list[Evaluation], tmp_path: Path) -> None:
    """The harness plants a fault: a run whose states are thrown away in the middle."""
    plain = judged(recorded, tmp_path / "plain", 0)
    half = len(recorded) // 2
    first = judged(recorded[:half], tmp_path / "first", 0)
    second = judged(recorded[half:], tmp_path / "second", 0)
    first.transitions += second.transitions
    first.notifications += second.notifications
    assert list(differences(plain, first)) != []

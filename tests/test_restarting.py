"""A restart at any tick changes nothing: neither which transitions happen and when, nor who is told."""

from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering
from tests.engines import NOW, feed, manual
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


# ---- the whole engine: its keeper, outbox and receivers, too

SIGNS = "1" * 3 + "9" * 14 + "1" * 4 + "9" * 3 + "1" * 12
ENGINE_RULES = [
    {"alert": "hot", "if": "last(heat) > 5", "for": "8s", "keep": "3s"},
    {"alert": "warm", "if": "last(heat) > 5", "severity": "page"},
]


def lived(directory: Path, url: str, *, with_restarts: bool) -> list[tuple[int, str, str]]:
    """(second, alert, state) of every event of an engine that gets a value a second."""
    found: list[tuple[int, str, str]] = []
    rules = [{**rule, "notify": f"webhook:{url}"} for rule in ENGINE_RULES]
    config = {"rules": rules}

    def note(event: dict[str, Any]) -> None:
        if event["kind"] == "alert":
            found.append((event["time_ns"] // 1_000_000_000 - NOW, event["name"], event["state"]))

    lives = [*SIGNS] if with_restarts else [SIGNS]
    second = NOW
    for signs in lives:
        with manual(now=second, data_dir=directory, config=config) as engine:
            engine.watch(note)
            for sign in signs:
                feed(engine, "heat", float(sign), 1, kind="gauge")
        second += len(signs)
    return found


def test_an_engine_that_restarts_every_second_tells_the_same_and_nobody_twice(tmp_path: Path) -> None:
    told: dict[bool, list[tuple[str, str]]] = {}
    events = {}
    for with_restarts in (False, True):
        with answering() as server:
            events[with_restarts] = lived(tmp_path / str(with_restarts), server.url, with_restarts=with_restarts)
        told[with_restarts] = sorted(
            (request.document["alerts"][0]["labels"]["alertname"], request.document["status"])
            for request in server.requests
        )
    assert len(events[False]) == 8
    assert events[True] == events[False]
    assert told[True] == told[False]

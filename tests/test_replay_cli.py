"""`rules replay` on a data directory and on a running engine: the same episodes, said for people and for programs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.recording import Recording

from hms_ops import Engine
from hms_ops.cli.main import call
from hms_ops.cli.rules_replay import duration_words, summary_lines
from hms_ops.replaying import Summary

RULES = """
rules:
  - ALERT slow WHEN avg(api_ms, 1m) > 200ms FOR 1m EVERY 10s GROUP BY host
  - ALERT tail WHEN p90(api_ms, 5m) > 0.25s EVERY 1m
  - ALERT calm WHEN avg(api_ms) > 1s
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def begin() -> int:
    """Two hours ago, at a full minute."""
    now = int(time.time())
    return now - now % 60 - 7200


@pytest.fixture
def data_dir(tmp_path: Path, begin: int) -> Path:
    """An hour of a timer that is slow for ten minutes."""
    directory = tmp_path / "data"
    with Recording(directory, first=begin) as recording:
        for second in range(3600):
            slow = 1200 <= second < 1800
            if second % 5 == 0:
                recording.add("api_ms", 300.0 if slow else 100.0, "ms", "host:a")
                recording.add("api_ms", 90.0, "ms", "host:b")
            recording.advance(1)
    return directory


def replayed(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    assert call(["rules", "replay", *map(str, arguments), "--since", "3h", "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_data_directory_is_replayed(
    rules: Path, data_dir: Path, begin: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replayed(capsys, rules, "--data-dir", data_dir)
    slow, tail, calm = found["rules"]
    assert (slow["fired"], slow["pending_only"], slow["problem"]) == (1, 0, "")
    (episode,) = slow["episodes"]
    # half of the window's samples must be slow, and the minute of FOR passes
    assert episode == {
        "tags": {"host": "a"},
        "severity": "page",
        "pending": begin + 1240,
        "firing": begin + 1300,
        "resolved": begin + 1830,
        "peak": 300.0,
        "reason": "",
    }
    (one,) = tail["episodes"]
    assert begin + 1200 < one["firing"] <= begin + 1320
    assert one["peak"] == pytest.approx(300, rel=0.05)
    assert (calm["fired"], calm["episodes"]) == (0, [])
    assert found["judged_each"].keys() == {"10"}


def test_a_running_engine_s_export_gives_the_same(
    rules: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = replayed(capsys, rules, "--alert", "slow", "--data-dir", data_dir)
    with Engine(udp=None, http="127.0.0.1:0", data_dir=data_dir) as engine:
        assert engine.http_address is not None
        url = "http://{}:{}".format(*engine.http_address)
        asked = replayed(capsys, rules, "--alert", "slow", "--url", url)
    assert asked["rules"][0]["episodes"] == alone["rules"][0]["episodes"]


def test_it_is_said_in_words(rules: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["rules", "replay", str(rules), "--data-dir", str(data_dir), "--since", "3h"]) == 0
    out = capsys.readouterr().out
    assert "slow: fired once in " in out
    assert "8m 50s in all" in out
    assert "peak 300  host=a" in out
    assert "calm: never fired" in out


def test_a_rule_that_cannot_be_evaluated_says_so_and_exits_1(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("rules:\n  - ALERT odd WHEN avg(members) > 1\n")
    with Recording(data_dir, first=int(time.time())) as recording:
        recording.add("members", 1.0, "g")
        recording.advance(1)
    assert call(["rules", "replay", str(path), "--data-dir", str(data_dir), "--since", "2h"]) == 0
    assert "never fired" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--alert", "nobody"], 2, "no rule 'nobody'"),
        (["--step", "15s"], 2, "multiple of 10s"),
        (["--data-dir", "/nonexistent"], 3, "no data directory"),
        (["--url", "http://127.0.0.1:1"], 4, "no engine answers"),
    ],
)
def test_what_is_wrong_is_said(
    rules: Path, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["rules", "replay", str(rules), *arguments]) == code
    assert words in capsys.readouterr().err


def test_durations_have_two_units() -> None:
    assert [duration_words(seconds) for seconds in (0, 59, 60, 3661, 90_061)] == ["0s", "59s", "1m", "1h 1m", "1d 1h"]


def test_no_rate_a_day_is_made_out_of_less_than_a_day() -> None:
    found = Summary("slow", 1, 0, 60, 60, 0.25, 360.0, "")
    assert summary_lines(found, 240)[0] == "slow: fired once in 4m"
    assert summary_lines(found._replace(fired=3), 2 * 3600)[0] == "slow: fired 3 times in 2h"
    assert summary_lines(found._replace(fired=3, per_day=1.5), 2 * 86_400)[0] == "slow: fired 3 times, 1.5 a day"

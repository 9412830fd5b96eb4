"""`check-config` as it warns: of what the files say alone, and of what a running engine knows of their metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engines import feed, manual

from hms_ops.cli.known import Running, gap_of
from hms_ops.cli.main import call

RULES = """
rules:
  - ALERT slow WHEN avg(api_ms, 10s) > 200 RECOVER < 250
  - ALERT gone WHEN avg(apy_ms) > 200
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def checked(path: Path, capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, Any]:
    assert call(["check-config", str(path), "--json", *more]) == code
    (found,) = json.loads(capsys.readouterr().out)["files"]
    return dict(found)


def test_a_file_is_linted_and_still_valid(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(rules, capsys)
    assert found["valid"]
    (warning,) = found["warnings"]
    assert warning.startswith(f"{rules}:3: slow: RECOVER avg(api_ms[10s]) < 250 adds nothing")
    assert call(["check-config", str(rules)]) == 0
    assert "warning: " in capsys.readouterr().err


def test_a_configuration_s_rules_are_linted_too(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = rules.parent / "engine.yaml"
    settings.write_text(f"rules: [{rules}]\n")
    assert [line for line in checked(settings, capsys)["warnings"] if "adds nothing" in line]


def test_an_engine_says_which_metrics_nobody_sends_and_which_come_too_seldom(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with manual(http="127.0.0.1:0") as engine:
        assert engine.http_address is not None
        url = "http://{}:{}".format(*engine.http_address)
        for _ in range(10):
            feed(engine, "api_ms", 100.0, 1, tags={"host": "a"})
            engine.advance(7)
        warnings = checked(rules, capsys, "--url", url)["warnings"]
        assert Running(url).gap_seconds("api_ms") == pytest.approx(8.0, rel=0.1)
        assert Running(url).gap_seconds("apy_ms") is None
    assert len(warnings) == 3
    assert "adds nothing" in warnings[0]
    assert "the window 10s of api_ms is shorter than twice its sample gap of 8" in warnings[1]
    assert (
        warnings[2]
        == f"{rules}:4: gone: no metric 'apy_ms' was ever seen, so this cannot fire; send it, or correct its name"
    )


def test_what_cannot_be_evaluated_is_a_problem_as_it_is_at_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - ALERT a WHEN avg(x_ms) > 5MiB\n  - ALERT b WHEN quantile(x, 7) > 1\n")
    problems = checked(path, capsys, code=3)["problems"]
    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:3"]
    assert "a size is compared with a time" in problems[0]


def test_a_rule_that_takes_the_name_of_a_metric_is_a_problem_as_it_is_at_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - ALERT slow WHEN avg(api_ms) > 5\n  - ALERT alarm WHEN slow = 1\n  - ALERT kept.good WHEN x > 1\n"
        "slos: [{slo: kept, objective: 99, good: api_ms < 5}]\n"
    )
    slow, kept = checked(path, capsys, code=3)["problems"]
    assert slow.startswith(f"{path}:2: slow: the rule 'alarm' reads the metric of that name")
    assert kept.startswith(f"{path}:4: kept.good: the SLO 'kept' publishes")


def test_the_objective_of_another_file_is_no_problem_of_a_rule_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - ALERT a WHEN burn_rate(kept, 1h) > 9 POLICY cio\n")
    assert checked(path, capsys)["valid"]
    (tmp_path / "engine.yaml").write_text(f"rules: [{path}]\n")
    (problem,) = checked(tmp_path / "engine.yaml", capsys, code=3)["problems"]
    assert "there is no objective 'kept'" in problem


def test_nobody_at_the_address_is_exit_code_4(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["check-config", str(rules), "--url", "http://127.0.0.1:1"]) == 4
    assert "no engine answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("points", "gap"),
    [
        ([], None),
        ([[0, 1.0], [10, 1.0]], None),
        ([[60, 5.0], [70, None], [80, 5.0]], 4.0),
        ([[0, 0.0], [50, 5.0]], 10.0),
    ],
)
def test_a_gap_counts_from_the_first_sample(points: list[list[Any]], gap: float | None) -> None:
    assert gap_of(points, 100) == gap

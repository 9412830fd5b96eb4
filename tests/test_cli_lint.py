"""`check-config` as it warns: of what the files say alone, and of what a running engine knows of their metrics."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.engines import feed, manual

from hms_ops.cli.known import Running, gap_of
from hms_ops.cli.main import call
from hms_ops.cli.reach import RequestRefused, in_commands

ROOT = Path(__file__).parent.parent

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


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert call(["check-config", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_print_of_a_rule_file_prints_its_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n"
        "  - {alert: slow, if: avg(api_ms) > 200, for: 3m, notify: ['webhook:https://u:pw@hooks.example/T/SECRET']}\n"
        "anomalies:\n  - {anomaly: odd, metric: api_ms, factor: 3}\n"
        "actions:\n  - {on: odd, act: {command: ['true']}}\n"
    )
    shown = printed(capsys, path, "--print")
    told = yaml.safe_load(shown)
    assert (told["rules"][0]["alert"], told["rules"][0]["for"], told["rules"][0]["nodata"]) == ("slow", "3m", "keep")
    assert (told["anomalies"][0]["factor"], told["actions"][0]["on"]) == (3.0, "odd")
    assert "pw" not in shown
    assert json.loads(printed(capsys, path, "--print", "--json"))["rules"][0]["alert"] == "slow"


def test_names_that_no_file_has_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, people = tmp_path / "rules.yaml", tmp_path / "people.yaml"
    rules.write_text(
        "rules:\n  - {alert: slow, if: avg(api_ms) > 200, policy: dba}\n"
        "actions:\n  - {on: nothing.here, act: {command: ['true']}}\n"
    )
    assert checked(rules, capsys)["warnings"] == [
        f"{rules}:2: slow: no policy 'dba' in the files checked, so it does not escalate",
        f"{rules}:4: no rule or anomaly 'nothing.here' in the files checked; it waits for alert_now",
    ]
    people.write_text("policies:\n  - {policy: dba, levels: [{notify: ['log:']}]}\n")
    assert call(["check-config", str(rules), str(people)]) == 0
    assert "'dba'" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("severity", "warning"),
    [("pgae", "did you mean 'page'?"), ("Page", "did you mean 'page'?"), ("critical", "waits with its group")],
)
def test_a_severity_that_may_not_be_what_it_seems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], severity: str, warning: str
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n  - {{alert: slow, if: avg(api_ms) > 200, severity: {severity}}}\n")
    (told,) = checked(path, capsys)["warnings"]
    assert warning in told


def test_a_configuration_whose_rules_reach_nobody_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, settings = tmp_path / "rules.yaml", tmp_path / "engine.yaml"
    rules.write_text("rules:\n  - ALERT slow WHEN avg(api_ms) > 200\n  - ALERT b WHEN avg(x) > 2 NOTIFY log\n")
    settings.write_text(f"rules: [{rules}]\n")
    told = [line for line in checked(settings, capsys)["warnings"] if "the log only" in line]
    assert told == [f"{rules}:2: slow: no receiver, route or policy: the log only"]


REQUEST = re.compile(r"\b(?:GET|POST|DELETE) /v1/[\w/-]+")


def test_refusals_name_commands_where_the_engine_names_requests() -> None:
    refused = RequestRefused(404, {"detail": "no alert 'x' fires; GET /v1/alerts lists what does"})
    assert str(refused) == "no alert 'x' fires; `hms-ops-engine alerts list` lists what does"
    for source in (ROOT / "src" / "hms_ops" / "http").glob("*.py"):
        for line in source.read_text().splitlines():
            if "Problem(" in line or "why = " in line:
                assert not REQUEST.search(in_commands(line)), f"{source.name}: {line}"


def test_no_credentials_of_a_sentence_s_receivers_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text('rules:\n  - ALERT slow WHEN avg(api_ms) > 200 NOTIFY "webhook:http://u:secret@h/?t=secret"\n')
    for command in (["check-config", "--print"], ["check-config", "--print", "--json"], ["rules", "export"]):
        assert call([*command, str(path)]) == 0
        assert "secret" not in capsys.readouterr().out, command
    path.write_text('rules:\n  - ALERT two WHEN avg(api_ms) > max(a) NOTIFY "webhook:http://u:secret@h/?t=secret"\n')
    call(["rules", "export", str(path)])
    assert "secret" not in capsys.readouterr().out

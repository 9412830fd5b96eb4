"""Rules as a Prometheus rule file: what real promtool takes, and how real Prometheus alerts by it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.engines import feed, manual
from tests.remotes import program

from hms_ops import kinds
from hms_ops.alert.rule import Rule, rule_from_sentence
from hms_ops.cli.main import call
from hms_ops.remote.export import exported, rule_file
from hms_ops.remote.promql import Outside

KINDS = {"orders": kinds.COUNTER, "depth": kinds.GAUGE, "api_ms": kinds.TIMER}
OUTSIDE = Outside(60, kind=lambda metric: KINDS.get(metric, kinds.GAUGE))
SENTENCES = [
    "ALERT slow WHEN avg(api_ms) > 200 GROUP BY agency RECOVER < 150 FOR 3m KEEP 1m",
    "ALERT gone WHEN ABSENT(api.up) FOR 1m SEVERITY ticket",
    "ALERT tail WHEN p99(api_ms, 5m) > 1s NODATA ok",
    "ALERT full WHEN max('disk{{used}}') > 90 GROUP BY * NODATA alert",
    "ALERT few WHEN coalesce(avg(depth), 0) < 1 AND NOT rate(orders) BETWEEN 1 AND 2 GROUP BY host",
    "ALERT odd WHEN max(depth) / count(depth) > 3 OR depth IS NULL WHERE host != 'a'",
]


def rule(sentence: str) -> Rule:
    made, problems = rule_from_sentence(sentence, "test")
    assert made is not None, problems
    return made


def test_promtool_takes_what_is_exported(tmp_path: Path) -> None:
    promtool = program("promtool")
    path = tmp_path / "rules.yaml"
    path.write_text(rule_file([*map(rule, SENTENCES), rule("ALERT dev WHEN stddev(api_ms) > 2")], OUTSIDE))
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(SENTENCES)} rules found" in done.stdout
    (group,) = yaml.safe_load(path.read_text())["groups"]
    slow, gone, *_ = group["rules"]
    assert (slow["for"], slow["keep_firing_for"], slow["labels"]) == ("180000ms", "60000ms", {"severity": "page"})
    assert (slow["annotations"]["hms_ops_lowering"], gone["labels"]) == ("exact", {"severity": "ticket"})
    assert "# dev: unsupported: the deviation within steps is not sent" in path.read_text()


def test_no_rules_make_a_file_too(tmp_path: Path) -> None:
    assert yaml.safe_load(rule_file([], OUTSIDE))["groups"] == [{"name": "hms-ops", "rules": []}]


# With steps of 10 s a window of 30 s sees one of the samples that promtool puts on each minute.
FINE = Outside(10, kind=lambda metric: KINDS.get(metric, kinds.GAUGE))


def alerts_of(tmp_path: Path, sentence: str, series: dict[str, str], expected: dict[int, list[dict[str, str]]]) -> None:
    """promtool runs the exported rule over series of one sample a minute: what is firing at which minute."""
    (tmp_path / "rules.yaml").write_text(rule_file([rule(sentence)], FINE))
    name = rule(sentence).name
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series_, "values": values} for series_, values in series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": f"{minute}m",
                        "alertname": name,
                        "exp_alerts": [alert_of(sentence, labels) for labels in found],
                    }
                    for minute, found in expected.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(test))
    done = subprocess.run(
        [program("promtool"), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def alert_of(sentence: str, labels: dict[str, str]) -> dict[str, Any]:
    annotations = {"hms_ops_rule": sentence, "hms_ops_lowering": exported(rule(sentence), FINE).grade}
    return {"exp_labels": {"severity": "page", **labels}, "exp_annotations": annotations}


IRS = [{"agency": "irs"}]


def test_an_alert_fires_after_its_hold_and_ends_when_it_has_recovered(tmp_path: Path) -> None:
    alerts_of(
        tmp_path,
        "ALERT slow WHEN avg(api_ms, 30s) > 200 GROUP BY agency RECOVER < 150 FOR 2m",
        {
            'api_ms_sum{agency="irs"}': "100 300 300 300 180 180 100 100",
            'api_ms_count{agency="irs"}': "1x7",
        },
        {0: [], 2: [], 3: IRS, 4: IRS, 5: IRS, 6: [], 7: []},
    )


def test_missing_data_resolves_nothing(tmp_path: Path) -> None:
    alerts_of(
        tmp_path,
        "ALERT deep WHEN max(depth, 30s) > 10 GROUP BY agency",
        {'depth_max{agency="irs"}': "1 20 _ _ _ _ 20 5"},
        {0: [], 1: IRS, 2: IRS, 5: IRS, 6: IRS, 7: []},
    )


def test_missing_data_is_fine_where_the_rule_says_so(tmp_path: Path) -> None:
    alerts_of(
        tmp_path,
        "ALERT deep WHEN max(depth, 30s) > 10 GROUP BY agency NODATA ok",
        {'depth_max{agency="irs"}': "1 20 _ _ _ _ 20 5"},
        {0: [], 1: IRS, 2: [], 5: [], 6: IRS, 7: []},
    )


def test_missing_data_fires_where_the_rule_says_so(tmp_path: Path) -> None:
    alerts_of(
        tmp_path,
        "ALERT deep WHEN max(depth, 30s) > 10 NODATA alert",
        {'depth_max{agency="irs"}': "1 1 _ _ _ 1 1 1"},
        {0: [], 1: [], 2: [{}], 4: [{}], 5: [], 7: []},
    )


# ---- on the command line


def test_rules_are_exported_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - ALERT slow WHEN avg(api_ms) > 200\n  - ALERT dev WHEN stddev(api_ms) > 2\n")
    assert call(["rules", "export", str(path)]) == 1
    shown = capsys.readouterr()
    assert yaml.safe_load(shown.out)["groups"][0]["rules"][0]["alert"] == "slow"
    assert "1 of 2 rules cannot be said in PromQL: dev" in shown.err
    assert call(["rules", "export", str(path), "--json", "--tier", "1h"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["lowering"].partition(":")[0] for one in found] == ["approximate", "unsupported"]


def test_a_configuration_is_exported_with_the_names_and_the_tier_of_its_remote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "engine.yaml"
    remote = "{vm: {url: 'http://127.0.0.1:8428/api/v1/write', tier: 10s, dotted_names: true}}"
    path.write_text(f"remote: {remote}\nrules:\n  - ALERT slow WHEN max(a.b, 30s) > 2\n")
    assert call(["rules", "export", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert '{__name__="a.b_max"}[30s]' in found["promql"]
    assert found["lowering"] == "exact"


def test_a_running_engine_is_asked_for_the_kinds_of_the_metrics_in_the_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - ALERT a WHEN sum('a b', 5m) > 2\n  - ALERT c WHEN avg(api_ms, 5m) > 2\n")
    guessed = exports(path, capsys)
    with manual(http="127.0.0.1:0") as engine:
        assert engine.http_address is not None
        url = "http://{}:{}".format(*engine.http_address)
        assert exports(path, capsys, "--url", url) == guessed  # it knows none of them
        feed(engine, "a b", 1.0, 2, kind="counter")
        known = exports(path, capsys, "--url", url)
    assert known[0]["promql"] != guessed[0]["promql"]
    assert "counts 0" in known[0]["lowering"]  # as a counter's silence does
    assert known[1] == guessed[1]


def exports(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, str]]:
    call(["rules", "export", str(path), "--json", *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    found: list[dict[str, str]] = json.loads(out)
    return found


@pytest.mark.parametrize(("text", "code"), [("rules: [ALERT a WHEN]\n", 3), ("remote: {vm: {}}\n", 3)])
def test_a_file_that_is_wrong_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int
) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(text)
    assert call(["rules", "export", str(path)]) == code
    assert str(path) in capsys.readouterr().err

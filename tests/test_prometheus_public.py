"""Public rule sets: what of them can be imported, and that all of it agrees with the real promtool.

The rule files stand in tests/rulefiles with their licence; Ceph's are read where Debian's package is installed.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.promtool import PROMTOOL, Trial, imported_of, run_promtool, told, trials

from hms_ops.alert.rule import rule_from_keys
from hms_ops.prometheus.outcomes import Outcome, counts
from hms_ops.prometheus.rulesfile import read_groups
from hms_ops.prometheus.run import outcomes_of
from hms_ops.yamlfile import load_file

FILES = Path(__file__).parent / "rulefiles"
MIXIN = FILES / "prometheus-mixin.yaml"
CEPH_PLACES = (Path("/"), Path(__file__).parent.parent / ".make/servers")  # installed, or as .ci/servers unpacks it
CEPH = next(
    (path for place in CEPH_PLACES if (path := place / "etc/prometheus/ceph/ceph_default_alerts.yml").exists()), Path()
)
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="no promtool here: apt-get install prometheus")
needs_ceph = pytest.mark.skipif(not CEPH.is_file(), reason="no Ceph rules here: apt-get install ceph-prometheus-alerts")


def failures(outcomes: list[Outcome]) -> list[str]:
    return ["\n".join(outcome.lines()) for outcome in outcomes if outcome.result == "failed"]


def test_of_the_mixin_of_prometheus_all_but_three_alerts_can_be_imported() -> None:
    made = imported_of(MIXIN)
    assert Counter(one.grade for one in made) == {"exact": 3, "approximate": 15, "unsupported": 3}
    assert {one.name: one.notes[0].reason.split(";")[0] for one in made if one.rule is None} == {
        "PrometheusNotIngestingSamples": "`without` leaves labels that are not named",
        "PrometheusRemoteWriteBehind": "group_left and group_right match several series to one",
        "PrometheusErrorSendingAlertsToAnyAlertmanager": "`without` leaves labels that are not named",
    }


@needs_ceph
def test_of_ceph_s_alerts_most_can_be_imported() -> None:
    grades = Counter(one.grade for one in imported_of(CEPH))
    assert grades["exact"] > 40
    assert grades["unsupported"] / grades.total() < 0.25


def test_unit_tests_of_a_public_rule_set_pass_here() -> None:
    outcomes = list(outcomes_of(FILES / "prometheus-mixin.test.yml"))
    assert failures(outcomes) == []
    assert counts(outcomes) == {"passed": 13, "failed": 0, "unsupported": 0}


@needs_promtool
def test_the_same_unit_tests_pass_in_promtool() -> None:
    done = run_promtool(FILES / "prometheus-mixin.test.yml")
    assert done.returncode == 0, told(done)


def test_promtool_s_own_unit_tests_pass_but_for_what_is_named() -> None:
    """Those of Prometheus 2.42, whose windows still hold the sample on their left border: 61 where Prometheus 3 and we
    have 60."""
    outcomes = list(outcomes_of(FILES / "promtool-unittest.yml"))
    wrong = [outcome for outcome in outcomes if outcome.result == "failed"]
    assert [(list(one.expected), list(one.got)) for one in wrong] == [
        (['job:test:count_over_time1m{job="test"} 61'], ['job:test:count_over_time1m{job="test"} 60'])
    ] * 2
    reasons = Counter(outcome.reason.split(": ")[-1].split(";")[0] for outcome in outcomes if outcome.reason)
    assert reasons == {
        "the language has no clock": 9,
        "a window over a recording rule, whose past is not kept here": 1,
        "test_stale has a staleness marker": 1,
        "alerts are no series with labels here": 1,
    }
    assert counts(outcomes)["passed"] == 7


# ---- samples at random


def judged_by_promtool(file: Path, seed: int, folder: Path) -> tuple[int, int]:
    """How many trials were made and agree with promtool, and in how many of them something fired."""
    origins = read_groups(load_file(file))
    paths, firing = [], 0
    for number, (trial, _) in enumerate(trials(file, seed)):
        if isinstance(trial, Trial):
            place = folder / str(number)
            place.mkdir()
            paths.append(trial.write(place, origins))
            firing += any(
                test["exp_alerts"] for test in json.loads(paths[-1].read_text())["tests"][0]["alert_rule_test"]
            )
    done = run_promtool(*paths)
    assert done.returncode == 0, told(done)
    return len(paths), firing


@needs_promtool
@pytest.mark.parametrize("seed", [1, 2])
def test_what_fires_for_samples_at_random_is_what_fires_in_prometheus(seed: int, tmp_path: Path) -> None:
    tried, firing = judged_by_promtool(MIXIN, seed, tmp_path)
    assert tried >= 15
    assert firing >= tried * 0.7


@needs_promtool
@needs_ceph
def test_ceph_s_alerts_fire_as_in_prometheus(tmp_path: Path) -> None:
    tried, firing = judged_by_promtool(CEPH, 1, tmp_path)
    assert tried >= 40
    assert firing >= tried * 0.7


@needs_promtool
@pytest.mark.parametrize("change", [{"for": "11m"}, {"if": "max(prometheus_config_last_reload_successful[5m]) = 1"}])
def test_a_rule_that_differs_is_found(change: dict[str, str], tmp_path: Path) -> None:
    """The hunt itself: a fault that is planted in our rule is no agreement."""
    trial = next(
        trial
        for seed in range(20)
        for trial, one in trials(MIXIN, seed)
        if one.name == "PrometheusBadConfig" and isinstance(trial, Trial) and any(trial.firing())
    )
    assert trial.one.keys is not None
    rule, problems = rule_from_keys({**trial.one.keys, **change}, "planted")
    assert problems == []
    assert rule is not None
    done = run_promtool(replace(trial, rule=rule).write(tmp_path, [trial.one.origin]))
    assert done.returncode == 1
    assert "FAILED" in told(done)

"""SLOs in a whole engine: from the rule file to the page, and what HTTP and the command line tell of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import NOW, manual
from tests.serving import Serving, serving

from hms_ops import Engine
from hms_ops.cli.main import call
from hms_ops.errors import ConfigError

ROOT = Path(__file__).parent.parent
SLO = """
slos:
  - slo: finance.api_latency
    objective: 99.9
    good: finance.api_ms <= 200
    notify: ["log:"]
    annotations: {runbook: look at the database}
  - slo: web.answers
    objective: 99
    good: web.ok
    total: web.all
    group_by: [host]
"""


def promising(directory: Path, text: str = SLO, **settings: Any) -> Engine:
    file = directory / "slos.yaml"
    file.write_text(text)
    return manual(config={"rules": [str(file)]}, **settings)


def run(engine: Engine, seconds: int, *values: float) -> list[tuple[str, str]]:
    """Those values in each second; (name, state) of the alerts that came meanwhile."""
    told: list[tuple[str, str]] = []
    end = engine.watch(lambda event: told.append((event["name"], event["state"])) if event["kind"] == "alert" else None)
    for _ in range(seconds):
        for value in values:
            engine.metric("finance.api_ms", value, "timer")
        engine.advance(1)
    end()
    return told


def test_an_outage_pages_by_the_fast_burns_and_ends_with_the_short_window(tmp_path: Path) -> None:
    with promising(tmp_path) as engine:
        assert run(engine, 600, 100.0, 150.0) == []
        outage = run(engine, 120, 100.0, 500.0)
        fast = "finance.api_latency.burn_fast"
        assert (fast, "firing") in outage
        [alert] = [alert for alert in engine.alerts() if alert.name == fast]
        assert (alert.severity, alert.annotations["runbook"]) == ("page", "look at the database")
        assert alert.rule_tags["slo"] == "finance.api_latency"
        assert alert.value == pytest.approx(engine.value("burn_rate(finance.api_latency, 1h)"), rel=0.05)
        assert engine.health() == []
        recovery = run(engine, 420, 100.0, 100.0)
        assert (fast, "resolved") in recovery
        assert recovery.count((fast, "firing")) == 0


def test_the_counts_are_those_of_the_samples_in_any_window(tmp_path: Path) -> None:
    with promising(tmp_path) as engine:
        run(engine, 100, 100.0, 200.0, 200.5)
        for window in ("1s", "10s", "1m", "90s"):
            seconds = min(engine.value(f"count(finance.api_ms, {window})") / 3, 99)
            assert engine.value(f"increase(finance.api_latency.total, {window})") == 3 * seconds
            assert engine.value(f"increase(finance.api_latency.good, {window})") == 2 * seconds
        assert engine.value("finance.api_latency.budget") == pytest.approx(1 - (1 / 3) / 0.001)


def test_a_restart_keeps_the_budget(tmp_path: Path) -> None:
    with promising(tmp_path, data_dir=tmp_path / "data") as engine:
        run(engine, 120, 100.0, 100.0, 100.0, 500.0)
        [before] = engine.slos()[0]["groups"]
    with promising(tmp_path, now=NOW + 150, data_dir=tmp_path / "data") as engine:
        run(engine, 10)
        [after] = engine.slos()[0]["groups"]
        assert (after["good"], after["total"]) == (before["good"], before["total"]) == (3 * 119, 4 * 119)
        assert after["budget"] == before["budget"]
        assert engine.value("finance.api_latency.budget") == pytest.approx(after["budget"])


def test_a_reload_takes_slos_with_the_rules_or_neither(tmp_path: Path) -> None:
    with promising(tmp_path) as engine:
        file = tmp_path / "slos.yaml"
        run(engine, 20, 100.0, 500.0)
        file.write_text(SLO.replace("99.9", "99.5"))
        engine.reload()
        assert engine.value("burn_rate(finance.api_latency, 10s)") == pytest.approx(0.5 / 0.005)
        assert engine.slos()[0]["groups"][0]["total"] == 2 * 19
        file.write_text(SLO.replace("finance.api_ms <= 200", "finance.api_ms <= 200MiB"))
        with pytest.raises(ConfigError, match="a size is compared with a time"):
            engine.reload()
        file.write_text(SLO + "rules: [{alert: finance.api_latency.good, if: x > 1}]")
        with pytest.raises(ConfigError, match=r"finance\.api_latency"):
            engine.reload()
        run(engine, 20, 100.0)
        assert [one["objective"] for one in engine.slos()] == [99.5, 99.0]


def test_the_finance_slo_that_ships_loads_and_counts() -> None:
    with manual(config={"rules": [str(ROOT / "config" / "rules" / "finance-slo.yaml")]}) as engine:
        run(engine, 30, 200.0, 201.0)
        [slo] = engine.slos()
        assert (slo["slo"], slo["objective"], slo["window_seconds"]) == ("finance.api_latency", 99.9, 30 * 86_400)
        assert (slo["groups"][0]["good"], slo["groups"][0]["total"]) == (29, 58)
        assert {rule.name.rpartition(".")[2] for rule in engine.rules()} == {
            "burn_fast",
            "burn_medium",
            "burn_slow",
            "burn_creep",
        }


def test_check_config_takes_the_finance_slo(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["check-config", str(ROOT / "config" / "rules" / "finance-slo.yaml")]) == 0
    assert "Traceback" not in capsys.readouterr().err


# ---- HTTP and the command line


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """One SLO kept, one group of the other burning; the commands find it."""
    (tmp_path / "slos.yaml").write_text(SLO)
    with serving(rules=[str(tmp_path / "slos.yaml")]) as made:
        monkeypatch.setenv("HMS_OPS_HTTP", "http://{}:{}".format(*made.address))
        for _ in range(30):
            made.engine.metric("finance.api_ms", 100.0, "timer")
            for host, ok in (("a", 3.0), ("b", 4.0)):
                made.engine.metric("web.all", 4.0, "counter", {"host": host})
                made.engine.metric("web.ok", ok, "counter", {"host": host})
            made.engine.advance(1)
        yield made


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = call(arguments)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_http_tells_every_slo_as_it_stands(site: Serving) -> None:
    found = site.get("/v1/slos").json()["slos"]
    assert [one["slo"] for one in found] == ["finance.api_latency", "web.answers"]
    groups = {group["tags"]["host"]: group for group in found[1]["groups"]}
    assert (groups["a"]["state"], groups["a"]["compliance"]) == ("burning", 0.75)
    assert groups["a"]["firing"] == ["web.answers.burn_fast"]
    assert (groups["b"]["state"], groups["b"]["budget"]) == ("ok", 1.0)
    assert groups["a"]["burn"]["3600"] == pytest.approx(25.0)
    assert site.get("/v1/slos", params={"name": "web.answers"}).json() == {"slos": [found[1]]}


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"name": "web.answer"}, 404, "did you mean 'web.answers'?"),
        ({"nam": "x"}, 400, "unknown parameter 'nam'"),
    ],
)
def test_http_refuses_what_it_does_not_know(site: Serving, given: dict[str, str], status: int, said: str) -> None:
    found = site.get("/v1/slos", params=given)
    assert found.status_code == status
    assert said in found.json()["detail"]


def test_http_without_slos_answers_with_none() -> None:
    with serving() as made:
        assert made.get("/v1/slos").json() == {"slos": []}
        assert "there are none" in made.get("/v1/slos", params={"name": "x"}).json()["detail"]


def test_slos_are_listed(site: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "slo", "list")
    assert code == 0
    assert out.splitlines()[1].split()[:6] == ["finance.api_latency", "99.9", "%", "finance.api_ms", "<=", "200"]
    code, out, _ = answer(capsys, "slo", "list", "--json")
    assert [one["window_seconds"] for one in json.loads(out)["slos"]] == [2_592_000, 2_592_000]


def test_the_status_shows_what_is_left_and_fails_where_it_is_asked_to(
    site: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = answer(capsys, "slo", "status")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "ok finance.api_latency 99.9 % 100 % 100 % 0 29" in rows
    assert "burning web.answers{host=a} 99 % 75 % -2400 % 25 116" in rows
    code, out, _ = answer(capsys, "slo", "status", "--failing", "--json")
    assert code == 1
    assert [[group["tags"] for group in one["groups"]] for one in json.loads(out)["slos"]] == [[{"host": "a"}]]
    assert answer(capsys, "slo", "status", "finance.api_latency", "--failing")[:2] == (0, "no SLO is failing\n")
    assert answer(capsys, "slo", "status", "nobody")[0] == 1


def test_without_slos_list_and_status_find_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as made:
        url = "http://{}:{}".format(*made.address)
        assert answer(capsys, "slo", "list", "--url", url)[::2] == (1, "there are no SLOs\n")
        assert answer(capsys, "slo", "status", "--url", url)[::2] == (1, "there is nothing to show\n")
    assert answer(capsys, "slo", "list", "--url", "http://127.0.0.1:1")[0] == 4


def test_openslo_files_are_imported_to_a_rule_file_that_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ROOT / "tests" / "openslo" / "shop.yaml"
    code, out, err = answer(capsys, "slo", "import", str(source))
    assert (code, err) == (1, "1 exact, 2 approximate, 1 unsupported\n")
    written = tmp_path / "ours.yaml"
    written.write_text(out)
    assert answer(capsys, "check-config", str(written))[0] == 0
    code, out, _ = answer(capsys, "slo", "import", str(source), "--json")
    assert [one["grade"] for one in json.loads(out)["slos"]] == ["approximate", "approximate", "exact", "unsupported"]
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: [")
    assert answer(capsys, "slo", "import", str(broken))[0] == 3
    assert answer(capsys, "slo", "import")[0] == 2

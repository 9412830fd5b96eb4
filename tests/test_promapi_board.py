"""config/grafana/: every query of the dashboard is answered with data, by an engine that has what the demo sends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.engines import NOW
from tests.serving import Serving, serving

GRAFANA = Path(__file__).parent.parent / "config" / "grafana"
BOARD = json.loads((GRAFANA / "dashboards" / "refund-rush.json").read_text())
SECONDS = 180
END = NOW + SECONDS
STEP = 15
# As Grafana's server fills them in for a step of 15 s and a timeInterval of 10 s.
VARIABLES = {"$__rate_interval_ms": "40000", "$__rate_interval": "40s", "$__interval": "15s", "$agency": "(irs|ssa)"}


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target


TARGETS = list(targets())


def filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(rules=[str(GRAFANA.parent / "rules" / "refund-rush.yaml")]) as served:
        engine = served.engine
        for second in range(SECONDS):
            for agency in ("irs", "ssa"):
                engine.metric("finance.api_ms", 150.0 + second % 9, kind="timer", tags={"agency": agency})
                engine.metric("finance.claims", 5, kind="counter", tags={"agency": agency})
            engine.metric("orders", 2, kind="counter", tags={"agency": "irs"})
            engine.metric("queue.depth", 7, kind="gauge")
            engine.metric("db.write_ms", 120.0 + second, kind="timer")
            engine.metric("db.replicas", 1, kind="gauge")
            engine.metric("portal.queue", 40, kind="gauge")
            for name in ("datagrams", "kernel_drops", "rejected_datagrams", "bad_values"):
                engine.metric(f"engine.{name}", float(second * (name == "datagrams")), kind="gauge")
            engine.advance(1)
        yield served


@pytest.mark.parametrize(("name", "target"), TARGETS, ids=[name for name, _ in TARGETS])
def test_every_query_of_the_dashboard_has_data(served: Serving, name: str, target: dict[str, Any]) -> None:
    form = {"query": filled_in(target["expr"])}
    if target["instant"]:
        answer = served.post("/api/v1/query", data={**form, "time": END})
    else:
        span = {"start": (NOW + 60) // STEP * STEP, "end": END // STEP * STEP, "step": STEP}
        answer = served.post("/api/v1/query_range", data={**form, **span})
    assert answer.status_code == 200, answer.text
    result = answer.json()["data"]["result"]
    assert result
    for series in result:
        for _, text in series.get("values") or [series["value"]]:
            assert float(text) == float(text), "no number"
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        assert all(label in series["metric"] for series in result)


def test_what_the_dashboard_shows_is_what_was_sent(served: Serving) -> None:
    now = {}
    for name, target in TARGETS:
        if target["instant"]:
            answer = served.post("/api/v1/query", data={"query": filled_in(target["expr"]), "time": END}).json()
            (series,) = answer["data"]["result"]
            now[name] = float(series["value"][1])
    assert now["Write latency, mean A"] == pytest.approx(120 + SECONDS - 30.5)
    assert now["Database A"] == 1, "above 200 ms for long enough"
    assert now["Claims a second A"] == pytest.approx(10)
    assert now["Datagrams lost in an hour A"] == 0


def documented() -> list[str]:
    """The PromQL of the table of what one wants, in docs/grafana.md."""
    text = (GRAFANA.parent.parent / "docs" / "grafana.md").read_text()
    table = text.partition("| you want |")[2].partition("\n\n")[0]
    return re.findall(r"`([^`]+)`", table)


def test_the_table_of_the_documentation_is_found() -> None:
    assert len(documented()) >= 8


@pytest.mark.parametrize("query", documented())
def test_what_the_documentation_tells_to_write_has_an_answer(served: Serving, query: str) -> None:
    answer = served.get("/api/v1/query", params={"query": query, "time": END})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["result"]


def test_the_variable_and_the_annotation_are_answered(served: Serving) -> None:
    (variable,) = BOARD["templating"]["list"]
    match = re.fullmatch(r"label_values\((\w+),(\w+)\)", variable["query"]["query"])
    assert match is not None
    answer = served.get(f"/api/v1/label/{match[2]}/values", params={"match[]": match[1]})
    assert answer.json()["data"] == ["irs", "ssa"]
    (annotation,) = BOARD["annotations"]["list"]
    span = {"start": NOW, "end": END, "step": annotation["step"]}
    answer = served.get("/api/v1/query_range", params={"query": annotation["expr"], **span})
    assert answer.json()["data"]["result"], "the rule fires in the range"


def test_the_provisioning_files_fit_together() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/hms-ops.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/hms-ops.yaml").read_text())["providers"]
    assert (source["type"], source["access"], source["jsonData"]["httpMethod"]) == ("prometheus", "proxy", "POST")
    assert source["secureJsonData"]["httpHeaderValue1"].startswith("Bearer $"), "no secret stands in a file"
    assert provider["type"] == "file"
    used = {target["datasource"]["uid"] for _, target in TARGETS}
    assert used == {source["uid"]}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])

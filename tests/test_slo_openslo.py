"""OpenSLO files as SLOs of ours: what maps exactly, what nearly, and what is refused with its reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.counting import slo_of

from hms_ops.alert.openslo import Imported, import_files, import_texts, rule_file, summary
from hms_ops.alert.slo import Ratio
from hms_ops.errors import ConfigError

SHOP = Path(__file__).parent / "openslo" / "shop.yaml"


def metric(query: str, kind: str | None = "Prometheus") -> dict[str, Any]:
    source: dict[str, Any] = {"spec": {"query": query}}
    return {"metricSource": source | ({"type": kind} if kind else {})}


THRESHOLD = {"thresholdMetric": metric("api_ms", "hms-ops")}
RATIO = {"ratioMetric": {"counter": True, "good": metric("ok_total"), "total": metric("all_total")}}


def one(indicator: Any = RATIO, *, version: str = "openslo/v1", objective: Any = None, **spec: Any) -> Imported:
    """The only objective of an SLO that is exact but for what is given."""
    given = {
        "service": "web",
        "indicator": {"metadata": {"name": "i"}, "spec": indicator},
        "timeWindow": [{"duration": "30d", "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "objectives": [objective or {"target": 0.999, "op": "lte", "value": 200}],
        **spec,
    }
    document = {"apiVersion": version, "kind": "SLO", "metadata": {"name": "a"}, "spec": given}
    [made] = import_texts([(yaml.safe_dump(document), "a.yaml")])
    return made


def test_a_file_of_several_documents_maps_with_its_references_and_lines() -> None:
    made = {found.name: found for found in import_files([SHOP])}
    assert {name: found.grade for name, found in made.items()} == {
        "search-availability.1": "approximate",
        "search-availability.2": "approximate",
        "search-latency": "exact",
        "by-slices": "unsupported",
    }
    assert made["search-latency"].keys == {
        "slo": "search-latency",
        "objective": 99.0,
        "good": 'search.latency_ms{zone="east"} < 500',
        "window": "30d",
        "tags": {"service": "web-shop"},
    }
    first, second = (made[f"search-availability.{number}"].keys for number in (1, 2))
    assert first is not None
    assert second is not None
    assert (first["objective"], second["objective"]) == (99.5, 99.95)
    assert first["good"] == 'http_requests_total{code=~"2xx|4xx", job="web"}'
    assert first["window"] == "28d"
    assert made["by-slices"].reasons == ("budgetingMethod Timeslices judges slices of time; here each event counts",)
    lines = SHOP.read_text().splitlines()
    for found in made.values():
        line = int(found.source.rpartition(":")[2])
        assert any(found.name.partition(".")[0] in text for text in lines[line - 1 : line + 4]), found.source


def test_what_is_written_is_a_rule_file_that_reads_back_as_the_same(tmp_path: Path) -> None:
    made = import_files([SHOP])
    written = yaml.safe_load(rule_file(made))
    assert written == {"slos": [found.keys for found in made if found.keys is not None]}
    for keys in written["slos"]:
        slo_of(keys, "here")
    assert "  # by-slices (" in rule_file(made)
    assert "  # unsupported: budgetingMethod Timeslices" in rule_file(made)
    assert summary(made) == "1 exact, 2 approximate, 1 unsupported"
    assert yaml.safe_load(rule_file([found for found in made if found.keys is None])) == {"slos": []}


@pytest.mark.parametrize(("op", "sign"), [("lt", "<"), ("lte", "<="), ("gt", ">"), ("gte", ">=")])
def test_a_threshold_is_exact(op: str, sign: str) -> None:
    found = one(THRESHOLD, objective={"op": op, "value": 0.25, "targetPercent": 99.95})
    assert (found.grade, found.reasons) == ("exact", ())
    assert found.keys is not None
    assert (found.keys["good"], found.keys["objective"]) == (f"api_ms {sign} 0.25", 99.95)


@pytest.mark.parametrize(
    ("target", "percent"), [(0.999, 99.9), (0.9995, 99.95), (0.99999, 99.999), (0.07, 7.0), (0.9, 90.0)]
)
def test_a_target_becomes_percent_without_a_rounding(target: float, percent: float) -> None:
    keys = one(objective={"target": target}).keys
    assert keys is not None
    assert keys["objective"] == percent


@pytest.mark.parametrize("key", ["good", "bad"])
def test_counters_are_exact(key: str) -> None:
    found = one({"ratioMetric": {"counter": True, key: metric("part"), "total": metric("all", None)}})
    assert found.grade == "exact"
    assert found.keys is not None
    slo = slo_of(dict(found.keys), "here")
    assert isinstance(slo.indicator, Ratio)
    assert slo.indicator.is_bad == (key == "bad")


@pytest.mark.parametrize(
    ("query", "good", "reasons"),
    [
        ("sum(ok_total)", "ok_total", 0),
        ('ok_total{code!~"5.."}', 'ok_total{code!~"5.."}', 0),
        ("rate(ok_total[5m])", "ok_total", 1),
        ("sum(increase(ok_total[30d]))", "ok_total", 1),
        ("sum by (host, job) (rate(ok_total[5m]))", "ok_total", 2),
        ("sum(rate(ok_total[5m])) by (job)", "ok_total", 2),
    ],
)
def test_what_stands_around_a_series_is_taken_off_and_said(query: str, good: str, reasons: int) -> None:
    found = one({"ratioMetric": {"counter": True, "good": metric(query), "total": metric("all_total")}})
    assert found.keys is not None
    assert found.keys["good"] == good
    assert len(found.reasons) == reasons
    assert found.grade == ("approximate" if reasons else "exact")
    if "host" in query:
        assert found.keys["group_by"] == ["host", "job"]


@pytest.mark.parametrize(
    ("window", "taken", "said"),
    [
        ([{"duration": "4w", "isRolling": True}], "28d", ""),
        ([{"duration": "12h", "isRolling": True}], "12h", ""),
        ([{"duration": "1M", "isRolling": True}], "30d", "1M is taken as 30 days"),
        ([{"duration": "1Q", "isRolling": True}], "90d", "1Q is taken as 90 days"),
        ([{"duration": "1Y", "isRolling": True}], "365d", "1Y is taken as 365 days"),
        ([{"duration": "7d", "calendar": {"startTime": "x"}}], "7d", "aligned with the calendar"),
        ([{"duration": "7d", "isRolling": False}], "7d", "aligned with the calendar"),
        (None, None, "30d is taken"),
    ],
)
def test_windows(window: Any, taken: str | None, said: str) -> None:
    found = one(timeWindow=window)
    assert found.keys is not None
    assert found.keys.get("window") == taken
    assert found.grade == ("approximate" if said else "exact")
    assert said in "".join(found.reasons)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "openslo/v1alpha"}, "'openslo/v1alpha' is not openslo/v1"),
        ({"budgetingMethod": "RatioTimeslices"}, "RatioTimeslices judges slices"),
        ({"objectives": []}, "no objectives"),
        ({"objectives": [{"displayName": "none"}]}, "a target or a targetPercent"),
        ({"objectives": [{"target": 0.9, "targetPercent": 90}]}, "a target or a targetPercent"),
        ({"objectives": [{"target": True}]}, "as a number"),
        ({"objectives": [{"target": 1.0}]}, "percent above 0 and below 100"),
        ({"timeWindow": [{"duration": "30 days"}]}, "is none such as 30d"),
        ({"timeWindow": [{"duration": "5m"}]}, "shorter than 3600s"),
        ({"indicatorRef": "gone"}, "'gone' is in none of the files"),
        ({"indicator": {}}, "neither a thresholdMetric nor a ratioMetric"),
        ({"indicator": None}, "no indicator"),
        ({"indicator": {"ratioMetric": {"raw": metric("x"), "rawType": "success"}}}, "a ratio already"),
        ({"indicator": {"ratioMetric": {"counter": False, "good": metric("x")}}}, "gauges cannot"),
        ({"indicator": {"ratioMetric": {"counter": True, "good": metric("x")}}}, "wants total"),
        ({"indicator": THRESHOLD, "objectives": [{"target": 0.9}]}, "wants op"),
        (
            {
                "indicator": {"thresholdMetric": metric("sum(x)")},
                "objectives": [{"target": 0.9, "op": "lt", "value": 1}],
            },
            "each sample is judged by itself",
        ),
    ],
)
def test_what_does_not_map_says_why(changes: dict[str, Any], said: str) -> None:
    found = one(**changes)
    assert (found.grade, found.keys) == ("unsupported", None)
    assert said in found.reasons[0]


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ("sum:hits{*}.as_count()", "Datadog", "of type Datadog cannot be read"),
        ("SELECT value FROM metrics", None, "cannot be read"),
        ("sum(a) / sum(b)", "Prometheus", "is no series"),
        ("sum(a) + b", "Prometheus", "is no series"),
        ("sum without (a) (b)", "Prometheus", "cannot be read"),
        ("rate(x[5m] offset 1h)", "Prometheus", "without offset"),
        ("", "Prometheus", "names no metric"),
        ("1", "Prometheus", "is no series"),
    ],
)
def test_a_query_that_is_no_series_is_refused(query: str, kind: str | None, said: str) -> None:
    found = one({"ratioMetric": {"counter": True, "good": metric(query, kind), "total": metric("all")}})
    assert found.grade == "unsupported"
    assert said in found.reasons[0]


def test_a_kind_nobody_knows_is_named_and_known_ones_without_a_mapping_are_passed_over() -> None:
    documents = [
        {"apiVersion": "openslo/v1", "kind": kind, "metadata": {"name": kind}} for kind in ("Service", "Slow", "SLI")
    ]
    made = import_texts([(yaml.safe_dump_all(documents), "k.yaml")])
    assert [(found.name, found.grade) for found in made] == [("Slow", "unsupported")]


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2", "\na: *b"])
def test_broken_yaml_is_a_configuration_error_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^b\.yaml:4: "):
        import_texts([("kind: Service\n---\n" + text, "b.yaml")])


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the file"):
        import_files([tmp_path / "none.yaml"])

"""`/metrics` against prometheus_client's own parser, and the exposition's escapes."""

import math
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.serving import Serving, serving

from hms_ops._ring import BAD, REJECTED
from hms_ops.http.metrics import CONTENT_TYPE, Family, openmetrics

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def parsed(text: str) -> Values:
    """(sample name, sorted labels) → value, by the reference parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(values: Values, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(value for (found, pairs), value in values.items() if found == name and labels.items() <= set(pairs))


def test_the_exposition_is_valid_and_says_what_it_is(site: Serving) -> None:
    answer = site.get("/metrics")
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.text.endswith("\n# EOF\n")
    values = parsed(answer.text)
    assert total(values, "hms_ops_ready") == 1
    assert total(values, "hms_ops_build_info") == 1


def test_the_books_are_the_ledgers(site: Serving) -> None:
    site.engine.ingest(b"m.a:1|c\nm.a:nan|c\nm.a:1e200|c\n")
    site.engine.ingest(b"")
    site.post("/v1/ingest", content=b'[{"metric":"m.b","value":1}')
    site.post("/v1/ingest", content=b'{"metric":"m.b","value":1}')
    ledger = site.engine.ledger()
    values = parsed(site.get("/metrics").text)
    names = {
        "arrived": "hms_ops_datagrams_arrived",
        "received": "hms_ops_datagrams_received",
        "kernel_drops": "hms_ops_datagrams_kernel_dropped",
        "accepted": "hms_ops_datagrams_accepted",
        "values": "hms_ops_values",
        "samples": "hms_ops_samples",
    }
    for key, name in names.items():
        assert total(values, f"{name}_total") == ledger[key]
        for source, books in ledger["inputs"].items():
            assert total(values, f"{name}_total", input=source) == books[key]
    for key, name in (("rejected", "hms_ops_datagrams_rejected"), ("bad", "hms_ops_values_bad")):
        assert ledger[key]
        for reason, count in ledger[key].items():
            assert total(values, f"{name}_total", reason=reason) == count


def test_every_reason_there_is_stands_there_from_the_start(site: Serving) -> None:
    values = parsed(site.get("/metrics").text)
    for name, reasons in (("hms_ops_datagrams_rejected_total", REJECTED), ("hms_ops_values_bad_total", BAD[1:])):
        found = {dict(pairs)["reason"] for (sample, pairs) in values if sample == name}
        assert set(reasons) <= found


def test_requests_turned_away_are_counted_under_their_reason(site: Serving) -> None:
    before = total(parsed(site.get("/metrics").text), "hms_ops_http_refused_total", reason="host")
    site.get("/", headers={"Host": "evil.example"})
    assert total(parsed(site.get("/metrics").text), "hms_ops_http_refused_total", reason="host") == before + 1


def test_alerts_are_counted_by_state(site: Serving) -> None:
    site.engine.alert_now("m.alert", value=1.0)
    values = parsed(site.get("/metrics").text)
    assert total(values, "hms_ops_alerts", state="firing") == 1
    assert total(values, "hms_ops_alerts", state="pending") == 0


def test_the_engines_own_counters_are_there(site: Serving) -> None:
    values = parsed(site.get("/metrics").text)
    counters = site.engine.counters()
    assert total(values, "hms_ops_store_series_max") == counters["store"]["series_max"]
    names = {name for name, _ in values}
    assert {f"hms_ops_tick_{name}" for name in counters["tick"]} <= names


@pytest.mark.parametrize("hostile", ['a"b', "a\\b", "a\nb", 'a"} 1\n# EOF\n', "ä€😀", "", "a\\nb", "{}", "\\", '\\"'])
def test_a_label_comes_back_as_it_was(hostile: str) -> None:
    text = openmetrics([Family("m", "gauge", "Help.", [({"input": hostile, "b": "x"}, 1.5)])])
    assert parsed(text) == {("m", (("b", "x"), ("input", hostile))): 1.5}


@pytest.mark.parametrize("hostile", ['quote " back \\ slash', "line\nbreak", "# EOF"])
def test_a_help_text_comes_back_as_it_was(hostile: str) -> None:
    family = next(iter(text_string_to_metric_families(openmetrics([Family("m", "gauge", hostile, [({}, 1)])]))))
    assert family.documentation == hostile


@pytest.mark.parametrize("value", [0, 1, -1, 2**63, 0.1, 1e-300, 1e300, -0.0, math.inf, -math.inf, True])
def test_a_value_comes_back_as_it_was(value: float) -> None:
    assert list(parsed(openmetrics([Family("m", "gauge", "Help.", [({}, value)])])).values()) == [value]


def test_nan_comes_back_as_nan() -> None:
    found = parsed(openmetrics([Family("m", "unknown", "Help.", [({}, math.nan)])]))
    assert math.isnan(found["m", ()])


def test_types_get_the_suffixes_of_openmetrics() -> None:
    families = [
        Family("c", "counter", "A counter.", [({}, 1)]),
        Family("i", "info", "Facts.", [({"version": "1"}, 1)]),
        Family("g", "gauge", "A gauge.", []),
    ]
    assert {name for name, _ in parsed(openmetrics(families))} == {"c_total", "i_info"}

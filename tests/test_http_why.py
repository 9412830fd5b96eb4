"""What `GET /v1/alerts/{name}/explain` says of a rule: its words, the numbers of its parts, what of it can be drawn."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving import Serving, serving

from hms_ops.alert.language.explaining import seen_query
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.rule import rule_of
from hms_ops.http.why import comparisons

RULES = [
    "ALERT slow WHEN avg(api_ms) > 0.2s AND count(api_ms) > 1 GROUP BY agency",
    "ALERT gone WHEN ABSENT(beat[1m])",
    "ALERT compared WHEN last(depth) > last(limit)",
    "ALERT before WHEN avg(api_ms) / avg(api_ms, 5m) OFFSET 1h > 2",
]


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving(rules=RULES) as made:
        for agency, value in (("irs", 300.0), ("va", 100.0)):
            made.engine.metric("api_ms", value, kind="timer", tags={"agency": agency})
        made.engine.advance(2)
        yield made


def explained(site: Serving, name: str, **parameters: str) -> dict[str, Any]:
    document: dict[str, Any] = site.get(f"/v1/alerts/{name}/explain", params=parameters).json()
    return document


def test_each_part_has_its_numbers_the_greatest_first(site: Serving) -> None:
    parts = explained(site, "slow")["parts"]
    assert [(part["expression"], part["depth"], part["unit"]) for part in parts[1:3]] == [
        ("avg(api_ms) > 0.2s", 1, ""),
        ("avg(api_ms)", 2, "ms"),
    ]
    assert [one["value"] for one in parts[1]["values"]] == [1.0, 0.0]
    assert parts[2]["values"] == [
        {"tags": {"agency": "irs"}, "value": 300.0},
        {"tags": {"agency": "va"}, "value": 100.0},
    ]
    assert parts[2]["count"] == 2


def test_a_part_says_whether_its_values_are_truths_or_figures(site: Serving) -> None:
    parts = explained(site, "slow")["parts"]
    assert [part["is_condition"] for part in parts] == [True, True, False, True, False]


def test_only_the_instance_that_is_asked_for_is_told(site: Serving) -> None:
    part = explained(site, "slow", tags="agency=va")["parts"][2]
    assert part["values"] == [{"tags": {"agency": "va"}, "value": 100.0}]
    assert part["count"] == 1


def test_what_can_be_drawn_has_its_threshold_in_the_metric_s_own_unit(site: Serving) -> None:
    assert explained(site, "slow")["drawn"] == {
        "query": "avg(api_ms[1m]) GROUP BY agency",  # the window that the rule means
        "operator": ">",
        "threshold": 200.0,
        "unit": "ms",
    }
    assert explained(site, "compared")["drawn"]["threshold"] is None
    assert explained(site, "gone")["drawn"] is None
    assert explained(site, "before")["drawn"] is None  # a range is not seen at another time


@pytest.mark.parametrize(
    ("condition", "query"),
    [("depth > 1", "last(depth[1m])"), ("-depth[5m] < 1", "-depth[5m]"), ("p99(api_ms, 5m) > 1", "p99(api_ms[5m])"),
     ("coalesce(rate(a), sum(b, 1h) / 2) > 1", "coalesce(rate(a[1m]), sum(b[1h]) / 2)"),
     ("max(a / b) > 1", "max(a / b, 1m)")],
)  # fmt: skip
def test_what_is_drawn_has_the_windows_that_the_rule_looks_at(condition: str, query: str) -> None:
    rule = rule_of(parse_statement(f"ALERT r WHEN {condition}"), "")
    assert seen_query(rule, next(comparisons(rule.condition)).left) == query


def test_a_part_that_cannot_be_asked_says_why_and_the_others_stand(site: Serving) -> None:
    parts = explained(site, "compared")["parts"]
    assert all("depth" in part["problem"] or "limit" in part["problem"] for part in parts)
    assert all(part["values"] == [] for part in parts)


def test_a_rule_is_told_in_words_and_an_alert_without_one_has_none(site: Serving) -> None:
    assert explained(site, "gone")["words"][0].startswith("Fires when ")
    assert explained(site, "by.hand") == {
        "name": "by.hand", "alerts": [], "decisions": [], "words": [], "parts": [], "drawn": None,
    }  # fmt: skip


def test_rules_say_the_unit_of_their_alerts_values(site: Serving) -> None:
    rules = {rule["alert"]: rule["unit"] for rule in site.get("/v1/alerts").json()["rules"]}
    assert (rules["slow"], rules["gone"], rules["compared"]) == ("ms", "", "")

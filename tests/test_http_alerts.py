"""`/v1/alerts`: what is pending and firing, rules posted, refused and deleted, alerts fired by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Serving, serving

from hms_ops.http.parameters import DOCUMENT_BYTES_MAX

INLINE = {"alert": "file.rule", "if": "avg(file_ms) > 200"}
RULE = {
    "alert": "posted.full",
    "if": "avg(p_ms) > 200",
    "for": "3m",
    "keep": "30s",
    "recover": "avg(p_ms) < 150",
    "where": "zone = 'east'",
    "group_by": ["agency"],
    "nodata": "ok",
    "severity": "ticket",
    "notify": ["log:", "webhook:https://user:secret@hooks.example/path?key=secret"],
}


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    anomaly = {"anomaly": "file.anomaly", "metric": "file_ms"}
    with serving(rules=[INLINE], anomalies=[anomaly]) as made:
        yield made


def problems(site: Serving, rule: Any, path: str = "/v1/alerts") -> dict[str, str]:
    """The problems of a document that is refused: key → message."""
    answer = site.post(path, json=rule)
    assert answer.status_code == 400
    return {problem["key"]: problem["message"] for problem in answer.json()["problems"]}


def listed(site: Serving, name: str) -> dict[str, Any]:
    return next(rule for rule in site.get("/v1/alerts").json()["rules"] if rule["alert"] == name)


def test_a_posted_rule_is_answered_and_listed_in_the_keys_of_a_rule_file(site: Serving) -> None:
    answer = site.post("/v1/alerts", json=RULE)
    assert answer.status_code == 201
    rule = answer.json()
    assert rule == listed(site, "posted.full")
    assert {key: rule[key] for key in ("alert", "if", "for", "keep", "group_by", "nodata", "severity")} == {
        "alert": "posted.full",
        "if": "avg(p_ms) > 200",
        "for": "3m",
        "keep": "30s",
        "group_by": ["agency"],
        "nodata": "ok",
        "severity": "ticket",
    }
    assert rule["recover"] == "avg(p_ms) < 150"
    assert "east" in rule["where"]
    assert rule["source"] == "POST /v1/alerts"


def test_receivers_are_shown_without_their_secrets(site: Serving) -> None:
    rule = {"alert": "posted.secret", "if": "avg(p_ms) > 1", "notify": RULE["notify"]}
    assert site.post("/v1/alerts", json=rule).status_code == 201
    text = site.get("/v1/alerts").text
    assert "hooks.example/path" in text
    assert "secret@" not in text
    assert "key=" not in text


def test_a_posted_rule_fires_and_resolves(site: Serving) -> None:
    site.post("/v1/alerts", json={"alert": "posted.fires", "if": "avg(fire_ms, 5s) > 10", "for": "2s"})
    seen = []
    for value in (20, 20, 20, 20, 1, 1, 1, 1, 1, 1, 1):
        site.engine.ingest(f"fire_ms:{value}|ms".encode())
        site.engine.advance(1)
        found = [alert for alert in site.get("/v1/alerts").json()["alerts"] if alert["name"] == "posted.fires"]
        seen.append(found[0]["state"] if found else "inactive")
    assert list(dict.fromkeys(seen)) == ["pending", "firing", "inactive"]


def test_a_rule_that_is_posted_again_replaces_the_one_before(site: Serving) -> None:
    for limit in (1, 2):
        assert site.post("/v1/alerts", json={"alert": "posted.twice", "if": f"avg(p_ms) > {limit}"}).status_code == 201
    assert listed(site, "posted.twice")["if"] == "avg(p_ms) > 2"
    names = [rule["alert"] for rule in site.get("/v1/alerts").json()["rules"]]
    assert names.count("posted.twice") == 1


def test_a_rule_of_python_may_be_replaced_too(site: Serving) -> None:
    site.engine.alert("python.rule", if_="avg(p_ms) > 1")
    assert site.post("/v1/alerts", json={"alert": "python.rule", "if": "avg(p_ms) > 2"}).status_code == 201


def test_all_problems_of_a_rule_are_told_at_once(site: Serving) -> None:
    found = problems(site, {"alert": "two words", "if": "avg(p_ms >", "fro": "3m", "keep": 5, "notify": ["pigeon:x"]})
    assert set(found) == {"alert", "if", "fro", "keep", "notify"}
    assert "'for'" in found["fro"]
    assert "line 1, column" in found["if"]


def test_a_rule_needs_a_name_and_a_condition(site: Serving) -> None:
    assert "if" in problems(site, {})[""]
    assert "alert" in problems(site, {"if": "avg(p_ms) > 1"})[""]


@pytest.mark.parametrize("key", ["act", "actions"])
def test_a_posted_rule_carries_no_actions(site: Serving, key: str) -> None:
    rule = {"alert": "posted.acts", "if": "avg(p_ms) > 1", key: {"template": "infra.scale-db"}}
    assert "no actions" in problems(site, rule)[key]
    assert "posted.acts" not in site.get("/v1/alerts").text


@pytest.mark.parametrize("name", ["file.rule", "file.anomaly"])
def test_the_name_of_a_files_rule_is_taken(site: Serving, name: str) -> None:
    answer = site.post("/v1/alerts", json={"alert": name, "if": "avg(p_ms) > 1"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:hms-ops:problem:rule-exists")
    assert listed(site, "file.rule")["if"] == INLINE["if"]


def test_the_place_of_a_files_rule_is_named(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - alert: disk.rule\n    if: avg(x) > 1\n")
    with serving(rules=[str(rules)]) as made:
        answer = made.post("/v1/alerts", json={"alert": "disk.rule", "if": "avg(x) > 2"})
    assert answer.status_code == 409
    assert "rules.yaml:" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"rule"', "no JSON object"),
        (b"{} {}", "not JSON"),
        (b'{"if":NaN}', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"if":"' + b"\xed\xa0\x80" + b'"}', "not JSON"),
    ],
    ids=["cut", "array", "null", "text", "two", "nan", "utf8", "deep", "surrogate"],
)
def test_a_body_that_is_no_json_object_is_refused(site: Serving, body: bytes, said: str) -> None:
    for path in ("/v1/alerts", "/v1/alerts/a/fire"):
        answer = site.post(path, content=body)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:hms-ops:problem:json")
        assert said in answer.json()["detail"]


def test_a_document_that_is_too_large_is_refused(site: Serving) -> None:
    answer = site.post("/v1/alerts", json={"alert": "a" * DOCUMENT_BYTES_MAX, "if": "avg(x) > 1"})
    assert (answer.status_code, answer.json()["limit"]) == (413, DOCUMENT_BYTES_MAX)


def test_an_alert_is_fired_by_hand_with_all_it_may_carry(site: Serving) -> None:
    given = {"value": 480.0, "ttl": "10s", "tags": {"agency": "irs"}, "severity": "ticket", "reason": "by hand"}
    answer = site.post("/v1/alerts/hand.full/fire", json=given)
    assert (answer.status_code, answer.json()) == (202, {"name": "hand.full", "state": "firing"})
    alert = next(alert for alert in site.get("/v1/alerts").json()["alerts"] if alert["name"] == "hand.full")
    assert {key: alert[key] for key in ("state", "value", "tags", "severity")} == {
        "state": "firing",
        "value": 480.0,
        "tags": {"agency": "irs"},
        "severity": "ticket",
    }
    assert alert["since"] == pytest.approx(site.engine.clock.now_ns() / 1e9, abs=1)
    site.engine.advance(11)
    assert "hand.full" not in site.get("/v1/alerts").text


@pytest.mark.parametrize("body", [b"", b"{}", b'{"value":null}', b'{"value":1,"ttl":60}'])
def test_an_alert_needs_nothing_but_its_name(site: Serving, body: bytes) -> None:
    assert site.post("/v1/alerts/hand.bare/fire", content=body).status_code == 202


def test_a_name_with_a_slash_is_one_name(site: Serving) -> None:
    assert site.post("/v1/alerts/hand%2Fslash/fire", json={}).json()["name"] == "hand/slash"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"value": "480"}, "value"),
        ({"value": True}, "value"),
        ({"value": 1e151}, "value"),
        ({"value": [1]}, "value"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -5}, "ttl"),
        ({"ttl": "5"}, "ttl"),
        ({"ttl": "2d"}, "ttl"),
        ({"ttl": 1e300}, "ttl"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"tags": {"two words": "b"}}, "tags"),
        ({"tags": {str(n): "x" for n in range(33)}}, "tags"),
        ({"severity": "two words"}, "severity"),
        ({"reason": 5}, "reason"),
        ({"valeu": 5}, "valeu"),
        ({"name": "other"}, "name"),
    ],
    ids=str,
)
def test_a_fired_alert_is_checked_key_by_key(site: Serving, given: dict[str, Any], key: str) -> None:
    assert set(problems(site, given, "/v1/alerts/hand.bad/fire")) == {key}
    assert "hand.bad" not in site.get("/v1/alerts").text


@pytest.mark.parametrize("name", ["two%20words", "%1b%5b31m", "x" * 201, "%e2%80%ae"])
def test_a_name_that_no_series_could_have_is_refused(site: Serving, name: str) -> None:
    assert set(problems(site, {}, f"/v1/alerts/{name}/fire")) == {"name"}


def test_a_rule_is_not_fired_by_hand(site: Serving) -> None:
    answer = site.post("/v1/alerts/file.rule/fire", json={"value": 1})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:hms-ops:problem:rule-exists")


def test_a_posted_rule_is_deleted_and_a_files_is_not(site: Serving) -> None:
    assert site.post("/v1/alerts", json={"alert": "posted/gone", "if": "avg(p_ms) > 1"}).status_code == 201
    assert site.client.delete("/v1/alerts/posted%2Fgone").json() == {"deleted": "posted/gone"}
    assert "posted/gone" not in site.get("/v1/alerts").text
    for name in ("posted%2Fgone", "file.rule"):
        answer = site.client.delete(f"/v1/alerts/{name}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:hms-ops:problem:no-rule")


def test_a_rule_is_listed_with_what_it_hands_to_its_alerts(site: Serving) -> None:
    more = {"every": "10s", "policy": "p", "tags": {"team": "db"}, "annotations": {"summary": "{value}"}}
    rule = site.post("/v1/alerts", json={"alert": "posted.more", "if": "avg(p_ms) > 1", **more}).json()
    assert {key: rule[key] for key in more} == more


def test_an_unknown_value_is_null(site: Serving) -> None:
    site.engine.alert_now("hand.nan", value=float("nan"))
    alerts = json.loads(site.get("/v1/alerts").content, parse_constant=pytest.fail)["alerts"]
    assert next(alert for alert in alerts if alert["name"] == "hand.nan")["value"] is None

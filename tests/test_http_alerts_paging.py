"""What people do about alerts, over HTTP: each path against a real engine, its answers, refusals and audit entries."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.answering import OK, answering, status
from tests.engines import manual
from tests.serving import Serving, serving

from hms_ops.alert.dispatch.matching import equal_to
from hms_ops.alert.dispatch.silence import SILENCE_SECONDS_MAX, SILENCES_MAX, AddSilence, new_silence
from hms_ops.alert.dispatch.telling import GAP_SECONDS

POLICY = {
    "policy": "own",
    "match": {"team": "db"},
    "levels": [{"after": "0s", "notify": ["log:"]}, {"after": "15m", "notify": ["log:"]}],
}


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving(policies=[POLICY]) as made:
        yield made


def fired(site: Serving, name: str = "hand", **tags: str) -> str:
    """Fire an alert by hand; its path."""
    assert site.post(f"/v1/alerts/{name}/fire", json={"tags": tags}).status_code == 202
    assert site.engine.duty.keeper.settle()
    return f"/v1/alerts/{name}"


def listed(site: Serving, name: str = "hand") -> list[dict[str, Any]]:
    return [one for one in site.get("/v1/alerts").json()["alerts"] if one["name"] == name]


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def keys(answer: Any) -> set[str]:
    """Under which keys a body was refused."""
    assert answer.status_code == 400
    return {problem["key"] for problem in answer.json()["problems"]}


# ---- acknowledging


def test_an_alert_is_acknowledged_shown_so_and_given_back(site: Serving) -> None:
    path = fired(site, agency="irs")
    now = site.engine.clock.now_ns() / 1e9
    answer = site.post(f"{path}/ack", json={"who": "ann", "comment": "on it", "for": "30m"})
    assert answer.json() == {"name": "hand", "alerts": 1, "who": "ann", "until": now + 1800}
    (alert,) = listed(site)
    assert alert["acknowledged"] == {"who": "ann", "comment": "on it", "at": now, "until": now + 1800}
    assert alert["held_by"] == "acknowledged by ann"
    assert site.post(f"{path}/unack", json={"who": "bob"}).json() == {"name": "hand", "alerts": 1, "who": "bob"}
    assert listed(site)[0]["acknowledged"] is None
    reasons = [one["reason"] for one in site.engine.explain_alert("hand")]
    assert reasons == ["first", "by ann: on it", "acknowledgement taken back by bob"]
    assert listed(site)[0]["told_at"] == now + GAP_SECONDS  # again, with the group's next


def test_who_asks_is_written_down_where_nobody_is_named(site: Serving) -> None:
    path = fired(site)
    assert site.post(f"{path}/ack").json()["who"] == "HTTP 127.0.0.1"
    assert listed(site)[0]["acknowledged"]["until"] is None


def test_only_alerts_with_the_tags_are_acknowledged(site: Serving) -> None:
    fired(site, agency="irs")
    path = fired(site, agency="ssa")
    assert site.post(f"{path}/ack", json={"tags": {"agency": "irs"}}).json()["alerts"] == 1
    assert {one["tags"]["agency"]: bool(one["acknowledged"]) for one in listed(site)} == {"irs": True, "ssa": False}
    assert refused(site.post(f"{path}/ack", json={"tags": {"agency": "va"}})) == (404, "not-firing")
    assert refused(site.post("/v1/alerts/nobody/unack")) == (404, "not-firing")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"for": "5"}, {"for"}),
        ({"for": 0}, {"for"}),
        ({"for": -5}, {"for"}),
        ({"for": "9999w"}, {"for"}),
        ({"until": "tomorrow"}, {"until"}),
        ({"until": 1e12}, {"until"}),
        ({"for": "5m", "until": 1_700_000_500}, {"until"}),
        ({"who": ""}, {"who"}),
        ({"who": 5}, {"who"}),
        ({"comment": 5}, {"comment"}),
        ({"tags": ["a"]}, {"tags"}),
        ({"whom": "ann"}, {"whom"}),
    ],
    ids=str,
)
def test_an_acknowledgement_is_checked_key_by_key(site: Serving, given: dict[str, Any], wrong: set[str]) -> None:
    path = fired(site)
    assert keys(site.post(f"{path}/ack", json=given)) == wrong
    assert listed(site)[0]["acknowledged"] is None


def test_the_outbox_knows_which_alerts_fire_still(site: Serving) -> None:
    fired(site, agency="irs")
    (alert,) = site.engine.alerts()
    is_firing = site.engine.duty.outbox.is_firing
    assert is_firing(alert)
    assert not is_firing(replace(alert, episode=alert.episode - 1))
    assert not is_firing(replace(alert, tags={"agency": "ssa"}))


# ---- silences


def test_an_alert_is_silenced_listed_and_not_told_of(site: Serving) -> None:
    answer = site.post("/v1/alerts/hand/silence", json={"for": "1h", "who": "ann", "comment": "known"})
    silence = answer.json()
    assert (answer.status_code, silence["state"], silence["match"]) == (201, "active", '{alertname="hand"}')
    assert silence["ends"] - silence["starts"] == 3600
    fired(site)
    assert listed(site)[0]["silenced_by"] == silence["id"]
    assert [one["decision"] for one in site.engine.explain_alert("hand")] == ["held"]
    assert site.get("/v1/silences").json() == {"silences": [silence]}
    site.engine.advance(1)
    answer = site.post("/v1/alerts/hand/unsilence", json={"who": "bob"})
    assert answer.json() == {"name": "hand", "ended": [silence["id"]]}
    assert [one["decision"] for one in site.engine.explain_alert("hand")] == ["held", "silence", "told"]
    (ended,) = site.get("/v1/silences", params={"state": "ended"}).json()["silences"]
    assert (ended["id"], ended["ended_by"]) == (silence["id"], "bob")
    assert site.get("/v1/silences", params={"state": "active"}).json() == {"silences": []}


def test_a_silence_that_begins_at_once_is_active_in_its_own_answer(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site.engine.silence

    def a_moment_later(*given: Any, **more: Any) -> Any:
        site.engine.clock.advance(0.01)
        return made(*given, **more)

    monkeypatch.setattr(site.engine, "silence", a_moment_later)
    silence = site.post("/v1/alerts/hand/silence", json={"for": "1h"}).json()
    assert (silence["state"], silence["starts"]) == ("active", silence["created"])


def test_a_silence_may_be_of_some_instances_and_of_what_matches(site: Serving) -> None:
    given = {"for": 600, "tags": {"agency": "irs"}, "match": 'severity=~"page|ticket"'}
    silence = site.post("/v1/alerts/hand/silence", json=given).json()
    assert silence["match"] == '{alertname="hand", agency="irs", "severity"=~"page|ticket"}'
    fired(site, agency="irs")
    fired(site, agency="ssa")
    assert {one["tags"]["agency"]: bool(one["silenced_by"]) for one in listed(site)} == {"irs": True, "ssa": False}


def test_silences_of_any_alerts_are_made_and_ended_by_id(site: Serving) -> None:
    answer = site.post("/v1/silences", json={"match": {"agency": "irs"}, "until": 1_700_003_600})
    silence = answer.json()
    assert (answer.status_code, silence["ends"]) == (201, 1_700_003_600)
    fired(site, agency="irs")
    assert listed(site)[0]["silenced_by"] == silence["id"]
    assert refused(site.post("/v1/alerts/hand/unsilence")) == (404, "no-silence")  # it names no alert
    path = f"/v1/silences/{silence['id']}"
    assert site.client.delete(path, params={"who": "ann"}).json() == {"ended": [silence["id"]]}
    assert refused(site.client.delete(path)) == (404, "no-silence")
    assert listed(site)[0]["silenced_by"] == ""


def test_a_silence_there_is_no_room_for_is_refused_and_audited_so(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path, http="127.0.0.1:0") as engine:
        now = engine.clock.now_ns() / 1e9
        made = [new_silence(equal_to({"a": str(n)}), now=now, seconds=3600, who="ann") for n in range(SILENCES_MAX)]
        assert engine.duty.keeper.command(*map(AddSilence, made))
        assert engine.http_address is not None
        with httpx.Client(base_url="http://{}:{}".format(*engine.http_address), trust_env=False) as client:
            given = {"match": "a=b", "for": "1h"}
            assert refused(client.post("/v1/silences", json=given)) == (409, "silences-full")
            assert refused(client.post("/v1/alerts/hand/silence", json={"for": "1h"})) == (409, "silences-full")
            assert client.delete(f"/v1/silences/{made[0].id}").status_code == 200
            engine.advance(1)
            assert client.post("/v1/silences", json=given).status_code == 201
        asked = [(one["what"], one["outcome"]) for one in engine.audit_log(100) if one["source"].startswith("HTTP")]
        assert asked == [("silence", "refused"), ("silence", "refused"), ("unsilence", "ok"), ("silence", "ok")]


@pytest.mark.parametrize(
    ("path", "given", "wrong"),
    [
        ("/v1/alerts/hand/silence", {}, {"for"}),
        ("/v1/alerts/hand/silence", {"until": 1_600_000_000}, {"until"}),
        ("/v1/alerts/hand/silence", {"until": 1_700_000_000 + SILENCE_SECONDS_MAX * 2}, {"until"}),
        ("/v1/alerts/hand/silence", {"for": "1h", "match": "a"}, {"match"}),
        ("/v1/alerts/hand/silence", {"for": "1h", "match": 'a=~"("'}, {"match"}),
        ("/v1/alerts/two%20words/silence", {"for": "1h"}, {"name"}),
        ("/v1/silences", {"for": "1h"}, {""}),
        ("/v1/silences", {"for": "1h", "match": {}}, {"match"}),
        ("/v1/silences", {"for": "1h", "match": "a=b", "tags": {}}, {"tags"}),
    ],
    ids=str,
)
def test_a_silence_is_checked_key_by_key(site: Serving, path: str, given: dict[str, Any], wrong: set[str]) -> None:
    assert keys(site.post(path, json=given)) == wrong
    assert site.get("/v1/silences").json() == {"silences": []}


# ---- why


def test_an_alert_is_explained_with_how_it_stands(site: Serving) -> None:
    fired(site, agency="irs", team="db")
    fired(site, agency="va")
    fired(site, agency="ssa")
    explained = site.get("/v1/alerts/hand/explain", params={"tags": 'agency="irs"'}).json()
    assert explained["name"] == "hand"
    (alert,) = explained["alerts"]
    level = alert["next_escalation"]
    assert (alert["state"], level["policy"], level["level"], level["notify"]) == ("firing", "own", 2, ["log:"])
    assert [(one["decision"], one["reason"]) for one in explained["decisions"]] == [
        ("escalation", "left to policy own"),
        ("told", "escalation level 1"),
    ]
    other = site.get("/v1/alerts/hand/explain", params={"tags": "agency=ssa"}).json()
    assert other["decisions"] == []
    assert (
        other["alerts"][0]["told_at"] == site.engine.clock.now_ns() / 1e9 + GAP_SECONDS
    )  # it waits for the group's next
    nobody = site.get("/v1/alerts/nobody/explain").json()
    assert (nobody["name"], nobody["alerts"], nobody["decisions"]) == ("nobody", [], [])


@pytest.mark.parametrize("tags", ["a", 'a=~"b"', "a!=b", "x" * 9000])
def test_tags_in_a_query_are_tags(site: Serving, tags: str) -> None:
    assert refused(site.get("/v1/alerts/hand/explain", params={"tags": tags})) == (400, "parameter")


# ---- notifications


def test_a_receiver_is_tried_and_says_what_it_answered(site: Serving) -> None:
    with answering() as receiver:
        answer = site.post("/v1/notifications/test", json={"receiver": f"webhook:{receiver.url}", "who": "ann"})
        assert answer.json()["outcome"] == "delivered"
        assert len(receiver.requests) == 1
    assert "test" in str(receiver.requests[0])
    gone = site.post("/v1/notifications/test", json={"receiver": f"webhook:{receiver.url}"}).json()
    assert gone["outcome"] == "retry"


@pytest.mark.parametrize("receiver", ["pigeon:x", "webhook:nobody-knows", "sms:"])
def test_a_receiver_that_is_none_is_refused(site: Serving, receiver: str) -> None:
    assert refused(site.post("/v1/notifications/test", json={"receiver": receiver})) == (400, "receiver")
    assert keys(site.post("/v1/notifications/test", json={})) == {""}


def test_dead_letters_are_listed_and_sent_again(site: Serving, wait_until: Callable[..., None]) -> None:
    def letters() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = site.get("/v1/dead-letters").json()["dead_letters"]
        return found

    with answering(status(400), OK) as receiver:
        site.engine.alert("dead", if_="avg(dead_ms, 5s) > 1", notify=[f"webhook:{receiver.url}"])
        site.engine.ingest(b"dead_ms:5|ms")
        site.engine.advance(2)
        wait_until(letters)
        (letter,) = letters()
        assert (letter["name"], letter["state"]) == ("dead", "firing")
        answer = site.post(f"/v1/dead-letters/{letter['id']}/resend", json={"who": "ann"})
        assert (answer.status_code, answer.json()) == (202, {"id": letter["id"], "state": "waiting"})
        wait_until(lambda: len(receiver.requests) == 2)
        wait_until(lambda: letters() == [])
    assert refused(site.post("/v1/dead-letters/nothing/resend")) == (404, "no-dead-letter")


# ---- audit


def test_what_people_do_stands_in_the_audit_log_with_their_address(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path, http="127.0.0.1:0") as engine:
        assert engine.http_address is not None
        with httpx.Client(base_url="http://{}:{}".format(*engine.http_address), trust_env=False) as client:
            client.post("/v1/alerts", json={"alert": "posted", "if": "avg(x) > 1"})
            client.post("/v1/alerts/hand/fire", json={})
            client.post("/v1/alerts/hand/ack", json={"who": "ann"})
            silence = client.post("/v1/alerts/hand/silence", json={"who": "ann", "for": "1h"}).json()
            client.delete(f"/v1/silences/{silence['id']}", params={"who": "bob"})
            client.delete("/v1/alerts/posted")
        entries = [(one["what"], one["who"], one["source"]) for one in engine.audit_log(100)]
    here = "HTTP 127.0.0.1"
    asked = [one for one in entries if one[2] == here]
    assert asked == [
        ("rule", here, here),
        ("acknowledge", "ann", here),
        ("silence", "ann", here),
        ("unsilence", "bob", here),
        ("rule-removed", here, here),
    ]

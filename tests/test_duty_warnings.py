"""What loads but is not served as written is logged once and stands in the engine's health."""

import pytest
from tests.engines import manual

from hms_ops.duty import UNSERVED_SHOWN


def test_a_receiver_that_is_not_served_as_written_is_logged_once_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with manual() as engine:
        engine.alert("a", if_="avg(x) > 1", notify=["sms:+1-555-0100", "email:ops@example.org", "log:"])
        engine.alert("b", if_="avg(x) > 1")
        told = engine.health()
        assert [("SMS gateway" in line, "email" in line) for line in told] == [(True, False), (False, True)]
        assert [caplog.messages.count(line) for line in told] == [1, 1]
        engine.alert("a", if_="avg(x) > 1", notify=["log:"])
        assert engine.health() == []


def test_an_action_that_waits_for_alert_now_is_logged_and_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    action = {"on": "by.hand", "act": {"template": "x", "input": {}}}
    with manual(config={"actions": {"run": [action]}}) as engine:
        assert engine.health() == []
    assert "no rule or anomaly here is named 'by.hand'" in caplog.text


def test_health_stays_short() -> None:
    with manual() as engine:
        receivers = [f"email:{n}@example.org" for n in range(UNSERVED_SHOWN + 3)]
        for number in range(0, len(receivers), 5):
            engine.alert(f"a{number}", if_="avg(x) > 1", notify=receivers[number : number + 5])
        assert len(engine.health()) == UNSERVED_SHOWN + 1
        assert engine.health()[-1].startswith("3 more receivers")


def test_what_the_host_and_the_detectors_could_not_do_is_counted() -> None:
    with manual() as engine:
        engine.advance(1)
        counters = engine.counters()
    of_anomalies = ("episodes", "waiting", "deferred", "resumed", "cut_off", "damaged")
    assert (counters["host"], counters["anomalies"]) == ({"read_errors": 0}, dict.fromkeys(of_anomalies, 0))

"""The public status page: what it says of services, of their days, and what it never says; badge and data."""

import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.engines import NOW, feed, manual

from hms_ops import Engine
from hms_ops.errors import ConfigError
from hms_ops.statuspage.badge import LABEL_CHARS_MAX, badge_text
from hms_ops.statuspage.page import percent
from hms_ops.statuspage.settings import Service
from hms_ops.statuspage.standing import DEGRADED, OUT, UNKNOWN, WORKING, state_of, watching
from hms_ops.statuspage.uptime import DAY, DAYS, Day, Incident, incidents_of, past_days, today, uptime_of, words_of_span

RULES = ["ALERT slow WHEN avg(a) > 5 FOR 2s", "ALERT down WHEN avg(b) > 5 FOR 2s"]
SERVICES = [
    {"name": "refunds", "label": "Refund payments", "outage": ["down"], "degraded": ["slow"]},
    {"name": "forms", "label": "Forms <b>&", "degraded": ["slow"]},
]


def service(**given: Any) -> Service:
    return Service("refunds", "Refund payments", **{"outage": ("down",), "degraded": ("slow",), **given})


@pytest.mark.parametrize(
    ("firing", "state"), [((), WORKING), (("slow",), DEGRADED), (("down",), OUT), (("down", "slow"), OUT)]
)
def test_a_service_is_as_bad_as_its_rules_say(firing: tuple[str, ...], state: str) -> None:
    assert state_of(service(), {"down", "slow"}, firing, is_ready=True) == state


def test_what_nobody_watches_is_not_known() -> None:
    assert state_of(service(), {"down"}, (), is_ready=True) == UNKNOWN
    assert state_of(service(), {"down", "slow"}, (), is_ready=False) == UNKNOWN


def rows(*given: tuple[int, float, float, float]) -> Any:
    """(second, count, sum, max)"""
    made = np.zeros(len(given), [("time", "i8"), ("count", "f8"), ("sum", "f8"), ("max", "f8")])
    for row, (second, *figures) in zip(made, given, strict=True):
        row["time"] = second * 10**9
        row["count"], row["sum"], row["max"] = figures
    return made


def days_of(rules: tuple[str, ...], now: int, read: Any) -> list[Day]:
    return [*past_days(rules, now, read), today(rules, now, read)]


def within(rows: Any) -> Any:
    """A reader of these rows, by span."""
    return lambda start, end: rows[(rows["time"] >= start * 10**9) & (rows["time"] < end * 10**9)]


def test_days_count_minutes_that_were_out_and_hours_by_their_share() -> None:
    midnight = NOW // DAY * DAY
    kept = {
        "1m": rows((midnight, 1, 0, 0), (midnight + 60, 2, 1, 1), (midnight + 120, 1, 0, 0), (midnight + 180, 1, 0, 0)),
        "1h": rows((midnight - 50 * DAY, 60, 15, 1)),
    }
    days = days_of(("down",), midnight + 300, lambda rule, start, end, step: within(kept[step])(start, end))
    assert len(days) == DAYS
    assert days[-1] == Day(datetime.fromtimestamp(midnight, UTC).date(), 240.0, 60.0)
    assert days[-51].share == pytest.approx(0.75)
    assert days[-2].share is None
    assert uptime_of(days) == pytest.approx(1 - (60 + 900) / (240 + 3600))


def test_rules_that_fire_together_count_once() -> None:
    midnight = NOW // DAY * DAY
    kept = {"slow": rows((midnight, 1, 1, 1)), "down": rows((midnight, 1, 1, 1), (midnight + 60, 1, 0, 0)), "new": None}

    def read(rule: str, start: int, end: int, step: str) -> Any:
        return within(kept[rule])(start, end) if step == "1m" and kept[rule] is not None else None

    days = days_of(("slow", "down", "new"), midnight + 120, read)
    assert (days[-1].watched, days[-1].out) == (120.0, 60.0)


def event(name: str, state: str, at: int, **tags: str) -> dict[str, Any]:
    return {"kind": "alert", "name": name, "state": state, "time_ns": at * 10**9, "tags": tags}


def test_instances_that_overlap_are_one_incident() -> None:
    events = [
        event("down", "pending", 5, host="a"),
        event("down", "firing", 10, host="a"),
        event("down", "firing", 12, host="b"),
        event("other", "firing", 12),
        event("down", "resolved", 20, host="a"),
        event("down", "resolved", 30, host="b"),
        event("slow", "resolved", 31),
        event("slow", "firing", 40),
    ]
    assert incidents_of(events, watching([service()])) == [
        Incident("refunds", DEGRADED, 40.0, None),
        Incident("refunds", OUT, 10.0, 30.0),
    ]


@pytest.mark.parametrize(
    ("share", "words"), [(1.0, "100 %"), (0.999999, "99.99 %"), (0.5, "50.00 %"), (0.0, "0.00 %"), (None, "not known")]
)
def test_a_share_is_never_rounded_up_to_all(share: float | None, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 minute"),
        (120, "2 minutes"),
        (3660, "1 hour 1 minute"),
        (2 * DAY, "2 days"),
        (DAY + 7200, "1 day 2 hours"),
    ],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert words_of_span(seconds) == words


@pytest.mark.parametrize("label", ["Forms <b>&\"'", "x" * 500, "\u202eevil", "税務", ""])
def test_a_badge_is_a_picture_whatever_its_label(label: str) -> None:
    text = badge_text(label, "Working", WORKING)
    root = ET.fromstring(text)
    assert {child.tag.partition("}")[2] for child in root.iter()} == {"svg", "title", "rect", "g", "text"}
    assert "\u202e" not in text
    assert len(root.findall(".//{*}text")[0].text or "") <= LABEL_CHARS_MAX + 10


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"services": [{"name": "Bad Name", "outage": ["a"]}]}, "short name"),
        ({"services": [{"name": "all", "outage": ["a"]}]}, "other than 'all'"),
        ({"services": [{"name": "a"}]}, "watched by no rule"),
        ({"services": [{"outage": ["a"]}]}, "has no name"),
        ({"services": [{"name": "a", "outage": ["a"]}, {"name": "a", "outage": ["b"]}]}, "another service"),
        ({"services": [{"name": "a", "outage": "a"}]}, "list of at most"),
        ({"services": [{"name": "a", "outage": ["a"], "secret": 1}]}, "unknown key"),
        ({"title": "x" * 101}, "at most 100"),
    ],
)
def test_wrong_settings_are_refused(status: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Engine(udp=None, data_dir=None, config={"status": status})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    status = {"title": "Tax services", "message": "Work on Sunday <i>", "services": SERVICES}
    config = {"rules": RULES, "status": status}
    with manual(http="127.0.0.1:0", data_dir=tmp_path / "data", config=config) as engine:
        feed(engine, "a", 1.0, 60)
        yield engine


def ask(engine: Engine, path: str, **options: Any) -> httpx.Response:
    assert engine.http_address is not None
    return httpx.get(f"http://127.0.0.1:{engine.http_address[1]}{path}", **options)


def test_the_page_says_how_services_are_and_nothing_of_their_rules(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr("hms_ops.http.status.KEPT_SECONDS", -1)
    monkeypatch.setattr("hms_ops.http.status.STALE_SECONDS", -1)
    assert ask(engine, "/status.json").json()["sentence"] == "All services are working."
    feed(engine, "b", 9.0, 10, tags={"secret_host": "db-7"})
    engine.duty.settle()
    page, data = ask(engine, "/status"), ask(engine, "/status.json").json()
    assert page.status_code == 200
    assert data["state"] == OUT
    assert [one["state"] for one in data["services"]] == [OUT, WORKING]
    assert data["sentence"] == "Not working: Refund payments."
    assert [incident["service"] for incident in data["incidents"]] == ["refunds"]
    assert "Forms &lt;b&gt;&amp;" in page.text
    assert "Work on Sunday &lt;i&gt;" in page.text
    for text in (page.text, ask(engine, "/status.json").text):
        assert not any(word in text for word in ("secret_host", "db-7", "avg(", "slow FOR", '"down"', ">down"))


def test_it_is_cacheable_and_others_may_show_it(engine: Engine) -> None:
    for path in ("/status", "/status.json", "/badge/refunds.svg", "/badge/all.svg", "/hms-status.js", "/status.css"):
        answer = ask(engine, path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"].startswith("public, max-age=")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert ask(engine, path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert ask(engine, path, headers={"Origin": "https://citizens.example"}).status_code == 200, path
    assert ask(engine, "/v1/alerts", headers={"Origin": "https://citizens.example"}).status_code == 403


def test_the_status_is_made_once_for_a_crowd(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = engine.events
    monkeypatch.setattr(engine, "events", lambda *given: made.append(1) or real(*given))
    monkeypatch.setattr("hms_ops.http.status.KEPT_SECONDS", 3600)  # however long fifty answers take here
    for _ in range(50):
        assert ask(engine, "/status.json").status_code == 200
    assert len(made) <= 2


def test_no_services_no_page() -> None:
    with Engine(udp=None, http="127.0.0.1:0", data_dir=None) as engine:
        for path in ("/status", "/status.json", "/badge/all.svg"):
            assert ask(engine, path).status_code == 404
        assert "services" in ask(engine, "/status").json()["detail"]


def test_a_badge_of_nothing_is_not_found(engine: Engine) -> None:
    assert ask(engine, "/badge/none.svg").status_code == 404
    assert "Refund payments" in ask(engine, "/badge/refunds.svg").text


def test_days_begin_at_midnight_utc() -> None:
    days = days_of((), NOW, lambda *given: None)
    assert days[-1].date == date(2023, 11, 14)
    assert days[0].date == date(2023, 8, 17)


def test_a_crowd_gets_the_bytes_that_were_made_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, packed = (ask(engine, "/status", headers={"Accept-Encoding": name}) for name in ("identity", "gzip"))
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'
    for answer in (plain, packed):
        known = {"If-None-Match": answer.headers["etag"], "Accept-Encoding": "gzip"}
        assert ask(engine, "/status", headers=known).status_code == 304
    monkeypatch.setattr("hms_ops.statuspage.maker.page_text", lambda status: pytest.fail("made again"))
    assert ask(engine, "/status").text == plain.text


def test_one_status_is_made_at_a_time_and_old_ones_are_waited_for(engine: Engine, monkeypatch: Any) -> None:
    ask(engine, "/status.json")
    begun, going_on = threading.Event(), threading.Event()

    def slow(status: Any) -> str:
        begun.set()
        assert going_on.wait(20)
        return "new"

    monkeypatch.setattr("hms_ops.statuspage.maker.page_text", slow)
    monkeypatch.setattr("hms_ops.http.status.KEPT_SECONDS", -1)
    old = [ask(engine, "/status").text for _ in range(3)]
    assert begun.wait(10)
    assert "new" not in old
    assert ask(engine, "/v1/query", params={"expr": "avg(a)"}).status_code == 200
    monkeypatch.setattr("hms_ops.http.status.STALE_SECONDS", -1)
    with ThreadPoolExecutor(8) as crowd:
        waiting = [crowd.submit(ask, engine, "/status", timeout=30) for _ in range(8)]
        going_on.set()
        assert {one.result().text for one in waiting} == {"new"}

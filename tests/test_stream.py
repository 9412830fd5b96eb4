"""`GET /v1/stream` over real HTTP: what cells say, which seconds and events come, and what a client is told that it
missed."""

import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from tests.serving import Serving, server_of, serving
from tests.streaming import Event, Following, Sent, by_key, cells_of, following
from tests.test_fork import in_child

from hms_ops.http import connection as bounds
from hms_ops.http import stream as doors
from hms_ops.http.tls import TlsFiles
from hms_ops.stream import documents, members, outflow, ring, table
from hms_ops.stream import hub as hubs

KINDS = ("counter", "gauge", "timer", "histogram", "distribution", "set")


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


def now(site: Serving) -> int:
    return site.engine.clock.now_ns() // 1_000_000_000


def wait_for_open(site: Serving, count: int) -> None:
    """Until so many streams are live: what is sent from now on is theirs."""
    wait_for(lambda: site.engine.counters()["streams"]["open"] == count)
    assert site.server.site.streams.settle()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def seconds_of(events: list[Event]) -> list[int]:
    return [event.data["time"] for event in events if event.kind == "cells"]


def samples(chance: random.Random, count: int) -> list[Sent]:
    made = []
    for _ in range(count):
        kind = chance.choice(KINDS)
        value: Any = (
            chance.choice("abcdefgh")
            if kind == "set"
            else chance.choice([1, 2.5, 1e9, 0, 7 if kind == "gauge" else -3.25])
        )
        tags = chance.choice([(), (("zone", "east"),), (("zone", "west"), ("host", 'é"\\'))])
        rate = 1.0 if kind == "set" else chance.choice([1.0, 1.0, 0.5])
        made.append(Sent(f"{kind}.{chance.randrange(3)}", kind, value, tuple(sorted(tags)), rate))
    return made


# ---- cells


def test_cells_of_every_kind_are_what_a_slow_reference_makes_of_the_samples(site: Serving) -> None:
    chance = random.Random(5)
    seconds = [samples(chance, count) for count in (1, 0, 40, 200, 3, 90)]
    with following(site.address, "?metric=*") as pooled, following(site.address, "?series=*") as split:
        wait_for_open(site, 2)
        for some in seconds:
            site.engine.ingest(b"".join(one.line for one in some))
            site.engine.advance(1)
        for some in seconds:
            for stream, is_pooled in ((pooled, True), (split, False)):
                found, wanted = by_key(stream.next("cells")), cells_of(some, is_pooled)
                assert found.keys() == wanted.keys()
                for key, cell in wanted.items():
                    assert found[key] == {name: is_near(value) for name, value in cell.items()}, key


def is_near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


def test_a_second_without_samples_is_an_event_without_cells(site: Serving) -> None:
    with following(site.address, "?metric=a") as stream:
        wait_for_open(site, 1)
        begin = now(site)
        site.engine.advance(3)
        assert [event.data for event in stream.take(3)] == [
            {"time": begin + n, "cells": [], "left_out": 0} for n in range(3)
        ]
    assert stream.retry == 1000


def test_a_metric_nobody_has_sent_may_come_later_and_a_beginning_takes_all_that_begin_so(site: Serving) -> None:
    with following(site.address, "?metric=late.a&metric=web.*") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"web.a:1|c\nweb.b:2|c\nwe:3|c\n")
        site.engine.advance(1)
        assert sorted(by_key(stream.next())) == [("web.a", None), ("web.b", None)]
        site.engine.ingest(b"late.a:1|c\nlate.ab:1|c\nweb.c:1|c\n")
        site.engine.advance(1)
        assert sorted(by_key(stream.next())) == [("late.a", None), ("web.c", None)]


def test_without_names_all_metrics_are_pooled_and_what_the_store_folds_is_hidden() -> None:
    with (
        serving(limits={"series": 20}) as site,
        following(site.address) as stream,
        following(site.address, "?series=known&metric=__overflow__") as named,
    ):
        wait_for_open(site, 2)
        site.engine.ingest(b"known:1|c\n" + b"".join(b"known:1|c|#n:%d\nm%d:1|c\n" % (n, n) for n in range(40)))
        site.engine.advance(1)
        found = by_key(stream.next("cells"))
        assert found["known", None]["sum"] == 41
        assert not any(metric.startswith("__") for metric, _ in found)
        split = by_key(named.next("cells"))
        assert split["known", (("__overflow__", "true"),)]["sum"] > 1
        assert split["__overflow__", None]["sum"] > 1
        total = sum(cell["sum"] for key, cell in split.items() if key[0] == "known")
        assert total == 41


def test_a_slot_that_changed_hands_shows_its_new_series_and_nothing_of_the_old(site: Serving) -> None:
    with following(site.address, "?series=old&series=new&metric=old&metric=new") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"old:1|g|#a:1\n")
        site.engine.advance(1)
        assert sorted(by_key(stream.next()), key=str) == [("old", (("a", "1"),)), ("old", None)]
        slot = site.engine.store.slot("old", {"a": "1"})
        assert site.engine.delete("old") == 1
        site.engine.ingest(b"new:2|c|#b:2\n")
        assert site.engine.store.slot("new", {"b": "2"}) == slot
        site.engine.advance(1)
        found = by_key(stream.next())
        assert sorted(found, key=str) == [("new", (("b", "2"),)), ("new", None)]
        assert {cell["kind"] for cell in found.values()} == {"counter"}


def test_a_kind_that_was_inferred_is_followed_when_it_is_settled(site: Serving) -> None:
    with following(site.address, "?metric=a") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b'{"metric":"a","value":5}')
        site.engine.advance(1)
        assert stream.next().data["cells"][0]["kind"] == "gauge"
        site.engine.ingest(b"a:5|c\na:6|c\n")
        site.engine.advance(1)
        cell = stream.next().data["cells"][0]
        assert (cell["kind"], cell["value"]) == ("counter", 11)


def test_a_rules_gauge_is_1_while_it_fires(site: Serving) -> None:
    site.engine.alert("load.high", if_="last(load) > 5", group_by=["host"])
    with following(site.address, "?metric=load.high&events=") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"load:9|g|#host:a\nload:1|g|#host:b\n")
        site.engine.advance(3)
        values = [cell["value"] for event in stream.take(3) for cell in event.data["cells"]]
        assert values[-1] == 1.0


def test_a_stream_has_its_bound_of_cells_and_counts_what_it_leaves_out(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hms_ops.stream.table.CELLS_MAX", 3)
    with following(site.address, "?series=a&metric=b&events=") as stream, following(site.address, "?metric=b") as other:
        wait_for_open(site, 2)
        site.engine.ingest(b"b:1|c\n" + b"".join(b"a:1|c|#n:%d\n" % n for n in range(10)))
        site.engine.advance(1)
        event = stream.next()
        assert (len(event.data["cells"]), event.data["left_out"]) == (3, 8)
        assert ("b", None) in by_key(event)
        assert other.next().data["left_out"] == 0
    assert site.engine.counters()["streams"]["cells_left_out"] == 8


def test_all_streams_together_have_a_bound_of_cells_and_share_what_they_have_in_common(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hms_ops.stream.table.ENCODED_MAX", 5)
    with following(site.address, "?series=a") as first:
        wait_for_open(site, 1)
        with following(site.address, "?series=a&series=b") as second:
            wait_for_open(site, 2)
            site.engine.ingest(b"".join(b"a:1|c|#n:%d\nb:1|c|#n:%d\n" % (n, n) for n in range(4)))
            site.engine.advance(1)
            found = [(len(event.data["cells"]), event.data["left_out"]) for event in (first.next(), second.next())]
    assert found == [(4, 0), (5, 3)]


# ---- the past


def test_since_sends_the_sealed_seconds_first_as_they_were_sent_live(site: Serving) -> None:
    with following(site.address, "?metric=a") as live:
        wait_for_open(site, 1)
        begin = now(site)
        for value in range(100):
            site.engine.ingest(b"a:%d|g\n" % value)
            site.engine.advance(1)
        sent = [event.data for event in live.take(100)]
    with following(site.address, f"?metric=a&since={begin}") as late:
        wait_for_open(site, 1)
        site.engine.advance(1)
        found = [event.data for event in late.until_second(begin + 100)]
    assert found[:-1] == sent[-60:]
    with following(site.address, f"?metric=a&since={begin + 90}.5") as later:
        assert later.next().data == sent[91]


def test_since_a_time_to_come_sends_what_comes(site: Serving) -> None:
    with following(site.address, f"?since={now(site) + 1000}") as stream:
        wait_for_open(site, 1)
        begin = now(site)
        site.engine.advance(1)
        assert stream.next().data["time"] == begin


def test_a_reconnection_has_no_hole_and_nothing_twice(site: Serving) -> None:
    chance, seen, id = random.Random(3), list[Event](), ""
    begin = now(site)
    for _ in range(12):
        with following(site.address, "?metric=a", id) as stream:
            if not id:
                wait_for_open(site, 1)
            for _ in range(chance.randrange(1, 5)):
                step(site)
            wanted = now(site) - 1 - chance.randrange(0, 2)
            while not seen or seen[-1].second < wanted:
                seen.append(stream.next())
                id = seen[-1].id
        for _ in range(chance.randrange(0, 5)):
            step(site)  # while nobody is there
        wait_for_open(site, 0)
    with following(site.address, "?metric=a", id) as stream:
        step(site)
        seen += stream.until_second(now(site) - 1)
    assert [event.kind for event in seen if event.kind == "gap"] == []
    assert seconds_of(seen) == list(range(begin, now(site)))
    fired = [event.data["tags"]["n"] for event in seen if event.kind == "alert"]
    assert fired == [str(n) for n in range(begin, begin + len(fired))]
    assert len(fired) >= now(site) - begin - 1
    assert [event.second for event in seen] == sorted(event.second for event in seen)
    numbers = [int(event.id.split(".")[1]) for event in seen]
    assert numbers == sorted(numbers)


def step(site: Serving) -> None:
    """A second with a sample and an alert of its own."""
    site.engine.ingest(b"a:1|c\n")
    site.engine.alert_now("step", 1.0, tags={"n": str(now(site))}, ttl="10m")
    site.engine.advance(1)


def test_what_is_older_than_memory_is_a_gap_that_says_so(site: Serving) -> None:
    with following(site.address, "?metric=a") as stream:
        wait_for_open(site, 1)
        site.engine.advance(1)
        first = stream.next()
    wait_for_open(site, 0)
    for n in range(1100):
        site.engine.alert_now("many", 1.0, tags={"n": str(n)})
        site.engine.duty.settle()
        assert site.server.site.streams.settle()
    site.engine.advance(100)
    with following(site.address, "?metric=a", first.id) as stream:
        gap, *rest = stream.until_second(now(site) - 1)
    assert gap.kind == "gap"
    assert gap.data == {
        "time": now(site),
        "from": first.second + 1,
        "to": now(site) - 61,
        "reason": "too-old",
        "cells_lost": 0,
        "events_lost": 100,
    }
    assert len([event for event in rest if event.kind == "alert"]) == 1000
    assert seconds_of(rest) == list(range(now(site) - 60, now(site)))


def test_an_id_of_another_run_is_a_gap_and_its_own_events_follow(site: Serving) -> None:
    with serving() as before, following(before.address) as stream:
        wait_for_open(before, 1)
        before.engine.advance(2)
        stream.next()
        id = stream.next().id
    site.engine.advance(10)
    site.engine.alert_now("since.then", 1.0)
    site.engine.duty.settle()
    with following(site.address, "", id) as stream:
        gap = stream.next()
        site.engine.advance(1)
        rest = stream.until_second(now(site) - 1)
    assert (gap.kind, gap.data["reason"]) == ("gap", "too-old")
    assert gap.id.split(".")[2] != id.split(".")[2]
    assert [event.data["name"] for event in rest if event.kind == "alert"] == ["since.then"]
    seconds = seconds_of(rest)
    assert seconds == list(range(seconds[0], now(site)))


@pytest.mark.parametrize(
    "id", ["nonsense", "1.2.3", "1.2.ABCDEF12", "-1.2.9f86d081", "9" * 60, "1700000000.1.9f86d081x"]
)
def test_an_id_that_is_none_is_as_good_as_one_of_another_run(site: Serving, id: str) -> None:
    with following(site.address, "", id) as stream:
        assert stream.next().kind == "gap"
    with following(site.address, f"?last_event_id={id}") as stream:
        assert stream.next().kind == "gap"


def test_the_id_in_the_query_goes_with_since_and_the_header_wins_over_both(site: Serving) -> None:
    begin = now(site)
    site.engine.advance(20)
    epoch = site.server.site.streams._feed.epoch
    with following(site.address, f"?since={begin + 5}&last_event_id={begin + 15}.0.{epoch}") as stream:
        assert stream.next().data["time"] == begin + 5
    with following(site.address, f"?since={begin + 5}", f"{begin + 15}.0.{epoch}") as stream:
        assert stream.next().data["time"] == begin + 16


def test_a_long_past_reaches_a_slow_reader_whole(site: Serving) -> None:
    """Megabytes: they are gathered as they are taken, so nothing is dropped."""
    lines = b"".join(b"past.metric.with.a.long.name.%04d:1|c\n" % n for n in range(1500))
    begin = now(site)
    for _ in range(60):
        site.engine.ingest(lines)
        site.engine.advance(1)
    with following(site.address, f"?metric=past.*&since={begin}", receive_bytes=4096) as stream:
        events = stream.until_second(begin + 59)
    assert seconds_of(events) == list(range(begin, begin + 60))
    assert {len(event.data["cells"]) for event in events} == {1500}
    assert site.engine.counters()["streams"]["frames_dropped"] == 0


# ---- slow clients


def read_all(stream: Following, last: int) -> list[Event]:
    return stream.until_second(last)


def test_a_client_that_stops_reading_loses_the_oldest_and_is_told_exactly_what(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outflow, "FRAMES_MAX", 10)
    lines = b"".join(b"slow.metric.with.a.long.name.%04d:1|c\n" % n for n in range(1500))
    with following(site.address, "?metric=slow.*", receive_bytes=4096) as stream, following(site.address) as quick:
        wait_for_open(site, 2)
        begin = now(site)
        for n in range(50):
            site.engine.ingest(lines)
            site.engine.alert_now("slow.alert", 1.0, tags={"n": str(n)})
            site.engine.advance(1)
            quick.until_second(begin + n)
        events = stream.until_second(begin + 49)
    gaps = [event for event in events if event.kind == "gap"]
    cells = [event for event in events if event.kind == "cells"]
    assert len(gaps) == 1
    assert gaps[0].data["reason"] == "slow"
    assert gaps[0].data["cells_lost"] == 1500 * 50 - sum(len(event.data["cells"]) for event in cells)
    assert gaps[0].data["events_lost"] == 50 - sum(event.kind == "alert" for event in events)
    lost = range(gaps[0].data["from"], gaps[0].data["to"] + 1)
    seconds = seconds_of(events)
    assert sorted({*seconds, *lost}) == list(range(begin, begin + 50))
    # Of the first second of the gap the event alone may be lost, of the last one the cells.
    assert len(set(seconds)) == len(seconds)
    assert {*seconds} & {*lost} <= {lost[0]}
    assert [event.second for event in events] == sorted(event.second for event in events)
    assert not any(event.kind == "gap" for event in quick.seen)
    counters = site.engine.counters()["streams"]
    assert counters["gaps"] == 1
    assert counters["frames_dropped"] >= len(lost)


def test_a_client_that_reads_nothing_at_all_is_cut(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(bounds, "STALL_SECONDS", 0.3)
    lines = b"".join(b"stalled.metric.with.a.long.name.%04d:1|c\n" % n for n in range(2000))
    with following(site.address, "?metric=stalled.*", receive_bytes=4096):
        wait_for_open(site, 1)
        for _ in range(40):
            site.engine.ingest(lines)
            site.engine.advance(1)
        wait_until(lambda: site.refused("stalled") == 1)
        wait_for_open(site, 0)


def test_a_slow_client_over_tls_loses_frames_and_not_the_servers_memory(
    site: Serving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(outflow, "FRAMES_MAX", 10)
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    files = TlsFiles(tmp_path / "tls.pem", tmp_path / "tls.key")
    made.cert_chain_pems[0].write_to_path(files.certificate)
    made.private_key_pem.write_to_path(files.key)
    files.key.chmod(0o600)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    lines = b"".join(b"slow.metric.with.a.long.name.%04d:1|c\n" % n for n in range(1500))
    with server_of(site.engine, tls=files) as (server, url):
        port = httpx.URL(url).port or 0
        with following(("127.0.0.1", port), "?metric=slow.*", receive_bytes=4096, tls=context) as stream:
            hub = server.site.streams
            wait_for(lambda: hub.counters()["different"] == 1)
            begin = now(site)
            for _ in range(50):
                site.engine.ingest(lines)
                site.engine.advance(1)
                assert hub.settle()
            wait_for(lambda: hub.counters()["frames_dropped"] > 0)
            events = stream.until_second(begin + 49)
    [gap] = [event for event in events if event.kind == "gap"]
    assert gap.data["cells_lost"] == 1500 * (50 - len(seconds_of(events)))


def test_a_stream_ends_when_its_token_is_taken_away(site: Serving) -> None:
    with server_of(site.engine, tokens=("secret",)) as (server, url):
        place = "127.0.0.1", httpx.URL(url).port or 0
        assert httpx.get(f"{url}/v1/stream", trust_env=False).status_code == 401
        with following(place, "?metric=a", token="secret") as stream:
            wait_for(lambda: server.site.streams.counters()["different"] == 1)
            site.engine.advance(1)
            stream.next()
            server.entrance.access = replace(server.entrance.access, tokens=())
            site.engine.advance(1)
            with pytest.raises(EOFError):
                stream.take(2)


# ---- events


def alert_in_list(site: Serving, name: str) -> dict[str, Any]:
    found = site.get("/v1/alerts").json()["alerts"]
    return next(alert for alert in found if alert["name"] == name)


def test_an_alerts_event_is_its_document_in_the_list(site: Serving) -> None:
    site.engine.alert("slow", if_="avg(api_ms, 10s) > 200", for_="2s", severity="ticket", notify=["log:"])
    with following(site.address, "?metric=none&events=alert") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"api_ms:500|ms\n")
        site.engine.advance(1)
        pending = stream.next("alert")
        assert told_of(pending) == {"time": now(site), "change": "pending", **alert_in_list(site, "slow")}
        site.engine.advance(3)
        firing = stream.next("alert")
        assert firing.data["change"] == firing.data["state"] == "firing"
        listed = alert_in_list(site, "slow")
        changing = ("value", "told_at")
        assert {key: value for key, value in listed.items() if key not in changing} == {
            key: value for key, value in told_of(firing).items() if key not in (*changing, "time", "change")
        }
        assert firing.data["rule"] == "avg(api_ms, 10s) > 200ms" or "avg(api_ms, 10s) > 200" in firing.data["rule"]
        site.engine.ingest(b"api_ms:1|ms\n" * 100)
        site.engine.advance(15)
        resolved = stream.next("alert")
        assert (resolved.data["change"], resolved.data["state"]) == ("resolved", "resolved")


def told_of(event: Event) -> dict[str, Any]:
    return event.data


def test_a_storm_of_alerts_reaches_a_client_that_reads(site: Serving) -> None:
    site.engine.alert("hot", if_="last(load) > 5", group_by=["host"], notify=["log:"])
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"".join(b"load:9|g|#host:h%d\n" % n for n in range(1500)))
        site.engine.advance(1)
        fired = [stream.next("alert").data for _ in range(1500)]
    assert {alert["tags"]["host"] for alert in fired} == {f"h{n}" for n in range(1500)}
    assert not any(event.kind == "gap" for event in stream.seen)


def test_events_that_cannot_be_told_are_a_gap_and_the_next_ones_are_told(
    site: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        with monkeypatch.context() as broken:
            broken.setattr(site.engine, "alert_standings", lambda: 1 / 0)
            site.engine.alert_now("lost", 1.0)
            site.engine.advance(1)
        site.engine.alert_now("told", 1.0)
        site.engine.advance(1)
        gap = stream.next("gap").data
        assert (gap["reason"], gap["events_lost"]) == ("slow", 1)
        assert stream.next("alert").data["name"] == "told"
    assert site.engine.counters()["streams"]["errors"] == 1
    assert "ZeroDivisionError" in caplog.text


def test_an_alert_that_was_pending_and_is_not_any_more_is_told_as_inactive(site: Serving) -> None:
    site.engine.alert("brief", if_="last(load) > 5", for_="1m")
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        site.engine.ingest(b"load:9|g\n")
        site.engine.advance(1)
        assert stream.next("alert").data["change"] == "pending"
        site.engine.ingest(b"load:1|g\n")
        site.engine.advance(2)
        gone = stream.next("alert").data
        assert (gone["change"], gone["state"], gone["name"]) == ("inactive", "inactive", "brief")


def test_what_people_do_about_alerts_is_told_with_who_did_it(site: Serving) -> None:
    for host in ("a", "b"):
        site.engine.alert_now("db.slow", 7.0, tags={"host": host})
    site.engine.duty.settle()
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        site.post("/v1/alerts/db.slow/ack", json={"who": "ann", "comment": "mine", "tags": {"host": "a"}})
        told = stream.next("alert").data
        assert (told["change"], told["by"], told["tags"], told["comment"]) == (
            "acknowledged",
            "ann",
            {"host": "a"},
            "mine",
        )
        assert told["acknowledged"] == alert_in_list(site, "db.slow")["acknowledged"]
        assert told["acknowledged"]["who"] == "ann"
        site.post("/v1/alerts/db.slow/unack", json={"who": "bob"})
        both = [stream.next("alert").data for _ in range(2)]
        assert {(one["change"], one["by"], one["tags"]["host"]) for one in both} == {
            ("unacknowledged", "bob", "a"),
            ("unacknowledged", "bob", "b"),
        }
        site.post("/v1/alerts/db.slow/silence", json={"who": "ann", "for": "1h", "tags": {"host": "b"}})
        told = stream.next("alert").data
        assert (told["change"], told["by"], told["tags"]["host"]) == ("silenced", "ann", "b")
        assert told["silenced_by"]
        site.post("/v1/alerts/db.slow/unsilence", json={"who": "ann"})
        assert stream.next("alert").data["change"] == "unsilenced"


def test_a_silence_of_what_does_not_fire_is_told_by_its_name(site: Serving) -> None:
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        site.post("/v1/alerts/not.yet/silence", json={"who": "ann", "for": "1h"})
        told = stream.next("alert").data
        assert (told["name"], told["change"], told["by"], told["alerts"]) == ("not.yet", "silenced", "ann", 0)


def test_an_acknowledgement_of_many_alerts_is_one_event(site: Serving) -> None:
    for n in range(150):
        site.engine.alert_now("many", 1.0, tags={"n": str(n)})
    site.engine.duty.settle()
    with following(site.address, "?metric=none") as stream:
        wait_for_open(site, 1)
        site.post("/v1/alerts/many/ack", json={"who": "ann"})
        told = stream.next("alert").data
        assert (told["name"], told["change"], told["alerts"]) == ("many", "acknowledged", 150)


def test_anomalies_and_actions_are_told_and_only_the_kinds_that_are_wanted(tmp_path: Any) -> None:
    rules = {
        "anomalies": [{"anomaly": "odd", "metric": "*", "factor": 2, "window": "1m", "min_difference": 1}],
        "actions": [{"on": "broken", "act": {"command": ["/bin/true"]}}],
    }
    config = tmp_path / "rules.yaml"
    config.write_text(json.dumps(rules))
    with (
        serving(rules=[str(config)]) as site,
        following(site.address, "?metric=none&events=anomaly") as odd,
        following(site.address, "?metric=none&events=action") as done,
    ):
        wait_for_open(site, 2)
        for _ in range(90):
            site.engine.ingest(b"load:10|g|#host:a\n")
            site.engine.advance(1)
        for _ in range(5):
            site.engine.ingest(b"load:100|g|#host:a\n")
            site.engine.advance(1)
        site.engine.alert_now("broken", 1.0)
        anomaly = odd.next("anomaly").data
        assert (anomaly["name"], anomaly["metric"], anomaly["tags"]) == ("odd", "load", {"host": "a"})
        assert anomaly["value"] == 100
        assert anomaly["score"] == pytest.approx(anomaly["value"] / anomaly["expected"])
        action = done.next("action").data
        assert action["alert"] == "broken"
        assert {event.kind for event in odd.seen} <= {"cells", "anomaly"}
        assert {event.kind for event in done.seen} <= {"cells", "action"}


# ---- bounds and life


def test_one_stream_too_many_is_told_to_come_again(site: Serving, wait_until: Callable[..., None]) -> None:
    site.server.site.streams.streams_max = 2
    with following(site.address), following(site.address):
        answer = site.get("/v1/stream")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["type"] == "urn:hms-ops:problem:streams"
        assert site.refused("streams") == 1
    wait_for_open(site, 0)
    with following(site.address):
        pass


def test_256_streams_are_served_at_once_and_the_257th_is_not(site: Serving) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        streams = [stack.enter_context(following(site.address, "?metric=a&events=")) for _ in range(256)]
        wait_for_open(site, 256)
        assert site.get("/v1/stream").status_code == 503
        site.engine.ingest(b"a:1|c\n")
        site.engine.advance(1)
        assert {json.dumps(stream.next().data) for stream in streams} == {json.dumps(streams[0].seen[0].data)}
        assert site.engine.counters()["streams"]["cells_encoded"] == 1
        assert site.engine.counters()["streams"]["different"] == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?metrics=a", "unknown parameter 'metrics'"),
        ("?metric=", "has 0 characters"),
        ("?metric=" + "x" * 300, "has 300 characters"),
        ("?events=alerts", "is none of alert, anomaly, action"),
        ("?since=soon", "is no time"),
        ("?since=1&since=2", "given twice"),
        ("?series=a" + "&metric=b" * 1001, "more than 1,000 times"),
    ],
)
def test_a_wrong_parameter_is_refused(site: Serving, query: str, said: str) -> None:
    answer = site.get(f"/v1/stream{query}")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_the_answer_is_a_plain_event_stream_whatever_else_is_accepted(site: Serving) -> None:
    headers = {"Accept-Encoding": "gzip, br, zstd", "Accept": "text/event-stream"}
    with site.client.stream("GET", "/v1/stream", headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-encoding" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert "content-length" not in answer.headers
        assert next(answer.iter_raw()).startswith(b"retry: 1000\n\n")
    assert site.client.head("/v1/stream").status_code == 200


def test_open_streams_do_not_hold_the_stop(site: Serving) -> None:
    with following(site.address) as one, following(site.address) as other:
        wait_for_open(site, 2)
        site.engine.advance(1)
        for stream in (one, other):
            assert stream.next().kind == "cells"
        site.engine.stop()
        for stream in (one, other):
            stream.answer.read()  # IncompleteRead where the connection is cut before the answer's end
            assert stream.answer.isclosed()


def test_a_stream_whose_client_does_not_read_does_not_hold_the_stop(site: Serving) -> None:
    lines = b"".join(b"stalled.metric.with.a.long.name.%04d:1|c\n" % n for n in range(2000))
    with following(site.address, "?metric=stalled.*", receive_bytes=4096):
        wait_for_open(site, 1)
        for _ in range(40):
            site.engine.ingest(lines)
            site.engine.advance(1)
        begun = time.monotonic()
        site.engine.stop()
        assert time.monotonic() - begun < 10  # who waits for it waits for a minute


def test_a_stream_is_open_as_long_as_its_client(site: Serving) -> None:
    for _ in range(3):
        with following(site.address):
            wait_for_open(site, 1)
        wait_for_open(site, 0)


def test_a_comment_comes_now_and_then(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "ALIVE_SECONDS", 0.1)
    with following(site.address) as stream:
        wait_for_open(site, 1)
        end = time.monotonic() + 10
        while not stream.comments:
            assert time.monotonic() < end
            time.sleep(0.05)
            site.engine.advance(1)
            stream.next()


def test_streams_that_lag_are_a_problem_and_the_tick_goes_on(
    site: Serving, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    release, begun = threading.Event(), threading.Event()
    feed = site.server.site.streams._feed
    whole = feed._table.texts

    def hang(second: int) -> Any:
        begun.set()
        release.wait(30)
        return whole(second)

    with following(site.address, "?metric=a") as stream:
        wait_for_open(site, 1)
        monkeypatch.setattr(feed._table, "texts", hang)
        monkeypatch.setattr(site.server.site.streams, "settle", lambda: True)
        begin = now(site)
        site.engine.advance(5)
        assert begun.wait(10)
        assert site.engine.counters()["tick"]["count"] >= 5
        assert site.engine.health() == ["live streams are 5 s late"]
        release.set()
        assert seconds_of(stream.take(5)) == list(range(begin, begin + 5))
        wait_until(lambda: not site.engine.health())


def test_every_counter_of_the_streams_has_a_help_text_and_stands_in_the_docs(site: Serving) -> None:
    text, written = site.get("/metrics").text, Path(__file__).parent.parent.joinpath("docs", "metrics.md").read_text()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP hms_ops_streams_")}
    assert len(names) == len(site.engine.counters()["streams"])
    assert {name for name in names if name not in written} == set()


def test_every_bound_of_the_streams_stands_in_the_docs() -> None:
    written = Path(__file__).parent.parent.joinpath("docs", "stream.md").read_text()
    limits = (hubs.STREAMS_MAX, hubs.INBOX_MAX, outflow.FRAMES_MAX, table.CELLS_MAX, table.ENCODED_MAX, table.SETS_MAX)
    more = (ring.EVENTS_MAX, members.METRICS_MAX, doors.NAMES_MAX, documents.ALERTS_TOLD_MAX)
    assert [limit for limit in (*limits, *more) if f"{limit:,}" not in written] == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_leaves_the_streams_alone(site: Serving) -> None:
    with following(site.address, "?metric=a") as stream:
        wait_for_open(site, 1)

        def work() -> None:
            site.engine.metric("a", 1.0)
            site.engine.stop()

        assert in_child(work)
        begin = now(site)
        site.engine.advance(2)
        assert seconds_of(stream.take(2)) == [begin, begin + 1]
    assert os.getpid()


def test_two_servers_of_one_engine_have_streams_of_their_own(site: Serving) -> None:
    with server_of(site.engine) as (server, url):
        place = httpx.URL(url)
        assert place.port is not None
        with following(("127.0.0.1", place.port), "?metric=a") as stream:
            end = time.monotonic() + 10
            while not server.site.streams.counters()["different"]:
                assert time.monotonic() < end
                time.sleep(0.005)
            begin = now(site)
            site.engine.advance(1)
            assert stream.next().data["time"] == begin


def test_ids_are_in_order_and_name_one_run(site: Serving) -> None:
    with following(site.address) as stream:
        wait_for_open(site, 1)
        for _ in range(5):
            step(site)
        events = stream.take(10)
    assert len({event.id.split(".")[2] for event in events}) == 1
    places = [tuple(map(int, event.id.split(".")[:2])) for event in events]
    assert all(before < after for before, after in pairwise(places))


def test_a_value_is_the_one_that_the_list_of_metrics_says(site: Serving) -> None:
    site.engine.alert("load.high", if_="last(load) > 5", group_by=["host"])
    chance = random.Random(11)
    with following(site.address, "?events=") as stream:
        wait_for_open(site, 1)
        for _ in range(3):
            site.engine.ingest(b"load:9|g|#host:a\nload:1|g|#host:b\n")
            site.engine.ingest(b"".join(one.line for one in samples(chance, 100)))
            site.engine.advance(1)
            live = {metric: cell["value"] for (metric, _), cell in by_key(stream.next()).items()}
            listed = {one["metric"]: one["value"] for one in site.get("/v1/metrics?limit=1000").json()["metrics"]}
            assert {name: value for name, value in listed.items() if value is not None} == {
                name: is_near(value) for name, value in live.items()
            }

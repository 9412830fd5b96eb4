"""The demo: its load, its services as processes, its stand-ins over HTTP, its story, and the whole of it."""

import http.client
import io
import json
import math
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgpack
import pytest

from hms_ops.alert.notification import Alert, Delivered, Notification, Profile
from hms_ops.alert.receivers import sms
from hms_ops.config import load as load_config
from hms_ops.demo.actions import Scaling, action_service
from hms_ops.demo.cast import Cast
from hms_ops.demo.gateway import Message, gateway
from hms_ops.demo.load import Glide, Load, cued
from hms_ops.demo.loopback import BODY_BYTES_MAX
from hms_ops.demo.main import RULES, address_or_any
from hms_ops.demo.screen import LINES, JsonLines, Timeline
from hms_ops.demo.service import SERVICES
from hms_ops.demo.story import (
    ALERT,
    ANOMALY,
    BREACH_MS,
    EVENTS,
    METRIC,
    RECOVERED_MS,
    Event,
    Story,
    event_of,
    second_event,
)
from hms_ops.engine import Engine

PROGRAM = [sys.executable, "-c", "from hms_ops.cli.main import main; main()", "demo"]
WHOLE_STORY_SECONDS = 60


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(10)
        yield bound


def address_of(bound: socket.socket) -> str:
    return f"127.0.0.1:{bound.getsockname()[1]}"


def post(url: str, body: bytes, method: str = "POST") -> tuple[int, Any]:
    """(status, document)."""
    try:
        with urlopen(Request(url, body, {"Content-Type": "application/json"}, method=method), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def performed(*cues: tuple[float, str]) -> Load:
    load = Load()
    for now, cue in cues:
        load = cued(load, cue, now)
    return load


RUSH = ((15.0, "rush"),)
SNOWBALL = (*RUSH, (30.0, "snowball"))


# The load


def test_a_glide_begins_where_it_was_and_stays_at_its_target() -> None:
    glide = Glide(120.0, 120.0).toward(220.0, 10.0, now=5.0)
    assert [glide.at(now) for now in (0.0, 5.0, 10.0, 15.0, 99.0)] == [120.0, 120.0, 170.0, 220.0, 220.0]
    assert glide.toward(0.0, 0.0, now=10.0).at(10.0) == 0.0


@pytest.mark.parametrize(
    ("cues", "now", "write_ms"),
    [
        ((), 14.0, 120.0),
        (RUSH, 15.0, 120.0),
        (RUSH, 21.0, 215.0),
        (RUSH, 30.0, 215.0),
        (SNOWBALL, 31.0, 460.0),
        ((*SNOWBALL, (34.0, "scale 2")), 36.0, 85.0),
        ((*SNOWBALL, (34.0, "scale 1")), 36.0, 117.5),
    ],
)
def test_the_latency_follows_the_cues(cues: tuple[tuple[float, str], ...], now: float, write_ms: float) -> None:
    assert performed(*cues).write_ms(now) == pytest.approx(write_ms)


def test_the_snowball_is_twice_the_baseline_whenever_the_page_arrives() -> None:
    rushed = performed(*RUSH)
    highest_before = max(rushed.write_ms(now) for now in range(15, 600))
    assert performed(*SNOWBALL).write_ms(31) > 2 * highest_before
    assert highest_before < 2 * Load().write_ms(0), "the ramp alone must be no anomaly"


def test_the_queue_stays_where_replicas_do_less_than_arrives() -> None:
    drowned = performed(*SNOWBALL)._replace(demand=Glide(5.0, 5.0))
    assert cued(drowned, "scale 2", 34.0).write_ms(99) > RECOVERED_MS


@pytest.mark.parametrize(
    "cue",
    ["", "rsh", "rush 2", "scale", "scale 0", "scale -1", "scale 11", "scale two", "scale 1.5", "scale ²", "RUSH"],
)
def test_a_cue_nobody_knows_is_refused(cue: str) -> None:
    with pytest.raises(ValueError, match="there are rush, snowball and scale N"):
        cued(Load(), cue, 0.0)


# The services


def lines_of(datagram: bytes) -> list[tuple[str, str]]:
    """(metric, kind) of each line of StatsD; fails for a line that is not one."""
    matches = [re.fullmatch(r"([\w.]+):[\d.]+\|(\w+)\|#agency:\w+", line) for line in datagram.decode().split("\n")]
    return [(match[1], match[2]) for match in matches if match]


def elements_of(document: Any) -> list[tuple[str, str]]:
    return [(element["metric"], element["kind"]) for element in document]


@pytest.mark.parametrize(
    ("name", "read", "kinds"),
    [
        ("finance", lines_of, {("finance.api_ms", "ms"): 9, ("finance.claims", "c"): 3}),
        (
            "db",
            lambda datagram: elements_of(json.loads(datagram)),
            {("db.write_ms", "timer"): 10, ("db.replicas", "gauge"): 1},
        ),
        (
            "portal",
            lambda datagram: elements_of(msgpack.unpackb(datagram)),
            {("portal.users", "set"): 6, ("portal.queue", "gauge"): 1},
        ),
    ],
)
def test_each_service_speaks_its_format(name: str, read: Callable[[bytes], Any], kinds: dict[Any, int]) -> None:
    assert Counter(read(SERVICES[name](Load(), 0.0, random.Random(1)))) == kinds


def test_the_engine_reads_every_sample_that_the_services_send() -> None:
    with Engine(udp=None, http=None, data_dir=None, config={"host_metrics": False, "self_metrics": False}) as engine:
        for datagram in SERVICES.values():
            engine.ingest(datagram(Load(), 0.0, random.Random(1)))
        ledger = engine.ledger()
    assert (ledger["accepted"], ledger["values"], ledger["samples"]) == (4, 39, 39)


def test_a_second_of_the_database_has_the_mean_it_simulates() -> None:
    chance, load = random.Random(7), performed(*RUSH)
    values = [
        e["value"] for _ in range(20) for e in json.loads(SERVICES["db"](load, 30.0, chance)) if "ms" in e["metric"]
    ]
    assert len(values) == 200
    assert math.fsum(values) / 200 == pytest.approx(215, abs=3)


def test_services_send_take_cues_and_end_with_their_cast(receiver: socket.socket) -> None:
    def write_ms() -> float:
        while not (datagram := receiver.recv(65_536)).startswith(b"["):
            pass
        return float(json.loads(datagram)[0]["value"])

    with Cast(address_of(receiver)) as cast:
        missing = {b"f", b"[", b"\x97", b"g"}
        while missing:  # each begins when its process has come up
            missing.discard(receiver.recv(65_536)[:1])
        assert write_ms() < BREACH_MS
        cast.cue("rush")
        cast.cue("snowball")
        while write_ms() < 2 * BREACH_MS:
            pass
        cast.cue("scale 2")
        while write_ms() > RECOVERED_MS:
            pass
        assert cast.gone() is None
    assert [process.returncode for process in cast.processes.values()] == [0] * len(SERVICES)
    cast.cue("rush")  # nobody listens any more, and nothing breaks
    cast.leave()


def test_a_service_that_ends_by_itself_is_named(receiver: socket.socket, wait_until: Callable[..., None]) -> None:
    with Cast(address_of(receiver)) as cast:
        cast.processes["portal"].kill()
        wait_until(lambda: cast.gone() == "the service portal ended with code -9")
        cast.cue("rush")


def test_services_end_with_the_process_that_started_them(receiver: socket.socket) -> None:
    code = (
        "import sys\nfrom hms_ops.demo.cast import Cast\nwith Cast(sys.argv[1]) as cast:\n"
        " print(*(p.pid for p in cast.processes.values()), flush=True)\n sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, address_of(receiver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        descriptors = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    try:
        assert len(descriptors) == len(SERVICES)
        for descriptor in descriptors:
            assert ended_within(descriptor, 10)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def ended_within(pidfd: int, seconds: float) -> bool:
    """A pidfd is readable once its process has ended."""
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["db"],
        ["db", "127.0.0.1"],
        ["db", "127.0.0.1:0"],
        ["db", "127.0.0.1:65536"],
        ["web", "127.0.0.1:1"],
        ["db", "127.0.0.1:1", "x"],
    ],
)
def test_a_service_refuses_wrong_arguments(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "hms_ops.demo.service", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


def test_a_service_loads_nothing_of_the_engine() -> None:
    heavy = {"numpy", "numba", "lmdb", "yaml", "click"}
    code = f"import hms_ops.demo.service, sys; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# The stand-ins


def test_the_gateway_delivers_what_the_sms_receiver_sends_and_each_message_once() -> None:
    messages: list[Message] = []
    alert = Alert(ALERT, "firing", 215.0, {}, 1_700_000_000.0)
    with gateway(messages.append) as url:
        for key in ("one", "one", "two"):
            outcome = sms.send("+1-555-0100", Notification((alert,), "sms:+1-555-0100", key), Profile(url))
            assert isinstance(outcome, Delivered)
    assert messages == [Message("+15550100", f"FIRING {ALERT} value 215")] * 2


def test_the_action_service_scales_once_for_each_key() -> None:
    runs: list[Scaling] = []
    document = {"template": "infra.scale-db", "input": {"replicas": 2}, "alert": {"name": ANOMALY}}
    with action_service(runs.append) as url:
        for key in ("one", "one", "two"):
            body = json.dumps({**document, "idempotency_key": key}).encode()
            assert post(f"{url}/v1/run", body) == (200, {"status": "done", "replicas_added": 2})
    assert runs == [Scaling(2, ANOMALY)] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"to": "", "text": "x", "idempotency_key": "k"}',
        b'{"to": "+1", "text": 5, "idempotency_key": "k"}',
        b'{"to": "+1", "text": "x"}',
    ],
)
def test_the_gateway_refuses_what_is_no_message(body: bytes) -> None:
    messages: list[Message] = []
    with gateway(messages.append) as url:
        assert post(url, body)[0] == 400
    assert messages == []


@pytest.mark.parametrize(
    ("template", "given"),
    [
        ("infra.scale-db", {}),
        ("infra.scale-db", None),
        ("infra.scale-db", [2]),
        ("infra.scale-db", {"replicas": 0}),
        ("infra.scale-db", {"replicas": 11}),
        ("infra.scale-db", {"replicas": True}),
        ("infra.scale-db", {"replicas": "2"}),
        ("infra.scale-db", {"replicas": 2.0}),
        ("infra.drop-db", {"replicas": 2}),
        (None, {"replicas": 2}),
    ],
)
def test_the_action_service_refuses_what_it_cannot_run(template: Any, given: Any) -> None:
    runs: list[Scaling] = []
    with action_service(runs.append) as url:
        body = json.dumps({"template": template, "input": given, "idempotency_key": "k"}).encode()
        assert post(f"{url}/v1/run", body)[0] == 400
    assert runs == []


def test_other_paths_methods_and_sizes_are_refused() -> None:
    with gateway(lambda message: None) as url:
        assert post(url + "x", b"{}")[0] == 404
        assert post(url, b"{}", "GET")[0] == 405
        assert post(url, b"{}", "DELETE")[0] == 501
        assert post(url, b" " * (BODY_BYTES_MAX + 1))[0] == 413
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
        connection.putrequest("POST", "/sms")
        connection.endheaders()
        assert connection.getresponse().status == 411
        connection.close()


def test_a_client_that_says_nothing_holds_up_nobody() -> None:
    with gateway(lambda message: None) as url:
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))):
            assert post(url, b"{}")[0] == 400


# The story


def offered(*names: str) -> list[tuple[str, float]]:
    story = Story()
    return [(told.name, told.t) for t, name in enumerate(names) for told in story.offer(Event(name, float(t), {}))]


def test_events_in_order_are_told_as_they_come() -> None:
    assert offered(*EVENTS) == [(name, float(t)) for t, name in enumerate(EVENTS)]


@pytest.mark.parametrize("seed", range(20))
def test_events_in_any_order_are_told_once_in_the_storys_order(seed: int) -> None:
    names = [*EVENTS, *EVENTS, "unknown"]
    random.Random(seed).shuffle(names)
    told = offered(*names)
    assert [name for name, _ in told] == list(EVENTS)
    assert [t for _, t in told] == sorted(t for _, t in told)


def test_an_event_waits_for_the_one_before_it() -> None:
    story = Story()
    assert story.offer(Event("pending", 1.0, {})) == []
    assert story.missing() == EVENTS
    assert [told.name for told in story.offer(Event("breach", 2.0, {}))] == ["breach", "pending"]
    assert story.has_told("pending")
    assert not story.has_told("firing")
    assert story.missing()[0] == "firing"


@pytest.mark.parametrize(
    ("report", "name"),
    [
        ({"kind": "alert", "name": ALERT, "state": "pending", "value": 201.26}, "pending"),
        ({"kind": "alert", "name": ALERT, "state": "firing", "value": 215.0}, "firing"),
        ({"kind": "alert", "name": ALERT, "state": "resolved", "value": math.nan}, "resolved"),
        (
            {"kind": "anomaly", "name": ANOMALY, "state": "started", "metric": METRIC, "value": 460, "baseline": 159},
            "anomaly",
        ),
        ({"kind": "alert", "name": ANOMALY, "state": "firing", "value": 460.0}, None),
        ({"kind": "alert", "name": ALERT, "state": "inactive"}, None),
        ({"kind": "anomaly", "name": ANOMALY, "state": "held"}, None),
        ({"kind": "anomaly", "name": "other", "state": "started"}, None),
        ({"kind": "notification", "name": ALERT, "outcome": "delivered"}, None),
        ({"kind": "action", "event": "outcome"}, None),
        ({}, None),
    ],
)
def test_reports_of_the_engine_become_events(report: dict[str, Any], name: str | None) -> None:
    event = event_of(report, 1.0)
    assert (event and event.name) == name
    if event is not None:
        json.dumps(event.facts, allow_nan=False)


@pytest.mark.parametrize(
    ("mean_ms", "is_healing", "name"),
    [
        (200.0, False, None),
        (200.1, False, "breach"),
        (120.0, False, None),
        (200.1, True, None),
        (150.0, True, None),
        (149.9, True, "recovered"),
    ],
)
def test_a_sealed_second_is_an_event_beyond_its_limit(mean_ms: float, is_healing: bool, name: str | None) -> None:
    event = second_event(mean_ms, is_healing, 1.0)
    assert (event and event.name) == name


def test_the_rules_of_the_demo_load_and_say_what_the_story_says() -> None:
    settings = {"rules": [str(RULES)], "receivers": {"sms": {"url": "http://127.0.0.1:1/sms"}}}
    config = load_config(settings)
    loaded = config.load_rules()
    assert loaded.warnings(config.profiles(), "http://127.0.0.1:1") == []
    (rule,), (anomaly,), (action,) = loaded.rules, loaded.anomalies, loaded.actions
    assert (rule.name, rule.text, rule.for_seconds) == (ALERT, f"avg({METRIC}, 5s) > {BREACH_MS:g}", 5.0)
    assert (anomaly.name, anomaly.metric, anomaly.factor) == (ANOMALY, METRIC, 2)
    assert (action.on, action.template, dict(action.input)) == (ANOMALY, "infra.scale-db", {"replicas": 2})


# The screen

FACTS = {
    "breach": {"metric": METRIC, "value": 201.3},
    "pending": {"alert": ALERT, "value": 200.4},
    "firing": {"alert": ALERT, "value": 215.0},
    "page_delivered": {"to": "+15550100", "text": "FIRING \x1b[2Jdb.write_slow"},
    "anomaly": {"anomaly": ANOMALY, "metric": METRIC, "value": 460.0, "baseline": 159.2},
    "action": {"template": "infra.scale-db", "replicas": 2, "alert": ANOMALY},
    "recovered": {"metric": METRIC, "value": 85.0},
    "resolved": {"alert": ALERT, "value": 140.0},
}


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_its_line_for_people_without_control_characters(name: str) -> None:
    assert set(LINES) == set(EVENTS)
    out = io.StringIO()
    Timeline(out, io.StringIO()).tell(Event(name, 21.4, FACTS[name]))
    line = out.getvalue()
    assert line.startswith(f"  21.4 s  {name}")
    assert line.rstrip("\n").isprintable()


def test_machines_get_an_object_a_line_and_nothing_else() -> None:
    out, err = io.StringIO(), io.StringIO()
    lines = JsonLines(out, err)
    lines.say("x")
    lines.note(1.0, "x")
    lines.live("x")
    lines.remark("for people")
    lines.tell(Event("breach", 21.40049, FACTS["breach"]))
    assert json.loads(out.getvalue()) == {"t": 21.4, "event": "breach", "metric": METRIC, "value": 201.3}
    assert err.getvalue() == "for people\n"


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_and_off_with_no_color(
    no_color: str, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", no_color)
    out, err = Terminal(), Terminal()
    timeline = Timeline(out, err)
    timeline.live("120 ms")
    timeline.tell(Event("breach", 21.4, FACTS["breach"]))
    assert ("\x1b[33m" in out.getvalue()) is is_coloured
    assert err.getvalue().startswith("\r\x1b[K"), "the live line is written over"


# The whole


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_is_taken_gives_way_to_a_free_one(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        assert address_or_any(port, kind) == "127.0.0.1:0"
    assert address_or_any(port, kind) == f"127.0.0.1:{port}"


def environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1"}


@pytest.mark.slow
def test_the_whole_story_happens_in_order_within_a_minute(tmp_path: Path) -> None:
    command = [*PROGRAM, "--headless", "--seconds", str(WHOLE_STORY_SECONDS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == list(EVENTS)
    times = [event["t"] for event in events]
    assert times == sorted(times)
    assert times[-1] < WHOLE_STORY_SECONDS
    by_name = {event["event"]: event for event in events}
    assert by_name["breach"]["t"] > 15
    assert by_name["breach"]["value"] > BREACH_MS
    assert by_name["anomaly"]["value"] > 2 * by_name["anomaly"]["baseline"]
    assert by_name["action"]["replicas"] == 2
    assert by_name["recovered"]["value"] < RECOVERED_MS
    assert re.search(r"on disk: db\.write_ms in steps of 10 s: [1-9].* [1-9]\d* events in the journal", done.stderr)
    assert list(tmp_path.iterdir()) == [], "the temporary data directory is gone"
    assert tempfile.gettempdir() != str(tmp_path)


def test_a_story_cut_short_says_what_is_missing_and_exits_1(tmp_path: Path) -> None:
    command = [*PROGRAM, "--headless", "--seconds", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the 1 s are over, and the story lacks {', '.join(EVENTS)}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with subprocess.Popen(
        [*PROGRAM, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "all is quiet" in line:
                break
        process.send_signal(number)
        rest, said = process.stdout.read(), process.stderr.read()
    assert process.returncode == 1
    assert "on disk: " in rest
    assert re.search(rf"{number.name} after \d+ s, and the story lacks breach", said)
    assert "Traceback" not in said
    assert (data_dir / "state").is_dir(), "a directory that was given is kept"

"""A client against real sockets: what is emitted arrives, or is counted."""

import gc
import math
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from tests.client_listener import Listener

from hms_ops.client import Client, ops
from hms_ops.client.buffer import Buffer, Tally
from hms_ops.client.emit import FRAMES_MAX
from hms_ops.client.transport import parse_url


@pytest.fixture
def listener():
    with Listener() as opened:
        yield opened


@pytest.fixture
def client(listener):
    with Client(listener.url, flush_interval_seconds=0.02) as opened:
        yield opened


def test_each_call_has_its_line(client, listener):
    client.metric("finance.api_ms", 240.5)
    client.metric("queue", 3, tags={"agency": "irs"})
    client.metric("size", 1.5, kind="distribution")
    client.increment("hits")
    client.increment("hits", 5, tags={"b": "2", "a": "1"})
    client.gauge("depth", 0)
    client.timing("finance.api_ms", 12)
    client.histogram("bytes", 1e300 / 1e200)
    client.set_("visitors", "ann")
    client.set_("visitors", 17)
    assert listener.receive(10) == [
        "finance.api_ms:240.5|ms",
        "queue:3|g|#agency:irs",
        "size:1.5|d",
        "hits:1|c",
        "hits:5|c|#a:1,b:2",
        "depth:0|g",
        "finance.api_ms:12|ms",
        "bytes:1e+100|h",
        "visitors:ann|s",
        "visitors:17|s",
    ]


def test_a_repeated_series_is_written_as_the_first_time(client, listener):
    for value in (True, 1, 1.0, -0.0, 0, 5e-324, 1e150):
        client.gauge("depth", value, tags={"a": "b"})
        client.metric("plain", value)
    texts = ["1", "1", "1.0", "0", "0", "5e-324", "1e+150"]
    assert listener.receive(14) == [line for text in texts for line in (f"depth:{text}|g|#a:b", f"plain:{text}|g")]


def test_tags_that_only_look_equal_stay_apart(client, listener):
    for value in (1, True, 1.0, "1"):
        client.increment("hits", tags={"n": value})
    assert listener.receive(4) == ["hits:1|c|#n:1", "hits:1|c|#n:true", "hits:1|c|#n:1.0", "hits:1|c|#n:1"]


def test_tags_changed_after_the_call_do_not_change_the_sample(client, listener):
    tags = {"agency": "irs"}
    client.increment("hits", tags=tags)
    tags["agency"] = "ssa"
    assert listener.receive(1) == ["hits:1|c|#agency:irs"]


def test_a_gauge_below_zero_keeps_its_place_among_the_others(client, listener):
    for value in (1, -1, -2.5, 2):
        client.gauge("outside", value)
    assert listener.receive(4) == [
        "outside:1|g",
        '{"metric": "outside", "value": -1, "kind": "gauge"}',
        '{"metric": "outside", "value": -2.5, "kind": "gauge"}',
        "outside:2|g",
    ]


def test_samples_of_one_thread_arrive_in_order(client, listener):
    for n in range(20_000):
        client.metric("n", n)
    client.flush()
    assert listener.receive(20_000) == [f"n:{n}|g" for n in range(20_000)]
    assert max(map(len, listener.datagrams)) <= 1432
    assert client.counters()["datagrams"] == len(listener.datagrams)


BAD_CALLS = [
    {"name": "x", "value": math.nan},
    {"name": "x", "value": math.inf},
    {"name": "x", "value": -math.inf},
    {"name": "x", "value": 2e150},
    {"name": "x", "value": 10**400},
    {"name": "x", "value": "12"},
    {"name": "x", "value": None},
    {"name": "x", "value": [1]},
    {"name": "x", "value": object()},
    {"name": "", "value": 1},
    {"name": None, "value": 1},
    {"name": [], "value": 1},
    {"name": 5, "value": 1},
    {"name": "n" * 201, "value": 1},
    {"name": "x", "value": 1, "kind": "meter"},
    {"name": "x", "value": 1, "kind": ["g"]},
    {"name": "x", "value": 1, "tags": ["a:b"]},
    {"name": "x", "value": 1, "tags": {"a": object()}},
    {"name": "x", "value": 1, "tags": {"a": []}},
    {"name": "x", "value": 1, "tags": {"__a": "b"}},
    {"name": "x", "value": 1, "rate": 0},
    {"name": "x", "value": 1, "rate": -1},
    {"name": "x", "value": 1, "rate": 1.5},
    {"name": "x", "value": 1, "rate": math.nan},
    {"name": "x", "value": 1, "rate": "0.5"},
    {"name": "x", "value": 1, "rate": None},
    {"name": "x", "value": 1, "kind": "set", "tags": {"a": "b" * 2000}},
    {"name": "x", "value": 1, "tags": {"a": "b" * 2000}},
    {"name": "x", "value": "", "kind": "set"},
    {"name": "x", "value": -1, "tags": {"a": "b" * 2000}},
]


@pytest.mark.parametrize("call", BAD_CALLS, ids=lambda call: repr(call)[:60])
def test_a_bad_call_is_counted_and_costs_its_neighbours_nothing(client, listener, call):
    client.metric("x", 1)
    client.metric(**call)
    client.metric("x", 2)
    assert listener.receive(2) == ["x:1|g", "x:2|g"]
    counters = client.counters()
    assert counters["dropped_invalid"] == counters["dropped"] == 1


def test_a_sampled_metric_is_sent_that_often_and_says_so(client, listener):
    for _ in range(2_000):
        client.metric("x", 1, kind="counter", tags={"a": "b"}, rate=0.5)
    client.flush()
    samples = listener.drain()
    assert 800 < len(samples) < 1200
    assert set(samples) == {"x:1|c|@0.5|#a:b"}


def test_eight_threads_lose_nothing_uncounted(client, listener):
    each = 5_000

    def emit(thread: int) -> None:
        for n in range(each):
            client.metric(f"t{thread}", n)

    threads = [threading.Thread(target=emit, args=(n,)) for n in range(8)]
    received: list[str] = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        received += listener.drain()
    for thread in threads:
        thread.join()
    client.flush()
    received += listener.drain()
    counters = client.counters()
    assert counters["sent"] + counters["dropped"] == 8 * each
    assert len(received) == counters["sent"]
    for thread in range(8):
        values = [int(line.split(":")[1].split("|")[0]) for line in received if line.startswith(f"t{thread}:")]
        assert values == sorted(values)


def test_the_buffer_is_bounded_and_drops_the_newest(listener):
    client = Client(listener.url, flush_interval_seconds=60, buffer_bytes_max=1_000)
    for n in range(1_000):
        client.metric("x", n)
    waiting = client.counters()
    client.close()
    counters = client.counters()
    arrived = listener.receive(counters["sent"])
    assert waiting["dropped_full"] > 800
    assert counters["sent"] + counters["dropped_full"] == 1_000
    assert arrived[:64] == [f"x:{n}|g" for n in range(64)]


def test_full_datagrams_leave_before_the_interval_is_over(listener):
    with Client(listener.url, flush_interval_seconds=60) as client:
        for n in range(5_000):
            client.metric("x", n)
        assert len(listener.receive(1_000)) >= 1_000


def test_names_made_up_per_call_do_not_grow_the_client(client):
    for n in range(FRAMES_MAX + 10):
        client.metric(f"made.up.{n}", 1)
    assert len(client._frames) <= FRAMES_MAX


def test_without_a_listener_emitting_goes_on_and_is_counted(wait_until):
    with Listener() as gone:
        url = gone.url
    with Client(url, flush_interval_seconds=0.005) as client:

        def refused() -> bool:
            client.metric("x", 1)
            return client.counters()["dropped_unreachable"] > 0

        wait_until(refused)


def test_a_name_that_does_not_resolve_is_counted(wait_until):
    with Client("udp://no-such-host.invalid:8125", flush_interval_seconds=0.005) as client:
        client.metric("x", 1)
        wait_until(lambda: client.counters()["dropped_unreachable"] == 1, 60)


def test_a_unix_socket_receives_larger_datagrams(tmp_path):
    with Listener(tmp_path / "ops.sock") as listener, Client(listener.url, flush_interval_seconds=0.02) as client:
        for n in range(600):
            client.metric("finance.payments.queue_depth", n)
        assert listener.receive(600) == [f"finance.payments.queue_depth:{n}|g" for n in range(600)]
        assert 1432 < max(map(len, listener.datagrams)) <= 8192


def test_a_unix_listener_that_comes_back_is_found_again(tmp_path, wait_until):
    path = tmp_path / "ops.sock"
    with Client(f"unix://{path}", flush_interval_seconds=0.005) as client:
        client.metric("nobody", 1)
        wait_until(lambda: client.counters()["dropped_unreachable"] == 1)
        for _ in range(2):
            with Listener(path) as listener:

                def arrived(listener: Listener = listener) -> list[str]:
                    client.metric("x", 1)
                    return listener.drain()

                wait_until(arrived)
            path.unlink()


def test_a_full_receiver_is_waited_for_briefly_then_counted(tmp_path):
    with Listener(tmp_path / "ops.sock") as listener, Client(listener.url, flush_interval_seconds=60) as client:
        start = time.monotonic()
        for _ in range(20):
            client.metric("x", 1)
            for _ in range(1_000):
                client.metric("fill", 123456.789, tags={"some": "tag that takes room"})
            client.flush()
        assert time.monotonic() - start < 15
        counters = client.counters()
        assert counters["dropped_busy"] > 0
        assert counters["sent"] + counters["dropped"] == 20_020
        assert len(listener.drain()) == counters["sent"]


def test_emitting_does_not_wait_for_a_flusher_that_waits(client):
    client.metric("x", 1)
    with client._flusher._sending, client._buffer._sealing:
        for _ in range(70_000):
            client.metric("x", 1)
    client.flush()
    counters = client.counters()
    assert counters["dropped_full"] > 0
    assert counters["sent"] + counters["dropped"] == 70_001


def test_close_sends_the_rest_and_counts_what_comes_later(listener):
    client = Client(listener.url, flush_interval_seconds=60)
    client.metric("x", 1)
    client.close()
    client.close()
    client.metric("x", 2)
    client.metric("x", 3)
    client.flush()
    assert listener.drain() == ["x:1|g"]
    assert client.counters()["dropped_closed"] == 2


def test_a_client_that_never_emitted_has_no_thread_and_closes():
    before = set(threading.enumerate())  # of which some of a test before may end meanwhile
    with Client("udp://127.0.0.1:9"):
        assert set(threading.enumerate()) <= before


def test_emitting_inside_a_signal_handler_is_safe(client):
    ticks = []

    def tick(*_: object) -> None:
        ticks.append(1)
        client.metric("tick", 1)

    previous = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(60_000):
            client.metric("x", 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    client.flush()
    counters = client.counters()
    assert ticks
    assert counters["dropped_invalid"] == 0
    assert counters["sent"] + counters["dropped"] == 60_000 + len(ticks)


def test_after_the_exit_handlers_samples_are_sent_as_they_come(client, listener):
    client.metric("x", 1)
    client._flusher.finish()
    client.metric("x", 2)
    assert listener.receive(2) == ["x:1|g", "x:2|g"]


def test_after_the_exit_handlers_emitting_still_waits_for_no_lock(client):
    client.metric("x", 1)
    client._flusher.finish()
    with client._flusher._sending:
        client.metric("x", 2)
    with client._buffer._sealing:
        client.metric("x", 3)
    client.flush()
    assert client.counters()["sent"] == 3


def test_a_thread_that_cannot_start_is_tried_again(client, listener, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        client.metric("x", 1)
    client.metric("x", 2)
    assert listener.receive(2) == ["x:1|g", "x:2|g"]
    assert client.counters()["dropped"] == 0


def test_emitting_inside_a_finalizer_is_safe(client, listener):
    class Dying:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            client.increment("died")

    for _ in range(500):
        Dying()
    gc.collect()
    assert listener.receive(500) == ["died:1|c"] * 500


@pytest.mark.parametrize(
    "url",
    ["udp://127.0.0.1:8125", "udp://localhost", "udp://[::1]:8125", "udp://h:1/", "unix:///run/hms-ops.sock"],
)
def test_an_address_is_understood(url):
    target = parse_url(url)
    assert target.path or target.port


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8125", "tcp://h:1", "udp://", "udp://:8125", "udp://h:0", "udp://h:99999", "udp://h:x", "udp://h:1/p",
     "unix://", "unix://relative.sock", "unix:", "http://h:1"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"udp|port|Port"):
        Client(url)


@pytest.mark.parametrize(
    "settings",
    [{"flush_interval_seconds": 0}, {"flush_interval_seconds": -1}, {"flush_interval_seconds": math.nan},
     {"buffer_bytes_max": 0}, {"http_timeout_seconds": 0}, {"http": "127.0.0.1:8126"}, {"http": "ftp://h"}],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_at_once(settings):
    with pytest.raises(ValueError, match=r"positive|http"):
        Client("udp://127.0.0.1:8125", **settings)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_environment_says_where_ops_sends(listener):
    code = "from hms_ops.client import ops; ops.metric('x', 1)"
    ended = _python(code, HMS_OPS_URL=listener.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert listener.receive(1) == ["x:1|g"]


def test_a_wrong_environment_harms_nobody():
    code = (
        "from hms_ops.client import ops; ops.metric('x', 1); ops.flush(); print(ops.counters()['dropped_unreachable'])"
    )
    ended = _python(code, HMS_OPS_URL="nonsense")
    assert (ended.returncode, ended.stdout) == (0, "1\n")
    assert ended.stderr.count("HMS_OPS_URL: 'nonsense' is neither") == 1


def test_a_process_that_ends_sends_what_it_buffered(listener):
    code = """
import atexit
late = lambda: ops.metric("late", 1)
atexit.register(late)
from hms_ops.client import ops
atexit.register(lambda: ops.metric("early", 1))
class Last:
    def __del__(self):
        ops.metric("last", 1)
last = Last()
ops.metric("x", 1)
"""
    ended = _python(code, HMS_OPS_URL=listener.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert listener.receive(3)[:3] == ["x:1|g", "early:1|g", "late:1|g"]


def test_a_process_ends_promptly_without_a_listener():
    start = time.monotonic()
    ended = _python("from hms_ops.client import ops; ops.metric('x', 1)", HMS_OPS_URL="udp://127.0.0.1:9")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert time.monotonic() - start < 5


def test_importing_the_client_loads_nothing_heavy():
    code = "import sys, hms_ops.client; print(*sorted(sys.modules))"
    loaded = set(_python(code).stdout.split())
    ours = {name for name in loaded if name.startswith("hms_ops")}
    assert all(name == "hms_ops" or name.startswith("hms_ops.client") for name in ours)
    heavy = {"numpy", "numba", "asyncio", "inspect", "logging", "urllib.request", "http.client", "ssl", "dataclasses"}
    assert not loaded & heavy


def test_the_default_client_is_ready_and_has_sent_nothing():
    assert ops.counters()["sent"] == 0


def test_reading_a_tally_does_not_change_it():
    tally = Tally()
    tally.step()
    tally.step()
    assert [tally.read(), tally.read(), tally.read()] == [2, 2, 2]


def test_an_empty_buffer_gives_empty_bytes():
    assert Buffer().take() == b""


def test_the_socket_never_blocks(client, listener):
    client.metric("x", 1)
    listener.receive(1)
    assert isinstance(client._transport._socket, socket.socket)
    assert client._transport._socket.gettimeout() == 0

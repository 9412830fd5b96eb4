"""The engine's life and its contract: what an embedding program may rely on, with real sockets and directories."""

import gc
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.engines import NOW, MovedClock, engine_threads, feed, is_free, manual, send

from hms_ops import Engine, UnknownMetricError
from hms_ops.clock import ManualClock
from hms_ops.config import load
from hms_ops.errors import ConfigError, ExpressionError, HmsOpsError, StartError

WaitUntil = Callable[..., None]


# ---- starting and stopping


def test_a_datagram_arrives_and_its_mean_can_be_asked(wait_until: WaitUntil) -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        send(engine, b"finance.api_ms:240|ms|#agency:irs", b'{"metric":"finance.api_ms","value":260,"kind":"timer"}')
        wait_until(lambda: engine.ledger()["samples"] == 2)
        wait_until(lambda: engine.mean("finance.api_ms", "10s") == 250.0)
        assert engine.mean("finance.api_ms", "10s", tags={"agency": "irs"}) == 240.0
        assert engine.mean("finance.api_ms", "10s", tags={}) == 260.0
        assert engine.value("max(finance.api_ms, 1m)") == 260.0
        assert engine.health() == []
        assert engine.is_ready
    assert not engine.is_ready


def test_a_stop_ends_every_thread_and_frees_the_ports() -> None:
    engine = Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=None).start()
    assert engine.udp_address is not None
    assert engine.http_address is not None
    udp, http = engine.udp_address[1], engine.http_address[1]
    assert {"hms-listener-1", "hms-tick", "hms-http"} <= set(engine_threads())
    engine.stop()
    assert engine_threads() == []
    assert is_free(udp)
    assert is_free(http, socket.SOCK_STREAM)
    assert [engine.udp_address, engine.http_address] == [None, None]


def test_a_second_stop_does_nothing_and_a_second_start_is_refused(tmp_path: Path) -> None:
    engine = Engine(udp=None, data_dir=tmp_path / "data")
    with engine:
        with pytest.raises(StartError, match="was started already"):
            engine.start()
        assert engine.is_ready
    engine.stop()
    engine.stop()
    with pytest.raises(StartError, match="was stopped already; make a new Engine"):
        engine.start()


def test_an_engine_that_was_never_started_can_be_stopped() -> None:
    engine = Engine(udp=None, data_dir=None)
    engine.metric("a", 1.0)
    engine.stop()
    assert engine_threads() == []


def test_stop_may_be_called_from_two_threads_at_once() -> None:
    engine = Engine(udp="127.0.0.1:0", data_dir=None).start()
    threads = [threading.Thread(target=engine.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert engine_threads() == []


def test_a_handler_may_stop_the_engine_it_runs_in(wait_until: WaitUntil) -> None:
    engine = Engine(udp="127.0.0.1:0", data_dir=None).start()
    engine.on_alert("enough")(lambda alert: engine.stop())
    engine.alert_now("enough", 1.0)
    wait_until(lambda: engine_threads() == [])
    assert engine.udp_address is None


def test_a_signal_may_stop_the_engine_while_it_starts_or_stops(tmp_path: Path) -> None:
    code = """
import signal, sys
from hms_ops import Engine, StartError
engine = Engine(udp="127.0.0.1:0", data_dir=sys.argv[1])
signal.signal(signal.SIGALRM, lambda *_: engine.stop())
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]), 0.01)
try:
    engine.start()
except StartError as error:
    assert "stopped while it started" in str(error), error
engine.stop()
signal.setitimer(signal.ITIMER_REAL, 0)
import threading
print([thread.name for thread in threading.enumerate()])
"""
    for after_seconds in ("0.02", "0.3"):
        command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "data"), after_seconds]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "['MainThread']\n", "")


def test_what_was_sent_right_before_the_stop_is_counted() -> None:
    engine = Engine(udp="127.0.0.1:0", data_dir=None).start()
    send(engine, *[b"a:1|c"] * 2000)
    engine.metric("b", 1.0)
    engine.stop()
    ledger = engine.ledger()
    assert ledger["samples"] == 2001
    assert ledger["arrived"] == ledger["received"] + ledger["kernel_drops"]


def test_a_stop_under_a_flood_ends_in_time() -> None:
    engine = Engine(udp="127.0.0.1:0", data_dir=None).start()
    assert engine.udp_address is not None
    code = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], int(sys.argv[2])))
datagram = b"\\n".join([b"flood.metric:12345.678|ms|#agency:irs"] * 36)
print("begun", flush=True)
while True:
    try:
        sender.send(datagram)
    except OSError:
        pass
"""
    command = [sys.executable, "-c", code, *map(str, engine.udp_address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as flood:
        try:
            assert flood.stdout is not None
            flood.stdout.readline()
            begun = time.monotonic()
            engine.stop()
            assert time.monotonic() - begun < 5
        finally:
            flood.kill()
    assert engine_threads() == []
    ledger = engine.ledger()
    assert ledger["values"] == ledger["samples"] + sum(ledger["bad"].values())


def test_an_engine_that_is_forgotten_gives_its_memory_back() -> None:
    engine = Engine(udp="127.0.0.1:0", data_dir=None).start()
    engine.metric("a", 1.0)
    engine.stop()
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


def test_a_program_that_forgets_to_stop_ends_cleanly_and_keeps_what_it_had(tmp_path: Path) -> None:
    code = """
import sys, time
from hms_ops import Engine
engine = Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=sys.argv[1]).start()
engine.on_metric("a")(lambda value: time.sleep(0.001))
engine.metric("a", 41.0)
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Engine(udp=None, data_dir=tmp_path / "data") as engine:
        now = time.time()
        assert engine.history("a", now - 120, now + 10)["sum"].sum() == 41.0


# ---- what stands in the way


def test_two_engines_on_one_port_are_refused_and_nothing_is_half_started(tmp_path: Path) -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as first:
        assert first.udp_address is not None
        port = first.udp_address[1]
        threads = engine_threads()
        second = Engine(udp=f"127.0.0.1:{port}", data_dir=tmp_path / "data")
        with pytest.raises(StartError, match=f"udp 127.0.0.1:{port}: Address already in use; another program") as told:
            second.start()
        assert "\n" not in str(told.value)
        assert engine_threads() == threads
        assert list(tmp_path.iterdir()) == []
    with Engine(udp=f"127.0.0.1:{port}", data_dir=tmp_path / "data"):
        pass


def test_one_that_shares_its_port_between_listeners_shares_it_with_no_other_engine() -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None, config={"listeners": 2}) as first:
        assert first.udp_address is not None
        port = first.udp_address[1]
        for listeners in (1, 2):
            with pytest.raises(StartError, match="already in use"):
                Engine(udp=f"127.0.0.1:{port}", data_dir=None, config={"listeners": listeners}).start()
        send(first, *[b"a:1|c"] * 100)
    assert first.ledger()["samples"] == 100


def test_two_engines_on_one_data_directory_are_refused_and_the_port_is_free_again(tmp_path: Path) -> None:
    with Engine(udp=None, data_dir=tmp_path):
        threads = engine_threads()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        unix = tmp_path / "in.sock"
        with pytest.raises(StartError, match=f"in use by process {os.getpid()}; stop it, or choose another"):
            Engine(udp=f"127.0.0.1:{port}", data_dir=tmp_path, config={"unix": str(unix)}).start()
        assert engine_threads() == threads
        assert is_free(port)
        assert not unix.exists()
    with Engine(udp=None, data_dir=tmp_path):
        pass


def test_an_http_port_in_use_takes_the_listeners_and_the_lock_down_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        engine = Engine(udp="127.0.0.1:0", http=f"127.0.0.1:{port}", data_dir=tmp_path)
        with pytest.raises(StartError, match=f"http 127.0.0.1:{port}: Address already in use"):
            engine.start()
    assert engine_threads() == []
    assert engine.udp_address is None
    engine.stop()
    with Engine(udp=None, data_dir=tmp_path):
        pass


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"udp": "203.0.113.1:0"}, "no address of this host"),
        ({"udp": "no.such.host.invalid:1"}, "name an address of this host"),
        ({"data_dir": "/proc/nowhere"}, "data directory /proc/nowhere cannot be written"),
        ({"data_dir": "/dev/null/data"}, "cannot be written"),
        ({"config": {"unix": "/proc/nowhere.sock"}}, "unix /proc/nowhere.sock: "),
    ],
)
def test_what_cannot_start_says_why_in_one_line(settings: dict[str, object], text: str) -> None:
    engine = Engine(**{"udp": None, "data_dir": None, **settings})  # type: ignore[arg-type]
    with pytest.raises(StartError) as told:
        engine.start()
    assert text in str(told.value)
    assert "\n" not in str(told.value)
    assert engine_threads() == []


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"udp": "8125"}, ValueError),
        ({"udp": ["127.0.0.1:99999"]}, ValueError),
        ({"http": "localhost"}, ValueError),
        ({"config": {"limits": {"serie": 5}}}, ConfigError),
        ({"config": {"limits": {"series": 0}}}, ConfigError),
        ({"config": {"rules": ["ALERT a WHEN avg(b >"]}}, ConfigError),
        ({"config": {"rules": ["/no/such/rules.yaml"]}}, ConfigError),
        ({"config": "/no/such/engine.yaml"}, ConfigError),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(settings: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Engine(**settings)  # type: ignore[arg-type]
    assert engine_threads() == []


def test_what_stands_in_the_configuration_takes_the_place_of_a_default(tmp_path: Path) -> None:
    config = {
        "udp": ["127.0.0.1:0", "127.0.0.1:0"],
        "http": "127.0.0.1:0",
        "data_dir": str(tmp_path / "kept"),
        "host_metrics": True,
        "self_metrics": True,
    }
    (tmp_path / "engine.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items()))
    for source in (config, tmp_path / "engine.yaml", load(config)):
        engine = Engine(config=source, clock=ManualClock())
        with engine:
            assert len(engine.listeners()) == 2
            assert engine.http_address is not None
            engine.advance(2)
            assert {"engine.samples", "host.memory"} <= {info.name for info in engine.series_list(limit=10_000)}
        assert (tmp_path / "kept" / "catalogue").exists()


def test_an_argument_wins_over_the_configuration_none_and_false_as_well(tmp_path: Path) -> None:
    config = {"udp": "127.0.0.1:0", "http": "127.0.0.1:0", "data_dir": str(tmp_path / "kept"), "self_metrics": True}
    arguments = {"udp": None, "http": None, "data_dir": None, "self_metrics": False, "clock": ManualClock()}
    with Engine(**arguments, config=config) as engine:  # type: ignore[arg-type]
        engine.advance(2)
        assert (engine.listeners(), engine.http_address, engine.series_list()) == ([], None, [])
    assert not (tmp_path / "kept").exists()


def test_without_either_the_defaults_are_those_of_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for config in (None, {"limits": {"series": 50}}):
        engine = Engine(config=config, clock=ManualClock())
        assert [str(address) for address in engine._life.places.listening.udp] == ["127.0.0.1:8125"]
        assert (engine._life.places.http, engine._life.places.data_dir) == (None, Path("data"))
        assert (engine._parts.publisher._vitals, engine._parts.publisher._own_signs) == (None, None)


def test_a_stream_socket_that_was_handed_over_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stream:
        with pytest.raises(StartError, match="no datagram socket; use ListenDatagram="):
            Engine(udp=None, data_dir=None, sockets=[stream]).start()
        assert stream.fileno() >= 0


# ---- several at once, several ways in


def test_several_engines_in_one_process_keep_their_samples_apart() -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as one, Engine(udp="127.0.0.1:0", data_dir=None) as other:
        one.metric("a", 1.0)
        send(other, b"a:2|g", b"a:2|g")
        one.alert("a.high", if_="last(a) > 0")
    assert (one.ledger()["samples"], other.ledger()["samples"]) == (1, 2)
    assert (len(one.rules()), len(other.rules())) == (1, 0)
    assert engine_threads() == []


def test_every_way_in_counts_under_its_own_input(tmp_path: Path, wait_until: WaitUntil) -> None:
    config = {"unix": str(tmp_path / "in.sock")}
    with Engine(udp=["127.0.0.1:0", "127.0.0.1:0"], data_dir=None, config=config) as engine:
        for address in [listener.address for listener in engine.listeners() if listener.address]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"a:1|c", address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"a:1|c", config["unix"])
        engine.metric("a", 1.0, kind="counter")
        engine.ingest(b"a:1|c")
        engine.ingest_body(b"a:1|c\na:1|c")
        wait_until(lambda: engine.ledger()["samples"] == 7)
        rows = {name: row["samples"] for name, row in engine.ledger()["inputs"].items()}
        assert sorted(rows.values()) == [0, 1, 1, 1, 2, 2]
        assert rows["in-process"] == 2
        assert rows["http"] == 2
        assert rows[f"unix:{config['unix']}"] == 1
    assert not Path(config["unix"]).exists()


def test_a_socket_that_was_handed_over_outlives_the_engine_and_loses_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handed, socket.socket(type=socket.SOCK_DGRAM) as sender:
        handed.bind(("127.0.0.1", 0))
        sender.connect(handed.getsockname())
        sender.send(b"a:1|c")  # before anybody receives
        with Engine(udp=None, data_dir=None, sockets=[handed]) as first:
            assert first.udp_address == handed.getsockname()
            sender.send(b"a:1|c")
        for _ in range(10):
            sender.send(b"a:1|c")  # between two engines
        with Engine(udp=None, data_dir=None, sockets=[handed]) as second:
            sender.send(b"a:1|c")
        assert first.ledger()["samples"] + second.ledger()["samples"] == 13
        assert handed.fileno() >= 0


def test_drops_of_the_kernel_are_counted_once_and_the_books_close() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handed, socket.socket(type=socket.SOCK_DGRAM) as sender:
        handed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        handed.bind(("127.0.0.1", 0))
        sender.connect(handed.getsockname())
        config = {"receive_buffer": "4096B"}
        engine = Engine(udp=None, data_dir=None, sockets=[handed], config=config)
        # The socket is taken over, so that drops count from here on, but received from only after the flood.
        from hms_ops.collector.listener import open_listeners

        listener = open_listeners(engine.store, engine._life.places.listening, [handed])[0]
        for _ in range(1000):
            sender.send(b"a:1|c")
        listener.start(engine._parts.threads.start, 1)
        listener.stop()
        listener._thread.join(5)  # type: ignore[union-attr]
        row = engine.store.ledger_rows()[listener.name]
        drops = {listener.kernel_drops() for _ in range(100)}
        assert len(drops) == 1
        assert row["received"] + drops.pop() == 1000
        assert row["received"] < 1000


# ---- values in and out


def test_in_process_calls_of_every_kind_reach_their_windows() -> None:
    with manual() as engine:
        for value in (1.0, 2.0, 3.0):
            engine.metric("c", value, kind="counter")
            engine.metric("g", value, kind="gauge", tags={"zone": "a"})
            engine.metric("t_ms", value)
        engine.series("s", kind="histogram", tags={"x": "y"}).add_many(np.array([1.0, 2.0, 3.0]))
        engine.series("s", kind="histogram", tags={"x": "y"}).add(4.0)
        engine.ingest(b"u:anna|s\nu:bert|s\nu:anna|s")
        engine.advance(1)
        assert engine.value("sum(c)") == 6.0
        assert engine.value("last(g)") == 3.0
        assert engine.value("avg(t_ms)") == 2.0
        assert engine.value("count(s)") == 4.0
        assert engine.value("count(u)") == 2.0
        assert {info.name for info in engine.series_list()} == {"c", "g", "t_ms", "s", "u"}
        assert [info.tags for info in engine.series_list("g")] == [{"zone": "a"}]
        assert len(engine.series_list(limit=2)) == 2


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "a\nb", "\ud800"])
def test_a_bad_name_is_counted_by_metric_and_raised_by_series(name: str) -> None:
    with manual() as engine:
        engine.metric(name, 1.0)
        engine.metric("good", 1.0)
        with pytest.raises((ValueError, UnicodeEncodeError)):
            engine.series(name)
        ledger = engine.ledger()
        assert ledger["samples"] == 1
        assert sum(ledger["bad"].values()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e151])
def test_a_bad_value_is_counted_and_never_raised(value: float) -> None:
    with manual() as engine:
        engine.metric("a", value)
        engine.series("b").add(value)
        engine.series("c").add_many([1.0, value])
        engine.advance(1)
        ledger = engine.ledger()
        assert ledger["samples"] == 1
        assert sum(ledger["bad"].values()) == 3
        assert engine.value("avg(c)") == 1.0


@pytest.mark.parametrize(
    "datagram", [b"", b"\x00", b"{", b"[" * 60_000, b"\xdd\xff\xff\xff\xff\x01", "a:1|c".encode("utf-16")]
)
def test_a_bad_datagram_is_counted_and_never_raised(datagram: bytes) -> None:
    with manual() as engine:
        engine.ingest(datagram)
        engine.ingest(b"a:1|c")
        ledger = engine.ledger()
        assert ledger["received"] == 2
        assert ledger["received"] == ledger["accepted"] + sum(ledger["rejected"].values())
        assert ledger["samples"] == 1
        assert engine.rejects()[0]["input"] == "in-process"


def test_a_wrong_kind_or_type_is_the_callers_mistake() -> None:
    with manual() as engine:
        with pytest.raises(ValueError, match="kind 'meter' is none of counter"):
            engine.metric("a", 1.0, kind="meter")
        with pytest.raises(TypeError):
            engine.ingest(42)


def test_a_text_that_is_no_sets_member_is_counted_and_never_raised() -> None:
    with manual() as engine:
        engine.metric("a", "high")
        assert sum(engine.ledger()["bad"].values()) == 1
        assert engine.ledger()["samples"] == 0


def test_a_mean_is_pooled_over_tags_and_weighted() -> None:
    with manual() as engine:
        engine.ingest(b"a_ms:10|ms|@0.1|#zone:east\na_ms:20|ms|#zone:west\na_ms:30|ms")
        engine.advance(1)
        assert engine.mean("a_ms", "1m") == pytest.approx((10 * 10 + 20 + 30) / 12)
        assert engine.mean("a_ms", "1m", tags={"zone": "east"}) == 10.0
        assert engine.mean("a_ms", 60, tags={}) == 30.0
        assert math.isnan(engine.mean("a_ms", "1m", tags={"zone": "north"}))
        assert math.isnan(engine.mean("b_ms", "1m"))


def test_a_mean_covers_its_window_and_no_more() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 30)
        feed(engine, "a", 3.0, 10)
        assert engine.mean("a", "10s") == 3.0
        assert engine.mean("a", "40s") == 1.5
        assert engine.mean("a", "1h") == 1.5
        engine.metric("a", 1e6)  # of the open second
        assert engine.mean("a", "10s") == 3.0
        engine.advance(3600)
        assert math.isnan(engine.mean("a", "10m"))


@pytest.mark.parametrize("window", ["0s", "500ms", "2h", 0, -1, 1.5, math.nan, "ten", ""])
def test_a_window_that_cannot_be_is_refused(window: str | float) -> None:
    with manual() as engine, pytest.raises(ValueError, match=r"no duration"):
        engine.mean("a", window)


def test_a_value_is_nan_for_what_nobody_sent_and_an_error_for_what_cannot_be() -> None:
    with manual() as engine:
        feed(engine, "a", 5.0, 3)
        engine.metric("u", 1.0, kind="set")
        engine.advance(1)
        assert engine.value("avg(a) + 1") == 6.0
        assert engine.value("avg(a) > 4") == 1.0
        assert math.isnan(engine.value("avg(nobody)"))
        with pytest.raises(UnknownMetricError):
            engine.query("avg(nobody)")
        for expression in ("avg(a", "avg(u)", "", "averge(a)"):
            with pytest.raises(ExpressionError):
                engine.value(expression)
        engine.metric("a", 1.0, tags={"zone": "east"})
        engine.advance(1)
        with pytest.raises(ValueError, match="has 2 values; pool them"):
            engine.value("avg(a) GROUP BY zone")


def test_recent_gives_copies_of_the_raw_samples_oldest_first() -> None:
    with manual() as engine:
        for second in range(3):
            engine.metric("a", float(second), tags={"zone": "east"})
            engine.metric("a", 10.0 + second)
            engine.advance(1)
        times, values = engine.recent("a")
        assert sorted(values.tolist()) == [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]
        assert (values[:2] % 10 == 0).all()
        assert (np.diff(times) >= 0).all()
        assert engine.recent("a", tags={})[1].tolist() == [10.0, 11.0, 12.0]
        assert engine.recent("a", tags={"zone": "east"})[1].tolist() == [0.0, 1.0, 2.0]
        times, values = engine.recent("a", tags={"zone": "west"})
        assert [str(times.dtype), str(values.dtype), len(times)] == ["int64", "float64", 0]
        values = engine.recent("a", tags={})[1]
        values[:] = 0.0
        assert engine.recent("a", tags={})[1].tolist() == [10.0, 11.0, 12.0]


def test_series_beyond_the_cap_fold_into_overflow_and_nothing_is_lost() -> None:
    with manual(config={"limits": {"series": 10}}) as engine:
        for number in range(100):
            engine.metric("a", 1.0, kind="counter", tags={"n": str(number)})
        engine.advance(1)
        assert engine.value("sum(a)") == 100.0
        assert engine.ledger()["samples"] == 100
        assert engine.counters()["store"]["overflow_samples"] > 0


def test_the_engine_feeds_itself_its_own_and_its_hosts_vital_signs() -> None:
    with manual(self_metrics=True, host_metrics=True) as engine:
        feed(engine, "a", 1.0, 3)
        assert engine.value("last(engine.samples)") >= 3.0
        assert engine.value("last(host.memory)") > 0.0
        assert engine.ledger()["inputs"]["self"]["samples"] > 0


def test_a_wall_clock_that_was_set_is_followed_and_the_tick_goes_on(wait_until: WaitUntil) -> None:
    clock = MovedClock()
    with Engine(udp=None, data_dir=None, clock=clock) as engine:
        engine.metric("a", 1.0)
        wait_until(lambda: engine.mean("a", "10s") == 1.0)
        clock.move(-7200)
        wait_until(lambda: clock.is_followed_by(engine))
        wait_until(lambda: math.isnan(engine.mean("a", "10m")))
        engine.metric("a", 2.0)
        wait_until(lambda: engine.mean("a", "10s") == 2.0)
        assert engine.health() == []


def test_a_late_tick_catches_up_and_says_so() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 5)
        clock = engine.clock
        for _ in range(30):
            engine.metric("a", 2.0)
            engine.store.flush()
            engine.store.set_now_ns(clock.advance(1.0))  # type: ignore[attr-defined]
        engine.advance(1)
        assert engine.mean("a", "30s") == 2.0
        assert engine.counters()["tick"]["late"] == 1
        assert engine.counters()["store"]["seconds_lost"] == 0
        assert engine.value("count(a, 1m)") == 35.0


def test_the_errors_of_the_engine_are_of_one_family() -> None:
    assert issubclass(StartError, HmsOpsError)
    assert issubclass(ConfigError, HmsOpsError)
    with manual() as engine:
        assert engine.clock.now_ns() // 1_000_000_000 == NOW


def test_what_the_guide_shows_runs(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs" / "embedding.md").read_text()
    blocks = [part.partition("```")[0] for part in guide.split("```python\n")[1:]]
    assert len(blocks) == 5
    script = "\n".join(block for block in blocks if "preload_app" not in block)
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("240.0\n")
    assert "finance.latency_high firing" in done.stdout

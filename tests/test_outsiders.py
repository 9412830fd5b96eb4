"""What others send arrives: the clients that services have already, and the tools that everybody has."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from hms_ops import Engine

WaitUntil = Callable[..., None]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(udp="127.0.0.1:0", data_dir=None) as running:
        yield running


def port_of(engine: Engine) -> int:
    assert engine.udp_address is not None
    return engine.udp_address[1]


def run(*command: str, **options: object) -> None:
    subprocess.run(command, check=True, timeout=30, **options)  # type: ignore[call-overload]


def settled(engine: Engine, wait_until: WaitUntil, samples: int) -> None:
    """All have arrived and are sealed, and the books close."""
    wait_until(lambda: engine.ledger()["samples"] == samples)
    second = engine.clock.now_ns() // 1_000_000_000
    wait_until(lambda: engine.store.sealed_second >= second)
    ledger = engine.ledger()
    assert ledger["bad"] == {}
    assert ledger["rejected"] == {}
    assert ledger["kernel_drops"] == 0


def test_datadogs_client(engine: Engine, wait_until: WaitUntil) -> None:
    pytest.importorskip("datadog", reason="the datadog package is not installed")
    code = """
import sys
from datadog.dogstatsd.base import DogStatsd
sender = DogStatsd(host="127.0.0.1", port=int(sys.argv[1]), constant_tags=["agency:irs"], disable_telemetry=True)
sender.increment("dd.count", 5)
sender.decrement("dd.count", 2)
sender.gauge("dd.gauge", 12.5, tags=["zone:east"])
sender.histogram("dd.histogram", 3)
sender.distribution("dd.distribution", 4)
sender.timing("dd.timing", 240)
sender.set("dd.set", "anna")
with sender.timed("dd.timed"):
    pass
sender.event("deployed", "version 5")
sender.service_check("database", 0)
sender.flush()
"""
    run(sys.executable, "-c", code, str(port_of(engine)))
    settled(engine, wait_until, 8)
    assert engine.value("sum(dd.count)") == 3.0
    assert engine.value("last(dd.gauge{zone='east',agency='irs'})") == 12.5
    assert engine.value("avg(dd.timing)") == 240.0
    assert engine.value("count(dd.set)") == 1.0
    assert engine.value("count(dd.timed)") == 1.0


def test_the_statsd_package(engine: Engine, wait_until: WaitUntil) -> None:
    pytest.importorskip("statsd", reason="the statsd package is not installed")
    code = """
import sys
import statsd
sender = statsd.StatsClient("127.0.0.1", int(sys.argv[1]), prefix="py")
sender.incr("count")
sender.incr("count", 4)
sender.decr("count", 2)
sender.timing("timing", 320)
sender.gauge("gauge", 10)
sender.gauge("gauge", 5, delta=True)
sender.gauge("gauge", -3, delta=True)
sender.set("users", "bert")
with sender.pipeline() as pipe:
    pipe.incr("piped")
    pipe.timing("piped.timing", 1)
"""
    run(sys.executable, "-c", code, str(port_of(engine)))
    settled(engine, wait_until, 10)
    assert engine.value("sum(py.count)") == 3.0
    assert engine.value("avg(py.timing)") == 320.0
    assert engine.value("last(py.gauge)") == 12.0
    assert engine.value("sum(py.piped)") == 1.0


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_dgram_of_node(engine: Engine, wait_until: WaitUntil) -> None:
    code = """
const socket = require("node:dgram").createSocket("udp4");
const port = Number(process.argv[1]);
const lines = ["js.count:2|c|#agency:irs", '{"metric":"js.latency","value":240,"kind":"timer"}',
               '[{"name":"js.gauge","value":1.5},{"name":"js.gauge","value":2.5}]'];
let left = lines.length;
for (const line of lines)
  socket.send(line, port, "127.0.0.1", (error) => { if (error) throw error; if (--left === 0) socket.close(); });
"""
    run("node", "-e", code, str(port_of(engine)))
    settled(engine, wait_until, 4)
    assert engine.value("sum(js.count{agency='irs'})") == 2.0
    assert engine.value("avg(js.latency)") == 240.0
    assert engine.value("max(js.gauge)") == 2.5


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
def test_netcat(engine: Engine, wait_until: WaitUntil) -> None:
    run("nc", "-u", "-w1", "127.0.0.1", str(port_of(engine)), input=b"nc.count:3|c\n")
    settled(engine, wait_until, 1)
    assert engine.value("sum(nc.count)") == 3.0


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_alone(engine: Engine, wait_until: WaitUntil) -> None:
    script = 'for n in 1 2 3; do echo -n "sh.count:$n|c|#host:$(uname -n)" > /dev/udp/127.0.0.1/$0; done'
    run("bash", "-c", script, str(port_of(engine)))
    settled(engine, wait_until, 3)
    assert engine.value("sum(sh.count)") == 6.0


def test_our_own_client(engine: Engine, wait_until: WaitUntil) -> None:
    code = """
import sys
from hms_ops.client import Client
with Client(f"udp://127.0.0.1:{sys.argv[1]}") as ops:
    ops.increment("own.count", 2, tags={"agency": "irs"})
    ops.gauge("own.gauge", -4.5)
    ops.set_("own.users", "anna")
    for value in range(1000):
        ops.timing("own.timing", value)
"""
    run(sys.executable, "-c", code, str(port_of(engine)))
    settled(engine, wait_until, 1003)
    assert engine.value("sum(own.count{agency='irs'})") == 2.0
    assert engine.value("last(own.gauge)") == -4.5
    assert engine.value("avg(own.timing)") == 499.5

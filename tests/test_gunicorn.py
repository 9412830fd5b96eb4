"""An engine in gunicorn's master, its workers forked from it: prefork with preload_app, as services run it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.engines import engine_threads

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

WaitUntil = Callable[..., None]

APPLICATION = """
import json
import os

from hms_ops import Engine

engine = Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=os.environ["DATA_DIR"]).start()
latency = engine.series("request_ms", kind="timer")


def application(environ, start_response):
    engine.metric("requests", 1.0, kind="counter", tags={"path": environ["PATH_INFO"]})
    latency.add(12.5)
    body = json.dumps({"pid": os.getpid(), "http": engine.http_address, "forked": engine.counters().get("forked")})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body.encode()]
"""

# The master's engine says where it answers; a worker only knows that it has none.
CONFIG = """
import json
import os

preload_app = True
workers = 3
graceful_timeout = 5
timeout = 20
bind = "127.0.0.1:0"


def when_ready(server):
    from application import engine

    listener = server.LISTENERS[0].sock.getsockname()
    facts = {"web": listener, "http": engine.http_address, "udp": engine.udp_address}
    with open(os.environ["FACTS"] + ".part", "w") as file:
        json.dump(facts, file)
    os.rename(os.environ["FACTS"] + ".part", os.environ["FACTS"])


def worker_exit(server, worker):
    from application import engine

    engine.stop()
"""


class Served:
    """A running gunicorn: its master's process, and where the web and the engine answer."""

    def __init__(self, process: "subprocess.Popen[str]", facts: dict[str, Any]) -> None:
        self.process = process
        self.web = f"http://{facts['web'][0]}:{facts['web'][1]}"
        self.engine = f"http://{facts['http'][0]}:{facts['http'][1]}"

    def request(self) -> dict[str, Any]:
        return get(f"{self.web}/page")

    def ledger(self) -> dict[str, Any]:
        return get(f"{self.engine}/v1/ledger")


def get(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


@pytest.fixture
def served(tmp_path: Path, wait_until: WaitUntil) -> Iterator[Served]:
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIG)
    facts = tmp_path / "facts"
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data"), "FACTS": str(facts)}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "application:application"],
            cwd=tmp_path,
            env=environment,
            stderr=said,
            stdout=said,
            text=True,
        )
    try:
        wait_until(lambda: facts.exists() or process.poll() is not None, deadline_seconds=30)
        assert process.poll() is None, (tmp_path / "said").read_text()
        yield Served(process, json.loads(facts.read_text()))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_what_every_worker_emits_arrives_at_the_master_and_all_end_cleanly(
    served: Served, tmp_path: Path, wait_until: WaitUntil
) -> None:
    answers = [served.request() for _ in range(60)]
    workers = {answer["pid"] for answer in answers}
    assert served.process.pid not in workers
    assert all(answer["http"] is None and answer["forked"]["dropped"] == 0 for answer in answers)
    wait_until(lambda: served.ledger()["samples"] == 120)

    # A worker that is replaced leaves nothing behind, and the new one is a client too.
    victim = workers.pop()
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{victim}"))
    later = [served.request() for _ in range(20)]
    assert victim not in {answer["pid"] for answer in later}
    wait_until(lambda: served.ledger()["samples"] == 160)
    ledger = served.ledger()
    assert ledger["kernel_drops"] == 0
    assert ledger["values"] == ledger["samples"]

    begun = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(15) == 0
    assert time.monotonic() - begun < 8
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert "SIGKILL" not in said
    assert engine_threads() == []

"""The daemon as systemd runs it: restarts lose nothing, what is wrong is one line, what stands still is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hms_ops.account
from hms_ops import Engine
from hms_ops.cli.run import feed_watchdog

WaitUntil = Callable[..., None]
PROGRAM = [sys.executable, "-c", "from hms_ops.cli.main import main; main()"]
# What systemd does: the socket becomes descriptor 3 of a process whose id is known only after the fork.
BAD_RULE = {"engine.yaml": "rules: [bad.yaml]", "bad.yaml": "rules: [ALERT a WHEN avg(b >]"}
HAND_OVER = 'exec 3<&"$1"; LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; shift; exec "$@"'


class Daemon:
    """One `run --json`, with what it said on standard error; ended when the `with` block is left."""

    def __init__(self, directory: Path, *arguments: object, handed: socket.socket | None = None) -> None:
        command = [*PROGRAM, "run", "--http", "127.0.0.1:0", "--data-dir", "data", "--json", *map(str, arguments)]
        if handed is None:
            command += ["--udp", "127.0.0.1:0"]
        else:
            command = ["bash", "-c", HAND_OVER, "bash", str(handed.fileno()), *command]
        with (directory / "said").open("a") as said:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                pass_fds=[handed.fileno()] if handed is not None else [],
                cwd=directory,
            )

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        facts: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        return facts

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


def total_of(directory: Path, name: str) -> float:
    """The sum of a counter over the last minutes of the daemon's history."""
    with Engine(udp=None, data_dir=directory / "data") as engine:
        now = time.time()
        return float(engine.history(name, now - 600, now + 10)["sum"].sum())


def test_over_restarts_on_an_inherited_socket_nothing_is_lost(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as handed, socket.socket(type=socket.SOCK_DGRAM) as sender:
        handed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        handed.bind(("127.0.0.1", 0))
        sender.connect(handed.getsockname())
        stop = threading.Event()
        sent = 0

        def send_on() -> None:
            nonlocal sent
            while not stop.wait(0.005):  # a usual buffer holds 500 of them, while an interpreter comes up
                sender.send(b"a:1|c")
                sent += 1

        sending = threading.Thread(target=send_on, name="sender")
        sending.start()
        try:
            for _ in range(2):
                with Daemon(tmp_path, handed=handed) as daemon:
                    assert daemon.ready()["udp"] == f"127.0.0.1:{handed.getsockname()[1]}"
                    assert daemon.end() == 0
        finally:
            stop.set()
            sending.join()
        with Daemon(tmp_path, handed=handed) as daemon:
            daemon.ready()
            assert daemon.end() == 0
    assert sent > 100
    assert total_of(tmp_path, "a") == sent


def test_a_daemon_that_was_killed_leaves_a_directory_that_opens(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        facts = daemon.ready()
        assert facts["pid"] == daemon.process.pid
        assert 0 < facts["receiving_ms"] < facts["ready_ms"] < 60_000
        assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    with Daemon(tmp_path) as daemon:
        assert daemon.ready()["event"] == "ready"
        assert daemon.end() == 0


def test_a_signal_while_it_starts_ends_it_without_a_trace(tmp_path: Path, wait_until: WaitUntil) -> None:
    with Daemon(tmp_path) as daemon:
        wait_until((tmp_path / "data" / "engine.lock").exists)  # half way
        code = daemon.end()
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert code in (130, 0)  # interrupted, or ready already
    with Engine(udp=None, data_dir=tmp_path / "data"):
        pass


@pytest.mark.parametrize(
    ("files", "arguments", "text"),
    [
        (
            {"engine.yaml": "rules: [rules.yaml]\n", "rules.yaml": "rules: [ALERT a WHEN avg(b >]\n"},
            ["-c", "engine.yaml"],
            "rules.yaml:1: ",
        ),
        ({"engine.yaml": "limits: {serie: 5}\n"}, ["-c", "engine.yaml"], "engine.yaml:1: "),
        ({"file": ""}, ["--data-dir", "file/data"], "cannot be written"),
        ({}, ["--http", "203.0.113.1:0"], "http 203.0.113.1:0: "),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_exit_code_3(
    tmp_path: Path, files: dict[str, str], arguments: list[str], text: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    command = [*PROGRAM, "run", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", "data", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 3
    assert text in done.stderr
    assert done.stdout == ""
    # A busy machine is told that the kernels take their time; an expression is shown with a caret beneath.
    lines = [line for line in done.stderr.splitlines() if "compiling the kernels" not in line]
    assert len([line for line in lines if not line.startswith(" ")]) == 1, done.stderr


def test_the_watchdog_is_fed_only_while_the_tick_is_on_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(hms_ops.account, "TICK_LATE_SECONDS", 0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
            ticks = engine.counters()["tick"]["count"]
            wait_until(lambda: engine.counters()["tick"]["count"] > ticks)
            wait_until(lambda: is_fed(engine, manager))  # a tick of a busy machine is late for a moment
            with engine.duty._lock:  # the tick wants it too
                wait_until(lambda: engine.stalls() != [])
                feed_watchdog(engine)
                assert manager.recv(1000).startswith(b"STATUS=the tick is ")
                assert engine.health() == engine.stalls()
            wait_until(lambda: engine.stalls() == [])


def is_fed(engine: Engine, manager: socket.socket) -> bool:
    feed_watchdog(engine)
    return manager.recv(1000) == b"WATCHDOG=1"


def test_a_listener_that_died_is_a_stall(wait_until: WaitUntil) -> None:
    with Engine(udp="127.0.0.1:0", data_dir=None) as engine:
        (listener,) = engine.listeners()
        # As if its descriptor had been taken away: another file stands in its place.
        with open(os.devnull) as other:
            os.dup2(other.fileno(), listener.sock.fileno(), inheritable=False)
        wait_until(lambda: engine.stalls() != [])
        assert "restart the engine" in engine.stalls()[0]

"""The daemon as its own process: ready, signals, restart, what stops it from starting."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

PROGRAM = [sys.executable, "-c", "from hms_ops.cli.main import main; main()"]

Process = subprocess.Popen[str]
Start = Callable[..., tuple[Process, dict[str, Any]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(…)` runs the daemon on free ports and waits for its ready line: (process, that line)."""
    processes: list[Process] = []

    def begin(*arguments: object, **environment: str) -> tuple[Process, dict[str, Any]]:
        given = ["run", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", tmp_path / "data", "--json"]
        with (tmp_path / "stderr").open("a") as said:
            process = subprocess.Popen(
                [*PROGRAM, *map(str, [*given, *arguments])],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env={**os.environ, **environment},
            )
        processes.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline() or "{}")

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ledger_of(ready: dict[str, Any]) -> dict[str, Any]:
    with urlopen(f"http://{ready['http']}/v1/ledger", timeout=5) as response:
        ledger: dict[str, Any] = json.load(response)
    return ledger


def send(ready: dict[str, Any], *datagrams: bytes) -> None:
    host, port = ready["udp"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, (host, int(port)))


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_what_is_sent_after_ready_is_in_the_ledger_and_the_query(start: Start, wait_until: Callable[..., None]) -> None:
    _, ready = start()
    send(ready, b"finance.api_ms:240|ms|#agency:irs", b'{"metric":"finance.api_ms","value":260,"kind":"timer"}')
    wait_until(lambda: ledger_of(ready)["samples"] >= 2)
    url = f"http://{ready['http']}"
    wait_until(lambda: run("query", "avg(finance.api_ms, 1m)", "--url", url).returncode == 0)
    assert float(run("query", "avg(finance.api_ms, 1m)", "--url", url).stdout.split()[-1]) == 250.0
    unknown = run("query", "avg(finance.api_mss, 1m)", "--url", url)
    assert unknown.returncode == 1
    assert "finance.api_ms" in unknown.stderr


def test_the_ready_line_says_what_was_granted_and_what_memory_there_is_to_be(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("receive_buffer: 128KiB\nlimits: {series: 5000}\n")
    _, ready = start("-c", file)
    assert ready["receive_buffer_bytes"] == 2 * 128 * 1024, "the kernel doubles what is asked for"
    assert ready["stall_ms"] > 0
    assert 5_000 * 10_000 < ready["memory_bound_bytes"] < 2_000_000_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_drained_within_five_seconds(start: Start, number: signal.Signals) -> None:
    process, ready = start()
    send(ready, *[b"a:1|c"] * 1000)
    begin = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - begin < 5


def test_history_is_there_after_a_restart(start: Start, wait_until: Callable[..., None]) -> None:
    process, ready = start()
    send(ready, b"finance.api_ms:240|ms")
    wait_until(lambda: ledger_of(ready)["samples"] >= 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    _, ready = start()
    answer = run("query", "avg(finance.api_ms)", "--since", "10m", "--step", "10s", "--url", f"http://{ready['http']}")
    assert answer.returncode == 0
    assert "240" in answer.stdout


def test_sighup_takes_new_rules_and_keeps_the_old_ones_when_they_are_wrong(
    start: Start, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    rules, config = tmp_path / "rules.yaml", tmp_path / "engine.yaml"
    rules.write_text("rules: [ALERT a.high WHEN last(a) > 1]\n")
    config.write_text(f"rules: [{rules}]\n")
    process, _ = start("-c", config)
    said = tmp_path / "stderr"
    rules.write_text("rules:\n  - ALERT a.high WHEN last(a >\n  - {alert: x, if: a > 1, fro: 3m}\n")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: f"{rules}:3: " in said.read_text())
    lines = said.read_text().splitlines()
    for line in (2, 3):
        (told,) = [one for one in lines if f"{rules}:{line}: " in one]
        assert " ERROR " in told.upper()
    config.write_text(f"rules: [{rules}]\nudpp: null\n")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: f"{config}:2: unknown key 'udpp'" in said.read_text())
    assert said.read_text().count("reload refused, the rules in force stay; problems: ") == 2
    config.write_text(f"rules: [{rules}]\n")
    rules.write_text("rules: [ALERT b.high WHEN last(b) > 1]\n")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "rules reloaded" in said.read_text())
    assert process.poll() is None


def test_a_socket_handed_over_is_used_and_systemd_is_told(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handed,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        handed.bind(("127.0.0.1", 0))
        port = handed.getsockname()[1]
        # What systemd does: the socket becomes descriptor 3 of a process whose id is known only after the fork.
        shell = 'exec 3<&"$1"; LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; shift; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", str(handed.fileno()), *PROGRAM, "run", "--http", "127.0.0.1:0", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[handed.fileno()],
            cwd=tmp_path,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
        )
        try:
            assert manager.recv(1000).startswith(b"READY=1")
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["udp"] == f"127.0.0.1:{port}"
            assert manager.recv(1000) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
            process.communicate()


def test_a_port_in_use_is_one_clear_line_and_exit_code_3(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run("run", "--udp", f"127.0.0.1:{port}", "--http", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    assert done.returncode == 3
    assert done.stderr.startswith("hms-ops-engine: ")
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("run", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", tmp_path / "file" / "data")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_two_engines_on_one_data_directory_are_refused(start: Start, tmp_path: Path) -> None:
    start()
    done = run("run", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr

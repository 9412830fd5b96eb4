"""What this machine receives: a real daemon, a sender as fast as it can, and the daemon's own ledger.

`hms-ops-engine bench` prints what `measure` returns; `benchmarks/` use `Daemon` for all that is measured on a whole
process. The daemon is this interpreter's `hms-ops-engine run` on free ports with its history in a temporary directory,
so nothing of a running installation is touched. CPU is utime + stime of the process, so the kernel's share of each
datagram, the ticks and the HTTP answers are in it; lines and losses come from the ledger, and the ledger must agree
with the sender's own count.

With two cores or more the daemon has the last one and the sender the first; with one they share it.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import urlopen

from hms_ops.errors import HmsOpsError
from hms_ops.load import Plan, Sender, Sent

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
SETTLE_SECONDS: Final = 60.0  # a million series that are born at once keep it busy for a while
POLL_SECONDS: Final = 0.05
WARM_UP_SECONDS: Final = 0.5  # every series is born and every page touched outside the measured time
# Room for the series the engine makes of itself and of its host.
SERIES_SPARE: Final = 1000

PROGRAM: Final = "from hms_ops.cli.main import main; main()"
PINNED: Final = "import os; os.sched_setaffinity(0, {%d}); "


class BenchError(HmsOpsError):
    """The measurement is void: a process ended early, or two counts that must be equal differ."""


def cores() -> tuple[int | None, int | None]:
    """(the sender's, the daemon's): the first and the last core we may use; None, None when there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


class Daemon:
    """`hms-ops-engine run` as a child process on free ports; in memory only when data_dir is None.

    settings: keys of engine.yaml that win over the defaults. cpu: the core it is pinned to. environment: added to ours.
    udp: "host:port" of the datagram socket. Entering starts it and waits until it is ready; leaving ends it.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        data_dir: Path | None = None,
        cpu: int | None = None,
        udp: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = {"data_dir": None, "log": {"level": "warning"}, **(settings or {})}
        self._data_dir = data_dir
        self._cpu = cpu
        self._udp = udp
        self._environment = {**os.environ, **(environment or {})}
        self._files = tempfile.TemporaryDirectory(prefix="hms-ops-bench-")
        self._errors = Path(self._files.name, "stderr")
        self.started_ns = 0
        self.ready_ns = 0

    def __enter__(self) -> Self:
        self.begin()
        try:
            self.wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self) -> None:
        """Start the process; it is not ready yet."""
        config = Path(self._files.name, "engine.yaml")
        config.write_text(json.dumps(self._settings))  # JSON is YAML
        program = (PINNED % self._cpu if self._cpu is not None else "") + PROGRAM
        options = ["-c", str(config), "--udp", self._udp, "--http", "127.0.0.1:0", "--json"]
        options += ["--data-dir", str(self._data_dir)] if self._data_dir is not None else []
        arguments = [sys.executable, "-c", program, "run", *options]
        with self._errors.open("w") as errors:
            self.started_ns = time.monotonic_ns()
            self._process = subprocess.Popen(
                arguments, stdout=subprocess.PIPE, stderr=errors, text=True, env=self._environment
            )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        """Read its ready line; BenchError, with what it said, when it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.ready_ns = time.monotonic_ns()
        if not line:
            self._process.wait()
            raise BenchError(f"the daemon did not start: {self.errors().strip() or 'it said nothing'}")
        ready = json.loads(line)
        self.http: str = ready["http"]
        host, _, port = ready["udp"].rpartition(":")
        self.udp_address = host.strip("[]"), int(port)

    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text()

    def end(self) -> None:
        """SIGTERM, and after a while SIGKILL."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._files.cleanup()

    def cpu_ns(self) -> int:
        """CPU the whole process has used, in user code and in the kernel, to 10 ms."""
        # The command's name, in parentheses, may hold anything; what follows it is numbers.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // CLOCK_TICKS

    def get(self, path: str) -> str:
        """The answer to GET `path`. BenchError when there is none."""
        try:
            with urlopen(f"http://{self.http}{path}", timeout=SETTLE_SECONDS) as response:
                return str(response.read(), "utf-8")
        except OSError as error:
            raise BenchError(f"the daemon does not answer GET {path}: {error}; it said: {self.errors()}") from None

    def stall_ms(self) -> float:
        """The longest stall at 14 M lines/s that the granted receive buffer takes without a loss."""
        found = re.search(r"^hms_ops_listener_stall_ms\{.*\} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else math.nan

    def ledger(self) -> dict[str, Any]:
        """The row of the UDP socket."""
        inputs: dict[str, Any] = json.loads(self.get("/v1/ledger"))["inputs"]
        return next(row for name, row in inputs.items() if name.startswith("udp:"))

    def settled(self, arrived: int) -> dict[str, Any]:
        """Wait until `arrived` datagrams are accounted for; the ledger then. BenchError when they never are."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (ledger := self.ledger())["arrived"] < arrived and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if ledger["arrived"] != arrived:
            raise BenchError(f"{arrived} datagrams were sent, the ledger knows {ledger['arrived']}")
        return ledger

    def stop_for(self, seconds: float) -> None:
        """Let the process stand still, as a swapping or an overloaded host would."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Received:
    """One run of a sender against a daemon. lines: received ones; cpu_ns: of the daemon, from first to last."""

    sent: Sent
    lines: int
    loss: float
    cpu_ns: int
    bad: Mapping[str, int]

    @property
    def cpu_ns_per_line(self) -> float:
        return self.cpu_ns / max(1, self.lines)

    @property
    def lines_per_s(self) -> float:
        return self.lines / self.sent.seconds


def receive(daemon: Daemon, plan: Plan) -> Received:
    """Send one plan to a running daemon and read its books. BenchError when they do not agree with the sender's."""
    before = daemon.ledger()
    with Sender(plan) as sender:
        cpu_ns = daemon.cpu_ns()
        sender.begin()
        sent = sender.sent()
    after = daemon.settled(before["arrived"] + sent.datagrams)
    cpu_ns = daemon.cpu_ns() - cpu_ns
    lines = after["values"] - before["values"]
    drops = after["kernel_drops"] - before["kernel_drops"]
    if not drops and lines != sent.lines:
        raise BenchError(f"{sent.lines} lines were sent and none lost, the ledger knows {lines}")
    return Received(sent, lines, drops / max(1, sent.datagrams), cpu_ns, after["bad"])


def settings_for(series: int) -> dict[str, Any]:
    """Limits that hold `series` series and the engine's own."""
    return {"limits": {"series": max(100_000, series) + SERIES_SPARE}}


def plan_for(daemon: Daemon, seconds: float, cpu: int | None = None, **keys: Any) -> Plan:
    """A plan that sends to a daemon."""
    host, port = daemon.udp_address
    return Plan(host, port, seconds, cpu=cpu, **keys)


def measure(*, seconds: float, series: int, datagram_bytes: int, line_format: str) -> dict[str, Any]:
    """What `hms-ops-engine bench` prints: the contract's keys. BenchError when the run is void.

    ns_per_line: wall time a received line; cpu_ns_per_line: CPU of the whole daemon; loss: dropped by the kernel, of 1.
    """
    sender_cpu, daemon_cpu = cores()
    with (
        tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as data_dir,
        Daemon(settings_for(series), data_dir=Path(data_dir), cpu=daemon_cpu) as daemon,
    ):
        shape: dict[str, Any] = {"series": series, "datagram_bytes": datagram_bytes, "line_format": line_format}
        receive(daemon, plan_for(daemon, WARM_UP_SECONDS, sender_cpu, **shape))
        run = receive(daemon, plan_for(daemon, seconds, sender_cpu, **shape))
    return {
        "lines_per_s": round(run.lines_per_s),
        "ns_per_line": round(1e9 / run.lines_per_s, 2),
        "cpu_ns_per_line": round(run.cpu_ns_per_line, 2),
        "loss": round(run.loss, 6),
        "datagrams": run.sent.datagrams,
        "seconds": round(run.sent.seconds, 3),
        "series": series,
        "format": line_format,
    }

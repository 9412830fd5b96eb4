"""Runs a local command for an action: an argument list, no shell, the request as JSON on its standard input.

    Commands().run(["/usr/local/bin/heal", "db"], b"{…}", {"PATH": …}, 30.0)  →  Ended(status, output, …)

The program finds nothing of ours but its arguments, its input and the environment it is given; it runs in / and in a
session of its own. Output and errors come down one pipe, of which the first OUTPUT_BYTES_MAX bytes are kept and the
rest is read and counted. At the deadline, or when `Commands.stop` is called, its whole process group is killed. What a
command leaves behind when it ends by itself, such as a service it has started, goes on, and its pipe is not waited for.

Threads: any; each call waits for its own command. Nothing is raised: what could not be started says so in `error`.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from hms_ops.clock import SECOND_NS, steady_ns

OUTPUT_BYTES_MAX: Final = 4_096
READ_BYTES: Final = 65_536
LAST_READS_MAX: Final = 64
LOOK_SECONDS: Final = 0.05  # how often a command that is silent is asked whether it has ended


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command. status: its exit code, below 0 the signal that ended it, None when it never ran.

    output: the beginning of what it printed, output_bytes: how much it was in all. killed: why it was, or "". error:
    why it could not be started, or "".
    """

    status: int | None
    output: str = ""
    output_bytes: int = 0
    killed: str = ""
    error: str = ""

    @property
    def is_success(self) -> bool:
        return self.status == 0 and not self.killed

    @property
    def shown(self) -> str:
        """What it printed, for the record."""
        more = self.output_bytes - OUTPUT_BYTES_MAX
        return f"{self.output} … and {more:,} bytes more" if more > 0 else self.output

    def __str__(self) -> str:
        if self.status is None:
            return f"not run: {self.error}"
        ended = self.killed or (f"ended by signal {-self.status}" if self.status < 0 else f"exit code {self.status}")
        first = self.output.strip().partition("\n")[0][:200]
        return f"{ended}: {first}" if first else ended


class Commands:
    """Those that run now, so that a stop can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, Running] = {}
        self._stopped = ""

    def run(self, arguments: Sequence[str], given: bytes, environment: Mapping[str, str], seconds_max: float) -> Ended:
        """Start it, hand over its input, and wait until it has ended, `seconds_max` at most."""
        try:
            running = self._start(arguments, environment)
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            return Ended(None, error=f"cannot start {arguments[0]}: {error}")
        try:
            return running.wait(given, steady_ns() + int(seconds_max * SECOND_NS), seconds_max)
        finally:
            with self._lock:
                del self._running[running.process.pid]

    def stop(self, why: str) -> int:
        """End all that run, and start no more; returns how many there were."""
        with self._lock:
            self._stopped = why
            for running in self._running.values():
                running.kill(f"killed: {why}")
            return len(self._running)

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> "Running":
        """Under the lock, so that none slips past a stop."""
        with self._lock:
            if self._stopped:
                raise OSError(self._stopped)
            running = Running(arguments, environment)
            self._running[running.process.pid] = running
            return running

    @property
    def count(self) -> int:
        return len(self._running)


class Running:
    """One command with our ends of its pipes."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        self._killed = ""
        self._output = bytearray()
        self._output_bytes = 0
        self._killing = threading.Lock()  # so that a process id that is free again is never killed

    def kill(self, why: str) -> None:
        """End its process group; the first reason counts."""
        with self._killing:
            if self.process.returncode is None:
                self._killed = self._killed or why
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self, given: bytes, deadline_ns: int, seconds_max: float) -> Ended:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with selectors.DefaultSelector() as selector, stdin, stdout:
            for pipe, event in ((stdin, selectors.EVENT_WRITE), (stdout, selectors.EVENT_READ)):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
            while not self._has_ended():
                if steady_ns() >= deadline_ns:
                    self.kill(f"killed after {seconds_max:g} s")
                given = self._exchange(selector, stdin, stdout, given)
            for _ in range(LAST_READS_MAX):  # what it had printed before it ended; others may go on printing
                if not self._read(stdout):
                    break
        output = self._output.decode("utf-8", "replace")
        return Ended(self.process.returncode, output, self._output_bytes, self._killed)

    def _has_ended(self) -> bool:
        with self._killing:
            return self.process.poll() is not None

    def _exchange(self, selector: selectors.BaseSelector, stdin: IO[bytes], stdout: IO[bytes], given: bytes) -> bytes:
        """Move what the pipes take and have, for LOOK_SECONDS at most; returns the input that is left."""
        for key, _ in selector.select(LOOK_SECONDS):
            if key.fileobj is stdin:
                given = self._write(stdin, given)
                if not given:
                    selector.unregister(stdin)
                    stdin.close()
            elif not self._read(stdout):
                selector.unregister(stdout)
        return given

    def _write(self, stdin: IO[bytes], given: bytes) -> bytes:
        try:
            return given[os.write(stdin.fileno(), given) :]
        except BlockingIOError:
            return given
        except OSError:  # it does not want its input
            return b""

    def _read(self, stdout: IO[bytes]) -> int:
        """How many bytes there were, 0 at the end of the pipe or when there is nothing now."""
        try:
            piece = os.read(stdout.fileno(), READ_BYTES)
        except OSError:
            return 0
        self._output_bytes += len(piece)
        self._output += piece[: OUTPUT_BYTES_MAX - len(self._output)]
        return len(piece)

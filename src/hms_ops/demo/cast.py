"""The services as processes: started, directed, ended.

Each has a pipe as standard input, which carries the cues and whose end ends it: closed by `leave`, or by the kernel
when this process dies. They get a session of their own, so that Ctrl-C reaches the demo alone and it ends them in turn.
"""

import subprocess
import sys
from types import TracebackType
from typing import Final

from hms_ops.demo.service import SERVICES

LEAVE_SECONDS: Final = 2.0


class Cast:
    """`with Cast("127.0.0.1:8125") as cast: cast.cue("rush")`; one thread, except for `cue`."""

    def __init__(self, udp: str) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name in SERVICES:
                self.processes[name] = start(name, udp)
        except BaseException:
            self.leave()
            raise

    def cue(self, cue: str) -> None:
        """Tell all services; one that is gone is told by `gone`, not here. Any thread: a cue is one short write."""
        for process in self.processes.values():
            assert process.stdin is not None
            try:
                process.stdin.write(f"{cue}\n".encode())
            except (OSError, ValueError):  # gone, or sent away by `leave`
                continue

    def gone(self) -> str | None:
        """Which service ended by itself, and how; None while all play."""
        ended = ((name, process.poll()) for name, process in self.processes.items())
        return next((f"the service {name} ended with code {code}" for name, code in ended if code is not None), None)

    def leave(self) -> None:
        """End all of them, within LEAVE_SECONDS; idempotent."""
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes.values():
            try:
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> "Cast":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


def start(name: str, udp: str) -> subprocess.Popen[bytes]:
    # -P: a file in the working directory must not pass for a module of the standard library.
    command = [sys.executable, "-P", "-m", "hms_ops.demo.service", name, udp]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True
    )

"""Processes that send for us: what apprise and the MCP SDK do, they do there (`hms_ops/children`).

    APPRISE.ask({"url": …, "title": …}, seconds_max)  →  an Outcome

A child serves one request at a time and is kept for the next, so that its imports are paid once. A request that hangs
costs its child: it is killed, and nobody else notices. Children get what of the environment concerns programs and
nets (ENVIRONMENT), not our secrets, and /dev/null for what they print.

Threads: any; each borrows a child for itself. Limits of each pool: CHILDREN_MAX at once (who comes then waits as long
as his request may take), IDLE_MAX kept, USES_MAX requests for one, ANSWER_BYTES_MAX; `counters` tells what was started,
killed and turned away. Errors: none is raised; they are a Retry. A fork of the engine starts children of its own.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import hms_ops
from hms_ops.alert.notification import Dead, Delivered, Outcome, Retry
from hms_ops.alert.receivers.post import REAL_TIME, describe, remaining_seconds
from hms_ops.children.serving import GRACE_SECONDS, REQUEST_BYTES_MAX
from hms_ops.clock import SECOND_NS

CHILDREN_MAX: Final = 8
IDLE_MAX: Final = 2
USES_MAX: Final = 200
ANSWER_BYTES_MAX: Final = 64 * 1024

ENDED: Final = "its process ended"
ENVIRONMENT: Final = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


class Gone(OSError):
    """A child has ended and certainly not read what it was asked."""


class Child:
    """One process and our end of its socket."""

    def __init__(self, module: str) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-W", "ignore", "-m", module]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = ours
        self.uses = 0
        self.is_used_up = False

    @property
    def is_quiet(self) -> bool:
        """Waits for a request: it has not ended, and not said what nobody asked for."""
        return not select.select([self.channel], [], [], 0)[0]

    def ask(self, line: bytes, deadline_ns: int) -> dict[str, Any]:
        """Its answer. Gone when it has left without having read the line, OSError when it breaks or hangs over it."""
        self.uses += 1
        try:
            self.channel.settimeout(remaining_seconds(deadline_ns))
            self.channel.sendall(line)
        except ConnectionError:
            raise Gone(ENDED) from None
        answer = parsed(self._read_line(deadline_ns))
        if "bye" in answer:
            raise Gone(ENDED)
        return answer

    def _read_line(self, deadline_ns: int) -> bytes:
        said = b""
        while b"\n" not in said:
            self.channel.settimeout(remaining_seconds(deadline_ns))
            try:
                piece = self.channel.recv(65_536)
            except ConnectionError:
                piece = b""
            if not piece:
                raise OSError(ENDED)
            said += piece
            if len(said) > ANSWER_BYTES_MAX:
                raise OSError("its answer is too long")
        line, _, more = said.partition(b"\n")
        self.is_used_up = bool(more)  # it has said good-bye with its answer
        return line

    def end(self) -> None:
        """Kill it with what it has started in its session, and forget it; at once, whatever it does."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.channel.close()
        self.process.wait()

    def disown(self) -> None:
        """In a fork: it is another's, only our copy of the socket goes."""
        self.channel.close()
        self.process.returncode = 0  # or Popen would warn of a process that nobody waited for


class Pool:
    """The children that run one program."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._places = threading.BoundedSemaphore(CHILDREN_MAX)
        self._counters = {"asked": 0, "started": 0, "killed": 0, "busy": 0}

    def ask(self, request: Mapping[str, Any], seconds_max: float) -> Outcome:
        """What came of the request, at most `seconds_max` and a little grace later."""
        size = len(json.dumps(request))
        if size > REQUEST_BYTES_MAX:
            return Dead(f"the notification has {size:,} bytes, more than {REQUEST_BYTES_MAX:,}")
        self.after_fork()
        end_ns = REAL_TIME.now_ns() + int(seconds_max * SECOND_NS)
        places = self._places
        if not places.acquire(timeout=seconds_max):
            self._count("busy")
            return Retry(f"{CHILDREN_MAX} processes of {self.module} are busy")
        try:
            return self._ask({**request, "seconds": remaining_seconds(end_ns)}, end_ns)
        except OSError as error:
            return Retry(f"the process of {self.module}: {describe(error)}")
        finally:
            places.release()

    def counters(self) -> dict[str, int]:
        """Requests, processes started, killed because they hung or broke, and requests that found no place."""
        with self._lock:
            return {**self._counters, "idle": len(self._idle)}

    def close(self) -> None:
        """End those that wait for the next request."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            ending, self._idle = self._idle, []
        for child in ending:
            child.end()

    def _ask(self, request: Mapping[str, Any], end_ns: int) -> Outcome:
        self._count("asked")
        line = json.dumps(request).encode() + b"\n"
        deadline_ns = end_ns + int(GRACE_SECONDS * SECOND_NS)
        while True:
            child = self._take()
            try:
                made = outcome_of(child.ask(line, deadline_ns))
            except Gone:
                child.end()
                if child.uses == 1:  # it did not even begin
                    self._count("killed")
                    raise
            except BaseException:
                self._count("killed")
                child.end()
                raise
            else:
                self._give(child)
                return made

    def _take(self) -> Child:
        """One that waits, else a new one. Those that left while they waited are buried here."""
        while (child := self._pop()) is not None:
            if child.is_quiet:
                return child
            child.end()
        self._count("started")
        return Child(self.module)

    def _pop(self) -> Child | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give(self, child: Child) -> None:
        with self._lock:
            if len(self._idle) < IDLE_MAX and child.uses < USES_MAX and not child.is_used_up:
                self._idle.append(child)
                return
        child.end()

    def _count(self, name: str) -> None:
        with self._lock:
            self._counters[name] += 1

    def after_fork(self) -> None:
        """In a forked child: our parent's children are not ours, and must see it when he hangs up."""
        if os.getpid() != self._pid:
            for child in self._idle:
                child.disown()
            self._begin()


def parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        raise OSError("its answer is no JSON") from None
    if not isinstance(answer, dict):
        raise OSError("its answer is no JSON object")
    return answer


def outcome_of(answer: Mapping[str, Any]) -> Outcome:
    """The child's answer; OSError for what is none."""
    detail, after_seconds = str(answer.get("detail", "")), answer.get("after_seconds")
    match answer.get("outcome"):
        case "delivered":
            return Delivered(detail)
        case "dead":
            return Dead(detail)
        case "retry":
            return Retry(detail, float(after_seconds) if isinstance(after_seconds, int | float) else None)
    raise OSError(f"its answer {str(answer)[:80]} is no outcome")


def environment() -> dict[str, str]:
    """What a child may see of ours, and where it finds this package."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    package = str(Path(hms_ops.__file__).parent.parent)
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}


APPRISE: Final = Pool("hms_ops.children.by_apprise")
MCP: Final = Pool("hms_ops.children.by_mcp")

for _pool in (APPRISE, MCP):
    atexit.register(_pool.close)
    os.register_at_fork(after_in_child=_pool.after_fork)

"""What the handlers work with: the engine, its workers, the bound on bodies, and the tally of what was refused.

One `Site` per server, kept as the application's state. A handler that only reads a few counters calls the engine
itself; what decodes, writes, or walks over series goes through a worker, so that probes always answer.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import Request

from hms_ops.boards.folder import Folders
from hms_ops.http.answer import Problem
from hms_ops.http.worker import Worker
from hms_ops.statuspage.maker import StatusMaker
from hms_ops.threads import StartThread

if TYPE_CHECKING:
    from hms_ops.engine import Engine
    from hms_ops.stream.hub import Hub

CALLS_WAITING_MAX: Final = 128
OPERATIONS_WAITING_MAX: Final = 8
BODIES_BYTES_MAX: Final = 128 * 1024 * 1024

# The kinds of problems that show a bound or a guard at work; counted from 0, so that a rate sees the first one.
REFUSALS: Final = (
    "body-timeout",
    "body-too-large",
    "busy",
    "connections",
    "made-room",
    "csp-report",
    "head-timeout",
    "head-too-large",
    "host",
    "log-in-failed",
    "log-ins",
    "malformed",
    "origin",
    "pipelined",
    "promql-bad-data",
    "promql-limit",
    "promql-missing",
    "promql-timeout",
    "promql-unavailable",
    "promql-unsupported",
    "scope",
    "session-ended",
    "stalled",
    "streams",
    "tls",
    "token",
    "token-expired",
    "url-too-long",
)


class Bodies:
    """The memory of all bodies that are being received or decoded; on the event loop's thread only."""

    def __init__(self, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0

    def take(self, size: int) -> None:
        """Room for `size` more bytes, or 503: others' bodies fill it."""
        if self.held_bytes + size > self.bytes_max:
            raise Problem(503, "busy", "too many large bodies at once; try again", {"Retry-After": "1"})
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        self.held_bytes -= size


@dataclass(frozen=True)
class Site:
    """reads: queries and lists; writes: bodies and alerts, so that no long query delays them; promql: what Grafana
    asks, twenty panels at once, so that our own screens do not wait behind it; operations: imports, backups and
    deletes, which may take minutes; public: the status page, so that strangers wait for nobody and nobody for them.
    streams: what live streams hang on."""

    engine: "Engine"
    reads: Worker
    writes: Worker
    promql: Worker
    operations: Worker
    public: Worker
    bodies: Bodies
    boards: Folders
    status: StatusMaker
    tally: Counter[str]
    streams: "Hub"

    @property
    def workers(self) -> tuple[Worker, ...]:
        return self.reads, self.writes, self.promql, self.operations, self.public

    def start(self, start_thread: StartThread) -> None:
        for worker in self.workers:
            worker.start(start_thread)
        self.streams.start(start_thread)

    def refuse_reads(self) -> None:
        """At a stop: what only reads and has not begun is answered with 503; what writes may still be done."""
        for worker in (self.reads, self.promql, self.public):
            worker.refuse()

    def refuse(self) -> None:
        """The rest as well: it is late."""
        for worker in self.workers:
            worker.refuse()


def site_for(engine: "Engine") -> Site:
    from hms_ops.stream.hub import Hub  # which sends the documents of http/alerts.py, a handler's module

    return Site(
        engine,
        Worker("hms-http-reads", CALLS_WAITING_MAX),
        Worker("hms-http-writes", CALLS_WAITING_MAX),
        Worker("hms-http-promql", CALLS_WAITING_MAX),
        Worker("hms-http-operations", OPERATIONS_WAITING_MAX),
        Worker("hms-http-public", 1),
        Bodies(),
        Folders(engine.config.dashboards),
        StatusMaker(engine),
        Counter(dict.fromkeys(REFUSALS, 0)),
        Hub(engine),
    )


def site_of(request: Request) -> Site:
    return cast(Site, request.app.state.site)

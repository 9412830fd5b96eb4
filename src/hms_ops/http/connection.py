"""uvicorn's HTTP connection with the bounds it lacks: on heads, on time, on the number of connections.

uvicorn's httptools protocol takes heads of any size, waits for them for ever, queues any number of pipelined requests
(14,000 fit into one read, which then holds the loop for a second), and lets a client that does not read its answer keep
it. Here each connection has two timers, since a client may send more while it owes us the reading:

    reading   connected or idle ──HEAD_SECONDS──► head complete ──BODY_SECONDS──► body complete: no timer
    writing   the client stops taking its answer ──STALL_SECONDS──► cut, unless it goes on
              answered ──KEEP_ALIVE_SECONDS──► closing ──STALL_SECONDS──► cut, whatever is not taken by then

What it refuses is answered with a problem document, what it cuts is cut; both are counted under the reason. Threads:
the event loop's only.
"""

import asyncio
import logging
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hms_ops.http.answer import Problem
from hms_ops.http.guard import ANSWER_HEADERS, HEAD_BYTES_MAX

CONNECTIONS_MAX: Final = 512
PIPELINED_MAX: Final = 128
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
STALL_SECONDS: Final = 60.0
KEEP_ALIVE_SECONDS: Final = 15

URL_BYTES_MAX: Final = HEAD_BYTES_MAX

log = logging.getLogger("hms_ops.http.connection")
# uvicorn warns of every broken request, which anybody can send without end; they are counted.
log.setLevel(logging.ERROR)


class Connection(HttpToolsProtocol):
    """One client. tally: reason → count."""

    def __init__(self, *, tally: MutableMapping[str, int], **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._tally = tally
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self.idle_since = self.loop.time()
        # uvicorn's loggers belong to the host program, which may be a uvicorn server itself.
        self.logger = log
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_within(HEAD_SECONDS, "head-timeout")
        if len(self.connections) > CONNECTIONS_MAX and not self._make_room():
            self._refuse(FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        stop(self._reading)
        stop(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)  # set back to 0 where the head ends in these bytes
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(URL_TOO_LONG if len(self.url) > URL_BYTES_MAX else HEAD_TOO_LARGE)
        elif self._is_idle() and self._reading is None:
            # Bytes that begin no request, such as empty lines, would hold an idle connection open.
            self._read_within(HEAD_SECONDS, "head-timeout")

    def send_400_response(self, msg: str) -> None:
        self._refuse(PIPELINED if len(self.pipeline) >= PIPELINED_MAX else MALFORMED)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if len(self.pipeline) >= PIPELINED_MAX:
            raise OverflowError("too many pipelined requests")  # stops the parser; uvicorn answers 400 and closes
        if len(self.url) > URL_BYTES_MAX:  # it came in one read, or it would have been refused before its end
            self._refuse(URL_TOO_LONG)
            return
        self._read_within(BODY_SECONDS, "body-timeout")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        stop(self._reading)
        self._reading = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_within(STALL_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        stop(self._writing)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # close() waits until the client has taken what is buffered.
        self._write_within(STALL_SECONDS)

    def cut_from_outside(self) -> None:
        """Cut it now, whatever is under way; from any thread."""
        self.loop.call_soon_threadsafe(self.transport.abort)

    def _make_room(self) -> bool:
        """Cut the connection that has asked for nothing the longest: strangers who hold all places must not keep a
        supervisor's probe out. False when all are at work."""
        others = (one for one in self.connections if isinstance(one, Connection) and one is not self)
        idle = [one for one in others if one.asks_nothing() and not one.transport.is_closing()]
        if not idle:
            return False
        min(idle, key=lambda one: one.idle_since).cut("made-room")
        return True

    def asks_nothing(self) -> bool:
        """Whether no request is here: neither a whole head, nor a body or an answer under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or (cycle.response_complete and not self.pipeline)

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn's hint says
        return (cycle is None or cycle.response_complete) and self.timeout_keep_alive_task is None

    def _refuse(self, problem: Problem) -> None:
        """Answer below the application, which this request never reaches, and close."""
        if not self.transport.is_closing():
            self._tally[problem.kind] += 1
            self.transport.write(raw_answer(problem))
            self.transport.close()
            self._write_within(STALL_SECONDS)

    def _read_within(self, seconds: float, reason: str) -> None:
        stop(self._reading)
        self._reading = self.loop.call_later(seconds, self.cut, reason)

    def _write_within(self, seconds: float) -> None:
        stop(self._writing)
        self._writing = self.loop.call_later(seconds, self.cut, "stalled")

    def cut(self, reason: str) -> None:
        self._tally[reason] += 1
        self.transport.abort()


FULL: Final = Problem(503, "connections", "too many connections; come again", {"Retry-After": "1"})
HEAD_TOO_LARGE: Final = Problem(431, "head-too-large", f"the head has more than {HEAD_BYTES_MAX:,} bytes")
URL_TOO_LONG: Final = Problem(414, "url-too-long", f"the URL has more than {URL_BYTES_MAX:,} bytes")
PIPELINED: Final = Problem(400, "pipelined", f"more than {PIPELINED_MAX} requests wait on this connection")
MALFORMED: Final = Problem(400, "malformed", "this is no HTTP/1.1 request")


def raw_answer(problem: Problem) -> bytes:
    """A problem as it goes over the wire, with the headers that the guard would have added."""
    response = problem.response()
    headers = [*response.raw_headers, *ANSWER_HEADERS.items(), (b"connection", b"close")]
    lines = [b"HTTP/1.1 %d %b" % (problem.status, HTTPStatus(problem.status).phrase.encode())]
    return b"\r\n".join([*lines, *(b"%b: %b" % header for header in headers), b"", bytes(response.body)])


def stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

"""uvicorn's HTTP connection with the bounds it lacks: on heads, on time, on the number of connections.

uvicorn's httptools protocol takes heads of any size, waits for them for ever, queues any number of pipelined requests
(14,000 fit into one read, which then holds the loop for a second), and lets a client that does not read its answer keep
it. Here each connection has two timers, since a client may send more while it owes us the reading:

    reading   connected or idle ──HEAD_SECONDS──► head complete ──BODY_SECONDS──► body complete: no timer
    writing   the client stops taking its answer ──STALL_SECONDS──► cut, unless it goes on
              answered ──KEEP_ALIVE_SECONDS──► closing ──STALL_SECONDS──► cut, whatever is not taken by then

What it cuts is counted under the reason. Threads: the event loop's only.
"""

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hms_ops.http.guard import HEAD_BYTES_MAX

CONNECTIONS_MAX: Final = 512
PIPELINED_MAX: Final = 128
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
STALL_SECONDS: Final = 60.0
KEEP_ALIVE_SECONDS: Final = 15

FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 21\r\n"
    b"retry-after: 1\r\nconnection: close\r\n\r\ntoo many connections\n"
)
HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)

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
        # uvicorn's loggers belong to the host program, which may be a uvicorn server itself.
        self.logger = log
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_within(HEAD_SECONDS, "head-timeout")
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(FULL, "connections")

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
            self._refuse(HEAD_TOO_LARGE, "head-too-large")
        elif self._is_idle() and self._reading is None:
            # Bytes that begin no request, such as empty lines, would hold an idle connection open.
            self._read_within(HEAD_SECONDS, "head-timeout")

    def send_400_response(self, msg: str) -> None:
        self._tally["pipelined" if len(self.pipeline) >= PIPELINED_MAX else "malformed"] += 1
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if len(self.pipeline) >= PIPELINED_MAX:
            raise OverflowError("too many pipelined requests")  # stops the parser; uvicorn answers 400 and closes
        self._read_within(BODY_SECONDS, "body-timeout")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        stop(self._reading)
        self._reading = None
        super().on_message_complete()

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

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn's hint says
        return (cycle is None or cycle.response_complete) and self.timeout_keep_alive_task is None

    def _refuse(self, answer: bytes, reason: str) -> None:
        if not self.transport.is_closing():
            self._tally[reason] += 1
            self.transport.write(answer)
            self.transport.close()
            self._write_within(STALL_SECONDS)

    def _read_within(self, seconds: float, reason: str) -> None:
        stop(self._reading)
        self._reading = self.loop.call_later(seconds, self._cut, reason)

    def _write_within(self, seconds: float) -> None:
        stop(self._writing)
        self._writing = self.loop.call_later(seconds, self._cut, "stalled")

    def _cut(self, reason: str) -> None:
        self._tally[reason] += 1
        self.transport.abort()


def stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

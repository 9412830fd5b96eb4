"""uvicorn's HTTP connection with the bounds it lacks: on the head, on time, on the number of connections.

uvicorn's httptools protocol takes heads of any size, waits for them for ever, and lets a client that does not read its
answer keep it. Here one timer per connection covers all of that:

    connected or idle ──HEAD_SECONDS──► head complete ──BODY_SECONDS──► body complete ──► answering
                                                                    answer not taken: STALL_SECONDS, from each halt
    answered ──KEEP_ALIVE_SECONDS──► closing ──STALL_SECONDS──► cut

What it cuts is counted under the reason. Threads: the event loop's only.
"""

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hms_ops.http.guard import HEAD_BYTES_MAX

CONNECTIONS_MAX: Final = 512
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

log = logging.getLogger("hms_ops.http")


class Connection(HttpToolsProtocol):
    """One client. tally: reason → count."""

    def __init__(self, *, tally: MutableMapping[str, int], **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._tally = tally
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        # uvicorn's loggers belong to the host program, which may be a uvicorn server itself.
        self.logger = log
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._cut_after(HEAD_SECONDS, "head-timeout")
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(FULL, "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stay()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(HEAD_TOO_LARGE, "head-too-large")
        elif self._is_idle() and self._timer is None:
            # Bytes that begin no request, such as empty lines, would hold an idle connection open.
            self._cut_after(HEAD_SECONDS, "head-timeout")

    def send_400_response(self, msg: str) -> None:
        self._tally["malformed"] += 1
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cut_after(BODY_SECONDS, "body-timeout")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.flow.write_paused:  # a client that pipelines may still owe us the reading of an answer
            self._stay()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_after(STALL_SECONDS, "stalled")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stay()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # close() waits until the client has taken what is buffered.
        self._cut_after(STALL_SECONDS, "stalled")

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
            self._cut_after(STALL_SECONDS, "stalled")

    def _cut_after(self, seconds: float, reason: str) -> None:
        self._stay()
        self._timer = self.loop.call_later(seconds, self._cut, reason)

    def _stay(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, reason: str) -> None:
        self._tally[reason] += 1
        self.transport.abort()

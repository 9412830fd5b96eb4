"""One thread for calls that would hold up the event loop: a decode of megabytes, a query over history.

The loop's coroutines `await worker.run(call)`; the calls of one worker run one after the other, in order. At most
`depth_max` wait; one more is refused with 503. `stop()` lets the running call end, what still waits is cancelled.
"""

from asyncio import wrap_future
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, TypeVar

from hms_ops.http.answer import Problem

T = TypeVar("T")
StartThread = Callable[[str, Callable[[], None]], Thread]


class Worker:
    """A named thread with a bounded queue; started and stopped by the server."""

    def __init__(self, name: str, depth_max: int) -> None:
        self.name = name
        self._calls: Queue[tuple[Future[Any], Callable[[], Any]] | None] = Queue(depth_max)
        self._thread: Thread | None = None

    def start(self, start_thread: StartThread) -> None:
        self._thread = start_thread(self.name, self._work)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result, or what it raised. Only from the event loop."""
        future: Future[T] = Future()
        try:
            self._calls.put_nowait((future, call))
        except Full:
            raise Problem(
                503, "busy", f"{self._calls.maxsize} requests wait already; try again", {"Retry-After": "1"}
            ) from None
        return await wrap_future(future)

    def stop(self, deadline_seconds: float) -> bool:
        """Whether the thread has ended within the deadline."""
        self._cancel_waiting()
        with suppress(Full):  # a loop that could not be ended goes on adding; then this thread is left behind too
            self._calls.put_nowait(None)
        if self._thread is not None:
            self._thread.join(deadline_seconds)
        return self._thread is None or not self._thread.is_alive()

    def _cancel_waiting(self) -> None:
        while True:
            try:
                waiting = self._calls.get_nowait()
            except Empty:
                return
            if waiting is not None:
                waiting[0].cancel()

    def _work(self) -> None:
        while (waiting := self._calls.get()) is not None:
            settle(*waiting)
            del waiting  # an idle worker keeps no body of megabytes


def settle(future: Future[Any], call: Callable[[], Any]) -> None:
    """Run the call unless nobody waits for it any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)

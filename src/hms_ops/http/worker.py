"""One thread for calls that would hold up the event loop: a decode of megabytes, a query over history.

The loop's coroutines `await worker.run(call)`; the calls of one worker run one after the other, in order. At most
`depth_max` wait; one more is refused with 503. What waits is given up when its task is cancelled, or its client leaves
where `run` is given the request: it is not begun, and makes room at once. `refuse()` answers what waits with 503, and
what comes; `stop()` does so too, and lets the running call end.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from hms_ops.http.answer import Problem
from hms_ops.threads import StartThread

T = TypeVar("T")
Waiting = tuple[Future[Any], Callable[[], Any]]


class Worker:
    """A named thread with a bounded queue; started and stopped by the server. is_refusing: no call is taken any more;
    one that runs may look at it and end early."""

    def __init__(self, name: str, depth_max: int) -> None:
        self.name = name
        self.depth_max = depth_max
        self.is_refusing = False
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()  # of the queue, or its end
        self._is_stopped = False
        self._thread: Thread | None = None

    def start(self, start_thread: StartThread) -> None:
        self._thread = start_thread(self.name, self._work)

    async def run(self, call: Callable[[], T], request: Request | None = None) -> T:
        """The call's result, or what it raised. Only from the event loop. request: whose body has been read; when its
        client leaves, ClientDisconnect."""
        future: Future[T] = Future()
        waiting: Waiting = (future, call)
        self._put(waiting)
        try:
            answer = asyncio.wrap_future(future)
            return await (answer if request is None else unless_left(answer, request))
        finally:
            self._withdraw(waiting)

    def refuse(self) -> None:
        """Take no more calls, and give up those that wait."""
        with self._changed:
            self.is_refusing = True
            given_up = list(self._waiting)
            self._waiting.clear()
        for future, _ in given_up:
            if future.set_running_or_notify_cancel():
                future.set_exception(stopping())

    def stop(self, deadline_seconds: float) -> bool:
        """Whether the thread has ended within the deadline."""
        self.refuse()
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(deadline_seconds)
        return self._thread is None or not self._thread.is_alive()

    def _put(self, waiting: Waiting) -> None:
        with self._changed:
            if self.is_refusing:
                raise stopping()
            if len(self._waiting) >= self.depth_max:
                raise Problem(503, "busy", f"{self.depth_max} requests wait already; try again", {"Retry-After": "1"})
            self._waiting.append(waiting)
            self._changed.notify()

    def _withdraw(self, waiting: Waiting) -> None:
        if waiting[0].cancel():  # it neither runs nor is done
            with self._changed, suppress(ValueError):
                self._waiting.remove(waiting)

    def _take(self) -> Waiting | None:
        """The next call; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_stopped)
            return self._waiting.popleft() if self._waiting else None

    def _work(self) -> None:
        while (waiting := self._take()) is not None:
            settle(*waiting)
            del waiting  # an idle worker keeps no body of megabytes


async def unless_left(answer: asyncio.Future[T], request: Request) -> T:
    """The answer, as long as the client waits for it."""
    leaving = asyncio.ensure_future(left(request))
    try:
        await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        answer.cancel()  # what it still comes to is nobody's
        leaving.cancel()


async def left(request: Request) -> None:
    """Until the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def stopping() -> Problem:
    return Problem(503, "busy", "the engine stops; try again when it runs", {"Retry-After": "5"})


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

"""The thread that all live streams hang on: told of each sealed second and each event, it feeds every client's queue.

    tick ─ sets an event ─┐
    engine.watch ─ inbox ─┴─► turn: joins and leaves, events, seconds, one slice for one who catches up ─► loop

A turn's work is shared by all streams: cells are gathered and encoded once (table.py), events once (ring.py); a client
costs an entry in a list. The event loop is entered once for each batch. Nothing here holds a lock while it works, and
the tick only sets an event.

Limits: STREAMS_MAX streams (http/stream.py answers 503), INBOX_MAX events between two turns (then a `gap`), those of
outflow.py, table.py, members.py and ring.py. Counters: `counters`; `problems` says when streams lag.
Threads: `run` is a thread of its own; `join` and `leave` are the event loop's; the rest may be called by anyone. In a
forked child nothing of it is used.
"""

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.stream.documents import Documents, is_told
from hms_ops.stream.feed import Feed, Follower
from hms_ops.stream.frame import Frame, Place
from hms_ops.stream.outflow import Outflow
from hms_ops.stream.table import Table
from hms_ops.stream.wanted import Wanted
from hms_ops.threads import StartThread, wait_for

if TYPE_CHECKING:
    from hms_ops.engine import Engine

log = logging.getLogger("hms_ops.stream")

STREAMS_MAX: Final = 256
INBOX_MAX: Final = 2_000
ALIVE_SECONDS: Final = 10.0
LAG_SECONDS_MAX: Final = 3.0
SETTLE_SECONDS_MAX: Final = 5.0
ERRORS_LOGGED: Final = 10


class Hub:
    """The streams of one HTTP server. streams_max: how many there may be."""

    def __init__(self, engine: "Engine", streams_max: int = STREAMS_MAX) -> None:
        self.streams_max = streams_max
        self._engine = engine
        self._store = engine.store
        self._table = Table(engine.store, lambda: engine.duty.reserved)
        self._feed = Feed(engine.store, self._table, self._post)
        self._documents = Documents(engine)
        self._counts: Counter[str] = Counter()  # of the event loop
        self._outflows: set[Outflow] = set()  # likewise
        self._followers: dict[Outflow, Follower] = {}
        self._joining: list[Follower] = []
        self._hungry: deque[Follower] = deque()
        self._asks: deque[Callable[[], None]] = deque()  # of the event loop to the thread
        self._guard = threading.Lock()  # of the inbox and the turns
        self._inbox: deque[dict[str, Any]] = deque()
        self._inbox_lost = 0
        self._turned = threading.Condition(self._guard)
        self._asked = self._done = 0
        self._wake = threading.Event()
        self._is_used = self._is_stopped = False
        self._lag_ns = self._errors = 0
        self._beat_ns = steady_ns()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._unwatch: list[Callable[[], None]] = []

    # ---- life

    def start(self, start_thread: StartThread) -> None:
        self._unwatch = [self._engine.watch_seconds(self._on_second), self._engine.watch(self._on_event)]
        self._thread = start_thread("hms-stream", self.run)

    def stop(self, deadline_seconds: float) -> bool:
        """End every stream; whether the thread has ended within the deadline."""
        for unwatch in self._unwatch:
            unwatch()
        self._is_stopped = True
        self._in_loop(self._end_all)
        self._wake.set()
        if self._thread is not None:
            wait_for(self._thread, deadline_seconds)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Turn whenever there is something to do, until `stop`."""
        while not self._is_stopped:
            self._wake.wait(self._seconds_to_beat())
            self._wake.clear()
            self.turn()

    def settle(self, seconds: float = SETTLE_SECONDS_MAX) -> bool:
        """Wait until what was sealed and told before is in the clients' queues: for a clock that runs faster than time.
        False when that took longer."""
        if self._thread is None or not self._is_used:
            return True
        with self._guard:
            self._asked += 1
            wanted = self._asked
            self._wake.set()
            return self._turned.wait_for(lambda: self._done >= wanted or self._is_stopped, seconds)

    # ---- the event loop's side

    def has_room(self) -> bool:
        """Whether one more stream may begin; one that may not is counted."""
        has_room = len(self._outflows) < self.streams_max
        self._counts["refused"] += not has_room
        return has_room

    def join(self, wanted: Wanted, kinds: frozenset[str], place: Place | None, since: int | None) -> Outflow:
        """Begin a stream; it is fed from the next turn on."""
        self._loop = asyncio.get_running_loop()
        self._is_used = True
        outflow = Outflow(lambda: self._store.now_ns() / SECOND_NS, lambda: self._on_empty(follower), self._counts)
        follower = Follower(wanted, kinds, outflow, place, since)
        self._outflows.add(outflow)
        if self._is_stopped:
            outflow.end()
        self._ask(partial(self._admit, follower))
        return outflow

    def leave(self, outflow: Outflow) -> None:
        outflow.end()
        self._outflows.discard(outflow)
        self._ask(partial(self._forget, outflow))

    def _on_empty(self, follower: Follower) -> None:
        if not follower.is_live:
            self._ask(partial(self._feed_more, follower))

    def _ask(self, ask: Callable[[], None]) -> None:
        self._asks.append(ask)
        self._wake.set()

    def _put(self, batch: Sequence[tuple[Outflow, Frame]], second: int) -> None:
        for outflow, frame in batch:
            outflow.put(frame)
        if second:
            self._lag_ns = self._store.now_ns() - (second + 1) * SECOND_NS

    def _end_all(self) -> None:
        for outflow in self._outflows:
            outflow.end()

    # ---- told by others

    def _on_second(self, second: int) -> None:
        """The tick's: it must cost nothing."""
        if self._is_used:
            self._wake.set()

    def _on_event(self, event: dict[str, Any]) -> None:
        if not is_told(event):
            return
        with self._guard:
            if len(self._inbox) == INBOX_MAX:
                self._inbox.popleft()
                self._inbox_lost += 1
            self._inbox.append(event)
        self._wake.set()

    # ---- the thread's side

    def turn(self) -> None:
        """Do what is due. What fails is logged and counted; the next turn goes on."""
        with self._guard:
            asked = self._asked
        for part in (self._take_events, self._take_asks, self._take_seconds, self._catch_up, self._beat):
            try:
                part()
            except Exception:
                self._fail()
        with self._guard:
            self._done = max(self._done, asked)
            self._turned.notify_all()

    def _take_asks(self) -> None:
        before = len(self._followers)
        while self._asks:
            self._asks.popleft()()
        joined, self._joining = self._joining, []
        if joined or len(self._followers) != before:
            self._feed.want([*self._followers.values(), *joined])
        self._hungry.extend(self._feed.join(joined))
        self._followers.update((follower.outflow, follower) for follower in joined)  # counted once they follow

    def _admit(self, follower: Follower) -> None:
        self._joining.append(follower)

    def _feed_more(self, follower: Follower) -> None:
        if follower.outflow in self._followers and not follower.is_live and follower not in self._hungry:
            self._hungry.append(follower)

    def _forget(self, outflow: Outflow) -> None:
        self._joining = [follower for follower in self._joining if follower.outflow is not outflow]
        follower = self._followers.pop(outflow, None)
        if follower is not None and follower.is_live:
            self._feed.live.remove(follower)

    def _take_events(self) -> None:
        with self._guard:
            events, self._inbox = self._inbox, deque()
            lost, self._inbox_lost = self._inbox_lost, 0
        try:
            told = self._documents.of(events)
        except Exception:
            self._fail()
            told, lost = [], lost + len(events)
        if told or lost:
            self._feed.tell(told, lost)

    def _take_seconds(self) -> None:
        if self._feed.take_seconds() and (gone := self._documents.gone()):
            self._feed.tell(gone)

    def _catch_up(self) -> None:
        if self._hungry:
            follower = self._hungry.popleft()
            if follower.outflow in self._followers and not follower.is_live:
                self._feed.catch_up(follower)
        if self._hungry:
            self._wake.set()  # but first what is new

    def _fail(self) -> None:
        self._errors += 1
        if self._errors <= ERRORS_LOGGED:
            log.exception("a part of the streams' turn failed; the next turn goes on")

    def _beat(self) -> None:
        if steady_ns() - self._beat_ns >= ALIVE_SECONDS * SECOND_NS:
            self._beat_ns = steady_ns()
            self._feed.beat()

    def _seconds_to_beat(self) -> float | None:
        if not self._followers:
            return None
        return max(0.0, ALIVE_SECONDS - (steady_ns() - self._beat_ns) / SECOND_NS)

    def _post(self, batch: Sequence[tuple[Outflow, Frame]], second: int) -> None:
        self._in_loop(partial(self._put, batch, second))

    def _in_loop(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(call)

    # ---- what it says of itself

    def counters(self) -> dict[str, float]:
        """Streams open and different ones among them; frames, gaps, cells; how long after its end the last second was
        in the queues."""
        return {
            "open": len(self._outflows),
            "different": len({follower.wanted for follower in list(self._followers.values())}),
            "refused": self._counts["refused"],
            "frames_sent": self._counts["frames_sent"],
            "frames_dropped": self._counts["frames_dropped"],
            "gaps": self._counts["gaps"] + self._feed.counts["gaps"],
            "cells_encoded": self._table.encoded,
            "cells_left_out": self._table.left_out,
            "events": self._feed.ring.sequence,
            "errors": self._errors + self._feed.counts["errors"],
            "lag_ms": self._lag_ns / 1e6,
        }

    def problems(self) -> list[str]:
        """That streams lag, when they do."""
        if not self._feed.live:
            return []
        behind = self._store.sealed_second - self._feed.second
        lag = max(self._lag_ns / SECOND_NS, float(behind))
        return [f"live streams are {lag:.0f} s late"] if lag > LAG_SECONDS_MAX else []

"""The tick's thread: each second it follows the wall clock, runs the tick, and publishes what is new.

Made by the engine when the kernels are there; with a ManualClock nobody runs it and the engine calls `once`.
Threads: one runs `run` until its wake is set; `once` is never called by two.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from hms_ops._ring import InProcess
from hms_ops.clock import SECOND_NS, Clock, WallAnchor, steady_ns
from hms_ops.collector.listener import Listener
from hms_ops.duty import Duty
from hms_ops.publisher import Publisher
from hms_ops.tick import Tick

log = logging.getLogger("hms_ops.engine")

WALL_STEP_NS: Final = 2 * SECOND_NS  # a wall clock further away has been set; below, an hour of windows is worth more
FORGET_TICKS: Final = 600


class Ticker:
    """What runs `tick` once a second. cost_ms: of the last run, publishing included. tell: called after each run with
    the last sealed second; it sets an event or the like, for every tick waits for it."""

    def __init__(
        self,
        tick: Tick,
        clock: Clock,
        duty: Duty,
        publisher: Publisher,
        in_process: InProcess,
        listeners: Callable[[], Sequence[Listener]],
        tell: Callable[[int], None] = lambda second: None,
    ) -> None:
        self.tick = tick
        self.cost_ms = 0.0
        self._clock = clock
        self._duty = duty
        self._publisher = publisher
        self._in_process = in_process
        self._listeners = listeners
        self._tell = tell

    def run(self, wake: threading.Event) -> None:
        """Until `wake` is set."""
        while True:
            next_ns = (self._clock.now_ns() // SECOND_NS + 1) * SECOND_NS
            if self._clock.sleep_until_ns(next_ns, wake):
                return
            self.once()

    def once(self) -> None:
        """One run, now."""
        begun_ns = steady_ns()
        self.tick.part("wall clock", self._follow_wall_clock)
        now_ns = self._clock.now_ns()
        self.tick.run(now_ns)
        self.tick.part("publish", lambda: self._publish(now_ns))
        for listener in self._listeners():
            listener.kernel_drops()
        if self.tick.count % FORGET_TICKS == 0:
            self._in_process.forget()
            self._publisher.forget()
        self.cost_ms = (steady_ns() - begun_ns) / 1e6
        # Last and not in the cost: who is woken by it may take the GIL at once.
        self.tick.part("tell", lambda: self._tell(self.tick.store.sealed_second))

    def _publish(self, now_ns: int) -> None:
        self._publisher.publish(now_ns, self._duty.reserved, self._duty.book.firing())

    def _follow_wall_clock(self) -> None:
        clock, tick = self._clock, self.tick
        if not isinstance(clock, WallAnchor) or abs(clock.step_ns()) < WALL_STEP_NS:
            return
        tick.run(clock.now_ns())
        tick.roll_open_step()
        step_ns = 0

        def reanchor() -> int:
            nonlocal step_ns
            before = tick.store.sealed_second
            step_ns = clock.reanchor()
            tick.store.reanchor(clock.offset_ns)
            return int(tick.store.sealed_second - before)

        self._duty.move_clocks(reanchor)
        tick.recorder.begin_anew()
        log.warning("the wall clock was set by %.3f s; time is anchored to it again", step_ns / SECOND_NS)

"""One run of the pipeline, once a second: seal, merge, roll, judge.

    seal(closed) ─► SLOs ─► late samples ─► 10-s and 1-min steps ─► rules and detectors ─► gauges, idle series
                                        └─► recorder (history)

The engine's tick thread calls `Tick.run(now_ns)`; a late call catches up on all seconds that closed meanwhile, at most
60 behind, beyond which the store counts `seconds_lost`. Importing this module imports the kernels, so the engine does
it when its listeners receive already. What each part costs is kept in `costs_ns`; a part that fails is logged, counted
and costs the other parts nothing.
"""

import logging
from collections.abc import Callable
from typing import Final

from hms_ops._ring import Store
from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.duty import Duty
from hms_ops.kernels.rollup import rollup_step
from hms_ops.recorder import Recorder
from hms_ops.storage.tier import TEN_SECONDS
from hms_ops.tiers import SLOTS, TIER_SECONDS

log = logging.getLogger("hms_ops.tick")

KEPT_SECONDS: Final = 60
IDLE_SECONDS: Final = 65 * 60
IDLE_SWEEP_SECONDS: Final = 60  # every slot is looked at once in this time
AHEAD_SECONDS: Final = 2
ERRORS_LOGGED: Final = 100
COUNT: Final = 0


class Tick:
    """What happens each second to one store."""

    def __init__(self, store: Store, recorder: Recorder, duty: Duty) -> None:
        self.store = store
        self.recorder = recorder
        self.duty = duty
        self.count = self.late = self.errors = 0
        self.steps_lost = 0
        self.costs_ns: dict[str, int] = {}
        self._sweep_at = 0

    def run(self, now_ns: int) -> None:
        """Everything that is due at `now_ns`; nothing when no second has closed since the last run."""
        closed = now_ns // SECOND_NS - 1
        behind = closed - self.store.sealed_second
        if behind <= 0:
            return
        self.count += 1
        self.late += behind > 1
        self.part("seal", lambda: self.store.seal(closed))
        self.part("objectives", lambda: self.duty.objectives.publish(closed))  # into the second they are of
        self.part("late", self._merge_late)
        self.part("roll", lambda: self._roll(closed + 1))
        self.part("judge", lambda: self.duty.judge(closed + 1))
        self.part("prepare", lambda: self._prepare(closed))

    def close(self, now_ns: int) -> None:
        """At a stop: the open second and the open 10-s step go to history too, as far as they have come, with the late
        samples that waited for the next run; what is stamped for a time to come is counted as lost."""
        self.run(now_ns)
        self.part("seal", lambda: self.store.seal(now_ns // SECOND_NS))
        self.part("late", self._merge_late)
        self.part("lost", self.store.drop_late)
        self.part("roll", self.roll_open_step)

    def part(self, name: str, work: Callable[[], None]) -> None:
        """Do one part and note what it costs. One that fails is logged by its first ERRORS_LOGGED, and counted."""
        begun = steady_ns()
        try:
            work()
        except Exception:
            self.errors += 1
            if self.errors <= ERRORS_LOGGED:
                log.exception("the tick's part %r failed; the others go on", name)
        self.costs_ns[name] = steady_ns() - begun

    def counters(self) -> dict[str, float]:
        """How often it ran, was late or failed in a part, and what each part cost when it ran last."""
        costs = {f"{name.replace(' ', '_')}_ms": cost / 1e6 for name, cost in self.costs_ns.items()}
        counts = {"count": self.count, "late": self.late, "errors": self.errors, "steps_lost": self.steps_lost}
        return {**counts, **costs}

    def _merge_late(self) -> None:
        late = self.store.merge_late()
        if late is not None:
            self.recorder.patch(late)

    def _roll(self, end: int) -> None:
        """Close the 10-s and then the 1-min steps that end at `end` or before."""
        for tier in (1, 2):
            seconds = TIER_SECONDS[tier]
            due = self.store.rolled_end(tier) // seconds
            first = max(due, end // seconds - SLOTS)
            if tier == 1:
                self.steps_lost += first - due
            for step in range(first, end // seconds):
                self._roll_step(tier, step)
                self.recorder.take(tier - 1, step * seconds)

    def _roll_step(self, tier: int, step: int) -> None:
        n = self.store.series_count
        rollup_step(self.store.cols, tier, step, n)
        if not self._was_kept(tier, step):
            self.store.cols[tier, COUNT, step % SLOTS, :n] = 0.0
            self.steps_lost += tier == 1
        self.store.set_rolled(tier, step)

    def _was_kept(self, tier: int, step: int) -> bool:
        """Whether all finer rows of a step were still its own while they were rolled up. After a stall the oldest of
        them share their place with younger ones: such a step is empty, not wrong."""
        if tier == 1:
            overwritten = self.store.now_ns() // SECOND_NS - SLOTS  # by a listener in the second that is open now
            return step * TIER_SECONDS[1] > max(self.store.sealed_second - KEPT_SECONDS, overwritten)
        return step * TIER_SECONDS[2] >= self.store.rolled_end(1) - SLOTS * TIER_SECONDS[1]

    def roll_open_step(self) -> None:
        """The open 10-s step goes to history as far as it has come; a restart adds the rest as a part."""
        step = self.store.rolled_end(1) // TIER_SECONDS[1]
        # Its seconds to come still hold those of a minute ago, which share their slots.
        self.store.clear_ahead((step + 1) * TIER_SECONDS[1])
        rollup_step(self.store.cols, 1, step, self.store.series_count)
        self.recorder.take(TEN_SECONDS, step * TIER_SECONDS[1])

    def _prepare(self, closed: int) -> None:
        self.store.clear_ahead(closed + 1 + AHEAD_SECONDS)
        share = self.store.series_count // IDLE_SWEEP_SECONDS + 1
        self.store.release_idle(self._sweep_at, share, closed - IDLE_SECONDS)
        self._sweep_at += share
        if self._sweep_at >= self.store.series_count:
            self._sweep_at = 0

"""Rules judged: the plans of those in force, evaluated over the sealed seconds, windows beyond memory included.

    Rulebook.plans ─replace─► RuleSet ─evaluate(end)─► Evaluation ─► Book (duty.py)
                                 └── LongView, which reads history beside the tick

Until `warm` there is nothing to judge with: no kernel is imported, so that the engine receives before numba is there.
Threads: `evaluate` is the tick's; all but `start` and `stop` are called under the duty's lock.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hms_ops._ring import Store
from hms_ops.clock import Clock, ManualClock
from hms_ops.past import Past
from hms_ops.reloaded import Reloaded
from hms_ops.threads import StartThread

if TYPE_CHECKING:
    from hms_ops.alert.evaluate import Evaluation, RuleSet
    from hms_ops.alert.plan import Plan
    from hms_ops.longview import LongView

FAILED_TICKS: Final = 3  # a rule that could not be evaluated so often in a row is worth an alert


class Judging:
    """rule_set, long_view: None until `warm`."""

    def __init__(self, store: Store, past: Past, clock: Clock) -> None:
        self.rule_set: RuleSet | None = None
        self.long_view: LongView | None = None
        self._store = store
        self._past = past
        self._is_manual = isinstance(clock, ManualClock)
        self._failing: dict[str, int] = {}  # rules that cannot be evaluated: for how many ticks

    @property
    def is_warm(self) -> bool:
        return self.rule_set is not None

    def warm(self, plans: "Mapping[str, Plan]") -> None:
        """Import and so compile the kernels, and look at everything once."""
        from hms_ops.alert.evaluate import RuleSet
        from hms_ops.longview import LongView

        self.long_view = LongView(self._past, self._store)
        self.rule_set = RuleSet(self._store, recall=self.long_view)
        self.rule_set.replace(plans)
        self.rule_set.evaluate()

    def replace(self, plans: "Mapping[str, Plan]") -> None:
        """The rules in force are these from now on."""
        if self.rule_set is not None:
            self.rule_set.replace(plans)

    def take_reloaded(self, reloaded: Reloaded) -> None:
        """What was put back into the store's columns: windows are whole that much sooner."""
        assert self.rule_set is not None
        self.rule_set.reloaded = reloaded

    def evaluate(self, end: int) -> "Evaluation":
        """What the rules come to with the seconds before `end`."""
        assert self.rule_set is not None
        assert self.long_view is not None
        if self._is_manual:
            self.long_view.refresh(end)  # such a clock runs faster than a thread
        found = self.rule_set.evaluate(end)
        if found.problems or self._failing:
            self._failing = {name: self._failing.get(name, 0) + 1 for name in found.problems}
        return found

    @property
    def failing_count(self) -> int:
        """Rules that could not be evaluated FAILED_TICKS times in a row, or more."""
        return sum(ticks >= FAILED_TICKS for ticks in self._failing.values())

    @property
    def refused_instances(self) -> int:
        """Of the rules that are too much now."""
        return self.rule_set.refused_instances if self.rule_set is not None else 0

    def problems(self) -> list[str]:
        """Rules that cannot be evaluated now, and why."""
        found = self.rule_set.problems if self.rule_set is not None else {}
        return [f"rule {name} is not evaluated: {why}" for name, why in found.items()]

    def suspects(self) -> tuple[dict[str, str], set[str]]:
        """(rules that cannot be evaluated and why, the names of rules that read something no series matches now)."""
        return (dict(self.rule_set.problems), self.rule_set.unread()) if self.rule_set is not None else ({}, set())

    def history_problems(self) -> list[str]:
        """Why windows beyond memory are not read, when they are not."""
        return self.long_view.problems() if self.long_view is not None else []

    def history_counters(self) -> dict[str, int]:
        return self.long_view.counters() if self.long_view is not None else {}

    def start(self, start_thread: StartThread) -> None:
        if self.long_view is not None and not self._is_manual:
            start_thread("hms-longview", self.long_view.run)

    def stop(self) -> None:
        if self.long_view is not None:
            self.long_view.stop()

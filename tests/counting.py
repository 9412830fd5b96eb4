"""A recording whose tick publishes SLOs, and the plain count of what it was given."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.recording import SECOND_NS, Recording

from hms_ops.alert.rule import describe
from hms_ops.alert.slo import Slo, slo_from_keys
from hms_ops.objectives import Objectives


def slo_of(given: Mapping[str, Any], source: str) -> Slo:
    made, problems = slo_from_keys(given, source)
    assert made is not None, "; ".join(map(describe, problems))
    return made


def slo(name: str = "latency", objective: float = 99.0, good: str = "api_ms <= 200", **keys: Any) -> Slo:
    return slo_of({"slo": name, "objective": objective, "good": good, **keys}, "rules.yaml:3")


@dataclass
class Counting(Recording):
    """Recording, with objectives that were opened before the first tick; `slos` are in force from the beginning."""

    slos: Sequence[Slo] = field(default_factory=lambda: [slo()])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.objectives = Objectives(self.store)
        self.objectives.replace(self.slos)
        self.objectives.open(self.past)

    def advance(self, seconds: int) -> None:
        """As the engine's tick: counts are published between the seal and the late samples."""
        for _ in range(seconds):
            self.now += 1
            self.store.set_now_ns(self.now * SECOND_NS)
            self.store.clear_ahead(self.now + 2)
            self.store.seal(self.now - 1)
            self.objectives.publish(self.now - 1)
            if (late := self.store.merge_late()) is not None:
                self.recorder.patch(late)
            self._roll()

    def sums(self, name: str, step: int = 10, tags: dict[str, str] | None = None) -> dict[int, float]:
        """The sum of a published counter by step, steps of 0 left out."""
        start, end = self.first - 7200, self.now - self.now % 3600 + 3600
        rows = self.past.read(name, tags, start - start % 3600, end, step)
        by_step = zip((rows["time"] // SECOND_NS).tolist(), rows["sum"].tolist(), strict=True)
        return {at: total for at, total in by_step if total}

    def expected(self, metric: str, is_good: Callable[[float], bool], step: int = 10) -> dict[int, float]:
        """The weight of the good samples by step, from the samples themselves: what was sent in the first second of a
        run is not counted, but what came late for it is."""
        found: dict[int, float] = defaultdict(float)
        for second, name, _, _, value, weight in self.given:
            if name == metric and is_good(value):
                found[second - second % step] += weight
        return {at: total for at, total in sorted(found.items()) if total}

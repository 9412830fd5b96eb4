"""A store with a recorder that a test moves second by second, as the tick does, and the samples it was given."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from hms_ops._ring import Store
from hms_ops.kernels.rollup import rollup_step
from hms_ops.past import Past
from hms_ops.recorder import Recorder
from hms_ops.sealer import Sealer
from hms_ops.storage.history import HistoryConfig
from hms_ops.storage.store import open_storage

SECOND_NS = 1_000_000_000
FIRST = 1_699_984_803  # three seconds into a step, a minute and a partition of history

Sample = tuple[int, str, str, str, float, float]  # second, metric, tags "a:1,b:2", kind "c|g|ms", value, weight


@dataclass
class Recording:
    """`is_written`: each step goes to disk as soon as it was taken; else only when `write` is called."""

    data_dir: Path | None = None
    first: int = FIRST
    is_written: bool = True
    bytes_max: int = 1 << 30
    given: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(100, now_ns=self.first * SECOND_NS)
        config = HistoryConfig(bytes_max=self.bytes_max)
        self.storage = None if self.data_dir is None else open_storage(self.data_dir, config)
        self.recorder = Recorder(self.store)
        if self.storage is not None:
            self.recorder.open(self.storage)
        self.sealer = Sealer(self.store.now_ns)
        self.sealer.history = self.storage.history if self.storage is not None else None
        self.past = Past(self.recorder)
        self.now = self.first

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(
        self, metric: str, value: float, kind: str = "g", tags: str = "", weight: float = 1.0, ago: int = 0
    ) -> None:
        """One sample now, or stamped `ago` seconds before."""
        line = f"{metric}:{value!r}|{kind}"
        line += f"|@{1 / weight!r}" if weight != 1.0 else ""
        line += f"|#{tags}" if tags else ""
        line += f"|T{self.now - ago}" if ago else ""
        assert self.store.ingest(line.encode()) == 1, line
        self.given.append((self.now - ago, metric, tags, kind, value, weight))

    def play(self, samples: Iterable[Sample], end: int) -> None:
        """Give each sample in its second, up to second `end`."""
        by_second: dict[int, list[Sample]] = {}
        for sample in samples:
            by_second.setdefault(sample[0], []).append(sample)
        while self.now < end:
            for _, metric, tags, kind, value, weight in by_second.get(self.now, ()):
                self.add(metric, value, kind, tags, weight)
            self.advance(1)

    def advance(self, seconds: int) -> None:
        """Let time pass: each second is sealed, steps close, the writer writes."""
        for _ in range(seconds):
            self.now += 1
            self.store.set_now_ns(self.now * SECOND_NS)
            self.store.clear_ahead(self.now + 2)
            self.store.seal(self.now - 1)
            if (late := self.store.merge_late()) is not None:
                self.recorder.patch(late)
            self._roll()

    def _roll(self) -> None:
        for tier, seconds in ((1, 10), (2, 60)):
            for step in range(self.store.rolled_end(tier) // seconds, self.now // seconds):
                rollup_step(self.store.cols, tier, step, self.store.series_count)
                self.store.set_rolled(tier, step)
                self.recorder.take(tier - 1, step * seconds)
                if self.is_written and self.storage is not None:
                    assert self.recorder.write_waiting()

    def close(self) -> None:
        """Stop as the engine does: the open step goes to disk as far as it has come."""
        if self.storage is None:
            return
        step = self.store.rolled_end(1) // 10
        self.store.clear_ahead(step * 10 + 10)
        rollup_step(self.store.cols, 1, step, self.store.series_count)
        self.recorder.take(0, step * 10)
        self.recorder.stop()
        self.recorder.run()
        self.storage.close()
        self.storage = None


def counted(past: Past, metric: str, start: int, end: int, step: int = 10) -> dict[int, float]:
    """Count of samples by step, of all series of a metric."""
    rows = past.read(metric, None, start, end, step)
    return dict(zip((rows["time"] // SECOND_NS).tolist(), rows["count"].tolist(), strict=True))


def expected_counts(given: Iterable[Sample], metric: str, start: int, end: int, step: int = 10) -> dict[int, float]:
    """The same from the samples themselves."""
    counts: dict[int, float] = {}
    for second, name, _, _, _, weight in given:
        if name == metric and start <= second < end:
            counts[second - second % step] = counts.get(second - second % step, 0.0) + weight
    return {at: counts[at] for at in sorted(counts)}


def random_samples(rng: np.random.Generator, seconds: int, first: int = FIRST) -> list[Sample]:
    """Samples of a counter, a gauge and a timer under tags, some series busy, some nearly silent."""
    samples: list[Sample] = []
    for metric, kind in (("hits", "c"), ("depth", "g"), ("api_ms", "ms")):
        for tags in ("agency:irs,zone:a", "agency:irs,zone:b", "agency:ssa", ""):
            for _ in range(int(rng.choice([0, 1, 4, 30]))):
                weight = 1.0 if kind == "g" else float(rng.choice([1.0, 4.0]))
                low = 0 if kind == "g" else -20  # StatsD: a signed gauge is a change
                value = float(rng.integers(low, 50)) / 4
                samples.append((int(first + rng.integers(0, seconds)), metric, tags, kind, value, weight))
    return sorted(samples)

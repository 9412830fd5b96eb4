"""The store in plain Python: what a datagram does to kinds, cells, rings and the ledger.

A twin of _intern and _append without caps: dicts of lists, fed by the decoders' twin, on a clock that the caller moves.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from tests.reference.decode import GAUGE, MAGNITUDE_MAX, SET, Bad, Decoded, Sample, canonical, decode

SECOND_NS = 1_000_000_000
TIMINGS = (3, 4, 5)
LATE_SECONDS_MAX, AHEAD_SECONDS_MAX = 3600, 600

Key = tuple[bytes, tuple[tuple[bytes, bytes], ...]]


@dataclass
class Cell:
    """One second of one series: its samples as (value, weight), in the order they came."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def count(self) -> float:
        return sum((weight for _, weight in self.samples), 0.0)

    @property
    def sum(self) -> float:
        return sum((value * weight for value, weight in self.samples), 0.0)

    @property
    def m2(self) -> float:
        mean = math.fsum(v * w for v, w in self.samples) / math.fsum(w for _, w in self.samples)
        return math.fsum(w * (v - mean) * (v - mean) for v, w in self.samples)

    @property
    def min(self) -> float:
        return min(value for value, _ in self.samples)

    @property
    def max(self) -> float:
        return max(value for value, _ in self.samples)

    @property
    def last(self) -> float:
        return self.samples[-1][0]


@dataclass
class Series:
    last: float | None = None
    cells: dict[int, Cell] = field(default_factory=dict)
    members: dict[int, set[bytes]] = field(default_factory=dict)
    ring: list[tuple[int, float]] = field(default_factory=list)
    late: list[tuple[int, float, float]] = field(default_factory=list)
    timed: list[tuple[float, float]] = field(default_factory=list)  # value, weight of those that percentiles are of


@dataclass
class Tally:
    received: int = 0
    accepted: int = 0
    rejected: int = 0
    samples: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)


class StoreTwin:
    """`feed` one datagram after the other; `series` and `tally` say what became of them."""

    def __init__(self, signs_are_deltas: bool = True) -> None:
        self.signs_are_deltas = signs_are_deltas
        self.kinds: dict[bytes, tuple[int, bool]] = {}  # name → kind, provisional
        self.series: dict[Key, Series] = {}
        self.tally = Tally()

    def feed(self, data: bytes, now_ns: int) -> Decoded:
        found = decode(data, self.signs_are_deltas)
        self.tally.received += 1
        self.tally.rejected += found.is_rejected
        self.tally.accepted += not found.is_rejected
        self.tally.bad += found.bad
        self.tally.ignored += found.ignored
        for sample in found.samples:
            try:
                self.append(sample, now_ns)
            except Bad as bad:
                self.tally.bad[str(bad)] += 1
            else:
                self.tally.samples += 1
        return found

    def append(self, sample: Sample, now_ns: int) -> None:
        tags = canonical(sample)
        if sample.name.startswith(b"__overflow__"):
            raise Bad("name_reserved")
        series = self.series.setdefault((sample.name, tuple(sorted(tags.items()))), Series())
        kind = self.settle(sample)
        now = now_ns // SECOND_NS
        if kind == SET:
            stamp_ns(sample, now)
            member = sample.member if sample.member is not None else b"%.17g" % sample.value
            series.members.setdefault(now, set()).add(member)
            return
        value, weight = sample.value, 1.0 if kind == GAUGE else sample.weight
        if sample.is_delta and sample.time is not None and int(sample.time) != now:
            raise Bad("time")
        if sample.is_delta and series.last is not None:
            value += series.last
        if abs(value) > MAGNITUDE_MAX or abs(value) * weight > MAGNITUDE_MAX:
            raise Bad("magnitude")
        time_ns = stamp_ns(sample, now)
        if time_ns and time_ns // SECOND_NS != now:
            series.late.append((time_ns // SECOND_NS, value, weight))
            series.ring.append((time_ns, value))
            return
        series.last = value
        series.cells.setdefault(now, Cell()).samples.append((value, weight))
        series.ring.append((time_ns or now_ns, value))
        if kind in TIMINGS:
            series.timed.append((value, weight))

    def settle(self, sample: Sample) -> int:
        """The metric's kind, which this sample may be the first to name."""
        inferred = 3 if sample.name.endswith(b"_ms") and len(sample.name) > 3 else GAUGE
        kind, provisional = self.kinds.setdefault(sample.name, (sample.kind or inferred, not sample.kind))
        if sample.kind and provisional:
            kind, provisional = sample.kind, False
            self.kinds[sample.name] = kind, provisional
        if sample.kind not in (0, kind) and not (kind in TIMINGS and sample.kind in TIMINGS):
            raise Bad("kind_conflict")
        return kind


def stamp_ns(sample: Sample, now: int) -> int:
    """The sample's own time, 0 without one; Bad when it is out of reach."""
    if sample.time is None:
        return 0
    whole = int(sample.time)
    time_ns = whole * SECOND_NS + int((sample.time - whole) * 1e9) or 1
    second = time_ns // SECOND_NS
    if second < now - LATE_SECONDS_MAX:
        raise Bad("time_too_old")
    if second > now + AHEAD_SECONDS_MAX:
        raise Bad("time_too_far_ahead")
    return time_ns

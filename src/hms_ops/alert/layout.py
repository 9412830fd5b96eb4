"""All rules laid out as the flat arrays that two kernels read in a tick: `window_groups`, then `run_programs`.

Work is shared as far as rules agree: a window is folded once per series however many rules read it, a source's groups
over one window are pooled once, and `reference` leads each reading of each instance to its group.

    windows    60 s | 300 s                     seconds; `member`: the union of the slots read over each
    groups     source A over 60 s | A over 300 s | B over 60 s …      group_member → places in `member`
    reference  rule 0 reading 0: A's groups | rule 1 reading 0: A's | rule 1 reading 1: B's, -1 where missing
    instances  rule 0 | rule 1 | …              `instance_offset`

Built by `evaluate.py` when series or rules changed, then read only. Cost: about 2 µs a rule and 3 ns a member.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.plan import Plan
from hms_ops.alert.source import GroupKey, Source
from hms_ops.kernels import opcodes as op
from hms_ops.kernels import window

Scalar = TypeVar("Scalar", bound=np.generic)

_ALL = np.zeros(1, np.int32)  # the only group of a reading without GROUP BY

_FIELDS = {
    op.LOAD_AVG: (window.SUM,),
    op.LOAD_SUM: (window.SUM,),
    op.LOAD_INCREASE: (window.SUM,),
    op.LOAD_MIN: (window.MIN,),
    op.LOAD_MAX: (window.MAX,),
    op.LOAD_STDDEV: (window.SUM, window.M2),
    op.LOAD_LAST: (window.LAST,),
    op.LOAD_DELTA: (window.DELTA,),
}
_RATE_FIELDS = {kinds.COUNTER: (window.SUM,), kinds.GAUGE: (window.DELTA,), kinds.UNKNOWN: (window.DELTA,)}


@dataclass(slots=True)
class BoundRule:
    """A plan with the sources of its readings and its instances.

    groups: for each reading, int32[instances], the number of the source's group or -1. problem: why it can't be
    evaluated, as "a set has no avg"; such a rule has no instances in the layout.
    """

    name: str
    plan: Plan
    sources: list[Source]
    keys: list[GroupKey] = field(default_factory=list)
    groups: list[NDArray[np.int32]] = field(default_factory=list)
    problem: str = ""

    def join(self) -> None:
        """Find the instances: all groups of all readings, matched by their tags; one instance without GROUP BY."""
        if not self.plan.group_by:
            self.keys, self.groups = [()], [_ALL] * len(self.sources)
            return
        self.keys = self.sources[0].keys if self.sources else []
        if any(source.keys is not self.keys and source.keys != self.keys for source in self.sources):
            self.keys = list(dict.fromkeys(key for source in self.sources for key in source.keys))
        self.groups = [_groups_of(source, self.keys) for source in self.sources]


def _groups_of(source: Source, keys: list[GroupKey]) -> NDArray[np.int32]:
    if source.keys is keys or source.keys == keys:
        return np.arange(len(keys), dtype=np.int32)
    number = {key: n for n, key in enumerate(source.keys)}
    return np.array([number.get(key, -1) for key in keys], np.int32)


@dataclass(frozen=True, slots=True)
class Windows:
    """What `window_groups` reads, apart from the store and the rows of the moment."""

    seconds: tuple[int, ...]
    field_mask: NDArray[np.int64]
    member: NDArray[np.int32]
    member_offset: NDArray[np.int64]
    group_member: NDArray[np.int32]
    group_offset: NDArray[np.int64]
    group_window: NDArray[np.int64]
    group_kind: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Programs:
    """What `run_programs` reads, apart from the statistics."""

    reference: NDArray[np.int32]
    code: NDArray[np.int8]
    operand: NDArray[np.int32]
    constant: NDArray[np.float64]
    program_offset: NDArray[np.int32]
    instance_offset: NDArray[np.int32]

    @property
    def instance_count(self) -> int:
        return int(self.instance_offset[-1])


def arrange(rules: Sequence[BoundRule], capacity: int) -> tuple[Windows, Programs]:
    """Lay out rules that have no problem. capacity: the number of series slots the store has."""
    slices = _Slices(rules)
    return slices.windows(capacity), _programs(rules, slices.base)


def _programs(rules: Sequence[BoundRule], group_base: Mapping[tuple[int, int], int]) -> Programs:
    reference: list[NDArray[np.int32]] = []
    operand: list[NDArray[np.int32]] = []
    at = 0
    for rule in rules:
        starts = np.zeros(max(1, len(rule.sources)), np.int32)
        for n, (source, reading) in enumerate(zip(rule.sources, rule.plan.readings, strict=True)):
            base = np.int32(group_base[id(source), reading.window_seconds])
            reference.append(np.where(rule.groups[n] < 0, np.int32(-1), rule.groups[n] + base))
            starts[n] = at
            at += len(rule.keys)
        operand.append(starts[rule.plan.operand])
    return Programs(
        reference=_joined(reference, np.int32),
        code=_joined((rule.plan.code for rule in rules), np.int8),
        operand=_joined(operand, np.int32),
        constant=_joined((rule.plan.constant for rule in rules), np.float64),
        program_offset=_offsets((len(rule.plan.code) for rule in rules), np.int32),
        instance_offset=_offsets((len(rule.keys) for rule in rules), np.int32),
    )


class _Slices:
    """The distinct (source, window) pairs that rules read, window by window, and where each one's groups begin."""

    def __init__(self, rules: Iterable[BoundRule]) -> None:
        loads: dict[int, dict[int, set[int]]] = {}
        self.sources: dict[int, Source] = {}
        for rule in rules:
            for source, reading in zip(rule.sources, rule.plan.readings, strict=True):
                self.sources[id(source)] = source
                loads.setdefault(reading.window_seconds, {}).setdefault(id(source), set()).update(reading.loads)
        self.loads = dict(sorted(loads.items()))
        self.base: dict[tuple[int, int], int] = {}
        self.group_count = 0
        for seconds, sources in self.loads.items():
            for source_id in sources:
                self.base[source_id, seconds] = self.group_count
                self.group_count += len(self.sources[source_id].keys)

    def windows(self, capacity: int) -> Windows:
        """All windows with their members and groups."""
        members: list[NDArray[np.int32]] = []
        places: list[NDArray[np.int32]] = []
        counts: list[NDArray[np.int64]] = []
        windows: list[NDArray[np.int64]] = []
        kind_numbers: list[NDArray[np.int8]] = []
        masks: list[int] = []
        start = 0
        for number, (_, loads) in enumerate(self.loads.items()):
            sources = [self.sources[source_id] for source_id in loads]
            member, place = _union(sources, capacity)
            members.append(member)
            places += [place[source.member] + start for source in sources]
            counts += [np.diff(source.offset) for source in sources]
            windows += [np.full(len(source.keys), number, np.int64) for source in sources]
            kind_numbers += [np.full(len(source.keys), source.kind, np.int8) for source in sources]
            masks.append(_mask((opcode, source.kind) for source in sources for opcode in loads[id(source)]))
            start += len(member)
        return Windows(
            seconds=tuple(self.loads),
            field_mask=np.array(masks, np.int64),
            member=_joined(members, np.int32),
            member_offset=_offsets(map(len, members), np.int64),
            group_member=_joined(places, np.int32),
            group_offset=_offsets(_joined(counts, np.int64), np.int64),
            group_window=_joined(windows, np.int64),
            group_kind=_joined(kind_numbers, np.int8),
        )


def _union(sources: Sequence[Source], capacity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The slots that any of the sources reads, ascending, and the place of each slot among them (int32[capacity])."""
    is_read = np.zeros(capacity, np.bool_)
    for source in sources:
        is_read[source.member] = True
    return np.flatnonzero(is_read).astype(np.int32), (np.cumsum(is_read) - 1).astype(np.int32)


def _mask(loads: Iterable[tuple[int, int]]) -> int:
    """The statistics that instructions need of a metric's kind, as kernels.window wants to be asked."""
    mask = 0
    for opcode, kind in loads:
        fields = _RATE_FIELDS.get(kind, ()) if opcode == op.LOAD_RATE else _FIELDS.get(opcode, ())
        for statistic in fields:
            mask |= 1 << statistic
    return mask


def _joined(parts: Iterable[NDArray[Scalar]], dtype: type[Scalar]) -> NDArray[Scalar]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _offsets(counts: Iterable[int], dtype: type[Scalar]) -> NDArray[Scalar]:
    """0 and the running sums."""
    numbers = counts if isinstance(counts, np.ndarray) else np.fromiter(counts, np.int64)
    return np.concatenate(([0], np.cumsum(numbers))).astype(dtype)

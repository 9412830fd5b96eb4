"""All rules laid out as the flat arrays that two kernels read in a tick: `window_groups`, then `run_programs`.

Work is shared as far as rules agree: a window is folded once per series however many rules read it, a source's groups
over one window are pooled once, and `reference` leads each reading of each instance to its group.

    windows    60 s | 300 s                     seconds; `member`: the union of the slots read over each
    groups     source A over 60 s | A over 300 s | B over 60 s …      group_member → places in `member`
    reference  rule 0 reading 0: A's groups | rule 1 reading 0: A's | rule 1 reading 1: B's, -1 where missing
    instances  rule 0 | rule 1 | …              `instance_offset`

An `Arrangement` holds what depends on the rules alone; `windows` and `programs` make the arrays for the series of the
moment, when they changed. All three are read only afterwards. Cost of a change: a pass over the members (3 ns each),
the instances and the readings (0.5 µs each).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.figure import Figure, figure_problem
from hms_ops.alert.language.functions import FUNCTIONS
from hms_ops.alert.plan import Plan, Reading
from hms_ops.alert.sketched import FigureGroups
from hms_ops.alert.source import GroupKey, Groups, Source, ViewGroups
from hms_ops.kernels import opcodes as op
from hms_ops.kernels import window
from hms_ops.kernels.layout import place_members

Scalar = TypeVar("Scalar", bound=np.generic)

InstanceKey: TypeAlias = tuple[str, GroupKey]  # a rule's name and the tags of a group

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
    op.LOAD_FIGURE: (window.MIN, window.MAX),
}
_LOAD_NAMES: Final = {function.opcode: name for name, function in reversed(FUNCTIONS.items())}
_NUMERIC_KINDS: Final = (kinds.COUNTER, kinds.GAUGE, kinds.TIMER, kinds.HISTOGRAM, kinds.DISTRIBUTION)
_LOAD_KINDS: Final = {
    op.LOAD_INCREASE: (kinds.COUNTER,),
    op.LOAD_DELTA: (kinds.GAUGE,),
    op.LOAD_COUNT: (*_NUMERIC_KINDS, kinds.SET),
    op.LOAD_ABSENT: (*_NUMERIC_KINDS, kinds.SET),
}
_RATE_FIELDS = {kinds.COUNTER: (window.SUM,), kinds.GAUGE: (window.DELTA,), kinds.UNKNOWN: (window.DELTA,)}


Length: TypeAlias = tuple[int, bool]
"""A window's seconds, and whether sketches are read over it. 0 s is the window of all views, which has no rows."""


@dataclass(slots=True, eq=False)
class BoundRule:
    """A plan with the sources of its readings and its instances.

    groups: for each reading, int32[instances], the number of the source's group or -1. instances: their names and tags.
    pairs: how many series it reads. problem: why it can't be evaluated on the kinds of its metrics, or "". is_plain: it
    reads windows of columns and nothing else.
    """

    name: str
    plan: Plan
    sources: list[Groups]
    groups: list[NDArray[np.int32]] = field(default_factory=list)
    instances: list[InstanceKey] = field(default_factory=list)
    pairs: int = 0
    problem: str = ""
    is_plain: bool = True

    def __post_init__(self) -> None:
        self.is_plain = all(reading.figure is None and reading.view is None for reading in self.plan.readings)

    def join(self) -> bool:
        """Find the instances: all groups of all readings, matched by their tags; one instance without GROUP BY.

        Returns True when they are others than before.
        """
        self.pairs = sum(len(source.member) for source in self.sources)
        problems = (reading_problem(reading, source) for reading, source in self._readings())
        self.problem = next(filter(None, problems), "")
        keys: list[GroupKey] = [()]
        if self.plan.group_by:
            keys = self.sources[0].keys if self.sources else []
            if any(source.keys != keys for source in self.sources):
                keys = list(dict.fromkeys(key for source in self.sources for key in source.keys))
            self.groups = [_groups_of(source, keys) for source in self.sources]
        else:
            self.groups = [_ALL] * len(self.sources)
        before, self.instances = self.instances, [(self.name, key) for key in keys]
        return before != self.instances

    def _readings(self) -> Iterable[tuple[Reading, Groups]]:
        return zip(self.plan.readings, self.sources, strict=True)


def _groups_of(source: Groups, keys: list[GroupKey]) -> NDArray[np.int32]:
    if source.keys == keys:
        return np.arange(len(keys), dtype=np.int32)
    number = {key: n for n, key in enumerate(source.keys)}
    return np.array([number.get(key, -1) for key in keys], np.int32)


def reading_problem(reading: Reading, source: Groups) -> str:
    """Why what a reading is bound to cannot be read so, or ""."""
    return kind_problem(reading, source.kind) if isinstance(source, Source) else source.problem


def kind_problem(reading: Reading, kind: int) -> str:
    """Why a metric of this kind cannot be read so, or ""."""
    if kind == kinds.UNKNOWN:
        return ""
    if reading.figure is not None:
        return figure_problem(reading.source.metric, kind, reading.figure)
    for opcode in reading.loads:
        allowed = _LOAD_KINDS.get(opcode, _NUMERIC_KINDS)
        if kind not in allowed:
            return f"{reading.source.metric} is a {kinds.NAMES[kind]}, of which there is no {_LOAD_NAMES[opcode]}"
    return ""


@dataclass(frozen=True, slots=True)
class Windows:
    """What `window_groups` reads, apart from the store and the rows of the moment."""

    lengths: tuple[Length, ...]
    field_mask: NDArray[np.int64]
    member: NDArray[np.int32]
    member_offset: NDArray[np.int64]
    group_member: NDArray[np.int32]
    group_offset: NDArray[np.int64]
    group_window: NDArray[np.int64]
    group_kind: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Programs:
    """What `run_programs` reads, apart from the statistics; and which instances have a RECOVER of their own."""

    reference: NDArray[np.int32]
    code: NDArray[np.int8]
    operand: NDArray[np.int32]
    constant: NDArray[np.float64]
    program_offset: NDArray[np.int32]
    instance_offset: NDArray[np.int32]
    has_recover: NDArray[np.bool_]


class Spans(NamedTuple):
    """lengths: see Arrangement.spans; rules, numbers: int64[k], rule by rule the numbers of the lengths it reads."""

    lengths: tuple[tuple[int, bool], ...]
    rules: NDArray[np.int64]
    numbers: NDArray[np.int64]


class SetGroup(NamedTuple):
    """A group whose distinct members the store counts; `window` is the number of its window."""

    group: int
    window: int
    slots: list[int]


class _Slice(NamedTuple):
    """A source over one window, and the LOAD instructions that any rule makes on it; or one figure of it."""

    window: int
    source: Groups
    figure: Figure | None
    loads: set[int]


class Arrangement:
    """The rules that are evaluated together, in this order; none of them has a problem."""

    def __init__(self, rules: Sequence[BoundRule]) -> None:
        self.rules = rules
        plans = [rule.plan for rule in rules]
        self._lengths = tuple(sorted({_length(reading) for plan in plans for reading in plan.readings}))
        self._are_plain = all(rule.is_plain for rule in rules)
        self._slices, self._slice_of_reading = self._find_slices()
        self._window_of_slice = np.array([part.window for part in self._slices], np.int64)
        self._slices_of_window = [list(parts) for _, parts in groupby(self._slices, key=lambda part: part.window)]
        self._readings_of_rule = np.array([len(plan.readings) for plan in plans], np.int64)
        self._code = _joined((plan.code for plan in plans), np.int8)
        self._constant = _joined((plan.constant for plan in plans), np.float64)
        self._program_offset = _offsets((len(plan.code) for plan in plans), np.int32)
        self._is_load = (self._code >= op.LOADS.start) & (self._code < op.LOADS.stop)
        first_reading = np.cumsum(self._readings_of_rule) - self._readings_of_rule
        self._operand = _joined((plan.operand for plan in plans), np.int32) + np.repeat(
            first_reading, np.diff(self._program_offset)
        )
        self._has_recover = np.array([plan.has_recover for plan in plans], np.bool_)
        self._spans = self._find_spans()

    def _find_slices(self) -> tuple[list[_Slice], NDArray[np.int64]]:
        """The distinct slices, window by window, and the number of the slice of each reading."""
        number_of = {length: n for n, length in enumerate(self._lengths)}
        found: dict[tuple[int, int, Figure | None], _Slice] = {}
        asked: list[tuple[int, int, Figure | None]] = []
        for rule in self.rules:
            for reading, source in zip(rule.plan.readings, rule.sources, strict=True):
                key = number_of[_length(reading)], id(source), reading.figure
                found.setdefault(key, _Slice(key[0], source, reading.figure, set())).loads.update(reading.loads)
                asked.append(key)
        ordered = sorted(found, key=lambda key: key[0])
        place = {key: n for n, key in enumerate(ordered)}
        return [found[key] for key in ordered], np.array([place[key] for key in asked], np.int64)

    def _find_spans(self) -> "Spans":
        """What of the past each rule must know. A reading of nothing but `last` needs none: what it finds is the newest
        whatever was before."""
        found: dict[tuple[int, bool], int] = {}
        rules, numbers = [], []
        for place, rule in enumerate(self.rules):
            for reading, source in zip(rule.plan.readings, rule.sources, strict=True):
                if reading.loads == (op.LOAD_LAST,) or reading.view is not None:
                    continue
                is_of_run = reading.figure is not None or source.kind == kinds.SET
                rules.append(place)
                numbers.append(found.setdefault((reading.window_seconds, is_of_run), len(found)))
        return Spans(tuple(found), np.array(rules, np.int64), np.array(numbers, np.int64))

    def whole(self, is_known: Sequence[bool], unknown_rules: Sequence[int] = ()) -> NDArray[np.bool_]:
        """bool[instances]: whether all that an instance reads is known. is_known: of each of `spans`; unknown_rules:
        places of rules with views that are not."""
        whole = np.ones(len(self.rules), np.bool_)
        whole[list(unknown_rules)] = False
        unknown = ~np.array(is_known, np.bool_)
        whole[self._spans.rules[unknown[self._spans.numbers]]] = False
        return np.repeat(whole, [len(rule.instances) for rule in self.rules])

    @property
    def spans(self) -> tuple[tuple[int, bool], ...]:
        """The windows that rules must know whole: their seconds, and whether only this run's samples serve (sets,
        percentiles)."""
        return self._spans.lengths

    def windows(self, capacity: int) -> Windows:
        """All windows with their members and groups. capacity: the number of series slots the store has."""
        sizes = [sum(len(part.source.member) for part in parts) for parts in self._slices_of_window]
        group_member = np.empty(sum(sizes), np.int32)
        members: list[NDArray[np.int32]] = []
        masks: list[int] = []
        at = base = 0
        for parts, size in zip(self._slices_of_window, sizes, strict=True):
            place, union = group_member[at : at + size], np.empty(capacity, np.int32)
            np.concatenate([part.source.member for part in parts], out=place)
            found = place_members(place, np.zeros(capacity, np.int32), union, base)
            members.append(union[:found].copy())
            masks.append(_mask({(opcode, part.source.kind) for part in parts for opcode in part.loads}))
            at, base = at + size, base + found
        counts = self._group_counts()
        return Windows(
            lengths=self._lengths,
            field_mask=np.array(masks, np.int64),
            member=_joined(members, np.int32),
            member_offset=_offsets(map(len, members), np.int64),
            group_member=group_member,
            group_offset=_offsets(_joined((part.source.sizes for part in self._slices), np.int64), np.int64),
            group_window=np.repeat(self._window_of_slice, counts),
            group_kind=np.repeat(np.array([part.source.kind for part in self._slices], np.int8), counts),
        )

    def _group_counts(self) -> NDArray[np.int64]:
        return np.array([len(part.source.keys) for part in self._slices], np.int64)

    def _group_starts(self) -> list[int]:
        """Where the groups of each slice begin."""
        starts: list[int] = _offsets(self._group_counts(), np.int64).tolist()
        return starts

    def sets(self) -> list[SetGroup]:
        """The groups of sets that are counted: their members are in sketches, not in columns."""
        if not any(part.source.kind == kinds.SET for part in self._slices):
            return []
        return [
            SetGroup(first + n, part.window, part.source.slots_of(n))
            for first, part in zip(self._group_starts(), self._slices, strict=False)
            if isinstance(part.source, Source) and part.source.kind == kinds.SET and op.LOAD_COUNT in part.loads
            for n in range(len(part.source.keys))
        ]

    def figures(self) -> list[FigureGroups]:
        """The groups of figures: each source over each window once, with all that is asked of its sketches."""
        found: dict[tuple[int, int], FigureGroups] = {}
        if self._are_plain:
            return []
        for first, part in zip(self._group_starts(), self._slices, strict=False):
            if part.figure is None or not isinstance(part.source, Source):
                continue
            key = part.window, id(part.source)
            one = found.get(key) or FigureGroups(self._lengths[part.window][0], part.source, (), ())
            found[key] = one._replace(figures=(*one.figures, part.figure), first=(*one.first, first))
        return list(found.values())

    def views(self) -> list[tuple[ViewGroups, int]]:
        """The groups of views, each once, and where these begin in `stats`."""
        if self._are_plain:
            return []
        return [
            (part.source, first)
            for first, part in zip(self._group_starts(), self._slices, strict=False)
            if not isinstance(part.source, Source)
        ]

    def rules_of_views(self) -> list[tuple[ViewGroups, list[int]]]:
        """The places of the rules that read each view."""
        found: dict[int, tuple[ViewGroups, list[int]]] = {}
        for place, rule in enumerate(self.rules):
            for source in rule.sources:
                if not isinstance(source, Source):
                    found.setdefault(id(source), (source, []))[1].append(place)
        return list(found.values())

    def programs(self) -> Programs:
        """All programs with their instances and the groups these read."""
        slice_base = _offsets(self._group_counts(), np.int32)
        instances = np.array([len(rule.instances) for rule in self.rules], np.int64)
        of_reading = np.repeat(instances, self._readings_of_rule)
        group = _joined((groups for rule in self.rules for groups in rule.groups), np.int32)
        base = np.repeat(slice_base[self._slice_of_reading], of_reading)
        start = _offsets(of_reading, np.int32)  # of each reading's groups in `reference`
        return Programs(
            reference=np.where(group < 0, np.int32(-1), group + base),
            code=self._code,
            operand=np.where(self._is_load, start[np.where(self._is_load, self._operand, 0)], np.int32(0)),
            constant=self._constant,
            program_offset=self._program_offset,
            instance_offset=_offsets(instances, np.int32),
            has_recover=np.repeat(self._has_recover, instances),
        )


def _length(reading: Reading) -> Length:
    return reading.window_seconds, reading.figure is not None


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

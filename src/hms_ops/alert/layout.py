"""All rules laid out as the flat arrays that two kernels read in a tick: `window_groups`, then `run_programs`.

Work is shared as far as rules agree: a window is folded once per series however many rules read it, a source's groups
over one window are pooled once, and `reference` leads each reading of each instance to its group.

    windows    60 s | 300 s                     seconds; `member`: the union of the slots read over each
    groups     source A over 60 s | A over 300 s | B over 60 s …      group_member → places in `member`
    reference  rule 0 reading 0: A's groups | rule 1 reading 0: A's | rule 1 reading 1: B's, -1 where missing
    instances  rule 0 | rule 1 | …              `instance_offset`

An `Arrangement` holds what depends on the rules alone. `windows` (windows.py) grow as series are born; `programs` are
made for the groups of the moment, when other groups came or went, and read only afterwards: a pass over the instances
and the readings (0.5 µs each).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import is_ as is_same
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.figure import Figure, figure_problem
from hms_ops.alert.language.functions import FUNCTIONS
from hms_ops.alert.plan import Plan, Reading
from hms_ops.alert.sketched import FigureGroups
from hms_ops.alert.source import GroupKey, Groups, Source, ViewGroups
from hms_ops.alert.windows import Length, Slice, Windows, joined, offsets
from hms_ops.kernels import opcodes as op

InstanceKey: TypeAlias = tuple[str, GroupKey]  # a rule's name and the tags of a group

_ALL = np.zeros(1, np.int32)  # the only group of a reading without GROUP BY

_LOAD_NAMES: Final = {function.opcode: name for name, function in reversed(FUNCTIONS.items())}
_NUMERIC_KINDS: Final = (kinds.COUNTER, kinds.GAUGE, kinds.TIMER, kinds.HISTOGRAM, kinds.DISTRIBUTION)
_LOAD_KINDS: Final = {
    op.LOAD_INCREASE: (kinds.COUNTER,),
    op.LOAD_DELTA: (kinds.GAUGE,),
    op.LOAD_COUNT: (*_NUMERIC_KINDS, kinds.SET),
    op.LOAD_ABSENT: (*_NUMERIC_KINDS, kinds.SET),
}


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
    _joined: list[list[GroupKey]] | None = None  # the keys of the sources that it was joined of

    def __post_init__(self) -> None:
        self.is_plain = all(reading.figure is None and reading.view is None for reading in self.plan.readings)

    def join(self) -> bool:
        """Find the instances: all groups of all readings, matched by their tags; one instance without GROUP BY.

        Returns True when they, or a reading's groups, may be others than before.
        """
        self.pairs = sum([len(source.member) for source in self.sources])
        problems = (reading_problem(reading, source) for reading, source in self._readings())
        self.problem = next(filter(None, problems), "")
        joined_of = [source.keys for source in self.sources] if self.plan.group_by else []
        if self._joined is not None and all(map(is_same, self._joined, joined_of)):
            return False
        self._joined = joined_of
        self._find_instances()
        return True

    def _find_instances(self) -> None:
        keys: list[GroupKey] = [()]
        if self.plan.group_by:
            keys = self.sources[0].keys if self.sources else []
            if any(source.keys != keys for source in self.sources):
                keys = list(dict.fromkeys(key for source in self.sources for key in source.keys))
            self.groups = [_groups_of(source, keys) for source in self.sources]
        else:
            self.groups = [_ALL] * len(self.sources)
        known = {instance[1]: instance for instance in self.instances}  # who holds them knows them by being the same
        self.instances = [known.get(key) or (self.name, key) for key in keys]

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
    """lengths: see Arrangement.spans; numbers: int64[readings], which of them each reading has, -1 for a view's."""

    lengths: tuple[tuple[int, bool], ...]
    numbers: NDArray[np.int64]


class SetGroup(NamedTuple):
    """A group whose distinct members the store counts; `window` is the number of its window."""

    group: int
    window: int
    slots: list[int]


class Arrangement:
    """The rules that are evaluated together, in this order; none of them has a problem."""

    def __init__(self, rules: Sequence[BoundRule]) -> None:
        self.rules = rules
        plans = [rule.plan for rule in rules]
        self._lengths = tuple(sorted({_length(reading) for plan in plans for reading in plan.readings}))
        self._are_plain = all(rule.is_plain for rule in rules)
        self._slices, self._slice_of_reading = self._find_slices()
        self._slices_of_metric, self._slices_of_views = self._find_readers()
        self._readings_of_rule = np.array([len(plan.readings) for plan in plans], np.int64)
        self._code = joined((plan.code for plan in plans), np.int8)
        self._constant = joined((plan.constant for plan in plans), np.float64)
        self._program_offset = offsets((len(plan.code) for plan in plans), np.int32)
        self._is_load = (self._code >= op.LOADS.start) & (self._code < op.LOADS.stop)
        self._rule_of_reading = np.repeat(np.arange(len(plans)), self._readings_of_rule)
        # What finds the newest finds it whatever was before: only that it is NULL may be so for an unknown window.
        self._is_last = np.array([one.loads == (op.LOAD_LAST,) for plan in plans for one in plan.readings], np.bool_)
        first_reading = np.cumsum(self._readings_of_rule) - self._readings_of_rule
        self._operand = joined((plan.operand for plan in plans), np.int32) + np.repeat(
            first_reading.astype(np.int32), np.diff(self._program_offset)
        )
        self._has_recover = np.array([plan.has_recover for plan in plans], np.bool_)
        self.renew_spans()

    def _find_slices(self) -> tuple[list[Slice], NDArray[np.int64]]:
        """The distinct slices, window by window, and the number of the slice of each reading."""
        number_of = {length: n for n, length in enumerate(self._lengths)}
        found: dict[tuple[int, int, Figure | None], Slice] = {}
        asked: list[tuple[int, int, Figure | None]] = []
        for rule in self.rules:
            for reading, source in zip(rule.plan.readings, rule.sources, strict=True):
                key = number_of[_length(reading)], id(source), reading.figure
                found.setdefault(key, Slice(key[0], source, reading.figure, set())).loads.update(reading.loads)
                asked.append(key)
        ordered = sorted(found, key=lambda key: key[0])
        place = {key: n for n, key in enumerate(ordered)}
        return [found[key] for key in ordered], np.array([place[key] for key in asked], np.int64)

    def _find_readers(self) -> tuple[dict[str, list[int]], list[int]]:
        """The numbers of the slices of each metric, and of those of views."""
        of_metric: dict[str, list[int]] = {}
        of_views: list[int] = []
        for number, part in enumerate(self._slices):
            if isinstance(part.source, Source):
                of_metric.setdefault(part.source.key.metric, []).append(number)
            else:
                of_views.append(number)
        return of_metric, of_views

    def slices_of(self, metrics: Collection[str]) -> list[int]:
        """The numbers of the slices that may have changed with these metrics."""
        return [n for metric in metrics for n in self._slices_of_metric.get(metric, ())] + self._slices_of_views

    def renew_spans(self) -> None:
        """After a metric's kind was settled, too: of sets no past is put back."""
        self._spans = self._find_spans()

    def _find_spans(self) -> "Spans":
        """What of the past each reading must know."""
        found: dict[tuple[int, bool], int] = {}
        numbers = []
        for rule in self.rules:
            for reading, source in zip(rule.plan.readings, rule.sources, strict=True):
                is_of_run = reading.figure is not None or source.kind == kinds.SET
                span = reading.window_seconds, is_of_run
                numbers.append(found.setdefault(span, len(found)) if reading.view is None else -1)
        return Spans(tuple(found), np.array(numbers, np.int64))

    def known(self, spans: Sequence[bool], unknown_readings: Sequence[int] = ()) -> NDArray[np.bool_]:
        """bool[readings]: whether what each reads is known. spans: of each of `spans`; unknown_readings: the numbers
        of those of views that are not."""
        known = np.array([*spans, True], np.bool_)[self._spans.numbers]
        known[list(unknown_readings)] = False
        return known

    def whole(self, known: NDArray[np.bool_], condition: NDArray[np.float64]) -> NDArray[np.bool_]:
        """bool[instances], see Evaluation. known: bool[readings]."""
        whole, is_watched = np.ones((2, len(self.rules)), np.bool_)
        whole[self._rule_of_reading[~known & ~self._is_last]] = False
        is_watched[self._rule_of_reading[~known]] = False
        instances = [len(rule.instances) for rule in self.rules]
        return np.repeat(whole, instances) & (np.repeat(is_watched, instances) | ~np.isnan(condition))

    @property
    def readings(self) -> int:
        """How many readings the rules have."""
        return len(self._rule_of_reading)

    @property
    def spans(self) -> tuple[tuple[int, bool], ...]:
        """The windows that rules must know whole: their seconds, and whether only this run's samples serve (sets,
        percentiles)."""
        return self._spans.lengths

    def windows(self, capacity: int) -> Windows:
        """All windows with their members and groups. capacity: the number of series slots the store has."""
        return Windows(self._lengths, self._slices, capacity)

    def sets(self, base: NDArray[np.int64]) -> list[SetGroup]:
        """The groups of sets that are counted: their members are in sketches, not in columns. base: here and below,
        int64[slices + 1], where the groups of each slice begin."""
        if not any(part.source.kind == kinds.SET for part in self._slices):
            return []
        return [
            SetGroup(first + n, part.window, part.source.slots_of(n))
            for first, part in zip(base.tolist(), self._slices, strict=False)
            if isinstance(part.source, Source) and part.source.kind == kinds.SET and op.LOAD_COUNT in part.loads
            for n in range(len(part.source.keys))
        ]

    def figures(self, base: NDArray[np.int64]) -> list[FigureGroups]:
        """The groups of figures: each source over each window once, with all that is asked of its sketches."""
        found: dict[tuple[int, int], FigureGroups] = {}
        if self._are_plain:
            return []
        for first, part in zip(base.tolist(), self._slices, strict=False):
            if part.figure is None or not isinstance(part.source, Source):
                continue
            key = part.window, id(part.source)
            one = found.get(key) or FigureGroups(self._lengths[part.window][0], part.source, (), ())
            found[key] = one._replace(figures=(*one.figures, part.figure), first=(*one.first, first))
        return list(found.values())

    def views(self, base: NDArray[np.int64]) -> list[tuple[ViewGroups, int]]:
        """The groups of views, each once, and where these begin in `stats`."""
        if self._are_plain:
            return []
        return [
            (part.source, first)
            for first, part in zip(base.tolist(), self._slices, strict=False)
            if not isinstance(part.source, Source)
        ]

    def readings_of_views(self) -> list[tuple[ViewGroups, list[int]]]:
        """The numbers of the readings of each view."""
        found: dict[int, tuple[ViewGroups, list[int]]] = {}
        for number, source in enumerate(chain.from_iterable(rule.sources for rule in self.rules)):
            if not isinstance(source, Source):
                found.setdefault(id(source), (source, []))[1].append(number)
        return list(found.values())

    def programs(self, group_base: NDArray[np.int64]) -> Programs:
        """All programs with their instances and the groups these read."""
        slice_base = group_base.astype(np.int32)
        instances = np.array([len(rule.instances) for rule in self.rules], np.int64)
        of_reading = np.repeat(instances, self._readings_of_rule)
        group = joined((groups for rule in self.rules for groups in rule.groups), np.int32)
        base = np.repeat(slice_base[self._slice_of_reading], of_reading)
        start = offsets(of_reading, np.int32)  # of each reading's groups in `reference`
        return Programs(
            reference=np.where(group < 0, np.int32(-1), group + base),
            code=self._code,
            operand=np.where(self._is_load, start[np.where(self._is_load, self._operand, 0)], self._operand),
            constant=self._constant,
            program_offset=self._program_offset,
            instance_offset=offsets(instances, np.int32),
            has_recover=np.repeat(self._has_recover, instances),
        )


def _length(reading: Reading) -> Length:
    return reading.window_seconds, reading.figure is not None

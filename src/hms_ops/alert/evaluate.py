"""Evaluates all rules at a tick, and a query at any time, on the store's columns.

`RuleSet` holds the plans, binds them to the series there are, and answers `evaluate(end)` with three numbers for each
instance: the condition and the recovery (1.0 TRUE, 0.0 FALSE, NaN NULL) and the value a page shows. Binding follows the
store's changes: only rules whose metrics gained or lost series are bound again, in place (windows.py), and a quiet tick
is two kernel calls (machine.py).
The state machine (`book.py`) reads the result; `query_now` serves engine.value() and /v1/query.

Data: an Evaluation's arrays are its own and never written again; `keys` is the same object while no instance came or
went. Threads: the tick's for a RuleSet; `query_now` runs anywhere, sealed columns do not change under it.
Errors: what cannot be evaluated on a metric's kind ("a set has no avg") or would pass a limit is that rule's `problem`;
it costs no other rule anything. A query raises ExpressionError or UnknownMetricError.
Limits: INSTANCES_MAX instances, PAIRS_MAX rule–series pairs and SKETCHED_MAX series with percentiles in all;
`refused_instances` counts what was turned away.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.language.desugar import Objectives, none_known
from hms_ops.alert.language.tokens import error_at
from hms_ops.alert.language.tree import Query
from hms_ops.alert.layout import Arrangement, BoundRule, InstanceKey, reading_problem
from hms_ops.alert.machine import Floats, Machine
from hms_ops.alert.plan import Plan, Reading, SourceKey, UnitLookup, compile_query, no_units
from hms_ops.alert.recalled import Recall, Recalled
from hms_ops.alert.room import Demand, Limits, Room
from hms_ops.alert.source import Groups, Source, Store
from hms_ops.alert.stepped import Stepped
from hms_ops.alert.view import View
from hms_ops.alert.watch import Watch
from hms_ops.errors import UnknownMetricError
from hms_ops.reloaded import NOTHING, Reloaded

INSTANCES_MAX: Final = 100_000
PAIRS_MAX: Final = 20_000_000  # series read by all rules together; 5 bytes each
CELLS_MAX: Final = 2_000_000  # rows of series that views in memory read at a tick, 20 to 40 ns each
SKETCHED_MAX: Final = 100_000  # series whose sketches rules read, once for each window; 4 to 9 µs each and tick
NEAREST_MAX: Final = 3
_COMPARED_MAX: Final = 2_000  # names that a misspelt one is compared with

_NONE: Final = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What rules came to at one tick; all arrays have one place per instance.

    end: the second the windows end before. keys: (rule's name, sorted tags of the group). condition, recover: float64,
    1.0, 0.0 or NaN; without a RECOVER clause, recover is NOT condition. value: float64, the left side of the first
    comparison. whole: bool, False where the rule reads a window that is not known all through, since this run began
    within it; what is NULL or small there may be so for that, and what would be TRUE for that alone is NULL (doubt.py).
    The `last` of such a window counts only where the condition is NULL. problems: rules that could not be evaluated and
    why; they have no places, their states must stay.
    """

    end: int
    keys: Sequence[InstanceKey]
    condition: Floats
    recover: Floats
    value: Floats
    whole: NDArray[np.bool_]
    problems: Mapping[str, str]

    def tags(self, place: int) -> dict[str, str]:
        """The tags of an instance's group."""
        return dict(self.keys[place][1])


class RuleSet:
    """Plans by name, bound to one store."""

    def __init__(
        self,
        store: Store,
        instances_max: int = INSTANCES_MAX,
        pairs_max: int = PAIRS_MAX,
        sketched_max: int = SKETCHED_MAX,
        cells_max: int = CELLS_MAX,
        recall: Recall | None = None,
    ) -> None:
        self._limits = Limits(instances_max, pairs_max, sketched_max, cells_max)
        self._demand = Demand()
        self._recall = recall
        self._recalled_version = -1
        self._views: dict[View, Stepped | Recalled] = {}
        self.refused_instances = 0  # of the rules that are too much now
        self.reloaded = NOTHING  # what was put back into the store's columns; the owner sets it
        self.problems: dict[str, str] = {}
        self._store = store
        self._plans: dict[str, Plan] = {}
        self._bound: dict[str, BoundRule] = {}
        self._readers: dict[str, list[BoundRule]] = {}  # the rules that read a metric
        self._watch = Watch(store)
        self._arrangement = Arrangement([])
        self._machine: Machine | None = None
        self._keys: Sequence[InstanceKey] = ()

    def replace(self, plans: Mapping[str, Plan]) -> None:
        """Evaluate these from the next tick on; plans that were here before keep their binding."""
        self._plans = dict(plans)
        self._bound = {name: rule for name, rule in self._bound.items() if plans.get(name) is rule.plan}
        self._watch.keep({source for plan in plans.values() for source in plan.sources()})
        views = {reading.view for plan in plans.values() for reading in plan.readings if reading.view is not None}
        self._views = {view: bound for view, bound in self._views.items() if view in views}
        if self._recall is not None:
            self._recall.want({view for view in views if view.is_long})
        self._machine = None

    def unread(self) -> set[str]:
        """The rules that read something which no series matches now, or that were not looked at yet."""
        matched = self._watch.matched()
        return {name for name, plan in self._plans.items() if not matched.issuperset(plan.sources())}

    def put(self, name: str, plan: Plan) -> None:
        """Add or change one rule."""
        self.replace({**self._plans, name: plan})

    def evaluate(self, end: int | None = None) -> Evaluation:
        """All rules over windows that end before second `end` (the last sealed one + 1)."""
        end = self._store.sealed_second + 1 if end is None else end
        machine = self._bind()
        condition, recover, value, whole = machine.run(self._store, end, self.reloaded)
        return Evaluation(end, self._keys, condition, recover, value, whole, self.problems)

    def _bind(self) -> Machine:
        """The machine for the rules and series there are now."""
        changed = self._watch.follow()
        recalled = self._new_answers()
        if self._machine is not None and not changed and not recalled:
            return self._machine
        for view in self._views.values():
            if isinstance(view, Stepped) and any(source.key.metric in changed for source in view.sources):
                view.join()
        if self._machine is None:
            self._bind_new()
        has_new_groups = self._join(self._readers_of(changed, recalled))
        admitted = self._admitted()
        if admitted != self._arrangement.rules:
            self._arrangement, self._machine = Arrangement(admitted), None
        if self._machine is None or not self._machine.follow(changed, has_new_groups=has_new_groups):
            has_new_groups, self._machine = True, Machine(self._arrangement, self._store)
        if has_new_groups:
            self._renew_keys()
        return self._machine

    def _readers_of(self, changed: Set[str], recalled: Set[int]) -> Iterable[BoundRule]:
        """The rules that read these metrics or views."""
        rules = {id(rule): rule for metric in changed for rule in self._readers.get(metric, ())}
        if recalled:
            rules |= {id(rule): rule for rule in self._bound.values() if not recalled.isdisjoint(_ids(rule))}
        return rules.values()

    def _join(self, rules: Iterable[BoundRule]) -> bool:
        """Have rules find their instances; True when these, or groups that they read, may be others than before."""
        is_new = False
        for rule in rules:
            self._demand.remove(rule)
            is_new |= rule.join()
            self._demand.add(rule)
        return is_new

    def _new_answers(self) -> set[int]:
        """The ids of the views whose answers from history have other groups or problems than before."""
        if self._recall is None or self._recall.version == self._recalled_version:
            return set()
        self._recalled_version = self._recall.version
        found = set()
        for view in self._views.values():
            if isinstance(view, Recalled):
                before = view.problem
                if view.join() or view.problem != before:
                    found.add(id(view))
        return found

    def _groups(self, reading: Reading) -> Groups:
        """What a reading is bound to; equal ones share it."""
        if reading.view is None:
            return self._watch.source(reading.source)
        if reading.view not in self._views:
            self._views[reading.view] = bind_view(reading.view, self._watch.source, self._recall)
        return self._views[reading.view]

    def _bind_new(self) -> None:
        """Bind the plans that are not bound yet, and note which rules read which metric."""
        for name, plan in self._plans.items():
            if name not in self._bound:
                sources = [self._groups(reading) for reading in plan.readings]
                self._bound[name] = rule = BoundRule(name, plan, sources)
                rule.join()
        self._bound = {name: self._bound[name] for name in self._plans}
        self._demand = Demand(self._bound.values())
        self._readers = {}
        for rule in self._bound.values():
            for metric in {source.metric for source in rule.plan.sources()}:
                self._readers.setdefault(metric, []).append(rule)

    def _renew_keys(self) -> None:
        keys = list(chain.from_iterable(rule.instances for rule in self._arrangement.rules))
        if keys != self._keys:
            self._keys = keys

    def _admitted(self) -> list[BoundRule]:
        """The rules that have no problem and find room, first come first served; notes why the others do not."""
        if self._demand.fits(self._limits):
            self.refused_instances, self.problems = 0, {}
            if self._demand.problems:
                self.problems = {name: rule.problem for name, rule in self._bound.items() if rule.problem}
            return [rule for rule in self._bound.values() if not rule.problem]
        admitted: list[BoundRule] = []
        room = Room(self._limits)
        self.refused_instances = 0
        self.problems = {}
        for rule in self._bound.values():
            problem = rule.problem
            if not problem and (problem := room.take(rule)):
                self.refused_instances += len(rule.instances)
            if problem:
                self.problems[rule.name] = problem
            else:
                admitted.append(rule)
        return admitted


def bind_view(view: View, source_of: Callable[[SourceKey], Source], recall: Recall | None) -> Stepped | Recalled:
    """A view bound to the series there are, or to who reads history."""
    if view.is_long:
        return Recalled(view, recall)
    return Stepped(view, [source_of(reading.source) for reading in view.plan.readings])


def _ids(rule: BoundRule) -> list[int]:
    return [id(source) for source in rule.sources]


# ---- queries


def query_now(
    query: Query,
    store: Store,
    unit: UnitLookup = no_units,
    end: int | None = None,
    reloaded: Reloaded = NOTHING,
    recall: Recall | None = None,
    objective: Objectives = none_known,
) -> list[tuple[dict[str, str], float]]:
    """The value of a query now: one for each group, a condition's as 1.0, 0.0 or NaN. NaN is NULL.

    UnknownMetricError for a metric that nobody has sent (ABSENT may ask for one); ExpressionError for what cannot be
    evaluated, on this metric's kind or at all. reloaded: what was put back into the store's columns; recall: who
    answers what only history has; objective: see compile_rule.
    """
    plan = compile_query(query, unit, objective)
    for reading in _required(plan):
        if not len(store.slots(reading.source.metric)):
            raise UnknownMetricError(reading.source.metric, nearest_metrics(reading.source.metric, store.metrics()))
    rule = BoundRule("", plan, [_bound_now(reading, store, recall) for reading in plan.readings])
    for reading, source in zip(plan.readings, rule.sources, strict=True):
        if problem := reading_problem(reading, source):
            raise error_at(plan.text, reading.at, problem)
    rule.join()
    if len(rule.instances) > INSTANCES_MAX:
        raise error_at(plan.text, 0, f"the answer has {len(rule.instances)} values, {INSTANCES_MAX} are allowed")
    end = store.sealed_second + 1 if end is None else end
    value = Machine(Arrangement([rule]), store).run(store, end, reloaded).value
    return [(dict(key), result) for (_, key), result in zip(rule.instances, value.tolist(), strict=True)]


def _required(plan: Plan) -> Iterator[Reading]:
    """The readings of metrics that memory must know; what history answers is for history to know."""
    for reading in plan.readings:
        if reading.view is None and reading.is_required:
            yield reading
        elif reading.view is not None and not reading.view.is_long:
            yield from _required(reading.view.plan)


def _bound_now(reading: Reading, store: Store, recall: Recall | None) -> Groups:
    if reading.view is None:
        return _followed(reading.source, store)
    return bind_view(reading.view, lambda key: _followed(key, store), recall)


def _followed(key: SourceKey, store: Store) -> Source:
    source = Source(key)
    source.follow(store, _NONE)
    return source


def nearest_metrics(name: str, metrics: Sequence[str]) -> list[str]:
    """Those of all metrics whose names are most like a misspelt one, best first."""
    candidates = [metric for metric in metrics if abs(len(metric) - len(name)) <= max(3, len(name) // 3)]
    alike = sorted(candidates, key=lambda metric: metric[:1] != name[:1])[:_COMPARED_MAX]
    return difflib.get_close_matches(name, alike, n=NEAREST_MAX)

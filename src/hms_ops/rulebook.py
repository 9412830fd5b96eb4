"""The rules in force: those of files, and those that Python and HTTP have put beside them; their plans and gauges.

A file's rule wins over one from elsewhere of the same name. Every rule and anomaly rule reserves a gauge of its name, 1
while it fires (publisher.py); a name that would silence a metric, because a rule reads it or somebody writes it, is
refused. What is prepared changes nothing until it is adopted, so a set of rules is taken whole or not at all.

Threads: whoever holds the lock of duty.py. Limits: RULES_MAX of files, and as many from elsewhere.
Errors: ConfigError with every problem.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hms_ops._ring import Store
from hms_ops.alert.language.units import metric_unit
from hms_ops.alert.plan import Plan, UnitLookup, compile_rule
from hms_ops.alert.rule import AnomalyRule, Rule
from hms_ops.alert.rulefile import RULES_MAX, RuleFile
from hms_ops.clock import SECOND_NS
from hms_ops.errors import ConfigError, ExpressionError

OWN_SIGN: Final = "engine.alerts_live"  # has a sample each second

Plans = dict[str, tuple[Rule, Plan]]


class Prepared(NamedTuple):
    """A set of rules that could be in force."""

    file: RuleFile
    own: dict[str, Rule]
    plans: Plans

    @property
    def rules(self) -> list[Rule]:
        return [rule for rule, _ in self.plans.values()]

    @property
    def names(self) -> frozenset[str]:
        """Those that have a gauge."""
        return frozenset([*self.plans, *(rule.name for rule in self.file.anomalies)])


class Rulebook:
    """The rules of one engine."""

    def __init__(self, store: Store, unit: UnitLookup) -> None:
        self.reserved: frozenset[str] = frozenset()  # names of gauges; another object whenever they change
        self._store = store
        self._unit = unit
        self._now = Prepared(RuleFile(), {}, {})
        self._unitless: frozenset[str] = frozenset()  # what rules and SLOs read as written: nobody knew the unit
        self._released: dict[str, int] = {}  # names of former rules' gauges that still have series: since when, in ns

    @property
    def file(self) -> RuleFile:
        return self._now.file

    @property
    def own(self) -> dict[str, Rule]:
        """Those from Python and HTTP."""
        return self._now.own

    @property
    def plans(self) -> Plans:
        """By name, those of files first."""
        return self._now.plans

    def with_own(self, rule: Rule) -> dict[str, Rule]:
        """The own rules with this one; ConfigError when a file has its name or there are too many."""
        if rule.name in taken_names(self.file):
            raise ConfigError(f"{rule.source}: a rule file has a rule {rule.name!r} already, and a file's rule wins")
        if len(self.own) >= RULES_MAX and rule.name not in self.own:
            raise ConfigError(f"{rule.source}: {RULES_MAX} rules are there, which is the limit; remove one first")
        return {**self.own, rule.name: rule}

    def prepare(self, file: RuleFile, own: Mapping[str, Rule], *, anew: Iterable[str] = ()) -> Prepared:
        """Compile and check; nothing changes. anew: rules whose plan must not be taken from those in force."""
        taken = taken_names(file)
        rules = [*file.rules, *file.slo_rules, *(rule for rule in own.values() if rule.name not in taken)]
        objectives, before = shares_of(file), shares_of(self.file)
        is_kept = objectives == before  # a plan with a burn rate has its objective inside
        known = {name: plan for name, plan in self.plans.items() if is_kept and name not in set(anew)}
        plans = {rule.name: (rule, self._plan(rule, known, objectives)) for rule in rules}
        self._check_names([*rules, *file.anomalies], read_by(plans, file.anomalies), published_by(file))
        return Prepared(file, dict(own), plans)

    def adopt(self, prepared: Prepared) -> None:
        """Reserve the gauges, and put them in force. ConfigError: nothing has changed."""
        self._reserve(prepared.names)
        before, self._now = self.plans, prepared
        stays = {name for name, (_, plan) in self.plans.items() if name in before and before[name][1] is plan}
        as_before = self._unitless & self._read_by(stays)  # a plan that stays has the units it was made with
        read = self._read_by(self.plans.keys() - stays).union(*(slo.metrics for slo in self.file.slos))
        self._unitless = as_before.union(metric for metric in read if not self._has_unit(metric))

    def take_known(self) -> list[str]:
        """What rules and SLOs read as written whose unit is known by now: samples have shown that it is a timer, or the
        catalogue was opened. Each is told once."""
        found = [metric for metric in self._unitless if self._has_unit(metric)]
        self._unitless = self._unitless.difference(found)
        return found

    def readers_of(self, metrics: Collection[str]) -> list[str]:
        """The rules that look at one of these metrics."""
        return [name for name, (_, plan) in self.plans.items() if not metrics_of(plan).isdisjoint(metrics)]

    def metrics_read(self) -> set[str]:
        """What rules and anomaly rules look at, but for the anomaly rule on every metric (refill.py does that); and
        one of the engine's own gauges, which tells silence from an engine that was down."""
        read = {metric for _, plan in self.plans.values() for metric in metrics_of(plan)}
        return read | {rule.metric for rule in self.file.anomalies} - {"*"} | {OWN_SIGN}

    def _read_by(self, names: Collection[str]) -> set[str]:
        return {metric for name in names for metric in metrics_of(self.plans[name][1])}

    def _has_unit(self, metric: str) -> bool:
        return metric_unit(metric, self._unit(metric)) is not None

    def _plan(self, rule: Rule, known: Plans, objectives: Mapping[str, float]) -> Plan:
        before = known.get(rule.name)
        if before is not None and before[0] == rule:
            return before[1]
        try:
            return compile_rule(
                rule.condition,
                rule.recover,
                rule.where,
                rule.group_by,
                text=rule.text,
                unit=self._unit,
                objective=objectives.get,
            )
        except ExpressionError as error:
            raise ConfigError(f"{rule.source}: {rule.name}: {error}") from None

    def _check_names(
        self, rules: Sequence[Rule | AnomalyRule], read: Mapping[str, str], published: Mapping[str, str]
    ) -> None:
        """A rule takes its name's metric for its gauge: refuse one that stops a metric somebody else writes.
        read: metric → the rule that looks at it. published: metric → the SLO that writes it."""
        problems = []
        for rule in rules:
            if rule.name in read:
                why = f"the rule {read[rule.name]!r} reads the metric of that name, which would be a gauge of 0 and 1"
            elif rule.name in published:
                why = f"the SLO {published[rule.name]!r} publishes the metric of that name"
            elif rule.name not in self.reserved and self._is_written(rule.name):
                why = "a metric of that name is being written, which would be refused from now on"
            else:
                continue
            problems.append(f"{rule.source}: {rule.name}: {why}; choose another name for the rule")
        if problems:
            raise ConfigError(*problems)

    def _is_written(self, metric: str) -> bool:
        """Whether somebody else writes it: samples have come, and not only those of a former rule's gauge. (A series
        without samples was put back from disk, or somebody holds it.)"""
        since_ns = self._released.get(metric, -SECOND_NS) + SECOND_NS  # the tick may just have been writing the gauge
        return any((self._store.recent(slot)[0] > since_ns).any() for slot in self._store.slots(metric).tolist())

    def _reserve(self, names: frozenset[str]) -> None:
        """Take these names' metrics, and give back those of before; all or none."""
        if names == self.reserved:
            return
        done: list[str] = []
        try:
            for name in names - self.reserved:
                self._store.reserve(name)
                done.append(name)
        except ValueError as error:
            for name in done:
                self._store.reserve(name, False)
            raise ConfigError(f"the rules cannot publish their gauges: {error}") from None
        for name in self.reserved - names:
            self._store.reserve(name, False)
        self._released |= dict.fromkeys(self.reserved - names, self._store.now_ns())
        self._released = {
            name: at for name, at in self._released.items() if name not in names and len(self._store.slots(name))
        }
        self.reserved = names


def metrics_of(plan: Plan) -> set[str]:
    """What a rule looks at."""
    return {source.metric for source in plan.sources()}


def read_by(plans: Plans, anomalies: Sequence[AnomalyRule]) -> dict[str, str]:
    """metric → the name of a rule or anomaly rule that looks at it."""
    read = {metric: name for name, (_, plan) in plans.items() for metric in metrics_of(plan)}
    return read | {rule.metric: rule.name for rule in anomalies}


def shares_of(file: RuleFile) -> dict[str, float]:
    """What each SLO promises, as a share: 0.999."""
    return {slo.name: slo.share for slo in file.slos}


def published_by(file: RuleFile) -> dict[str, str]:
    """metric → the SLO that writes it."""
    return {metric: slo.name for slo in file.slos for metric in slo.published}


def taken_names(file: RuleFile) -> set[str]:
    """The names that the rules, anomaly rules and SLOs of files have taken."""
    watching: list[Rule | AnomalyRule] = [*file.rules, *file.slo_rules, *file.anomalies]
    return {rule.name for rule in watching}

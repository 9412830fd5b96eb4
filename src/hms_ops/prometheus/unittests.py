"""Runs promtool's unit tests on this engine: rule files imported, samples fed, the rules judged tick by tick.

A test's rule files may be ours or Prometheus'. As promtool does, rules are judged every `evaluation_interval` from 0
on, and an alert is what it was at the last of these before its `eval_time`. Labels are compared as a whole, values to
nine digits, as sums are made in another order; annotations as far as they say the same here: a template that formats,
loops or queries does not (gotemplate.py).
What uses a rule or expression that cannot be said here is unsupported: it is told, and not judged. So is what reads a
series less than five minutes after its staleness marker: this engine has none, and a gauge keeps its last value.
Not here: reading the file (testfile.py), our own format (owntests.py).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from hms_ops import kinds
from hms_ops.alert.language.tree import Arith, Condition, Query, selectors
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.alert.rulefile import read_roots
from hms_ops.alert.template import annotations_of
from hms_ops.errors import ExpressionError
from hms_ops.kernels.window import GAUGE_SECONDS
from hms_ops.prometheus.outcomes import Outcome, clock, judged
from hms_ops.prometheus.promql import COMPARISONS, parsed, translate
from hms_ops.prometheus.rulesfile import Imported, PrometheusRule, import_groups, known, read_groups
from hms_ops.prometheus.selection import kind, name_of, reads
from hms_ops.prometheus.testfile import AlertTest, ExpectedAlert, ExpressionTest, InputSeries, TestFile, TestGroup
from hms_ops.prometheus.vector import Scope, Unsupported, Vector
from hms_ops.prometheus.world import Feed, World, conditions_of, increments, kinds_by_use
from hms_ops.yamlfile import load_file

DIGITS: Final = 9
ALERTNAME: Final = "alertname"
SEVERITY: Final = "severity"

Test = TypeVar("Test", AlertTest, ExpressionTest)


class Subject(NamedTuple):
    """The rules under test: those of Prometheus, and ours."""

    origins: tuple[PrometheusRule, ...]
    own: tuple[Rule, ...]


def run_tests(file: TestFile) -> Iterator[Outcome]:
    """The outcome of each expectation, in the order of their times."""
    subject = load_subject(file.rule_files)
    for number, group in enumerate(file.groups, 1):
        with closing(GroupRun(subject, group, file.evaluation_seconds, group.name or f"test {number}")) as run:
            yield from run.outcomes()


def load_subject(paths: Iterable[Path]) -> Subject:
    """The rules of all files, whosesoever they are."""
    origins: list[PrometheusRule] = []
    roots = []
    for path in paths:
        root = load_file(path)
        if isinstance(root.value, dict) and {"groups", "spec"} & root.value.keys():
            origins += read_groups(root)
        elif root.value is not None:
            roots.append(root)
    return Subject(tuple(origins), read_roots(roots, []).rules)


class GroupRun:
    """One group of tests."""

    def __init__(self, subject: Subject, group: TestGroup, evaluation_seconds: float, name: str) -> None:
        self.group, self.every, self.name = group, evaluation_seconds, name
        self.scope = scope_of(subject, group)
        self.imported = import_groups(subject.origins, self.scope)
        self.scope = known(subject.origins, self.scope)
        rules = [replace(one.rule, every_seconds=1.0) for one in self.imported if one.rule is not None]
        self.own = {rule.name for rule in subject.own}
        self.vectors = {test.expr: vector_of(test.expr, self.scope) for test in group.expression_tests}
        queries = [query for vector in self.vectors.values() for query in queries_of(vector)]
        self.world = World(feeds_of(group, self.scope, subject.own), [*rules, *subject.own], queries)

    def close(self) -> None:
        self.world.close()

    def outcomes(self) -> Iterator[Outcome]:
        ticks = int(self.group.end_seconds // self.every) + 1
        for tick in range(ticks):
            begin = tick * self.every
            self.world.move_to(begin)
            self.world.tick()
            yield from (self.alert_outcome(test) for test in within(self.group.alert_tests, begin, self.every))
            for test in within(self.group.expression_tests, begin, self.every):
                self.world.move_to(test.seconds)
                yield self.expression_outcome(test)

    # ---- alerts

    def alert_outcome(self, test: AlertTest) -> Outcome:
        outcome = Outcome("passed", test.source, self.name, f"{test.alert} at {clock(test.seconds)}")
        named = [one for one in self.imported if one.origin.alert == test.alert]
        rules = [one.rule for one in named if one.rule] + [rule for rule in self.world.rules if rule.name == test.alert]
        own = self.world.problems.get(test.alert, "") if test.alert in self.own else ""
        reasons = [*map(self.reason, named), own, self.ended(map(conditions_of, rules), test.seconds)]
        if any(reasons):
            return outcome._replace(result="unsupported", reason="; ".join(dict.fromkeys(filter(None, reasons))))
        with_texts = any(expected.annotations is not None for expected in test.expected)
        exact = frozenset[str]().union(*(one.exact_texts for one in named))
        expected = [self.expected_text(one, exact if with_texts else None) for one in test.expected]
        got = [
            shown(
                labels, {key: text for key, text in annotations_of(alert).items() if key in exact} if with_texts else {}
            )
            for alert, labels in self.firing(test.alert, named)
        ]
        return judged(outcome, expected, got)

    def reason(self, one: Imported) -> str:
        """Why a rule cannot be judged, or ""."""
        if one.rule is None:
            return "; ".join(note.text for note in one.notes)
        return self.world.problems.get(one.rule.name, "")

    def ended(self, parts: Iterable[Iterable[Condition | Arith]], seconds: float) -> str:
        """Which series that is read had its staleness marker a moment ago, as a reason; "" for none."""
        metrics = {series.metric for nodes in parts for node in nodes for series in selectors(node)}
        for series in self.group.series:
            for place in series.values.stale if series.metric in metrics else ():
                if 0 <= seconds - place * self.group.interval_seconds < GAUGE_SECONDS:
                    return f"{series.metric} has a staleness marker; here a gauge keeps its last value for 5 min"
        return ""

    def firing(self, name: str, named: Iterable[Imported]) -> Iterator[tuple[Alert, dict[str, str]]]:
        """The alerts of a name that fire, with the labels that Prometheus would give them."""
        for one in named:
            assert one.rule is not None
            has_severity = SEVERITY in one.origin.labels
            for alert in self.world.alerts(one.rule.name):
                if alert.state == "firing":
                    yield alert, labels_of(alert, has_severity)
        if name in self.own:
            for alert in self.world.alerts(name):
                if alert.state == "firing":
                    yield alert, labels_of(alert, True)

    @staticmethod
    def expected_text(one: ExpectedAlert, exact: frozenset[str] | None) -> str:
        texts = {} if exact is None else {key: text for key, text in (one.annotations or {}).items() if key in exact}
        return shown({key: value for key, value in one.labels.items() if key != ALERTNAME}, texts)

    # ---- expressions

    def expression_outcome(self, test: ExpressionTest) -> Outcome:
        outcome = Outcome("passed", test.source, self.name, f"{test.expr} at {clock(test.seconds)}")
        vector = self.vectors[test.expr]
        if isinstance(vector, Unsupported):
            return outcome._replace(result="unsupported", reason=str(vector))
        if reason := self.ended([(vector.value, vector.condition())], test.seconds):
            return outcome._replace(result="unsupported", reason=reason)
        try:
            found = self.elements(vector)
        except ExpressionError as error:
            return outcome._replace(result="unsupported", reason=error.message)
        metric = named_by(parsed(test.expr))
        got = [sample_text(metric, tags, value) for tags, value in found]
        return judged(outcome, [sample_text(*expected) for expected in test.expected], got)

    def elements(self, vector: Vector) -> list[tuple[dict[str, str], float]]:
        """The elements of a vector now: its values, there where its guard holds."""
        queries = queries_of(vector)
        values = self.world.query(queries[0])
        if vector.guard is None:
            return values
        holds = self.world.query(queries[1])
        there = {tuple(sorted(tags.items())) for tags, truth in holds if truth == 1.0}
        return [(tags, value) for tags, value in values if tuple(sorted(tags.items())) in there]


def vector_of(expr: str, scope: Scope) -> Vector | Unsupported:
    """What an expression is here, or why it is nothing."""
    try:
        return translate(parsed(expr), scope)[0]
    except Unsupported as error:
        return error


def queries_of(vector: Vector | Unsupported) -> list[Query]:
    """What is asked of the engine: the vector's value, and its guard."""
    if isinstance(vector, Unsupported):
        return []
    nodes = [vector.value] if vector.guard is None else [vector.value, vector.guard]
    return [Query(node, None, vector.group_by or ()) for node in nodes]


def scope_of(subject: Subject, group: TestGroup) -> Scope:
    """What is known around a group: a recorded name that the test itself feeds is a series like any other."""
    counters = set()
    for test in group.expression_tests:
        try:
            counters |= {read.metric for read in reads(parsed(test.expr)) if read.is_counted}
        except Unsupported:
            continue
    labels: dict[str, frozenset[str]] = {}
    for series in group.series:
        labels[series.metric] = labels.get(series.metric, frozenset()) | series.labels.keys()
    return Scope(
        interval_seconds=max(1, round(group.interval_seconds)),
        counters=frozenset(counters),
        fed=frozenset(labels),
        labels=lambda metric: labels.get(metric, frozenset()),
    )


def feeds_of(group: TestGroup, scope: Scope, own: Iterable[Rule]) -> Iterator[Feed]:
    """Counters are fed what they rose by, all others their values."""
    by_use = kinds_by_use(own)
    for series in group.series:
        number = kinds.COUNTER if series.metric in scope.counters else by_use.get(series.metric, kinds.GAUGE)
        samples = stamped(series, group.interval_seconds)
        yield Feed(series.metric, series.labels, number, increments(samples) if number == kinds.COUNTER else samples)


def stamped(series: InputSeries, interval_seconds: float) -> list[tuple[float, float]]:
    return [(n * interval_seconds, value) for n, value in enumerate(series.values.samples) if value is not None]


def within(tests: Iterable[Test], begin: float, seconds: float) -> list[Test]:
    """The tests of one tick, in the order of their times."""
    return sorted((test for test in tests if begin <= test.seconds < begin + seconds), key=lambda test: test.seconds)


# ---- texts


def labels_of(alert: Alert, has_severity: bool) -> dict[str, str]:
    hidden = (ALERTNAME,) if has_severity else (ALERTNAME, SEVERITY)
    return {key: value for key, value in alert.labels.items() if key not in hidden}


def shown(labels: Mapping[str, str], texts: Mapping[str, str]) -> str:
    return f"{label_text(labels)} {label_text(texts)}" if texts else label_text(labels)


def label_text(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def sample_text(metric: str, labels: Mapping[str, str], value: float) -> str:
    return f"{metric}{label_text(labels)} {rounded(value)}"


def rounded(value: float) -> str:
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else str(value)


def named_by(node: Any) -> str:
    """The metric's name that the elements of an expression keep: of a selector, filtered or not."""
    match kind(node):
        case "ParenExpr":
            return named_by(node.expr)
        case "BinaryExpr" if str(node.op) in COMPARISONS and kind(node.lhs) != "NumberLiteral":
            return named_by(node.lhs)
        case "VectorSelector":
            return name_of(node)
    return ""

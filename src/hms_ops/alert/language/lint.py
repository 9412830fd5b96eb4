"""Warns of rules that load, and are not what their author thinks: `file:line: rule: what, and what to do`.

    ALERT full WHEN avg(disk.used_percent) > 95 RECOVER < 97     RECOVER adds nothing
    ALERT idle WHEN avg(x, 10s) = 0.1 FOR 5s EVERY 1m            equality of fractions; judged once a minute

Read by `check-config`. What is static is always looked at; two questions are answered by a running engine only, each
asked with a metric's name, None where nobody knows: was it ever seen (`metrics`), and how far apart are its samples
(`gap_seconds`). A rule that does not compile has errors, not warnings, and is the compiler's. Pure; raises nothing.
Not here: receivers that are not served (receivers/), routes that nothing matches.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeAlias

from hms_ops.alert.figure import SHARES
from hms_ops.alert.language.functions import function_named, percentile_rank
from hms_ops.alert.language.reach import Line, comparisons, constant, line_of, places, quantities, truth_at
from hms_ops.alert.language.tokens import duration_text, nearest
from hms_ops.alert.language.tree import (
    CONDITIONS,
    GROUP_BY_ALL,
    Absent,
    Aggregate,
    Arith,
    Binary,
    Compare,
    Condition,
    IsNull,
    Junction,
    Negative,
    Number,
    Scalar,
    Selector,
    children,
    selectors,
)
from hms_ops.alert.language.units import TIME_UNITS, UnitLookup, unit_of
from hms_ops.alert.language.wording import format
from hms_ops.alert.plan import DEFAULT_WINDOW_SECONDS, no_units
from hms_ops.alert.rule import Rule
from hms_ops.alert.template import unknown_names

MetricSeen: TypeAlias = Callable[[str], bool | None]
GapSeconds: TypeAlias = Callable[[str], float | None]

SAMPLES_A_WINDOW: Final = 2  # the fewest that a window should hold
SEVERITIES: Final = ("page", "critical", "error", "warning", "warn", "ticket", "info")  # words in use; any may be
NOT_ASKED: Final[Callable[[str], None]] = lambda metric: None  # noqa: E731

_FRACTIONS: Final = ("avg", "moving_mean", "ewma", "zscore", "stddev", "rate", "quantile", "burn_rate", *SHARES)
_GOOD_AND_TOTAL: Final = (".good", ".total")  # the counters that a service level objective publishes


class Known(NamedTuple):
    """What is known besides the rules themselves. names: of all rules, whose gauges are metrics too; policies: the
    names there are, None where nobody knows."""

    metrics: MetricSeen
    gap_seconds: GapSeconds
    unit: UnitLookup
    names: Collection[str]
    policies: Collection[str] | None


def lint(
    rules: Iterable[Rule],
    *,
    metrics: MetricSeen = NOT_ASKED,
    gap_seconds: GapSeconds = NOT_ASKED,
    unit: UnitLookup = no_units,
    policies: Collection[str] | None = None,
) -> list[str]:
    """The warnings of all rules, in their order."""
    rules = list(rules)
    known = Known(metrics, gap_seconds, unit, {rule.name for rule in rules}, policies)
    return [
        f"{rule.source}: {rule.name}: {warning}" for rule in rules for check in CHECKS for warning in check(rule, known)
    ]


# ---- what the condition says


def unseen_metrics(rule: Rule, known: Known) -> Iterator[str]:
    """A rule whose metrics nobody has sent cannot fire, unless it asks for just that."""

    def is_unseen(series: Selector) -> str:
        metric = series.metric
        return metric if metric not in known.names and known.metrics(metric) is False else ""

    for metric in dict.fromkeys(what_is_missing(rule.condition, is_unseen)):
        yield f"no metric {metric!r} was ever seen, so this cannot fire; send it, or correct its name"


def what_is_missing(node: Condition | Arith, problem: Callable[[Selector], str]) -> list[str]:
    """What `problem` says, "" for nothing, of the series without which a condition is never TRUE, or a number NULL."""
    match node:
        case Absent() | IsNull() | Scalar(function="coalesce"):
            return []
        case Junction("OR", left, right):
            ours, theirs = what_is_missing(left, problem), what_is_missing(right, problem)
            return ours + theirs if ours and theirs else []
        case Junction("UNLESS", left, _):
            return what_is_missing(left, problem)
        case Aggregate("burn_rate", Selector(slo, matchers)):
            found = [problem(Selector(slo + ending, matchers)) for ending in _GOOD_AND_TOTAL]
        case Selector():
            found = [problem(node)]
        case _:
            found = [why for child in children(node) for why in what_is_missing(child, problem)]
    return [why for why in found if why]


def decided_conditions(rule: Rule, known: Known) -> Iterator[str]:
    """Conditions that no possible value makes TRUE, or that every value does."""
    for quantity in quantities(rule.condition):
        line = line_of(quantity, known.unit)
        truths = {truth_at(rule.condition, line, value) for value in places(line, rule.condition)}
        if truths == {False}:
            yield f"the condition is never true, whatever {format(quantity)} is{_why(line)}"
            return
        if truths == {True}:
            yield f"the condition is true whatever {format(quantity)} is{_why(line)}"
            return


def _why(line: Line) -> str:
    low, high = line.reach
    known = [f"not less than {low:g}"] * (low > float("-inf")) + [f"not more than {high:g}"] * (high < float("inf"))
    return f" ({' and '.join(known)})" if known else ""


def times_as_written(rule: Rule, known: Known) -> Iterator[str]:
    """Times against a metric that is no timer and whose unit nobody knows."""
    for condition in conditions_of(rule):
        for node in comparisons(condition):
            sides = [side for side in children(node) if not isinstance(side, CONDITIONS)]
            if not any(map(_is_time, sides)) or any(unit_of(side, known.unit) for side in sides):
                continue
            for metric in filter(known.metrics, filter(None, map(_measured, sides))):
                yield (
                    f"the unit of {metric} is not known, so the time in {format(node)} counts as it is written; "
                    "describe the metric's unit, or write a plain number"
                )


def _is_time(node: Arith) -> bool:
    inner = node.operand if isinstance(node, Negative) else node
    return isinstance(inner, Number) and inner.unit in TIME_UNITS


def _measured(node: Arith) -> str:
    """The metric whose unit a calculation has, "" for none."""
    match node:
        case Selector(metric):
            return metric
        case Aggregate(function, series):
            known = function_named(function)
            return _measured(series) if known is not None and known.keeps_unit else ""
        case Negative(operand):
            return _measured(operand)
    return ""


def conditions_of(rule: Rule) -> list[Condition]:
    """Its condition, and its RECOVER if it has one."""
    return [rule.condition] if rule.recover is None else [rule.condition, rule.recover]


def equal_fractions(rule: Rule, known: Known) -> Iterator[str]:
    """Equality of numbers that are hardly ever exactly equal."""
    for condition in conditions_of(rule):
        for node in comparisons(condition):
            if isinstance(node, Compare) and node.op in ("=", "!=") and _has_fraction(node, known.unit):
                yield (
                    f"{format(node)} compares numbers with fractions, which are hardly ever equal; "
                    "write BETWEEN, or a comparison such as >="
                )


def _has_fraction(node: Compare, unit: UnitLookup) -> bool:
    against = unit_of(node.left, unit) or unit_of(node.right, unit)
    for side in (node.left, node.right):
        value = constant(side, against)
        if (value is not None and not value.is_integer()) or (value is None and is_fraction(side, unit)):
            return True
    return False


def is_fraction(node: Arith, unit: UnitLookup) -> bool:
    """Whether a calculation mostly comes to a number with a fraction; times do, counts do not."""
    if isinstance(node, Aggregate) and (node.function in _FRACTIONS or percentile_rank(node.function) is not None):
        return True
    if isinstance(node, Binary) and node.op == "/":
        return True
    if isinstance(node, Scalar) and node.function in ("ln", "sqrt"):
        return True
    if isinstance(node, Selector):
        measured = unit_of(node, unit)
        return measured is not None and measured.dimension == "time"
    if isinstance(node, Aggregate) and node.function in ("count", "changes"):
        return False
    return any(is_fraction(child, unit) for child in children(node) if not isinstance(child, CONDITIONS))


# ---- what the clauses add


def useless_recovers(rule: Rule, known: Known) -> Iterator[str]:
    """A RECOVER on the wrong side of the condition: alerts never resolve, or as they would without it."""
    quantity = next(iter(quantities(rule.condition)), None)
    if rule.recover is None or quantity is None:
        return
    line = line_of(quantity, known.unit)
    ends = places(line, rule.condition, rule.recover)
    pairs = [(truth_at(rule.condition, line, value), truth_at(rule.recover, line, value)) for value in ends]
    calm = [(breach, recovered) for breach, recovered in pairs if breach is not True]
    written = f"RECOVER {format(rule.recover)}"
    if not any(recovered is not False for _, recovered in calm):
        yield (
            f"{written} is never true while the condition is false, so this never resolves; "
            "write the opposite comparison"
        )
    elif (False, False) in (pairs[0], pairs[-1]):
        end = ends[0] if pairs[0] == (False, False) else ends[-1]
        yield (
            f"{written} is on the wrong side: at {end:g} neither it nor the condition is true, so this stays firing "
            "there; write it as the opposite comparison"
        )
    elif all(recovered is True for _, recovered in calm):
        yield f"{written} adds nothing: it is true wherever the condition is false; leave a distance between the two"


def short_windows(rule: Rule, known: Known) -> Iterator[str]:
    """Windows that hold too few samples, or that leave seconds unread between two judgements."""
    for series in dict.fromkeys(_windowed(rule)):
        window = DEFAULT_WINDOW_SECONDS if series.window_seconds is None else series.window_seconds
        shown, gap = duration_text(window), known.gap_seconds(series.metric)
        if gap is not None and window < SAMPLES_A_WINDOW * gap:
            rest = ", and FOR counts only while there are samples in it" if rule.for_seconds and gap > window else ""
            yield (
                f"the window {shown} of {series.metric} is shorter than twice its sample gap of {gap:.3g} s{rest}; "
                f"make it {duration_text(float(-(-SAMPLES_A_WINDOW * gap // 1)))} at least"
            )
        if rule.every_seconds > window:
            yield (
                f"the window {shown} of {series.metric} is shorter than EVERY {duration_text(rule.every_seconds)}: "
                "what happens between is never looked at"
            )


def _windowed(rule: Rule) -> Iterator[Selector]:
    """What is aggregated over a window; `last` keeps a gauge's value however long the window is."""
    for condition in conditions_of(rule):
        yield from _windowed_in(condition)


def _windowed_in(node: Condition | Arith) -> Iterator[Selector]:
    if isinstance(node, Absent):
        yield node.series
    elif isinstance(node, Aggregate):
        if node.function not in ("last", "burn_rate"):
            yield from (
                series if node.window_seconds is None else _with_window(series, node.window_seconds)
                for series in selectors(node.series)
            )
    else:
        for child in children(node):
            yield from _windowed_in(child)


def _with_window(series: Selector, seconds: float) -> Selector:
    return Selector(series.metric, series.matchers, seconds, series.offset_seconds, series.at)


def rare_judgements(rule: Rule, known: Known) -> Iterator[str]:
    """Times that are shorter than the time between two judgements."""
    for word, seconds in (("FOR", rule.for_seconds), ("KEEP", rule.keep_seconds)):
        if 0 < seconds < rule.every_seconds:
            every = duration_text(rule.every_seconds)
            yield f"{word} {duration_text(seconds)} is shorter than EVERY {every}, which makes it {every}"


def unknown_annotations(rule: Rule, known: Known) -> Iterator[str]:
    """`{name}`s that nothing will be put in for."""
    if rule.group_by == GROUP_BY_ALL:  # any tag may come
        return
    for key, text in rule.annotations.items():
        for name in unknown_names(text, (*rule.group_by, *rule.tags)):
            yield (
                f"annotation {key!r} has {{{name}}}, which is neither a fact of alerts nor a tag of this rule; "
                "it stays as it is written"
            )


def missing_policies(rule: Rule, known: Known) -> Iterator[str]:
    """An escalation policy that nobody has written: the alert escalates by none."""
    if rule.policy and known.policies is not None and rule.policy not in known.policies:
        yield f"no policy is named {rule.policy!r}, so this does not escalate{nearest(rule.policy, known.policies)}"


def odd_severities(rule: Rule, known: Known) -> Iterator[str]:
    """Any word may be a severity, but `page` alone does not wait, and routes and receivers know these words."""
    if rule.severity == "critical":
        yield "severity 'critical' waits with its group as all but 'page' do; write page where it must not"
    elif rule.severity not in SEVERITIES and (near := get_close_matches(rule.severity.lower(), SEVERITIES, 1, 0.7)):
        yield f"severity {rule.severity!r} is a word nothing here knows; did you mean {near[0]!r}?"


Check: TypeAlias = Callable[[Rule, Known], Iterator[str]]

CHECKS: Final[tuple[Check, ...]] = (
    unseen_metrics,
    decided_conditions,
    equal_fractions,
    times_as_written,
    useless_recovers,
    short_windows,
    rare_judgements,
    unknown_annotations,
    missing_policies,
    odd_severities,
)

"""Service level objectives as frozen values: what is good, how much of it is promised, and the rules that follow.

    slos:
      - slo: finance.api_latency
        objective: 99.9                       # percent of the samples, over the window
        good: finance.api_ms <= 200           # or two counters: good (or bad): web.ok, total: web.requests
        window: 30d
        notify: [sms:+1-555-0100]

An SLO named N is published as the counters `N.good` and `N.total` and the gauge `N.budget` (objectives.py counts), and
watched by four ordinary rules on the burn rate: how many times faster than allowed the error budget is being spent.
Each wants a long window, so that it is worth somebody's time, and a short one, so that it ends when the trouble does,
and as many events in the long one that a single failure is none of these. Source: The Site Reliability Workbook,
chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"; ALERTS section 3.

Read by the rule files' reader, `objectives.py`, `cli/slo.py`. Errors: `slo_from_keys` returns every problem with its
key. Not here: counting (objectives.py), burn_rate in the language (plan.py), OpenSLO (openslo.py).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeAlias

from hms_ops.alert.keys import (
    KeyProblem,
    Read,
    at_most,
    duration_from,
    number_from,
    read_keys,
    read_name,
    read_receivers,
    read_text,
)
from hms_ops.alert.language.grammar import parse_query, parse_where
from hms_ops.alert.language.tokens import duration_text, is_bare, quoted
from hms_ops.alert.language.tree import (
    Arith,
    Between,
    Compare,
    Condition,
    Negative,
    Not,
    Number,
    Query,
    Selector,
    Tags,
)
from hms_ops.alert.language.units import metric_unit, number_value
from hms_ops.alert.rule import DEFAULT_SEVERITY, Rule, read_group_by, read_texts, rule_from_keys

DAY_SECONDS: Final = 86_400
WINDOW_SECONDS: Final = 30 * DAY_SECONDS
WINDOW_SECONDS_MIN: Final = 3600
WINDOW_SECONDS_MAX: Final = 400 * DAY_SECONDS  # what history keeps by the hour
NAME_BYTES_MAX: Final = 180  # of the 200 of a metric, less what is appended
EVENTS_MAX: Final = 1_000_000_000


class Burn(NamedTuple):
    """One alert on the burn rate: above `factor` over both windows. page: it wakes somebody, else it is a ticket."""

    name: str
    factor: float
    long_seconds: int
    short_seconds: int
    page: bool


BURNS: Final = (
    Burn("burn_fast", 14.4, 3600, 300, True),
    Burn("burn_medium", 6.0, 6 * 3600, 1800, True),
    Burn("burn_slow", 3.0, DAY_SECONDS, 2 * 3600, False),
    Burn("burn_creep", 1.0, 3 * DAY_SECONDS, 6 * 3600, False),
)
TICKET: Final = "ticket"


class Goal(NamedTuple):
    """The values that are good: those in [low, high], or those outside of it."""

    low: float
    high: float
    is_outside: bool


@dataclass(frozen=True, slots=True)
class Threshold:
    """Good are the samples of a metric that a comparison takes; it holds numbers beside the metric only."""

    series: Selector
    condition: Condition

    def goal(self, unit: str | None = None) -> Goal:
        """The comparison in the metric's own unit; unit: as described. ValueError when a number's unit fits none."""
        return goal_of(self.condition, self.series.metric, unit)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Good is what one counter says of another's total; or bad is, and good the rest."""

    part: Selector
    total: Selector
    is_bad: bool = False


Indicator: TypeAlias = Threshold | Ratio


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. objective: percent. text: of what is good, as written. min_events: in the long window of each
    burn alert; None: as few as make one failure no reason for it. severity, policy: of the two fast burns; the slow
    ones are tickets, which go to `tickets`, or to `notify` where there is no such key. Other fields go to the rules as
    they are. source: `file:line`."""

    name: str
    objective: float
    indicator: Indicator
    text: str
    where: Tags | None = None
    group_by: tuple[str, ...] = ()
    window_seconds: float = WINDOW_SECONDS
    min_events: int | None = None
    severity: str = DEFAULT_SEVERITY
    notify: tuple[str, ...] = ()
    tickets: tuple[str, ...] | None = None
    policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def share(self) -> float:
        """The objective as a share of 1, the nearest there is: 0.999 of 99.9."""
        return float(Fraction(str(self.objective)) / 100)

    @property
    def allowed(self) -> float:
        """The share that may fail: the error budget."""
        return float(1 - Fraction(str(self.objective)) / 100)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is counted."""
        if isinstance(self.indicator, Threshold):
            return (self.indicator.series.metric,)
        return self.indicator.part.metric, self.indicator.total.metric

    @property
    def published(self) -> tuple[str, str, str]:
        """The names of its counters good and total, and of its gauge budget."""
        return f"{self.name}.good", f"{self.name}.total", f"{self.name}.budget"

    def burns(self) -> list[Burn]:
        """The burn alerts that can fire: nothing burns faster than when all fails."""
        return [burn for burn in BURNS if burn.factor * self.allowed < 1]

    def floor(self, burn: Burn) -> int:
        """How many events the long window must have: with fewer, one failure could be the whole reason."""
        if self.min_events is not None:
            return self.min_events
        return math.ceil(1 / (Fraction(str(burn.factor)) * (1 - Fraction(str(self.objective)) / 100)))

    def rules(self) -> list[Rule]:
        """Its burn alerts as rules, named `N.burn_fast` and so on."""
        return [self._rule(burn) for burn in self.burns()]

    def warnings(self) -> list[str]:
        """What loads, but not as its author may think: `file:line: …`."""
        never = [burn.name for burn in BURNS if burn not in self.burns()]
        if not never:
            return []
        most = f"with an objective of {self.objective:g} % nothing burns faster than {1 / self.allowed:.3g} times"
        return [f"{self.source}: {self.name}: {most}: it has no {' and no '.join(never)}"]

    def _rule(self, burn: Burn) -> Rule:
        given: dict[str, Any] = {
            "alert": f"{self.name}.{burn.name}",
            "if": self.burn_text(burn),
            "severity": self.severity if burn.page else TICKET,
            "notify": list(self.notify if burn.page or self.tickets is None else self.tickets) or None,
            "policy": self.policy if burn.page else None,
            "group_by": ",".join(map(named, self.group_by)) if self.group_by != ("*",) else "*",
            "tags": {"slo": self.name, **self.tags},
            "annotations": {"summary": self._summary(burn), **self.annotations},
        }
        rule, problems = rule_from_keys({key: value for key, value in given.items() if value}, self.source)
        assert rule is not None, problems  # all of it was read before
        return rule

    def burn_text(self, burn: Burn) -> str:
        """The condition of a burn alert."""
        name = named(self.name)
        windows = (duration_text(seconds) for seconds in (burn.long_seconds, burn.short_seconds))
        burning = [f"burn_rate({name}, {window}) > {burn.factor:g}" for window in windows]
        enough = f"increase({named(self.name + '.total')}, {duration_text(burn.long_seconds)}) >= {self.floor(burn)}"
        return " AND ".join([*burning, enough])

    def _summary(self, burn: Burn) -> str:
        spent = burn.factor * burn.long_seconds / self.window_seconds
        over = duration_text(burn.long_seconds)
        return (
            f"{escaped(self.name)} spends its error budget {{value}} times too fast; at {burn.factor:g} times, {over} "
            f"costs {100 * spent:.2g} % of what {duration_text(self.window_seconds)} allow"
        )


def named(name: str) -> str:
    """A name as the language has it: quoted where it is no word."""
    return name if is_bare(name) else quoted(name)


def escaped(text: str) -> str:
    """A text that stays as it is in a template."""
    return text.replace("{", "{{").replace("}", "}}")


# ---- what is good


def goal_of(condition: Condition, metric: str, unit: str | None = None) -> Goal:
    """The values that a comparison of a metric with numbers takes. ValueError for any other condition."""
    against = metric_unit(metric, unit)

    def number(node: Arith) -> float:
        sign, inner = (-1.0, node.operand) if isinstance(node, Negative) else (1.0, node)
        if not isinstance(inner, Number):
            raise ValueError(WANTED)
        return sign * number_value(inner.value, inner.unit, against)

    if isinstance(condition, Not):
        low, high, is_outside = goal_of(condition.operand, metric, unit)
        return Goal(low, high, not is_outside)
    if isinstance(condition, Between):
        return Goal(number(condition.low), number(condition.high), condition.negated)
    if not isinstance(condition, Compare):
        raise ValueError(WANTED)
    if isinstance(condition.left, Selector):
        return compared(condition.op, number(condition.right))
    return compared(MIRRORED[condition.op], number(condition.left))


def compared(op: str, value: float) -> Goal:
    """`x op value` as an interval: a strict end is the next number there is."""
    below, above = math.nextafter(value, -math.inf), math.nextafter(value, math.inf)
    return {
        "<=": Goal(-math.inf, value, False),
        "<": Goal(-math.inf, below, False),
        ">=": Goal(value, math.inf, False),
        ">": Goal(above, math.inf, False),
        "=": Goal(value, value, False),
        "!=": Goal(value, value, True),
    }[op]


MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
WANTED: Final = "good is a metric compared with a number, such as finance.api_ms <= 200, or a counter beside `total`"


def selectors_of(node: Condition | Arith) -> Iterator[Selector]:
    """The selectors a comparison may hold: those that stand bare in it."""
    match node:
        case Selector():
            yield node
        case Not(operand):
            yield from selectors_of(operand)
        case Compare(_, left, right):
            yield from (side for side in (left, right) if isinstance(side, Selector))
        case Between(left, _, _, _):
            yield from (left,) if isinstance(left, Selector) else ()


def checked(series: Selector) -> Selector:
    if series.window_seconds is not None or series.offset_seconds is not None:
        raise ValueError(f"{series.metric}: each sample is counted as it comes, so it takes no window and no OFFSET")
    return series


def read_series(value: Any) -> Query:
    """What is good or bad: a comparison or a counter, with WHERE."""
    query = parse_query(read_text(value))
    found = list(selectors_of(query.expression))
    if len(found) != 1:
        raise ValueError(WANTED)
    if query.group_by:
        raise ValueError("GROUP BY is the key group_by here")
    checked(found[0])
    if not isinstance(query.expression, Selector):
        goal_of(query.expression, found[0].metric)  # type: ignore[arg-type]
    return query


def read_counter(value: Any) -> Selector:
    query = read_series(value)
    if not isinstance(query.expression, Selector) or query.where is not None:
        raise ValueError(f"expected a counter such as web.requests, found {value!r}")
    return query.expression


# ---- keys


def read_objective(value: Any) -> float:
    """Percent: 99.9, or the same with its sign."""
    text = value.rstrip("% ") if isinstance(value, str) and value.strip().endswith("%") else None
    try:
        number = float(text) if text is not None else value
    except ValueError:
        number = value
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number < 100:
        raise ValueError(f"expected percent above 0 and below 100, such as 99.9, found {value!r}")
    return float(number)


def read_slo_name(value: Any) -> str:
    name = read_name(value)
    if len(name.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"the name {name[:60]!r} has over {NAME_BYTES_MAX} bytes, and its metrics append to it")
    return name


SLO_READERS: Final[dict[str, Read]] = {
    "slo": read_slo_name,
    "objective": read_objective,
    "good": read_series,
    "bad": read_counter,
    "total": read_counter,
    "where": lambda value: parse_where(read_text(value)),
    "group_by": read_group_by,
    "window": at_most(WINDOW_SECONDS_MAX, duration_from(WINDOW_SECONDS_MIN)),
    "min_events": at_most(EVENTS_MAX, number_from(1, whole=True)),
    "severity": read_name,
    "notify": read_receivers,
    "tickets": read_receivers,
    "policy": read_name,
    "tags": read_texts,
    "annotations": read_texts,
}


def slo_from_keys(given: Mapping[str, Any], source: str) -> tuple[Slo | None, list[KeyProblem]]:
    """The SLO that the keys of a rule file describe, or None and all that is wrong with them."""
    values, problems = read_keys(given, SLO_READERS, required=("slo", "objective"))
    if problems:
        return None, problems
    text = str(given.get("good") or given.get("bad")).strip()
    good, bad, total = (values.pop(key, None) for key in ("good", "bad", "total"))
    if good is not None and good.where is not None:
        if "where" in values:
            return None, [KeyProblem("where", "WHERE stands in `good` and as a key; remove one of the two")]
        values["where"] = good.where
    indicator = indicator_of(good.expression if good is not None else None, bad, total)
    if isinstance(indicator, KeyProblem):
        return None, [indicator]
    if "window" in values:
        values["window_seconds"] = values.pop("window")
    return Slo(values.pop("slo"), values.pop("objective"), indicator, text, **values, source=source), []


def indicator_of(
    good: Condition | Arith | None, bad: Selector | None, total: Selector | None
) -> Indicator | KeyProblem:
    """What the three keys say together."""
    if (good is None) == (bad is None):
        return KeyProblem("", "one of the keys 'good' and 'bad' is wanted")
    if isinstance(good, Selector) or bad is not None:
        if total is None:
            return KeyProblem("", f"the key 'total' is missing: {WANTED}")
        return Ratio(good if isinstance(good, Selector) else bad, total, bad is not None)  # type: ignore[arg-type]
    if total is not None:
        return KeyProblem("total", "the total of a comparison is all samples of its metric; remove this key")
    assert good is not None
    series = next(selectors_of(good))
    return Threshold(series, good)  # type: ignore[arg-type]

"""Whether rules can do their work: those that are not evaluated, and those that nothing has ever matched.

    engine.rule_health()["db.slow"]   RuleHealth("never matched", "no metric 'db.wriet_ms' was ever seen")

A rule that needs a series nobody has ever sent cannot fire, and would look calm for ever. What it needs is told by its
condition (`lint.what_is_missing`); what was ever sent by memory and the catalogue. A rule that asks for silence
(ABSENT, NODATA alert) needs nothing. Derived when it is asked for and kept for REST_SECONDS, since screens ask often.
Threads: any. Limits: SERIES_LOOKED series of a metric are looked at; one that has more is taken for matched.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

from hms_ops.alert.language.lint import what_is_missing
from hms_ops.alert.language.tags import accepts
from hms_ops.alert.language.tree import Selector
from hms_ops.alert.language.wording import format, format_tags
from hms_ops.alert.rule import Rule
from hms_ops.clock import SECOND_NS, steady_ns
from hms_ops.duty import Duty
from hms_ops.past import Past

REST_SECONDS: Final = 5.0
SERIES_LOOKED: Final = 10_000


class RuleHealth(NamedTuple):
    """state: "watching", "never matched" or "not evaluated". problem: why, "" while it watches."""

    state: str
    problem: str = ""


WATCHING: Final = RuleHealth("watching")


class RulesHealth:
    """Of the rules of one engine."""

    def __init__(self, duty: Duty, past: Past) -> None:
        self._duty = duty
        self._past = past
        self._found: Mapping[str, RuleHealth] = {}
        self._of: object = None  # the plans that `_found` is of
        self._good_until_ns = 0

    def of_all(self) -> Mapping[str, RuleHealth]:
        """By name, those that are not just watching."""
        plans = self._duty.rulebook.plans
        if self._of is not plans or steady_ns() >= self._good_until_ns:
            refused, suspects = self._duty.suspects()
            metrics = {*self._past.metrics(), *self._duty.reserved} if suspects else set()
            found = {rule.name: RuleHealth("never matched", why) for rule, why in self._unmatched(suspects, metrics)}
            self._found = found | {name: RuleHealth("not evaluated", why) for name, why in refused.items()}
            self._of, self._good_until_ns = plans, steady_ns() + int(REST_SECONDS * SECOND_NS)
        return self._found

    def _unmatched(self, rules: Iterable[Rule], metrics: set[str]) -> Iterator[tuple[Rule, str]]:
        for rule in rules:
            missing = what_is_missing(rule.condition, partial(self._problem, rule, metrics))
            if missing and rule.nodata != "alert":
                yield rule, missing[0]

    def _problem(self, rule: Rule, metrics: set[str], selector: Selector) -> str:
        if selector.metric not in metrics:
            return f"no metric {selector.metric!r} was ever seen"
        test = accepts(selector.matchers, rule.where)
        if test is None:
            return ""
        known = self._past.known(selector.metric)
        if len(known) > SERIES_LOOKED or any(test(one.info.tags) for one in known):
            return ""
        where = f" WHERE {format_tags(rule.where)}" if rule.where is not None else ""
        return f"no series was ever seen of {format(selector)}{where}"

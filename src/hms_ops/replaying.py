"""Rules over the past: what would they have paged, from when to when, how often?

    past ─► Bygone ─► RuleSet.evaluate(t) for each step ─► Judgement ─► Book.advance ─► events ─► Episode, Summary

Compiler, kernels and state machine are the engine's own; only the columns are made anew from history (bygone.py). So a
replay of rules that are judged each 10 s, over windows of whole 10 s, is what happened live, to the tick. Where history
has rows of a minute or an hour only, rules are judged that often (`Judgement.seconds` says so). All begin inactive, an
hour after their windows do. While the engine was down nothing was judged; the clocks of `for` and `keep` stood still.

Errors: ExpressionError for a rule that does not compile, ValueError for more series than can be replayed, StorageError
when the disk fails; a rule that cannot be evaluated has its reason in `Replayed.problems`.
Threads: the caller's. Cost: about half a millisecond a step and some rules: a month by the minute is half a minute.
Not here: anomaly rules, which are judged by single seconds; routes, silences and receivers.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from hms_ops.alert.evaluate import RuleSet
from hms_ops.alert.language.desugar import Objectives, none_known
from hms_ops.alert.language.reach import comparisons
from hms_ops.alert.language.tree import Compare
from hms_ops.alert.layout import InstanceKey
from hms_ops.alert.machine import Floats
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import Plan, UnitLookup, compile_rule, no_units
from hms_ops.alert.rule import Rule
from hms_ops.alert.states.book import Book
from hms_ops.alert.states.state import Timing, verdict
from hms_ops.bygone import MINUTE_SECONDS, STEP_SECONDS, Bygone
from hms_ops.longview import LongView
from hms_ops.past import Past
from hms_ops.roster import Known

LEAD_SECONDS: Final = 3600  # read before the first judgement, so that all windows are whole
HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 86_400
EPISODES_MAX: Final = 100_000  # kept; more are counted only


class Judgement(NamedTuple):
    """All rules at one second; the arrays as in an Evaluation. seconds: since the judgement before, as far as rows of
    history go; is_down: the engine did not run, nothing was judged."""

    second: int
    seconds: int
    keys: Sequence[InstanceKey]
    condition: Floats
    recover: Floats
    value: Floats
    problems: Mapping[str, str]
    is_down: bool = False


class Episode(NamedTuple):
    """One firing. began: when its condition became true; ended: 0 while it still fires at the end of the replay. peak:
    the value that was furthest to the side the rule looks at, NaN for none."""

    name: str
    tags: tuple[tuple[str, str], ...]
    severity: str
    began: int
    fired: int
    ended: int
    peak: float
    reason: str = ""


@dataclass(slots=True)
class Replayed:
    """What came of it. pending_only: how often an instance was pending and did not fire; steps: judgements by the
    seconds they stand for."""

    episodes: list[Episode] = field(default_factory=list)
    left_out: int = 0
    pending_only: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    steps: Counter[int] = field(default_factory=Counter)
    down_seconds: int = 0
    first: int = 0
    last: int = 0


class Summary(NamedTuple):
    """How often and how long one rule fired, all its instances together. share: of the time, 0 to 1, in which any of
    them fired; per_day: pages a day."""

    name: str
    fired: int
    pending_only: int
    firing_seconds: int
    longest_seconds: int
    share: float
    per_day: float
    problem: str


# ---- the state machine over judgements


@dataclass(slots=True)
class _Open:
    """An instance that is pending or firing."""

    began: int
    peak: float
    fired: int = 0


class _Watcher:
    """Follows one book's events and values."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = {rule.name: rule for rule in rules}
        self.found = Replayed()
        self._book = Book(rules)
        self._open: dict[InstanceKey, _Open] = {}
        self._severities = {rule.name: rule.severity for rule in rules}
        self._falls = {rule.name: looks_down(rule) for rule in rules}
        self._timings = {
            rule.name: Timing(rule.for_seconds, rule.keep_seconds, rule.nodata, rule.recover is not None)
            for rule in rules
        }
        self._keys: Sequence[InstanceKey] = ()
        self._position: dict[InstanceKey, int] = {}
        self._down_seconds = 0  # not yet taken off the clocks

    def see(self, one: Judgement) -> None:
        """One judgement."""
        if not self.found.last:
            self.found.first = one.second - one.seconds
        self.found.last = one.second
        self.found.problems.update(one.problems)
        if one.is_down:
            self._down_seconds += one.seconds
            self.found.down_seconds += one.seconds
            return
        self.found.steps[one.seconds] += 1
        if self._down_seconds:
            self._book.move_clocks(self._down_seconds)
            self._down_seconds = 0
        events = self._book.advance(one.keys, one.condition, one.recover, one.value, one.second, one.problems.keys())
        if not events and not self._open:
            return
        if one.keys is not self._keys:
            self._keys, self._position = one.keys, {key: place for place, key in enumerate(one.keys)}
        for event in events:
            self._take(event, one.second)
        self._follow(one)

    def finish(self) -> Replayed:
        """What fires still has no end."""
        for key, one in self._open.items():
            if one.fired:
                self._end(key, one, 0, "")
        self.found.episodes.sort(key=lambda episode: (episode.fired, episode.name, episode.tags))
        return self.found

    def _take(self, event: Alert, now: int) -> None:
        key = event.name, event.group
        known = self._open.get(key)
        if event.state == "pending":
            self._open[key] = _Open(int(event.since), math.nan)
        elif event.state == "firing":
            self._open[key] = known or _Open(int(event.since), math.nan)
            self._open[key].fired = now
        elif known is not None:
            self._end(key, known, now, event.reason)
            del self._open[key]

    def _follow(self, one: Judgement) -> None:
        """The values of what is pending or fires; and what was pending and is calm again, which is no event."""
        for key, known in list(self._open.items()):
            place = self._position.get(key, -1)
            if place < 0:
                continue
            value = float(one.value[place])
            if not math.isnan(value):
                worse = min if self._falls[key[0]] else max
                known.peak = value if math.isnan(known.peak) else worse(known.peak, value)
            if not known.fired and self._is_calm(key[0], one, place):
                self.found.pending_only[key[0]] += 1
                del self._open[key]

    def _is_calm(self, name: str, one: Judgement, place: int) -> bool:
        if one.second % self.rules[name].every_seconds:
            return False
        return verdict(float(one.condition[place]), float(one.recover[place]), self._timings[name])[0] == 0.0

    def _end(self, key: InstanceKey, one: _Open, ended: int, reason: str) -> None:
        if len(self.found.episodes) >= EPISODES_MAX:
            self.found.left_out += 1
            return
        name, tags = key
        self.found.episodes.append(
            Episode(name, tags, self._severities[name], one.began, one.fired, ended, one.peak, reason)
        )


def replay(rules: Sequence[Rule], judgements: Iterable[Judgement]) -> Replayed:
    """The episodes that these rules have over judgements, which come in the order of time. Pure."""
    watcher = _Watcher(rules)
    for one in judgements:
        watcher.see(one)
    return watcher.finish()


def looks_down(rule: Rule) -> bool:
    """Whether small values are the bad ones: its first comparison is < or <=."""
    first = next(comparisons(rule.condition), None)
    return isinstance(first, Compare) and first.op in ("<", "<=")


def summaries(rules: Sequence[Rule], found: Replayed) -> list[Summary]:
    """One for each rule, in their order."""
    by_name: dict[str, list[Episode]] = {}
    for episode in found.episodes:
        by_name.setdefault(episode.name, []).append(episode)
    return [_summary(rule.name, by_name.get(rule.name, []), found) for rule in rules]


def _summary(name: str, episodes: list[Episode], found: Replayed) -> Summary:
    spans = [(one.fired, one.ended or found.last) for one in episodes]
    lengths = [end - begin for begin, end in spans]
    seconds = max(1, found.last - found.first - found.down_seconds)
    return Summary(
        name,
        len(episodes),
        found.pending_only[name],
        sum(lengths),
        max(lengths, default=0),
        min(1.0, _union_seconds(spans) / seconds),
        len(episodes) * DAY_SECONDS / seconds,
        found.problems.get(name, ""),
    )


def _union_seconds(spans: Iterable[tuple[int, int]]) -> int:
    """How many seconds are in any of these spans."""
    total = reached = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


# ---- judgements out of history


def judged(
    rules: Sequence[Rule],
    past: Past,
    start: int,
    end: int,
    step: int = STEP_SECONDS,
    *,
    unit: UnitLookup = no_units,
    objective: Objectives = none_known,
) -> Iterator[Judgement]:
    """The judgements of (start, end], each `step` seconds (a multiple of 10) or as often as history has rows."""
    if step < STEP_SECONDS or step % STEP_SECONDS:
        raise ValueError(f"a step of {step} s is no multiple of {STEP_SECONDS} s")
    plans = plans_of(rules, unit, objective)
    sketched = {metric for plan in plans.values() for metric in metrics_with_figures(plan)}
    stretches = list(stretches_of(past, max(start - LEAD_SECONDS, past.first_second), end))
    if not stretches:
        return
    bygone = Bygone(past, metrics_of(plans), stretches[0][0], sketched)
    recall = LongView(past, bygone)  # type: ignore[arg-type]
    rule_set = RuleSet(bygone, recall=recall)
    rule_set.reloaded = bygone.reloaded
    rule_set.replace(plans)
    uptime = _Uptime(past, plans)
    before = max(start, stretches[0][0])
    for begin, stop, seconds in stretches:
        for at in range(begin + seconds, stop + 1, seconds):
            bygone.move_to(at)
            if at <= start or (seconds < step and at % step):
                continue
            if not uptime.was_up(at) and not bygone.has_rows:
                yield Judgement(at, at - before, (), _NOTHING, _NOTHING, _NOTHING, {}, is_down=True)
            else:
                recall.refresh(at)
                made = rule_set.evaluate(at)
                yield Judgement(at, at - before, made.keys, made.condition, made.recover, made.value, made.problems)
            before = at


_NOTHING: Final = np.empty(0)


def plans_of(rules: Iterable[Rule], unit: UnitLookup = no_units, objective: Objectives = none_known) -> dict[str, Plan]:
    """The compiled rules by name. ExpressionError."""
    return {
        rule.name: compile_rule(
            rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text, unit=unit, objective=objective
        )
        for rule in rules
    }


def metrics_of(plans: Mapping[str, Plan]) -> set[str]:
    """All that these rules read."""
    return {source.metric for plan in plans.values() for source in plan.sources()}


def reach_seconds(plans: Mapping[str, Plan]) -> int:
    """How far before its start a replay of these reads."""
    reaches = (
        reading.window_seconds if reading.view is None else reading.view.reach_seconds
        for plan in plans.values()
        for reading in plan.readings
    )
    return LEAD_SECONDS + max(reaches, default=0)


def metrics_with_figures(plan: Plan) -> Iterator[str]:
    """The metrics whose percentiles or shares a plan reads over plain windows."""
    for reading in plan.readings:
        if reading.view is not None and not reading.view.is_long:
            yield from metrics_with_figures(reading.view.plan)
        elif reading.figure is not None:
            yield reading.source.metric


def stretches_of(past: Past, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, seconds) of the parts of a range in which rows of so many seconds are the finest there are; the
    bounds are multiples of it."""
    at = start
    while at < end:
        seconds = past.finest_step(at)
        at -= at % seconds
        hours = range(at + HOUR_SECONDS - at % HOUR_SECONDS, end, HOUR_SECONDS)
        finer = bisect_left(hours, True, key=lambda second: past.finest_step(second) < seconds)
        stop = hours[finer] if finer < len(hours) else end - end % seconds
        if stop <= at:
            return
        yield at, stop, seconds
        at = stop


class _Uptime:
    """When the engine ran: each rule's gauge has a row in each minute then. From the first of them on; a rule that
    never ran says nothing."""

    def __init__(self, past: Past, names: Iterable[str]) -> None:
        self._past = past
        self._series: list[Known] = [one for name in names for one in past.known(name)]
        self._span = (0, 0)
        self._minutes: set[int] = set()
        self._is_known = False

    def was_up(self, second: int) -> bool:
        """Whether it ran in the minute before second, or in the one before that."""
        minute = (second - 1) // MINUTE_SECONDS
        if not self._series:
            return True
        if not self._span[0] <= minute - 1 or not minute < self._span[1]:
            self._read(minute - 1)
        is_up = minute in self._minutes or minute - 1 in self._minutes
        self._is_known |= is_up
        return is_up or not self._is_known

    def _read(self, minute: int) -> None:
        self._span = minute, minute + DAY_SECONDS // MINUTE_SECONDS
        first, last = (border * MINUTE_SECONDS for border in self._span)
        steps, _, _ = self._past.rows(self._series, first, last, MINUTE_SECONDS)
        self._minutes = set((steps // MINUTE_SECONDS).tolist())

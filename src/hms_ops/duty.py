"""What is on duty: rules and anomaly rules, their live alerts, and everything an alert sets off.

    tick ──judge(end)──► detectors ──► alert_now ─┐
                         RuleSet ─────► Book ─────┴─► events ─► outbox (receivers) · actions · on_alert · watchers

The engine makes one, hands it rules, and calls `judge` once a sealed second. Nothing here waits: receivers, actions and
handlers have their own threads. Rules come from three places; a file's rule wins over one from Python or HTTP of the
same name. Every rule and anomaly rule reserves a gauge of its name, 1 while it fires (publisher.py); a name that would
silence a metric, because a rule reads it or somebody writes it, is refused.

Threads: `judge` is the tick's; the rest may be called by anyone, under one lock that is never held while waiting.
Loading: until `warm` is called no kernel is imported, so that the engine receives before numba is there.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.alert.action import ActionRunner
from hms_ops.alert.book import Book
from hms_ops.alert.notification import Alert, Delivered, Notification, Outcome, Profile, Retry, notifications_of
from hms_ops.alert.outbox import Outbox
from hms_ops.alert.plan import Plan, UnitLookup, compile_rule
from hms_ops.alert.rule import AnomalyRule, Rule
from hms_ops.alert.rulefile import RULES_MAX, RuleFile
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.hooks import AlertHooks

if TYPE_CHECKING:
    from hms_ops.alert.evaluate import RuleSet
    from hms_ops.anomaly.moving_mean import AnomalyEvent, Detector

log = logging.getLogger("hms_ops.alert")

StartThread = Callable[[str, Callable[[], None]], threading.Thread]
Emit = Callable[[dict[str, Any]], None]

UNSERVED_SHOWN: Final = 10  # in `problems`; all are logged
HOOKS_SECONDS: Final = 0.5  # what handlers of alerts get at a stop


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly that lasts: the rule, the tags of its series, the value that started it."""

    rule: AnomalyRule
    tags: dict[str, str]
    value: float


class Duty:
    """All rules of one engine."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        start_thread: StartThread,
        emit: Emit,
        *,
        steady: Clock,
        unit: UnitLookup,
        profiles: Mapping[str, Profile],
        origin: str,
        action_url: str,
        is_halted: bool = False,
    ) -> None:
        self.store = store
        self.hooks = AlertHooks()
        self.book = Book()
        self.outbox = Outbox(steady, start_thread, profiles, self._on_outcome)
        self.actions = ActionRunner((), steady, self._on_action, self._is_cleared, base_url=action_url, origin=origin)
        if is_halted:
            self.actions.halt("the configuration (actions.stop)")
        self.errors = 0
        self._clock = clock
        self._unit = unit
        self._start_thread = start_thread
        self._emit = emit
        self._profiles = profiles
        self._warnings: list[str] = []  # of the rules in force; logged when they are new
        self._unserved: list[str] = []  # those of them that are about receivers
        self._origin = origin
        self._action_url = action_url
        self._lock = threading.RLock()
        self._file = RuleFile()
        self._own: dict[str, Rule] = {}  # from Python and HTTP
        self._plans: dict[str, tuple[Rule, Plan]] = {}
        self._rule_set: RuleSet | None = None
        self._detector: Detector | None = None
        self._deferred = 0  # by detectors before this one
        self._bound_at = -1  # the store's count of changes when the detector was bound
        self._episodes: dict[tuple[str, int], Episode] = {}  # by rule and slot
        self._watched: tuple[AnomalyRule, ...] = ()
        self.reserved: frozenset[str] = frozenset()  # names of gauges; another object whenever they change
        self._released: dict[str, int] = {}  # names of former rules' gauges that still have series: since when, in ns

    # ---- rules in

    def load(self, rules: RuleFile) -> None:
        """Take the rules of the files in place of those before, all or none (ConfigError)."""
        with self._lock:
            self._take(rules, self._own)

    def put(self, rule: Rule) -> None:
        """Add or replace one rule from Python or HTTP. ConfigError when it is invalid, or a file has its name."""
        with self._lock:
            if rule.name in names_of(self._file):
                raise ConfigError(
                    f"{rule.source}: a rule file has a rule {rule.name!r} already, and a file's rule wins"
                )
            if len(self._own) >= RULES_MAX and rule.name not in self._own:
                raise ConfigError(f"{rule.source}: {RULES_MAX} rules are there, which is the limit; remove one first")
            self._take(self._file, {**self._own, rule.name: rule})

    def replan(self, metric: str) -> None:
        """The unit of a metric has changed: read the rules anew that look at it. ConfigError: nothing has changed."""
        with self._lock:
            before = self._plans
            self._plans = {name: known for name, known in before.items() if metric not in metrics_of(known[1])}
            try:
                self._take(self._file, self._own)
            except ConfigError:
                self._plans = before
                raise

    def move_clocks(self, seconds: int) -> None:
        """The wall clock was set: `for`, `keep` and the like go on as if it had always been there."""
        with self._lock:
            self.book.move_clocks(seconds)
            if self._detector is not None:
                self._detector.move_clock(seconds)

    def rules(self) -> list[Rule]:
        """The rules in force, those of files first."""
        return [rule for rule, _ in self._plans.values()]

    def anomaly_rules(self) -> list[AnomalyRule]:
        return list(self._file.anomalies)

    def _take(self, file: RuleFile, own: dict[str, Rule]) -> None:
        """All or none: whatever can be refused is refused before anything changes."""
        taken = names_of(file)
        rules = [*file.rules, *(rule for rule in own.values() if rule.name not in taken)]
        plans = {rule.name: (rule, self._plan(rule)) for rule in rules}
        self._check_names([*rules, *file.anomalies], read_by(plans, file.anomalies))
        detector = self._detector_of(file.anomalies) if self._rule_set is not None else None
        self._reserve(frozenset([*plans, *(rule.name for rule in file.anomalies)]))
        self._file, self._own, self._plans = file, own, plans
        self._warn(RuleFile(tuple(rules), file.anomalies, file.actions))
        self._tell(self.book.replace_rules(rules, self._now()))
        self.actions.replace_rules(file.actions)
        if self._rule_set is not None:
            self._rule_set.replace({name: plan for name, (_, plan) in plans.items()})
            self._watch(file.anomalies, detector)

    def _plan(self, rule: Rule) -> Plan:
        known = self._plans.get(rule.name)
        if known is not None and known[0] == rule:
            return known[1]
        try:
            return compile_rule(
                rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text, unit=self._unit
            )
        except ExpressionError as error:
            raise ConfigError(f"{rule.source}: {rule.name}: {error}") from None

    def _check_names(self, rules: Sequence[Rule | AnomalyRule], read: Mapping[str, str]) -> None:
        """A rule takes its name's metric for its gauge: refuse one that stops a metric somebody else writes.
        read: metric → the rule that looks at it."""
        problems = []
        for rule in rules:
            if rule.name in read:
                why = f"the rule {read[rule.name]!r} reads the metric of that name, which would be a gauge of 0 and 1"
            elif rule.name not in self.reserved and self._is_written(rule.name):
                why = "a metric of that name is being written, which would be refused from now on"
            else:
                continue
            problems.append(f"{rule.source}: {rule.name}: {why}; choose another name for the rule")
        if problems:
            raise ConfigError(*problems)

    def _is_written(self, metric: str) -> bool:
        """Whether somebody else writes it: it has series, and not only what is left of a former rule's gauge."""
        slots = self.store.slots(metric).tolist()
        if slots and metric in self._released:
            since_ns = self._released[metric] + SECOND_NS  # the tick may just have been writing the gauge
            return any((self.store.recent(slot)[0] > since_ns).any() for slot in slots)
        return bool(slots)

    def _reserve(self, names: frozenset[str]) -> None:
        """Take these names' metrics, and give back those of before; all or none."""
        if names == self.reserved:
            return
        done: list[str] = []
        try:
            for name in names - self.reserved:
                self.store.reserve(name)
                done.append(name)
        except ValueError as error:
            for name in done:
                self.store.reserve(name, False)
            raise ConfigError(f"the rules cannot publish their gauges: {error}") from None
        for name in self.reserved - names:
            self.store.reserve(name, False)
        self._released |= dict.fromkeys(self.reserved - names, self.store.now_ns())
        self._released = {
            name: at for name, at in self._released.items() if name not in names and len(self.store.slots(name))
        }
        self.reserved = names

    # ---- the tick

    def warm(self) -> None:
        """Import and so compile the kernels; `judge` may be called from now on."""
        from hms_ops.alert.evaluate import RuleSet

        with self._lock:
            self._rule_set = RuleSet(self.store)
            self._rule_set.replace({name: plan for name, (_, plan) in self._plans.items()})
            self._watch(self._file.anomalies, self._detector_of(self._file.anomalies))
            self._rule_set.evaluate()

    def judge(self, end: int) -> None:
        """Everything that looks at the seconds before `end`, which are sealed."""
        assert self._rule_set is not None
        with self._lock:
            self._judge_anomalies(end)
            found = self._rule_set.evaluate(end)
            self._tell(self.book.advance(found.keys, found.condition, found.recover, found.value, end, found.problems))

    def problems(self) -> list[str]:
        """Rules that cannot be evaluated now, or whose pages go to the log, and why; handlers that hang; notifications
        that were dropped."""
        rules = self._rule_set.problems if self._rule_set is not None else {}
        found = [f"rule {name} is not evaluated: {why}" for name, why in rules.items()]
        found += self._unserved[:UNSERVED_SHOWN]
        if (more := len(self._unserved) - UNSERVED_SHOWN) > 0:
            found.append(f"{more:,} more receivers of rules are not served as written; see the log")
        return found + self.hooks.crew.problems() + self.outbox.problems()

    def _warn(self, rules: RuleFile) -> None:
        """Log what is new among the warnings of rules in force."""
        before, self._warnings = set(self._warnings), rules.warnings(self._profiles, self._action_url)
        self._unserved = rules.unserved(self._profiles)
        for warning in self._warnings:
            if warning not in before:
                log.warning("%s", warning)

    # ---- anomalies

    def _watch(self, rules: tuple[AnomalyRule, ...], detector: "Detector | None") -> None:
        """Take a detector for these rules, None when it has one; a new one knows nothing of the past, so open episodes
        of rules that changed end."""
        if detector is None:
            return
        for key, episode in list(self._episodes.items()):
            self._end_episode(key, episode, "the anomaly rules were changed")
        self._watched = rules
        if self._detector is not None:
            self._deferred += self._detector.deferred
        self._detector = detector
        self._bound_at = -1

    def _detector_of(self, rules: tuple[AnomalyRule, ...]) -> "Detector | None":
        """A detector for these rules, None when the one there is has the same. ConfigError for one out of range."""
        from hms_ops.anomaly.moving_mean import Detector, MovingMeanRule

        if self._detector is not None and rules == self._watched:
            return None
        made = []
        for rule in rules:
            try:
                one = MovingMeanRule(
                    name=rule.name,
                    metric=rule.metric,
                    factor=rule.factor,
                    window_seconds=int(rule.window_seconds),
                    on="max" if rule.on == "max" else "mean",
                    min_share=rule.min_share,
                    min_samples=rule.min_samples,
                    min_difference=rule.min_difference,
                )
            except ValueError as error:
                raise ConfigError(f"{rule.source}: {error}") from None
            made.append(one)
        return Detector(*made)

    def _judge_anomalies(self, end: int) -> None:
        if self._detector is None or not self._watched:
            return
        self._bind()
        by_name = {rule.name: rule for rule in self._watched}
        for event in self._detector.judge(self.store.cols, end, self.store.first_second):
            self._on_anomaly(by_name[event.rule], event, end)
        for episode in self._episodes.values():
            self._alert_now(episode, end)  # an episode that lasts is an alert that is repeated

    def _bind(self) -> None:
        """Follow the series that came and went."""
        assert self._detector is not None
        changes = self.store.changes_count
        if changes == self._bound_at:
            return
        self._bound_at = changes
        members = [self._members(rule.metric) for rule in self._watched]
        self._detector.bind(*members)
        alive = {rule.name: slots for rule, slots in zip(self._watched, members, strict=True)}
        for key, episode in list(self._episodes.items()):
            if not is_among(key[1], alive[key[0]]):
                self._end_episode(key, episode, "the series is gone")

    def _members(self, metric: str) -> NDArray[np.int32]:
        slots: NDArray[np.int32] = self.store.all_slots() if metric == "*" else self.store.slots(metric)
        return slots

    def _on_anomaly(self, rule: AnomalyRule, event: "AnomalyEvent", end: int) -> None:
        key = (rule.name, event.slot)
        episode = self._episodes.get(key) or Episode(rule, self._tags(rule, event.slot), event.value)
        facts = {"metric": rule.metric, "tags": episode.tags, "value": event.value, "baseline": event.baseline}
        self._emit({"kind": "anomaly", "name": rule.name, "state": event.state, "second": event.second, **facts})
        if event.state == "started":
            self._episodes[key] = episode
            reason = f"above {rule.factor:g} times its mean of {event.baseline:.6g}"
            self._tell_now(self._alert_now(episode, end, reason))
        elif event.state == "held":
            self._offer_held(episode)
        else:
            self._end_episode(key, episode, "back to normal")

    def _tags(self, rule: AnomalyRule, slot: int) -> dict[str, str]:
        info = self.store.series(slot)
        return dict(info.tags) if rule.metric != "*" else {"metric": info.name, **info.tags}

    def _offer_held(self, episode: Episode) -> None:
        for alert in self.book.alerts():
            if alert.name == episode.rule.name and dict(alert.tags) == episode.tags:
                self.actions.offer(alert)

    def _end_episode(self, key: tuple[str, int], episode: Episode, reason: str) -> None:
        self._episodes.pop(key, None)
        self._tell(self.book.end_now(episode.rule.name, episode.tags, self._now(), reason))

    def _alert_now(self, episode: Episode, end: int, reason: str = "") -> Alert | None:
        rule = episode.rule
        return self.book.alert_now(
            rule.name,
            episode.value,
            end,
            tags=episode.tags,
            severity=rule.severity,
            ttl_seconds=rule.ttl_seconds,
            reason=reason,
        )

    def _is_cleared(self, name: str, tags: Mapping[str, str]) -> bool:
        """For an action's verification: the alert does not fire any more."""
        return not self.book.is_firing(name, tags)

    # ---- alerts out

    def alert_now(self, name: str, value: float, **options: Any) -> None:
        """Fire an alert without a rule; it resolves after its ttl without a repeat."""
        self._tell_now(self.book.alert_now(name, value, self._now(), **options))

    def _tell_now(self, alert: Alert | None) -> None:
        """Only the first of a row of repeats is an event."""
        if alert is not None:
            self._tell([alert])

    def _tell(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self._emit(event_of(alert))
            self.hooks.put(alert)
            for notification in notifications_of(alert, self._receivers(alert), self._origin):
                self.outbox.put(notification)
            if not self._is_anomaly(alert.name):
                self.actions.offer(alert)  # an anomaly's actions wait until it is held

    def _is_anomaly(self, name: str) -> bool:
        return any(rule.name == name for rule in self._file.anomalies)

    def _receivers(self, alert: Alert) -> tuple[str, ...]:
        """Whom an alert is sent to. An anomaly's end is no news: there is no "cleared" page."""
        for anomaly in self._file.anomalies:
            if anomaly.name == alert.name:
                return anomaly.notify if alert.state != "resolved" else ("log:",)
        known = self._plans.get(alert.name)
        return known[0].notify if known is not None else ()

    def _on_outcome(self, notification: Notification, outcome: Outcome) -> None:
        word = "delivered" if isinstance(outcome, Delivered) else "retry" if isinstance(outcome, Retry) else "dead"
        detail = outcome.detail if isinstance(outcome, Delivered) else outcome.reason
        alert = notification.alert
        facts = {"name": alert.name, "state": alert.state, "tags": dict(alert.tags), "episode": alert.episode}
        self._emit(
            {"kind": "notification", "receiver": notification.receiver, "outcome": word, "detail": detail, **facts}
        )

    def _on_action(self, record: dict[str, Any]) -> None:
        self._emit({"kind": "action", **record})

    # ---- life

    def start(self) -> None:
        self.actions.start(self._start_thread)
        self.hooks.crew.start(self._start_thread)

    def stop(self, deadline_ns: int) -> None:
        """Send what can be sent, end all workers; nothing is put in any more. The deadline is on the steady clock."""
        self.outbox.drain(deadline_ns)
        self.actions.stop(deadline_ns)
        self.outbox.stop(deadline_ns)
        self.hooks.crew.stop(HOOKS_SECONDS)

    def counters(self) -> dict[str, dict[str, int]]:
        book = {"live": self.book.live_count, "refused": self.book.refused, "rules": len(self._plans)}
        refused = self._rule_set.refused_instances if self._rule_set is not None else 0
        deferred = self._deferred + (self._detector.deferred if self._detector is not None else 0)
        return {
            "alerts": book | {"instances_refused": refused},
            "anomalies": {"episodes": len(self._episodes), "deferred": deferred},
            "notifications": self.outbox.counters(),
            "actions": self.actions.counts(),
            "on_alert": self.hooks.crew.counters(),
        }

    def _now(self) -> int:
        return self._clock.now_ns() // SECOND_NS


def metrics_of(plan: Plan) -> set[str]:
    """What a rule looks at."""
    return {reading.source.metric for reading in plan.readings}


def read_by(plans: Mapping[str, tuple[Rule, Plan]], anomalies: Sequence[AnomalyRule]) -> dict[str, str]:
    """metric → the name of a rule or anomaly rule that looks at it."""
    read = {metric: name for name, (_, plan) in plans.items() for metric in metrics_of(plan)}
    return read | {rule.metric: rule.name for rule in anomalies}


def is_among(slot: int, slots: NDArray[np.int32]) -> bool:
    """Whether ascending `slots` holds it; there may be a million."""
    at = int(np.searchsorted(slots, np.int32(slot)))  # of their type: numpy would convert them all for another
    return at < len(slots) and int(slots[at]) == slot


def names_of(file: RuleFile) -> set[str]:
    """The names that the rules and anomaly rules of files have taken."""
    return {rule.name for rule in file.rules} | {rule.name for rule in file.anomalies}


def event_of(alert: Alert) -> dict[str, Any]:
    """An alert as watchers and the journal see it."""
    value = None if np.isnan(alert.value) else alert.value
    return {
        "kind": "alert",
        "name": alert.name,
        "state": alert.state,
        "value": value,
        "tags": dict(alert.tags),
        "since": alert.since,
        "episode": alert.episode,
        "severity": alert.severity,
        "reason": alert.reason,
    }

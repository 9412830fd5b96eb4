"""What is on duty: rules, anomaly rules and SLOs, their live alerts, and everything an alert sets off.

    tick ──judge(end)──► anomalies ──► alert_now ─┐
                         Judging ─────► Book ─────┴─► events, changes ─► keeper ─► disk ─► outbox (receivers)
                                                                                    └────► actions · on_alert · watchers

The engine makes one, hands it rules, and calls `judge` once a sealed second. Nothing here waits: the disk has the
keeper's thread, receivers, actions and handlers have their own. Which rules are in force is rulebook.py's affair, what
they come to that of judging.py and anomalies.py, in which order it is told that of handover.py, what follows that of
sequel.py, and who is told that of the dispatcher.

Threads: `judge` is the tick's; the rest may be called by anyone, under one lock that is never held while waiting.
Loading: until `warm` is called no kernel is imported, so that the engine receives before numba is there.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from hms_ops._ring import Store
from hms_ops.alert.notification import Profile, digest
from hms_ops.alert.plan import UnitLookup
from hms_ops.alert.rule import AnomalyRule, Rule, rule_from_keys
from hms_ops.alert.rulefile import RuleFile
from hms_ops.alert.states.book import Book
from hms_ops.anomalies import Anomalies, Desk
from hms_ops.anomaly.episode import Episode
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import ConfigError
from hms_ops.judging import Judging
from hms_ops.objectives import Objectives
from hms_ops.past import Past
from hms_ops.reloaded import Reloaded
from hms_ops.rulebook import Prepared, Rulebook, taken_names
from hms_ops.sequel import KEEPER_SECONDS, Sequel
from hms_ops.storage.alerting import AlertStore
from hms_ops.threads import StartThread

log = logging.getLogger("hms_ops.alert")

Emit = Callable[[dict[str, Any]], None]

UNSERVED_SHOWN: Final = 10  # in `problems`; all are logged
OFFERED_AGAIN_SECONDS: Final = 600  # after a restart actions are offered what has fired so lately
POSTED: Final = "POST /v1/alerts"  # the source of rules that are kept on disk


class Duty:
    """All rules of one engine."""

    def __init__(
        self,
        store: Store,
        past: Past,
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
        self.book = Book()
        self.judging = Judging(store, past, clock)
        self._sequel = Sequel(
            self.book,
            clock,
            steady,
            start_thread,
            emit,
            self._anomaly_names,
            profiles=profiles,
            origin=origin,
            action_url=action_url,
        )
        self.hooks, self.outbox, self.keeper = self._sequel.hooks, self._sequel.outbox, self._sequel.keeper
        self.actions, self._handover = self._sequel.actions, self._sequel.handover
        if is_halted:
            self.actions.halt("the configuration (actions.stop)", is_kept=False)
        self.rulebook = Rulebook(store, unit)
        self.objectives = Objectives(store, unit=unit)
        desk = Desk(self._handover.fire_anomaly, self._handover.end_anomaly, self._offer_held, emit)
        self.anomalies = Anomalies(store, desk)
        self._clock = clock
        self._start_thread = start_thread
        self._profiles = profiles
        self._action_url = action_url
        self._warnings: list[str] = []  # of the rules in force; logged when they are new
        self._unserved: list[str] = []  # those of them that are about receivers
        self._lock = threading.RLock()
        self._units_at = -1  # the store's changes up to which units were looked at

    # ---- rules in

    @property
    def reserved(self) -> frozenset[str]:
        """The names that have a gauge of 0 and 1; another object whenever they change."""
        return self.rulebook.reserved

    def load(self, file: RuleFile) -> None:
        """Take the rules of the files in place of those before, all or none (ConfigError)."""
        with self._lock:
            self._take(self.rulebook.prepare(file, self.rulebook.own))
        self.objectives.fill_waiting()

    def put(self, rule: Rule) -> None:
        """Add or replace one rule from Python or HTTP. ConfigError when it is invalid, or a file has its name."""
        with self._lock:
            self._take(self.rulebook.prepare(self.rulebook.file, self.rulebook.with_own(rule)))

    def post(self, given: Mapping[str, Any]) -> Rule:
        """A rule in keys that is kept on disk until it is removed. ConfigError with every problem."""
        rule, problems = rule_from_keys(given, POSTED)
        if rule is None:
            raise ConfigError(*(f"{POSTED}: {key}: {why}" if key else f"{POSTED}: {why}" for key, why in problems))
        with self._lock:
            self.put(rule)
            self._handover.keep(Change("rules", key_of(rule.name), {"keys": dict(given)}))
        return rule

    def remove(self, name: str) -> bool:
        """Take a rule from Python or HTTP away; False when there is none of that name."""
        with self._lock:
            own = {known: rule for known, rule in self.rulebook.own.items() if known != name}
            if len(own) == len(self.rulebook.own):
                return False
            self._take(self.rulebook.prepare(self.rulebook.file, own))
            self._handover.keep(Change("rules", key_of(name), None))
            return True

    def replan(self, metrics: Collection[str]) -> None:
        """The units of metrics have changed: read the rules anew that look at one of them. ConfigError: nothing has
        changed."""
        with self._lock:
            self._read_anew(metrics)
        self.objectives.fill_waiting()

    def _read_anew(self, metrics: Collection[str]) -> None:
        anew = self.rulebook.readers_of(metrics)
        self.objectives.replace(self.objectives.slos, is_filled=False)
        self._take(self.rulebook.prepare(self.rulebook.file, self.rulebook.own, anew=anew))

    def _follow_units(self) -> None:
        """Read rules and SLOs anew whose metric turned out to be a timer: `200ms` counted as written until then. One
        that cannot read its metric in milliseconds stays as it is, which is logged."""
        self._units_at = self.store.changes_count
        found = self.rulebook.take_known()
        try:
            if found:
                self._read_anew(found)
        except ConfigError:
            for metric in found:
                self._read_anew_or_say(metric)

    def _read_anew_or_say(self, metric: str) -> None:
        try:
            self._read_anew([metric])
        except ConfigError as error:
            log.warning("%s is a timer, so its unit is ms, which a rule cannot read: %s", metric, error)

    def move_clocks(self, reanchor: Callable[[], int]) -> None:
        """The wall clock was set: `reanchor` follows it and returns by how many seconds. `for`, `keep`, escalations and
        the like go on as if it had always been there; the keeper does not turn in between."""
        with self._lock, self.keeper.paused():
            seconds = reanchor()
            self.book.move_clocks(seconds)
            self.anomalies.move_clock(seconds)
            self.keeper.ask(lambda dispatcher: dispatcher.move_clocks(float(seconds)))

    def rules(self) -> list[Rule]:
        """The rules in force, those of files first."""
        return [rule for rule, _ in self.rulebook.plans.values()]

    def suspects(self) -> tuple[dict[str, str], list[Rule]]:
        """(rules that cannot be evaluated and why, those that read something no series matches now)."""
        with self._lock:
            refused, unread = self.judging.suspects()
            return refused, [rule for name, (rule, _) in self.rulebook.plans.items() if name in unread]

    def anomaly_rules(self) -> list[AnomalyRule]:
        return list(self.rulebook.file.anomalies)

    def _take(self, prepared: Prepared) -> None:
        """All or none: whatever can be refused is refused before anything changes."""
        file, rules = prepared.file, prepared.rules
        detector = self.anomalies.detector_of(file.anomalies) if self.judging.is_warm else None
        slos = self.objectives.slos
        self.objectives.replace(file.slos, is_filled=False)  # `fill_waiting` follows, without our lock
        try:
            self.rulebook.adopt(prepared)
        except ConfigError:
            self.objectives.replace(slos, is_filled=False)
            raise
        self._warn(RuleFile(tuple(rules), file.anomalies, file.actions))
        with self._handover.lock:
            self._handover.put(self.book.replace_rules(rules, self._now()))
        self.actions.replace_rules(file.actions)
        self.keeper.ask(lambda dispatcher: dispatcher.replace(file.routing))
        if self.judging.is_warm:
            self.judging.replace({name: plan for name, (_, plan) in prepared.plans.items()})
            with self._handover.lock:
                self.anomalies.watch(file.anomalies, detector, self._now())
                self._handover.put_gathered(self.anomalies.changes())

    def _warn(self, rules: RuleFile) -> None:
        """Log what is new among the warnings of rules in force."""
        before, self._warnings = set(self._warnings), rules.warnings(self._profiles, self._action_url)
        self._unserved = rules.unserved(self._profiles)
        for warning in self._warnings:
            if warning not in before:
                log.warning("%s", warning)

    # ---- after a restart

    def open(self, store: AlertStore) -> None:
        """Keep alert states here from now on, and go on with those of before. Before `warm`."""
        with self._lock:
            self._follow_units()  # the catalogue is open
            self.keeper.open(store)
            self.outbox.open(store)
            self._restore_rules(store.load("rules"))
            now_ns = self._clock.now_ns()
            alive = int(store.load("marks").get("alive", {}).get("second", 0))
            with self._handover.lock:
                events = self.book.restore(store.load("instances"), alive, now_ns // SECOND_NS + 1)
                self.anomalies.restore(store.load("anomalies"), alive, now_ns // SECOND_NS + 1)
            tables = {name: store.load(name) for name in ("groups", "members", "silences")}
            now = now_ns / SECOND_NS
            self.keeper.ask(lambda dispatcher: dispatcher.restore(tables, now))
            firing = [alert for alert in self.book.alerts() if alert.state == "firing"]
            told = {event.key for event in events}
            missed = self.keeper.ask(lambda dispatcher: dispatcher.catch_up(firing, now))
            events += [event for event in missed if event.key not in told]
            self.actions.open(store.commit)
            self.actions.restore(store.load("runs"), store.load("marks").get("halted"))
            self.outbox.restore()
            with self._handover.lock:
                self._handover.put(events, self.anomalies.changes())
        # What fired just before the end may not have reached its actions; one that ran for its episode is refused.
        for alert in self.book.alerts():
            if now - alert.episode < OFFERED_AGAIN_SECONDS:  # episodes are numbered by the second they fired in
                self._sequel.offer(alert)

    def _restore_rules(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Those that were posted, at once if they can be; one that cannot be any more is logged and stays on disk."""
        rules: list[Rule] = []
        for record in records.values():
            keys = record.get("keys", {})
            rule, problems = rule_from_keys(keys, POSTED)
            if rule is not None:
                rules.append(rule)
            else:
                log.warning("the posted rule %s is not in force: %s", keys.get("alert"), problems[0].message)
        taken = taken_names(self.rulebook.file)
        try:
            own = {rule.name: rule for rule in rules if rule.name not in taken}
            self._take(self.rulebook.prepare(self.rulebook.file, {**self.rulebook.own, **own}))
        except ConfigError:
            for rule in rules:
                self._put_back(rule)

    def _put_back(self, rule: Rule) -> None:
        try:
            self.put(rule)
        except ConfigError as error:
            log.warning("the posted rule %s is not in force: %s", rule.name, error)

    # ---- the tick

    def warm(self) -> None:
        """Import and so compile the kernels; `judge` may be called from now on."""
        with self._lock:
            self.judging.warm({name: plan for name, (_, plan) in self.rulebook.plans.items()})
            anomalies = self.rulebook.file.anomalies
            self.anomalies.watch(anomalies, self.anomalies.detector_of(anomalies), self._now())
            self.book.warm()

    def take_reloaded(self, reloaded: Reloaded) -> None:
        """What was put back into the store's columns: windows are whole that much sooner."""
        with self._lock:
            self.judging.take_reloaded(reloaded)
            self.anomalies.reloaded = reloaded

    def judge(self, end: int) -> None:
        """Everything that looks at the seconds before `end`, which are sealed."""
        with self._lock:
            if self._units_at != self.store.changes_count:
                self._follow_units()
            with self._handover.lock:
                self.anomalies.judge(end)
                self._handover.put_gathered(self.anomalies.changes())
            found = self.judging.evaluate(end)
            with self._handover.lock:
                events = self.book.advance(
                    found.keys, found.condition, found.recover, found.value, end, found.problems, whole=found.whole
                )
                self._handover.put(events)

    def settle(self) -> None:
        """Wait until what was found is on its way: for a clock that runs faster than time."""
        self._sequel.settle()

    def problems(self) -> list[str]:
        """Rules that cannot be evaluated now, or whose pages go to the log, and why; handlers that hang; notifications
        that were dropped; states that are not kept."""
        found = self.judging.problems() + self._unserved[:UNSERVED_SHOWN]
        if (more := len(self._unserved) - UNSERVED_SHOWN) > 0:
            found.append(f"{more:,} more receivers of rules are not served as written; see the log")
        found += self.keeper.problems()
        found += self.objectives.problems() + self.judging.history_problems()
        return found + self.hooks.crew.problems() + self.outbox.problems()

    # ---- anomalies

    def _offer_held(self, episode: Episode) -> None:
        alert = self.book.find(episode.rule.name, episode.tags)
        if alert is not None:
            self.actions.offer(alert)

    def _anomaly_names(self) -> set[str]:
        return {rule.name for rule in self.rulebook.file.anomalies}

    # ---- alerts out

    def alert_now(self, name: str, value: float, **options: Any) -> None:
        """Fire an alert without a rule; it resolves after its ttl without a repeat."""
        self._handover.fire(name, value, self._now(), **options)

    # ---- life

    def start(self) -> None:
        self._sequel.start()
        self.judging.start(self._start_thread)

    def stop(self, deadline_ns: int) -> None:
        """Bring what was found to the disk, send what can be sent, end all workers; nothing is put in any more. The
        deadline is on the steady clock."""
        self.judging.stop()
        self._sequel.stop_actions(deadline_ns)
        self._keep_anomalies()
        self._sequel.stop(deadline_ns)

    def _keep_anomalies(self) -> None:
        """Where each stands, to the second; while a tick hangs, as of its last transition."""
        if not self._lock.acquire(timeout=KEEPER_SECONDS):
            return
        try:
            self.anomalies.keep_all()
            self._handover.keep(*self.anomalies.changes())
        finally:
            self._lock.release()

    def counters(self) -> dict[str, dict[str, int]]:
        book = {"live": self.book.live_count, "refused": self.book.refused, "rules": len(self.rulebook.plans)}
        return {
            "alerts": book | {"instances_refused": self.judging.refused_instances},
            "anomalies": self.anomalies.counters(),
            "slos": self.objectives.counters(),
            "long_windows": self.judging.history_counters(),
            "keeper": self.keeper.counters(),
            "paging": self.keeper.ask(lambda dispatcher: dispatcher.counters()),
            "notifications": self.outbox.counters(),
            "actions": self.actions.counts(),
            "on_alert": self.hooks.crew.counters(),
        }

    def _now(self) -> int:
        return self._clock.now_ns() // SECOND_NS


def key_of(name: str) -> str:
    """A rule's key on disk."""
    return digest([name])

"""The engine's calls that are about alerts: rules, alerts by hand, acknowledgements, silences, events of others.

A part of `Engine`, which inherits it; apart so that each file can be read whole. Rules and live alerts are duty.py's,
what people do about them is paging.py's.
Threads: any. In a forked child every call raises ForkedError.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from hms_ops.account import Account
from hms_ops.alert.dispatch.silence import Silence
from hms_ops.alert.keys import read_name
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import DEFAULT_SEVERITY, Rule, rule_from_arguments
from hms_ops.alert.states.book import TTL_SECONDS
from hms_ops.clock import SECOND_NS
from hms_ops.duty import Duty
from hms_ops.events import Reported, journal_event
from hms_ops.hooks import AlertHandler
from hms_ops.paging import BY_PROGRAM, Paging
from hms_ops.parts import Parts
from hms_ops.quantity import parse_duration
from hms_ops.rulehealth import RuleHealth

DECISIONS_READ_MAX: Final = 20_000  # of the journal, all alerts together
DECISIONS_TOLD_MAX: Final = 1_000

Tags = Mapping[str, str]


class AlertCalls:
    """What these calls need of the engine."""

    account: Account
    duty: Duty
    paging: Paging
    metric: Callable[..., None]
    _parts: Parts
    _emit: Callable[[dict[str, Any]], None]
    _check_not_forked: Callable[[], None]

    # ---- rules and alerts

    def alert(self, name: str, **keys: Any) -> Rule:
        """Add or replace a rule: engine.alert("a", if_="avg(x) > 200", for_="3m", notify=["sms:+1-555-0100"]).

        Keys as in rule files, `if` and `for` with an underscore behind. ConfigError names every wrong one.
        """
        self._check_not_forked()
        rule = rule_from_arguments(name, keys, "engine.alert")
        self.duty.put(rule)
        return rule

    def alert_now(
        self,
        name: str,
        value: float = 1.0,
        *,
        tags: Tags | None = None,
        ttl: str | float = TTL_SECONDS,
        severity: str = DEFAULT_SEVERITY,
        reason: str = "",
    ) -> None:
        """Fire an alert without a rule; it resolves after `ttl` ("5m" or seconds) without a repeat.

        ValueError when a rule has that name, it is no name, or the ttl is none.
        """
        self._check_not_forked()
        seconds = parse_duration(ttl) if isinstance(ttl, str) else ttl
        if not 1 <= seconds < math.inf:
            raise ValueError(f"ttl is {ttl!r}; it must be a duration from 1s")
        name = read_name(name)
        texts = {str(tag): str(text) for tag, text in (tags or {}).items()}
        self.duty.alert_now(name, value, tags=texts, ttl_seconds=seconds, severity=severity, reason=reason)

    def post_rule(self, keys: Mapping[str, Any], who: str = BY_PROGRAM, source: str = "") -> Rule:
        """Add or replace a rule in the keys of a rule file, kept on disk until `remove_rule`. ConfigError."""
        self._check_not_forked()
        rule = self.duty.post(keys)
        self.duty.settle()
        self.paging.note("rule", who, rule.name, source, rule=rule.shown)
        return rule

    def remove_rule(self, name: str, who: str = BY_PROGRAM, source: str = "") -> bool:
        """Take away a rule that was posted or added here; False when there is none of that name."""
        self._check_not_forked()
        is_gone = self.duty.remove(name)
        self.duty.settle()
        if is_gone:
            self.paging.note("rule-removed", who, name, source)
        return is_gone

    def acknowledge(
        self,
        name: str,
        *,
        tags: Tags | None = None,
        who: str = BY_PROGRAM,
        comment: str = "",
        until: float | None = None,
        source: str = "",
    ) -> int:
        """Stop escalating and repeating what fires under a name (of these tags), until Unix seconds `until` or its end;
        returns how many alerts that are."""
        self._check_not_forked()
        return self.paging.acknowledge(name, tags, who, comment, until, source)

    def unacknowledge(self, name: str, *, tags: Tags | None = None, who: str = BY_PROGRAM, source: str = "") -> int:
        """Take acknowledgements back; returns how many alerts fire under the name."""
        self._check_not_forked()
        return self.paging.unacknowledge(name, tags, who, source)

    def silence(
        self,
        matchers: Any,
        *,
        seconds: float,
        who: str = BY_PROGRAM,
        comment: str = "",
        source: str = "",
    ) -> Silence:
        """Mute alerts for so long whose labels match: `alertname="a", agency=~"irs|ssa"`, a list of such, or a dict.
        ValueError, ExpressionError."""
        self._check_not_forked()
        return self.paging.silence(matchers, seconds, who, comment, source)

    def end_silence(self, id: str, who: str = BY_PROGRAM, source: str = "") -> bool:
        """End a silence now; False when none of that id lasts."""
        self._check_not_forked()
        return self.paging.end_silence(id, who, source)

    def silences(self) -> list[Silence]:
        """Those that last, are to come, or ended lately."""
        return self.paging.silences()

    def explain_alert(self, name: str, tags: Tags | None = None) -> list[dict[str, Any]]:
        """Why people were told of an alert, or not: the dispatcher's decisions, newest last; of earlier runs those that
        the journal still has."""
        found, storage = self.paging.explain(name, tags), self.account.storage
        if storage is None:
            return found
        wanted, since_ns = dict(tags or {}), self.account.receiving_ns
        earlier = [
            {key: value for key, value in event.items() if key not in ("kind", "time_ns")}
            for event in storage.journal.tail(DECISIONS_READ_MAX, ("decision",))
            if event["time_ns"] < since_ns and event["name"] == name and is_about(event["tags"], wanted)
        ]
        return [*earlier, *found][-DECISIONS_TOLD_MAX:]

    def alert_standings(self) -> dict[str, dict[str, Any]]:
        """By Alert.key: who has acknowledged, what silences it, when it escalates next."""
        return self.paging.standings()

    def dead_letters(self) -> list[dict[str, Any]]:
        """Notifications that will not arrive, oldest first."""
        return self.paging.dead_letters()

    def resend(self, id: str, who: str = BY_PROGRAM, source: str = "") -> bool:
        """Try a dead letter again; False when there is none of that id."""
        return self.paging.resend(id, who, source)

    def test_notify(self, receiver: str, who: str = BY_PROGRAM, source: str = "") -> str:
        """Send a test to a receiver's URL now, and say what it answered. ValueError for one that is not served."""
        return self.paging.test_notify(receiver, who, source)

    def action_runs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The latest runs of actions, newest first, with their state and outcome."""
        return self.duty.actions.list_runs(limit)

    def stop_actions(self, who: str = BY_PROGRAM, reason: str = "", source: str = "") -> None:
        """The stop switch: no action runs until `resume_actions`, over restarts too."""
        self._check_not_forked()
        self.paging.halt_actions(who, reason, source)

    def resume_actions(self, who: str = BY_PROGRAM, source: str = "") -> None:
        """Let actions run again."""
        self._check_not_forked()
        self.paging.resume_actions(who, source)

    def audit_log(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest entries of the audit log, oldest first."""
        return self.paging.entries(limit)

    def audit_export(self) -> Iterator[str]:
        """The whole audit log: its head and all records, a line of JSON each, as they are hashed."""
        storage = self.account.storage
        return iter(()) if storage is None else storage.audit.export()

    def report(self, events: Sequence[Reported], source: str = "") -> None:
        """Events of others, such as security findings: each moves its counter and stands in the journal."""
        self._check_not_forked()
        for event in events:
            self.metric(event.metric, event.count, kind="counter", tags=dict(event.tags) or None)
            self._emit(journal_event(event, source))

    def events(
        self, limit: int = 100, kinds: Sequence[str] | None = None, since: float | None = None
    ) -> list[dict[str, Any]]:
        """The newest events of the journal, oldest first: of these kinds, since these Unix seconds."""
        storage = self.account.storage
        if storage is None:
            return []
        return storage.journal.tail(limit, kinds, None if since is None else int(since * SECOND_NS))

    def alerts(self) -> list[Alert]:
        """What is pending or firing now, oldest first."""
        self._check_not_forked()
        return self.duty.book.alerts()

    def rules(self) -> list[Rule]:
        """The rules in force."""
        return self.duty.rules()

    def rule_health(self) -> Mapping[str, RuleHealth]:
        """Of the rules that do more or less than watch: by name, those that are not evaluated, and those that nothing
        has ever matched, which cannot fire."""
        self._check_not_forked()
        return self._parts.health.of_all()

    def on_alert(
        self, name: str | None = None, on: str | Sequence[str] = ("firing",)
    ) -> Callable[[AlertHandler], AlertHandler]:
        """Decorator: call the function with each Alert event of that name (None: of any) whose state is in `on`."""
        self._check_not_forked()
        states = frozenset([on] if isinstance(on, str) else on)
        if not states <= {"pending", "firing", "resolved"}:
            raise ValueError(f"on is {on!r}, allowed are pending, firing and resolved")

        def add(handler: AlertHandler) -> AlertHandler:
            self.duty.hooks.add(name, states, handler)
            return handler

        return add


def is_about(tags: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a decision concerns an alert of these tags; None: it was of more alerts than are listed."""
    return tags is None or wanted.items() <= tags.items()
